//! A made-up run for tests: logistic curves in the logarithm of the step.
//!
//! Reads nothing; gives series of every measure that figures read, and phases. Replica r groks 1 + r/10 times later than
//! replica 0.

use super::FigureInput;
use crate::measure::{Axis, Series};
use crate::transition::ReplicaPhases;

/// Frequencies of the made-up spectrum; 2 and 5 are key.
pub const FREQUENCIES: usize = 6;

/// Series and phases of a run.
#[derive(Clone)]
pub struct Run {
    /// All series.
    pub series: Vec<Series>,
    /// One for each replica.
    pub phases: Vec<ReplicaPhases>,
}

impl Run {
    /// What a figure is given.
    pub fn input(&self) -> FigureInput<'_> {
        FigureInput { title: "A <run> & more", series: &self.series, phases: &self.phases }
    }
}

/// Share of the way from 0 to 1 at `step`, half way at `middle`.
fn rise(step: u64, middle: f64) -> f64 {
    1.0 / (1.0 + (middle / (step as f64 + 1e-3)).powi(4))
}

/// A run with checkpoints at `steps` and replicas 0 to `replicas` - 1.
pub fn run(steps: &[u64], replicas: u64) -> Run {
    let column = |measure: &str, column: &str, unit: &str, value: &dyn Fn(u64, f64) -> f64| Series {
        measure: measure.into(),
        column: column.into(),
        unit: unit.into(),
        key_freqs: None,
        steps: steps.to_vec(),
        seeds: (0..replicas).collect(),
        axis: None,
        values_srw: steps
            .iter()
            .flat_map(|&step| (0..replicas).map(move |r| value(step, 1.0 + r as f64 / 10.0)))
            .collect(),
    };
    let map = |measure: &str, name: &str, value: &dyn Fn(u64, usize) -> f64| Series {
        axis: Some(Axis { name: "frequency".into(), ticks: (1..=FREQUENCIES).map(|f| f as f64).collect() }),
        values_srw: steps
            .iter()
            .flat_map(|&step| (0..replicas as usize * FREQUENCIES).map(move |i| value(step, i % FREQUENCIES + 1)))
            .collect(),
        ..column(measure, name, "1", &|_, _| 0.0)
    };
    let is_key = |f: usize| f == 2 || f == 5;
    let mut series = vec![
        column("loss", "train_loss_nats", "nats", &|s, late| 4.0 * (-12.0 * rise(s, 50.0 * late)).exp()),
        column("loss", "test_loss_nats", "nats", &|s, late| 4.0 * (-10.0 * rise(s, 400.0 * late)).exp()),
        column("loss", "train_acc_frac", "fraction", &|s, late| rise(s, 50.0 * late)),
        column("loss", "test_acc_frac", "fraction", &|s, late| rise(s, 400.0 * late)),
        column("restricted_loss", "restricted_test_loss_nats", "nats", &|s, late| 4.0 - 3.9 * rise(s, 200.0 * late)),
        column("excluded_loss", "excluded_train_loss_nats", "nats", &|s, late| 0.1 + 3.0 * rise(s, 150.0 * late)),
        column("weight_norm", "sum_w2", "1", &|s, late| 900.0 + 500.0 * rise(s, 80.0) - 700.0 * rise(s, 500.0 * late)),
        column("gini", "w_e_gini", "1", &|s, late| 0.5 * rise(s, 300.0 * late)),
        column("gini", "w_l_gini", "1", &|s, late| 0.8 * rise(s, 200.0 * late)),
        map("fourier_norm_w_e", "norm", &|s, f| if is_key(f) { 1.0 + 3.0 * rise(s, 200.0) } else { 1.0 / f as f64 }),
        map("key_freqs_w_l", "is_key", &|_, f| f64::from(u8::from(is_key(f)))),
    ];
    for (i, name) in ["embed.W_E", "pos_embed.W_pos", "blocks.0.mlp.W_in"].into_iter().enumerate() {
        series.push(column("weight_norm", name, "1", &|s, late| 10.0 + i as f64 + rise(s, 90.0 * late)));
    }
    let phase = |seed: u64| ReplicaPhases {
        seed,
        test_99_step: Some(700 + 60 * seed),
        memorisation_end_step: Some(60),
        circuit_end_step: Some(300),
        cleanup_end_step: Some(900),
        ..ReplicaPhases::default()
    };
    Run { series, phases: (0..replicas).map(phase).collect() }
}

/// The run with values that no logarithmic axis can show strewn in, and phases of every kind.
pub fn odd(mut run: Run) -> Run {
    let odd = [f64::NAN, f64::INFINITY, 0.0, f64::NEG_INFINITY, -1.0, 1e-300, 1e300];
    for series in &mut run.series {
        for (i, value) in series.values_srw.iter_mut().enumerate().filter(|(i, _)| i % 5 == 0) {
            *value = odd[i / 5 % odd.len()];
        }
    }
    run.phases.truncate(4);
    run.phases[0] = ReplicaPhases::default();
    run.phases[1].cleanup_end_step = None;
    run.phases[2].circuit_end_step = Some(u64::MAX);
    run.phases[3].memorisation_end_step = Some(0);
    run
}

/// The run with no value at all.
pub fn all_missing(mut run: Run) -> Run {
    for series in &mut run.series {
        series.values_srw.fill(f64::NAN);
    }
    run
}
