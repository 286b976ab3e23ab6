//! `trig_logits_explained`: how much of the logits' variance is key waves of a + b.
//!
//! Reads logits over all pairs and the key frequencies; writes one fraction. Source: arXiv 2301.05217, section 4.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::projection;
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Along;
use crate::measure::{Column, Measure};

/// Share of the logits' variance in the key waves.
pub struct TrigLogitsExplained;

const EXPLAIN: &str = "\
What it is
  The fraction of the variance of the logits (over all p^2 pairs, each class around its own mean, classes summed) that
  lies along cos w_k(a+b) and sin w_k(a+b) of the key frequencies. For x-y read a-b for a+b; for x*y and x/y, a and b
  are discrete logarithms and pairs with 0 are left out. The key frequencies are those that measure.key_freqs names: by
  default rule w_l (see key_freqs_w_l) at the last checkpoint of the range.
Reads
  The logits of all pairs; what the rule for key frequencies reads.
Unit and range
  fraction, 0 to 1; no value when the logits do not vary.
Value at a known point
  Logits cos w_k(a+b-c) with k key: 1. Logits cos w_k(a-b) + c: 0.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4, report 93 to 98 % of the variance of the neurons along ten
  directions of W_L (mlp_directions_explained); this is the same share, of the logits.";

impl Measure for TrigLogitsExplained {
    fn name(&self) -> &'static str {
        "trig_logits_explained"
    }

    fn summary(&self) -> &'static str {
        "fraction of the logits' variance along the key frequencies' waves of a + b"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("explained_frac", "fraction")]
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let logits = subject.logit_sums()?;
        let along: f64 = subject.key_freqs.iter().flat_map(|&k| logits.power(Along::Sum, k)).sum();
        Ok(vec![vec![if logits.varies() { along / logits.variation_w.iter().sum::<f64>() } else { f64::NAN }]])
    }
}
