//! A model as a list of ops over named values: what [`model`](crate::model) writes and [`Plan`](super::plan::Plan) compiles.

use super::cpu::reals::Reals;
use super::op::{Op, ParamId, Space, Value, ValueId};
use super::params::{Layout, ParamLayout};
use crate::error::{Error, Result, nearest};

/// A network, before any rewrite: every value at every position.
#[derive(Debug)]
pub struct Graph {
    /// Activations.
    pub values: Vec<Value>,
    /// Operations, in an order in which inputs come before their use.
    pub ops: Vec<Box<dyn Op>>,
    /// Parameters.
    pub params: ParamLayout,
    /// Second names of values: the residual stream after a block is the one before the next.
    pub aliases: Vec<(String, ValueId)>,
    /// The value that the loss reads.
    pub logits: ValueId,
    /// Positions an example.
    pub n_ctx: usize,
    /// Why it cannot be compiled; [`Plan::build`](super::plan::Plan::build) says so.
    pub(crate) fault: Option<Error>,
}

impl Graph {
    /// An empty network over `n_ctx` positions.
    pub fn new(n_ctx: usize) -> Graph {
        Graph {
            values: vec![],
            ops: vec![],
            params: ParamLayout::default(),
            aliases: vec![],
            logits: 0,
            n_ctx,
            fault: None,
        }
    }

    /// A value at every position.
    pub fn value(&mut self, name: impl Into<String>, axes: &[usize]) -> ValueId {
        self.value_at(name, axes, (0..self.n_ctx).collect())
    }

    /// A value at some positions only, whatever the loss needs.
    pub fn value_at(&mut self, name: impl Into<String>, axes: &[usize], positions: Vec<usize>) -> ValueId {
        self.values.push(Value {
            name: name.into(),
            width: axes.iter().product(),
            axes: axes.to_vec(),
            space: Space::Batch(positions),
        });
        self.values.len() - 1
    }

    /// Real-valued inputs from the batch, `[B, n_ctx, width]`, as a value.
    pub fn reals(&mut self, name: impl Into<String>, width: usize) -> ValueId {
        let y = self.value(name, &[width]);
        self.push(Reals { y });
        y
    }

    /// A parameter.
    pub fn param(&mut self, name: impl Into<String>, shape: &[usize]) -> ParamId {
        self.params.push(name, shape, Layout::Plain)
    }

    /// A parameter `[n_heads, d_model, d_head]`.
    pub fn heads_param(&mut self, name: impl Into<String>, shape: [usize; 3]) -> ParamId {
        self.params.push(name, &shape, Layout::HeadsInside)
    }

    /// The value with this name, or this second name.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the nearest name there is.
    pub fn find(&self, name: &str) -> Result<ValueId> {
        if let Some(&(_, id)) = self.aliases.iter().find(|(alias, _)| alias == name) {
            return Ok(id);
        }
        let names: Vec<&str> = self.values.iter().map(|v| v.name.as_str()).collect();
        names.iter().position(|known| *known == name).ok_or_else(|| {
            let names = names.into_iter().chain(self.params.infos.iter().map(|p| p.name.as_str()));
            let known = match nearest(name, names.clone()) {
                Some(near) => vec![near.to_owned()],
                None => names.map(str::to_owned).collect(),
            };
            Error::Unknown { kind: "hook or parameter", name: name.to_owned(), known }
        })
    }

    /// Whether it can be compiled at all; networks from outside may not fit their task.
    ///
    /// # Errors
    /// What keeps it from being.
    pub fn compiles(self) -> Result<()> {
        self.fault.map_or(Ok(()), Err)
    }

    /// Adds an op.
    pub fn push(&mut self, op: impl Op + 'static) {
        self.ops.push(Box::new(op));
    }
}
