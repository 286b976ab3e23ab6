//! The loop: spec and task -> snapshots, resume points and metrics in a run folder.
//!
//! [`train`] reads top to bottom as the flow of a run. After `step` updates, in this order: snapshot if due, resume point if
//! due, evaluation if due, one more update. The training loss of a full batch comes with the update's own forward pass.

mod data;
mod late_freqs;
mod metrics;
mod session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::checkpoint::{RunFolder, pack, resume};
use crate::engine::{Real, Workers};
use crate::error::{Error, Result};
use crate::spec::{Dtype, Spec};
use crate::task::Task;

pub use data::Data;
pub use metrics::Metrics;
pub(crate) use metrics::{TERM, columns as metrics_columns};
pub use session::Session;
pub(crate) use session::{batch_shape, task_shape};

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
    let task = Task::load(&spec.task)?;
    match spec.dtype {
        Dtype::F32 => train_as::<f32>(spec, &task, folder, options, watch),
        Dtype::F64 => train_as::<f64>(spec, &task, folder, options, watch),
    }
}

fn train_as<T: Real>(
    spec: &Spec,
    task: &Task,
    folder: &RunFolder,
    options: &TrainOptions<'_>,
    watch: &mut dyn Watch,
) -> Result<Trained> {
    let started = Instant::now();
    let mut session = Session::<T>::new(spec, task, Workers::new(options.threads)?)?;
    if options.resume {
        restore(&mut session, folder, watch)?;
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
            session.resume_point().write(folder)?;
        }
        if last {
            break;
        }
        session.advance()?;
        watch.progress(&session.progress());
        if options.interrupt.load(Ordering::Relaxed) {
            session.resume_point().write(folder)?;
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

fn restore<T: Real>(session: &mut Session<T>, folder: &RunFolder, watch: &mut dyn Watch) -> Result<()> {
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
    session.restore(&latest.point)
}
