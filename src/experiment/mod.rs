//! Experiments: names -> specs, and the variants of those that compare several (`arms.rs`).
//!
//! Reads `experiments/NN_slug/experiment.toml` (the working folder's, else the one in the binary), or a folder or file that
//! is given; writes a [`Spec`] with `--set key=value` laid over it, and checks it against its task and the registries.

mod arms;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::spec::{LossKind, Source, Spec, from_toml, line_of_key};
use crate::task::Task;
use crate::term::{self, Place};
use crate::train::{Data, task_shape};
use crate::{figure, forward, measure, model, outside};

pub use arms::{Variant, variants};

/// The experiments in the binary: (`NN_slug`, TOML text), in order of name.
pub const EXPERIMENTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/experiments.rs"));

/// Folder of the experiments, in the repository and in a working folder.
const FOLDER: &str = "experiments";
/// The spec in an experiment's folder.
const FILE: &str = "experiment.toml";

/// An experiment's spec, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// `NN_slug`: the name of its folder, or the stem of a spec that lies elsewhere.
    pub name: String,
    /// The spec; where it would lie if it came from the binary.
    pub path: PathBuf,
    text: String,
}

impl Experiment {
    /// The experiment of that number (`2`, `02`) or slug, or in that folder or file.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is neither in the working folder nor in the binary; [`Error::Missing`] for a
    /// path that is not there; [`Error::Io`].
    pub fn find(name_or_path: &str) -> Result<Experiment> {
        find_in(Path::new(FOLDER), name_or_path)
    }

    /// The name without its number: `grokking` of `01_grokking`.
    pub fn slug(&self) -> &str {
        split(&self.name).1
    }

    /// The number, if it has one.
    pub fn number(&self) -> Option<&str> {
        split(&self.name).0
    }

    /// The folder that results are published to.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Whether it is the `experiment.toml` of a folder that is there, and no loose spec nor one from the binary.
    pub fn is_in_folder(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == FILE) && self.path.is_file()
    }

    /// The spec, with `key=value` pairs laid over it, and the defaults of what comes from outside written out.
    ///
    /// # Errors
    /// [`Error::Spec`] with all faults.
    pub fn spec(&self, sets: &[String]) -> Result<Spec> {
        let faults = |spec: &Spec| [spec.faults(), outside::settle(&mut spec.clone())].concat();
        let mut spec = from_toml(Source { path: &self.path, text: &self.text, sets }, faults)?;
        outside::settle(&mut spec);
        Ok(spec)
    }

    /// [`preflight`] of a spec of this experiment, with the lines of its faults.
    ///
    /// # Errors
    /// As [`preflight`].
    pub fn preflight(&self, spec: &Spec) -> Result<Option<Task>> {
        preflight(spec).map_err(|e| match e {
            Error::Spec { path, mut faults } if path == Path::new("the spec") => {
                for fault in faults.iter_mut().filter(|fault| fault.line.is_none()) {
                    fault.line = line_of_key(&self.text, &fault.key);
                }
                Error::Spec { path: self.path.clone(), faults }
            }
            other => other,
        })
    }

    /// [`preflight`] of every variant, or of the spec itself when it has none.
    ///
    /// # Errors
    /// As [`preflight`].
    pub fn preflight_all(&self, spec: &Spec, variants: &[Variant]) -> Result<()> {
        if variants.is_empty() {
            return self.preflight(spec).map(drop);
        }
        variants.iter().try_for_each(|variant| self.preflight(&variant.spec).map(drop))
    }
}

/// The names of all experiments, in the working folder and in the binary, ascending.
pub fn list() -> Vec<String> {
    list_in(Path::new(FOLDER))
}

/// What only the task and the registries can tell of a spec: that the task is there, that its split and batches are not
/// empty, that the model can be that of the task, that measures and figures exist and fit it. Gives the task; a toy model has none.
///
/// # Errors
/// [`Error::Unknown`] for a task, measure or figure; the faults of terms and of the task's card; [`Error::Value`] for an empty split,
/// key frequencies that the task does not have, a model or loss that does not go with the task, or a measure or figure that does not fit; [`Error::Outside`] for a model or loss from
/// outside that does not fit the task.
pub fn preflight(spec: &Spec) -> Result<Option<Task>> {
    if spec.toy.is_some() {
        let setting = forward::setting(spec, None);
        measures_fit(spec, &setting)?;
        return Ok(None);
    }
    let task = Task::of(&spec.task, &spec.data)?;
    model::fits(&spec.model, &task)?;
    if task.numbers.is_some() && spec.loss.kind != LossKind::Mse {
        return Err(Error::Value {
            what: "loss.kind".into(),
            got: format!("{}, for the real numbers of the task {}", String::from(spec.loss.kind), task.name),
            expected: "mse: there are no classes".into(),
        });
    }
    measure::check_options(&spec.measure, &task)?;
    Data::new(spec, &task)?;
    let graph = model::graph(&spec.model, &task_shape(&task));
    if !spec.loss.terms.is_empty() {
        let place = Place { task: &task, params: &graph.params, batch_size: spec.train.batch_size };
        let faults = term::faults(&spec.loss, &place);
        if !faults.is_empty() {
            return Err(Error::Spec { path: "the spec".into(), faults });
        }
    }
    graph.compiles()?;
    measures_fit(spec, &forward::setting(spec, Some(&task)))?;
    if let LossKind::Outside(name) = spec.loss.kind {
        outside::loss(&name)?.try_out(task.d_vocab_out)?;
    }
    Ok(Some(task))
}

/// That the measures and figures of a spec are there and fit.
fn measures_fit(spec: &Spec, setting: &measure::Setting) -> Result<()> {
    spec.measure.names.iter().try_for_each(|name| measure::fitting(name, setting).map(drop))?;
    spec.figure.names.iter().try_for_each(|name| figure::fitting(name, setting).map(drop))
}

/// `01_grokking` as its number and its slug.
fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('_') {
        Some((number, slug)) if number.parse::<u32>().is_ok() => (Some(number), slug),
        _ => (None, name),
    }
}

fn list_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = EXPERIMENTS.iter().map(|&(name, _)| name.to_owned()).collect();
    // No such folder is the usual case: the binary's experiments are then all there are.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().join(FILE).is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    names.dedup();
    names
}

fn find_in(folder: &Path, name_or_path: &str) -> Result<Experiment> {
    let path = Path::new(name_or_path);
    if path.join(FILE).is_file() {
        return read(&path.join(FILE));
    }
    if name_or_path.ends_with(".toml") || name_or_path.contains(['/', '\\']) {
        return read(path);
    }
    let names = list_in(folder);
    let is = |name: &&String| {
        let (number, slug) = split(name);
        let same_number = number.is_some_and(|n| n.parse::<u32>().ok() == name_or_path.parse().ok());
        name.as_str() == name_or_path || slug == name_or_path || same_number
    };
    // What is in the working folder comes before what is only in the binary.
    let is_here = |name: &&String| folder.join(name).join(FILE).is_file();
    let Some(name) = names.iter().filter(is).find(is_here).or_else(|| names.iter().find(is)) else {
        let known = names.iter().map(|name| split(name).1.to_owned()).collect();
        return Err(Error::Unknown { kind: "experiment", name: name_or_path.into(), known });
    };
    let path = folder.join(name).join(FILE);
    match read(&path) {
        Err(Error::Missing { .. }) => {
            let text = EXPERIMENTS.iter().find(|(embedded, _)| embedded == name).map(|&(_, text)| text.to_owned());
            let text = text.expect("invariant: a listed name is in the folder or in the binary");
            Ok(Experiment { name: name.clone(), path, text })
        }
        other => other,
    }
}

fn read(path: &Path) -> Result<Experiment> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let hint = "`phaselab list experiments` shows those that are known by name".into();
            return Err(Error::Missing { what: "the experiment".into(), path: path.into(), hint });
        }
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    Ok(Experiment { name: name_of(path), path: path.into(), text })
}

/// The name of the folder of an `experiment.toml`, and for a file beside one (`large.toml`) that and its stem; the stem of any other file.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let folder = whole.parent().filter(|folder| folder.join(FILE).is_file()).and_then(Path::file_name);
    let stem = whole.file_stem().unwrap_or(whole.as_os_str()).to_string_lossy();
    match folder {
        Some(folder) if whole.file_name().is_some_and(|name| name == FILE) => folder.to_string_lossy().into_owned(),
        Some(folder) => format!("{}_{stem}", folder.to_string_lossy()),
        None => stem.into_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(specs: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in specs {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(FILE), text).unwrap();
        }
        dir
    }

    #[test]
    fn every_experiment_passes_preflight_and_the_larger_specs_beside_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
        let in_binary = EXPERIMENTS.iter().map(|(name, text)| {
            let experiment = read(&folder.join(name).join(FILE)).unwrap();
            assert_eq!((experiment.name.as_str(), experiment.text.as_str()), (*name, *text));
            experiment
        });
        let larger: Vec<Experiment> = (EXPERIMENTS.iter().map(|(name, _)| folder.join(name).join("large.toml")))
            .filter(|path| path.is_file())
            .map(|path| read(&path).unwrap())
            .collect();
        assert!(EXPERIMENTS.len() >= 2 && larger.iter().any(|spec| spec.slug() == "sorting_large"));
        for experiment in in_binary.chain(larger) {
            let name = &experiment.name;
            let spec = experiment.spec(&[]).unwrap_or_else(|e| panic!("{name}: {:?}", e.cause()));
            let variants = variants(&experiment, &spec, &[]).unwrap_or_else(|e| panic!("{name}: {:?}", e.cause()));
            experiment.preflight_all(&spec, &variants).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!spec.title.is_empty(), "{name} has no title");
        }
    }

    #[test]
    fn numbers_are_not_used_twice() {
        let numbers: Vec<u32> = EXPERIMENTS.iter().map(|(name, _)| split(name).0.unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn number_slug_name_folder_and_file_name_the_same_experiment() {
        let dir = folder(&[("07_seven", "title = \"7\""), ("notes", "")]);
        let in_folder = dir.path().join("07_seven");
        let file = in_folder.join(FILE);
        for name in ["7", "07", "seven", "07_seven", in_folder.to_str().unwrap(), file.to_str().unwrap()] {
            let found = find_in(dir.path(), name).unwrap();
            assert_eq!((found.slug(), found.number()), ("seven", Some("07")), "{name}");
            assert_eq!(found.spec(&["train.steps=5".into()]).unwrap().train.steps, 5);
            assert_eq!(found.folder(), in_folder);
        }
        assert_eq!(find_in(dir.path(), "notes").unwrap().number(), None);
    }

    #[test]
    fn the_working_folder_wins_over_the_binary() {
        let dir = folder(&[("02_grokking_quick", "title = \"mine\"")]);
        assert_eq!(find_in(dir.path(), "2").unwrap().spec(&[]).unwrap().title, "mine");
        assert_eq!(find_in(dir.path(), "grokking").unwrap().text, EXPERIMENTS[0].1);
    }

    #[test]
    fn a_wrong_name_gets_the_nearest_and_a_missing_path_is_missing() {
        let dir = folder(&[]);
        let unknown = find_in(dir.path(), "groking_quick").unwrap_err();
        assert_eq!(unknown.hint().as_deref(), Some("did you mean `grokking_quick`?"));
        assert!(matches!(find_in(dir.path(), "no/such/experiment.toml"), Err(Error::Missing { .. })));
    }
}
