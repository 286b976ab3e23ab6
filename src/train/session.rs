//! The state of a run in memory: parameters, moments, metrics, and the plans that work on them.

use std::sync::Arc;

use super::data::Data;
use super::late_freqs::LateFreqs;
use super::mask::{self, mask};
use super::metrics::{Metrics, median};
use super::start_from::start_from;
use super::{Progress, Steps};
use crate::checkpoint::{ResumePoint, Snapshot};
use crate::engine::{
    Batch, BatchShape, Change, Edit, ParamLayout, Params, Plan, Real, Runner, Savings, State, StepOutcome, Target,
    Workers,
};
use crate::error::{Error, Result};
use crate::loss::LossTerm;
use crate::model::{self, TaskShape};
use crate::optim::{self, Settings, Update};
use crate::spec::{Dropout, Spec, TermSpec};
use crate::task::Task;
use crate::tensor::{Data as Numbers, Tensor};
use crate::term::{self, Place, Replicas};

/// All replicas of a run.
pub struct Session<'a, T: Real> {
    spec: &'a Spec,
    data: Data<'a>,
    train: Runner<T>,
    batches: Vec<Batch>,
    /// Forward passes over the test split, where there is one.
    test: Option<Evaluator<T>>,
    /// Forward passes over the whole training split, for mini-batches.
    whole_train: Option<Evaluator<T>>,
    params: Params<T>,
    grads: Params<T>,
    moments: Vec<Params<T>>,
    update: Box<dyn Update<T>>,
    step: u64,
    outcomes: Vec<StepOutcome>,
    non_finite: Vec<Option<u64>>,
    metrics: Metrics,
    late_freqs: LateFreqs,
    end: u64,
    /// Of the examples and the splits: going on with others would be another run.
    data_crc32: u32,
}

/// A plan without gradients over one split.
struct Evaluator<T: Real> {
    runner: Runner<T>,
    batches: Vec<Batch>,
    outcomes: Vec<StepOutcome>,
}

impl<T: Real> Evaluator<T> {
    fn run(&mut self, params: &Params<T>) -> Result<&[StepOutcome]> {
        self.runner.evaluate(params, &self.batches, &mut self.outcomes)?;
        Ok(&self.outcomes)
    }
}

fn data_crc32(task: &Task, mask: &Tensor) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in task.tokens_bt.iter().chain(&task.targets_bl) {
        crc.update(&number.to_le_bytes());
    }
    let numbers = task.numbers.iter().flat_map(|numbers| numbers.x_btn.iter().chain(&numbers.y_bln));
    for weight in numbers.chain(task.weights_bl.iter().flatten()) {
        crc.update(&weight.to_le_bytes());
    }
    if task.stream {
        crc.update(b"stream");
    }
    if let Numbers::U8(mask) = &mask.data {
        crc.update(mask);
    }
    crc.finalize()
}

/// Keeps the parameters that the patterns name.
fn frozen(patterns: &[String], params: &ParamLayout) -> Result<Vec<Edit>> {
    let named = params.named("optim.freeze", patterns)?;
    if named.iter().all(|&named| named) {
        return Err(Error::Value {
            what: "optim.freeze".into(),
            got: "patterns of every parameter".into(),
            expected: "some parameter that is left to train".into(),
        });
    }
    let edits = params.infos.iter().zip(named).filter(|(_, named)| *named);
    Ok(edits.map(|(info, _)| Edit::new(info.name.as_str(), Change::Freeze)).collect())
}

/// A split of a task's examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// For training.
    Train,
    /// The others.
    Test,
}

/// The plan of an update.
///
/// # Errors
/// Sizes that do not fit, patterns that name no parameter.
pub(super) fn step_plan(spec: &Spec, task: &Task, examples: usize, target: Target) -> Result<Plan> {
    let plain = LossTerm::new(spec.loss.kind, spec.loss.f64);
    let trained = [LossTerm { smoothing: spec.loss.label_smoothing, ..plain }];
    let graph = model::graph(&spec.model, &task_shape(task));
    let frozen = frozen(&spec.optim.freeze, &graph.params)?;
    let savings = Savings { target, ..Savings::default() };
    Plan::build_with(savings, graph, &batch_shape(task, examples), &trained, &[], &frozen)
}

/// The plan without gradients over all of a split, and its batches.
///
/// # Errors
/// As [`step_plan`].
pub(super) fn evaluation(
    spec: &Spec,
    task: &Task,
    data: &Data<'_>,
    split: Split,
    target: Target,
) -> Result<(Plan, Vec<Batch>)> {
    let loss = [LossTerm::new(spec.loss.kind, spec.loss.f64)];
    let graph = model::graph(&spec.model, &task_shape(task));
    let savings = Savings { target, ..Savings::default() };
    let examples = if split == Split::Test { data.n_test() } else { data.n_train() };
    let plan = Plan::build_forward_with(savings, graph, &batch_shape(task, examples), &loss, &[], &[])?;
    let batches = if split == Split::Test { data.test_batches(&plan)? } else { data.train_batches(&plan)? };
    Ok((plan, batches))
}

/// What the engine must know of a batch of a task.
pub(crate) fn batch_shape(task: &Task, examples: usize) -> BatchShape {
    BatchShape {
        examples,
        d_vocab: task.d_vocab,
        possible_tokens: task.numbers.is_none().then(|| task.possible_tokens.clone()),
        loss_positions: task.loss_positions.clone(),
    }
}

/// What a model must know of a task.
pub(crate) fn task_shape(task: &Task) -> TaskShape {
    let varying = || (0..task.n_ctx).filter(|&t| task.possible_tokens.get(t).is_none_or(|tokens| tokens.len() > 1));
    let tokens = varying().filter_map(|t| task.possible_tokens.get(t)?.last());
    TaskShape {
        numbers: task.numbers.as_ref().map(|numbers| numbers.widths.x),
        d_vocab: task.d_vocab,
        d_vocab_out: task.d_vocab_out,
        n_ctx: task.n_ctx,
        loss_positions: task.loss_positions.clone(),
        varying_positions: varying().collect(),
        varying_tokens: tokens.max().map_or(0, |&token| token as usize + 1),
    }
}

impl<'a, T: Real> Session<'a, T> {
    /// A run at step 0.
    ///
    /// # Errors
    /// Splits, batches or sizes that do not fit.
    pub fn new(spec: &'a Spec, task: &'a Task, workers: Workers) -> Result<Session<'a, T>> {
        model::fits(&spec.model, task)?;
        let mut data = Data::new(spec, task)?;
        if workers.count() > 1 {
            data.draw_ahead();
        }
        let seeds = &spec.train.seeds.0;
        let plan = step_plan(spec, task, data.batch_examples(), Target::Processor)?;
        let evaluator = |split| -> Result<Evaluator<T>> {
            let (plan, batches) = evaluation(spec, task, &data, split, Target::Processor)?;
            let outcomes = vec![StepOutcome::default(); seeds.len()];
            Ok(Evaluator { runner: Runner::new(Arc::new(plan), workers.clone()), batches, outcomes })
        };
        let test = if data.n_test() > 0 { Some(evaluator(Split::Test)?) } else { None };
        let whole_train = if data.is_mini_batch() { Some(evaluator(Split::Train)?) } else { None };
        let batches = data.step_batches(&plan)?;
        let mut params = model::initialize(plan.params(), &spec.model, seeds);
        if let Some(from) = &spec.model.from {
            start_from(from, &mut params)?;
        }
        let keep = match &spec.model.mask {
            Some(spec) => Some(mask(spec, seeds, &params)?),
            None => None,
        };
        if let Some(keep) = &keep {
            mask::apply(keep, &mut params);
        }
        let train_mask = data.train_mask();
        let zeros = || Params::zeros(Arc::clone(plan.params()), seeds.len());
        let update =
            optim::build_over::<T>(&spec.optim, Settings::new(&spec.optim, seeds, spec.train.steps), plan.params())?;
        let place = Place { task, params: plan.params(), batch_size: spec.train.batch_size };
        let terms = term::build(&spec.loss, &place, &Replicas { count: seeds.len(), batches: &batches })?;
        let late_freqs = LateFreqs::new(&spec.loss, task);
        let grads = zeros();
        let moments = (0..update.moments()).map(|_| zeros()).collect();
        let mut train = Runner::new(Arc::new(plan), workers);
        train.set_terms(terms)?;
        train.set_masks(keep);
        train.set_noise(if spec.model.dropout == Dropout::default() { &[] } else { seeds });
        Ok(Session {
            spec,
            grads,
            moments,
            data,
            train,
            batches,
            test,
            whole_train,
            params,
            update,
            step: 0,
            outcomes: vec![StepOutcome::default(); seeds.len()],
            non_finite: vec![None; seeds.len()],
            metrics: Metrics::new(spec.loss.kind, spec.loss.terms.iter().map(TermSpec::name)),
            late_freqs,
            end: spec.train.steps,
            data_crc32: data_crc32(task, &train_mask),
        })
    }

    /// For each replica, the first update that met a non-finite value.
    pub fn non_finite(&self) -> &[Option<u64>] {
        &self.non_finite
    }

    /// The parameters of all replicas.
    pub fn params(&self) -> &Params<T> {
        &self.params
    }

    /// Evaluations so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The training plan.
    pub fn plan(&self) -> &Plan {
        self.train.plan()
    }

    /// Examples and splits.
    pub(super) fn data(&self) -> &Data<'a> {
        &self.data
    }

    /// The same, for filling batches.
    pub(super) fn data_mut(&mut self) -> &mut Data<'a> {
        &mut self.data
    }

    /// State of the optimiser beside the parameters.
    pub(super) fn moments(&self) -> &[Params<T>] {
        &self.moments
    }

    /// Which numbers train, where not all do.
    pub(super) fn masks(&self) -> Option<&Params<T>> {
        self.train.masks()
    }

    /// Parameters and moments, for those that are elsewhere to be copied into.
    pub(super) fn state_mut(&mut self) -> (&mut Params<T>, &mut [Params<T>]) {
        (&mut self.params, &mut self.moments)
    }

    /// Updates from one evaluation to the next.
    pub(super) fn eval_every(&self) -> u64 {
        self.spec.train.eval_every
    }

    /// The splits that are evaluated by themselves.
    pub(super) fn evaluated(&self) -> Vec<Split> {
        let train = self.whole_train.as_ref().map(|_| Split::Train);
        self.test.as_ref().map(|_| Split::Test).into_iter().chain(train).collect()
    }

    /// Takes in what `n` updates elsewhere gave: the outcomes of the first of them and of the evaluations before it, where an evaluation was
    /// due, and for each replica the first update that met something not finite.
    pub(super) fn take_in(
        &mut self,
        n: u64,
        trained: Option<Vec<StepOutcome>>,
        evaluated: Vec<(Split, Vec<StepOutcome>)>,
        marks: &[Option<u64>],
    ) {
        for (split, outcomes) in evaluated {
            let evaluator = if split == Split::Test { &mut self.test } else { &mut self.whole_train };
            evaluator.iter_mut().for_each(|evaluator| evaluator.outcomes.clone_from(&outcomes));
        }
        let mut changed = trained.is_some();
        if let Some(outcomes) = trained {
            self.outcomes = outcomes;
            self.record();
        }
        for (r, (own, mark)) in self.non_finite.iter_mut().zip(marks).enumerate() {
            if own.is_none() && mark.is_some() {
                *own = *mark;
                self.train.skip(r);
                changed = true;
            }
        }
        self.step += n;
        self.settle(changed);
    }

    /// Looks at the stop rule again, where something may have changed.
    fn settle(&mut self, changed: bool) {
        if changed {
            self.end = match self.non_finite.iter().all(Option::is_some) {
                true => self.step,
                false => self.metrics.end(self.spec.train.stop.as_ref(), self.spec.train.steps, &self.non_finite),
            };
        }
    }

    fn record(&mut self) {
        let train = self.whole_train.as_ref().map_or(&self.outcomes, |train| &train.outcomes);
        let test = self.test.as_ref().map(|test| &test.outcomes[..]);
        self.metrics.push(self.step, train, test, self.train.term_values());
    }
}

impl<T: Real> Steps for Session<'_, T> {
    fn step(&self) -> u64 {
        self.step
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn advance(&mut self, _: u64) -> Result<()> {
        let due = self.step.is_multiple_of(self.spec.train.eval_every);
        if due {
            if let Some(test) = &mut self.test {
                test.run(&self.params)?;
            }
            if let Some(train) = &mut self.whole_train {
                train.run(&self.params)?;
            }
        }
        self.late_freqs.find(self.step, &self.params, &mut self.train)?;
        self.data.fill(self.step, self.train.plan(), &mut self.batches);
        let state = State { params: &mut self.params, grads: &mut self.grads, moments: &mut self.moments };
        self.train.step(state, &self.batches, &*self.update, self.step, &mut self.outcomes)?;
        if due {
            self.record();
        }
        let mut due = due;
        for (r, (mark, outcome)) in self.non_finite.iter_mut().zip(&self.outcomes).enumerate() {
            due |= !outcome.finite && mark.is_none();
            if !outcome.finite && mark.is_none() {
                *mark = Some(self.step);
                self.train.skip(r);
            }
        }
        self.step += 1;
        self.settle(due);
        Ok(())
    }

    fn evaluate_last(&mut self) -> Result<()> {
        if self.metrics.steps.last() == Some(&self.step) {
            return Ok(());
        }
        if let Some(test) = &mut self.test {
            test.run(&self.params)?;
        }
        if let Some(train) = &mut self.whole_train {
            train.run(&self.params)?;
        }
        // The training plan itself, so that the bits are those of a run that goes on.
        if self.whole_train.is_none() || !self.spec.loss.terms.is_empty() {
            self.late_freqs.find(self.step, &self.params, &mut self.train)?;
            self.data.fill(self.step, self.train.plan(), &mut self.batches);
            self.train.set_step(self.step);
            self.train.loss_and_grads(&mut self.params, &mut self.grads, &self.batches, &mut self.outcomes)?;
        }
        self.record();
        Ok(())
    }

    fn progress(&self) -> Progress {
        let replicas = self.outcomes.len();
        Progress {
            step: self.step,
            steps: self.end(),
            train_loss_nats: median(self.outcomes.iter().map(|o| o.loss)),
            train_acc_frac: median(self.outcomes.iter().map(|o| o.acc_frac)),
            test_loss_nats: self.metrics.last_median(2, replicas),
            test_acc_frac: self.metrics.last_median(3, replicas),
            non_finite: self.non_finite.iter().flatten().count(),
        }
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot { step: self.step, params: self.params.to_tensors(""), train_mask: self.data.train_mask() })
    }

    fn resume_point(&mut self) -> Result<ResumePoint> {
        let mut tensors = self.params.to_tensors("params/");
        for (i, moment) in self.moments.iter().enumerate() {
            tensors.extend(moment.to_tensors(&format!("moments/{i}/")));
        }
        tensors.extend(self.metrics.to_tensors(self.non_finite.len()));
        let marks = self.non_finite.iter().map(|mark| mark.unwrap_or(u64::MAX)).collect();
        tensors.push(Tensor {
            name: "state/non_finite_step".into(),
            shape: vec![self.non_finite.len()],
            data: Numbers::U64(marks),
        });
        tensors.extend(self.late_freqs.to_tensors());
        Ok(ResumePoint { step: self.step, plan_fingerprint: self.fingerprint(), tensors })
    }

    fn restore(&mut self, point: &ResumePoint) -> Result<()> {
        let layout = Arc::clone(self.train.plan().params());
        self.params = Params::from_tensors(&layout, &point.tensors, "params/")?;
        for (i, moment) in self.moments.iter_mut().enumerate() {
            *moment = Params::from_tensors(&layout, &point.tensors, &format!("moments/{i}/"))?;
        }
        self.metrics = Metrics::from_tensors(self.metrics.loss, &point.tensors)?;
        if let Some(marks) = point.tensors.iter().find(|t| t.name == "state/non_finite_step")
            && let Numbers::U64(marks) = &marks.data
        {
            self.non_finite = marks.iter().map(|&mark| (mark < u64::MAX).then_some(mark)).collect();
        }
        for r in (0..self.non_finite.len()).filter(|&r| self.non_finite[r].is_some()) {
            self.train.skip(r);
        }
        self.step = point.step;
        self.late_freqs.restore(&point.tensors, &mut self.train);
        self.settle(true);
        if self.step < self.end {
            self.metrics.keep_scheduled(self.step, self.spec.train.eval_every, self.non_finite.len());
        }
        Ok(())
    }

    fn fingerprint(&self) -> String {
        let terms = match &self.spec.loss.terms[..] {
            [] => String::new(),
            terms => format!("-{:08x}", crc32fast::hash(format!("{terms:?}").as_bytes())),
        };
        format!("{}-{:08x}{terms}", self.train.plan().fingerprint(), self.data_crc32)
    }

    fn non_finite_at_end(&self) -> Vec<Option<u64>> {
        self.metrics.with_last_row(&self.non_finite)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::{
        Family, Grokfast, Init, ModelSpec, Normalization, Reduce, Seeds, SplitRule, Stop, StopMetric, TrainSpec,
    };

    /// Small, with mini-batches, two seeds and a stop rule.
    fn spec() -> Spec {
        let mut spec = Spec { task: "mod_add_53".into(), ..Spec::default() };
        spec.model = ModelSpec { d_model: 16, n_heads: 2, d_mlp: 32, ..ModelSpec::default() };
        spec.train.seeds = Seeds(vec![3, 5]);
        spec.train.batch_size = Some(500);
        spec.train.eval_every = 4;
        spec.train.steps = 60;
        spec.train.stop = Some(Stop { metric: StopMetric::TrainLossNats, threshold: 4.0, evals: 2, extra_steps: 5 });
        spec
    }

    fn session<'a>(spec: &'a Spec, task: &'a Task, threads: usize) -> Session<'a, f32> {
        Session::new(spec, task, Workers::new(threads).unwrap()).unwrap()
    }

    fn advance_to(session: &mut Session<'_, f32>, step: u64) {
        while session.step() < step.min(session.end()) {
            session.advance(u64::MAX).unwrap();
        }
    }

    fn bits(session: &Session<'_, f32>) -> Vec<u32> {
        session.params().flat.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn mini_batches_resume_with_the_same_bits_on_other_threads() {
        let (spec, task) = (spec(), Task::load("mod_add_53").unwrap());
        let mut whole = session(&spec, &task, 1);
        advance_to(&mut whole, u64::MAX);
        assert!(whole.step() < 60, "the stop rule ends it");
        // An epoch has two batches: 13 is in the middle of one.
        let mut first = session(&spec, &task, 2);
        advance_to(&mut first, 13);
        let point = first.resume_point().unwrap();
        let mut second = session(&spec, &task, 3);
        second.restore(&point).unwrap();
        assert_eq!(second.step(), 13);
        advance_to(&mut second, u64::MAX);
        assert_eq!(second.step(), whole.step());
        assert_eq!(bits(&second), bits(&whole));
        assert_eq!(second.metrics(), whole.metrics());
    }

    /// Fresh examples are a function of the seed and the step: neither threads, nor the replica beside, nor a resume change them.
    #[test]
    fn a_stream_keeps_the_bits_and_gives_every_replica_and_step_examples_of_its_own() {
        let card = "title = \"t\"\nfamily = \"sort\"\nparams = { values = 9, length = 8, min_length = 2 }\n\
                    split = { stream = true }\n";
        let card = crate::task::Card::parse("t.toml".as_ref(), card).unwrap();
        let mut spec = Spec { train: TrainSpec { stop: None, steps: 12, ..spec().train }, ..spec() };
        (spec.train.batch_size, spec.data.test_examples) = (Some(40), 64);
        let rate = 0.2;
        spec.model.dropout = Dropout { embedding: rate, attention: rate, hidden: rate, residual: rate };
        let task = card.build_for(&spec.data).unwrap();
        assert_eq!((task.n_examples(), task.n_ctx, task.weights_bl.is_some()), (64, 18, true));
        let mut whole = session(&spec, &task, 1);
        let start = bits(&whole);
        advance_to(&mut whole, 1);
        let first_batches = whole.batches.clone();
        assert_ne!(first_batches[0].tokens(), first_batches[1].tokens());
        advance_to(&mut whole, 2);
        assert_ne!(first_batches[0].tokens(), whole.batches[0].tokens());
        advance_to(&mut whole, u64::MAX);
        whole.evaluate_last().unwrap();
        assert_ne!(bits(&whole), start);
        let mut first = session(&spec, &task, 4);
        advance_to(&mut first, 7);
        let mut second = session(&spec, &task, 2);
        second.restore(&first.resume_point().unwrap()).unwrap();
        advance_to(&mut second, u64::MAX);
        second.evaluate_last().unwrap();
        assert_eq!(bits(&second), bits(&whole), "resumed");
        assert_eq!(second.metrics(), whole.metrics());
        let mut only = spec.clone();
        only.train.seeds = Seeds(vec![5]);
        let mut alone = session(&only, &task, 2);
        advance_to(&mut alone, u64::MAX);
        let stride = alone.params.layout.stride;
        assert_eq!(bits(&alone), bits(&whole)[stride..], "alone");
        spec.train.batch_size = None;
        let error = Session::<f32>::new(&spec, &task, Workers::new(1).unwrap()).err().unwrap();
        assert!(error.to_string().contains("train.batch_size"), "{error}");
    }

    #[test]
    fn frozen_parameters_keep_their_start_and_evaluation_drops_and_smooths_nothing() {
        let task = Task::load("mod_add_53").unwrap();
        let mut spec = Spec { train: TrainSpec { stop: None, steps: 5, eval_every: 5, ..spec().train }, ..spec() };
        spec.optim.freeze = vec!["embed.*".into(), "*.b_in".into()];
        let mut frozen = session(&spec, &task, 2);
        let start = frozen.params.clone();
        advance_to(&mut frozen, u64::MAX);
        for (id, info) in start.layout.infos.iter().enumerate() {
            let same = (0..2).all(|r| start.get(r, id).eq(frozen.params.get(r, id)));
            assert_eq!(same, info.name.starts_with("embed.") || info.name.ends_with(".b_in"), "{}", info.name);
        }
        spec.optim.freeze = vec!["emebd.*".into()];
        let error = Session::<f32>::new(&spec, &task, Workers::new(1).unwrap()).err().unwrap().to_string();
        assert!(error.starts_with("optim.freeze is emebd.*, which names no parameter"), "{error}");
        spec.optim.freeze = vec!["*".into()];
        let error = Session::<f32>::new(&spec, &task, Workers::new(1).unwrap()).err().unwrap().to_string();
        assert!(error.contains("some parameter that is left to train"), "{error}");
        // At step 0 nothing has been trained yet: the test loss is that of the plain loss without dropout.
        spec.optim.freeze = vec![];
        let test_loss = |spec: &Spec| {
            let mut session = session(spec, &task, 1);
            advance_to(&mut session, 1);
            session.metrics().columns[2][0]
        };
        let plain = test_loss(&spec);
        spec.model.dropout.hidden = 0.5;
        spec.loss.label_smoothing = 0.1;
        assert_eq!(test_loss(&spec), plain);
    }

    /// Two operations in one task, by another library's split and start: as with everything, the bits depend neither on threads, nor on
    /// the replica beside, nor on a resume.
    #[test]
    fn published_splits_and_starts_and_several_operations_keep_the_bits() {
        let card = "title = \"t\"\nfamily = \"modular\"\nparams = { ops = [\"x+y\", \"x^2 - xy\"], p = 23 }\n\
                    layout = { tokens = \"a op b =\" }\nsplit = { train_frac = 0.5 }\n";
        let task = crate::task::Card::parse("t.toml".as_ref(), card).unwrap().build().unwrap();
        for (family, split) in
            [(Family::Transformer, SplitRule::TorchRandperm), (Family::Mlp, SplitRule::PythonShuffle)]
        {
            let mut spec = Spec { train: TrainSpec { stop: None, steps: 20, ..spec().train }, ..spec() };
            spec.train.batch_size = Some(200);
            spec.data.split = split;
            (spec.model.family, spec.model.init) = (family, Init::Torch);
            let mut whole = session(&spec, &task, 1);
            let start = bits(&whole);
            advance_to(&mut whole, u64::MAX);
            assert_ne!(bits(&whole), start);
            let mut first = session(&spec, &task, 4);
            advance_to(&mut first, 7);
            let mut second = session(&spec, &task, 2);
            second.restore(&first.resume_point().unwrap()).unwrap();
            advance_to(&mut second, u64::MAX);
            assert_eq!(bits(&second), bits(&whole), "resumed, {split:?}");
            let mut only = spec.clone();
            only.train.seeds = Seeds(vec![5]);
            let mut alone = session(&only, &task, 2);
            advance_to(&mut alone, u64::MAX);
            let stride = alone.params.layout.stride;
            assert_eq!(bits(&alone), bits(&whole)[stride..], "alone, {split:?}");
            // The rule is part of what a resume checks.
            let other = Spec { data: crate::spec::DataSpec::default(), ..spec.clone() };
            assert_ne!(session(&other, &task, 1).fingerprint(), whole.fingerprint());
        }
    }

    /// The filter's average is part of the state.
    #[test]
    fn grokfast_resumes_with_the_same_bits() {
        let (mut spec, task) = (spec(), Task::load("mod_add_53").unwrap());
        spec.train.stop = None;
        spec.train.steps = 12;
        spec.optim.grokfast = Some(Grokfast::default());
        spec.model = ModelSpec { tied_unembed: true, normalization: Normalization::Rms, ..spec.model };
        let mut whole = session(&spec, &task, 1);
        advance_to(&mut whole, u64::MAX);
        let mut first = session(&spec, &task, 2);
        advance_to(&mut first, 5);
        let point = first.resume_point().unwrap();
        assert!(point.tensors.iter().any(|t| t.name == "moments/2/embed.W_E"));
        let mut second = session(&spec, &task, 3);
        second.restore(&point).unwrap();
        advance_to(&mut second, u64::MAX);
        assert!(bits(&second) == bits(&whole), "going on changed the bits");
        let without = ResumePoint {
            tensors: point.tensors.iter().filter(|t| !t.name.starts_with("moments/2/")).cloned().collect(),
            ..point
        };
        assert!(session(&spec, &task, 1).restore(&without).is_err(), "a point without the average is no point");
    }

    #[test]
    fn a_longer_run_from_a_finished_one_equals_the_long_one() {
        let task = Task::load("mod_add_53").unwrap();
        let mut long = spec();
        long.train.stop = None;
        long.train.steps = 30;
        let mut short = long.clone();
        short.train.steps = 15;
        let mut whole = session(&long, &task, 2);
        advance_to(&mut whole, u64::MAX);
        whole.evaluate_last().unwrap();
        let mut first = session(&short, &task, 2);
        advance_to(&mut first, u64::MAX);
        first.evaluate_last().unwrap();
        let mut second = session(&long, &task, 2);
        second.restore(&first.resume_point().unwrap()).unwrap();
        advance_to(&mut second, u64::MAX);
        second.evaluate_last().unwrap();
        assert_eq!(bits(&second), bits(&whole));
        assert_eq!(second.metrics(), whole.metrics());
    }

    #[test]
    fn a_replica_that_met_a_non_finite_value_rests_and_the_others_go_on() {
        let (mut spec, task) = (spec(), Task::load("mod_add_53").unwrap());
        spec.train.stop = None;
        let mut alone = session(&spec, &task, 2);
        let mut broken = session(&spec, &task, 2);
        advance_to(&mut alone, 10);
        let stride = broken.params.layout.stride;
        broken.params.flat[..stride].fill(f32::MAX);
        advance_to(&mut broken, 10);
        assert_eq!(broken.non_finite(), [Some(0), None]);
        assert!(broken.params.flat[..stride].iter().all(|&x| x == f32::MAX), "nothing was updated");
        assert_eq!(bits(&broken)[stride..], bits(&alone)[stride..]);
        // Going on from there rests the same replica.
        let mut resumed = session(&spec, &task, 1);
        resumed.restore(&broken.resume_point().unwrap()).unwrap();
        advance_to(&mut resumed, 20);
        assert_eq!(resumed.non_finite(), [Some(0), None]);
    }

    /// Full batches, and a term of each kind, one with frequencies that are found on the way.
    fn spec_with_terms() -> Spec {
        let mut spec = spec();
        (spec.train.batch_size, spec.train.stop, spec.train.steps) = (None, None, 24);
        let measured = |name: &str| TermSpec { measure: Some(name.into()), ..TermSpec::default() };
        let expr = |name: &str, text: &str, over: &str| TermSpec {
            name: Some(name.into()),
            expr: Some(text.into()),
            over: Some(over.into()),
            weight: 1e-3,
            ..TermSpec::default()
        };
        spec.loss.terms = vec![
            TermSpec { freqs: Some(vec![3, 17]), to_step: Some(20), ..measured("restricted_train_loss") },
            TermSpec { freqs_at: Some(7), weight: 0.2, ..measured("excluded_train_loss") },
            TermSpec { freqs_at: Some(7), freqs_rule: crate::spec::TermKeyRule::WE, ..measured("off_freq_norm_w_e") },
            TermSpec { weight: -0.5, ..measured("gini_w_e") },
            expr("sparse", "abs(w)", "blocks.*.mlp.*"),
            TermSpec { reduce: Reduce::Mean, from_step: 4, ..expr("margin", "y * l^2", "logits") },
        ];
        spec
    }

    /// Metrics as bits, so that values that are not there compare.
    fn metric_bits(session: &Session<'_, f32>) -> Vec<Vec<u64>> {
        let metrics = session.metrics();
        let values = metrics.columns.iter().chain(metrics.terms.iter().map(|(_, values)| values));
        values.map(|column| column.iter().map(|x| x.to_bits()).collect()).collect()
    }

    #[test]
    fn terms_resume_with_the_same_bits_on_other_threads_before_and_after_their_frequencies_are_found() {
        let (spec, task) = (spec_with_terms(), Task::load("mod_add_53").unwrap());
        let mut whole = session(&spec, &task, 1);
        advance_to(&mut whole, u64::MAX);
        whole.evaluate_last().unwrap();
        assert!(whole.non_finite().iter().all(Option::is_none));
        for pause in [5, 7, 13] {
            let mut first = session(&spec, &task, 3);
            advance_to(&mut first, pause);
            let mut second = session(&spec, &task, 2);
            second.restore(&first.resume_point().unwrap()).unwrap();
            advance_to(&mut second, u64::MAX);
            second.evaluate_last().unwrap();
            assert_eq!(bits(&second), bits(&whole), "paused at {pause}");
            assert_eq!(metric_bits(&second), metric_bits(&whole), "paused at {pause}");
        }
        // Evaluations are at 0, 4, 8, …; values of the first replica.
        let value = |term: usize, eval: usize| whole.metrics().terms[term].1[2 * eval];
        assert!(value(0, 0).is_finite() && value(0, 4).is_finite() && value(0, 5).is_nan(), "to_step 20");
        assert!(value(1, 1).is_nan() && value(1, 2).is_finite(), "from the step of its frequencies on");
        assert!(value(5, 0).is_nan() && value(5, 1).is_finite(), "from_step 4");
        // Without terms the run is another one.
        let plain = Spec { loss: crate::spec::LossSpec::default(), ..spec.clone() };
        let mut without = session(&plain, &task, 1);
        advance_to(&mut without, u64::MAX);
        assert_ne!(bits(&without), bits(&whole));
    }

    #[test]
    fn a_replica_with_terms_alone_is_the_replica_among_others() {
        let (spec, task) = (spec_with_terms(), Task::load("mod_add_53").unwrap());
        let alone =
            Spec { train: crate::spec::TrainSpec { seeds: Seeds(vec![5]), ..spec.train.clone() }, ..spec.clone() };
        let (mut among, mut alone) = (session(&spec, &task, 2), session(&alone, &task, 1));
        advance_to(&mut among, 12);
        advance_to(&mut alone, 12);
        let stride = alone.params.layout.stride;
        assert_eq!(bits(&among)[stride..], bits(&alone));
    }

    #[test]
    fn mini_batches_take_terms_that_need_no_whole_split() {
        let (mut spec, task) = (spec(), Task::load("mod_add_53").unwrap());
        spec.train.stop = None;
        spec.train.steps = 12;
        spec.loss.terms = spec_with_terms().loss.terms.split_off(3);
        let mut session = session(&spec, &task, 2);
        advance_to(&mut session, u64::MAX);
        session.evaluate_last().unwrap();
        let metrics = session.metrics();
        assert_eq!((metrics.steps.clone(), metrics.terms.len()), (vec![0, 4, 8, 12], 3));
        assert!(metrics.terms.iter().all(|(_, values)| values[2..].iter().all(|x| x.is_finite())), "{metrics:?}");
        spec.loss.terms = spec_with_terms().loss.terms;
        let error = Session::<f32>::new(&spec, &task, Workers::new(1).unwrap()).err().unwrap();
        assert!(error.cause()[0].contains("train.batch_size"), "{:?}", error.cause());
    }

    #[test]
    fn other_terms_have_another_fingerprint() {
        let (spec, task) = (spec_with_terms(), Task::load("mod_add_53").unwrap());
        let of = |change: &dyn Fn(&mut Vec<TermSpec>)| {
            let mut changed = spec.clone();
            change(&mut changed.loss.terms);
            session(&changed, &task, 1).fingerprint()
        };
        let mut all = vec![
            of(&|_| ()),
            of(&|terms| terms.clear()),
            of(&|terms| terms[0].weight = 2.0),
            of(&|terms| terms[0].freqs = Some(vec![3, 16])),
            of(&|terms| terms[1].freqs_at = Some(8)),
            of(&|terms| terms[4].expr = Some("w^2".into())),
            of(&|terms| terms.swap(0, 1)),
        ];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn other_data_has_another_fingerprint() {
        let task = Task::load("mod_add_53").unwrap();
        let (spec, mut other) = (spec(), Task::load("mod_sub_53").unwrap());
        other.name.clone_from(&task.name);
        assert_ne!(session(&spec, &task, 1).fingerprint(), session(&spec, &other, 1).fingerprint());
    }
}
