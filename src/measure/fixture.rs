//! Test subjects: a source of snapshots in memory, closed forms, and numbers written by numpy.
//!
//! Reads `tests/fixtures/measures.txt` (made by `measures.py` beside it); each line is a name, sizes and values.

use super::subject::Matrix;
use super::*;
use crate::engine::Hook;
use crate::task::Op;
use crate::tensor::{Data, Tensor};

/// Snapshots in memory; the logits of a checkpoint travel as the parameter `logits`.
pub(super) struct Memory {
    pub(super) steps: Vec<u64>,
    pub(super) seeds: Vec<u64>,
    pub(super) mask_rn: Vec<bool>,
    pub(super) params_s: Vec<Vec<Tensor>>,
}

impl SnapshotSource for Memory {
    fn steps(&self) -> &[u64] {
        &self.steps
    }

    fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    fn train_mask_rn(&self) -> &[bool] {
        &self.mask_rn
    }

    fn params(&self, step: u64) -> Result<Vec<Tensor>> {
        let s = self.steps.iter().position(|&s| s == step).expect("invariant: the driver asks for steps there are");
        Ok(self.params_s[s].clone())
    }
}

/// A model whose logits are one of its parameters.
struct Given;

impl Forward for Given {
    fn observe(&self, params: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        let given = |hook: &Hook| {
            let name = hook.name.trim_end_matches(".at_loss");
            Matrix::of(params, name)?;
            Ok(params.iter().find(|tensor| tensor.name == name).expect("invariant: found above").clone())
        };
        hooks.iter().map(given).collect()
    }

    fn logit_gradients(&self, params: &[Tensor], _: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.observe(params, hooks)
    }
}

/// A model that must not be run.
struct Never;

impl Forward for Never {
    fn observe(&self, _: &[Tensor], _: &[Hook]) -> Result<Vec<Tensor>> {
        Err(Error::Value { what: "forward".into(), got: "called".into(), expected: "never called".into() })
    }

    fn logit_gradients(&self, params: &[Tensor], _: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.observe(params, hooks)
    }
}

pub(super) fn tensor(name: &str, shape: &[usize], values: Vec<f64>) -> Tensor {
    Tensor::new(name, shape.to_vec(), Data::F64(values)).expect("invariant: test sizes fit")
}

/// With a leading replica axis of one.
pub(super) fn grown(params: &[Tensor]) -> Vec<Tensor> {
    params.iter().map(|t| Tensor { shape: [&[1], t.shape.as_slice()].concat(), ..t.clone() }).collect()
}

/// All pairs mod p and their answers.
pub(super) fn grid(p: usize, op: Op) -> (Vec<[u32; 2]>, Vec<u32>) {
    let p = p as u32;
    let pairs: Vec<[u32; 2]> = (0..p * p).map(|n| [n / p, n % p]).collect();
    let answer = |&[a, b]: &[u32; 2]| match op {
        Op::Sub => (a + p - b) % p,
        Op::Mul => a * b % p,
        _ => (a + b) % p,
    };
    let targets = pairs.iter().map(answer).collect();
    (pairs, targets)
}

pub(super) fn setting<'a>(
    p: usize,
    op: Op,
    pairs: &'a [[u32; 2]],
    targets: &'a [u32],
    params: &[Tensor],
) -> Setting<'a> {
    let n_classes = params.iter().find(|t| t.name == "logits").map_or(p, |t| t.shape[t.shape.len() - 1]);
    let examples = Examples { n_examples: pairs.len(), n_classes, targets, modular: Some(Modular { p, op, pairs }) };
    let own: Vec<Tensor> = params.iter().filter(|t| t.name != "logits").cloned().collect();
    Setting::new(examples, &own)
}

/// One replica at one checkpoint: every number of a measure, columns after one another.
fn numbers(name: &str, p: usize, op: Op, mask: &[bool], params: &[Tensor]) -> Result<Vec<f64>> {
    let (pairs, targets) = grid(p, op);
    let params = grown(params);
    let setting = setting(p, op, &pairs, &targets, &params);
    let source = Memory { steps: vec![3], seeds: vec![0], mask_rn: mask.to_vec(), params_s: vec![params] };
    let series = measure(&[name], &source, &setting, &Given, 0..=10, &mut |_, _| Ok(()))?;
    Ok(series.into_iter().flat_map(|series| series.values_srw).collect())
}

/// A model of which every matrix is the wave of frequency `k`, with logits `logit(a, b, c)`.
fn wave_model(p: usize, k: usize, logit: impl Fn(usize, usize, usize) -> f64) -> Vec<Tensor> {
    let wave = |x: usize| (std::f64::consts::TAU * ((k * x) % p) as f64 / p as f64).cos();
    let logits = (0..p * p * p).map(|i| logit(i / p / p, i / p % p, i % p)).collect();
    vec![
        tensor("embed.W_E", &[p, 1], (0..p).map(wave).collect()),
        tensor("blocks.0.mlp.W_out", &[2, 1], vec![1.0, -2.0]),
        tensor("unembed.W_U", &[1, p], (0..p).map(wave).collect()),
        tensor("logits", &[p * p, p], logits),
    ]
}

pub(super) fn close(got: &[f64], expected: &[f64], tolerance: f64) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(x, y)| (x - y).abs() <= tolerance * (1.0 + y.abs()))
}

#[test]
fn waves_of_the_sum_at_a_key_frequency_are_all_that_restricted_loss_keeps_and_excluded_loss_drops() {
    let (p, k) = (11, 4);
    let mask: Vec<bool> = (0..p * p).map(|n| n % 3 == 0).collect();
    let angle = |s: usize| std::f64::consts::TAU * (k * s) as f64 / p as f64;
    // Every row is a rotation of the same numbers, so every example has the same loss.
    let each: f64 = (0..p).map(|s| (5.0 * angle(s).cos()).exp()).sum::<f64>().ln() - 5.0;
    for (op, model) in [
        (Op::Add, wave_model(p, k, |a, b, c| 5.0 * angle(a + b + p - c).cos())),
        (Op::Sub, wave_model(p, k, |a, b, c| 5.0 * angle(a + 2 * p - b - c).cos())),
    ] {
        let run = |name| numbers(name, p, op, &mask, &model).expect("it fits");
        assert!(close(&run("loss"), &[each, each, 1.0, 1.0], 1e-13), "{:?}", run("loss"));
        assert!(close(&run("restricted_loss"), &[each; 3], 1e-12), "{:?}", run("restricted_loss"));
        assert!(close(&run("excluded_loss"), &[(p as f64).ln()], 1e-12), "{:?}", run("excluded_loss"));
        assert!(close(&run("trig_logits_explained"), &[1.0], 1e-12));
        assert_eq!(run("key_freqs_w_l"), [0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(run("key_freqs_w_e"), [0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        // One of eleven components: Gini is 10/11, and the norm of a cosine is √(p/2).
        assert!(close(&run("gini"), &[10.0 / 11.0; 2], 1e-12));
        assert!(close(&run("fourier_norm_w_e"), &[0.0, 0.0, 0.0, 5.5f64.sqrt(), 0.0], 1e-12));
        // W_E and W_U: p/2 each; W_out: 1 + 4.
        let half = 5.5f64.sqrt();
        assert!(close(&run("weight_norm"), &[16.0, half, 5f64.sqrt(), half], 1e-12), "{:?}", run("weight_norm"));
    }
}

#[test]
fn the_last_frequency_of_an_even_modulus_has_a_cosine_alone() {
    let p = 6;
    let mask: Vec<bool> = (0..p * p).map(|n| n % 2 == 0).collect();
    let model = wave_model(p, 3, |a, b, c| if (a + b + c) % 2 == 0 { 2.0 } else { -2.0 });
    let run = |name| numbers(name, p, Op::Add, &mask, &model).expect("it fits");
    // Three classes of the right parity at 2, three at -2.
    let each = (3.0 + 3.0 * (-4f64).exp()).ln();
    assert!(close(&run("restricted_loss"), &[each; 3], 1e-12), "{:?}", run("restricted_loss"));
    assert!(close(&run("excluded_loss"), &[6f64.ln()], 1e-12), "{:?}", run("excluded_loss"));
    assert_eq!(run("key_freqs_w_l"), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn waves_of_the_difference_are_dropped_by_restricted_loss_and_a_class_bias_is_kept() {
    let (p, k) = (7, 2);
    let mask = vec![true; p * p];
    let angle = |s: usize| std::f64::consts::TAU * (k * s) as f64 / p as f64;
    let model = wave_model(p, k, |a, b, c| 3.0 * angle(a + p - b + c).cos() + c as f64);
    let run = |name| numbers(name, p, Op::Add, &mask, &model).expect("it fits");
    // What is left is the bias c: the mean over targets of ln Σ exp c − target.
    let bias_loss = (0..p).map(|c| (c as f64).exp()).sum::<f64>().ln() - 3.0;
    let restricted = run("restricted_loss");
    assert!(close(&restricted[..2], &[bias_loss; 2], 1e-12), "{restricted:?}");
    assert!(restricted[2].is_nan(), "the test split is empty");
    assert!(close(&run("trig_logits_explained"), &[0.0], 1e-12));
    assert!(close(&run("excluded_loss"), &run("loss")[..1], 1e-12), "nothing to take away");
}

#[test]
fn uniform_logits_cost_ln_p_everywhere_and_a_nan_spoils_the_row_alone() {
    let p = 5;
    let mask: Vec<bool> = (0..p * p).map(|n| n < 10).collect();
    let mut model = wave_model(p, 1, |_, _, _| 0.1);
    let ln_p = (p as f64).ln();
    let run = |model: &[Tensor], name| numbers(name, p, Op::Add, &mask, model).expect("it fits");
    // Ties go to class 0, the answer of one in five pairs.
    assert!(close(&run(&model, "loss"), &[ln_p, ln_p, 0.2, 0.2], 1e-13));
    assert!(close(&run(&model, "restricted_loss"), &[ln_p; 3], 1e-13));
    assert!(close(&run(&model, "excluded_loss"), &[ln_p], 1e-13));
    assert!(run(&model, "trig_logits_explained")[0].is_nan(), "nothing varies");
    let Data::F64(logits) = &mut model[3].data else { unreachable!() };
    logits[0] = f64::NAN;
    let loss = run(&model, "loss");
    assert!(loss[0].is_nan() && loss[2].is_nan() && close(&[loss[1], loss[3]], &[ln_p, 0.2], 1e-13), "{loss:?}");
}

#[test]
fn numpy_gives_the_same_numbers() {
    let lines: Vec<(String, Tensor)> = include_str!("../../tests/fixtures/measures.txt").lines().map(parse).collect();
    let get = |name: &str| &lines.iter().find(|(n, _)| n == name).expect("the fixture has it").1;
    let mask: Vec<bool> = get("train_mask").to_f64().iter().map(|&x| x == 1.0).collect();
    let params = ["embed.W_E", "blocks.0.mlp.W_in", "blocks.0.mlp.b_in", "blocks.0.mlp.W_out", "unembed.W_U"];
    for (prefix, op) in [("add", Op::Add), ("sub", Op::Sub)] {
        let mut model: Vec<Tensor> = params.iter().map(|&name| get(name).clone()).collect();
        model.push(Tensor { name: "logits".into(), ..get(&format!("{prefix}.logits")).clone() });
        let (pairs, targets) = grid(7, op);
        let asked = setting(7, op, &pairs, &targets, &grown(&model));
        for measure in ALL.iter().filter(|measure| !fixture_circuits::HAS.contains(&measure.name())) {
            let own = format!("{prefix}.{}", measure.name());
            let reads_logits = !measure.needs_hooks(&asked).is_empty();
            let name = if reads_logits { own.as_str() } else { measure.name() };
            let expected = get(name).to_f64();
            let got = numbers(measure.name(), 7, op, &mask, &model).expect("it fits");
            let why = "if the definition changed on purpose, run tests/fixtures/measures.py again";
            assert!(close(&got, &expected, 1e-12), "{name}: got {got:?}, numpy gives {expected:?}; {why}");
        }
    }
}

pub(super) fn parse(line: &str) -> (String, Tensor) {
    let mut fields = line.split(' ');
    let (name, sizes) = (fields.next().expect("a name"), fields.next().expect("sizes"));
    let shape: Vec<usize> = sizes.split('x').map(|size| size.parse().expect("a size")).collect();
    (name.to_owned(), tensor(name, &shape, fields.map(|x| x.parse().expect("a number")).collect()))
}

/// Two replicas over three checkpoints of the random model, scaled so that each differs.
fn memory(p: usize) -> Memory {
    let base = wave_model(p, 2, |a, b, c| ((a * 31 + b * 17 + c * 7) % 13) as f64 / 6.0);
    let at = |s: usize| {
        let replicas = |t: &Tensor| {
            let two = [1.0, 1.5].map(|r| t.to_f64().iter().map(|x| x * (s as f64 + r)).collect::<Vec<_>>()).concat();
            tensor(&t.name, &[&[2], t.shape.as_slice()].concat(), two)
        };
        base.iter().map(replicas).collect()
    };
    let mask_rn = (0..2 * p * p).map(|i| i % 5 < 2).collect();
    Memory { steps: vec![0, 50, 100], seeds: vec![4, 9], mask_rn, params_s: (0..3).map(at).collect() }
}

#[test]
fn the_number_of_threads_changes_no_bit_and_rows_stand_in_order() {
    let p = 7;
    let source = memory(p);
    let (pairs, targets) = grid(p, Op::Add);
    let setting = setting(p, Op::Add, &pairs, &targets, &source.params_s[0]);
    let names: Vec<&str> = ALL.iter().filter(|m| m.fits(&setting).is_ok()).map(|measure| measure.name()).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| measure(&names, &source, &setting, &Given, 0..=100, &mut |_, _| Ok(())).expect("it fits"))
    };
    let bits = |series: &[Series]| -> Vec<u64> {
        series.iter().flat_map(|series| series.values_srw.iter().map(|x| x.to_bits())).collect()
    };
    let one = run(1);
    for threads in [2, 4, 7] {
        assert_eq!(bits(&run(threads)), bits(&one), "{threads} threads");
    }
    let norm = one.iter().find(|series| series.column == "embed.W_E").expect("weight_norm has it");
    for (s, r) in [(0, 0), (0, 1), (1, 0), (2, 1)] {
        let expected = (s as f64 + [1.0, 1.5][r]) * 3.5f64.sqrt();
        assert!((norm.at(s, r)[0] - expected).abs() < 1e-12, "checkpoint {s}, replica {r}");
    }
}

#[test]
fn the_range_chooses_checkpoints_and_weight_measures_run_no_forward_pass() {
    let p = 7;
    let source = memory(p);
    let (pairs, targets) = grid(p, Op::Add);
    let setting = setting(p, Op::Add, &pairs, &targets, &source.params_s[0]);
    let mut seen = vec![];
    let mut note = |done, of| {
        seen.push((done, of));
        Ok(())
    };
    let series = measure(&["weight_norm"], &source, &setting, &Never, 1..=60, &mut note).expect("no forward pass");
    assert_eq!((series[0].steps.as_slice(), series[0].seeds.as_slice()), (&[50][..], &[4, 9][..]));
    assert_eq!(seen.last(), Some(&(1, 1)));
    let run = |names: &[&str], range| measure(names, &source, &setting, &Given, range, &mut |_, _| Ok(()));
    assert!(matches!(run(&["loss"], 1..=2), Err(Error::Value { .. })), "no checkpoint in the range");
    assert!(matches!(run(&["los"], 0..=100), Err(Error::Unknown { .. })));
}

#[test]
fn keys_come_from_the_last_checkpoint_of_the_range() {
    let (p, k) = (7, 2);
    let angle = |k: usize, s: usize| std::f64::consts::TAU * (k * s) as f64 / p as f64;
    let model = |key| wave_model(p, key, |a, b, c| 3.0 * angle(k, a + b + p - c).cos());
    let (pairs, targets) = grid(p, Op::Add);
    let params_s = vec![grown(&model(3)), grown(&model(k))];
    let setting = setting(p, Op::Add, &pairs, &targets, &params_s[0]);
    let source = Memory { steps: vec![0, 1], seeds: vec![0], mask_rn: vec![true; p * p], params_s };
    let excluded = |range| {
        let series = measure(&["excluded_loss"], &source, &setting, &Given, range, &mut |_, _| Ok(()));
        series.expect("it fits")[0].values_srw[0]
    };
    assert!((excluded(0..=1) - (p as f64).ln()).abs() < 1e-12, "key 2, of checkpoint 1, is in the logits");
    assert!(excluded(0..=0) < 1.0, "key 3, of checkpoint 0, is not");
}

#[test]
fn a_measure_that_does_not_fit_says_why() {
    let p = 5;
    let model = wave_model(p, 1, |_, _, _| 0.0);
    let reason = |name, op| numbers(name, p, op, &[true; 25], &model).expect_err("it does not fit").to_string();
    assert!(reason("restricted_loss", Op::Mul).contains("multiplicative"), "{}", reason("restricted_loss", Op::Mul));
    let (mut pairs, targets) = grid(p, Op::Add);
    pairs.swap(0, 1);
    let mut setting = setting(p, Op::Add, &pairs, &targets, &grown(&model));
    assert!(find("excluded_loss").is_ok_and(|m| m.fits(&setting).is_err_and(|why| why.contains("in order"))));
    setting.examples.modular = None;
    for measure in ALL {
        let free = ["loss", "weight_norm", "logits_pca", "logits_trajectory", "weights_trajectory"];
        let free = free.contains(&measure.name());
        assert_eq!(measure.fits(&setting).is_ok(), free, "{} without a modulus", measure.name());
    }
}
