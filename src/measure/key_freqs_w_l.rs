//! `key_freqs_w_l`: the frequencies that the neuron-logit map uses, by rule `w_l`.
//!
//! Reads the matrix of [`KeyRule::WL`]; writes 0 or 1 a frequency, and how many. Source: arXiv 2301.05217.

use crate::error::Result;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, key_freqs};
use crate::spec::KeyRule;

/// Key frequencies by rule `w_l`.
pub struct KeyFreqsWL;

const EXPLAIN: &str = "\
What it is
  Rule w_l. W_L = W_out W_U is Fourier transformed over the output (classes 0 to p-1; for x*y and x/y over log_g of
  classes 1 to p-1, g the smallest primitive root) with an orthonormal basis; the norm of a frequency is that of its
  cos and sin components together, each a vector over the neurons. A frequency is key when its norm is at least a
  quarter of the largest (another fraction: measure.key_frac). is_key is 1 for those and 0 for the rest, count their
  number. Before training all norms are alike and nearly every frequency is key.
Reads
  The last block's mlp.W_out and unembed.W_U; attn.W_O (heads flattened) where there is no MLP; W_U alone where it
  reads the last hidden layer directly. LayerNorm weights are not folded in.
Unit and range
  is_key: 0 or 1 at frequencies 1 to (p-1)/2 (p/2 for even p). count: 0 (all norms 0) to the number of frequencies. No
  value when a norm is not finite.
Value at a known point
  A matrix made of cos(2 pi k x / p) alone: k is key, count is 1.
Source
  Nanda et al. 2023 (arXiv 2301.05217), sections 3 and 4: the non-trivial components of W_L. The fraction is ours: in
  four models trained to generalise at p = 53 the frequencies in use had at least 0.53 of the largest norm, all others
  at most 0.16.";

impl Measure for KeyFreqsWL {
    fn name(&self) -> &'static str {
        "key_freqs_w_l"
    }

    fn summary(&self) -> &'static str {
        "which frequencies the neuron-logit map uses (norm at least a quarter of the largest)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WL.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        key_freqs::columns(setting)
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        key_freqs::eval(KeyRule::WL, subject)
    }
}
