//! `head_scores`: where each attention head looks: behind earlier copies of a token, at the token before, at itself.
//!
//! Reads attention patterns `[N, positions, n_heads, keys]` of every layer and the tokens; writes a number a head and column.
//! Source: Olsson et al. 2022 (arXiv 2209.11895).

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::subject::{HookShape, Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Prefix matching and its kin.
pub struct HeadScores;

const EXPLAIN: &str = "\
What it is
  The attention, in each head, from a position q to certain keys, summed over the keys and averaged over all examples
  and all positions q for which there is such a key:
  prefix_matching   keys t whose token before is the token at q: an induction head's place
  duplicate_token   earlier keys that hold the token at q
  previous_token    the key q - 1
  first_token       the key 0, for q above 0
  best_NAME         the largest of the heads
  Of the last layer only those positions count that the model computes there: the ones that the loss reads.
Reads
  attn.hook_pattern of every layer, all examples, their tokens.
Unit and range
  Fraction of the attention, 0 to 1; along the axis head, which counts layer * n_heads + head. No value where no example
  has such a key.
Value at a known point
  A sequence of different tokens and its copy: a perfect induction head has a prefix_matching of 1 at the copy. Even
  attention gives each key 1/(q + 1).
Source
  Olsson et al. 2022, In-context Learning and Induction Heads (arXiv 2209.11895), which takes prefix matching on
  repeated random tokens: train on the induction family for the same examples.";

/// The names of the scores, in the order of [`Keys`]' fields.
const NAMES: [&str; 4] = ["prefix_matching", "duplicate_token", "previous_token", "first_token"];

impl Measure for HeadScores {
    fn name(&self) -> &'static str {
        "head_scores"
    }

    fn summary(&self) -> &'static str {
        "attention heads: prefix matching (induction), previous token, duplicate token, first token"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        if patterns(setting).next().is_none() {
            return Err("the model has no attention".into());
        }
        if setting.examples.tokens.is_empty() { Err("the task has no tokens".into()) } else { Ok(()) }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let heads: usize = patterns(setting).map(|pattern| pattern.axes[0]).sum();
        let axis = Axis { name: "head".into(), ticks: (0..heads).map(|head| head as f64).collect() };
        let along = NAMES.map(|name| Column::along(name, "fraction", axis.clone()));
        let best = NAMES.map(|name| Column::scalar(&format!("best_{name}"), "fraction"));
        along.into_iter().chain(best).collect()
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        patterns(setting).map(|pattern| Hook::value(&pattern.name)).collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let examples = subject.setting.examples;
        let n_ctx = examples.tokens.len() / examples.n_examples;
        let mut scores: [Vec<f64>; 4] = Default::default();
        for pattern in patterns(subject.setting) {
            let activation = subject.activation(&Hook::value(&pattern.name))?;
            let of_heads = score(activation.values, pattern, examples.tokens, n_ctx);
            for (all, of_heads) in scores.iter_mut().zip(of_heads) {
                all.extend(of_heads);
            }
        }
        let best: Vec<Vec<f64>> = scores.iter().map(|heads| vec![largest(heads)]).collect();
        Ok(scores.into_iter().chain(best).collect())
    }
}

/// The attention patterns of the model, layer by layer.
fn patterns<'a>(setting: &'a Setting) -> impl Iterator<Item = &'a HookShape> {
    setting.hooks.iter().filter(|hook| hook.name.ends_with("attn.hook_pattern"))
}

fn largest(heads: &[f64]) -> f64 {
    heads.iter().copied().fold(f64::NAN, f64::max)
}

/// `[scores][heads]` of one layer.
fn score(pattern_nqhk: &[f64], shape: &HookShape, tokens_nt: &[u32], n_ctx: usize) -> [Vec<f64>; 4] {
    let (heads, queries) = (shape.axes[0], shape.positions.len());
    let mut sums = [const { vec![] }; 4].map(|_: Vec<f64>| vec![0.0; heads]);
    let mut counts = [0.0; 4];
    for (pattern_qhk, tokens_t) in pattern_nqhk.chunks_exact(queries * heads * n_ctx).zip(tokens_nt.chunks_exact(n_ctx))
    {
        for (pattern_hk, &q) in pattern_qhk.chunks_exact(heads * n_ctx).zip(&shape.positions) {
            let keys = Keys::of(tokens_t, q);
            for ((sums, count), keys) in sums.iter_mut().zip(&mut counts).zip(keys.0) {
                if keys.is_empty() {
                    continue;
                }
                *count += 1.0;
                for (sum, pattern_k) in sums.iter_mut().zip(pattern_hk.chunks_exact(n_ctx)) {
                    *sum += keys.iter().map(|&key| pattern_k[key]).sum::<f64>();
                }
            }
        }
    }
    let mut counts = counts.iter();
    sums.map(|sums| {
        let count = counts.next().copied().unwrap_or_default();
        sums.iter().map(|sum| sum / count).collect()
    })
}

/// The keys of each score for one query, in the order of [`NAMES`].
struct Keys([Vec<usize>; 4]);

impl Keys {
    fn of(tokens_t: &[u32], q: usize) -> Keys {
        let earlier = |t: &usize| tokens_t[*t] == tokens_t[q];
        let same: Vec<usize> = (0..q).filter(earlier).collect();
        let behind = same.iter().map(|t| t + 1).filter(|&t| t <= q).collect();
        let previous = q.checked_sub(1).into_iter().collect();
        Keys([behind, same, previous, if q > 0 { vec![0] } else { vec![] }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(positions: &[usize]) -> HookShape {
        HookShape { name: "blocks.0.attn.hook_pattern".into(), positions: positions.to_vec(), axes: vec![2, 4] }
    }

    #[test]
    fn a_perfect_induction_head_and_even_attention() {
        // Tokens 7 8 7 8: from position 2 induction looks at key 1, from position 3 at key 2.
        let even = |q: usize| (0..4).map(move |key| if key <= q { 1.0 / (q + 1) as f64 } else { 0.0 });
        let induction = |q: usize| (0..4).map(move |key| f64::from(u8::from(key + 1 == q)));
        let pattern: Vec<f64> = (0..4).flat_map(|q| induction(q).chain(even(q))).collect();
        let [prefix, duplicate, previous, first] = score(&pattern, &shape(&[0, 1, 2, 3]), &[7, 8, 7, 8], 4);
        let close = |got: &[f64], expected: [f64; 2]| got.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12);
        assert!(close(&prefix, [1.0, (1.0 / 3.0 + 0.25) / 2.0]), "{prefix:?}");
        assert!(close(&duplicate, [0.0, (1.0 / 3.0 + 0.25) / 2.0]), "{duplicate:?}");
        assert!(close(&previous, [1.0, (0.5 + 1.0 / 3.0 + 0.25) / 3.0]), "{previous:?}");
        assert!(close(&first, [1.0 / 3.0, (0.5 + 1.0 / 3.0 + 0.25) / 3.0]), "{first:?}");
    }

    #[test]
    fn without_repeated_tokens_there_is_no_prefix_to_match() {
        let [prefix, duplicate, ..] = score(&[0.5; 8], &shape(&[3]), &[1, 2, 3, 4], 4);
        assert!(prefix.iter().chain(&duplicate).all(|x| x.is_nan()));
        assert!(largest(&prefix).is_nan() && largest(&[f64::NAN, 0.25]) == 0.25);
    }
}
