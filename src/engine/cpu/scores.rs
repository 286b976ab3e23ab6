//! Attention scores: `s[b, q, h, t] = x_q[b, q, h, :] · x_k[b, t, h, :] / √d_head` for t ≤ q, else −∞ (causal).
//!
//! Shapes: q `[B · queries, n_heads · d_head]`, k `[B · keys, …]`, s `[B · queries, n_heads · keys]`; q and k may be pair tables.
//! Backward: `dq += ds · k / √d_head`, `dk += ds · q / √d_head`; for tables the sums cross examples and each head is an owner.

use std::ops::Range;

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{axpy, dot, vectorized};

/// Sizes of attention, shared by [`Scores`] and [`Mix`](super::mix::Mix).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) n_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) keys: usize,
}

impl Heads {
    /// Columns of a head.
    #[inline(always)]
    pub(crate) fn cols(&self, head: usize) -> Range<usize> {
        head * self.d_head..(head + 1) * self.d_head
    }

    /// Positions up to the last of `out`: what causal attention reads.
    pub(crate) fn causal_keys(out: &[usize]) -> Vec<usize> {
        (0..out.iter().max().map_or(0, |last| last + 1)).collect()
    }
}

/// The rows of a query or key operand for one example: in a table, or in the batch.
pub(crate) struct Operand<'c, 'a, T: Real> {
    c: &'c Ctx<'a, T>,
    pub(crate) rows: &'a [T],
    table: bool,
    per_example: usize,
    first: usize,
}

impl<'c, 'a, T: Real> Operand<'c, 'a, T> {
    #[inline(always)]
    pub(crate) fn new(c: &'c Ctx<'a, T>, id: ValueId, tile: &Tile) -> Self {
        let table = c.is_table(id);
        let rows = if table { c.table(id) } else { c.value(id, tile) };
        Operand { c, rows, table, per_example: c.positions(id).len(), first: tile.start }
    }

    /// Row of the operand's storage for the `i`-th of its positions, `position`, of `example`.
    #[inline(always)]
    pub(crate) fn row(&self, example: usize, i: usize, position: usize) -> usize {
        if self.table { self.c.pair(example, position) } else { (example - self.first) * self.per_example + i }
    }

    /// What causal attention walks over, this operand being the keys (or values): calls `each` with (row of the query within
    /// the tile, what `of_query` gives for its (example, number, position), head, key, row of the key) for every unmasked key of
    /// every query, examples first, heads last.
    #[inline(always)]
    pub(crate) fn attended<Q: Copy>(
        &self,
        queries: &[usize],
        tile: &Tile,
        heads: Range<usize>,
        of_query: impl Fn(usize, usize, usize) -> Q,
        mut each: impl FnMut(usize, Q, usize, usize, usize),
    ) {
        for example in tile.clone() {
            for (i, &at) in queries.iter().enumerate() {
                let (row, query) = ((example - tile.start) * queries.len() + i, of_query(example, i, at));
                for key in 0..=at {
                    let row_k = self.row(example, key, key);
                    for head in heads.clone() {
                        each(row, query, head, key, row_k);
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Scores {
    pub(crate) q: ValueId,
    pub(crate) k: ValueId,
    pub(crate) scores: ValueId,
    pub(crate) heads: Heads,
}

impl Op for Scores {
    wiring!(inputs: q, k; output: scores);
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

impl Scores {
    #[inline(always)]
    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.heads.d_head as f64).sqrt())
    }

    /// Calls `each` with (row of s, row of q, head, key, row of k) for every unmasked score of `heads`.
    #[inline(always)]
    fn pairs<T: Real>(
        &self,
        c: &Ctx<'_, T>,
        tile: &Tile,
        heads: Range<usize>,
        each: impl FnMut(usize, usize, usize, usize, usize),
    ) {
        let (q, k) = (Operand::new(c, self.q, tile), Operand::new(c, self.k, tile));
        k.attended(
            c.positions(self.scores),
            tile,
            heads,
            #[inline(always)]
            |example, i, at| q.row(example, i, at),
            each,
        );
    }
}

impl<T: Real> Kernel<T> for Scores {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let s = c.value_mut(self.scores, &tile);
        let (q, k) = (Operand::new(c, self.q, &tile).rows, Operand::new(c, self.k, &tile).rows);
        let Heads { n_heads, d_head, keys } = self.heads;
        let (width, scale) = (n_heads * d_head, self.scale::<T>());
        s.fill(T::NEG_INFINITY);
        vectorized!({
            self.pairs(
                c,
                &tile,
                0..n_heads,
                #[inline(always)]
                |row, row_q, head, key, row_k| {
                    let (q, k) = (&q[row_q * width..(row_q + 1) * width], &k[row_k * width..(row_k + 1) * width]);
                    let cols = self.heads.cols(head);
                    s[(row * n_heads + head) * keys + key] = dot(&q[cols.clone()], &k[cols]) * scale;
                },
            );
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Heads { n_heads, d_head, keys } = self.heads;
        let (width, scale) = (n_heads * d_head, self.scale::<T>());
        let ds = c.grad(self.scores, &tile);
        for input in 0..2 {
            let (own, other) = if input == 0 { (self.q, self.k) } else { (self.k, self.q) };
            if c.is_table(own) {
                continue;
            }
            let Some((d_own, adding)) = c.input_grad(input, &tile) else {
                continue;
            };
            if !adding {
                d_own.fill(T::ZERO);
            }
            let other = Operand::new(c, other, &tile).rows;
            vectorized!({
                self.pairs(
                    c,
                    &tile,
                    0..n_heads,
                    #[inline(always)]
                    |row, row_q, head, key, row_k| {
                        let (row_own, row_other) = if input == 0 { (row_q, row_k) } else { (row_k, row_q) };
                        let (own, from) = (row_own * width + head * d_head, row_other * width + head * d_head);
                        let g = ds[(row * n_heads + head) * keys + key] * scale;
                        axpy(&mut d_own[own..own + d_head], g, &other[from..from + d_head]);
                    },
                );
            });
        }
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        let crosses = [self.q, self.k].into_iter().enumerate().any(|(i, id)| c.is_table(id) && c.wants_grad(i));
        if crosses { self.heads.n_heads } else { 0 }
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let Heads { n_heads, d_head, keys } = self.heads;
        let (width, scale, cols) = (n_heads * d_head, self.scale::<T>(), self.heads.cols(owner));
        let ds = c.grad(self.scores, &tile);
        for input in 0..2 {
            let (own, other) = if input == 0 { (self.q, self.k) } else { (self.k, self.q) };
            if !c.is_table(own) || !c.wants_grad(input) {
                continue;
            }
            let other = Operand::new(c, other, &tile).rows;
            vectorized!({
                self.pairs(
                    c,
                    &tile,
                    owner..owner + 1,
                    #[inline(always)]
                    |row, row_q, head, key, row_k| {
                        let (row_own, row_other) = if input == 0 { (row_q, row_k) } else { (row_k, row_q) };
                        let from = row_other * width + cols.start;
                        let g = ds[(row * n_heads + head) * keys + key] * scale;
                        axpy(c.table_grad(own, row_own, cols.clone()), g, &other[from..from + d_head]);
                    },
                );
            });
        }
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
            let (q, k) = (check.input(&[2, d_head]), check.input(&[2, d_head]));
            let scores = check.value(&[2, 4]);
            let heads = Heads { n_heads: 2, d_head, keys: 4 };
            // Masked scores are −∞: the pattern makes them finite.
            let pattern = check.value(&[2, 4]);
            let softmax = crate::engine::cpu::softmax::Softmax { scores, pattern, keys: 4 };
            check.assert_gradients_through(vec![Box::new(Scores { q, k, scores, heads }), Box::new(softmax)], pattern);
        }
    }
}
