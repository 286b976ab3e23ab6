//! All that training needs to go on <-> `resume/point_0000001000.h5`; the last two are kept.
//!
//! Arrays `params/…`, `moments/…`, `metrics/…`, `generators/…` and whatever else the trainer puts in, under their own
//! names.

use std::fs;
use std::path::{Path, PathBuf};

use super::hdf5_read::Reader;
use super::record::{Attr, Kind, Record};
use super::run_folder::RunFolder;
use super::snapshot::run_attrs;
use super::{RESUME, atomic, hdf5};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Points that are kept: if the newest is damaged, the one before it still is there.
const KEPT: usize = 2;

/// The state of training after `step` updates.
#[derive(Debug, Clone, PartialEq)]
pub struct ResumePoint {
    /// Count of updates.
    pub step: u64,
    /// Fingerprint of the plan that made it; another plan would go on with other bits.
    pub plan_fingerprint: String,
    /// Arrays by path.
    pub tensors: Vec<Tensor>,
}

/// The newest point that reads back whole.
#[derive(Debug)]
pub struct Latest {
    /// The point.
    pub point: ResumePoint,
    /// What computed it: `cpu`, or a GPU's name and what its matrix products are computed in.
    pub device: String,
    /// Newer ones that are damaged, newest first, and why.
    pub skipped: Vec<(PathBuf, Error)>,
}

impl ResumePoint {
    /// Writes the point into a run's folder, then removes those older than the last two.
    ///
    /// # Errors
    /// [`Error::Io`]; the older points are then still there.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        let mut attrs = run_attrs(folder);
        attrs.push(("step".into(), Attr::U64(self.step)));
        attrs.push(("plan_fingerprint".into(), Attr::Text(self.plan_fingerprint.clone())));
        let record = Record { kind: Kind::Resume, attrs, tensors: self.tensors.clone() };
        // A run that went on from an older point makes the newer ones again.
        hdf5::write_replacing(&point_path(folder.path(), self.step), &record)?;
        let points = atomic::numbered(&folder.path().join(RESUME), "point_")?;
        let n_old = points.len().saturating_sub(KEPT);
        // A newer point left from before may be damaged; the one just written must stay.
        for (_, path) in points.iter().take(n_old).filter(|(step, _)| *step != self.step) {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }

    /// Reads one point, every checksum verified.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Io`].
    pub fn read(path: &Path) -> Result<ResumePoint> {
        let reader = Reader::open(path)?;
        reader.expect_kind(Kind::Resume)?;
        Ok(ResumePoint {
            step: reader.count("step")?,
            plan_fingerprint: reader.text("plan_fingerprint")?.to_owned(),
            tensors: reader.names().iter().map(|name| reader.tensor(name)).collect::<Result<_>>()?,
        })
    }
}

/// Where the point of `step` is.
pub fn point_path(run: &Path, step: u64) -> PathBuf {
    run.join(RESUME).join(format!("point_{step:010}.h5"))
}

/// The newest point of a run that reads back whole; none when the run has no points.
///
/// # Errors
/// The newest point's own error when none is whole; [`Error::NewerFormat`] at once, since going on from an older
/// point would repeat work that is there.
pub fn latest(run: &Path) -> Result<Option<Latest>> {
    let mut skipped = vec![];
    for (_, path) in atomic::numbered(&run.join(RESUME), "point_")?.into_iter().rev() {
        match ResumePoint::read(&path) {
            Ok(point) => {
                // Points of earlier versions do not say it, and had no choice.
                let device = Reader::open(&path)?.text("device").unwrap_or("cpu").to_owned();
                return Ok(Some(Latest { point, device, skipped }));
            }
            Err(e @ Error::Damaged { .. }) => skipped.push((path, e)),
            Err(e) => return Err(e),
        }
    }
    match skipped.into_iter().next() {
        Some((_, newest)) => Err(newest),
        None => Ok(None),
    }
}

/// The arrays `metrics/…` of the newest whole point; none when there is no point.
pub(super) fn latest_metrics(run: &Path) -> Result<Option<Vec<Tensor>>> {
    for (_, path) in atomic::numbered(&run.join(RESUME), "point_")?.into_iter().rev() {
        match hdf5::read_some(&path, "metrics/") {
            Ok(record) => return Ok(Some(record.tensors)),
            Err(Error::Damaged { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::snapshot::tests::new_run;
    use super::*;
    use crate::tensor::Data;

    fn point(step: u64) -> ResumePoint {
        let moment = Tensor::new("moments/v/embed.W_E", vec![2, 1], Data::F64(vec![step as f64, -0.0])).unwrap();
        let counter = Tensor::new("generators/data", vec![1], Data::U64(vec![u64::MAX - step])).unwrap();
        let eval = Tensor::new("metrics/step", vec![1], Data::U64(vec![step])).unwrap();
        ResumePoint { step, plan_fingerprint: "plan".into(), tensors: vec![moment, counter, eval] }
    }

    fn steps(run: &Path) -> Vec<u64> {
        atomic::numbered(&run.join(RESUME), "point_").unwrap().into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn the_last_two_are_kept_and_the_newest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[]);
        assert!(latest(dir.path()).unwrap().is_none());
        for (step, kept) in [(1, vec![1]), (2, vec![1, 2]), (3, vec![2, 3]), (10, vec![3, 10])] {
            point(step).write(&folder).unwrap();
            assert_eq!(steps(dir.path()), kept);
            let found = latest(dir.path()).unwrap().unwrap();
            assert_eq!(found.point, point(step));
            assert!(found.skipped.is_empty());
        }
    }

    #[test]
    fn a_damaged_newest_point_is_skipped_named_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[]);
        point(1).write(&folder).unwrap();
        point(2).write(&folder).unwrap();
        let newest = point_path(dir.path(), 2);
        let bytes = fs::read(&newest).unwrap();
        fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
        let found = latest(dir.path()).unwrap().unwrap();
        assert_eq!(found.point, point(1));
        assert_eq!(found.skipped[0].0, newest);
        assert_eq!(latest_metrics(dir.path()).unwrap().unwrap(), &point(1).tensors[2..]);
        point(2).write(&folder).unwrap();
        assert_eq!(latest(dir.path()).unwrap().unwrap().point, point(2));
        for step in [1, 2] {
            fs::write(point_path(dir.path(), step), "half").unwrap();
        }
        match latest(dir.path()) {
            Err(Error::Damaged { path, .. }) => assert_eq!(path, newest),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_point_just_written_stays_beside_newer_damaged_ones() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new_run(dir.path(), &[]);
        for step in [8, 9] {
            fs::write(point_path(dir.path(), step), "half").unwrap();
        }
        point(5).write(&folder).unwrap();
        assert_eq!(latest(dir.path()).unwrap().unwrap().point, point(5));
    }
}
