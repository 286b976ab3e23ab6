//! Parameters of all replicas at one step <-> `snapshots/step_0000001000.h5`.
//!
//! Params `[r, …]` with TransformerLens's names and shapes, under `params/`; `train_mask [r, n]`. Immutable: a whole
//! snapshot that is there is kept.

use std::path::{Path, PathBuf};

use super::hdf5_read::Reader;
use super::record::{Attr, Kind, Record};
use super::run_folder::RunFolder;
use super::{PACKED, SNAPSHOTS, hdf5};
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// Parameters of all replicas after `step` updates.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Count of updates.
    pub step: u64,
    /// `[r, …]` each, TransformerLens's names and shapes, `f32` or `f64`.
    pub params: Vec<Tensor>,
    /// `[r, n]` bytes: 1 where example n of the task is for training in replica r.
    pub train_mask: Tensor,
}

impl Snapshot {
    /// Writes the snapshot into a run's folder; gives false when that step was there already and is kept.
    ///
    /// A damaged file of that step is replaced: a resumed run makes the same bits again.
    ///
    /// # Errors
    /// [`Error::Shape`] when `train_mask` holds no bytes; [`Error::Io`], with [`std::io::ErrorKind::StorageFull`]
    /// where the disk is full.
    pub fn write(&self, folder: &RunFolder) -> Result<bool> {
        let path = loose_path(folder.path(), self.step);
        match Snapshot::read(&path) {
            Ok(_) => return Ok(false),
            Err(Error::Missing { .. }) if packed_steps(folder.path())?.contains(&self.step) => return Ok(false),
            Err(Error::Missing { .. } | Error::Damaged { .. }) => {}
            Err(other) => return Err(other),
        }
        if !matches!(self.train_mask.data, Data::U8(_)) {
            let (op, expected) = ("train_mask".into(), "bytes".into());
            return Err(Error::Shape { op, expected, got: "other numbers".into() });
        }
        let params = self.params.iter().map(|param| Tensor { name: format!("params/{}", param.name), ..param.clone() });
        let mask = Tensor { name: "train_mask".into(), ..self.train_mask.clone() };
        let mut attrs = run_attrs(folder);
        attrs.push(("step".into(), Attr::U64(self.step)));
        let record = Record { kind: Kind::Snapshot, attrs, tensors: params.chain([mask]).collect() };
        hdf5::write_replacing(&path, &record)?;
        Ok(true)
    }

    /// Reads one snapshot file, every checksum verified.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Io`].
    pub fn read(path: &Path) -> Result<Snapshot> {
        let reader = Reader::open(path)?;
        reader.expect_kind(Kind::Snapshot)?;
        let params =
            param_names(&reader).map(|name| Ok(without_prefix(reader.tensor(name)?))).collect::<Result<_>>()?;
        Ok(Snapshot { step: reader.count("step")?, params, train_mask: reader.tensor("train_mask")? })
    }
}

/// Where the snapshot of `step` is until the run is packed.
pub fn loose_path(run: &Path, step: u64) -> PathBuf {
    run.join(SNAPSHOTS).join(format!("step_{step:010}.h5"))
}

/// Steps in `run.h5`, in order; none when there is no such file.
pub(super) fn packed_steps(run: &Path) -> Result<Vec<u64>> {
    match Reader::open(&run.join(PACKED)) {
        Ok(reader) => steps_of(&reader),
        Err(Error::Missing { .. }) => Ok(vec![]),
        Err(e) => Err(e),
    }
}

/// The dataset `steps` of an open `run.h5`.
pub(super) fn steps_of(packed: &Reader) -> Result<Vec<u64>> {
    packed.expect_kind(Kind::Run)?;
    match packed.tensor("steps")?.data {
        Data::U64(steps) => Ok(steps),
        _ => Err(packed.damaged("steps", "they are no counts")),
    }
}

/// The datasets with parameters, in order.
pub(super) fn param_names(reader: &Reader) -> impl Iterator<Item = &str> {
    reader.names().iter().map(String::as_str).filter(|name| name.starts_with("params/"))
}

/// `params/W_E` -> `W_E`.
pub(super) fn without_prefix(mut tensor: Tensor) -> Tensor {
    if let Some(name) = tensor.name.strip_prefix("params/") {
        tensor.name = name.to_owned();
    }
    tensor
}

/// What every file of a run says about the run.
pub(super) fn run_attrs(folder: &RunFolder) -> Vec<(String, Attr)> {
    let spec = folder.spec();
    let seeds: Vec<String> = spec.replica_seeds().iter().map(u64::to_string).collect();
    let split = spec.data.seed.map_or("each replica's own".to_owned(), |seed| seed.to_string());
    vec![
        ("spec".into(), Attr::Text(spec.to_toml())),
        ("seeds".into(), Attr::Text(seeds.join(","))),
        ("data_seed".into(), Attr::Text(split)),
        ("device".into(), Attr::Text(folder.device().to_owned())),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::spec::{Seeds, Spec, TrainSpec};

    /// Two replicas of two parameters: one stored as a whole, one in a chunk a replica.
    pub fn sample(step: u64) -> Snapshot {
        let noise = |n: u64| (0..n).map(|i| ((i * 2_654_435_761 + step * 40_503) as u32 as f32).sin()).collect();
        Snapshot {
            step,
            params: vec![
                Tensor::new("embed.W_E", vec![2, 5, 4], Data::F32(noise(40))).unwrap(),
                Tensor::new("unembed.W_U", vec![2, 70, 64], Data::F32(noise(2 * 70 * 64))).unwrap(),
            ],
            train_mask: Tensor::new("train_mask", vec![2, 3], Data::U8(vec![1, 0, 1, 0, 1, 1])).unwrap(),
        }
    }

    /// A run of seeds 3 and 5 with [`sample`]s at `steps`.
    pub fn new_run(path: &Path, steps: &[u64]) -> RunFolder {
        let train = TrainSpec { seeds: Seeds(vec![3, 5]), ..TrainSpec::default() };
        let folder = RunFolder::create(path, &Spec { train, ..Spec::default() }, false).unwrap();
        for &step in steps {
            assert!(sample(step).write(&folder).unwrap());
        }
        folder
    }

    #[test]
    fn a_whole_snapshot_is_kept_and_a_damaged_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[10]);
        let path = loose_path(dir.path(), 10);
        assert!(path.ends_with("snapshots/step_0000000010.h5"));
        let other = Snapshot { params: sample(11).params, ..sample(10) };
        assert!(!other.write(&folder).unwrap());
        assert_eq!(Snapshot::read(&path).unwrap(), sample(10));
        std::fs::write(&path, "half").unwrap();
        assert!(other.write(&folder).unwrap());
        assert_eq!(Snapshot::read(&path).unwrap(), other);
    }

    #[test]
    fn attributes_hold_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[10]);
        let record = hdf5::read(&loose_path(dir.path(), 10)).unwrap();
        assert_eq!(record.attr("spec"), Some(&Attr::Text(folder.spec().to_toml())));
        assert_eq!(record.attr("seeds"), Some(&Attr::Text("3,5".into())));
        assert_eq!(record.attr("step"), Some(&Attr::U64(10)));
        assert!(record.attr("git_commit").is_some());
    }

    #[test]
    fn another_kind_of_file_is_no_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        hdf5::write_atomic(&path, &Record { kind: Kind::Measures, attrs: vec![], tensors: vec![] }).unwrap();
        match Snapshot::read(&path) {
            Err(Error::Damaged { cause, .. }) => assert!(cause.contains("measures"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }
}
