//! The state of a run of toy models: every replica with its own parameters, moments and examples.
//!
//! A replica takes many updates in a row while its numbers are in cache; workers share out replicas. Evaluations (the batch's loss, and
//! that of examples drawn once) come before the update whose step they carry, as everywhere.

use std::sync::{Arc, Mutex};

use super::metrics::{Metrics, median};
use super::{Progress, Steps};
use crate::checkpoint::{ResumePoint, Snapshot};
use crate::engine::tiny::{Loss, Net, Scratch, Tile};
use crate::engine::{ParamLayout, Params, Real, StepOutcome, Workers};
use crate::error::{Error, Result};
use crate::optim::{self, At, MAX_MOMENTS, Settings, Update};
use crate::spec::{Draws, LossKind, Spec, ToyReplica, ToySpec};
use crate::tensor::{Data, Tensor};
use crate::toy::{BatchAt, Examples, Network, Stream};

/// All replicas of a run of toy models.
pub struct ToySession<'a, T: Real> {
    spec: &'a Spec,
    network: Network,
    seeds: Vec<u64>,
    replicas: Vec<Replica<T>>,
    update: Box<dyn Update<T>>,
    workers: Workers,
    scratch: Mutex<Vec<Scratch<T>>>,
    step: u64,
    metrics: Metrics,
    end: u64,
}

/// What one replica reads and writes.
struct Replica<T> {
    params: Vec<T>,
    grads: Vec<T>,
    moments: [Vec<T>; MAX_MOMENTS],
    importance: Vec<T>,
    data: ReplicaData<T>,
    /// Before its last update.
    loss: f64,
    non_finite: Option<u64>,
}

/// Where its examples come from.
struct ReplicaData<T> {
    examples: Examples,
    training: Stream,
    evaluation: Stream,
    dropout: Stream,
    /// Examples a step.
    batch: usize,
    /// Fixed examples: tiles of features and of targets.
    points: Option<(Vec<T>, Vec<T>)>,
}

impl<T: Real> ReplicaData<T> {
    fn new(spec: &Spec, toy: &ToySpec, (replica, first): (&ToyReplica, u64)) -> ReplicaData<T> {
        let seed = match toy.draws {
            Draws::Replica => replica.seed,
            Draws::Shared => first,
        };
        let examples = Examples::new(toy, replica);
        let batch = replica.points.or(spec.train.batch_size).unwrap_or(DEFAULT_BATCH);
        ReplicaData {
            points: replica.points.map(|count| examples.tiles(&Stream::points(seed), count)),
            examples,
            training: Stream::training(seed),
            evaluation: Stream::evaluation(seed),
            dropout: Stream::dropout(replica.seed),
            batch,
        }
    }

    /// The examples of the update after `step` others, and what dropout keeps of them.
    fn draw(&self, net: &Net, step: u64, tile: Tile<'_, T>) {
        let at = BatchAt { number: step, examples: self.batch };
        match &self.points {
            // Tiles before this one are whole.
            Some((x, y)) => {
                tile.x.copy_from_slice(&x[tile.first * net.d_in()..][..tile.x.len()]);
                tile.y.copy_from_slice(&y[tile.first * net.d_out()..][..tile.y.len()]);
            }
            None => {
                self.examples.fill(&self.training, at, tile.first, tile.lanes, tile.x);
                self.examples.targets(tile.x, tile.lanes, tile.y);
            }
        }
        let rows = || net.layers.iter().map(|layer| layer.d_out);
        let mut row = 0;
        for (layer, keep) in net.layers.iter().zip(tile.keep) {
            if layer.dropout > 0.0 {
                let keep = &mut keep[..layer.d_out * tile.lanes];
                Examples::keep(&self.dropout, (at, rows().sum(), row), (tile.first, tile.lanes), layer.dropout, keep);
            }
            row += layer.d_out;
        }
    }

    /// The examples of evaluations.
    fn draw_evaluation(&self, examples: usize, tile: Tile<'_, T>) {
        let at = BatchAt { number: 0, examples };
        self.examples.fill(&self.evaluation, at, tile.first, tile.lanes, tile.x);
        self.examples.targets(tile.x, tile.lanes, tile.y);
    }
}

/// Examples a step when neither `train.batch_size` nor `toy.points` says: that of Elhage et al. 2022.
const DEFAULT_BATCH: usize = 1024;

impl<'a, T: Real> ToySession<'a, T> {
    /// A run at step 0.
    ///
    /// # Errors
    /// A spec without `[toy]`, or with faults in it.
    pub fn new(spec: &'a Spec, workers: Workers) -> Result<ToySession<'a, T>> {
        let toy = spec.toy.as_ref().ok_or_else(|| Error::Value {
            what: "toy".into(),
            got: "no such section".into(),
            expected: "one: the spec is of a task".into(),
        })?;
        let of_replicas = toy.replicas(&spec.train.seeds.0).map_err(|(key, message)| Error::Value {
            what: key.into(),
            got: message,
            expected: "an expression that has a value at every point of the grid".into(),
        })?;
        let network = Network::new(toy);
        let start = network.start::<T>(toy, &of_replicas);
        let seeds: Vec<u64> = of_replicas.iter().map(|replica| replica.seed).collect();
        let mut settings = Settings::new(&spec.optim, &seeds, spec.train.steps);
        for (r, replica) in of_replicas.iter().enumerate() {
            settings.lr[r] *= replica.lr_factor;
            if let Some(heat) = replica.inverse_temperature {
                settings.inverse_temperature[r] = heat;
            }
        }
        let update = optim::build::<T>(&spec.optim, settings);
        let stride = network.layout.stride;
        let first = of_replicas.first().map_or(0, |replica| replica.seed);
        let replica = |(r, replica): (usize, &ToyReplica)| Replica {
            params: start.replica(r).to_vec(),
            grads: vec![T::ZERO; stride],
            moments: std::array::from_fn(|i| vec![T::ZERO; if i < update.moments() { stride } else { 0 }]),
            importance: replica.importance.iter().map(|&x| T::from_f64(x)).collect(),
            data: ReplicaData::new(spec, toy, (replica, first)),
            loss: f64::NAN,
            non_finite: None,
        };
        Ok(ToySession {
            spec,
            seeds,
            replicas: of_replicas.iter().enumerate().map(replica).collect(),
            network,
            update,
            workers,
            scratch: Mutex::new(vec![]),
            step: 0,
            metrics: Metrics::new(LossKind::Mse, std::iter::empty()),
            end: spec.train.steps,
        })
    }

    /// The parameters of all replicas.
    pub fn params(&self) -> Params<T> {
        self.gather(|replica| &replica.params)
    }

    /// Evaluations so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn gather(&self, of: impl Fn(&Replica<T>) -> &[T]) -> Params<T> {
        let flat = self.replicas.iter().flat_map(of).copied().collect();
        Params { layout: Arc::clone(&self.network.layout), flat }
    }

    fn toy(&self) -> &'a ToySpec {
        self.spec.toy.as_ref().expect("invariant: checked when the session was made")
    }

    fn non_finite(&self) -> Vec<Option<u64>> {
        self.replicas.iter().map(|replica| replica.non_finite).collect()
    }

    /// Runs `work` for every replica with buffers of its worker's; gives what it gives, in the order of the replicas.
    fn each(
        &mut self,
        work: impl Fn(usize, &mut Replica<T>, Shared<'_, T>, &mut Scratch<T>) -> f64 + Sync,
    ) -> Vec<f64> {
        let (pool, net, scale) = (&self.scratch, &self.network.net, self.toy().loss_scale());
        let shared = Shared { net, layout: &self.network.layout, update: &*self.update, scale };
        let mut losses: Vec<(&mut Replica<T>, f64)> = self.replicas.iter_mut().map(|r| (r, f64::NAN)).collect();
        self.workers.each_mut(&mut losses, |r, (replica, loss)| {
            let idle = pool.lock().expect("invariant: nobody panics with the lock held").pop();
            let mut scratch = idle.unwrap_or_else(|| net.scratch());
            *loss = work(r, replica, shared, &mut scratch);
            pool.lock().expect("invariant: nobody panics with the lock held").push(scratch);
        });
        losses.into_iter().map(|(_, loss)| loss).collect()
    }

    /// Losses on the examples of evaluations.
    fn evaluate(&mut self) -> Vec<StepOutcome> {
        let examples = self.toy().eval_examples;
        let losses = self.each(|_, replica, Shared { net, scale, .. }, scratch| {
            let loss = Loss { examples, importance: &replica.importance, scale };
            let draw = |tile: Tile<'_, T>| replica.data.draw_evaluation(examples, tile);
            net.loss_of(&replica.params, loss, scratch, draw)
        });
        losses.into_iter().map(outcome).collect()
    }

    /// The losses and gradients of the step at hand, and `count` updates, the first loss of each kept.
    fn updates(&mut self, count: u64) {
        let first = self.step;
        let losses = self.each(|r, replica, shared, scratch| {
            let loss = replica.update(shared, (r, first), scratch);
            for step in first + 1..first + count {
                replica.update(shared, (r, step), scratch);
            }
            loss
        });
        self.replicas.iter_mut().zip(losses).for_each(|(replica, loss)| replica.loss = loss);
    }

    fn record(&mut self, test: &[StepOutcome]) {
        let train: Vec<StepOutcome> = self.replicas.iter().map(|replica| outcome(replica.loss)).collect();
        self.metrics.push(self.step, &train, Some(test), &[]);
    }

    fn settle(&mut self) {
        let non_finite = self.non_finite();
        self.end = match non_finite.iter().all(Option::is_some) {
            true => self.step,
            false => self.metrics.end(self.spec.train.stop.as_ref(), self.spec.train.steps, &non_finite),
        };
    }
}

/// What all replicas read.
#[derive(Clone, Copy)]
struct Shared<'a, T> {
    net: &'a Net,
    layout: &'a ParamLayout,
    update: &'a dyn Update<T>,
    /// Factor on the sum over outputs.
    scale: f64,
}

fn outcome(loss: f64) -> StepOutcome {
    StepOutcome { loss, acc_frac: f64::NAN, grad_norm: None, finite: loss.is_finite() }
}

impl<T: Real> Replica<T> {
    /// The batch's loss; then the update, unless something is not finite.
    fn update(
        &mut self,
        Shared { net, layout, update, scale }: Shared<'_, T>,
        (r, step): (usize, u64),
        scratch: &mut Scratch<T>,
    ) -> f64 {
        if self.non_finite.is_some() {
            return f64::NAN;
        }
        let loss = Loss { examples: self.data.batch, importance: &self.importance, scale };
        let data = &self.data;
        let draw = |tile: Tile<'_, T>| data.draw(net, step, tile);
        let loss = net.loss_and_grads(&self.params, &mut self.grads, loss, scratch, draw);
        if !loss.is_finite() || !self.grads.iter().all(|x| x.is_finite()) {
            self.non_finite = Some(step);
            return loss;
        }
        let mut grad_scale = 1.0;
        if let Some(limit) = update.clip_norm(r) {
            let norm = self.grads.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
            // As PyTorch's clip_grad_norm_.
            grad_scale = (limit / (norm + 1e-6)).min(1.0);
        }
        // Not the room between parameters, which is nobody's.
        for info in &layout.infos {
            let range = info.offset..info.offset + info.len();
            let moments =
                self.moments.each_mut().map(|m| if m.is_empty() { &mut [][..] } else { &mut m[range.clone()] });
            let at = At { replica: r, step, first: info.offset, grad_scale };
            update.update(at, &mut self.params[range.clone()], &self.grads[range], moments);
        }
        loss
    }
}

impl<T: Real> Steps for ToySession<'_, T> {
    fn step(&self) -> u64 {
        self.step
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn advance(&mut self, until: u64) -> Result<()> {
        let every = self.spec.train.eval_every;
        let due = self.step.is_multiple_of(every);
        let next = (self.step / every + 1) * every;
        let count = (until.min(next) - self.step).max(1);
        let test = if due { self.evaluate() } else { vec![] };
        let before = self.non_finite();
        self.updates(count);
        if due {
            self.record(&test);
        }
        self.step += count;
        if due || self.non_finite() != before {
            self.settle();
        }
        Ok(())
    }

    fn evaluate_last(&mut self) -> Result<()> {
        if self.metrics.steps.last() == Some(&self.step) {
            return Ok(());
        }
        let step = self.step;
        let losses = self.each(|_, replica, Shared { net, scale, .. }, scratch| {
            let loss = Loss { examples: replica.data.batch, importance: &replica.importance, scale };
            let data = &replica.data;
            let draw = |tile: Tile<'_, T>| data.draw(net, step, tile);
            // As the next update would, dropout and all, so that the bits are those of a run that goes on.
            net.loss_and_grads(&replica.params, &mut replica.grads, loss, scratch, draw)
        });
        self.replicas.iter_mut().zip(losses).for_each(|(replica, loss)| replica.loss = loss);
        let test = self.evaluate();
        self.record(&test);
        Ok(())
    }

    fn progress(&self) -> Progress {
        let replicas = self.replicas.len();
        Progress {
            step: self.step,
            steps: self.end,
            train_loss_nats: median(self.replicas.iter().map(|replica| replica.loss)),
            train_acc_frac: f64::NAN,
            test_loss_nats: self.metrics.last_median(2, replicas),
            test_acc_frac: f64::NAN,
            non_finite: self.non_finite().iter().flatten().count(),
        }
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mask = Tensor::new("train_mask", vec![self.replicas.len(), 0], Data::U8(vec![]))?;
        Ok(Snapshot { step: self.step, params: self.params().to_tensors(""), train_mask: mask })
    }

    fn resume_point(&mut self) -> Result<ResumePoint> {
        let mut tensors = self.params().to_tensors("params/");
        for i in 0..self.update.moments() {
            tensors.extend(self.gather(|replica| &replica.moments[i]).to_tensors(&format!("moments/{i}/")));
        }
        tensors.extend(self.metrics.to_tensors(self.replicas.len()));
        let marks = self.non_finite().iter().map(|mark| mark.unwrap_or(u64::MAX)).collect();
        let name = "state/non_finite_step".to_owned();
        tensors.push(Tensor { name, shape: vec![self.replicas.len()], data: Data::U64(marks) });
        Ok(ResumePoint { step: self.step, plan_fingerprint: self.fingerprint(), tensors })
    }

    fn restore(&mut self, point: &ResumePoint) -> Result<()> {
        let layout = Arc::clone(&self.network.layout);
        let params = Params::<T>::from_tensors(&layout, &point.tensors, "params/")?;
        for (r, replica) in self.replicas.iter_mut().enumerate() {
            replica.params.copy_from_slice(params.replica(r));
        }
        for i in 0..self.update.moments() {
            let moment = Params::<T>::from_tensors(&layout, &point.tensors, &format!("moments/{i}/"))?;
            for (r, replica) in self.replicas.iter_mut().enumerate() {
                replica.moments[i].copy_from_slice(moment.replica(r));
            }
        }
        self.metrics = Metrics::from_tensors(LossKind::Mse, &point.tensors)?;
        if let Some(marks) = point.tensors.iter().find(|t| t.name == "state/non_finite_step")
            && let Data::U64(marks) = &marks.data
        {
            for (replica, &mark) in self.replicas.iter_mut().zip(marks) {
                replica.non_finite = (mark < u64::MAX).then_some(mark);
            }
        }
        self.step = point.step;
        self.settle();
        if self.step < self.end {
            self.metrics.keep_scheduled(self.step, self.spec.train.eval_every, self.replicas.len());
        }
        Ok(())
    }

    /// Of everything that the network and the examples depend on: the keys of the section that differ from the defaults, so that a key which a
    /// later version adds leaves older runs as they are.
    fn fingerprint(&self) -> String {
        let table = |toy: &ToySpec| toml::Table::try_from(toy).expect("invariant: every toy spec is TOML");
        let (mut own, defaults) = (table(self.toy()), table(&ToySpec::default()));
        own.retain(|key, value| key != "eval_examples" && defaults.get(key) != Some(value));
        format!("toy-{:08x}", crc32fast::hash(format!("{own}{:?}", self.seeds).as_bytes()))
    }

    fn non_finite_at_end(&self) -> Vec<Option<u64>> {
        self.metrics.with_last_row(&self.non_finite())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::{
        GridAxis, OptimKind, OptimSpec, PerFeature, Seeds, Sets, ToyAct, ToyLoss, TrainSpec, Values, Widths,
    };

    fn spec(toy: ToySpec) -> Spec {
        let optim = OptimSpec { kind: OptimKind::Adam, weight_decay: 0.0, warmup_steps: 0, ..OptimSpec::default() };
        let train = TrainSpec {
            steps: 30,
            seeds: Seeds(vec![3, 5]),
            batch_size: Some(300),
            eval_every: 7,
            ..TrainSpec::default()
        };
        Spec { toy: Some(toy), optim, train, ..Spec::default() }
    }

    /// Three densities, tied.
    fn tied() -> ToySpec {
        let grid = vec![GridAxis { name: "density".into(), values: vec![0.5, 0.2, 0.05], ..GridAxis::default() }];
        ToySpec { feature_prob: PerFeature::Expr("density".into()), eval_examples: 100, grid, ..ToySpec::default() }
    }

    /// Two hidden layers, dropout, pairs, sets, fixed points of norm 1: everything else.
    fn other() -> ToySpec {
        ToySpec {
            n_features: 6,
            d_hidden: Widths(vec![4, 3]),
            tied: false,
            hidden_bias: true,
            dropout: 0.2,
            target: "max(x, y)".into(),
            sets: Sets::Anticorrelated,
            points: Some(PerFeature::Number(77.0)),
            unit_norm: true,
            eval_examples: 50,
            ..ToySpec::default()
        }
    }

    fn session(spec: &Spec, threads: usize) -> ToySession<'_, f32> {
        ToySession::new(spec, Workers::new(threads).unwrap()).unwrap()
    }

    fn advance_to(session: &mut ToySession<'_, f32>, step: u64) {
        while session.step() < step {
            session.advance(step).unwrap();
        }
    }

    fn bits(params: &Params<f32>) -> Vec<u32> {
        params.flat.iter().map(|x| x.to_bits()).collect()
    }

    fn metric_bits(metrics: &Metrics) -> Vec<u64> {
        metrics.columns.iter().flatten().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn the_bits_depend_neither_on_threads_nor_on_interruptions_nor_on_other_replicas() {
        let classes = ToySpec { loss: ToyLoss::CrossEntropy, act: ToyAct::Softmax, ..tied() };
        let ring = ToySpec { sets: Sets::Ring, set_size: 1, ..tied() };
        let random = ToySpec {
            target: "random".into(),
            target_sum: 3,
            values: Values::OneOf(vec![1.0]),
            points: Some(PerFeature::Number(300.0)),
            inverse_temperature: Some(PerFeature::Number(300.0)),
            tied: false,
            n_features: 6,
            ..tied()
        };
        for toy in [tied(), other(), classes, ring, random] {
            let mut spec = spec(toy);
            if spec.toy.as_ref().unwrap().inverse_temperature.is_some() {
                spec.optim = OptimSpec { kind: OptimKind::Sgld, localization: 1.0, ..spec.optim };
            }
            let mut whole = session(&spec, 1);
            advance_to(&mut whole, 30);
            whole.evaluate_last().unwrap();
            assert_eq!(whole.metrics().steps, [0, 7, 14, 21, 28, 30]);
            for threads in [2, 4] {
                let mut first = session(&spec, threads);
                // In the middle between evaluations, and one step at a time.
                advance_to(&mut first, 12);
                let point = first.resume_point().unwrap();
                let mut second = session(&spec, threads);
                second.restore(&point).unwrap();
                (13..=30).for_each(|step| advance_to(&mut second, step));
                second.evaluate_last().unwrap();
                assert_eq!(bits(&second.params()), bits(&whole.params()));
                assert_eq!(metric_bits(second.metrics()), metric_bits(whole.metrics()));
            }
            // The last point of the grid with its second seed, alone.
            let mut alone = spec.clone();
            let last = spec.toy.as_ref().unwrap().replicas(&[3, 5]).unwrap().pop().unwrap();
            alone.train.seeds = Seeds(vec![last.seed]);
            let toy = alone.toy.as_mut().unwrap();
            for (axis, x) in toy.grid.iter_mut().zip(&last.point) {
                axis.values = vec![*x];
            }
            let mut alone = session(&alone, 1);
            advance_to(&mut alone, 30);
            let among = whole.params();
            assert_eq!(
                bits(&alone.params()),
                among.replica(among.replicas() - 1).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn losses_fall_and_replicas_differ() {
        let mut spec = spec(tied());
        spec.optim.lr = 1e-2;
        spec.train.steps = 600;
        spec.train.eval_every = 600;
        let mut session = session(&spec, 2);
        advance_to(&mut session, 600);
        session.evaluate_last().unwrap();
        let [_, _, test, _] = &session.metrics().columns;
        for (first, last) in test[..6].iter().zip(&test[6..]) {
            assert!(*last < 0.7 * first, "{first} to {last}");
        }
        assert_eq!(test.iter().map(|x| x.to_bits()).collect::<std::collections::BTreeSet<_>>().len(), 12);
    }

    /// Shared draws: the same examples at every replica of a density, whose starts differ.
    #[test]
    fn shared_draws_are_those_of_the_first_replica() {
        let toy = ToySpec { draws: Draws::Shared, ..tied() };
        let spec = spec(toy);
        let session = session(&spec, 1);
        let drawn = |r: usize| {
            let replica = &session.replicas[r];
            let mut x = vec![0.0f32; 5 * 32];
            let at = BatchAt { number: 4, examples: 300 };
            replica.data.examples.fill(&replica.data.training, at, 0, 32, &mut x);
            x
        };
        assert_eq!(drawn(0), drawn(1));
        assert_ne!(drawn(0), drawn(2), "another density");
    }

    #[test]
    fn a_replica_that_diverges_rests_and_the_others_go_on() {
        let mut toy = tied();
        toy.grid = vec![GridAxis { name: "rate".into(), values: vec![1.0, 1e30], ..GridAxis::default() }];
        toy.feature_prob = PerFeature::Number(0.5);
        toy.lr_factor = PerFeature::Expr("rate".into());
        let mut spec = spec(toy);
        spec.optim.kind = OptimKind::Sgd;
        let mut session = session(&spec, 2);
        advance_to(&mut session, 30);
        let marks = session.non_finite();
        assert!(marks[..2].iter().all(Option::is_none) && marks[2..].iter().all(Option::is_some), "{marks:?}");
        assert!(session.params().flat[..2 * session.network.layout.stride].iter().all(|x| x.is_finite()));
    }

    #[test]
    fn other_examples_have_another_fingerprint() {
        let one = spec(tied());
        let mut other = one.clone();
        other.toy.as_mut().unwrap().feature_prob = PerFeature::Number(0.2);
        assert_ne!(session(&one, 1).fingerprint(), session(&other, 1).fingerprint());
    }
}
