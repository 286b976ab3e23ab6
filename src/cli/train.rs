//! `phaselab train EXPERIMENT`: training alone.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use phaselab::checkpoint::{RunFolder, SPEC, VARIANTS};
use phaselab::error::{Error, Result};
use phaselab::spec::Spec;
use phaselab::train::{TrainOptions, Trained, train};

use super::args::TrainArgs;
use super::exit::{Answer, Failure};
use super::output::Output;
use super::progress::Meter;
use super::result::{plural, seconds};
use super::{interrupt, variants};

/// Trains the replicas of an experiment, with checkpoints
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Ctrl-C finishes the step, writes a resume point and exits with 130; --resume goes on from it, to the same bits as \
without the interruption.

Example:
  phaselab train grokking_quick --seeds 0..8 --set optim.lr=1e-3 \\
    --out checkpoints/slow")]
pub struct Args {
    #[command(flatten)]
    train: TrainArgs,
}

/// Trains, and tells where the checkpoints are.
///
/// # Errors
/// Those of the spec, the folder and the training; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let loaded = args.train.experiment.load()?;
    let interrupt = interrupt::flag()?;
    let path = args.train.folder(&loaded.experiment);
    if loaded.variants.is_empty() {
        return one(&args.train, &path, &loaded.spec, &interrupt, output);
    }
    let _guard = variants::begin(&path, &loaded, args.train.force)?;
    let mut diverged = vec![];
    for variant in &loaded.variants {
        match one(&args.train, &path.join(&variant.name), &variant.spec, &interrupt, output) {
            Err(Failure::Library(e @ Error::NonFinite { .. })) => {
                output.note(&format!("{}: {e}", variant.name));
                diverged.push(e);
            }
            other => drop(other?),
        }
    }
    match diverged.pop() {
        Some(e) if diverged.len() + 1 == loaded.variants.len() => Err(e.into()),
        _ => Ok(Answer::Yes),
    }
}

fn one(args: &TrainArgs, path: &Path, spec: &Spec, interrupt: &AtomicBool, output: &Output) -> Result<Answer, Failure> {
    let folder = open(args, path, spec)?;
    let trained = train_in(&folder, args, interrupt, output)?;
    output.print(&format!(
        "trained {} steps of {} in {}{}\nin {}: run.h5",
        trained.steps_done,
        plural(trained.non_finite.len(), "replica"),
        seconds(trained.wall_s),
        if trained.stopped_early { format!("; stopped early, at step {}", trained.step) } else { String::new() },
        path.display(),
    ))?;
    Ok(Answer::Yes)
}

/// The run's folder, new or continued.
///
/// # Errors
/// A GPU that is asked for and not there, a run that is there without `--resume` or `--force`, one of another spec, a folder that cannot be
/// written.
pub fn open(args: &TrainArgs, path: &Path, spec: &Spec) -> Result<RunFolder> {
    args.device.check()?;
    // Of an experiment's variants, those that were not begun yet have no folder.
    let is_variant = path.parent().is_some_and(|group| group.join(VARIANTS).is_file());
    let is_new = is_variant && !path.join(SPEC).is_file();
    if args.resume && !is_new { RunFolder::resume(path, spec) } else { RunFolder::create(path, spec, args.force) }
}

/// Trains in an open folder, with progress on stderr.
///
/// # Errors
/// As [`train`].
pub fn train_in(folder: &RunFolder, args: &TrainArgs, interrupt: &AtomicBool, output: &Output) -> Result<Trained> {
    let (spec, threads) = (folder.spec(), args.threads.count());
    let gpu = args.device.choice(output)?;
    output.note(&format!(
        "training {} of {} on {}, {} steps at most",
        plural(spec.replica_seeds().len(), "replica"),
        spec.subject(),
        gpu.as_ref().map_or_else(|| plural(threads, "thread"), |gpu| gpu.gpu.name.clone()),
        spec.train.steps,
    ));
    let mut meter = Meter::new(output, "steps");
    let options = TrainOptions { threads, resume: args.resume, interrupt, gpu: gpu.as_ref() };
    let trained = train(spec, folder, &options, &mut meter)?;
    drop(meter);
    for (seed, step) in spec.replica_seeds().iter().zip(&trained.non_finite) {
        if let Some(step) = step {
            output.note(&format!("seed {seed} met a non-finite value at step {step} and stayed as it was before"));
        }
    }
    Ok(trained)
}
