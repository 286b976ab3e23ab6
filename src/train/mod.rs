//! The loop: spec and task -> snapshots, resume points and metrics in a run folder.
//!
//! [`train`] reads top to bottom as the flow of a run. After `step` updates, in this order: snapshot if due, resume point if
//! due, evaluation if due, one more update. The training loss of a full batch comes with the update's own forward pass.

mod data;
mod draws;
mod gpu;
mod late_freqs;
mod mask;
mod metrics;
mod selftest;
mod session;
mod start_from;
mod toy;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::checkpoint::{ResumePoint, RunFolder, Snapshot, pack, resume};
use crate::engine::cuda::lower::not_here;
use crate::engine::cuda::{Card, Choice};
use crate::engine::{Real, Workers};
use crate::error::{Error, Result};
use crate::spec::{Dtype, Spec};
use crate::task::Task;

pub use data::Data;
pub(crate) use data::batch;
#[cfg(test)]
pub(crate) use data::example_set;
use gpu::GpuSession;
pub use metrics::Metrics;
pub(crate) use metrics::{TERM, columns as metrics_columns};
pub use selftest::{Finding, selftest};
pub use session::Session;
pub(crate) use session::{batch_shape, task_shape};
pub use toy::ToySession;

/// What training tells while it runs.
pub trait Watch {
    /// After every update.
    fn progress(&mut self, at: &Progress);
    /// Something a reader should know, in one line.
    fn note(&mut self, text: &str);
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Updates done.
    pub step: u64,
    /// Updates at most.
    pub steps: u64,
    /// Median over replicas of the loss before the last update.
    pub train_loss_nats: f64,
    /// Median over replicas.
    pub train_acc_frac: f64,
    /// Median over replicas at the last evaluation; NaN before it, or without a test split.
    pub test_loss_nats: f64,
    /// As above.
    pub test_acc_frac: f64,
    /// Replicas that have met a non-finite value.
    pub non_finite: usize,
}

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct TrainOptions<'a> {
    /// Worker threads; results do not depend on them.
    pub threads: usize,
    /// Go on from the newest resume point, if there is one.
    pub resume: bool,
    /// Set it to stop after the step at hand.
    pub interrupt: &'a AtomicBool,
    /// The GPU that takes the steps, if one does.
    pub gpu: Option<&'a Choice>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Last step.
    pub step: u64,
    /// Updates done by this call.
    pub steps_done: u64,
    /// The stop rule ended it.
    pub stopped_early: bool,
    /// For each replica, the first update that met a non-finite value.
    pub non_finite: Vec<Option<u64>>,
    /// Time of this call.
    pub wall_s: f64,
}

/// Trains all replicas of `spec` in `folder`, and packs the snapshots at the end.
///
/// # Errors
/// [`Error::Interrupted`] after a request to stop (a resume point is written first), [`Error::NonFinite`] when every replica has
/// met a non-finite value (everything is saved first), [`Error::ResumeMismatch`] for a resume point of another plan, and
/// whatever keeps the task from loading or files from being written.
pub fn train(spec: &Spec, folder: &RunFolder, options: &TrainOptions<'_>, watch: &mut dyn Watch) -> Result<Trained> {
    match spec.dtype {
        Dtype::F32 => train_as::<f32>(spec, folder, options, watch),
        Dtype::F64 => train_as::<f64>(spec, folder, options, watch),
    }
}

fn train_as<T: Real>(
    spec: &Spec,
    folder: &RunFolder,
    options: &TrainOptions<'_>,
    watch: &mut dyn Watch,
) -> Result<Trained> {
    let workers = Workers::new(options.threads)?;
    if let Some(choice) = options.gpu {
        return train_on_gpu::<T>(spec, folder, (options, choice), workers, watch);
    }
    if spec.toy.is_some() {
        return run(&mut ToySession::<T>::new(spec, workers)?, spec, folder, options, watch);
    }
    let task = Task::of(&spec.task, &spec.data)?;
    run(&mut Session::<T>::new(spec, &task, workers)?, spec, folder, options, watch)
}

fn train_on_gpu<T: Real>(
    spec: &Spec,
    folder: &RunFolder,
    (options, choice): (&TrainOptions<'_>, &Choice),
    workers: Workers,
    watch: &mut dyn Watch,
) -> Result<Trained> {
    if spec.toy.is_some() {
        return Err(not_here("toy models"));
    }
    folder.computed_by(&choice.describe(T::DTYPE));
    let task = Task::of(&spec.task, &spec.data)?;
    let card = Card::new(choice, T::DTYPE)?;
    run(&mut GpuSession::<T>::new(spec, &task, workers, Box::new(card))?, spec, folder, options, watch)
}

/// What the loop drives: the state of all replicas.
pub trait Steps {
    /// Updates done.
    fn step(&self) -> u64;
    /// The last step, as far as is known: the stop rule may bring it forward, and it is now when no replica is left.
    fn end(&self) -> u64;
    /// One update of every replica or several, at most to step `until`, with the evaluation that is due before them.
    ///
    /// # Errors
    /// None in practice: shapes were checked when the run was made.
    fn advance(&mut self, until: u64) -> Result<()>;
    /// The evaluation of the last step, which no update follows.
    ///
    /// # Errors
    /// As [`Steps::advance`].
    fn evaluate_last(&mut self) -> Result<()>;
    /// Where the run is.
    fn progress(&self) -> Progress;
    /// Parameters as they are now.
    ///
    /// # Errors
    /// None in practice.
    fn snapshot(&mut self) -> Result<Snapshot>;
    /// Everything that going on needs.
    ///
    /// # Errors
    /// None in practice.
    fn resume_point(&mut self) -> Result<ResumePoint>;
    /// Goes on from a resume point of the same plan.
    ///
    /// # Errors
    /// [`Error::Shape`] when an array is missing or has another shape.
    fn restore(&mut self, point: &ResumePoint) -> Result<()>;
    /// Of all that decides the bits.
    fn fingerprint(&self) -> String;
    /// For each replica, the first update or last evaluation that met a non-finite value.
    fn non_finite_at_end(&self) -> Vec<Option<u64>>;
}

fn run(
    session: &mut dyn Steps,
    spec: &Spec,
    folder: &RunFolder,
    options: &TrainOptions<'_>,
    watch: &mut dyn Watch,
) -> Result<Trained> {
    let started = Instant::now();
    if options.resume {
        restore(session, folder, watch)?;
    }
    let first = session.step();
    loop {
        let end = session.end();
        let last = session.step() >= end;
        if spec.train.snapshots.due(session.step()) || last {
            session.snapshot()?.write(folder)?;
        }
        if last {
            session.evaluate_last()?;
        }
        if last || (session.step() > first && session.step().is_multiple_of(spec.train.resume_every)) {
            session.resume_point()?.write(folder)?;
        }
        if last {
            break;
        }
        session.advance(next_due(spec, session.step()).min(end))?;
        watch.progress(&session.progress());
        if options.interrupt.load(Ordering::Relaxed) {
            session.resume_point()?.write(folder)?;
            return Err(Error::Interrupted { step: session.step(), path: folder.path().to_path_buf(), resumes: true });
        }
    }
    pack(folder)?;
    let non_finite = session.non_finite_at_end();
    if non_finite.iter().all(Option::is_some) {
        let step = non_finite.iter().flatten().copied().max().unwrap_or_default();
        return Err(Error::NonFinite { replicas: non_finite.len(), step });
    }
    Ok(Trained {
        step: session.step(),
        steps_done: session.step() - first,
        stopped_early: session.step() < spec.train.steps,
        non_finite,
        wall_s: started.elapsed().as_secs_f64(),
    })
}

/// Updates in a row at most, between two looks at interrupts.
const IN_A_ROW: u64 = 64;

/// The next step after `step` at which something is written, or as many steps on as may be taken in a row.
fn next_due(spec: &Spec, step: u64) -> u64 {
    let resume = (step / spec.train.resume_every + 1).saturating_mul(spec.train.resume_every);
    let until = resume.min(step + IN_A_ROW);
    (step + 1..until).find(|&s| spec.train.snapshots.due(s)).unwrap_or(until)
}

fn restore(session: &mut dyn Steps, folder: &RunFolder, watch: &mut dyn Watch) -> Result<()> {
    let Some(latest) = resume::latest(folder.path())? else {
        watch.note("there is no resume point; starting from step 0");
        return Ok(());
    };
    for (path, error) in &latest.skipped {
        watch.note(&format!("passed over {}: {error}", path.display()));
    }
    if latest.point.plan_fingerprint != session.fingerprint() {
        return Err(Error::ResumeMismatch {
            path: folder.path().to_path_buf(),
            what: "plan, examples or splits",
            differs: vec![
                format!("resume point: {}", latest.point.plan_fingerprint),
                format!("this program: {}", session.fingerprint()),
            ],
        });
    }
    if latest.device != folder.device() {
        watch.note(&format!(
            "the resume point is from {}, and {} goes on: the numbers agree to rounding, not bit for bit",
            latest.device,
            folder.device()
        ));
    }
    session.restore(&latest.point)
}
