//! Mixed values: `z[b, q, h, :] = Σ_t a[b, q, h, t] · v[b, t, g(h), :]` over the keys t that the query sees.
//!
//! Shapes: a `[B · queries, n_heads · keys]`, v `[B · keys, n_kv_heads · d_head]` (or a pair table), z `[B · queries, n_heads · d_head]`;
//! g as in [`scores`](super::scores).
//! Backward: `da = dz · v`, `dv += a · dz`; for a table the sum crosses examples and each head is an owner.

use std::ops::Range;

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Part, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, axpy, dot, vectorized};

use super::attend;
use super::attention::Attention;
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
    fn reads_tables(&self) -> bool {
        !Attention::fits(&self.heads)
    }
    fn attention_part(&self) -> Option<Part> {
        Some(Part::Mix { v: self.v, heads: self.heads })
    }
    fn reads_positions(&self, input: usize, out: &[usize]) -> Vec<usize> {
        if input == 0 { out.to_vec() } else { self.heads.keys_of(out) }
    }
}

impl Mix {
    /// Calls `each` with (row of z and a, head, key, row of v) for every pair of `heads` that is seen.
    #[inline(always)]
    fn pairs<T: Real>(
        &self,
        c: &Ctx<'_, T>,
        tile: &Tile,
        heads: Range<usize>,
        mut each: impl FnMut(usize, usize, usize, usize),
    ) {
        Operand::new(c, self.v, tile).attended(
            &self.heads,
            (c.positions(self.z), tile),
            heads,
            #[inline(always)]
            |_, _, _| (),
            #[inline(always)]
            |row, (), head, key, row_v| each(row, head, key, row_v),
        );
    }

    /// Calls `add` with (row of v, first column, what to add to its gradient from there on), for the queries of `heads`; in blocks of
    /// keys.
    #[inline(always)]
    fn value_gradients<T: Real>(
        &self,
        c: &Ctx<'_, T>,
        tile: &Tile,
        heads: Range<usize>,
        mut add: impl FnMut(usize, usize, &[T]),
    ) {
        let Heads { n_heads, keys, d_head, .. } = self.heads;
        let (a, dz, queries) = (c.value(self.pattern, tile), c.grad(self.z, tile), c.positions(self.z));
        let v = Operand::new(c, self.v, tile);
        for example in tile.clone() {
            for head in heads.clone() {
                let kv_cols = self.heads.kv_cols(head);
                let row = |i: usize| ((example - tile.start) * queries.len() + i) * n_heads + head;
                attend::folds(
                    &self.heads,
                    queries,
                    #[inline(always)]
                    |i| &a[row(i) * keys..][..keys],
                    #[inline(always)]
                    |i| &dz[row(i) * d_head..][..d_head],
                    #[inline(always)]
                    |key, start, sums| add(v.row(example, key, key), kv_cols.start + start, sums),
                );
            }
        }
    }
}

impl<T: Real> Kernel<T> for Mix {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (a, z) = (c.value(self.pattern, &tile), c.value_mut(self.z, &tile));
        let v = Operand::new(c, self.v, &tile);
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        if self.heads.in_blocks() {
            let queries = c.positions(self.z);
            vectorized!({
                for example in tile.clone() {
                    for head in 0..n_heads {
                        let kv_cols = self.heads.kv_cols(head);
                        let row = |i: usize| ((example - tile.start) * queries.len() + i) * n_heads + head;
                        attend::mixes(
                            &self.heads,
                            queries,
                            #[inline(always)]
                            |i| &a[row(i) * keys..][..keys],
                            #[inline(always)]
                            |key| v.part(example, key, key, &kv_cols),
                            #[inline(always)]
                            |i, start, sums, adding| {
                                let z = &mut z[row(i) * d_head + start..][..sums.len()];
                                if adding { add(z, sums) } else { z.copy_from_slice(sums) }
                            },
                        );
                    }
                }
            });
            return;
        }
        z.fill(T::ZERO);
        vectorized!({
            self.pairs(
                c,
                &tile,
                0..n_heads,
                #[inline(always)]
                |row, head, key, row_v| {
                    let to = (row * n_heads + head) * d_head;
                    let weight = a[(row * n_heads + head) * keys + key];
                    let from = row_v * self.heads.n_kv_heads * d_head + self.heads.kv_cols(head).start;
                    axpy(&mut z[to..to + d_head], weight, &v.rows[from..from + d_head]);
                },
            );
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        let (a, dz) = (c.value(self.pattern, &tile), c.grad(self.z, &tile));
        if let Some((da, adding)) = c.input_grad(0, &tile) {
            if !adding {
                da.fill(T::ZERO);
            }
            self.pattern_gradients(c, &tile, da);
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
        let width = c.width(self.v);
        if self.heads.in_blocks() {
            vectorized!({
                self.value_gradients(
                    c,
                    &tile,
                    0..n_heads,
                    #[inline(always)]
                    |row, column, part| add(&mut dv[row * width + column..][..part.len()], part),
                );
            });
            return;
        }
        vectorized!({
            self.pairs(
                c,
                &tile,
                0..n_heads,
                #[inline(always)]
                |row, head, key, row_v| {
                    let (from, to) = ((row * n_heads + head) * d_head, row_v * width + self.heads.kv_cols(head).start);
                    let weight = a[(row * n_heads + head) * keys + key];
                    axpy(&mut dv[to..to + d_head], weight, &dz[from..from + d_head]);
                },
            );
        });
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        if c.is_table(self.v) && c.wants_grad(1) { self.heads.n_kv_heads } else { 0 }
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        let heads = self.heads.readers(owner);
        if self.heads.in_blocks() {
            vectorized!({
                self.value_gradients(
                    c,
                    &tile,
                    heads,
                    #[inline(always)]
                    |row, column, part| add(c.table_grad(self.v, row, column..column + part.len()), part),
                );
            });
            return;
        }
        let (a, dz) = (c.value(self.pattern, &tile), c.grad(self.z, &tile));
        vectorized!({
            self.pairs(
                c,
                &tile,
                heads,
                #[inline(always)]
                |row, head, key, row_v| {
                    let from = (row * n_heads + head) * d_head;
                    let weight = a[(row * n_heads + head) * keys + key];
                    axpy(c.table_grad(self.v, row_v, self.heads.kv_cols(head)), weight, &dz[from..from + d_head]);
                },
            );
        });
    }
}

impl Mix {
    /// Adds `dz · v` to the gradient of the pattern.
    fn pattern_gradients<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile, da: &mut [T]) {
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        let (dz, v) = (c.grad(self.z, tile), Operand::new(c, self.v, tile));
        if !self.heads.in_blocks() {
            vectorized!({
                self.pairs(
                    c,
                    tile,
                    0..n_heads,
                    #[inline(always)]
                    |row, head, key, row_v| {
                        let to = (row * n_heads + head) * d_head;
                        let from = row_v * self.heads.n_kv_heads * d_head + self.heads.kv_cols(head).start;
                        da[(row * n_heads + head) * keys + key] +=
                            dot(&dz[to..to + d_head], &v.rows[from..from + d_head]);
                    },
                );
            });
            return;
        }
        let queries = c.positions(self.z);
        vectorized!({
            for example in tile.clone() {
                for head in 0..n_heads {
                    let kv_cols = self.heads.kv_cols(head);
                    let row = |i: usize| ((example - tile.start) * queries.len() + i) * n_heads + head;
                    attend::dots(
                        &self.heads,
                        queries,
                        #[inline(always)]
                        |i| &dz[row(i) * d_head..][..d_head],
                        #[inline(always)]
                        |key| v.part(example, key, key, &kv_cols),
                        #[inline(always)]
                        |i, first, dots, _| {
                            let seen = self.heads.seen(queries[i]);
                            let (from, to) = (seen.start.max(first), seen.end.min(first + dots.len()));
                            if from < to {
                                add(&mut da[row(i) * keys + from..row(i) * keys + to], &dots[from - first..to - first]);
                            }
                        },
                    );
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;
    use crate::engine::cpu::scores::tests::all_heads;
    use crate::engine::op::wires;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for heads in all_heads() {
            let Heads { n_heads, n_kv_heads, d_head, keys, .. } = heads;
            let mut check = OpCheck::new(3, keys);
            // A pattern is 0 where nothing is seen, which no other input can be trusted to be.
            let (scores, v) = (check.input(&[n_heads, keys]), check.input(&[n_kv_heads, d_head]));
            let (masked, pattern) = (check.value(&[n_heads, keys]), check.value(&[n_heads, keys]));
            let z = check.value(&[n_heads, d_head]);
            let softmax = crate::engine::cpu::softmax::Softmax { scores: masked, pattern, keys };
            let hide = Hide { x: scores, y: masked, heads };
            check.assert_gradients_through(
                vec![Box::new(hide), Box::new(softmax), Box::new(Mix { pattern, v, z, heads })],
                z,
            );
        }
    }

    /// Scores with −∞ where nothing is seen.
    #[derive(Debug)]
    struct Hide {
        x: ValueId,
        y: ValueId,
        heads: Heads,
    }

    impl Op for Hide {
        wires!(inputs: x; output: y);
    }

    impl<T: Real> Kernel<T> for Hide {
        fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
            let (x, y, queries) = (c.value(self.x, &tile), c.value_mut(self.y, &tile), c.positions(self.y));
            let Heads { n_heads, keys, .. } = self.heads;
            for (i, (x, y)) in x.chunks(keys).zip(y.chunks_mut(keys)).enumerate() {
                let seen = self.heads.seen(queries[i / n_heads % queries.len()]);
                for key in 0..keys {
                    y[key] = if seen.contains(&key) { x[key] } else { T::NEG_INFINITY };
                }
            }
        }
        fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
            let dy = c.grad(self.y, &tile);
            if let Some((dx, adding)) = c.input_grad(0, &tile) {
                for (dx, &dy) in dx.iter_mut().zip(dy) {
                    *dx = if adding { *dx + dy } else { dy };
                }
            }
        }
    }
}
