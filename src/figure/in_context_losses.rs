//! `in_context_losses`: test loss by position beside the task's exact predictors, for tasks of classes.
//!
//! Reads measure `loss_by_position`, at one checkpoint; draws what [`in_context`](super::in_context) says.

use super::in_context::InContext;
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct InContextLosses;

const SHARED: InContext =
    InContext { measure: "loss_by_position", ending: "_loss_nats", label: "test loss (nats)", log: false };

impl Figure for InContextLosses {
    fn name(&self) -> &'static str {
        "in_context_losses"
    }

    fn summary(&self) -> &'static str {
        "test loss by position beside the task's exact predictors, at a checkpoint"
    }

    fn explain(&self) -> String {
        SHARED.explain()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["loss_by_position"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        SHARED.draw(input, sink)
    }
}
