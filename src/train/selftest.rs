//! Whether a device computes what the processor does: op by op, over trainings of 20 steps, bit by bit, across a resume.
//!
//! The networks are in `selftest.toml`; between them they have every op. Errors are norms of differences over norms.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::Steps;
use super::gpu::GpuSession;
use super::session::{Session, batch_shape, task_shape};
use crate::engine::cuda::machine::{Machine, Memory};
use crate::engine::cuda::optim::Optim;
use crate::engine::cuda::program::{Buffer, Program};
use crate::engine::cuda::trainer::{Job, Trainer};
use crate::engine::cuda::{Card, Choice};
use crate::engine::op::{Space, Value};
use crate::engine::{Params, Plan, Real, Runner, Savings, Target, Workers};
use crate::error::{Error, Result};
use crate::loss::LossTerm;
use crate::model;
use crate::optim::Settings;
use crate::spec::{Dtype, Seeds, Spec};
use crate::task::Task;
use crate::tensor::Data;

/// Updates of a training, where a GPU makes them.
const STEPS: u64 = 20;

/// A device for one number type.
type Open<'a> = &'a dyn Fn(Dtype) -> Result<Box<dyn Machine>>;

/// What was compared, and how far apart it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// `op`, `training`, `bits`, `resume` or `error`.
    pub part: &'static str,
    /// Which.
    pub name: String,
    /// Largest relative error in f64 and in f32; not a number where there is nothing to compare.
    pub errors: [f64; 2],
    /// Whether it is as it must be.
    pub passed: bool,
}

#[derive(Debug, Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    #[serde(flatten)]
    spec: toml::Table,
}

/// The networks, three replicas each.
fn cases(steps: u64) -> Vec<(String, Spec)> {
    let cases: Cases = toml::from_str(include_str!("selftest.toml")).expect("invariant: it is part of the program");
    let spec = |case: Case| {
        let mut spec: Spec = case.spec.try_into().expect("invariant: its specs are right");
        spec.train.seeds = Seeds(vec![3, 5, 8]);
        spec.train.steps = steps;
        spec.train.eval_every = steps / 2;
        (case.name, spec)
    };
    cases.case.into_iter().map(spec).collect()
}

/// Compares a GPU with the processor, and tells each finding as it is made; whether all passed.
///
/// # Errors
/// [`Error::Gpu`].
pub fn selftest(gpu: &Choice, tell: &mut dyn FnMut(&Finding)) -> Result<bool> {
    compare(&|dtype| Ok(Box::new(Card::new(gpu, dtype)?)), STEPS, tell)
}

fn compare(open: Open<'_>, steps: u64, tell: &mut dyn FnMut(&Finding)) -> Result<bool> {
    let mut passed = true;
    let mut each = |finding: Finding| {
        passed &= finding.passed;
        tell(&finding);
    };
    let mut ops = BTreeMap::new();
    for (_, spec) in cases(steps) {
        for (name, error) in op_errors::<f64>(&spec, open)? {
            let errors: &mut [f64; 2] = ops.entry(name).or_default();
            errors[0] = worse(errors[0], error);
        }
        for (name, error) in op_errors::<f32>(&spec, open)? {
            let errors: &mut [f64; 2] = ops.entry(name).or_default();
            errors[1] = worse(errors[1], error);
        }
    }
    for (name, errors) in ops {
        each(Finding { part: "op", name, errors, passed: errors[0] < 1e-11 && errors[1] < 2e-5 });
    }
    for (name, spec) in cases(steps) {
        let errors = [training_error::<f64>(&spec, open)?, training_error::<f32>(&spec, open)?];
        each(Finding { part: "training", name, errors, passed: errors[0] < 1e-9 && errors[1] < 2e-3 });
    }
    for (name, spec) in cases(steps) {
        let passed = same_bits(&spec, open)?;
        each(Finding { part: "bits", name, errors: [f64::NAN; 2], passed });
    }
    for (name, spec) in cases(steps) {
        let errors = [resume_error::<f64>(&spec, open)?, resume_error::<f32>(&spec, open)?];
        each(Finding { part: "resume", name, errors, passed: errors[0] < 1e-9 && errors[1] < 2e-3 });
    }
    let (name, spec) = cases(steps).swap_remove(0);
    each(Finding { part: "error", name, errors: [f64::NAN; 2], passed: refuses_too_many(&spec, open)? });
    Ok(passed)
}

fn worse(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// ‖a − b‖ / ‖b‖; equal infinities are no difference.
fn apart<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut sums = [0.0, 0.0];
    for (a, b) in a.iter().zip(b).map(|(a, b)| (a.to_f64(), b.to_f64())).filter(|(a, b)| a != b || b.is_finite()) {
        sums[0] += (a - b) * (a - b);
        sums[1] += b * b;
    }
    if sums[0] == 0.0 { 0.0 } else { (sums[0] / sums[1].max(f64::MIN_POSITIVE)).sqrt() }
}

/// Of each op, the largest error of a value or gradient that it writes.
fn op_errors<T: Real>(spec: &Spec, open: Open<'_>) -> Result<BTreeMap<String, f64>> {
    let task = Task::of(&spec.task, &spec.data)?;
    let plain = Savings { positions: false, pairs: false, fusion: false, target: Target::Processor };
    let session = Session::<T>::new(spec, &task, Workers::new(1)?)?;
    let examples = session.data().batch_examples().min(16);
    let plan = |savings| {
        let loss = [LossTerm { smoothing: spec.loss.label_smoothing, ..LossTerm::new(spec.loss.kind, spec.loss.f64) }];
        let graph = model::graph(&spec.model, &task_shape(&task));
        Plan::build_with(savings, graph, &batch_shape(&task, examples), &loss, &[], &[])
    };
    let reference = Arc::new(plan(plain)?);
    let indices: Vec<u32> = (0..examples as u32).collect();
    let mut batch = super::batch(&task, &indices);
    reference.prepare(&mut batch)?;
    let seeds = &spec.train.seeds.0[..1];
    let params: Params<T> = model::initialize(reference.params(), &spec.model, seeds);
    let mut runner = Runner::<T>::new(Arc::clone(&reference), Workers::new(1)?);
    runner.set_noise(if spec.model.dropout == Default::default() { &[] } else { seeds });
    let [values, grads] = runner.trace(&params, 0, &batch)?;

    let mut errors = BTreeMap::new();
    for savings in [Savings { target: Target::Gpu, ..plain }, Savings { target: Target::Gpu, ..Savings::default() }] {
        let plan = plan(savings)?;
        plan.prepare(&mut batch)?;
        let optim = Optim::new(&spec.optim, Settings::new(&spec.optim, seeds, spec.train.steps), &plan, false)?;
        let moments = vec![Params::zeros(Arc::clone(plan.params()), 1); optim.moments()];
        let batches = std::slice::from_ref(&batch);
        let job = Job { plan: &plan, batches, fresh: false, evaluations: vec![], optim, seeds };
        let mut device = Trainer::<T>::new(open(T::DTYPE)?, job)?;
        device.put(&params, &moments, None, (0, &[None]))?;
        device.steps(1)?;
        for step in &plan.steps {
            let name = format!("{:?}", step.op);
            let name = name.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
            for id in step.op.outputs() {
                let value = &plan.values[id];
                let same = |other: &Value| other.name == value.name && other.space == value.space;
                let all: Vec<usize> = (0..reference.values.len()).filter(|&i| same(&reference.values[i])).collect();
                let ([own], Space::Batch(_)) = (&all[..], &value.space) else { continue };
                let place = &reference.tile_slot.places[*own];
                let want = |of: &[T]| of[place.value_at..][..examples * place.per_example * place.width].to_vec();
                let error: &mut f64 = errors.entry(name.clone()).or_default();
                *error = worse(*error, apart(&device.value(id, false)?, &want(&values)));
                if plan.tile_slot.places[id].grad_at.is_some() && place.grad_at.is_some() {
                    *error = worse(*error, apart(&device.value(id, true)?, &want(&grads)));
                }
            }
        }
    }
    Ok(errors)
}

fn on_gpu<'a, T: Real>(spec: &'a Spec, task: &'a Task, open: Open<'_>) -> Result<GpuSession<'a, T>> {
    GpuSession::<T>::new(spec, task, Workers::new(1)?, open(T::DTYPE)?)
}

fn advance(session: &mut dyn Steps, to: u64) -> Result<()> {
    while session.step() < to {
        session.advance(to)?;
    }
    Ok(())
}

/// Parameters and metrics, as numbers.
fn state(session: &mut dyn Steps) -> Result<Vec<(String, Vec<f64>)>> {
    let tensors = session.resume_point()?.tensors.into_iter();
    let numbers = |data| match data {
        Data::F32(v) => v.into_iter().map(f64::from).collect(),
        Data::F64(v) => v,
        _ => vec![],
    };
    Ok(tensors.map(|tensor| (tensor.name, numbers(tensor.data))).collect())
}

fn state_apart(a: &[(String, Vec<f64>)], b: &[(String, Vec<f64>)]) -> f64 {
    let numbers = |of: &[(String, Vec<f64>)], part: &str| -> Vec<f64> {
        of.iter().filter(|(name, _)| name.starts_with(part)).flat_map(|(_, v)| v.clone()).collect()
    };
    let known = |v: Vec<f64>| v.into_iter().filter(|x| !x.is_nan()).collect::<Vec<_>>();
    let part = |part| apart(&known(numbers(a, part)), &known(numbers(b, part)));
    worse(part("params/"), part("metrics/"))
}

/// How far parameters and metrics are apart after a training here and there.
fn training_error<T: Real>(spec: &Spec, open: Open<'_>) -> Result<f64> {
    let task = Task::of(&spec.task, &spec.data)?;
    let (mut host, mut device) = (Session::<T>::new(spec, &task, Workers::new(1)?)?, on_gpu::<T>(spec, &task, open)?);
    for session in [&mut host as &mut dyn Steps, &mut device] {
        advance(session, spec.train.steps)?;
        session.evaluate_last()?;
    }
    Ok(state_apart(&state(&mut device)?, &state(&mut host)?))
}

/// The same bits a second time, and for a replica alone.
fn same_bits(spec: &Spec, open: Open<'_>) -> Result<bool> {
    let run = |seeds: &[u64]| -> Result<Vec<Vec<u8>>> {
        let mut spec = spec.clone();
        spec.train.seeds = Seeds(seeds.to_vec());
        let task = Task::of(&spec.task, &spec.data)?;
        let mut device = on_gpu::<f32>(&spec, &task, open)?;
        advance(&mut device, spec.train.steps)?;
        let mut replicas = vec![vec![]; seeds.len()];
        for tensor in device.snapshot()?.params {
            let Data::F32(numbers) = tensor.data else { continue };
            for (replica, numbers) in replicas.iter_mut().zip(numbers.chunks(numbers.len() / seeds.len())) {
                replica.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
        Ok(replicas)
    };
    let seeds = &spec.train.seeds.0;
    let (all, again, alone) = (run(seeds)?, run(seeds)?, run(&seeds[1..2])?);
    Ok(all == again && all[1] == alone[0])
}

/// How far two trainings are apart that change over halfway, one from there to here and one from here to there, from one that stays here.
fn resume_error<T: Real>(spec: &Spec, open: Open<'_>) -> Result<f64> {
    let task = Task::of(&spec.task, &spec.data)?;
    let host = || Session::<T>::new(spec, &task, Workers::new(1)?);
    let change = |first: &mut dyn Steps, second: &mut dyn Steps| -> Result<_> {
        advance(first, spec.train.steps / 2)?;
        second.restore(&first.resume_point()?)?;
        advance(second, spec.train.steps)?;
        second.evaluate_last()?;
        state(second)
    };
    let mut stays = host()?;
    advance(&mut stays, spec.train.steps)?;
    stays.evaluate_last()?;
    let want = state(&mut stays)?;
    let from = change(&mut on_gpu::<T>(spec, &task, open)?, &mut host()?)?;
    let to = change(&mut host()?, &mut on_gpu::<T>(spec, &task, open)?)?;
    Ok(worse(state_apart(&from, &want), state_apart(&to, &want)))
}

/// More replicas than any memory holds are refused with the number that fits.
fn refuses_too_many(spec: &Spec, open: Open<'_>) -> Result<bool> {
    /// A device with little memory left.
    struct Small(Box<dyn Machine>);
    impl Machine for Small {
        fn free_bytes(&self) -> Result<usize> {
            Ok(4 << 20)
        }
        fn allocate(&mut self, bytes: usize) -> Result<Memory> {
            self.0.allocate(bytes)
        }
        fn write(&mut self, to: Memory, bytes: &[u8]) -> Result<()> {
            self.0.write(to, bytes)
        }
        fn read(&mut self, from: Memory, bytes: &mut [u8]) -> Result<()> {
            self.0.read(from, bytes)
        }
        fn load(&mut self, program: Program, place: &dyn Fn(Buffer) -> Memory) -> Result<usize> {
            self.0.load(program, place)
        }
        fn run(&mut self, program: usize, times: u64) -> Result<()> {
            self.0.run(program, times)
        }
    }
    let mut spec = spec.clone();
    spec.train.seeds = Seeds((0..1000).collect());
    let task = Task::of(&spec.task, &spec.data)?;
    let small = Box::new(Small(open(Dtype::F32)?));
    match GpuSession::<f32>::new(&spec, &task, Workers::new(1)?, small) {
        Err(Error::Value { expected, .. }) => Ok(expected.starts_with("at most ")),
        _ => Ok(false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::cuda::host::Host;

    /// The device's programs on the host: everything but the card itself.
    #[test]
    fn programs_do_what_the_processor_does() {
        if Host::new().is_none() {
            return;
        }
        let mut failed = vec![];
        let passed = compare(&|_| Ok(Box::new(Host::new().unwrap())), 2, &mut |finding| {
            println!("{finding:?}");
            if !finding.passed {
                failed.push(finding.clone());
            }
        });
        assert!(passed.unwrap() && failed.is_empty(), "{failed:#?}");
    }
}
