//! `w_l_rank`: rank of the neuron-logit map, and what the key waves leave of it.
//!
//! Reads W_L and the key frequencies; writes ranks and fractions. Source: arXiv 2301.05217, section 4.1.

use crate::engine::simd::{axpy, vectorized};
use crate::error::Result;
use crate::linalg::singular_values;
use crate::measure::fourier::waves;
use crate::measure::key_freqs;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};
use crate::spec::KeyRule;

/// Rank and residual of W_L.
pub struct WLRank;

const EXPLAIN: &str = "\
What it is
  W_L = W_out W_U, [neurons, classes 0 to p-1], with singular values s_1 >= s_2 >= ...
  rank                how many s_i are at least 0.05 s_1
  rank_99             the fewest singular values that hold 99 % of the sum of squares
  key_explained_frac  fraction of the squared Frobenius norm along cos w_k c and sin w_k c of the key frequencies
  key_residual_frac   Frobenius norm of what is left when those are taken away, over that of W_L: sqrt(1 - explained)
  best_residual_frac  the same for the best matrix of that rank (two directions a key frequency): what no choice of
                      directions could undercut (Eckart and Young)
Reads
  W_L as key_freqs_w_l (over log_g of the classes for x*y and x/y); what the rule for key frequencies reads.
Unit and range
  Ranks: 0 to the smaller side. Fractions: 0 to 1; best_residual_frac <= key_residual_frac. No value for a W_L of
  zeros.
Value at a known point
  W_L[m, c] = sum of u_m cos w_k c + v_m sin w_k c with k key, u and v independent: 2 directions, key_explained_frac 1,
  residuals 0.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4.1: rank about 10 with five frequencies, residual below 0.55 %. The
  paper does not say which rank; 0.05 is ours.";

impl Measure for WLRank {
    fn name(&self) -> &'static str {
        "w_l_rank"
    }

    fn summary(&self) -> &'static str {
        "rank of the neuron-logit map, and what the key waves leave of it"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WL.fits(setting)?;
        key_freqs::fits(setting)
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        let names =
            [("rank", "1"), ("rank_99", "1"), ("key_explained_frac", "fraction"), ("key_residual_frac", "fraction")];
        let columns = names.into_iter().chain([("best_residual_frac", "fraction")]);
        columns.map(|(name, unit)| Column::scalar(name, unit)).collect()
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        let w_l_cm = subject.w_l()?;
        let n_neurons = w_l_cm.len() / group.order;
        let total: f64 = w_l_cm.iter().map(|w| w * w).sum();
        if total.is_nan() || total <= 0.0 {
            return Ok(vec![vec![f64::NAN]; 5]);
        }
        let directions: Vec<Vec<f64>> = subject.key_freqs.iter().flat_map(|&k| waves(group.order, k)).collect();
        // What is left is made and measured: 1 less the explained fraction would lose the digits of a small rest.
        let mut left_cm = w_l_cm.to_vec();
        for wave_c in &directions {
            let mut component_m = vec![0.0; n_neurons];
            for (&x, w_m) in wave_c.iter().zip(w_l_cm.chunks_exact(n_neurons)) {
                vectorized!(axpy(&mut component_m, x, w_m));
            }
            for (&x, left_m) in wave_c.iter().zip(left_cm.chunks_exact_mut(n_neurons)) {
                vectorized!(axpy(left_m, -x, &component_m));
            }
        }
        let left: f64 = left_cm.iter().map(|w| w * w).sum();
        let singular = singular_values(w_l_cm, group.order, n_neurons);
        // From 0.0 on: an empty sum of floats would be -0.
        let tail = |from: usize| singular.iter().skip(from).fold(0.0, |sum, s| sum + s * s);
        let rank = singular.iter().filter(|&&s| s >= 0.05 * singular[0]).count();
        let rank_99 = (0..=singular.len()).find(|&from| tail(from) <= 0.01 * tail(0)).unwrap_or(singular.len());
        let numbers = [
            rank as f64,
            rank_99 as f64,
            1.0 - left / total,
            (left / total).sqrt(),
            (tail(directions.len()) / total).sqrt(),
        ];
        Ok(numbers.into_iter().map(|x| vec![x]).collect())
    }
}
