//! `excluded_loss_protocols`: the training loss when key waves are taken away, by the protocols that other codes use.
//!
//! Reads logits and neurons over all pairs and the key frequencies; writes a loss a protocol, and an accuracy.
//! Sources: arXiv 2301.05217, section 5.1, its notebook, and the TransformerLens Grokking_Demo.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::cube;
use crate::measure::projection::{self, neuron_part, neurons_fit, row, score_by_pair, with_differences};
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::Along;
use crate::measure::{Column, Measure, clusters};

/// Loss without key waves, protocol by protocol.
pub struct ExcludedLossProtocols;

const EXPLAIN: &str = "\
What it is
  As excluded_loss, with another rule for what is taken away; the cross-entropy is that of the training split, what is
  taken away is found over all pairs. K are the key frequencies, all at once.
  nanda_train_acc_frac     accuracy of excluded_loss: the logits less cos w_k(a+b) and sin w_k(a+b), class by class
  blocks_train_loss_nats   less the 2 x 2 blocks: the four products of cos and sin of w_k a with cos and sin of w_k b,
                           class by class, so that waves of a-b go too
  cube_train_loss_nats     less cos w_k(a+b-c) over pairs and classes at once (see logits_cube_fit): the notebook's
                           \"excluded loss 3D full\"
  neurons_train_loss_nats  less what the neurons' cos and sin w_k(a+b) give the logits through W_out W_U (and 1/d_mlp,
                           where parametrization = \"mean_field\"): the demo's get_excluded_loss (which leaves b_out
                           and b_U out; its model has none). Missing where the logits do not read neurons linearly,
                           or nobody knows (a network from outside).
Reads
  The logits of all pairs; the split; what the rule for key frequencies reads; for neurons, hook_post, W_out and W_U.
Unit and range
  nats, 0 and up; acc_frac: fraction, 0 to 1.
Value at a known point
  Logits cos w_k(a+b-c) with k in K: ln p in all but neurons. Equal logits: ln p.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1, and its notebook; TransformerLens Grokking_Demo.";

impl Measure for ExcludedLossProtocols {
    fn name(&self) -> &'static str {
        "excluded_loss_protocols"
    }

    fn summary(&self) -> &'static str {
        "training loss when key waves are taken away, by the protocols of other codes"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let loss = |name: &str| Column::scalar(&format!("{name}_train_loss_nats"), "nats");
        let neurons = neurons_fit(setting).is_ok().then(|| loss("neurons"));
        let acc = Column::scalar("nanda_train_acc_frac", "fraction");
        [acc, loss("blocks"), loss("cube")].into_iter().chain(neurons).collect()
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
        let wave_sc = logits.part(Along::Sum, keys);
        let cube_sc = cube::part(logits, &cube::components(logits), keys);
        let difference_dc = logits.part(Along::Difference, &with_differences(logits, keys));
        let without = |sum_sc: &[f64], difference_dc: Option<&[f64]>| {
            score_by_pair(
                subject,
                logits,
                |train| train,
                |row_c, logits_c, (s, d)| {
                    let parts = logits_c.iter().zip(row(sum_sc, logits.width, s));
                    row_c.iter_mut().zip(parts).for_each(|(x, (logit, wave))| *x = logit - wave);
                    if let Some(difference_dc) = difference_dc {
                        row_c.iter_mut().zip(row(difference_dc, logits.width, d)).for_each(|(x, wave)| *x -= wave);
                    }
                },
            )
        };
        let loss = |sum_sc: &[f64], difference_dc: Option<&[f64]>| without(sum_sc, difference_dc).0.train();
        let acc = without(&wave_sc, None).1.train();
        let mut scores = vec![acc, loss(&wave_sc, Some(&difference_dc)), loss(&cube_sc, None)];
        if neurons_fit(subject.setting).is_ok() {
            scores.push(loss(&neuron_part(subject, keys)?, None));
        }
        Ok(scores.into_iter().map(|x| vec![x]).collect())
    }
}
