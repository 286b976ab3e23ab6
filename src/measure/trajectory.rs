//! What the trajectory measures share: a replica's checkpoints as points, and its way through their principal plane.

use crate::measure::pca::pca;
use crate::measure::{Axis, Column};

/// Components that are kept.
pub const COMPONENTS: usize = 4;

/// Coordinates and explained fractions along the first components.
pub fn columns(unit: &'static str) -> Vec<Column> {
    let axis = Axis { name: "component".into(), ticks: (1..=COMPONENTS).map(|i| i as f64).collect() };
    vec![
        Column::along("coordinate", unit, axis.clone()),
        Column::along("explained_frac", "fraction", axis),
        Column::scalar("travelled", unit),
    ]
}

/// The columns of one replica, from its points; explained fractions are the same at every checkpoint.
pub fn trace(points_sn: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let found = pca(points_sn, COMPONENTS);
    let explained = found.explained_k.repeat(points_sn.len());
    let mut way = 0.0;
    let travelled = (0..points_sn.len()).map(|s| {
        if s > 0 {
            let square = |(x, before): (&f64, &f64)| (x - before) * (x - before);
            way += points_sn[s].iter().zip(&points_sn[s - 1]).map(square).sum::<f64>().sqrt();
        }
        way
    });
    let travelled = travelled.collect();
    vec![found.coordinates_sk, explained, travelled]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::fixture::close;
    use crate::measure::tests_circuits::fixture;

    #[test]
    fn a_straight_line_is_one_component_and_its_length_is_travelled() {
        let points: Vec<Vec<f64>> = [0.0, 1.0, 3.0].iter().map(|t| vec![3.0 * t, 7.0, 4.0 * t]).collect();
        let [coordinate, explained, travelled] = &trace(&points)[..] else { unreachable!() };
        assert_eq!((coordinate.len(), explained.len()), (3 * COMPONENTS, 3 * COMPONENTS));
        assert!((explained[0] - 1.0).abs() < 1e-12 && explained[1] == 0.0 && explained[4] == explained[0]);
        let along: Vec<f64> = coordinate.chunks(COMPONENTS).map(|row| row[0]).collect();
        let expected = [0.0, 5.0, 15.0].map(|x| x - 20.0 / 3.0);
        assert!(along.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12), "{along:?}");
        assert_eq!(travelled, &[0.0, 5.0, 15.0]);
    }

    #[test]
    fn numpy_gives_the_same_way() {
        let fixture = |name: &str| fixture(name).to_f64();
        let points: Vec<Vec<f64>> = fixture("points").chunks(40).map(<[f64]>::to_vec).collect();
        let [coordinate, explained, travelled] = &trace(&points)[..] else { unreachable!() };
        let why = "if the definition changed on purpose, run tests/fixtures/decompositions.py again";
        assert!(close(coordinate, &fixture("points.coordinate"), 1e-11), "{coordinate:?}: {why}");
        assert!(close(&explained[..COMPONENTS], &fixture("points.explained_frac"), 1e-12), "{explained:?}: {why}");
        assert!(close(travelled, &fixture("points.travelled"), 1e-12), "{travelled:?}: {why}");
    }
}
