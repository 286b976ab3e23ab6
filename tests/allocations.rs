//! No allocation in a training step after the third.
//!
//! Counted in watched threads, without those of `gemm`, which allocates its packing buffers anew in every call: they are told
//! by their backtrace. With one worker the caller's thread does all the work. With more, the caller hands over and waits:
//! `rayon`'s queue of handed-over jobs grows by a block every 63 of them, and a worker that splits a loop may grow its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phaselab::engine::{Batch, ExampleSet, Params, Runner, State, StepOutcome, Workers};
use phaselab::optim::{At, MAX_MOMENTS, Settings, Update, build};
use phaselab::rng::Rng;
use phaselab::spec::{LossKind, LossSpec, OptimSpec, TermSpec};
use phaselab::term::{Place, Replicas};

use crate::configs::{self, Config};

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Counts an allocation of a watched thread that is not `gemm`'s.
fn note() {
    if WATCHED.replace(false) {
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        if !trace.contains("gemm") {
            COUNT.set(COUNT.get() + 1);
        }
        WATCHED.set(true);
    }
}

/// The system's allocator, counting calls a thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// An update that has its worker watched after `warm` steps, and notes how often it has allocated since.
struct Probe {
    inner: Box<dyn Update<f32>>,
    warm: u64,
    seen: [AtomicUsize; 4],
}

impl Update<f32> for Probe {
    fn moments(&self) -> usize {
        self.inner.moments()
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.inner.clip_norm(replica)
    }

    fn update(&self, at: At, params: &mut [f32], grads: &[f32], moments: [&mut [f32]; MAX_MOMENTS]) {
        self.inner.update(at, params, grads, moments);
        WATCHED.set(at.step >= self.warm);
        self.seen[rayon::current_thread_index().unwrap_or(0)].store(COUNT.get(), Ordering::Relaxed);
    }
}

/// What is trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Data {
    /// All examples every step.
    Full,
    /// 100 examples gathered anew every step, as the trainer does.
    Mini,
    /// All examples, and a term of the loss of each kind.
    Terms,
}

/// Allocations of the caller and of the workers in `counted` steps after `warm` others.
fn count(threads: usize, replicas: usize, data: Data, (warm, counted): (u64, u64)) -> (usize, usize) {
    let model = phaselab::spec::ModelSpec { d_model: 32, d_mlp: 64, ..phaselab::spec::ModelSpec::default() };
    let config = configs::modular("canonical, p = 23", 23, model, LossKind::CrossEntropy);
    let plan = plan(&config, data);
    let seeds: Vec<u64> = (0..replicas as u64).collect();
    let mut params = phaselab::model::initialize::<f32>(plan.params(), &config.model, &seeds);
    let mut grads = Params::zeros(Arc::clone(plan.params()), replicas);
    let mut moments = [grads.clone(), grads.clone()];
    let spec = OptimSpec { clip_norm: Some(1.0), ..OptimSpec::default() };
    let inner = build::<f32>(&spec, Settings::new(&spec, &seeds, 100));
    let probe = Probe { inner, warm, seen: Default::default() };
    let mut runner = Runner::new(Arc::clone(&plan), Workers::new(threads).unwrap());
    if data == Data::Terms {
        runner.set_terms(terms(&plan, &vec![first_batch(&config, &plan, data); replicas])).unwrap();
    }
    let mut out = vec![StepOutcome::default(); replicas];
    let order = Rng::stream(0, "tests/order").permutation(config.examples());
    let set = ExampleSet {
        n: config.examples(),
        tokens_bt: &config.tokens,
        targets_bl: &config.targets,
        ..ExampleSet::default()
    };
    let mut batches = vec![first_batch(&config, &plan, data); replicas];
    for step in 0..warm + counted {
        WATCHED.set(step >= warm);
        if data == Data::Mini {
            for (r, batch) in batches.iter_mut().enumerate() {
                let at = (step as usize * 37 + r * 11) % (order.len() - 100);
                batch.gather(&set, &order[at..at + 100]);
                plan.prepare(batch).unwrap();
            }
        }
        let state = State { params: &mut params, grads: &mut grads, moments: &mut moments };
        runner.step(state, &batches, &probe, step, &mut out).unwrap();
    }
    WATCHED.set(false);
    (COUNT.replace(0), probe.seen.iter().map(|seen| seen.load(Ordering::Relaxed)).sum())
}

/// A term of each kind, over x + y mod 23.
fn terms(plan: &phaselab::engine::Plan, batches: &[Batch]) -> Vec<phaselab::engine::Term> {
    let card = "title = \"t\"\nfamily = \"modular\"\n[params]\nop = \"x+y\"\np = 23\n[layout]\ntokens = \"a b =\"\n\
                [split]\ntrain_frac = 0.5\n[[worked]]\nin = [0, 0]\nout = 0\n";
    let task = phaselab::task::Card::parse("t.toml".as_ref(), card).unwrap().build().unwrap();
    let measured = |name: &str, freqs| TermSpec { measure: Some(name.into()), freqs, ..TermSpec::default() };
    let expr = |name: &str, over: &str, text: &str| TermSpec {
        name: Some(name.into()),
        expr: Some(text.into()),
        over: Some(over.into()),
        weight: 1e-3,
        ..TermSpec::default()
    };
    let terms = vec![
        measured("restricted_train_loss", Some(vec![1, 4])),
        measured("excluded_train_loss", Some(vec![2])),
        measured("gini_w_e", None),
        measured("off_freq_norm_w_e", Some(vec![3])),
        expr("a", "*", "abs(w)"),
        expr("b", "logits", "y * l^2"),
    ];
    let loss = LossSpec { terms, ..LossSpec::default() };
    let place = Place { task: &task, params: plan.params(), batch_size: None };
    phaselab::term::build(&loss, &place, &Replicas { count: batches.len(), batches }).unwrap()
}

fn plan(config: &Config, data: Data) -> Arc<phaselab::engine::Plan> {
    let mut shape = config.shape();
    if data == Data::Mini {
        shape.examples = 100;
    }
    let graph = phaselab::model::graph(&config.model, &config.task);
    Arc::new(phaselab::engine::Plan::build(graph, &shape, std::slice::from_ref(&config.loss), &[], &[]).unwrap())
}

fn first_batch(config: &Config, plan: &phaselab::engine::Plan, data: Data) -> Batch {
    let n = if data == Data::Mini { 100 } else { config.examples() };
    let mut batch = Batch::classes(3, config.tokens[..3 * n].to_vec(), config.targets[..n].to_vec()).unwrap();
    plan.prepare(&mut batch).unwrap();
    batch
}

#[test]
fn a_step_after_the_third_does_not_allocate() {
    for data in [Data::Full, Data::Mini, Data::Terms] {
        for replicas in [1, 3] {
            let (caller, _) = count(1, replicas, data, (3, 3));
            assert_eq!(caller, 0, "{data:?}, {replicas} replicas");
        }
    }
}

/// Terms hand over more loops than the rest of a step, so that the queue grows by a block every few steps: at most one a step.
#[test]
fn with_two_workers_terms_too_allocate_only_queues() {
    for replicas in [1, 4] {
        let (caller, workers) = count(2, replicas, Data::Terms, (8, 8));
        assert!(caller <= 8 && workers <= 8, "{replicas} replicas: {caller} by the caller, {workers} by workers");
    }
}

#[test]
fn the_counter_counts() {
    WATCHED.set(true);
    drop(std::hint::black_box(vec![0u8; 100]));
    WATCHED.set(false);
    assert_eq!(COUNT.replace(0), 1);
}

/// A step hands over at most seven loops, so eight steps are one block of the queue; one allocation a step would be eight.
#[test]
fn with_two_workers_only_the_queues_of_rayon_grow() {
    for (replicas, data) in [(1, Data::Full), (4, Data::Full), (3, Data::Mini)] {
        let (caller, workers) = count(2, replicas, data, (8, 8));
        assert!(
            caller <= 2 && workers <= 2,
            "{replicas} replicas, {data:?}: {caller} by the caller, {workers} by workers"
        );
    }
}
