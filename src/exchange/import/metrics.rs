//! Losses and accuracies of an imported run: those of the files, and our own evaluations of every checkpoint for the rest.

use std::collections::BTreeMap;

use super::ImportOptions;
use super::series::Replica;
use crate::error::Result;
use crate::forward::RunSeries;
use crate::measure::Series;
use crate::tensor::Tensor;
use crate::train::{Metrics, metrics_columns};

/// Rows of `metrics/…`: every step with a loss in a file or a checkpoint; no value is NaN.
///
/// # Errors
/// Those of measuring.
pub fn metrics(
    run: &RunSeries,
    replicas: &[Replica],
    options: &ImportOptions<'_>,
    note: &mut dyn FnMut(&str),
) -> Result<Vec<Tensor>> {
    let measured = run.measure(&["loss"], 0..=u64::MAX, &mut |_, _| Ok(()))?;
    let last_checkpoint = run.steps().last().copied().unwrap_or_default();
    let mut columns: Vec<BTreeMap<u64, Vec<f64>>> = vec![];
    let loss = run.spec().loss.kind;
    for (at, (column, _)) in metrics_columns(loss).into_iter().enumerate() {
        let ours = measured.iter().find(|series| series.column == column);
        let mut rows: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (r, replica) in replicas.iter().enumerate() {
            let given = replica.metrics[at].as_deref().unwrap_or_default();
            if let (Some(ours), false) = (ours, given.is_empty()) {
                compare(column, given, ours, r, options, note);
            }
            let mut put = |step: u64, value: f64| {
                let row = rows.entry(step).or_insert_with(|| vec![f64::NAN; replicas.len()]);
                if row[r].is_nan() {
                    row[r] = value;
                }
            };
            given.iter().for_each(|&(step, value)| put(step, value));
            // Where the file has a column, its own numbers are not mixed with ours, but at the last checkpoint.
            let own = ours.into_iter().flat_map(|ours| ours.steps.iter().copied().zip(ours.curve(r)));
            own.filter(|(step, _)| given.is_empty() || *step == last_checkpoint)
                .for_each(|(step, value)| put(step, value));
        }
        columns.push(rows);
    }
    // A last row without a training loss would read as a replica that met a non-finite value.
    let end = columns[0].keys().next_back().copied().unwrap_or(last_checkpoint);
    let mut steps: Vec<u64> =
        columns.iter().flat_map(|rows| rows.keys().copied()).filter(|step| *step <= end).collect();
    steps.sort_unstable();
    steps.dedup();
    let missing = vec![f64::NAN; replicas.len()];
    let fill = |rows: &BTreeMap<u64, Vec<f64>>| {
        steps.iter().flat_map(|step| rows.get(step).unwrap_or(&missing).clone()).collect()
    };
    let columns = [0, 1, 2, 3].map(|at: usize| fill(&columns[at]));
    Ok(Metrics { loss, steps, columns, terms: vec![] }.to_tensors(replicas.len()))
}

/// Says how far the file's numbers are from ours at the steps that have both: a wrong layout or split shows here.
fn compare(
    column: &str,
    given: &[(u64, f64)],
    ours: &Series,
    r: usize,
    options: &ImportOptions<'_>,
    note: &mut dyn FnMut(&str),
) {
    let ours: Vec<(u64, f64)> = ours.steps.iter().copied().zip(ours.curve(r)).collect();
    let apart = |shift: u64| {
        let pairs = ours.iter().filter_map(|&(step, own)| {
            let at = given.binary_search_by_key(&step.checked_add(shift)?, |row| row.0).ok()?;
            Some((own - given[at].1).abs()).filter(|d| d.is_finite())
        });
        let pairs: Vec<f64> = pairs.collect();
        (pairs.len(), pairs.iter().copied().fold(0.0, f64::max))
    };
    let (n, most) = apart(0);
    if n > 0 {
        note(&format!("{column}: the file's and ours differ by at most {most:.1e}, of {n} compared"));
    }
    let (next_n, next) = apart(1);
    if next_n > 1 && n > 1 && next < 0.1 * most && most > 1e-4 {
        let shift = options.shift + 1;
        note(&format!(
            "{column}: one step later they differ by {next:.1e} only: the checkpoint of a step seems to be taken after its update; \
             --shift {shift} counts updates as phaselab does"
        ));
    }
}
