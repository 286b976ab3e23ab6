//! Gradients against differences, values against the measures and closed forms, faults against what they say.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::terms::{LogitRows, LogitsOut, Share};
use crate::engine::{BatchShape, Params, Plan, Runner, StepOutcome, Workers};
use crate::loss::LossTerm;
use crate::measure::{self, Examples, Setting, Shared, Subject};
use crate::model;
use crate::rng::Rng;
use crate::spec::{LossKind, ModelSpec, Reduce, Source, Spec, from_toml};
use crate::task::Card;
use crate::tensor::{Data, Tensor};
use crate::train::{batch_shape, task_shape};

const P: usize = 11;
const ROWS: usize = 70;

fn task(op: &str) -> Task {
    let text = format!(
        "title = \"t\"\nfamily = \"modular\"\n[params]\nop = \"{op}\"\np = {P}\n[layout]\ntokens = \"a b =\"\n\
         [split]\ntrain_frac = 0.5\n[[worked]]\nin = [0, 0]\nout = 0\n"
    );
    Card::parse("t.toml".as_ref(), &text).unwrap().build().unwrap()
}

fn spec() -> ModelSpec {
    ModelSpec { d_model: 8, n_heads: 2, d_mlp: 12, ..ModelSpec::default() }
}

/// Every kind of term, with weights of both signs.
fn all_terms() -> Vec<TermSpec> {
    let base = TermSpec { weight: 0.7, ..TermSpec::default() };
    let measured =
        |name: &str, freqs: Option<Vec<usize>>| TermSpec { measure: Some(name.into()), freqs, ..base.clone() };
    let expr = |name: &str, text: &str, over: &str, reduce| TermSpec {
        name: Some(name.into()),
        weight: -0.3,
        expr: Some(text.into()),
        over: Some(over.into()),
        reduce,
        ..base.clone()
    };
    vec![
        measured("restricted_train_loss", Some(vec![2, 5])),
        measured("excluded_train_loss", Some(vec![1, 3, 4])),
        measured("gini_w_e", None),
        measured("fourier_ipr_w_e", None),
        measured("freq_norm_w_e", Some(vec![3])),
        measured("off_freq_norm_w_e", Some(vec![1, 2])),
        expr("cubes", "w^3 + exp(-w*w)", "blocks.*.mlp.*", Reduce::Sum),
        expr("sizes", "sqrt(1 + w*w)", "*", Reduce::Mean),
        expr("margin", "y * tanh(l) - softplus(l) * (1 - y)", "logits", Reduce::Sum),
        expr("small", "l^2", "logits", Reduce::Mean),
        TermSpec { loss: Some(LossKind::Mse), ..base.clone() },
        TermSpec { loss: Some(LossKind::CrossEntropy), name: Some("twice".into()), weight: -0.2, ..base },
    ]
}

/// Some examples of the task, in an order of their own.
fn some(task: &Task, n: usize, seed: u64) -> Batch {
    let order = Rng::stream(seed, "tests/order").permutation(task.n_examples());
    let mut batch = Batch::classes(3, vec![0; 3], vec![0]).unwrap();
    batch.gather(&crate::train::example_set(task), &order[..n]);
    batch
}

fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut x = vec![0.0; n];
    Rng::stream(seed, "tests/numbers").fill_normal(&mut x);
    x
}

/// A plan over `n` examples with random parameters, and its batch.
fn engine(task: &Task, n: usize, replicas: usize) -> (Arc<Plan>, Params<f64>, Vec<Batch>) {
    let shape: BatchShape = batch_shape(task, n);
    let losses = [LossTerm::new(LossKind::CrossEntropy, false)];
    let plan = Plan::build(model::graph(&spec(), &task_shape(task)), &shape, &losses, &[], &[]).unwrap();
    let mut params = Params::zeros(Arc::clone(plan.params()), replicas);
    for r in 0..replicas {
        for id in 0..plan.params().infos.len() {
            let n = plan.params().infos[id].len();
            params.set(r, id, numbers(n, 100 + (r * 50 + id) as u64).into_iter().map(|x| 0.4 * x));
        }
    }
    let mut batches: Vec<Batch> = (0..replicas).map(|r| some(task, n, r as u64)).collect();
    batches.iter_mut().for_each(|batch| plan.prepare(batch).unwrap());
    (Arc::new(plan), params, batches)
}

fn built(terms: &[TermSpec], task: &Task, plan: &Plan, batches: &[Batch]) -> Vec<Term> {
    let loss = LossSpec { terms: terms.to_vec(), ..LossSpec::default() };
    let place = Place { task, params: plan.params(), batch_size: None };
    build(&loss, &place, &Replicas { count: batches.len(), batches }).unwrap()
}

/// The value of a term of all logits, and its gradient.
fn of_logits(term: &Term, r: usize, logits: &[f64], targets: &[u32]) -> (f64, Vec<f64>) {
    let TermKind::Logits(kind) = &term.kind else { panic!("{term:?} is not of all logits") };
    let (mut d, mut scratch) = (vec![0.0; logits.len()], vec![f64::NAN; kind.scratch_len()]);
    let out = LogitsOut { factor: 1.0, dlogits: &mut d, scratch: &mut scratch, share: Share::ALONE };
    let value = kind.add(r, LogitRows { logits, width: P, targets }, out);
    (value, d)
}

fn targets(batch: &Batch) -> &[u32] {
    let crate::engine::Targets::Classes(classes) = &batch.targets else { panic!("no classes") };
    classes
}

/// The whole gradient of loss and terms through the engine is that of loss + Σ weight · value, each number of each parameter.
#[test]
fn gradients_of_all_terms_through_the_engine_agree_with_differences() {
    let task = task("x+y");
    let (plan, params, batches) = engine(&task, ROWS, 2);
    for terms in all_terms().into_iter().map(|term| vec![term]).chain([all_terms()]) {
        let mut runner = Runner::<f64>::new(Arc::clone(&plan), Workers::new(1).unwrap());
        runner.set_terms(built(&terms, &task, &plan, &batches)).unwrap();
        let mut run = |params: &mut Params<f64>, grads: &mut Params<f64>| {
            let mut out = [StepOutcome::default(); 2];
            runner.loss_and_grads(params, grads, &batches, &mut out).unwrap();
            let values = runner.term_values();
            [0, 1].map(|r| {
                let own = &values[r * terms.len()..][..terms.len()];
                out[r].loss + terms.iter().zip(own).map(|(term, value)| term.weight * value).sum::<f64>()
            })
        };
        let (mut point, mut grads, mut other) = (params.clone(), params.clone(), params.clone());
        run(&mut point, &mut grads);
        let (stride, mut seen) = (plan.params().stride, 0);
        for (id, info) in plan.params().infos.iter().enumerate() {
            // Three numbers of each parameter are enough to miss nothing: all of W_E, which measures read.
            let step = if info.name == "embed.W_E" { 1 } else { (info.len() / 3).max(1) };
            for (i, r) in (0..info.len()).step_by(step).map(|i| (i, (i + id) % 2)) {
                let at = r * stride + info.offset + i;
                let mut total = |by: f64| {
                    point.flat[at] = params.flat[at] + by;
                    let total = run(&mut point, &mut other)[r];
                    point.flat[at] = params.flat[at];
                    total
                };
                let difference = (total(1e-5) - total(-1e-5)) / 2e-5;
                let own = grads.flat[at];
                assert!(
                    (own - difference).abs() < 2e-7 * (1.0 + difference.abs()),
                    "{:?} {}[{i}]: {own} against {difference}",
                    terms.iter().map(TermSpec::name).collect::<Vec<_>>(),
                    info.name
                );
                seen += 1;
            }
        }
        assert!(seen > 100);
    }
}

#[test]
fn gradients_of_the_projecting_terms_agree_with_differences_for_every_logit() {
    for op in ["x+y", "x-y"] {
        let task = task(op);
        let (plan, _, batches) = engine(&task, ROWS, 2);
        for term in built(&all_terms()[..2], &task, &plan, &batches) {
            let (r, targets) = (1, targets(&batches[1]));
            let mut logits = numbers(ROWS * P, 7);
            let (_, d) = of_logits(&term, r, &logits, targets);
            assert!(d.iter().any(|d| d.abs() > 1e-4), "nothing to compare");
            for i in 0..logits.len() {
                let at = logits[i];
                let mut value = |by: f64| {
                    logits[i] = at + by;
                    of_logits(&term, r, &logits, targets).0
                };
                let difference = (value(1e-5) - value(-1e-5)) / 2e-5;
                logits[i] = at;
                assert!((d[i] - difference).abs() < 1e-9, "{op} {} {i}: {} against {difference}", term.name, d[i]);
            }
        }
    }
}

/// A wave of a + b − c is all that is kept and all that is taken away, whatever part of the pairs is trained on.
#[test]
fn waves_are_kept_and_taken_away_exactly_on_any_split() {
    let task = task("x+y");
    for n in [40, ROWS, P * P] {
        let (plan, _, batches) = engine(&task, n, 2);
        let terms = built(&all_terms()[..2], &task, &plan, &batches);
        let targets = targets(&batches[0]);
        let angle = |s: usize| std::f64::consts::TAU * s as f64 / P as f64;
        // Frequency 2 is kept by the first term; 1, 3 and 4 are taken away by the second.
        for (k, term) in [(2, &terms[0]), (3, &terms[1])] {
            let logit = |s: u32, c: usize| 4.0 * angle(k * (s as usize + P - c)).cos() + 0.1 * c as f64;
            let logits: Vec<f64> = targets.iter().flat_map(|&s| (0..P).map(move |c| logit(s, c))).collect();
            // What is left beside the waves is a number a class; targets are not spread evenly, so it is summed here.
            let loss = |logits: &dyn Fn(u32, usize) -> f64| {
                let row = |&s: &u32| (0..P).map(|c| logits(s, c).exp()).sum::<f64>().ln() - logits(s, s as usize);
                targets.iter().map(row).sum::<f64>() / n as f64
            };
            let mean = |c: usize| targets.iter().map(|&s| logit(s, c)).sum::<f64>() / n as f64;
            let want = if k == 2 { loss(&logit) } else { loss(&|_, c| mean(c)) };
            let (value, _) = of_logits(term, 0, &logits, targets);
            assert!((value - want).abs() < 1e-12, "{n} rows, {}: {value} against {want}", term.name);
        }
        let flat = vec![0.3; n * P];
        for term in &terms {
            let (value, _) = of_logits(term, 0, &flat, targets);
            assert!((value - (P as f64).ln()).abs() < 1e-12, "{}: {value}", term.name);
        }
    }
}

/// With all pairs for training, terms are the numbers of the measures.
#[test]
fn over_all_pairs_the_terms_are_the_measures() {
    for op in ["x+y", "x-y", "x*y"] {
        let task = task(op);
        let (plan, params, _) = engine(&task, P * P, 1);
        // In order, as measures have them.
        let mut batch = Batch::classes(3, task.tokens_bt.clone(), task.targets_bl.clone()).unwrap();
        plan.prepare(&mut batch).unwrap();
        let mut wanted = all_terms();
        wanted[1].freqs = Some(vec![2, 5]);
        // Waves of the answer itself are those of sums and differences.
        let (of_logits_too, wanted) = if op == "x*y" { (0, &wanted[2..6]) } else { (2, &wanted[..6]) };
        let terms = built(wanted, &task, &plan, std::slice::from_ref(&batch));
        let logits = numbers(P * P * P, 3);
        let tensors: Vec<Tensor> = params.to_tensors("").iter().map(|t| t.row(0).unwrap()).collect();
        let setting = Setting::new(Examples::from(&task), &params.to_tensors(""));
        let shared = Shared::default();
        let subject = Subject {
            replica: 0,
            setting: &setting,
            train_mask: &[true; P * P],
            params: &tensors,
            logits: &logits,
            activations: &[],
            model: &measure::fixture::Never,
            key_freqs: &[2, 5],
            shared: &shared,
        };
        let measured = |name: &str| measure::find(name).unwrap().eval(&subject).unwrap();
        let close = |value: f64, want: f64, name: &str| {
            assert!((value - want).abs() < 1e-11 * (1.0 + want.abs()), "{op} {name}: {value} against {want}");
        };
        let (of_all_logits, of_spectrum) = terms.split_at(of_logits_too);
        for (term, name) in of_all_logits.iter().zip(["restricted_loss", "excluded_loss"]) {
            close(of_logits(term, 0, &logits, &task.targets_bl).0, measured(name)[0][0], name);
        }
        let w_e: Vec<f64> = params.get(0, plan.params().find("embed.W_E").unwrap()).collect();
        let value = |term: &Term| {
            let TermKind::Params(kind) = &term.kind else { panic!("{term:?}") };
            kind.eval(0, &w_e, &mut vec![0.0; w_e.len()], &mut vec![f64::NAN; kind.scratch_len()])
        };
        close(value(&of_spectrum[0]), measured("gini")[0][0], "gini");
        let norms = &measured("fourier_norm_w_e")[0];
        let squares: Vec<f64> = norms.iter().map(|x| x * x).collect();
        let total: f64 = squares.iter().sum();
        close(value(&of_spectrum[1]), squares.iter().map(|x| x * x).sum::<f64>() / (total * total), "ipr");
        close(value(&of_spectrum[2]), squares[2], "freq_norm_w_e");
        close(value(&of_spectrum[3]), total - squares[0] - squares[1], "off_freq_norm_w_e");
    }
}

/// One wave over the task's group stands out of small random weights; over the residues it would be spread out for x*y.
#[test]
fn key_frequencies_are_those_of_the_tasks_group() {
    for op in ["x+y", "x*y"] {
        let task = task(op);
        let (_, mut params, _) = engine(&task, ROWS, 1);
        params.replica_mut(0).iter_mut().for_each(|w| *w *= 0.01);
        let modular = task.modular.as_ref().unwrap();
        let group = Group::new(P, modular.op()).unwrap();
        let mut tensors: Vec<Tensor> = params.to_tensors("").iter().map(|t| t.row(0).unwrap()).collect();
        let mut add_wave = |name: &str, stride: [usize; 2], k: usize| {
            let tensor = tensors.iter_mut().find(|t| t.name == name).unwrap();
            let Data::F64(values) = &mut tensor.data else { panic!("{name} is not f64") };
            for (i, &residue) in group.residues.iter().enumerate() {
                let height = (std::f64::consts::TAU * (k * i) as f64 / group.order as f64).cos();
                (0..8).for_each(|d| values[residue * stride[0] + d * stride[1]] += height);
            }
        };
        add_wave("embed.W_E", [8, 1], 2);
        add_wave("unembed.W_U", [1, P], 4);
        for (rule, k) in [(TermKeyRule::WE, 2), (TermKeyRule::WL, 4)] {
            let found = is_key(rule, &tensors, &group).unwrap();
            let want: Vec<bool> = (1..=group.order / 2).map(|freq| freq == k).collect();
            assert_eq!(found, want, "{op}, rule {rule:?}");
        }
    }
}

#[test]
fn a_single_wave_in_the_embedding_has_known_values() {
    let task = task("x+y");
    let (plan, _, batches) = engine(&task, ROWS, 1);
    let terms = built(&all_terms()[2..6], &task, &plan, &batches);
    let mut w_e = vec![0.0; (P + 1) * 8];
    for a in 0..P {
        w_e[a * 8 + 1] = (std::f64::consts::TAU * (3 * a) as f64 / P as f64).cos();
    }
    // The `=` token is no residue: it counts nowhere.
    w_e[P * 8] = 5.0;
    let half = P as f64 / 2.0;
    for (term, want) in terms.iter().zip([(P as f64 - 1.0) / P as f64, 1.0, half, half]) {
        let TermKind::Params(kind) = &term.kind else { panic!("{term:?}") };
        let (mut dw, mut scratch) = (vec![f64::NAN; w_e.len()], vec![f64::NAN; kind.scratch_len()]);
        let value = kind.eval(0, &w_e, &mut dw, &mut scratch);
        assert!((value - want).abs() < 1e-12, "{}: {value} against {want}", term.name);
        assert!(dw[P * 8..].iter().all(|&d| d == 0.0), "{}: the `=` token has a gradient", term.name);
    }
}

/// Gradients, values and outcomes have the same bits whoever does the work.
#[test]
fn threads_and_neighbours_do_not_change_bits() {
    let task = task("x+y");
    let (plan, params, batches) = engine(&task, 100, 3);
    let run = |threads: usize| {
        let mut runner = Runner::<f64>::new(Arc::clone(&plan), Workers::new(threads).unwrap());
        runner.set_terms(built(&all_terms(), &task, &plan, &batches)).unwrap();
        let (mut grads, mut out) = (params.clone(), [StepOutcome::default(); 3]);
        runner.loss_and_grads(&mut params.clone(), &mut grads, &batches, &mut out).unwrap();
        let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        (bits(&grads.flat), bits(runner.term_values()), out)
    };
    let one = run(1);
    assert!(one.2.iter().all(|out| out.finite) && !one.1.contains(&f64::NAN.to_bits()));
    for threads in [2, 4, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_term_takes_part_in_its_steps_and_only_watches_with_weight_0() {
    let task = task("x+y");
    let (plan, params, batches) = engine(&task, ROWS, 1);
    let grads_at = |terms: &[TermSpec], step: u64| {
        let mut runner = Runner::<f64>::new(Arc::clone(&plan), Workers::new(1).unwrap());
        runner.set_terms(built(terms, &task, &plan, &batches)).unwrap();
        runner.set_step(step);
        let (mut grads, mut out) = (params.clone(), [StepOutcome::default()]);
        runner.loss_and_grads(&mut params.clone(), &mut grads, &batches, &mut out).unwrap();
        let bits: Vec<u64> = grads.flat.iter().map(|x| x.to_bits()).collect();
        (bits, runner.term_values().to_vec(), out[0].loss)
    };
    let (plain, values, loss) = grads_at(&[], 0);
    assert!(values.is_empty());
    for term in all_terms() {
        let name = term.name();
        let bounded = [TermSpec { from_step: 5, to_step: Some(8), ..term.clone() }];
        for (step, takes_part) in [(4, false), (5, true), (7, true), (8, false)] {
            let (grads, values, with) = grads_at(&bounded, step);
            assert_eq!(grads != plain, takes_part, "{name} at {step}");
            assert_eq!(values[0].is_finite(), takes_part, "{name} at {step}");
            assert_eq!(with, loss, "{name}: the loss that is told is without terms");
        }
        let (grads, values, _) = grads_at(&[TermSpec { weight: 0.0, ..term }], 0);
        assert!(grads == plain && values[0].is_finite(), "{name} with weight 0");
    }
}

#[test]
fn a_loss_as_a_term_has_the_value_that_it_has_alone() {
    let task = task("x+y");
    let (plan, params, batches) = engine(&task, ROWS, 1);
    let value = |weight: f64| {
        let mut runner = Runner::<f64>::new(Arc::clone(&plan), Workers::new(1).unwrap());
        let term = |loss| TermSpec { loss: Some(loss), weight, ..TermSpec::default() };
        let terms = [term(LossKind::CrossEntropy), term(LossKind::Mse)];
        runner.set_terms(built(&terms, &task, &plan, &batches)).unwrap();
        let mut out = [StepOutcome::default()];
        runner.loss_and_grads(&mut params.clone(), &mut params.clone(), &batches, &mut out).unwrap();
        (out[0], runner.term_values().to_vec())
    };
    let graph = || model::graph(&spec(), &task_shape(&task));
    let shape = batch_shape(&task, ROWS);
    let mse = Plan::build_forward(graph(), &shape, &[LossTerm::new(LossKind::Mse, false)], &[], &[]).unwrap();
    let mut alone = Runner::<f64>::new(Arc::new(mse), Workers::new(1).unwrap());
    let mut squared = [StepOutcome::default()];
    alone.evaluate(&params, &batches, &mut squared).unwrap();
    for weight in [0.0, 1.0, -2.5] {
        let (out, values) = value(weight);
        assert!((values[0] - out.loss).abs() < 1e-14 && (values[1] - squared[0].loss).abs() < 1e-14, "{values:?}");
        assert_eq!(out.acc_frac, squared[0].acc_frac);
    }
}

#[test]
fn a_term_that_is_not_a_number_marks_its_replica() {
    let task = task("x+y");
    let (plan, params, batches) = engine(&task, ROWS, 2);
    for (expr, over) in [("log(w)", "embed.W_E"), ("log(l)", "logits"), ("sqrt(l - 100)", "logits")] {
        let (expr, over) = (Some(expr.to_owned()), Some(over.to_owned()));
        let mut runner = Runner::<f64>::new(Arc::clone(&plan), Workers::new(2).unwrap());
        runner.set_terms(built(&[TermSpec { expr, over, ..TermSpec::default() }], &task, &plan, &batches)).unwrap();
        let (mut grads, mut out) = (params.clone(), [StepOutcome::default(); 2]);
        runner.loss_and_grads(&mut params.clone(), &mut grads, &batches, &mut out).unwrap();
        assert!(out.iter().all(|out| !out.finite && out.loss.is_finite()), "{out:?}");
    }
}

/// Faults of a spec with these terms, as `key: message`.
fn told(task_op: &str, toml: &str) -> Vec<String> {
    let source = Source { path: Path::new("spec"), text: toml, sets: &[] };
    let spec: Spec = match from_toml(source, Spec::faults) {
        Ok(spec) => spec,
        Err(e) => return e.cause(),
    };
    let task = task(task_op);
    let params = model::graph(&spec.model, &task_shape(&task)).params;
    let place = Place { task: &task, params: &params, batch_size: spec.train.batch_size };
    faults(&spec.loss, &place).iter().map(Fault::to_string).collect()
}

#[test]
fn terms_that_do_not_fit_say_why() {
    let rows = [
        ("measure = \"restricted_train_los\"\nfreqs = [1]", "x+y", "did you mean `restricted_train_loss`?"),
        ("measure = \"restricted_train_loss\"", "x+y", "needs `freqs = [k, …]`"),
        ("measure = \"restricted_train_loss\"\nfreqs = [0]", "x+y", "0 is no frequency of this task; it has 1 to 5"),
        ("measure = \"excluded_train_loss\"\nfreqs = [6]", "x+y", "6 is no frequency"),
        ("measure = \"excluded_train_loss\"\nfreqs = [2, 3, 2]", "x+y", "different frequencies"),
        ("measure = \"excluded_train_loss\"\nfreqs = []", "x+y", "one or more"),
        ("measure = \"excluded_train_loss\"\nfreqs = [2]", "x*y", "the task is not x+y or x-y"),
        ("measure = \"gini_w_e\"\nfreqs = [2]", "x+y", "has no frequencies"),
        ("measure = \"gini_w_e\"\nover = \"embed.W_E\"", "x+y", "is for `expr`"),
        ("measure = \"gini_w_e\"\nexpr = \"w\"", "x+y", "write two terms"),
        ("measure = \"freq_norm_w_e\"\nfreqs = [2]\nfreqs_at = 5", "x+y", "given or found, not both"),
        ("measure = \"gini_w_e\"\nloss = \"mse\"", "x+y", "write two terms"),
        ("loss = \"mse\"\nover = \"logits\"", "x+y", "is for `expr`"),
        ("loss = \"mse\"\nfreqs = [2]", "x+y", "is for `measure`"),
        ("loss = \"mes\"", "x+y", "did you mean `mse`?"),
        ("weight = 2.0", "x+y", "needs `measure"),
        ("expr = \"w\"", "x+y", "missing; the parameters' name"),
        ("expr = \"w + z\"\nover = \"embed.W_E\"", "x+y", "column 5"),
        ("expr = \"l + w\"\nover = \"logits\"", "x+y", "column 5"),
        ("expr = \"3\"\nover = \"logits\"", "x+y", "the same whatever is trained"),
        ("expr = \"abs(w)\"\nover = \"embed.W_X\"", "x+y", "no parameter is named `embed.W_X`; there are: embed.W_E"),
        ("expr = \"w\"\nover = \"embed.W_E\"\nname = \"a b\"", "x+y", "lower-case letters"),
        ("expr = \"w\"\nover = \"embed.W_E\"\nweight = nan", "x+y", "not a finite number"),
        ("expr = \"w\"\nover = \"embed.W_E\"\nfrom_step = 5\nto_step = 5", "x+y", "is not after from_step 5"),
        ("measure = \"freq_norm_w_e\"\nfreqs_at = 9\nto_step = 9", "x+y", "is not after freqs_at 9"),
    ];
    for (toml, op, want) in rows {
        let told = told(op, &format!("title = \"t\"\n[[loss.terms]]\n{toml}\n"));
        assert!(told.len() == 1 && told[0].contains(want), "{toml}: {told:?}");
        assert!(told[0].contains("loss.terms[0]"), "{told:?}");
    }
    let twice = "[[loss.terms]]\nmeasure = \"gini_w_e\"\n[[loss.terms]]\nmeasure = \"gini_w_e\"\n";
    assert!(
        told("x+y", twice)[0].contains("line 3: loss.terms[1].name: two terms are called `gini_w_e`"),
        "{:?}",
        told("x+y", twice)
    );
    let mini = "[train]\nbatch_size = 9\n[[loss.terms]]\nmeasure = \"restricted_train_loss\"\nfreqs = [1]\n";
    assert!(told("x+y", mini)[0].contains("leave train.batch_size out"));
    let no_w_e = "[[loss.terms]]\nmeasure = \"restricted_train_loss\"\nfreqs = [1]\n\
                  [[loss.terms]]\nexpr = \"l\"\nover = \"logits\"\n[[loss.terms]]\nmeasure = \"freq_norm_w_e\"\nfreqs_at = 3\n";
    assert_eq!(told("x+y", no_w_e), Vec::<String>::new(), "all of this fits");
}

#[test]
fn every_measure_has_its_file_and_all_headings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/term");
    for (i, measure) in ALL.iter().enumerate() {
        let name = measure.name();
        assert!(folder.join(format!("{name}.rs")).is_file(), "{name} has no file of its name");
        assert!(ALL[..i].iter().all(|other| other.name() != name), "{name} stands twice");
        assert!(!measure.summary().is_empty() && !measure.summary().contains('\n'), "{name}: summary is one line");
        let text = measure.explain();
        let headings: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        let expected = ["What it is", "Reads", "Unit and range", "Value at a known point", "Source"];
        assert_eq!(headings, expected, "{name}: headings of explain");
        assert!(text.lines().all(|line| line.len() <= 120), "{name}: a line is too long for a terminal");
    }
    let error = find("gini_w_f").err();
    assert_eq!(error.and_then(|e| e.hint()).as_deref(), Some("did you mean `gini_w_e`?"));
}
