//! `logits_cube_fit`: the logits as a sum of cos w_k(a + b - c).
//!
//! Reads logits over all pairs and the key frequencies; writes coefficients and fractions. Source: arXiv 2301.05217, section 4.1.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::cube;
use crate::measure::group::freq_axis;
use crate::measure::projection::{self, row};
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Sums;
use crate::measure::{Column, Measure};

/// Logits as waves of a + b - c.
pub struct LogitsCubeFit;

const EXPLAIN: &str = "\
What it is
  Least squares of the logits over all p^2 pairs and p classes on cos w_k(a+b-c), which are orthogonal:
  coeff        for every k, the component along cos w_k(a+b-c) divided by its norm sqrt(p^3/2) (sqrt(p^3) at k = p/2):
               the notebook's cos_coeffs
  alpha        the factor in front of cos w_k(a+b-c): coeff over that norm
  cos_sim      coeff over the norm of all logits: the notebook's cos_sim
  explained_frac           fraction of the variance of the logits (around their mean over pairs and classes) that the
                           key frequencies' sum explains
  explained_centred_frac   the same after each pair's mean over the classes is taken away, which no softmax sees
  key_residual_frac        norm of the logits less the key frequencies' sum, over the norm of the logits
  all_residual_frac        the same with every frequency: the notebook's residual_cos_sim
  For x-y read a-b for a+b; for x*y and x/y, a, b and c are discrete logarithms, and pairs and classes with 0 are left
  out.
Reads
  The logits of all pairs, classes 0 to p-1; what the rule for key frequencies reads.
Unit and range
  coeff, alpha: nats, any sign. cos_sim: -1 to 1. Fractions: 0 to 1; no value when the logits do not vary.
Value at a known point
  Logits 3 cos w_k(a+b-c) with k key: alpha 3, cos_sim 1, explained 1, residuals 0.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4.1 (95 % of the variance in the main run) and figure 11, its
  notebook, and the TransformerLens Grokking_Demo.";

impl Measure for LogitsCubeFit {
    fn name(&self) -> &'static str {
        "logits_cube_fit"
    }

    fn summary(&self) -> &'static str {
        "coefficients of cos w_k(a+b-c) in the logits, and the variance that they explain"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let along = [("coeff", "nats"), ("alpha", "nats"), ("cos_sim", "1")]
            .map(|(name, unit)| Column::along(name, unit, freq_axis(setting)));
        let over = ["explained_frac", "explained_centred_frac", "key_residual_frac", "all_residual_frac"];
        along.into_iter().chain(over.map(|name| Column::scalar(name, "fraction"))).collect()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let logits = subject.logit_sums()?;
        let n = logits.group.order;
        let coeffs = cube::components(logits);
        let spread = Spread::of(subject, logits);
        let along_keys: f64 = subject.key_freqs.iter().map(|&k| coeffs[k - 1] * coeffs[k - 1]).sum();
        let all: Vec<usize> = (1..=coeffs.len()).collect();
        let residual = |freqs: &[usize]| {
            let part_sc = cube::part(logits, &coeffs, freqs);
            (residual_squares(subject, logits, &part_sc) / spread.squares).sqrt()
        };
        let share = |total: f64| if total > 1e-24 * spread.squares { along_keys / total } else { f64::NAN };
        Ok(vec![
            coeffs.clone(),
            coeffs.iter().enumerate().map(|(i, coeff)| coeff / cube::norm(n, i + 1)).collect(),
            coeffs.iter().map(|coeff| coeff / spread.squares.sqrt()).collect(),
            vec![share(spread.variation)],
            vec![share(spread.centred)],
            vec![residual(subject.key_freqs)],
            vec![residual(&all)],
        ])
    }
}

/// Sums of squares of the logits over the pairs and classes of the group.
struct Spread {
    /// Of the logits.
    squares: f64,
    /// Of their deviations from the mean of all.
    variation: f64,
    /// Of their deviations from the pair's mean over the classes.
    centred: f64,
}

impl Spread {
    fn of(subject: &Subject, logits: &Sums) -> Spread {
        let n = logits.group.order as f64;
        let mean = logits.group.residues.iter().map(|&c| logits.mean_w[c]).sum::<f64>() / n;
        let mut spread = Spread { squares: 0.0, variation: 0.0, centred: 0.0 };
        for (_, row_c) in
            logits.pairs.iter().zip(subject.logits.chunks_exact(logits.width)).filter(|(p, _)| p.is_some())
        {
            let classes = || logits.group.residues.iter().map(|&c| row_c[c]);
            let own = classes().sum::<f64>() / n;
            spread.squares += classes().map(|x| x * x).sum::<f64>();
            spread.variation += classes().map(|x| (x - mean) * (x - mean)).sum::<f64>();
            spread.centred += classes().map(|x| (x - own) * (x - own)).sum::<f64>();
        }
        spread
    }
}

/// Sum of squares of the logits less a table over a + b, over the pairs and classes of the group.
fn residual_squares(subject: &Subject, logits: &Sums, part_sc: &[f64]) -> f64 {
    let mut squares = 0.0;
    for (&pair, row_c) in logits.pairs.iter().zip(subject.logits.chunks_exact(logits.width)) {
        let Some(pair) = pair else { continue };
        let part_c = row(part_sc, logits.width, logits.group.sum(pair));
        squares += logits.group.residues.iter().map(|&c| (row_c[c] - part_c[c]).powi(2)).sum::<f64>();
    }
    squares
}
