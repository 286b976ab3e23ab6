//! Spec -> graph: the built-in networks as lists of ops, and how their parameters start.

mod init;
mod mlp;
mod torch;
mod transformer;

pub use init::initialize;

use crate::engine::Graph;
use crate::outside;
use crate::spec::{Family, ModelSpec};

/// What a network must know of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskShape {
    /// Input tokens.
    pub d_vocab: usize,
    /// Classes of the loss.
    pub d_vocab_out: usize,
    /// Positions an example.
    pub n_ctx: usize,
    /// Positions whose logits enter the loss.
    pub loss_positions: Vec<usize>,
    /// Positions at which more than one token can stand: what an MLP reads.
    pub varying_positions: Vec<usize>,
}

/// The network of a spec, every value at every position; one that is not in this program is told when it is compiled.
pub fn graph(spec: &ModelSpec, task: &TaskShape) -> Graph {
    match spec.family {
        Family::Transformer => transformer::graph(spec, task),
        Family::Mlp => mlp::graph(spec, task),
        Family::Outside(name) => match outside::network(&name) {
            Ok(network) => network.graph(spec, task),
            Err(fault) => Graph { fault: Some(fault), ..Graph::new(task.n_ctx) },
        },
    }
}
