//! SoLU: `y = x ⊙ softmax(x)` over a row. Shapes: x, y `[rows, d]`. Source: Elhage et al. 2022, Softmax Linear Units.
//!
//! Backward, with s = softmax(x): `dx = s ⊙ (dy + dy ⊙ x − Σ dy ⊙ y)`.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{dot, max, sum, vectorized};

#[derive(Debug)]
pub(crate) struct Solu {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
}

impl Op for Solu {
    wiring!(inputs: x; output: y);
}

/// exp(x − max x) into `to`, and 1 over their sum.
#[inline(always)]
fn softmax<T: Real>(x: &[T], to: &mut [T]) -> T {
    let top = max(x);
    for (to, &x) in to.iter_mut().zip(x) {
        *to = (x - top).exp();
    }
    T::ONE / sum(to)
}

impl<T: Real> Kernel<T> for Solu {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y, d) = (c.value(self.x, &tile), c.value_mut(self.y, &tile), c.width(self.x));
        vectorized!({
            for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
                let inverse = softmax(x, y);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = *y * inverse * x;
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y, dy) = (c.value(self.x, &tile), c.value(self.y, &tile), c.grad(self.y, &tile));
        let d = c.width(self.x);
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        vectorized!({
            for (((x, y), dy), dx) in
                x.chunks_exact(d).zip(y.chunks_exact(d)).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d))
            {
                let (top, shared) = (max(x), dot(dy, y));
                // The sum of the exponentials again: y / x would lose it where x is 0.
                let mut all = T::ZERO;
                for &x in x {
                    all += (x - top).exp();
                }
                let inverse = T::ONE / all;
                for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
                    let through = (x - top).exp() * inverse * (dy.mul_add(x, dy) - shared);
                    *dx = if adding { *dx + through } else { through };
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
        for d in [3, 20] {
            let mut check = OpCheck::new(5, 2);
            let x = check.input(&[d]);
            let y = check.value(&[d]);
            check.assert_gradients(Solu { x, y }, y);
        }
    }
}
