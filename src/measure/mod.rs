//! Checkpoints -> series of numbers.

mod series;

pub use series::{Axis, Series};
