//! Matrix products over `gemm`: single-threaded, at most 512 terms a call, so that the bits depend on shapes alone.

use std::sync::Mutex;
use std::time::Instant;

use crate::engine::Workers;
use crate::engine::real::Real;

/// Terms of one call: below this `gemm` makes one pass whatever the cache sizes.
const MAX_TERMS: usize = 512;

/// A strided matrix for reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Row-major with rows of `width`.
    pub(crate) fn rows(data: &'a [T], width: usize) -> Mat<'a, T> {
        Mat { data, row_stride: width, col_stride: 1 }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Mat<'a, T> {
        Mat { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}

/// dst `[m, n]` (row-major, rows `dst_stride` apart) = a `[m, k]` · b `[k, n]`, added to what is there if `add`.
pub(crate) fn matmul<T: Real>(
    (m, n, k): (usize, usize, usize),
    dst: &mut [T],
    dst_stride: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    add: bool,
) {
    assert!(m == 0 || n == 0 || (m - 1) * dst_stride + n <= dst.len(), "invariant: the product fits its place");
    // SAFETY: `dst` holds the whole product by the assertion and is exclusively borrowed.
    unsafe { matmul_into((m, n, k), dst.as_mut_ptr(), dst_stride, a, b, add) }
}

/// [`matmul`] into a block of a larger matrix that others write at the same time.
///
/// # Safety
/// Elements `[i · dst_stride + j]` for i < m, j < n lie in one allocation, and nobody else touches them meanwhile.
pub(crate) unsafe fn matmul_into<T: Real>(
    (m, n, k): (usize, usize, usize),
    dst: *mut T,
    dst_stride: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    add: bool,
) {
    assert!(a.holds(m, k) && b.holds(k, n), "invariant: operands hold their rows and columns");
    let mut from = 0;
    while from < k || (k == 0 && from == 0) {
        let terms = (k - from).min(MAX_TERMS);
        // SAFETY: operands checked above, `dst` by the caller; strides are those of slices and fit isize.
        unsafe {
            gemm::gemm(
                m,
                n,
                terms,
                dst,
                1,
                dst_stride as isize,
                add || from > 0,
                a.data.as_ptr().wrapping_add(from * a.col_stride),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr().wrapping_add(from * b.row_stride),
                b.col_stride as isize,
                b.row_stride as isize,
                T::ONE,
                T::ONE,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        from += terms.max(1);
    }
}

/// Floating-point operations a second of matrix products of 512 × 512 on all workers at once: what this machine can do.
pub fn peak_flops<T: Real>(workers: &Workers) -> f64 {
    const SIDE: usize = 512;
    const PRODUCTS: usize = 8;
    let a = vec![T::from_f64(0.5); SIDE * SIDE];
    let mut out: Vec<Mutex<Vec<T>>> = vec![];
    out.resize_with(workers.count(), || Mutex::new(vec![T::ZERO; SIDE * SIDE]));
    let work = |i: usize| {
        let mut dst = out[i].lock().expect("invariant: nobody panics with the lock held");
        for _ in 0..PRODUCTS {
            matmul((SIDE, SIDE, SIDE), &mut dst, SIDE, Mat::rows(&a, SIDE), Mat::rows(&a, SIDE), false);
        }
    };
    let once = || {
        let started = Instant::now();
        workers.each(workers.count(), work);
        started.elapsed().as_secs_f64()
    };
    let best = (0..10).map(|_| once()).fold(f64::INFINITY, f64::min);
    2.0 * (SIDE * SIDE * SIDE * PRODUCTS * workers.count()) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_three_loops_beyond_one_call() {
        let (m, n, k) = (5, 7, 1100);
        let a: Vec<f64> = (0..m * k).map(|i| ((i * 37 % 101) as f64 - 50.0) / 50.0).collect();
        let b: Vec<f64> = (0..k * n).map(|i| ((i * 53 % 97) as f64 - 48.0) / 48.0).collect();
        let mut got = vec![1.0; m * n];
        matmul((m, n, k), &mut got, n, Mat::rows(&a, k), Mat::rows(&b, n), true);
        for i in 0..m {
            for j in 0..n {
                let want: f64 = 1.0 + (0..k).map(|t| a[i * k + t] * b[t * n + j]).sum::<f64>();
                assert!((got[i * n + j] - want).abs() < 1e-10);
            }
        }
    }
}
