//! All loose snapshots of a run -> one `run.h5`, each parameter `[s, r, …]`.
//!
//! Reads `snapshots/`, an older `run.h5` and the metrics of the newest resume point; writes `run.h5`, then removes the
//! loose snapshots. The packed file gets its name only after every slice in it was read back and found equal to its
//! source, and snapshots go only after that: a kill at any moment loses nothing, and packing again finishes the job.
//! Compressed chunks are copied as they are, so one chunk at a time is in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::hdf5_read::Reader;
use super::hdf5_write::{Stack, StackWriter};
use super::record::{Kind, Record};
use super::resume::latest_metrics;
use super::run_folder::RunFolder;
use super::snapshot::{param_names, run_attrs, steps_of};
use super::{PACKED, SNAPSHOTS, atomic};
use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::tensor::{Data, Tensor};

/// Packs a run's snapshots; does nothing when no loose ones are there.
///
/// # Errors
/// [`Error::Damaged`] about the file that cannot be trusted, with everything left as it was; [`Error::Io`].
pub fn pack(folder: &RunFolder) -> Result<()> {
    pack_with(folder, None)
}

/// As [`pack`], with the metrics of a run that has no resume points.
///
/// # Errors
/// As [`pack`].
pub fn pack_with(folder: &RunFolder, metrics: Option<Vec<Tensor>>) -> Result<()> {
    let sources = Sources::gather(folder.path())?;
    if !sources.all_packed() {
        let packed = folder.path().join(PACKED);
        atomic::write(&packed, true, |temporary| {
            sources.write(temporary, folder, metrics)?;
            sources.verify(temporary)
        })?;
    } else if !sources.loose.is_empty() {
        // A packing was interrupted after the rename: the file has its name, and may be older than this process.
        sources.verify(&folder.path().join(PACKED))?;
    }
    sources.remove_loose()
}

/// Where each step's parameters are.
struct Sources {
    /// Steps with a file of their own.
    loose: BTreeMap<u64, PathBuf>,
    /// Steps in `run.h5`, with their index there.
    packed: BTreeMap<u64, usize>,
    /// `run.h5`, when there is one.
    old: Option<Reader>,
}

impl Sources {
    fn gather(run: &Path) -> Result<Sources> {
        let loose = atomic::numbered(&run.join(SNAPSHOTS), "step_")?.into_iter().collect();
        let old = match Reader::open(&run.join(PACKED)) {
            Ok(reader) => Some(reader),
            Err(Error::Missing { .. }) => None,
            Err(e) => return Err(e),
        };
        let steps = old.as_ref().map_or(Ok(vec![]), steps_of)?;
        Ok(Sources { loose, packed: steps.into_iter().enumerate().map(|(index, step)| (step, index)).collect(), old })
    }

    fn all_packed(&self) -> bool {
        self.loose.keys().all(|step| self.packed.contains_key(step))
    }

    /// All steps, in order, each once.
    fn steps(&self) -> Vec<u64> {
        let mut steps: Vec<u64> = self.loose.keys().chain(self.packed.keys()).copied().collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// Calls `f` with the file of `step`, and its index there if it is a packed one.
    fn with<T>(&self, step: u64, f: impl FnOnce(&Reader, Option<usize>) -> Result<T>) -> Result<T> {
        match (self.packed.get(&step), &self.old, self.loose.get(&step)) {
            (Some(&index), Some(old), _) => f(old, Some(index)),
            (_, _, Some(path)) => f(&open_loose(path, step)?, None),
            _ => unreachable!("invariant: steps come from these maps"),
        }
    }

    /// Writes the packed file under a temporary name.
    fn write(&self, temporary: &Path, folder: &RunFolder, metrics: Option<Vec<Tensor>>) -> Result<()> {
        let steps = self.steps();
        let first = *steps.first().expect("invariant: there are loose snapshots");
        let (stacks, mask) = self.with(first, |reader, index| {
            let mut stacks = vec![];
            for name in param_names(reader) {
                let (shape, element) = reader.layout(name)?;
                let shape = shape[usize::from(index.is_some())..].to_vec();
                stacks.push(Stack { name: name.to_owned(), shape, element });
            }
            Ok((stacks, reader.tensor("train_mask")?))
        })?;
        let mut writer = StackWriter::create(temporary, stacks, steps.len())?;
        for (at, &step) in steps.iter().enumerate() {
            if let Err(e) = self.with(step, |reader, index| writer.copy(at, reader, index)) {
                writer.abandon();
                return Err(e);
            }
        }
        let seeds = folder.spec().replica_seeds();
        let mut tensors = vec![
            Tensor::new("steps", vec![steps.len()], Data::U64(steps))?,
            Tensor::new("seeds", vec![seeds.len()], Data::U64(seeds))?,
            mask,
        ];
        tensors.extend(grid(folder.spec())?);
        tensors.extend(metrics.map_or_else(|| self.metrics(folder.path()), Ok)?);
        writer.finish(&Record { kind: Kind::Run, attrs: run_attrs(folder), tensors })
    }

    /// The metrics so far: of the newest resume point, else of the older packed file.
    fn metrics(&self, run: &Path) -> Result<Vec<Tensor>> {
        match (latest_metrics(run)?, &self.old) {
            (Some(metrics), _) => Ok(metrics),
            (None, Some(old)) => metrics_of(old),
            (None, None) => Ok(vec![]),
        }
    }

    /// Reads every slice of a packed file and compares it with every source that has it.
    fn verify(&self, packed: &Path) -> Result<()> {
        let reader = Reader::open(packed)?;
        let steps = steps_of(&reader)?;
        let names: Vec<&str> = param_names(&reader).collect();
        let mut sums = BTreeMap::new();
        for name in &names {
            sums.insert(*name, reader.slice_checksums(name)?);
        }
        let mask = reader.checksum("train_mask")?;
        for (at, step) in steps.iter().enumerate() {
            let loose = self.loose.get(step).map(|path| open_loose(path, *step)).transpose()?;
            for name in &names {
                let read = reader.slice(name, at);
                if let Some(loose) = &loose {
                    if read.is_err() {
                        // Where the source is damaged too, it is the one to blame.
                        loose.tensor(name)?;
                    }
                    same(loose, name, loose.checksum(name)?, sums[name][at])?;
                }
                read?;
            }
            if let Some(loose) = &loose {
                same(loose, "train_mask", loose.checksum("train_mask")?, mask)?;
                same(loose, "the parameters", param_names(loose).count(), names.len())?;
            }
        }
        match self.steps().iter().find(|step| !steps.contains(step)) {
            Some(step) => {
                Err(Error::Damaged { path: packed.to_path_buf(), cause: format!("steps: {step} is not in it") })
            }
            None => Ok(()),
        }
    }

    fn remove_loose(&self) -> Result<()> {
        self.loose.values().try_for_each(|path| fs::remove_file(path).map_err(Error::io("remove", path)))
    }
}

/// The arrays `metrics/…` of an open `run.h5`.
pub(super) fn metrics_of(packed: &Reader) -> Result<Vec<Tensor>> {
    packed.names().iter().filter(|name| name.starts_with("metrics/")).map(|name| packed.tensor(name)).collect()
}

fn open_loose(path: &Path, step: u64) -> Result<Reader> {
    let reader = Reader::open(path)?;
    reader.expect_kind(Kind::Snapshot)?;
    if reader.count("step")? != step {
        return Err(reader.damaged("attributes/step", "the file is named after another step"));
    }
    Ok(reader)
}

fn same<T: PartialEq>(loose: &Reader, name: &str, here: T, packed: T) -> Result<()> {
    if here == packed { Ok(()) } else { Err(loose.damaged(name, "run.h5 holds something else for this step")) }
}

/// `grid/AXIS` `[R]`: where the replicas of toy models are on each axis of their grid.
fn grid(spec: &Spec) -> Result<Vec<Tensor>> {
    let Some(toy) = &spec.toy else { return Ok(vec![]) };
    let Ok(replicas) = toy.replicas(&spec.train.seeds.0) else { return Ok(vec![]) };
    let axis = |(k, name): (usize, &str)| {
        let values = replicas.iter().map(|replica| replica.point[k]).collect();
        Tensor::new(format!("grid/{name}"), vec![replicas.len()], Data::F64(values))
    };
    toy.axes().into_iter().enumerate().map(axis).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::snapshot::tests::{new_run, sample};
    use super::super::snapshots::open_snapshots;
    use super::super::{ResumePoint, snapshot::loose_path};
    use super::*;

    /// Every step reads back with the bits that were written.
    fn assert_steps(run: &Path, steps: &[u64]) {
        let reader = open_snapshots(run).unwrap();
        assert_eq!(reader.steps(), steps);
        for &step in steps {
            assert_eq!(reader.read(step).unwrap(), sample(step), "step {step}");
            assert_eq!(reader.read_one(step, "embed.W_E").unwrap(), sample(step).params[0]);
        }
        assert!(matches!(reader.read(7), Err(Error::Missing { .. })));
        assert!(matches!(reader.read_one(steps[0], "embed.W"), Err(Error::Unknown { .. })));
    }

    fn n_loose(run: &Path) -> usize {
        atomic::numbered(&run.join(SNAPSHOTS), "step_").unwrap().len()
    }

    fn metrics(evals: u64) -> Vec<Tensor> {
        let steps: Vec<u64> = (0..evals).collect();
        let loss: Vec<f32> = (0..2 * evals).map(|i| i as f32 / 3.0).collect();
        vec![
            Tensor::new("metrics/step", vec![steps.len()], Data::U64(steps)).unwrap(),
            Tensor::new("metrics/train_loss_nats", vec![evals as usize, 2], Data::F32(loss)).unwrap(),
        ]
    }

    #[test]
    fn packed_steps_have_the_bits_of_the_loose_ones() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[0, 10, 20]);
        ResumePoint { step: 20, plan_fingerprint: "a".into(), tensors: metrics(3) }.write(&folder).unwrap();
        assert_steps(dir.path(), &[0, 10, 20]);
        assert_eq!(open_snapshots(dir.path()).unwrap().metrics().unwrap(), metrics(3));
        pack(&folder).unwrap();
        assert_eq!(n_loose(dir.path()), 0);
        assert_steps(dir.path(), &[0, 10, 20]);
        assert_eq!(open_snapshots(dir.path()).unwrap().metrics().unwrap(), metrics(3));
        let packed = Reader::open(&dir.path().join(PACKED)).unwrap();
        assert_eq!(packed.tensor("params/unembed.W_U").unwrap().shape, [3, 2, 70, 64]);
        assert_eq!(packed.tensor("seeds").unwrap().data, Data::U64(vec![3, 5]));
        pack(&folder).unwrap();
        assert_steps(dir.path(), &[0, 10, 20]);
    }

    #[test]
    fn a_longer_run_is_packed_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[0, 10]);
        pack(&folder).unwrap();
        assert!(!sample(10).write(&folder).unwrap(), "a packed step is kept");
        assert!(sample(20).write(&folder).unwrap());
        ResumePoint { step: 20, plan_fingerprint: "a".into(), tensors: metrics(5) }.write(&folder).unwrap();
        assert_steps(dir.path(), &[0, 10, 20]);
        assert_eq!(open_snapshots(dir.path()).unwrap().metrics().unwrap(), metrics(5));
        pack(&folder).unwrap();
        assert_eq!(n_loose(dir.path()), 0);
        assert_steps(dir.path(), &[0, 10, 20]);
    }

    #[test]
    fn a_kill_before_the_rename_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[0, 10]);
        let temporary = atomic::temporary_path(&dir.path().join(PACKED));
        Sources::gather(dir.path()).unwrap().write(&temporary, &folder, None).unwrap();
        let whole = fs::read(&temporary).unwrap();
        for length in [0, 100, whole.len() / 2, whole.len()] {
            fs::write(&temporary, &whole[..length]).unwrap();
            assert_steps(dir.path(), &[0, 10]);
        }
        drop(folder);
        let folder = RunFolder::open(dir.path()).unwrap();
        assert!(!temporary.exists());
        pack(&folder).unwrap();
        assert_eq!(n_loose(dir.path()), 0);
        assert_steps(dir.path(), &[0, 10]);
    }

    #[test]
    fn a_kill_after_the_rename_or_between_removals_loses_nothing() {
        for removed in 0..=2 {
            let dir = tempfile::tempdir().unwrap();
            let folder = new_run(dir.path(), &[0, 10, 20]);
            let packed = dir.path().join(PACKED);
            let sources = Sources::gather(dir.path()).unwrap();
            sources.write(&packed, &folder, None).unwrap();
            sources.verify(&packed).unwrap();
            for path in sources.loose.values().take(removed) {
                fs::remove_file(path).unwrap();
            }
            assert_steps(dir.path(), &[0, 10, 20]);
            let before = fs::read(&packed).unwrap();
            pack(&folder).unwrap();
            assert_eq!(n_loose(dir.path()), 0);
            assert_eq!(fs::read(&packed).unwrap(), before, "it was finished already");
            assert_steps(dir.path(), &[0, 10, 20]);
        }
    }

    #[test]
    fn a_damaged_file_stops_packing_and_nothing_is_removed() {
        let spoil = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[0, 10]);
        let snapshot = loose_path(dir.path(), 10);
        let whole = fs::read(&snapshot).unwrap();
        spoil(&snapshot);
        match pack(&folder) {
            Err(Error::Damaged { path, .. }) => assert_eq!(path, snapshot),
            other => panic!("{other:?}"),
        }
        assert_eq!(n_loose(dir.path()), 2);
        assert!(!dir.path().join(PACKED).exists());
        // Whole again, and packed; but before the loose ones are removed, the packed file is damaged.
        fs::write(&snapshot, whole).unwrap();
        let packed = dir.path().join(PACKED);
        Sources::gather(dir.path()).unwrap().write(&packed, &folder, None).unwrap();
        spoil(&packed);
        match pack(&folder) {
            Err(Error::Damaged { path, .. }) => assert_eq!(path, packed),
            other => panic!("{other:?}"),
        }
        assert_eq!(n_loose(dir.path()), 2);
    }

    #[test]
    fn a_changed_byte_in_a_packed_file_is_an_error_or_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        pack(&new_run(dir.path(), &[0, 10])).unwrap();
        let packed = dir.path().join(PACKED);
        let whole = fs::read(&packed).unwrap();
        let mut noticed = 0;
        for i in 0..100 {
            // A stride that meets every part of the file, small ones too.
            let at = if i % 2 == 0 { i * 97 } else { i * whole.len() / 100 };
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1 << (i % 8);
            fs::write(&packed, &spoiled).unwrap();
            let read = open_snapshots(dir.path()).and_then(|reader| Ok((reader.steps().to_vec(), reader.read(10)?)));
            match read {
                Ok(found) => assert_eq!(found, (vec![0, 10], sample(10))),
                Err(Error::Damaged { path, .. }) => {
                    assert_eq!(path, packed);
                    noticed += 1;
                }
                Err(other) => panic!("byte {at}: {other:?}"),
            }
        }
        // Half of the bytes belong to the other step, whose damage must not disturb this one.
        assert!((20..100).contains(&noticed), "{noticed} of 100 changes noticed");
    }
}
