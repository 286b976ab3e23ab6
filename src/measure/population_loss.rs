//! `population_loss`: the exact loss of small toy models over all inputs.
//!
//! Reads W and b; writes the loss, by the integrals of [`theory::population`](crate::theory::population).

use crate::error::Result;
use crate::measure::directions::toy;
use crate::measure::subject::{Matrix, Setting, Subject, ToySetting};
use crate::measure::{Column, Measure};
use crate::spec::{Act, Sets, ToyAct, ToyLoss, ToyReplica, ToySpec, Values};
use crate::theory::one_hot;
use crate::theory::population::{self, MAX_FEATURES};
use crate::toy::{B_OUT, W};

/// Loss over all inputs.
pub struct PopulationLoss;

const EXPLAIN: &str = "\
What it is
  The mean over all inputs of the loss that the model is trained on: the integral over its features, each present by its
  chance and then uniform on [0, 1], of the sum of importance times squared error. It is exact but for rounding, where
  evaluations have the noise of their examples.
Reads
  W and b_out of a tied ReLU output model without further non-linearity, on uniform features: at most 4 independent
  ones, with chance and importance of each, or any number of which one is present at a time.
Unit and range
  Squared error, 0 and up; sum over outputs, or their mean where the loss is (toy.reduce).
Value at a known point
  W = 0, b = 0: sum of importance times chance / 3. Antipodal pairs, dropped features: `phaselab explain phase_border`.
Source
  The loss of Elhage et al. 2022 (arXiv 2209.10652), integrated here.";

/// Whether the loss of these models, on independent features, can be integrated.
///
/// # Errors
/// What stands in the way, as a clause.
pub fn integrable(spec: &ToySpec) -> Result<(), String> {
    plain(spec)?;
    match spec.sets {
        Sets::None if spec.n_features <= MAX_FEATURES => Ok(()),
        Sets::None => Err(format!("{} features are more than {MAX_FEATURES}", spec.n_features)),
        _ => Err("features are not independent".into()),
    }
}

/// Whether features come one at a time, all equally important.
///
/// # Errors
/// What stands in the way, as a clause.
pub(super) fn one_hot_fits(toy: &ToySetting) -> Result<(), String> {
    plain(toy.spec)?;
    let alike = |replica: &ToyReplica| replica.importance.iter().all(|x| *x == 1.0);
    match toy.spec.sets {
        Sets::OneHot if toy.replicas.iter().all(alike) => Ok(()),
        Sets::OneHot => Err("features are not equally important".into()),
        _ => Err("features do not come one at a time".into()),
    }
}

/// Whether it is x' = ReLU(Wᵀ W x + b) on fresh uniform features.
fn plain(spec: &ToySpec) -> Result<(), String> {
    let fail = |why: &str| Err(why.to_owned());
    match spec {
        _ if !spec.tied || spec.hidden_bias => fail("the model is not x' = ReLU(W^T W x + b)"),
        _ if spec.act != ToyAct::Each(Act::Relu) || spec.hidden_act != ToyAct::Each(Act::Identity) => {
            fail("the model is not x' = ReLU(W^T W x + b)")
        }
        _ if !spec.copies() => fail("the target is not x"),
        _ if spec.loss != ToyLoss::SquaredError => fail("the loss is not the squared error"),
        _ if spec.values != Values::Uniform(0.0, 1.0) => fail("values are not uniform on [0, 1]"),
        _ if spec.unit_norm || spec.points.is_some() => fail("examples are not fresh, or are scaled"),
        _ => Ok(()),
    }
}

impl Measure for PopulationLoss {
    fn name(&self) -> &'static str {
        "population_loss"
    }

    fn summary(&self) -> &'static str {
        "toy models of at most 4 features, or of one at a time: exact loss over all inputs"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        let toy = toy(setting)?;
        integrable(toy.spec).or_else(|why| one_hot_fits(toy).map_err(|_| why))
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("population_loss", "1")]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let Ok(toy) = toy(subject.setting) else { return Ok(vec![vec![f64::NAN]]) };
        let w_mn = Matrix::of(subject.params, W)?.values;
        let b_n = match toy.spec.bias {
            true => Matrix::of(subject.params, B_OUT)?.values.to_vec(),
            false => vec![0.0; toy.spec.n_features],
        };
        let scale = toy.spec.loss_scale();
        if toy.spec.sets == Sets::OneHot {
            return Ok(vec![vec![scale * one_hot::loss(w_mn, &b_n)]]);
        }
        let replica = &toy.replicas[subject.replica];
        let setting =
            population::Setting { prob: replica.feature_prob.clone(), importance: replica.importance.clone() };
        Ok(vec![vec![scale * population::loss(&setting, w_mn, &b_n).0]])
    }
}
