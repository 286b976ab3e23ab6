//! Sum: `y = a + b`. Shapes: all `[rows, width]`. Backward: `da = dy`, `db = dy`.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, vectorized};

#[derive(Debug)]
pub(crate) struct Sum {
    pub(crate) a: ValueId,
    pub(crate) b: ValueId,
    pub(crate) y: ValueId,
}

impl Op for Sum {
    wiring!(inputs: a, b; output: y);
    fn as_sum(&self) -> Option<(ValueId, ValueId)> {
        Some((self.a, self.b))
    }
}

impl<T: Real> Kernel<T> for Sum {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let y = c.value_mut(self.y, &tile);
        y.copy_from_slice(c.value(self.a, &tile));
        vectorized!(add(y, c.value(self.b, &tile)));
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let dy = c.grad(self.y, &tile);
        for input in 0..2 {
            if let Some((dx, adding)) = c.input_grad(input, &tile) {
                if adding {
                    vectorized!(add(dx, dy));
                } else {
                    dx.copy_from_slice(dy);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut check = OpCheck::new(3, 2);
        let (a, b) = (check.input(&[5]), check.input(&[5]));
        let y = check.value(&[5]);
        check.assert_gradients(Sum { a, b, y }, y);
        let mut check = OpCheck::new(3, 2);
        let a = check.input(&[5]);
        let y = check.value(&[5]);
        check.assert_gradients(Sum { a, b: a, y }, y);
    }
}
