//! `fourier_components`: every Fourier component of the embedding and of the neuron-logit map.
//!
//! Reads W_E and W_L; writes one norm a component each, in the order that was chosen. Source: arXiv 2301.05217, figure 3.

use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::group::Group;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::w_e;
use crate::measure::{Axis, Column, Measure};
use crate::spec::{BasisOrder, KeyRule};

/// Norm of each component.
pub struct FourierComponents;

const EXPLAIN: &str = "\
What it is
  W_E (rows 0 to p-1, over the token) and W_L = W_out W_U (classes 0 to p-1, over the output) in the orthonormal
  Fourier basis, cos and sin apart: the norm of each component, a vector over d_model and over the neurons. Component
  0 is the constant; then, with measure.basis_order = \"cos_sin\" (default), component 2k-1 is cos k and 2k is sin k
  (the paper's notebook); with \"sin_cos\" it is sin k and cos k (the TransformerLens demo). For even p the last is cos
  p/2.
Reads
  embed.W_E. The last block's mlp.W_out and unembed.W_U, as key_freqs_w_l. LayerNorm weights are not folded in.
Unit and range
  Dimensionless, 0 and up; components 0 to p-1 (p-2 for x*y and x/y, whose waves run over log_g of 1 to p-1).
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p): sqrt(p/2) at component 2k-1 (2k with sin_cos), 0 elsewhere.
Source
  Nanda et al. 2023 (arXiv 2301.05217), figure 3, and the TransformerLens Grokking_Demo
  ((fourier_basis @ W_E).norm(dim=-1) and (W_logit @ fourier_basis.T).norm(dim=0)). fourier_norm_w_e joins cos and sin.";

impl Measure for FourierComponents {
    fn name(&self) -> &'static str {
        "fourier_components"
    }

    fn summary(&self) -> &'static str {
        "norm of each cos and sin component of W_E and W_L"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WE.fits(setting)?;
        KeyRule::WL.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let order = Group::of(setting).map_or(0, |group| group.order);
        let axis = Axis { name: "component".into(), ticks: (0..order).map(|f| f as f64).collect() };
        vec![Column::along("w_e_norm", "1", axis.clone()), Column::along("w_l_norm", "1", axis)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        let of = |x_pd: &[f64]| {
            let mut norms_f = Basis::new(group.order).component_norms(x_pd);
            if subject.setting.options.basis_order == BasisOrder::SinCos {
                norms_f[1..].chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            }
            norms_f
        };
        Ok(vec![of(&w_e(subject.params, &group)?), of(subject.w_l()?)])
    }
}
