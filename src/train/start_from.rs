//! Parameters that start as those of another run, for fine-tuning and for comparisons from one point.
//!
//! Reads a checkpoint of that run; writes over the parameters that the spec's `[model.from]` names.

use std::path::Path;

use crate::checkpoint::open_snapshots;
use crate::engine::{Params, Real};
use crate::error::{Error, Result};
use crate::spec::StartFrom;

/// Replica by replica; a run of one replica gives it to all.
///
/// # Errors
/// [`Error::Missing`] and the like for a run or step that is not there; [`Error::Value`] for parameters that the run lacks or has in another
/// shape, and for too few replicas.
pub(super) fn start_from<T: Real>(from: &StartFrom, params: &mut Params<T>) -> Result<()> {
    let reader = open_snapshots(Path::new(&from.run))?;
    let step = match from.step.or(reader.steps().last().copied()) {
        Some(step) => step,
        None => return Err(value("model.from.run", format!("{}, which has no checkpoint", from.run), "a trained run")),
    };
    let snapshot = reader.read(step)?;
    let there = reader.spec().train.seeds.0.len();
    if there > 1 && there < params.replicas() {
        let got = format!("a run of {there} replicas, for {}", params.replicas());
        return Err(value("model.from.run", got, "one with as many, or with a single one for all"));
    }
    let layout = params.layout.clone();
    let wanted = match from.params.is_empty() {
        true => vec![true; layout.infos.len()],
        false => layout.named("model.from.params", &from.params)?,
    };
    for (id, info) in layout.infos.iter().enumerate().filter(|(id, _)| wanted[*id]) {
        let Some(tensor) = snapshot.params.iter().find(|tensor| tensor.name == info.name) else {
            let got = format!("{}, which has no {}", from.run, info.name);
            return Err(value("model.from.run", got, "a run that has it; or name those to take in model.from.params"));
        };
        if tensor.shape[1..] != info.shape {
            let got = format!("{} of shape {:?}, for {:?}", info.name, &tensor.shape[1..], info.shape);
            return Err(value("model.from.run", got, "the same shape; or name those to take in model.from.params"));
        }
        for r in 0..params.replicas() {
            let row = tensor.row(if there == 1 { 0 } else { r })?.to_f64();
            params.set(r, id, row.into_iter().map(T::from_f64));
        }
    }
    Ok(())
}

fn value(what: &str, got: String, expected: &str) -> Error {
    Error::Value { what: what.into(), got, expected: expected.into() }
}
