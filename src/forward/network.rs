//! The network of a spec over all examples of its task: activations and gradients by hook, in f64.

use std::sync::{Arc, Mutex};

use crate::engine::op::{Space, Value};
use crate::engine::{
    Batch, Graph, Hook, LOSS_LOGITS, ParamInfo, Params, Plan, Real, Runner, Savings, Target, Targets, Workers,
};
use crate::error::Result;
use crate::loss::LossTerm;
use crate::measure::{Forward, HookShape, ParamShape};
use crate::model;
use crate::spec::{Dtype, LossKind, Spec};
use crate::task::Task;
use crate::tensor::Tensor;
use crate::train::{batch, batch_shape, task_shape};

/// The network of a run and all examples of its task: activations in f64.
pub(super) struct Network<'a> {
    spec: &'a Spec,
    task: &'a Task,
    /// Passes at the hooks that were asked for so far.
    passes: Mutex<Vec<Arc<Pass<f64>>>>,
    /// The pass to the logits alone, in f32.
    single: Mutex<Option<Arc<Pass<f32>>>>,
    /// Gradients of single logits that were asked for so far.
    gradients: Mutex<Vec<Arc<LogitGradients>>>,
}

/// Single logits of some examples, and their gradients at some hooks.
struct LogitGradients {
    which: Vec<(usize, u32)>,
    hooks: Vec<Hook>,
    /// To the logits.
    forward: Pass<f64>,
    /// To the hooks; its batch gets the targets of each time.
    backward: Pass<f64>,
}

/// A plan that keeps some hooks, over all examples; one runner for each time that it is under way.
struct Pass<T: Real> {
    hooks: Vec<Hook>,
    plan: Arc<Plan>,
    batch: Batch,
    idle: Mutex<Vec<Runner<T>>>,
}

/// What analysis does without: a sum inside a matrix product rounds otherwise than one apart, so that the numbers at a hook would
/// depend on whether the hook before the sum is asked for too.
const SAVINGS: Savings = Savings { positions: true, pairs: true, fusion: false, target: Target::Processor };

impl<'a> Network<'a> {
    pub(super) fn new(spec: &'a Spec, task: &'a Task) -> Network<'a> {
        Network { spec, task, passes: Mutex::new(vec![]), single: Mutex::new(None), gradients: Mutex::new(vec![]) }
    }

    fn graph(&self) -> Graph {
        model::graph(&self.spec.model, &task_shape(self.task))
    }

    /// Its parameters, in the order of the snapshots.
    pub(super) fn params(&self) -> Vec<ParamShape> {
        let shape = |info: &ParamInfo| ParamShape { name: info.name.clone(), shape: info.shape.clone() };
        self.graph().params.infos.iter().map(shape).collect()
    }

    /// Every activation that it has, with its positions and axes.
    pub(super) fn hooks(&self) -> Vec<HookShape> {
        let graph = self.graph();
        let shape = |name: &str, id: usize| {
            let Value { space, axes, .. } = &graph.values[id];
            let Space::Batch(positions) = space else { unreachable!("invariant: tables come with a plan") };
            HookShape { name: name.into(), positions: positions.clone(), axes: axes.clone() }
        };
        let own = graph.values.iter().enumerate().map(|(id, value)| shape(&value.name, id));
        own.chain(graph.aliases.iter().map(|(name, id)| shape(name, *id))).collect()
    }

    /// The pass that keeps `hooks`: made when first asked for.
    fn pass(&self, hooks: &[Hook]) -> Result<Arc<Pass<f64>>> {
        let mut passes = self.passes.lock().expect("invariant: nobody panics with the lock held");
        if let Some(pass) = passes.iter().find(|pass| pass.hooks == hooks) {
            return Ok(Arc::clone(pass));
        }
        let batch = self.all_examples();
        let losses = [LossTerm::new(self.spec.loss.kind, true)];
        let losses = if hooks.iter().any(|hook| hook.gradient) { &losses[..] } else { &[] };
        let pass = Arc::new(self.prepare(hooks, losses, batch)?);
        passes.push(Arc::clone(&pass));
        Ok(pass)
    }

    fn all_examples(&self) -> Batch {
        let all: Vec<u32> = (0..self.task.n_examples() as u32).collect();
        batch(self.task, &all)
    }

    /// The pass of [`Forward::logits`] in f32: made when first asked for.
    fn single_pass(&self) -> Result<Arc<Pass<f32>>> {
        let mut single = self.single.lock().expect("invariant: nobody panics with the lock held");
        if let Some(pass) = &*single {
            return Ok(Arc::clone(pass));
        }
        let pass = Arc::new(self.prepare(&[Hook::value(LOSS_LOGITS)], &[], self.all_examples())?);
        *single = Some(Arc::clone(&pass));
        Ok(pass)
    }

    /// The passes of [`Forward::logit_gradients`]: made when first asked for.
    fn gradient_passes(&self, which: &[(usize, u32)], hooks: &[Hook]) -> Result<Arc<LogitGradients>> {
        let mut all = self.gradients.lock().expect("invariant: nobody panics with the lock held");
        if let Some(known) = all.iter().find(|known| known.which == which && known.hooks == hooks) {
            return Ok(Arc::clone(known));
        }
        let n_classes = self.task.d_vocab_out;
        let examples: Vec<u32> = which.iter().map(|&(example, _)| example as u32).collect();
        let batch = Batch { weights: None, ..batch(self.task, &examples) };
        let forward = self.prepare(&[Hook::value(LOSS_LOGITS)], &[], batch.clone())?;
        let rows = batch.targets.rows();
        let targets = Targets::Reals { y_bln: vec![0.0; rows * n_classes], width: n_classes };
        let scale = 0.5 * (n_classes * rows) as f64;
        let loss = LossTerm { weight: scale, ..LossTerm::new(LossKind::Mse, true) };
        let at: Vec<Hook> = hooks.iter().map(|hook| Hook { gradient: true, ..hook.clone() }).collect();
        let backward = self.prepare(&at, &[loss], Batch { targets, ..batch })?;
        let passes = Arc::new(LogitGradients { which: which.to_vec(), hooks: hooks.to_vec(), forward, backward });
        all.push(Arc::clone(&passes));
        Ok(passes)
    }

    /// A pass over the examples of `batch`, backwards too where there is a loss.
    fn prepare<T: Real>(&self, hooks: &[Hook], losses: &[LossTerm], mut batch: Batch) -> Result<Pass<T>> {
        let shape = batch_shape(self.task, batch.examples());
        let plan = match losses.is_empty() {
            true => Plan::build_forward_with(SAVINGS, self.graph(), &shape, losses, hooks, &[])?,
            false => Plan::build_with(SAVINGS, self.graph(), &shape, losses, hooks, &[])?,
        };
        plan.prepare(&mut batch)?;
        Ok(Pass { hooks: hooks.to_vec(), plan: Arc::new(plan), batch, idle: Mutex::new(vec![]) })
    }
}

impl<T: Real> Pass<T> {
    fn run(&self, params: &[Tensor]) -> Result<Vec<Tensor>> {
        self.run_on(params, &self.batch)
    }

    /// The same on other examples that the plan is for.
    fn run_on(&self, params: &[Tensor], batch: &Batch) -> Result<Vec<Tensor>> {
        let with_replica_axis: Vec<Tensor> = (params.iter())
            .map(|t| Tensor { shape: std::iter::once(1).chain(t.shape.iter().copied()).collect(), ..t.clone() })
            .collect();
        let params = Params::from_tensors(self.plan.params(), &with_replica_axis, "")?;
        let idle = self.idle.lock().expect("invariant: nobody panics with the lock held").pop();
        let mut runner = match idle {
            Some(runner) => runner,
            None => Runner::new(Arc::clone(&self.plan), Workers::new(1)?),
        };
        let (_, wanted) = runner.observe(&params, 0, batch)?;
        self.idle.lock().expect("invariant: nobody panics with the lock held").push(runner);
        Ok(wanted)
    }
}

impl Forward for Network<'_> {
    fn observe(&self, params: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.pass(hooks)?.run(params)
    }

    fn logits(&self, params: &[Tensor]) -> Result<Vec<f64>> {
        let found = match self.spec.dtype {
            Dtype::F32 => self.single_pass()?.run(params)?,
            Dtype::F64 => self.observe(params, &[Hook::value(LOSS_LOGITS)])?,
        };
        Ok(found.first().map(Tensor::to_f64).unwrap_or_default())
    }

    /// The loss of which a single logit is the gradient: half the squared distance, times the number of classes, from a target that
    /// lies 1 below the logits in that class and is equal to them elsewhere.
    fn logit_gradients(&self, params: &[Tensor], which: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        let n_classes = self.task.d_vocab_out;
        let passes = self.gradient_passes(which, hooks)?;
        let logits = passes.forward.run(params)?;
        let mut y_bln = logits.iter().flat_map(Tensor::to_f64).collect::<Vec<f64>>();
        let per_example = self.task.loss_positions.len() * n_classes;
        for (y_ln, &(_, class)) in y_bln.chunks_exact_mut(per_example).zip(which) {
            y_ln[class as usize] -= 1.0;
        }
        let targets = Targets::Reals { y_bln, width: n_classes };
        passes.backward.run_on(params, &Batch { targets, ..passes.backward.batch.clone() })
    }
}
