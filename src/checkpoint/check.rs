//! Which files of a run are whole.
//!
//! Reads every file of the run that phaselab wrote, every checksum in it; writes nothing.

use std::path::{Path, PathBuf};

use super::hdf5_read::Reader;
use super::record::Kind;
use super::run_folder::read_spec;
use super::{MEASURES, PACKED, RESUME, SNAPSHOTS, SPEC, atomic};
use crate::error::{Error, Result};

/// What was found about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// Its state.
    pub verdict: Verdict,
}

/// State of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte that matters is as it was written.
    Whole,
    /// It cannot be trusted, and why.
    Damaged(String),
    /// Written by a later phaselab, in this format.
    NewerFormat(u64),
}

/// Reads all files of a run folder and reports on each, in order of name.
///
/// # Errors
/// [`Error::Missing`] when it is no run folder; [`Error::Io`] when a file cannot be read at all.
pub fn check(run: &Path) -> Result<Vec<FileReport>> {
    let mut reports = vec![report(run.join(SPEC), read_spec(run).map(drop))?];
    let mut files: Vec<(PathBuf, Kind, Option<u64>)> = vec![];
    if run.join(PACKED).exists() {
        files.push((run.join(PACKED), Kind::Run, None));
    }
    for (folder, prefix, kind) in [(SNAPSHOTS, "step_", Kind::Snapshot), (RESUME, "point_", Kind::Resume)] {
        let numbered = atomic::numbered(&run.join(folder), prefix)?;
        files.extend(numbered.into_iter().map(|(step, path)| (path, kind, Some(step))));
    }
    let measures = atomic::list(&run.join(MEASURES))?.into_iter().filter(|path| !atomic::is_temporary(path));
    let measures = measures.filter(|path| path.extension().is_some_and(|ending| ending == "h5"));
    files.extend(measures.map(|path| (path, Kind::Measures, None)));
    for (path, kind, step) in files {
        let verified = verify(&path, kind, step);
        reports.push(report(path, verified)?);
    }
    Ok(reports)
}

fn report(path: PathBuf, verified: Result<()>) -> Result<FileReport> {
    let verdict = match verified {
        Ok(()) => Verdict::Whole,
        Err(Error::Damaged { cause, .. }) => Verdict::Damaged(cause),
        Err(e @ Error::Spec { .. }) => Verdict::Damaged(e.cause().join("; ")),
        Err(Error::NewerFormat { found, .. }) => Verdict::NewerFormat(found),
        Err(e) => return Err(e),
    };
    Ok(FileReport { path, verdict })
}

/// Reads a file through, one dataset, or one slice of a stack, at a time.
fn verify(path: &Path, kind: Kind, step: Option<u64>) -> Result<()> {
    let reader = Reader::open(path)?;
    reader.expect_kind(kind)?;
    if let Some(step) = step
        && reader.count("step")? != step
    {
        return Err(reader.damaged("attributes/step", "the file is named after another step"));
    }
    for name in reader.names() {
        if reader.is_stack(name) {
            for index in 0..reader.slice_checksums(name)?.len() {
                reader.slice(name, index)?;
            }
        } else {
            reader.tensor(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::snapshot::{loose_path, tests::new_run};
    use super::super::{pack, resume::point_path, snapshot::tests::sample};
    use super::*;
    use std::fs;

    #[test]
    fn each_file_has_its_own_verdict() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(check(dir.path()), Err(Error::Missing { .. })));
        let folder = new_run(dir.path(), &[0, 10]);
        pack(&folder).unwrap();
        sample(20).write(&folder).unwrap();
        sample(30).write(&folder).unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        let verdicts = check(dir.path()).unwrap();
        assert_eq!(verdicts.len(), 4);
        assert!(verdicts.iter().all(|report| report.verdict == Verdict::Whole));

        let misnamed = loose_path(dir.path(), 40);
        fs::copy(loose_path(dir.path(), 20), &misnamed).unwrap();
        fs::write(loose_path(dir.path(), 30), "half").unwrap();
        fs::copy(loose_path(dir.path(), 20), point_path(dir.path(), 20)).unwrap();
        let packed = dir.path().join(PACKED);
        let mut bytes = fs::read(&packed).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&packed, bytes).unwrap();
        let reports = check(dir.path()).unwrap();
        let damaged: Vec<&Path> = reports
            .iter()
            .filter(|report| matches!(report.verdict, Verdict::Damaged(_)))
            .map(|report| report.path.as_path())
            .collect();
        let expected = [packed, loose_path(dir.path(), 30), misnamed, point_path(dir.path(), 20)];
        assert_eq!(damaged, expected);
        assert_eq!(reports.len(), 6);
    }
}
