//! Mixed values: `z[b, q, h, :] = Σ_t a[b, q, h, t] · v[b, t, h, :]` over t ≤ q.
//!
//! Shapes: a `[B · queries, n_heads · keys]`, v `[B · keys, n_heads · d_head]` (or a pair table), z `[B · queries, n_heads · d_head]`.
//! Backward: `da = dz · v`, `dv += a · dz`; for a table the sum crosses examples and each head is an owner.

use std::ops::Range;

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{axpy, dot, vectorized};

use super::scores::{Heads, Operand};

#[derive(Debug)]
pub(crate) struct Mix {
    pub(crate) pattern: ValueId,
    pub(crate) v: ValueId,
    pub(crate) z: ValueId,
    pub(crate) heads: Heads,
}

impl Op for Mix {
    wiring!(inputs: pattern, v; output: z);
    fn row_wise(&self) -> bool {
        false
    }
    fn same_rows(&self, input: usize) -> bool {
        input == 0
    }
    fn reads_positions(&self, input: usize, out: &[usize]) -> Vec<usize> {
        if input == 0 { out.to_vec() } else { Heads::causal_keys(out) }
    }
}

impl Mix {
    /// Calls `each` with (row of z and a, head, key, row of v) for every unmasked pair of `heads`.
    #[inline(always)]
    fn pairs<T: Real>(
        &self,
        c: &Ctx<'_, T>,
        tile: &Tile,
        heads: Range<usize>,
        mut each: impl FnMut(usize, usize, usize, usize),
    ) {
        Operand::new(c, self.v, tile).attended(
            c.positions(self.z),
            tile,
            heads,
            #[inline(always)]
            |_, _, _| (),
            #[inline(always)]
            |row, (), head, key, row_v| each(row, head, key, row_v),
        );
    }
}

impl<T: Real> Kernel<T> for Mix {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (a, z) = (c.value(self.pattern, &tile), c.value_mut(self.z, &tile));
        let v = Operand::new(c, self.v, &tile).rows;
        let Heads { n_heads, d_head, keys } = self.heads;
        z.fill(T::ZERO);
        vectorized!({
            self.pairs(
                c,
                &tile,
                0..n_heads,
                #[inline(always)]
                |row, head, key, row_v| {
                    let (to, from) = ((row * n_heads + head) * d_head, (row_v * n_heads + head) * d_head);
                    let weight = a[(row * n_heads + head) * keys + key];
                    axpy(&mut z[to..to + d_head], weight, &v[from..from + d_head]);
                },
            );
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Heads { n_heads, d_head, keys } = self.heads;
        let (a, dz) = (c.value(self.pattern, &tile), c.grad(self.z, &tile));
        if let Some((da, adding)) = c.input_grad(0, &tile) {
            if !adding {
                da.fill(T::ZERO);
            }
            let v = Operand::new(c, self.v, &tile).rows;
            vectorized!({
                self.pairs(
                    c,
                    &tile,
                    0..n_heads,
                    #[inline(always)]
                    |row, head, key, row_v| {
                        let (to, from) = ((row * n_heads + head) * d_head, (row_v * n_heads + head) * d_head);
                        da[(row * n_heads + head) * keys + key] += dot(&dz[to..to + d_head], &v[from..from + d_head]);
                    },
                );
            });
        }
        if c.is_table(self.v) {
            return;
        }
        let Some((dv, adding)) = c.input_grad(1, &tile) else {
            return;
        };
        if !adding {
            dv.fill(T::ZERO);
        }
        vectorized!({
            self.pairs(
                c,
                &tile,
                0..n_heads,
                #[inline(always)]
                |row, head, key, row_v| {
                    let (from, to) = ((row * n_heads + head) * d_head, (row_v * n_heads + head) * d_head);
                    let weight = a[(row * n_heads + head) * keys + key];
                    axpy(&mut dv[to..to + d_head], weight, &dz[from..from + d_head]);
                },
            );
        });
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        if c.is_table(self.v) && c.wants_grad(1) { self.heads.n_heads } else { 0 }
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let Heads { n_heads, d_head, keys } = self.heads;
        let (a, dz) = (c.value(self.pattern, &tile), c.grad(self.z, &tile));
        vectorized!({
            self.pairs(
                c,
                &tile,
                owner..owner + 1,
                #[inline(always)]
                |row, head, key, row_v| {
                    let from = (row * n_heads + head) * d_head;
                    let weight = a[(row * n_heads + head) * keys + key];
                    axpy(c.table_grad(self.v, row_v, self.heads.cols(owner)), weight, &dz[from..from + d_head]);
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for d_head in [3, 20] {
            let mut check = OpCheck::new(3, 4);
            let (pattern, v) = (check.input(&[2, 4]), check.input(&[2, d_head]));
            let z = check.value(&[2, d_head]);
            let heads = Heads { n_heads: 2, d_head, keys: 4 };
            check.assert_gradients(Mix { pattern, v, z, heads }, z);
        }
    }
}
