//! `key_freqs_w_e_norm`: the frequencies that the embedding uses, by rule `w_e_norm`.
//!
//! Reads W_E; writes 0 or 1 a frequency, and how many. Source: arXiv 2301.05217.

use crate::error::Result;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, key_freqs};
use crate::spec::KeyRule;

/// Key frequencies by rule `w_e_norm`.
pub struct KeyFreqsWENorm;

const EXPLAIN: &str = "\
What it is
  Rule w_e_norm. The embedding is Fourier transformed over the token with an orthonormal basis; a frequency is key when
  the norm of its cos or of its sin component, each a vector over d_model, is at least measure.key_norm (0.5).
  is_key is 1 for those and 0 for the rest, count their number. With init = paper each component has norm 1 before
  training, so that 0.5 is half of what all have then; models of another scale want another number.
Reads
  embed.W_E, rows 0 to p-1 (over log_g of rows 1 to p-1 for x*y and x/y).
Unit and range
  is_key: 0 or 1 at frequencies 1 to (p-1)/2 (p/2 for even p). count: 0 to the number of frequencies. No value when a
  norm is not finite.
Value at a known point
  W_E[a, 0] = x cos(2 pi k a / p): the norm is x sqrt(p/2), so k is key from x = 0.5 sqrt(2/p) on.
Source
  Nanda et al. 2023 (arXiv 2301.05217), figure 3, whose code plots cos and sin apart and reads the high bars off; codes
  that do it without an eye put a number in its place. It depends on the scale of the weights: see key_freqs_w_e.";

impl Measure for KeyFreqsWENorm {
    fn name(&self) -> &'static str {
        "key_freqs_w_e_norm"
    }

    fn summary(&self) -> &'static str {
        "which frequencies the embedding uses (norm of cos or sin at least a number)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WENorm.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        key_freqs::columns(setting)
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        key_freqs::eval(KeyRule::WENorm, subject)
    }
}
