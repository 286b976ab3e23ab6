//! `head_curves`: prefix matching and previous-token attention of each head over training.
//!
//! Reads measure `head_scores`; a curve each, medians over the replicas, over logarithmic steps.

use super::along::{self, Part};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct HeadCurves;

const PARTS: [Part; 2] = [
    Part { measure: "head_scores", column: "prefix_matching", label: "prefix matching (fraction)", log: false },
    Part { measure: "head_scores", column: "previous_token", label: "previous token (fraction)", log: false },
];

impl Figure for HeadCurves {
    fn name(&self) -> &'static str {
        "head_curves"
    }

    fn summary(&self) -> &'static str {
        "prefix matching and previous-token attention of each head over training"
    }

    fn explain(&self) -> String {
        "\
What it is
  How much each head attends behind earlier copies of its token (prefix matching, top) and to the token before
  (bottom). A curve a head, counted as layer * n_heads + head; medians over the replicas, so that heads that take the
  same place in different replicas look alike only if they have the same number.
Reads
  Measure head_scores. Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  Fraction of the attention, 0 to 1; steps are counts of updates.
Value at a known point
  An induction head has a prefix matching near 1 where sequences repeat; the head that serves it attends to the
  previous token, in an earlier layer.
Source
  Olsson et al. 2022, arXiv 2209.11895."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["head_scores"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        along::draw(input, sink, "Attention heads", &PARTS)
    }
}
