//! Key frequencies that terms of the loss take from the model during training, and keep.
//!
//! Found once, before the update that `freqs_at` names, replica by replica; kept in resume points as `state/freqs_NAME`
//! `[R, n_freqs]`, so that a resumed run has the same.

use crate::engine::{Params, Real, Runner};
use crate::error::Result;
use crate::measure::Group;
use crate::measure::fourier::n_freqs;
use crate::spec::{LossSpec, TermKeyRule};
use crate::task::Task;
use crate::tensor::{Data, Tensor};
use crate::term;

/// The frequencies of one term.
#[derive(Debug, Clone)]
struct Late {
    /// Its place among the terms.
    term: usize,
    name: String,
    at_step: u64,
    rule: TermKeyRule,
    /// `[R, n_freqs]`, once found.
    is_key_rf: Option<Vec<bool>>,
}

/// The frequencies of all terms that take them during training.
#[derive(Debug, Clone)]
pub(super) struct LateFreqs {
    group: Option<Group>,
    all: Vec<Late>,
}

impl LateFreqs {
    pub(super) fn new(loss: &LossSpec, task: &Task) -> LateFreqs {
        let late = |(i, spec): (usize, &crate::spec::TermSpec)| {
            let (term, name, rule) = (i, spec.name(), spec.freqs_rule);
            spec.freqs_at.map(|at_step| Late { term, name, at_step, rule, is_key_rf: None })
        };
        let group = task.modular.as_ref().and_then(|m| Group::new(m.p as usize, m.op()).ok());
        LateFreqs { group, all: loss.terms.iter().enumerate().filter_map(late).collect() }
    }

    /// Finds those that are due before the update after `step` others.
    ///
    /// # Errors
    /// None in practice: terms were checked when the run was made.
    pub(super) fn find<T: Real>(&mut self, step: u64, params: &Params<T>, runner: &mut Runner<T>) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        for late in self.all.iter_mut().filter(|late| late.at_step == step && late.is_key_rf.is_none()) {
            let tensors_r = params.to_tensors("");
            let mut is_key_rf = vec![];
            for r in 0..params.replicas() {
                let own = tensors_r.iter().map(|t| t.row(r).map(|t| Tensor { data: Data::F64(t.to_f64()), ..t }));
                is_key_rf.extend(term::is_key(late.rule, &own.collect::<Result<Vec<_>>>()?, group)?);
            }
            late.use_them(is_key_rf, n_freqs(group.order), runner);
        }
        Ok(())
    }

    /// What was found, for a resume point.
    pub(super) fn to_tensors(&self) -> Vec<Tensor> {
        let Some(n) = self.n_freqs() else { return vec![] };
        let found = self.all.iter().filter_map(|late| Some((late, late.is_key_rf.as_ref()?)));
        let tensor = |(late, is_key_rf): (&Late, &Vec<bool>)| Tensor {
            name: format!("state/freqs_{}", late.name),
            shape: vec![is_key_rf.len() / n, n],
            data: Data::U8(is_key_rf.iter().map(|&key| key.into()).collect()),
        };
        found.map(tensor).collect()
    }

    fn n_freqs(&self) -> Option<usize> {
        self.group.as_ref().map(|group| n_freqs(group.order))
    }

    /// Takes what was found from a resume point.
    pub(super) fn restore<T: Real>(&mut self, tensors: &[Tensor], runner: &mut Runner<T>) {
        let Some(n) = self.n_freqs() else { return };
        for late in &mut self.all {
            let name = format!("state/freqs_{}", late.name);
            if let Some(Data::U8(is_key_rf)) = tensors.iter().find(|t| t.name == name).map(|t| &t.data) {
                late.use_them(is_key_rf.iter().map(|&key| key != 0).collect(), n, runner);
            }
        }
    }
}

impl Late {
    fn use_them<T: Real>(&mut self, is_key_rf: Vec<bool>, n_freqs: usize, runner: &mut Runner<T>) {
        for (r, is_key_f) in is_key_rf.chunks_exact(n_freqs).enumerate() {
            let freqs: Vec<usize> = (1..).zip(is_key_f).filter(|&(_, &key)| key).map(|(k, _)| k).collect();
            runner.terms_mut()[self.term].set_freqs(r, &freqs);
        }
        self.is_key_rf = Some(is_key_rf);
    }
}
