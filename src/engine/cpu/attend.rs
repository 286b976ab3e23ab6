//! The three small products of attention, over one head of one example: rows of queries `x(q)` and of keys `y(t)`, and a weight
//! `w(q)[t]` for every query and key.
//!
//! - [`dots`]: `w(q)[t] = x(q) · y(t)` (scores; gradient of the pattern);
//! - [`mixes`]: `x(q) = Σ_t w(q)[t] y(t)` (mixed values; gradient of the queries);
//! - [`folds`]: `y(t) = Σ_q w(q)[t] x(q)` (gradients of keys and values).
//!
//! Each walks over blocks that stay in registers: 16 lanes of keys or of a head's width, four rows at a time. Sums run in the order of
//! their index, so that nothing depends on who computes what. Weights of keys that a query does not see must be 0.

use std::ops::Range;

use super::scores::Heads;
use crate::engine::real::Real;
use crate::engine::simd::LANES;

/// With fewer keys, blocks are mostly empty: pair by pair is faster.
pub(super) const KEYS: usize = 8;

/// Rows at a time.
const ROWS: usize = 4;

/// Columns of a head that are turned over at a time.
const DEPTH: usize = 64;

#[inline(always)]
fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Up to [`LANES`] numbers from `start` on, then zeros.
#[inline(always)]
fn lanes<T: Real>(row: &[T], start: usize) -> [T; LANES] {
    match row[start..].first_chunk::<LANES>() {
        Some(whole) => *whole,
        None => {
            let mut part = [T::ZERO; LANES];
            let rest = &row[start..];
            part[..rest.len()].copy_from_slice(rest);
            part
        }
    }
}

/// Calls `out` with (query, first key, dot products with it and those after it, whether to add them to what is there).
#[inline(always)]
pub(super) fn dots<'a, T: Real>(
    heads: &Heads,
    queries: &[usize],
    x: impl Fn(usize) -> &'a [T],
    y: impl Fn(usize) -> &'a [T],
    mut out: impl FnMut(usize, usize, &[T], bool),
) {
    let last = queries.len() - 1;
    for start in (0..heads.d_head).step_by(DEPTH) {
        let depth = DEPTH.min(heads.d_head - start);
        for first in (0..heads.keys).step_by(LANES) {
            let block = first..heads.keys.min(first + LANES);
            if !queries.iter().any(|&at| overlap(&heads.seen(at), &block)) {
                continue;
            }
            let mut y_turned = [[T::ZERO; LANES]; DEPTH];
            for (lane, key) in block.clone().enumerate() {
                for (column, &value) in y_turned.iter_mut().zip(&y(key)[start..start + depth]) {
                    column[lane] = value;
                }
            }
            for group in (0..queries.len()).step_by(ROWS) {
                let query: [usize; ROWS] = std::array::from_fn(|i| (group + i).min(last));
                if !query.iter().any(|&q| overlap(&heads.seen(queries[q]), &block)) {
                    continue;
                }
                let x: [&[T]; ROWS] = query.map(
                    #[inline(always)]
                    |q| &x(q)[start..start + depth],
                );
                let mut sums = [[T::ZERO; LANES]; ROWS];
                for (i, column) in y_turned[..depth].iter().enumerate() {
                    for (sums, x) in sums.iter_mut().zip(&x) {
                        let factor = x[i];
                        for (sum, &y) in sums.iter_mut().zip(column) {
                            *sum = factor.mul_add(y, *sum);
                        }
                    }
                }
                for (q, sums) in (group..=last).zip(&sums) {
                    out(q, first, &sums[..block.len()], start > 0);
                }
            }
        }
    }
}

/// Calls `out` with (query, first column, weighted sums of the rows `y` from it on).
#[inline(always)]
pub(super) fn mixes<'a, T: Real>(
    heads: &Heads,
    queries: &[usize],
    w: impl Fn(usize) -> &'a [T],
    y: impl Fn(usize) -> &'a [T],
    mut out: impl FnMut(usize, usize, &[T]),
) {
    let last = queries.len() - 1;
    for group in (0..queries.len()).step_by(ROWS) {
        let query: [usize; ROWS] = std::array::from_fn(|i| (group + i).min(last));
        let seen = query.map(|q| heads.seen(queries[q]));
        let keys = seen.iter().map(|s| s.start).min().unwrap_or(0)..seen.iter().map(|s| s.end).max().unwrap_or(0);
        let w: [&[T]; ROWS] = query.map(&w);
        for start in (0..heads.d_head).step_by(LANES) {
            let mut sums = [[T::ZERO; LANES]; ROWS];
            for key in keys.clone() {
                let y = lanes(y(key), start);
                for (sums, w) in sums.iter_mut().zip(&w) {
                    let factor = w[key];
                    for (sum, &y) in sums.iter_mut().zip(&y) {
                        *sum = factor.mul_add(y, *sum);
                    }
                }
            }
            let width = LANES.min(heads.d_head - start);
            for (q, sums) in (group..=last).zip(&sums) {
                out(q, start, &sums[..width]);
            }
        }
    }
}

/// Calls `out` with (key, first column, weighted sums of the rows `x` from it on).
#[inline(always)]
pub(super) fn folds<'a, T: Real>(
    heads: &Heads,
    queries: &[usize],
    w: impl Fn(usize) -> &'a [T],
    x: impl Fn(usize) -> &'a [T],
    mut out: impl FnMut(usize, usize, &[T]),
) {
    for first in (0..heads.keys).step_by(ROWS) {
        let block = first..heads.keys.min(first + ROWS);
        let see = |&q: &usize| overlap(&heads.seen(queries[q]), &block);
        let Some(from) = (0..queries.len()).find(see) else { continue };
        let to = (0..queries.len()).rfind(see).map_or(0, |q| q + 1);
        for start in (0..heads.d_head).step_by(LANES) {
            let mut sums = [[T::ZERO; LANES]; ROWS];
            for q in from..to {
                let (x, w) = (lanes(x(q), start), w(q));
                for (sums, key) in sums.iter_mut().zip(first..) {
                    // Beyond the last key the sums are not used.
                    let factor = w[key.min(block.end - 1)];
                    for (sum, &x) in sums.iter_mut().zip(&x) {
                        *sum = factor.mul_add(x, *sum);
                    }
                }
            }
            let width = LANES.min(heads.d_head - start);
            for (key, sums) in block.clone().zip(&sums) {
                out(key, start, &sums[..width]);
            }
        }
    }
}
