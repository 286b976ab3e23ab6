//! `key_freqs_w_e`: the frequencies that the embedding uses, by rule `w_e`.
//!
//! Reads the matrix of [`KeyRule::WE`]; writes 0 or 1 a frequency, and how many. Source: arXiv 2301.05217.

use crate::error::Result;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, key_freqs};
use crate::spec::KeyRule;

/// Key frequencies by rule `w_e`.
pub struct KeyFreqsWE;

const EXPLAIN: &str = "\
What it is
  Rule w_e. The norms are those of fourier_norm_w_e: the embedding, Fourier transformed over the token. A frequency is
  key when its norm is at least a quarter of the largest (another fraction: measure.key_frac). is_key is 1 for those
  and 0 for the rest, count their number. Before training all norms are alike and nearly every frequency is key.
Reads
  embed.W_E, rows 0 to p-1 (over log_g of rows 1 to p-1 for x*y and x/y).
Unit and range
  is_key: 0 or 1 at frequencies 1 to (p-1)/2 (p/2 for even p). count: 0 (all norms 0) to the number of frequencies. No
  value when a norm is not finite.
Value at a known point
  A matrix made of cos(2 pi k x / p) alone: k is key, count is 1.
Source
  Nanda et al. 2023 (arXiv 2301.05217) read key frequencies off the plot of these norms; the quarter of the maximum is
  used by later codes. Leftover frequencies that no neuron uses often stay in the embedding: see key_freqs_w_l.";

impl Measure for KeyFreqsWE {
    fn name(&self) -> &'static str {
        "key_freqs_w_e"
    }

    fn summary(&self) -> &'static str {
        "which frequencies the embedding uses (norm at least a quarter of the largest)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WE.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        key_freqs::columns(setting)
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        key_freqs::eval(KeyRule::WE, subject)
    }
}
