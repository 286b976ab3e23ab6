//! Gain: `y = x ⊙ w`, column by column: RMSNorm's weight after [`PreNorm`](super::pre_norm::PreNorm).
//!
//! Shapes: x, y `[rows, d]`, w `[d]`. Backward: `dx = dy ⊙ w`, `dw += Σ_rows dy ⊙ x`.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::vectorized;

use super::{column_blocks, columns};

#[derive(Debug)]
pub(crate) struct Gain {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) w: ParamId,
}

impl Op for Gain {
    wiring!(inputs: x; output: y);
    fn params(&self) -> Vec<ParamId> {
        vec![self.w]
    }
}

impl<T: Real> Kernel<T> for Gain {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y, w) = (c.value(self.x, &tile), c.value_mut(self.y, &tile), c.param(self.w));
        vectorized!({
            for (x, y) in x.chunks_exact(w.len()).zip(y.chunks_exact_mut(w.len())) {
                for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
                    *y = x * w;
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        let (dy, w) = (c.grad(self.y, &tile), c.param(self.w));
        vectorized!({
            for (dy, dx) in dy.chunks_exact(w.len()).zip(dx.chunks_exact_mut(w.len())) {
                for ((dx, &dy), &w) in dx.iter_mut().zip(dy).zip(w) {
                    let through = dy * w;
                    *dx = if adding { *dx + through } else { through };
                }
            }
        });
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        column_blocks(c.width(self.y))
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let d = c.width(self.y);
        let cols = columns(owner, d);
        let (x, dy, dw) = (c.value(self.x, &tile), c.grad(self.y, &tile), c.param_grad(self.w, cols.clone()));
        vectorized!({
            for (x, dy) in x.chunks_exact(d).zip(dy.chunks_exact(d)) {
                for ((dw, &dy), &x) in dw.iter_mut().zip(&dy[cols.clone()]).zip(&x[cols.clone()]) {
                    *dw = dy.mul_add(x, *dw);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for d in [3, 70] {
            let mut check = OpCheck::new(5, 2);
            let x = check.input(&[d]);
            let w = check.param("w", &[d]);
            let y = check.value(&[d]);
            check.assert_gradients(Gain { x, y, w }, y);
        }
    }
}
