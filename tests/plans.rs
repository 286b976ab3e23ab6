//! A plan's savings change nothing but time, wants give what TransformerLens's hooks give, and what a decoder-only
//! transformer promises holds: causality, and no dependence on the order of the examples.

use phaselab::engine::{Batch, Hook, Plan, Runner, Savings, Workers};
use phaselab::model;
use phaselab::spec::{Attention, Family, Input};
use phaselab::tensor::Tensor;

use crate::configs::{self, Config, PLAIN, apart, grads_apart, loss_and_grads, norm, observe};

/// All savings, and each alone.
const SAVINGS: [(&str, Savings); 4] = [
    ("all savings", Savings { positions: true, pairs: true, fusion: true, ..PLAIN }),
    ("positions", Savings { positions: true, ..PLAIN }),
    ("pairs", Savings { pairs: true, ..PLAIN }),
    ("fusion", Savings { fusion: true, ..PLAIN }),
];

#[test]
fn saved_plans_equal_plain_plans() {
    for config in configs::all() {
        let plain = || config.plan_with(PLAIN, &[], &[]).unwrap();
        let params = configs::params::<f64>(plain().params(), &[1]);
        let (loss, grads) = loss_and_grads(&config, plain(), &params);
        for (name, savings) in SAVINGS {
            let plan = config.plan_with(savings, &[], &[]).unwrap();
            // One-hot tokens are gathered with their layer: nothing depends on one position alone.
            let by_pair = config.possible_tokens.is_some() && config.model.input == Input::Embed;
            let tabulates = savings.pairs && by_pair;
            assert_eq!(plan.n_pairs() > 0, tabulates, "{}, {name}: {} pairs", config.name, plan.n_pairs());
            let (own_loss, own) = loss_and_grads(&config, plan, &params);
            assert!((own_loss / loss - 1.0).abs() < 1e-12, "{}, {name}: {own_loss} against {loss}", config.name);
            let (off, of) = grads_apart(&own, &grads);
            assert!(off < 1e-12, "{}, {name}: gradient of {of} is off by {off:e}", config.name);
        }
    }
}

#[test]
fn savings_save() {
    let config = configs::grokking();
    let flops = |savings, wants: &[Hook]| config.plan_with(savings, wants, &[]).unwrap().flops_per_step();
    let plain = flops(PLAIN, &[]);
    for (name, savings) in &SAVINGS[..3] {
        assert!(flops(*savings, &[]) < 0.7 * plain, "{name} saves nothing");
    }
    let with_query = flops(Savings::default(), &[Hook::value("blocks.0.attn.hook_q")]);
    assert!(with_query > flops(Savings::default(), &[]), "queries at all positions cost more than those at the last");
}

/// Every name that a want may have, with the shape `[B, positions, axes…]` that it must give.
fn hooks(config: &Config) -> Vec<(String, Vec<usize>)> {
    let graph = model::graph(&config.model, &config.task);
    let at_answers = config.model.family == Family::Mlp;
    let shape = |id: usize| {
        let value = &graph.values[id];
        let positions = if at_answers && value.name != "hook_embed" { 1 } else { config.task.n_ctx };
        [&[config.examples(), positions][..], &value.axes].concat()
    };
    let names = graph.values.iter().enumerate().map(|(id, value)| (value.name.clone(), shape(id)));
    names.chain(graph.aliases.iter().map(|(name, id)| (name.clone(), shape(*id)))).collect()
}

#[test]
fn every_want_is_that_of_the_plain_plan() {
    for config in configs::all() {
        let hooks = hooks(&config);
        let (names, shapes): (Vec<_>, Vec<_>) = hooks.into_iter().unzip();
        let differentiable = names.iter().filter(|name| !name.ends_with("hook_scale"));
        let wants: Vec<Hook> = names.iter().map(Hook::value).chain(differentiable.map(Hook::gradient)).collect();
        let plain = config.plan_with(PLAIN, &wants, &[]).unwrap();
        let params = configs::params::<f64>(plain.params(), &[3]);
        let (loss, want) = observe(&config, plain, &params);
        for (held, shape) in want.iter().zip(&shapes) {
            assert_eq!(&held.shape, shape, "{}: {}", config.name, held.name);
            assert!(norm(&held.to_f64()) > 0.0, "{}: {} is zero everywhere", config.name, held.name);
        }
        let together = observe(&config, config.plan_with(Savings::default(), &wants, &[]).unwrap(), &params);
        let alone = |want: &Hook| {
            let plan = config.plan_with(Savings::default(), std::slice::from_ref(want), &[]).unwrap();
            let (own_loss, mut held) = observe(&config, plan, &params);
            assert!((own_loss / loss - 1.0).abs() < 1e-12, "{}: {want:?}: {own_loss} against {loss}", config.name);
            held.remove(0)
        };
        let size = |gradient: bool| want.iter().zip(&wants).filter(move |(_, w)| w.gradient == gradient);
        let largest = size(true).map(|(held, _)| norm(&held.to_f64())).fold(0.0, f64::max);
        for ((hook, want), together) in wants.iter().zip(&want).zip(&together.1) {
            // Gradients of single keys cancel; their errors are held against the others.
            let floor = if hook.gradient { 1e-2 * largest } else { 0.0 };
            for (how, own) in [("beside all others", together), ("alone", &alone(hook))] {
                assert_eq!(own.shape, want.shape, "{}: {hook:?} {how}", config.name);
                let off = apart(&unmasked(own), &unmasked(want), floor);
                assert!(off < 1e-12, "{}: {hook:?} {how} is off by {off:e}", config.name);
            }
        }
    }
}

/// The numbers, with a large one in place of a masked score's −∞.
fn unmasked(held: &Tensor) -> Vec<f64> {
    held.to_f64().into_iter().map(|x| if x == f64::NEG_INFINITY { -1e3 } else { x }).collect()
}

/// The logits at all positions `[B, T, V]`, and the loss.
fn logits(config: &Config, change: impl FnOnce(&mut Batch)) -> (Vec<f64>, f64) {
    let plan = config.plan_with(Savings::default(), &[Hook::value("logits")], &[]).unwrap();
    let params = configs::params::<f64>(plan.params(), &[4]);
    let mut batch = config.batch(&plan);
    change(&mut batch);
    Plan::prepare(&plan, &mut batch).unwrap();
    let mut runner = Runner::new(plan.into(), Workers::new(1).unwrap());
    let (outcome, held) = runner.observe(&params, 0, &batch).unwrap();
    (held[0].to_f64(), outcome.loss)
}

fn tokens_mut(batch: &mut Batch) -> &mut Vec<u32> {
    match &mut batch.x {
        phaselab::engine::Inputs::Ids(tokens) => tokens,
        phaselab::engine::Inputs::Reals { .. } => unreachable!("these networks read tokens"),
    }
}

#[test]
fn a_token_changes_the_logits_of_those_that_see_it_and_no_others() {
    for config in configs::all().into_iter().filter(|config| config.possible_tokens.is_none()) {
        let (before, _) = logits(&config, |_| ());
        let (n_ctx, vocab) = (config.task.n_ctx, config.task.d_vocab as u32);
        for t in 0..n_ctx {
            let (after, _) = logits(&config, |batch| {
                for tokens in tokens_mut(batch).chunks_exact_mut(n_ctx) {
                    tokens[t] = (tokens[t] + 1) % vocab;
                }
            });
            let rows = || before.chunks_exact(vocab as usize).zip(after.chunks_exact(vocab as usize)).enumerate();
            for (row, (before, after)) in rows() {
                let (model, at) = (&config.model, row % n_ctx);
                let reach = model.window.map_or(n_ctx, |width| model.n_layers * (width - 1));
                let seen = match model.attention {
                    Attention::Causal => (t..=t + reach).contains(&at),
                    Attention::Bidirectional => true,
                };
                assert_eq!(seen, before != after, "{}: row {row}, token {t}", config.name);
            }
        }
    }
}

#[test]
fn the_order_of_examples_is_the_order_of_logits() {
    for config in configs::all() {
        let (in_order, loss) = logits(&config, |_| ());
        let (n, n_ctx, per_example) = (config.examples(), config.task.n_ctx, config.task.loss_positions.len());
        // Every example moves: 5 and the number of examples (121, 49, 12) have no common divisor.
        let from = |i: usize| (i * 5 + 1) % n;
        let (moved, moved_loss) = logits(&config, |batch| {
            let take = |all: &[u32], width: usize| {
                (0..n).flat_map(|i| all[from(i) * width..][..width].to_vec()).collect::<Vec<_>>()
            };
            *tokens_mut(batch) = take(&config.tokens, n_ctx);
            batch.targets = phaselab::engine::Targets::Classes(take(&config.targets, per_example));
            if let (Some(moved), Some(all)) = (&mut batch.weights, &config.weights) {
                for (i, moved) in moved.iter_mut().enumerate() {
                    *moved = all[from(i / per_example) * per_example + i % per_example];
                }
            }
        });
        let width = in_order.len() / n;
        let want: Vec<f64> = (0..n).flat_map(|i| in_order[from(i) * width..][..width].to_vec()).collect();
        let off = apart(&moved, &want, 0.0);
        assert!(off < 1e-12, "{}: logits are off by {off:e}", config.name);
        assert!((moved_loss / loss - 1.0).abs() < 1e-12, "{}: {moved_loss} against {loss}", config.name);
    }
}

#[test]
fn wants_at_some_positions_are_rows_of_wants_at_all() {
    for config in configs::all().into_iter().filter(|config| config.model.family == Family::Transformer) {
        let (n_ctx, last) = (config.task.n_ctx, config.task.n_ctx - 1);
        for name in ["blocks.0.hook_resid_pre", "blocks.0.attn.hook_k", "blocks.0.hook_resid_post"] {
            let hooks = |hook: Hook| [hook.clone(), hook.clone().at([0, last]), hook.at([last])];
            let wants = [hooks(Hook::value(name)), hooks(Hook::gradient(name))].concat();
            let plan = config.plan_with(Savings::default(), &wants, &[]).unwrap();
            let params = configs::params::<f64>(plan.params(), &[3]);
            let (_, held) = observe(&config, plan, &params);
            for held in held.chunks(3) {
                let [all, two, one] = [0, 1, 2].map(|i| held[i].to_f64());
                let width = all.len() / (config.examples() * n_ctx);
                assert_eq!((two.len(), one.len()), (2 * all.len() / n_ctx, all.len() / n_ctx), "{}", config.name);
                for ((all, two), one) in all.chunks(width * n_ctx).zip(two.chunks(width * 2)).zip(one.chunks(width)) {
                    let at_last = &all[last * width..];
                    assert_eq!((&all[..width], at_last, at_last), (&two[..width], &two[width..], one), "{name}");
                }
            }
            let flops = |hook: Hook| config.plan_with(Savings::default(), &[hook], &[]).unwrap().flops_per_step();
            assert!(flops(Hook::value(name).at([last])) <= flops(Hook::value(name)));
        }
        let none = config.plan_with(Savings::default(), &[Hook::value("hook_embed").at([])], &[]);
        assert!(none.unwrap_err().to_string().contains("one or more of"));
        let beyond = config.plan_with(Savings::default(), &[Hook::value("hook_embed").at([n_ctx])], &[]);
        assert!(beyond.unwrap_err().to_string().contains("one or more of"));
    }
    let config = configs::grokking();
    let flops = |hook: Hook| config.plan_with(Savings::default(), &[hook], &[]).unwrap().flops_per_step();
    let neurons = Hook::value("blocks.0.mlp.hook_post");
    assert!(flops(neurons.clone().at([2])) < 0.7 * flops(neurons), "neurons at the last position alone cost less");
}
