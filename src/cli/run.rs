//! `phaselab run EXPERIMENT`: train, measure, phases, figures, `summary.csv`, and the short result.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use phaselab::checkpoint::{FIGURES, SUMMARY, atomic};
use phaselab::error::{Error, Result};
use phaselab::experiment::Experiment;
use phaselab::figure::At;
use phaselab::forward::RunSeries;
use phaselab::spec::Spec;
use phaselab::train::Trained;
use phaselab::transition::SummaryRow;

use super::args::{Loaded, TrainArgs};
use super::exit::{Answer, Failure};
use super::figure::fail_with_last;
use super::output::{Format, Output};
use super::result::{RunResult, Time, plural};
use super::toy_result::ToyResult;
use super::train::{open, train_in};
use super::variants::{self, Comparison};
use super::{interrupt, stages};

/// A picture above this size does not go into a repository.
const PUBLISHED_BYTES: u64 = 1_000_000;

/// Does an experiment: trains, measures, finds the phases, draws, and prints a short result
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Everything is saved in the run's folder before it is printed. Ctrl-C finishes the step, writes a resume point and exits \
with 130; --resume goes on from it.

An experiment with variants runs them one after another, each in a folder of its own below the run's, and compares \
them. --resume passes over what is finished.

Exit status: 0 if a replica grokked, 1 if none did.

Example:
  phaselab run grokking_quick --seeds 0..8 --format json")]
pub struct Args {
    #[command(flatten)]
    train: TrainArgs,
    /// How to print the result
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Copy summary.csv and the figures into the experiment's folder
    #[arg(long)]
    publish: bool,
}

/// Trains, measures, sums up, draws, publishes, then prints.
///
/// # Errors
/// Those of every stage; what earlier stages made stays. Figures that cannot be drawn are told after the result.
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let started = Instant::now();
    let loaded = args.train.experiment.load()?;
    if args.publish {
        expect_folder(&loaded.experiment)?;
    }
    let interrupt = interrupt::flag()?;
    let path = args.train.folder(&loaded.experiment);
    let folder = loaded.experiment.folder();
    if !loaded.variants.is_empty() {
        return all_variants(args, &loaded, &path, &interrupt, output);
    }
    let done = one(&args.train, &path, &loaded.spec, &interrupt, output)?;
    if args.publish {
        publish(&path, folder, &[], output)?;
    }
    let time = Some(Time::new(&done.trained, started.elapsed()));
    let (text, is_yes) = match &done.toys {
        Some(toys) => (toys.write((&path, &loaded.spec.title), time, args.format, output), toys.is_yes()),
        None => {
            let result = RunResult::new(&path, &loaded.spec, &done.rows, time);
            (result.write(args.format, output), result.is_yes())
        }
    };
    output.print(&text)?;
    fail_with_last(done.errors, output)?;
    Ok(if is_yes { Answer::Yes } else { Answer::No })
}

/// Every variant one after another, then the comparison of all that are there.
fn all_variants(
    args: &Args,
    loaded: &Loaded,
    path: &Path,
    interrupt: &AtomicBool,
    output: &Output,
) -> Result<Answer, Failure> {
    let _guard = variants::begin(path, loaded, args.train.force)?;
    let (mut errors, mut diverged) = (vec![], vec![]);
    for (i, variant) in loaded.variants.iter().enumerate() {
        let folder = path.join(&variant.name);
        let of = format!("variant {} of {}: {}", i + 1, loaded.variants.len(), variant.name);
        if args.train.resume && variants::is_done(&folder, &variant.spec) {
            output.note(&format!("{of} is finished"));
            continue;
        }
        output.note(&of);
        match one(&args.train, &folder, &variant.spec, interrupt, output) {
            Ok(done) => errors.extend(done.errors),
            // What there is of it is compared with the others.
            Err(e @ Error::NonFinite { .. }) => {
                let run = RunSeries::open(&folder, args.train.threads.count())?;
                stages::save_summary(&folder, &stages::sum_up(&run, &run.metrics()?)?)?;
                output.note(&format!("{}: {e}", variant.name));
                diverged.push(e);
            }
            Err(e) => return Err(e.into()),
        }
    }
    let compared = Comparison::load(path)?;
    errors.extend(compared.save(path)?);
    if args.publish {
        // Figures of single variants only where the spec chose them.
        let chosen = !loaded.spec.figure.names.is_empty();
        let names: Vec<&str> = loaded.variants.iter().filter(|_| chosen).map(|variant| &variant.name[..]).collect();
        publish(path, loaded.experiment.folder(), &names, output)?;
    }
    output.print(&compared.write(args.format, output))?;
    if diverged.len() == loaded.variants.len() {
        errors.extend(diverged.pop());
    }
    fail_with_last(errors, output)?;
    Ok(if compared.is_yes() { Answer::Yes } else { Answer::No })
}

/// What a run came to, all of it saved.
struct Done {
    trained: Trained,
    rows: Vec<SummaryRow>,
    /// Of a run of toy models, which has no rows.
    toys: Option<ToyResult>,
    /// Of figures that could not be drawn.
    errors: Vec<Error>,
}

/// One run: trained, measured, summed up, drawn.
fn one(args: &TrainArgs, path: &Path, spec: &Spec, interrupt: &AtomicBool, output: &Output) -> Result<Done> {
    let folder = open(args, path, spec)?;
    let trained = train_in(&folder, args, interrupt, output)?;
    let run = RunSeries::open(path, args.threads.count())?;
    output.note(&format!("measuring {}", plural(run.steps().len(), "checkpoint")));
    let (mut series, _) = stages::measure((&run, path), &spec.measure.names, 0..=u64::MAX, (interrupt, true), output)?;
    series.extend(run.metrics()?);
    let toys = ToyResult::of(&run, &series)?;
    let rows = if toys.is_some() { vec![] } else { stages::sum_up(&run, &series)? };
    match &toys {
        Some(toys) => toys.save(path)?,
        None => stages::save_summary(path, &rows)?,
    }
    let (_, errors) = stages::draw(&run, (&[], At::default(), stages::How::Still), (&series, &rows), path);
    Ok(Done { trained, rows, toys, errors })
}

/// An error when there is nowhere to publish to; better before training than after.
fn expect_folder(experiment: &Experiment) -> Result<()> {
    if experiment.is_in_folder() {
        return Ok(());
    }
    let hint = "--publish writes into the folder of an experiment.toml; run it where that folder is".into();
    Err(Error::Missing { what: "the experiment's folder".into(), path: experiment.folder().into(), hint })
}

/// Copies `summary.csv`, and the pictures that are not too large; those of `variants` below it as `VARIANT_NAME.svg`.
fn publish(run: &Path, folder: &Path, variants: &[&str], output: &Output) -> Result<()> {
    let figures = folder.join(FIGURES);
    std::fs::create_dir_all(&figures).map_err(Error::io("create the folder", &figures))?;
    let is_picture = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "svg" || ending == "png");
    let is_small = |path: &PathBuf| path.metadata().is_ok_and(|about| about.len() <= PUBLISHED_BYTES);
    let pictures = |of: &Path| -> Result<Vec<PathBuf>> {
        let all = atomic::list(&of.join(FIGURES))?;
        Ok(all.into_iter().filter(|path| is_picture(path) && is_small(path)).collect())
    };
    // The table of thousands of replicas is for the run's own folder.
    let summary = Some((run.join(SUMMARY), folder.join(SUMMARY))).filter(|(from, _)| is_small(from));
    let mut copies: Vec<(PathBuf, PathBuf)> = summary.into_iter().collect();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    copies.extend(pictures(run)?.into_iter().map(|path| (path.clone(), figures.join(name(&path)))));
    for variant in variants.iter().filter(|variant| run.join(variant).join(FIGURES).is_dir()) {
        let of = pictures(&run.join(variant))?;
        copies.extend(of.into_iter().map(|path| (path.clone(), figures.join(format!("{variant}_{}", name(&path))))));
    }
    for (from, to) in &copies {
        atomic::write(to, true, |temporary| std::fs::copy(from, temporary).map(drop).map_err(Error::io("copy", from)))?;
    }
    output.note(&format!("published {} into {}", plural(copies.len(), "file"), folder.display()));
    Ok(())
}
