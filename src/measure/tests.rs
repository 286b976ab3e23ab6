//! Measures against closed forms, and against numbers written by numpy.
//!
//! Reads `tests/fixtures/measures.txt` (made by `measures.py` beside it); each line is a name, sizes and values.

use super::fixture::{Given, Memory, Never, close, grid, grown, parse, setting, tensor};
use super::*;
use crate::engine::Hook;
use crate::spec::{BasisOrder, KeyFreqsAt, KeyFreqsBy, KeyRule, MeasureSpec};
use crate::task::{Op, Operation};
use crate::tensor::{Data, Tensor};

#[test]
fn every_measure_has_its_file_and_all_headings() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/measure");
    for measure in ALL {
        let name = measure.name();
        assert!(folder.join(format!("{name}.rs")).is_file(), "{name} has no file of its name");
        assert!(!measure.summary().is_empty() && !measure.summary().contains('\n'), "{name}: summary is one line");
        let explain = measure.explain();
        let headings: Vec<&str> = explain.lines().filter(|line| !line.starts_with(' ')).collect();
        let expected = ["What it is", "Reads", "Unit and range", "Value at a known point", "Source"];
        assert_eq!(headings, expected, "{name}: headings of explain");
        assert!(explain.lines().all(|line| line.len() <= 120), "{name}: a line is too long for a terminal");
    }
}

#[test]
fn names_are_unique_and_found_and_slips_are_hinted_at() {
    for (index, measure) in ALL.iter().enumerate() {
        assert_eq!(ALL.iter().position(|other| other.name() == measure.name()), Some(index));
        assert!(find(measure.name()).is_ok_and(|found| found.name() == measure.name()));
    }
    let error = find("exclude_loss").err();
    assert_eq!(error.and_then(|e| e.hint()).as_deref(), Some("did you mean `excluded_loss`?"));
}

/// One replica at one checkpoint: every number of a measure, columns after one another.
fn numbers(name: &str, p: usize, op: Op, mask: &[bool], params: &[Tensor]) -> Result<Vec<f64>> {
    numbers_with(MeasureSpec::default(), name, (p, op), mask, params)
}

fn numbers_with(
    options: MeasureSpec,
    name: &str,
    (p, op): (usize, Op),
    mask: &[bool],
    params: &[Tensor],
) -> Result<Vec<f64>> {
    let (pairs, targets) = grid(p, op);
    let params = grown(params);
    let setting = Setting { options, ..setting(p, op, &pairs, &targets, &params) };
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

/// A model of which neurons, W_L and logits are waves of the frequencies 2 and 4: neurons cos and sin of each.
fn circuit(p: usize) -> Vec<Tensor> {
    let angle = |k: usize, s: usize| std::f64::consts::TAU * ((k * s) % p) as f64 / p as f64;
    let waves = |s: usize| [2, 4].into_iter().flat_map(move |k| [angle(k, s).cos(), angle(k, s).sin()]);
    let logit = |i: usize| {
        let (s, c) = (i / p / p + i / p % p, i % p);
        waves(s).zip(waves(c)).zip([3.0, 3.0, 2.0, 2.0]).map(|((x, y), alpha)| alpha * x * y).sum::<f64>()
    };
    let eye = |n: usize| (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect::<Vec<f64>>();
    let w_u: Vec<f64> =
        (0..4 * p).map(|i| [3.0, 3.0, 2.0, 2.0][i / p] * waves(i % p).nth(i / p).unwrap_or(0.0)).collect();
    vec![
        tensor("embed.W_E", &[p, 4], (0..p).flat_map(waves).collect()),
        tensor("blocks.0.mlp.W_in", &[4, 4], eye(4)),
        tensor("blocks.0.mlp.W_out", &[4, 4], eye(4)),
        tensor("unembed.W_U", &[4, p], w_u),
        tensor("logits", &[p * p, p], (0..p * p * p).map(logit).collect()),
        tensor("blocks.0.mlp.hook_post", &[p * p, 1, 4], (0..p * p).flat_map(|i| waves(i / p + i % p)).collect()),
    ]
}

#[test]
fn a_circuit_of_two_frequencies_has_known_numbers_in_every_measure() {
    let p = 11;
    let mask: Vec<bool> = (0..p * p).map(|n| n % 3 == 0).collect();
    let model = circuit(p);
    let run = |name| numbers(name, p, Op::Add, &mask, &model).expect("it fits");
    let is = |name, expected: &[f64]| assert!(close(&run(name), expected, 1e-12), "{name}: {:?}", run(name));
    let plain = run("loss")[0];
    let ln_p = (p as f64).ln();
    let keys = [0.0, 1.0, 0.0, 1.0, 0.0, 2.0];
    for name in ["key_freqs_w_e", "key_freqs_w_e_norm", "key_freqs_w_l", "key_freqs_neurons", "key_freqs_used"] {
        is(name, &keys);
    }
    is("restricted_loss_protocols", &[vec![1.0; 3], vec![plain; 18]].concat());
    // The accuracy first: without the waves all classes are equal but for rounding, and have none that is known.
    let excluded = run("excluded_loss_protocols");
    assert!(excluded.len() == 4 && close(&excluded[1..], &[ln_p; 3], 1e-12), "{excluded:?}");
    let mut biased = circuit(p);
    let Data::F64(logits) = &mut biased[4].data else { unreachable!() };
    logits.chunks_exact_mut(p).for_each(|logits_c| logits_c[3] += 0.5);
    // With a bias the class that has it is answered everywhere.
    let right = |n: &usize| (n / p + n % p) % p == 3;
    let train = || (0..p * p).filter(|n| n % 3 == 0);
    let expected = train().filter(right).count() as f64 / train().count() as f64;
    let excluded = numbers("excluded_loss_protocols", p, Op::Add, &mask, &biased).expect("it fits");
    assert!((excluded[0] - expected).abs() < 1e-15, "{excluded:?}, expected {expected}");
    let each = run("excluded_loss_each");
    assert!(close(&[each[0], each[2], each[4]], &[plain; 3], 1e-12) && each[1] > plain && each[3] > plain, "{each:?}");
    assert!(close(&each[..5], &each[5..10], 1e-12) && close(&each[..5], &each[10..], 1e-12), "{each:?}");
    let norm = ((p * p * p) as f64 / 2.0).sqrt();
    let cos_sim = [3.0, 2.0].map(|alpha| alpha / 13f64.sqrt());
    let at_keys = |x: [f64; 2]| [0.0, x[0], 0.0, x[1], 0.0];
    let fit = [at_keys([3.0 * norm, 2.0 * norm]), at_keys([3.0, 2.0]), at_keys(cos_sim)].concat();
    let fit = [fit, vec![1.0, 1.0, 0.0, 0.0]].concat();
    is("logits_cube_fit", &fit);
    let nan = f64::NAN;
    let explained = [nan, 1.0, nan, 1.0, nan];
    is("mlp_directions_explained", &[explained.as_slice(), &explained, &[1.0, 1.0]].concat());
    // Singular values 3, 3, 2, 2 times √(p/2): all four are above a twentieth and each holds more than 1 %.
    is("w_l_rank", &[4.0, 4.0, 1.0, 0.0, 0.0]);
    is("neuron_freqs", &[2.0, 2.0, 4.0, 4.0, 1.0, 1.0, 1.0, 1.0]);
    is("neuron_clusters", &[0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.5, 0.0, 0.5, 0.0, 2.0, 4.0, 0.0, 1.0]);
    is("neuron_ipr", &[[1.0; 4], [2.0, 2.0, 4.0, 4.0], [1.0; 4], [2.0, 2.0, 4.0, 4.0]].concat());
    // W_E has both frequencies alike; W_L has powers 9 and 4: (81 + 16) / 169.
    is("ipr", &[0.5, 97.0 / 169.0, 1.0, 0.5, 1.0, 0.5]);
    // W_E: four singular values alike. W_L: 3, 3, 2, 2.
    let entropy = -2.0 * (0.3 * 0.3f64.ln() + 0.2 * 0.2f64.ln());
    let w_l = [entropy.exp(), 26.0 / 9.0];
    is("effective_rank", &[&[4.0; 6], w_l.as_slice(), &w_l].concat());
    let root = (p as f64 / 2.0).sqrt();
    let components = [0.0, 0.0, 0.0, root, root, 0.0, 0.0, root, root, 0.0, 0.0];
    let scaled = [0.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0].map(|x| x * root);
    is("fourier_components", &[components, scaled].concat());
}

#[test]
fn the_order_of_the_basis_swaps_cos_and_sin() {
    let p = 5;
    let model = wave_model(p, 1, |_, _, _| 0.0);
    let options = MeasureSpec { basis_order: BasisOrder::SinCos, ..MeasureSpec::default() };
    let found = numbers_with(options, "fourier_components", (p, Op::Add), &[true; 25], &model).expect("it fits");
    assert!(close(&found[..5], &[0.0, 0.0, 2.5f64.sqrt(), 0.0, 0.0], 1e-12), "{found:?}");
}

#[test]
fn key_frequencies_come_from_the_rule_that_was_chosen_and_the_series_says_so() {
    let p = 11;
    let mut model = circuit(p);
    // The embedding has 3 alone; neurons have 2 alone, since those of 4 are drowned.
    model[0] = tensor("embed.W_E", &[p, 1], wave_model(p, 3, |_, _, _| 0.0)[0].to_f64());
    let Data::F64(neurons) = &mut model[5].data else { unreachable!() };
    let noise = |i: usize| if i % 4 >= 2 { ((i * i * 31 + i * 7) % 101) as f64 / 10.0 } else { 0.0 };
    neurons.iter_mut().enumerate().for_each(|(i, x)| *x += noise(i));
    let with = |key_freqs: KeyFreqsBy| MeasureSpec { key_freqs, ..MeasureSpec::default() };
    for (by, expected) in [
        (KeyFreqsBy::Rule(KeyRule::WE), vec![3.0]),
        (KeyFreqsBy::Rule(KeyRule::WENorm), vec![3.0]),
        (KeyFreqsBy::Rule(KeyRule::WL), vec![2.0, 4.0]),
        (KeyFreqsBy::Rule(KeyRule::Neurons), vec![2.0]),
        (KeyFreqsBy::List(vec![5, 1]), vec![1.0, 5.0]),
    ] {
        for key_freqs_at in [KeyFreqsAt::Last, KeyFreqsAt::Each] {
            let options = MeasureSpec { key_freqs_at, ..with(by.clone()) };
            let found = numbers_with(options, "key_freqs_used", (p, Op::Add), &[true; 121], &model).expect("it fits");
            let keys = (1..=5).filter(|&k| found[k - 1] == 1.0).map(|k| k as f64).collect::<Vec<_>>();
            assert_eq!(keys, expected, "{by:?}, {key_freqs_at:?}");
        }
    }
    // A threshold that the rule reads: W_L's norms are as 3 to 2.
    let strict = MeasureSpec { key_frac: 0.7, ..MeasureSpec::default() };
    let found = numbers_with(strict, "key_freqs_used", (p, Op::Add), &[true; 121], &model).expect("it fits");
    assert_eq!(found, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let beyond = numbers_with(with(KeyFreqsBy::List(vec![6])), "excluded_loss", (p, Op::Add), &[true; 121], &model);
    assert!(beyond.is_err_and(|e| e.to_string().contains("above 5")));
}

#[test]
fn keys_anew_at_each_checkpoint_follow_the_checkpoint() {
    let (p, k) = (7, 2);
    let angle = |k: usize, s: usize| std::f64::consts::TAU * (k * s) as f64 / p as f64;
    let model = |key| wave_model(p, key, |a, b, c| 3.0 * angle(key, a + b + p - c).cos());
    let (pairs, targets) = grid(p, Op::Add);
    let params_s = vec![grown(&model(3)), grown(&model(k))];
    let setting = setting(p, Op::Add, &pairs, &targets, &params_s[0]);
    let options = MeasureSpec { key_freqs_at: KeyFreqsAt::Each, ..MeasureSpec::default() };
    let setting = Setting { options, ..setting };
    let source = Memory { steps: vec![0, 1], seeds: vec![0], mask_rn: vec![true; p * p], params_s };
    let series =
        measure(&["excluded_loss", "loss"], &source, &setting, &Given, 0..=1, &mut |_, _| Ok(())).expect("it fits");
    assert!(close(&series[0].values_srw, &[(p as f64).ln(); 2], 1e-12), "{:?}", series[0].values_srw);
    assert_eq!(
        series[0].key_freqs.as_deref(),
        Some("by rule w_l, norm at least 0.25 of the largest, anew at each checkpoint")
    );
    assert_eq!(series[1].key_freqs, None);
}

/// Counts forward passes over all pairs.
struct Counted(std::sync::atomic::AtomicUsize);

impl Forward for Counted {
    fn observe(&self, params: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Given.observe(params, hooks)
    }

    fn logit_gradients(&self, params: &[Tensor], which: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Given.logit_gradients(params, which, hooks)
    }
}

#[test]
fn all_measures_on_one_checkpoint_of_one_replica_run_the_model_at_most_8_times() {
    let p = 7;
    let source = memory(p);
    let (pairs, targets) = grid(p, Op::Add);
    let setting = setting(p, Op::Add, &pairs, &targets, &source.params_s[0]);
    let names: Vec<&str> =
        ALL.iter().map(|m| m.name()).filter(|name| find(name).is_ok_and(|m| m.fits(&setting).is_ok())).collect();
    assert!(names.len() >= 24, "{names:?}");
    for key_freqs_at in [KeyFreqsAt::Last, KeyFreqsAt::Each] {
        for rule in KeyRule::ALL {
            let options = MeasureSpec { key_freqs_at, key_freqs: KeyFreqsBy::Rule(*rule), ..MeasureSpec::default() };
            let setting = Setting { options, ..setting.clone() };
            let counted = Counted(Default::default());
            measure(&names, &source, &setting, &counted, 0..=100, &mut |_, _| Ok(())).expect("they fit");
            // Three checkpoints of two replicas.
            let passes = counted.0.into_inner();
            assert!(passes <= 8 * 6, "{passes} passes for 6 models, rule {}", rule.name());
        }
    }
}

#[test]
fn losses_without_each_frequency_are_right_where_products_of_exponentials_overflow() {
    let p = 5;
    let angle = |k: usize, s: usize| std::f64::consts::TAU * (k * s) as f64 / p as f64;
    let mask: Vec<bool> = (0..p * p).map(|n| n % 2 == 0).collect();
    for scale in [1.0, 150.0, 2000.0] {
        let model = wave_model(p, 1, |a, b, c| {
            scale * (angle(1, a + b + p - c).cos() + ((a * 3 + b * 5 + c) % 4) as f64 - angle(2, a + c).sin())
        });
        let each = numbers("excluded_loss_each", p, Op::Add, &mask, &model).expect("it fits");
        for k in [1, 2] {
            let options = MeasureSpec { key_freqs: KeyFreqsBy::List(vec![k]), ..MeasureSpec::default() };
            let run = |name| numbers_with(options.clone(), name, (p, Op::Add), &mask, &model).expect("it fits");
            let (sum, others) = (run("excluded_loss")[0], run("excluded_loss_protocols"));
            let expected = [sum, others[1], others[2]];
            let got = [each[k - 1], each[k + 1], each[k + 3]];
            assert!(close(&got, &expected, 1e-11), "scale {scale}, frequency {k}: {got:?}, one by one {expected:?}");
        }
    }
}

/// A class that lies 760 nats below the target until waves of 190 nats along a + b and along a - b are taken from both, and 5 above it
/// after.
#[test]
fn a_class_that_underflows_counts_again_when_the_waves_are_gone() {
    let p = 5;
    let cos = |s: usize| (std::f64::consts::TAU * s as f64 / p as f64).cos();
    let mask: Vec<bool> = (0..p * p).map(|n| n == 0).collect();
    let (height, bias) = ([190.0, -190.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0, 0.0]);
    let model = wave_model(p, 1, |a, b, c| height[c] * (cos(a + b) + cos(a + p - b)) + bias[c]);
    let each = numbers("excluded_loss_each", p, Op::Add, &mask, &model).expect("it fits");
    let expected = (1.0 + 5f64.exp() + 3.0).ln();
    // Columns sum, blocks, cube of the frequencies 1 and 2.
    assert!((each[2] - expected).abs() < 1e-10, "{each:?}, expected {expected}");
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

/// Those of toy models, which have no task: tested in their own files.
const OF_TOYS: [&str; 12] = [
    "features",
    "polytopes",
    "population_loss",
    "polygon_level",
    "polysemanticity",
    "privileged_basis",
    "adversarial_vulnerability",
    "data_dimensionality",
    "linear_probes",
    "additivity",
    "learning_coefficient",
    "class_accuracy",
];

/// Those of sequences and attention heads: tested in their own files.
const OF_SEQUENCES: [&str; 8] = [
    "exact_accuracy",
    "loss_by_position",
    "loss_by_label",
    "error_by_position",
    "error_by_label",
    "allowed_answers",
    "head_scores",
    "copying_score",
];

/// The results of runs of toy models have a column a number, by its name alone.
#[test]
fn numbers_of_toy_models_have_names_of_their_own() {
    let text = "[toy]\npoints = 10\n[optim]\nwarmup_steps = 0\n";
    let source = crate::spec::Source { path: std::path::Path::new("toys.toml"), text, sets: &[] };
    let spec: crate::spec::Spec = crate::spec::from_toml(source, |_| vec![]).expect("it is a spec");
    let toy = spec.toy.as_ref().expect("it has the section");
    let replicas = toy.replicas(&[0]).expect("it has replicas").into();
    let examples = Examples::default();
    let setting =
        Setting { toy: Some(ToySetting { spec: toy, replicas, descent_rate: None }), ..Setting::new(examples, &[]) };
    let of_toys = ALL.iter().filter(|measure| OF_TOYS.contains(&measure.name()));
    let scalars = of_toys.flat_map(|measure| measure.columns(&setting)).filter(|column| column.axis.is_none());
    let mut names: Vec<String> = scalars.map(|column| column.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
    assert!(names.len() > 20);
}

#[test]
fn numpy_gives_the_same_numbers() {
    let lines: Vec<(String, Tensor)> = include_str!("../../tests/fixtures/measures.txt").lines().map(parse).collect();
    let get = |name: &str| &lines.iter().find(|(n, _)| n == name).expect("the fixture has it").1;
    let mask: Vec<bool> = get("train_mask").to_f64().iter().map(|&x| x == 1.0).collect();
    let params = ["embed.W_E", "blocks.0.mlp.W_in", "blocks.0.mlp.b_in", "blocks.0.mlp.W_out", "unembed.W_U"];
    for (prefix, op) in [("add", Op::Add), ("sub", Op::Sub), ("mul", Op::Mul)] {
        let mut model: Vec<Tensor> = params.iter().map(|&name| get(name).clone()).collect();
        model.push(Tensor { name: "logits".into(), ..get(&format!("{prefix}.logits")).clone() });
        let neurons = get(&format!("{prefix}.blocks.0.mlp.hook_post"));
        model.push(tensor("blocks.0.mlp.hook_post", &[49, 1, 6], neurons.to_f64()));
        let elsewhere =
            |name| tests_circuits::HAS.contains(&name) || OF_TOYS.contains(&name) || OF_SEQUENCES.contains(&name);
        for measure in ALL.iter().filter(|measure| !elsewhere(measure.name())) {
            let own = format!("{prefix}.{}", measure.name());
            let name = if lines.iter().any(|(name, _)| *name == own) { own.as_str() } else { measure.name() };
            let expected = get(name).to_f64();
            let got = numbers(measure.name(), 7, op, &mask, &model).expect("it fits");
            let why = "if the definition changed on purpose, run tests/fixtures/measures.py again";
            assert!(close(&got, &expected, 1e-12), "{name}: got {got:?}, numpy gives {expected:?}; {why}");
        }
    }
}

/// Two replicas over three checkpoints of the random model, scaled so that each differs.
fn memory(p: usize) -> Memory {
    let mut base = wave_model(p, 2, |a, b, c| ((a * 31 + b * 17 + c * 7) % 13) as f64 / 6.0);
    base.push(tensor("blocks.0.mlp.W_in", &[1, 2], vec![0.5, -1.5]));
    let neuron = |i: usize| ((i * 29) % 17) as f64 / 9.0 - 0.4;
    base.push(tensor("blocks.0.mlp.hook_post", &[p * p, 1, 2], (0..2 * p * p).map(neuron).collect()));
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
    let twice = run(&["loss", "weight_norm", "loss"], 0..=100).expect("they fit");
    assert_eq!(
        twice,
        run(&["loss", "weight_norm"], 0..=100).expect("they fit"),
        "a name that stands twice counts once"
    );
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
    let p = 4;
    let model = wave_model(p, 1, |_, _, _| 0.0);
    let reason = |name, op| numbers(name, p, op, &[true; 16], &model).expect_err("it does not fit").to_string();
    assert!(reason("restricted_loss", Op::Mul).contains("multiplicative"), "{}", reason("restricted_loss", Op::Mul));
    for name in ["neuron_freqs", "mlp_directions_explained", "key_freqs_neurons"] {
        assert!(reason(name, Op::Add).contains("no neurons"), "{name}: {}", reason(name, Op::Add));
    }
    let (mut pairs, mut targets) = grid(p, Op::Add);
    let why = |pairs: &[[u32; 2]], targets: &[u32]| {
        let setting = setting(p, Op::Add, pairs, targets, &grown(&model));
        find("excluded_loss").and_then(|m| {
            m.fits(&setting).map_err(|why| Error::Value { what: why, got: String::new(), expected: String::new() })
        })
    };
    pairs.swap(0, 1);
    assert!(why(&pairs, &targets).is_err_and(|e| e.to_string().contains("answers")), "another answer");
    targets.swap(0, 1);
    assert!(why(&pairs, &targets).is_ok(), "any order will do");
    (pairs[0], targets[0]) = (pairs[1], targets[1]);
    assert!(why(&pairs, &targets).is_err_and(|e| e.to_string().contains("twice")));
    assert!(why(&pairs[1..], &targets[1..]).is_err_and(|e| e.to_string().contains("not all 16 pairs")));
    let mut setting = setting(p, Op::Add, &pairs, &targets, &grown(&model));
    setting.examples.modular = None;
    for measure in ALL {
        let free = ["loss", "weight_norm", "effective_rank", "logits_pca", "logits_trajectory", "weights_trajectory"]
            .into_iter()
            .chain(["exact_accuracy", "loss_by_position"])
            .collect::<Vec<_>>();
        let free = free.contains(&measure.name());
        assert_eq!(measure.fits(&setting).is_ok(), free, "{} without a modulus", measure.name());
    }
}

/// An operation without a name, and several in one task: what reads the embedding alone fits, what needs one sum says why not.
#[test]
fn other_operations_have_embeddings_and_no_single_sum() {
    let p = 5;
    let model = wave_model(p, 1, |_, _, _| 1.0);
    let (pairs, targets) = grid(p, Op::Add);
    let sum = Operation::parse("x+y", 5).expect("an operation");
    let other = Operation::parse("x^2+y", 5).expect("an operation");
    for (ops, why) in [(vec![other.clone()], "none of x+y, x-y, x*y, x/y"), (vec![sum, other], "2 operations")] {
        let mut setting = setting(p, Op::Add, &pairs, &targets, &grown(&model));
        let op_of = vec![0; pairs.len()];
        setting.examples.modular = Some(Modular { p, op: None, pairs: &pairs, ops: &ops, op_of: &op_of });
        for name in ["restricted_loss", "excluded_loss", "trig_logits_explained"] {
            let reason = find(name).expect("it is there").fits(&setting).expect_err("it does not fit");
            assert!(reason.contains(why), "{name}: {reason}");
        }
        for name in ["loss", "weight_norm", "gini", "fourier_norm_w_e", "key_freqs_w_e", "key_freqs_w_l"] {
            assert_eq!(find(name).expect("it is there").fits(&setting), Ok(()), "{name}");
        }
    }
}

/// Every measure that fits, on a replica whose numbers are gone at the last checkpoint, beside one that is sound.
#[test]
fn parameters_that_are_not_numbers_give_no_plausible_number() {
    let p = 7;
    for op in [Op::Add, Op::Mul] {
        let (pairs, targets) = grid(p, op);
        let model = circuit(p);
        let poisoned: Vec<Tensor> =
            model.iter().map(|t| tensor(&t.name, &t.shape, vec![f64::NAN; t.to_f64().len()])).collect();
        // A replica that is sound, and one that is sound no more at the last checkpoint.
        let two = |second: &[Tensor]| -> Vec<Tensor> {
            let both = |(x, y): (&Tensor, &Tensor)| {
                tensor(&x.name, &[&[2], x.shape.as_slice()].concat(), [x.to_f64(), y.to_f64()].concat())
            };
            model.iter().zip(second).map(both).collect()
        };
        let params_s = vec![two(&model), two(&poisoned)];
        let setting = setting(p, op, &pairs, &targets, &params_s[0]);
        let mask_rn = (0..2 * p * p).map(|n| n % 3 == 0).collect();
        let source = Memory { steps: vec![0, 1], seeds: vec![0, 1], mask_rn, params_s };
        let names: Vec<&str> = ALL.iter().filter(|m| m.fits(&setting).is_ok()).map(|m| m.name()).collect();
        assert!(names.len() >= 30, "{names:?}");
        let series = measure(&names, &source, &setting, &Given, 0..=1, &mut |_, _| Ok(())).expect("they fit");
        for series in &series {
            let (name, last) = (format!("{} {}, {op:?}", series.measure, series.column), series.steps.len() - 1);
            assert!(series.at(last, 1).iter().all(|x| x.is_nan()), "{name}: {:?}", series.at(last, 1));
            let of_course = find(&series.measure).is_ok_and(|m| matches!(m.scope(), Scope::Course(_)));
            let keyed = series.key_freqs.is_some();
            if series.steps.len() == 2 && !of_course && !keyed {
                // NaN in the same places as the sound replica.
                let nan = |r: usize| series.at(0, r).iter().map(|x| x.is_nan()).collect::<Vec<_>>();
                assert_eq!(nan(0), nan(1), "{name}: spoilt before its time");
            }
            if keyed && series.steps.len() == 2 {
                assert!(
                    series.at(0, 1).iter().all(|x| x.is_nan()),
                    "{name}: waves of key frequencies that nobody knows"
                );
            }
        }
    }
}
