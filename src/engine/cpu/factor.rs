//! A constant factor: `y = c · x`, as parametrisations put before layers. Shapes: all `[rows, width]`. Backward: `dx = c · dy`.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{axpy, vectorized};

#[derive(Debug)]
pub(crate) struct Factor {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) by: f64,
}

impl Op for Factor {
    wiring!(inputs: x; output: y);
}

impl<T: Real> Kernel<T> for Factor {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y, by) = (c.value(self.x, &tile), c.value_mut(self.y, &tile), T::from_f64(self.by));
        vectorized!({
            for (y, &x) in y.iter_mut().zip(x) {
                *y = by * x;
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        if !adding {
            dx.fill(T::ZERO);
        }
        vectorized!(axpy(dx, T::from_f64(self.by), c.grad(self.y, &tile)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut check = OpCheck::new(3, 2);
        let x = check.input(&[37]);
        let y = check.value(&[37]);
        check.assert_gradients(Factor { x, y, by: -0.3 }, y);
    }
}
