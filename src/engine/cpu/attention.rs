//! Attention at once: scores, pattern and mixed values, head by head while it lies in cache.
//!
//! Takes the place of [`Scores`](super::scores::Scores), [`Softmax`](super::softmax::Softmax) and [`Mix`](super::mix::Mix) where nobody asks
//! for the scores or for a gradient between: same formulas, same order of every sum, same bits.
//!
//! Shapes: q, z `[B · queries, n_heads · d_head]`, k, v `[B · keys, n_kv_heads · d_head]`, pattern `[B · queries, n_heads · keys]`.

use std::ops::Range;

use super::attend::{Block, ROWS, chunk, multiply, overlap, seen_by};
use super::scores::{Heads, Operand};
use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, kernels, swap_id};
use crate::engine::real::Real;
use crate::engine::simd::{LANES, fold_max, fold_sum, vectorized};

/// Blocks of keys.
const K: usize = 4;
/// Blocks of columns of a head.
const C: usize = 2;

#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) q: ValueId,
    pub(crate) k: ValueId,
    pub(crate) v: ValueId,
    pub(crate) pattern: ValueId,
    pub(crate) z: ValueId,
    pub(crate) heads: Heads,
}

impl Attention {
    /// Whether heads of these sizes lie on the stack, and blocks of keys pay.
    pub(crate) fn fits(heads: &Heads) -> bool {
        heads.in_blocks() && heads.keys <= K * LANES && heads.d_head <= C * LANES
    }

    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.heads.d_head as f64).sqrt())
    }
}

impl Op for Attention {
    kernels!();
    fn inputs(&self) -> Vec<ValueId> {
        vec![self.q, self.k, self.v]
    }
    fn outputs(&self) -> Vec<ValueId> {
        vec![self.z, self.pattern]
    }
    fn rewire(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.q, &mut self.k, &mut self.v], from, to);
    }
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.z, &mut self.pattern], from, to);
    }
    fn row_wise(&self) -> bool {
        false
    }
    fn same_rows(&self, input: usize) -> bool {
        input == 0
    }
    fn reads_positions(&self, input: usize, out: &[usize]) -> Vec<usize> {
        if input == 0 { out.to_vec() } else { self.heads.keys_of(out) }
    }
}

/// Rows of one head in blocks of [`LANES`] keys (or queries) and of as many columns; what no row was written to is 0.
struct Blocks<T>([[Block<T>; C]; K]);

/// Numbers for each query and key of one head: by block of queries, query, block of keys.
type Square<T> = [[[[T; LANES]; K]; LANES]; K];

/// Numbers for each of a group of queries and each key.
type Rows<T> = [[[T; LANES]; K]; ROWS];

impl<T: Real> Blocks<T> {
    fn new() -> Self {
        Blocks([[[[T::ZERO; LANES]; LANES]; C]; K])
    }

    /// Calls `each` with every block, the row's place in it, and the part of that row in the block's columns.
    #[inline(always)]
    fn each<'a>(
        &mut self,
        (n, d_head): (usize, usize),
        row: impl Fn(usize) -> &'a [T],
        each: impl Fn(&mut Block<T>, usize, [T; LANES]),
    ) where
        T: 'a,
    {
        for key in 0..n {
            let row = row(key);
            for (block, start) in self.0[key / LANES].iter_mut().zip((0..d_head).step_by(LANES)) {
                each(block, key % LANES, chunk(row, start));
            }
        }
    }

    /// Rows as they are: a block has a row for each key.
    #[inline(always)]
    fn fill<'a>(&mut self, sizes: (usize, usize), row: impl Fn(usize) -> &'a [T])
    where
        T: 'a,
    {
        self.each(
            sizes,
            row,
            #[inline(always)]
            |block, place, x| block[place] = x,
        );
    }

    /// Rows turned: a block has a row for each column.
    #[inline(always)]
    fn fill_turned<'a>(&mut self, sizes: (usize, usize), row: impl Fn(usize) -> &'a [T])
    where
        T: 'a,
    {
        self.each(
            sizes,
            row,
            #[inline(always)]
            |block, place, x| {
                for (turned, x) in block.iter_mut().zip(x) {
                    turned[place] = x;
                }
            },
        );
    }

    /// The rows of a group of queries in a block of columns.
    #[inline(always)]
    fn group(&self, from: usize, column: usize) -> &[[T; LANES]; ROWS] {
        let half = &self.0[from / LANES][column][from % LANES..];
        half.first_chunk().expect("invariant: a block has two groups")
    }
}

/// Dot products of a group of rows with the keys of a block, which are turned.
#[inline(always)]
fn dots<T: Real>(
    (x, from): (&Blocks<T>, usize),
    (turned, block): (&Blocks<T>, usize),
    d_head: usize,
) -> [[T; LANES]; ROWS] {
    let mut sums = [[T::ZERO; LANES]; ROWS];
    for (column, start) in (0..d_head).step_by(LANES).enumerate() {
        let a = x.group(from, column);
        multiply(
            &mut sums,
            #[inline(always)]
            |i, r| a[r][i],
            &turned.0[block][column][..LANES.min(d_head - start)],
        );
    }
    sums
}

/// Sums of the rows of a block of columns, weighted by a group of rows of weights.
#[inline(always)]
fn mixes<T: Real>(
    w: &Rows<T>,
    (y, seen, column): (&Blocks<T>, Range<usize>, usize),
    keys: usize,
) -> [[T; LANES]; ROWS] {
    let mut sums = [[T::ZERO; LANES]; ROWS];
    for block in seen {
        multiply(
            &mut sums,
            #[inline(always)]
            |i, r| w[r][block][i],
            &y.0[block][column][..LANES.min(keys - block * LANES)],
        );
    }
    sums
}

/// Sums of the rows of a block of columns, weighted for eight keys from `key` on by the weights of each query.
#[inline(always)]
fn folds<T: Real>(
    (heads, queries): (&Heads, &[usize]),
    w: &Square<T>,
    (x, column): (&Blocks<T>, usize),
    key: usize,
) -> [[T; LANES]; ROWS] {
    let mut sums = [[T::ZERO; LANES]; ROWS];
    let keys = key..heads.keys.min(key + ROWS);
    for ((these, w), x) in queries.chunks(LANES).zip(w).zip(&x.0) {
        if these.iter().any(|&at| overlap(&heads.seen(at), &keys)) {
            multiply(
                &mut sums,
                #[inline(always)]
                |i, r| w[i][key / LANES][key % LANES + r],
                &x[column][..these.len()],
            );
        }
    }
    sums
}

/// Scores of one query from dot products with the keys from `first` on: −∞ for those that it does not see.
#[inline(always)]
fn masked<T: Real>(dots: &[T; LANES], scale: T, first: usize, seen: &Range<usize>) -> [T; LANES] {
    let [first, start, end] = [first, seen.start, seen.end].map(|x| x as u32);
    let mut scores = [T::NEG_INFINITY; LANES];
    for ((score, &dot), lane) in scores.iter_mut().zip(dots).zip(0..LANES as u32) {
        let is_seen = (first + lane >= start) & (first + lane < end);
        *score = if is_seen { dot * scale } else { T::NEG_INFINITY };
    }
    scores
}

/// Scores of one query to its pattern, in place.
#[inline(always)]
fn softmax<T: Real>(row: &mut [[T; LANES]]) {
    let mut top = [T::NEG_INFINITY; LANES];
    for x in row.iter() {
        for (top, &x) in top.iter_mut().zip(x) {
            *top = x.max(*top);
        }
    }
    let top = fold_max(top);
    let mut total = [T::ZERO; LANES];
    for x in row.iter_mut() {
        for (total, x) in total.iter_mut().zip(x) {
            *x = (*x - top).exp();
            *total += *x;
        }
    }
    let inverse = T::ONE / fold_sum(total);
    for x in row {
        for x in x {
            *x *= inverse;
        }
    }
}

/// The gradient of one query's pattern `a` to that of its scores, in place.
#[inline(always)]
fn softmax_backward<T: Real>(a: &[[T; LANES]], row: &mut [[T; LANES]]) {
    let mut shared = [T::ZERO; LANES];
    for (a, d) in a.iter().zip(row.iter()) {
        for ((shared, &a), &d) in shared.iter_mut().zip(a).zip(d) {
            *shared = a.mul_add(d, *shared);
        }
    }
    let shared = fold_sum(shared);
    for (a, d) in a.iter().zip(row) {
        for (&a, d) in a.iter().zip(d) {
            *d = a * (*d - shared);
        }
    }
}

/// Writes the first numbers of a block.
#[inline(always)]
fn store<T: Real>(to: &mut [T], x: &[T; LANES]) {
    match to.first_chunk_mut::<LANES>() {
        Some(to) => *to = *x,
        None => to.copy_from_slice(&x[..to.len()]),
    }
}

/// Adds the first numbers of a block times a factor; a whole block, whose length the compiler knows, in one go.
#[inline(always)]
fn add_scaled<T: Real>(to: &mut [T], x: &[T; LANES], factor: T) {
    if let Some(to) = to.first_chunk_mut::<LANES>() {
        for (to, &x) in to.iter_mut().zip(x) {
            *to += x * factor;
        }
    } else {
        for (to, &x) in to.iter_mut().zip(x) {
            *to += x * factor;
        }
    }
}

impl Attention {
    /// The blocks of keys that some of these queries see.
    #[inline(always)]
    fn seen(&self, queries: &[usize]) -> Range<usize> {
        let seen = seen_by(&self.heads, queries.iter().copied());
        seen.start / LANES..seen.end.div_ceil(LANES)
    }
}

impl<T: Real> Kernel<T> for Attention {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (z, pattern) = (c.value_mut(self.z, &tile), c.value_mut(self.pattern, &tile));
        let [q, k, v] = [self.q, self.k, self.v].map(|id| Operand::new(c, id, &tile));
        let (queries, scale) = (c.positions(self.z), self.scale::<T>());
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        let [mut rows_q, mut turned_k, mut rows_v] = std::array::from_fn(|_| Blocks::<T>::new());
        vectorized!({
            for (example, head) in tile.clone().flat_map(|example| (0..n_heads).map(move |head| (example, head))) {
                let (cols, kv_cols) = (self.heads.cols(head), self.heads.kv_cols(head));
                let row = |i: usize| ((example - tile.start) * queries.len() + i) * n_heads + head;
                rows_q.fill((queries.len(), d_head), |i| q.part(example, i, queries[i], &cols));
                turned_k.fill_turned((k.n_positions(), d_head), |key| k.part(example, key, key, &kv_cols));
                rows_v.fill((v.n_positions(), d_head), |key| v.part(example, key, key, &kv_cols));
                for (group, these) in queries.chunks(ROWS).enumerate() {
                    let (from, seen) = (group * ROWS, self.seen(these));
                    let mut rows: Rows<T> = [[[T::ZERO; LANES]; K]; ROWS];
                    for block in seen.clone() {
                        let sums = dots((&rows_q, from), (&turned_k, block), d_head);
                        for ((row, sums), &at) in rows.iter_mut().zip(&sums).zip(these) {
                            row[block] = masked(sums, scale, block * LANES, &self.heads.seen(at));
                        }
                    }
                    for (i, weights) in (from..from + these.len()).zip(&mut rows) {
                        softmax(&mut weights[seen.clone()]);
                        let to = &mut pattern[row(i) * keys..][..keys];
                        for (to, weights) in to.chunks_mut(LANES).zip(weights) {
                            store(to, weights);
                        }
                    }
                    for (column, start) in (0..d_head).step_by(LANES).enumerate() {
                        let (sums, width) =
                            (mixes(&rows, (&rows_v, seen.clone(), column), keys), LANES.min(d_head - start));
                        for (i, sums) in (from..from + these.len()).zip(&sums) {
                            store(&mut z[row(i) * d_head + start..][..width], sums);
                        }
                    }
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let mut grads = [0, 1, 2].map(|input| c.input_grad(input, &tile));
        for (grad, adding) in grads.iter_mut().flatten() {
            if !*adding {
                grad.fill(T::ZERO);
            }
        }
        let [mut dq, mut dk, mut dv] = grads.map(|grad| grad.map(|(grad, _)| grad));
        let (pattern, dz) = (c.value(self.pattern, &tile), c.grad(self.z, &tile));
        let [q, k, v] = [self.q, self.k, self.v].map(|id| Operand::new(c, id, &tile));
        let [width_q, width_k] = [self.q, self.k].map(|id| c.width(id));
        let (queries, scale) = (c.positions(self.z), self.scale::<T>());
        let Heads { n_heads, d_head, keys, .. } = self.heads;
        let [mut rows_q, mut rows_k, mut turned_v, mut rows_dz] = std::array::from_fn(|_| Blocks::<T>::new());
        // The pattern, and the gradient of the scores.
        let [mut a, mut ds]: [Square<T>; 2] = [[[[[T::ZERO; LANES]; K]; LANES]; K]; 2];
        vectorized!({
            for (example, head) in tile.clone().flat_map(|example| (0..n_heads).map(move |head| (example, head))) {
                let (cols, kv_cols) = (self.heads.cols(head), self.heads.kv_cols(head));
                let row = |i: usize| ((example - tile.start) * queries.len() + i) * n_heads + head;
                rows_q.fill((queries.len(), d_head), |i| q.part(example, i, queries[i], &cols));
                rows_k.fill((k.n_positions(), d_head), |key| k.part(example, key, key, &kv_cols));
                turned_v.fill_turned((v.n_positions(), d_head), |key| v.part(example, key, key, &kv_cols));
                rows_dz.fill((queries.len(), d_head), |i| &dz[row(i) * d_head..][..d_head]);
                for i in 0..queries.len() {
                    let from = &pattern[row(i) * keys..][..keys];
                    for (a, start) in a[i / LANES][i % LANES].iter_mut().zip((0..keys).step_by(LANES)) {
                        *a = chunk(from, start);
                    }
                }
                for (group, these) in queries.chunks(ROWS).enumerate() {
                    let (from, seen) = (group * ROWS, self.seen(these));
                    let mut rows: Rows<T> = [[[T::ZERO; LANES]; K]; ROWS];
                    for block in seen.clone() {
                        let sums = dots((&rows_dz, from), (&turned_v, block), d_head);
                        for (row, sums) in rows.iter_mut().zip(&sums) {
                            row[block] = *sums;
                        }
                    }
                    for (i, row) in (from..from + these.len()).zip(&mut rows) {
                        softmax_backward(&a[i / LANES][i % LANES][seen.clone()], &mut row[seen.clone()]);
                        ds[i / LANES][i % LANES] = *row;
                    }
                    let Some(dq) = &mut dq else { continue };
                    for (column, start) in (0..d_head).step_by(LANES).enumerate() {
                        let (sums, width) =
                            (mixes(&rows, (&rows_k, seen.clone(), column), keys), LANES.min(d_head - start));
                        for (i, sums) in (from..from + these.len()).zip(&sums) {
                            let at = q.row(example, i, queries[i]) * width_q + cols.start + start;
                            add_scaled(&mut dq[at..at + width], sums, scale);
                        }
                    }
                }
                for (column, start) in (0..d_head).step_by(LANES).enumerate() {
                    let width = LANES.min(d_head - start);
                    let to = |key: usize| k.row(example, key, key) * width_k + kv_cols.start + start;
                    for key in (0..k.n_positions()).step_by(ROWS) {
                        let these = key..k.n_positions().min(key + ROWS);
                        if let Some(dk) = &mut dk {
                            let sums = folds((&self.heads, queries), &ds, (&rows_q, column), key);
                            for (key, sums) in these.clone().zip(&sums) {
                                add_scaled(&mut dk[to(key)..to(key) + width], sums, scale);
                            }
                        }
                        if let Some(dv) = &mut dv {
                            let sums = folds((&self.heads, queries), &a, (&rows_dz, column), key);
                            for (key, sums) in these.zip(&sums) {
                                add_scaled(&mut dv[to(key)..to(key) + width], sums, T::ONE);
                            }
                        }
                    }
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

    #[test]
    fn gradients_agree_with_finite_differences() {
        for heads in all_heads().into_iter().filter(Attention::fits) {
            let Heads { n_heads, n_kv_heads, d_head, keys, .. } = heads;
            let mut check = OpCheck::new(3, keys);
            let [q, k, v] = [n_heads, n_kv_heads, n_kv_heads].map(|n| check.input(&[n, d_head]));
            let (z, pattern) = (check.value(&[n_heads, d_head]), check.value(&[n_heads, keys]));
            check.assert_gradients(Attention { q, k, v, pattern, z, heads }, z);
        }
    }
}
