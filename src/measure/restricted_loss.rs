//! `restricted_loss`: the loss when only the key waves of a + b are kept, protocol `nanda`.
//!
//! Reads logits over all pairs and the key frequencies; writes three losses. Source: arXiv 2301.05217, section 5.1.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::loss::{SplitMean, cross_entropy, rows};
use crate::measure::projection::{self, Projection};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Loss of the key waves alone.
pub struct RestrictedLoss;

const EXPLAIN: &str = "\
What it is
  Protocol nanda. The logits of each output class, as a function of the pair (a, b) over all p^2 pairs, are projected
  onto the constant and onto cos w_k(a+b) and sin w_k(a+b), w_k = 2 pi k / p, of every key frequency k; everything else
  is dropped, and the cross-entropy taken on all pairs, on the training split and on the test split. For x-y read a-b
  for a+b. The key frequencies are those of rule w_l (see key_freqs_w_l) at the last checkpoint of the range, replica by
  replica, the same for every checkpoint of a curve.
Reads
  The logits of all pairs; W_L at the last checkpoint of the range.
Unit and range
  nats, 0 and up. It falls while the circuit forms, before the test loss does.
Value at a known point
  Logits cos w_k(a+b-c) with k key: the plain loss. Equal logits: ln p.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1. The constant is what their notebook adds as a bias correction
  (its \"trig loss\"). Other codes leave the constant out, project onto cos w_k(a+b-c) over pairs and classes at once,
  keep the whole 2 x 2 blocks of cos and sin of a and of b (so a-b too), name the frequencies by hand, or take them
  anew at each checkpoint; the figure in the paper does not name its split.";

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

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let projection = Projection::new(subject, &subject.key_freqs.w_l)?;
        let mut loss = SplitMean::default();
        let mut kept_c = vec![0.0; subject.setting.examples.n_classes];
        for (n, (_, &target)) in rows(subject).enumerate() {
            let parts = projection.mean_c.iter().zip(projection.waves_c(n));
            kept_c.iter_mut().zip(parts).for_each(|(kept, (mean, wave))| *kept = mean + wave);
            loss.add(subject.train_mask[n], cross_entropy(&kept_c, target));
        }
        Ok(vec![vec![loss.all()], vec![loss.train()], vec![loss.test()]])
    }
}
