//! Plan -> numbers: ops over named, preallocated buffers, for many replicas at once.
//!
//! [`graph`] is what a model writes, [`plan`] what becomes of it, [`cpu`] the ops, [`runner`] the workers. See the module docs
//! of [`plan`] for the savings and of [`runner`] for why results do not depend on threads.

pub mod batch;
pub(crate) mod cpu;
pub(crate) mod ctx;
pub mod cuda;
pub mod edit;
pub mod graph;
// Only functions from outside keep things or fail, and those come with the feature.
#[cfg_attr(not(feature = "candle"), allow(dead_code))]
pub(crate) mod kept;
pub mod op;
pub mod params;
pub mod plan;
pub mod real;
pub mod runner;
pub mod simd;
mod sums;
pub mod terms;
pub mod tiny;
mod transpose;
mod turns;
mod work;
mod workers;

#[cfg(test)]
pub(crate) mod check;

pub use batch::{Batch, ExampleSet, Inputs, Targets};
pub use cpu::matmul::peak_flops;
pub(crate) use cpu::matmul::{Mat, matmul};
pub use ctx::Ctx;
pub use edit::{Change, Edit, Hook};
pub use graph::Graph;
pub use params::{Layout, ParamInfo, ParamLayout, Params};
pub use plan::{BatchShape, LOSS_LOGITS, Plan, Savings, Target};
pub use real::Real;
pub use runner::{Runner, State, StepOutcome};
pub use terms::{Term, TermKind};
pub use workers::Workers;
