//! All snapshots of a run, loose or packed, behind one reader.
//!
//! Reads `run.toml`, `run.h5` and `snapshots/`; loads one step at a time. It takes no lock: a run can be read while it
//! is trained and while it is packed.

use std::path::{Path, PathBuf};

use super::hdf5_read::Reader;
use super::pack::metrics_of;
use super::record::Kind;
use super::resume::latest_metrics;
use super::run_folder::read_spec;
use super::snapshot::{Snapshot, loose_path, packed_steps, param_names, steps_of, without_prefix};
use super::{PACKED, SNAPSHOTS, atomic};
use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::tensor::Tensor;

/// The snapshots of one run, as they were when it was opened.
#[derive(Debug, Clone)]
pub struct SnapshotReader {
    run: PathBuf,
    spec: Spec,
    steps: Vec<u64>,
}

/// Finds the snapshots of a run folder.
///
/// # Errors
/// [`Error::Missing`] when it is no run folder; [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Io`].
pub fn open_snapshots(run: &Path) -> Result<SnapshotReader> {
    let spec = read_spec(run)?;
    // Loose ones first: while the run is being packed a step is in both places before it leaves this one.
    let mut steps: Vec<u64> =
        atomic::numbered(&run.join(SNAPSHOTS), "step_")?.into_iter().map(|(step, _)| step).collect();
    steps.extend(packed_steps(run)?);
    steps.sort_unstable();
    steps.dedup();
    Ok(SnapshotReader { run: run.to_path_buf(), spec, steps })
}

impl SnapshotReader {
    /// Counts of updates at which there are snapshots, in order.
    pub fn steps(&self) -> &[u64] {
        &self.steps
    }

    /// The run's resolved spec; its seeds are the replicas, in order.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The snapshot of one step, every checksum verified.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none; [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Io`].
    pub fn read(&self, step: u64) -> Result<Snapshot> {
        self.at(step, |reader, index| {
            let names = param_names(reader);
            let params = names.map(|name| read_param(reader, name, index)).collect::<Result<_>>()?;
            Ok(Snapshot { step, params, train_mask: reader.tensor("train_mask")? })
        })
    }

    /// One parameter `[r, …]` of one step, by TransformerLens's name; nothing else is loaded.
    ///
    /// # Errors
    /// As [`SnapshotReader::read`]; [`Error::Unknown`] when the model has no such parameter.
    pub fn read_one(&self, step: u64, param: &str) -> Result<Tensor> {
        self.at(step, |reader, index| {
            let name = format!("params/{param}");
            if !reader.names().contains(&name) {
                let known = param_names(reader).map(|name| name["params/".len()..].to_owned()).collect();
                return Err(Error::Unknown { kind: "parameter", name: param.to_owned(), known });
            }
            read_param(reader, &name, index)
        })
    }

    /// What was evaluated so far: `metrics/step [e]` and one `[e, r]` a metric; of `run.h5`, or of the newest resume
    /// point while the run is not packed. None before the first of these.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Io`].
    pub fn metrics(&self) -> Result<Vec<Tensor>> {
        let packed = match Reader::open(&self.run.join(PACKED)) {
            Ok(reader) => metrics_of(&reader)?,
            Err(Error::Missing { .. }) => vec![],
            Err(e) => return Err(e),
        };
        let newest = latest_metrics(&self.run)?.unwrap_or_default();
        // A packed run that is being continued has longer columns in its resume points.
        let evals = |metrics: &[Tensor]| metrics.first().and_then(|tensor| tensor.shape.first().copied());
        Ok(if evals(&newest) > evals(&packed) { newest } else { packed })
    }

    /// Calls `f` with the file that has `step`: loose, or packed with its index there.
    fn at<T>(&self, step: u64, f: impl Fn(&Reader, Option<usize>) -> Result<T>) -> Result<T> {
        match Reader::open(&loose_path(&self.run, step)) {
            Ok(reader) => {
                reader.expect_kind(Kind::Snapshot)?;
                return f(&reader, None);
            }
            Err(Error::Missing { .. }) => {}
            Err(e) => return Err(e),
        }
        let packed = match Reader::open(&self.run.join(PACKED)) {
            Ok(reader) => reader,
            Err(Error::Missing { .. }) => return Err(self.no_such_step(step)),
            Err(e) => return Err(e),
        };
        match steps_of(&packed)?.binary_search(&step) {
            Ok(index) => f(&packed, Some(index)),
            Err(_) => Err(self.no_such_step(step)),
        }
    }

    fn no_such_step(&self, step: u64) -> Error {
        let hint = match self.steps.iter().min_by_key(|there| there.abs_diff(step)) {
            Some(near) => format!("the nearest is step {near}; train.snapshots says which are kept"),
            None => "the run has no snapshots yet".to_owned(),
        };
        Error::Missing { what: format!("a snapshot of step {step}"), path: self.run.clone(), hint }
    }
}

fn read_param(reader: &Reader, name: &str, index: Option<usize>) -> Result<Tensor> {
    let tensor = match index {
        Some(index) => reader.slice(name, index)?,
        None => reader.tensor(name)?,
    };
    Ok(without_prefix(tensor))
}
