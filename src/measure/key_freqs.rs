//! Key frequencies: which waves a model uses, by four named rules or by hand.
//!
//! Reads W_E, W_L or the neurons' activations; writes frequencies, ascending. Source: arXiv 2301.05217, sections 3 to 5.

use crate::engine::Hook;
use crate::error::{Error, Result};
use crate::measure::fourier::{Basis, n_freqs};
use crate::measure::group::Group;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::{w_e, w_e_fits, w_l_fits};
use crate::measure::{Column, clusters, group};
use crate::spec::{KeyFreqsAt, KeyFreqsBy, KeyRule, MeasureSpec};
use crate::task::Task;

/// What `explain` says of the rules.
pub const RULES: &str = "\
  w_e       norm of the frequency in W_E at least a fraction (measure.key_frac, 0.25) of the largest
  w_e_norm  norm of its cos or of its sin component in W_E at least a number (measure.key_norm, 0.5)
  w_l       norm of the frequency in W_L = W_out W_U at least a fraction (measure.key_frac, 0.25) of the largest: the
            components of W_L that are not trivial (default)
  neurons   at least one neuron has it as its best frequency and is explained by it to at least a fraction
            (measure.cluster_frac, 0.85): the frequencies of the clusters of neuron_clusters";

impl KeyRule {
    /// The group, where the task and the model have what the rule reads.
    ///
    /// # Errors
    /// The reason why not, as a clause.
    pub fn fits(self, setting: &Setting) -> Result<Group, String> {
        match self {
            KeyRule::WE | KeyRule::WENorm => w_e_fits(setting),
            KeyRule::WL => w_l_fits(setting),
            KeyRule::Neurons => clusters::fits(setting),
        }
    }

    /// The activations that it reads.
    pub fn hooks(self, setting: &Setting) -> Vec<Hook> {
        match self {
            KeyRule::Neurons => clusters::hook(setting).into_iter().collect(),
            _ => vec![],
        }
    }

    /// Whether each frequency, from 1, is key; nothing when what the rule reads is not finite.
    ///
    /// # Errors
    /// [`crate::error::Error`] when the subject is not of its setting.
    pub fn is_key(self, subject: &Subject) -> Result<Option<Vec<bool>>> {
        let options = &subject.setting.options;
        let group = subject.group()?;
        let basis = Basis::new(group.order);
        Ok(match self {
            KeyRule::WE => large(&basis.freq_norms(&w_e(subject.params, &group)?), options.key_frac),
            KeyRule::WL => large(&basis.freq_norms(subject.w_l()?), options.key_frac),
            KeyRule::WENorm => {
                let norms_f = basis.component_norms(&w_e(subject.params, &group)?);
                let is_key = |pair: &[f64]| pair.iter().any(|&norm| norm >= options.key_norm);
                norms_f.iter().all(|norm| norm.is_finite()).then(|| norms_f[1..].chunks(2).map(is_key).collect())
            }
            KeyRule::Neurons => subject.clusters()?.counts.as_ref().map(|counts| {
                let is_key = |&count: &usize| count > 0;
                counts.iter().map(is_key).collect()
            }),
        })
    }

    /// The key frequencies, ascending; nothing when what the rule reads is not finite.
    ///
    /// # Errors
    /// As [`KeyRule::is_key`].
    pub fn freqs(self, subject: &Subject) -> Result<Option<Vec<usize>>> {
        let ascending = |keys: Vec<bool>| (1..).zip(keys).filter(|&(_, key)| key).map(|(freq, _)| freq).collect();
        Ok(self.is_key(subject)?.map(ascending))
    }
}

/// The columns of every measure of a rule.
pub fn columns(setting: &Setting) -> Vec<Column> {
    vec![Column::along("is_key", "1", group::freq_axis(setting)), Column::scalar("count", "1")]
}

/// The numbers of [`columns`].
///
/// # Errors
/// As [`KeyRule::is_key`].
pub fn eval(rule: KeyRule, subject: &Subject) -> Result<Vec<Vec<f64>>> {
    let Some(keys) = rule.is_key(subject)? else {
        return Ok(columns(subject.setting).iter().map(|column| vec![f64::NAN; column.width()]).collect());
    };
    let keys: Vec<f64> = keys.into_iter().map(f64::from).collect();
    let count = keys.iter().sum();
    Ok(vec![keys, vec![count]])
}

/// Which norms are at least a fraction of the largest, none when that is 0; nothing when a norm is not finite.
pub fn large(norms: &[f64], frac: f64) -> Option<Vec<bool>> {
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let is_large = |norm: &f64| largest > 0.0 && *norm >= frac * largest;
    norms.iter().all(|norm| norm.is_finite()).then(|| norms.iter().map(is_large).collect())
}

/// Whether key frequencies can be found as the options say.
///
/// # Errors
/// The reason why not, as a clause.
pub fn fits(setting: &Setting) -> Result<(), String> {
    match &setting.options.key_freqs {
        KeyFreqsBy::Rule(rule) => rule
            .fits(setting)
            .map(|_| ())
            .map_err(|why| format!("key frequencies by rule {} need more: {why}", rule.name())),
        KeyFreqsBy::List(list) => {
            let largest = group::freq_axis(setting).ticks.len();
            match beyond(list, largest) {
                Some(freq) => Err(format!("key frequency {freq} is above {largest}, the largest of the task")),
                None => Ok(()),
            }
        }
    }
}

/// The first frequency that a task with frequencies up to `largest` does not have.
fn beyond(list: &[usize], largest: usize) -> Option<usize> {
    list.iter().copied().find(|&freq| freq > largest)
}

/// What only the task can tell of the options: that key frequencies by hand are frequencies that it has.
///
/// # Errors
/// [`Error::Value`] for one that is too large.
pub fn check_options(options: &MeasureSpec, task: &Task) -> Result<()> {
    let (KeyFreqsBy::List(list), Some(modular)) = (&options.key_freqs, &task.modular) else { return Ok(()) };
    let Ok(group) = Group::new(modular.p as usize, modular.op()) else { return Ok(()) };
    let largest = n_freqs(group.order);
    if beyond(list, largest).is_none() {
        return Ok(());
    }
    Err(Error::Value {
        what: "measure.key_freqs".into(),
        got: format!("{list:?}"),
        expected: format!("frequencies 1 to {largest}, as task {} has", task.name),
    })
}

/// How the options find key frequencies, for people.
pub fn describe(options: &MeasureSpec) -> String {
    let MeasureSpec { key_frac, key_norm, cluster_frac, .. } = options;
    let rule = match &options.key_freqs {
        KeyFreqsBy::List(list) => return format!("by hand, {list:?}"),
        KeyFreqsBy::Rule(rule @ (KeyRule::WE | KeyRule::WL)) => {
            format!("by rule {}, norm at least {key_frac} of the largest", rule.name())
        }
        KeyFreqsBy::Rule(KeyRule::WENorm) => format!("by rule w_e_norm, norm of cos or sin at least {key_norm}"),
        KeyFreqsBy::Rule(KeyRule::Neurons) => format!("by rule neurons, explained fraction at least {cluster_frac}"),
    };
    match options.key_freqs_at {
        KeyFreqsAt::Last => format!("{rule}, at the last checkpoint"),
        KeyFreqsAt::Each => format!("{rule}, anew at each checkpoint"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_largest_is_key_and_less_is_not() {
        assert_eq!(large(&[1.0, 4.0, 0.999, 3.0], 0.25), Some(vec![true, true, false, true]));
        assert_eq!(large(&[0.0, 0.0], 0.25), Some(vec![false, false]));
        assert_eq!((large(&[1.0, f64::NAN], 0.25), large(&[1.0, f64::INFINITY], 0.25)), (None, None));
    }
}
