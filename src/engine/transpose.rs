//! 16 rows of 16 numbers to their columns.

use super::real::Real;
use super::simd::LANES;

/// 16 rows of 16 numbers.
pub(crate) type Square<T> = [[T; LANES]; LANES];

const HALF: usize = LANES / 2;

/// Four perfect shuffles of the rows of one half with those of the other, by way of memory.
#[inline(always)]
pub(super) fn by_shuffles<T: Real>(x: &Square<T>) -> Square<T> {
    let [mut y, mut z] = [[[T::ZERO; LANES]; LANES]; 2];
    shuffle(x, &mut y);
    shuffle(&y, &mut z);
    shuffle(&z, &mut y);
    shuffle(&y, &mut z);
    z
}

#[inline(always)]
fn shuffle<T: Real>(x: &Square<T>, y: &mut Square<T>) {
    for i in 0..HALF {
        // Or the compiler sees through all four, and gathers number by number.
        let i = std::hint::black_box(i);
        for k in 0..HALF {
            (y[2 * i][2 * k], y[2 * i][2 * k + 1]) = (x[i][k], x[i + HALF][k]);
            (y[2 * i + 1][2 * k], y[2 * i + 1][2 * k + 1]) = (x[i][k + HALF], x[i + HALF][k + HALF]);
        }
    }
}

/// Rows in one register each, where the machine has such registers: four times as fast.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn in_registers(x: &Square<f32>) -> Square<f32> {
    let Some(simd) = pulp::x86::V4::try_new() else { return by_shuffles(x) };
    let [x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, xa, xb, xc, xd, xe, xf] = pulp::cast(*x);
    let [a0, a1, a2, a3] = x86::transpose_quarters(simd, [x0, x1, x2, x3]);
    let [b0, b1, b2, b3] = x86::transpose_quarters(simd, [x4, x5, x6, x7]);
    let [c0, c1, c2, c3] = x86::transpose_quarters(simd, [x8, x9, xa, xb]);
    let [d0, d1, d2, d3] = x86::transpose_quarters(simd, [xc, xd, xe, xf]);
    let [y0, y4, y8, yc] = x86::swap_quarters(simd, [a0, b0, c0, d0]);
    let [y1, y5, y9, yd] = x86::swap_quarters(simd, [a1, b1, c1, d1]);
    let [y2, y6, ya, ye] = x86::swap_quarters(simd, [a2, b2, c2, d2]);
    let [y3, y7, yb, yf] = x86::swap_quarters(simd, [a3, b3, c3, d3]);
    pulp::cast([y0, y1, y2, y3, y4, y5, y6, y7, y8, y9, ya, yb, yc, yd, ye, yf])
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn in_registers(x: &Square<f32>) -> Square<f32> {
    by_shuffles(x)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m512, __m512d};

    use pulp::x86::V4;

    /// Transposes the four squares of 4 by 4 numbers that lie side by side in four rows.
    #[inline(always)]
    pub(super) fn transpose_quarters(simd: V4, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        let simd = simd.avx512f;
        let [p, q]: [__m512d; 2] = pulp::cast([simd._mm512_unpacklo_ps(a, b), simd._mm512_unpackhi_ps(a, b)]);
        let [r, s]: [__m512d; 2] = pulp::cast([simd._mm512_unpacklo_ps(c, d), simd._mm512_unpackhi_ps(c, d)]);
        pulp::cast([
            simd._mm512_unpacklo_pd(p, r),
            simd._mm512_unpackhi_pd(p, r),
            simd._mm512_unpacklo_pd(q, s),
            simd._mm512_unpackhi_pd(q, s),
        ])
    }

    /// Four rows of four quarters to their columns.
    #[inline(always)]
    pub(super) fn swap_quarters(simd: V4, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        let simd = simd.avx512f;
        let [p, q] = [simd._mm512_shuffle_f32x4::<EVEN>(a, b), simd._mm512_shuffle_f32x4::<ODD>(a, b)];
        let [r, s] = [simd._mm512_shuffle_f32x4::<EVEN>(c, d), simd._mm512_shuffle_f32x4::<ODD>(c, d)];
        [
            simd._mm512_shuffle_f32x4::<EVEN>(p, r),
            simd._mm512_shuffle_f32x4::<EVEN>(q, s),
            simd._mm512_shuffle_f32x4::<ODD>(p, r),
            simd._mm512_shuffle_f32x4::<ODD>(q, s),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simd::vectorized;

    fn rows<T: Real>() -> Square<T> {
        std::array::from_fn(|i| std::array::from_fn(|j| T::from_word((i * LANES + j) as u32)))
    }

    #[test]
    fn rows_become_columns() {
        let (single, double) = (rows::<f32>(), rows::<f64>());
        let both = [vectorized!(f32::transpose(&single)), vectorized!(by_shuffles(&single))];
        let double = vectorized!(f64::transpose(&double));
        for (i, j) in (0..LANES).flat_map(|i| (0..LANES).map(move |j| (i, j))) {
            let want = (j * LANES + i) as f32;
            assert_eq!(([both[0][i][j], both[1][i][j]], double[i][j]), ([want; 2], f64::from(want)));
        }
    }
}
