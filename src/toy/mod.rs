//! Toy models of superposition: features drawn at random, a small network that gets them through a few hidden numbers.
//!
//! Reads a spec's `[toy]` section; writes examples (`draw.rs`), what outputs are compared with (`targets.rs`) and the network with its start
//! (`network.rs`). Training itself is [`train`](crate::train) over the engine's [tiny networks](crate::engine::tiny). Source: Elhage et al. 2022
//! (arXiv 2209.10652).

mod draw;
mod network;
mod targets;

pub use draw::{BatchAt, Examples, Stream};
pub use network::{B_OUT, Network, W, W_FIRST, W_OUT, W_SECOND};
