//! What a measure is taken of: one checkpoint, the last one alone, or the whole course of a replica.
//!
//! A measure of the course gives a point of a space at every checkpoint ([`Measure::eval`](super::Measure::eval)) and turns the
//! points of all checkpoints into its columns ([`Course::trace`]). The driver holds the points of as many replicas at a time
//! as fit [`MEMORY_BYTES`], of one at least.

use crate::measure::Setting;

/// What points of courses may take; the course of one replica may take more.
pub const MEMORY_BYTES: usize = 1 << 30;

/// What a measure is taken of.
#[derive(Clone, Copy)]
pub enum Scope<'a> {
    /// Every checkpoint, apart from the others.
    Checkpoint,
    /// The last checkpoint of the range alone, since it costs much more than a forward pass.
    Last,
    /// All checkpoints of the range together.
    Course(&'a dyn Course),
}

/// A measure of the whole course of a replica.
pub trait Course: Sync {
    /// Numbers of a point.
    fn point_len(&self, setting: &Setting) -> usize;

    /// The columns of one replica.
    ///
    /// # Shapes
    /// `points_sn` S points `[point_len]`, in order of step -> one vector a column, `[S, width]`
    fn trace(&self, points_sn: &[Vec<f64>]) -> Vec<Vec<f64>>;
}
