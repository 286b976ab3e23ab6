//! Series -> phases, with their spread over replicas.

/// When one replica passed what; `None` means that it never did.
#[derive(Debug, Clone, PartialEq, Default)]
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
    /// End of memorisation (= start of circuit formation), by the written rule of [`crate::transition`].
    pub memorisation_end_step: Option<u64>,
    /// End of circuit formation (= start of cleanup).
    pub circuit_end_step: Option<u64>,
    /// End of cleanup.
    pub cleanup_end_step: Option<u64>,
}
