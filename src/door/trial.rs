//! One call on a few examples before the first step: what the function gives, and what cannot work, told before anything is trained.
//!
//! Tried in f32 and in f64 with numbers of no meaning: shapes and dtypes, gradients of all parameters, examples that do not see each other.

use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};

use super::call::{Function, at_positions};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Name, axes of a row, positions of a value that the function gives.
pub(super) type Given = (String, Vec<usize>, Vec<usize>);

/// The logits and the hooks of `function`.
///
/// # Errors
/// [`Error::Outside`] with what cannot work.
pub(super) fn try_out(function: &Function) -> Result<Vec<Given>> {
    let fail = |e: candle_core::Error| function.failed("failed in its forward pass", e);
    let narrow = given(function, DType::F32, 2).map_err(fail)?;
    let wide = given(function, DType::F64, 3).map_err(fail)?;
    if narrow.0 != wide.0 {
        let what = "keeps hooks that depend on the batch";
        return Err(function.failed(what, format!("{:?}, then {:?}", narrow.0, wide.0)));
    }
    gradients(function, &wide.1, &wide.2).map_err(|e| function.failed("failed in its backward pass", e))??;
    alone(function, &wide.1, &wide.2).map_err(fail)??;
    Ok(narrow.0)
}

/// What the function gives for some examples, its logits, and the parameters that it was given.
fn given(function: &Function, dtype: DType, examples: usize) -> CandleResult<(Vec<Given>, Tensor, Vec<Tensor>)> {
    let params = (function.params.iter())
        .map(|param| {
            let mut numbers = vec![0.0; param.shape.iter().product()];
            Rng::stream(0, &format!("trial/{}", param.name)).fill_normal(&mut numbers);
            numbers.iter_mut().for_each(|x| *x *= 0.3);
            let tensor = Tensor::from_vec(numbers, param.shape.as_slice(), &Device::Cpu)?.to_dtype(dtype)?;
            Ok(Var::from_tensor(&tensor)?.into_inner())
        })
        .collect::<CandleResult<Vec<_>>>()?;
    let (y, kept) = function.call(&tokens(function, examples)?, &params)?;
    if y.dtype() != dtype {
        let message = format!("logits are {:?} where the parameters are {dtype:?}", y.dtype());
        return Err(candle_core::Error::Msg(message));
    }
    let task = &function.task;
    let (positions, axes, logits) = at_positions(("logits", &y), examples, Some(&[task.d_vocab_out]), task)?;
    let mut all = vec![("logits".to_owned(), axes, positions)];
    for (name, x) in kept {
        if all.iter().any(|(other, ..)| *other == name) {
            return Err(candle_core::Error::Msg(format!("hook {name} is kept twice")));
        }
        let (positions, axes, _) = at_positions((&name, &x), examples, None, task)?;
        all.push((name, axes, positions));
    }
    Ok((all, logits, params))
}

/// Tokens in which no two examples are alike.
fn tokens(function: &Function, examples: usize) -> CandleResult<Tensor> {
    let (n_ctx, d_vocab) = (function.task.n_ctx, function.task.d_vocab);
    let token = |i: usize| ((i / n_ctx + i % n_ctx) % d_vocab.max(1)) as u32;
    Tensor::from_vec((0..examples * n_ctx).map(token).collect::<Vec<u32>>(), (examples, n_ctx), &Device::Cpu)
}

/// A gradient must reach every parameter.
fn gradients(function: &Function, logits: &Tensor, params: &[Tensor]) -> CandleResult<Result<()>> {
    let grads = logits.sum_all()?.backward()?;
    let cut: Vec<&str> = (function.params.iter().zip(params))
        .filter(|(_, tensor)| grads.get(tensor).is_none())
        .map(|(param, _)| param.name.as_str())
        .collect();
    if cut.is_empty() {
        return Ok(Ok(()));
    }
    let cause = "nothing that depends on them reaches the logits, or an operation cuts gradients: candle's fused layer_norm, rms_norm, \
                 softmax_last_dim and rope do, its softmax and layer_norm_slow do not";
    Ok(Err(function.failed(&format!("gives no gradient to {}", cut.join(", ")), cause)))
}

/// An example must have the logits that it has alone.
fn alone(function: &Function, logits: &Tensor, params: &[Tensor]) -> CandleResult<Result<()>> {
    let (one, _) = function.call(&tokens(function, 1)?, params)?;
    let numbers = |x: &Tensor| x.flatten_all()?.to_vec1::<f64>();
    let (one, among) = (numbers(&one)?, numbers(&logits.narrow(0, 0, 1)?)?);
    let size = among.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
    if one.len() == among.len() && one.iter().zip(&among).all(|(a, b)| !((a - b).abs() > 1e-9 * size)) {
        return Ok(Ok(()));
    }
    let cause = "a batch is worked on in tiles of examples, so nothing may be averaged over it";
    Ok(Err::<(), Error>(function.failed("gives an example other logits among others than alone", cause)))
}
