//! A task and a spec -> the batches of each replica: training examples (whole, in mini-batches, or drawn afresh) and test examples.
//!
//! Mini-batches go through the training split in a new random order each epoch; an incomplete last batch is left out, as with
//! PyTorch's `drop_last`. The order is a function of (seed, epoch), and fresh examples are one of (seed, step), so a step count is all
//! that a resume needs.

use crate::engine::{Batch, Plan};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::task::rule::Stream;
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
    /// Of the fresh examples: one a replica, or one for all; none for a finite set.
    streams: Vec<u64>,
    stream: Stream,
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
        Ok(Data {
            task,
            seeds,
            splits,
            batch_size: spec.train.batch_size,
            orders: vec![],
            epoch: None,
            streams: vec![],
            stream: Stream::default(),
        })
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
        let batch_size = spec.train.batch_size;
        Ok(Data { task, seeds, splits, batch_size, orders: vec![], epoch: None, streams, stream: Stream::default() })
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
        if let Some(rule) = self.task.rule.as_deref().filter(|_| self.task.stream) {
            for (batch, &seed) in batches.iter_mut().zip(&self.streams) {
                let mut rng = Rng::stream(seed, "examples of a step").substream(step);
                batch.refill(|tokens, targets, weights| {
                    self.stream.draw(rule, (size, step), &mut rng, (tokens, targets, weights));
                });
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
            let (task, indices) = (self.task, &order[at..at + size]);
            batch.gather(&task.tokens_bt, &task.targets_bl, task.weights_bl.as_deref(), indices);
            plan.look_up(batch);
        }
    }

    /// Room for fresh examples, filled with some.
    fn fresh_batches(&self, plan: &Plan) -> Result<Vec<Batch>> {
        let size = self.batch_examples();
        let test = &self.splits[0].test;
        let examples: Vec<u32> = (0..size).map(|i| test[i % test.len()]).collect();
        self.streams.iter().map(|_| self.batch(&examples, plan)).collect()
    }

    fn batch(&self, indices: &[u32], plan: &Plan) -> Result<Batch> {
        let (n_ctx, losses) = (self.task.n_ctx, self.task.loss_positions.len());
        let mut batch = Batch::classes(n_ctx, vec![0; n_ctx], vec![0; losses])?;
        let task = self.task;
        batch.gather(&task.tokens_bt, &task.targets_bl, task.weights_bl.as_deref(), indices);
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
