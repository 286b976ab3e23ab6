//! Normalisation without weights: `y = (x − c) / scale`, `scale = √(mean (x − c)² + ε)`, ε = 1e-5.
//!
//! c is the row's mean for TransformerLens's `LNPre` and 0 for its `RMSPre`. Shapes: x, y `[rows, d]`, scale `[rows, 1]`
//! (TransformerLens's `hook_scale`; y is its `hook_normalized`).
//! Backward: `dx = (dy − mean dy − y · mean(dy · y)) / scale`, without the second term where nothing is centred.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, kernels, on_device, swap_id};
use crate::engine::real::Real;
use crate::engine::simd::{dot, vectorized};

use super::layer_norm::{EPS, mean};

#[derive(Debug)]
pub(crate) struct PreNorm {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) scale: ValueId,
    /// Whether the row's mean is taken away first.
    pub(crate) centred: bool,
}

impl Op for PreNorm {
    kernels!();
    on_device!();
    fn inputs(&self) -> Vec<ValueId> {
        vec![self.x]
    }
    fn outputs(&self) -> Vec<ValueId> {
        vec![self.y, self.scale]
    }
    fn rewire(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.x], from, to);
    }
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.y, &mut self.scale], from, to);
    }
}

impl<T: Real> Kernel<T> for PreNorm {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y) = (c.value(self.x, &tile), c.value_mut(self.y, &tile));
        let (scales, d) = (c.value_mut(self.scale, &tile), c.width(self.x));
        vectorized!({
            for ((x, y), scale) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(scales) {
                let centre = if self.centred { mean(x) } else { T::ZERO };
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x - centre;
                }
                *scale = (dot(y, y) / T::from_f64(d as f64) + T::from_f64(EPS)).sqrt();
                let inverse = T::ONE / *scale;
                for y in y {
                    *y *= inverse;
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        let (y, dy, d) = (c.value(self.y, &tile), c.grad(self.y, &tile), c.width(self.x));
        let scales = c.value(self.scale, &tile);
        vectorized!({
            for (((y, dy), dx), &scale) in
                y.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).zip(scales)
            {
                let (inverse, along) = (T::ONE / scale, dot(dy, y) / T::from_f64(d as f64));
                let centre = if self.centred { mean(dy) } else { T::ZERO };
                for ((&y, &dy), dx) in y.iter().zip(dy).zip(dx) {
                    let through = (dy - centre - y * along) * inverse;
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
    use crate::engine::cpu::gain::Gain;

    /// A gain follows: the check's targets are a line through its inputs, to which the gradient of a bare normalisation is blind.
    #[test]
    fn gradients_agree_with_finite_differences() {
        for (d, centred) in [(3, true), (3, false), (70, true), (70, false)] {
            let mut check = OpCheck::new(5, 2);
            let x = check.input(&[d]);
            let w = check.param("w", &[d]);
            let (normal, scale, y) = (check.value(&[d]), check.value(&[1]), check.value(&[d]));
            let norm = PreNorm { x, y: normal, scale, centred };
            check.assert_gradients_through(vec![Box::new(norm), Box::new(Gain { x: normal, y, w })], y);
        }
    }
}
