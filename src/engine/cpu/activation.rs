//! Activations, number by number: ReLU `max(x, 0)` (derivative 0 at 0), GELU `x Φ(x)` with erf (PyTorch's default), identity,
//! square, |x| (derivative 0 at 0), tanh, SiLU `x σ(x)`. Expressions have an op of their own, [`Formula`](super::formula), and
//! SoLU, which looks at the whole row ([`Solu`](super::solu)).
//!
//! Shapes: x, y `[rows, width]`. Backward: `dx = dy · f'(x)`; GELU' = Φ(x) + x φ(x), SiLU' = σ(x) (1 + x (1 − σ(x))).

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::vectorized;
use crate::spec::Act;

#[derive(Debug)]
pub(crate) struct Activation {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) act: Act,
}

impl Op for Activation {
    wiring!(inputs: x; output: y);
}

/// (f(x), f'(x)).
#[inline(always)]
pub(crate) fn gelu<T: Real>(x: T) -> (T, T) {
    let half = T::from_f64(0.5);
    let cdf = half.mul_add((x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf(), half);
    let pdf = T::from_f64(0.398_942_280_401_432_7) * (-half * x * x).exp();
    (x * cdf, x.mul_add(pdf, cdf))
}

#[inline(always)]
pub(crate) fn relu<T: Real>(x: T) -> (T, T) {
    // In this form a NaN stays one.
    let y = if x < T::ZERO { T::ZERO } else { x };
    (y, if x > T::ZERO { T::ONE } else { T::ZERO })
}

#[inline(always)]
fn identity<T: Real>(x: T) -> (T, T) {
    (x, T::ONE)
}

#[inline(always)]
pub(crate) fn square<T: Real>(x: T) -> (T, T) {
    (x * x, x + x)
}

#[inline(always)]
pub(crate) fn abs<T: Real>(x: T) -> (T, T) {
    let slope = if x < T::ZERO { -T::ONE } else { T::ONE };
    (x.abs(), if x == T::ZERO { T::ZERO } else { slope })
}

#[inline(always)]
pub(crate) fn tanh<T: Real>(x: T) -> (T, T) {
    let y = x.tanh();
    (y, (-y).mul_add(y, T::ONE))
}

#[inline(always)]
pub(crate) fn silu<T: Real>(x: T) -> (T, T) {
    let s = x.sigmoid();
    (x * s, s * (T::ONE - s).mul_add(x, T::ONE))
}

#[inline(always)]
fn forward<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T) -> (T, T)) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f(x).0;
    }
}

#[inline(always)]
fn backward<T: Real>(dx: &mut [T], dy: &[T], x: &[T], adding: bool, f: impl Fn(T) -> (T, T)) {
    for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
        let through = dy * f(x).1;
        *dx = if adding { *dx + through } else { through };
    }
}

impl<T: Real> Kernel<T> for Activation {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y) = (c.value(self.x, &tile), c.value_mut(self.y, &tile));
        match self.act {
            Act::Relu => vectorized!(forward(y, x, relu)),
            Act::Gelu => vectorized!(forward(y, x, gelu)),
            Act::Identity => y.copy_from_slice(x),
            Act::Square => vectorized!(forward(y, x, square)),
            Act::Abs => vectorized!(forward(y, x, abs)),
            Act::Tanh => vectorized!(forward(y, x, tanh)),
            Act::Silu => vectorized!(forward(y, x, silu)),
            Act::Solu | Act::SoluLn | Act::Formula(_) => unreachable!("invariant: they have ops of their own"),
        }
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, dy) = (c.value(self.x, &tile), c.grad(self.y, &tile));
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        match self.act {
            Act::Relu => vectorized!(backward(dx, dy, x, adding, relu)),
            Act::Gelu => vectorized!(backward(dx, dy, x, adding, gelu)),
            Act::Identity => vectorized!(backward(dx, dy, x, adding, identity)),
            Act::Square => vectorized!(backward(dx, dy, x, adding, square)),
            Act::Abs => vectorized!(backward(dx, dy, x, adding, abs)),
            Act::Tanh => vectorized!(backward(dx, dy, x, adding, tanh)),
            Act::Silu => vectorized!(backward(dx, dy, x, adding, silu)),
            Act::Solu | Act::SoluLn | Act::Formula(_) => unreachable!("invariant: they have ops of their own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for act in Act::NAMED.into_iter().filter(|act| !matches!(act, Act::Solu | Act::SoluLn)) {
            let mut check = OpCheck::new(4, 2);
            let x = check.input(&[37]);
            let y = check.value(&[37]);
            check.assert_gradients(Activation { x, y, act: act.clone() }, y);
        }
    }

    #[test]
    fn known_points() {
        assert_eq!(relu(0.0f64), (0.0, 0.0));
        assert!((gelu(1.0f64).0 - 0.841_344_746_068_542_9).abs() < 1e-15);
        assert!((gelu(-2.0f64).0 + 0.045_500_263_896_358_42).abs() < 1e-15);
        assert_eq!(gelu(0.0f64), (0.0, 0.5));
        assert_eq!((square(-3.0f64), abs(-3.0f64), abs(0.0f64)), ((9.0, -6.0), (3.0, -1.0), (0.0, 0.0)));
        assert_eq!((tanh(0.0f64), silu(0.0f64)), ((0.0, 1.0), (0.0, 0.5)));
        assert!((silu(2.0f64).0 - 1.761_594_155_955_765).abs() < 1e-15);
        assert!((silu(2.0f64).1 - 1.090_784_248_784_895_5).abs() < 1e-14);
    }
}
