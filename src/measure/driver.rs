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
use crate::measure::gather::{Row, Table};
use crate::measure::subject::{Forward, Setting, Shared, SnapshotSource, Subject};
use crate::measure::{Column, Measure, Series, fitting};
use crate::spec::{KeyFreqsAt, KeyFreqsBy, KeyRule};
use crate::tensor::{Data, Tensor};

/// Takes the measures `names` over the checkpoints of `source` whose step lies in `range`.
///
/// All measures on one replica at one checkpoint share one forward pass; without a measure that reads activations there
/// is none. Key frequencies are those that [`Setting::options`] say. After each batch of checkpoints `progress` gets
/// how many are done, and of how many; an error from it stops the work and is passed on.
///
/// # Shapes
/// One series a column, in the order of `names`, each name once, `[steps in range, seeds, width]`.
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
    let once = names.iter().enumerate().filter(|(i, name)| !names[..*i].contains(name));
    let measures = once.map(|(_, name)| fitting(name, setting)).collect::<Result<Vec<_>>>()?;
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
    let keyless = Job { source, setting, forward, keys: &Keys::None };
    let keys = match measures.iter().any(|measure| measure.uses_key_freqs()) {
        true => keyless.keys(last)?,
        false => Keys::None,
    };
    let job = Job { keys: &keys, ..keyless };
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

/// Where each subject's key frequencies come from.
enum Keys {
    /// No measure uses them.
    None,
    /// `[seeds]` the same at every checkpoint; nothing for a replica of which the rule reads numbers that are not finite.
    Last(Vec<Option<Vec<usize>>>),
    /// Each checkpoint's own.
    Each(KeyRule),
}

/// What every worker needs.
struct Job<'a> {
    source: &'a dyn SnapshotSource,
    setting: &'a Setting<'a>,
    forward: &'a dyn Forward,
    keys: &'a Keys,
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
        let (keys, eyes) = (self.keys, self.eyes());
        let row = |sr: usize| {
            let (s, r) = (sr / replicas.len(), replicas.start + sr % replicas.len());
            let Asked { which, measures, hooks } = &asked_s[s];
            eyes.with_subject((&params_s[s], r), hooks, |subject| {
                let own = match keys {
                    Keys::Each(rule) => rule.freqs(subject)?,
                    Keys::Last(key_freqs) => key_freqs[r].clone(),
                    Keys::None => Some(vec![]),
                };
                let numbers = eval(measures, subject, own.as_deref())?;
                Ok((steps[s], r, which.iter().copied().zip(numbers).collect()))
            })
        };
        (0..steps.len() * replicas.len()).into_par_iter().map(row).collect()
    }

    /// The key frequencies as the options say, those of the last checkpoint where it says so.
    fn keys(&self, last: u64) -> Result<Keys> {
        let options = &self.setting.options;
        let n_seeds = self.source.seeds().len();
        match (&options.key_freqs, options.key_freqs_at) {
            (KeyFreqsBy::List(list), _) => Ok(Keys::Last(vec![Some(list.clone()); n_seeds])),
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
            replica: r,
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

/// Every measure on one subject, each result checked against its columns; no number from a measure that uses key frequencies where
/// there are none.
fn eval(measures: &[&dyn Measure], subject: &Subject, key_freqs: Option<&[usize]>) -> Result<Vec<Vec<Vec<f64>>>> {
    let subject = &Subject { key_freqs: key_freqs.unwrap_or_default(), ..*subject };
    let examples = &subject.setting.examples;
    if !subject.logits.is_empty() {
        expect_len("logits", subject.logits.len(), examples.n_examples * examples.n_positions() * examples.n_classes)?;
    }
    let numbers = |measure: &&dyn Measure| match measure.uses_key_freqs() && key_freqs.is_none() {
        true => Ok(measure.columns(subject.setting).iter().map(|column| vec![f64::NAN; column.width()]).collect()),
        false => measure.eval(subject),
    };
    let row: Vec<Vec<Vec<f64>>> = measures.iter().map(numbers).collect::<Result<_>>()?;
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
