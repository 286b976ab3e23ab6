//! A spec and its parameters -> what `HookedTransformer.load_state_dict(strict=True)` takes, and the configuration for it.
//!
//! TransformerLens gives every model all biases, and each attention two buffers: the causal `mask` and the number `IGNORE` that
//! stands where attention may not look. Checked against TransformerLens 1.19, 2.16 and 3.0; 4 has no `HookedTransformer` any more.

use serde_json::{Value, json};

use crate::engine::cpu::layer_norm::EPS;
use crate::error::{Error, Result};
use crate::spec::{Attention, ModelSpec, Normalization, Positional, Spec};
use crate::task::Task;
use crate::tensor::{Data, Tensor};

/// The name of the format in messages.
const NAME: &str = "TransformerLens";

/// What of a spec decides how a model is built, as the spec writes it.
pub struct ModelText {
    /// `transformer` or `mlp`.
    pub family: String,
    /// Name or expression.
    pub act: String,
    /// `none`, `LN`, `LNPre`, `RMS`, `RMSPre`.
    pub normalization: &'static str,
}

impl ModelText {
    /// Of a spec.
    pub fn of(spec: &Spec) -> ModelText {
        let m = &spec.model;
        let normalization = match m.normalization {
            Normalization::None => "none",
            Normalization::Ln => "LN",
            Normalization::LnPre => "LNPre",
            Normalization::Rms => "RMS",
            Normalization::RmsPre => "RMSPre",
        };
        ModelText { family: m.family.into(), act: m.act.clone().into(), normalization }
    }
}

/// Activations that TransformerLens has under the same name and with the same values.
const ACTS: [&str; 3] = ["relu", "gelu", "silu"];

/// `HookedTransformerConfig`'s arguments; `dtype` is a name of torch's.
///
/// # Errors
/// [`Error::Export`] for a model that TransformerLens cannot be.
pub fn config(spec: &Spec, task: &Task) -> Result<Value> {
    let (m, text) = (&spec.model, ModelText::of(spec));
    if text.family != "transformer" {
        return Err(refuse(format!("the model is of family `{}`, a HookedTransformer is a transformer", text.family)));
    }
    if let Some(layer) = &m.layer {
        return Err(refuse(of_layer(layer)));
    }
    if let Some(cause) = other_attention(m).or_else(|| other_block(m)) {
        return Err(refuse(cause));
    }
    if m.d_mlp > 0 && !ACTS.contains(&text.act.as_str()) {
        return Err(refuse(format!(
            "its activation `{}` is none of TransformerLens's ({})",
            text.act,
            ACTS.join(", ")
        )));
    }
    let normalization = if text.normalization == "none" { Value::Null } else { text.normalization.into() };
    Ok(json!({
        "n_layers": m.n_layers,
        "d_model": m.d_model,
        "n_ctx": task.n_ctx,
        "d_head": m.d_head(),
        "n_heads": m.n_heads,
        "d_mlp": if m.d_mlp == 0 { Value::Null } else { m.d_mlp.into() },
        "attn_only": m.d_mlp == 0,
        "d_vocab": task.d_vocab,
        "d_vocab_out": task.d_vocab_out,
        "act_fn": if m.d_mlp == 0 { Value::Null } else { text.act.into() },
        "normalization_type": normalization,
        "eps": EPS,
        "init_weights": false,
        "device": "cpu",
        "dtype": format!("{:?}", spec.dtype).replace('F', "float"),
    }))
}

/// Why a model's attention is not what other codes compute, if it is not.
pub fn other_attention(m: &ModelSpec) -> Option<String> {
    let is_plain = m.attention == Attention::Causal && m.window.is_none() && m.n_kv_heads() == m.n_heads;
    (!is_plain).then(|| {
        "only causal attention over all positions, with keys for each head, is exported, the model has another".into()
    })
}

/// Why a model's blocks or positions are not what other codes compute, if they are not.
pub fn other_block(m: &ModelSpec) -> Option<String> {
    let is_plain = !m.gated_mlp && !m.parallel && matches!(m.positional, Positional::Learned | Positional::None);
    (!is_plain).then(|| {
        "only learned positions, plain MLPs and blocks of one after the other are exported, the model has others".into()
    })
}

/// All parameters and buffers, in TransformerLens's shapes.
///
/// # Errors
/// [`Error::Export`] for a parameter that has no place there.
pub fn state_dict(spec: &Spec, task: &Task, params: &[Tensor]) -> Result<Vec<Tensor>> {
    let m = &spec.model;
    let (d, h, k) = (m.d_model, m.n_heads, m.d_head());
    let like = |shape: &[usize]| zeros(params, shape);
    let mut out: Vec<Tensor> = params.to_vec();
    let mut fill = |name: String, shape: &[usize]| {
        if !out.iter().any(|tensor| tensor.name == name) {
            out.push(Tensor { name, shape: shape.to_vec(), data: like(shape) });
        }
    };
    fill("pos_embed.W_pos".into(), &[task.n_ctx, d]);
    for block in 0..m.n_layers {
        let name = |rest: &str| format!("blocks.{block}.{rest}");
        ["Q", "K", "V"].iter().for_each(|letter| fill(name(&format!("attn.b_{letter}")), &[h, k]));
        fill(name("attn.b_O"), &[d]);
        if m.d_mlp > 0 {
            fill(name("mlp.b_in"), &[m.d_mlp]);
            fill(name("mlp.b_out"), &[d]);
        }
    }
    fill("unembed.b_U".into(), &[task.d_vocab_out]);
    if !out.iter().any(|tensor| tensor.name == "unembed.W_U") {
        out.push(tied_unembed(params, d, task.d_vocab_out)?);
    }
    for block in 0..m.n_layers {
        let name = |rest: &str| format!("blocks.{block}.attn.{rest}");
        let n = task.n_ctx;
        let mask = causal(n).collect();
        out.push(Tensor { name: name("mask"), shape: vec![n, n], data: Data::U8(mask) });
        out.push(Tensor { name: name("IGNORE"), shape: vec![], data: Data::F32(vec![f32::NEG_INFINITY]) });
    }
    let known =
        |name: &str| super::layout::axes(name, true).is_some() || name.ends_with(".mask") || name.ends_with(".IGNORE");
    match out.iter().find(|tensor| !known(&tensor.name)) {
        Some(tensor) => Err(refuse(format!("{} has no place in a HookedTransformer", tensor.name))),
        None => Ok(out),
    }
}

/// Why a model with a layer from outside is no other program's.
pub fn of_layer(layer: &str) -> String {
    format!("in place of its MLP it has the layer `{layer}`, which that code has not")
}

/// `[n, n]`: 1 where a position may look.
pub fn causal(n: usize) -> impl Iterator<Item = u8> {
    (0..n * n).map(move |i| u8::from(i % n <= i / n))
}

/// The classes' rows of `W_E`, transposed: what a tied model multiplies by.
pub fn tied_unembed(params: &[Tensor], d: usize, d_vocab_out: usize) -> Result<Tensor> {
    let w_e = params.iter().find(|tensor| tensor.name == "embed.W_E");
    let w_e = w_e.ok_or_else(|| refuse("it has neither unembed.W_U nor embed.W_E".into()))?;
    let indices: Vec<usize> = (0..d * d_vocab_out).map(|i| (i % d_vocab_out) * d + i / d_vocab_out).collect();
    Ok(Tensor { name: "unembed.W_U".into(), shape: vec![d, d_vocab_out], data: gather(&w_e.data, &indices) })
}

/// Numbers at these places.
pub fn gather(data: &Data, indices: &[usize]) -> Data {
    match data {
        Data::F32(v) => Data::F32(indices.iter().map(|&i| v[i]).collect()),
        Data::F64(v) => Data::F64(indices.iter().map(|&i| v[i]).collect()),
        Data::U8(v) => Data::U8(indices.iter().map(|&i| v[i]).collect()),
        Data::U32(v) => Data::U32(indices.iter().map(|&i| v[i]).collect()),
        Data::U64(v) => Data::U64(indices.iter().map(|&i| v[i]).collect()),
    }
}

/// Zeros of the parameters' type.
pub fn zeros(params: &[Tensor], shape: &[usize]) -> Data {
    let n = shape.iter().product();
    match params.first().map(|tensor| &tensor.data) {
        Some(Data::F64(_)) => Data::F64(vec![0.0; n]),
        _ => Data::F32(vec![0.0; n]),
    }
}

fn refuse(cause: String) -> Error {
    let hint = "--to safetensors or --to npz writes the parameters under our names".into();
    Error::Export { format: NAME, cause, hint }
}
