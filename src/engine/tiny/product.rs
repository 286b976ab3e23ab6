//! The two products of a layer over a tile: values `[width, lanes]`, weights by strides.
//!
//! Blocks of outputs stay in registers while the inputs go by; lanes come in vectors of 16, and sums over lanes are folded in a fixed order.

#![expect(
    clippy::needless_range_loop,
    reason = "arrays in step, of sizes known to the compiler: this is the form that vectorises"
)]

use crate::engine::real::Real;
use crate::engine::simd::{LANES, sum};

/// Vectors of lanes in a block.
const VECTORS: usize = 2;
/// Outputs in a block.
const ROWS: usize = 4;

/// Lanes come in multiples of it.
pub(super) const LANES_AT_ONCE: usize = VECTORS * LANES;

/// `out[o, b] = bias[o] + Σ_i w[o, i] x[i, b]`; `lanes` is a multiple of 32.
#[inline(always)]
pub(super) fn forward<T: Real>(
    (w, strides): (&[T], [usize; 2]),
    bias: Option<&[T]>,
    (x, d_in): (&[T], usize),
    (out, d_out): (&mut [T], usize),
    lanes: usize,
) {
    let mut o = 0;
    while o < d_out {
        let (rows, bias) = (ROWS.min(d_out - o), bias.map(|bias| &bias[o..]));
        let (w, out) = ((&w[o * strides[0]..], strides), &mut out[o * lanes..]);
        match rows {
            1 => forward_rows::<T, 1>(w, bias, (x, d_in), out, lanes),
            2 => forward_rows::<T, 2>(w, bias, (x, d_in), out, lanes),
            3 => forward_rows::<T, 3>(w, bias, (x, d_in), out, lanes),
            _ => forward_rows::<T, ROWS>(w, bias, (x, d_in), out, lanes),
        }
        o += rows;
    }
}

#[inline(always)]
fn forward_rows<T: Real, const R: usize>(
    (w, [output, input]): (&[T], [usize; 2]),
    bias: Option<&[T]>,
    (x, d_in): (&[T], usize),
    out: &mut [T],
    lanes: usize,
) {
    let mut at = 0;
    while at < lanes {
        let mut sums = [[[T::ZERO; LANES]; VECTORS]; R];
        if let Some(bias) = bias {
            for r in 0..R {
                sums[r] = [[bias[r]; LANES]; VECTORS];
            }
        }
        for i in 0..d_in {
            let mut xs = [[T::ZERO; LANES]; VECTORS];
            for v in 0..VECTORS {
                xs[v] = vector(x, i * lanes + at + v * LANES);
            }
            for r in 0..R {
                let w = w[r * output + i * input];
                for v in 0..VECTORS {
                    for l in 0..LANES {
                        sums[r][v][l] = w.mul_add(xs[v][l], sums[r][v][l]);
                    }
                }
            }
        }
        for r in 0..R {
            for v in 0..VECTORS {
                let out = out[r * lanes + at + v * LANES..].first_chunk_mut::<LANES>();
                *out.expect("invariant: lanes are whole vectors") = sums[r][v];
            }
        }
        at += VECTORS * LANES;
    }
}

/// One vector, from `at` on.
#[inline(always)]
fn vector<T: Real>(x: &[T], at: usize) -> [T; LANES] {
    *x[at..].first_chunk::<LANES>().expect("invariant: lanes are whole vectors")
}

/// `g[o, i] += Σ_b d[o, b] x[i, b]`.
#[inline(always)]
pub(super) fn outer<T: Real>(
    (d, d_out): (&[T], usize),
    (x, d_in): (&[T], usize),
    lanes: usize,
    (g, strides): (&mut [T], [usize; 2]),
) {
    let mut o = 0;
    while o < d_out {
        let rows = ROWS.min(d_out - o);
        let mut i = 0;
        while i < d_in {
            let cols = ROWS.min(d_in - i);
            let (d, x) = (&d[o * lanes..], &x[i * lanes..]);
            let g = (&mut g[o * strides[0] + i * strides[1]..], strides);
            match (rows, cols) {
                (ROWS, ROWS) => outer_block::<T, ROWS, ROWS>(d, x, lanes, g),
                (ROWS, 2) => outer_block::<T, ROWS, 2>(d, x, lanes, g),
                (2, ROWS) => outer_block::<T, 2, ROWS>(d, x, lanes, g),
                (2, 2) => outer_block::<T, 2, 2>(d, x, lanes, g),
                (ROWS, 1) => outer_block::<T, ROWS, 1>(d, x, lanes, g),
                (1, ROWS) => outer_block::<T, 1, ROWS>(d, x, lanes, g),
                _ => {
                    let (g, [output, input]) = g;
                    for (r, c) in (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))) {
                        let g = (&mut g[r * output + c * input..], strides);
                        outer_block::<T, 1, 1>(&d[r * lanes..], &x[c * lanes..], lanes, g);
                    }
                }
            }
            i += cols;
        }
        o += rows;
    }
}

#[inline(always)]
fn outer_block<T: Real, const R: usize, const C: usize>(
    d: &[T],
    x: &[T],
    lanes: usize,
    (g, [output, input]): (&mut [T], [usize; 2]),
) {
    let mut sums = [[[T::ZERO; LANES]; C]; R];
    let mut at = 0;
    while at < lanes {
        let mut xs = [[T::ZERO; LANES]; C];
        for c in 0..C {
            xs[c] = vector(x, c * lanes + at);
        }
        for r in 0..R {
            let d = vector(d, r * lanes + at);
            for c in 0..C {
                for l in 0..LANES {
                    sums[r][c][l] = d[l].mul_add(xs[c][l], sums[r][c][l]);
                }
            }
        }
        at += LANES;
    }
    for r in 0..R {
        for c in 0..C {
            g[r * output + c * input] += sum(&sums[r][c]);
        }
    }
}
