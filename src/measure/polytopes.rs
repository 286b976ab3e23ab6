//! `polytopes`: the shapes that the features of a toy model form, each in dimensions of its own.
//!
//! Reads the encoder; writes a shape a feature and counts of shapes. Source: arXiv 2209.10652 (tegum products), arXiv 2310.06301.

use crate::error::Result;
use crate::linalg::symmetric_eigen;
use crate::measure::directions::{Directions, LEARNED, feature_axis, toy};
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Shapes of features.
pub struct Polytopes;

/// Cosines closer than this to 0, or to those of a shape, count as equal.
const TOLERANCE: f64 = 0.15;

/// What features form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Not represented.
    None,
    /// A dimension of its own.
    Dedicated,
    /// Two ends of a line.
    Digon,
    /// Three corners in a plane.
    Triangle,
    /// Five corners in a plane.
    Pentagon,
    /// k corners in a plane, evenly.
    Polygon(usize),
    /// Four corners in three dimensions.
    Tetrahedron,
    /// k corners in k − 1 dimensions, all equally far apart.
    Simplex(usize),
    /// Eight corners in three dimensions: two squares, one turned.
    SquareAntiprism,
    /// Something else.
    Other,
}

impl Shape {
    /// Shapes that are counted, in the order of the columns.
    const COUNTED: [(Shape, &'static str); 7] = [
        (Shape::Dedicated, "n_dedicated"),
        (Shape::Digon, "n_digons"),
        (Shape::Triangle, "n_triangles"),
        (Shape::Tetrahedron, "n_tetrahedra"),
        (Shape::Pentagon, "n_pentagons"),
        (Shape::SquareAntiprism, "n_square_antiprisms"),
        (Shape::Other, "n_others"),
    ];

    /// In words.
    pub fn name(self) -> String {
        match self {
            Shape::None => "none".into(),
            Shape::Dedicated => "dedicated".into(),
            Shape::Digon => "digon".into(),
            Shape::Triangle => "triangle".into(),
            Shape::Pentagon => "pentagon".into(),
            Shape::Polygon(k) => format!("{k}-gon"),
            Shape::Tetrahedron => "tetrahedron".into(),
            Shape::Simplex(k) => format!("simplex of {k}"),
            Shape::SquareAntiprism => "square antiprism".into(),
            Shape::Other => "other".into(),
        }
    }
}

/// Features that are not orthogonal to each other, and those that these are not orthogonal to.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Features, ascending.
    pub features: Vec<usize>,
    /// Dimensions that they span.
    pub rank: usize,
    /// What they form.
    pub shape: Shape,
}

/// The parts of a model's features, by their first feature: a tegum product has one for each factor.
pub fn parts(directions: &Directions) -> Vec<Part> {
    let n = directions.n;
    let norms: Vec<f64> = (0..n).map(|i| directions.norm(i)).collect();
    let learned: Vec<usize> = (0..n).filter(|&i| norms[i] >= LEARNED).collect();
    let cosine = |i: usize, j: usize| directions.dot(i, j) / (norms[i] * norms[j]);
    let mut left = learned;
    let mut parts = vec![];
    while let Some(&first) = left.first() {
        let mut features = vec![first];
        let mut at = 0;
        left.retain(|&i| i != first);
        while at < features.len() {
            let (near, far): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|&&j| cosine(features[at], j).abs() > TOLERANCE);
            features.extend(near);
            left = far;
            at += 1;
        }
        features.sort_unstable();
        let k = features.len();
        let cosines: Vec<f64> = (0..k * k).map(|ij| cosine(features[ij / k], features[ij % k])).collect();
        let rank = rank(&cosines, k);
        parts.push(Part { shape: shape(&cosines, k, rank), features, rank });
    }
    parts
}

/// What the parts form together, in words: `pentagon`, `square`, `octahedron`, `triangle + 2 digons`, `2 dedicated`; nothing for none.
pub fn tegum_product(parts: &[Part]) -> String {
    let mut counts: Vec<(Shape, usize)> = vec![];
    for part in parts {
        match counts.iter_mut().find(|(shape, _)| *shape == part.shape) {
            Some((_, count)) => *count += 1,
            None => counts.push((part.shape, 1)),
        }
    }
    match counts[..] {
        // Products of digons have names of their own.
        [(Shape::Digon, 2)] => "square".into(),
        [(Shape::Digon, 3)] => "octahedron".into(),
        [(Shape::Digon, k)] if k > 3 => format!("{k}-orthoplex"),
        _ => {
            let words = counts.iter().map(|&(shape, count)| match (count, shape) {
                (1, _) => shape.name(),
                (_, Shape::Dedicated | Shape::Other) => format!("{count} {}", shape.name()),
                (_, Shape::Tetrahedron) => format!("{count} tetrahedra"),
                (_, Shape::Simplex(k)) => format!("{count} simplices of {k}"),
                _ => format!("{count} {}s", shape.name()),
            });
            words.collect::<Vec<_>>().join(" + ")
        }
    }
}

/// Directions that hold all but a small share of the features' lengths.
fn rank(cosines_kk: &[f64], k: usize) -> usize {
    let values = symmetric_eigen(cosines_kk, k).values_n;
    values.iter().filter(|value| **value > TOLERANCE).count()
}

/// The shape whose cosines these are.
fn shape(cosines_kk: &[f64], k: usize, rank: usize) -> Shape {
    let near = |x: f64, y: f64| (x - y).abs() < TOLERANCE;
    let all = |expected: f64| (0..k * k).all(|ij| ij / k == ij % k || near(cosines_kk[ij], expected));
    match (k, rank) {
        (1, _) => Shape::Dedicated,
        (2, 1) if all(-1.0) => Shape::Digon,
        (3, 2) if all(-0.5) => Shape::Triangle,
        (4, 3) if all(-1.0 / 3.0) => Shape::Tetrahedron,
        (k, r) if k > 4 && r == k - 1 && all(-1.0 / r as f64) => Shape::Simplex(k),
        (k, 2) if is_polygon(cosines_kk, k) => {
            if k == 5 {
                Shape::Pentagon
            } else {
                Shape::Polygon(k)
            }
        }
        (8, 3) if is_square_antiprism(cosines_kk) => Shape::SquareAntiprism,
        _ => Shape::Other,
    }
}

/// Whether each corner sees the others at the angles of a regular polygon.
fn is_polygon(cosines_kk: &[f64], k: usize) -> bool {
    let mut expected: Vec<f64> = (0..k).map(|i| libm::cos(std::f64::consts::TAU * i as f64 / k as f64)).collect();
    expected.sort_by(f64::total_cmp);
    cosines_kk.chunks_exact(k).all(|row| {
        let mut row = row.to_vec();
        row.sort_by(f64::total_cmp);
        row.iter().zip(&expected).all(|(x, y)| (x - y).abs() < TOLERANCE)
    })
}

/// Whether the eight corners are alike, and each has one corner across its square, two beside it, and of the other square two near and two
/// far ones, none of them opposite.
fn is_square_antiprism(cosines_kk: &[f64]) -> bool {
    let rows: Vec<Vec<f64>> = (cosines_kk.chunks_exact(8))
        .map(|row| {
            let mut row = row.to_vec();
            row.sort_by(f64::total_cmp);
            row
        })
        .collect();
    let mean: Vec<f64> = (0..8).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / 8.0).collect();
    let alike = rows.iter().flatten().zip(mean.iter().cycle()).all(|(x, y)| (x - y).abs() < TOLERANCE);
    // Far corners of the other square, across, near ones and those beside: which of the last two is nearer depends on the height.
    let [far, across] = [mean[0..2].iter().sum::<f64>() / 2.0, mean[2]];
    let beside = &mean[3..7];
    alike && far > -0.95 && far < across && across < 0.1 && beside.iter().all(|x| (-0.1..0.75).contains(x))
}

const EXPLAIN: &str = "\
What it is
  Features with a norm of at least 0.5 whose directions are not orthogonal (cosine beyond 0.15 either way) belong
  together, and so do those that they belong to: each such part spans dimensions of its own (the hidden space is their
  tegum product). A part is named by its cosines, each within 0.15: dedicated (one feature), digon (an antipodal pair),
  triangle, tetrahedron, larger simplex, pentagon, other regular polygon, square antiprism; or it is other. An
  octahedron is three digons, a square two.
  part            number of the part that the feature belongs to, from 1; 0 when it is not represented
  part_size       features in that part
  part_rank       dimensions that it spans: eigenvalues of its cosines above 0.15
  n_dedicated, n_digons, ...   how many parts of that shape (polygons but triangle and pentagon, and larger simplices,
  count among n_others)
Reads
  W, or W_0 of a model that is not tied.
Unit and range
  Counts.
Value at a known point
  m antipodal pairs: n_digons m, part_rank 1. A pentagon: n_pentagons 1, part_size 5, part_rank 2.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"uniform polytopes\" and \"tegum products\".";

impl Measure for Polytopes {
    fn name(&self) -> &'static str {
        "polytopes"
    }

    fn summary(&self) -> &'static str {
        "toy models: the shapes that features form, each in dimensions of its own"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        toy(setting).map(drop)
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let axis = feature_axis(setting);
        let each = ["part", "part_size", "part_rank"].map(|name| Column::along(name, "1", axis.clone()));
        let counts = Shape::COUNTED.map(|(_, name)| Column::scalar(name, "parts"));
        each.into_iter().chain(counts).collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let directions = Directions::of(subject.params)?;
        if directions.w_nm.iter().any(|x| !x.is_finite()) {
            return Ok(self.columns(subject.setting).iter().map(|column| vec![f64::NAN; column.width()]).collect());
        }
        let parts = parts(&directions);
        let mut columns = vec![vec![0.0; directions.n]; 3];
        for (number, part) in parts.iter().enumerate() {
            for &i in &part.features {
                columns[0][i] = (number + 1) as f64;
                columns[1][i] = part.features.len() as f64;
                columns[2][i] = part.rank as f64;
            }
        }
        let counted = |shape: Shape| match shape {
            Shape::Polygon(_) | Shape::Simplex(_) => Shape::Other,
            other => other,
        };
        let count = |shape| vec![parts.iter().filter(|part| counted(part.shape) == shape).count() as f64];
        columns.extend(Shape::COUNTED.map(|(shape, _)| count(shape)));
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::tests::{columns, polygon};
    use super::*;

    fn shapes(points: &[Vec<f64>]) -> Vec<(Shape, usize, usize)> {
        let found = parts(&columns(&points.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        found.iter().map(|part| (part.shape, part.features.len(), part.rank)).collect()
    }

    /// Corners in further dimensions, zeros elsewhere: what comes first in the first ones.
    fn beside(one: &[Vec<f64>], other: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (m, k) = (one[0].len(), other[0].len());
        let first = one.iter().map(|x| [&x[..], &vec![0.0; k]].concat());
        first.chain(other.iter().map(|x| [&vec![0.0; m][..], x].concat())).collect()
    }

    fn simplex(k: usize) -> Vec<Vec<f64>> {
        // Corners of the standard simplex less their mean, at length 1: they span k − 1 of k dimensions.
        let length = (1.0 - 1.0 / k as f64).sqrt();
        let number = |i, j| (f64::from(u8::from(i == j)) - 1.0 / k as f64) / length;
        (0..k).map(|i| (0..k).map(|j| number(i, j)).collect()).collect()
    }

    fn antiprism(height: f64) -> Vec<Vec<f64>> {
        let corner = |i: usize| {
            let (angle, up) =
                (std::f64::consts::TAU * i as f64 / 8.0, if i.is_multiple_of(2) { height } else { -height });
            let radius = (1.0 - height * height).sqrt();
            vec![radius * libm::cos(angle), radius * libm::sin(angle), up]
        };
        (0..8).map(corner).collect()
    }

    #[test]
    fn every_shape_is_recognised_alone_and_as_a_factor() {
        let digon = vec![vec![1.0], vec![-0.9]];
        let cases = [
            (vec![vec![0.8]], Shape::Dedicated, 1),
            (digon.clone(), Shape::Digon, 1),
            (polygon(3), Shape::Triangle, 2),
            (polygon(5), Shape::Pentagon, 2),
            (polygon(7), Shape::Polygon(7), 2),
            (simplex(4), Shape::Tetrahedron, 3),
            (simplex(5), Shape::Simplex(5), 4),
            // The heights of the least energy, of equal edges, and one between.
            (antiprism(0.5604), Shape::SquareAntiprism, 3),
            (antiprism(0.5113), Shape::SquareAntiprism, 3),
            (antiprism(0.54), Shape::SquareAntiprism, 3),
        ];
        for (points, shape, rank) in cases {
            let k = points.len();
            assert_eq!(shapes(&points), [(shape, k, rank)], "{shape:?}");
            assert_eq!(shapes(&beside(&points, &digon)), [(shape, k, rank), (Shape::Digon, 2, 1)], "{shape:?}");
        }
        let name = |points: &[Vec<f64>]| {
            tegum_product(&parts(&columns(&points.iter().map(Vec::as_slice).collect::<Vec<_>>())))
        };
        let bipyramid = beside(&polygon(3), &digon);
        assert_eq!(name(&bipyramid), "triangle + digon");
        assert_eq!(name(&beside(&bipyramid, &digon)), "triangle + 2 digons");
        assert_eq!([name(&polygon(4)), name(&polygon(5)), name(&polygon(7))], ["square", "pentagon", "7-gon"]);
        assert_eq!(name(&beside(&polygon(4), &digon)), "octahedron");
        assert_eq!(name(&beside(&polygon(4), &polygon(4))), "4-orthoplex");
        assert_eq!(name(&[vec![1.0, 0.0], vec![0.0, 0.8]]), "2 dedicated");
        assert_eq!(name(&[vec![0.1, 0.0]]), "");
        // A square is two digons, an octahedron three.
        assert_eq!(shapes(&polygon(4)), [(Shape::Digon, 2, 1); 2]);
        assert_eq!(shapes(&beside(&beside(&digon, &digon), &digon)), [(Shape::Digon, 2, 1); 3]);
    }

    #[test]
    fn what_is_no_shape_is_called_other_and_short_features_are_left_out() {
        let bent = vec![vec![1.0, 0.0], vec![0.6, 0.8], vec![-1.0, 0.0]];
        assert_eq!(shapes(&bent), [(Shape::Other, 3, 2)]);
        // A cube has opposite corners.
        let third = (1.0f64 / 3.0).sqrt();
        let sign = |i: usize, bit: usize| if i >> bit & 1 == 1 { third } else { -third };
        let cube: Vec<Vec<f64>> = (0..8).map(|i| (0..3).map(|bit| sign(i, bit)).collect()).collect();
        assert_eq!(shapes(&cube), [(Shape::Other, 8, 3)]);
        assert_eq!(shapes(&[vec![1.0, 0.0], vec![-0.3, 0.2]]), [(Shape::Dedicated, 1, 1)]);
        assert_eq!(shapes(&[vec![0.1, 0.0]]), []);
    }

    /// Turning and mirroring the hidden space changes nothing, nor does the order of the features.
    #[test]
    fn shapes_do_not_depend_on_the_basis() {
        let points = beside(&polygon(5), &simplex(4));
        let (sin, cos) = libm::sincos(0.7);
        let turned: Vec<Vec<f64>> = points
            .iter()
            .rev()
            .map(|x| {
                let mut x = x.clone();
                (x[1], x[3]) = (cos * x[1] - sin * x[3], sin * x[1] + cos * x[3]);
                (x[0], x[4]) = (-x[4], x[0]);
                x
            })
            .collect();
        let mut found = shapes(&turned);
        found.reverse();
        assert_eq!(found, shapes(&points));
    }
}
