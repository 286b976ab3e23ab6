//! `gini`: how sparse the embedding and the neuron-logit map are in the Fourier basis.
//!
//! Reads W_E and W_L; writes two numbers. Source: arXiv 2301.05217, section 5; arXiv 0811.4706 for the index.

use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::w_e;
use crate::measure::{Column, Measure};
use crate::spec::KeyRule;

/// Gini coefficients of Fourier component norms.
pub struct Gini;

const EXPLAIN: &str = "\
What it is
  The Gini coefficient of the norms of the p Fourier components of W_E (over the input token) and of W_L = W_out W_U
  (over the output; both over log_g of the residue for x*y and x/y): G = sum_i (2i - n - 1) x_i / (n sum_i x_i), norms
  x_i ascending, i from 1 to n = p. Constant, cos and sin components count apart, as in the basis. All norms 0 give no
  value.
Reads
  embed.W_E, rows 0 to p-1. The last block's mlp.W_out and unembed.W_U; attn.W_O where there is no MLP; W_U alone where
  it reads the last hidden layer directly. LayerNorm weights are not folded in.
Unit and range
  Dimensionless, 0 (all equal) to (p-1)/p (a single component).
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p): (p-1)/p. Independent normal weights: about 0.56 / sqrt(2 d_model) (0.035 at 128).
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5; Hurley and Rickard 2009 (arXiv 0811.4706). The paper does not say
  which components count; others leave the constant out or join cos and sin.";

impl Measure for Gini {
    fn name(&self) -> &'static str {
        "gini"
    }

    fn summary(&self) -> &'static str {
        "sparsity of W_E and W_L in the Fourier basis"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WE.fits(setting)?;
        KeyRule::WL.fits(setting).map(|_| ())
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("w_e_gini", "1"), Column::scalar("w_l_gini", "1")]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        let of = |x_pd: &[f64]| vec![gini(Basis::new(group.order).component_norms(x_pd))];
        Ok(vec![of(&w_e(subject.params, &group)?), of(subject.w_l()?)])
    }
}

/// The Gini coefficient of numbers of at least 0; NaN when they sum to 0.
fn gini(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let ranked: f64 = x.iter().enumerate().map(|(i, x)| (2.0 * i as f64 + 1.0 - n) * x).sum();
    ranked / (n * x.iter().sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_0_one_hot_is_its_maximum_and_a_ramp_is_known() {
        assert!(gini(vec![3.0; 9]).abs() < 1e-15);
        assert!((gini(vec![0.0, 0.0, 5.0, 0.0]) - 0.75).abs() < 1e-15);
        // 1 … n has (n² − 1) / 3n · 1 / (n + 1) = (n − 1) / 3n.
        assert!((gini((1..=10).map(f64::from).collect()) - 0.3).abs() < 1e-15);
        assert!(gini(vec![0.0; 3]).is_nan());
    }
}
