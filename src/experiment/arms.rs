//! An experiment with variants -> the spec of each: its arms, the values of its sweep, or every arm with every value.
//!
//! A variant is an ordinary spec without `arms` and `sweep`, and its run an ordinary run in a folder of its name below the
//! experiment's. What the command line sets holds for all of them.

use super::Experiment;
use crate::error::{Error, Fault, Result};
use crate::spec::{Arm, Spec, Sweep};

/// One variant, ready to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Name, and folder of its run.
    pub name: String,
    /// The arm that it comes from; empty when only a key is swept.
    pub arm: String,
    /// The value of the swept key, where it is a number.
    pub x: Option<f64>,
    /// Its spec.
    pub spec: Spec,
}

/// The variants of `spec`, which is that of `experiment` with `sets` laid over it; none when it has no arms and no sweep.
///
/// # Errors
/// [`Error::Spec`] with the faults of the variants, and when `sets` has a key that they differ in.
pub fn variants(experiment: &Experiment, spec: &Spec, sets: &[String]) -> Result<Vec<Variant>> {
    if spec.arms.is_empty() && spec.sweep.is_none() {
        return Ok(vec![]);
    }
    let alone = [Arm::default()];
    let arms = if spec.arms.is_empty() { &alone[..] } else { &spec.arms };
    let mut found = vec![];
    for arm in arms {
        let points = match &spec.sweep {
            None => vec![(arm.name.clone(), None, None)],
            Some(sweep) => points(arm, sweep),
        };
        for (name, x, set) in points {
            if found.iter().any(|other: &Variant| other.name == name) {
                let message =
                    format!("two variants would have the name `{name}`; write them as arms with names of their own");
                let fault = Fault { line: None, key: "arms".into(), message };
                return Err(Error::Spec { path: experiment.path.clone(), faults: vec![fault] });
            }
            let own: Vec<String> = arm.set.iter().cloned().chain(set).collect();
            refuse_twice(experiment, &name, &own, sets)?;
            let all: Vec<String> = sets.iter().cloned().chain(own).collect();
            let spec = experiment.spec(&all).map_err(|e| of_variant(e, &name))?;
            found.push(Variant { name, arm: arm.name.clone(), x, spec: Spec { arms: vec![], sweep: None, ..spec } });
        }
    }
    Ok(found)
}

/// Name, number and setting of each value of a sweep.
fn points(arm: &Arm, sweep: &Sweep) -> Vec<(String, Option<f64>, Option<String>)> {
    let key = sweep.key.rsplit('.').next().unwrap_or_default();
    let point = |value: &toml::Value| {
        let (x, text) = match value {
            toml::Value::Float(x) => (Some(*x), x.to_string()),
            toml::Value::Integer(n) => (Some(*n as f64), n.to_string()),
            toml::Value::String(text) => (None, text.clone()),
            other => (None, other.to_string()),
        };
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let text: String = text.chars().map(|c| if usable(c) { c } else { '_' }).collect();
        let name = if arm.name.is_empty() { format!("{key}_{text}") } else { format!("{}_{key}_{text}", arm.name) };
        (name, x, Some(format!("{}={value}", sweep.key)))
    };
    sweep.values.iter().map(point).collect()
}

fn refuse_twice(experiment: &Experiment, name: &str, own: &[String], sets: &[String]) -> Result<()> {
    let key = |set: &str| set.split('=').next().unwrap_or_default().trim().to_owned();
    let faults: Vec<Fault> = (sets.iter())
        .filter(|set| own.iter().any(|own| overlap(&key(own), &key(set))))
        .map(|set| Fault {
            line: None,
            key: format!("--set {set}"),
            message: format!("variant {name} sets this key itself; choose variants with --variant, or change the spec"),
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Spec { path: experiment.path.clone(), faults }) }
}

/// Whether two keys are one, or one is a section of the other.
fn overlap(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']));
    one == other || inside(one, other) || inside(other, one)
}

/// Faults that only a variant has, with its name.
fn of_variant(error: Error, name: &str) -> Error {
    match error {
        Error::Spec { path, faults } => {
            let named = |fault: Fault| Fault { message: format!("{} (variant {name})", fault.message), ..fault };
            Error::Spec { path, faults: faults.into_iter().map(named).collect() }
        }
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &str, sets: &[&str]) -> Result<Vec<Variant>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spec.toml");
        std::fs::write(&path, text).unwrap();
        let experiment = Experiment::find(path.to_str().unwrap()).unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        variants(&experiment, &experiment.spec(&sets)?, &sets)
    }

    fn names(text: &str) -> Vec<String> {
        of(text, &[]).unwrap().into_iter().map(|variant| variant.name).collect()
    }

    const SWEEP: &str = "[sweep]\nkey = \"optim.weight_decay\"\nvalues = [0.3, 1]\n";
    const ARMS: &str =
        "[[arms]]\nname = \"relu\"\n[[arms]]\nname = \"gelu\"\nset = [\"model.act=gelu\", \"train.steps=7\"]\n";

    #[test]
    fn arms_times_values_and_nothing_without_them() {
        assert_eq!(names("title = \"alone\""), [""; 0]);
        assert_eq!(names(ARMS), ["relu", "gelu"]);
        assert_eq!(names(SWEEP), ["weight_decay_0.3", "weight_decay_1"]);
        let product = of(&format!("{ARMS}{SWEEP}"), &["train.eval_every=3"]).unwrap();
        let got: Vec<_> = product
            .iter()
            .map(|v| (v.name.as_str(), v.arm.as_str(), v.x, v.spec.optim.weight_decay, v.spec.train.steps))
            .collect();
        assert_eq!(
            got,
            [
                ("relu_weight_decay_0.3", "relu", Some(0.3), 0.3, 10_000),
                ("relu_weight_decay_1", "relu", Some(1.0), 1.0, 10_000),
                ("gelu_weight_decay_0.3", "gelu", Some(0.3), 0.3, 7),
                ("gelu_weight_decay_1", "gelu", Some(1.0), 1.0, 7),
            ]
        );
        assert!(product.iter().all(|v| v.spec.train.eval_every == 3));
        assert!(product.iter().all(|v| v.spec.arms.is_empty() && v.spec.sweep.is_none()));
    }

    #[test]
    fn faults_name_the_variant_and_a_swept_key_is_not_set_twice() {
        let cause = |text: &str, sets: &[&str]| of(text, sets).unwrap_err().cause().join("; ");
        assert_eq!(
            cause("[sweep]\nkey = \"model.n_layers\"\nvalues = [1, 19]\n", &[]),
            "model.n_layers: 19 layers; a model has 1 to 12 (variant n_layers_19)"
        );
        assert_eq!(
            cause(SWEEP, &["optim.weight_decay=2"]),
            "--set optim.weight_decay=2: variant weight_decay_0.3 sets this key itself; choose variants with --variant, \
             or change the spec"
        );
        assert_eq!(
            cause("[[arms]]\nname = \"a/b\"\n[[arms]]\nname = \"\"\n", &[]),
            "line 2: arms[0].name: `a/b` cannot name a folder; use letters, digits, `_`, `-` and `.`; \
             line 4: arms[1].name: `` cannot name a folder; use letters, digits, `_`, `-` and `.`"
        );
        assert_eq!(cause("[sweep]\nkeys = 1\n", &[]).matches("sweep.key").count(), 2);
        let arm = "[[arms]]\nname = \"fast\"\nset = [\"optim.grokfast={ lamb = 2.0 }\"]\n";
        assert!(cause(arm, &["optim.grokfast.lamb=5.0"]).contains("variant fast sets this key itself"));
        assert!(cause("[[arms]]\nname = \"figures\"\n", &[]).contains("is a file of the comparison"));
        let nested = "[[arms]]\nname = \"a\"\nset = [\"sweep.key=optim.lr\"]\n";
        assert!(cause(nested, &[]).contains("no arms or sweep of its own"));
        // Two values with one name.
        let twice = "[sweep]\nkey = \"model.act\"\nvalues = [\"x^2\", \"x*2\"]\n";
        assert!(cause(twice, &[]).starts_with("arms: two variants would have the name `act_x_2`"));
    }
}
