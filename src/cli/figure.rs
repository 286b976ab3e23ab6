//! `phaselab figure RUN`: pictures of what was measured.

use phaselab::error::{Error, Result};
use phaselab::figure::At;
use phaselab::forward::RunSeries;

use super::args::find_run;
use super::exit::{Answer, Failure, tell};
use super::measure::lines;
use super::output::Output;
use super::stages;

/// Draws what was measured, as SVG, PNG and CSV
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Writes figures/NAME.svg, .png and .csv (the points that are drawn) into the run's folder, over older ones, and \
prints their paths.

Figures of one checkpoint (fourier_bars, embedding_circles, neuron_maps, attention_maps) show the last one of the first seed \
unless --step and --seed say otherwise. With --animate they show every checkpoint, at most 80 of them: the page is one \
file that works offline.

Examples:
  phaselab figure grokking_quick loss_curves
  phaselab figure grokking_quick neuron_maps --seed 2 --step 300
  phaselab figure superposition_intro feature_directions --animate")]
pub struct Args {
    /// A run's folder, or its name under checkpoints/
    run: String,
    /// Figures [default: the spec's, or all whose measures are there; `phaselab list figures` shows them]
    names: Vec<String>,
    /// The checkpoint that figures of one checkpoint show, in updates [default: the last]
    #[arg(long, value_name = "STEP")]
    step: Option<u64>,
    /// The replica that they show, by its seed [default: the first]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Draw figures of one checkpoint over all of training, as NAME.html (a slider) and NAME.apng
    #[arg(long, conflicts_with = "step")]
    animate: bool,
}

/// Draws, and prints the files.
///
/// # Errors
/// Those of the run and of the last figure that could not be drawn; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    args.names.iter().try_for_each(|name| phaselab::figure::find(name).map(drop))?;
    let path = find_run(&args.run)?;
    let run = RunSeries::open(&path, 1)?;
    let series = stages::load_series(&run, &path)?;
    let rows = stages::sum_up(&run, &series)?;
    let at = At { step: args.step, seed: args.seed, chosen_at: None };
    let how = if args.animate { stages::How::Animated } else { stages::How::Still };
    let (files, errors) = stages::draw(&run, (&args.names, at, how), (&series, &rows), &path);
    if files.is_empty() && errors.is_empty() {
        let hint = format!("`phaselab measure {}` makes what figures are drawn from", args.run);
        return Err(Error::Missing { what: "every measure".into(), path: path.join("measures"), hint }.into());
    }
    if !files.is_empty() {
        output.print(&lines(&files))?;
    }
    fail_with_last(errors, output)?;
    Ok(Answer::Yes)
}

/// Tells all errors but the last, and returns that one.
///
/// # Errors
/// The last one, if there is one.
pub fn fail_with_last(mut errors: Vec<Error>, output: &Output) -> Result<()> {
    let Some(last) = errors.pop() else { return Ok(()) };
    errors.iter().for_each(|error| tell(error, output));
    Err(last)
}
