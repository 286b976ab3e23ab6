//! The same run with its steps on a GPU: there are parameters and moments, here is everything else.
//!
//! Batches that stay the same are on the device from the start; fresh ones and mini-batches are drawn here and uploaded some steps at a time.
//! Numbers come back where an evaluation, a snapshot or a resume point is due. The last evaluation, which no update follows, is the
//! processor's.

use super::session::{Session, Split, evaluation, step_plan};
use super::{Progress, Steps};
use crate::checkpoint::{ResumePoint, Snapshot};
use crate::engine::cuda::lower::not_here;
use crate::engine::cuda::machine::Machine;
use crate::engine::cuda::optim::Optim;
use crate::engine::cuda::trainer::{BLOCK_STEPS, Job, Trainer};
use crate::engine::{Batch, Params, Plan, Real, Target, Workers};
use crate::error::Result;
use crate::optim::Settings;
use crate::spec::Spec;
use crate::task::Task;

/// All replicas of a run, on a GPU.
pub(super) struct GpuSession<'a, T: Real> {
    host: Session<'a, T>,
    device: Trainer<T>,
    /// The batches of the steps to come, where each has its own.
    block: Option<Block>,
    /// What is in the host's parameters and moments is older than what the device has.
    behind: bool,
    /// Number of each split's evaluation.
    evaluations: Vec<Split>,
}

/// Batches of some steps in a row.
struct Block {
    plan: Plan,
    steps: Vec<Vec<Batch>>,
}

impl<'a, T: Real> GpuSession<'a, T> {
    /// A run at step 0.
    ///
    /// # Errors
    /// As [`Session::new`]; [`Error::Value`](crate::error::Error::Value) for what has no kernels, and where the replicas do not fit into
    /// the device's memory.
    pub(super) fn new(
        spec: &'a Spec,
        task: &'a Task,
        workers: Workers,
        machine: Box<dyn Machine>,
    ) -> Result<GpuSession<'a, T>> {
        if !spec.loss.terms.is_empty() {
            return Err(not_here("loss.terms"));
        }
        let host = Session::<T>::new(spec, task, workers)?;
        let seeds = &spec.train.seeds.0;
        let plan = step_plan(spec, task, host.data().batch_examples(), Target::Gpu)?;
        let batches = host.data().step_batches(&plan)?;
        let evaluations = host.evaluated();
        let mut prepared = vec![];
        for split in &evaluations {
            prepared.push(evaluation(spec, task, host.data(), *split, Target::Gpu)?);
        }
        let settings = Settings::new(&spec.optim, seeds, spec.train.steps);
        let optim = Optim::new(&spec.optim, settings, &plan, spec.model.mask.is_some())?;
        let fresh = spec.train.batch_size.is_some();
        let job = Job {
            plan: &plan,
            batches: &batches,
            fresh,
            evaluations: prepared.iter().map(|(plan, batches)| (plan, &batches[..])).collect(),
            optim,
            seeds,
        };
        let device = Trainer::new(machine, job)?;
        let block = fresh.then(|| Block { plan, steps: vec![batches; BLOCK_STEPS] });
        let mut session = GpuSession { host, device, block, behind: false, evaluations };
        session.put()?;
        Ok(session)
    }

    /// Host to device.
    fn put(&mut self) -> Result<()> {
        let host = &self.host;
        let at = (host.step(), host.non_finite());
        self.device.put(host.params(), host.moments(), host.masks(), at)?;
        self.behind = false;
        Ok(())
    }

    /// Device to host.
    fn get(&mut self) -> Result<()> {
        if std::mem::take(&mut self.behind) {
            let (params, moments): (&mut Params<T>, &mut [Params<T>]) = self.host.state_mut();
            self.device.get(params, moments)?;
        }
        Ok(())
    }

    /// `n` updates from `step` on.
    fn updates(&mut self, step: u64, n: u64) -> Result<()> {
        self.behind = true;
        let Some(block) = &mut self.block else {
            return self.device.steps(n);
        };
        let mut done = 0;
        while done < n {
            let now = ((n - done) as usize).min(BLOCK_STEPS);
            for (i, batches) in block.steps[..now].iter_mut().enumerate() {
                self.host.data_mut().fill(step + done + i as u64, &block.plan, batches);
            }
            let steps: Vec<&[Batch]> = block.steps[..now].iter().map(Vec::as_slice).collect();
            self.device.steps_on(&steps)?;
            done += now as u64;
        }
        Ok(())
    }
}

impl<T: Real> Steps for GpuSession<'_, T> {
    fn step(&self) -> u64 {
        self.host.step()
    }

    fn end(&self) -> u64 {
        self.host.end()
    }

    fn advance(&mut self, until: u64) -> Result<()> {
        let (step, every) = (self.host.step(), self.host.eval_every());
        let due = step.is_multiple_of(every);
        let mut outcomes = vec![];
        if due {
            for (i, split) in self.evaluations.iter().enumerate() {
                outcomes.push((*split, self.device.evaluate(i)?));
            }
        }
        let next = (step / every + 1).saturating_mul(every);
        let n = if due { 1 } else { until.max(step + 1).min(next) - step };
        self.updates(step, n)?;
        let marks = self.device.non_finite()?;
        let trained = if due { Some(self.device.outcomes()?) } else { None };
        self.host.take_in(n, trained, outcomes, &marks);
        Ok(())
    }

    fn evaluate_last(&mut self) -> Result<()> {
        self.get()?;
        self.host.evaluate_last()
    }

    fn progress(&self) -> Progress {
        self.host.progress()
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.get()?;
        self.host.snapshot()
    }

    fn resume_point(&mut self) -> Result<ResumePoint> {
        self.get()?;
        self.host.resume_point()
    }

    fn restore(&mut self, point: &ResumePoint) -> Result<()> {
        self.host.restore(point)?;
        self.put()
    }

    fn fingerprint(&self) -> String {
        self.host.fingerprint()
    }

    fn non_finite_at_end(&self) -> Vec<Option<u64>> {
        self.host.non_finite_at_end()
    }
}
