//! `key_freqs_used`: the key frequencies that other measures use, by the rule that was chosen.
//!
//! Reads what the rule reads; writes 0 or 1 a frequency, and how many. Source: arXiv 2301.05217.

use crate::error::Result;
use crate::measure::group::freq_axis;
use crate::measure::key_freqs::{self, RULES};
use crate::measure::projection;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// The chosen key frequencies.
pub struct KeyFreqsUsed;

const EXPLAIN: &str = "\
What it is
  The key frequencies that restricted, excluded and trigonometric losses use. measure.key_freqs names the rule:
  {rules}
  or lists frequencies, the same for all replicas: [14, 35]. With measure.key_freqs_at = \"last\" (default) they are
  those of the last checkpoint of the range, replica by replica, and the same at every checkpoint; with \"each\" they
  are taken anew. is_key is 1 for those and 0 for the rest, count their number.
Reads
  What the rule reads.
Unit and range
  is_key: 0 or 1 at frequencies 1 to (p-1)/2 (p/2 for even p). count: 0 to the number of frequencies. Where the rule
  meets a number that is not finite there are no key frequencies, and no measure that uses them has a value.
Value at a known point
  measure.key_freqs = [14, 35]: 1 at 14 and 35.
Source
  Nanda et al. 2023 (arXiv 2301.05217); rules differ between codes, and the measures of each rule (key_freqs_w_e,
  key_freqs_w_e_norm, key_freqs_w_l, key_freqs_neurons) stand beside this one whatever was chosen.";

impl Measure for KeyFreqsUsed {
    fn name(&self) -> &'static str {
        "key_freqs_used"
    }

    fn summary(&self) -> &'static str {
        "which frequencies restricted and excluded losses use, by the chosen rule"
    }

    fn explain(&self) -> String {
        EXPLAIN.replace("{rules}", RULES)
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        key_freqs::columns(setting)
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let axis = freq_axis(subject.setting);
        let is_key = |freq: &f64| f64::from(subject.key_freqs.contains(&(*freq as usize)));
        Ok(vec![axis.ticks.iter().map(is_key).collect(), vec![subject.key_freqs.len() as f64]])
    }
}
