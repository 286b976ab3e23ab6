//! `phaselab train EXPERIMENT`: training alone.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use phaselab::checkpoint::RunFolder;
use phaselab::error::Result;
use phaselab::spec::Spec;
use phaselab::train::{TrainOptions, Trained, train};

use super::args::TrainArgs;
use super::exit::{Answer, Failure};
use super::interrupt;
use super::output::Output;
use super::progress::Meter;
use super::result::{plural, seconds};

/// Trains the replicas of an experiment, with checkpoints
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Ctrl-C finishes the step, writes a resume point and exits with 130; --resume goes on from it, to the same bits as \
without the interruption.

Example:
  phaselab train grokking_quick --seeds 0..8 --set optim.lr=1e-3 --out checkpoints/slow")]
pub struct Args {
    #[command(flatten)]
    train: TrainArgs,
}

/// Trains, and tells where the checkpoints are.
///
/// # Errors
/// Those of the spec, the folder and the training; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let (experiment, spec) = args.train.experiment.load()?;
    let interrupt = interrupt::flag()?;
    let path = args.train.folder(&experiment);
    let folder = open(&args.train, &path, &spec)?;
    let trained = train_in(&folder, &args.train, &interrupt, output)?;
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
/// A run that is there without `--resume` or `--force`, one of another spec, a folder that cannot be written.
pub fn open(args: &TrainArgs, path: &Path, spec: &Spec) -> Result<RunFolder> {
    if args.resume { RunFolder::resume(path, spec) } else { RunFolder::create(path, spec, args.force) }
}

/// Trains in an open folder, with progress on stderr.
///
/// # Errors
/// As [`train`].
pub fn train_in(folder: &RunFolder, args: &TrainArgs, interrupt: &AtomicBool, output: &Output) -> Result<Trained> {
    let (spec, threads) = (folder.spec(), args.threads.count());
    output.note(&format!(
        "training {} of {} on {}, {} steps at most",
        plural(spec.train.seeds.0.len(), "replica"),
        spec.task,
        plural(threads, "thread"),
        spec.train.steps,
    ));
    let mut meter = Meter::new(output, "steps");
    let trained = train(spec, folder, &TrainOptions { threads, resume: args.resume, interrupt }, &mut meter)?;
    drop(meter);
    for (seed, step) in spec.train.seeds.0.iter().zip(&trained.non_finite) {
        if let Some(step) = step {
            output.note(&format!("seed {seed} met a non-finite value at step {step} and stayed as it was before"));
        }
    }
    Ok(trained)
}
