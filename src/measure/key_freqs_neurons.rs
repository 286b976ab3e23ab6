//! `key_freqs_neurons`: the frequencies of clusters of neurons, by rule `neurons`.
//!
//! Reads the last hidden layer's activations; writes 0 or 1 a frequency, and how many. Source: arXiv 2301.05217.

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, key_freqs};
use crate::spec::KeyRule;

/// Key frequencies by rule `neurons`.
pub struct KeyFreqsNeurons;

const EXPLAIN: &str = "\
What it is
  Rule neurons. Each neuron has the frequency that explains the largest fraction of its variance over all pairs (see
  neuron_freqs). A frequency is key when at least one neuron has it with a fraction of at least 0.85 (another:
  measure.cluster_frac). is_key is 1 for those and 0 for the rest, count their number.
Reads
  blocks.L.mlp.hook_post of the last hidden layer where the answer is read, all pairs.
Unit and range
  is_key: 0 or 1 at frequencies 1 to (p-1)/2 (p/2 for even p). count: 0 to the number of frequencies. Before training
  no neuron reaches the cut, and count is 0. No value when an activation is not finite.
Value at a known point
  Neurons 1 + cos w_k(a+b) of one k: k is key, count is 1.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4.2; their notebook lists the best frequencies of all neurons, before
  the cut, which is the same where nearly all neurons reach it.";

impl Measure for KeyFreqsNeurons {
    fn name(&self) -> &'static str {
        "key_freqs_neurons"
    }

    fn summary(&self) -> &'static str {
        "which frequencies clusters of neurons have"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::Neurons.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        key_freqs::columns(setting)
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        KeyRule::Neurons.hooks(setting)
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        key_freqs::eval(KeyRule::Neurons, subject)
    }
}
