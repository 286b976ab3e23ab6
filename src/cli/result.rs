//! The short result of a run: for people, as CSV, as JSON.
//!
//! Reads one row a replica; writes the same numbers in each format. Steps in counts of updates, losses in nats.

use std::path::{Path, PathBuf};
use std::time::Duration;

use phaselab::spec::Spec;
use phaselab::train::Trained;
use phaselab::transition::{Rate, Spread, Summary, SummaryRow, write_summary};
use serde::Serialize;

use super::output::{Format, Output, columns};
use super::progress::{duration, loss_nats};

/// Everything that is told of a run; as JSON, these are the keys.
#[derive(Debug, Serialize)]
pub struct RunResult<'a> {
    /// The run's folder.
    run: &'a Path,
    title: &'a str,
    task: &'a str,
    /// One a replica, the columns of `summary.csv`.
    replicas: &'a [SummaryRow],
    summary: Summary,
    /// How long it took; only known of a run that has just ended.
    time: Option<Time>,
    /// What there is in the folder, relative to it.
    files: Vec<PathBuf>,
}

/// How long a run took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Time {
    /// Updates of this call; fewer than the run has if it went on from a resume point.
    pub steps: u64,
    /// Training alone.
    pub train_wall_s: f64,
    /// Updates of all replicas together a second: one step advances every replica.
    pub steps_per_s: f64,
    /// Training, measuring and drawing.
    pub wall_s: f64,
}

impl Time {
    /// Of a run that trained this and took so long in all.
    pub fn new(trained: &Trained, wall: Duration) -> Time {
        Time {
            steps: trained.steps_done,
            train_wall_s: trained.wall_s,
            steps_per_s: trained.steps_done as f64 / trained.wall_s,
            wall_s: wall.as_secs_f64(),
        }
    }
}

impl<'a> RunResult<'a> {
    /// The result of the run in a folder.
    pub fn new(run: &'a Path, spec: &'a Spec, replicas: &'a [SummaryRow], time: Option<Time>) -> RunResult<'a> {
        let names = ["summary.csv", "run.h5", "snapshots", "measures", "figures"].map(PathBuf::from);
        let is_there = |name: &PathBuf| {
            let path = run.join(name);
            path.is_file() || path.read_dir().is_ok_and(|mut entries| entries.next().is_some())
        };
        RunResult {
            run,
            title: &spec.title,
            task: &spec.task,
            replicas,
            summary: Summary::of(replicas),
            time,
            files: names.into_iter().filter(is_there).collect(),
        }
    }

    /// Whether any replica grokked.
    pub fn is_yes(&self) -> bool {
        self.summary.grokked.successes > 0
    }

    /// The text of a format.
    pub fn write(&self, format: Format, output: &Output) -> String {
        match format {
            Format::Table => self.table(output),
            Format::Csv => {
                let mut csv = vec![];
                write_summary(self.replicas, &mut csv).expect("invariant: memory takes every write");
                String::from_utf8(csv).expect("invariant: the table is UTF-8")
            }
            Format::Json => serde_json::to_string_pretty(self).expect("invariant: every key is a string"),
        }
    }

    fn table(&self, output: &Output) -> String {
        let summary = &self.summary;
        let headline = format!("{} {}", rate(summary.grokked), "grokked");
        let headline = format!("{headline} {}", interval(summary.grokked));
        let mut text = if self.is_yes() { output.good(&headline) } else { output.bad(&headline) } + "\n";
        if summary.non_finite.successes > 0 {
            text += &output.bad(&format!("{} met a non-finite value", rate(summary.non_finite)));
            text.push('\n');
        }
        let spreads = [
            ("steps to 99 % training accuracy", summary.train_99_step),
            ("steps to 99 % test accuracy", summary.test_99_step),
            ("delay between the two", summary.delay_steps),
            ("memorisation ends at step", summary.memorisation_end_step),
            ("circuit formation ends at step", summary.circuit_end_step),
            ("cleanup ends at step", summary.cleanup_end_step),
        ];
        let mut rows = vec![["", "median", "quartiles", "replicas"].map(str::to_owned).to_vec()];
        rows.extend(spreads.map(|(name, spread)| spread_row(name, spread)));
        text += &format!("\n{}\n{}", columns(&rows, &[1]), self.replica_table());
        if let Some(time) = self.time {
            text += &format!("\n{}", time.words(self.replicas.len()));
        } else {
            text.push('\n');
        }
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        text + &format!("in {}: {}\n", self.run.display(), files.join(", "))
    }

    fn replica_table(&self) -> String {
        let head = ["seed", "99 % train", "99 % test", "test loss", "key frequencies (rule w_l)"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let step = |step: Option<u64>| step.map_or("–".to_owned(), |step| step.to_string());
        rows.extend(self.replicas.iter().map(|row| {
            let keys = match row.phases.non_finite {
                true => "met a non-finite value".to_owned(),
                false => row.key_freqs.iter().map(usize::to_string).collect::<Vec<_>>().join(" "),
            };
            let p = &row.phases;
            let loss = loss_nats(row.final_test_loss_nats);
            vec![p.seed.to_string(), step(p.train_99_step), step(p.test_99_step), loss, keys]
        }));
        columns(&rows, &[0, 1, 2, 3])
    }
}

/// `3 of 5 replicas`.
pub fn rate(rate: Rate) -> String {
    format!("{} of {}", rate.successes, plural(rate.n, "replica"))
}

/// The rate and its interval, in brackets.
pub fn interval(rate: Rate) -> String {
    format!("(rate {:.2}, 95 % interval {:.2} to {:.2})", rate.frac(), rate.low, rate.high)
}

fn spread_row(name: &str, spread: Spread) -> Vec<String> {
    let (median, quartiles) = match spread.quartiles {
        Some([low, median, high]) => (number(median), format!("{} to {}", number(low), number(high))),
        None => ("–".into(), "–".into()),
    };
    vec![name.into(), median, quartiles, format!("{} of {}", spread.with_value, spread.n)]
}

/// A median of steps: whole, or with what is left of halves and quarters.
pub fn number(x: f64) -> String {
    format!("{x:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 replica`, `5 replicas`.
pub fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// Below a minute with a digit after the point.
pub fn seconds(time_s: f64) -> String {
    if time_s < 60.0 { format!("{time_s:.1} s") } else { duration(Duration::from_secs_f64(time_s)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lose_no_halves_and_gain_no_zeros() {
        assert_eq!([130.0, 612.5, 0.25, 1000.0].map(number), ["130", "612.5", "0.25", "1000"]);
        assert_eq!([plural(1, "replica"), plural(5, "replica")], ["1 replica", "5 replicas"]);
        assert_eq!([25.34, 61.0].map(seconds), ["25.3 s", "1 min 1 s"]);
    }
}
