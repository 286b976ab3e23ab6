//! A small model of addition in closed form, against numbers written by numpy and scikit-learn, and how many forward passes it takes.
//!
//! Reads `tests/fixtures/decompositions.txt` (made by `decompositions.py` beside it).

use std::sync::atomic::{AtomicUsize, Ordering};

use super::fixture::{Memory, close, grid, grown, parse, setting, tensor};
use super::gradient_symmetricity::triples;
use super::subject::Matrix;
use super::*;
use crate::engine::{Hook, LOSS_LOGITS};
use crate::task::Op;
use crate::tensor::Tensor;

/// What is compared here and not with `measures.txt`; decompositions in their own files.
pub(super) const HAS: [&str; 10] = [
    "logits_pca",
    "logits_trajectory",
    "weights_trajectory",
    "gradient_symmetricity",
    "distance_irrelevance",
    "circle_isolation",
    "decompose_w_e",
    "decompose_w_l",
    "decompose_neurons",
    "decompose_logits",
];

const P: usize = 7;
const WHY: &str = "if the definition changed on purpose, run tests/fixtures/decompositions.py again";

/// The array of that name in the fixture.
pub(super) fn fixture(name: &str) -> Tensor {
    let mut lines = include_str!("../../tests/fixtures/decompositions.txt").lines().map(parse);
    lines.find(|(known, _)| known == name).expect("the fixture has it").1
}

/// logits = tanh(E\[a\] + gate ∘ E\[b\]) W_U; counts the examples that it was run on.
#[derive(Default)]
struct Tanh {
    examples: AtomicUsize,
}

impl Tanh {
    fn hidden(params: &[Tensor], pair: usize) -> Result<Vec<f64>> {
        let (w_e, gate) = (Matrix::of(params, "embed.W_E")?, Matrix::of(params, "gate")?);
        let row = |token: usize| &w_e.values[token * w_e.n_cols..(token + 1) * w_e.n_cols];
        let sum = row(pair / P).iter().zip(row(pair % P)).zip(gate.values).map(|((a, b), gate)| a + gate * b);
        Ok(sum.map(f64::tanh).collect())
    }

    fn logits(params: &[Tensor], pair: usize) -> Result<Vec<f64>> {
        let (hidden, w_u) = (Tanh::hidden(params, pair)?, Matrix::of(params, "unembed.W_U")?);
        Ok((0..P).map(|c| hidden.iter().zip(w_u.values.iter().skip(c).step_by(P)).map(|(h, u)| h * u).sum()).collect())
    }
}

impl Forward for Tanh {
    fn observe(&self, params: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.examples.fetch_add(P * P, Ordering::Relaxed);
        let at = |hook: &Hook| {
            let of = if hook.name == LOSS_LOGITS { Tanh::logits } else { Tanh::hidden };
            let rows = (0..P * P).map(|pair| of(params, pair)).collect::<Result<Vec<_>>>()?;
            let width = rows[0].len();
            Ok(tensor(&hook.name, &[P * P, 1, width], rows.concat()))
        };
        hooks.iter().map(at).collect()
    }

    fn logit_gradients(&self, params: &[Tensor], which: &[(usize, u32)], _: &[Hook]) -> Result<Vec<Tensor>> {
        // One pass for the logits, one to differentiate them.
        self.examples.fetch_add(2 * which.len(), Ordering::Relaxed);
        let (gate, w_u) = (Matrix::of(params, "gate")?, Matrix::of(params, "unembed.W_U")?);
        let mut out = vec![];
        for &(pair, class) in which {
            let hidden = Tanh::hidden(params, pair)?;
            let column = w_u.values.iter().skip(class as usize).step_by(P);
            let slope: Vec<f64> = hidden.iter().zip(column).map(|(h, u)| u * (1.0 - h * h)).collect();
            out.extend(&slope);
            out.extend(slope.iter().zip(gate.values).map(|(slope, gate)| slope * gate));
        }
        Ok(vec![tensor("hook_embed", &[which.len(), 2, out.len() / which.len() / 2], out)])
    }
}

fn model() -> Vec<Tensor> {
    ["embed.W_E", "unembed.W_U", "gate"].map(fixture).to_vec()
}

/// The measures `names` at one checkpoint, or all that fit.
fn measured(model: &Tanh, op: Op, names: &[&str]) -> Vec<Series> {
    let (pairs, targets) = grid(P, op);
    let params = grown(&self::model());
    let hook =
        |name: &str, positions: &[usize]| HookShape { name: name.into(), positions: positions.to_vec(), axes: vec![5] };
    let hooks = vec![hook("hook_embed", &[0, 1, 2]), hook("blocks.0.mlp.hook_post", &[2])];
    let plain = setting(P, op, &pairs, &targets, &params);
    let setting = Setting { hooks, ..plain };
    let fitting = ALL.iter().filter(|measure| measure.fits(&setting).is_ok()).map(|measure| measure.name());
    let names: Vec<&str> = if names.is_empty() { fitting.collect() } else { names.to_vec() };
    let mask_rn = (0..P * P).map(|n| n % 3 == 0).collect();
    let source = Memory { steps: vec![3], seeds: vec![0], mask_rn, params_s: vec![params] };
    measure(&names, &source, &setting, model, 0..=10, &mut |_, _| Ok(())).expect("they fit")
}

fn numbers(name: &str, op: Op) -> Vec<f64> {
    measured(&Tanh::default(), op, &[name]).into_iter().flat_map(|series| series.values_srw).collect()
}

/// NaN where NaN is expected, close elsewhere.
fn same(got: &[f64], expected: &[f64]) -> bool {
    let plain = |x: &[f64]| x.iter().map(|x| if x.is_nan() { 1e9 } else { *x }).collect::<Vec<f64>>();
    close(&plain(got), &plain(expected), 1e-10)
}

#[test]
fn numpy_gives_the_same_circuits() {
    for name in ["logits_pca", "distance_irrelevance", "circle_isolation"] {
        let (got, expected) = (numbers(name, Op::Add), fixture(name).to_f64());
        assert!(same(&got, &expected), "{name}: got {got:?}, numpy gives {expected:?}; {WHY}");
    }
    for name in ["distance_irrelevance", "circle_isolation"] {
        let (got, expected) = (numbers(name, Op::Mul), fixture(&format!("mul.{name}")).to_f64());
        assert!(same(&got, &expected), "{name} of products: got {got:?}, numpy gives {expected:?}; {WHY}");
    }
    let series = measured(&Tanh::default(), Op::Mul, &["decompose_logits"]);
    let pca = series.iter().find(|series| series.column == "pca_1").expect("there is such a column");
    assert!(same(pca.at(0, 0), &fixture("mul.decompose_logits.pca_1").to_f64()), "{pca:?}: {WHY}");
    let ticks = pca.axis.as_ref().map(|axis| axis.ticks.clone());
    assert_eq!(ticks, Some(fixture("mul.decompose_logits.residue").to_f64()), "a tick is the residue of its row");
    let cosine = fixture("cosine").to_f64();
    let triples = triples(P * P, P);
    let mean = triples.iter().map(|&(pair, class)| cosine[pair * P + class as usize]).sum::<f64>() / 49.0;
    let got = numbers("gradient_symmetricity", Op::Add);
    assert!(same(&got, &[mean]), "got {got:?}, numpy gives {mean}; {WHY}");
}

#[test]
fn all_measures_of_a_checkpoint_take_at_most_eight_forward_passes() {
    let model = Tanh::default();
    let series = measured(&model, Op::Add, &[]);
    for name in HAS {
        assert!(series.iter().any(|series| series.measure == name), "{name} is not among them");
    }
    let passes = model.examples.into_inner() as f64 / (P * P) as f64;
    assert!((2.0..=8.0).contains(&passes), "{passes} passes over all pairs");
}

#[test]
fn measures_that_read_the_shared_pass_share_it() {
    let model = Tanh::default();
    measured(&model, Op::Add, &["loss", "logits_pca", "distance_irrelevance", "decompose_neurons", "decompose_logits"]);
    assert_eq!(model.examples.into_inner(), P * P);
}

#[test]
fn a_course_is_turned_into_columns_at_its_end_and_what_is_dear_is_taken_at_the_last_checkpoint() {
    let (pairs, targets) = grid(P, Op::Add);
    let at = |s: usize| {
        let moved = |t: &Tensor| {
            let two = [1.0, -2.0].map(|r| t.to_f64().iter().map(|x| x + r * s as f64).collect::<Vec<_>>()).concat();
            tensor(&t.name, &[&[2], t.shape.as_slice()].concat(), two)
        };
        model().iter().map(moved).collect()
    };
    let params_s: Vec<Vec<Tensor>> = (0..4).map(at).collect();
    let setting = setting(P, Op::Add, &pairs, &targets, &params_s[0]);
    let steps = vec![0, 10, 30, 40];
    let source = Memory { steps: steps.clone(), seeds: vec![4, 9], mask_rn: vec![true; 2 * P * P], params_s };
    let names = ["weights_trajectory", "logits_trajectory", "circle_isolation", "loss"];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            measure(&names, &source, &setting, &Tanh::default(), 0..=30, &mut |_, _| Ok(())).expect("they fit")
        })
    };
    let series = run(1);
    let find = |measure: &str, column: &str| {
        series.iter().find(|s| s.measure == measure && s.column == column).expect("it was asked for")
    };
    // A straight line of 80 parameters: steps of √80 and, for the other replica, twice that.
    let coordinate = find("weights_trajectory", "coordinate");
    assert_eq!(coordinate.steps, [0, 10, 30]);
    for (r, length) in [80f64.sqrt(), 320f64.sqrt()].into_iter().enumerate() {
        let way: Vec<f64> = (0..3).map(|s| coordinate.at(s, r)[0]).collect();
        assert!(close(&way, &[length, 0.0, -length], 1e-10), "replica {r}: {way:?}");
        assert!(close(&find("weights_trajectory", "travelled").curve(r), &[0.0, length, 2.0 * length], 1e-12));
        assert!((find("weights_trajectory", "explained_frac").at(1, r)[0] - 1.0).abs() < 1e-10);
        let numbers = |column: &str| find("logits_trajectory", column);
        let way: Vec<f64> = (0..3).flat_map(|s| numbers("coordinate").at(s, r).to_vec()).collect();
        let got = [&way, numbers("explained_frac").at(0, r), &numbers("travelled").curve(r)].concat();
        let expected = &fixture("logits_trajectory").to_f64()[19 * r..][..19];
        assert!(close(&got, expected, 1e-10), "replica {r}: got {got:?}, numpy gives {expected:?}; {WHY}");
    }
    assert_eq!(find("circle_isolation", "frequency").steps, [30]);
    assert_eq!(find("loss", "test_loss_nats").steps, [0, 10, 30]);
    let bits = |series: &[Series]| -> Vec<u64> {
        series.iter().flat_map(|series| series.values_srw.iter().map(|x| x.to_bits())).collect()
    };
    for threads in [2, 4] {
        assert_eq!(bits(&run(threads)), bits(&series), "{threads} threads");
    }
}
