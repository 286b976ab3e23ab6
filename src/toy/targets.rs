//! What the outputs of toy models are compared with: functions of the features, summed, at random, or the class.
//!
//! Reads tiles of features; writes tiles of targets.

use crate::engine::Real;
use crate::engine::tiny::TILE;
use crate::expr::Expr;
use crate::rng::Rng;
use crate::spec::{Target, ToyLoss, ToySpec, Values};

/// The targets of one replica's examples.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    target: Target,
    /// Features that an output depends on.
    per_output: usize,
    /// Outputs.
    pub n_outputs: usize,
    /// Of a random target: the values that a feature can have where it is present, and a bit for each output and each combination.
    values: Vec<f64>,
    table: Vec<bool>,
    /// Whether outputs are compared with the class instead of the targets.
    classify: bool,
}

impl Targets {
    /// The targets of a replica with this seed, which random ones depend on.
    pub fn new(spec: &ToySpec, seed: u64) -> Targets {
        const CHECKED: &str = "invariant: a spec's target was checked";
        let target = spec.target().expect(CHECKED);
        let (values, table) = match (&target, &spec.values) {
            (Target::Random, Values::OneOf(list)) => {
                let mut rng = Rng::stream(seed, "toy/targets");
                let count = spec.random_numbers().expect(CHECKED);
                (list.clone(), (0..count).map(|_| rng.next_u32() & 1 == 1).collect())
            }
            _ => (vec![], vec![]),
        };
        Targets {
            target,
            per_output: spec.features_per_output(),
            n_outputs: spec.n_outputs(),
            values,
            table,
            classify: spec.loss == ToyLoss::CrossEntropy,
        }
    }

    /// The targets `y` `[outputs, lanes]` of examples `x` `[n, lanes]`.
    pub fn of<T: Real>(&self, x: &[T], lanes: usize, y: &mut [T]) {
        match &self.target {
            Target::Copy => y.copy_from_slice(x),
            Target::Of(expr) => self.sums(expr, x, lanes, y),
            Target::Random => self.random(x, lanes, y),
        }
        if self.classify {
            classes(y, lanes);
        }
    }

    /// The sum of an expression over the features, or pairs, of each output.
    fn sums<T: Real>(&self, expr: &Expr, x: &[T], lanes: usize, y: &mut [T]) {
        let step = if expr.reads(1) { 2 } else { 1 };
        let mut scratch = vec![[0.0; 16]; expr.n_nodes()];
        let wide = |x: &[T]| std::array::from_fn(|l| x.get(l).map_or(0.0, |x| x.to_f64()));
        for (x, y) in x.chunks_exact(self.per_output * lanes).zip(y.chunks_exact_mut(lanes)) {
            for (at, y) in y.chunks_mut(16).enumerate().map(|(c, y)| (16 * c, y)) {
                let mut sums = [0.0; 16];
                for term in x.chunks_exact(step * lanes) {
                    let (one, other) = (&term[..lanes], &term[(step - 1) * lanes..]);
                    let values = expr.eval_lanes(&[wide(&one[at..]), wide(&other[at..])], &mut scratch);
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
                y.iter_mut().zip(sums).for_each(|(y, sum)| *y = T::from_f64(sum));
            }
        }
    }

    /// What stands in the table at the features' values, the first feature counting least.
    fn random<T: Real>(&self, x: &[T], lanes: usize, y: &mut [T]) {
        let base = self.values.len() + 1;
        // 0 for a feature that is absent.
        let digit = |x: T| self.values.iter().position(|value| T::from_f64(*value) == x).map_or(0, |k| k + 1);
        let of_output = self.table.len() / self.n_outputs;
        for ((x, y), bits) in x
            .chunks_exact(self.per_output * lanes)
            .zip(y.chunks_exact_mut(lanes))
            .zip(self.table.chunks_exact(of_output))
        {
            for (b, y) in y.iter_mut().enumerate() {
                let at = (0..self.per_output).rev().fold(0, |at, i| at * base + digit(x[i * lanes + b]));
                *y = if bits[at] { T::ONE } else { T::ZERO };
            }
        }
    }
}

/// 1 at the largest number of each example (the first of equals) if it is above 0, and 0 elsewhere.
fn classes<T: Real>(y: &mut [T], lanes: usize) {
    let mut top = [T::ZERO; TILE];
    for row in y.chunks_exact(lanes) {
        top.iter_mut().zip(row).for_each(|(top, y)| *top = if *y > *top { *y } else { *top });
    }
    for row in y.chunks_exact_mut(lanes) {
        for (y, top) in row.iter_mut().zip(&mut top) {
            let is_class = *top > T::ZERO && *y == *top;
            *y = if is_class { T::ONE } else { T::ZERO };
            // No second one.
            *top = if is_class { T::ZERO } else { *top };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ToyAct;

    #[test]
    fn the_class_is_the_largest_target_above_0() {
        let spec = ToySpec { n_features: 3, loss: ToyLoss::CrossEntropy, act: ToyAct::Softmax, ..ToySpec::default() };
        // Examples: (0.2, 0.7, 0.1), none, two equal ones, and negative ones; the other lanes hold nothing.
        let (lanes, examples) = (32, [[0.2, 0.7, 0.1], [0.0; 3], [0.0, 0.4, 0.4], [-1.0, -2.0, -3.0]]);
        let mut x = vec![0.0; 3 * lanes];
        examples.iter().enumerate().for_each(|(b, x_n)| (0..3).for_each(|i| x[i * lanes + b] = x_n[i]));
        let mut y = vec![9.0; 3 * lanes];
        Targets::new(&spec, 3).of(&x, lanes, &mut y);
        let of = |b: usize| (0..3).map(|i| y[i * lanes + b]).collect::<Vec<f64>>();
        assert_eq!([of(0), of(1), of(2), of(3)], [[0.0, 1.0, 0.0], [0.0; 3], [0.0, 1.0, 0.0], [0.0; 3]]);
    }

    #[test]
    fn targets_are_functions_of_each_feature_or_of_pairs() {
        let x = [[0.5, -1.0], [0.25, 2.0], [0.0, 3.0], [1.0, 3.0]].map(|row| [&row[..], &[0.0; 30]].concat()).concat();
        let of = |target: &str| {
            let spec = ToySpec { n_features: 4, target: target.into(), tied: false, ..ToySpec::default() };
            let mut y = vec![0.0; 32 * spec.n_outputs()];
            Targets::new(&spec, 0).of(&x, 32, &mut y);
            y.chunks(32).map(|y| [y[0], y[1]]).collect::<Vec<_>>()
        };
        assert_eq!(of("x"), [[0.5, -1.0], [0.25, 2.0], [0.0, 3.0], [1.0, 3.0]]);
        assert_eq!(of("abs(x)")[0], [0.5, 1.0]);
        assert_eq!(of("max(x, y)"), [[0.5, 2.0], [1.0, 3.0]]);
        assert_eq!(of("x*y"), [[0.125, -2.0], [0.0, 9.0]]);
    }

    #[test]
    fn targets_of_several_features_are_added_up() {
        let x = [[0.5, -1.0], [0.25, 2.0], [0.0, 3.0], [-1.0, 3.0]].map(|row| [&row[..], &[0.0; 30]].concat()).concat();
        let of = |target: &str, target_sum| {
            let spec = ToySpec { n_features: 4, target: target.into(), target_sum, tied: false, ..ToySpec::default() };
            let mut y = vec![0.0; 32 * spec.n_outputs()];
            Targets::new(&spec, 0).of(&x, 32, &mut y);
            y.chunks(32).map(|y| [y[0], y[1]]).collect::<Vec<_>>()
        };
        assert_eq!(of("x", 2), [[0.75, 1.0], [-1.0, 6.0]]);
        assert_eq!(of("abs(x)", 4), [[1.75, 9.0]]);
        assert_eq!(of("max(x, y)", 2), [[0.5, 5.0]]);
    }

    /// Of one replica: fair bits, the same for the same values, others at another seed.
    #[test]
    fn random_targets_are_functions_of_the_values() {
        let values = Values::OneOf(vec![1.0, 2.0]);
        let spec = ToySpec {
            target: "random".into(),
            n_features: 6,
            target_sum: 3,
            tied: false,
            values,
            ..ToySpec::default()
        };
        let table = |seed: u64| {
            let digit = |index: usize, i: u32| (index / 3usize.pow(i) % 3) as f64;
            // All combinations at the first three features, and the same ones, in the same order, at the others.
            let x: Vec<f64> = (0..6).flat_map(|i| (0..27).map(move |b| digit(b, i % 3))).collect();
            let mut y = vec![0.0; 2 * 27];
            Targets::new(&spec, seed).of(&x, 27, &mut y);
            (0..27).flat_map(|b| [y[b], y[27 + b]]).collect::<Vec<f64>>()
        };
        let y_bo = table(5);
        assert_eq!(y_bo.len(), 27 * 2);
        assert!(y_bo.iter().all(|y| *y == 0.0 || *y == 1.0));
        let ones = |o: usize| y_bo.iter().skip(o).step_by(2).sum::<f64>();
        assert!((6.0..21.0).contains(&ones(0)) && (6.0..21.0).contains(&ones(1)), "{y_bo:?}");
        assert!(y_bo.chunks(2).any(|y| y[0] != y[1]), "outputs have functions of their own");
        assert_eq!(y_bo, table(5));
        assert_ne!(y_bo, table(6));
    }
}
