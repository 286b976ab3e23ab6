//! What is wrong with a `[toy]` section: single settings, the target, the grid, and every point of it.

use super::validate::Found;
use super::{Reduce, Sets, Target, ToyAct, ToyLoss, ToyReplica, ToySpec, Values};

/// Most numbers of a random target.
const MAX_RANDOM: usize = 1 << 20;
/// Most values of an axis, and most replicas of a grid.
const MAX_POINTS: usize = 65_536;

impl ToySpec {
    /// All contradictions.
    pub(super) fn faults(&self, seeds: &[u64], found: &mut Found) {
        found.check((1..=16_384).contains(&self.n_features), "toy.n_features", || "must be 1 to 16,384".into());
        let widths = &self.d_hidden.0;
        found.check((1..=8).contains(&widths.len()), "toy.d_hidden", || "a toy model has 1 to 8 hidden layers".into());
        found.check(widths.iter().all(|m| (1..=16_384).contains(m)), "toy.d_hidden", || "must be 1 to 16,384".into());
        found.check((0.0..1.0).contains(&self.dropout), "toy.dropout", || {
            format!("{} must be at least 0 and below 1", self.dropout)
        });
        found.check(self.eval_examples > 0, "toy.eval_examples", || "must be at least 1".into());
        self.target_faults(found);
        if self.loss == ToyLoss::CrossEntropy {
            found.check(self.act == ToyAct::Softmax, "toy.act", || {
                "cross-entropy is taken of probabilities: set it to `softmax`".into()
            });
            found.check(self.reduce == Reduce::Sum, "toy.reduce", || {
                "cross-entropy has one term an example and no mean over outputs; leave it at `sum`".into()
            });
        }
        let grouped = matches!(self.sets, Sets::Correlated | Sets::Anticorrelated | Sets::Hierarchical);
        let is_ring = self.sets == Sets::Ring;
        found.check(!(grouped || is_ring) || self.set_size >= 1, "toy.set_size", || "must be at least 1".into());
        found.check(!is_ring || 2 * self.set_size <= self.n_features, "toy.set_size", || {
            format!(
                "a bump that reaches {} inputs to both sides overlaps itself on a ring of {}",
                self.set_size, self.n_features
            )
        });
        found.check(
            !grouped || self.set_size == 0 || self.n_features.is_multiple_of(self.set_size),
            "toy.set_size",
            || format!("{} features are no sets of {}", self.n_features, self.set_size),
        );
        if let Values::OneOf(list) = &self.values {
            found.check(!list.is_empty() && list.iter().all(|x| x.is_finite()), "toy.values", || {
                "needs at least one number, all of them finite".into()
            });
        }
        if let Values::Uniform(low, high) = self.values {
            found.check(low.is_finite() && high.is_finite() && low < high, "toy.values", || {
                format!("[{low}, {high}] is no interval")
            });
        }
        if self.grid_faults(found) {
            self.replica_faults(seeds, found);
        }
    }

    /// Contradictions of what outputs are compared with.
    fn target_faults(&self, found: &mut Found) {
        found.check(self.target_sum >= 1, "toy.target_sum", || "must be at least 1".into());
        let target = match self.target() {
            Ok(target) => target,
            Err(message) => return found.check(false, "toy.target", || message),
        };
        if let Target::Of(expr) = &target {
            found.check(expr.reads(0), "toy.target", || "does not depend on x".into());
        }
        let each = self.features_per_output();
        found.check(self.n_features.is_multiple_of(each), "toy.n_features", || match self.target_sum {
            1 => format!("{} features are no pairs, which the target `{}` is of", self.n_features, self.target),
            sum => {
                format!("{} features cannot be shared among outputs of {each} (target_sum = {sum})", self.n_features)
            }
        });
        found.check(!self.tied || (self.d_hidden.0.len() == 1 && each == 1), "toy.tied", || {
            "only one hidden layer with as many outputs as features has a decoder of the encoder's shape; set it to false".into()
        });
        if matches!(target, Target::Random) && self.n_features.is_multiple_of(each) {
            found.check(!self.unit_norm && self.random_numbers().is_some_and(|n| n <= MAX_RANDOM), "toy.target", || {
                format!(
                    "a random target needs values that come again: set toy.values to `binary` or a list and unit_norm to false; \
                     (values + 1)^target_sum for each output may be {MAX_RANDOM} in all"
                )
            });
        }
    }

    /// Whether the grid can be made.
    fn grid_faults(&self, found: &mut Found) -> bool {
        let before = found.0.len();
        let mut size = 1usize;
        for (i, axis) in self.grid.iter().enumerate() {
            let key = |name: &str| format!("toy.grid[{i}].{name}");
            let letters = |c: char| c.is_ascii_lowercase() || c == '_';
            found.check(axis.name.len() > 1 && axis.name.chars().all(letters), &key("name"), || {
                format!("`{}` must be at least two lower-case letters or `_`: expressions use it", axis.name)
            });
            let taken = self.grid[..i].iter().any(|other| other.name == axis.name)
                || crate::expr::Function::from_name(&axis.name).is_some()
                || axis.name == "pi";
            found.check(!taken, &key("name"), || format!("`{}` has another meaning already", axis.name));
            let range = [axis.from.is_some(), axis.to.is_some(), axis.count.is_some()];
            let one_way = axis.values.is_empty() == range.iter().all(|x| *x) && range.iter().all(|x| *x == range[0]);
            found.check(one_way, &key("values"), || "needs `values`, or `from`, `to` and `count`".into());
            found.check(axis.count.is_none_or(|n| (1..=MAX_POINTS).contains(&n)), &key("count"), || {
                format!("must be 1 to {MAX_POINTS}")
            });
            let positive = axis.from.is_none_or(|x| x > 0.0) && axis.to.is_none_or(|x| x > 0.0);
            found.check(!axis.log || positive, &key("log"), || "needs ends above 0".into());
            let finite = axis.values.iter().copied().chain(axis.from).chain(axis.to).all(f64::is_finite);
            found.check(finite, &key("values"), || "must be finite numbers".into());
            size = size.saturating_mul(axis.count.unwrap_or(axis.values.len()));
        }
        found.check(size <= MAX_POINTS, "toy.grid", || format!("{size} points are more than {MAX_POINTS}"));
        found.0.len() == before
    }

    fn replica_faults(&self, seeds: &[u64], found: &mut Found) {
        let points = self.grid_points().len();
        let count = points.saturating_mul(seeds.len());
        if count > MAX_POINTS {
            return found.check(false, "toy.grid", || format!("{count} replicas are more than {MAX_POINTS}"));
        }
        let replicas = match self.replicas(&seeds[..seeds.len().min(1)]) {
            Ok(replicas) => replicas,
            Err((key, message)) => return found.check(false, key, || message),
        };
        let at = |replica: &ToyReplica| match self.grid.is_empty() {
            true => String::new(),
            false => {
                let pairs = self.grid.iter().zip(&replica.point).map(|(axis, x)| format!("{} {x}", axis.name));
                format!(" (at {})", pairs.collect::<Vec<_>>().join(", "))
            }
        };
        for replica in &replicas {
            let prob = replica.feature_prob.iter().find(|p| !(0.0..=1.0).contains(*p));
            let importance = replica.importance.iter().find(|x| !(x.is_finite() && **x >= 0.0));
            let points = replica.points.filter(|&t| t == 0 || t > 10_000_000);
            let start = replica.init_deviation.filter(|x| !(x.is_finite() && *x >= 0.0));
            let lr = Some(replica.lr_factor).filter(|x| !(x.is_finite() && *x >= 0.0));
            found.check(prob.is_none(), "toy.feature_prob", || {
                format!("{} is no chance{}; it must be 0 to 1", prob.unwrap_or(&0.0), at(replica))
            });
            found.check(importance.is_none(), "toy.importance", || {
                format!("{}{} must be a finite number of at least 0", importance.unwrap_or(&0.0), at(replica))
            });
            found.check(points.is_none(), "toy.points", || {
                format!("{}{} must be 1 to 10 million", points.unwrap_or(0), at(replica))
            });
            found.check(start.is_none(), "toy.init_deviation", || {
                format!("{}{} must be a finite number of at least 0", start.unwrap_or(0.0), at(replica))
            });
            found.check(lr.is_none(), "toy.lr_factor", || {
                format!("{}{} must be a finite number of at least 0", lr.unwrap_or(0.0), at(replica))
            });
            let heat = replica.inverse_temperature.filter(|x| !(x.is_finite() && *x > 0.0));
            found.check(heat.is_none(), "toy.inverse_temperature", || {
                format!("{}{} must be a finite number above 0", heat.unwrap_or(0.0), at(replica))
            });
            if [prob, importance, start.as_ref(), lr.as_ref(), heat.as_ref()].iter().any(Option::is_some)
                || points.is_some()
            {
                return;
            }
        }
    }
}
