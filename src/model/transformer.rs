//! Decoder-only transformer, in TransformerLens's names and order of operations.
//!
//! `x = W_E[token] + W_pos[position]` (the second term where positions are learned; sines where they are sinusoidal); a block:
//! `x += attention(LN1 x)`, `x += MLP(LN2 x)`, or both at once of the same x where it is parallel; `logits = LN_final(x) W_U + b_U`, W_U
//! being the classes' rows of W_E, transposed, where it is tied. Shortformer positions are added after LN1 to what queries and keys read.

use super::{TaskShape, activate};
use crate::engine::Graph;
use crate::engine::cpu::dropout::Dropout;
use crate::engine::cpu::embed::{Embed, Index};
use crate::engine::cpu::gain::Gain;
use crate::engine::cpu::layer_norm::LayerNorm;
use crate::engine::cpu::linear::Linear;
use crate::engine::cpu::mix::Mix;
use crate::engine::cpu::pre_norm::PreNorm;
use crate::engine::cpu::product::Product;
use crate::engine::cpu::rotary::{Rotary, Turns};
use crate::engine::cpu::scores::{Heads, Scores, Sight};
use crate::engine::cpu::sinusoid::Sinusoid;
use crate::engine::cpu::softmax::Softmax;
use crate::engine::cpu::sum::Sum;
use crate::engine::cpu::tied::Tied;
use crate::engine::op::{ParamId, ValueId};
use crate::outside;
use crate::spec::{Act, Attention, ModelSpec, Normalization, Positional};

/// The graph of a transformer.
pub(super) fn graph(spec: &ModelSpec, task: &TaskShape) -> Graph {
    let mut g = Graph::new(task.n_ctx);
    let (w_e, x, position) = embed(&mut g, spec, task);
    let mut x = dropped(&mut g, spec.dropout.embedding, x);
    for layer in 0..spec.n_layers {
        x = block(&mut g, spec, task, layer, (x, position));
    }
    let x = normalize(&mut g, spec, "ln_final", x);
    g.logits = unembed(&mut g, spec, task, (x, w_e));
    g
}

/// The value with numbers set to 0 at random in training.
fn dropped(g: &mut Graph, rate: f64, x: ValueId) -> ValueId {
    if rate == 0.0 {
        return x;
    }
    let (name, axes) = (g.values[x].name.clone(), g.values[x].axes.clone());
    let (y, mask) = (g.value(format!("{name}.dropped"), &axes), g.value(format!("{name}.mask"), &axes));
    let number = g.ops.len() as u64;
    g.push(Dropout { x, y, mask, rate, number });
    y
}

/// W_E, what enters the first block, and the positions that each attention adds to its queries and keys, if it does.
fn embed(g: &mut Graph, spec: &ModelSpec, task: &TaskShape) -> (ParamId, ValueId, Option<ValueId>) {
    const FIRST: &str = "blocks.0.hook_resid_pre";
    let d = spec.d_model;
    let (w_e, token) = super::embed(g, task, d);
    let learned = matches!(spec.positional, Positional::Learned | Positional::Shortformer);
    let w_pos = learned.then(|| g.param("pos_embed.W_pos", &[task.n_ctx, d]));
    let position = (w_pos.is_some() || spec.positional == Positional::Sinusoidal).then(|| {
        let position = g.value("hook_pos_embed", &[d]);
        match w_pos {
            Some(w) => g.push(Embed { w, output: position, index: Index::Position }),
            None => g.push(Sinusoid::new(task.n_ctx, d, position)),
        }
        position
    });
    let shortformer = spec.positional == Positional::Shortformer;
    let Some(added) = position.filter(|_| !shortformer) else {
        g.aliases.push((FIRST.into(), token));
        return (w_e, token, position);
    };
    let x = g.value(FIRST, &[d]);
    g.push(Sum { a: token, b: added, y: x });
    (w_e, x, None)
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

fn block(
    g: &mut Graph,
    spec: &ModelSpec,
    task: &TaskShape,
    layer: usize,
    (x, position): (ValueId, Option<ValueId>),
) -> ValueId {
    let d = spec.d_model;
    let name = |rest: &str| format!("blocks.{layer}.{rest}");
    let attn_out = attention(g, spec, layer, (x, position));
    let attn_out = dropped(g, spec.dropout.residual, attn_out);
    if spec.d_mlp == 0 && spec.layer.is_none() {
        return residual(g, spec, layer, (x, attn_out));
    }
    if spec.parallel {
        let mlp_out = mlp(g, spec, task, layer, x);
        let both = g.value(name("hook_attn_and_mlp_out"), &[d]);
        g.push(Sum { a: attn_out, b: mlp_out, y: both });
        return residual(g, spec, layer, (x, both));
    }
    let mid = g.value(name("hook_resid_mid"), &[d]);
    g.push(Sum { a: x, b: attn_out, y: mid });
    let mlp_out = mlp(g, spec, task, layer, mid);
    residual(g, spec, layer, (mid, mlp_out))
}

/// The MLP of a block, or the layer from outside in its place, after its normalisation.
fn mlp(g: &mut Graph, spec: &ModelSpec, task: &TaskShape, layer: usize, x: ValueId) -> ValueId {
    let (d, d_mlp) = (spec.d_model, spec.d_mlp);
    let name = |rest: &str| format!("blocks.{layer}.{rest}");
    let normal = normalize(g, spec, &name("ln2"), x);
    if let Some(own) = &spec.layer {
        return match outside::layer(own) {
            Ok(own) => own.push(g, spec, task, (&name("mlp"), &name("hook_mlp_out")), normal),
            Err(fault) => {
                g.fault = Some(fault);
                normal
            }
        };
    }
    let hidden = if spec.gated_mlp { gated(g, spec, layer, normal) } else { plain(g, spec, layer, normal) };
    let hidden = dropped(g, spec.dropout.hidden, hidden);
    let (w_out, b_out) = matrix(g, &name("mlp"), "out", [d_mlp, d], spec.mlp_bias);
    let mlp_out = g.value(name("hook_mlp_out"), &[d]);
    g.push(Linear { x: hidden, y: mlp_out, w: w_out, b: b_out, residual: None, d_in: d_mlp, d_out: d });
    dropped(g, spec.dropout.residual, mlp_out)
}

/// `act(x W_in + b_in)`, normalised where the activation says so.
fn plain(g: &mut Graph, spec: &ModelSpec, layer: usize, x: ValueId) -> ValueId {
    let (d, d_mlp) = (spec.d_model, spec.d_mlp);
    let name = |rest: &str| format!("blocks.{layer}.mlp.{rest}");
    let (w_in, b_in) = matrix(g, &format!("blocks.{layer}.mlp"), "in", [d, d_mlp], spec.mlp_bias);
    let pre = g.value(name("hook_pre"), &[d_mlp]);
    g.push(Linear { x, y: pre, w: w_in, b: b_in, residual: None, d_in: d, d_out: d_mlp });
    if spec.act != Act::SoluLn {
        let hidden = g.value(name("hook_post"), &[d_mlp]);
        activate(g, &spec.act, pre, hidden);
        return hidden;
    }
    let mid = g.value(name("hook_mid"), &[d_mlp]);
    activate(g, &spec.act, pre, mid);
    let (w, b) = (g.param(name("ln.w"), &[d_mlp]), g.param(name("ln.b"), &[d_mlp]));
    let (hidden, scale) = (g.value(name("hook_post"), &[d_mlp]), g.value(name("ln.hook_scale"), &[1]));
    g.push(LayerNorm { x: mid, y: hidden, scale, w, b });
    hidden
}

/// `act(x W_gate) ⊙ x W_in + b_in`.
fn gated(g: &mut Graph, spec: &ModelSpec, layer: usize, x: ValueId) -> ValueId {
    let (d, d_mlp) = (spec.d_model, spec.d_mlp);
    let name = |rest: &str| format!("blocks.{layer}.mlp.{rest}");
    let (w_in, bias) = matrix(g, &format!("blocks.{layer}.mlp"), "in", [d, d_mlp], spec.mlp_bias);
    let w_gate = g.param(name("W_gate"), &[d, d_mlp]);
    let (pre, linear) = (g.value(name("hook_pre"), &[d_mlp]), g.value(name("hook_pre_linear"), &[d_mlp]));
    for (w, y) in [(w_gate, pre), (w_in, linear)] {
        g.push(Linear { x, y, w, b: None, residual: None, d_in: d, d_out: d_mlp });
    }
    let gate = g.value(name("hook_gate"), &[d_mlp]);
    activate(g, &spec.act, pre, gate);
    let hidden = g.value(name("hook_post"), &[d_mlp]);
    g.push(Product { a: gate, b: linear, y: hidden, bias });
    hidden
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

fn attention(g: &mut Graph, spec: &ModelSpec, layer: usize, (x, position): (ValueId, Option<ValueId>)) -> ValueId {
    let (d, h, k) = (spec.d_model, spec.n_heads, spec.d_head());
    let name = |rest: &str| format!("blocks.{layer}.{rest}");
    let normal = normalize(g, spec, &name("ln1"), x);
    let placed = position.map_or(normal, |position| {
        let placed = g.value(name("attn.hook_qk_input"), &[d]);
        g.push(Sum { a: normal, b: position, y: placed });
        placed
    });
    let mut project = |letter: char, x: ValueId, heads: usize| {
        let w = g.heads_param(name(&format!("attn.W_{letter}")), [heads, d, k]);
        let b = spec.attn_bias.then(|| g.param(name(&format!("attn.b_{letter}")), &[heads, k]));
        let y = g.value(name(&format!("attn.hook_{}", letter.to_ascii_lowercase())), &[heads, k]);
        g.push(Linear { x, y, w, b, residual: None, d_in: d, d_out: heads * k });
        y
    };
    let n_kv_heads = spec.n_kv_heads();
    let (q, key, v) = (project('Q', placed, h), project('K', placed, n_kv_heads), project('V', normal, n_kv_heads));
    let keys = g.n_ctx;
    let mut turned = |x: ValueId, which: &str, heads: usize| match spec.positional {
        Positional::Rotary => {
            let y = g.value(name(&format!("attn.hook_rot_{which}")), &[heads, k]);
            g.push(Rotary { x, y, turns: Turns::new(keys, k, spec.rotary_base) });
            y
        }
        _ => x,
    };
    let (q, key) = (turned(q, "q", h), turned(key, "k", n_kv_heads));
    let sight = match (spec.attention, spec.window) {
        (Attention::Bidirectional, _) => Sight::Full,
        (Attention::Causal, Some(width)) => Sight::Window(width),
        (Attention::Causal, None) => Sight::Causal,
    };
    let heads = Heads { n_heads: h, n_kv_heads, d_head: k, keys, sight };
    let scores = g.value(name("attn.hook_attn_scores"), &[h, keys]);
    g.push(Scores { q, k: key, scores, heads });
    let pattern = g.value(name("attn.hook_pattern"), &[h, keys]);
    g.push(Softmax { scores, pattern, keys });
    let pattern = dropped(g, spec.dropout.attention, pattern);
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
