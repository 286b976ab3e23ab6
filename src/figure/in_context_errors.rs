//! `in_context_errors`: test error by position beside the task's exact predictors, for tasks of real numbers.
//!
//! Reads measure `error_by_position`, at one checkpoint; draws what [`in_context`](super::in_context) says.

use super::in_context::InContext;
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct InContextErrors;

const SHARED: InContext =
    InContext { measure: "error_by_position", ending: "_error", label: "squared error (log scale)", log: true };

impl Figure for InContextErrors {
    fn name(&self) -> &'static str {
        "in_context_errors"
    }

    fn summary(&self) -> &'static str {
        "test error by position beside the task's exact predictors, at a checkpoint"
    }

    fn explain(&self) -> String {
        SHARED.explain()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["error_by_position"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        SHARED.draw(input, sink)
    }
}
