//! All replicas of a run on a device: parameters, moments, the step's program, the evaluations' programs.
//!
//! Batches that stay the same are uploaded once; others in blocks of several steps. Numbers come back only when they are asked for.

use std::collections::BTreeMap;

use super::lower::{Lower, lower, part_len};
use super::machine::{Machine, Memory};
use super::optim::{COLUMNS, Optim};
use super::program::{Address, Args, Buffer, Part, Program};
use crate::engine::batch::{Batch, Inputs, Targets};
use crate::engine::params::Params;
use crate::engine::plan::Plan;
use crate::engine::real::Real;
use crate::engine::runner::StepOutcome;
use crate::error::{Error, Result};

/// Steps whose settings are on the device at a time.
const TABLE_STEPS: u64 = 256;
/// Steps whose batches are uploaded at a time, where each has its own.
pub(crate) const BLOCK_STEPS: usize = 16;

/// What a device trains.
pub(crate) struct Job<'a> {
    pub(crate) plan: &'a Plan,
    /// One, or one a replica.
    pub(crate) batches: &'a [Batch],
    /// Whether every step has batches of its own.
    pub(crate) fresh: bool,
    /// Plans without gradients, and their batches.
    pub(crate) evaluations: Vec<(&'a Plan, &'a [Batch])>,
    pub(crate) optim: Optim,
    /// `[R]`
    pub(crate) seeds: &'a [u64],
}

/// Where the outcomes of a program are.
#[derive(Debug)]
struct Loaded {
    program: usize,
    own: BTreeMap<Buffer, Memory>,
    is_classes: bool,
    values: Vec<(usize, usize)>,
}

/// Replicas on a device.
pub(crate) struct Trainer<T: Real> {
    machine: Box<dyn Machine>,
    shared: BTreeMap<Buffer, Memory>,
    train: Loaded,
    evaluations: Vec<Loaded>,
    optim: Optim,
    replicas: usize,
    fresh: bool,
    /// The device's count of steps.
    step: u64,
    /// Steps whose settings are on the device.
    table: std::ops::Range<u64>,
    number: std::marker::PhantomData<T>,
}

impl<T: Real> Trainer<T> {
    /// Makes programs, memory and graphs.
    ///
    /// # Errors
    /// [`Error::Value`] for what has no kernels, and where the replicas do not fit into the device's memory; errors of the device.
    pub(crate) fn new(mut machine: Box<dyn Machine>, job: Job<'_>) -> Result<Trainer<T>> {
        let replicas = job.seeds.len();
        let all = programs::<T>(&job, replicas)?;
        check_memory(machine.as_ref(), replicas, &all, &|r| programs::<T>(&job, r))?;
        let mut shared = BTreeMap::new();
        for program in &all {
            for (buffer, bytes) in program.bytes(true) {
                if let std::collections::btree_map::Entry::Vacant(entry) = shared.entry(buffer) {
                    entry.insert(machine.allocate(bytes)?);
                }
            }
        }
        let mut loaded = vec![];
        let batches = std::iter::once(job.batches).chain(job.evaluations.iter().map(|(_, batches)| *batches));
        for (program, batches) in all.into_iter().zip(batches) {
            let mut own = BTreeMap::new();
            for (buffer, bytes) in program.bytes(false) {
                own.insert(buffer, machine.allocate(bytes)?);
            }
            for (buffer, bytes) in
                [(Buffer::Words, bytes_of(&program.words)), (Buffer::Numbers, bytes_of(&program.numbers))]
            {
                if !bytes.is_empty() {
                    machine.write(own[&buffer], bytes)?;
                }
            }
            let values = program.values.clone();
            let place = |buffer: Buffer| own.get(&buffer).or_else(|| shared.get(&buffer)).copied();
            let program =
                machine.load(program, &|buffer| place(buffer).expect("invariant: a program names its buffers"))?;
            let is_classes = matches!(batches[0].targets, Targets::Classes(_));
            loaded.push(Loaded { program, own, is_classes, values });
        }
        let mut loaded = loaded.into_iter();
        let mut trainer = Trainer {
            machine,
            shared,
            train: loaded.next().expect("invariant: the step's program comes first"),
            evaluations: loaded.collect(),
            optim: job.optim,
            replicas,
            fresh: job.fresh,
            step: 0,
            table: 0..0,
            number: std::marker::PhantomData,
        };
        trainer.write(Buffer::Group, bytes_of(&trainer.optim.group.clone()))?;
        if trainer.shared.contains_key(&Buffer::Seeds) {
            trainer.write(Buffer::Seeds, bytes_of(job.seeds))?;
        }
        upload(trainer.machine.as_mut(), &trainer.train.own, &[job.batches], Buffer::Of)?;
        for (loaded, (_, batches)) in trainer.evaluations.iter().zip(&job.evaluations) {
            upload(trainer.machine.as_mut(), &loaded.own, &[batches], Buffer::Of)?;
        }
        Ok(trainer)
    }

    fn write(&mut self, buffer: Buffer, bytes: &[u8]) -> Result<()> {
        self.machine.write(self.shared[&buffer], bytes)
    }

    /// Puts replicas onto the device: parameters, moments, updates done, and for each the first that met something not finite.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn put(
        &mut self,
        params: &Params<T>,
        moments: &[Params<T>],
        mask: Option<&Params<T>>,
        (step, non_finite): (u64, &[Option<u64>]),
    ) -> Result<()> {
        self.write(Buffer::Params, bytes_of(&params.flat))?;
        for (i, moment) in moments.iter().enumerate() {
            self.write(Buffer::Moment(i as u8), bytes_of(&moment.flat))?;
        }
        if let Some(mask) = mask {
            self.write(Buffer::Mask, bytes_of(&mask.flat))?;
        }
        let marks: Vec<u64> = non_finite.iter().map(|mark| mark.unwrap_or(u64::MAX)).collect();
        self.write(Buffer::FirstBad, bytes_of(&marks))?;
        self.write(Buffer::Step, bytes_of(&[step]))?;
        (self.step, self.table) = (step, 0..0);
        Ok(())
    }

    /// Copies parameters and moments out.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn get(&mut self, params: &mut Params<T>, moments: &mut [Params<T>]) -> Result<()> {
        self.machine.read(self.shared[&Buffer::Params], bytes_of_mut(&mut params.flat))?;
        for (i, moment) in moments.iter_mut().enumerate() {
            self.machine.read(self.shared[&Buffer::Moment(i as u8)], bytes_of_mut(&mut moment.flat))?;
        }
        Ok(())
    }

    /// Copies the gradients of the last step out.
    ///
    /// # Errors
    /// Those of the device.
    #[cfg(test)]
    pub(crate) fn grads(&mut self, grads: &mut Params<T>) -> Result<()> {
        self.machine.read(self.shared[&Buffer::Grads], bytes_of_mut(&mut grads.flat))
    }

    /// Value number `id` of the first replica in the last step, or its gradient.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn value(&mut self, id: usize, gradient: bool) -> Result<Vec<T>> {
        let buffer = self.train.own[&if gradient { Buffer::ValueGrads } else { Buffer::Values }];
        let (start, len) = self.train.values[id];
        let mut all = vec![T::ZERO; start + len];
        self.machine.read(buffer, bytes_of_mut(&mut all))?;
        Ok(all.split_off(start))
    }

    /// `n` steps with the batches that are there.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn steps(&mut self, mut n: u64) -> Result<()> {
        while n > 0 {
            self.settings()?;
            let now = n.min(self.table.end - self.step);
            self.machine.run(self.train.program, now)?;
            self.step += now;
            n -= now;
        }
        Ok(())
    }

    /// One step for each of these sets of batches, at most [`BLOCK_STEPS`].
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn steps_on(&mut self, batches: &[&[Batch]]) -> Result<()> {
        debug_assert!(self.fresh && batches.len() <= BLOCK_STEPS, "invariant: a block has room for its steps");
        // The block begins at the step that the device is at.
        self.table = 0..0;
        upload(self.machine.as_mut(), &self.train.own, batches, Buffer::Block)?;
        self.steps(batches.len() as u64)
    }

    /// Uploads the settings of the steps to come, where there are none.
    fn settings(&mut self) -> Result<()> {
        if self.table.contains(&self.step) {
            return Ok(());
        }
        self.table = self.step..self.step + if self.fresh { BLOCK_STEPS as u64 } else { TABLE_STEPS };
        let mut rows = Vec::with_capacity((self.table.end - self.table.start) as usize * self.replicas * COLUMNS);
        for step in self.table.clone() {
            for r in 0..self.replicas {
                rows.extend(self.optim.row(r, step));
            }
        }
        self.write(Buffer::Table, bytes_of(&rows))?;
        let first = self.table.start;
        self.write(Buffer::First, bytes_of(&[first]))
    }

    /// Outcomes of the last step, before its update.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn outcomes(&mut self) -> Result<Vec<StepOutcome>> {
        let mut outcomes = outcomes_of(self.machine.as_mut(), &self.train, self.replicas)?;
        if self.optim.clips() {
            let mut norms = vec![0.0; self.replicas];
            self.machine.read(self.shared[&Buffer::Norm], bytes_of_mut(&mut norms))?;
            for (outcome, norm) in outcomes.iter_mut().zip(norms) {
                outcome.grad_norm = outcome.finite.then_some(norm);
            }
        }
        let marks = self.non_finite()?;
        for (outcome, mark) in outcomes.iter_mut().zip(marks) {
            if mark.is_some_and(|mark| mark + 1 < self.step) {
                *outcome = StepOutcome::NOTHING;
            }
        }
        Ok(outcomes)
    }

    /// For each replica, the first step that met something not finite.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn non_finite(&mut self) -> Result<Vec<Option<u64>>> {
        let mut marks = vec![0u64; self.replicas];
        self.machine.read(self.shared[&Buffer::FirstBad], bytes_of_mut(&mut marks))?;
        Ok(marks.into_iter().map(|mark| (mark < u64::MAX).then_some(mark)).collect())
    }

    /// Runs evaluation number `i` on the parameters as they are.
    ///
    /// # Errors
    /// Those of the device.
    pub(crate) fn evaluate(&mut self, i: usize) -> Result<Vec<StepOutcome>> {
        self.machine.run(self.evaluations[i].program, 1)?;
        outcomes_of(self.machine.as_mut(), &self.evaluations[i], self.replicas)
    }
}

fn outcomes_of(machine: &mut dyn Machine, loaded: &Loaded, replicas: usize) -> Result<Vec<StepOutcome>> {
    let (mut loss, mut accuracy, mut finite) = (vec![0f64; replicas], vec![0f64; replicas], vec![0u32; replicas]);
    machine.read(loaded.own[&Buffer::Loss], bytes_of_mut(&mut loss))?;
    machine.read(loaded.own[&Buffer::Accuracy], bytes_of_mut(&mut accuracy))?;
    machine.read(loaded.own[&Buffer::Finite], bytes_of_mut(&mut finite))?;
    let acc_frac = |acc| if loaded.is_classes { acc } else { f64::NAN };
    let all = loss.into_iter().zip(accuracy).zip(finite);
    Ok(all
        .map(|((loss, acc), finite)| StepOutcome {
            loss,
            acc_frac: acc_frac(acc),
            grad_norm: None,
            finite: finite == 1,
        })
        .collect())
}

/// The step's program, and those of the evaluations, for the first `replicas` of the job.
fn programs<T: Real>(job: &Job<'_>, replicas: usize) -> Result<Vec<Program>> {
    fn first(batches: &[Batch], replicas: usize) -> &[Batch] {
        &batches[..batches.len().min(replicas)]
    }
    let train = {
        let batches = first(job.batches, replicas);
        let mut program = lower(job.plan, T::DTYPE, replicas, batches, |l| job.optim.lower(l, replicas))?;
        let steps = if job.fresh { BLOCK_STEPS } else { TABLE_STEPS as usize };
        program.sizes.insert(Buffer::Table, steps * replicas * COLUMNS);
        if job.fresh {
            take_from_blocks(&mut program, batches);
        }
        program
    };
    let evaluation = |(plan, batches): &(&Plan, &[Batch])| {
        lower(plan, T::DTYPE, replicas, first(batches, replicas), |_: &mut Lower<'_>| {})
    };
    let evaluations = job.evaluations.iter().map(evaluation);
    std::iter::once(Ok(train)).chain(evaluations).collect()
}

/// Puts launches first that take a step's batches out of the block of several steps.
fn take_from_blocks(program: &mut Program, batches: &[Batch]) {
    let mut takes = vec![];
    for part in Part::ALL {
        let len = batches.len() * part_len(&batches[0], part);
        if len == 0 {
            continue;
        }
        program.sizes.insert(Buffer::Block(part), BLOCK_STEPS * len);
        let kernel = if part.is_words() { "take_words" } else { "take_numbers" };
        let at = |buffer| Address::start(buffer);
        let args = Args::new().at(at(Buffer::Block(part))).at(at(Buffer::Of(part))).int(len);
        let args = args.at(at(Buffer::Step)).at(at(Buffer::First));
        takes.push(super::program::Node::Launch { kernel, grid: [len.div_ceil(1024), 1, 1], args });
    }
    program.nodes.splice(0..0, takes);
}

/// Says before the run how many replicas fit, if these do not.
fn check_memory(
    machine: &dyn Machine,
    replicas: usize,
    programs: &[Program],
    of: &dyn Fn(usize) -> Result<Vec<Program>>,
) -> Result<()> {
    let free = machine.free_bytes()?;
    let need = |programs: &[Program]| -> usize {
        let own: usize = programs.iter().flat_map(|p| p.bytes(false).into_values()).sum();
        let mut shared = BTreeMap::new();
        for (buffer, bytes) in programs.iter().flat_map(|p| p.bytes(true)) {
            let size: &mut usize = shared.entry(buffer).or_default();
            *size = (*size).max(bytes);
        }
        own + shared.into_values().sum::<usize>()
    };
    let bytes = need(programs);
    if bytes <= free {
        return Ok(());
    }
    // Memory grows with the replicas, so the largest number that fits is found by halving.
    let (mut fits, mut too_many) = (0, replicas);
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        if need(&of(middle)?) <= free { fits = middle } else { too_many = middle }
    }
    Err(Error::Value {
        what: "train.seeds".into(),
        got: format!("{replicas} replicas, which need {} MiB of the device's free {} MiB", bytes >> 20, free >> 20),
        expected: match fits {
            0 => "a smaller model or batch, or --device cpu: not even one fits".into(),
            _ => format!("at most {fits} of these, or --device cpu"),
        },
    })
}

/// Copies batches, those of each step after those before, to the buffers that `to` gives for their parts.
fn upload(
    machine: &mut dyn Machine,
    own: &BTreeMap<Buffer, Memory>,
    steps: &[&[Batch]],
    to: impl Fn(Part) -> Buffer,
) -> Result<()> {
    for part in Part::ALL {
        let Some(&memory) = own.get(&to(part)) else { continue };
        let batches = || steps.iter().flat_map(|batches| batches.iter());
        if part.is_words() {
            let words: Vec<u32> = batches().flat_map(|batch| words_of(batch, part)).copied().collect();
            machine.write(memory, bytes_of(&words))?;
        } else {
            let mut numbers: Vec<f64> = vec![];
            for batch in batches() {
                match part {
                    Part::WeightSum => numbers.push(batch.view().weight_sum),
                    _ => numbers.extend(numbers_of(batch, part)),
                }
            }
            machine.write(memory, bytes_of(&numbers))?;
        }
    }
    Ok(())
}

fn words_of(batch: &Batch, part: Part) -> &[u32] {
    match (part, &batch.targets) {
        (Part::Tokens, _) => batch.tokens(),
        (Part::Pairs, _) => &batch.pairs,
        (Part::Classes, Targets::Classes(classes)) => classes,
        _ => &[],
    }
}

fn numbers_of(batch: &Batch, part: Part) -> &[f64] {
    match (part, &batch.x, &batch.targets) {
        (Part::Inputs, Inputs::Reals { x_btn, .. }, _) => x_btn,
        (Part::Targets, _, Targets::Reals { y_bln, .. }) => y_bln,
        (Part::Weights, ..) => batch.weights.as_deref().unwrap_or_default(),
        _ => &[],
    }
}

fn bytes_of<X: Copy>(x: &[X]) -> &[u8] {
    // SAFETY: callers give integers and floats, which have no padding.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), size_of_val(x)) }
}

fn bytes_of_mut<X: Copy>(x: &mut [X]) -> &mut [u8] {
    // SAFETY: callers give integers and floats, which have no padding, and of which any bytes are some.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), size_of_val(x)) }
}
