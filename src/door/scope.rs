//! What a function from outside sees beside its tensor: parameters by name, its task, and hooks to keep activations under.

use std::cell::RefCell;

use candle_core::{Error, Result, Tensor};

use super::Param;
use crate::model::TaskShape;

/// Parameters by name, the task, and a place for activations.
pub struct Scope<'a> {
    task: &'a TaskShape,
    params: &'a [Param],
    tensors: &'a [Tensor],
    kept: RefCell<Vec<(String, Tensor)>>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(task: &'a TaskShape, params: &'a [Param], tensors: &'a [Tensor]) -> Scope<'a> {
        Scope { task, params, tensors, kept: RefCell::default() }
    }

    /// The sizes of the task.
    pub fn task(&self) -> &'a TaskShape {
        self.task
    }

    /// A parameter.
    ///
    /// # Errors
    /// A name that the model did not list.
    pub fn param(&self, name: &str) -> Result<&'a Tensor> {
        let at = self.params.iter().position(|param| param.name == name);
        at.map(|at| &self.tensors[at]).ok_or_else(|| {
            let known: Vec<&str> = self.params.iter().map(|param| param.name.as_str()).collect();
            Error::Msg(format!("there is no parameter `{name}`; there are {}", known.join(", ")))
        })
    }

    /// Rows of a parameter `[n, d]` for indices `[…]`: `[…, d]`.
    ///
    /// # Errors
    /// As [`Scope::param`]; an index beyond the parameter's rows.
    pub fn embed(&self, name: &str, indices: &Tensor) -> Result<Tensor> {
        let w = self.param(name)?;
        let shape = [indices.dims(), &w.dims()[1..]].concat();
        w.index_select(&indices.flatten_all()?, 0)?.reshape(shape)
    }

    /// Keeps an activation `[B, positions, …]` under a hook's name for measures, figures and whoever asks for it; positions are all
    /// of the task's, or the loss's. Where the loss has one position, `[B, width]` is that position's.
    ///
    /// The same hooks must be kept in every call.
    pub fn keep(&self, hook: &str, activation: &Tensor) {
        self.kept.borrow_mut().push((hook.to_owned(), activation.clone()));
    }

    pub(super) fn into_kept(self) -> Vec<(String, Tensor)> {
        self.kept.into_inner()
    }
}
