//! Attention scores: `s[b, q, h, t] = x_q[b, q, h, :] · x_k[b, t, g(h), :] / √d_head` for the keys t that the query sees, else −∞.
//!
//! Shapes: q `[B · queries, n_heads · d_head]`, k `[B · keys, n_kv_heads · d_head]`, s `[B · queries, n_heads · keys]`; q and k may be pair
//! tables. Heads share keys in groups: `g(h) = ⌊h · n_kv_heads / n_heads⌋`.
//! Backward: `dq += ds · k / √d_head`, `dk += ds · q / √d_head`; for tables the sums cross examples and each head is an owner.

use std::ops::Range;

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Part, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{LANES, add, axpy, dot, vectorized};

use super::attend;
use super::attention::Attention;

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Its own position and all before it.
    Causal,
    /// Its own position and those before it, so many in all.
    Window(usize),
    /// All.
    Full,
}

/// Sizes of attention, shared by [`Scores`] and [`Mix`](super::mix::Mix).
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub(crate) n_heads: usize,
    /// Heads of keys and values, each for as many heads of queries.
    pub(crate) n_kv_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) keys: usize,
    pub(crate) sight: Sight,
}

impl Heads {
    /// Columns of a head of queries.
    #[inline(always)]
    pub(crate) fn cols(&self, head: usize) -> Range<usize> {
        head * self.d_head..(head + 1) * self.d_head
    }

    /// Columns of the keys and values that a head of queries reads.
    #[inline(always)]
    pub(crate) fn kv_cols(&self, head: usize) -> Range<usize> {
        self.cols(head * self.n_kv_heads / self.n_heads)
    }

    /// The heads of queries that read a head of keys and values.
    pub(crate) fn readers(&self, kv_head: usize) -> Range<usize> {
        let each = self.n_heads / self.n_kv_heads;
        kv_head * each..(kv_head + 1) * each
    }

    /// Keys that a query at this position sees.
    #[inline(always)]
    pub(crate) fn seen(&self, at: usize) -> Range<usize> {
        match self.sight {
            Sight::Causal => 0..at + 1,
            Sight::Window(width) => (at + 1).saturating_sub(width)..at + 1,
            Sight::Full => 0..self.keys,
        }
    }

    /// Positions of keys that the queries at `out` read.
    pub(crate) fn keys_of(&self, out: &[usize]) -> Vec<usize> {
        match (self.sight, out.iter().max()) {
            (_, None) => vec![],
            (Sight::Full, _) => (0..self.keys).collect(),
            (_, Some(last)) => (0..last + 1).collect(),
        }
    }

    /// Whether blocks of keys pay.
    #[inline(always)]
    pub(crate) fn in_blocks(&self) -> bool {
        self.keys >= attend::KEYS
    }
}

/// The rows of a query or key operand: in a table, or in the batch.
pub(crate) struct Operand<'c, 'a, T: Real> {
    c: &'c Ctx<'a, T>,
    pub(crate) rows: &'a [T],
    width: usize,
    table: bool,
    per_example: usize,
    first: usize,
}

impl<'c, 'a, T: Real> Operand<'c, 'a, T> {
    #[inline(always)]
    pub(crate) fn new(c: &'c Ctx<'a, T>, id: ValueId, tile: &Tile) -> Self {
        let table = c.is_table(id);
        let rows = if table { c.table(id) } else { c.value(id, tile) };
        Operand { c, rows, width: c.width(id), table, per_example: c.positions(id).len(), first: tile.start }
    }

    /// Row of the operand's storage for the `i`-th of its positions, `position`, of `example`.
    #[inline(always)]
    pub(crate) fn row(&self, example: usize, i: usize, position: usize) -> usize {
        if self.table { self.c.pair(example, position) } else { (example - self.first) * self.per_example + i }
    }

    /// Some columns of such a row.
    #[inline(always)]
    pub(crate) fn part(&self, example: usize, i: usize, position: usize, cols: &Range<usize>) -> &'a [T] {
        &self.rows[self.row(example, i, position) * self.width..][cols.clone()]
    }

    /// What attention walks over, this operand being the keys (or values): calls `each` with (row of the query within the tile, what
    /// `of_query` gives for its (example, number, position), head, key, row of the key) for every key that a query sees, examples first,
    /// heads last.
    #[inline(always)]
    pub(crate) fn attended<Q: Copy>(
        &self,
        sizes: &Heads,
        (queries, tile): (&[usize], &Tile),
        heads: Range<usize>,
        of_query: impl Fn(usize, usize, usize) -> Q,
        mut each: impl FnMut(usize, Q, usize, usize, usize),
    ) {
        for example in tile.clone() {
            for (i, &at) in queries.iter().enumerate() {
                let (row, query) = ((example - tile.start) * queries.len() + i, of_query(example, i, at));
                for key in sizes.seen(at) {
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
    fn reads_tables(&self) -> bool {
        !Attention::fits(&self.heads)
    }
    fn attention_part(&self) -> Option<Part> {
        Some(Part::Scores { q: self.q, k: self.k })
    }
    fn reads_positions(&self, input: usize, out: &[usize]) -> Vec<usize> {
        if input == 0 { out.to_vec() } else { self.heads.keys_of(out) }
    }
}

/// Up to [`LANES`] numbers times a factor.
#[inline(always)]
fn scaled<T: Real>(x: &[T], factor: T) -> [T; LANES] {
    let mut product = [T::ZERO; LANES];
    for (product, &x) in product.iter_mut().zip(x) {
        *product = x * factor;
    }
    product
}

impl Scores {
    #[inline(always)]
    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.heads.d_head as f64).sqrt())
    }

    /// Calls `each` with (row of s, row of q, head, key, row of k) for every score of `heads` that is seen.
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
            &self.heads,
            (c.positions(self.scores), tile),
            heads,
            #[inline(always)]
            |example, i, at| q.row(example, i, at),
            each,
        );
    }

    /// Calls `add` with (row of input number `input`, first column, what to add to its gradient from there on), for the queries of
    /// `heads`; in blocks of keys.
    #[inline(always)]
    fn gradients<T: Real>(
        &self,
        c: &Ctx<'_, T>,
        (tile, input): (&Tile, usize),
        heads: Range<usize>,
        mut add: impl FnMut(usize, usize, &[T]),
    ) {
        let Heads { n_heads, keys, .. } = self.heads;
        let (q, k) = (Operand::new(c, self.q, tile), Operand::new(c, self.k, tile));
        let (ds, queries, scale) = (c.grad(self.scores, tile), c.positions(self.scores), self.scale::<T>());
        for example in tile.clone() {
            for head in heads.clone() {
                let (cols, kv_cols) = (self.heads.cols(head), self.heads.kv_cols(head));
                let w =
                    |i: usize| &ds[(((example - tile.start) * queries.len() + i) * n_heads + head) * keys..][..keys];
                match input {
                    0 => attend::mixes(
                        &self.heads,
                        queries,
                        w,
                        #[inline(always)]
                        |key| k.part(example, key, key, &kv_cols),
                        #[inline(always)]
                        |i, start, sums, _| {
                            let row = q.row(example, i, queries[i]);
                            add(row, cols.start + start, &scaled(sums, scale)[..sums.len()]);
                        },
                    ),
                    _ => attend::folds(
                        &self.heads,
                        queries,
                        w,
                        #[inline(always)]
                        |i| q.part(example, i, queries[i], &cols),
                        #[inline(always)]
                        |key, start, sums| {
                            let row = k.row(example, key, key);
                            add(row, kv_cols.start + start, &scaled(sums, scale)[..sums.len()]);
                        },
                    ),
                }
            }
        }
    }

    /// The operand of input number `input`, and the other one.
    fn sides(&self, input: usize) -> (ValueId, ValueId) {
        if input == 0 { (self.q, self.k) } else { (self.k, self.q) }
    }

    /// Columns of a head in the operand of input number `input`, and in the other one.
    #[inline(always)]
    fn columns(&self, input: usize, head: usize) -> (Range<usize>, Range<usize>) {
        let (cols, kv_cols) = (self.heads.cols(head), self.heads.kv_cols(head));
        if input == 0 { (cols, kv_cols) } else { (kv_cols, cols) }
    }
}

impl<T: Real> Kernel<T> for Scores {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let s = c.value_mut(self.scores, &tile);
        let (q, k) = (Operand::new(c, self.q, &tile), Operand::new(c, self.k, &tile));
        let Heads { n_heads, keys, .. } = self.heads;
        let (queries, scale) = (c.positions(self.scores), self.scale::<T>());
        s.fill(T::NEG_INFINITY);
        if !self.heads.in_blocks() {
            vectorized!({
                self.pairs(
                    c,
                    &tile,
                    0..n_heads,
                    #[inline(always)]
                    |row, row_q, head, key, row_k| {
                        let (q, k) = (&q.rows[row_q * q.width..], &k.rows[row_k * k.width..]);
                        let dot = dot(&q[self.heads.cols(head)], &k[self.heads.kv_cols(head)]);
                        s[(row * n_heads + head) * keys + key] = dot * scale;
                    },
                );
            });
            return;
        }
        vectorized!({
            for example in tile.clone() {
                for head in 0..n_heads {
                    let (cols, kv_cols) = (self.heads.cols(head), self.heads.kv_cols(head));
                    attend::dots(
                        &self.heads,
                        queries,
                        #[inline(always)]
                        |i| q.part(example, i, queries[i], &cols),
                        #[inline(always)]
                        |key| k.part(example, key, key, &kv_cols),
                        #[inline(always)]
                        |i, first, dots, adding| {
                            let row = (example - tile.start) * queries.len() + i;
                            let s = &mut s[(row * n_heads + head) * keys..][..keys];
                            let seen = self.heads.seen(queries[i]);
                            let (from, to) = (seen.start.max(first), seen.end.min(first + dots.len()));
                            if from < to {
                                let dots = &dots[from - first..to - first];
                                for (s, &dot) in s[from..to].iter_mut().zip(dots) {
                                    *s = if adding { dot.mul_add(scale, *s) } else { dot * scale };
                                }
                            }
                        },
                    );
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        let scale = self.scale::<T>();
        let ds = c.grad(self.scores, &tile);
        for input in 0..2 {
            let (own, other) = self.sides(input);
            if c.is_table(own) {
                continue;
            }
            let Some((d_own, adding)) = c.input_grad(input, &tile) else {
                continue;
            };
            if !adding {
                d_own.fill(T::ZERO);
            }
            let (width, other) = (c.width(own), Operand::new(c, other, &tile));
            if self.heads.in_blocks() {
                vectorized!({
                    self.gradients(
                        c,
                        (&tile, input),
                        0..n_heads,
                        #[inline(always)]
                        |row, column, part| add(&mut d_own[row * width + column..][..part.len()], part),
                    );
                });
                continue;
            }
            vectorized!({
                self.pairs(
                    c,
                    &tile,
                    0..n_heads,
                    #[inline(always)]
                    |row, row_q, head, key, row_k| {
                        let (row_own, row_other) = if input == 0 { (row_q, row_k) } else { (row_k, row_q) };
                        let (cols, from) = self.columns(input, head);
                        let own = row_own * width + cols.start;
                        let g = ds[(row * n_heads + head) * keys + key] * scale;
                        axpy(&mut d_own[own..own + d_head], g, &other.rows[row_other * other.width..][from]);
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
        let Heads { n_heads, keys, n_kv_heads, .. } = self.heads;
        let scale = self.scale::<T>();
        let ds = c.grad(self.scores, &tile);
        for input in 0..2 {
            let (own, other) = self.sides(input);
            let heads = match input {
                0 => owner..owner + 1,
                _ if owner < n_kv_heads => self.heads.readers(owner),
                _ => continue,
            };
            if !c.is_table(own) || !c.wants_grad(input) {
                continue;
            }
            if self.heads.in_blocks() {
                vectorized!({
                    self.gradients(
                        c,
                        (&tile, input),
                        heads,
                        #[inline(always)]
                        |row, column, part| add(c.table_grad(own, row, column..column + part.len()), part),
                    );
                });
                continue;
            }
            let other = Operand::new(c, other, &tile);
            vectorized!({
                self.pairs(
                    c,
                    &tile,
                    heads,
                    #[inline(always)]
                    |row, row_q, head, key, row_k| {
                        let (row_own, row_other) = if input == 0 { (row_q, row_k) } else { (row_k, row_q) };
                        let (cols, from) = self.columns(input, head);
                        let g = ds[(row * n_heads + head) * keys + key] * scale;
                        axpy(c.table_grad(own, row_own, cols), g, &other.rows[row_other * other.width..][from]);
                    },
                );
            });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    /// Few keys and many, every sight, own and shared keys.
    pub(crate) fn all_heads() -> Vec<Heads> {
        let sights = [Sight::Causal, Sight::Window(3), Sight::Full];
        let sizes = [(4, 3), (4, 20), (19, 3), (19, 66)];
        let of = |sight| {
            sizes.into_iter().flat_map(move |(keys, d_head)| {
                [(2, 2), (4, 2)].map(|(n_heads, n_kv_heads)| Heads { n_heads, n_kv_heads, d_head, keys, sight })
            })
        };
        sights.into_iter().flat_map(of).collect()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for heads in all_heads() {
            let Heads { n_heads, n_kv_heads, d_head, keys, .. } = heads;
            let mut check = OpCheck::new(3, keys);
            let (q, k) = (check.input(&[n_heads, d_head]), check.input(&[n_kv_heads, d_head]));
            let scores = check.value(&[n_heads, keys]);
            // Masked scores are −∞: the pattern makes them finite.
            let pattern = check.value(&[n_heads, keys]);
            let softmax = crate::engine::cpu::softmax::Softmax { scores, pattern, keys };
            check.assert_gradients_through(vec![Box::new(Scores { q, k, scores, heads }), Box::new(softmax)], pattern);
        }
    }
}
