//! Sinusoidal positions, which are not learned: `y[row, 2i] = sin(position · 10000^(−2i/d))`, `y[row, 2i + 1]` the cosine.
//!
//! Shapes: y `[rows, d]`. There is nothing to differentiate. Source: arXiv 1706.03762, section 3.5.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;

#[derive(Debug)]
pub(crate) struct Sinusoid {
    pub(crate) y: ValueId,
}

impl Op for Sinusoid {
    wiring!(inputs: ; output: y);
}

/// The number at a position and column of `d`.
pub(crate) fn sinusoid(position: usize, column: usize, d: usize) -> f64 {
    let angle = position as f64 * libm::pow(10_000.0, -((column / 2 * 2) as f64) / d as f64);
    if column.is_multiple_of(2) { libm::sin(angle) } else { libm::cos(angle) }
}

impl<T: Real> Kernel<T> for Sinusoid {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (y, d) = (c.value_mut(self.y, &tile), c.width(self.y));
        // One example shows every position: the others copy its rows.
        let mut first: Vec<Option<usize>> = vec![None; c.batch.n_ctx];
        c.each_position(self.y, &tile, |row, position| match first[position] {
            Some(known) => y.copy_within(known * d..(known + 1) * d, row * d),
            None => {
                first[position] = Some(row);
                for (column, y) in y[row * d..(row + 1) * d].iter_mut().enumerate() {
                    *y = T::from_f64(sinusoid(position, column, d));
                }
            }
        });
    }

    fn backward(&self, _: &Ctx<'_, T>, _: Tile) {}
}
