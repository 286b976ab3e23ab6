//! Edits of activations and parameters: what they compute, what gradients pass them, and what they refuse.
//!
//! Each edit of an activation has a twin without any edit: other parameters that compute the same function (a head
//! ablated at `hook_z` is a head whose `W_O` is zero). Gradients are held against central differences of the loss.

use phaselab::engine::{Batch, Change, Edit, Hook, Params, Runner, Savings, State, StepOutcome, Workers};
use phaselab::error::Error;
use phaselab::optim::{Settings, build};
use phaselab::rng::Rng;
use phaselab::spec::OptimSpec;

use crate::configs::{self, Config, PLAIN, apart, grads_apart, loss_and_grads, norm, observe, size_floor};

/// Small, since the slopes take thousands of evaluations.
const P: u32 = 5;

/// Changes numbers of a parameter: (index in its named shape, number) -> number.
type Twin = (&'static str, Box<dyn Fn(usize, f64) -> f64>);

fn twin(name: &'static str, f: impl Fn(usize, f64) -> f64 + 'static) -> Twin {
    (name, Box::new(f))
}

fn set(params: &mut Params<f64>, twins: &[Twin]) {
    for (name, f) in twins {
        let id = params.layout.find(name).unwrap();
        let changed: Vec<f64> = params.get(0, id).enumerate().map(|(i, x)| f(i, x)).collect();
        params.set(0, id, changed.into_iter());
    }
}

fn factors(n: usize) -> Vec<f64> {
    (0..n).map(|i| [0.0, 1.0, -0.5, 2.0, 0.25][i % 5]).collect()
}

/// Edits of the two-layer network (d_model 16, 4 heads of 4, d_mlp 24), and what computes the same.
fn twins() -> Vec<(Edit, Vec<Twin>)> {
    let (d, d_head, d_mlp) = (16, 4, 24);
    let f = factors(d);
    let row: Vec<f64> = (0..d).map(|i| (i as f64).sin()).collect();
    let (by_row, scaled) = (row.clone(), f.clone());
    let mask_mlp = move |i: usize, x: f64| x * scaled[i % d];
    let mask_mlp_bias = mask_mlp.clone();
    let hidden = factors(d_mlp);
    let mask_in = hidden.clone();
    vec![
        (
            Edit::new("blocks.0.attn.hook_z", Change::Ablate).head(1),
            vec![twin("blocks.0.attn.W_O", move |i, x| if i / (d_head * d) == 1 { 0.0 } else { x })],
        ),
        (
            Edit::new("blocks.1.attn.hook_z", Change::Ablate).head(3).positions([2]),
            vec![twin("blocks.1.attn.W_O", move |i, x| if i / (d_head * d) == 3 { 0.0 } else { x })],
        ),
        (
            Edit::new("blocks.0.hook_attn_out", Change::Ablate),
            vec![twin("blocks.0.attn.W_O", |_, _| 0.0), twin("blocks.0.attn.b_O", |_, _| 0.0)],
        ),
        (
            Edit::new("blocks.1.hook_mlp_out", Change::Mask(f)),
            vec![twin("blocks.1.mlp.W_out", mask_mlp), twin("blocks.1.mlp.b_out", mask_mlp_bias)],
        ),
        (Edit::new("hook_embed", Change::Patch(row)), vec![twin("embed.W_E", move |i, _| by_row[i % d])]),
        (
            Edit::new("blocks.0.mlp.hook_post", Change::Mask(hidden)),
            vec![twin("blocks.0.mlp.W_out", move |i, x| x * mask_in[i / d])],
        ),
        (Edit::new("hook_pos_embed", Change::Clamp { min: 0.0, max: 0.0 }), vec![twin("pos_embed.W_pos", |_, _| 0.0)]),
        (
            Edit::new("blocks.0.attn.hook_q", Change::Ablate),
            vec![twin("blocks.0.attn.W_Q", |_, _| 0.0), twin("blocks.0.attn.b_Q", |_, _| 0.0)],
        ),
        (
            Edit::new("hook_pos_embed", Change::Ablate).positions([1]),
            vec![twin("pos_embed.W_pos", move |i, x| if i / d == 1 { 0.0 } else { x })],
        ),
        (Edit::new("embed.W_E", Change::Ablate), vec![twin("embed.W_E", |_, _| 0.0)]),
        (
            Edit::new("blocks.1.attn.W_Q", Change::Patch((0..256).map(|i| f64::from(i).cos()).collect())),
            vec![twin("blocks.1.attn.W_Q", |i, _| (i as f64).cos())],
        ),
        (
            Edit::new("blocks.0.attn.W_V", Change::Mask(factors(256))),
            vec![twin("blocks.0.attn.W_V", |i, x| x * factors(256)[i])],
        ),
        (
            Edit::new("blocks.1.mlp.W_in", Change::Clamp { min: -0.3, max: 0.2 }),
            vec![twin("blocks.1.mlp.W_in", |_, x| x.clamp(-0.3, 0.2))],
        ),
    ]
}

fn loss(config: &Config, savings: Savings, edit: &Edit, params: &Params<f64>) -> (f64, Params<f64>) {
    let plan = config.plan_with(savings, &[], std::slice::from_ref(edit)).unwrap();
    loss_and_grads(config, plan, params)
}

#[test]
fn edits_compute_what_other_parameters_compute() {
    let config = configs::everything(P);
    for (edit, twins) in twins() {
        let wants = [Hook::value("logits")];
        let edited = config.plan_with(Savings::default(), &wants, std::slice::from_ref(&edit)).unwrap();
        let mut params = configs::params::<f64>(edited.params(), &[1]);
        let (_, held) = observe(&config, edited, &params);
        let unedited = || config.plan_with(Savings::default(), &wants, &[]).unwrap();
        let (_, before) = observe(&config, unedited(), &params);
        let ignoring_edit = apart(&before[0].to_f64(), &held[0].to_f64(), 0.0);
        assert!(ignoring_edit > 1e-3, "{edit:?} changes nothing, so the test shows nothing");
        let (own, _) = loss(&config, Savings::default(), &edit, &params);
        let all_positions = edit.at != "blocks.1.attn.hook_z";
        set(&mut params, &twins);
        let (want, want_held) = observe(&config, unedited(), &params);
        assert!((own / want - 1.0).abs() < 1e-12, "{edit:?}: loss {own} against {want}");
        if all_positions {
            let off = apart(&held[0].to_f64(), &want_held[0].to_f64(), 0.0);
            assert!(off < 1e-12, "{edit:?}: logits are off by {off:e}");
        }
    }
}

/// Edits that have no twin, and all that have one.
fn edits() -> Vec<Edit> {
    let mut edits: Vec<Edit> = twins().into_iter().map(|(edit, _)| edit).collect();
    edits.extend([
        Edit::new("blocks.1.hook_resid_pre", Change::Clamp { min: -0.6, max: 0.8 }),
        Edit::new("blocks.0.attn.hook_pattern", Change::Mask(factors(12))),
        Edit::new("blocks.0.attn.hook_pattern", Change::Patch(vec![0.25; (P * P * 3 * 12) as usize]))
            .head(2)
            .positions([2]),
        Edit::new("blocks.0.attn.hook_k", Change::Ablate).head(0).positions([0, 1]),
        Edit::new("blocks.0.hook_resid_mid", Change::Mask(factors(16))).positions([2]),
        Edit::new("ln_final.hook_normalized", Change::Clamp { min: -1.0, max: 1.0 }),
        Edit::new("blocks.1.hook_attn_out", Change::Mask(factors(16))),
        Edit::new("logits", Change::Mask(factors(P as usize))),
    ]);
    edits
}

#[test]
fn gradients_through_edits_are_slopes() {
    let config = configs::everything(P);
    for edit in edits() {
        let plan = config.plan_with(Savings::default(), &[], std::slice::from_ref(&edit)).unwrap();
        let params = configs::params::<f64>(plan.params(), &[1]);
        let (value, grads) = loss(&config, Savings::default(), &edit, &params);
        let (plain_value, plain) = loss(&config, PLAIN, &edit, &params);
        assert!((value / plain_value - 1.0).abs() < 1e-12, "{edit:?}: {value} against {plain_value} without savings");
        let (off, of) = grads_apart(&grads, &plain);
        assert!(off < 1e-12, "{edit:?}: gradient of {of} is off by {off:e} from that without savings");
        for (id, info) in plan.params().infos.iter().enumerate() {
            // One slope a parameter, along its gradient and a random direction together.
            let own: Vec<f64> = grads.get(0, id).collect();
            let mut direction = vec![0.0; info.len()];
            Rng::stream(9, &info.name).fill_normal(&mut direction);
            let scale = norm(&own).max(1e-3) / norm(&direction);
            let along: Vec<f64> = own.iter().zip(&direction).map(|(g, d)| g + scale * d).collect();
            let slope = |step: f64| {
                let moved = |by: f64| {
                    let mut params = params.clone();
                    let at: Vec<f64> = params.get(0, id).zip(&along).map(|(x, d)| x + by * d).collect();
                    params.set(0, id, at.into_iter());
                    let plan = config.plan_with(Savings::default(), &[], std::slice::from_ref(&edit)).unwrap();
                    loss_and_grads(&config, plan, &params).0
                };
                (moved(step) - moved(-step)) / (2.0 * step)
            };
            let want = slope(1e-5 / norm(&along));
            let got: f64 = own.iter().zip(&along).map(|(g, d)| g * d).sum();
            let size = norm(&along) * norm(&own).max(1e-3).max(size_floor(&info.name, 1e-3));
            let off = (got - want).abs() / size;
            assert!(off < 1e-5, "{edit:?}: slope along {} is {want}, the gradient says {got} ({off:e})", info.name);
        }
    }
}

#[test]
fn a_hook_patched_with_its_own_values_changes_nothing_and_frozen_passes_no_gradient() {
    let config = configs::everything(P);
    for at in [
        "hook_embed",
        "blocks.0.attn.hook_q",
        "blocks.0.attn.hook_pattern",
        "blocks.1.hook_resid_pre",
        "blocks.1.mlp.hook_post",
    ] {
        let wants = [Hook::value(at), Hook::value("logits")];
        let plan = config.plan_with(Savings::default(), &wants, &[]).unwrap();
        let params = configs::params::<f64>(plan.params(), &[1]);
        let (before, held) = observe(&config, plan, &params);
        let patch = Edit::new(at, Change::Patch(held[0].to_f64()));
        let plan = config.plan_with(Savings::default(), &wants, std::slice::from_ref(&patch)).unwrap();
        let (after, patched) = observe(&config, plan, &params);
        assert_eq!(before.to_bits(), after.to_bits(), "{at}");
        assert_eq!(held, patched, "{at}");
        let (_, through_patch) = loss(&config, Savings::default(), &patch, &params);
        let (_, frozen) = loss(&config, Savings::default(), &Edit::new(at, Change::Freeze), &params);
        let (_, free) = loss(
            &config,
            Savings::default(),
            &Edit::new(at, Change::Mask(vec![1.0; held[0].shape[2..].iter().product()])),
            &params,
        );
        assert_eq!(frozen.flat, through_patch.flat, "{at}");
        assert!(grads_apart(&frozen, &free).0 > 1e-3, "{at}: freezing changes no gradient");
    }
}

#[test]
fn a_frozen_parameter_keeps_its_bits_in_training() {
    let config = configs::everything(P);
    let spec = OptimSpec { lr: 1e-2, weight_decay: 1.0, warmup_steps: 0, clip_norm: Some(1.0), ..OptimSpec::default() };
    for name in ["embed.W_E", "blocks.0.attn.W_Q", "ln_final.w", "unembed.b_U"] {
        let plan = config.plan_with(Savings::default(), &[], &[Edit::new(name, Change::Freeze)]).unwrap();
        let (mut params, batch) = (configs::params::<f64>(plan.params(), &[1, 2, 3]), config.batch(&plan));
        let before = params.clone();
        let mut grads = Params::zeros(plan.params().clone(), 3);
        let mut moments = [grads.clone(), grads.clone()];
        let update = build::<f64>(&spec, Settings::new(&spec, &[0, 1, 2], 10));
        let mut runner = Runner::new(plan.into(), Workers::new(2).unwrap());
        for step in 0..3 {
            let state = State { params: &mut params, grads: &mut grads, moments: &mut moments };
            let mut out = vec![StepOutcome::default(); 3];
            runner.step(state, std::slice::from_ref(&batch), update.as_ref(), step, &mut out).unwrap();
        }
        for (id, info) in before.layout.infos.iter().enumerate() {
            for r in 0..3 {
                let same = params.get(r, id).eq(before.get(r, id));
                assert_eq!(same, info.name == name, "{} after steps with {name} frozen", info.name);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = configs::everything(P);
    let edit = |edit: Edit| config.plan_with(Savings::default(), &[], &[edit]).unwrap_err();
    let want = |hook: Hook| config.plan_with(Savings::default(), &[hook], &[]).unwrap_err();
    let unknown = want(Hook::value("blocks.0.attn.hook_patern"));
    assert_eq!(unknown.hint().unwrap(), "did you mean `blocks.0.attn.hook_pattern`?");
    let unknown = edit(Edit::new("blocks.0.attn.W_q", Change::Ablate));
    assert_eq!(unknown.hint().unwrap(), "did you mean `blocks.0.attn.W_Q`?");
    for wrong in [
        Edit::new("hook_embed", Change::Patch(vec![0.0; 17])),
        Edit::new("hook_embed", Change::Mask(vec![0.0; (P * P * 3 * 16) as usize])),
        Edit::new("embed.W_E", Change::Patch(vec![0.0; 16])),
        Edit::new("embed.W_E", Change::Mask(vec![])),
    ] {
        assert!(matches!(edit(wrong), Error::Shape { .. }));
    }
    for wrong in [
        Edit::new("blocks.0.attn.hook_z", Change::Ablate).head(4),
        Edit::new("hook_embed", Change::Ablate).head(0),
        Edit::new("hook_embed", Change::Ablate).positions([3]),
        Edit::new("embed.W_E", Change::Ablate).positions([0]),
        Edit::new("ln_final.hook_scale", Change::Ablate),
    ] {
        assert!(matches!(edit(wrong), Error::Value { .. }));
    }
    assert!(matches!(want(Hook::gradient("ln_final.hook_scale")), Error::Value { .. }));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let config = configs::grokking();
    let plan = config.plan();
    let mut params = configs::params::<f64>(plan.params(), &[1]);
    let mut grads = params.clone();
    let good = config.batch(&plan);
    let unprepared = Batch::classes(3, config.tokens.clone(), config.targets.clone()).unwrap();
    let three_targets: Vec<u32> = config.targets.iter().flat_map(|&c| [c; 3]).collect();
    let mut too_many_targets = Batch::classes(3, config.tokens.clone(), three_targets).unwrap();
    plan.prepare(&mut too_many_targets).unwrap();
    let mut few_weights = good.clone();
    few_weights.weights = Some(vec![1.0; 5]);
    let mut runner = Runner::new(plan.clone(), Workers::new(1).unwrap());
    let mut run =
        |batches: &[Batch]| runner.loss_and_grads(&mut params, &mut grads, batches, &mut [StepOutcome::default()]);
    assert!(run(std::slice::from_ref(&good)).is_ok());
    for bad in [unprepared, too_many_targets, few_weights] {
        assert!(matches!(run(&[bad]), Err(Error::Shape { .. })));
    }
    assert!(matches!(run(&[good.clone(), good]), Err(Error::Shape { .. })));
    // `=` cannot stand at position 0, 12 is not in the vocabulary, 11 is no class.
    for (tokens, target) in [([11, 0, 11], 0), ([0, 12, 11], 0), ([0, 0, 11], 11)] {
        let mut batch = Batch::classes(3, tokens.to_vec(), vec![target]).unwrap();
        assert!(matches!(plan.prepare(&mut batch), Err(Error::Value { .. })), "{tokens:?} -> {target}");
    }
}
