//! The runs of an experiment's variants, compared: for people, as CSV, as JSON, and in figures over all of them.
//!
//! Reads `variants.toml` and the runs below its folder; writes `summary.csv` and `figures/` beside it.

use std::fs::File;
use std::path::{Path, PathBuf};

use phaselab::checkpoint::{FIGURES, PACKED, SPEC, SUMMARY, VARIANTS, atomic, differing_keys, lock, read_spec};
use phaselab::error::{Error, Result};
use phaselab::experiment::{self, Experiment, Variant};
use phaselab::figure::arms::{self, ArmsInput, Quantity};
use phaselab::forward::RunSeries;
use phaselab::measure::Series;
use phaselab::spec::{Spec, Sweep};
use phaselab::transition::{Spread, Summary, SummaryRow, write_variants_summary};
use serde::Serialize;
use serde_json::json;

use super::args::Loaded;
use super::output::{Format, Output, columns};
use super::result::{interval, number, plural, rate};
use super::stages;
use super::toy_result::ToyResult;
use super::toy_variants::{self, ToyVariant};

/// The finished runs of an experiment's variants.
pub struct Comparison {
    path: PathBuf,
    spec: Spec,
    runs: Vec<VariantRun>,
    /// Variants without a finished run.
    missing: Vec<String>,
}

/// The run of one variant.
struct VariantRun {
    variant: Variant,
    rows: Vec<SummaryRow>,
    /// Of a run of toy models.
    toys: Option<ToyResult>,
    /// Updates that were done.
    trained_steps: u64,
    /// Test accuracy at every evaluation.
    test_acc_frac: Option<Series>,
}

/// A number of a replica that is drawn for all variants: its name, axis label, unit, whether its axis is logarithmic, and where
/// it is.
type Drawn = (&'static str, &'static str, &'static str, bool, fn(&SummaryRow) -> Option<f64>);

const DRAWN: [Drawn; 4] = [
    ("delay_steps", "delay from 0.99 train to 0.99 test accuracy (updates)", "step", true, |row| {
        row.phases.delay_steps.map(|steps| steps as f64)
    }),
    ("final_train_acc_frac", "last train accuracy (fraction)", "fraction", false, |row| Some(row.final_train_acc_frac)),
    ("final_test_acc_frac", "last test accuracy (fraction)", "fraction", false, |row| Some(row.final_test_acc_frac)),
    ("train_loss_spikes", "spikes of the training loss (count)", "1", false, |row| {
        row.phases.train_loss_spikes.map(|count| count as f64)
    }),
];

/// A [`Comparison`] as JSON.
#[derive(Serialize)]
struct Json<'a> {
    run: &'a Path,
    title: &'a str,
    variants: Vec<VariantJson<'a>>,
}

#[derive(Serialize)]
struct VariantJson<'a> {
    name: &'a str,
    x: Option<f64>,
    replicas: &'a [SummaryRow],
    summary: Summary,
}

/// Makes the folder of an experiment with variants, and stores its spec there; nobody else writes there until the file is dropped.
///
/// Over an older comparison only one of the same base with the same variants, or more, unless `force` is given.
///
/// # Errors
/// [`Error::Exists`] when a single run or another comparison is there; [`Error::Locked`]; [`Error::Io`].
pub fn begin(path: &Path, loaded: &Loaded, force: bool) -> Result<File> {
    if path.join(SPEC).is_file() {
        let hint = "a single run is there; choose another folder with --out".into();
        return Err(Error::Exists { path: path.to_path_buf(), hint });
    }
    std::fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
    let guard = lock(path)?;
    if path.join(VARIANTS).is_file() && !force {
        let (stored, old) = stored(path)?;
        let now = experiment::variants(&loaded.experiment, &loaded.spec, &loaded.sets)?;
        let dropped = old.iter().find(|old| now.iter().all(|variant| variant.name != old.name));
        let base = |spec: &Spec| Spec { arms: vec![], sweep: None, ..spec.clone() };
        let differs = differing_keys(&base(&stored), &base(&loaded.spec));
        if !differs.is_empty() {
            return Err(Error::ResumeMismatch { path: path.to_path_buf(), what: "spec", differs });
        }
        if let Some(dropped) = dropped {
            let hint = format!(
                "the comparison there has a variant {} that this one lacks; --force replaces it, --out writes elsewhere",
                dropped.name
            );
            return Err(Error::Exists { path: path.to_path_buf(), hint });
        }
    }
    atomic::write_text(&path.join(VARIANTS), true, &loaded.spec.to_toml())?;
    Ok(guard)
}

/// The spec of the comparison in a folder, and its variants.
fn stored(path: &Path) -> Result<(Spec, Vec<Variant>)> {
    let stored = Experiment::find(&path.join(VARIANTS).to_string_lossy())?;
    let read = || {
        let spec = stored.spec(&[])?;
        let variants = experiment::variants(&stored, &spec, &[])?;
        Ok((spec, variants))
    };
    // It was without a fault when it was written.
    read().map_err(|e: Error| Error::Damaged { path: stored.path.clone(), cause: e.cause().join("; ") })
}

/// Whether the run in `folder` is finished, of this very spec, and summed up.
pub fn is_done(folder: &Path, spec: &Spec) -> bool {
    let files = [PACKED, SUMMARY].iter().all(|name| folder.join(name).is_file());
    files && read_spec(folder).is_ok_and(|stored| stored == *spec)
}

impl Comparison {
    /// Reads the runs below `path`; variants that were not run, or not to the end, are left out.
    ///
    /// # Errors
    /// A folder without `variants.toml`, damaged files.
    pub fn load(path: &Path) -> Result<Comparison> {
        let (spec, variants) = stored(path)?;
        let (mut runs, mut missing) = (vec![], vec![]);
        for variant in variants {
            let folder = path.join(&variant.name);
            if !folder.join(SUMMARY).is_file() {
                missing.push(variant.name);
                continue;
            }
            let run = RunSeries::open(&folder, 1)?;
            if !differing_keys(run.spec(), &variant.spec).is_empty() {
                missing.push(format!("{} (a run of another spec is there)", variant.name));
                continue;
            }
            let series = stages::load_series(&run, &folder)?;
            let rows = stages::sum_up(&run, &series)?;
            let toys = ToyResult::of(&run, &series)?;
            let trained_steps = run.steps().last().copied().unwrap_or_default();
            let is_acc = |series: &Series| series.measure == "metrics" && series.column == "test_acc_frac";
            let test_acc_frac = series.into_iter().find(is_acc);
            runs.push(VariantRun { variant, rows, toys, trained_steps, test_acc_frac });
        }
        Ok(Comparison { path: path.to_path_buf(), spec, runs, missing })
    }

    /// Whether any replica of any variant grokked; of toy models, whether any stayed finite.
    pub fn is_yes(&self) -> bool {
        if let Some(toys) = self.toys() {
            return toys.iter().any(|variant| variant.result.is_yes());
        }
        self.runs.iter().any(|run| Summary::of(&run.rows).grokked.successes > 0)
    }

    /// The variants, where all are of toy models.
    fn toys(&self) -> Option<Vec<ToyVariant<'_>>> {
        let of = |run| {
            let VariantRun { variant, toys, .. }: &VariantRun = run;
            Some(ToyVariant { name: &variant.name, x: variant.x, result: toys.as_ref()? })
        };
        self.runs.iter().map(of).collect::<Option<Vec<_>>>().filter(|toys| !toys.is_empty())
    }

    /// Writes `summary.csv` and the figures into the folder; gives the errors of figures that could not be drawn.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<Vec<Error>> {
        atomic::write_text(&path.join(SUMMARY), true, &self.csv())?;
        let folder = path.join(FIGURES);
        std::fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))?;
        let drawn = match self.toys() {
            Some(toys) => toy_variants::draw(&self.spec, &toys, &folder),
            None => arms::draw(&self.drawn(), &folder).map(drop),
        };
        Ok(drawn.err().into_iter().collect())
    }

    /// What the figures over all variants show; numbers that are the same everywhere have no figure, nor do those that a logarithmic
    /// axis has no place for (delays that are all 0, of data that is never seen twice).
    fn drawn(&self) -> ArmsInput {
        let sweep = self.spec.sweep.as_ref();
        let arm = |run: &VariantRun| arms::Arm {
            label: run.variant.name.clone(),
            x: run.variant.x,
            seeds: run.rows.iter().map(|row| row.phases.seed).collect(),
            steps_to_threshold: run.rows.iter().map(|row| row.phases.test_99_sustained_step).collect(),
            trained_steps: run.trained_steps,
            test_acc_frac: run.test_acc_frac.clone(),
        };
        let quantity = |(name, label, unit, log, of): Drawn| Quantity {
            name: name.into(),
            label: label.into(),
            unit: unit.into(),
            log,
            values: self.runs.iter().map(|run| run.rows.iter().map(of).collect()).collect(),
        };
        let differs = |quantity: &Quantity| {
            let mut all = quantity.values.iter().flatten();
            let has_place = !quantity.log || all.clone().flatten().any(|&value| value > 0.0);
            let first = all.next();
            has_place && all.any(|value| Some(value) != first)
        };
        ArmsInput {
            title: self.spec.title.clone(),
            x_label: sweep.map(Sweep::name).unwrap_or_default(),
            x_log: sweep.is_some_and(|sweep| sweep.log_x),
            threshold: "0.99 test accuracy".into(),
            arms: self.runs.iter().map(arm).collect(),
            quantities: DRAWN.map(quantity).into_iter().filter(differs).collect(),
        }
    }

    /// The text of a format.
    pub fn write(&self, format: Format, output: &Output) -> String {
        match format {
            Format::Table => self.table(output),
            Format::Csv => self.csv(),
            Format::Json => {
                if let Some(toys) = self.toys() {
                    let (path, title) = (&self.path, &self.spec.title);
                    let all = json!({ "run": path, "title": title, "variants": toy_variants::json(&toys) });
                    return serde_json::to_string_pretty(&all).expect("invariant: every key is a string");
                }
                let variants = self.runs.iter().map(|run| VariantJson {
                    name: &run.variant.name,
                    x: run.variant.x,
                    replicas: &run.rows,
                    summary: Summary::of(&run.rows),
                });
                let json = Json { run: &self.path, title: &self.spec.title, variants: variants.collect() };
                serde_json::to_string_pretty(&json).expect("invariant: every key is a string")
            }
        }
    }

    fn csv(&self) -> String {
        if let Some(toys) = self.toys() {
            return toy_variants::csv(&toys);
        }
        let mut csv = vec![];
        let rows = self.runs.iter().map(|run| (run.variant.name.as_str(), run.variant.x, run.rows.as_slice()));
        write_variants_summary(&rows.collect::<Vec<_>>(), &mut csv).expect("invariant: memory takes every write");
        String::from_utf8(csv).expect("invariant: the table is UTF-8")
    }

    fn table(&self, output: &Output) -> String {
        if let Some(toys) = self.toys() {
            let losses = toy_variants::table(&toys, output);
            return format!("{}\n\n{losses}\n{}", output.bold(&self.spec.title), self.end());
        }
        let head =
            ["variant", "grokked", "", "99 % train", "99 % test", "quartiles", "delay", "spikes", "test loss (nats)"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.runs.iter().map(|run| {
            let summary = Summary::of(&run.rows);
            let test = summary.test_99_step.quartiles;
            let loss = Spread::of(run.rows.iter().map(|row| Some(row.final_test_loss_nats).filter(|x| !x.is_nan())));
            vec![
                run.variant.name.clone(),
                rate(summary.grokked),
                interval(summary.grokked),
                median(summary.train_99_step),
                median(summary.test_99_step),
                test.map_or("–".into(), |[low, _, high]| format!("{} to {}", number(low), number(high))),
                median(summary.delay_steps),
                median(Spread::of(run.rows.iter().map(|row| row.phases.train_loss_spikes.map(|count| count as f64)))),
                loss.quartiles.map_or("–".into(), |[_, median, _]| format!("{median:.3e}")),
            ]
        }));
        let mut text = format!("{}\n\n{}", output.bold(&self.spec.title), columns(&rows, &[3, 4, 6, 7, 8]));
        text += "\nsteps are medians over the replicas that got there, losses and spikes over all\n";
        text + &self.end()
    }

    /// What is missing, and where everything is.
    fn end(&self) -> String {
        let mut text = String::new();
        if !self.missing.is_empty() {
            text += &format!("not finished: {}\n", self.missing.join(", "));
        }
        text + &format!("in {}: summary.csv, figures, {}\n", self.path.display(), plural(self.runs.len(), "run"))
    }
}

fn median(spread: Spread) -> String {
    spread.quartiles.map_or("–".into(), |[_, median, _]| number(median))
}
