//! `decompose_w_e`: the embedding by PCA, NMF, ICA and t-SNE, against Fourier.
//!
//! Reads W_E; writes components over the residue and how far each is one Fourier wave. See `decompose/mod.rs`.

use crate::error::Result;
use crate::measure::group::Group;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::{w_e, w_e_fits};
use crate::measure::{Column, Measure, Scope, decompose};

/// The embedding taken apart.
pub struct DecomposeWE;

const EXPLAIN: &str = "\
What it is
  The embedding W_E, residues 0 to p-1 as rows, taken apart by four methods that know nothing of waves, and each
  component held against the Fourier waves over the residue.";

const READS: &str = "\
Reads
  embed.W_E, rows 0 to p-1; 1 to p-1 for x*y and x/y.";

impl Measure for DecomposeWE {
    fn name(&self) -> &'static str {
        "decompose_w_e"
    }

    fn summary(&self) -> &'static str {
        "PCA, NMF, ICA and t-SNE of the embedding, against Fourier"
    }

    fn explain(&self) -> String {
        format!("{EXPLAIN}\n  {}\n{READS}\n{}", decompose::EXPLAIN, decompose::EXPLAIN_END)
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        w_e_fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        Group::of(setting).map_or(vec![], |group| decompose::columns(&group))
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Last
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        Ok(decompose::eval(&w_e(subject.params, &group)?, group.order))
    }
}
