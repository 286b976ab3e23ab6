//! `decompose_neurons`: the neurons' activations by answer, by PCA, NMF, ICA and t-SNE, against Fourier.
//!
//! Reads activations of the last MLP; writes components over the residue and how far each is one Fourier wave. See `decompose/mod.rs`.

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure, Scope, decompose, pairs};

/// Neurons' mean activations by answer taken apart.
pub struct DecomposeNeurons;

const EXPLAIN: &str = "\
What it is
  The mean activation of every neuron of the last MLP over the p pairs with the same answer (answers 0 to p-1 as
  rows), taken apart by four methods that know nothing of waves, and each component held against the Fourier waves
  over the answer.";

const READS: &str = "\
Reads
  The last mlp.hook_post at the position of the answer, all pairs of x+y or x-y.";

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
        pairs::fits(setting)?;
        neurons(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        decompose::columns(setting.p().unwrap_or(1))
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        neurons(setting).into_iter().collect()
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Last
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let neurons = neurons(subject.setting).unwrap_or_else(|_| Hook::value("mlp.hook_post"));
        let activation = subject.activation(&neurons)?;
        Ok(decompose::eval(&pairs::by_answer(subject, activation.values)?, subject.modular()?.p))
    }
}

/// The neurons of the last MLP, where the answer is read.
fn neurons(setting: &Setting) -> Result<Hook, String> {
    let found = setting.hooks.iter().rfind(|hook| hook.name.ends_with("mlp.hook_post"));
    let hook = found.ok_or_else(|| "the model has no neurons (mlp.hook_post)".to_owned())?;
    match setting.loss_positions.iter().all(|t| hook.positions.contains(t)) {
        true => Ok(Hook::value(&hook.name).at(setting.loss_positions.iter().copied())),
        false => Err(format!("{} is not at the position of the answer", hook.name)),
    }
}
