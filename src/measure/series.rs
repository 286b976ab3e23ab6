//! What measuring gives: numbers over checkpoints and replicas, with a name and a unit.

/// One column of a measure over a range of checkpoints.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Registry name of the measure, e.g. `fourier_norm_w_e`.
    pub measure: String,
    /// Column within it, e.g. `test_loss_nats`.
    pub column: String,
    /// Unit as an axis label writes it: `nats`, `fraction`, `1`.
    pub unit: String,
    /// How key frequencies were found, where the measure uses them.
    pub key_freqs: Option<String>,
    /// Checkpoints, in order of step (count of updates).
    pub steps: Vec<u64>,
    /// Replicas, by seed.
    pub seeds: Vec<u64>,
    /// What the last axis counts (`frequency`), for columns with more than one number a checkpoint.
    pub axis: Option<Axis>,
    /// `[steps, seeds, width]`, row-major; width 1 without an axis. NaN where a replica has no value.
    pub values_srw: Vec<f64>,
}

/// Last axis of a vector-valued column.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it counts.
    pub name: String,
    /// Its coordinates, e.g. frequencies 1 to (p − 1)/2.
    pub ticks: Vec<f64>,
}

impl Series {
    /// Numbers a checkpoint and replica.
    pub fn width(&self) -> usize {
        self.axis.as_ref().map_or(1, |axis| axis.ticks.len())
    }

    /// The numbers of checkpoint index `s` and replica index `r`, length [`Series::width`].
    pub fn at(&self, s: usize, r: usize) -> &[f64] {
        let width = self.width();
        let start = (s * self.seeds.len() + r) * width;
        &self.values_srw[start..start + width]
    }

    /// Puts the numbers of checkpoint index `s` and replica index `r` in place, as many as [`Series::width`].
    pub(super) fn set(&mut self, s: usize, r: usize, values: &[f64]) {
        let width = self.width();
        let start = (s * self.seeds.len() + r) * width;
        self.values_srw[start..start + width].copy_from_slice(values);
    }

    /// The first number of replica index `r` at every checkpoint: the curve of a scalar column.
    pub fn curve(&self, r: usize) -> Vec<f64> {
        (0..self.steps.len()).map(|s| self.at(s, r)[0]).collect()
    }
}
