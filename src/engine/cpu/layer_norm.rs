//! LayerNorm: `y = (x − mean x) / scale · w + b`, `scale = √(mean (x − mean x)² + ε)`, ε = 1e-5.
//!
//! Shapes: x, y `[rows, d]`, w, b `[d]`, scale `[rows, 1]` (TransformerLens's `hook_scale`; y is its `hook_normalized`, which for
//! `LN` it takes after w and b, for `RMS` before w: versions 1 to 3; its bridge in version 4 takes both before).
//! Backward, with n = (x − mean x) / scale and g = dy · w: `dx = (g − mean g − n · mean(g · n)) / scale`,
//! `dw += Σ dy · n`, `db += Σ dy`.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, kernels, on_device, swap_id};
use crate::engine::real::Real;
use crate::engine::simd::{add, dot, dot3, sum, vectorized};

use super::{column_blocks, columns};

pub(crate) const EPS: f64 = 1e-5;

#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) scale: ValueId,
    pub(crate) w: ParamId,
    pub(crate) b: ParamId,
}

impl Op for LayerNorm {
    kernels!();
    on_device!();
    fn inputs(&self) -> Vec<ValueId> {
        vec![self.x]
    }
    fn outputs(&self) -> Vec<ValueId> {
        vec![self.y, self.scale]
    }
    fn params(&self) -> Vec<ParamId> {
        vec![self.w, self.b]
    }
    fn rewire(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.x], from, to);
    }
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.y, &mut self.scale], from, to);
    }
}

#[inline(always)]
pub(super) fn mean<T: Real>(x: &[T]) -> T {
    sum(x) / T::from_f64(x.len() as f64)
}

impl<T: Real> Kernel<T> for LayerNorm {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, w, b) = (c.value(self.x, &tile), c.param(self.w), c.param(self.b));
        let (y, scales, d) = (c.value_mut(self.y, &tile), c.value_mut(self.scale, &tile), w.len());
        vectorized!({
            for ((x, y), scale) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(scales) {
                let centre = mean(x);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x - centre;
                }
                *scale = (dot(y, y) / T::from_f64(d as f64) + T::from_f64(EPS)).sqrt();
                let inverse = T::ONE / *scale;
                for ((y, &w), &b) in y.iter_mut().zip(w).zip(b) {
                    *y = (*y * inverse).mul_add(w, b);
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        let (x, dy, w) = (c.value(self.x, &tile), c.grad(self.y, &tile), c.param(self.w));
        let (scales, d) = (c.value(self.scale, &tile), w.len());
        vectorized!({
            for (((x, dy), dx), &scale) in
                x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).zip(scales)
            {
                let (centre, inverse) = (mean(x), T::ONE / scale);
                let n = T::from_f64(d as f64);
                let mean_g = dot(dy, w) / n;
                let along = dot3(
                    dy,
                    w,
                    x,
                    #[inline(always)]
                    |x| x - centre,
                );
                let mean_gn = along * inverse / n;
                for (((&x, &dy), &w), dx) in x.iter().zip(dy).zip(w).zip(dx) {
                    let through = (dy * w - mean_g - (x - centre) * inverse * mean_gn) * inverse;
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
        let (x, dy, scales) = (c.value(self.x, &tile), c.grad(self.y, &tile), c.value(self.scale, &tile));
        let (dw, db) = (c.param_grad(self.w, cols.clone()), c.param_grad(self.b, cols.clone()));
        vectorized!({
            for ((x, dy), &scale) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(scales) {
                let (centre, inverse) = (mean(x), T::ONE / scale);
                for ((dw, &dy), &x) in dw.iter_mut().zip(&dy[cols.clone()]).zip(&x[cols.clone()]) {
                    *dw = dy.mul_add((x - centre) * inverse, *dw);
                }
                add(db, &dy[cols.clone()]);
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
            let (w, b) = (check.param("w", &[d]), check.param("b", &[d]));
            let y = check.value(&[d]);
            let scale = check.value(&[1]);
            check.assert_gradients(LayerNorm { x, y, scale, w, b }, y);
        }
    }
}
