//! A task and a spec -> the batches of each replica: training examples (whole, in mini-batches, or drawn afresh) and test examples.
//!
//! Mini-batches go through the training split in a new random order each epoch; an incomplete last batch is left out, as with
//! PyTorch's `drop_last`. The order is a function of (seed, epoch), and fresh examples are one of (seed, step), so a step count is all
//! that a resume needs.

use std::mem::swap;

use super::draws::Draws;
use crate::engine::{Batch, ExampleSet, Inputs, Plan, Targets};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::task::{Split, Task, split};
use crate::tensor::{Data as Numbers, Tensor};

/// The splits of all replicas, and what of them a step reads.
#[derive(Debug)]
pub struct Data<'a> {
    task: &'a Task,
    seeds: Vec<u64>,
    /// One a replica, or one for all.
    splits: Vec<Split>,
    batch_size: Option<usize>,
    /// Order of the training examples in `epoch`, for each replica.
    orders: Vec<Vec<u32>>,
    epoch: Option<u64>,
    /// Fresh examples; none for a finite set.
    draws: Option<Draws>,
}

/// The examples of a task as batches are gathered from them.
pub(crate) fn example_set(task: &Task) -> ExampleSet<'_> {
    let numbers = task.numbers.as_ref();
    ExampleSet {
        n: task.n_examples(),
        tokens_bt: &task.tokens_bt,
        targets_bl: &task.targets_bl,
        x_btn: numbers.map_or(&[], |numbers| &numbers.x_btn),
        y_bln: numbers.map_or(&[], |numbers| &numbers.y_bln),
        weights_bl: task.weights_bl.as_deref(),
    }
}

/// The examples `indices` of a task.
pub(crate) fn batch(task: &Task, indices: &[u32]) -> Batch {
    let (x, targets) = match &task.numbers {
        None => (Inputs::Ids(vec![]), Targets::Classes(vec![])),
        Some(numbers) => (
            Inputs::Reals { x_btn: vec![], width: numbers.widths.x },
            Targets::Reals { y_bln: vec![], width: numbers.widths.y },
        ),
    };
    let mut batch = Batch::empty(task.n_ctx, x, targets);
    batch.gather(&example_set(task), indices);
    batch
}

impl<'a> Data<'a> {
    /// Splits the task's examples for every seed of the spec.
    ///
    /// # Errors
    /// An empty training split, or a batch larger than it.
    pub fn new(spec: &Spec, task: &'a Task) -> Result<Data<'a>> {
        let seeds = spec.train.seeds.0.clone();
        if task.stream {
            return Data::drawn(spec, task, seeds);
        }
        let frac = spec.data.train_frac.unwrap_or(task.train_frac);
        let of = |seed| split(task.n_examples(), frac, seed, spec.data.split);
        let splits = match spec.data.seed {
            Some(seed) => vec![of(seed)?],
            None => seeds.iter().map(|&seed| of(seed)).collect::<Result<_>>()?,
        };
        let n_train = splits[0].train.len();
        if let Some(size) = spec.train.batch_size.filter(|&size| size > n_train) {
            return Err(Error::Value {
                what: "train.batch_size".into(),
                got: size.to_string(),
                expected: format!("at most the {n_train} training examples; leave it out for all of them"),
            });
        }
        Ok(Data { task, seeds, splits, batch_size: spec.train.batch_size, orders: vec![], epoch: None, draws: None })
    }

    /// Fresh examples for training; the task's own are all for testing.
    fn drawn(spec: &Spec, task: &'a Task, seeds: Vec<u64>) -> Result<Data<'a>> {
        if spec.train.batch_size.is_none() {
            return Err(Error::Value {
                what: "train.batch_size".into(),
                got: "nothing".into(),
                expected: format!("the examples of a step: {} draws fresh ones without end", task.name),
            });
        }
        let splits = vec![Split { train: vec![], test: (0..task.n_examples() as u32).collect() }];
        let streams = spec.data.seed.map_or_else(|| seeds.clone(), |seed| vec![seed]);
        let (batch_size, rule) = (spec.train.batch_size, task.rule.clone());
        let draws = rule.zip(batch_size).map(|(rule, size)| Draws::new(rule, streams, size));
        Ok(Data { task, seeds, splits, batch_size, orders: vec![], epoch: None, draws })
    }

    /// Draws the fresh examples of a step on a thread of their own, while the step before it runs.
    pub fn draw_ahead(&mut self) {
        if let Some(draws) = &mut self.draws {
            draws.ahead();
        }
    }

    /// Examples of a training step.
    pub fn batch_examples(&self) -> usize {
        self.batch_size.unwrap_or(self.splits[0].train.len())
    }

    /// Training examples of a replica.
    pub fn n_train(&self) -> usize {
        self.splits[0].train.len()
    }

    /// Test examples of a replica.
    pub fn n_test(&self) -> usize {
        self.splits[0].test.len()
    }

    /// Whether a step reads a part of a finite training split only.
    pub fn is_mini_batch(&self) -> bool {
        self.batch_size.is_some() && !self.task.stream
    }

    /// The whole training splits, ready for `plan`.
    ///
    /// # Errors
    /// Tokens that the plan does not know.
    pub fn train_batches(&self, plan: &Plan) -> Result<Vec<Batch>> {
        self.splits.iter().map(|split| self.batch(&split.train, plan)).collect()
    }

    /// The test splits, ready for `plan`.
    ///
    /// # Errors
    /// As [`Data::train_batches`].
    pub fn test_batches(&self, plan: &Plan) -> Result<Vec<Batch>> {
        self.splits.iter().map(|split| self.batch(&split.test, plan)).collect()
    }

    /// The batches that update number `step` starts with: room for mini-batches, or the whole splits.
    ///
    /// # Errors
    /// As [`Data::train_batches`].
    pub fn step_batches(&self, plan: &Plan) -> Result<Vec<Batch>> {
        match self.batch_size {
            None => self.train_batches(plan),
            Some(_) if self.task.stream => self.fresh_batches(plan),
            Some(size) => {
                let split = |r: usize| &self.splits[if self.splits.len() == 1 { 0 } else { r }];
                (0..self.seeds.len()).map(|r| self.batch(&split(r).train[..size], plan)).collect()
            }
        }
    }

    /// Fills mini-batches for the update after `step` others; the batches are those of [`Data::step_batches`].
    pub fn fill(&mut self, step: u64, plan: &Plan, batches: &mut [Batch]) {
        let Some(size) = self.batch_size else { return };
        if let Some(draws) = &mut self.draws {
            for (batch, drawn) in batches.iter_mut().zip(draws.of_step(step)) {
                match &mut batch.x {
                    Inputs::Ids(tokens_bt) => swap(tokens_bt, &mut drawn.tokens_bt),
                    Inputs::Reals { x_btn, .. } => swap(x_btn, &mut drawn.x_btn),
                }
                match &mut batch.targets {
                    Targets::Classes(targets_bl) => swap(targets_bl, &mut drawn.targets_bl),
                    Targets::Reals { y_bln, .. } => swap(y_bln, &mut drawn.y_bln),
                }
                swap(batch.weights.get_or_insert_default(), &mut drawn.weights_bl);
                plan.look_up(batch);
            }
            return;
        }
        let n = self.n_train();
        let per_epoch = (n / size) as u64;
        let (epoch, at) = (step / per_epoch, (step % per_epoch) as usize * size);
        if self.epoch != Some(epoch) {
            self.orders.resize_with(self.seeds.len(), || vec![0; n]);
            for (r, (order, &seed)) in self.orders.iter_mut().zip(&self.seeds).enumerate() {
                let split = &self.splits[if self.splits.len() == 1 { 0 } else { r }];
                order.copy_from_slice(&split.train);
                Rng::stream(seed, "batch").substream(epoch).shuffle(order);
            }
            self.epoch = Some(epoch);
        }
        for (batch, order) in batches.iter_mut().zip(&self.orders) {
            batch.gather(&example_set(self.task), &order[at..at + size]);
            plan.look_up(batch);
        }
    }

    /// Room for fresh examples, filled with some.
    fn fresh_batches(&self, plan: &Plan) -> Result<Vec<Batch>> {
        let size = self.batch_examples();
        let test = &self.splits[0].test;
        let examples: Vec<u32> = (0..size).map(|i| test[i % test.len()]).collect();
        (0..self.draws.as_ref().map_or(0, Draws::n_seeds)).map(|_| self.batch(&examples, plan)).collect()
    }

    fn batch(&self, indices: &[u32], plan: &Plan) -> Result<Batch> {
        let mut batch = batch(self.task, indices);
        plan.prepare(&mut batch)?;
        Ok(batch)
    }

    /// `train_mask [R, N]`: 1 for training examples.
    pub fn train_mask(&self) -> Tensor {
        let n = self.task.n_examples();
        let mut mask = vec![0u8; self.seeds.len() * n];
        for (r, mask) in mask.chunks_exact_mut(n).enumerate() {
            for &i in &self.splits[if self.splits.len() == 1 { 0 } else { r }].train {
                mask[i as usize] = 1;
            }
        }
        Tensor { name: "train_mask".into(), shape: vec![self.seeds.len(), n], data: Numbers::U8(mask) }
    }
}
