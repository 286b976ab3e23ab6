//! Measures over a range of checkpoints and all replicas.
//!
//! Reads snapshots (leading replica axis) and one forward pass a replica and checkpoint, at the hooks that the measures name;
//! writes [`Series`] of shape
//! `[steps, seeds, width]`. Memory is bounded by a few checkpoints' parameters and one replica's activations a worker. Each
//! value is computed by one worker in a fixed order, so that the number of threads changes no bit.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::{Error, Result};
use crate::measure::subject::{Forward, Setting, Shared, SnapshotSource, Subject};
use crate::measure::{Measure, Series, find, key_freqs};
use crate::spec::{KeyFreqsAt, KeyFreqsBy, KeyRule};
use crate::tensor::{Data, Tensor};

/// The numbers of every measure on one replica at one checkpoint: `[measure][column][tick]`.
type Row = Vec<Vec<Vec<f64>>>;

/// Takes the measures `names` over the checkpoints of `source` whose step lies in `range`.
///
/// All measures on one replica at one checkpoint share one forward pass; without a measure that reads activations there
/// is none. Key frequencies are those that [`Setting::options`] say. After each batch of checkpoints `progress` gets
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
    let hooks = needed_hooks(&measures, setting);
    let keyless = Job { measures: &measures, hooks: &hooks, source, setting, forward, keys: &Keys::None };
    let keys = keyless.keys(last)?;
    let job = Job { keys: &keys, ..keyless };

    let mut series = empty_series(&measures, setting, &steps, source.seeds());
    // Enough checkpoints at a time that every thread has a replica.
    let batch = rayon::current_num_threads().div_ceil(n_seeds.max(1)).max(1);
    let mut done = 0;
    for batch_steps in steps.chunks(batch) {
        for row in job.run(batch_steps)? {
            let values = row.into_iter().flatten();
            series.iter_mut().zip(values).for_each(|(series, values)| series.values_srw.extend(values));
        }
        done += batch_steps.len();
        progress(done, steps.len())?;
    }
    Ok(series)
}

/// Where each subject's key frequencies come from.
enum Keys {
    /// No measure uses them.
    None,
    /// `[seeds]` the same at every checkpoint.
    Last(Vec<Vec<usize>>),
    /// Each checkpoint's own.
    Each(KeyRule),
}

/// What every worker needs.
struct Job<'a> {
    measures: &'a [&'static dyn Measure],
    /// What the measures read, each once.
    hooks: &'a [Hook],
    source: &'a dyn SnapshotSource,
    setting: &'a Setting<'a>,
    forward: &'a dyn Forward,
    keys: &'a Keys,
}

impl Job<'_> {
    /// All replicas of some checkpoints; rows in order of (step, replica).
    fn run(&self, steps: &[u64]) -> Result<Vec<Row>> {
        let params_s = steps.iter().map(|&step| self.source.params(step)).collect::<Result<Vec<_>>>()?;
        let (n_seeds, eyes) = (self.source.seeds().len(), self.eyes());
        let Job { measures, hooks, keys, .. } = *self;
        let row = |sr: usize| {
            let (s, r) = (sr / n_seeds, sr % n_seeds);
            eyes.with_subject((&params_s[s], r), hooks, |subject| {
                let own = match keys {
                    Keys::Each(rule) => rule.freqs(subject)?,
                    Keys::Last(key_freqs) => key_freqs[r].clone(),
                    Keys::None => vec![],
                };
                eval(measures, &Subject { key_freqs: &own, ..*subject })
            })
        };
        (0..steps.len() * n_seeds).into_par_iter().map(row).collect()
    }

    /// The key frequencies as the options say, those of the last checkpoint where it says so.
    fn keys(&self, last: u64) -> Result<Keys> {
        let options = &self.setting.options;
        let n_seeds = self.source.seeds().len();
        if !self.measures.iter().any(|measure| measure.uses_key_freqs()) {
            return Ok(Keys::None);
        }
        match (&options.key_freqs, options.key_freqs_at) {
            (KeyFreqsBy::List(list), _) => Ok(Keys::Last(vec![list.clone(); n_seeds])),
            (&KeyFreqsBy::Rule(rule), KeyFreqsAt::Each) => Ok(Keys::Each(rule)),
            (&KeyFreqsBy::Rule(rule), KeyFreqsAt::Last) => {
                let (params_r, hooks) = (self.source.params(last)?, rule.hooks(self.setting));
                let eyes = self.eyes();
                let of = |r: usize| eyes.with_subject((&params_r, r), &hooks, |subject| rule.freqs(subject));
                Ok(Keys::Last((0..n_seeds).into_par_iter().map(of).collect::<Result<_>>()?))
            }
        }
    }

    fn eyes(&self) -> Eyes<'_> {
        Eyes { setting: self.setting, forward: self.forward, mask_rn: self.source.train_mask_rn() }
    }
}

/// What makes a subject of parameters; workers share it.
#[derive(Clone, Copy)]
struct Eyes<'a> {
    setting: &'a Setting<'a>,
    forward: &'a dyn Forward,
    mask_rn: &'a [bool],
}

impl Eyes<'_> {
    /// Runs the model at `hooks` for replica `r` of the parameters, and hands on what measures read.
    fn with_subject<T>(
        &self,
        (params_r, r): (&[Tensor], usize),
        hooks: &[Hook],
        then: impl FnOnce(&Subject) -> Result<T>,
    ) -> Result<T> {
        let n = self.setting.examples.n_examples;
        let params = replica(params_r, r)?;
        let observed = if hooks.is_empty() { vec![] } else { self.forward.observe(&params, hooks)? };
        let activations: Vec<(Hook, Tensor)> = hooks.iter().cloned().zip(observed).collect();
        let mut subject = Subject {
            setting: self.setting,
            train_mask: &self.mask_rn[r * n..(r + 1) * n],
            params: &params,
            logits: &[],
            activations: &activations,
            model: self.forward,
            key_freqs: &[],
            shared: &Shared::default(),
        };
        if let Ok(logits) = subject.activation(&Hook::value(LOSS_LOGITS)) {
            subject.logits = logits.values;
        }
        then(&subject)
    }
}

/// Every measure on one subject, each result checked against its columns.
fn eval(measures: &[&'static dyn Measure], subject: &Subject) -> Result<Row> {
    let examples = &subject.setting.examples;
    if !subject.logits.is_empty() {
        expect_len("logits", subject.logits.len(), examples.targets.len() * examples.n_classes)?;
    }
    let row: Row = measures.iter().map(|measure| measure.eval(subject)).collect::<Result<_>>()?;
    for (measure, columns) in measures.iter().zip(&row) {
        let widths = measure.columns(subject.setting).iter().map(super::Column::width).collect::<Vec<_>>();
        assert!(
            columns.iter().map(Vec::len).eq(widths),
            "invariant: {} gives as many numbers as its columns say",
            measure.name()
        );
    }
    Ok(row)
}

/// What the measures read, each hook once, in the order in which they name it; then what key frequencies are read from.
fn needed_hooks(measures: &[&dyn Measure], setting: &Setting) -> Vec<Hook> {
    let of_keys = match (&setting.options.key_freqs, setting.options.key_freqs_at) {
        (KeyFreqsBy::Rule(rule), KeyFreqsAt::Each) if measures.iter().any(|measure| measure.uses_key_freqs()) => {
            rule.hooks(setting)
        }
        _ => vec![],
    };
    let mut hooks: Vec<Hook> = vec![];
    for hook in measures.iter().flat_map(|measure| measure.needs_hooks(setting)).chain(of_keys) {
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

fn empty_series(measures: &[&dyn Measure], setting: &Setting, steps: &[u64], seeds: &[u64]) -> Vec<Series> {
    let mut all = vec![];
    for measure in measures {
        let key_freqs = measure.uses_key_freqs().then(|| key_freqs::describe(&setting.options));
        all.extend(measure.columns(setting).into_iter().map(|column| Series {
            measure: measure.name().into(),
            values_srw: Vec::with_capacity(steps.len() * seeds.len() * column.width()),
            column: column.name,
            unit: column.unit.into(),
            key_freqs: key_freqs.clone(),
            steps: steps.to_vec(),
            seeds: seeds.to_vec(),
            axis: column.axis,
        }));
    }
    all
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
