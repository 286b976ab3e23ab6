//! A run folder -> what measures read: its snapshots, its examples, and forward passes over all of them in f64.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::checkpoint::{SnapshotReader, hdf5, open_snapshots, resume};
use crate::engine::{Batch, Hook, LOSS_LOGITS, Params, Plan, Runner, Workers};
use crate::error::{Error, Result};
use crate::measure::{self, Examples, Forward, Modular, Series, Setting, SnapshotSource};
use crate::model;
use crate::spec::Spec;
use crate::task::Task;
use crate::tensor::{Data, Tensor};
use crate::train::{Metrics, batch_shape, metrics_columns, task_shape};

/// A trained or half-trained run, ready to be measured.
pub struct RunSeries {
    folder: PathBuf,
    reader: SnapshotReader,
    task: Task,
    train_mask_rn: Vec<bool>,
    pool: rayon::ThreadPool,
}

/// Logits over all examples of a task, in f64; one runner for each pass under way.
struct AllLogits {
    plan: Arc<Plan>,
    batch: Batch,
    idle: Mutex<Vec<Runner<f64>>>,
}

impl RunSeries {
    /// Opens the run in `folder`.
    ///
    /// # Errors
    /// A folder without a run, damaged files, a task card that is gone.
    pub fn open(folder: &Path, threads: usize) -> Result<RunSeries> {
        let reader = open_snapshots(folder)?;
        let task = Task::load(&reader.spec().task)?;
        let Some(&last) = reader.steps().last() else {
            return Err(Error::Missing {
                what: "every snapshot".into(),
                path: folder.to_path_buf(),
                hint: "train first, with `phaselab train` or `phaselab run`".into(),
            });
        };
        let mask = reader.read(last)?.train_mask;
        if mask.shape.last() != Some(&task.n_examples()) {
            return Err(Error::Shape {
                op: format!("train_mask of {}", folder.display()),
                expected: format!("{} examples, as task {} has", task.n_examples(), task.name),
                got: format!("{:?}", mask.shape),
            });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::Value {
            what: "threads".into(),
            got: e.to_string(),
            expected: "as many as the system gives".into(),
        })?;
        let train_mask_rn = mask.to_f64().into_iter().map(|x| x != 0.0).collect();
        Ok(RunSeries { folder: folder.to_path_buf(), reader, task, train_mask_rn, pool })
    }

    /// The run's spec.
    pub fn spec(&self) -> &Spec {
        self.reader.spec()
    }

    /// The run's task.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Steps that have a snapshot.
    pub fn steps(&self) -> &[u64] {
        self.reader.steps()
    }

    /// Names of the measures that fit this run's task and model.
    ///
    /// # Errors
    /// Damaged files.
    pub fn fitting_measures(&self) -> Result<Vec<&'static str>> {
        let setting = self.setting()?;
        Ok(measure::ALL.iter().filter(|m| m.fits(&setting).is_ok()).map(|m| m.name()).collect())
    }

    /// Measures over a range of checkpoints, all replicas; see [`measure::measure`].
    ///
    /// # Errors
    /// As [`measure::measure`].
    pub fn measure(
        &self,
        names: &[&str],
        steps: RangeInclusive<u64>,
        progress: &mut (dyn FnMut(usize, usize) -> Result<()> + Send),
    ) -> Result<Vec<Series>> {
        let setting = self.setting()?;
        let forward = self.all_logits()?;
        self.pool.install(|| measure::measure(names, self, &setting, &forward, steps, progress))
    }

    /// Loss and accuracy at every evaluation, as the series of a measure `metrics`.
    ///
    /// # Errors
    /// Damaged files.
    pub fn metrics(&self) -> Result<Vec<Series>> {
        let metrics = Metrics::from_tensors(&self.reader.metrics()?)?;
        let series = metrics_columns().zip(metrics.columns).map(|((column, unit), values_srw)| Series {
            measure: "metrics".into(),
            column: column.into(),
            unit: unit.into(),
            steps: metrics.steps.clone(),
            seeds: self.seeds().to_vec(),
            axis: None,
            values_srw,
        });
        Ok(series.collect())
    }

    /// For each replica, the first update that met a non-finite value.
    ///
    /// # Errors
    /// Damaged files.
    pub fn non_finite(&self) -> Result<Vec<Option<u64>>> {
        let replicas = self.seeds().len();
        let Some(latest) = resume::latest(&self.folder)? else { return Ok(vec![None; replicas]) };
        let record = hdf5::read_some(&resume::point_path(&self.folder, latest.point.step), "state/")?;
        let found = record.tensors.iter().find(|t| t.name == "state/non_finite_step");
        let marks: Vec<Option<u64>> = match found.map(|t| &t.data) {
            Some(Data::U64(marks)) => marks.iter().map(|&mark| (mark < u64::MAX).then_some(mark)).collect(),
            _ => vec![None; replicas],
        };
        Ok(Metrics::from_tensors(&self.reader.metrics()?)?.with_last_row(&marks))
    }

    fn setting(&self) -> Result<Setting<'_>> {
        let params = self.reader.read(*self.steps().last().expect("invariant: checked when opened"))?.params;
        Ok(Setting::new(self.examples(), &params))
    }

    fn examples(&self) -> Examples<'_> {
        Examples {
            n_examples: self.task.n_examples(),
            n_classes: self.task.d_vocab_out,
            targets: &self.task.targets_bl,
            modular: self.task.modular.as_ref().map(|m| Modular {
                p: m.p as usize,
                op: m.op(),
                pairs: &m.pairs,
                ops: &m.ops,
                op_of: &m.op_of,
            }),
        }
    }

    fn all_logits(&self) -> Result<AllLogits> {
        let graph = model::graph(&self.spec().model, &task_shape(&self.task));
        let shape = batch_shape(&self.task, self.task.n_examples());
        let plan = Plan::build_forward(graph, &shape, &[], &[Hook::value(LOSS_LOGITS)], &[])?;
        let mut batch = Batch::classes(self.task.n_ctx, self.task.tokens_bt.clone(), self.task.targets_bl.clone())?;
        plan.prepare(&mut batch)?;
        Ok(AllLogits { plan: Arc::new(plan), batch, idle: Mutex::new(vec![]) })
    }
}

impl SnapshotSource for RunSeries {
    fn steps(&self) -> &[u64] {
        self.reader.steps()
    }

    fn seeds(&self) -> &[u64] {
        &self.spec().train.seeds.0
    }

    fn train_mask_rn(&self) -> &[bool] {
        &self.train_mask_rn
    }

    fn params(&self, step: u64) -> Result<Vec<Tensor>> {
        Ok(self.reader.read(step)?.params)
    }
}

impl Forward for AllLogits {
    fn logits(&self, params: &[Tensor]) -> Result<Vec<f64>> {
        let with_replica_axis: Vec<Tensor> = (params.iter())
            .map(|t| Tensor { shape: std::iter::once(1).chain(t.shape.iter().copied()).collect(), ..t.clone() })
            .collect();
        let params = Params::from_tensors(self.plan.params(), &with_replica_axis, "")?;
        let idle = self.idle.lock().expect("invariant: nobody panics with the lock held").pop();
        let mut runner = match idle {
            Some(runner) => runner,
            None => Runner::new(Arc::clone(&self.plan), Workers::new(1)?),
        };
        let (_, mut wanted) = runner.observe(&params, 0, &self.batch)?;
        self.idle.lock().expect("invariant: nobody panics with the lock held").push(runner);
        Ok(wanted.pop().map_or(vec![], |t| match t.data {
            Data::F64(values) => values,
            other => Tensor { data: other, ..t }.to_f64(),
        }))
    }
}
