//! `decompose_neurons`: the neurons' activations by answer, by PCA, NMF, ICA and t-SNE, against Fourier.
//!
//! Reads activations of the last MLP; writes components over the residue and how far each is one Fourier wave. See `decompose/mod.rs`.

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::group::Group;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, Scope, clusters, decompose};

/// Neurons' mean activations by answer taken apart.
pub struct DecomposeNeurons;

const EXPLAIN: &str = "\
What it is
  The mean activation of every neuron of the last MLP over the p pairs with the same answer (answers 0 to p-1 as
  rows), taken apart by four methods that know nothing of waves, and each component held against the Fourier waves
  over the answer.";

const READS: &str = "\
Reads
  The last mlp.hook_post at the position of the answer, all pairs; without 0 for x*y and x/y.";

impl Measure for DecomposeNeurons {
    fn name(&self) -> &'static str {
        "decompose_neurons"
    }

    fn summary(&self) -> &'static str {
        "PCA, NMF, ICA and t-SNE of neurons by answer, against Fourier"
    }

    fn explain(&self) -> String {
        format!("{EXPLAIN}\n  {}\n{READS}\n{}", decompose::EXPLAIN, decompose::EXPLAIN_END)
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        clusters::fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        Group::of(setting).map_or(vec![], |group| decompose::columns(&group))
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        clusters::hook(setting).into_iter().collect()
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Last
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let neurons = subject.neuron_sums()?;
        Ok(decompose::eval(&neurons.mean_by_answer(), neurons.group.order))
    }
}
