//! What phases are found in: the curves of one replica.
//!
//! Reads [`Series`] by column name, and an evaluation log where there is a denser one; writes nothing.

use crate::measure::Series;
use crate::transition::Curve;

/// Everything that is read of one replica; a curve that was not measured is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curves {
    /// The replica.
    pub seed: u64,
    /// Whether it met a non-finite value.
    pub non_finite: bool,
    /// Training loss, nats.
    pub train_loss_nats: Curve,
    /// Test loss, nats.
    pub test_loss_nats: Curve,
    /// Training accuracy, fraction.
    pub train_acc_frac: Curve,
    /// Test accuracy, fraction.
    pub test_acc_frac: Curve,
    /// Loss of the key waves over all pairs, nats.
    pub restricted_all_loss_nats: Curve,
    /// Training loss without the key waves, nats.
    pub excluded_train_loss_nats: Curve,
    /// Sum of squared weights.
    pub sum_w2: Curve,
}

impl Curves {
    /// The curves of replica index `r` in measured series; accuracies may be replaced by denser ones afterwards.
    pub fn from_series(series: &[Series], r: usize) -> Curves {
        let seed = series.first().and_then(|series| series.seeds.get(r)).copied().unwrap_or_default();
        let curve = |measure: &str, column: &str| {
            let found = series.iter().find(|series| series.measure == measure && series.column == column);
            found.map(|series| Curve { steps: series.steps.clone(), values: series.curve(r) }).unwrap_or_default()
        };
        Curves {
            seed,
            non_finite: false,
            train_loss_nats: curve("loss", "train_loss_nats"),
            test_loss_nats: curve("loss", "test_loss_nats"),
            train_acc_frac: curve("loss", "train_acc_frac"),
            test_acc_frac: curve("loss", "test_acc_frac"),
            restricted_all_loss_nats: curve("restricted_loss", "restricted_all_loss_nats"),
            excluded_train_loss_nats: curve("excluded_loss", "excluded_train_loss_nats"),
            sum_w2: curve("weight_norm", "sum_w2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_gets_its_own_column_and_what_is_missing_is_empty() {
        let series = Series {
            measure: "loss".into(),
            column: "test_acc_frac".into(),
            unit: "fraction".into(),
            key_freqs: None,
            steps: vec![0, 10],
            seeds: vec![5, 6],
            axis: None,
            values_srw: vec![0.1, 0.2, 0.3, 0.4],
        };
        let curves = Curves::from_series(&[series], 1);
        assert_eq!(curves.seed, 6);
        assert_eq!(curves.test_acc_frac, Curve::new(&[0, 10], &[0.2, 0.4]));
        assert_eq!(curves.sum_w2, Curve::default());
    }
}
