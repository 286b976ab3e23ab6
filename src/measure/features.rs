//! `features`: how much of a toy model's hidden space each feature has.
//!
//! Reads the encoder; writes three numbers a feature and two a replica. Source: arXiv 2209.10652.

use crate::error::Result;
use crate::measure::directions::{Directions, LEARNED, feature_axis, toy};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Norms, interference and dimensionality.
pub struct Features;

const EXPLAIN: &str = "\
What it is
  Column i of the encoder W is the direction W_i that feature i has in the hidden space.
  norm            |W_i|: about 1 for a feature that is represented, 0 for one that is not
  interference    the sum over other features j of (W_i/|W_i| . W_j)^2: 0 for a feature with a dimension of its own
  dimensionality  |W_i|^2 / sum over all j of (W_i/|W_i| . W_j)^2: the share of a dimension that the feature has
  dims_per_feature  m / |W|_F^2, the hidden dimensions for each represented feature
  n_represented     features with a norm of at least 0.5
  A feature whose column is 0 has no interference and no dimensionality.
Reads
  W, or W_0 of a model that is not tied.
Unit and range
  Dimensionless. dimensionality: 0 to 1; those of all features add up to the rank of W at most.
Value at a known point
  n = m orthogonal features: norm 1, interference 0, dimensionality 1. Antipodal pairs: 1/2. A triangle: 2/3. A
  tetrahedron: 3/4. A pentagon: 2/5. A square antiprism: 3/8.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"the geometry of superposition\".";

impl Measure for Features {
    fn name(&self) -> &'static str {
        "features"
    }

    fn summary(&self) -> &'static str {
        "toy models: norm, interference and dimensionality of each feature's direction"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        toy(setting).map(drop)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let axis = feature_axis(setting);
        let each = |name: &str| Column::along(name, "1", axis.clone());
        vec![
            each("norm"),
            each("interference"),
            each("dimensionality"),
            Column::scalar("dims_per_feature", "1"),
            Column::scalar("n_represented", "features"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let directions = Directions::of(subject.params)?;
        let each = |of: &dyn Fn(usize) -> f64| (0..directions.n).map(of).collect::<Vec<f64>>();
        let norms = each(&|i| directions.norm(i));
        let represented = norms.iter().filter(|norm| **norm >= LEARNED).count() as f64;
        let finite = norms.iter().all(|norm| norm.is_finite());
        Ok(vec![
            norms,
            each(&|i| directions.interference(i)),
            each(&|i| directions.dimensionality(i)),
            vec![directions.dims_per_feature()],
            vec![if finite { represented } else { f64::NAN }],
        ])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// Directions of given columns.
    pub fn columns(w_nm: &[&[f64]]) -> Directions {
        Directions { m: w_nm[0].len(), n: w_nm.len(), w_nm: w_nm.concat() }
    }

    pub fn polygon(k: usize) -> Vec<Vec<f64>> {
        let corner = |i: usize| TAU * i as f64 / k as f64 + 0.3;
        (0..k).map(|i| vec![libm::cos(corner(i)), libm::sin(corner(i))]).collect()
    }

    #[test]
    fn known_geometries_have_their_dimensionality() {
        let of = |points: Vec<Vec<f64>>| {
            let directions = columns(&points.iter().map(Vec::as_slice).collect::<Vec<_>>());
            (0..directions.n).map(|i| directions.dimensionality(i)).collect::<Vec<f64>>()
        };
        let third = (1.0f64 / 3.0).sqrt();
        let tetrahedron = [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]];
        let cases = [
            (vec![vec![1.0, 0.0], vec![0.0, 1.0]], 1.0),
            (vec![vec![1.0], vec![-1.0]], 0.5),
            (polygon(3), 2.0 / 3.0),
            (polygon(5), 0.4),
            (tetrahedron.iter().map(|x| x.map(|x| third * x).to_vec()).collect(), 0.75),
        ];
        for (points, expected) in cases {
            assert!(of(points.clone()).iter().all(|d| (d - expected).abs() < 1e-12), "{points:?}: not {expected}");
        }
        // One of three in one dimension is half as long: 1/(1 + 1 + 1/4), and the same for all, whatever their length.
        let lengths = of(vec![vec![1.0], vec![-1.0], vec![0.5]]);
        assert!((lengths[0] - 4.0 / 9.0).abs() < 1e-15 && (lengths[2] - 1.0 / 9.0).abs() < 1e-15, "{lengths:?}");
        assert!(of(vec![vec![0.0], vec![1.0]])[0].is_nan());
    }
}
