//! A loss written with candle: losses of rows of logits, and candle's gradient of their sum, which is each row's own.

use candle_core::{DType, Device, Error as CandleError, Result as CandleResult, Tensor, Var};

use super::call::failed;
use super::trial::normal;
use crate::error::Result;
use crate::outside::RowLoss;

/// The function `(logits [rows, classes] in f64, right classes [rows]) -> losses [rows]`.
pub(super) type Body = dyn Fn(&Tensor, &Tensor) -> CandleResult<Tensor> + Send + Sync;

pub(super) struct Loss {
    pub(super) name: &'static str,
    pub(super) body: Box<Body>,
}

impl Loss {
    /// Losses, and the gradient if asked for.
    fn call(&self, logits: Tensor, targets: &[u32], with_gradient: bool) -> CandleResult<(Vec<f64>, Vec<f64>)> {
        let n = targets.len();
        let targets = Tensor::from_slice(targets, n, &Device::Cpu)?;
        if !with_gradient {
            return Ok((self.losses(&(self.body)(&logits, &targets)?, n)?, vec![]));
        }
        let logits = Var::from_tensor(&logits)?;
        let losses = (self.body)(&logits, &targets)?;
        let grads = losses.sum_all()?.backward()?;
        let Some(grad) = grads.get(&logits) else {
            return Err(CandleError::Msg("it gives no gradient to the logits".into()));
        };
        Ok((self.losses(&losses, n)?, grad.flatten_all()?.to_vec1()?))
    }

    fn losses(&self, losses: &Tensor, n: usize) -> CandleResult<Vec<f64>> {
        if losses.dims() != [n] || losses.dtype() != DType::F64 {
            let (dims, dtype) = (losses.dims(), losses.dtype());
            return Err(CandleError::Msg(format!("the losses are {dims:?} of {dtype:?}, expected [{n}] of F64")));
        }
        losses.to_vec1()
    }
}

impl RowLoss for Loss {
    fn rows(&self, logits: &[f64], targets: &[u32], losses: &mut [f64], dlogits: Option<&mut [f64]>) -> Result<()> {
        let shape = (targets.len(), logits.len() / targets.len().max(1));
        let called = Tensor::from_slice(logits, shape, &Device::Cpu)
            .and_then(|logits| self.call(logits, targets, dlogits.is_some()))
            .map_err(|e| failed("loss", self.name, "cannot be computed", e))?;
        losses.copy_from_slice(&called.0);
        if let Some(d) = dlogits {
            d.copy_from_slice(&called.1);
        }
        Ok(())
    }

    fn try_out(&self, classes: usize) -> Result<()> {
        let target = |i: usize| (i % classes.max(1)) as u32;
        let call = |n: usize| {
            let targets: Vec<u32> = (0..n).map(target).collect();
            self.call(normal("logits", &[3, classes])?.narrow(0, 0, n)?.contiguous()?, &targets, true)
        };
        let called = call(1).and_then(|one| Ok((one, call(3)?)));
        let (one, three) = called.map_err(|e| failed("loss", self.name, "cannot be computed", e))?;
        let is_apart = |a: &[f64], b: &[f64]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-9 * (1.0 + a.abs()));
        if is_apart(&one.0, &three.0) || is_apart(&one.1, &three.1) {
            let cause = "losses are computed in tiles of rows, so nothing may be summed or averaged over rows";
            return Err(failed("loss", self.name, "gives a row another loss among others than alone", cause));
        }
        Ok(())
    }
}
