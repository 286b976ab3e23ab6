//! A function written with candle, as an op of a plan.
//!
//! A model reads the batch's tokens `[B, n_ctx]` and writes logits `[B, positions, d_vocab_out]`; a layer reads rows `[rows, width]` of a
//! value and writes as many. Both have parameters, and activations under hooks. Forward calls the function for a tile and keeps
//! candle's graph; backward has candle differentiate `Σ y · dy` through it, which gives exactly `dy` as the gradient of `y`; `reduce` adds
//! the gradients of parameters, tile after tile in order.

use std::fmt;
use std::sync::Arc;

use candle_core::{Device, Error as CandleError, Result as CandleResult, Storage, Tensor, Var, WithDType};

use super::{Param, Scope};
use crate::engine::batch::Inputs;
use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, kernels, swap_id};
use crate::engine::real::Real;
use crate::engine::simd::add;
use crate::error::Error;
use crate::model::TaskShape;

/// The function with its settings.
pub(super) type Body = Arc<dyn Fn(&Tensor, &Scope<'_>) -> CandleResult<Tensor> + Send + Sync>;

/// Where the tensors of the parameters are kept: no tile starts there.
const PARAMS: usize = usize::MAX;

/// A function from outside with all that it needs.
#[derive(Clone)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// Of its rows, where it is a layer.
    pub(super) width: Option<usize>,
    /// For the plan's fingerprint: other settings are another plan.
    pub(super) settings: String,
    pub(super) task: TaskShape,
    /// Under the names that the function knows.
    pub(super) params: Vec<Param>,
    /// Whether it keeps gradients from something on purpose.
    pub(super) cuts_gradients: bool,
    pub(super) body: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.settings, self.task)
    }
}

/// Positions and axes of a result, and its numbers as `[examples, positions, width]` or `[rows, width]`.
pub(super) type Shaped = (Vec<usize>, Vec<usize>, Tensor);

impl Function {
    /// Result and kept activations.
    pub(super) fn call(&self, x: &Tensor, params: &[Tensor]) -> CandleResult<(Tensor, Vec<(String, Tensor)>)> {
        let scope = Scope::new(&self.task, &self.params, params);
        let y = (self.body)(x, &scope)?;
        Ok((y, scope.into_kept()))
    }

    /// `model` or `layer`.
    fn kind(&self) -> &'static str {
        if self.width.is_some() { "layer" } else { "model" }
    }

    /// What its result is called in messages.
    pub(super) fn result(&self) -> &'static str {
        if self.width.is_some() { "the result" } else { "logits" }
    }

    /// Axes of a row of its result.
    pub(super) fn axes(&self) -> Vec<usize> {
        vec![self.width.unwrap_or(self.task.d_vocab_out)]
    }

    pub(super) fn failed(&self, what: &str, cause: impl fmt::Display) -> Error {
        failed(self.kind(), &self.name, what, cause)
    }

    /// A result for `n` examples or rows, checked; `axes` are those of a row where they are known.
    pub(super) fn shaped(&self, (what, y): (&str, &Tensor), n: usize, axes: Option<&[usize]>) -> CandleResult<Shaped> {
        let (task, dims) = (&self.task, y.dims());
        let found = match dims {
            [first, rest @ ..] if *first == n => self.split(rest, axes.map_or(1, <[usize]>::len)),
            _ => None,
        };
        let found = found.filter(|(_, found)| axes.is_none_or(|axes| axes == found));
        let Some((positions, axes)) = found else {
            let width = axes.map_or("…".to_owned(), |axes| format!("{axes:?}").replace(['[', ']'], ""));
            let expected = match self.width {
                Some(_) => format!("[{n}, {width}]"),
                None => format!("[{n}, {}, {width}] or [{n}, {}, {width}]", task.loss_positions.len(), task.n_ctx),
            };
            return Err(CandleError::Msg(format!("{what} has shape {dims:?}, expected {expected}")));
        };
        let width: usize = axes.iter().product();
        let y = if self.width.is_some() { y.reshape((n, width))? } else { y.reshape((n, positions.len(), width))? };
        Ok((positions, axes, y))
    }

    /// The axes after the first as positions and axes of a row, of which there are `of_row` where no position is given.
    fn split(&self, rest: &[usize], of_row: usize) -> Option<(Vec<usize>, Vec<usize>)> {
        let (n_ctx, at_loss) = (self.task.n_ctx, &self.task.loss_positions);
        match rest {
            axes if self.width.is_some() => Some(((0..n_ctx).collect(), axes.to_vec())),
            axes if axes.len() == of_row && at_loss.len() == 1 => Some((at_loss.clone(), axes.to_vec())),
            [n, axes @ ..] if *n == n_ctx && !axes.is_empty() => Some(((0..n_ctx).collect(), axes.to_vec())),
            [n, axes @ ..] if *n == at_loss.len() && !axes.is_empty() => Some((at_loss.clone(), axes.to_vec())),
            _ => None,
        }
    }
}

/// An error of a function from outside.
pub(super) fn failed(kind: &'static str, name: &str, what: &str, cause: impl fmt::Display) -> Error {
    Error::Outside {
        kind,
        name: name.to_owned(),
        what: what.to_owned(),
        // candle adds a backtrace below the first line where one is asked for.
        cause: cause.to_string().lines().next().unwrap_or_default().to_owned(),
        hint: "it comes from a function that this program adds, not from phaselab's own".into(),
    }
}

/// One of the op's values.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) id: ValueId,
    /// A hook, by the name that the function knows.
    pub(super) name: String,
    pub(super) axes: Vec<usize>,
}

/// The op.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) params: Vec<ParamId>,
    /// What a layer reads.
    pub(super) input: Option<ValueId>,
    /// The result, then the hooks in the order in which they are kept.
    pub(super) outputs: Vec<Output>,
}

/// What forward leaves for backward: both ends of candle's graph.
struct Held {
    /// Of a layer whose input wants a gradient.
    x: Option<Tensor>,
    y: Tensor,
}

/// What backward leaves for the sums: one for each parameter, `None` where the gradient is zero.
struct Grads(Vec<Option<Tensor>>);

impl Op for Call {
    kernels!();
    fn inputs(&self) -> Vec<ValueId> {
        self.input.into_iter().collect()
    }
    fn outputs(&self) -> Vec<ValueId> {
        self.outputs.iter().map(|output| output.id).collect()
    }
    fn params(&self) -> Vec<ParamId> {
        self.params.clone()
    }
    fn rewire(&mut self, from: ValueId, to: ValueId) {
        swap_id(&mut self.input, from, to);
    }
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id(self.outputs.iter_mut().map(|output| &mut output.id), from, to);
    }
    fn row_wise(&self) -> bool {
        self.input.is_some()
    }
}

impl Call {
    fn y(&self) -> ValueId {
        self.outputs[0].id
    }

    /// Tokens or rows of `tile`, and how many examples or rows they are.
    fn input<T: Real + WithDType>(&self, c: &Ctx<'_, T>, tile: &Tile) -> CandleResult<(Tensor, usize)> {
        if let Some(x) = self.input {
            let (numbers, width) = (c.value(x, tile), c.width(x));
            let shape = (numbers.len() / width, width);
            let x = match c.wants_grad(0) {
                true => Var::from_slice(numbers, shape, &Device::Cpu)?.into_inner(),
                false => Tensor::from_slice(numbers, shape, &Device::Cpu)?,
            };
            return Ok((x, shape.0));
        }
        let Inputs::Ids(ids) = c.batch.x else {
            return Err(CandleError::Msg("the inputs are real numbers, and it reads tokens".into()));
        };
        let (n_ctx, n) = (c.batch.n_ctx, tile.len());
        Ok((Tensor::from_slice(&ids[tile.start * n_ctx..tile.end * n_ctx], (n, n_ctx), &Device::Cpu)?, n))
    }

    /// Calls the function for `tile` and writes what somebody wants of the result.
    fn compute<T: Real + WithDType>(&self, c: &Ctx<'_, T>, tile: &Tile, params: &[Tensor]) -> CandleResult<Held> {
        let (x, n) = self.input(c, tile)?;
        let (y, kept) = self.function.call(&x, params)?;
        let dtype = <T as WithDType>::DTYPE;
        if y.dtype() != dtype {
            let (what, got) = (self.function.result(), y.dtype());
            return Err(CandleError::Msg(format!("{what} is {got:?} where the parameters are {dtype:?}")));
        }
        let y = self.rows(c, &self.outputs[0], &y, n)?;
        write(c.value_mut(self.y(), tile), &y)?;
        for output in &self.outputs[1..] {
            if c.plan.wants.iter().any(|want| want.id == output.id) {
                let found = kept.iter().find(|(name, _)| *name == output.name);
                let (_, x) = found.ok_or_else(|| CandleError::Msg(format!("hook {} was not kept", output.name)))?;
                write(c.value_mut(output.id, tile), &self.rows(c, output, &x.to_dtype(dtype)?, n)?)?;
            }
        }
        Ok(Held { x: self.input.map(|_| x), y })
    }

    /// A value at the positions that the plan keeps.
    fn rows<T: Real>(&self, c: &Ctx<'_, T>, output: &Output, x: &Tensor, n: usize) -> CandleResult<Tensor> {
        let what = if output.id == self.y() { self.function.result() } else { &output.name };
        let (given, _, x) = self.function.shaped((what, x), n, Some(&output.axes))?;
        let wanted = c.positions(output.id);
        if self.input.is_some() || given == wanted {
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
        if let (Some(x), Some((dx, adding))) = (&held.x, self.input.and_then(|_| c.input_grad(0, tile))) {
            if !adding {
                dx.fill(T::ZERO);
            }
            if let Some(grad) = grads.get(x) {
                read(grad, |numbers| add(dx, numbers))?;
            }
        }
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
            Ok(held) if c.plan.backward => c.kept.put((self.y(), tile.start), held),
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
            if let Err(e) = read(grad, |numbers| add(sum, numbers)) {
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
fn read<T: WithDType>(x: &Tensor, with: impl FnOnce(&[T])) -> CandleResult<()> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(numbers) = &*storage else {
        return Err(CandleError::Msg("the tensor is not on the CPU".into()));
    };
    let start = layout.start_offset();
    with(&numbers.as_slice::<T>()?[start..start + x.elem_count()]);
    Ok(())
}
