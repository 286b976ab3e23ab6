//! Rotary positions: each head's pairs of columns (i, i + k/2) are turned by the angle `position · base^(−2i/k)`, k the head's width.
//!
//! Shapes: x, y `[rows, n_heads · k]`. Backward: the gradient turns back. Source: arXiv 2104.09864, with the pairs as GPT-NeoX and
//! TransformerLens have them.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::vectorized;

#[derive(Debug)]
pub(crate) struct Rotary {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) turns: Turns,
}

/// Cosines and sines of every position and pair of columns.
pub(crate) struct Turns {
    base: f64,
    pub(crate) d_head: usize,
    /// `[n_ctx, d_head / 2]` (cosine, sine).
    pub(crate) table: Vec<[f64; 2]>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "base {} of {}", self.base, self.d_head)
    }
}

impl Turns {
    /// For heads of an even width.
    pub(crate) fn new(n_ctx: usize, d_head: usize, base: f64) -> Turns {
        let angle = |at: usize, i: usize| at as f64 * libm::pow(base, -2.0 * i as f64 / d_head as f64);
        let pairs = (0..n_ctx).flat_map(|at| (0..d_head / 2).map(move |i| (at, i)));
        let table = pairs.map(|(at, i)| [libm::cos(angle(at, i)), libm::sin(angle(at, i))]).collect();
        Turns { base, d_head, table }
    }
}

impl Op for Rotary {
    wiring!(inputs: x; output: y);
}

impl Rotary {
    /// Calls `out` with (index, turned number) for every number of the rows of `tile`; backwards if `back`.
    #[inline(always)]
    fn turn<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile, (x, back): (&[T], bool), mut out: impl FnMut(usize, T)) {
        let (width, half) = (c.width(self.y), self.turns.d_head / 2);
        c.each_position(
            self.y,
            tile,
            #[inline(always)]
            |row, position| {
                let turns = &self.turns.table[position * half..][..half];
                for head in (row * width..(row + 1) * width).step_by(2 * half) {
                    let (one, other) = x[head..head + 2 * half].split_at(half);
                    for (i, (&[cos, sin], (&a, &b))) in turns.iter().zip(one.iter().zip(other)).enumerate() {
                        let (cos, sin) = (T::from_f64(cos), T::from_f64(if back { -sin } else { sin }));
                        out(head + i, a * cos - b * sin);
                        out(head + half + i, b * cos + a * sin);
                    }
                }
            },
        );
    }
}

impl<T: Real> Kernel<T> for Rotary {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y) = (c.value(self.x, &tile), c.value_mut(self.y, &tile));
        vectorized!(self.turn(
            c,
            &tile,
            (x, false),
            #[inline(always)]
            |at, turned| y[at] = turned
        ));
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let dy = c.grad(self.y, &tile);
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        vectorized!(self.turn(
            c,
            &tile,
            (dy, true),
            #[inline(always)]
            |at, turned| dx[at] = if adding { dx[at] + turned } else { turned }
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for d_head in [2, 6] {
            let mut check = OpCheck::new(3, 5);
            let x = check.input(&[2, d_head]);
            let y = check.value(&[2, d_head]);
            check.assert_gradients(Rotary { x, y, turns: Turns::new(5, d_head, 100.0) }, y);
        }
    }

    #[test]
    fn products_of_turned_rows_depend_on_their_distance_alone() {
        let turns = Turns::new(8, 4, 10_000.0);
        let turned = |x: [f64; 4], at: usize| {
            let turn = |i: usize| turns.table[at * 2 + i];
            let of = |i: usize| {
                let [cos, sin] = turn(i);
                [x[i] * cos - x[i + 2] * sin, x[i + 2] * cos + x[i] * sin]
            };
            [of(0), of(1)].concat()
        };
        let dot = |q: usize, k: usize| -> f64 {
            turned([0.3, -1.0, 2.0, 0.5], q).iter().zip(turned([1.0, 0.7, -0.2, 0.1], k)).map(|(x, y)| x * y).sum()
        };
        assert!((dot(3, 1) - dot(7, 5)).abs() < 1e-12 && (dot(3, 1) - dot(3, 2)).abs() > 1e-3);
    }
}
