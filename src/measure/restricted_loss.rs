//! `restricted_loss`: the loss when only the key waves of a + b are kept, protocol `nanda`.
//!
//! Reads logits over all pairs and the key frequencies; writes three losses. Source: arXiv 2301.05217, section 5.1.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::projection::{self, plus, score_by_sum};
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Along;
use crate::measure::{Column, Measure};

/// Loss of the key waves alone.
pub struct RestrictedLoss;

const EXPLAIN: &str = "\
What it is
  Protocol nanda. The logits of each output class, as a function of the pair (a, b) over all p^2 pairs, are projected
  onto the constant and onto cos w_k(a+b) and sin w_k(a+b), w_k = 2 pi k / p, of every key frequency k; everything else
  is dropped, and the cross-entropy taken on all pairs, on the training split and on the test split. For x-y read a-b
  for a+b; for x*y and x/y, a and b are discrete logarithms and pairs with 0 are left out. The key frequencies are
  those that measure.key_freqs names: by default rule w_l (see key_freqs_w_l) at the last checkpoint of the range,
  replica by replica, the same for every checkpoint of a curve. The file says which (attribute key_freqs).
Reads
  The logits of all pairs; what the rule for key frequencies reads.
Unit and range
  nats, 0 and up. It falls while the circuit forms, before the test loss does.
Value at a known point
  Logits cos w_k(a+b-c) with k key: the loss of these logits (for x*y and x/y without the pairs with 0). Equal logits:
  ln p.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1. The constant is what their notebook adds as a bias correction
  (its \"trig loss\", drawn on all pairs). Other codes leave the constant out, project onto cos w_k(a+b-c) over pairs and
  classes at once, keep the whole 2 x 2 blocks of cos and sin of a and of b (so a-b too), or project the neurons: see
  restricted_loss_protocols. Frequencies by hand: measure.key_freqs = [14, 35]; anew at each checkpoint:
  measure.key_freqs_at = \"each\".";

impl Measure for RestrictedLoss {
    fn name(&self) -> &'static str {
        "restricted_loss"
    }

    fn summary(&self) -> &'static str {
        "loss when only the key frequencies' waves of a + b are kept (protocol nanda)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![
            Column::scalar("restricted_all_loss_nats", "nats"),
            Column::scalar("restricted_train_loss_nats", "nats"),
            Column::scalar("restricted_test_loss_nats", "nats"),
        ]
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let logits = subject.logit_sums()?;
        let kept_sc = plus(logits.part(Along::Sum, subject.key_freqs), &logits.mean_w);
        let (loss, _) = score_by_sum(subject, logits, &kept_sc);
        Ok(vec![vec![loss.all()], vec![loss.train()], vec![loss.test()]])
    }
}
