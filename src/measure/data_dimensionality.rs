//! `data_dimensionality`: how much of its hidden space a toy model gives each of the fixed points that it is trained on.
//!
//! Reads the encoder and the points; writes two numbers a point and two a replica. Source: Henighan et al. 2023.

use crate::error::Result;
use crate::measure::directions::{Directions, toy};
use crate::measure::subject::{Setting, Subject, ToySetting};
use crate::measure::{Axis, Column, Measure};
use crate::spec::{Act, ToyAct};
use crate::toy::{Examples, Stream};

/// Hidden vectors of data points.
pub struct DataDimensionality;

/// Points of which single numbers are given.
const EACH: usize = 256;
/// A point whose hidden vector is at least this share of the longest counts as represented.
const LEARNED: f64 = 0.5;

const EXPLAIN: &str = "\
What it is
  Point t of the fixed training set has the hidden vector h_t = W x_t.
  norm            |h_t|
  dimensionality  |h_t|^2 / sum over all points s of (h_t/|h_t| . h_s)^2: the share of a dimension that the point has
  mean_dimensionality  the mean over all points that have one
  n_points_represented  points whose hidden vector is at least half as long as the longest
  norm and dimensionality are given of the first 256 points; the sums are over all.
Reads
  W, or W_0 of a model that is not tied; the points of the replica.
Unit and range
  Dimensionless. dimensionality: 0 to 1; those of all points add up to the rank of their hidden vectors at most.
Value at a known point
  Hidden vectors at the corners of a regular T-gon: 2/T. Points that all have the same one: 1/T.
Source
  Henighan et al. 2023, superposition, memorization and double descent: few points are memorised as a T-gon of hidden
  vectors, whose dimensionality is m/T.";

impl Measure for DataDimensionality {
    fn name(&self) -> &'static str {
        "data_dimensionality"
    }

    fn summary(&self) -> &'static str {
        "toy models of fixed points: norm and dimensionality of each point's hidden vector"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_hidden_points(setting)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let most = toy(setting).map_or(0, |toy| toy.replicas.iter().filter_map(|r| r.points).max().unwrap_or(0));
        let axis = Axis { name: "point".into(), ticks: (0..most.min(EACH)).map(|t| t as f64).collect() };
        let each = |name: &str| Column::along(name, "1", axis.clone());
        vec![
            each("norm"),
            each("dimensionality"),
            Column::scalar("mean_dimensionality", "1"),
            Column::scalar("n_points_represented", "points"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let width = self.columns(subject.setting)[0].width();
        let Ok(toy) = toy(subject.setting) else { return Ok(vec![]) };
        let points = hidden_points(&Directions::of(subject.params)?, toy, subject.replica);
        let norms: Vec<f64> = (0..points.n).map(|t| points.norm(t)).collect();
        let dimensionality = dimensionality(&points, &norms);
        let longest = norms.iter().copied().fold(0.0, f64::max);
        let represented = norms.iter().filter(|norm| **norm >= LEARNED * longest && longest > 0.0).count() as f64;
        let finite = norms.iter().all(|norm| norm.is_finite());
        let there: Vec<f64> = dimensionality.iter().copied().filter(|x| !x.is_nan()).collect();
        let mean = if finite { there.iter().sum::<f64>() / there.len() as f64 } else { f64::NAN };
        let each = |mut numbers: Vec<f64>| {
            numbers.resize(width, f64::NAN);
            numbers
        };
        let n_represented = if finite { represented } else { f64::NAN };
        Ok(vec![each(norms), each(dimensionality), vec![mean], vec![n_represented]])
    }
}

/// Whether the models have fixed points, and a hidden layer in which these are vectors W x.
///
/// # Errors
/// What stands in the way, as a clause.
pub fn has_hidden_points(setting: &Setting) -> Result<(), String> {
    let spec = toy(setting)?.spec;
    match &spec.hidden_act {
        _ if spec.points.is_none() => Err("examples are fresh at every step, not fixed points".into()),
        ToyAct::Each(Act::Identity) if !spec.hidden_bias => Ok(()),
        _ => Err("the hidden layer is not linear, or has biases".into()),
    }
}

/// The hidden vectors of a replica's fixed points, as directions: one a point.
///
/// # Shapes
/// Columns `[m]` of `[points, m]`
pub fn hidden_points(encoder: &Directions, toy: &ToySetting, replica: usize) -> Directions {
    let settings = &toy.replicas[replica];
    let stream = Stream::points(toy.seed_of_draws(replica));
    let x_tn = Examples::new(toy.spec, settings).rows(&stream, settings.points.unwrap_or(0));
    let (n, m) = (encoder.n, encoder.m);
    let hidden = |x_n: &[f64]| {
        let mut h_m = vec![0.0; m];
        for (x, w_m) in x_n.iter().zip(encoder.w_nm.chunks_exact(m)) {
            h_m.iter_mut().zip(w_m).for_each(|(h, w)| *h += x * w);
        }
        h_m
    };
    Directions { m, n: x_tn.len() / n, w_nm: x_tn.chunks_exact(n).flat_map(hidden).collect() }
}

/// ‖h_t‖² / Σ_s (ĥ_t · h_s)² = ‖h_t‖⁴ / h_tᵀ (Σ_s h_s h_sᵀ) h_t: one pass over the points for the matrix, one for the numbers.
fn dimensionality(points: &Directions, norms: &[f64]) -> Vec<f64> {
    let m = points.m;
    let mut second_mm = vec![0.0; m * m];
    for h_m in points.w_nm.chunks_exact(m) {
        for (h, row_m) in h_m.iter().zip(second_mm.chunks_exact_mut(m)) {
            row_m.iter_mut().zip(h_m).for_each(|(sum, other)| *sum += h * other);
        }
    }
    let of = |(h_m, norm): (&[f64], &f64)| {
        let row = |(h, row_m): (&f64, &[f64])| h * row_m.iter().zip(h_m).map(|(x, y)| x * y).sum::<f64>();
        norm.powi(4) / h_m.iter().zip(second_mm.chunks_exact(m)).map(row).sum::<f64>()
    };
    points.w_nm.chunks_exact(m).zip(norms).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::features::tests::{columns, polygon};

    #[test]
    fn corners_of_polygons_have_two_dimensions_together() {
        for k in [3, 5, 8] {
            let corners = polygon(k);
            let points = columns(&corners.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let norms: Vec<f64> = (0..k).map(|t| points.norm(t)).collect();
            assert!(dimensionality(&points, &norms).iter().all(|d| (d - 2.0 / k as f64).abs() < 1e-12));
        }
    }

    #[test]
    fn it_is_the_dimensionality_of_the_definition_and_points_at_the_origin_have_none() {
        let points = columns(&[&[1.0, 0.5, 0.0], &[-0.3, 2.0, 1.0], &[0.0, 0.0, 0.0], &[1.0, 1.0, -1.0]]);
        let norms: Vec<f64> = (0..4).map(|t| points.norm(t)).collect();
        let found = dimensionality(&points, &norms);
        assert!(found[2].is_nan());
        for t in [0, 1, 3] {
            assert!((found[t] - points.dimensionality(t)).abs() < 1e-12, "{t}");
        }
    }
}
