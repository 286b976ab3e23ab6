//! The same bits of parameters, moments and losses, whatever the threads and whoever the neighbours.

use std::sync::Arc;

use phaselab::engine::{Batch, Params, Plan, Real, Runner, Savings, State, StepOutcome, Workers};
use phaselab::optim::{Settings, build};
use phaselab::rng::Rng;
use phaselab::spec::{
    Act, Formula, Grokfast, Input, LossKind, ModelSpec, Normalization, OptimKind, OptimSpec, Parametrization,
    Positional,
};

use crate::configs::{self, Config, PLAIN};

/// The canonical model over p = 23, narrower; several tiles and pair-table tiles, and batches that end within a tile.
fn config() -> Config {
    let model = ModelSpec { d_model: 32, n_heads: 4, d_mlp: 64, ..ModelSpec::default() };
    let mut config = configs::modular("canonical, p = 23", 23, model, LossKind::CrossEntropy);
    config.loss.f64 = true;
    config
}

/// A split: some of the pairs, in an order of their own.
fn split(config: &Config, seed: u64, examples: usize) -> (Vec<u32>, Vec<u32>) {
    let order = Rng::stream(seed, "tests/split").permutation(config.examples());
    let chosen = || order[..examples].iter().map(|&i| i as usize);
    let tokens = chosen().flat_map(|i| config.tokens[3 * i..3 * i + 3].to_vec()).collect();
    (tokens, chosen().map(|i| config.targets[i]).collect())
}

/// Everything that a run leaves behind, as bits.
#[derive(Debug, Clone, PartialEq)]
struct Traces {
    /// `[replica][number]`: parameters, gradients, moments.
    arrays: Vec<Vec<u64>>,
    /// `[step][replica]`: loss bits, accuracy bits, finite.
    outcomes: Vec<Vec<(u64, u64, bool)>>,
}

struct Run<T: Real> {
    plan: Arc<Plan>,
    threads: usize,
    batches: Vec<Batch>,
    params: Params<T>,
    optim: OptimSpec,
    seeds: Vec<u64>,
}

impl<T: Real> Run<T> {
    /// A replica a seed, each with its split of 401 examples.
    fn new(config: &Config, threads: usize, seeds: &[u64]) -> Run<T> {
        let mut part = config.shape();
        part.examples = 401;
        let graph = phaselab::model::graph(&config.model, &config.task);
        let losses = std::slice::from_ref(&config.loss);
        let plan = Arc::new(Plan::build(graph, &part, losses, &[], &[]).unwrap());
        let batch = |&seed: &u64| {
            let (tokens, targets) = split(config, seed, part.examples);
            let mut batch = Batch::classes(3, tokens, targets).unwrap();
            plan.prepare(&mut batch).unwrap();
            batch
        };
        let params = phaselab::model::initialize(plan.params(), &config.model, seeds);
        let optim = OptimSpec { clip_norm: Some(1.0), ..OptimSpec::default() };
        Run { threads, batches: seeds.iter().map(batch).collect(), params, plan, optim, seeds: seeds.to_vec() }
    }

    fn train(mut self, steps: u64) -> Traces {
        let replicas = self.params.replicas();
        let update = build::<T>(&self.optim, Settings::new(&self.optim, &self.seeds, steps));
        let mut grads = Params::zeros(Arc::clone(self.plan.params()), replicas);
        let mut moments = vec![grads.clone(); update.moments()];
        let mut runner = Runner::new(Arc::clone(&self.plan), Workers::new(self.threads).unwrap());
        let mut outcomes = vec![];
        for step in 0..steps {
            let state = State { params: &mut self.params, grads: &mut grads, moments: &mut moments };
            let mut out = vec![StepOutcome::default(); replicas];
            runner.step(state, &self.batches, update.as_ref(), step, &mut out).unwrap();
            outcomes.push(out.iter().map(|o| (o.loss.to_bits(), o.acc_frac.to_bits(), o.finite)).collect());
        }
        let bits = |r: usize| {
            [&self.params, &grads]
                .into_iter()
                .chain(&moments)
                .flat_map(|p| p.replica(r))
                .map(|x| x.to_f64().to_bits())
                .collect()
        };
        Traces { arrays: (0..replicas).map(bits).collect(), outcomes }
    }
}

fn threads_do_not_matter<T: Real>(steps: u64) {
    let config = config();
    for replicas in [1, 2, 3, 5, 8] {
        let seeds: Vec<u64> = (0..replicas).collect();
        let one = Run::<T>::new(&config, 1, &seeds).train(steps);
        let losses = |step: usize| f64::from_bits(one.outcomes[step][0].0);
        assert!(losses(steps as usize - 1) < losses(0), "nothing was learnt, so the test shows nothing");
        for threads in [2, 3, 4] {
            let many = Run::<T>::new(&config, threads, &seeds).train(steps);
            assert!(one == many, "{replicas} replicas differ between 1 and {threads} threads");
        }
    }
}

#[test]
fn threads_do_not_matter_in_f32() {
    threads_do_not_matter::<f32>(20);
}

#[test]
fn threads_do_not_matter_in_f64() {
    threads_do_not_matter::<f64>(20);
}

/// Networks and an optimiser that the canonical set-up has nothing of.
#[test]
fn threads_and_neighbours_do_not_matter_for_other_networks() {
    for config in [configs::tied(23), configs::gromov(23, 200), configs::everything(23)] {
        let run = |threads, seeds: &[u64]| {
            let mut run = Run::<f32>::new(&config, threads, seeds);
            run.optim.grokfast = Some(Grokfast::default());
            run.train(8)
        };
        let one = run(1, &[0, 1, 2]);
        assert_eq!(one.arrays[0].len() % 5, 0, "parameters, gradients, three moments");
        assert_ne!(one.outcomes[0], one.outcomes[7], "nothing was learnt, so the test shows nothing");
        for threads in [2, 3, 4] {
            assert!(run(threads, &[0, 1, 2]) == one, "{}: {threads} threads", config.name);
            let alone = run(threads, &[2]);
            assert!(alone.arrays[0] == one.arrays[2], "{}: alone, {threads} threads", config.name);
        }
    }
}

/// Noise of a replica's own, whoever updates which part of its parameters.
#[test]
fn threads_and_neighbours_do_not_matter_for_langevin_dynamics() {
    let run = |threads, seeds: &[u64]| {
        let mut run = Run::<f32>::new(&config(), threads, seeds);
        let sgld = OptimSpec { kind: OptimKind::Sgld, inverse_temperature: 1e4, localization: 1.0, ..run.optim };
        run.optim = OptimSpec { lr: 1e-5, warmup_steps: 0, ..sgld };
        run.train(8)
    };
    let one = run(1, &[0, 1, 2]);
    assert!(one.outcomes[7].iter().all(|(.., finite)| *finite));
    assert_ne!(one.arrays[0], one.arrays[1]);
    for threads in [2, 3, 4] {
        assert!(run(threads, &[0, 1, 2]) == one, "{threads} threads");
        assert!(run(threads, &[2]).arrays[0] == one.arrays[2], "alone, {threads} threads");
    }
}

#[test]
fn a_replica_alone_is_the_replica_among_eight() {
    let config = config();
    for threads in [1, 2, 3] {
        let eight = Run::<f32>::new(&config, threads, &[0, 1, 2, 3, 4, 5, 6, 7]).train(20);
        for r in [3, 7] {
            let alone = Run::<f32>::new(&config, threads, &[r as u64]).train(20);
            assert!(alone.arrays[0] == eight.arrays[r], "replica {r}, {threads} threads");
            for (alone, eight) in alone.outcomes.iter().zip(&eight.outcomes) {
                assert_eq!(alone[0], eight[r]);
            }
        }
        assert_ne!(eight.arrays[3], eight.arrays[7], "replicas must differ");
    }
}

#[test]
fn a_shared_batch_is_the_same_batch_for_each() {
    let config = config();
    for threads in [1, 2] {
        let run = || Run::<f32>::new(&config, threads, &[0, 1, 2]);
        let (mut shared, mut each) = (run(), run());
        shared.batches.truncate(1);
        each.batches = vec![shared.batches[0].clone(); 3];
        assert!(shared.train(5) == each.train(5), "{threads} threads");
    }
}

#[test]
fn a_replica_that_is_not_finite_skips_its_update_and_the_others_go_on() {
    let config = config();
    for (threads, replicas) in [(1, 3), (2, 3), (4, 2)] {
        let seeds: Vec<u64> = (0..replicas).collect();
        let healthy = Run::<f32>::new(&config, threads, &seeds).train(5);
        for bad in [f32::NAN, f32::INFINITY, 3e38] {
            let sick = seeds.len() - 1;
            let mut run = Run::<f32>::new(&config, threads, &seeds);
            // All embeddings: the largest finite numbers overflow in the first product.
            run.params.replica_mut(sick)[..700].fill(bad);
            let before: Vec<u64> = run.params.replica(sick).iter().map(|&x| f64::from(x).to_bits()).collect();
            let traces = run.train(5);
            assert!(traces.arrays[..sick] == healthy.arrays[..sick], "{bad}: the others changed");
            for (step, (own, healthy)) in traces.outcomes.iter().zip(&healthy.outcomes).enumerate() {
                assert_eq!(own[..sick], healthy[..sick], "{bad}");
                assert!(!own[sick].2, "{bad}: step {step} is not marked");
            }
            // Parameters, gradients, and two moments, which stay zero.
            let stride = before.len();
            assert_eq!(traces.arrays[sick][..stride], before, "{bad}: the update was not skipped");
            assert!(traces.arrays[sick][2 * stride..].iter().all(|&bits| bits == 0), "{bad}: moments moved");
        }
    }
}

#[test]
fn fingerprints_tell_plans_apart() {
    let config = config();
    let base = config.plan().fingerprint();
    assert_eq!(base, config.plan().fingerprint());
    let other = |change: &dyn Fn(&mut Config)| {
        let mut config = self::config();
        change(&mut config);
        config.plan().fingerprint()
    };
    let mut all = vec![
        base,
        config.plan_with(PLAIN, &[], &[]).unwrap().fingerprint(),
        config.plan_with(Savings { fusion: false, ..Savings::default() }, &[], &[]).unwrap().fingerprint(),
        other(&|c| c.model.d_mlp = 48),
        other(&|c| c.model.attn_bias = true),
        other(&|c| c.model.act = Act::Gelu),
        other(&|c| c.model.act = Act::Silu),
        other(&|c| c.model.act = Act::Formula(Formula::new("x^2").unwrap())),
        other(&|c| c.model.act = Act::Formula(Formula::new("x^3").unwrap())),
        other(&|c| c.model.normalization = Normalization::Ln),
        other(&|c| c.model.normalization = Normalization::LnPre),
        other(&|c| c.model.normalization = Normalization::Rms),
        other(&|c| c.model.normalization = Normalization::RmsPre),
        other(&|c| c.model.positional = Positional::None),
        other(&|c| c.model.tied_unembed = true),
        other(&|c| c.model = ModelSpec { input: Input::Onehot, ..configs::gromov(23, 64).model }),
        other(&|c| {
            let standard = ModelSpec { parametrization: Parametrization::Standard, ..configs::gromov(23, 64).model };
            c.model = standard;
        }),
        other(&|c| c.loss.f64 = false),
        other(&|c| c.loss.weight = 0.5),
        other(&|c| c.loss.kind = LossKind::Mse),
        other(&|c| c.task.loss_positions = vec![1]),
        other(&|c| c.possible_tokens = None),
        other(&|c| c.tokens.truncate(3 * 400)),
    ];
    for change in [phaselab::engine::Change::Ablate, phaselab::engine::Change::Freeze] {
        for at in ["embed.W_E", "blocks.0.attn.hook_z"] {
            let edit = phaselab::engine::Edit::new(at, change.clone());
            all.push(config.plan_with(Savings::default(), &[], &[edit]).unwrap().fingerprint());
        }
    }
    let n = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), n, "two different plans have one fingerprint");
}
