//! Plain loops that vectorise: one dispatch to the widest instructions of this machine, and the loops that kernels share.
//!
//! Reductions run over 16 fixed lanes, so that their bits do not depend on the width of the machine's vectors.
//! Everything here is `inline(always)`, so that it is compiled for the instructions of the caller's [`dispatch`].

use super::real::Real;

/// Lanes of every reduction.
pub const LANES: usize = 16;

/// Runs `work` compiled for the widest instructions that this machine has.
///
/// Closures in it, and `work` itself, must say `#[inline(always)]`: one that is not inlined is compiled for the baseline,
/// where a fused multiply-add is a call.
#[inline(always)]
pub fn dispatch<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// An expression compiled for the widest instructions that this machine has.
macro_rules! vectorized {
    ($body:expr) => {
        $crate::engine::simd::dispatch(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorized;

/// y += a · x.
#[inline(always)]
pub fn axpy<T: Real>(y: &mut [T], a: T, x: &[T]) {
    let (y16, y_rest) = y.as_chunks_mut::<LANES>();
    let (x16, x_rest) = x.as_chunks::<LANES>();
    for (y, x) in y16.iter_mut().zip(x16) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = a.mul_add(x, *y);
        }
    }
    for (y, &x) in y_rest.iter_mut().zip(x_rest) {
        *y = a.mul_add(x, *y);
    }
}

/// Asks for the cache lines of what is read or written soon.
#[inline(always)]
pub fn prefetch<T>(x: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(x)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing and cannot fault; every x86-64 machine has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().cast::<i8>().wrapping_add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = x;
}

/// y += x.
#[inline(always)]
pub fn add<T: Real>(y: &mut [T], x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// Folds 16 lanes in a fixed order: halves onto halves, which stay in registers.
#[inline(always)]
fn fold<T: Real>(lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let eight: [T; 8] = halve(&lanes, &join);
    let four: [T; 4] = halve(&eight, &join);
    let [a, b]: [T; 2] = halve(&four, &join);
    join(a, b)
}

#[inline(always)]
fn halve<T: Real, const N: usize, const HALF: usize>(lanes: &[T; N], join: &impl Fn(T, T) -> T) -> [T; HALF] {
    std::array::from_fn(
        #[inline(always)]
        |i| join(lanes[i], lanes[i + HALF]),
    )
}

/// Σ over the lanes.
#[inline(always)]
pub fn fold_sum<T: Real>(lanes: [T; LANES]) -> T {
    fold(
        lanes,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// The largest lane.
#[inline(always)]
pub fn fold_max<T: Real>(lanes: [T; LANES]) -> T {
    fold(
        lanes,
        #[inline(always)]
        |a, b| a.max(b),
    )
}

/// The numbers after the last whole 16, and what changes nothing in the lanes beyond; none where there are none, so that whole rows need
/// no memory.
#[inline(always)]
fn padded<T: Real>(rest: &[T], with: T) -> Option<[T; LANES]> {
    if rest.is_empty() {
        return None;
    }
    let mut lanes = [with; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    Some(lanes)
}

/// Σ a · b.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let (a16, a_rest) = a.as_chunks::<LANES>();
    let (b16, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [T::ZERO; LANES];
    for (a, b) in a16.iter().zip(b16) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.mul_add(b, *lane);
        }
    }
    if let (Some(a), Some(b)) = (padded(a_rest, T::ZERO), padded(b_rest, T::ZERO)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.mul_add(b, *lane);
        }
    }
    fold_sum(lanes)
}

/// Σ x.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> T {
    let (x16, rest) = x.as_chunks::<LANES>();
    let mut lanes = [T::ZERO; LANES];
    for x in x16 {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane += x;
        }
    }
    if let Some(x) = padded(rest, T::ZERO) {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane += x;
        }
    }
    fold_sum(lanes)
}

/// Σ a · b · f(c).
#[inline(always)]
pub fn dot3<T: Real>(a: &[T], b: &[T], c: &[T], f: impl Fn(T) -> T) -> T {
    let (a16, a_rest) = a.as_chunks::<LANES>();
    let (b16, b_rest) = b.as_chunks::<LANES>();
    let (c16, c_rest) = c.as_chunks::<LANES>();
    let mut lanes = [T::ZERO; LANES];
    for ((a, b), c) in a16.iter().zip(b16).zip(c16) {
        for (((lane, &a), &b), &c) in lanes.iter_mut().zip(a).zip(b).zip(c) {
            *lane = (a * b).mul_add(f(c), *lane);
        }
    }
    for (((lane, &a), &b), &c) in lanes.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest) {
        *lane = (a * b).mul_add(f(c), *lane);
    }
    fold_sum(lanes)
}

/// The largest number; −∞ for none. NaN is passed over.
#[inline(always)]
pub fn max<T: Real>(x: &[T]) -> T {
    let (x16, rest) = x.as_chunks::<LANES>();
    let mut lanes = [T::NEG_INFINITY; LANES];
    for x in x16 {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = x.max(*lane);
        }
    }
    if let Some(x) = padded(rest, T::NEG_INFINITY) {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane = x.max(*lane);
        }
    }
    fold_max(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_agree_with_a_plain_sum_at_every_length() {
        for n in 0..70 {
            let a: Vec<f64> = (0..n).map(|i| f64::from(i) * 0.37 - 3.0).collect();
            let b: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + f64::from(i))).collect();
            let plain: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((vectorized!(dot(&a, &b)) - plain).abs() < 1e-12);
            let cubed: f64 = a.iter().zip(&b).map(|(a, b)| a * b * (a - 1.0)).sum();
            let less_one = |x: f64| x - 1.0;
            assert!((vectorized!(dot3(&a, &b, &a, less_one)) - cubed).abs() < 1e-10);
            assert!((vectorized!(sum(&a)) - a.iter().sum::<f64>()).abs() < 1e-12);
            assert_eq!(vectorized!(max(&a)), a.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }
}
