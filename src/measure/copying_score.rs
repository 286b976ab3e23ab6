//! `copying_score`: whether each head's output raises the logit of the token that it attends to.
//!
//! Reads W_E, W_V, W_O and W_U; writes a number a head. Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.

use crate::error::Result;
use crate::linalg::{eigenvalues, product};
use crate::measure::subject::{Matrix, Setting, Subject};
use crate::measure::{Axis, Column, Measure};
use crate::task::Rule;

/// Positivity of the eigenvalues of the OV circuit.
pub struct CopyingScore;

const EXPLAIN: &str = "\
What it is
  The sum of the eigenvalues of a head's full OV circuit W_E W_V W_O W_U over the sum of their absolute values. The
  eigenvalues are taken of W_O W_U W_E W_V, which has the same ones but for zeros. Normalisation and MLPs are left out.
  best_copying is the largest of the heads.
Reads
  embed.W_E, blocks.L.attn.W_V and W_O, unembed.W_U; the task's classes must be tokens, the first ones.
Unit and range
  -1 (the head lowers the logit of what it reads) to 1 (it copies), along the axis head, which counts
  layer * n_heads + head. No value for a head of zeros.
Value at a known point
  W_V W_O the identity and W_U = W_E transposed: 1. With the sign of W_U changed: -1.
Source
  Elhage et al. 2021, A Mathematical Framework for Transformer Circuits, \"Summarizing OV/QK matrices\".";

impl Measure for CopyingScore {
    fn name(&self) -> &'static str {
        "copying_score"
    }

    fn summary(&self) -> &'static str {
        "attention heads: whether the eigenvalues of the OV circuit are positive, so that the head copies"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if heads(setting).next().is_none() {
            return Err("the model has no attention".into());
        }
        let (Some(embed), Some(unembed)) = (setting.shape("embed.W_E"), setting.shape("unembed.W_U")) else {
            return Err("the model has no W_E or W_U".into());
        };
        let same = embed[0] == unembed[1];
        let first = |rule: &dyn Rule| rule.words().starts_with(&rule.classes());
        if same || setting.examples.rule.is_some_and(first) {
            Ok(())
        } else {
            Err("the task's classes are not its tokens".into())
        }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let count: usize = heads(setting).map(|(_, n_heads)| n_heads).sum();
        let axis = Axis { name: "head".into(), ticks: (0..count).map(|head| head as f64).collect() };
        vec![Column::along("copying", "1", axis), Column::scalar("best_copying", "1")]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let embed = Matrix::of(subject.params, "embed.W_E")?;
        let unembed = Matrix::of(subject.params, "unembed.W_U")?;
        // Tokens that are no answers, such as signs, come after the others.
        let answers = &embed.values[..unembed.n_cols * embed.n_cols];
        let round = product(unembed.values, answers, unembed.n_cols);
        let mut scores = vec![];
        for (layer, n_heads) in heads(subject.setting) {
            let of = |name: &str| Matrix::of(subject.params, &format!("{layer}.{name}"));
            let (v, o) = (of("W_V")?, of("W_O")?);
            let (d_model, d_head) = (v.n_rows / n_heads, v.n_cols);
            for head in 0..n_heads {
                let each = head * d_model * d_head..(head + 1) * d_model * d_head;
                let circuit = product(&product(&o.values[each.clone()], &round, d_model), &v.values[each], d_model);
                scores.push(positivity(&circuit, d_head));
            }
        }
        let best = scores.iter().copied().fold(f64::NAN, f64::max);
        Ok(vec![scores, vec![best]])
    }
}

/// The attention layers, `blocks.L.attn`, with their number of heads.
fn heads<'a>(setting: &'a Setting) -> impl Iterator<Item = (&'a str, usize)> {
    setting.params.iter().filter_map(|param| Some((param.name.strip_suffix(".W_V")?, *param.shape.first()?)))
}

/// Σ λ / Σ |λ|.
fn positivity(a_kk: &[f64], k: usize) -> f64 {
    let values = eigenvalues(a_kk, k);
    let sum: f64 = values.iter().map(|[re, _]| re).sum();
    let size: f64 = values.iter().map(|[re, im]| re.hypot(*im)).sum();
    if size > 0.0 { sum / size } else { f64::NAN }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measure::fixture::{of_params, tensor};

    #[test]
    fn a_head_that_copies_and_one_that_does_the_opposite() {
        let identity: Vec<f64> = (0..9).map(|i| if i % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let v = [identity.clone(), identity.clone()].concat();
        let o = [identity.clone(), identity.iter().map(|x| -2.0 * x).collect()].concat();
        // Any invertible W_E and its transpose: the circuit is positive definite.
        let embed: Vec<f64> = (0..12).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect();
        let turned: Vec<f64> =
            (0..3).flat_map(|d| (0..4).map(move |v| (v, d))).map(|(v, d)| embed[v * 3 + d]).collect();
        let params = [
            tensor("embed.W_E", &[4, 3], embed),
            tensor("blocks.0.attn.W_V", &[2, 3, 3], v),
            tensor("blocks.0.attn.W_O", &[2, 3, 3], o),
            tensor("unembed.W_U", &[3, 4], turned),
        ];
        let got = of_params(&CopyingScore, &params);
        assert!((got[0][0] - 1.0).abs() < 1e-12 && (got[0][1] + 1.0).abs() < 1e-12, "{got:?}");
        assert_eq!(got[1], [got[0][0]]);
    }

    #[test]
    fn rotations_neither_copy_nor_do_the_opposite() {
        assert!(positivity(&[0.0, -1.0, 1.0, 0.0], 2).abs() < 1e-12);
        assert!(positivity(&[0.0; 4], 2).is_nan());
    }
}
