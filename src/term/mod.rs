//! Terms of the training loss beside the loss itself: differentiable measures by name, and expressions.
//!
//! Reads `[[loss.terms]]` of a spec, the task, the model's parameters and the batches; writes [`Term`]s, which the engine adds
//! to the loss (see [`engine::terms`](crate::engine::terms)). [`ALL`] is the registry: a name there is the name in the spec, on
//! the command line and of the source file. The Fourier basis and the rules of key frequencies are those of
//! [`measure`](crate::measure).

mod excluded_train_loss;
mod explain;
mod expr;
mod fourier_ipr_w_e;
mod freq_norm_w_e;
mod gini_w_e;
mod off_freq_norm_w_e;
mod projection;
mod restricted_train_loss;
mod spectrum;

pub use explain::explain;
pub(crate) use expr::{LOGITS, parse_expr};

use crate::engine::{Batch, ParamInfo, ParamLayout, Term, TermKind};
use crate::error::{Error, Fault, Result, nearest};
use crate::loss::LossTerm;
use crate::measure::fourier::Basis;
use crate::measure::{self, Examples, Group, ParamShape, Setting, w_e, w_l};
use crate::outside;
use crate::spec::{KeyRule, LossKind, LossSpec, TermKeyRule, TermSpec};
use crate::task::{Op, Task};
use crate::tensor::Tensor;

/// A key frequency has at least this fraction of the largest norm: the default of `measure.key_frac`, which has no say here because
/// `[measure]` may change when a run continues.
const KEY_FRAC: f64 = 0.25;

/// A measure that has a gradient and so can be a term of the training loss.
pub trait DifferentiableMeasure: Sync {
    /// Registry name.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn summary(&self) -> &'static str;

    /// The whole definition, under the headings of [`Measure::explain`](crate::measure::Measure::explain).
    fn explain(&self) -> String;

    /// Unit of the value.
    fn unit(&self) -> &'static str {
        "1"
    }

    /// Whether frequencies are a parameter of it.
    fn takes_freqs(&self) -> bool {
        false
    }

    /// Whether the task, the model and the batches have what it is a function of.
    ///
    /// # Errors
    /// The reason why not, as a clause: `the task has no modulus`.
    fn fits(&self, place: &Place<'_>) -> Result<(), String>;

    /// The term, without frequencies as yet. Only called where it fits.
    fn build(&self, place: &Place<'_>, replicas: &Replicas<'_>) -> TermKind;
}

/// Every differentiable measure, in the order of help and lists.
pub const ALL: &[&dyn DifferentiableMeasure] = &[
    &restricted_train_loss::RestrictedTrainLoss,
    &excluded_train_loss::ExcludedTrainLoss,
    &gini_w_e::GiniWE,
    &fourier_ipr_w_e::FourierIprWE,
    &freq_norm_w_e::FreqNormWE,
    &off_freq_norm_w_e::OffFreqNormWE,
];

/// What terms are fitted to.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The task.
    pub task: &'a Task,
    /// The model's parameters.
    pub params: &'a ParamLayout,
    /// Examples a step; all training examples when unset.
    pub batch_size: Option<usize>,
}

/// Whom a term is built for.
#[derive(Debug, Clone, Copy)]
pub struct Replicas<'a> {
    /// How many.
    pub count: usize,
    /// What the first step reads: one batch a replica, or one for all.
    pub batches: &'a [Batch],
}

/// The measure of that name.
///
/// # Errors
/// [`Error::Unknown`], with all names.
pub fn find(name: &str) -> Result<&'static dyn DifferentiableMeasure> {
    ALL.iter().copied().find(|measure| measure.name() == name).ok_or_else(|| Error::Unknown {
        kind: "term",
        name: name.into(),
        known: ALL.iter().map(|measure| measure.name().to_owned()).collect(),
    })
}

/// All that is wrong with the terms of a loss at this place, beyond what the spec alone tells.
pub fn faults(loss: &LossSpec, place: &Place<'_>) -> Vec<Fault> {
    let mut found = vec![];
    for (i, term) in loss.terms.iter().enumerate() {
        let mut say = |key: &str, message: String| {
            found.push(Fault { line: None, key: format!("loss.terms[{i}].{key}"), message });
        };
        match (&term.measure, &term.expr, term.loss) {
            (Some(name), _, _) => measure_faults(name, term, place, &mut say),
            (None, Some(_), _) => {
                if let Err(why) = expr::fits(term, place) {
                    say("over", why);
                }
            }
            (None, None, Some(loss)) => {
                if let Err(why) = loss_fits(loss, place) {
                    say("loss", why);
                }
            }
            (None, None, None) => {}
        }
    }
    found
}

/// Whether the task has what a loss compares with, and the program has that loss.
fn loss_fits(loss: LossKind, place: &Place<'_>) -> std::result::Result<(), String> {
    if place.task.numbers.is_some() && loss != LossKind::Mse {
        return Err("must be `mse`: the targets are real numbers, and there are no classes".into());
    }
    match loss {
        LossKind::Outside(name) => outside::loss(&name)
            .map(drop)
            .map_err(|e| format!("no loss is named `{name}`; {}", e.hint().unwrap_or_default())),
        LossKind::CrossEntropy | LossKind::Mse => Ok(()),
    }
}

fn measure_faults(name: &str, term: &TermSpec, place: &Place<'_>, say: &mut dyn FnMut(&str, String)) {
    let Ok(measure) = find(name) else {
        let known: Vec<&str> = ALL.iter().map(|measure| measure.name()).collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        return say("measure", format!("no differentiable measure is named `{name}`; {hint}"));
    };
    if let Err(why) = measure.fits(place) {
        return say("measure", format!("`{name}` does not fit: {why}"));
    }
    match (measure.takes_freqs(), &term.freqs, term.freqs_at) {
        (true, None, None) => say(
            "measure",
            format!("`{name}` needs `freqs = [k, …]`, or `freqs_at = STEP` to take the key frequencies found there"),
        ),
        (true, Some(freqs), None) => freqs_faults(freqs, place, say),
        (true, None, Some(_)) => {
            if let Err(why) = KeyRule::from(term.freqs_rule).fits(&place.setting()) {
                say("freqs_rule", why);
            }
        }
        (false, Some(_), _) => say("freqs", format!("`{name}` has no frequencies; remove it")),
        (false, _, Some(_)) => say("freqs_at", format!("`{name}` has no frequencies; remove it")),
        _ => {}
    }
}

fn freqs_faults(freqs: &[usize], place: &Place<'_>, say: &mut dyn FnMut(&str, String)) {
    let highest = measure::freq_axis(&place.setting()).ticks.len();
    if let Some(bad) = freqs.iter().find(|k| !(1..=highest).contains(*k)) {
        say("freqs", format!("{bad} is no frequency of this task; it has 1 to {highest}"));
    } else if freqs.is_empty() || (1..freqs.len()).any(|i| freqs[..i].contains(&freqs[i])) {
        say("freqs", "must be one or more different frequencies".into());
    }
}

/// Which frequencies of the task's group are key by a rule, from 1: norm at least [`KEY_FRAC`] of the largest.
///
/// # Errors
/// None where the rule fits.
pub(crate) fn is_key(rule: TermKeyRule, params: &[Tensor], group: &Group) -> Result<Vec<bool>> {
    let rows = match rule {
        TermKeyRule::WE => w_e(params, group)?,
        TermKeyRule::WL => w_l(params, &group.residues)?,
    };
    let norms = Basis::new(group.order).freq_norms(&rows);
    Ok(measure::large(&norms, KEY_FRAC).unwrap_or_else(|| vec![false; norms.len()]))
}

impl From<TermKeyRule> for KeyRule {
    fn from(rule: TermKeyRule) -> KeyRule {
        match rule {
            TermKeyRule::WE => KeyRule::WE,
            TermKeyRule::WL => KeyRule::WL,
        }
    }
}

impl Place<'_> {
    /// What measures of parameters would see.
    fn setting(&self) -> Setting<'_> {
        let shape = |info: &ParamInfo| ParamShape { name: info.name.clone(), shape: info.shape.clone() };
        let params = self.params.infos.iter().map(shape).collect();
        Setting { params, ..Setting::new(Examples::from(self.task), &[]) }
    }
}

fn modulus(place: &Place<'_>) -> Result<usize, String> {
    place
        .task
        .modular
        .as_ref()
        .map(|m| m.p as usize)
        .filter(|&p| p >= 3)
        .ok_or_else(|| "the task has no modulus".into())
}

/// The task's group, where W_E has a row for each residue.
fn w_e_fits(place: &Place<'_>) -> Result<Group, String> {
    KeyRule::WE.fits(&place.setting())
}

/// Whether every step reads the whole training split of x + y or x − y.
fn whole_split_fits(place: &Place<'_>) -> Result<(), String> {
    modulus(place)?;
    if !place.task.modular.as_ref().is_some_and(|m| matches!(m.op(), Some(Op::Add | Op::Sub))) {
        return Err("the task is not x+y or x-y, whose answers are what the waves are functions of".into());
    }
    if place.task.loss_positions.len() != 1 {
        return Err(format!("the loss is on {} positions, not on one", place.task.loss_positions.len()));
    }
    match place.batch_size {
        None => Ok(()),
        Some(size) => Err(format!(
            "it projects over the whole training split, and train.batch_size = {size} shows a part; leave train.batch_size out"
        )),
    }
}

/// The terms of a loss, ready for a runner. Frequencies that are found during training are set when they are.
///
/// # Errors
/// [`Error::Spec`] with all of [`faults`].
pub fn build(loss: &LossSpec, place: &Place<'_>, replicas: &Replicas<'_>) -> Result<Vec<Term>> {
    let faults = faults(loss, place);
    if !faults.is_empty() {
        return Err(Error::Spec { path: "the spec".into(), faults });
    }
    loss.terms.iter().map(|term| build_one(term, loss.f64, place, replicas)).collect()
}

fn build_one(spec: &TermSpec, f64: bool, place: &Place<'_>, replicas: &Replicas<'_>) -> Result<Term> {
    let kind = match (&spec.measure, spec.loss) {
        (Some(name), _) => find(name)?.build(place, replicas),
        (None, Some(loss)) => TermKind::Loss(LossTerm::new(loss, f64)),
        (None, None) => expr::build(spec, place)?,
    };
    let from = spec.from_step.max(spec.freqs_at.unwrap_or(0));
    let steps = from..spec.to_step.unwrap_or(u64::MAX);
    let mut term = Term { name: spec.name(), weight: spec.weight, steps, kind };
    if let Some(freqs) = &spec.freqs {
        (0..replicas.count).for_each(|r| term.set_freqs(r, freqs));
    }
    Ok(term)
}

/// Unit of a term's value.
pub fn unit(spec: &TermSpec) -> &'static str {
    if spec.loss == Some(LossKind::CrossEntropy) {
        return "nats";
    }
    spec.measure.as_deref().and_then(|name| find(name).ok()).map_or("1", |measure| measure.unit())
}

#[cfg(test)]
mod tests;
