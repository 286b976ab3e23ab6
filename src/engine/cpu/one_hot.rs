//! A linear map of one-hot tokens, as a gather: `y = Σ_j W[j · n_tokens + token(position_j), :] (+ b)`.
//!
//! What a dense layer gives for the one-hot codes of several positions, one after another; a token from `n_tokens` on has
//! an all-zero code. Shapes: W `[positions · n_tokens, d]`, b `[d]`, y `[B · outputs, d]`, the same row at every output position.
//! Backward: `dW[row] += dy` for the rows gathered, `db += Σ_rows dy`; blocks of columns are owners.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, vectorized};

use super::linear::add_rows;
use super::{column_blocks, columns};

#[derive(Debug)]
pub(crate) struct OneHot {
    pub(crate) y: ValueId,
    pub(crate) w: ParamId,
    pub(crate) b: Option<ParamId>,
    /// Positions read, in the order of their rows in W.
    pub(crate) positions: Vec<usize>,
    pub(crate) n_tokens: usize,
}

impl Op for OneHot {
    wiring!(inputs: ; output: y);
    fn params(&self) -> Vec<ParamId> {
        std::iter::once(self.w).chain(self.b).collect()
    }
    /// A row depends on the tokens of all `positions`, whatever its own.
    fn row_wise(&self) -> bool {
        false
    }
}

impl OneHot {
    /// Calls `each` with the row's number within `tile` and a row of W that it gathers.
    #[inline(always)]
    fn rows<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile, mut each: impl FnMut(usize, usize)) {
        let outputs = c.positions(self.y).len();
        for (b, example) in tile.clone().enumerate() {
            for (j, &position) in self.positions.iter().enumerate() {
                let token = c.batch.token(example, position);
                if token < self.n_tokens {
                    for output in 0..outputs {
                        each(b * outputs + output, j * self.n_tokens + token);
                    }
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for OneHot {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (w, y, d) = (c.param(self.w), c.value_mut(self.y, &tile), c.width(self.y));
        match self.b {
            Some(b) => y.chunks_exact_mut(d).for_each(|y| y.copy_from_slice(c.param(b))),
            None => y.fill(T::ZERO),
        }
        vectorized!({
            self.rows(
                c,
                &tile,
                #[inline(always)]
                |row, from| add(&mut y[row * d..(row + 1) * d], &w[from * d..(from + 1) * d]),
            );
        });
    }

    fn backward(&self, _c: &Ctx<'_, T>, _tile: Tile) {}

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        column_blocks(c.width(self.y))
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let d = c.width(self.y);
        let cols = columns(owner, d);
        let dy = c.grad(self.y, &tile);
        vectorized!({
            self.rows(
                c,
                &tile,
                #[inline(always)]
                |row, to| {
                    let dw = c.param_grad(self.w, to * d + cols.start..to * d + cols.end);
                    add(dw, &dy[row * d + cols.start..row * d + cols.end]);
                },
            );
        });
        if let Some(b) = self.b {
            add_rows(c.param_grad(b, cols.clone()), dy, d, cols.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    /// The check's tokens are 0 to 3: with three codes, some tokens have none.
    #[test]
    fn gradients_agree_with_finite_differences() {
        for (d, n_tokens, bias) in [(3, 4, true), (70, 4, false), (5, 3, true)] {
            let mut check = OpCheck::new(6, 3);
            let w = check.param("W_in", &[2 * n_tokens, d]);
            let b = bias.then(|| check.param("b_in", &[d]));
            let y = check.value_at(&[d], vec![1, 2]);
            check.assert_gradients(OneHot { y, w, b, positions: vec![0, 2], n_tokens }, y);
        }
    }
}
