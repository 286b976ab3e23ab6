//! What of a file's values is a checkpoint, a loss, a split: by the names that published files use.
//!
//! Reads a [`Value`]; writes [`Contents`]. A file is one state dict, or a dictionary with one, or with a list of them (or a
//! dictionary of them by step) and lists of losses; [`SERIES`] and its neighbours are the names that are known.

use std::collections::BTreeMap;

use super::value::{Element, Parsed, Value, View};

/// A list of state dicts, or a dictionary of them by step.
pub const SERIES: &[&str] = &["state_dicts", "models", "model_checkpoints", "checkpoints"];
/// One state dict.
pub const MODEL: &[&str] = &["model", "state_dict", "model_state_dict", "params"];
/// Steps of the state dicts of a list.
pub const STEPS: &[&str] = &["epochs", "steps", "checkpoint_epochs", "checkpoint_steps"];
/// The step of one state dict.
pub const STEP: &[&str] = &["step", "epoch", "iteration", "phaselab_step"];
/// Names of the four columns of metrics: training loss and accuracy, test loss and accuracy.
pub const METRICS: [&[&str]; 4] = [
    &["train_losses", "train_loss", "train_loss_nats"],
    &["train_accs", "train_accuracies", "train_acc", "train_acc_frac"],
    &["test_losses", "test_loss", "test_loss_nats"],
    &["test_accs", "test_accuracies", "test_acc", "test_acc_frac"],
];
/// Indices of the training examples of a replica that phaselab exported; in safetensors as text.
pub const TRAIN_INDICES: &str = "phaselab_train_indices";
/// Examples for training: their indices, which of all they are, or their tokens.
pub const TRAIN: &[&str] = &[TRAIN_INDICES, "train_indices", "train_data", "train"];
/// Examples for testing.
pub const TEST: &[&str] = &["test_indices", "test_data", "test"];
/// What the model was made with.
pub const CONFIG: &[&str] = &["config", "cfg"];
/// How a list in a configuration is written: it is none of the settings that are read.
pub const LIST: &str = "a list";
/// The resolved spec of a run that phaselab exported.
pub const SPEC: &str = "phaselab_spec";
/// The seed of the replica that phaselab exported.
pub const SEED: &str = "phaselab_seed";

/// Parameters under the file's own names.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Count of updates, where the file says it.
    pub step: Option<u64>,
    /// The arrays.
    pub arrays: BTreeMap<String, View>,
}

/// Examples of a split.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitRows {
    /// Indices of examples.
    Indices(Vec<i64>),
    /// `[N]`: which of all examples they are.
    Mask(Vec<bool>),
    /// `[n]` rows of tokens.
    Tokens(Vec<Vec<i64>>),
}

/// What was recognised in a file.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// In the order of the file.
    pub checkpoints: Vec<Checkpoint>,
    /// The columns of [`METRICS`] that are there.
    pub metrics: [Option<Vec<f64>>; 4],
    /// Training examples.
    pub train: Option<SplitRows>,
    /// Test examples.
    pub test: Option<SplitRows>,
    /// `act_fn` and the like of the configuration, as text; true is 1.
    pub config: BTreeMap<String, String>,
    /// The spec that phaselab wrote into the file.
    pub spec: Option<String>,
    /// The seed that phaselab wrote into the file.
    pub seed: Option<u64>,
    /// Keys that mean nothing here, or whose values do.
    pub ignored: Vec<String>,
}

/// Finds everything in a file's values.
///
/// # Errors
/// A file without parameters; a series whose steps do not fit.
pub fn contents(root: &Value) -> Parsed<Contents> {
    let mut found = Contents::default();
    match root {
        Value::List(_) => found.checkpoints = series(root, None)?,
        Value::Dict(entries) if is_by_step(entries) => found.checkpoints = series(root, None)?,
        Value::Dict(entries) => dictionary(root, entries, &mut found)?,
        other => return Err(format!("it holds {}, no dictionary of parameters", kind(other))),
    }
    match found.checkpoints.iter().position(|checkpoint| checkpoint.arrays.is_empty()) {
        Some(at) => Err(format!("checkpoint {at} of the file has no parameters")),
        None => Ok(found),
    }
}

/// The first of `names` that is a key, and its value.
fn first_of<'a>(root: &'a Value, names: &'static [&'static str]) -> Option<(&'static str, &'a Value)> {
    names.iter().find_map(|name| Some((*name, root.get(name)?)))
}

/// The known keys of a dictionary.
struct Keys<'a> {
    root: &'a Value,
    used: Vec<&'static str>,
    /// Those whose values mean nothing.
    unread: Vec<String>,
}

impl<'a> Keys<'a> {
    /// What the first of `names` that is a key holds, if that is what it should be.
    fn take<T>(
        &mut self,
        names: &'static [&'static str],
        what: &str,
        parse: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let (name, value) = first_of(self.root, names)?;
        self.used.push(name);
        let parsed = parse(value);
        if parsed.is_none() {
            self.unread.push(format!("{name} (it holds no {what})"));
        }
        parsed
    }
}

fn dictionary(root: &Value, entries: &[(Value, Value)], found: &mut Contents) -> Parsed<()> {
    let mut keys = Keys { root, used: vec![], unread: vec![] };
    for (names, column) in METRICS.into_iter().zip(&mut found.metrics) {
        *column = keys.take(names, "numbers", |value| value.numbers().or_else(|| Some(vec![value.number()?])));
    }
    found.train = keys.take(TRAIN, "examples", split_rows);
    found.test = keys.take(TEST, "examples", split_rows);
    found.config = keys.take(CONFIG, "settings", config_of).unwrap_or_default();
    found.spec = keys.take(&[SPEC], "text", |spec| spec.text().map(str::to_owned));
    found.seed = keys.take(&[SEED], "seed", |seed| seed.text()?.parse().ok());
    let step = keys.take(STEP, "count of steps", |step| step.count().or_else(|| step.text()?.parse().ok()));
    let list = keys.take(SERIES, "checkpoints", Some);
    let steps = if list.is_some() { keys.take(STEPS, "steps", Some) } else { None };
    let Keys { mut used, unread, .. } = keys;
    let model = first_of(root, MODEL).filter(|(_, value)| matches!(value, Value::Dict(_)));
    let (list, rest) = match (list, model) {
        (Some(list), _) => (Some(list), false),
        (None, Some((name, model))) => {
            used.push(name);
            // A model's arrays by the files' own names, or one more level of a run's dictionary.
            found.checkpoints = vec![Checkpoint { step, arrays: arrays(model) }];
            (None, false)
        }
        (None, None) => (None, true),
    };
    if let Some(list) = list {
        found.checkpoints = series(list, steps)?;
    }
    let unused = entries.iter().filter(|(key, _)| !key.text().is_some_and(|key| used.contains(&key)));
    if rest {
        let all: Vec<(Value, Value)> = unused.clone().cloned().collect();
        found.checkpoints = vec![Checkpoint { step, arrays: arrays(&Value::Dict(all)) }];
        let others = unused.filter(|(_, value)| !matches!(value, Value::Array(_)));
        found.ignored = others.map(|(key, _)| name(key)).collect();
    } else {
        found.ignored = unused.map(|(key, _)| name(key)).collect();
    }
    found.ignored.extend(unread);
    if found.checkpoints.iter().all(|checkpoint| checkpoint.arrays.is_empty()) {
        let keys: Vec<String> = entries.iter().take(12).map(|(key, _)| name(key)).collect();
        return Err(format!("none of its keys holds parameters: {}", keys.join(", ")));
    }
    Ok(())
}

/// The state dicts of a list, or of a dictionary by step; `steps` are those of the list.
fn series(value: &Value, steps: Option<&Value>) -> Parsed<Vec<Checkpoint>> {
    match value {
        Value::List(list) => {
            let steps = match steps {
                None => vec![None; list.len()],
                Some(steps) => {
                    let numbers = steps.numbers().ok_or("the steps of its checkpoints are no numbers")?;
                    let counts = |&x: &f64| Value::Real(x).count().ok_or(format!("{x} is no count of steps"));
                    let counts: Vec<Option<u64>> =
                        numbers.iter().map(|x| counts(x).map(Some)).collect::<Parsed<_>>()?;
                    if counts.len() != list.len() {
                        return Err(format!("it has {} checkpoints and {} steps for them", list.len(), counts.len()));
                    }
                    counts
                }
            };
            Ok(list.iter().zip(steps).map(|(value, step)| one(value, step)).collect())
        }
        Value::Dict(entries) => Ok(entries.iter().map(|(key, value)| one(value, key.count())).collect()),
        other => Err(format!("its checkpoints are {}, no list", kind(other))),
    }
}

/// A state dict, or a dictionary that has one and perhaps its step.
fn one(value: &Value, step: Option<u64>) -> Checkpoint {
    let named = |names: &[&str]| names.iter().find_map(|name| value.get(name));
    let inner = named(MODEL).filter(|inner| matches!(inner, Value::Dict(_)));
    let step = step.or_else(|| named(STEP).and_then(Value::count));
    Checkpoint { step, arrays: arrays(inner.unwrap_or(value)) }
}

fn arrays(value: &Value) -> BTreeMap<String, View> {
    let Value::Dict(entries) = value else { return BTreeMap::new() };
    let array = |(key, value): &(Value, Value)| match (key, value) {
        (Value::Text(name), Value::Array(view)) => Some((name.clone(), view.clone())),
        _ => None,
    };
    entries.iter().filter_map(array).collect()
}

fn is_by_step(entries: &[(Value, Value)]) -> bool {
    !entries.is_empty() && entries.iter().all(|(key, value)| matches!((key, value), (Value::Int(_), Value::Dict(_))))
}

fn split_rows(value: &Value) -> Option<SplitRows> {
    let whole = |x: &f64| x.fract() == 0.0 && x.abs() < 9e15;
    match value {
        Value::Text(text) => {
            let indices: Result<Vec<i64>, _> = text.split_whitespace().map(str::parse).collect();
            return indices.ok().map(SplitRows::Indices);
        }
        Value::Array(view) if view.element == Element::Bool && view.shape.len() == 1 => {
            return Some(SplitRows::Mask(view.to_ints().into_iter().map(|x| x != 0).collect()));
        }
        _ => {}
    }
    if let Some(numbers) = value.numbers() {
        return numbers.iter().all(whole).then(|| SplitRows::Indices(numbers.iter().map(|&x| x as i64).collect()));
    }
    let row = |row: Vec<f64>| row.iter().all(whole).then(|| row.iter().map(|&x| x as i64).collect());
    let rows = match value {
        Value::List(rows) => rows.iter().map(|r| r.numbers().and_then(row)).collect::<Option<Vec<Vec<i64>>>>()?,
        Value::Array(view) if view.shape.len() == 2 && view.shape[1] > 0 => {
            view.to_ints().chunks_exact(view.shape[1]).map(<[i64]>::to_vec).collect()
        }
        _ => return None,
    };
    Some(SplitRows::Tokens(rows))
}

fn config_of(value: &Value) -> Option<BTreeMap<String, String>> {
    let Value::Dict(entries) = value else { return None };
    let entry = |(key, value): &(Value, Value)| {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::None => "None".to_owned(),
            Value::List(_) => LIST.to_owned(),
            other => other.number()?.to_string(),
        };
        Some((key.text()?.to_owned(), text))
    };
    Some(entries.iter().filter_map(entry).collect())
}

fn name(key: &Value) -> String {
    match key {
        Value::Text(text) => text.clone(),
        Value::Int(x) => x.to_string(),
        other => kind(other).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "an array",
        Value::Int(_) | Value::Real(_) => "a number",
        Value::Text(_) => "a text",
        Value::None => "nothing",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dictionary",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn dict(entries: &[(&str, Value)]) -> Value {
        Value::Dict(entries.iter().map(|(key, value)| (Value::Text((*key).into()), value.clone())).collect())
    }

    fn array(numbers: &[f32]) -> Value {
        let bytes = Arc::new(numbers.iter().flat_map(|x| x.to_le_bytes()).collect());
        Value::Array(View::row_major(Element::F32, vec![numbers.len()], &bytes, 0).unwrap())
    }

    fn numbers(of: &[f64]) -> Value {
        Value::List(of.iter().map(|&x| Value::Real(x)).collect())
    }

    #[test]
    fn state_dicts_are_found_wherever_files_have_them() {
        let model = dict(&[("embed.W_E", array(&[1.0])), ("unembed.W_U", array(&[2.0]))]);
        let steps = |contents: &Contents| contents.checkpoints.iter().map(|c| c.step).collect::<Vec<_>>();
        let by_step = Value::Dict(vec![(Value::Int(0), model.clone()), (Value::Int(100), model.clone())]);
        let list = Value::List(vec![model.clone(), model.clone()]);
        let inner = dict(&[("model", model.clone()), ("epoch", Value::Int(7))]);
        let epochs = dict(&[("state_dicts", list.clone()), ("epochs", numbers(&[0.0, 50.0])), ("note", Value::None)]);
        for (value, expected) in [
            (model.clone(), vec![None]),
            (inner.clone(), vec![Some(7)]),
            (by_step, vec![Some(0), Some(100)]),
            (list.clone(), vec![None, None]),
            (Value::List(vec![inner]), vec![Some(7)]),
            (epochs.clone(), vec![Some(0), Some(50)]),
            (dict(&[("models", list.clone())]), vec![None, None]),
        ] {
            let found = contents(&value).unwrap();
            assert_eq!(steps(&found), expected, "{value:?}");
            assert!(found.checkpoints.iter().all(|c| c.arrays.len() == 2));
        }
        assert_eq!(contents(&epochs).unwrap().ignored, ["note"]);
        let bad = dict(&[("state_dicts", list), ("epochs", numbers(&[0.0]))]);
        assert_eq!(contents(&bad).unwrap_err(), "it has 2 checkpoints and 1 steps for them");
        assert!(contents(&dict(&[("optimizer", Value::None)])).unwrap_err().contains("optimizer"));
        assert!(contents(&Value::Int(1)).is_err());
    }

    #[test]
    fn losses_splits_and_configuration_are_told_from_parameters() {
        let rows = Value::List(vec![numbers(&[0.0, 1.0, 5.0]), numbers(&[3.0, 2.0, 5.0])]);
        let file = dict(&[
            ("embed.W_E", array(&[1.0])),
            ("train_losses", array(&[3.0, 2.0])),
            ("test_acc", Value::Real(0.5)),
            ("train_data", rows),
            ("test_indices", numbers(&[4.0, 5.0])),
            ("config", dict(&[("act_fn", Value::Text("gelu".into())), ("normalization_type", Value::None)])),
        ]);
        let found = contents(&file).unwrap();
        assert_eq!(found.checkpoints[0].arrays.keys().collect::<Vec<_>>(), ["embed.W_E"]);
        assert_eq!(found.metrics, [Some(vec![3.0, 2.0]), None, None, Some(vec![0.5])]);
        assert_eq!(found.train, Some(SplitRows::Tokens(vec![vec![0, 1, 5], vec![3, 2, 5]])));
        assert_eq!(found.test, Some(SplitRows::Indices(vec![4, 5])));
        assert_eq!(found.config["act_fn"], "gelu");
        assert_eq!(found.config["normalization_type"], "None");
        assert!(found.ignored.is_empty());
    }

    #[test]
    fn a_mask_is_no_list_of_indices_and_what_is_not_read_is_told() {
        let mask = View::row_major(Element::Bool, vec![4], &Arc::new(vec![1, 0, 0, 1]), 0).unwrap();
        let square = View::row_major(Element::F32, vec![1, 2], &Arc::new(vec![0; 8]), 0).unwrap();
        let file = dict(&[
            ("model", dict(&[("embed.W_E", array(&[1.0]))])),
            ("train", Value::Array(mask)),
            ("test_data", Value::Text("junk".into())),
            ("train_losses", Value::Array(square)),
            ("config", Value::Int(3)),
            ("epochs", numbers(&[1.0])),
            ("step", Value::Real(0.5)),
        ]);
        let found = contents(&file).unwrap();
        assert_eq!(found.train, Some(SplitRows::Mask(vec![true, false, false, true])));
        assert_eq!((found.test, found.metrics[0].clone()), (None, None));
        for name in ["test_data (", "train_losses (", "config (", "epochs", "step ("] {
            assert!(found.ignored.iter().any(|told| told.starts_with(name)), "{name}: {:?}", found.ignored);
        }
        let file = dict(&[("embed.W_E", array(&[1.0])), (TRAIN_INDICES, Value::Text("0 3".into()))]);
        assert_eq!(contents(&file).unwrap().train, Some(SplitRows::Indices(vec![0, 3])));
    }
}
