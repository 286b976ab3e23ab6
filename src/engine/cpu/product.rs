//! Product: `y = a ⊙ b + bias`, the bias where there is one. Shapes: a, b, y `[rows, d]`, bias `[d]`.
//!
//! Backward: `da = dy ⊙ b`, `db = dy ⊙ a`, `dbias += Σ_rows dy`. Of gated MLPs, in TransformerLens's order.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, vectorized};

use super::{column_blocks, columns};

#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) a: ValueId,
    pub(crate) b: ValueId,
    pub(crate) y: ValueId,
    pub(crate) bias: Option<ParamId>,
}

impl Op for Product {
    wiring!(inputs: a, b; output: y);
    fn params(&self) -> Vec<ParamId> {
        self.bias.into_iter().collect()
    }
}

impl<T: Real> Kernel<T> for Product {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (a, b, y) = (c.value(self.a, &tile), c.value(self.b, &tile), c.value_mut(self.y, &tile));
        vectorized!({
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = a * b;
            }
            if let Some(bias) = self.bias {
                let bias = c.param(bias);
                for y in y.chunks_exact_mut(bias.len()) {
                    add(y, bias);
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let dy = c.grad(self.y, &tile);
        for (input, other) in [self.b, self.a].into_iter().enumerate() {
            let other = c.value(other, &tile);
            if let Some((dx, adding)) = c.input_grad(input, &tile) {
                vectorized!(for ((dx, &dy), &other) in dx.iter_mut().zip(dy).zip(other) {
                    let through = dy * other;
                    *dx = if adding { *dx + through } else { through };
                });
            }
        }
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        if self.bias.is_some() { column_blocks(c.width(self.y)) } else { 0 }
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let Some(bias) = self.bias else { return };
        let d = c.width(self.y);
        let cols = columns(owner, d);
        let (dy, db) = (c.grad(self.y, &tile), c.param_grad(bias, cols.clone()));
        vectorized!(for dy in dy.chunks_exact(d) {
            add(db, &dy[cols.clone()]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for with_bias in [false, true] {
            let mut check = OpCheck::new(5, 2);
            let (a, b) = (check.input(&[70]), check.input(&[70]));
            let bias = with_bias.then(|| check.param("b", &[70]));
            let y = check.value(&[70]);
            check.assert_gradients(Product { a, b, y, bias }, y);
        }
    }
}
