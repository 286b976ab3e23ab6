//! The weight matrices that Fourier measures look at: W_E by token, and W_L, from the last hidden layer to the logits.
//!
//! Reads parameters with TransformerLens's names; writes row-major `[order, …]` with one element of the task's group a row.
//! LayerNorm weights are not folded in. Without `unembed.W_U` the unembedding is tied: its transpose is `embed.W_E`, a class a
//! row. Source: arXiv 2301.05217, section 3 (W_L = W_out W_U).

use crate::error::Result;
use crate::linalg::product_t;
use crate::measure::group::Group;
use crate::measure::subject::{Matrix, Setting};
use crate::tensor::Tensor;

const W_E: &str = "embed.W_E";
const W_U: &str = "unembed.W_U";

/// The task's group, where `embed.W_E` has a row for each residue.
///
/// # Errors
/// The reason why not, as a clause.
pub fn w_e_fits(setting: &Setting) -> Result<Group, String> {
    let group = Group::of(setting)?;
    let p = setting.p().unwrap_or(0);
    match setting.shape(W_E) {
        Some(&[d_vocab, _]) if d_vocab >= p => Ok(group),
        Some(shape) => Err(format!("{W_E} has shape {shape:?}, fewer rows than the {p} residues")),
        None => Err(format!("the model has no {W_E}")),
    }
}

/// The task's group, where `unembed.W_U` has a column for each residue.
///
/// # Errors
/// The reason why not, as a clause.
pub fn w_l_fits(setting: &Setting) -> Result<Group, String> {
    if is_tied(|name| setting.shape(name).is_some()) {
        return w_e_fits(setting);
    }
    let group = Group::of(setting)?;
    let p = setting.p().unwrap_or(0);
    match setting.shape(W_U) {
        Some(&[_, d_vocab_out]) if d_vocab_out >= p => Ok(group),
        Some(shape) => Err(format!("{W_U} has shape {shape:?}, fewer columns than the {p} residues")),
        None => Err(format!("the model has no {W_U}")),
    }
}

/// Whether a transformer's logits are read with its embedding; a network from outside may only call its readout otherwise.
fn is_tied(has: impl Fn(&str) -> bool) -> bool {
    has(W_E) && !has(W_U) && has("blocks.0.attn.W_O")
}

/// The rows of `embed.W_E` that belong to the elements of the group.
///
/// # Shapes
/// `[order, d_model]`
///
/// # Errors
/// [`crate::error::Error::Unknown`] without that parameter.
pub fn w_e(params: &[Tensor], group: &Group) -> Result<Vec<f64>> {
    let w_e = Matrix::of(params, W_E)?;
    Ok(group.residues.iter().flat_map(|&residue| &w_e.values[residue * w_e.n_cols..][..w_e.n_cols]).copied().collect())
}

/// W_L transposed: the last block's `mlp.W_out` times the columns of `unembed.W_U` that are asked for.
///
/// A model whose last block has no `mlp.W_out` into `W_U` uses its `attn.W_O` (heads flattened); one that has neither
/// (an MLP whose last hidden layer is read by `W_U` directly) uses `W_U` alone.
///
/// # Shapes
/// `[outputs, d_mlp]`, `[outputs, n_heads · d_head]` or `[outputs, d_model]`.
///
/// # Errors
/// [`crate::error::Error::Unknown`] without `unembed.W_U` and `embed.W_E`.
pub fn w_l(params: &[Tensor], outputs: &[usize]) -> Result<Vec<f64>> {
    let tied = is_tied(|name| params.iter().any(|tensor| tensor.name == name));
    let w_u = Matrix::of(params, if tied { W_E } else { W_U })?;
    let column = |c: usize| -> Vec<f64> {
        match tied {
            true => w_u.values[c * w_u.n_cols..(c + 1) * w_u.n_cols].to_vec(),
            false => w_u.values.iter().skip(c).step_by(w_u.n_cols).copied().collect(),
        }
    };
    let d_model = if tied { w_u.n_cols } else { w_u.n_rows };
    let shapes = params.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
    let Some((writer, _)) = last_writer(shapes, d_model) else {
        return Ok(outputs.iter().flat_map(|&c| column(c)).collect());
    };
    let w_out = Matrix::of(params, &writer)?;
    let u_cd: Vec<f64> = outputs.iter().flat_map(|&c| column(c)).collect();
    Ok(product_t(&u_cd, w_out.values, w_out.n_cols))
}

/// Columns of W_L transposed, as [`w_l`] gives it.
pub fn w_l_width(setting: &Setting) -> Option<usize> {
    let d_model = match is_tied(|name| setting.shape(name).is_some()) {
        true => *setting.shape(W_E)?.last()?,
        false => *setting.shape(W_U)?.first()?,
    };
    let shapes = setting.params.iter().map(|param| (param.name.as_str(), param.shape.as_slice()));
    Some(last_writer(shapes, d_model).map_or(d_model, |(_, rows)| rows))
}

/// The name and the rows of the last block's matrix into the residual stream that `W_U` reads, of parameters by name and shape; none
/// where that block writes into another width.
fn last_writer<'a>(
    shapes: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
    d_model: usize,
) -> Option<(String, usize)> {
    let block = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    let last = shapes.clone().filter_map(|(name, _)| block(name)).max()?;
    let names = ["mlp.W_out", "attn.W_O"].map(|part| format!("blocks.{last}.{part}"));
    let writer = names.into_iter().find_map(|name| Some((shapes.clone().find(|(known, _)| *known == name)?.1, name)));
    let (shape, name) = writer?;
    (shape.last() == Some(&d_model)).then(|| (name, shape[..shape.len() - 1].iter().product()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    fn tensor(name: &str, shape: &[usize], values: &[f64]) -> Tensor {
        Tensor::new(name, shape.to_vec(), Data::F64(values.to_vec())).unwrap()
    }

    #[test]
    fn w_l_is_the_last_blocks_product_and_drops_outputs_beyond_p() {
        let params = [
            tensor("blocks.0.mlp.W_out", &[1, 2], &[9.0, 9.0]),
            tensor("blocks.1.attn.W_O", &[1, 1, 2], &[5.0, 5.0]),
            tensor("blocks.1.mlp.W_out", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            tensor("unembed.W_U", &[2, 3], &[1.0, 0.0, 7.0, 0.0, 10.0, 7.0]),
        ];
        // Columns of [[1,2],[3,4],[5,6]] · [[1,0],[0,10]].
        assert_eq!(w_l(&params, &[0, 1]).unwrap(), [1.0, 3.0, 5.0, 20.0, 40.0, 60.0]);
        // The same W_U as the transpose of an embedding whose third token is no class.
        let w_e = tensor("embed.W_E", &[3, 2], &[1.0, 0.0, 0.0, 10.0, 7.0, 7.0]);
        let w_o = tensor("blocks.0.attn.W_O", &[1, 1, 2], &[5.0, 5.0]);
        let tied = [&params[..3], &[w_e, w_o]].concat();
        assert_eq!(w_l(&tied, &[0, 1]).unwrap(), [1.0, 3.0, 5.0, 20.0, 40.0, 60.0]);
        assert!(w_l(&tied[..4], &[0, 1]).is_err(), "no transformer, and nothing called W_U");
    }

    #[test]
    fn attention_only_uses_w_o_and_a_bare_readout_uses_w_u() {
        let w_u = tensor("unembed.W_U", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let w_o = tensor("blocks.0.attn.W_O", &[2, 1, 2], &[1.0, 0.0, 0.0, 1.0]);
        assert_eq!(w_l(&[w_u.clone(), w_o], &[0, 1]).unwrap(), [1.0, 3.0, 2.0, 4.0]);
        let w_in = tensor("blocks.0.mlp.W_in", &[1, 2], &[8.0, 8.0]);
        assert_eq!(w_l(&[w_u, w_in], &[0, 1]).unwrap(), [1.0, 3.0, 2.0, 4.0]);
    }
}
