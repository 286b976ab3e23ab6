//! `polysemanticity`: how many features each hidden neuron of a toy model stands for.
//!
//! Reads the encoder and the matrix after it; writes three numbers a neuron and counts of neurons. Source: arXiv 2209.10652, "computation in
//! superposition".

use crate::error::Result;
use crate::measure::directions::{Directions, read_out, toy};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Axis, Column, Measure};

/// Neurons of one feature and of several.
pub struct Polysemanticity;

/// A neuron reads a feature when the weight is at least this share of its largest.
pub const READ: f64 = 0.2;
/// A neuron of less strength than this does nothing.
const USED: f64 = 0.25;

const EXPLAIN: &str = "\
What it is
  Neuron j of the first hidden layer reads features with row j of the encoder W and writes with column j of the next
  matrix (of a tied model: row j of W again).
  strength         the norm of what it reads with times the norm of what it writes with: ReLU neurons can move a factor
                   from one to the other, which changes nothing
  strongest_frac   the largest of its squared reading weights over their sum
  n_features       features whose reading weight is at least a fifth of its largest one, by magnitude
  n_monosemantic   neurons with one such feature; n_polysemantic: with more; n_unused: neurons of strength below 0.25,
                   which are neither
  frac_polysemantic  polysemantic neurons over those in use
Reads
  W; of a model that is not tied, W_0 and the matrix after it.
Unit and range
  strength: 0 and up, about 1 for a neuron that passes one feature on. strongest_frac: fraction, 1/n to 1. Counts.
Value at a known point
  W the identity: every neuron monosemantic, strongest_frac 1. Two antipodal features in one dimension: one
  polysemantic neuron, strongest_frac 1/2.
Source
  Elhage et al. 2022 (arXiv 2209.10652) show neurons by their weights; the thresholds are this program's.";

impl Measure for Polysemanticity {
    fn name(&self) -> &'static str {
        "polysemanticity"
    }

    fn summary(&self) -> &'static str {
        "toy models: features that each hidden neuron stands for, neurons of one feature and of several"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        toy(setting).map(drop)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let neurons = toy(setting).map_or(0, |toy| toy.spec.d_hidden.0[0]);
        let axis = Axis { name: "neuron".into(), ticks: (0..neurons).map(|j| j as f64).collect() };
        let each = |name: &str, unit| Column::along(name, unit, axis.clone());
        vec![
            each("strength", "1"),
            each("strongest_frac", "fraction"),
            each("n_features", "features"),
            Column::scalar("n_monosemantic", "neurons"),
            Column::scalar("n_polysemantic", "neurons"),
            Column::scalar("n_unused", "neurons"),
            Column::scalar("frac_polysemantic", "fraction"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let directions = Directions::of(subject.params)?;
        let neurons = neurons(&directions, &read_out(subject.params)?);
        let count = |of: &dyn Fn(&Neuron) -> bool| neurons.iter().filter(|neuron| of(neuron)).count() as f64;
        let counts = match neurons.iter().all(|neuron| neuron.strength.is_finite()) {
            true => {
                let used = |neuron: &Neuron| neuron.strength >= USED;
                let several = count(&|neuron| used(neuron) && neuron.n_features > 1.0);
                let one = count(&|neuron| used(neuron) && neuron.n_features == 1.0);
                [one, several, count(&|neuron| !used(neuron)), several / (one + several)]
            }
            false => [f64::NAN; 4],
        };
        let each = |of: fn(&Neuron) -> f64| neurons.iter().map(of).collect::<Vec<f64>>();
        let mut columns = vec![
            each(|neuron| neuron.strength),
            each(|neuron| neuron.strongest_frac),
            each(|neuron| neuron.n_features),
        ];
        columns.extend(counts.map(|x| vec![x]));
        Ok(columns)
    }
}

/// The numbers of one neuron.
struct Neuron {
    strength: f64,
    strongest_frac: f64,
    n_features: f64,
}

/// Every neuron, from what it reads with and `write_jo` `[m, outputs]`, what it writes with.
fn neurons(directions: &Directions, write_jo: &[f64]) -> Vec<Neuron> {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let n_outputs = write_jo.len() / directions.m;
    let neuron = |j: usize| {
        let read_n: Vec<f64> = (0..directions.n).map(|i| directions.column(i)[j]).collect();
        let largest = read_n.iter().fold(0.0, |top: f64, x| top.max(x.abs()));
        let read = norm(&read_n);
        Neuron {
            strength: read * norm(&write_jo[j * n_outputs..][..n_outputs]),
            strongest_frac: (largest / read).powi(2),
            n_features: match largest > 0.0 && read.is_finite() {
                true => read_n.iter().filter(|x| x.abs() >= READ * largest).count() as f64,
                false => f64::NAN,
            },
        }
    };
    (0..directions.m).map(neuron).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::features::tests::columns;

    #[test]
    fn known_matrices_have_their_neurons() {
        // Three features, two neurons: the first reads feature 1 alone and writes twice as much, the second reads all three.
        let directions = columns(&[&[2.0, 1.0], &[0.1, -1.0], &[0.0, 0.5]]);
        let found = neurons(&directions, &[2.0, 0.0, 3.0, 4.0]);
        assert_eq!(found.iter().map(|neuron| neuron.n_features).collect::<Vec<_>>(), [1.0, 3.0]);
        assert!((found[0].strength - 2.0 * 4.01f64.sqrt()).abs() < 1e-12);
        assert!((found[1].strength - 5.0 * 1.5).abs() < 1e-12);
        assert!((found[0].strongest_frac - 4.0 / 4.01).abs() < 1e-12);
        assert!((found[1].strongest_frac - 1.0 / 2.25).abs() < 1e-12);
        // A neuron that reads nothing has no share and no features; one of NaN neither.
        let none = neurons(&columns(&[&[0.0, f64::NAN]]), &[1.0, 1.0]);
        assert!(none[0].strongest_frac.is_nan() && none[0].n_features.is_nan() && none[0].strength == 0.0);
        assert!(none[1].n_features.is_nan() && none[1].strength.is_nan());
    }
}
