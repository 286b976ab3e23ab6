//! What an operation is: which values and parameters it joins, how rows flow through it, and its kernels.
//!
//! An op is one file in [`cpu`](super::cpu): formula, shapes, forward, hand-derived backward, test.

use std::fmt::Debug;
use std::ops::Range;

use super::cpu::scores::Heads;
use super::ctx::Ctx;
use super::cuda::lower::OnDevice;
use super::real::Real;

/// Index of a value (an activation) in a graph.
pub type ValueId = usize;
/// Index of a parameter in a graph.
pub type ParamId = usize;

/// Rows of one space that are worked on together: examples for [`Space::Batch`], table rows for [`Space::Pairs`].
pub type Tile = Range<usize>;

/// Which rows a value has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Space {
    /// One row for each example and each of these positions, position fastest.
    Batch(Vec<usize>),
    /// One row for each (token, position) that the task can show.
    Pairs,
}

/// An activation: `[rows, width]`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// TransformerLens's hook name, or a name of ours for values without a hook.
    pub name: String,
    /// Numbers a row.
    pub width: usize,
    /// How the width splits into axes, for export: `[n_heads, d_head]`, `[n_heads, keys]`, `[width]`.
    pub axes: Vec<usize>,
    /// Its rows.
    pub space: Space,
}

/// One operation.
pub trait Op: Debug + Send + Sync {
    /// Values read.
    fn inputs(&self) -> Vec<ValueId>;
    /// Values written; the first carries the gradient.
    fn outputs(&self) -> Vec<ValueId>;
    /// Parameters read.
    fn params(&self) -> Vec<ParamId> {
        vec![]
    }
    /// Replaces an input, for rewrites.
    fn rewire(&mut self, from: ValueId, to: ValueId);
    /// Replaces an output, for edits.
    fn rewire_output(&mut self, from: ValueId, to: ValueId);
    /// Positions of input number `input` that the output at `out` depends on.
    fn reads_positions(&self, _input: usize, out: &[usize]) -> Vec<usize> {
        out.to_vec()
    }
    /// Whether each output row depends on the same row of the inputs alone.
    fn row_wise(&self) -> bool {
        true
    }
    /// Whether input number `input`, where it is not a table, must have rows for exactly the output's positions.
    fn same_rows(&self, _input: usize) -> bool {
        self.row_wise()
    }
    /// Whether inputs may be tables, from which rows are read as they are needed.
    fn reads_tables(&self) -> bool {
        true
    }
    /// Whether an output row is a function of (token, position) if the same rows of all inputs are.
    fn keeps_pairs(&self) -> bool {
        self.row_wise()
    }
    /// Whether it is an [`Edit`](super::edit::Edit).
    fn is_edit(&self) -> bool {
        false
    }
    /// Takes on what rewrites decided about the spaces of its values.
    fn settle(&mut self, _values: &[Value]) {}
    /// This op with a value added to its output, if it can do that without another pass.
    fn with_residual(&self, _residual: ValueId, _output: ValueId) -> Option<Box<dyn Op>> {
        None
    }
    /// If this op is a plain sum: its two inputs.
    fn as_sum(&self) -> Option<(ValueId, ValueId)> {
        None
    }
    /// What it is of attention, if it is a part of it.
    fn attention_part(&self) -> Option<Part> {
        None
    }
    /// Multiply-adds of one output row in the forward pass that are matrix products.
    fn macs_per_row(&self) -> usize {
        0
    }
    /// Numbers of scratch space that [`Kernel::prepare`] fills.
    fn scratch_len(&self) -> usize {
        0
    }
    /// Its launches on a device; none for ops that run on the processor alone.
    #[allow(private_interfaces)]
    fn on_device(&self) -> Option<&dyn OnDevice> {
        None
    }
    /// The f32 kernel.
    fn kernel_f32(&self) -> &dyn Kernel<f32>;
    /// The f64 kernel.
    fn kernel_f64(&self) -> &dyn Kernel<f64>;
}

/// A part of attention, which may be joined with the others.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// Scores of queries and keys.
    Scores {
        /// Queries.
        q: ValueId,
        /// Keys.
        k: ValueId,
    },
    /// The pattern of the scores.
    Softmax,
    /// Values mixed by the pattern.
    Mix {
        /// Values.
        v: ValueId,
        /// Sizes.
        heads: Heads,
    },
}

/// An operation's arithmetic in one number type.
///
/// A worker calls `forward` and `backward` tile by tile. Contributions that cross rows (parameter gradients, gradients of
/// tables) are `reduce`d: each of `owners` parts of the result has one owner, which adds tile after tile in order, so
/// the sums are the same whoever the workers are.
pub trait Kernel<T: Real> {
    /// Once a step and replica, before all tiles.
    fn prepare(&self, _c: &Ctx<'_, T>) {}
    /// Writes the output rows of `tile`.
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile);
    /// Writes (or adds to) the gradients of the inputs that have the output's rows.
    fn backward(&self, c: &Ctx<'_, T>, tile: Tile);
    /// Parts of the crossing gradients.
    fn owners(&self, _c: &Ctx<'_, T>) -> usize {
        0
    }
    /// Adds the contribution of `tile` to part `owner`.
    fn reduce(&self, _c: &Ctx<'_, T>, _tile: Tile, _owner: usize) {}
}

/// Replaces `from` among `ids`.
pub(crate) fn swap_id<'a>(ids: impl IntoIterator<Item = &'a mut ValueId>, from: ValueId, to: ValueId) {
    for id in ids {
        if *id == from {
            *id = to;
        }
    }
}

/// The methods of [`Op`] that every op writes alike, from the names of its input and output fields.
macro_rules! wiring {
    ($($fields:tt)*) => {
        $crate::engine::op::wires!($($fields)*);
        $crate::engine::op::on_device!();
    };
}
pub(crate) use wiring;

/// The same for an op that runs on the processor alone.
macro_rules! wires {
    (inputs: $($input:ident),*; output: $output:ident) => {
        fn inputs(&self) -> Vec<$crate::engine::op::ValueId> {
            vec![$(self.$input),*]
        }
        fn outputs(&self) -> Vec<$crate::engine::op::ValueId> {
            vec![self.$output]
        }
        fn rewire(&mut self, from: $crate::engine::op::ValueId, to: $crate::engine::op::ValueId) {
            $crate::engine::op::swap_id([$(&mut self.$input),*], from, to);
        }
        fn rewire_output(&mut self, from: $crate::engine::op::ValueId, to: $crate::engine::op::ValueId) {
            $crate::engine::op::swap_id([&mut self.$output], from, to);
        }
        $crate::engine::op::kernels!();
    };
}
pub(crate) use wires;

/// The two methods of [`Op`] that lead to its kernels.
macro_rules! kernels {
    () => {
        fn kernel_f32(&self) -> &dyn $crate::engine::op::Kernel<f32> {
            self
        }
        fn kernel_f64(&self) -> &dyn $crate::engine::op::Kernel<f64> {
            self
        }
    };
}
pub(crate) use kernels;

/// The method of [`Op`] that leads to its launches on a device.
macro_rules! on_device {
    () => {
        fn on_device(&self) -> Option<&dyn $crate::engine::cuda::lower::OnDevice> {
            Some(self)
        }
    };
}
pub(crate) use on_device;
