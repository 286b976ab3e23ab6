//! Series -> phases, with their spread over replicas.
//!
//! Reads the [`Curves`] of each replica; writes [`ReplicaPhases`], and over all replicas a [`Summary`] and `summary.csv`.
//! The rule for phase boundaries is [`explain`]. Source: arXiv 2301.05217, section 5.

mod boundary;
mod curves;
mod rate;
mod summary;
mod threshold;

pub use boundary::{Boundaries, boundaries};
pub use curves::Curves;
pub use rate::{Rate, Spread};
pub use summary::{Summary, SummaryRow, write_summary, write_variants_summary};
pub use threshold::Curve;

/// Evaluations in a row that make a crossing a sustained one.
pub const SUSTAINED: usize = 3;

/// A spike of the training loss rises to this many nats …
pub const SPIKE_NATS: f64 = 0.1;
/// … after the loss has been below this.
pub const CALM_NATS: f64 = 0.01;

/// How phase boundaries are found: the text of `phaselab explain phases`.
pub fn explain() -> &'static str {
    boundary::EXPLAIN
}

/// When one replica passed what; `None` means that it never did.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct ReplicaPhases {
    /// The replica.
    pub seed: u64,
    /// Whether it met a non-finite value.
    pub non_finite: bool,
    /// First evaluation at which training accuracy is at least 0.90 / 0.99.
    pub train_90_step: Option<u64>,
    /// As above, 0.99.
    pub train_99_step: Option<u64>,
    /// First evaluation at which test accuracy is at least 0.90.
    pub test_90_step: Option<u64>,
    /// As above, 0.99.
    pub test_99_step: Option<u64>,
    /// The first of three evaluations in a row at or above 0.90 / 0.99.
    pub train_90_sustained_step: Option<u64>,
    /// As above.
    pub train_99_sustained_step: Option<u64>,
    /// As above.
    pub test_90_sustained_step: Option<u64>,
    /// As above.
    pub test_99_sustained_step: Option<u64>,
    /// `test_99_step − train_99_step`, steps.
    pub delay_steps: Option<i64>,
    /// How often the training loss rose to [`SPIKE_NATS`] or more after it had been below [`CALM_NATS`], over the evaluations.
    /// None for a loss that is not in nats.
    pub train_loss_spikes: Option<usize>,
    /// End of memorisation (= start of circuit formation), by the written rule of [`crate::transition`].
    pub memorisation_end_step: Option<u64>,
    /// End of circuit formation (= start of cleanup).
    pub circuit_end_step: Option<u64>,
    /// End of cleanup.
    pub cleanup_end_step: Option<u64>,
}

/// The thresholds and phases of one replica.
pub fn phases(curves: &Curves) -> ReplicaPhases {
    let (train, test) = (&curves.train_acc_frac, &curves.test_acc_frac);
    let (train_99_step, test_99_step) = (train.first_at_least(0.99), test.first_at_least(0.99));
    let ends = boundaries(curves);
    ReplicaPhases {
        seed: curves.seed,
        non_finite: curves.non_finite,
        train_90_step: train.first_at_least(0.90),
        train_99_step,
        test_90_step: test.first_at_least(0.90),
        test_99_step,
        train_90_sustained_step: train.sustained_at_least(0.90, SUSTAINED),
        train_99_sustained_step: train.sustained_at_least(0.99, SUSTAINED),
        test_90_sustained_step: test.sustained_at_least(0.90, SUSTAINED),
        test_99_sustained_step: test.sustained_at_least(0.99, SUSTAINED),
        delay_steps: train_99_step.zip(test_99_step).map(|(train, test)| test as i64 - train as i64),
        train_loss_spikes: (curves.train_loss_evals_nats.points().next())
            .map(|_| curves.train_loss_evals_nats.rises(CALM_NATS, SPIKE_NATS)),
        memorisation_end_step: ends.memorisation_end_step,
        circuit_end_step: ends.circuit_end_step,
        cleanup_end_step: ends.cleanup_end_step,
    }
}

#[cfg(test)]
mod synthetic;
