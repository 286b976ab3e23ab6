//! Parameters that start as those of another run, for fine-tuning and for comparisons from one point.
//!
//! Reads a checkpoint of that run; writes over the parameters that the spec's `[model.from]` names.

use std::path::Path;

use crate::checkpoint::{Snapshot, open_snapshots};
use crate::engine::{ParamInfo, Params, Real};
use crate::error::{Error, Result};
use crate::spec::StartFrom;

/// A checkpoint of another run, for as many replicas as there are here.
pub(super) struct Source {
    key: &'static str,
    run: String,
    snapshot: Snapshot,
    /// Whether one replica's numbers are for all.
    is_one: bool,
}

impl Source {
    /// The checkpoint at `step`, the last one when unset; `key` is the section of the spec that names the run.
    ///
    /// # Errors
    /// [`Error::Missing`] and the like for a run or step that is not there; [`Error::Value`] for a run of too few replicas.
    pub(super) fn open((key, run): (&'static str, &str), step: Option<u64>, replicas: usize) -> Result<Source> {
        let reader = open_snapshots(Path::new(run))?;
        let what = format!("{key}.run");
        let Some(step) = step.or(reader.steps().last().copied()) else {
            return Err(value(&what, format!("{run}, which has no checkpoint"), "a trained run"));
        };
        let snapshot = reader.read(step)?;
        let there = reader.spec().train.seeds.0.len();
        if there > 1 && there < replicas {
            let got = format!("a run of {there} replicas, for {replicas}");
            return Err(value(&what, got, "one with as many, or with a single one for all"));
        }
        Ok(Source { key, run: run.into(), snapshot, is_one: there == 1 })
    }

    /// The numbers of a parameter for replica `r`.
    ///
    /// # Errors
    /// [`Error::Value`] for one that the run lacks or has in another shape.
    pub(super) fn numbers(&self, info: &ParamInfo, r: usize) -> Result<Vec<f64>> {
        let Source { key, run, .. } = self;
        let what = format!("{key}.run");
        let Some(tensor) = self.snapshot.params.iter().find(|tensor| tensor.name == info.name) else {
            let got = format!("{run}, which has no {}", info.name);
            return Err(value(&what, got, &format!("a run that has it; or name those to take in {key}.params")));
        };
        if tensor.shape[1..] != info.shape {
            let got = format!("{} of shape {:?}, for {:?}", info.name, &tensor.shape[1..], info.shape);
            return Err(value(&what, got, &format!("the same shape; or name those to take in {key}.params")));
        }
        Ok(tensor.row(if self.is_one { 0 } else { r })?.to_f64())
    }
}

/// Replica by replica; a run of one replica gives it to all.
///
/// # Errors
/// As [`Source::open`] and [`Source::numbers`]; [`Error::Value`] for a pattern that names no parameter.
pub(super) fn start_from<T: Real>(from: &StartFrom, params: &mut Params<T>) -> Result<()> {
    let source = Source::open(("model.from", &from.run), from.step, params.replicas())?;
    let layout = params.layout.clone();
    let wanted = match from.params.is_empty() {
        true => vec![true; layout.infos.len()],
        false => layout.named("model.from.params", &from.params)?,
    };
    for (id, info) in layout.infos.iter().enumerate().filter(|(id, _)| wanted[*id]) {
        for r in 0..params.replicas() {
            params.set(r, id, source.numbers(info, r)?.into_iter().map(T::from_f64));
        }
    }
    Ok(())
}

fn value(what: &str, got: String, expected: &str) -> Error {
    Error::Value { what: what.into(), got, expected: expected.into() }
}
