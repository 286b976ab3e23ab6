//! Decoder-only transformer, in TransformerLens's names and order of operations.
//!
//! `x = W_E[token] + W_pos[position]` (the second term where positions are learned); a block: `x += attention(LN1 x)`,
//! `x += MLP(LN2 x)`; `logits = LN_final(x) W_U + b_U`, W_U being the classes' rows of W_E, transposed, where it is tied.

use super::{TaskShape, activate};
use crate::engine::Graph;
use crate::engine::cpu::embed::{Embed, Index};
use crate::engine::cpu::gain::Gain;
use crate::engine::cpu::layer_norm::LayerNorm;
use crate::engine::cpu::linear::Linear;
use crate::engine::cpu::mix::Mix;
use crate::engine::cpu::pre_norm::PreNorm;
use crate::engine::cpu::scores::{Heads, Scores, Sight};
use crate::engine::cpu::softmax::Softmax;
use crate::engine::cpu::sum::Sum;
use crate::engine::cpu::tied::Tied;
use crate::engine::op::{ParamId, ValueId};
use crate::outside;
use crate::spec::{Attention, ModelSpec, Normalization, Positional};

/// The graph of a transformer.
pub(super) fn graph(spec: &ModelSpec, task: &TaskShape) -> Graph {
    let mut g = Graph::new(task.n_ctx);
    let w_e = g.param("embed.W_E", &[task.d_vocab, spec.d_model]);
    let mut x = embed(&mut g, spec, task, w_e);
    for layer in 0..spec.n_layers {
        x = block(&mut g, spec, task, layer, x);
    }
    let x = normalize(&mut g, spec, "ln_final", x);
    g.logits = unembed(&mut g, spec, task, (x, w_e));
    g
}

fn embed(g: &mut Graph, spec: &ModelSpec, task: &TaskShape, w_e: ParamId) -> ValueId {
    const FIRST: &str = "blocks.0.hook_resid_pre";
    let d = spec.d_model;
    // Declared before any value's op, since the order of parameters is that of files.
    let w_pos = (spec.positional == Positional::Learned).then(|| g.param("pos_embed.W_pos", &[task.n_ctx, d]));
    let token = g.value("hook_embed", &[d]);
    g.push(Embed { w: w_e, output: token, index: Index::Token });
    let Some(w_pos) = w_pos else {
        g.aliases.push((FIRST.into(), token));
        return token;
    };
    let position = g.value("hook_pos_embed", &[d]);
    g.push(Embed { w: w_pos, output: position, index: Index::Position });
    let x = g.value(FIRST, &[d]);
    g.push(Sum { a: token, b: position, y: x });
    x
}

fn unembed(g: &mut Graph, spec: &ModelSpec, task: &TaskShape, (x, w_e): (ValueId, ParamId)) -> ValueId {
    let (d, classes) = (spec.d_model, task.d_vocab_out);
    let w = (!spec.tied_unembed).then(|| g.param("unembed.W_U", &[d, classes]));
    let b = spec.unembed_bias.then(|| g.param("unembed.b_U", &[classes]));
    let y = g.value("logits", &[classes]);
    match w {
        Some(w) => g.push(Linear { x, y, w, b, residual: None, d_in: d, d_out: classes }),
        None => g.push(Tied { x, y, w: w_e, b, d, classes }),
    }
    y
}

fn block(g: &mut Graph, spec: &ModelSpec, task: &TaskShape, layer: usize, x: ValueId) -> ValueId {
    let d = spec.d_model;
    let name = |rest: &str| format!("blocks.{layer}.{rest}");
    let attn_out = attention(g, spec, layer, x);
    if spec.d_mlp == 0 && spec.layer.is_none() {
        return residual(g, spec, layer, (x, attn_out));
    }
    let mid = g.value(name("hook_resid_mid"), &[d]);
    g.push(Sum { a: x, b: attn_out, y: mid });
    let normal = normalize(g, spec, &name("ln2"), mid);
    if let Some(own) = &spec.layer {
        let mlp_out = match outside::layer(own) {
            Ok(own) => own.push(g, spec, task, (&name("mlp"), &name("hook_mlp_out")), normal),
            Err(fault) => {
                g.fault = Some(fault);
                normal
            }
        };
        return residual(g, spec, layer, (mid, mlp_out));
    }
    let (w_in, b_in) = matrix(g, &name("mlp"), "in", [d, spec.d_mlp], spec.mlp_bias);
    let pre = g.value(name("mlp.hook_pre"), &[spec.d_mlp]);
    g.push(Linear { x: normal, y: pre, w: w_in, b: b_in, residual: None, d_in: d, d_out: spec.d_mlp });
    let hidden = g.value(name("mlp.hook_post"), &[spec.d_mlp]);
    activate(g, &spec.act, pre, hidden);
    let (w_out, b_out) = matrix(g, &name("mlp"), "out", [spec.d_mlp, d], spec.mlp_bias);
    let mlp_out = g.value(name("hook_mlp_out"), &[d]);
    g.push(Linear { x: hidden, y: mlp_out, w: w_out, b: b_out, residual: None, d_in: spec.d_mlp, d_out: d });
    residual(g, spec, layer, (mid, mlp_out))
}

/// The end of a block, which has a second name as the beginning of the next.
fn residual(g: &mut Graph, spec: &ModelSpec, layer: usize, (a, b): (ValueId, ValueId)) -> ValueId {
    let y = g.value(format!("blocks.{layer}.hook_resid_post"), &[spec.d_model]);
    g.push(Sum { a, b, y });
    if layer + 1 < spec.n_layers {
        g.aliases.push((format!("blocks.{}.hook_resid_pre", layer + 1), y));
    }
    y
}

fn attention(g: &mut Graph, spec: &ModelSpec, layer: usize, x: ValueId) -> ValueId {
    let (d, h, k) = (spec.d_model, spec.n_heads, spec.d_head());
    let name = |rest: &str| format!("blocks.{layer}.{rest}");
    let normal = normalize(g, spec, &name("ln1"), x);
    let mut project = |letter: char| {
        let w = g.heads_param(name(&format!("attn.W_{letter}")), [h, d, k]);
        let b = spec.attn_bias.then(|| g.param(name(&format!("attn.b_{letter}")), &[h, k]));
        let y = g.value(name(&format!("attn.hook_{}", letter.to_ascii_lowercase())), &[h, k]);
        g.push(Linear { x: normal, y, w, b, residual: None, d_in: d, d_out: h * k });
        y
    };
    let (q, key, v) = (project('Q'), project('K'), project('V'));
    let keys = g.n_ctx;
    let sight = match (spec.attention, spec.window) {
        (Attention::Bidirectional, _) => Sight::Full,
        (Attention::Causal, Some(width)) => Sight::Window(width),
        (Attention::Causal, None) => Sight::Causal,
    };
    let heads = Heads { n_heads: h, n_kv_heads: h, d_head: k, keys, sight };
    let scores = g.value(name("attn.hook_attn_scores"), &[h, keys]);
    g.push(Scores { q, k: key, scores, heads });
    let pattern = g.value(name("attn.hook_pattern"), &[h, keys]);
    g.push(Softmax { scores, pattern, keys });
    let z = g.value(name("attn.hook_z"), &[h, k]);
    g.push(Mix { pattern, v, z, heads });
    let w = g.param(name("attn.W_O"), &[h, k, d]);
    let b = spec.attn_bias.then(|| g.param(name("attn.b_O"), &[d]));
    let out = g.value(name("hook_attn_out"), &[d]);
    g.push(Linear { x: z, y: out, w, b, residual: None, d_in: h * k, d_out: d });
    out
}

fn matrix(g: &mut Graph, module: &str, which: &str, shape: [usize; 2], bias: bool) -> (usize, Option<usize>) {
    let w = g.param(format!("{module}.W_{which}"), &shape);
    (w, bias.then(|| g.param(format!("{module}.b_{which}"), &shape[1..])))
}

/// TransformerLens's hooks: `hook_normalized` is the result, but for `RMS` it stands before the weight.
fn normalize(g: &mut Graph, spec: &ModelSpec, name: &str, x: ValueId) -> ValueId {
    let d = spec.d_model;
    let weight = |g: &mut Graph, letter: char| g.param(format!("{name}.{letter}"), &[d]);
    let hooks = |g: &mut Graph| {
        let y = g.value(format!("{name}.hook_normalized"), &[d]);
        (y, g.value(format!("{name}.hook_scale"), &[1]))
    };
    match spec.normalization {
        Normalization::None => x,
        Normalization::Ln => {
            let (w, b) = (weight(g, 'w'), weight(g, 'b'));
            let (y, scale) = hooks(g);
            g.push(LayerNorm { x, y, scale, w, b });
            y
        }
        pre @ (Normalization::LnPre | Normalization::RmsPre) => {
            let (y, scale) = hooks(g);
            g.push(PreNorm { x, y, scale, centred: pre == Normalization::LnPre });
            y
        }
        Normalization::Rms => {
            let w = weight(g, 'w');
            let (normal, scale) = hooks(g);
            g.push(PreNorm { x, y: normal, scale, centred: false });
            let y = g.value(format!("{name}.hook_out"), &[d]);
            g.push(Gain { x: normal, y, w });
            y
        }
    }
}
