//! What `run` does in order, and `measure`, `figure` and `show` one at a time: measure, sum up, draw.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use phaselab::checkpoint::{FIGURES, SUMMARY, atomic};
use phaselab::error::{Error, Result};
use phaselab::figure::animation::animate;
use phaselab::figure::{self, At, Figure, FigureInput};
use phaselab::forward::RunSeries;
use phaselab::measure::{Series, SnapshotSource, file};
use phaselab::transition::{Curve, Curves, ReplicaPhases, SummaryRow, write_summary};

use super::output::Output;
use super::progress::Meter;

/// Measures `names` (all that fit the run when empty) and saves them; gives the series and the files. `resumes`: whether the
/// command goes on with --resume when it is interrupted.
///
/// # Errors
/// A measure that is not there or does not fit, damaged files, [`Error::Interrupted`].
pub fn measure(
    run: (&RunSeries, &Path),
    names: &[String],
    steps: RangeInclusive<u64>,
    (interrupt, resumes): (&AtomicBool, bool),
    output: &Output,
) -> Result<(Vec<Series>, Vec<PathBuf>)> {
    let (series, folder) = run;
    let fitting = series.fitting_measures();
    let names: Vec<&str> = if names.is_empty() { fitting } else { names.iter().map(String::as_str).collect() };
    let mut meter = Meter::new(output, "checkpoints");
    let mut last = *steps.start();
    let all = series.steps().iter().filter(|step| steps.contains(step)).copied().collect::<Vec<_>>();
    let measured = series.measure(&names, steps, &mut |done, of| {
        last = all.get(done.saturating_sub(1)).copied().unwrap_or(last);
        meter.at(done as u64, of as u64, String::new);
        match interrupt.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted { step: last, path: folder.to_path_buf(), resumes }),
            false => Ok(()),
        }
    })?;
    drop(meter);
    if let Some(how) = measured.iter().find_map(|series| series.key_freqs.as_deref()) {
        output.note(&format!("key frequencies {how}"));
    }
    let files = file::save(folder, &measured)?;
    Ok((measured, files))
}

/// Every series that a run folder has: those of its measures, and its metrics.
///
/// # Errors
/// Damaged files.
pub fn load_series(run: &RunSeries, folder: &Path) -> Result<Vec<Series>> {
    let measured = file::measured(folder).into_iter().map(|name| file::load(folder, name));
    let mut series: Vec<Series> = measured.collect::<Result<Vec<_>>>()?.concat();
    series.extend(run.metrics()?);
    Ok(series)
}

/// One row a replica: its phases, key frequencies and last losses.
///
/// Accuracies come from the evaluations of training, which are denser than checkpoints. Losses come from the measure,
/// whose points are checkpoints as the rule of the phases wants them; from the evaluations where it was not taken.
///
/// # Errors
/// Damaged files.
pub fn sum_up(run: &RunSeries, series: &[Series]) -> Result<Vec<SummaryRow>> {
    let (non_finite, seeds) = (run.non_finite()?, run.seeds());
    let metrics = |column: &str, r: usize| {
        let found = series.iter().find(|series| series.measure == "metrics" && series.column == column);
        found.map(|series| Curve::new(&series.steps, &series.curve(r))).unwrap_or_default()
    };
    let row = |(r, &seed): (usize, &u64)| {
        let measured = Curves::from_series(series, r);
        let or_metrics = |curve: &Curve, column: &str| match curve.points().next() {
            Some(_) => curve.clone(),
            None => metrics(column, r),
        };
        let curves = Curves {
            seed,
            non_finite: non_finite.get(r).is_some_and(Option::is_some),
            train_acc_frac: metrics("train_acc_frac", r),
            test_acc_frac: metrics("test_acc_frac", r),
            train_loss_nats: or_metrics(&measured.train_loss_nats, "train_loss_nats"),
            test_loss_nats: or_metrics(&measured.test_loss_nats, "test_loss_nats"),
            ..measured
        };
        SummaryRow::new(&curves, key_freqs(series, r))
    };
    Ok(seeds.iter().enumerate().map(row).collect())
}

/// Key frequencies of replica index `r` by rule `w_l`, at the last checkpoint that was measured.
fn key_freqs(series: &[Series], r: usize) -> Vec<usize> {
    let is_key = series.iter().find(|series| series.measure == "key_freqs_w_l" && series.column == "is_key");
    let Some((series, axis)) = is_key.and_then(|series| Some((series, series.axis.as_ref()?))) else { return vec![] };
    let Some(last) = series.steps.len().checked_sub(1) else { return vec![] };
    let keys = axis.ticks.iter().zip(series.at(last, r)).filter(|(_, is_key)| **is_key == 1.0);
    keys.map(|(&freq, _)| freq as usize).collect()
}

/// Writes `summary.csv`.
///
/// # Errors
/// [`Error::Io`].
pub fn save_summary(folder: &Path, rows: &[SummaryRow]) -> Result<()> {
    let path = folder.join(SUMMARY);
    atomic::write(&path, true, |temporary| {
        let mut csv = vec![];
        write_summary(rows, &mut csv).map_err(Error::io("write", &path))?;
        std::fs::write(temporary, &csv).map_err(Error::io("write", &path))
    })
}

/// What figures become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// One picture.
    Still,
    /// One for each checkpoint.
    Animated,
}

/// Draws `names`, or the spec's, or every figure that has all that it reads; gives the files that were drawn, and the errors of
/// those that could not be.
pub fn draw(
    run: &RunSeries,
    (names, at, how): (&[String], At, How),
    (series, rows): (&[Series], &[SummaryRow]),
    folder: &Path,
) -> (Vec<PathBuf>, Vec<Error>) {
    let phases: Vec<ReplicaPhases> = rows.iter().map(|row| row.phases.clone()).collect();
    let spec = run.spec();
    let input = FigureInput { title: &spec.title, series, phases: &phases, probe: Some(run), at };
    let given = names;
    let names = if given.is_empty() { &spec.figure.names } else { given };
    let all = || figure::ALL.iter().copied().filter(|figure| input.has_all_of(*figure)).map(Ok);
    let asked = || names.iter().map(|name| figure::find(name));
    let mut chosen: Vec<Result<&dyn Figure>> = if names.is_empty() { all().collect() } else { asked().collect() };
    let folder = folder.join(FIGURES);
    if how == How::Animated && given.is_empty() {
        chosen.retain(|figure| figure.as_ref().is_ok_and(|figure| !figure.shows_all_training()));
        if chosen.is_empty() {
            chosen.push(Err(Error::Value {
                what: "the figures to animate".into(),
                got: "none of a single checkpoint".into(),
                expected: "names of such, after the run's; `phaselab list figures` has them".into(),
            }));
        }
    }
    let (mut files, mut errors) = (vec![], vec![]);
    for figure in chosen {
        let draw = |figure| match how {
            How::Still => figure::draw(figure, &input, &folder),
            How::Animated => animate(figure, &input, run.steps(), &folder),
        };
        match figure.and_then(draw) {
            Ok(drawn) => files.extend(drawn),
            Err(e) => errors.push(e),
        }
    }
    (files, errors)
}
