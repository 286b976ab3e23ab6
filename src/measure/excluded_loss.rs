//! `excluded_loss`: the training loss when the key waves of a + b are taken away, protocol `nanda`.
//!
//! Reads logits over all pairs and the key frequencies; writes one loss. Source: arXiv 2301.05217, section 5.1.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::projection::{self, row, score_by_pair};
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Along;
use crate::measure::{Column, Measure};

/// Loss without the key waves.
pub struct ExcludedLoss;

const EXPLAIN: &str = "\
What it is
  Protocol nanda. The logits of each output class, as a function of the pair (a, b) over all p^2 pairs, minus their
  projections onto cos w_k(a+b) and sin w_k(a+b), w_k = 2 pi k / p, of all key frequencies k at once; the cross-entropy
  of what is left, on the training split. For x-y read a-b for a+b; for x*y and x/y, a and b are discrete logarithms
  and pairs with 0 are left out. The key frequencies are those that measure.key_freqs names: by default rule w_l (see
  key_freqs_w_l) at the last checkpoint of the range, replica by replica, the same for every checkpoint of a curve. The
  file says which (attribute key_freqs).
Reads
  The logits of all pairs; the split; what the rule for key frequencies reads.
Unit and range
  nats, 0 and up. It falls with the training loss during memorisation and rises while the circuit forms.
Value at a known point
  Logits cos w_k(a+b-c) with k key: ln p. Equal logits: ln p.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1 (their notebook's \"excluded loss 2D full\"). It also takes one
  frequency away at a time and draws one curve for each: excluded_loss_each. Others take the whole 2 x 2 blocks of cos
  and sin of a and of b, cos w_k(a+b-c) over pairs and classes at once, or the neurons' waves: excluded_loss_protocols.";

impl Measure for ExcludedLoss {
    fn name(&self) -> &'static str {
        "excluded_loss"
    }

    fn summary(&self) -> &'static str {
        "training loss when the key frequencies' waves of a + b are taken away (protocol nanda)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("excluded_train_loss_nats", "nats")]
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let logits = subject.logit_sums()?;
        let wave_sc = logits.part(Along::Sum, subject.key_freqs);
        let left = |left_c: &mut [f64], logits_c: &[f64], (s, _): (usize, usize)| {
            let parts = logits_c.iter().zip(row(&wave_sc, logits.width, s));
            left_c.iter_mut().zip(parts).for_each(|(left, (logit, wave))| *left = logit - wave);
        };
        Ok(vec![vec![score_by_pair(subject, logits, |train| train, left).0.train()]])
    }
}
