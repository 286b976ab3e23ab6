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
