//! Loss and accuracy of every replica at every evaluation, and the stop rule that reads them.

use crate::engine::StepOutcome;
use crate::error::Result;
use crate::spec::{LossKind, Stop, StopMetric};
use crate::tensor::{Data, Tensor};

/// What the column of a term begins with.
pub(crate) const TERM: &str = "term_";

/// Names and units of the columns, in files and series: cross-entropy says nats, any other loss only that it is the loss.
pub(crate) fn columns(loss: LossKind) -> [(&'static str, &'static str); 4] {
    let (acc, test_acc) = (("train_acc_frac", "fraction"), ("test_acc_frac", "fraction"));
    match loss {
        LossKind::CrossEntropy => [("train_loss_nats", "nats"), acc, ("test_loss_nats", "nats"), test_acc],
        LossKind::Mse | LossKind::Outside(_) => [("train_loss", "1"), acc, ("test_loss", "1"), test_acc],
    }
}

/// Evaluations so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// The loss that is trained on.
    pub loss: LossKind,
    /// Updates before each evaluation.
    pub steps: Vec<u64>,
    /// `[evaluations, R]`, one for each of [`columns`]; NaN without a test split.
    pub columns: [Vec<f64>; 4],
    /// Name and `[evaluations, R]` values of each term of the loss; NaN where it takes no part.
    pub terms: Vec<(String, Vec<f64>)>,
}

impl Metrics {
    /// Without any evaluation, of a loss with terms of these names.
    pub fn new(loss: LossKind, terms: impl Iterator<Item = String>) -> Metrics {
        let terms = terms.map(|name| (name, vec![])).collect();
        Metrics { loss, steps: vec![], columns: Default::default(), terms }
    }

    /// Adds an evaluation; `terms_rk` has the values `[R, terms]`.
    pub fn push(&mut self, step: u64, train: &[StepOutcome], test: Option<&[StepOutcome]>, terms_rk: &[f64]) {
        for (k, (_, values)) in self.terms.iter_mut().enumerate() {
            let n_terms = terms_rk.len() / train.len();
            values.extend((0..train.len()).map(|r| terms_rk.get(r * n_terms + k).copied().unwrap_or(f64::NAN)));
        }
        self.steps.push(step);
        let [train_loss, train_acc, test_loss, test_acc] = &mut self.columns;
        train_loss.extend(train.iter().map(|o| o.loss));
        train_acc.extend(train.iter().map(|o| o.acc_frac));
        let nothing = StepOutcome { loss: f64::NAN, acc_frac: f64::NAN, ..StepOutcome::default() };
        let test = |r: usize| test.map_or(nothing, |test| test[r]);
        test_loss.extend((0..train.len()).map(|r| test(r).loss));
        test_acc.extend((0..train.len()).map(|r| test(r).acc_frac));
    }

    /// Takes out evaluations that a run going on to more steps would not have made: after `step`, or off the schedule.
    pub fn keep_scheduled(&mut self, step: u64, every: u64, replicas: usize) {
        let keep: Vec<bool> = self.steps.iter().map(|&s| s < step && s.is_multiple_of(every)).collect();
        for column in self.columns.iter_mut().chain(self.terms.iter_mut().map(|(_, values)| values)) {
            let mut rows = column.chunks(replicas).zip(&keep);
            *column = rows.by_ref().filter(|(_, keep)| **keep).flat_map(|(row, _)| row.to_vec()).collect();
        }
        let mut keep = keep.into_iter();
        self.steps.retain(|_| keep.next().unwrap_or(false));
    }

    /// The last step of a run under `stop`, as far as these evaluations tell.
    pub fn end(&self, stop: Option<&Stop>, steps: u64, non_finite: &[Option<u64>]) -> u64 {
        let Some(stop) = stop else { return steps };
        let (column, at_least) = match stop.metric {
            StopMetric::TrainLossNats | StopMetric::TrainLoss => (0, false),
            StopMetric::TrainAccFrac => (1, true),
            StopMetric::TestLossNats | StopMetric::TestLoss => (2, false),
            StopMetric::TestAccFrac => (3, true),
        };
        let passed = |row: &[f64]| {
            let mut alive = row.iter().zip(non_finite).filter(|(_, mark)| mark.is_none()).map(|(x, _)| *x).peekable();
            alive.peek().is_some() && alive.all(|x| if at_least { x >= stop.threshold } else { x <= stop.threshold })
        };
        let mut in_a_row = 0;
        for (row, &step) in self.columns[column].chunks(non_finite.len()).zip(&self.steps) {
            in_a_row = if passed(row) { in_a_row + 1 } else { 0 };
            if in_a_row >= stop.evals {
                // An evaluation comes with an update, so the next step is the first that can be the last.
                return steps.min(step + stop.extra_steps.max(1));
            }
        }
        steps
    }

    /// Marks of replicas, and the last evaluation's step for those whose training loss was not finite there.
    pub(crate) fn with_last_row(&self, marks: &[Option<u64>]) -> Vec<Option<u64>> {
        let losses = &self.columns[0];
        let last = &losses[losses.len().saturating_sub(marks.len())..];
        let at_last = |r: usize| last.get(r).filter(|loss| !loss.is_finite()).and(self.steps.last().copied());
        marks.iter().enumerate().map(|(r, mark)| mark.or_else(|| at_last(r))).collect()
    }

    /// The metric's medians over replicas at the last evaluation.
    pub fn last_median(&self, column: usize, replicas: usize) -> f64 {
        let values = &self.columns[column];
        median(values[values.len().saturating_sub(replicas)..].iter().copied())
    }

    /// As `metrics/…` arrays.
    pub fn to_tensors(&self, replicas: usize) -> Vec<Tensor> {
        let evals = self.steps.len();
        let step = Tensor { name: "metrics/step".into(), shape: vec![evals], data: Data::U64(self.steps.clone()) };
        let names = columns(self.loss).into_iter().map(|(name, _)| name.to_owned());
        let terms = self.terms.iter().map(|(name, values)| (format!("{TERM}{name}"), values));
        let columns = names.zip(&self.columns).chain(terms).map(|(name, values)| Tensor {
            name: format!("metrics/{name}"),
            shape: vec![evals, replicas],
            data: Data::F64(values.clone()),
        });
        std::iter::once(step).chain(columns).collect()
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`crate::error::Error::Shape`] when one is missing.
    pub fn from_tensors(loss: LossKind, tensors: &[Tensor]) -> Result<Metrics> {
        let find = |name: &str| {
            let name = format!("metrics/{name}");
            tensors.iter().find(|t| t.name == name).ok_or_else(|| crate::error::Error::Shape {
                op: name.clone(),
                expected: "an array".into(),
                got: "none".into(),
            })
        };
        let mut metrics = Metrics::new(loss, std::iter::empty());
        if let Data::U64(steps) = &find("step")?.data {
            metrics.steps.clone_from(steps);
        }
        for ((name, _), column) in columns(loss).into_iter().zip(&mut metrics.columns) {
            *column = find(name)?.to_f64();
        }
        let of_term = |t: &Tensor| Some((t.name.strip_prefix("metrics/")?.strip_prefix(TERM)?.to_owned(), t.to_f64()));
        metrics.terms = tensors.iter().filter_map(of_term).collect();
        Ok(metrics)
    }
}

/// Median of the numbers that are not NaN; NaN for none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|x| !x.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn outcome(loss: f64, acc_frac: f64) -> StepOutcome {
        StepOutcome { loss, acc_frac, ..StepOutcome::default() }
    }

    #[test]
    fn the_stop_rule_waits_for_all_finite_replicas_and_evaluations_in_a_row() {
        let stop = Stop { metric: StopMetric::TestAccFrac, threshold: 0.9, evals: 2, extra_steps: 30 };
        let mut metrics = Metrics::new(LossKind::CrossEntropy, std::iter::empty());
        for (step, acc) in [(0, 0.95), (10, 0.5), (20, 0.95), (30, 0.9), (40, 1.0)] {
            let row = [outcome(1.0, acc), outcome(f64::NAN, 0.0)];
            metrics.push(step, &row, Some(&row), &[]);
        }
        assert_eq!(metrics.end(Some(&stop), 1000, &[None, Some(3)]), 60);
        assert_eq!(metrics.end(Some(&stop), 50, &[None, Some(3)]), 50);
        assert_eq!(metrics.end(Some(&stop), 1000, &[None, None]), 1000, "the second replica never passes");
        assert_eq!(metrics.end(Some(&stop), 1000, &[Some(1), Some(3)]), 1000, "nobody is left to pass");
        assert_eq!(metrics.end(None, 1000, &[None, None]), 1000);
    }

    #[test]
    fn tensors_bring_everything_back_and_unscheduled_rows_go() {
        let mut metrics = Metrics::new(LossKind::Mse, ["a".to_owned(), "b".to_owned()].into_iter());
        for step in [0, 10, 20, 25] {
            let terms_rk = [1.0, step as f64, 2.0, 0.5];
            metrics.push(step, &[outcome(step as f64, 0.1), outcome(2.0, 0.2)], None, &terms_rk);
        }
        let mut back = Metrics::from_tensors(LossKind::Mse, &metrics.to_tensors(2)).unwrap();
        assert!(Metrics::from_tensors(LossKind::CrossEntropy, &metrics.to_tensors(2)).is_err(), "they are no nats");
        assert_eq!(back.columns[0], metrics.columns[0]);
        assert_eq!(back.terms, metrics.terms);
        back.keep_scheduled(25, 10, 2);
        assert_eq!((back.steps, back.columns[0].len()), (vec![0, 10, 20], 6));
        assert_eq!(back.terms[1], ("b".to_owned(), vec![0.0, 0.5, 10.0, 0.5, 20.0, 0.5]));
    }
}
