//! `class_accuracy`: how often the largest output of a toy model that classifies is the right class.
//!
//! Reads the model and the examples of evaluations; writes a number a class and one a replica.

use crate::error::Result;
use crate::measure::directions::toy;
use crate::measure::subject::{Evaluated, Setting, Subject};
use crate::measure::{Axis, Column, Measure};
use crate::spec::ToyLoss;

/// Accuracy over classes.
pub struct ClassAccuracy;

const EXPLAIN: &str = "\
What it is
  accuracy_frac       share of the examples of the evaluation with a class whose largest output is that class;
                      ties are wrong
  accuracy            the same for the examples of each class
  Examples without a class (no target above 0) are left out.
Reads
  The model, and 4,096 (toy.eval_examples) examples.
Unit and range
  Fraction, 0 to 1. A class without examples has none.
Value at a known point
  One feature at a time and outputs that point the features' ways, evenly around a circle: 1, however many there are.
Source
  The usual accuracy.";

impl Measure for ClassAccuracy {
    fn name(&self) -> &'static str {
        "class_accuracy"
    }

    fn summary(&self) -> &'static str {
        "toy models that classify: how often the largest output is the right class"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toy(setting)?.spec.loss {
            ToyLoss::CrossEntropy => Ok(()),
            ToyLoss::SquaredError => Err("the models do not classify (toy.loss)".into()),
        }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let classes = toy(setting).map_or(0, |toy| toy.spec.n_outputs());
        let axis = Axis { name: "class".into(), ticks: (0..classes).map(|c| c as f64).collect() };
        vec![Column::along("accuracy", "fraction", axis), Column::scalar("accuracy_frac", "fraction")]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let Ok(toy) = toy(subject.setting) else { return Ok(vec![]) };
        let Evaluated { examples, x_bn, layers } = toy.evaluated(subject.replica, subject.params)?;
        let classes = toy.spec.n_outputs();
        Ok(accuracy(&layers[layers.len() - 1], &examples.targets_of_rows(&x_bn), classes))
    }
}

/// Accuracy of each class, and of all.
fn accuracy(output_bo: &[f64], class_bo: &[f64], classes: usize) -> Vec<Vec<f64>> {
    let (mut right, mut of_class) = (vec![0.0; classes], vec![0.0; classes]);
    for (output_o, class_o) in output_bo.chunks_exact(classes).zip(class_bo.chunks_exact(classes)) {
        let Some(class) = class_o.iter().position(|x| *x > 0.0) else { continue };
        let rivals = output_o.iter().enumerate().filter(|(o, _)| *o != class);
        of_class[class] += 1.0;
        right[class] += f64::from(rivals.map(|(_, x)| x).all(|x| output_o[class] > *x));
    }
    let share = |right: f64, of: f64| if output_bo.iter().all(|x| x.is_finite()) { right / of } else { f64::NAN };
    let each = right.iter().zip(&of_class).map(|(right, of)| share(*right, *of)).collect();
    vec![each, vec![share(right.iter().sum(), of_class.iter().sum())]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_wrong_and_examples_without_class_are_left_out() {
        let output = [0.7, 0.3, 0.5, 0.5, 0.1, 0.9, 0.9, 0.1];
        let class = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(accuracy(&output, &class, 2), [vec![0.5, 1.0], vec![2.0 / 3.0]]);
        assert!(accuracy(&[f64::NAN, 0.0], &[1.0, 0.0], 2)[1][0].is_nan());
    }
}
