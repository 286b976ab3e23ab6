//! One call on a few examples before the first step: what a function gives, and what cannot work, told before anything is trained.
//!
//! Tried in f32 and in f64 with numbers of no meaning: shapes and dtypes, gradients of all parameters and of a layer's rows, held against
//! differences, examples that do not see each other.

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
    /// The rows that a layer read.
    x: Option<Tensor>,
    params: Vec<Tensor>,
}

/// What an operation without a gradient may be.
const CUTS: &str =
    "candle's fused layer_norm, rms_norm, softmax_last_dim and rope do, its softmax and layer_norm_slow do not";
/// Lengths of the steps whose differences a gradient is held against, each along a direction of its own: where one meets a kink,
/// another does not.
const STEPS: [f64; 4] = [1e-5, 1e-6, 1e-5, 1e-4];
/// How far a gradient may be from a difference, of the larger of the two.
const TOLERANCE: f64 = 1e-4;

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
        let cause = format!("nothing that depends on them reaches the result, or an operation cuts gradients: {CUTS}");
        return Err(function.failed(&format!("gives no gradient to {}", cut.join(", ")), cause));
    }
    if !is_same_alone(function, &wide).map_err(fail)? {
        let cause = "a batch is worked on in tiles of examples, so nothing may be averaged over it";
        return Err(function.failed("gives an example other numbers among others than alone", cause));
    }
    if !function.cuts_gradients {
        let wrong = wrong_gradients(function, &wide).map_err(|e| function.failed("failed in its backward pass", e))?;
        if !wrong.is_empty() {
            let cause = format!(
                "differences of the result say otherwise, so an operation on one of the ways to the result cuts gradients ({CUTS}) or has \
                 wrong ones, as candle's conv1d for its kernel; if it is meant, let `cuts_gradients` say so"
            );
            return Err(function.failed(&format!("gives wrong gradients to {}", wrong.join(", ")), cause));
        }
    }
    Ok(narrow.given)
}

/// The parameters, and the input of a layer, whose gradient is not the slope of the result along any direction that is tried.
fn wrong_gradients(function: &Function, called: &Called) -> CandleResult<Vec<String>> {
    let mut names: Vec<String> = function.params.iter().map(|param| param.name.clone()).collect();
    names.extend(called.x.iter().map(|_| "its input".to_owned()));
    let leaves: Vec<Tensor> = called.params.iter().chain(&called.x).cloned().collect();
    // No plain sum: that of a softmax is always 1.
    let weights = normal("weights", called.y.dims())?;
    let grads = called.y.mul(&weights)?.sum_all()?.backward()?;
    let grads: Vec<Option<&Tensor>> = leaves.iter().map(|leaf| grads.get(leaf)).collect();
    let n = called.y.dim(0)?;
    let value = |leaves: &[Tensor]| -> CandleResult<f64> {
        let (params, x) = leaves.split_at(function.params.len());
        let tokens = if x.is_empty() { Some(input(function, DType::F64, n)?) } else { None };
        let Some(x) = x.first().or(tokens.as_ref()) else { return Ok(f64::NAN) };
        let (y, _) = function.call(x, params)?;
        let (_, _, y) = function.shaped((function.result(), &y), n, Some(&function.axes()))?;
        y.mul(&weights)?.sum_all()?.to_scalar()
    };
    let size = 1.0 + value(&leaves)?.abs();
    // Whether the gradient of the leaves in `among` is the slope.
    let agrees = |among: &dyn Fn(usize) -> bool| -> CandleResult<bool> {
        for (attempt, h) in STEPS.into_iter().enumerate() {
            let (mut slope, mut there, mut back) = (0.0, vec![], vec![]);
            for (i, leaf) in leaves.iter().enumerate() {
                if !among(i) {
                    there.push(leaf.detach());
                    back.push(leaf.detach());
                    continue;
                }
                let v = normal(&format!("direction {attempt} of {}", names[i]), leaf.dims())?;
                if let Some(grad) = grads[i] {
                    slope += grad.mul(&v)?.sum_all()?.to_scalar::<f64>()?;
                }
                let step = (v * h)?;
                there.push(leaf.detach().add(&step)?);
                back.push(leaf.detach().sub(&step)?);
            }
            let difference = (value(&there)? - value(&back)?) / (2.0 * h);
            let allowed = TOLERANCE * slope.abs().max(difference.abs()) + 1e-13 * size / h;
            // What is not finite here need not be so in training.
            if !(slope - difference).is_finite() || (slope - difference).abs() <= allowed {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if agrees(&|_| true)? {
        return Ok(vec![]);
    }
    let mut wrong = vec![];
    for (i, name) in names.iter().enumerate() {
        if !agrees(&|other| other == i)? {
            wrong.push(name.clone());
        }
    }
    Ok(if wrong.is_empty() { vec!["its parameters".to_owned()] } else { wrong })
}

fn call(function: &Function, dtype: DType, n: usize) -> CandleResult<Called> {
    let params = (function.params.iter())
        .map(|param| {
            let tensor = normal(&param.name, &param.shape)?.to_dtype(dtype)?;
            Ok(Var::from_tensor(&tensor)?.into_inner())
        })
        .collect::<CandleResult<Vec<_>>>()?;
    let mut x = input(function, dtype, n)?;
    if function.width.is_some() {
        x = Var::from_tensor(&x)?.into_inner();
    }
    let (y, kept) = function.call(&x, &params)?;
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
    Ok(Called { given, y, x: function.width.map(|_| x), params })
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
