//! Real-valued inputs: `y[b, t, :] = x[b, t, :]` from the batch.
//!
//! Shapes: y `[B · positions, width]`. Inputs have no gradient.

use crate::engine::batch::Inputs;
use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;

#[derive(Debug)]
pub(crate) struct Reals {
    pub(crate) y: ValueId,
}

impl Op for Reals {
    wiring!(inputs: ; output: y);
    fn keeps_pairs(&self) -> bool {
        false
    }
}

impl<T: Real> Kernel<T> for Reals {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Inputs::Reals { x_btn, width } = c.batch.x else {
            unreachable!("invariant: graphs over real inputs get real inputs")
        };
        let y = c.value_mut(self.y, &tile);
        let rows = tile.flat_map(|b| c.positions(self.y).iter().map(move |&t| b * c.batch.n_ctx + t));
        for (y, row) in y.chunks_exact_mut(*width).zip(rows) {
            for (y, &x) in y.iter_mut().zip(&x_btn[row * width..]) {
                *y = T::from_f64(x);
            }
        }
    }

    fn backward(&self, _c: &Ctx<'_, T>, _tile: Tile) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use crate::engine::cpu::linear::Linear;
    use crate::engine::{Batch, BatchShape, Graph, Params, Plan, Runner, StepOutcome, Workers};
    use crate::loss::LossTerm;
    use crate::spec::LossKind;

    /// A linear map of real inputs: loss and gradient by hand.
    #[test]
    fn a_linear_fit_has_the_textbook_loss_and_gradient() {
        let mut g = Graph::new(1);
        let x = g.reals("x", 2);
        let w = g.param("W", &[2, 1]);
        let y = g.value("y", &[1]);
        g.push(Linear { x, y, w, b: None, residual: None, d_in: 2, d_out: 1 });
        g.logits = y;
        let shape = BatchShape { examples: 2, d_vocab: 0, possible_tokens: None, loss_positions: vec![0] };
        let plan = Plan::build(g, &shape, &[LossTerm::new(LossKind::Mse, false)], &[], &[]).unwrap();
        let mut params = Params::<f64>::zeros(Arc::clone(plan.params()), 1);
        params.set(0, 0, [2.0, -1.0].into_iter());
        let mut grads = params.clone();
        let batch = Batch::reals(1, (vec![1.0, 0.0, 1.0, 2.0], 2), (vec![1.0, 1.0], 1));
        let mut out = [StepOutcome::default()];
        let mut runner = Runner::new(Arc::new(plan), Workers::new(1).unwrap());
        runner.loss_and_grads(&mut params, &mut grads, &[batch], &mut out).unwrap();
        // Predictions 2 and 0, targets 1 and 1: loss (1 + 1) / 2, gradient Σ (prediction − target) x.
        assert_eq!(out[0].loss, 1.0);
        assert_eq!(grads.get(0, 0).collect::<Vec<_>>(), [0.0, -2.0]);
    }
}
