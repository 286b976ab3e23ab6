//! What a program adds to what is built in: models, layers and losses of its own, under names that a spec can use.
//!
//! A run folder stores names. Whoever opens it later, to go on, to measure or to draw, must find the same things without being
//! handed them, so they are registered once a process, before anything is read. [`door`](crate::door) makes what is registered
//! from code written with candle; this file knows nothing of candle.

use std::sync::{Arc, PoisonError, RwLock};

use crate::engine::op::ValueId;
use crate::engine::{Graph, ParamInfo};
use crate::error::{Error, Fault, Result, nearest};
use crate::model::TaskShape;
use crate::rng::Rng;
use crate::spec::{Family, LossKind, ModelSpec, Spec};

/// A family of networks: `model.family` of a spec.
pub trait Network: Send + Sync {
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

/// A layer in place of the transformer's MLP: `model.layer` of a spec.
pub trait Layer: Send + Sync {
    /// As [`Network::settle`].
    ///
    /// # Errors
    /// As there.
    fn settle(&self, custom: &toml::Table) -> Result<toml::Table, Vec<Fault>>;
    /// Adds it to a graph behind `x`, its parameters and hooks under `module.`; gives its result `hook`, as wide as `x`.
    fn push(&self, graph: &mut Graph, spec: &ModelSpec, task: &TaskShape, names: (&str, &str), x: ValueId) -> ValueId;
    /// As [`Network::start`]; the parameter's name is the whole one.
    fn start(&self, spec: &ModelSpec, info: &ParamInfo, rng: &mut Rng, values: &mut [f64]);
}

/// A loss of each answer by itself: `loss.kind` of a spec.
pub trait RowLoss: Send + Sync {
    /// Losses of rows of logits `[rows, classes]` for the right classes `[rows]`, and, if asked for, the gradient of each row's
    /// loss `[rows, classes]`.
    ///
    /// # Errors
    /// [`Error::Outside`] when it cannot be computed.
    fn rows(&self, logits: &[f64], targets: &[u32], losses: &mut [f64], dlogits: Option<&mut [f64]>) -> Result<()>;
    /// One call with numbers of no meaning.
    ///
    /// # Errors
    /// [`Error::Outside`] with what cannot work.
    fn try_out(&self, classes: usize) -> Result<()>;
}

/// A thing that a program adds.
#[derive(Clone)]
pub struct Addition {
    /// Its name in a spec.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What it is.
    pub thing: Thing,
}

/// What can be added.
#[derive(Clone)]
pub enum Thing {
    /// For `model.family`.
    Network(Arc<dyn Network>),
    /// For `model.layer`.
    Layer(Arc<dyn Layer>),
    /// For `loss.kind`.
    Loss(Arc<dyn RowLoss>),
}

impl Thing {
    /// What it is called in messages, and the key of a spec that names it.
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Thing::Network(_) => MODEL,
            Thing::Layer(_) => LAYER,
            Thing::Loss(_) => LOSS,
        }
    }
}

const MODEL: (&str, &str) = ("model", "model.family");
const LAYER: (&str, &str) = ("layer", "model.layer");
const LOSS: (&str, &str) = ("loss", "loss.kind");

static ADDITIONS: RwLock<Vec<Addition>> = RwLock::new(vec![]);

/// Makes additions known to this process under their names.
///
/// # Errors
/// [`Error::Value`] for a name that is taken or that is no word of lower-case letters, digits and underscores.
pub fn register(additions: &[Addition]) -> Result<()> {
    let mut known = ADDITIONS.write().unwrap_or_else(PoisonError::into_inner);
    for addition in additions {
        let (name, (kind, _)) = (addition.name, addition.thing.kind());
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let is_word = !name.is_empty() && name.bytes().all(is_letter);
        let is_taken = known.iter().any(|other| other.name == name) || built_in().contains(&name.to_owned());
        if !is_word || is_taken {
            return Err(Error::Value {
                what: format!("the name of a {kind}"),
                got: format!("`{name}`"),
                expected: "lower-case letters, digits and underscores, and nothing else's name".into(),
            });
        }
        known.push(addition.clone());
    }
    Ok(())
}

/// What is registered, in the order in which it was.
pub fn additions() -> Vec<Addition> {
    ADDITIONS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Names that stand for something already.
fn built_in() -> Vec<String> {
    let losses = [LossKind::CrossEntropy, LossKind::Mse].map(String::from);
    [Family::Transformer, Family::Mlp].map(String::from).into_iter().chain(losses).collect()
}

/// The network of that name.
///
/// # Errors
/// [`Error::Outside`] when this program has none.
pub fn network(name: &str) -> Result<Arc<dyn Network>> {
    find(MODEL, name, |thing| if let Thing::Network(network) = thing { Some(network) } else { None })
}

/// The layer of that name.
///
/// # Errors
/// As [`network`].
pub fn layer(name: &str) -> Result<Arc<dyn Layer>> {
    find(LAYER, name, |thing| if let Thing::Layer(layer) = thing { Some(layer) } else { None })
}

/// The loss of that name.
///
/// # Errors
/// As [`network`].
pub fn loss(name: &str) -> Result<Arc<dyn RowLoss>> {
    find(LOSS, name, |thing| if let Thing::Loss(loss) = thing { Some(loss) } else { None })
}

fn find<X>((kind, key): (&'static str, &str), name: &str, of: impl Fn(Thing) -> Option<X>) -> Result<X> {
    let found = additions().into_iter().find(|addition| addition.name == name).and_then(|a| of(a.thing));
    found.ok_or_else(|| {
        let built_in = built_in();
        let own = match kind {
            "model" => built_in[..2].to_vec(),
            "loss" => built_in[2..].to_vec(),
            _ => vec![],
        };
        let added = additions().into_iter().filter(|addition| addition.thing.kind().0 == kind);
        let known: Vec<String> = own.into_iter().chain(added.map(|addition| addition.name.to_owned())).collect();
        Error::Outside {
            kind,
            name: name.to_owned(),
            what: "is not in this program".into(),
            cause: match known.is_empty() {
                true => format!("there is nothing here for {key}"),
                false => format!("{key} may be {} here", known.join(", ")),
            },
            hint: match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "use the program that adds `{name}` (its `main` calls `phaselab::cli::main_with`); it has every command of this one"
                ),
            },
        }
    })
}

/// Writes the defaults of additions into the spec that names them; gives what is wrong with names and settings.
pub(crate) fn settle(spec: &mut Spec) -> Vec<Fault> {
    let mut faults = model(&mut spec.model);
    if let LossKind::Outside(name) = spec.loss.kind
        && let Err(e) = loss(&name)
    {
        faults.push(unknown(LOSS, &e));
    }
    faults
}

fn model(model: &mut ModelSpec) -> Vec<Fault> {
    let settled = match (model.family, &model.layer) {
        (Family::Outside(name), _) => network(&name).map(|n| n.settle(&model.custom)).map_err(|e| unknown(MODEL, &e)),
        (_, Some(name)) => layer(name).map(|l| l.settle(&model.custom)).map_err(|e| unknown(LAYER, &e)),
        (_, None) if model.custom.is_empty() => return vec![],
        (family, None) => {
            let message = format!("the {} reads no settings of its own", String::from(family));
            return vec![fault("model.custom", message)];
        }
    };
    // Of a name that nobody knows nothing else can be said.
    let settled = match settled {
        Ok(settled) => settled,
        Err(unknown) => return vec![unknown],
    };
    let mut faults: Vec<Fault> = unread(model);
    match settled {
        Ok(custom) => model.custom = custom,
        Err(found) => faults.extend(found.into_iter().map(|f| Fault { key: format!("model.custom.{}", f.key), ..f })),
    }
    faults
}

/// Keys that are set to something else than their defaults and that nobody reads.
fn unread(model: &ModelSpec) -> Vec<Fault> {
    let table = |model: &ModelSpec| toml::Table::try_from(model).expect("invariant: a spec has only TOML's types");
    let (given, defaults) = (table(model), table(&ModelSpec::default()));
    let (who, is_read): (String, fn(&str) -> bool) = match (model.family, &model.layer) {
        (Family::Outside(name), _) => (name.to_string(), |key| matches!(key, "family" | "init_scale" | "custom")),
        (Family::Transformer, Some(layer)) => (layer.clone(), |key| !matches!(key, "d_mlp" | "act" | "mlp_bias")),
        (family, _) => (String::from(family), |key| key != "layer"),
    };
    (given.iter())
        .filter(|(key, value)| !is_read(key) && defaults.get(*key) != Some(value))
        .map(|(key, _)| fault(&format!("model.{key}"), format!("`{who}` does not read it; remove it")))
        .collect()
}

fn unknown((_, key): (&str, &str), e: &Error) -> Fault {
    let why = [e.cause(), e.hint().into_iter().collect()].concat().join("; ");
    fault(key, format!("{e}: {why}"))
}

fn fault(key: &str, message: String) -> Fault {
    Fault { line: None, key: key.into(), message }
}
