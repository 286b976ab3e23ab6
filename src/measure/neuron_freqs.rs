//! `neuron_freqs`: for every neuron the frequency that explains most of it.
//!
//! Reads the last hidden layer's activations; writes a frequency and a fraction a neuron. Source: arXiv 2301.05217.

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::clusters;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Best frequency of each neuron.
pub struct NeuronFreqs;

const EXPLAIN: &str = "\
What it is
  For each neuron of the last hidden layer, as a function of the pair over all p^2 pairs: the fraction of its variance
  along the eight components of frequency k, cos and sin of w_k a, cos and sin of w_k b, and their four products, for
  every k; freq is the k with the largest fraction (the lowest of equal ones), explained_frac that fraction. For x*y
  and x/y, a and b are discrete logarithms, and pairs with 0 are left out.
Reads
  blocks.L.mlp.hook_post of the last hidden layer where the answer is read, all pairs.
Unit and range
  freq: 1 to (p-1)/2 (p/2 for even p). explained_frac: fraction, 0 to 1. No value for a neuron that does not vary.
Value at a known point
  1 + cos(w_k a) sin(w_k b): k and 1. A neuron of independent numbers: about 8/p^2 to each frequency.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4.2 (433 of 512 neurons reach 0.85 in the main run), and the
  TransformerLens Grokking_Demo (neuron_freq_norm). Both centre each neuron, as a variance does.";

impl Measure for NeuronFreqs {
    fn name(&self) -> &'static str {
        "neuron_freqs"
    }

    fn summary(&self) -> &'static str {
        "for each neuron the frequency that explains most of its activation"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        clusters::fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let axis = Axis { name: "neuron".into(), ticks: (0..clusters::n_neurons(setting)).map(|m| m as f64).collect() };
        vec![Column::along("freq", "1", axis.clone()), Column::along("explained_frac", "fraction", axis)]
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        clusters::hook(setting).into_iter().collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let found = subject.clusters()?;
        let freqs = found.freq_m.iter().map(|&freq| if freq == 0 { f64::NAN } else { freq as f64 });
        Ok(vec![freqs.collect(), found.frac_m.clone()])
    }
}
