//! Small matrices of 16 heads at once, one head a vector lane.
//!
//! Rows of heads, as values hold them, are transposed on the way in and out, 16 by 16 numbers at a time; between, every operation is that of one
//! head with a vector for a number: nothing is summed across lanes, masks are ranges of loops, and a head's bits do not depend on its
//! neighbours. Products keep a block of 4 by 4 sums in registers and add terms in the order of their index.

use std::ops::Range;

use crate::engine::real::Real;
use crate::engine::simd::LANES;

/// Rows and columns of a block of sums.
pub(super) const SIDE: usize = 4;

/// A number of each of 16 heads, on a cache line of its own.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Lanes<T>([T; LANES]);

/// The sums of [`SIDE`] rows and columns.
type Block<T> = [[Lanes<T>; SIDE]; SIDE];

impl<T: Real> Lanes<T> {
    pub(crate) const ZERO: Lanes<T> = Lanes([T::ZERO; LANES]);

    #[inline(always)]
    pub(super) fn all(x: T) -> Lanes<T> {
        Lanes([x; LANES])
    }

    #[inline(always)]
    fn with(mut self, other: Lanes<T>, f: impl Fn(T, T) -> T) -> Lanes<T> {
        for (x, y) in self.0.iter_mut().zip(other.0) {
            *x = f(*x, y);
        }
        self
    }

    #[inline(always)]
    pub(super) fn add(self, other: Lanes<T>) -> Lanes<T> {
        self.with(
            other,
            #[inline(always)]
            |x, y| x + y,
        )
    }

    #[inline(always)]
    pub(super) fn sub(self, other: Lanes<T>) -> Lanes<T> {
        self.with(
            other,
            #[inline(always)]
            |x, y| x - y,
        )
    }

    #[inline(always)]
    pub(super) fn mul(self, other: Lanes<T>) -> Lanes<T> {
        self.with(
            other,
            #[inline(always)]
            |x, y| x * y,
        )
    }

    /// The larger; NaN in `other` is passed over.
    #[inline(always)]
    pub(super) fn max(self, other: Lanes<T>) -> Lanes<T> {
        self.with(
            other,
            #[inline(always)]
            |x, y| y.max(x),
        )
    }

    #[inline(always)]
    pub(super) fn exp(self) -> Lanes<T> {
        self.with(
            self,
            #[inline(always)]
            |x, _| x.exp(),
        )
    }

    #[inline(always)]
    pub(super) fn inverse(self) -> Lanes<T> {
        self.with(
            self,
            #[inline(always)]
            |x, _| T::ONE / x,
        )
    }

    /// `self + a · b`, rounded once.
    #[inline(always)]
    pub(super) fn plus(mut self, a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            *sum = a.mul_add(b, *sum);
        }
        self
    }
}

/// Where the rows of up to 16 heads begin in a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starts {
    at: [usize; LANES],
    /// Heads that there are; the last stands in for those beyond.
    count: usize,
    /// From a row to the next.
    stride: usize,
}

impl Starts {
    #[inline(always)]
    pub(super) fn new(count: usize, stride: usize, at: impl Fn(usize) -> usize) -> Starts {
        let at = std::array::from_fn(
            #[inline(always)]
            |lane| at(lane.min(count - 1)),
        );
        Starts { at, count, stride }
    }
}

/// A matrix `[rows, columns]` of each of 16 heads; room for a multiple of [`SIDE`] of both, where anything may stand beyond them.
pub(super) struct Matrix<'a, T> {
    numbers: &'a mut [Lanes<T>],
    rows: usize,
    columns: usize,
    width: usize,
}

/// Replaces every number by what `of` makes of its place and of it.
#[inline(always)]
pub(super) fn change<T: Real>(row: &mut [Lanes<T>], of: impl Fn(usize, Lanes<T>) -> Lanes<T>) {
    for i in 0..row.len() {
        // Or the compiler takes 16 rows at a time, and gathers number by number.
        let i = std::hint::black_box(i);
        row[i] = of(i, row[i]);
    }
}

impl<'a, T: Real> Matrix<'a, T> {
    /// Numbers that matrices of these sizes take.
    pub(super) fn room(sizes: &[(usize, usize)]) -> usize {
        sizes.iter().map(|(rows, columns)| rows.next_multiple_of(SIDE) * columns.next_multiple_of(SIDE)).sum()
    }

    /// Matrices in one piece of memory.
    #[inline(always)]
    pub(super) fn split<const N: usize>(
        mut room: &'a mut [Lanes<T>],
        sizes: [(usize, usize); N],
    ) -> [Matrix<'a, T>; N] {
        sizes.map(
            #[inline(always)]
            |(rows, columns)| {
                let numbers = room.split_off_mut(..Matrix::<T>::room(&[(rows, columns)]));
                let numbers = numbers.expect("invariant: there is room for all");
                Matrix { numbers, rows, columns, width: columns.next_multiple_of(SIDE) }
            },
        )
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[Lanes<T>] {
        &self.numbers[row * self.width..][..self.width]
    }

    #[inline(always)]
    pub(super) fn row_mut(&mut self, row: usize) -> &mut [Lanes<T>] {
        &mut self.numbers[row * self.width..][..self.width]
    }

    /// Reads all rows from a value.
    #[inline(always)]
    pub(super) fn load(&mut self, from: &[T], starts: &Starts) {
        for row in 0..self.rows {
            for column in (0..self.columns).step_by(LANES) {
                let mut rows = [[T::ZERO; LANES]; LANES];
                for (to, at) in rows.iter_mut().zip(starts.at) {
                    let from = &from[at + row * starts.stride + column..];
                    match from.first_chunk() {
                        // What follows the last column is not looked at.
                        Some(whole) => *to = *whole,
                        None => to[..from.len()].copy_from_slice(from),
                    }
                }
                for (to, x) in self.row_mut(row)[column..].iter_mut().zip(&T::transpose(&rows)) {
                    *to = Lanes(*x);
                }
            }
        }
    }

    /// Writes all rows to a value, or adds them where `adding` says so of a lane.
    #[inline(always)]
    pub(super) fn store(&self, to: &mut [T], starts: &Starts, adding: impl Fn(usize) -> bool) {
        for row in 0..self.rows {
            for column in (0..self.columns).step_by(LANES) {
                let mut columns = [[T::ZERO; LANES]; LANES];
                for (to, x) in columns.iter_mut().zip(&self.row(row)[column..]) {
                    *to = x.0;
                }
                let width = LANES.min(self.columns - column);
                for ((lane, x), at) in T::transpose(&columns).iter().enumerate().zip(starts.at).take(starts.count) {
                    let to = &mut to[at + row * starts.stride + column..][..width];
                    write(to, x, adding(lane));
                }
            }
        }
    }

    /// Writes all numbers of `count` heads, `[rows, columns, heads]`.
    #[inline(always)]
    pub(super) fn keep(&self, to: &mut [T], count: usize) {
        for (row, to) in (0..self.rows).zip(to.chunks_exact_mut(self.columns * count)) {
            if let (lanes, []) = to.as_chunks_mut::<LANES>()
                && count == LANES
            {
                for (to, x) in lanes.iter_mut().zip(self.row(row)) {
                    *to = x.0;
                }
            } else {
                for (to, x) in to.chunks_exact_mut(count).zip(self.row(row)) {
                    to.copy_from_slice(&x.0[..count]);
                }
            }
        }
    }

    /// Reads what [`Matrix::keep`] wrote.
    #[inline(always)]
    pub(super) fn take_back(&mut self, from: &[T], count: usize) {
        for (row, from) in (0..self.rows).zip(from.chunks_exact(self.columns * count)) {
            if let (lanes, []) = from.as_chunks::<LANES>()
                && count == LANES
            {
                for (to, x) in self.row_mut(row).iter_mut().zip(lanes) {
                    to.0 = *x;
                }
            } else {
                for (to, x) in self.row_mut(row).iter_mut().zip(from.chunks_exact(count)) {
                    to.0[..count].copy_from_slice(x);
                }
            }
        }
    }

    /// `self[i][j] = Σ_t a[i][t] b[j][t]` for the block from (i, j) on.
    #[inline(always)]
    pub(super) fn dots(&mut self, (i, j): (usize, usize), a: &Matrix<'_, T>, b: &Matrix<'_, T>) {
        let sums = product(
            0..a.columns,
            #[inline(always)]
            |t| a.column(t, i),
            #[inline(always)]
            |t| b.column(t, j),
        );
        self.put((i, j), sums);
    }

    /// `self[i][j] = Σ_t w[i][t] y[t][j]` for the block from (i, j) on.
    #[inline(always)]
    pub(super) fn mixes(&mut self, (i, j): (usize, usize), w: &Matrix<'_, T>, y: &Matrix<'_, T>, terms: Range<usize>) {
        let sums = product(
            terms,
            #[inline(always)]
            |t| w.column(t, i),
            #[inline(always)]
            |t| y.row_part(t, j),
        );
        self.put((i, j), sums);
    }

    /// `self[i][j] = Σ_t w[t][i] x[t][j]` for the block from (i, j) on.
    #[inline(always)]
    pub(super) fn folds(&mut self, (i, j): (usize, usize), w: &Matrix<'_, T>, x: &Matrix<'_, T>, terms: Range<usize>) {
        let sums = product(
            terms,
            #[inline(always)]
            |t| w.row_part(t, i),
            #[inline(always)]
            |t| x.row_part(t, j),
        );
        self.put((i, j), sums);
    }

    /// A column in the block of rows from `row` on.
    #[inline(always)]
    fn column(&self, column: usize, row: usize) -> [Lanes<T>; SIDE] {
        let (x, at) = (&*self.numbers, row * self.width + column);
        [x[at], x[at + self.width], x[at + 2 * self.width], x[at + 3 * self.width]]
    }

    /// A row in the block of columns from `column` on.
    #[inline(always)]
    fn row_part(&self, row: usize, column: usize) -> [Lanes<T>; SIDE] {
        let x = &self.numbers[row * self.width + column..][..SIDE];
        [x[0], x[1], x[2], x[3]]
    }

    #[inline(always)]
    fn put(&mut self, (i, j): (usize, usize), [r0, r1, r2, r3]: Block<T>) {
        self.put_row(i, j, r0);
        self.put_row(i + 1, j, r1);
        self.put_row(i + 2, j, r2);
        self.put_row(i + 3, j, r3);
    }

    #[inline(always)]
    fn put_row(&mut self, row: usize, column: usize, [x0, x1, x2, x3]: [Lanes<T>; SIDE]) {
        let to = &mut self.row_mut(row)[column..][..SIDE];
        (to[0], to[1], to[2], to[3]) = (x0, x1, x2, x3);
    }
}

/// Writes the first numbers of a row, or adds them; a whole row, whose length the compiler knows, in one go.
#[inline(always)]
fn write<T: Real>(to: &mut [T], x: &[T; LANES], adding: bool) {
    match (to.first_chunk_mut::<LANES>(), adding) {
        (Some(to), false) => *to = *x,
        (Some(to), true) => {
            for (to, &x) in to.iter_mut().zip(x) {
                *to += x;
            }
        }
        (None, false) => to.copy_from_slice(&x[..to.len()]),
        (None, true) => {
            for (to, &x) in to.iter_mut().zip(x) {
                *to += x;
            }
        }
    }
}

/// `sums[i][j] = Σ_t a(t)[i] b(t)[j]`, all sixteen in registers: rows by name and numbers by value, or the compiler leaves them in memory.
#[inline(always)]
fn product<T: Real>(
    terms: Range<usize>,
    a: impl Fn(usize) -> [Lanes<T>; SIDE],
    b: impl Fn(usize) -> [Lanes<T>; SIDE],
) -> Block<T> {
    let zero = [Lanes::ZERO; SIDE];
    let (mut s0, mut s1, mut s2, mut s3) = (zero, zero, zero, zero);
    for t in terms {
        let ([a0, a1, a2, a3], b) = (a(t), b(t));
        s0 = plus(s0, a0, b);
        s1 = plus(s1, a1, b);
        s2 = plus(s2, a2, b);
        s3 = plus(s3, a3, b);
    }
    [s0, s1, s2, s3]
}

#[inline(always)]
fn plus<T: Real>(
    [s0, s1, s2, s3]: [Lanes<T>; SIDE],
    a: Lanes<T>,
    [b0, b1, b2, b3]: [Lanes<T>; SIDE],
) -> [Lanes<T>; SIDE] {
    [s0.plus(a, b0), s1.plus(a, b1), s2.plus(a, b2), s3.plus(a, b3)]
}
