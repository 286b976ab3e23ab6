//! `label_curves`: test loss and whole examples right for each label over training.
//!
//! Reads measure `loss_by_label`; a curve each, medians over the replicas, over logarithmic steps.

use super::along::{self, Part};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct LabelCurves;

const PARTS: [Part; 2] = [
    Part { measure: "loss_by_label", column: "test_loss_nats", label: "test loss (nats, log scale)", log: true },
    Part { measure: "loss_by_label", column: "test_exact_frac", label: "all right (fraction)", log: false },
];

impl Figure for LabelCurves {
    fn name(&self) -> &'static str {
        "label_curves"
    }

    fn summary(&self) -> &'static str {
        "test loss and whole examples right for each label over training"
    }

    fn explain(&self) -> String {
        "\
What it is
  The test loss (top) and the fraction of test examples without a mistake (bottom) for each label of the task: carries,
  length, depth. A curve a label, from dark to light where there are more than five; medians over the replicas.
Reads
  Measure loss_by_label. Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  Nats, log scale; a fraction, 0 to 1; steps are counts of updates.
Value at a known point
  Before training every curve of the loss is near the logarithm of the number of classes.
Source
  The usual definitions."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["loss_by_label"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        along::draw(input, sink, "Test loss and whole examples by label", &PARTS)
    }
}
