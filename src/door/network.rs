//! A [`Model`] as a network that specs can name.

use std::marker::PhantomData;
use std::sync::Arc;

use super::call::{Body, Call, Function, Output};
use super::trial::try_out;
use super::{Model, Param, fault};
use crate::engine::{Graph, ParamInfo};
use crate::error::{Error, Fault, Result};
use crate::model::TaskShape;
use crate::outside::Network;
use crate::rng::Rng;
use crate::spec::ModelSpec;
use crate::spec::parse::settings;

/// The model `M` under its name.
pub(super) struct Candle<M> {
    name: &'static str,
    summary: &'static str,
    model: PhantomData<fn() -> M>,
}

impl<M: Model> Candle<M> {
    pub(super) fn new(name: &'static str, summary: &'static str) -> Candle<M> {
        Candle { name, summary, model: PhantomData }
    }

    /// The model with the settings of a spec.
    fn read(&self, spec: &ModelSpec) -> Result<M> {
        settings(&spec.custom).map_err(|faults| Error::Spec { path: "model.custom".into(), faults })
    }

    fn build(&self, graph: &mut Graph, spec: &ModelSpec, task: &TaskShape) -> Result<()> {
        let model = Arc::new(self.read(spec)?);
        let params = model.params(task);
        let body: Body = Arc::new(move |x, s| model.forward(x, s));
        let (name, settings) = (self.name.to_owned(), spec.custom.to_string());
        let function = Function { name, settings, task: task.clone(), params, body };
        let names: Vec<&str> = function.params.iter().map(|param| param.name.as_str()).collect();
        if let Some(i) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
            return Err(function.failed(&format!("lists the parameter {} twice", names[i]), "names must differ"));
        }
        let given = try_out(&function)?;
        let params = function.params.iter().map(|param| graph.param(&param.name, &param.shape)).collect();
        let outputs: Vec<Output> = (given.into_iter())
            .map(|(name, axes, positions)| {
                let id = graph.value_at(&name, &axes, positions);
                Output { id, name, axes }
            })
            .collect();
        graph.logits = outputs[0].id;
        graph.push(Call { function, params, outputs });
        Ok(())
    }
}

impl<M: Model> Network for Candle<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn settle(&self, custom: &toml::Table) -> Result<toml::Table, Vec<Fault>> {
        let model: M = settings(custom)?;
        let faults: Vec<Fault> = model.faults().into_iter().map(|(key, message)| fault(key, message)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        toml::Table::try_from(&model).map_err(|e| vec![fault("", format!("settings that TOML cannot write: {e}"))])
    }

    fn graph(&self, spec: &ModelSpec, task: &TaskShape) -> Graph {
        let mut graph = Graph::new(task.n_ctx);
        if let Err(e) = self.build(&mut graph, spec, task) {
            graph.fault = Some(e);
        }
        graph
    }

    fn start(&self, spec: &ModelSpec, info: &ParamInfo, rng: &mut Rng, values: &mut [f64]) {
        let param = Param::new(&info.name, info.shape.clone());
        // Settings that cannot be read have kept the graph from being compiled.
        if let Ok(model) = self.read(spec) {
            model.start(&param, rng, values);
        }
        if param.is_weight() {
            values.iter_mut().for_each(|x| *x *= spec.init_scale);
        }
    }
}
