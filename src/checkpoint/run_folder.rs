//! The folder of one run: who may write it, what is in it, and whether it may be continued.
//!
//! Writes `run.toml` (the resolved spec) and makes the subfolders. Whoever writes holds the lock file's lock, which
//! the system takes back when a process ends in whatever way, and first clears what a killed writer left half done.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{FIGURES, IMPORT, LOCK, MEASURES, PACKED, RESUME, SNAPSHOTS, SPEC, SUMMARY, atomic};
use crate::error::{Error, Result};
use crate::spec::{OptimSpec, Schedule, Source, Spec, from_toml};

/// A run folder that this process alone may write.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    spec: Spec,
    /// What computes, for the files that are written from now on.
    device: OnceLock<String>,
    _lock: File,
}

impl RunFolder {
    /// Says what computes, once; until then it is the processor.
    pub fn computed_by(&self, device: &str) {
        self.device.get_or_init(|| device.to_owned());
    }

    /// What computes: `cpu`, or a GPU's name and what its matrix products are computed in.
    pub fn device(&self) -> &str {
        self.device.get().map_or("cpu", String::as_str)
    }

    /// Makes the folder of a new run. With `force` an older run there is removed first: the files that phaselab
    /// wrote, and no others.
    ///
    /// # Errors
    /// [`Error::Exists`] when something is there and `force` is not given, or what is there is no run;
    /// [`Error::Locked`]; [`Error::Io`].
    pub fn create(path: &Path, spec: &Spec, force: bool) -> Result<RunFolder> {
        let is_run = RunFolder::gives_way(path, force)?;
        fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        let lock = lock(path)?;
        // Only what was seen above: another process may have begun a run here since.
        if is_run {
            remove_run(path)?;
        }
        RunFolder::start(path, spec, lock)
    }

    /// Whether there is an older run at `path`, which `force` lets a new one replace.
    ///
    /// # Errors
    /// [`Error::Exists`] as for [`RunFolder::create`]; [`Error::Io`].
    pub fn gives_way(path: &Path, force: bool) -> Result<bool> {
        let is_run = path.join(SPEC).exists();
        let there = atomic::list(path).map_err(|e| match e {
            // What cannot be listed because it is no folder cannot be made one.
            Error::Io { path, source, .. } if source.kind() == ErrorKind::NotADirectory => {
                Error::Io { action: "create the folder", path, source }
            }
            other => other,
        })?;
        let is_empty = there.iter().all(|file| file.ends_with(LOCK) || atomic::is_temporary(file));
        if is_empty || force && is_run {
            return Ok(is_run);
        }
        let hint = match is_run {
            true => "--force replaces it, --out writes elsewhere; `run` and `train` go on with it by --resume",
            false => "it is no run folder; choose another with --out",
        };
        Err(Error::Exists { path: path.to_path_buf(), hint: hint.into() })
    }

    /// Opens the folder of a run to continue it under `spec`, which may have another number of steps, title, measures
    /// and figures. The folder then stores `spec`.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no run; [`Error::ResumeMismatch`] with the keys that differ;
    /// [`Error::Locked`]; [`Error::Io`].
    pub fn resume(path: &Path, spec: &Spec) -> Result<RunFolder> {
        let stored = read_spec(path)?;
        let differs = differing_keys(&stored, spec);
        if !differs.is_empty() {
            return Err(Error::ResumeMismatch { path: path.to_path_buf(), what: "spec", differs });
        }
        let lock = lock(path)?;
        RunFolder::start(path, spec, lock)
    }

    /// Opens the folder of a run to add to it: to pack it, measure it, draw it.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no run; [`Error::Locked`]; [`Error::Io`].
    pub fn open(path: &Path) -> Result<RunFolder> {
        let spec = read_spec(path)?;
        let lock = lock(path)?;
        RunFolder::start(path, &spec, lock)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's resolved spec.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    fn start(path: &Path, spec: &Spec, lock: File) -> Result<RunFolder> {
        // First of all files, so that from now on the folder is known as a run's.
        let text = spec.to_toml();
        let file = path.join(SPEC);
        if fs::read_to_string(&file).ok().as_deref() != Some(text.as_str()) {
            atomic::write_text(&file, true, &text)?;
        }
        atomic::remove_leftovers(path)?;
        for folder in [SNAPSHOTS, RESUME, MEASURES, FIGURES].map(|name| path.join(name)) {
            fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))?;
            atomic::remove_leftovers(&folder)?;
        }
        Ok(RunFolder { path: path.to_path_buf(), spec: spec.clone(), device: OnceLock::new(), _lock: lock })
    }
}

/// A packed run that is made beside its place, and put there when it is whole: until then an older run stays as it is, and
/// nobody else writes it.
#[derive(Debug)]
pub struct StagedRun {
    folder: Option<RunFolder>,
    stage: PathBuf,
    place: PathBuf,
    /// The lock of the older run.
    older: Option<File>,
}

impl StagedRun {
    /// Makes the folder beside `place`; removes what killed writers left there.
    ///
    /// # Errors
    /// As for [`RunFolder::create`] at `place`.
    pub fn create(place: &Path, spec: &Spec, force: bool) -> Result<StagedRun> {
        let older = if RunFolder::gives_way(place, force)? { Some(lock(place)?) } else { None };
        remove_stages(place)?;
        let stage = atomic::temporary_path(place);
        let folder = RunFolder::create(&stage, spec, false)?;
        Ok(StagedRun { folder: Some(folder), stage, place: place.to_path_buf(), older })
    }

    /// The folder to write into.
    pub fn folder(&self) -> &RunFolder {
        self.folder.as_ref().expect("invariant: only publishing and dropping take the folder")
    }

    /// Removes the older run and puts the spec, the packed file and the account of an import into its place.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Locked`] when another run was begun there since; [`Error::Io`].
    pub fn publish(mut self) -> Result<()> {
        let place = self.place.clone();
        let is_run = RunFolder::gives_way(&place, self.older.is_some())?;
        fs::create_dir_all(&place).map_err(Error::io("create the folder", &place))?;
        let lock = self.older.take().map_or_else(|| lock(&place), Ok)?;
        if is_run {
            remove_run(&place)?;
        }
        let _placed = RunFolder::start(&place, self.folder().spec(), lock)?;
        for name in [PACKED, IMPORT] {
            let from = self.stage.join(name);
            if from.exists() {
                fs::rename(&from, place.join(name)).map_err(Error::io("rename", &from))?;
            }
        }
        atomic::sync_folder(&place.join(SPEC))
    }
}

impl Drop for StagedRun {
    fn drop(&mut self) {
        // Its lock goes first. What cannot be removed is left to the next writer.
        drop(self.folder.take());
        let _ = fs::remove_dir_all(&self.stage);
    }
}

/// Removes the folders that killed writers left beside `place`.
fn remove_stages(place: &Path) -> Result<()> {
    let parent = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_stage = |path: &PathBuf| {
        let found = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rest =
            found.strip_prefix(atomic::TEMPORARY).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        path.is_dir() && rest.and_then(|rest| rest.strip_prefix('-')) == Some(name.as_str())
    };
    for stage in atomic::list(parent)?.into_iter().filter(is_stage) {
        // A process that still writes holds its lock.
        if lock(&stage).is_ok() {
            fs::remove_dir_all(&stage).map_err(Error::io("remove", &stage))?;
        }
    }
    Ok(())
}

/// The resolved spec of a run, without opening it for writing.
///
/// # Errors
/// [`Error::Missing`] when there is no run; [`Error::Spec`] when the file was changed into something else.
pub fn read_spec(path: &Path) -> Result<Spec> {
    let file = path.join(SPEC);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let hint = "`phaselab run EXPERIMENT` makes a run folder under checkpoints/".into();
            return Err(Error::Missing { what: "the run".into(), path: file, hint });
        }
        Err(e) => return Err(Error::io("read", &file)(e)),
    };
    from_toml(Source { path: &file, text: &text, sets: &[] }, Spec::faults)
}

/// Takes the lock of a folder, until the file is dropped or the process ends.
///
/// # Errors
/// [`Error::Locked`]; [`Error::Io`].
pub fn lock(path: &Path) -> Result<File> {
    let file = path.join(LOCK);
    let opened = File::options().create(true).truncate(false).write(true).open(&file);
    let opened = opened.map_err(Error::io("create", &file))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_path_buf() }),
        // A file system without locks cannot tell; refusing to work there would help nobody.
        Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => Ok(opened),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &file)(e)),
    }
}

/// Removes what phaselab writes into a run folder; its spec last, so that an interrupted removal can be repeated.
fn remove_run(path: &Path) -> Result<()> {
    let of = |folder: &str, endings: &[&str]| -> Result<Vec<PathBuf>> {
        let ours = |file: &PathBuf| file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known));
        Ok(atomic::list(&path.join(folder))?.into_iter().filter(ours).collect())
    };
    let mut files: Vec<PathBuf> = vec![];
    files.extend(atomic::numbered(&path.join(SNAPSHOTS), "step_")?.into_iter().map(|(_, file)| file));
    files.extend(atomic::numbered(&path.join(RESUME), "point_")?.into_iter().map(|(_, file)| file));
    files.extend(of(MEASURES, &["h5", "csv"])?);
    files.extend(of(FIGURES, &["svg", "png", "csv"])?);
    files.extend([PACKED, SUMMARY, IMPORT, SPEC].map(|name| path.join(name)));
    for file in files {
        match fs::remove_file(&file) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &file)(e)),
            _ => {}
        }
    }
    Ok(())
}

/// `key: stored -> given` for each key in which two specs differ, of those that change the steps of a run.
pub fn differing_keys(stored: &Spec, given: &Spec) -> Vec<String> {
    let (stored_keys, given_keys) = (keys(stored), keys(given));
    let all: std::collections::BTreeSet<&String> = stored_keys.keys().chain(given_keys.keys()).collect();
    let shown = |keys: &BTreeMap<String, String>, key: &str| keys.get(key).map_or("unset".to_owned(), String::clone);
    all.into_iter()
        .filter(|key| stored_keys.get(*key) != given_keys.get(*key))
        .map(|key| format!("{key}: {} -> {}", shown(&stored_keys, key), shown(&given_keys, key)))
        .collect()
}

/// Dotted keys and values, without those that leave the steps already made as they are.
fn keys(spec: &Spec) -> BTreeMap<String, String> {
    let table: toml::Table = toml::from_str(&spec.to_toml()).expect("invariant: a spec writes valid TOML");
    let mut found = BTreeMap::new();
    flatten("", &table, &mut found);
    // A falling learning rate depends on the last step from the first one on.
    let steps_matter = !matches!(spec.optim, OptimSpec { schedule: Schedule::Constant, .. });
    found.retain(|key, _| {
        let (section, _) = key.split_once('.').unwrap_or((key, ""));
        !matches!(section, "title" | "measure" | "figure") && (steps_matter || key != "train.steps")
    });
    found
}

fn flatten(prefix: &str, table: &toml::Table, found: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, found),
            other => {
                found.insert(key, other.to_string());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec { task: "mod_add_113".into(), ..Spec::default() }
    }

    #[test]
    fn a_run_is_not_overwritten_and_not_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let folder = RunFolder::create(&path, &spec(), false).unwrap();
        assert!(matches!(RunFolder::open(&path), Err(Error::Locked { .. })));
        assert!(matches!(RunFolder::resume(&path, &spec()), Err(Error::Locked { .. })));
        assert!(matches!(RunFolder::create(&path, &spec(), true), Err(Error::Locked { .. })));
        drop(folder);
        match RunFolder::create(&path, &spec(), false) {
            Err(Error::Exists { hint, .. }) => assert!(hint.contains("--resume") && hint.contains("--force")),
            other => panic!("{other:?}"),
        }
        assert_eq!(RunFolder::open(&path).unwrap().spec(), &spec());
    }

    #[test]
    fn force_removes_the_run_and_keeps_what_others_put_there() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunFolder::create(dir.path(), &spec(), false).unwrap());
        let ours = ["run.h5", "snapshots/step_0000000001.h5", "resume/point_0000000001.h5", "figures/a.svg"];
        let theirs = ["notes.md", "snapshots/notes.h5", "figures/paper.pdf"];
        for name in ours.iter().chain(&theirs) {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        drop(RunFolder::create(dir.path(), &spec(), true).unwrap());
        assert!(ours.iter().all(|name| !dir.path().join(name).exists()));
        assert!(theirs.iter().all(|name| dir.path().join(name).exists()));
    }

    #[test]
    fn a_staged_run_takes_its_place_only_when_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("run");
        drop(RunFolder::create(&place, &spec(), false).unwrap());
        for name in ["run.h5", "measures/loss.h5", "notes.md"] {
            fs::write(place.join(name), "old").unwrap();
        }
        let left = dir.path().join(".tmp-1-run");
        fs::create_dir(&left).unwrap();
        let other = Spec { title: "new".into(), ..spec() };
        assert!(matches!(StagedRun::create(&place, &other, false), Err(Error::Exists { .. })));
        let read = |name: &str| fs::read_to_string(place.join(name)).ok();
        for publishes in [false, true] {
            let staged = StagedRun::create(&place, &other, true).unwrap();
            assert!(!left.exists(), "what a killed writer left is gone");
            assert!(matches!(RunFolder::open(&place), Err(Error::Locked { .. })), "nobody else writes the older run");
            fs::write(staged.folder().path().join("run.h5"), "new").unwrap();
            if publishes {
                staged.publish().unwrap();
            } else {
                drop(staged);
                assert_eq!((read("run.h5"), read_spec(&place).unwrap()), (Some("old".into()), spec()));
            }
            assert_eq!(atomic::list(dir.path()).unwrap(), std::slice::from_ref(&place));
        }
        assert_eq!((read("run.h5"), read_spec(&place).unwrap()), (Some("new".into()), other));
        assert_eq!((read("measures/loss.h5"), read("notes.md")), (None, Some("old".into())));
    }

    #[test]
    fn a_folder_that_is_no_run_is_left_alone_even_with_force() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        for force in [false, true] {
            assert!(matches!(RunFolder::create(dir.path(), &spec(), force), Err(Error::Exists { .. })));
        }
        assert_eq!(atomic::list(dir.path()).unwrap(), [dir.path().join("thesis.tex")]);
    }

    #[test]
    fn resuming_takes_more_steps_and_refuses_another_model() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunFolder::create(dir.path(), &spec(), false).unwrap());
        let mut other = spec();
        (other.train.steps, other.title) = (123_456, "longer".into());
        drop(RunFolder::resume(dir.path(), &other).unwrap());
        assert_eq!(read_spec(dir.path()).unwrap(), other);
        (other.optim.lr, other.data.seed) = (0.5, Some(7));
        match RunFolder::resume(dir.path(), &other) {
            Err(Error::ResumeMismatch { differs, .. }) => {
                assert_eq!(differs, ["data.seed: unset -> 7", "optim.lr: 0.001 -> 0.5"]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn more_steps_are_another_run_when_the_learning_rate_falls_to_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut cosine = spec();
        cosine.optim.schedule = Schedule::Cosine;
        drop(RunFolder::create(dir.path(), &cosine, false).unwrap());
        cosine.train.steps += 1;
        assert!(matches!(RunFolder::resume(dir.path(), &cosine), Err(Error::ResumeMismatch { .. })));
    }

    #[test]
    fn a_writer_clears_what_a_killed_one_left() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunFolder::create(dir.path(), &spec(), false).unwrap());
        for name in [".tmp-1-run.h5", "snapshots/.tmp-1-step_0000000001.h5", "resume/.tmp-1-point_0000000001.h5"] {
            fs::write(dir.path().join(name), "half").unwrap();
        }
        drop(RunFolder::open(dir.path()).unwrap());
        assert!(atomic::list(dir.path()).unwrap().iter().all(|path| !atomic::is_temporary(path)));
        assert!(atomic::list(&dir.path().join(SNAPSHOTS)).unwrap().is_empty());
        assert!(atomic::list(&dir.path().join(RESUME)).unwrap().is_empty());
    }
}
