//! `gradient_symmetricity`: whether a logit is pulled alike by both operands' embeddings: a pizza's is, a clock's is not.
//!
//! Reads gradients of single logits at the embeddings; writes one number. Source: arXiv 2306.17844, definition 4.1.

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::group;
use crate::measure::subject::{Activation, Setting, Subject};
use crate::measure::{Column, Measure};
use crate::rng::Rng;

/// Cosine between a logit's gradients at the two operands.
pub struct GradientSymmetricity;

/// Triples that are looked at, or as many as there are pairs.
const TRIPLES: usize = 1024;

const EMBED: &str = "hook_embed";

const EXPLAIN: &str = "\
What it is
  The mean over triples (a, b, c) of the cosine between the gradients of the logit of class c, on the pair (a, b), at
  the embedding of a and at that of b. c is drawn from all residues; it need not be the answer. The paper draws 100
  triples; here they are 1,024 different pairs (all of them when there are fewer), each with one c, from the random
  stream `measure/gradient_symmetricity` of seed 0: the same triples for every replica and checkpoint. A triple of
  which a gradient is zero has no cosine and is left out.
Reads
  Gradients at hook_embed at both operands' positions (positions are added after it and change nothing). One forward
  and one backward pass over those pairs, besides the pass that measures share.
Unit and range
  Dimensionless, -1 to 1.
Value at a known point
  Any model that sees only the sum of the two embeddings (an MLP with join = \"sum\"; constant attention): 1. The paper's
  pizza has 0.99, its clock 0.33.
Source
  Zhong et al. 2023 (arXiv 2306.17844), definition 4.1.";

impl Measure for GradientSymmetricity {
    fn name(&self) -> &'static str {
        "gradient_symmetricity"
    }

    fn summary(&self) -> &'static str {
        "pizza (near 1) or clock: cosine between a logit's gradients at the two operands' embeddings"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        group::sum_fits(setting)?;
        let Some(hook) = setting.hook(EMBED) else {
            return Err(format!("the model has no {EMBED}"));
        };
        let &[a, b] = setting.operand_positions.as_slice() else {
            return Err("the operands' positions are not two".into());
        };
        if [a, b].iter().all(|t| hook.positions.contains(t)) {
            Ok(())
        } else {
            Err(format!("{EMBED} has positions {:?}, without the operands' {a} and {b}", hook.positions))
        }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("gradient_symmetricity", "1")]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let which = triples(subject.setting.examples.n_examples, subject.modular()?.p);
        let at = Hook::gradient(EMBED).at(subject.setting.operand_positions.iter().copied());
        let gradients = subject.model.logit_gradients(subject.params, &which, &[at])?;
        let mean = gradients.first().map(|tensor| Activation::of(tensor).map(mean_cosine)).transpose()?;
        Ok(vec![vec![mean.unwrap_or(f64::NAN)]])
    }
}

/// Pairs by index, each once, with a class each.
pub(super) fn triples(n_pairs: usize, p: usize) -> Vec<(usize, u32)> {
    let mut rng = Rng::stream(0, "measure/gradient_symmetricity");
    let mut pairs = rng.permutation(n_pairs);
    pairs.truncate(TRIPLES);
    pairs.into_iter().map(|pair| (pair as usize, rng.below(p as u32))).collect()
}

/// Of `[which, 2, d]` gradients the mean cosine between the two; NaN when all have none.
fn mean_cosine(gradients: Activation) -> f64 {
    let d = gradients.shape[2..].iter().product::<usize>().max(1);
    let (mut sum, mut n) = (0.0, 0.0);
    for both in gradients.values.chunks_exact(2 * d) {
        let (a, b) = both.split_at(d);
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let norms = (dot(a, a) * dot(b, b)).sqrt();
        if norms != 0.0 {
            sum += dot(a, b) / norms;
            n += 1.0;
        }
    }
    sum / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_averaged_and_zero_gradients_left_out() {
        let of = |values: &[f64]| mean_cosine(Activation { shape: &[values.len() / 4, 2, 2], values });
        // Parallel, then at 60 degrees.
        let root = 3f64.sqrt();
        let values = [1.0, 2.0, 3.0, 6.0, 1.0, 0.0, 1.0, root];
        assert!((of(&values) - 0.75).abs() < 1e-15);
        assert!((of(&[&values[..], &[0.0, 0.0, 1.0, 1.0]].concat()) - 0.75).abs() < 1e-15);
        assert!(of(&[0.0; 4]).is_nan() && of(&[f64::NAN, 1.0, 1.0, 1.0]).is_nan());
    }

    #[test]
    fn triples_are_different_pairs_with_classes_of_all_kinds() {
        let all = triples(49, 7);
        let mut pairs: Vec<usize> = all.iter().map(|&(pair, _)| pair).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, (0..49).collect::<Vec<_>>());
        let some = triples(113 * 113, 113);
        assert_eq!(some.len(), TRIPLES);
        let classes: std::collections::BTreeSet<u32> = some.iter().map(|&(_, class)| class).collect();
        assert!(classes.len() > 100 && classes.iter().all(|&class| class < 113));
    }
}
