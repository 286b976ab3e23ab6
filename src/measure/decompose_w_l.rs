//! `decompose_w_l`: the map from neurons to logits by PCA, NMF, ICA and t-SNE, against Fourier.
//!
//! Reads W_L; writes components over the residue and how far each is one Fourier wave. See `decompose/mod.rs`.

use crate::error::Result;
use crate::measure::group::Group;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::w_l_fits;
use crate::measure::{Column, Measure, Scope, decompose};

/// The neuron-logit map taken apart.
pub struct DecomposeWL;

const EXPLAIN: &str = "\
What it is
  The map W_L = W_out W_U from neurons to logits, answers 0 to p-1 as rows, taken apart by four methods that know
  nothing of waves, and each component held against the Fourier waves over the residue.";

const READS: &str = "\
Reads
  The last block's mlp.W_out and unembed.W_U; attn.W_O where there is no MLP; W_U alone where it reads the last hidden
  layer directly.";

impl Measure for DecomposeWL {
    fn name(&self) -> &'static str {
        "decompose_w_l"
    }

    fn summary(&self) -> &'static str {
        "PCA, NMF, ICA and t-SNE of the map from neurons to logits, against Fourier"
    }

    fn explain(&self) -> String {
        format!("{EXPLAIN}\n  {}\n{READS}\n{}", decompose::EXPLAIN, decompose::EXPLAIN_END)
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        w_l_fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        Group::of(setting).map_or(vec![], |group| decompose::columns(&group))
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Last
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        Ok(decompose::eval(subject.w_l()?, subject.group()?.order))
    }
}
