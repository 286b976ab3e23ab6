//! Dropout: each number is 0 with probability `rate`, else 1/(1 − rate) times what it was; nothing happens outside training.
//!
//! Shapes: x, y, mask `[rows, width]`, the mask holding the factors. Backward: `dx = dy ⊙ mask`. The draws are a function of (replica's seed,
//! step, op, example, position), so that neither threads nor interruptions change them.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, kernels, on_device, swap_id};
use crate::engine::real::Real;
use crate::engine::simd::vectorized;

/// Rows that an op has at most, for streams of their own.
const MAX_ROWS: u64 = 1 << 40;

#[derive(Debug)]
pub(crate) struct Dropout {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) mask: ValueId,
    pub(crate) rate: f64,
    /// Tells the dropouts of a network apart.
    pub(crate) number: u64,
}

impl Op for Dropout {
    kernels!();
    on_device!();
    fn inputs(&self) -> Vec<ValueId> {
        vec![self.x]
    }
    fn outputs(&self) -> Vec<ValueId> {
        vec![self.y, self.mask]
    }
    fn rewire(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.x], from, to);
    }
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.y, &mut self.mask], from, to);
    }
    /// Each example has its own draws.
    fn keeps_pairs(&self) -> bool {
        false
    }
}

impl<T: Real> Kernel<T> for Dropout {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y, mask) = (c.value(self.x, &tile), c.value_mut(self.y, &tile), c.value_mut(self.mask, &tile));
        let Some(noise) = &c.batch.noise else {
            mask.fill(T::ONE);
            y.copy_from_slice(x);
            return;
        };
        let (width, positions) = (c.width(self.x), c.positions(self.y));
        // A word below this number drops.
        let (border, kept) = ((self.rate * 2f64.powi(32)) as u32, T::from_f64(1.0 / (1.0 - self.rate)));
        let places = tile.flat_map(|example| positions.iter().map(move |&position| example * c.batch.n_ctx + position));
        for (mask, place) in mask.chunks_exact_mut(width).zip(places) {
            let mut rng = noise.substream(self.number * MAX_ROWS + place as u64);
            let mut words = [0; 64];
            for mask in mask.chunks_mut(words.len()) {
                let words = &mut words[..mask.len()];
                rng.fill_u32(words);
                for (mask, &word) in mask.iter_mut().zip(&*words) {
                    *mask = if word < border { T::ZERO } else { kept };
                }
            }
        }
        vectorized!(for ((y, &x), &mask) in y.iter_mut().zip(x).zip(&*mask) {
            *y = x * mask;
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (dy, mask) = (c.grad(self.y, &tile), c.value(self.mask, &tile));
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        vectorized!(for ((dx, &dy), &mask) in dx.iter_mut().zip(dy).zip(mask) {
            let through = dy * mask;
            *dx = if adding { *dx + through } else { through };
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut check = OpCheck::new(5, 2).with_noise(3);
        let x = check.input(&[70]);
        let (y, mask) = (check.value(&[70]), check.value(&[70]));
        check.assert_gradients(Dropout { x, y, mask, rate: 0.4, number: 0 }, y);
    }
}
