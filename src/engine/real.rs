//! The two number types of the CPU engine, as one trait: arithmetic, elementary functions, matrix products.
//!
//! Elementary functions are branch-free polynomials, so that plain loops over them vectorise and their bits do not
//! depend on the platform's mathematical library.

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};
use std::thread::LocalKey;

use super::cpu::lanes::Lanes;
use super::op::{Kernel, Op};
use super::transpose::{self, Square};
use crate::spec::Dtype;
use crate::tensor::Data;

/// `f32` or `f64`.
pub trait Real:
    Copy
    + Default
    + Debug
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// Which one it is.
    const DTYPE: Dtype;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// −∞.
    const NEG_INFINITY: Self;
    /// The least positive normal number.
    const MIN_POSITIVE: Self;

    /// Nearest value.
    fn from_f64(x: f64) -> Self;
    /// Nearest value to a whole number.
    fn from_word(word: u32) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// `self · a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// eˣ, within 2 units in the last place; 0 below the smallest normal result.
    fn exp(self) -> Self;
    /// eˣ − 1 without cancellation near 0, for |x| ≤ 80.
    fn exp_m1(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// erf x: full precision in f64, 2e-7 in f32.
    fn erf(self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The operation's kernel for this type.
    fn kernel(op: &dyn Op) -> &dyn Kernel<Self>;
    /// Wraps numbers for files.
    fn to_data(values: Vec<Self>) -> Data;

    /// 16 rows of 16 numbers to their columns.
    #[inline(always)]
    fn transpose(rows: &Square<Self>) -> Square<Self> {
        transpose::by_shuffles(rows)
    }
    /// Calls `work` with room for so many vectors, in which anything may stand. It is the thread's own, and there is one.
    fn with_room<R>(len: usize, work: impl FnOnce(&mut [Lanes<Self>]) -> R) -> R;

    /// The larger of two numbers that are not NaN.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    /// tanh x, to some units in the last place.
    #[inline(always)]
    fn tanh(self) -> Self {
        // From 20 on, tanh rounds to 1 in f64 too; a NaN passes both comparisons.
        let twice = self.abs() + self.abs();
        let limit = Self::from_f64(40.0);
        let m1 = (if twice > limit { limit } else { twice }).exp_m1();
        let y = m1 / (m1 + Self::from_f64(2.0));
        if self < Self::ZERO { -y } else { y }
    }

    /// 1 / (1 + e⁻ˣ).
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
}

impl Real for f32 {
    const DTYPE: Dtype = Dtype::F32;
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    const MIN_POSITIVE: f32 = f32::MIN_POSITIVE;

    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn from_word(word: u32) -> f32 {
        word as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        let (m1, scale) = reduced_f32(if self > 88.0 { 88.0 } else { self });
        let y = m1 + 1.0;
        if self > 88.0 {
            self * f32::MAX
        } else if self < -87.0 {
            0.0
        } else {
            y * scale
        }
    }
    #[inline(always)]
    fn exp_m1(self) -> f32 {
        let (m1, scale) = reduced_f32(self);
        m1.mul_add(scale, scale - 1.0)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        // erfc by a rational argument and a degree-9 polynomial in an exponent (Numerical Recipes, 6.2.2).
        let x = self.abs();
        let t = 1.0 / 0.5f32.mul_add(x, 1.0);
        let mut y = 0.170_872_77f32;
        for c in [
            -0.822_152_2,
            1.488_515_9,
            -1.135_204,
            0.278_868_07,
            -0.186_288_06,
            0.096_784_18,
            0.374_091_96,
            1.000_023_7,
            -1.265_512_2,
        ] {
            y = y.mul_add(t, c);
        }
        let erf = 1.0 - t * Real::exp((-x).mul_add(x, y));
        if self < 0.0 { -erf } else { erf }
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
    #[inline(always)]
    fn transpose(rows: &Square<f32>) -> Square<f32> {
        transpose::in_registers(rows)
    }
    fn with_room<R>(len: usize, work: impl FnOnce(&mut [Lanes<f32>]) -> R) -> R {
        thread_local! { static ROOM: RefCell<Vec<Lanes<f32>>> = const { RefCell::new(vec![]) } }
        in_room(&ROOM, len, work)
    }
    fn kernel(op: &dyn Op) -> &dyn Kernel<f32> {
        op.kernel_f32()
    }
    fn to_data(values: Vec<f32>) -> Data {
        Data::F32(values)
    }
}

impl Real for f64 {
    const DTYPE: Dtype = Dtype::F64;
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    const MIN_POSITIVE: f64 = f64::MIN_POSITIVE;

    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn from_word(word: u32) -> f64 {
        f64::from(word)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        f64::mul_add(self, a, b)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn exp(self) -> f64 {
        let (m1, scale) = reduced_f64(self.clamp(-708.0, 709.0));
        let y = m1 + 1.0;
        if self > 709.0 {
            self * f64::MAX
        } else if self < -708.0 {
            0.0
        } else {
            y * scale
        }
    }
    #[inline(always)]
    fn exp_m1(self) -> f64 {
        let (m1, scale) = reduced_f64(self);
        m1.mul_add(scale, scale - 1.0)
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[inline(always)]
    fn erf(self) -> f64 {
        libm::erf(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
    fn with_room<R>(len: usize, work: impl FnOnce(&mut [Lanes<f64>]) -> R) -> R {
        thread_local! { static ROOM: RefCell<Vec<Lanes<f64>>> = const { RefCell::new(vec![]) } }
        in_room(&ROOM, len, work)
    }
    fn kernel(op: &dyn Op) -> &dyn Kernel<f64> {
        op.kernel_f64()
    }
    fn to_data(values: Vec<f64>) -> Data {
        Data::F64(values)
    }
}

fn in_room<T: Real, R>(
    room: &'static LocalKey<RefCell<Vec<Lanes<T>>>>,
    len: usize,
    work: impl FnOnce(&mut [Lanes<T>]) -> R,
) -> R {
    room.with_borrow_mut(|room| {
        if room.len() < len {
            room.resize(len, Lanes::ZERO);
        }
        work(&mut room[..len])
    })
}

/// (eʳ − 1, 2ⁿ) with x = n ln 2 + r, |r| ≤ ln 2 / 2.
#[inline(always)]
fn reduced_f32(x: f32) -> (f32, f32) {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, so that n · ln 2 is subtracted exactly.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut y = 1.987_569_2e-4f32;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        y = y.mul_add(r, c);
    }
    // The low bits of the shifted sum hold n as an integer; a cast would be done number by number, for it looks at NaN and at limits.
    ((y * r).mul_add(r, r), f32::from_bits(shifted.to_bits().wrapping_add(127) << 23))
}

/// (eʳ − 1, 2ⁿ) with x = n ln 2 + r, |r| ≤ ln 2 / 2.
#[inline(always)]
fn reduced_f64(x: f64) -> (f64, f64) {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
    let shifted = x.mul_add(std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-6.931_471_803_691_238e-1, x);
    let r = n.mul_add(-1.908_214_929_270_587_7e-10, r);
    // Taylor to degree 13: the next term is below 1e-17 for |r| ≤ ln 2 / 2.
    let mut y = 1.0 / 6_227_020_800.0;
    for c in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ] {
        y = f64::mul_add(y, r, c);
    }
    // The low bits of the shifted sum hold n as an integer.
    (f64::mul_add(y * r, r, r), f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_and_sigmoid_agree_with_the_reference() {
        // From very small numbers, where eˣ − 1 would cancel, to where both end.
        let sizes = (0..700).map(|i| 1e-12 * libm::exp(f64::from(i) * 0.05)).filter(|&x| x < 300.0);
        for x in sizes.flat_map(|x| [x, -x]) {
            let (tanh, sigmoid) = (libm::tanh(x), 1.0 / (1.0 + libm::exp(-x)));
            assert!((Real::tanh(x) - tanh).abs() <= 1e-15 * tanh.abs(), "tanh({x}) = {}", Real::tanh(x));
            assert!((Real::sigmoid(x) - sigmoid).abs() <= 1e-15 * sigmoid, "sigmoid({x})");
            let (x, tanh) = (x as f32, libm::tanh(f64::from(x as f32)));
            assert!((f64::from(Real::tanh(x)) - tanh).abs() <= 4e-7 * tanh.abs(), "tanh({x}) = {}", Real::tanh(x));
            let sigmoid = 1.0 / (1.0 + libm::exp(-f64::from(x)));
            assert!((f64::from(Real::sigmoid(x)) - sigmoid).abs() <= 5e-7 * sigmoid + 1e-37, "sigmoid({x})");
        }
        assert!(Real::tanh(f32::NAN).is_nan() && Real::sigmoid(f64::NAN).is_nan());
        assert_eq!([Real::tanh(f64::INFINITY), Real::tanh(f64::NEG_INFINITY)], [1.0, -1.0]);
        assert_eq!([Real::sigmoid(f32::INFINITY), Real::sigmoid(f32::NEG_INFINITY)], [1.0, 0.0]);
    }

    #[test]
    fn exp_agrees_with_the_reference_over_its_range() {
        for i in -70_000..=70_000 {
            let x = f64::from(i) * 0.01;
            let (got, want) = (Real::exp(x), libm::exp(x));
            assert!((got - want).abs() <= 4e-16 * want, "exp({x}) = {got}, reference {want}");
        }
        for i in -8_600..=8_700 {
            let x = i as f32 * 0.01;
            let (got, want) = (f64::from(Real::exp(x)), libm::exp(f64::from(x)));
            assert!((got - want).abs() <= 2.4e-7 * want, "exp({x}) = {got}, reference {want}");
        }
        assert_eq!(Real::exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert!(Real::exp(f32::NAN).is_nan() && Real::exp(f64::NAN).is_nan());
        assert_eq!(Real::exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(Real::exp(0.0f64), 1.0);
    }

    #[test]
    fn erf_agrees_with_the_reference() {
        for i in -500..=500 {
            let x = i as f32 * 0.01;
            assert!((f64::from(Real::erf(x)) - libm::erf(f64::from(x))).abs() < 3e-7, "erf({x})");
        }
    }
}
