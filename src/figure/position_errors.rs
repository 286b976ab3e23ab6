//! `position_errors`: test error at each position over training, for tasks of real numbers.
//!
//! Reads measure `error_by_position`; a curve each, medians over the replicas, over logarithmic steps.

use super::along::{self, Part};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct PositionErrors;

const PARTS: [Part; 1] =
    [Part { measure: "error_by_position", column: "test_error", label: "squared error (log scale)", log: true }];

impl Figure for PositionErrors {
    fn name(&self) -> &'static str {
        "position_errors"
    }

    fn summary(&self) -> &'static str {
        "test error at each position over training, for tasks of real numbers"
    }

    fn explain(&self) -> String {
        "\
What it is
  The squared error on the test examples at each position where numbers are asked for: the points of a linear function.
  A curve a position, from dark to light where there are more than five; medians over the replicas.
Reads
  Measure error_by_position. Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  The square of the numbers' unit, log scale; steps are counts of updates.
Value at a known point
  Before training every curve is near the mean square of the numbers asked for. A model that learns in context fans
  them out: the later the position, the lower the error.
Source
  The usual definition."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["error_by_position"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        along::draw(input, sink, "Test error by position", &PARTS)
    }
}
