//! `polygon_level`: which critical point of one feature at a time a toy model of two hidden dimensions is at.
//!
//! Reads W and b; writes corners, spare features with a bias, the loss and the level. Source: arXiv 2310.06301.

use crate::error::Result;
use crate::measure::directions::{Directions, toy};
use crate::measure::population_loss::one_hot_fits;
use crate::measure::subject::{Matrix, Setting, Subject};
use crate::measure::{Column, Measure, Shape, parts};
use crate::theory::k_gon;
use crate::theory::one_hot;
use crate::toy::{B_OUT, W};

/// Polygons of trained runs.
pub struct PolygonLevel;

/// A feature without a direction whose bias is at least this share of its best one, 1/(2c), has one.
const HAS_BIAS: f64 = 0.5;
/// Directions of at least this length are corners.
const CORNER: f64 = 0.5;

const EXPLAIN: &str = "\
What it is
  For inputs of one feature at a time, x' = ReLU(W^T W x + b) with two hidden dimensions: what of the theory's critical
  points the model is near. corners counts features with a norm of at least 0.5; spare_biases those of the others whose
  bias is at least half of 1/(2c), the best that a feature without a direction can have. regular is 1 where the corners
  are at the angles of a regular polygon (cosines within 0.15), else 0. loss is the exact mean loss, level that of the
  regular polygon of as many corners and spare biases, L(k, c) - spare/(4c^2), for 4 to 12 corners (`phaselab explain
  k_gon`); excess_frac is loss/level - 1.
Reads
  W and b_out.
Unit and range
  Counts; losses are squared errors, summed over outputs, 0 and up.
Value at a known point
  The pentagon of 5 features: corners 5, regular 1, level 0.01582563, excess_frac 0.
Source
  Chen et al. 2023 (arXiv 2310.06301).";

impl Measure for PolygonLevel {
    fn name(&self) -> &'static str {
        "polygon_level"
    }

    fn summary(&self) -> &'static str {
        "toy models of one feature at a time in two dimensions: polygon, loss and the theory's level"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        let toy = toy(setting)?;
        one_hot_fits(toy)?;
        match toy.spec.d_hidden.0[0] {
            2 => Ok(()),
            m => Err(format!("the hidden space has {m} dimensions, not 2")),
        }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![
            Column::scalar("corners", "features"),
            Column::scalar("spare_biases", "features"),
            Column::scalar("regular", "1"),
            Column::scalar("loss", "1"),
            Column::scalar("level", "1"),
            Column::scalar("excess_frac", "fraction"),
        ]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let directions = Directions::of(subject.params)?;
        let w = Matrix::of(subject.params, W)?.values;
        let c = directions.n;
        let b = match subject.params.iter().any(|tensor| tensor.name == B_OUT) {
            true => Matrix::of(subject.params, B_OUT)?.values.to_vec(),
            false => vec![0.0; c],
        };
        Ok(numbers(&directions, w, &b).map(|x| vec![x]).to_vec())
    }
}

/// The numbers of the columns, for `w` `[2, c]` with those directions and `b` `[c]`.
fn numbers(directions: &Directions, w: &[f64], b: &[f64]) -> [f64; 6] {
    if w.iter().chain(b).any(|x| !x.is_finite()) {
        return [f64::NAN; 6];
    }
    let c = directions.n;
    let is_corner = |i: usize| directions.norm(i) >= CORNER;
    let corners = (0..c).filter(|&i| is_corner(i)).count();
    let spare = (0..c).filter(|&i| !is_corner(i) && b[i] >= HAS_BIAS / (2.0 * c as f64)).count();
    let shapes: Vec<Shape> = parts(directions).iter().map(|part| part.shape).collect();
    let regular = match (corners, &shapes[..]) {
        (3, [Shape::Triangle]) | (4, [Shape::Digon, Shape::Digon]) | (5, [Shape::Pentagon]) => true,
        (k, [Shape::Polygon(corners)]) => *corners == k,
        _ => false,
    };
    let loss = one_hot::loss(w, b);
    let level = k_gon::known(corners).map_or(f64::NAN, |gon| gon.level_with_biases(c, spare));
    [corners as f64, spare as f64, f64::from(u8::from(regular)), loss, level, loss / level - 1.0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polygons of theory, with some of the spare features at their best bias, are at their own level and no other.
    #[test]
    fn constructed_polygons_are_at_their_level() {
        for (k, c, spare) in [(4, 6, 0), (4, 6, 2), (5, 5, 0), (5, 6, 1), (5, 8, 2), (6, 6, 0), (7, 9, 1), (9, 9, 0)] {
            let gon = k_gon::known(k).expect("it is in the table");
            let (w, mut b) = gon.weights(c);
            b[k..k + spare].fill(1.0 / (2.0 * c as f64));
            let w_nm = (0..c).flat_map(|i| [w[i], w[c + i]]).collect();
            let found = numbers(&Directions { m: 2, n: c, w_nm }, &w, &b);
            let [corners, spares, regular, loss, level, excess] = found;
            assert_eq!([corners, spares, regular], [k as f64, spare as f64, 1.0], "{k} of {c}");
            assert!((loss - level).abs() < 1e-13 && excess.abs() < 1e-10, "{k} of {c}: {found:?}");
            assert!((level - gon.level_with_biases(c, spare)).abs() < 1e-15);
        }
        // Bent by a tenth of a turn at one corner: no polygon, and above the level.
        let gon = k_gon::known(5).expect("it is in the table");
        let (mut w, b) = gon.weights(5);
        let (sin, cos) = libm::sincos(std::f64::consts::TAU / 10.0);
        (w[0], w[5]) = (cos * w[0] - sin * w[5], sin * w[0] + cos * w[5]);
        let w_nm = (0..5).flat_map(|i| [w[i], w[5 + i]]).collect();
        let [corners, _, regular, _, _, excess] = numbers(&Directions { m: 2, n: 5, w_nm }, &w, &b);
        assert!(corners == 5.0 && regular == 0.0 && excess > 0.1, "{excess}");
        assert!(numbers(&Directions { m: 2, n: 1, w_nm: vec![f64::NAN; 2] }, &[f64::NAN; 2], &[0.0])[0].is_nan());
    }
}
