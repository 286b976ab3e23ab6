//! Attention at once: scores, pattern and mixed values, for 16 heads at a time while they lie in cache.
//!
//! Takes the place of [`Scores`](super::scores::Scores), [`Softmax`](super::softmax::Softmax) and [`Mix`](super::mix::Mix) where nobody asks
//! for the scores, for the pattern or for a gradient between. Same formulas; heads lie along the vector lanes ([`lanes`](super::lanes)).
//!
//! Shapes: q, z `[B · queries, n_heads · d_head]`, k, v `[B · keys, n_kv_heads · d_head]`; what it keeps for the backward pass, as many numbers
//! as a pattern has: by 16 heads, `[queries, keys, heads]`.

use std::ops::Range;

use super::attend::seen_by;
use super::lanes::{Lanes, Matrix, SIDE, Starts, change};
use super::scores::Heads;
use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, kernels, on_device, swap_id};
use crate::engine::real::Real;
use crate::engine::simd::{LANES, vectorized};

/// Keys, and columns of a head, that 16 heads may have to lie in cache.
const KEYS: usize = 64;
const COLUMNS: usize = 32;

#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) q: ValueId,
    pub(crate) k: ValueId,
    pub(crate) v: ValueId,
    pub(crate) pattern: ValueId,
    pub(crate) z: ValueId,
    pub(crate) heads: Heads,
}

impl Op for Attention {
    kernels!();
    on_device!();
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

/// 16 heads, or fewer, of the examples of a tile.
struct Group {
    /// The first, and how many: heads of an example follow each other.
    first: usize,
    count: usize,
    /// Where they begin in q and z, and in k and v.
    q: Starts,
    k: Starts,
}

impl Attention {
    /// Whether heads of these sizes lie in cache, and have the keys that make it pay.
    pub(crate) fn fits(heads: &Heads) -> bool {
        heads.in_blocks() && heads.keys <= KEYS && heads.d_head <= COLUMNS
    }

    /// Positions of the queries, and how many positions the keys have.
    #[inline(always)]
    fn sizes<'a, T: Real>(&self, c: &Ctx<'a, T>) -> (&'a [usize], usize) {
        (c.positions(self.z), c.positions(self.k).len())
    }

    #[inline(always)]
    fn groups<T: Real>(&self, c: &Ctx<'_, T>, tile: &Tile) -> impl Iterator<Item = Group> {
        let Heads { n_heads, d_head, .. } = self.heads;
        let (queries, keys) = self.sizes(c);
        let (rows_q, rows_k) = (queries.len(), keys);
        let (width_q, width_k) = (c.width(self.q), c.width(self.k));
        let all = tile.len() * n_heads;
        (0..all).step_by(LANES).map(
            #[inline(always)]
            move |first| {
                let count = LANES.min(all - first);
                let (example, head) = (|i: usize| (first + i) / n_heads, |i: usize| (first + i) % n_heads);
                let q = Starts::new(
                    count,
                    width_q,
                    #[inline(always)]
                    |i| example(i) * rows_q * width_q + head(i) * d_head,
                );
                let k = Starts::new(
                    count,
                    width_k,
                    #[inline(always)]
                    |i| example(i) * rows_k * width_k + self.heads.kv_cols(head(i)).start,
                );
                Group { first, count, q, k }
            },
        )
    }

    /// The first key of each block that some of these queries see, and the keys that they see.
    #[inline(always)]
    fn seen(&self, queries: &[usize]) -> (impl Iterator<Item = usize> + use<>, Range<usize>) {
        let seen = seen_by(&self.heads, queries.iter().copied());
        ((seen.start / SIDE * SIDE..seen.end).step_by(SIDE), seen)
    }

    /// The queries that see some of the keys from `key` on, which follow each other.
    #[inline(always)]
    fn seeing(&self, queries: &[usize], key: usize) -> Range<usize> {
        let sees = |&at: &usize| {
            let seen = self.heads.seen(at);
            seen.start < key + SIDE && key < seen.end
        };
        let first = queries.iter().position(sees).unwrap_or(queries.len());
        first..queries.iter().rposition(sees).map_or(first, |last| last + 1)
    }

    /// Whether head `i` of a tile adds to the gradients of keys and values that heads before it wrote.
    #[inline(always)]
    fn shares(&self, i: usize) -> bool {
        let Heads { n_heads, n_kv_heads, .. } = self.heads;
        !(i % n_heads).is_multiple_of(n_heads / n_kv_heads)
    }
}

/// Dot products with all keys, of which a query sees some, to its pattern.
#[inline(always)]
fn softmax<T: Real>(row: &mut [Lanes<T>], seen: Range<usize>, scale: T) {
    row[..seen.start].fill(Lanes::ZERO);
    row[seen.end..].fill(Lanes::ZERO);
    let (row, scale) = (&mut row[seen], Lanes::all(scale));
    let top = row.iter().fold(
        Lanes::all(T::NEG_INFINITY),
        #[inline(always)]
        |top, &x| top.max(x),
    );
    let mut total = Lanes::ZERO;
    for x in row.iter_mut() {
        *x = x.sub(top).mul(scale).exp();
        total = total.add(*x);
    }
    let inverse = total.inverse();
    change(
        row,
        #[inline(always)]
        |_, x| x.mul(inverse),
    );
}

/// The gradient of a query's pattern `a` to that of its dot products, in place.
#[inline(always)]
fn softmax_backward<T: Real>(a: &[Lanes<T>], row: &mut [Lanes<T>], seen: Range<usize>, scale: T) {
    row[..seen.start].fill(Lanes::ZERO);
    row[seen.end..].fill(Lanes::ZERO);
    let (a, row, scale) = (&a[seen.clone()], &mut row[seen], Lanes::all(scale));
    let mut shared = Lanes::ZERO;
    for (&a, &d) in a.iter().zip(row.iter()) {
        shared = shared.plus(a, d);
    }
    change(
        row,
        #[inline(always)]
        |i, d| a[i].mul(d.sub(shared)).mul(scale),
    );
}

impl<T: Real> Kernel<T> for Attention {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (z, pattern) = (c.value_mut(self.z, &tile), c.value_mut(self.pattern, &tile));
        let [q, k, v] = [self.q, self.k, self.v].map(|id| c.value(id, &tile));
        let ((queries, n_keys), d_head) = (self.sizes(c), self.heads.d_head);
        let of_queries = (queries.len(), d_head);
        let sizes = [of_queries, (n_keys, d_head), (n_keys, d_head), (queries.len(), n_keys), of_queries];
        let scale = T::from_f64(1.0 / (d_head as f64).sqrt());
        T::with_room(Matrix::<T>::room(&sizes), |room| {
            vectorized!({
                let [mut q_m, mut k_m, mut v_m, mut a, mut z_m] = Matrix::split(room, sizes);
                for group in self.groups(c, &tile) {
                    q_m.load(q, &group.q);
                    k_m.load(k, &group.k);
                    v_m.load(v, &group.k);
                    for (from, these) in (0..queries.len()).step_by(SIDE).zip(queries.chunks(SIDE)) {
                        let (blocks, seen) = self.seen(these);
                        for key in blocks {
                            a.dots((from, key), &q_m, &k_m);
                        }
                        for (i, &at) in (from..).zip(these) {
                            softmax(a.row_mut(i), self.heads.seen(at), scale);
                        }
                        for column in (0..d_head).step_by(SIDE) {
                            z_m.mixes((from, column), &a, &v_m, seen.clone());
                        }
                    }
                    a.keep(&mut pattern[group.first * queries.len() * n_keys..], group.count);
                    z_m.store(
                        z,
                        &group.q,
                        #[inline(always)]
                        |_| false,
                    );
                }
            });
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let [mut dq, mut dk, mut dv] = [0, 1, 2].map(|input| c.input_grad(input, &tile));
        let (pattern, dz) = (c.value(self.pattern, &tile), c.grad(self.z, &tile));
        let [q, k, v] = [self.q, self.k, self.v].map(|id| c.value(id, &tile));
        let ((queries, n_keys), d_head) = (self.sizes(c), self.heads.d_head);
        let (of_queries, of_keys, of_both) = ((queries.len(), d_head), (n_keys, d_head), (queries.len(), n_keys));
        let sizes = [of_queries, of_keys, of_keys, of_queries, of_both, of_both, of_queries, of_keys];
        let scale = T::from_f64(1.0 / (d_head as f64).sqrt());
        T::with_room(Matrix::<T>::room(&sizes), |room| {
            vectorized!({
                let [mut q_m, mut k_m, mut v_m, mut dz_m, mut a, mut ds, mut dq_m, mut dkv_m] =
                    Matrix::split(room, sizes);
                for group in self.groups(c, &tile) {
                    q_m.load(q, &group.q);
                    k_m.load(k, &group.k);
                    v_m.load(v, &group.k);
                    dz_m.load(dz, &group.q);
                    a.take_back(&pattern[group.first * queries.len() * n_keys..], group.count);
                    for (from, these) in (0..queries.len()).step_by(SIDE).zip(queries.chunks(SIDE)) {
                        let (blocks, seen) = self.seen(these);
                        for key in blocks {
                            ds.dots((from, key), &dz_m, &v_m);
                        }
                        for (i, &at) in (from..).zip(these) {
                            softmax_backward(a.row(i), ds.row_mut(i), self.heads.seen(at), scale);
                        }
                        for column in (0..d_head).step_by(SIDE) {
                            dq_m.mixes((from, column), &ds, &k_m, seen.clone());
                        }
                    }
                    if let Some((dq, adding)) = &mut dq {
                        dq_m.store(
                            dq,
                            &group.q,
                            #[inline(always)]
                            |_| *adding,
                        );
                    }
                    for (to, w, x) in [(&mut dk, &ds, &q_m), (&mut dv, &a, &dz_m)] {
                        let Some((to, adding)) = to else { continue };
                        for key in (0..n_keys).step_by(SIDE) {
                            let terms = self.seeing(queries, key);
                            for column in (0..d_head).step_by(SIDE) {
                                dkv_m.folds((key, column), w, x, terms.clone());
                            }
                        }
                        dkv_m.store(
                            to,
                            &group.k,
                            #[inline(always)]
                            |lane| *adding || self.shares(group.first + lane),
                        );
                    }
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;
    use crate::engine::cpu::scores::tests::all_heads;

    /// Ten or twenty heads: a group that is not full, and more than one.
    #[test]
    fn gradients_agree_with_finite_differences() {
        for heads in all_heads().into_iter().filter(Attention::fits) {
            let Heads { n_heads, n_kv_heads, d_head, keys, .. } = heads;
            let mut check = OpCheck::new(5, keys);
            let [q, k, v] = [n_heads, n_kv_heads, n_kv_heads].map(|n| check.input(&[n, d_head]));
            let (z, pattern) = (check.value(&[n_heads, d_head]), check.value(&[n_heads, keys]));
            check.assert_gradients(Attention { q, k, v, pattern, z, heads }, z);
        }
    }
}
