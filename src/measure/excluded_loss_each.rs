//! `excluded_loss_each`: the training loss when the waves of one frequency at a time are taken away.
//!
//! Reads logits over all pairs; writes a loss a protocol and frequency. Sources: arXiv 2301.05217, section 5.1, its notebook.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::cube;
use crate::measure::group::{self, freq_axis};
use crate::measure::projection::with_differences;
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Along;
use crate::measure::without_each::{Taken, TrainRows};
use crate::measure::{Column, Measure};

/// Loss without each frequency.
pub struct ExcludedLossEach;

const EXPLAIN: &str = "\
What it is
  The cross-entropy on the training split of the logits less the waves of frequency k alone, for every k, key or not.
  sum_train_loss_nats     less cos w_k(a+b) and sin w_k(a+b), class by class: the notebook's \"excluded loss 2D\"
  blocks_train_loss_nats  less the four products of cos and sin of w_k a with cos and sin of w_k b, class by class
  cube_train_loss_nats    less cos w_k(a+b-c) over pairs and classes at once: the notebook's \"excluded loss 3D\"
  For x-y read a-b for a+b; for x*y and x/y, a and b are discrete logarithms and pairs with 0 are left out.
Reads
  The logits of all pairs; the split.
Unit and range
  nats, 0 and up; frequencies 1 to (p-1)/2 (p/2 for even p).
Value at a known point
  Logits cos w_k(a+b-c): ln p at k, the training loss of these logits elsewhere (for x*y and x/y without the
  pairs with 0).
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1 and figure 12, and its notebook. All at once: excluded_loss.";

impl Measure for ExcludedLossEach {
    fn name(&self) -> &'static str {
        "excluded_loss_each"
    }

    fn summary(&self) -> &'static str {
        "training loss when one frequency at a time is taken away"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        group::sum_fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        ["sum", "blocks", "cube"]
            .map(|name| Column::along(&format!("{name}_train_loss_nats"), "nats", freq_axis(setting)))
            .into()
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let logits = subject.logit_sums()?;
        let (rows, components_f) = (TrainRows::new(subject, logits), cube::components(logits));
        let n_freqs = components_f.len();
        let sum = |k: usize| Taken { sum_sc: logits.part(Along::Sum, &[k]), difference_dc: None };
        let blocks = |k: usize| {
            let difference_dc = Some(logits.part(Along::Difference, &with_differences(logits, &[k])));
            Taken { difference_dc, ..sum(k) }
        };
        let cube = |k: usize| Taken { sum_sc: cube::part(logits, &components_f, &[k]), difference_dc: None };
        Ok(vec![
            rows.losses_without(n_freqs, sum),
            rows.losses_without(n_freqs, blocks),
            rows.losses_without(n_freqs, cube),
        ])
    }
}
