//! `decompose_logits`: the logits by answer, by PCA, NMF, ICA and t-SNE, against Fourier.
//!
//! Reads logits over all pairs; writes components over the residue and how far each is one Fourier wave. See `decompose/mod.rs`.

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::measure::group::{self, Group};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, Scope, decompose};

/// Mean logits by answer taken apart.
pub struct DecomposeLogits;

const EXPLAIN: &str = "\
What it is
  The mean logits over the p pairs with the same answer (answers 0 to p-1 as rows, classes as columns), taken apart by
  four methods that know nothing of waves, and each component held against the Fourier waves over the answer.";

const READS: &str = "\
Reads
  The logits of all pairs; without 0 for x*y and x/y.";

impl Measure for DecomposeLogits {
    fn name(&self) -> &'static str {
        "decompose_logits"
    }

    fn summary(&self) -> &'static str {
        "PCA, NMF, ICA and t-SNE of logits by answer, against Fourier"
    }

    fn explain(&self) -> String {
        format!("{EXPLAIN}\n  {}\n{READS}\n{}", decompose::EXPLAIN, decompose::EXPLAIN_END)
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        group::sum_fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        Group::of(setting).map_or(vec![], |group| decompose::columns(&group))
    }

    fn needs_hooks(&self, _: &Setting) -> Vec<Hook> {
        vec![Hook::value(LOSS_LOGITS)]
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Last
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let logits = subject.logit_sums()?;
        Ok(decompose::eval(&logits.mean_by_answer(), logits.group.order))
    }
}
