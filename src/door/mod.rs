//! The open door: a model, a layer or a loss of your own, written with candle tensors and without a gradient by hand, as if it were built in.
//!
//! - A [`Model`] has parameters and makes logits of tokens; [`model`] gives it a name for `model.family` of a spec.
//! - A [`Layer`] takes the place of the MLP in each block of the built-in transformer; [`layer`] names it for `model.layer`.
//! - A loss is a function from logits and right classes to a loss for each row; [`loss`] names it for `loss.kind`.
//!
//! [`cli::main_with`](crate::cli::main_with) makes of them a program with every command of `phaselab`: they train under its tasks, replicas,
//! optimisers, snapshots, resume, measures and figures. `examples/gated.rs` is such a program. As a library,
//! [`outside::register`](crate::outside::register) makes them known.
//!
//! ```
//! use candle_core::{Result, Tensor};
//! use phaselab::door::{Model, Param, Scope};
//! use phaselab::model::TaskShape;
//!
//! /// Logits are sums of what each token says.
//! #[derive(Default, serde::Serialize, serde::Deserialize)]
//! struct Bag {}
//!
//! impl Model for Bag {
//!     fn params(&self, task: &TaskShape) -> Vec<Param> {
//!         vec![Param::new("embed.W_E", [task.d_vocab, task.d_vocab_out])]
//!     }
//!
//!     fn forward(&self, tokens: &Tensor, s: &Scope<'_>) -> Result<Tensor> {
//!         s.embed("embed.W_E", tokens)?.sum(1)
//!     }
//! }
//!
//! let bag = phaselab::door::model::<Bag>("bag", "a sum over tokens");
//! phaselab::outside::register(&[bag])?;
//! # Ok::<(), phaselab::error::Error>(())
//! ```
//!
//! # What the program holds to
//!
//! - *The same bits* on any number of threads, alone or among other replicas, interrupted or not. candle's matrix products run in the worker that
//!   calls them, never on threads of their own (their bits do not depend on it); element-wise operations on more than 65,536 numbers
//!   use candle's own helper threads (same bits; `CANDLE_NUM_THREADS=1` keeps them off).
//! - *Examples do not see each other*: a batch is worked on in tiles of examples, so the numbers of an example must not depend on the others
//!   (no batch normalisation). This is tried before training, in f32 and f64, and so are the shapes, and whether the gradients of all
//!   parameters and of a layer's rows are what differences say: candle's fused `layer_norm`, `rms_norm`, `softmax_last_dim` and `rope`
//!   silently have none; use `candle_nn::ops::softmax` and `layer_norm_slow`. `conv1d` has a wrong one for its kernel (candle 0.11); sum
//!   matrix products of shifted inputs. A model that cuts gradients on purpose says so
//!   ([`Model::cuts_gradients`]).
//! - Randomness is an argument: [`Model::start`] gets a generator. A forward pass that draws numbers of its own breaks the first promise.
//!
//! # What is slower, and why
//!
//! The engine's savings end at the door: nothing is tabulated or fused, each operation makes a new tensor, and gradients are found by walking
//! candle's graph anew for every tile. A step of the engine's MLP written in candle (addition mod 53, d_model 64, d_mlp 128, f32) took about 4 times as
//! long as the built-in one: medians of 100 steps, the two alternating on a busy machine; other runs there gave 3.5 to 4.8.

mod adapter;
mod call;
mod loss;
mod scope;
mod trial;

use std::sync::Arc;

use candle_core::Tensor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::TaskShape;
use crate::outside::{Addition, Thing};
use crate::rng::Rng;

pub use scope::Scope;

/// A model of your own. Its fields are its settings, read from `[model.custom]` of a spec; each must have a default (`#[serde(default)]`).
pub trait Model: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its parameters, in the order in which they are stored. Measures find what carries TransformerLens's names
    /// (`embed.W_E [d_vocab, d_model]`, `unembed.W_U [d, d_vocab_out]`, …).
    fn params(&self, task: &TaskShape) -> Vec<Param>;

    /// Logits of a batch, from its tokens `[B, n_ctx]` (u32); in the dtype of the parameters.
    ///
    /// # Shapes
    /// `[B, d_vocab_out]` where the loss has one position, or `[B, L, d_vocab_out]` at the loss's positions, or
    /// `[B, n_ctx, d_vocab_out]` at all.
    ///
    /// # Errors
    /// candle's; training then ends with the error, and what was saved stays.
    fn forward(&self, tokens: &Tensor, s: &Scope<'_>) -> candle_core::Result<Tensor>;

    /// The first numbers of a parameter, from a stream of its own for each seed and name: [`start`] unless you say otherwise.
    /// Weights are then multiplied by `model.init_scale`.
    fn start(&self, param: &Param, rng: &mut Rng, values: &mut [f64]) {
        start(param, rng, values);
    }

    /// Whether it keeps gradients from something on purpose (`detach`, a straight-through estimate): the trial before training then
    /// does not hold them against differences.
    fn cuts_gradients(&self) -> bool {
        false
    }

    /// What is wrong with the settings, beyond their types: (key, what).
    fn faults(&self) -> Vec<(&'static str, String)> {
        vec![]
    }
}

/// A layer of your own: rows in, rows out, each by itself. Its settings are read as those of a [`Model`].
pub trait Layer: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its parameters, where the residual stream is `width` wide; they are stored as `blocks.L.mlp.NAME`.
    fn params(&self, width: usize) -> Vec<Param>;

    /// Rows `[rows, width]` from rows `[rows, width]`. Hooks that are kept are `[rows, …]`, and get names as the parameters do.
    ///
    /// # Errors
    /// As [`Model::forward`].
    fn forward(&self, x: &Tensor, s: &Scope<'_>) -> candle_core::Result<Tensor>;

    /// As [`Model::start`].
    fn start(&self, param: &Param, rng: &mut Rng, values: &mut [f64]) {
        start(param, rng, values);
    }

    /// As [`Model::cuts_gradients`].
    fn cuts_gradients(&self) -> bool {
        false
    }

    /// As [`Model::faults`].
    fn faults(&self) -> Vec<(&'static str, String)> {
        vec![]
    }
}

/// Name and shape of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name; TransformerLens's, for measures to find it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Param {
    /// A parameter of that name and shape.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Param {
        Param { name: name.into(), shape: shape.into() }
    }

    /// The last part of the name.
    fn field(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is neither a bias `b…` nor a norm's `w`.
    fn is_weight(&self) -> bool {
        self.field() != "w" && !self.field().starts_with('b')
    }

    /// Multiplies a weight.
    fn scale(&self, by: f64, values: &mut [f64]) {
        if self.is_weight() {
            values.iter_mut().for_each(|x| *x *= by);
        }
    }
}

/// The usual first numbers: biases (`b…`) 0, the `w` of a norm 1, other parameters normal with deviation 1/√(number of inputs), which for
/// embeddings (`embed.…`, `pos_embed.…`) is their width.
pub fn start(param: &Param, rng: &mut Rng, values: &mut [f64]) {
    if !param.is_weight() {
        values.fill(if param.field() == "w" { 1.0 } else { 0.0 });
        return;
    }
    let width = param.shape.last().copied().unwrap_or(1).max(1);
    let inputs = match param.name.split('.').next() {
        Some("embed" | "pos_embed") => width,
        _ => (values.len() / width).max(1),
    };
    rng.fill_normal(values);
    let deviation = 1.0 / (inputs as f64).sqrt();
    values.iter_mut().for_each(|x| *x *= deviation);
}

/// The model `M`, for `model.family = "NAME"`.
pub fn model<M: Model>(name: &'static str, summary: &'static str) -> Addition {
    add(name, summary, Thing::Network(Arc::new(adapter::Candle::<M>::new(name))))
}

/// The layer `L`, for `model.layer = "NAME"`.
pub fn layer<L: Layer>(name: &'static str, summary: &'static str) -> Addition {
    add(name, summary, Thing::Layer(Arc::new(adapter::Candle::<L>::new(name))))
}

/// A loss, for `loss.kind = "NAME"`: from logits `[rows, classes]` (f64 whatever the dtype) and right classes `[rows]` (u32) to a loss for
/// each row `[rows]`. The loss of a batch is their weighted mean.
///
/// ```
/// use candle_core::D;
/// use phaselab::door;
///
/// // Cross-entropy of labels smoothed by a tenth.
/// let smooth = door::loss("smooth", "smoothed labels", |logits, targets| {
///     let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
///     let right = log_p.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?;
///     (right * -0.9)? + (log_p.mean(1)? * -0.1)?
/// });
/// ```
pub fn loss(
    name: &'static str,
    summary: &'static str,
    body: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor> + Send + Sync + 'static,
) -> Addition {
    add(name, summary, Thing::Loss(Arc::new(loss::Loss { name, body: Box::new(body) })))
}

fn add(name: &'static str, summary: &'static str, thing: Thing) -> Addition {
    // The workers are busy with replicas already; more threads would only wait for each other.
    gemm::set_threading_threshold(usize::MAX);
    Addition { name, summary, thing }
}
