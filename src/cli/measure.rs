//! `phaselab measure RUN`: measures over a range of checkpoints.

use std::path::{Path, PathBuf};

use phaselab::checkpoint::RunFolder;
use phaselab::error::{Error, Result};
use phaselab::forward::RunSeries;
use phaselab::measure::file;

use super::args::{ThreadArgs, find_run};
use super::exit::{Answer, Failure};
use super::output::Output;
use super::{interrupt, stages};

/// Measures a run's checkpoints, all replicas
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Writes measures/NAME.h5 and measures/NAME.csv into the run's folder and prints their paths. A file there is replaced if \
the new one has all its checkpoints; otherwise with --force only.

Examples:
  phaselab measure grokking_quick restricted_loss --from 200 --to 800
  phaselab measure grokking_quick excluded_loss --key-freqs 5,12 \\
    --set measure.key_freqs_at=each")]
pub struct Args {
    /// A run's folder, or its name under checkpoints/
    run: String,
    /// Measures [default: all that fit the run; `phaselab list measures` shows them]
    names: Vec<String>,
    /// First step
    #[arg(long, value_name = "STEP", default_value_t = 0)]
    from: u64,
    /// Last step [default: the run's last]
    #[arg(long, value_name = "STEP")]
    to: Option<u64>,
    /// Key frequencies: w_e, w_e_norm, w_l, neurons, or frequencies as `14,35`. Short for --set measure.key_freqs=...
    #[arg(long, value_name = "RULE|LIST")]
    key_freqs: Option<String>,
    /// Change a key of the run's [measure] for this time: measure.key_frac=0.3; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Replace files that have other checkpoints
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    threads: ThreadArgs,
}

impl Args {
    fn sets(&self) -> Vec<String> {
        let is_list = |text: &str| text.trim_start_matches('[').starts_with(|c: char| c.is_ascii_digit());
        let key_freqs = self.key_freqs.as_deref().map(|text| match is_list(text) {
            true => format!("measure.key_freqs=[{}]", text.trim_matches(['[', ']'])),
            false => format!("measure.key_freqs={text:?}"),
        });
        self.sets.iter().cloned().chain(key_freqs).collect()
    }
}

/// Measures, and prints the files.
///
/// # Errors
/// Those of the run, the names and the range; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let path = find_run(&args.run)?;
    let interrupt = interrupt::flag()?;
    let _lock = RunFolder::open(&path)?;
    let series = RunSeries::open(&path, args.threads.count())?.with_options(&args.sets())?;
    let kept = in_range(series.steps(), args.from, args.to)?;
    if !args.force {
        refuse_loss(&path, &args.names, &kept)?;
    }
    let range = args.from..=args.to.unwrap_or(u64::MAX);
    let (_, files) = stages::measure((&series, &path), &args.names, range, (&interrupt, false), output)?;
    output.print(&lines(&files))?;
    Ok(Answer::Yes)
}

/// The checkpoints from step `from` to step `to`.
///
/// # Errors
/// [`Error::Value`] about the argument that leaves none.
fn in_range(steps: &[u64], from: u64, to: Option<u64>) -> Result<Vec<u64>> {
    let kept: Vec<u64> = steps.iter().copied().filter(|&step| from <= step && to.is_none_or(|to| step <= to)).collect();
    let (Some(first), Some(last), true) = (steps.first(), steps.last(), kept.is_empty()) else { return Ok(kept) };
    let wrong = |what: &str, got: String, expected: String| Error::Value { what: what.into(), got, expected };
    let has = format!("the run has checkpoints from step {first} to {last}");
    Err(match to {
        Some(to) if to < from => wrong("--from", from.to_string(), format!("at most --to, which is {to}")),
        _ if from > *last => wrong("--from", from.to_string(), format!("at most {last}; {has}")),
        Some(to) if to < *first => wrong("--to", to.to_string(), format!("at least {first}; {has}")),
        _ => {
            let (before, after) = (steps.iter().rfind(|&&step| step < from), steps.iter().find(|&&step| step > from));
            let near = [before, after].into_iter().flatten().map(u64::to_string).collect::<Vec<_>>().join(" and ");
            let range = format!("{from} to {}", to.unwrap_or(*last));
            wrong("the range of steps", range, format!("one with a checkpoint in it; the nearest are {near}"))
        }
    })
}

/// One path a line.
pub fn lines(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n")
}

/// An error when a file that is there has checkpoints that `steps` lacks.
fn refuse_loss(run: &Path, names: &[String], steps: &[u64]) -> Result<()> {
    let measured = file::measured(run).into_iter();
    for name in measured.filter(|name| names.is_empty() || names.iter().any(|asked| asked == name)) {
        // A damaged file is no loss.
        let Ok(series) = file::load(run, name) else { continue };
        let lost = series.iter().flat_map(|series| &series.steps).find(|step| steps.binary_search(step).is_err());
        if let Some(step) = lost {
            let hint = format!("it has step {step}, which is not asked for now; --force replaces it");
            return Err(Error::Exists { path: file::path(run, name), hint });
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_a_checkpoint_is_told_by_its_argument() {
        let steps = [0, 4, 8];
        assert_eq!(in_range(&steps, 0, None).unwrap(), steps);
        assert_eq!(in_range(&steps, 4, Some(7)).unwrap(), [4]);
        for (from, to, told) in [
            (100, None, "--from is 100; it must be at most 8; the run has checkpoints from step 0 to 8"),
            (7, Some(5), "--from is 7; it must be at most --to, which is 5"),
            (
                5,
                Some(7),
                "the range of steps is 5 to 7; it must be one with a checkpoint in it; the nearest are 4 and 8",
            ),
        ] {
            assert_eq!(in_range(&steps, from, to).unwrap_err().to_string(), told);
        }
        let told = in_range(&[4, 8], 0, Some(3)).unwrap_err().to_string();
        assert_eq!(told, "--to is 3; it must be at least 4; the run has checkpoints from step 4 to 8");
    }
}
