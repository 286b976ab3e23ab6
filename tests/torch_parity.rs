//! Steps of small models against numbers that PyTorch wrote: logits, loss, gradients, ten losses, final parameters.
//!
//! The numbers are `fixtures/torch_step.txt`, written by `fixtures/torch_step.py` in float64, where models, data, start and
//! optimisers are defined. A difference here is a fault of the engine; write the file anew only when the script changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use phaselab::engine::{Hook, Params, Runner, Savings, State, StepOutcome, Workers};
use phaselab::optim::{Settings, build};
use phaselab::spec::{Act, Family, Join, LossKind, ModelSpec, Normalization, OptimKind, OptimSpec};

use crate::configs::{self, Config, apart, norm, size_floor};

const NUMBERS: &str = include_str!("fixtures/torch_step.txt");

/// The lines of one case: what they are, and the numbers.
fn numbers_of(case: &str) -> Vec<(&'static str, Vec<f64>)> {
    let mut lines = NUMBERS.lines().skip_while(|line| line.strip_prefix("case ") != Some(case));
    lines.next().unwrap();
    let parse = |line: &'static str| {
        let (key, rest) = line.split_once(' ').unwrap();
        (key, rest.split(' ').map(|x| x.parse().unwrap()).collect())
    };
    lines.take_while(|line| !line.starts_with("case ")).map(parse).collect()
}

/// The models and optimisers of the script, under its names.
fn cases() -> Vec<(Config, OptimSpec)> {
    let relu = ModelSpec { d_model: 4, n_heads: 2, d_mlp: 6, ..ModelSpec::default() };
    let everything = ModelSpec {
        act: Act::Gelu,
        normalization: Normalization::Ln,
        attn_bias: true,
        unembed_bias: true,
        ..relu.clone()
    };
    let sum = ModelSpec { family: Family::Mlp, n_layers: 2, join: Join::Sum, ..relu.clone() };
    let concat = ModelSpec { join: Join::Concat, act: Act::Gelu, ..sum.clone() };
    let adamw = OptimSpec { lr: 1e-2, weight_decay: 1.0, betas: [0.9, 0.98], warmup_steps: 0, ..OptimSpec::default() };
    let adam = OptimSpec { kind: OptimKind::Adam, weight_decay: 0.1, eps: 1e-5, clip_norm: Some(0.5), ..adamw.clone() };
    let sgd = OptimSpec { kind: OptimKind::Sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.01, ..adamw.clone() };
    let clipped = OptimSpec { clip_norm: Some(0.01), ..sgd.clone() };
    let case = |name, model, optim| (configs::modular(name, 5, model, LossKind::CrossEntropy), optim);
    vec![
        case("transformer_relu_adamw", relu, adamw),
        case("transformer_gelu_ln_adam_clip", everything, adam),
        case("mlp_sum_sgd", sum, sgd),
        case("mlp_concat_gelu_sgd_clip", concat, clipped),
    ]
}

/// Number i of the n-th parameter of the fixture: 0.4 sin(1.7 i + n), plus 1 for LayerNorm's w.
fn start(params: &mut Params<f64>, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        let id = params.layout.find(name).unwrap();
        let centre = if name.ends_with(".w") { 1.0 } else { 0.0 };
        let len = params.layout.infos[id].len();
        params.set(0, id, (0..len).map(|i| centre + 0.4 * (1.7 * i as f64 + n as f64).sin()));
    }
}

/// What the fixture holds for each parameter under `kind/`.
fn by_name<'a>(numbers: &'a [(&'static str, Vec<f64>)], kind: &str) -> BTreeMap<&'static str, &'a Vec<f64>> {
    numbers.iter().filter_map(|(key, x)| Some((key.strip_prefix(kind)?, x))).collect()
}

#[test]
fn steps_are_pytorchs() {
    for (config, spec) in cases() {
        let numbers = numbers_of(config.name);
        let value = |key: &str| &numbers.iter().find(|(k, _)| *k == key).unwrap().1;
        let names: Vec<&str> = numbers.iter().filter_map(|(key, _)| key.strip_prefix("grad/")).collect();
        let plan = config.plan();
        assert_eq!(names.len(), plan.params().infos.len(), "{}: parameters", config.name);
        let mut params = Params::zeros(Arc::clone(plan.params()), 1);
        start(&mut params, &names);

        let wanting = config.plan_with(Savings::default(), &[Hook::value("logits")], &[]).unwrap();
        let (_, held) = configs::observe(&config, wanting, &params);
        let logits = held[0].to_f64();
        let (rows, width) = (held[0].shape[1], config.task.d_vocab_out);
        let last: Vec<f64> =
            logits.chunks_exact(rows * width).flat_map(|x| &x[(rows - 1) * width..]).copied().collect();
        let off = apart(&last, value("logits"), 0.0);
        assert!(off < 1e-10, "{}: logits are off by {off:e}", config.name);

        let batch = config.batch(&plan);
        let mut grads = Params::zeros(Arc::clone(plan.params()), 1);
        let mut moments = [grads.clone(), grads.clone()];
        let mut runner = Runner::new(plan, Workers::new(1).unwrap());
        let update = build::<f64>(&spec, Settings::new(&spec, &[0], 10));
        for (step, loss) in value("losses").iter().enumerate() {
            let state = State { params: &mut params, grads: &mut grads, moments: &mut moments };
            let mut out = [StepOutcome::default()];
            runner.step(state, std::slice::from_ref(&batch), update.as_ref(), step as u64, &mut out).unwrap();
            let off = (out[0].loss / loss - 1.0).abs();
            assert!(off < if step == 0 { 1e-10 } else { 1e-8 }, "{}: loss {step} is off by {off:e}", config.name);
            assert_eq!(out[0].grad_norm.is_some(), spec.clip_norm.is_some());
            if step == 0 {
                let clips = out[0].grad_norm > spec.clip_norm;
                assert_eq!(clips, spec.clip_norm.is_some(), "{}: the norm must be clipped", config.name);
                near(&config, &grads, &by_name(&numbers, "grad/"), 1e-10);
            }
        }
        near(&config, &params, &by_name(&numbers, "final/"), 1e-8);
    }
}

fn near(config: &Config, own: &Params<f64>, want: &BTreeMap<&str, &Vec<f64>>, tolerance: f64) {
    let whole = norm(&own.flat);
    for (name, want) in want {
        let own: Vec<f64> = own.get(0, own.layout.find(name).unwrap()).collect();
        let off = apart(&own, want, size_floor(name, whole));
        assert!(off < tolerance, "{}: {name} is off by {off:e}", config.name);
    }
}
