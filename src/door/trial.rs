//! One call on a few examples before the first step: what a function gives, and what cannot work, told before anything is trained.
//!
//! Tried in f32 and in f64 with numbers of no meaning: shapes and dtypes, gradients of all parameters, examples that do not see each other.

use candle_core::{DType, Device, Error as CandleError, Result as CandleResult, Tensor, Var};

use super::call::Function;
use crate::error::Result;
use crate::rng::Rng;

/// Name, axes of a row, positions of a value that the function gives.
pub(super) type Given = (String, Vec<usize>, Vec<usize>);

/// What a call gave, and with which parameters.
struct Called {
    given: Vec<Given>,
    /// `[examples, positions, width]` or `[rows, width]`.
    y: Tensor,
    params: Vec<Tensor>,
}

/// The result and the hooks of `function`.
///
/// # Errors
/// [`Error::Outside`](crate::error::Error::Outside) with what cannot work.
pub(super) fn try_out(function: &Function) -> Result<Vec<Given>> {
    let fail = |e: CandleError| function.failed("failed in its forward pass", e);
    let narrow = call(function, DType::F32, 2).map_err(fail)?;
    let wide = call(function, DType::F64, 3).map_err(fail)?;
    if narrow.given != wide.given {
        let what = "keeps hooks that depend on the batch";
        return Err(function.failed(what, format!("{:?}, then {:?}", narrow.given, wide.given)));
    }
    let cut = without_gradient(function, &wide).map_err(|e| function.failed("failed in its backward pass", e))?;
    if !cut.is_empty() {
        let cause = "nothing that depends on them reaches the result, or an operation cuts gradients: candle's fused layer_norm, \
                     rms_norm, softmax_last_dim and rope do, its softmax and layer_norm_slow do not";
        return Err(function.failed(&format!("gives no gradient to {}", cut.join(", ")), cause));
    }
    if !is_same_alone(function, &wide).map_err(fail)? {
        let cause = "a batch is worked on in tiles of examples, so nothing may be averaged over it";
        return Err(function.failed("gives an example other numbers among others than alone", cause));
    }
    Ok(narrow.given)
}

fn call(function: &Function, dtype: DType, n: usize) -> CandleResult<Called> {
    let params = (function.params.iter())
        .map(|param| {
            let tensor = normal(&param.name, &param.shape)?.to_dtype(dtype)?;
            Ok(Var::from_tensor(&tensor)?.into_inner())
        })
        .collect::<CandleResult<Vec<_>>>()?;
    let (y, kept) = function.call(&input(function, dtype, n)?, &params)?;
    let what = function.result();
    if y.dtype() != dtype {
        return Err(CandleError::Msg(format!("{what} is {:?} where the parameters are {dtype:?}", y.dtype())));
    }
    let (positions, axes, y) = function.shaped((what, &y), n, Some(&function.axes()))?;
    let mut given = vec![("logits".to_owned(), axes, positions)];
    for (name, x) in kept {
        if given.iter().any(|(other, ..)| *other == name) {
            return Err(CandleError::Msg(format!("hook {name} is kept twice")));
        }
        let (positions, axes, _) = function.shaped((&name, &x), n, None)?;
        given.push((name, axes, positions));
    }
    Ok(Called { given, y, params })
}

/// `n` examples of tokens, or rows, in which no two are alike.
fn input(function: &Function, dtype: DType, n: usize) -> CandleResult<Tensor> {
    if let Some(width) = function.width {
        return normal("rows", &[3, width])?.narrow(0, 0, n)?.to_dtype(dtype);
    }
    let (n_ctx, d_vocab) = (function.task.n_ctx, function.task.d_vocab);
    let token = |i: usize| ((i / n_ctx + i % n_ctx) % d_vocab.max(1)) as u32;
    Tensor::from_vec((0..n * n_ctx).map(token).collect::<Vec<u32>>(), (n, n_ctx), &Device::Cpu)
}

pub(super) fn normal(name: &str, shape: &[usize]) -> CandleResult<Tensor> {
    let mut numbers = vec![0.0; shape.iter().product()];
    Rng::stream(0, &format!("trial/{name}")).fill_normal(&mut numbers);
    numbers.iter_mut().for_each(|x| *x *= 0.3);
    Tensor::from_vec(numbers, shape, &Device::Cpu)
}

/// Parameters that no gradient reaches.
fn without_gradient<'a>(function: &'a Function, called: &Called) -> CandleResult<Vec<&'a str>> {
    let grads = called.y.sum_all()?.backward()?;
    let cut = function.params.iter().zip(&called.params).filter(|(_, tensor)| grads.get(tensor).is_none());
    Ok(cut.map(|(param, _)| param.name.as_str()).collect())
}

/// Whether the first example has the same result alone.
fn is_same_alone(function: &Function, called: &Called) -> CandleResult<bool> {
    let (one, _) = function.call(&input(function, DType::F64, 1)?, &called.params)?;
    let numbers = |x: &Tensor| x.flatten_all()?.to_vec1::<f64>();
    let (one, among) = (numbers(&one)?, numbers(&called.y.narrow(0, 0, 1)?)?);
    let size = among.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
    let is_apart = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-9 * size;
    Ok(one.len() == among.len() && !one.iter().zip(&among).any(is_apart))
}
