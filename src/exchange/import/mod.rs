//! Files with parameters -> a run folder that every measure and figure reads.
//!
//! Reads the files; writes `run.toml`, `run.h5` and `import.json`. Everything is checked before anything is written, and the run
//! takes its place when it is whole. What a file does not say is taken from the options or from defaults, and told either way.

mod config;
mod convert;
mod metrics;
mod series;
mod spec;
mod split;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::Read;
use super::contents::{Contents, contents};
use super::layout::Layout;
use super::name_map::NameMap;
use crate::checkpoint::{IMPORT, RunFolder, Snapshot, StagedRun, atomic, pack_with};
use crate::error::{Error, Result};
use crate::experiment::preflight;
use crate::forward::RunSeries;
use crate::spec::Spec;
use crate::tensor::Tensor;

/// What to import, and what the files may not say.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions<'a> {
    /// Checkpoints of one replica, or one file a replica with as many `seeds`.
    pub files: &'a [PathBuf],
    /// The task's name or card.
    pub task: Option<&'a str>,
    /// A spec that the parameters must fit: an experiment, or a path.
    pub spec: Option<&'a str>,
    /// `key=value` changes of the spec.
    pub sets: &'a [String],
    /// A map of names, TOML.
    pub map: Option<&'a Path>,
    /// The order of axes, where two would fit.
    pub layout: Option<Layout>,
    /// The step of a single checkpoint.
    pub step: Option<u64>,
    /// Steps between the checkpoints of a list, whatever it says.
    pub every: Option<NonZeroU64>,
    /// Added to every step that a file gives its checkpoints.
    pub shift: u64,
    /// Steps between the losses of a list; 1 unless given.
    pub losses_every: Option<NonZeroU64>,
    /// Seeds of the replicas.
    pub seeds: &'a [u64],
    /// Replace an older run.
    pub force: bool,
    /// Threads for the evaluations.
    pub threads: usize,
}

/// What became of an import.
#[derive(Debug)]
pub struct Imported {
    /// The run's spec.
    pub spec: Spec,
    /// Steps that have a snapshot.
    pub steps: Vec<u64>,
    /// Numbers of one replica.
    pub n_params: usize,
}

/// A file and what was found in it.
struct File {
    path: PathBuf,
    contents: Contents,
    size_bytes: u64,
    crc32: u32,
}

/// Imports `options.files` into the new run folder `out`; `tell` gets a line for everything that was decided or left out.
///
/// # Errors
/// [`Error::Import`] for a file that is damaged, hostile or does not fit; [`Error::ImportArguments`] for what `options` must say, or
/// say wrongly; [`Error::Spec`]; [`Error::Exists`]; [`Error::Missing`]; [`Error::Io`]. An older run is then as it was.
pub fn import(options: &ImportOptions<'_>, out: &Path, tell: &mut dyn FnMut(&str)) -> Result<Imported> {
    let mut notes: Vec<String> = vec![];
    let mut note = |text: &str| {
        tell(text);
        notes.push(text.to_owned());
    };
    RunFolder::gives_way(out, options.force)?;
    let map = options.map.map(NameMap::load).transpose()?;
    let files = options.files.iter().map(|path| read(path)).collect::<Result<Vec<File>>>()?;
    files.iter().filter(|file| !file.contents.ignored.is_empty()).for_each(|file| {
        note(&format!("{}: left out {}", file.path.display(), listed(&file.contents.ignored)));
    });
    let mut replicas = series::arrange(&files, options, &mut note)?;
    let layout = match spec::own(&replicas, &files, options)? {
        Some(own) => own,
        None => {
            let has_spec = options.spec.is_some() || files.iter().any(|file| file.contents.spec.is_some());
            for replica in &mut replicas {
                series::rename(replica, (map.as_ref(), has_spec), &mut note)?;
            }
            spec::layout(&replicas, options, &mut note)?
        }
    };
    let spec = spec::spec(&replicas, &layout, &files, options, &mut note)?;
    let task = preflight(&spec)?.expect("invariant: what is imported has a task");
    let (spec, train_mask) = split::train_mask(&replicas, spec, &task, &mut note)?;
    let expected = convert::Expected::new(&spec, &task);
    let file_bytes = files.iter().map(|file| file.size_bytes).sum();
    expected.check((&replicas, file_bytes), &layout, &mut note)?;

    let staged = StagedRun::create(out, &spec, options.force)?;
    let folder = staged.folder();
    let steps: Vec<u64> = replicas[0].checkpoints.iter().map(|(step, _)| *step).collect();
    for (at, &step) in steps.iter().enumerate() {
        let params = expected.params(&replicas, at, &layout)?;
        Snapshot { step, params, train_mask: train_mask.clone() }.write(folder)?;
    }
    let run = RunSeries::open(folder.path(), options.threads)?;
    let metrics: Vec<Tensor> = metrics::metrics(&run, &replicas, options, &mut note)?;
    let n_params = expected.count();
    write_about(folder.path(), &files, layout.layout, &notes)?;
    pack_with(folder, Some(metrics))?;
    staged.publish()?;
    Ok(Imported { spec, steps, n_params })
}

fn read(path: &Path) -> Result<File> {
    let Read { value, size_bytes, crc32 } = super::read(path)?;
    let contents = contents(&value).map_err(|cause| fail(path, vec![cause], super::UNREADABLE))?;
    Ok(File { path: path.to_path_buf(), contents, size_bytes, crc32 })
}

fn fail(path: &Path, causes: Vec<String>, hint: &str) -> Error {
    Error::Import { path: path.to_path_buf(), causes, hint: hint.to_owned() }
}

/// As [`fail`], for what an argument decides.
fn ask(path: &Path, causes: Vec<String>, hint: &str) -> Error {
    Error::ImportArguments { path: path.to_path_buf(), causes, hint: hint.to_owned() }
}

/// Some names of a list that may be long.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// `import.json`: where the run comes from.
fn write_about(out: &Path, files: &[File], layout: Layout, notes: &[String]) -> Result<()> {
    let about_file = |file: &File| {
        let path = file.path.display().to_string();
        serde_json::json!({ "path": path, "size_bytes": file.size_bytes, "crc32": file.crc32 })
    };
    let from: Vec<serde_json::Value> = files.iter().map(about_file).collect();
    let about = serde_json::json!({
        "phaselab_version": env!("CARGO_PKG_VERSION"),
        "files": from,
        "layout": layout.name(),
        "notes": notes,
    });
    let text = serde_json::to_string_pretty(&about).expect("invariant: every key is a string");
    atomic::write_text(&out.join(IMPORT), true, &(text + "\n"))
}
