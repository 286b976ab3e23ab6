//! Sinusoidal positions, which are not learned: `y[row, 2i] = sin(position · 10000^(−2i/d))`, `y[row, 2i + 1]` the cosine.
//!
//! Shapes: y `[rows, d]`. There is nothing to differentiate. Source: arXiv 1706.03762, section 3.5.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;

pub(crate) struct Sinusoid {
    pub(crate) y: ValueId,
    pub(crate) d: usize,
    /// `[n_ctx, d]`.
    pub(crate) table: Vec<f64>,
}

impl std::fmt::Debug for Sinusoid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sinusoid of {} to {}", self.d, self.y)
    }
}

impl Sinusoid {
    pub(crate) fn new(n_ctx: usize, d: usize, y: ValueId) -> Sinusoid {
        let table = (0..n_ctx * d).map(|i| sinusoid(i / d, i % d, d)).collect();
        Sinusoid { y, d, table }
    }
}

impl Op for Sinusoid {
    wiring!(inputs: ; output: y);
}

/// The number at a position and column of `d`.
fn sinusoid(position: usize, column: usize, d: usize) -> f64 {
    let angle = position as f64 * libm::pow(10_000.0, -((column / 2 * 2) as f64) / d as f64);
    if column.is_multiple_of(2) { libm::sin(angle) } else { libm::cos(angle) }
}

impl<T: Real> Kernel<T> for Sinusoid {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (y, d) = (c.value_mut(self.y, &tile), self.d);
        c.each_position(self.y, &tile, |row, position| {
            let waves = &self.table[position * d..(position + 1) * d];
            for (y, &wave) in y[row * d..(row + 1) * d].iter_mut().zip(waves) {
                *y = T::from_f64(wave);
            }
        });
    }

    fn backward(&self, _: &Ctx<'_, T>, _: Tile) {}
}
