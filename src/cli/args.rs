//! Arguments that several subcommands share: an experiment with changes, a run folder, threads.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use phaselab::checkpoint::{SPEC, VARIANTS, atomic};
use phaselab::error::{Error, Result, nearest};
use phaselab::experiment::{self, Experiment, Variant};
use phaselab::spec::Spec;

use super::device::DeviceArgs;

/// Folder of the runs.
const RUNS: &str = "checkpoints";

/// An experiment, and what to change in its spec.
#[derive(Debug, clap::Args)]
pub struct ExperimentArgs {
    /// A number (`2`), a slug (`grokking_quick`), a folder, or a spec's path
    pub experiment: String,
    /// Change a key of the spec, as `optim.lr=1e-3`; may be repeated. `phaselab explain spec` lists the keys
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Replicas: `0..8` (8 not included), or seeds as `0,3,7`. Short for --set train.seeds=...
    #[arg(long, value_name = "SEEDS")]
    seeds: Option<String>,
    /// Updates at most. Short for --set train.steps=N
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Of an experiment with variants, only this one; may be repeated
    #[arg(long = "variant", value_name = "NAME")]
    only: Vec<String>,
}

/// An experiment as the arguments ask for it.
#[derive(Debug)]
pub struct Loaded {
    /// Where it comes from.
    pub experiment: Experiment,
    /// Its spec, changes laid over it.
    pub spec: Spec,
    /// The variants that are asked for; none when it has none.
    pub variants: Vec<Variant>,
    /// What the command line changes.
    pub sets: Vec<String>,
}

/// Where and how to train.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    #[command(flatten)]
    pub threads: ThreadArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Go on from the newest resume point of the run
    #[arg(long)]
    pub resume: bool,
    /// Replace an older run of that name
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    /// The run's folder [default: checkpoints/SLUG]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Worker threads.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ThreadArgs {
    /// Worker threads; results do not depend on them [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// One replica at one step of a run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ReplicaArgs {
    /// The step [default: the last checkpoint]
    #[arg(long, value_name = "N")]
    step: Option<u64>,
    /// The replica's index, from 0 [default: 0]
    #[arg(long, value_name = "R", conflicts_with = "seed")]
    replica: Option<usize>,
    /// The replica's seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

impl ReplicaArgs {
    /// Step and index of the replica, in the run in `folder` with these steps and seeds.
    ///
    /// # Errors
    /// [`Error::Missing`] for a run without checkpoints, or without one of this step; [`Error::Value`] for a seed or index that is
    /// not there.
    pub fn find(self, folder: &Path, steps: &[u64], seeds: &[u64]) -> Result<(u64, usize)> {
        let missing = |what: String, hint: String| Error::Missing { what, path: folder.to_path_buf(), hint };
        let Some(&last) = steps.last() else {
            let hint = "train first, with `phaselab train` or `phaselab run`";
            return Err(missing("every checkpoint".into(), hint.into()));
        };
        let step = self.step.unwrap_or(last);
        if !steps.contains(&step) {
            let near = steps.iter().min_by_key(|known| known.abs_diff(step)).unwrap_or(&last);
            return Err(missing(
                format!("the checkpoint of step {step}"),
                format!("the nearest is that of step {near}"),
            ));
        }
        let wrong = |what: &str, got: String, expected: String| Error::Value { what: what.into(), got, expected };
        let replica = match (self.seed, self.replica) {
            (Some(seed), _) => seeds.iter().position(|&known| known == seed).ok_or_else(|| {
                let known: Vec<String> = seeds.iter().map(u64::to_string).collect();
                wrong("--seed", seed.to_string(), format!("one of the run's: {}", known.join(", ")))
            })?,
            (None, index) => index.unwrap_or(0),
        };
        match replica < seeds.len() {
            true => Ok((step, replica)),
            false => Err(wrong("--replica", replica.to_string(), format!("an index below {}", seeds.len()))),
        }
    }
}

impl ExperimentArgs {
    /// The experiment, its spec and its variants, changes laid over them; the task and the registries have been asked.
    ///
    /// # Errors
    /// An unknown experiment or variant, the faults of its specs, and what [`experiment::preflight`] finds.
    pub fn load(&self) -> Result<Loaded> {
        let found = Experiment::find(&self.experiment)?;
        let mut sets = self.sets.clone();
        sets.extend(self.seeds.as_deref().map(|seeds| format!("train.seeds={seeds:?}")));
        sets.extend(self.steps.map(|steps| format!("train.steps={steps}")));
        let spec = found.spec(&sets)?;
        let all = experiment::variants(&found, &spec, &sets)?;
        if let Some(name) = self.only.iter().find(|name| all.iter().all(|variant| variant.name != **name)) {
            let known = all.into_iter().map(|variant| variant.name).collect();
            return Err(Error::Unknown { kind: "variant", name: name.clone(), known });
        }
        let asked = |variant: &Variant| self.only.is_empty() || self.only.contains(&variant.name);
        let variants: Vec<Variant> = all.into_iter().filter(asked).collect();
        found.preflight_all(&spec, &variants)?;
        Ok(Loaded { experiment: found, spec, variants, sets })
    }
}

impl TrainArgs {
    /// The run's folder.
    pub fn folder(&self, experiment: &Experiment) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new(RUNS).join(experiment.slug()))
    }
}

impl ThreadArgs {
    /// How many.
    pub fn count(self) -> usize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
}

/// The folder of a run: a path, a name under `checkpoints/`, or an experiment's number.
///
/// # Errors
/// [`Error::Missing`], with the nearest run there is.
pub fn find_run(name: &str) -> Result<PathBuf> {
    if let Some(found) = places(name).find(|path| path.join(SPEC).is_file()) {
        return Ok(found);
    }
    if let Some(group) = find_group(name) {
        let known = runs_in(&group).join(", ");
        let hint = format!("it has variants, and each is a run: name one below this folder: {known}");
        return Err(Error::Missing { what: "a single run".into(), path: group, hint });
    }
    let known = runs();
    let hint = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "`phaselab run EXPERIMENT` makes a run folder under checkpoints/".into(),
        None => format!("runs under checkpoints/: {}", known.join(", ")),
    };
    let path = if Path::new(name).exists() { PathBuf::from(name) } else { Path::new(RUNS).join(name) };
    Err(Error::Missing { what: "the run".into(), path, hint })
}

/// The folder of an experiment with variants, where the name is that of one: as for [`find_run`].
pub fn find_group(name: &str) -> Option<PathBuf> {
    places(name).find(|path| is_group(path))
}

/// Where a run or an experiment's runs of that name may be.
fn places(name: &str) -> impl Iterator<Item = PathBuf> {
    let slug = || Some(Path::new(RUNS).join(Experiment::find(name).ok()?.slug()));
    [Some(PathBuf::from(name)), Some(Path::new(RUNS).join(name)), slug()].into_iter().flatten()
}

fn is_group(path: &Path) -> bool {
    path.join(VARIANTS).is_file()
}

/// Names of the runs under `checkpoints/`, ascending; those of variants as `experiment/variant`.
pub fn runs() -> Vec<String> {
    let runs = Path::new(RUNS);
    let mut names = runs_in(runs);
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    for group in entries.filter(|entry| is_group(&entry.path())) {
        let name = group.file_name().to_string_lossy().into_owned();
        names.extend(runs_in(&group.path()).into_iter().map(|variant| format!("{name}/{variant}")));
    }
    names.sort();
    names
}

/// Names of the runs in a folder, ascending.
pub fn runs_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let runs = entries.filter(|entry| entry.path().join(SPEC).is_file() && !atomic::is_temporary(&entry.path()));
    let mut names: Vec<String> = runs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
