//! `fourier_norm_w_e`: how much of the embedding lies at each frequency.
//!
//! Reads `embed.W_E [d_vocab, d_model]`, rows 0 to p − 1; writes one norm a frequency. Source: arXiv 2301.05217, figure 3.

use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::group::freq_axis;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::w_e;
use crate::measure::{Column, Measure};
use crate::spec::KeyRule;

/// Fourier spectrum of W_E.
pub struct FourierNormWE;

const EXPLAIN: &str = "\
What it is
  The embedding's rows 0 to p-1, Fourier transformed over the token with an orthonormal basis (constant, cos 1, sin 1,
  cos 2, ...). The norm of frequency k is sqrt(|cos_k|^2 + |sin_k|^2), each a vector over d_model. The constant is left
  out. For even p the last frequency, p/2, has a cosine alone. For x*y and x/y mod a prime the waves run over log_g of
  the tokens 1 to p-1, g the smallest primitive root: p-1 takes the place of p, and token 0 is left out.
Reads
  embed.W_E, rows 0 to p-1.
Unit and range
  Dimensionless, 0 and up; frequencies 1 to (p-1)/2 (p/2 for even p).
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p), other columns 0: sqrt(p/2) at k, 0 elsewhere.
Source
  Nanda et al. 2023 (arXiv 2301.05217), figure 3. Other codes plot cos and sin apart, or squared norms.";

impl Measure for FourierNormWE {
    fn name(&self) -> &'static str {
        "fourier_norm_w_e"
    }

    fn summary(&self) -> &'static str {
        "norm of each frequency of the embedding"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WE.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        vec![Column::along("norm", "1", freq_axis(setting))]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        Ok(vec![Basis::new(group.order).freq_norms(&w_e(subject.params, &group)?)])
    }
}
