//! Measures over a range of checkpoints and all replicas.
//!
//! Reads snapshots (leading replica axis) and one forward pass a replica and checkpoint, at the hooks that the measures name;
//! writes [`Series`] of shape `[steps, seeds, width]`. Memory is bounded by a few checkpoints' parameters, one replica's
//! activations a worker, and, for measures of the whole course, [`MEMORY_BYTES`] of points: replicas beyond go in another
//! round over the snapshots. Each value is computed by one worker in a fixed order, so that the number of threads changes no
//! bit.

use std::ops::{Range, RangeInclusive};

use rayon::prelude::*;

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::{Error, Result};
use crate::measure::course::{MEMORY_BYTES, Scope};
use crate::measure::subject::{Forward, Setting, SnapshotSource, Subject};
use crate::measure::{Column, KeyFreqs, Measure, Series, find};
use crate::tensor::{Data, Tensor};

/// The numbers of some measures, by index, on one replica at one checkpoint: `[column][tick]` each.
type Row = Vec<(usize, Vec<Vec<f64>>)>;

/// Takes the measures `names` over the checkpoints of `source` whose step lies in `range`.
///
/// All measures on one replica at one checkpoint share one forward pass; without a measure that reads activations there
/// is none. Key frequencies are those of the last checkpoint in the range. After each batch of checkpoints `progress` gets
/// how many are done, and of how many; an error from it stops the work and is passed on.
///
/// # Shapes
/// One series a column, in the order of `names`, `[steps in range, seeds, width]`.
///
/// # Errors
/// [`Error::Unknown`] for a name that is not in the registry, [`Error::Value`] for a measure that does not fit or a range
/// without checkpoints, [`Error::Shape`] when masks, logits or parameters have the wrong size; errors of `source`,
/// `forward` and `progress`.
pub fn measure(
    names: &[&str],
    source: &dyn SnapshotSource,
    setting: &Setting,
    forward: &dyn Forward,
    range: RangeInclusive<u64>,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Series>> {
    let measures = names.iter().map(|name| fitting(name, setting)).collect::<Result<Vec<_>>>()?;
    let steps: Vec<u64> = source.steps().iter().copied().filter(|step| range.contains(step)).collect();
    let Some(&last) = steps.last() else {
        return Err(Error::Value {
            what: "the range of checkpoints".into(),
            got: format!("{}..={}", range.start(), range.end()),
            expected: "one with a checkpoint in it".into(),
        });
    };
    let n_seeds = source.seeds().len();
    expect_len("train mask", source.train_mask_rn().len(), n_seeds * setting.examples.n_examples)?;
    let params_rs = source.params(last)?;
    let key_freqs =
        (0..n_seeds).map(|r| KeyFreqs::of(&replica(&params_rs, r)?, setting)).collect::<Result<Vec<_>>>()?;
    let job = Job { source, setting, forward, key_freqs: &key_freqs };
    let mut table = Table::new(&measures, setting, &steps, source.seeds());
    let everywhere = measures.iter().filter(|measure| !matches!(measure.scope(), Scope::Last)).count();
    let visited = if everywhere == 0 { &steps[steps.len() - 1..] } else { &steps[..] };
    let rounds: Vec<Range<usize>> = rounds(&measures, setting, steps.len(), n_seeds);
    let (mut done, of) = (0, visited.len() * rounds.len());
    for replicas in rounds {
        // Enough checkpoints at a time that every thread has a replica.
        let batch = rayon::current_num_threads().div_ceil(replicas.len()).max(1);
        for batch_steps in visited.chunks(batch) {
            let rows = job.run(batch_steps, &replicas, |step| asked(&measures, setting, step == last))?;
            for (step, r, row) in rows {
                table.place(step, r, row);
            }
            done += batch_steps.len();
            progress(done, of)?;
        }
        table.finish_courses(&replicas);
    }
    Ok(table.series())
}

/// Groups of replicas of which all points of courses are held at a time.
fn rounds(measures: &[&dyn Measure], setting: &Setting, n_steps: usize, n_seeds: usize) -> Vec<Range<usize>> {
    let point_len = |measure: &&dyn Measure| match measure.scope() {
        Scope::Course(course) => course.point_len(setting),
        _ => 0,
    };
    let bytes = measures.iter().map(point_len).sum::<usize>() * n_steps * size_of::<f64>();
    let at_once = MEMORY_BYTES.checked_div(bytes).unwrap_or(n_seeds).clamp(1, n_seeds.max(1));
    (0..n_seeds).step_by(at_once).map(|first| first..(first + at_once).min(n_seeds)).collect()
}

/// What is evaluated at a checkpoint.
struct Asked<'a> {
    /// Indices into the measures that the caller named.
    which: Vec<usize>,
    measures: Vec<&'a dyn Measure>,
    /// What they read, each once.
    hooks: Vec<Hook>,
}

fn asked<'a>(measures: &[&'a dyn Measure], setting: &Setting, is_last: bool) -> Asked<'a> {
    let here = |&i: &usize| is_last || !matches!(measures[i].scope(), Scope::Last);
    let which: Vec<usize> = (0..measures.len()).filter(here).collect();
    let measures: Vec<&dyn Measure> = which.iter().map(|&i| measures[i]).collect();
    let hooks = needed_hooks(&measures, setting);
    Asked { which, measures, hooks }
}

/// What every worker needs.
struct Job<'a> {
    source: &'a dyn SnapshotSource,
    setting: &'a Setting<'a>,
    forward: &'a dyn Forward,
    key_freqs: &'a [KeyFreqs],
}

impl Job<'_> {
    /// Some replicas at some checkpoints, in order of (step, replica).
    fn run<'m>(
        &self,
        steps: &[u64],
        replicas: &Range<usize>,
        asked: impl Fn(u64) -> Asked<'m>,
    ) -> Result<Vec<(u64, usize, Row)>> {
        let params_s = steps.iter().map(|&step| self.source.params(step)).collect::<Result<Vec<_>>>()?;
        let asked_s: Vec<Asked> = steps.iter().map(|&step| asked(step)).collect();
        let mask_rn = self.source.train_mask_rn();
        let Job { setting, forward, key_freqs, .. } = *self;
        (0..steps.len() * replicas.len())
            .into_par_iter()
            .map(|sr| {
                let (s, r) = (sr / replicas.len(), replicas.start + sr % replicas.len());
                let n = setting.examples.n_examples;
                let params = replica(&params_s[s], r)?;
                let Asked { which, measures, hooks } = &asked_s[s];
                let observed = match hooks.is_empty() {
                    true => vec![],
                    false => forward.observe(&params, hooks)?,
                };
                let activations: Vec<(Hook, Tensor)> = hooks.iter().cloned().zip(observed).collect();
                let train_mask = &mask_rn[r * n..(r + 1) * n];
                let mut subject = Subject {
                    setting,
                    train_mask,
                    params: &params,
                    logits: &[],
                    activations: &activations,
                    model: forward,
                    key_freqs: &key_freqs[r],
                };
                if let Ok(logits) = subject.activation(&Hook::value(LOSS_LOGITS)) {
                    subject.logits = logits.values;
                }
                let row = which.iter().copied().zip(eval(measures, &subject)?).collect();
                Ok((steps[s], r, row))
            })
            .collect()
    }
}

/// Every measure on one subject, each result checked against its columns.
fn eval(measures: &[&dyn Measure], subject: &Subject) -> Result<Vec<Vec<Vec<f64>>>> {
    let examples = &subject.setting.examples;
    if !subject.logits.is_empty() {
        expect_len("logits", subject.logits.len(), examples.targets.len() * examples.n_classes)?;
    }
    let row: Vec<Vec<Vec<f64>>> = measures.iter().map(|measure| measure.eval(subject)).collect::<Result<_>>()?;
    for (measure, columns) in measures.iter().zip(&row) {
        let widths = match measure.scope() {
            Scope::Course(course) => vec![course.point_len(subject.setting)],
            _ => measure.columns(subject.setting).iter().map(Column::width).collect(),
        };
        assert!(
            columns.iter().map(Vec::len).eq(widths),
            "invariant: {} gives as many numbers as its columns say",
            measure.name()
        );
    }
    Ok(row)
}

/// What the measures read, each hook once, in the order in which they name it.
fn needed_hooks(measures: &[&dyn Measure], setting: &Setting) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = vec![];
    for hook in measures.iter().flat_map(|measure| measure.needs_hooks(setting)) {
        if !hooks.contains(&hook) {
            hooks.push(hook);
        }
    }
    hooks
}

fn fitting(name: &str, setting: &Setting) -> Result<&'static dyn Measure> {
    let measure = find(name)?;
    measure.fits(setting).map_err(|reason| Error::Value {
        what: "measure".into(),
        got: format!("{name}, but {reason}"),
        expected: "one that fits the task and the model".into(),
    })?;
    Ok(measure)
}

/// All numbers so far.
struct Table<'a> {
    measures: &'a [&'a dyn Measure],
    steps: &'a [u64],
    /// `[measure][column]`
    series: Vec<Vec<Series>>,
    /// `[measure][replica][step]` points of the course, while its replica is at work.
    points: Vec<Vec<Vec<Vec<f64>>>>,
}

impl<'a> Table<'a> {
    fn new(measures: &'a [&'a dyn Measure], setting: &Setting, steps: &'a [u64], seeds: &[u64]) -> Table<'a> {
        let series = |measure: &&dyn Measure| {
            let steps = if matches!(measure.scope(), Scope::Last) { &steps[steps.len() - 1..] } else { steps };
            let of = |column: Column| Series {
                measure: measure.name().into(),
                values_srw: vec![f64::NAN; steps.len() * seeds.len() * column.width()],
                column: column.name,
                unit: column.unit.into(),
                steps: steps.to_vec(),
                seeds: seeds.to_vec(),
                axis: column.axis,
            };
            measure.columns(setting).into_iter().map(of).collect()
        };
        let points = measures.iter().map(|_| vec![vec![]; seeds.len()]).collect();
        Table { measures, steps, series: measures.iter().map(series).collect(), points }
    }

    fn place(&mut self, step: u64, r: usize, row: Row) {
        for (i, mut columns) in row {
            if let Scope::Course(_) = self.measures[i].scope() {
                self.points[i][r].push(columns.swap_remove(0));
            } else {
                let series = &mut self.series[i];
                let s = series[0].steps.iter().position(|&known| known == step);
                let s = s.expect("invariant: a measure is evaluated at its own steps alone");
                series.iter_mut().zip(&columns).for_each(|(series, values)| series.set(s, r, values));
            }
        }
    }

    /// Turns the points of `replicas` into columns, and lets them go.
    fn finish_courses(&mut self, replicas: &Range<usize>) {
        for (i, measure) in self.measures.iter().enumerate() {
            let Scope::Course(course) = measure.scope() else { continue };
            let traces: Vec<Vec<Vec<f64>>> =
                self.points[i][replicas.clone()].par_iter().map(|points| course.trace(points)).collect();
            for (r, columns) in replicas.clone().zip(traces) {
                for (series, values) in self.series[i].iter_mut().zip(columns) {
                    let width = series.width();
                    assert_eq!(
                        values.len(),
                        self.steps.len() * width,
                        "invariant: {} fills its columns",
                        measure.name()
                    );
                    (0..self.steps.len()).for_each(|s| series.set(s, r, &values[s * width..(s + 1) * width]));
                }
                self.points[i][r] = vec![];
            }
        }
    }

    fn series(self) -> Vec<Series> {
        self.series.into_iter().flatten().collect()
    }
}

/// One replica's parameters, in f64.
fn replica(params: &[Tensor], r: usize) -> Result<Vec<Tensor>> {
    params
        .iter()
        .map(|tensor| {
            let Tensor { name, shape, data } = tensor.row(r)?;
            let data = match data {
                Data::F64(values) => values,
                other => Tensor { name: String::new(), shape: vec![], data: other }.to_f64(),
            };
            Tensor::new(name, shape, Data::F64(data))
        })
        .collect()
}

fn expect_len(op: &str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::Shape { op: op.into(), expected: format!("{expected} numbers"), got: got.to_string() })
}
