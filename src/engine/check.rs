//! For tests: an op's gradients, through the runner, against central differences in f64.

use std::sync::Arc;

use super::batch::Batch;
use super::ctx::Ctx;
use super::cuda::host::Host;
use super::cuda::lower::{Lower, OnDevice, Pick};
use super::cuda::optim::Optim;
use super::cuda::trainer::{Job, Trainer};
use super::graph::Graph;
use super::op::{Kernel, Op, ParamId, Space, Tile, ValueId, wiring};
use super::params::Params;
use super::plan::{BatchShape, Plan, Site};
use super::real::Real;
use super::runner::{Runner, StepOutcome};
use super::workers::Workers;
use crate::loss::LossTerm;
use crate::optim::Settings;
use crate::spec::{LossKind, OptimSpec};

/// A value that is a parameter, so that gradients of inputs are gradients of parameters.
#[derive(Debug)]
struct Leaf {
    w: ParamId,
    y: ValueId,
}

impl Op for Leaf {
    wiring!(inputs: ; output: y);
    fn params(&self) -> Vec<ParamId> {
        vec![self.w]
    }
    fn keeps_pairs(&self) -> bool {
        false
    }
}

impl OnDevice for Leaf {
    fn forward(&self, l: &mut Lower<'_>) {
        let pick = self.pick(l);
        l.gather(l.param(self.w), self.y, pick);
    }
    fn backward(&self, l: &mut Lower<'_>, _: &Site) {
        let (pick, to) = (self.pick(l), l.param_grad(self.w));
        let n = l.plan.params.infos[self.w].len() / l.size(self.y).1;
        l.segment_sums(self.y, to, n, pick);
    }
}

impl Leaf {
    fn pick(&self, l: &mut Lower<'_>) -> Pick {
        let (n_ctx, held) = (l.plan.n_ctx, l.held(self.y));
        let rows = (0..l.plan.shape.examples).flat_map(|b| held.iter().map(move |t| (b * n_ctx + t) as u32));
        Pick::Constant(l.words(rows))
    }
}

impl<T: Real> Kernel<T> for Leaf {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (y, held, width) = (c.value_mut(self.y, &tile), c.positions(self.y), c.width(self.y));
        let rows = tile.flat_map(|b| held.iter().map(move |t| b * c.batch.n_ctx + t));
        for (y, row) in y.chunks_exact_mut(width).zip(rows) {
            y.copy_from_slice(&c.param(self.w)[row * width..(row + 1) * width]);
        }
    }
    fn backward(&self, _c: &Ctx<'_, T>, _tile: Tile) {}
    fn owners(&self, _c: &Ctx<'_, T>) -> usize {
        1
    }
    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, _owner: usize) {
        let (dy, held, width) = (c.grad(self.y, &tile), c.positions(self.y), c.width(self.y));
        let rows = tile.flat_map(|b| held.iter().map(move |t| b * c.batch.n_ctx + t));
        for (dy, row) in dy.chunks_exact(width).zip(rows) {
            crate::engine::simd::add(c.param_grad(self.w, row * width..(row + 1) * width), dy);
        }
    }
}

/// Numbers between −1 and 1 that stay 0.01 away from every multiple of 0.02, so from every kink that the tests have.
fn numbers(n: usize) -> impl Iterator<Item = f64> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(n as u64 + 1);
    (0..n).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        0.01 + 0.02 * (((state >> 33) % 100) as f64 - 50.0)
    })
}

/// One op, or a few, between leaves and a squared error.
pub(crate) struct OpCheck {
    graph: Graph,
    examples: usize,
    noise: Vec<u64>,
}

impl OpCheck {
    pub(crate) fn new(examples: usize, n_ctx: usize) -> OpCheck {
        OpCheck { graph: Graph::new(n_ctx), examples, noise: vec![] }
    }

    /// Lets dropout draw.
    pub(crate) fn with_noise(self, seed: u64) -> OpCheck {
        OpCheck { noise: vec![seed], ..self }
    }

    pub(crate) fn param(&mut self, name: &str, shape: &[usize]) -> ParamId {
        self.graph.param(name, shape)
    }

    pub(crate) fn value(&mut self, axes: &[usize]) -> ValueId {
        let name = format!("value {}", self.graph.values.len());
        self.graph.value(name, axes)
    }

    pub(crate) fn value_at(&mut self, axes: &[usize], positions: Vec<usize>) -> ValueId {
        let name = format!("value {}", self.graph.values.len());
        self.graph.value_at(name, axes, positions)
    }

    pub(crate) fn input(&mut self, axes: &[usize]) -> ValueId {
        let y = self.value(axes);
        let width: usize = axes.iter().product();
        let w = self.graph.param(format!("input {y}"), &[self.examples, self.graph.n_ctx, width]);
        self.graph.push(Leaf { w, y });
        y
    }

    pub(crate) fn assert_gradients(self, op: impl Op + 'static, y: ValueId) {
        self.assert_gradients_through(vec![Box::new(op)], y);
    }

    pub(crate) fn assert_gradients_through(mut self, ops: Vec<Box<dyn Op>>, y: ValueId) {
        let what = format!("{:?}", ops[0]);
        self.graph.ops.extend(ops);
        self.graph.logits = y;
        let Space::Batch(positions) = self.graph.values[y].space.clone() else { unreachable!() };
        let (n_ctx, width, rows) = (self.graph.n_ctx, self.graph.values[y].width, self.examples * positions.len());
        let shape =
            BatchShape { examples: self.examples, d_vocab: 4, possible_tokens: None, loss_positions: positions };
        let plan = Plan::build(self.graph, &shape, &[LossTerm::new(LossKind::Mse, false)], &[], &[]).expect("builds");
        let tokens = (0..self.examples * n_ctx).map(|i| (i * 7 % 4) as u32).collect();
        let mut batch = Batch::reals(n_ctx, (vec![], 1), (numbers(rows * width).map(|y| 0.7 - y).collect(), width));
        batch.x = super::batch::Inputs::Ids(tokens);
        let layout = Arc::clone(plan.params());
        let plan = Arc::new(plan);
        let mut runner = Runner::<f64>::new(Arc::clone(&plan), Workers::new(2).expect("two workers"));
        runner.set_noise(&self.noise);
        let mut params = Params::<f64>::zeros(Arc::clone(&layout), 1);
        for (id, info) in layout.infos.iter().enumerate() {
            params.set(0, id, numbers(info.len()));
        }
        let mut eval = |params: &mut Params<f64>| {
            let mut grads = Params::zeros(Arc::clone(&layout), 1);
            let mut out = [StepOutcome::default()];
            runner.loss_and_grads(params, &mut grads, std::slice::from_ref(&batch), &mut out).expect("shapes fit");
            (out[0].loss, grads)
        };
        let (loss, grads) = eval(&mut params);
        on_device(&what, &plan, &batch, (&params, &self.noise), (loss, &grads));
        for info in &layout.infos {
            let at = info.offset..info.offset + info.len();
            let fd: Vec<f64> = (at.clone())
                .map(|i| {
                    let x = params.flat[i];
                    let mut moved = |by: f64| {
                        params.flat[i] = x + by;
                        eval(&mut params).0
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    params.flat[i] = x;
                    slope
                })
                .collect();
            let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
            let own = &grads.flat[at];
            let apart = norm(&mut own.iter().zip(&fd).map(|(a, b)| a - b));
            let sizes = norm(&mut own.iter().copied()) + norm(&mut fd.iter().copied());
            assert!(sizes > 1e-9, "{what}: the gradient of {} is zero, so the test shows nothing", info.name);
            assert!(apart / sizes < 1e-6, "{what}: gradient of {} is off by {:e}", info.name, apart / sizes);
        }
    }
}

/// The same loss and gradients by the device's kernels, of two replicas.
fn on_device(
    what: &str,
    plan: &Plan,
    batch: &Batch,
    (params, noise): (&Params<f64>, &[u64]),
    (loss, grads): (f64, &Params<f64>),
) {
    if plan.steps.iter().any(|step| step.op.on_device().is_none()) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let seeds = [noise.first().copied().unwrap_or(0); 2];
    let spec = OptimSpec { lr: 0.0, weight_decay: 0.0, ..OptimSpec::default() };
    let optim = Optim::new(&spec, Settings::new(&spec, &seeds, 1), plan, false).expect("an optimiser with kernels");
    let batches = std::slice::from_ref(batch);
    let job = Job { plan, batches, fresh: false, evaluations: vec![], optim, seeds: &seeds };
    let mut trainer = Trainer::<f64>::new(Box::new(host), job).expect("every op has kernels");
    let mut both = Params::zeros(Arc::clone(&params.layout), 2);
    (0..2).for_each(|r| both.replica_mut(r).copy_from_slice(&params.flat));
    let zeros = Params::zeros(Arc::clone(&params.layout), 2);
    trainer.put(&both, &[zeros.clone(), zeros.clone()], None, (0, &[None, None])).expect("puts");
    trainer.steps(1).expect("runs");
    let outcomes = trainer.outcomes().expect("reads");
    let mut own = zeros;
    trainer.grads(&mut own).expect("reads");
    for (r, outcome) in outcomes.iter().enumerate() {
        assert!((outcome.loss - loss).abs() <= 1e-12 * loss.abs(), "{what}: loss {} against {loss}", outcome.loss);
        for info in &params.layout.infos {
            let at = info.offset..info.offset + info.len();
            for (own, want) in own.replica(r)[at.clone()].iter().zip(&grads.flat[at]) {
                let near = 1e-12 + 1e-10 * want.abs();
                assert!((own - want).abs() <= near, "{what}: gradient of {}: {own} against {want}", info.name);
            }
        }
    }
}
