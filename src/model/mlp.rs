//! Multilayer perceptron over token embeddings.
//!
//! `x = Σ_t W_E[token_t]`, or the embeddings one after another; a layer: `x = act(x W_in + b_in)`; `logits = x W_U + b_U`.
//! It reads the positions at which the task's tokens vary, and answers at the task's loss position.

use super::TaskShape;
use crate::engine::Graph;
use crate::engine::cpu::activation::Activation;
use crate::engine::cpu::embed::{Embed, Index};
use crate::engine::cpu::join::Join;
use crate::engine::cpu::linear::Linear;
use crate::spec::{self, ModelSpec};

/// The graph of an MLP.
pub(super) fn graph(spec: &ModelSpec, task: &TaskShape) -> Graph {
    let mut g = Graph::new(task.n_ctx);
    let d = spec.d_model;
    let at = &task.loss_positions;
    let w_e = g.param("embed.W_E", &[task.d_vocab, d]);
    let token = g.value("hook_embed", &[d]);
    g.push(Embed { w: w_e, output: token, index: Index::Token });
    let joined = match spec.join {
        spec::Join::Sum => d,
        spec::Join::Concat => d * task.varying_positions.len(),
    };
    let mut x = g.value_at("hook_join", &[joined], at.clone());
    g.push(Join { x: token, y: x, positions: task.varying_positions.clone(), how: spec.join });
    let mut d_in = joined;
    for layer in 0..spec.n_layers {
        let name = |rest: &str| format!("blocks.{layer}.mlp.{rest}");
        let w = g.param(name("W_in"), &[d_in, spec.d_mlp]);
        let b = spec.mlp_bias.then(|| g.param(name("b_in"), &[spec.d_mlp]));
        let pre = g.value_at(name("hook_pre"), &[spec.d_mlp], at.clone());
        g.push(Linear { x, y: pre, w, b, residual: None, d_in, d_out: spec.d_mlp });
        let post = g.value_at(name("hook_post"), &[spec.d_mlp], at.clone());
        g.push(Activation { x: pre, y: post, act: spec.act });
        (x, d_in) = (post, spec.d_mlp);
    }
    let w = g.param("unembed.W_U", &[d_in, task.d_vocab_out]);
    let b = spec.unembed_bias.then(|| g.param("unembed.b_U", &[task.d_vocab_out]));
    let y = g.value_at("logits", &[task.d_vocab_out], at.clone());
    g.push(Linear { x, y, w, b, residual: None, d_in, d_out: task.d_vocab_out });
    g.logits = y;
    g
}
