//! An activation given as an expression: `y = f(x)`, number by number, with the derivative taken symbolically.
//!
//! Shapes: x, y `[rows, width]`. Backward: `dx = dy · f'(x)`. An expression is a list of steps; each runs over 32 numbers before
//! the next does, so that the steps vectorise. `exp`, `tanh`, `sigmoid` and `erf` are the engine's own, in its number type; `log`,
//! `pow`, `sin`, `cos` and `softplus` go through f64.

use std::array::from_fn;

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::vectorized;
use crate::expr::{Expr, Function, Node};
use crate::spec::{Formula, MAX_STEPS};

/// Numbers that a step works on at a time.
const LANES: usize = 32;

/// The results of all steps for some numbers.
type Rows<T> = [[T; LANES]; MAX_STEPS];

#[derive(Debug)]
pub(crate) struct FormulaOp {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) formula: Formula,
}

impl FormulaOp {
    pub(crate) fn new(x: ValueId, y: ValueId, formula: &Formula) -> FormulaOp {
        FormulaOp { x, y, formula: formula.clone() }
    }
}

impl Op for FormulaOp {
    wiring!(inputs: x; output: y);
}

/// Calls `each` with the place of some numbers of `x` and the expression there; lanes beyond the last number hold 0.
#[inline(always)]
pub(crate) fn sweep<T: Real>(expr: &Expr, x: &[T], mut each: impl FnMut(usize, &[T; LANES])) {
    let mut rows: Rows<T> = [[T::ZERO; LANES]; MAX_STEPS];
    for (i, x) in x.chunks(LANES).enumerate() {
        let mut lanes = [T::ZERO; LANES];
        lanes[..x.len()].copy_from_slice(x);
        for (at, node) in expr.nodes().iter().enumerate() {
            rows[at] = step(node, &lanes, &rows);
        }
        each(i * LANES, &rows[expr.n_nodes() - 1]);
    }
}

#[inline(always)]
fn step<T: Real>(node: &Node, x: &[T; LANES], rows: &Rows<T>) -> [T; LANES] {
    match *node {
        Node::Number(number) => [T::from_f64(number); LANES],
        Node::Variable(_) => *x,
        Node::Negate(a) => rows[a].map(
            #[inline(always)]
            |a| -a,
        ),
        Node::Add(a, b) => from_fn(
            #[inline(always)]
            |l| rows[a][l] + rows[b][l],
        ),
        Node::Subtract(a, b) => from_fn(
            #[inline(always)]
            |l| rows[a][l] - rows[b][l],
        ),
        Node::Multiply(a, b) => from_fn(
            #[inline(always)]
            |l| rows[a][l] * rows[b][l],
        ),
        Node::Divide(a, b) => from_fn(
            #[inline(always)]
            |l| rows[a][l] / rows[b][l],
        ),
        Node::Power(a, n) => power(&rows[a], n),
        Node::Call(f, args) => call(f, args.map(|arg| &rows[arg])),
    }
}

/// By squaring, all lanes together.
#[inline(always)]
fn power<T: Real>(x: &[T; LANES], n: i32) -> [T; LANES] {
    let (mut result, mut square, mut rest) = ([T::ONE; LANES], *x, n.unsigned_abs());
    while rest > 0 {
        for (result, square) in result.iter_mut().zip(&mut square) {
            if rest % 2 == 1 {
                *result *= *square;
            }
            *square *= *square;
        }
        rest /= 2;
    }
    if n < 0 {
        for x in &mut result {
            *x = T::ONE / *x;
        }
    }
    result
}

/// The larger number; NaN if one is NaN.
#[inline(always)]
#[allow(clippy::eq_op)]
fn larger<T: Real>(x: T, y: T) -> T {
    if x > y || x != x { x } else { y }
}

#[inline(always)]
fn step_up<T: Real>(x: T) -> T {
    if x > T::ZERO { T::ONE } else { T::ZERO }
}

/// In the functions' own order; what is not vectorised goes through f64.
#[inline(always)]
fn call<T: Real>(f: Function, [x, y, z]: [&[T; LANES]; 3]) -> [T; LANES] {
    macro_rules! lanes {
        ($x:ident => $value:expr) => {
            x.map(
                #[inline(always)]
                |$x| $value,
            )
        };
    }
    let wide = |g: fn(f64) -> f64| x.map(|x| T::from_f64(g(x.to_f64())));
    match f {
        Function::Abs => lanes!(x => x.abs()),
        Function::Sign => lanes!(x => step_up(x) - step_up(-x)),
        Function::Step => lanes!(x => step_up(x)),
        Function::Relu => lanes!(x => larger(x, T::ZERO)),
        Function::Exp => lanes!(x => x.exp()),
        Function::Sqrt => lanes!(x => x.sqrt()),
        Function::Tanh => lanes!(x => x.tanh()),
        Function::Sigmoid => lanes!(x => x.sigmoid()),
        Function::Erf => lanes!(x => x.erf()),
        Function::Log => wide(libm::log),
        Function::Sin => wide(libm::sin),
        Function::Cos => wide(libm::cos),
        Function::Softplus => wide(|x| x.max(0.0) + libm::log1p(libm::exp(-x.abs()))),
        Function::Max => from_fn(
            #[inline(always)]
            |l| larger(x[l], y[l]),
        ),
        Function::Pow => from_fn(|l| T::from_f64(libm::pow(x[l].to_f64(), y[l].to_f64()))),
        Function::Min => from_fn(
            #[inline(always)]
            |l| -larger(-x[l], -y[l]),
        ),
        Function::Where => from_fn(
            #[inline(always)]
            |l| if x[l] > T::ZERO { y[l] } else { z[l] },
        ),
    }
}

impl<T: Real> Kernel<T> for FormulaOp {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, y) = (c.value(self.x, &tile), c.value_mut(self.y, &tile));
        vectorized!(sweep(
            self.formula.value(),
            x,
            #[inline(always)]
            |at, values| {
                let y = &mut y[at..];
                let n = y.len().min(LANES);
                y[..n].copy_from_slice(&values[..n]);
            },
        ));
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, dy) = (c.value(self.x, &tile), c.grad(self.y, &tile));
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        vectorized!(sweep(
            self.formula.slope(),
            x,
            #[inline(always)]
            |at, slopes| {
                for ((dx, &dy), &slope) in dx[at..].iter_mut().zip(&dy[at..]).zip(slopes) {
                    let through = dy * slope;
                    *dx = if adding { *dx + through } else { through };
                }
            },
        ));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    /// Every function and operation; the check's numbers are between −1 and 1 and away from 0.
    const FORMULAS: [&str; 18] = [
        "x^2",
        "x*sigmoid(1.7*x)",
        "0.5x(1 + tanh(0.79788(x + 0.044715x^3)))",
        "abs(x) - x/3",
        "sign(x)*x^3",
        "step(x)*x",
        "relu(x) + 0.1x",
        "exp(-x^2)",
        "log(2 + x)",
        "sqrt(x + 1.5)",
        "softplus(3x)",
        "x erf(x)",
        "sin(3x) + x^2",
        "cos(x - 1)",
        "max(x, 0.2)*x",
        "min(x, -0.3x)",
        "where(x - 0.4, x^2, -2x)",
        "(x + 2)^-3",
    ];

    #[test]
    fn gradients_agree_with_finite_differences() {
        for text in FORMULAS {
            let mut check = OpCheck::new(4, 2);
            let x = check.input(&[37]);
            let y = check.value(&[37]);
            check.assert_gradients(FormulaOp::new(x, y, &Formula::new(text).unwrap()), y);
        }
    }

    /// Lanes against the expression's own evaluation, one number at a time, in both number types.
    #[test]
    fn values_are_those_of_the_expression() {
        let xs: Vec<f64> = (0..101).map(|i| f64::from(i) * 0.07 - 3.5).collect();
        for text in FORMULAS {
            let formula = Formula::new(text).unwrap();
            for expr in [formula.value(), formula.slope()] {
                let narrow: Vec<f32> = xs.iter().map(|&x| x as f32).collect();
                let (mut wide, mut single): (Vec<f64>, Vec<f32>) = (vec![], vec![]);
                sweep(expr, &xs, |_, values| wide.extend(values));
                sweep(expr, &narrow, |_, values| single.extend(values));
                for (i, &x) in xs.iter().enumerate() {
                    let (want, from_f32) = (expr.eval(&[x]), expr.eval(&[f64::from(narrow[i])]));
                    let near = |got: f64, want: f64, eps: f64| {
                        (got.is_nan() && want.is_nan()) || (got - want).abs() <= eps * (1.0 + want.abs())
                    };
                    assert!(near(wide[i], want, 1e-14), "{expr} at {x}: {} against {want}", wide[i]);
                    assert!(near(single[i].into(), from_f32, 3e-5), "{expr} at {x}: {} in f32", single[i]);
                }
            }
        }
    }

    #[test]
    fn not_a_number_is_not_hidden() {
        for text in
            ["relu(x)", "max(x, 1)", "max(1, x)", "min(x, 1)", "abs(x)", "x^2", "tanh(x)", "sigmoid(x)", "exp(x)"]
        {
            let formula = Formula::new(text).unwrap();
            sweep(formula.value(), &[f64::NAN], |_, values| assert!(values[0].is_nan(), "{text}"));
        }
    }
}
