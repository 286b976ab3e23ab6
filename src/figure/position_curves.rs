//! `position_curves`: test loss and accuracy at each position over training.
//!
//! Reads measure `loss_by_position`; a curve each, medians over the replicas, over logarithmic steps.

use super::along::{self, Part};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct PositionCurves;

const PARTS: [Part; 2] = [
    Part { measure: "loss_by_position", column: "test_loss_nats", label: "test loss (nats, log scale)", log: true },
    Part { measure: "loss_by_position", column: "test_acc_frac", label: "test accuracy (fraction)", log: false },
];

impl Figure for PositionCurves {
    fn name(&self) -> &'static str {
        "position_curves"
    }

    fn summary(&self) -> &'static str {
        "test loss and accuracy at each position over training"
    }

    fn explain(&self) -> String {
        "\
What it is
  The test loss (top) and test accuracy (bottom) at each position that is asked: the digits of a sum, the items of a
  list. A curve a position, from dark to light where there are more than five; medians over the replicas.
Reads
  Measure loss_by_position. Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  Nats, log scale; a fraction, 0 to 1; steps are counts of updates.
Value at a known point
  Before training every curve is near the logarithm of the number of classes. Digits that are learned one after the
  other fall one after the other.
Source
  The per-digit losses of five-digit addition in Nanda et al. 2023, arXiv 2301.05217."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["loss_by_position"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        along::draw(input, sink, "Test loss and accuracy by position", &PARTS)
    }
}
