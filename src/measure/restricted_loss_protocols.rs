//! `restricted_loss_protocols`: the loss when only key waves are kept, by the protocols that other codes use.
//!
//! Reads logits and neurons over all pairs and the key frequencies; writes a loss a protocol and split, and accuracies.
//! Sources: arXiv 2301.05217, section 5.1, its notebook, and the TransformerLens Grokking_Demo.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::cube;
use crate::measure::projection::{
    self, neuron_part, neurons_fit, plus, row, score_by_pair, score_by_sum, with_differences,
};
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Along;
use crate::measure::{Column, Measure, clusters};

const SPLITS: [&str; 3] = ["all", "train", "test"];

/// Loss of the key waves alone, protocol by protocol.
pub struct RestrictedLossProtocols;

const EXPLAIN: &str = "\
What it is
  As restricted_loss, with another rule for what is kept. Each protocol has the columns all, train and test, by the
  pairs that the cross-entropy is a mean over; what is kept is always found over all pairs. K are the key frequencies.
  nanda_*_acc_frac     accuracy of restricted_loss: each class's constant, cos w_k(a+b) and sin w_k(a+b), k in K
  no_bias_*            the same without the constant: no bias correction
  blocks_*             the constant and the 2 x 2 blocks: the four products of cos and sin of w_k a with cos and sin of
                       w_k b, class by class, so that waves of a-b are kept too
  blocks_no_bias_*     the blocks without the constant
  cube_*               cos w_k(a+b-c) over pairs and classes at once: one number a frequency (see logits_cube_fit),
                       nothing else
  cube_bias_*          the same and each class's constant
  neurons_*            the demo's get_restricted_loss: each neuron's mean and its cos and sin w_k(a+b), times W_out
                       W_U (and 1/d_mlp, where parametrization = \"mean_field\"), and then each class's mean over all
                       pairs set to that of the logits. What reaches the logits past the neurons keeps its mean
                       alone. Where the logits do not read neurons linearly, or nobody knows (a network from
                       outside), this protocol is missing.
Reads
  The logits of all pairs; what the rule for key frequencies reads; for neurons_*, blocks.L.mlp.hook_post, W_out, W_U.
Unit and range
  nats, 0 and up; acc_frac: fraction, 0 to 1.
Value at a known point
  Logits cos w_k(a+b-c) with k in K: the loss of these logits (for x*y and x/y without the pairs with 0) in all but
  neurons_*. Equal logits: ln p.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1 and figure 10; the notebook's test_logits(bias_correction=False);
  neurons_test_loss_nats is the number of the TransformerLens Grokking_Demo, cube_all_loss_nats that of its
  test_logits(approximated_logits).";

impl Measure for RestrictedLossProtocols {
    fn name(&self) -> &'static str {
        "restricted_loss_protocols"
    }

    fn summary(&self) -> &'static str {
        "loss when only key waves are kept, by the protocols of other codes"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let loss = |name: &str| SPLITS.map(|split| Column::scalar(&format!("{name}_{split}_loss_nats"), "nats"));
        let acc = SPLITS.map(|split| Column::scalar(&format!("nanda_{split}_acc_frac"), "fraction"));
        let neurons = neurons_fit(setting).is_ok().then(|| loss("neurons"));
        let own = ["no_bias", "blocks", "blocks_no_bias", "cube", "cube_bias"].into_iter().flat_map(loss);
        acc.into_iter().chain(own).chain(neurons.into_iter().flatten()).collect()
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        let neurons = if neurons_fit(setting).is_ok() { clusters::hook(setting) } else { None };
        std::iter::once(Hook::value(LOSS_LOGITS)).chain(neurons).collect()
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let (logits, keys) = (subject.logit_sums()?, subject.key_freqs);
        let (wave_sc, bias_c) = (logits.part(Along::Sum, keys), &logits.mean_w);
        let cube_sc = cube::part(logits, &cube::components(logits), keys);
        let by_sum = |row_sc: &[f64]| score_by_sum(subject, logits, row_sc).0;
        let (_, nanda_acc) = score_by_sum(subject, logits, &plus(wave_sc.clone(), bias_c));
        let difference_dc = logits.part(Along::Difference, &with_differences(logits, keys));
        let blocks = |base_c: &[f64]| {
            score_by_pair(
                subject,
                logits,
                |_| true,
                |row_c, _, (s, d)| {
                    let parts =
                        row(&wave_sc, logits.width, s).iter().zip(row(&difference_dc, logits.width, d)).zip(base_c);
                    row_c.iter_mut().zip(parts).for_each(|(x, ((sum, difference), base))| *x = sum + difference + base);
                },
            )
            .0
        };
        let mut scores = vec![
            nanda_acc,
            by_sum(&wave_sc),
            blocks(bias_c),
            blocks(&vec![0.0; logits.width]),
            by_sum(&cube_sc),
            by_sum(&plus(cube_sc.clone(), bias_c)),
        ];
        if neurons_fit(subject.setting).is_ok() {
            scores.push(by_sum(&plus(neuron_part(subject, keys)?, bias_c)));
        }
        Ok(scores.iter().flat_map(|score| [score.all(), score.train(), score.test()]).map(|x| vec![x]).collect())
    }
}
