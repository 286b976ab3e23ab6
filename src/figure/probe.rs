//! One replica at one checkpoint: what figures of a model, not of its training, are drawn from.
//!
//! Reads a run through [`Probe`]; gives parameters and activations in f64 without replica axis ([`Checkpoint`]).

use super::FigureInput;
use crate::engine::Hook;
use crate::error::{Error, Result};
use crate::forward::RunSeries;
use crate::measure::fourier::Basis;
use crate::measure::{Group, Modular, Setting, SnapshotSource, large, w_e, w_l};
use crate::spec::{KeyFreqsBy, KeyRule};
use crate::tensor::{Data, Tensor};

/// How the names of hidden activations end.
pub const HIDDEN: &str = ".hook_post";

/// A run of which parameters and activations can be had.
pub trait Probe: SnapshotSource + Sync {
    /// Task, parameters and hooks: what decides which figures fit.
    fn setting(&self) -> Setting<'_>;

    /// What `hooks` name, of the replica with index `r` at a checkpoint, over all examples: `[N, positions, axes…]`.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a hook that is not there; missing or damaged files.
    fn activations(&self, step: u64, r: usize, hooks: &[Hook]) -> Result<Vec<Tensor>>;
}

impl Probe for RunSeries {
    fn setting(&self) -> Setting<'_> {
        RunSeries::setting(self)
    }

    fn activations(&self, step: u64, r: usize, hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.observe(step, r, hooks)
    }
}

/// Which checkpoint and replica the figures of one checkpoint show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct At {
    /// Count of updates; the last checkpoint when unset.
    pub step: Option<u64>,
    /// The replica; the first when unset.
    pub seed: Option<u64>,
    /// The checkpoint by which figures of toy models choose the best seed and the reach of axes; `step`'s own when unset.
    pub chosen_at: Option<u64>,
}

/// One replica at one checkpoint.
pub struct Checkpoint<'a> {
    probe: &'a dyn Probe,
    /// Task, parameters and hooks.
    pub setting: Setting<'a>,
    /// Count of updates.
    pub step: u64,
    /// The replica.
    pub seed: u64,
    /// Its index.
    r: usize,
    /// Its parameters, in f64 and without replica axis.
    pub params: Vec<Tensor>,
}

impl<'a> FigureInput<'a> {
    /// The checkpoint that was chosen.
    ///
    /// # Errors
    /// [`Error::Missing`] without a run to look into; [`Error::Value`] for a step without a checkpoint and for a seed that the
    /// run does not have; missing or damaged files.
    pub fn checkpoint(&self) -> Result<Checkpoint<'a>> {
        let missing = || Error::Missing {
            what: "every checkpoint".into(),
            path: "snapshots".into(),
            hint: "train first, with `phaselab train` or `phaselab run`".into(),
        };
        let probe = self.probe.ok_or_else(missing)?;
        let (steps, seeds) = (probe.steps(), probe.seeds());
        let step = match self.at.step.or(steps.last().copied()) {
            None => return Err(missing()),
            Some(step) if steps.contains(&step) => step,
            Some(step) => {
                let near = steps.iter().min_by_key(|known| known.abs_diff(step)).copied().unwrap_or_default();
                return Err(Error::Value {
                    what: "the step of a figure".into(),
                    got: step.to_string(),
                    expected: format!("one that has a checkpoint; the nearest is {near}"),
                });
            }
        };
        let r = match self.at.seed {
            None => (!seeds.is_empty()).then_some(0),
            Some(seed) => seeds.iter().position(|&known| known == seed),
        };
        let Some(r) = r else {
            let known: Vec<String> = seeds.iter().map(u64::to_string).collect();
            return Err(Error::Value {
                what: "the seed of a figure".into(),
                got: self.at.seed.map_or("unset".into(), |seed| seed.to_string()),
                expected: format!("one of the run's seeds: {}", known.join(", ")),
            });
        };
        let params = probe.params(step)?.iter().map(|tensor| in_f64(&tensor.row(r)?)).collect::<Result<_>>()?;
        Ok(Checkpoint { probe, setting: probe.setting(), step, seed: seeds[r], r, params })
    }
}

fn in_f64(tensor: &Tensor) -> Result<Tensor> {
    Tensor::new(tensor.name.clone(), tensor.shape.clone(), Data::F64(tensor.to_f64()))
}

impl Checkpoint<'_> {
    /// What `hook` names, `[N, positions, axes…]`.
    ///
    /// # Errors
    /// As [`Probe::activations`].
    pub fn activation(&self, hook: Hook) -> Result<Tensor> {
        let name = hook.name.clone();
        let found = self.probe.activations(self.step, self.r, &[hook])?.pop();
        in_f64(&found.ok_or_else(|| Error::Unknown { kind: "hook", name, known: vec![] })?)
    }

    /// The modulus of a modular task, 1 for any other.
    pub fn p(&self) -> usize {
        self.setting.p().unwrap_or(1)
    }

    /// The group over which the task's waves run.
    ///
    /// # Errors
    /// [`Error::Value`] for a task that has none.
    pub fn group(&self) -> Result<Group> {
        Group::of(&self.setting).map_err(|why| Error::Value {
            what: "the task of a figure".into(),
            got: format!("one of which {why}"),
            expected: "a sum in a cyclic group".into(),
        })
    }

    /// Norm of each Fourier component of W_E, or of W_L for rule `w_l`: constant, cos 1, sin 1, …
    ///
    /// # Errors
    /// A model or a task without the matrix.
    pub fn component_norms(&self, rule: KeyRule) -> Result<Vec<f64>> {
        let (group, params) = (self.group()?, &self.params);
        let rows = if rule == KeyRule::WL { w_l(params, &group.residues)? } else { w_e(params, &group)? };
        Ok(Basis::new(group.order).component_norms(&rows))
    }

    /// Which frequencies, from 1, have a norm that makes them key.
    ///
    /// # Errors
    /// As [`Checkpoint::component_norms`].
    pub fn is_key(&self, rule: KeyRule) -> Result<Vec<bool>> {
        let both = |pair: &[f64]| pair.iter().map(|x| x * x).sum::<f64>().sqrt();
        let norms: Vec<f64> = self.component_norms(rule)?[1..].chunks(2).map(both).collect();
        Ok(large(&norms, self.setting.options.key_frac).unwrap_or_else(|| vec![false; norms.len()]))
    }

    /// Key frequencies: the spec's where they are given by hand, else by rule `w_l`, and by `w_e` where the model has no W_L.
    ///
    /// # Errors
    /// As [`Checkpoint::component_norms`].
    pub fn key_freqs(&self) -> Result<Vec<usize>> {
        if let KeyFreqsBy::List(list) = &self.setting.options.key_freqs {
            return Ok(list.clone());
        }
        let rule = [KeyRule::WL, KeyRule::WE].into_iter().find(|rule| rule.fits(&self.setting).is_ok());
        let keys = rule.map_or(Ok(vec![]), |rule| self.is_key(rule))?;
        Ok(keys.iter().enumerate().filter(|(_, key)| **key).map(|(i, _)| i + 1).collect())
    }

    /// The operands' grid: where each example of the task's first operation is, a times p plus b; none for those of others.
    pub fn cells(&self) -> Vec<Option<usize>> {
        let Some(Modular { p, pairs, op_of, .. }) = self.setting.examples.modular else { return vec![] };
        let is_first = |n: usize| op_of.get(n).is_none_or(|&op| op == 0);
        let cell = |(n, &[a, b]): (usize, &[u32; 2])| is_first(n).then_some(a as usize * p + b as usize);
        pairs.iter().enumerate().map(cell).collect()
    }

    /// What is shown, for the second line of a page: `seed 0 at step 1200`.
    pub fn title(&self) -> String {
        format!("seed {} at step {}", self.seed, self.step)
    }

    /// The same, for what is shown over [`Checkpoint::cells`]: with the operation, where there are several.
    pub fn title_over_pairs(&self) -> String {
        match self.setting.examples.modular.map(|modular| modular.ops) {
            Some([first, _, ..]) => format!("{}, {}", self.title(), first.name()),
            _ => self.title(),
        }
    }
}

/// Whether the task has a modulus.
///
/// # Errors
/// The reason why not, as a clause.
pub fn modular(setting: &Setting) -> Result<usize, String> {
    setting.p().filter(|&p| p >= 2).ok_or_else(|| "the task has no modulus".into())
}

/// The hooks of that ending, in the order of the layers.
///
/// # Errors
/// The reason why there are none, as a clause.
pub fn hooks_ending<'s>(setting: &'s Setting, ending: &str) -> Result<Vec<&'s crate::measure::HookShape>, String> {
    let found: Vec<_> = setting.hooks.iter().filter(|hook| hook.name.ends_with(ending)).collect();
    if found.is_empty() { Err(format!("the model has no {ending}")) } else { Ok(found) }
}
