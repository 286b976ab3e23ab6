//! Multilayer perceptron over token embeddings or one-hot tokens.
//!
//! `x = Σ_t W_E[token_t]`, or the embeddings one after another; a layer: `x = act(x W_in + b_in)`; `logits = x W_U + b_U`.
//! It reads the positions at which the task's tokens vary, and answers at the task's loss position.
//!
//! With `input = "onehot"` there is no embedding: the first layer's `W_in` is `[positions · tokens, d_mlp]`, a row for each token
//! that can stand at one of those positions (the largest of them plus one), position by position. With
//! `parametrization = "mean_field"` a layer gives `act((x W_in + b_in) / √fan_in)` and the output `(x W_U + b_U) / fan_in`, fan_in
//! being the rows of the matrix. Gromov 2023 (arXiv 2301.02679, equations 1 to 3) is both, with x², one layer, no biases,
//! `init = "unit"`, squared error and full batches, by plain SGD or AdamW.

use super::{TaskShape, activate};
use crate::engine::Graph;
use crate::engine::cpu::factor::Factor;
use crate::engine::cpu::join::Join;
use crate::engine::cpu::linear::Linear;
use crate::engine::cpu::one_hot::OneHot;
use crate::engine::op::ValueId;
use crate::spec::{self, Input, ModelSpec, Parametrization};

/// The graph of an MLP.
pub(super) fn graph(spec: &ModelSpec, task: &TaskShape) -> Graph {
    let mut g = Graph::new(task.n_ctx);
    let at = &task.loss_positions;
    let joined = (spec.input == Input::Embed).then(|| embed(&mut g, spec, task));
    // What the next layer reads, and its width; nothing yet for one-hot tokens.
    let mut below = joined;
    for layer in 0..spec.n_layers {
        let name = |rest: &str| format!("blocks.{layer}.mlp.{rest}");
        let d_in = below.map_or(task.varying_positions.len() * task.varying_tokens, |(_, width)| width);
        let w = g.param(name("W_in"), &[d_in, spec.d_mlp]);
        let b = spec.mlp_bias.then(|| g.param(name("b_in"), &[spec.d_mlp]));
        let pre =
            scaled(
                &mut g,
                spec,
                (&name("hook_pre"), spec.d_mlp),
                at,
                (d_in as f64).sqrt().recip(),
                |g, y| match below {
                    Some((x, _)) => g.push(Linear { x, y, w, b, residual: None, d_in, d_out: spec.d_mlp }),
                    None => {
                        let positions = task.varying_positions.clone();
                        g.push(OneHot { y, w, b, positions, n_tokens: task.varying_tokens });
                    }
                },
            );
        let post = g.value_at(name("hook_post"), &[spec.d_mlp], at.clone());
        activate(&mut g, &spec.act, pre, post);
        below = Some((post, spec.d_mlp));
    }
    let (x, d_in) = below.expect("invariant: an MLP has a hidden layer");
    let d_out = task.d_vocab_out;
    let w = g.param("unembed.W_U", &[d_in, d_out]);
    let b = spec.unembed_bias.then(|| g.param("unembed.b_U", &[d_out]));
    g.logits = scaled(&mut g, spec, ("logits", d_out), at, readout(spec), |g, y| {
        g.push(Linear { x, y, w, b, residual: None, d_in, d_out });
    });
    g
}

/// The factor of the logits.
pub(super) fn readout(spec: &ModelSpec) -> f64 {
    match spec.parametrization {
        Parametrization::Standard => 1.0,
        Parametrization::MeanField => (spec.d_mlp as f64).recip(),
    }
}

/// Embeddings of the varying positions, joined; with their width.
fn embed(g: &mut Graph, spec: &ModelSpec, task: &TaskShape) -> (ValueId, usize) {
    let d = spec.d_model;
    let (_, token) = super::embed(g, task, d);
    let joined = match spec.join {
        spec::Join::Sum => d,
        spec::Join::Concat => d * task.varying_positions.len(),
    };
    let x = g.value_at("hook_join", &[joined], task.loss_positions.clone());
    g.push(Join { x: token, y: x, positions: task.varying_positions.clone(), how: spec.join });
    (x, joined)
}

/// The value `name` that `push` writes, with the parametrisation's factor between where there is one.
fn scaled(
    g: &mut Graph,
    spec: &ModelSpec,
    (name, width): (&str, usize),
    at: &[usize],
    by: f64,
    push: impl FnOnce(&mut Graph, ValueId),
) -> ValueId {
    if spec.parametrization == Parametrization::Standard {
        let y = g.value_at(name, &[width], at.to_vec());
        push(g, y);
        return y;
    }
    let x = g.value_at(format!("{name}.unscaled"), &[width], at.to_vec());
    push(g, x);
    let y = g.value_at(name, &[width], at.to_vec());
    g.push(Factor { x, y, by });
    y
}
