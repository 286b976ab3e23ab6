//! `additivity`: how much of a toy model's layers is a sum of functions of single features.
//!
//! Reads the activations on the examples of evaluations; writes a share a layer and two a replica.

use crate::error::Result;
use crate::measure::directions::toy;
use crate::measure::linear_probes::{probes, variances};
use crate::measure::subject::{Evaluated, Setting, Subject};
use crate::measure::{Axis, Column, Measure};
use crate::spec::{ToySpec, Values};

/// Sums of functions of single features.
pub struct Additivity;

/// Most functions that a layer is compared with: examples are to be many times more.
const MAX_FUNCTIONS: usize = 512;

const EXPLAIN: &str = "\
What it is
  The share of a layer's variance (all its numbers together, over the examples of the evaluation) that a sum of
  functions of single features explains, f_1(x_1) + f_2(x_2) + ...: the sum of the first-order indices of an analysis
  of variance. What is left is interaction: no feature has a part of its own in it.
  additive_frac         by layer, hidden layers first, then the outputs (layer 0 is the first hidden one)
  hidden_additive_frac  of the last hidden layer
  output_additive_frac  of the outputs
  Functions are fitted by least squares with a constant: one free number for each value where values are a list or
  binary; else x, x^2, |x| and whether the feature is there. The share is corrected for the k numbers fitted to N
  examples, 1 - (1 - R^2) (N - 1)/(N - k - 1).
Reads
  The weights, and 4,096 (toy.eval_examples) examples; at most 512 functions.
Unit and range
  Fraction, about 0 to 1. A layer that does not vary has none.
Value at a known point
  Numbers that add features: 1. The exclusive or of two bits of chance 1/2: 0. Their product: 2/3.
Source
  Sobol' 1993, Sensitivity estimates for nonlinear mathematical models.";

impl Measure for Additivity {
    fn name(&self) -> &'static str {
        "additivity"
    }

    fn summary(&self) -> &'static str {
        "toy models: the share of each layer that is a sum of functions of single features"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        let spec = toy(setting)?.spec;
        let count = spec.n_features * functions_each(spec);
        let enough = MAX_FUNCTIONS.min(spec.eval_examples.saturating_sub(2));
        if count > enough {
            Err(format!("{count} functions of single features are more than {enough}"))
        } else {
            Ok(())
        }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let layers = toy(setting).map_or(0, |toy| toy.spec.d_hidden.0.len() + 1);
        let axis = Axis { name: "layer".into(), ticks: (0..layers).map(|l| l as f64).collect() };
        vec![
            Column::along("additive_frac", "fraction", axis),
            Column::scalar("hidden_additive_frac", "fraction"),
            Column::scalar("output_additive_frac", "fraction"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let Ok(toy) = toy(subject.setting) else { return Ok(vec![]) };
        let Evaluated { x_bn, layers, .. } = toy.evaluated(subject.replica, subject.params)?;
        let functions_bk: Vec<f64> =
            x_bn.chunks_exact(toy.spec.n_features).flat_map(|x_n| functions(toy.spec, x_n)).collect();
        let shares: Vec<f64> = layers.iter().map(|h_bm| share(h_bm, &functions_bk, toy.spec.eval_examples)).collect();
        let last = shares.len() - 1;
        let (hidden, output) = (shares[last - 1], shares[last]);
        Ok(vec![shares, vec![hidden], vec![output]])
    }
}

/// Functions of each feature.
fn functions_each(spec: &ToySpec) -> usize {
    match &spec.values {
        Values::OneOf(list) => list.len(),
        _ => 4,
    }
}

/// The functions of all features of one example.
fn functions(spec: &ToySpec, x_n: &[f64]) -> Vec<f64> {
    let is = |yes: bool| f64::from(u8::from(yes));
    let of = |&x: &f64| match &spec.values {
        Values::OneOf(list) if !spec.unit_norm => list.iter().map(|value| is(x == *value)).collect(),
        _ => vec![x, x * x, x.abs(), is(x != 0.0)],
    };
    x_n.iter().flat_map(of).collect()
}

/// The corrected share of the variance of `h_bm` that least squares explain by `functions_bk`.
fn share(h_bm: &[f64], functions_bk: &[f64], count: usize) -> f64 {
    let (m, k) = (h_bm.len() / count, functions_bk.len() / count);
    let variance_m = variances(h_bm, m);
    let total: f64 = variance_m.iter().sum();
    let r2_m = probes(functions_bk, h_bm, &variance_m);
    let explained: f64 = r2_m.iter().zip(&variance_m).filter(|(_, v)| **v > 0.0).map(|(r2, v)| r2 * v).sum();
    1.0 - (1.0 - explained / total) * (count as f64 - 1.0) / (count as f64 - k as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs of bits, many times.
    fn bits() -> (ToySpec, Vec<[f64; 2]>) {
        let spec = ToySpec { n_features: 2, values: Values::OneOf(vec![1.0]), ..ToySpec::default() };
        (spec, (0..4096u32).map(|b| [f64::from(b & 1), f64::from(b >> 1 & 1)]).collect())
    }

    #[test]
    fn sums_are_additive_and_interactions_are_not() {
        let (spec, x_bn) = bits();
        let functions_bk: Vec<f64> = x_bn.iter().flat_map(|x_n| functions(&spec, x_n)).collect();
        let of = |f: &dyn Fn(f64, f64) -> f64| {
            let h_b: Vec<f64> = x_bn.iter().map(|x| f(x[0], x[1])).collect();
            share(&h_b, &functions_bk, x_bn.len())
        };
        let close = |x: f64, y: f64| assert!((x - y).abs() < 1e-3, "{x} against {y}");
        close(of(&|x, y| 3.0 * x - y + 1.0), 1.0);
        close(of(&|x, y| x + y - 2.0 * x * y), 0.0);
        close(of(&|x, y| x * y), 2.0 / 3.0);
        assert!(of(&|_, _| 0.5).is_nan());
    }

    #[test]
    fn functions_of_continuous_values_hold_the_absolute_value() {
        let spec = ToySpec { n_features: 1, values: Values::Uniform(-1.0, 1.0), ..ToySpec::default() };
        let x_b: Vec<f64> = (0..1000).map(|b| f64::from(b) / 500.0 - 1.0).collect();
        let functions_bk: Vec<f64> = x_b.chunks(1).flat_map(|x| functions(&spec, x)).collect();
        let h_b: Vec<f64> = x_b.iter().map(|x| x.max(0.0)).collect();
        assert!((share(&h_b, &functions_bk, x_b.len()) - 1.0).abs() < 1e-9);
    }
}
