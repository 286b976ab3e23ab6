//! A made-up run for tests: logistic curves in the logarithm of the step.
//!
//! Reads nothing; gives series of every measure that figures read, phases, and a model made of waves of frequencies 2 and 5
//! at every checkpoint ([`MadeUp`]). Replica r groks 1 + r/10 times later than replica 0.

use std::f64::consts::TAU;

use super::{At, FigureInput, Probe};
use crate::engine::Hook;
use crate::error::{Error, Result};
use crate::measure::{Axis, Examples, HookShape, Modular, Series, Setting, SnapshotSource};
use crate::task::Op;
use crate::tensor::{Data, Tensor};
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
    /// Parameters and activations at every checkpoint.
    pub probe: MadeUp,
}

impl Run {
    /// What a figure is given.
    pub fn input(&self) -> FigureInput<'_> {
        FigureInput {
            title: "A <run> & more",
            series: &self.series,
            phases: &self.phases,
            probe: Some(&self.probe),
            at: At::default(),
        }
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
        map("neuron_clusters", "n_neurons", &|_, f| [0.0, 3.0, 0.0, 0.0, 1.0, 0.0][f - 1]),
        column("neuron_clusters", "n_clustered", "1", &|_, _| 4.0),
        map("neuron_freqs", "explained_frac", &|_, f| f as f64 / FREQUENCIES as f64),
        map("key_freqs_w_l", "is_key", &|_, f| f64::from(u8::from(is_key(f)))),
    ];
    for (measure, axis, fraction) in
        [("loss_by_position", "position", "test_acc_frac"), ("loss_by_label", "carries", "test_exact_frac")]
    {
        let axis = Some(Axis { name: axis.into(), ticks: (1..=FREQUENCIES).map(|t| t as f64).collect() });
        let late = |s: u64, t: usize| rise(s, 100.0 * t as f64);
        let loss = map(measure, "test_loss_nats", &|s, t| 4.0 * (-8.0 * late(s, t)).exp());
        series.push(Series { axis: axis.clone(), unit: "nats".into(), ..loss });
        series.push(Series { axis, unit: "fraction".into(), ..map(measure, fraction, &late) });
    }
    for (measure, columns) in [
        ("loss_by_position", &["bayes_loss_nats"][..]),
        ("error_by_position", &["test_error", "least_squares_error", "bayes_error"]),
    ] {
        let axis = Some(Axis { name: "position".into(), ticks: (1..=FREQUENCIES).map(|t| t as f64).collect() });
        for (i, column) in columns.iter().enumerate() {
            let value = |_: u64, t: usize| 5.0 * (-(t as f64) - i as f64).exp();
            series.push(Series { axis: axis.clone(), ..map(measure, column, &value) });
        }
    }
    for name in ["prefix_matching", "previous_token"] {
        let axis = Some(Axis { name: "head".into(), ticks: (0..FREQUENCIES).map(|t| t as f64).collect() });
        let scores = map("head_scores", name, &|s, t| rise(s, 300.0) / t as f64);
        series.push(Series { axis, unit: "fraction".into(), ..scores });
    }
    for (i, name) in ["embed.W_E", "pos_embed.W_pos", "blocks.0.mlp.W_in"].into_iter().enumerate() {
        series.push(column("weight_norm", name, "1", &|s, late| 10.0 + i as f64 + rise(s, 90.0 * late)));
    }
    for (measure, unit) in [("weights_trajectory", "1"), ("logits_trajectory", "nats")] {
        // Half a turn of an arch, as smooth ways have it.
        let turn = |s: u64| 0.5 * rise(s, 200.0);
        let along = |s: u64, f: usize| (TAU * turn(s) * f as f64).cos() / f as f64;
        series.push(Series { unit: unit.into(), ..map(measure, "coordinate", &along) });
        series.push(map(measure, "explained_frac", &|_, f| 1.2 / (1 << f) as f64));
    }
    for measure in ["decompose_w_e", "decompose_w_l", "decompose_neurons", "decompose_logits"] {
        for (i, method) in ["pca", "nmf", "ica", "tsne"].into_iter().enumerate() {
            for n in 1..=if method == "tsne" { 2 } else { 6 } {
                let frac = |_, late: f64| (0.95 - 0.2 * i as f64 - 0.02 * f64::from(n)) / late;
                series.push(column(measure, &format!("{method}_{n}_frac"), "fraction", &frac));
                series.push(column(measure, &format!("{method}_{n}_freq"), "waves/p", &|_, _| f64::from(n)));
            }
        }
        series.push(map(measure, "pca_1", &|_, f| f as f64));
        for (method, frac) in [("fourier", 0.8), ("pca", 0.9), ("nmf", 0.7)] {
            series.push(column(measure, &format!("{method}_explained_frac"), "fraction", &|_, late| frac / late));
        }
    }
    let phase = |seed: u64| ReplicaPhases {
        seed,
        test_99_step: Some(700 + 60 * seed),
        memorisation_end_step: Some(60),
        circuit_end_step: Some(300),
        cleanup_end_step: Some(900),
        ..ReplicaPhases::default()
    };
    Run { series, phases: (0..replicas).map(phase).collect(), probe: MadeUp::new(steps, replicas, P) }
}

/// The run with values that no logarithmic axis can show strewn in, and phases of every kind.
pub fn odd(mut run: Run) -> Run {
    let odd = [f64::NAN, f64::INFINITY, 0.0, f64::NEG_INFINITY, -1.0, 1e-300, 1e300];
    for series in &mut run.series {
        for (i, value) in series.values_srw.iter_mut().enumerate().filter(|(i, _)| i % 5 == 0) {
            *value = odd[i / 5 % odd.len()];
        }
    }
    run.probe.odd = odd.to_vec();
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
    run.probe.odd = vec![f64::NAN];
    run
}

/// The modulus of the made-up model: frequencies 1 to 6, of which 2 and 5 are key.
pub const P: usize = 13;

/// A model of x + y mod p whose weights are waves, of size step + replica / 10.
#[derive(Clone)]
pub struct MadeUp {
    steps: Vec<u64>,
    seeds: Vec<u64>,
    p: usize,
    /// Layers and heads.
    shape: (usize, usize),
    pairs: Vec<[u32; 2]>,
    targets: Vec<u32>,
    /// Whether the task says that it is modular.
    pub modular: bool,
    /// What every fifth number is instead, in turn.
    pub odd: Vec<f64>,
}

/// The run with a larger model.
pub fn large(mut run: Run) -> Run {
    run.probe = MadeUp { shape: (2, 8), ..MadeUp::new(&run.probe.steps, run.probe.seeds.len() as u64, 53) };
    run
}

/// Neurons of the made-up model.
const NEURONS: usize = 4;

impl MadeUp {
    fn new(steps: &[u64], replicas: u64, p: usize) -> MadeUp {
        let pairs: Vec<[u32; 2]> = (0..p * p).map(|n| [(n / p) as u32, (n % p) as u32]).collect();
        let targets = pairs.iter().map(|[a, b]| (a + b) % p as u32).collect();
        let (steps, seeds) = (steps.to_vec(), (0..replicas).collect());
        MadeUp { steps, seeds, p, shape: (1, 2), pairs, targets, modular: true, odd: vec![] }
    }

    fn tensor(&self, name: &str, shape: &[usize], value: impl Fn(usize) -> f64) -> Tensor {
        let odd = |i: usize| self.odd.get(i / 5 % self.odd.len().max(1)).copied().filter(|_| i.is_multiple_of(5));
        let values = (0..shape.iter().product()).map(|i| odd(i).unwrap_or_else(|| value(i))).collect();
        Tensor::new(name, shape.to_vec(), Data::F64(values)).expect("invariant: test sizes fit")
    }

    fn angle(&self, k: usize, x: usize) -> f64 {
        TAU * (k * x % self.p) as f64 / self.p as f64
    }

    /// cos and sin of frequency 2, half of those of 5.
    fn wave(&self, x: usize, column: usize) -> f64 {
        match column {
            0 => self.angle(2, x).cos(),
            1 => self.angle(2, x).sin(),
            2 => self.angle(5, x).cos() / 2.0,
            _ => self.angle(5, x).sin() / 2.0,
        }
    }
}

impl SnapshotSource for MadeUp {
    fn steps(&self) -> &[u64] {
        &self.steps
    }

    fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    fn train_mask_rn(&self) -> &[bool] {
        &[]
    }

    fn params(&self, step: u64) -> Result<Vec<Tensor>> {
        let (r, p) = (self.seeds.len(), self.p);
        let size = |i: usize, of_one: usize| step as f64 + (i / of_one) as f64 / 10.0;
        let w_e = |i: usize| size(i, 4 * (p + 1)) * self.wave(i / 4 % (p + 1), i % 4);
        let w_u = |i: usize| size(i, 4 * p) * self.wave(i % p, i / p % 4);
        let w_out = |i: usize| f64::from(u8::from(i % 16 / 4 == i % 4));
        Ok(vec![
            self.tensor("embed.W_E", &[r, p + 1, 4], w_e),
            self.tensor("blocks.0.mlp.W_out", &[r, NEURONS, 4], w_out),
            self.tensor("unembed.W_U", &[r, 4, p], w_u),
        ])
    }
}

impl Probe for MadeUp {
    fn setting(&self) -> Setting<'_> {
        let modular =
            self.modular.then_some(Modular { p: self.p, op: Some(Op::Add), pairs: &self.pairs, ops: &[], op_of: &[] });
        let examples = Examples {
            n_examples: self.pairs.len(),
            n_classes: self.p,
            targets: &self.targets,
            modular,
            ..Examples::default()
        };
        let hook = |name: String, positions: &[usize], axes: &[usize]| HookShape {
            name,
            positions: positions.to_vec(),
            axes: axes.to_vec(),
        };
        let mut hooks = vec![];
        for layer in 0..self.shape.0 {
            hooks.push(hook(format!("blocks.{layer}.attn.hook_pattern"), &[0, 1, 2], &[self.shape.1, 3]));
            hooks.push(hook(format!("blocks.{layer}.mlp.hook_post"), &[0, 1, 2], &[NEURONS]));
        }
        let setting = Setting::new(examples, &self.params(1).expect("invariant: they are made up"));
        Setting { hooks, loss_positions: vec![2], operand_positions: vec![0, 1], readout: Some(1.0), ..setting }
    }

    fn activations(&self, step: u64, r: usize, hooks: &[Hook]) -> Result<Vec<Tensor>> {
        let (n, heads, size) = (self.pairs.len(), self.shape.1, step as f64 + r as f64 / 10.0);
        let post = |i: usize| {
            let [a, b] = self.pairs[i / NEURONS].map(|x| x as usize);
            size * match i % NEURONS {
                0 => 1.0,
                1 => 1.0 + self.angle(2, a + b).cos(),
                2 => self.angle(5, a).cos() + 0.1 * self.angle(1, b).sin(),
                _ => 0.01 * self.angle(2, a).cos(),
            }
        };
        let pattern = |i: usize| {
            let ([a, b], head, key) = (self.pairs[i / (3 * heads)].map(|x| x as usize), i / 3 % heads, i % 3);
            let to_a = 0.4 + 0.3 * self.angle(2 + head, a).cos() / (1.0 + size);
            [
                to_a,
                0.8 - to_a - 0.1 * self.angle(1, b).cos() * head as f64,
                0.2 + 0.1 * self.angle(1, b).cos() * head as f64,
            ][key]
        };
        let one = |hook: &Hook| match (hook.positions.as_deref(), hook.name.rsplit('.').next()) {
            (Some([2]), Some("hook_post")) => Ok(self.tensor(&hook.name, &[n, 1, NEURONS], post)),
            (Some([2]), Some("hook_pattern")) => Ok(self.tensor(&hook.name, &[n, 1, heads, 3], pattern)),
            _ => Err(Error::Unknown { kind: "hook", name: hook.name.clone(), known: vec![] }),
        };
        hooks.iter().map(one).collect()
    }
}
