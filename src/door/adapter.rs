//! [`Model`] and [`Layer`] as what a spec can name.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Body, Call, Function, Output};
use super::trial::try_out;
use super::{Layer, Model, Param};
use crate::engine::op::ValueId;
use crate::engine::{Graph, ParamInfo};
use crate::error::{Error, Fault, Result};
use crate::model::TaskShape;
use crate::outside;
use crate::rng::Rng;
use crate::spec::ModelSpec;
use crate::spec::parse::settings;

/// `M` under its name.
pub(super) struct Candle<M> {
    name: &'static str,
    made: PhantomData<fn() -> M>,
}

impl<M> Candle<M> {
    pub(super) fn new(name: &'static str) -> Candle<M> {
        Candle { name, made: PhantomData }
    }
}

/// With the settings of a spec.
fn made<M: DeserializeOwned>(spec: &ModelSpec) -> Result<M> {
    settings(&spec.custom).map_err(|faults| Error::Spec { path: "model.custom".into(), faults })
}

/// All settings of a table, defaults included.
fn settled<M: Serialize + DeserializeOwned>(
    custom: &toml::Table,
    faults: impl Fn(&M) -> Vec<(&'static str, String)>,
) -> Result<toml::Table, Vec<Fault>> {
    let fault = |(key, message): (&str, String)| Fault { line: None, key: key.to_owned(), message };
    let made: M = settings(custom)?;
    let found: Vec<Fault> = faults(&made).into_iter().map(fault).collect();
    if !found.is_empty() {
        return Err(found);
    }
    toml::Table::try_from(&made).map_err(|e| vec![fault(("", format!("settings that TOML cannot write: {e}")))])
}

/// Adds a function to a graph, its names behind `prefix`; gives its result, which has the name `result`.
fn push(
    graph: &mut Graph,
    function: Function,
    (prefix, result): (&str, &str),
    input: Option<ValueId>,
) -> Result<ValueId> {
    let names: Vec<&str> = function.params.iter().map(|param| param.name.as_str()).collect();
    if let Some(i) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        return Err(function.failed(&format!("lists the parameter {} twice", names[i]), "names must differ"));
    }
    let given = try_out(&function)?;
    let params = function.params.iter().map(|p| graph.param(format!("{prefix}{}", p.name), &p.shape)).collect();
    let outputs: Vec<Output> = (given.into_iter().enumerate())
        .map(|(i, (name, axes, positions))| {
            let hook = if i == 0 { result.to_owned() } else { format!("{prefix}{name}") };
            Output { id: graph.value_at(hook, &axes, positions), name, axes }
        })
        .collect();
    let y = outputs[0].id;
    graph.push(Call { function, params, input, outputs });
    Ok(y)
}

impl<M: Model> outside::Network for Candle<M> {
    fn settle(&self, custom: &toml::Table) -> Result<toml::Table, Vec<Fault>> {
        settled(custom, M::faults)
    }

    fn graph(&self, spec: &ModelSpec, task: &TaskShape) -> Graph {
        let mut graph = Graph::new(task.n_ctx);
        let pushed = made::<M>(spec).and_then(|model| {
            let params = model.params(task);
            let cuts_gradients = model.cuts_gradients();
            let body: Body = Arc::new(move |x, s| model.forward(x, s));
            let (name, settings) = (self.name.to_owned(), spec.custom.to_string());
            let function = Function { name, width: None, settings, task: task.clone(), params, cuts_gradients, body };
            push(&mut graph, function, ("", "logits"), None)
        });
        match pushed {
            Ok(logits) => graph.logits = logits,
            Err(fault) => graph.fault = Some(fault),
        }
        graph
    }

    fn start(&self, spec: &ModelSpec, info: &ParamInfo, rng: &mut Rng, values: &mut [f64]) {
        let param = Param::new(&info.name, info.shape.clone());
        // Settings that cannot be read have kept the graph from being compiled.
        if let Ok(model) = made::<M>(spec) {
            model.start(&param, rng, values);
        }
        param.scale(spec.init_scale, values);
    }
}

impl<L: Layer> outside::Layer for Candle<L> {
    fn settle(&self, custom: &toml::Table) -> Result<toml::Table, Vec<Fault>> {
        settled(custom, L::faults)
    }

    fn push(&self, graph: &mut Graph, spec: &ModelSpec, task: &TaskShape, names: (&str, &str), x: ValueId) -> ValueId {
        let width = graph.values[x].width;
        let pushed = made::<L>(spec).and_then(|layer| {
            let params = layer.params(width);
            let cuts_gradients = layer.cuts_gradients();
            let body: Body = Arc::new(move |x, s| layer.forward(x, s));
            let (name, settings) = (self.name.to_owned(), spec.custom.to_string());
            let function =
                Function { name, width: Some(width), settings, task: task.clone(), params, cuts_gradients, body };
            push(graph, function, (&format!("{}.", names.0), names.1), Some(x))
        });
        pushed.unwrap_or_else(|fault| {
            graph.fault = Some(fault);
            x
        })
    }

    fn start(&self, spec: &ModelSpec, info: &ParamInfo, rng: &mut Rng, values: &mut [f64]) {
        let own = info.name.split_once(".mlp.").map_or(info.name.as_str(), |(_, own)| own);
        let param = Param::new(own, info.shape.clone());
        if let Ok(layer) = made::<L>(spec) {
            layer.start(&param, rng, values);
        }
        param.scale(spec.init_scale, values);
    }
}
