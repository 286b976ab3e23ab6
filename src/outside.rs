//! What a program adds to the built-in models: its own, under names that a spec can use.
//!
//! A run folder stores names. Whoever opens it later, to go on, to measure or to draw, must find the same model without being
//! handed it, so names are registered once a process, before anything is read. [`door`](crate::door) makes what is registered
//! from code written with candle; this file knows nothing of candle.

use std::sync::{Arc, PoisonError, RwLock};

use crate::engine::{Graph, ParamInfo};
use crate::error::{Error, Fault, Result, nearest};
use crate::model::TaskShape;
use crate::rng::Rng;
use crate::spec::{Family, ModelSpec};

/// A family of networks.
pub trait Network: Send + Sync {
    /// Its name: `model.family` of a spec.
    fn name(&self) -> &'static str;
    /// One line for people.
    fn summary(&self) -> &'static str;
    /// The settings in `[model.custom]` with all defaults written out.
    ///
    /// # Errors
    /// All faults, with keys as they stand under `model.custom`.
    fn settle(&self, custom: &toml::Table) -> Result<toml::Table, Vec<Fault>>;
    /// The network for a task; a fault is told when it is compiled.
    fn graph(&self, spec: &ModelSpec, task: &TaskShape) -> Graph;
    /// Fills a parameter's first numbers.
    fn start(&self, spec: &ModelSpec, info: &ParamInfo, rng: &mut Rng, values: &mut [f64]);
}

static NETWORKS: RwLock<Vec<Arc<dyn Network>>> = RwLock::new(vec![]);

/// Makes networks known to this process under their names.
///
/// # Errors
/// [`Error::Value`] for a name that is taken or that a spec could not write.
pub fn register(networks: &[Arc<dyn Network>]) -> Result<()> {
    let mut known = NETWORKS.write().unwrap_or_else(PoisonError::into_inner);
    for network in networks {
        let name = network.name();
        let is_word =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let is_taken = known.iter().any(|other| other.name() == name);
        if !is_word || is_taken || !matches!(Family::from(name.to_owned()), Family::Outside(_)) {
            return Err(Error::Value {
                what: "the name of a model".into(),
                got: format!("`{name}`"),
                expected: "lower-case letters, digits and underscores, and the name of no other model".into(),
            });
        }
        known.push(Arc::clone(network));
    }
    Ok(())
}

/// The networks that are registered, in the order in which they were.
pub fn networks() -> Vec<Arc<dyn Network>> {
    NETWORKS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The network of that name.
///
/// # Errors
/// [`Error::Outside`] when this program has none.
pub fn find(name: &str) -> Result<Arc<dyn Network>> {
    let found = networks().into_iter().find(|network| network.name() == name);
    found.ok_or_else(|| Error::Outside {
        kind: "model",
        name: name.to_owned(),
        what: "is not in this program".into(),
        cause: format!("model.family may be {} here", known().join(", ")),
        hint: match nearest(name, known().iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "use the program that adds `{name}` (its `main` calls `phaselab::cli::main_with`); it has every command of this one"
            ),
        },
    })
}

/// Names that `model.family` may have.
fn known() -> Vec<String> {
    let built_in = [Family::Transformer, Family::Mlp].map(String::from);
    built_in.into_iter().chain(networks().iter().map(|network| network.name().to_owned())).collect()
}

/// Writes the defaults of a network from outside into its spec, or gives what is wrong with its name and settings.
pub(crate) fn settle(model: &mut ModelSpec) -> Vec<Fault> {
    let fault = |key: &str, message: String| Fault { line: None, key: key.into(), message };
    let Family::Outside(name) = model.family else {
        return match model.custom.is_empty() {
            true => vec![],
            false => {
                vec![fault("model.custom", format!("the {} reads no settings of its own", String::from(model.family)))]
            }
        };
    };
    let mut faults: Vec<Fault> = (unread(model).into_iter())
        .map(|key| {
            fault(&format!("model.{key}"), format!("`{name}` does not read it; its settings are in [model.custom]"))
        })
        .collect();
    match find(&name).map(|network| network.settle(&model.custom)) {
        Ok(Ok(custom)) => model.custom = custom,
        Ok(Err(of_custom)) => {
            faults.extend(of_custom.into_iter().map(|f| Fault { key: format!("model.custom.{}", f.key), ..f }));
        }
        Err(e) => {
            let why = [e.cause(), e.hint().into_iter().collect()].concat().join("; ");
            faults.push(fault("model.family", format!("{e}: {why}")));
        }
    }
    faults
}

/// Keys of the built-in families that are set to something else than their defaults.
fn unread(model: &ModelSpec) -> Vec<String> {
    let table = |model: &ModelSpec| toml::Table::try_from(model).expect("invariant: a spec has only TOML's types");
    let (given, defaults) = (table(model), table(&ModelSpec::default()));
    let read = ["family", "init_scale", "custom"];
    given
        .iter()
        .filter(|(key, value)| !read.contains(&key.as_str()) && defaults.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect()
}
