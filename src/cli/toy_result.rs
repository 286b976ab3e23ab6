//! The short result of a run of toy models: for people, as CSV, as JSON.
//!
//! Reads the settings of each replica, its last losses and the scalar columns of measures; writes one row a replica in files, one a point of
//! the grid for people.

use std::path::Path;

use phaselab::checkpoint::{SUMMARY, atomic};
use phaselab::error::{Error, Result};
use phaselab::forward::RunSeries;
use phaselab::measure::{Field, Series, SnapshotSource};
use phaselab::spec::ToyReplica;
use phaselab::transition::Spread;
use serde_json::{Map, Value, json};

use super::output::{Format, Output, columns};
use super::progress::loss_nats;
use super::result::{Time, plural, seconds};

/// Points of the grid that are told of.
const MAX_ROWS: usize = 24;

/// A run of toy models.
pub struct ToyResult {
    axes: Vec<String>,
    replicas: Vec<ToyReplica>,
    per_point: usize,
    non_finite: Vec<Option<u64>>,
    /// Names, and `[R]` last values.
    numbers: Vec<(String, Vec<f64>)>,
}

/// Test losses of the replicas at one point of the grid.
pub struct PointLosses<'a> {
    /// The point.
    pub at: &'a [f64],
    /// How many there are.
    pub replicas: usize,
    /// The least finite one.
    pub best: Option<f64>,
    /// The median of the finite ones.
    pub median: Option<f64>,
}

impl ToyResult {
    /// What the series of a run say at their last step; none for a run of a task.
    ///
    /// # Errors
    /// Damaged files.
    pub fn of(run: &RunSeries, series: &[Series]) -> Result<Option<ToyResult>> {
        let spec = run.spec();
        let Some(toy) = &spec.toy else { return Ok(None) };
        let replicas = toy.replicas(&spec.train.seeds.0).map_err(|(key, message)| Error::Value {
            what: key.into(),
            got: message,
            expected: "an expression with a value".into(),
        })?;
        let is_number = |series: &&Series| series.axis.is_none() && !series.column.ends_with("_acc_frac");
        let of = |series: &Series| {
            let last = series.steps.len().checked_sub(1)?;
            Some((series.column.clone(), (0..run.seeds().len()).map(|r| series.at(last, r)[0]).collect()))
        };
        // Losses first.
        let (metrics, measures): (Vec<&Series>, Vec<&Series>) =
            series.iter().filter(is_number).partition(|series| series.measure == "metrics");
        Ok(Some(ToyResult {
            axes: toy.axes().iter().map(|name| (*name).to_owned()).collect(),
            per_point: spec.train.seeds.0.len(),
            replicas,
            non_finite: run.non_finite()?,
            numbers: metrics.into_iter().chain(measures).filter_map(of).collect(),
        }))
    }

    /// Writes `summary.csv`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(SUMMARY);
        atomic::write(&path, true, |temporary| std::fs::write(temporary, self.csv()).map_err(Error::io("write", &path)))
    }

    /// Whether any replica stayed finite.
    pub fn is_yes(&self) -> bool {
        self.non_finite.iter().any(Option::is_none)
    }

    /// Names of the grid's axes.
    pub fn axes(&self) -> &[String] {
        &self.axes
    }

    /// Names of what there is a number of: axes of the grid, then losses and measures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().chain(self.numbers.iter().map(|(name, _)| name)).map(String::as_str)
    }

    /// How many replicas there are.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// A replica's seed.
    pub fn seed(&self, r: usize) -> u64 {
        self.replicas[r].seed
    }

    /// The update at which a replica met a number that is not finite, if it did.
    pub fn non_finite(&self, r: usize) -> Option<u64> {
        self.non_finite.get(r).copied().flatten()
    }

    /// A replica's place on an axis of the grid, or its last value of a number.
    pub fn number(&self, name: &str, r: usize) -> Option<f64> {
        match self.axes.iter().position(|axis| axis == name) {
            Some(axis) => Some(self.replicas[r].point[axis]),
            None => self.numbers.iter().find(|(known, _)| known == name).map(|(_, values)| values[r]),
        }
    }

    /// Test losses at every point of the grid.
    pub fn losses(&self) -> Vec<PointLosses<'_>> {
        let losses = self.numbers.iter().find(|(name, _)| name == "test_loss").map(|(_, values)| values);
        let starts = (0..self.replicas.len()).step_by(self.per_point.max(1));
        let point = |start: usize| {
            let range = start..start + self.per_point;
            let of_point = || losses.into_iter().flat_map(|losses| losses[range.clone()].iter().copied());
            let finite = || of_point().filter(|x| x.is_finite());
            PointLosses {
                at: &self.replicas[start].point,
                replicas: range.len(),
                best: finite().min_by(f64::total_cmp),
                median: Spread::of(finite().map(Some)).median(),
            }
        };
        starts.map(point).collect()
    }

    /// Every replica as JSON.
    pub fn json(&self) -> Value {
        let replica = |(r, replica): (usize, &ToyReplica)| {
            let mut row = Map::new();
            row.insert("seed".into(), json!(replica.seed));
            row.extend(self.names().map(|name| (name.to_owned(), json!(self.number(name, r)))));
            Value::Object(row)
        };
        self.replicas.iter().enumerate().map(replica).collect()
    }

    fn csv(&self) -> String {
        let names = self.axes.iter().chain(self.numbers.iter().map(|(name, _)| name));
        let head: Vec<&str> =
            std::iter::once("seed").chain(names.map(String::as_str)).chain(["non_finite_step"]).collect();
        let mut text = head.join(",") + "\n";
        for (r, replica) in self.replicas.iter().enumerate() {
            let numbers = replica.point.iter().copied().chain(self.numbers.iter().map(|(_, values)| values[r]));
            let mut fields = vec![replica.seed.to_string()];
            fields.extend(numbers.map(|x| Field(x).to_string()));
            fields.push(self.non_finite(r).map_or(String::new(), |step| step.to_string()));
            text += &(fields.join(",") + "\n");
        }
        text
    }

    /// The text of a format.
    pub fn write(&self, (run, title): (&Path, &str), time: Option<Time>, format: Format, output: &Output) -> String {
        match format {
            Format::Csv => self.csv(),
            Format::Json => {
                let all = json!({ "run": run, "title": title, "replicas": self.json(), "time": time });
                serde_json::to_string_pretty(&all).expect("invariant: every key is a string")
            }
            Format::Table => self.table(run, time, output),
        }
    }

    fn table(&self, run: &Path, time: Option<Time>, output: &Output) -> String {
        let points = self.losses();
        let mut text = String::new();
        let diverged = self.non_finite.iter().flatten().count();
        if diverged > 0 {
            text += &output.bad(&format!("{} met a non-finite value", plural(diverged, "replica")));
            text.push('\n');
        }
        let mut head: Vec<String> = if self.axes.is_empty() { vec!["".into()] } else { self.axes.clone() };
        head.extend(["replicas".into(), "best loss".into(), "median".into()]);
        let mut rows = vec![head];
        let every = points.len().div_ceil(MAX_ROWS).max(1);
        for point in points.iter().step_by(every) {
            let mut row: Vec<String> = point.at.iter().map(|x| format!("{x:.4}")).collect();
            if row.is_empty() {
                row.push("all".into());
            }
            let loss = |x: Option<f64>| x.map_or("–".into(), loss_nats);
            row.extend([point.replicas.to_string(), loss(point.best), loss(point.median)]);
            rows.push(row);
        }
        let width = rows[0].len();
        text += &columns(&rows, &(0..width).collect::<Vec<_>>());
        if every > 1 {
            text += &format!("every {every} of {} points; all are in summary.csv\n", points.len());
        }
        if let Some(time) = time {
            text += &format!("\n{}", time.words(self.replicas.len()));
        }
        text + &format!("in {}: summary.csv, run.h5, measures, figures\n", run.display())
    }
}

impl Time {
    /// `trained 500 steps of 20 replicas in 6.3 s (79.4 steps/s), 7.0 s in all`.
    pub fn words(&self, replicas: usize) -> String {
        format!(
            "trained {} steps of {} in {} ({:.1} steps/s), {} in all\n",
            self.steps,
            plural(replicas, "replica"),
            seconds(self.train_wall_s),
            self.steps_per_s,
            seconds(self.wall_s),
        )
    }
}
