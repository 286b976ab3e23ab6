//! The three small products of attention, over one head of one example: rows of queries `x(q)` and of keys `y(t)`, and a weight
//! `w(q)[t]` for every query and key.
//!
//! - [`dots`]: `w(q)[t] = x(q) · y(t)` (scores; gradient of the pattern);
//! - [`mixes`]: `x(q) = Σ_t w(q)[t] y(t)` (mixed values; gradient of the queries);
//! - [`folds`]: `y(t) = Σ_q w(q)[t] x(q)` (gradients of keys and values).
//!
//! Each walks over blocks that stay in registers: 16 lanes of keys or of a head's width, eight rows at a time, 16 terms of a sum at a
//! time. What every group of rows reads is copied to the stack first, so that it lies dense whatever table or batch it comes from. Sums run
//! in the order of their index, so that nothing depends on who computes what. Weights of keys that a query does not see must be 0. Keys after
//! the last that is seen are not looked at: they may have no rows.

use std::ops::Range;

use super::scores::Heads;
use crate::engine::real::Real;
use crate::engine::simd::LANES;

/// With fewer keys, blocks are mostly empty: pair by pair is faster.
pub(super) const KEYS: usize = 8;

/// Rows at a time.
const ROWS: usize = 8;

/// Terms of a sum whose rows lie on the stack at once, in blocks of [`LANES`].
const BLOCKS: usize = 8;

#[inline(always)]
fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The first index of each block of `width` in `range`, from the one that holds its start.
#[inline(always)]
fn blocks(range: Range<usize>, width: usize) -> impl Iterator<Item = usize> {
    (range.start / width * width..range.end).step_by(width)
}

/// `N` numbers from `start` on, zeros beyond the end of the row.
#[inline(always)]
fn chunk<T: Real, const N: usize>(row: &[T], start: usize) -> [T; N] {
    match row[start..].first_chunk::<N>() {
        Some(whole) => *whole,
        None => {
            let mut part = [T::ZERO; N];
            let rest = &row[start..];
            part[..rest.len()].copy_from_slice(rest);
            part
        }
    }
}

/// `sums[r] += Σ_i a(i)[r] · b[i]`, with `a(i)` the factors of all rows.
///
/// How many terms there are is told at run time, so that the loop stays one: eight rows at a time keep the units busy, and unrolled
/// sixteen times in every kernel it costs a minute of compilation.
#[inline(always)]
fn multiply<T: Real>(sums: &mut [[T; LANES]; ROWS], a: impl Fn(usize, usize) -> T, b: &[[T; LANES]]) {
    for (i, b) in b.iter().enumerate() {
        for (r, sums) in sums.iter_mut().enumerate() {
            let factor = a(i, r);
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = factor.mul_add(b, *sum);
            }
        }
    }
}

/// The queries of a group of rows, the last of all standing in for those beyond it.
#[inline(always)]
fn group(first: usize, queries: &[usize]) -> [usize; ROWS] {
    std::array::from_fn(
        #[inline(always)]
        |i| (first + i).min(queries.len() - 1),
    )
}

/// The keys that any of these queries sees, and those between them.
#[inline(always)]
pub(super) fn seen_by(heads: &Heads, queries: impl Iterator<Item = usize>) -> Range<usize> {
    let mut seen = queries.map(
        #[inline(always)]
        |at| heads.seen(at),
    );
    let first = seen.next().unwrap_or(0..0);
    seen.fold(
        first,
        #[inline(always)]
        |all, one| all.start.min(one.start)..all.end.max(one.end),
    )
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
    let seen = seen_by(heads, queries.iter().copied());
    for start in (0..heads.d_head).step_by(BLOCKS * LANES) {
        let columns = start..heads.d_head.min(start + BLOCKS * LANES);
        for first in blocks(seen.clone(), LANES) {
            let keys = first..seen.end.min(first + LANES);
            let mut turned = [[[T::ZERO; LANES]; LANES]; BLOCKS];
            for (lane, key) in keys.clone().enumerate() {
                let y = y(key);
                for (block, from) in turned.iter_mut().zip(columns.clone().step_by(LANES)) {
                    let y: [T; LANES] = chunk(y, from);
                    for (row, y) in block.iter_mut().zip(y) {
                        row[lane] = y;
                    }
                }
            }
            for from in (0..queries.len()).step_by(ROWS) {
                let group = group(from, queries);
                if !group.iter().any(|&q| overlap(&heads.seen(queries[q]), &keys)) {
                    continue;
                }
                let mut sums = [[T::ZERO; LANES]; ROWS];
                for (block, column) in turned.iter().zip(columns.clone().step_by(LANES)) {
                    let mut a = [[T::ZERO; LANES]; ROWS];
                    for (a, q) in a.iter_mut().zip(group) {
                        *a = chunk(x(q), column);
                    }
                    multiply(
                        &mut sums,
                        #[inline(always)]
                        |i, r| a[r][i],
                        &block[..LANES.min(columns.end - column)],
                    );
                }
                for (q, sums) in (from..queries.len()).zip(&sums) {
                    out(q, first, &sums[..keys.len()], start > 0);
                }
            }
        }
    }
}

/// Calls `out` with (query, first column, weighted sums of the rows `y` from it on, whether to add them to what is there).
#[inline(always)]
pub(super) fn mixes<'a, T: Real>(
    heads: &Heads,
    queries: &[usize],
    w: impl Fn(usize) -> &'a [T],
    y: impl Fn(usize) -> &'a [T],
    mut out: impl FnMut(usize, usize, &[T], bool),
) {
    let seen = seen_by(heads, queries.iter().copied());
    // A window may leave out the first blocks of all queries: the first that is read, whichever it is, writes.
    let begin = blocks(seen.clone(), BLOCKS * LANES).next().unwrap_or(0);
    for start in (0..heads.d_head).step_by(LANES) {
        let width = LANES.min(heads.d_head - start);
        for first in blocks(seen.clone(), BLOCKS * LANES) {
            let keys = first..seen.end.min(first + BLOCKS * LANES);
            let mut dense = [[[T::ZERO; LANES]; LANES]; BLOCKS];
            for (row, key) in dense.as_flattened_mut().iter_mut().zip(keys.clone()) {
                *row = chunk(y(key), start);
            }
            for from in (0..queries.len()).step_by(ROWS) {
                let group = group(from, queries);
                let seen = seen_by(heads, group.iter().map(|&q| queries[q]));
                if !overlap(&seen, &keys) && first > begin {
                    continue;
                }
                let seen = seen.start.max(keys.start)..seen.end.min(keys.end);
                let mut sums = [[T::ZERO; LANES]; ROWS];
                for key in blocks(seen, LANES) {
                    let mut a = [[T::ZERO; LANES]; ROWS];
                    for (a, q) in a.iter_mut().zip(group) {
                        *a = chunk(w(q), key);
                    }
                    multiply(
                        &mut sums,
                        #[inline(always)]
                        |i, r| a[r][i],
                        &dense[(key - first) / LANES][..LANES.min(keys.end - key)],
                    );
                }
                for (q, sums) in (from..queries.len()).zip(&sums) {
                    out(q, start, &sums[..width], first > begin);
                }
            }
        }
    }
}

/// Calls `out` with (key, first column, weighted sums of the rows `x` from it on), possibly several times for a key.
#[inline(always)]
pub(super) fn folds<'a, T: Real>(
    heads: &Heads,
    queries: &[usize],
    w: impl Fn(usize) -> &'a [T],
    x: impl Fn(usize) -> &'a [T],
    mut out: impl FnMut(usize, usize, &[T]),
) {
    let seen = seen_by(heads, queries.iter().copied());
    for start in (0..heads.d_head).step_by(LANES) {
        let width = LANES.min(heads.d_head - start);
        for first in (0..queries.len()).step_by(BLOCKS * LANES) {
            let these = first..queries.len().min(first + BLOCKS * LANES);
            let mut dense = [[[T::ZERO; LANES]; LANES]; BLOCKS];
            for (row, q) in dense.as_flattened_mut().iter_mut().zip(these.clone()) {
                *row = chunk(x(q), start);
            }
            for key in (0..seen.end).step_by(ROWS) {
                let keys = key..seen.end.min(key + ROWS);
                let mut sums = [[T::ZERO; LANES]; ROWS];
                let mut any = false;
                for (block, from) in dense.iter().zip(these.clone().step_by(LANES)) {
                    let queries = &queries[from..these.end.min(from + LANES)];
                    if !queries.iter().any(|&at| overlap(&heads.seen(at), &keys)) {
                        continue;
                    }
                    any = true;
                    let mut a = [[T::ZERO; ROWS]; LANES];
                    for (a, q) in a.iter_mut().zip(from..from + queries.len()) {
                        *a = chunk(w(q), key);
                    }
                    multiply(
                        &mut sums,
                        #[inline(always)]
                        |i, r| a[i][r],
                        &block[..queries.len()],
                    );
                }
                if any {
                    for (key, sums) in keys.zip(&sums) {
                        out(key, start, &sums[..width]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::scores::Sight;

    fn number(i: usize, j: usize) -> f64 {
        ((i * 37 + j * 11) % 23) as f64 / 23.0 - 0.4
    }

    fn rows(n: usize, width: usize, salt: usize) -> Vec<Vec<f64>> {
        (0..n).map(|i| (0..width).map(|j| number(i + salt, j)).collect()).collect()
    }

    /// More keys, queries and columns than lie on the stack at once, and queries whose windows begin beyond the first block of keys.
    #[test]
    fn blocks_add_up_to_plain_sums_however_many_there_are() {
        for sight in [Sight::Causal, Sight::Window(3), Sight::Window(150), Sight::Full] {
            for (keys, d_head) in [(9, 140), (300, 5), (150, 20)] {
                let heads = Heads { n_heads: 1, n_kv_heads: 1, d_head, keys, sight };
                let some = [vec![keys - 1], vec![keys - 2, keys - 1], (0..keys - 1).collect(), vec![1, keys / 2]];
                for queries in some.into_iter().chain([(0..keys).collect::<Vec<_>>()]) {
                    check(&heads, &queries);
                }
            }
        }
    }

    fn check(heads: &Heads, queries: &[usize]) {
        let (n, keys, d_head) = (queries.len(), heads.keys, heads.d_head);
        let (x, y) = (rows(n, d_head, 1), rows(seen_by(heads, queries.iter().copied()).end, d_head, 5));
        let sees = |q: usize, key: usize| heads.seen(queries[q]).contains(&key);
        let w: Vec<Vec<f64>> =
            (0..n).map(|q| (0..keys).map(|key| if sees(q, key) { number(q, key) } else { 0.0 }).collect()).collect();
        // Anything that is added to before it is written stays wrong.
        let (mut dot, mut mixed) = (vec![vec![1e9; keys]; n], vec![vec![1e9; d_head]; n]);
        let mut folded = vec![vec![0.0; d_head]; keys];
        let write = |to: &mut [f64], from: &[f64], adding: bool| {
            for (to, from) in to.iter_mut().zip(from) {
                *to = if adding { *to + from } else { *from };
            }
        };
        dots(
            heads,
            queries,
            |q| &x[q],
            |key| &y[key],
            |q, first, sums, adding| {
                write(&mut dot[q][first..first + sums.len()], sums, adding);
            },
        );
        mixes(
            heads,
            queries,
            |q| &w[q],
            |key| &y[key],
            |q, start, sums, adding| {
                write(&mut mixed[q][start..start + sums.len()], sums, adding);
            },
        );
        folds(
            heads,
            queries,
            |q| &w[q],
            |q| &x[q],
            |key, start, sums| {
                write(&mut folded[key][start..start + sums.len()], sums, true);
            },
        );
        let close = |got: f64, want: f64| (got - want).abs() < 1e-9;
        for q in 0..n {
            for key in (0..keys).filter(|&key| sees(q, key)) {
                assert!(close(dot[q][key], (0..d_head).map(|i| x[q][i] * y[key][i]).sum()), "{heads:?} {q} {key}");
            }
            for i in 0..d_head {
                assert!(close(mixed[q][i], (0..y.len()).map(|key| w[q][key] * y[key][i]).sum()), "{heads:?} {q} {i}");
            }
        }
        for key in 0..y.len() {
            for i in 0..d_head {
                assert!(close(folded[key][i], (0..n).map(|q| w[q][key] * x[q][i]).sum()), "{heads:?} {key} {i}");
            }
        }
    }
}
