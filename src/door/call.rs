//! A function written with candle, as an op of a plan.
//!
//! Reads the batch's tokens `[B, n_ctx]` and its parameters; writes logits `[B, positions, d_vocab_out]` and activations under hooks.
//! Forward calls the function for a tile of examples and keeps candle's graph; backward has candle differentiate `Σ y · dy` through it, which
//! gives exactly `dy` as the gradient of `y`; `reduce` adds the gradients of parameters, tile after tile in order.

use std::fmt;
use std::sync::Arc;

use candle_core::{Device, Error as CandleError, Result as CandleResult, Storage, Tensor, Var, WithDType};

use super::{Param, Scope};
use crate::engine::batch::Inputs;
use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, kernels, swap_id};
use crate::engine::real::Real;
use crate::error::Error;
use crate::model::TaskShape;

/// The function, without the settings that it closes over.
pub(super) type Body = Arc<dyn Fn(&Tensor, &Scope<'_>) -> CandleResult<Tensor> + Send + Sync>;

/// Where the tensors of the parameters are kept: no tile starts there.
const PARAMS: usize = usize::MAX;

/// A function from outside with all that it needs.
#[derive(Clone)]
pub(super) struct Function {
    pub(super) name: String,
    /// For the plan's fingerprint: other settings are another plan.
    pub(super) settings: String,
    pub(super) task: TaskShape,
    pub(super) params: Vec<Param>,
    pub(super) body: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.settings, self.task)
    }
}

impl Function {
    /// Result and kept activations.
    pub(super) fn call(&self, x: &Tensor, params: &[Tensor]) -> CandleResult<(Tensor, Vec<(String, Tensor)>)> {
        let scope = Scope::new(&self.task, &self.params, params);
        let y = (self.body)(x, &scope)?;
        Ok((y, scope.into_kept()))
    }

    pub(super) fn failed(&self, what: &str, cause: impl fmt::Display) -> Error {
        Error::Outside {
            kind: "model",
            name: self.name.clone(),
            what: what.to_owned(),
            // candle adds a backtrace below the first line where one is asked for.
            cause: cause.to_string().lines().next().unwrap_or_default().to_owned(),
            hint: "it comes from the function that this program adds, not from phaselab's own".into(),
        }
    }
}

/// A tensor `[B, …]` as `[B, positions, width]`, and which positions it has.
///
/// `axes` are those of a row where they are known.
pub(super) fn at_positions(
    (what, y): (&str, &Tensor),
    examples: usize,
    axes: Option<&[usize]>,
    task: &TaskShape,
) -> CandleResult<(Vec<usize>, Vec<usize>, Tensor)> {
    let (dims, at_loss) = (y.dims(), &task.loss_positions);
    let rows = match dims {
        [b, rest @ ..] if *b == examples => {
            let of_one = rest.len() == axes.map_or(1, <[usize]>::len);
            match rest {
                axes if of_one && at_loss.len() == 1 => Some((at_loss.clone(), axes.to_vec())),
                [n, axes @ ..] if *n == task.n_ctx && !axes.is_empty() => Some(((0..*n).collect(), axes.to_vec())),
                [n, axes @ ..] if *n == at_loss.len() && !axes.is_empty() => Some((at_loss.clone(), axes.to_vec())),
                _ => None,
            }
        }
        _ => None,
    };
    let rows = rows.filter(|(_, found)| axes.is_none_or(|axes| axes == found));
    let Some((positions, axes)) = rows else {
        let width =
            axes.map_or("…".to_owned(), |axes| axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", "));
        let all = format!("[{examples}, {}, {width}] or [{examples}, {}, {width}]", at_loss.len(), task.n_ctx);
        return Err(CandleError::Msg(format!("{what} has shape {dims:?}, expected {all}")));
    };
    let y = y.reshape((examples, positions.len(), axes.iter().product::<usize>()))?;
    Ok((positions, axes, y))
}

/// One of the op's values.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) id: ValueId,
    /// `logits`, or a hook.
    pub(super) name: String,
    pub(super) axes: Vec<usize>,
}

/// The op.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) params: Vec<ParamId>,
    /// The logits, then the hooks in the order in which they are kept.
    pub(super) outputs: Vec<Output>,
}

/// What forward leaves for backward.
struct Held {
    /// `[B, positions, width]`, at the end of candle's graph.
    y: Tensor,
}

/// What backward leaves for the sums: one for each parameter, `None` where the gradient is zero.
struct Grads(Vec<Option<Tensor>>);

impl Op for Call {
    kernels!();
    fn inputs(&self) -> Vec<ValueId> {
        vec![]
    }
    fn outputs(&self) -> Vec<ValueId> {
        self.outputs.iter().map(|output| output.id).collect()
    }
    fn params(&self) -> Vec<ParamId> {
        self.params.clone()
    }
    fn rewire(&mut self, _from: ValueId, _to: ValueId) {}
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id(self.outputs.iter_mut().map(|output| &mut output.id), from, to);
    }
    fn row_wise(&self) -> bool {
        false
    }
}

impl Call {
    fn y(&self) -> ValueId {
        self.outputs[0].id
    }

    /// The result for the examples of `tile`, written to the values that somebody wants; the logits' rows that the plan keeps.
    fn compute<T: Real + WithDType>(&self, c: &Ctx<'_, T>, tile: &Tile, params: &[Tensor]) -> CandleResult<Tensor> {
        let Inputs::Ids(ids) = c.batch.x else {
            return Err(CandleError::Msg("the inputs are real numbers, and a model from outside reads tokens".into()));
        };
        let (n_ctx, examples) = (c.batch.n_ctx, tile.len());
        let tokens = Tensor::from_slice(&ids[tile.start * n_ctx..tile.end * n_ctx], (examples, n_ctx), &Device::Cpu)?;
        let (y, kept) = self.function.call(&tokens, params)?;
        let dtype = <T as WithDType>::DTYPE;
        if y.dtype() != dtype {
            return Err(CandleError::Msg(format!("logits are {:?} where the parameters are {dtype:?}", y.dtype())));
        }
        let y = self.rows(c, &self.outputs[0], &y, examples)?;
        write(c.value_mut(self.y(), tile), &y)?;
        for output in &self.outputs[1..] {
            if c.plan.wants.iter().any(|want| want.id == output.id) {
                let found = kept.iter().find(|(name, _)| *name == output.name);
                let (_, x) = found.ok_or_else(|| CandleError::Msg(format!("hook {} was not kept", output.name)))?;
                let x = x.to_dtype(dtype)?;
                write(c.value_mut(output.id, tile), &self.rows(c, output, &x, examples)?)?;
            }
        }
        Ok(y)
    }

    /// An output `[B, positions, width]` at the positions that the plan keeps.
    fn rows<T: Real>(&self, c: &Ctx<'_, T>, output: &Output, x: &Tensor, examples: usize) -> CandleResult<Tensor> {
        let (given, _, x) = at_positions((&output.name, x), examples, Some(&output.axes), &self.function.task)?;
        let wanted = c.positions(output.id);
        if given == wanted {
            return Ok(x);
        }
        let index = |t: &usize| given.iter().position(|g| g == t).map(|i| i as u32);
        let rows: Vec<u32> = wanted.iter().filter_map(index).collect();
        x.index_select(&Tensor::new(rows, &Device::Cpu)?, 1)
    }

    fn differentiate<T: Real + WithDType>(
        &self,
        c: &Ctx<'_, T>,
        tile: &Tile,
        held: &Held,
        params: &[Tensor],
    ) -> CandleResult<Grads> {
        let dy = Tensor::from_slice(c.grad(self.y(), tile), held.y.shape(), &Device::Cpu)?;
        let mut grads = held.y.mul(&dy)?.sum_all()?.backward()?;
        Ok(Grads(params.iter().map(|param| grads.remove(param)).collect()))
    }
}

impl<T: Real + WithDType> Kernel<T> for Call {
    /// The parameters as tensors, once a step: those of a plan with gradients remember what is done with them.
    fn prepare(&self, c: &Ctx<'_, T>) {
        let leaf = |(&id, param): (&ParamId, &Param)| {
            let (numbers, shape) = (c.param(id), param.shape.as_slice());
            match c.plan.backward {
                true => Ok(Var::from_slice(numbers, shape, &Device::Cpu)?.into_inner()),
                false => Tensor::from_slice(numbers, shape, &Device::Cpu),
            }
        };
        match self.params.iter().zip(&self.function.params).map(leaf).collect::<CandleResult<Vec<_>>>() {
            Ok(tensors) => c.kept.put((self.y(), PARAMS), tensors),
            Err(e) => c.failure.note(self.function.failed("could not get its parameters", e)),
        }
    }

    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Some(params) = c.kept.get::<Vec<Tensor>>((self.y(), PARAMS)) else { return };
        match self.compute(c, &tile, &params) {
            Ok(y) if c.plan.backward => c.kept.put((self.y(), tile.start), Held { y }),
            Ok(_) => {}
            Err(e) => {
                // So that no update is made with whatever was there.
                c.value_mut(self.y(), &tile).fill(<T as Real>::from_f64(f64::NAN));
                c.failure.note(self.function.failed("failed in its forward pass", e));
            }
        }
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let params = c.kept.get::<Vec<Tensor>>((self.y(), PARAMS));
        let held = c.kept.take::<Held>((self.y(), tile.start));
        // Either is missing only after a failure that has been noted.
        let (Some(params), Some(held)) = (params, held) else { return };
        match self.differentiate(c, &tile, &held, &params) {
            Ok(grads) => c.kept.put((self.y(), tile.start), grads),
            Err(e) => c.failure.note(self.function.failed("failed in its backward pass", e)),
        }
    }

    fn owners(&self, _c: &Ctx<'_, T>) -> usize {
        1
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, _owner: usize) {
        let Some(grads) = c.kept.take::<Grads>((self.y(), tile.start)) else { return };
        for (&id, grad) in self.params.iter().zip(&grads.0) {
            let Some(grad) = grad else { continue };
            let sum = c.param_grad(id, 0..grad.elem_count());
            if let Err(e) = read(grad, |numbers| crate::engine::simd::add(sum, numbers)) {
                c.failure.note(self.function.failed("failed in its backward pass", e));
            }
        }
    }
}

/// Copies a tensor's numbers.
fn write<T: Real + WithDType>(to: &mut [T], x: &Tensor) -> CandleResult<()> {
    if x.elem_count() != to.len() {
        return Err(CandleError::Msg(format!("{} numbers for {} places", x.elem_count(), to.len())));
    }
    read(x, |numbers| to.copy_from_slice(numbers))
}

/// Shows a tensor's numbers in the order of its shape.
fn read<T: WithDType>(x: &Tensor, mut with: impl FnMut(&[T])) -> CandleResult<()> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(numbers) = &*storage else {
        return Err(CandleError::Msg("the tensor is not on the CPU".into()));
    };
    let start = layout.start_offset();
    with(&numbers.as_slice::<T>()?[start..start + x.elem_count()]);
    Ok(())
}
