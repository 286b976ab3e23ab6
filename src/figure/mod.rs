//! Series -> SVG, PNG and the CSV of what is drawn.
//!
//! Reads the series of measures and the phases of replicas, and for figures of one checkpoint its parameters and
//! activations ([`FigureInput`], [`Probe`]); writes `NAME.svg` (700 points wide, most 450 high, text as text), `NAME.png`
//! (two pixels a point) and `NAME.csv` (one row a point; see `csv.rs`), with the same bytes each time.
//!
//! A figure is one file that fills a [`Sink`]: a display list in points of the page, which `svg.rs` and `raster.rs` both
//! replay, and a table. On the way it uses `page.rs` (title, legend, shades of the phases), `panel.rs` (a pair of axes,
//! curves, bands), `scale.rs` (linear and logarithmic axes, ticks) and `style.rs` (sizes and inks).
//!
//! To add a figure: a new file `figure/NAME.rs` with a unit struct that implements [`Figure`], and one line in [`ALL`].
//! The tests below then check its name, its headings and that it can draw whatever runs give.

mod along;
pub mod animation;
pub mod arms;
mod arms_curves;
mod arms_lay;
mod arms_points;
mod arrows;
mod attention_maps;
#[cfg(test)]
mod check;
mod cluster_sizes;
mod context;
mod csv;
mod decompositions;
mod drawing;
mod embedding_circles;
mod feature_courses;
mod feature_dimensionality;
mod feature_directions;
mod feature_gram;
mod font;
mod fourier_bars;
mod fourier_spectrum;
mod grid_losses;
mod grid_measures;
mod head_curves;
mod heat;
mod in_context;
mod in_context_errors;
mod in_context_losses;
mod label_curves;
mod loss_curves;
mod maps;
mod measure_panels;
mod neuron_maps;
mod neuron_weights;
mod neurons;
mod page;
mod panel;
mod pca_trajectory;
mod phase_diagram;
mod png;
mod point_directions;
mod position_curves;
mod position_errors;
mod probe;
mod progress;
mod raster;
mod replicas;
mod restricted_excluded;
mod save;
mod scale;
mod spread;
mod style;
mod svg;
#[cfg(test)]
mod synthetic;
mod toys;
#[cfg(test)]
mod toys_tests;
mod transition_steps;
mod weight_norms;

pub use measure_panels::{Curve, MAX_CURVES, MeasurePanels, NUMBERS, Number};
pub use probe::{At, Checkpoint, Probe};
pub use toys::{axis_label, geometric};

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::measure::{Series, Setting};
use crate::transition::ReplicaPhases;

/// One picture of a run.
pub trait Figure: Sync {
    /// Registry name, and the stem of its files.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn summary(&self) -> &'static str;

    /// What it shows and how to read it, under the headings *What it is / Reads / Unit and range / Value at a known
    /// point / Source*.
    fn explain(&self) -> String;

    /// Names of the measures that it reads; none for most figures of one checkpoint.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Names of the measures of which it draws those that are there, at least one; none for most figures.
    fn needs_any(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it reads parameters or activations of one checkpoint ([`FigureInput::checkpoint`]); figures of toy models do.
    fn reads_checkpoint(&self) -> bool {
        self.is_of_toys()
    }

    /// Whether it shows the whole training, so that it is the same at every checkpoint.
    fn shows_all_training(&self) -> bool {
        !self.reads_checkpoint()
    }

    /// Whether it is one of toy models, which have no task.
    fn is_of_toys(&self) -> bool {
        false
    }

    /// Whether the task and the model have what it draws of a checkpoint.
    ///
    /// # Errors
    /// The reason why not, as a clause: `the task has no modulus`.
    fn fits(&self, _setting: &Setting) -> Result<(), String> {
        Ok(())
    }

    /// Fills `sink` with the picture and the table of its points.
    ///
    /// # Errors
    /// [`Error::Missing`] where a series or a checkpoint that it needs is not there; those of [`FigureInput::checkpoint`].
    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()>;
}

/// What figures are drawn from.
#[derive(Clone, Copy)]
pub struct FigureInput<'a> {
    /// Title of the run.
    pub title: &'a str,
    /// Columns of measures; those of one measure have the same steps, and all have the same seeds.
    pub series: &'a [Series],
    /// Phases by replica; replicas that are not there are drawn without phases.
    pub phases: &'a [ReplicaPhases],
    /// The run itself, for figures of one checkpoint; without it they cannot be drawn.
    pub probe: Option<&'a dyn Probe>,
    /// The checkpoint that those show.
    pub at: At,
}

/// What a figure fills.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sink {
    drawing: drawing::Drawing,
    table: csv::Table,
}

/// Every figure, in the order of help and lists.
pub const ALL: &[&dyn Figure] = &[
    &loss_curves::LossCurves,
    &position_curves::PositionCurves,
    &position_errors::PositionErrors,
    &in_context_losses::InContextLosses,
    &in_context_errors::InContextErrors,
    &label_curves::LabelCurves,
    &head_curves::HeadCurves,
    &replicas::Replicas,
    &restricted_excluded::RestrictedExcluded,
    &fourier_spectrum::FourierSpectrum,
    &weight_norms::WeightNorms,
    &progress::Progress,
    &fourier_bars::FourierBars,
    &embedding_circles::EmbeddingCircles,
    &neuron_maps::NeuronMaps,
    &attention_maps::AttentionMaps,
    &pca_trajectory::PcaTrajectory,
    &cluster_sizes::ClusterSizes,
    &decompositions::Decompositions,
    &feature_directions::FeatureDirections,
    &point_directions::PointDirections,
    &feature_gram::FeatureGram,
    &feature_dimensionality::FeatureDimensionality,
    &feature_courses::FeatureCourses,
    &phase_diagram::PhaseDiagram,
    &grid_losses::GridLosses,
    &transition_steps::TransitionSteps,
    &grid_measures::GridMeasures,
    &neuron_weights::NeuronWeights,
];

/// The figure of that name.
///
/// # Errors
/// [`Error::Unknown`], with all names.
pub fn find(name: &str) -> Result<&'static dyn Figure> {
    ALL.iter().copied().find(|figure| figure.name() == name).ok_or_else(|| Error::Unknown {
        kind: "figure",
        name: name.into(),
        known: ALL.iter().map(|figure| figure.name().to_owned()).collect(),
    })
}

/// The figure of that name, if it fits the task and the model.
///
/// # Errors
/// [`Error::Unknown`] for another name; [`Error::Value`], with the reason, where it does not fit.
pub fn fitting(name: &str, setting: &Setting) -> Result<&'static dyn Figure> {
    let figure = find(name)?;
    figure.fits(setting).map_err(|reason| Error::Value {
        what: "figure".into(),
        got: format!("{name}, but {reason}"),
        expected: "one that fits the task and the model".into(),
    })?;
    Ok(figure)
}

/// Draws `figure` and writes `NAME.svg`, `NAME.png` and `NAME.csv` into `folder`; gives their paths, in that order.
///
/// # Errors
/// [`Error::Missing`] where a series or a checkpoint is not there; [`Error::Value`] for a figure that does not fit the task
/// and the model; [`Error::Draw`] and [`Error::Io`] from writing.
pub fn draw(figure: &dyn Figure, input: &FigureInput<'_>, folder: &Path) -> Result<Vec<PathBuf>> {
    fitting_probe(figure, input)?;
    let mut sink = Sink::default();
    figure.draw(input, &mut sink)?;
    save::save(&sink, figure.name(), folder)
}

/// Whether a figure of a checkpoint fits the run that it is to be drawn of.
fn fitting_probe(figure: &dyn Figure, input: &FigureInput<'_>) -> Result<()> {
    match input.probe.filter(|_| figure.reads_checkpoint()) {
        Some(probe) => fitting(figure.name(), &probe.setting()).map(drop),
        None => Ok(()),
    }
}

impl<'a> FigureInput<'a> {
    /// The series of that measure and column.
    ///
    /// # Errors
    /// [`Error::Missing`], with the command that makes it.
    pub fn series(&self, measure: &str, column: &str) -> Result<&'a Series> {
        let wanted = |series: &&Series| series.measure == measure && series.column == column;
        self.series.iter().find(wanted).ok_or_else(|| Error::Missing {
            what: format!("column {column} of measure {measure}"),
            path: Path::new("measures").join(format!("{measure}.csv")),
            hint: format!("`phaselab measure` makes it: measure {measure}, then draw again"),
        })
    }

    /// That column of the measure `loss`, at every evaluation of training where there are such: they are denser than checkpoints.
    ///
    /// # Errors
    /// [`Error::Missing`], with the command that makes it.
    pub fn evaluated(&self, column: &str) -> Result<&'a Series> {
        self.series("metrics", column).or_else(|_| self.series("loss", column))
    }

    /// Those of `measures` that there are, each with its series of that column.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is none.
    pub fn any_of(&self, measures: &[&'static str], column: &str) -> Result<Vec<(&'static str, &'a Series)>> {
        let found = |measure: &&'static str| Some((*measure, self.series(measure, column).ok()?));
        let there: Vec<_> = measures.iter().filter_map(found).collect();
        if there.is_empty() {
            let one = measures.join(" or ");
            return Err(Error::Missing {
                what: format!("column {column} of measure {one}"),
                path: "measures".into(),
                hint: format!("`phaselab measure` makes it: measure {one}, then draw again"),
            });
        }
        Ok(there)
    }

    /// Whether everything that `figure` reads is there.
    pub fn has_all_of(&self, figure: &dyn Figure) -> bool {
        let has = |name: &&str| self.series.iter().any(|series| series.measure == *name);
        let any = figure.needs_any();
        let measured = figure.needs().iter().all(has) && (any.is_empty() || any.iter().any(has));
        match self.probe {
            _ if !measured => false,
            _ if !figure.reads_checkpoint() => true,
            None => false,
            Some(probe) => figure.fits(&probe.setting()).is_ok(),
        }
    }

    /// The phases of the replica with that seed.
    pub fn phases(&self, seed: u64) -> Option<&'a ReplicaPhases> {
        self.phases.iter().find(|phases| phases.seed == seed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measure::SnapshotSource;

    fn drawn(figure: &dyn Figure, run: &synthetic::Run) -> (Sink, String) {
        let mut sink = Sink::default();
        figure.draw(&run.input(), &mut sink).unwrap();
        let text = svg::svg(&sink.drawing).unwrap();
        (sink, text)
    }

    /// Those of toy models are drawn from a run of such models, in `toys_tests.rs`.
    fn of_tasks() -> impl Iterator<Item = &'static &'static dyn Figure> {
        ALL.iter().filter(|figure| !figure.is_of_toys())
    }

    #[test]
    fn every_figure_has_its_file_all_headings_and_known_measures() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/figure");
        for (index, figure) in ALL.iter().enumerate() {
            let name = figure.name();
            assert_eq!(ALL.iter().position(|other| other.name() == name), Some(index), "{name} is there twice");
            assert!(find(name).is_ok_and(|found| found.name() == name));
            assert!(folder.join(format!("{name}.rs")).is_file(), "{name} has no file of its name");
            assert!(!figure.summary().is_empty() && !figure.summary().contains('\n'), "{name}: summary is one line");
            let explain = figure.explain();
            let headings: Vec<&str> = explain.lines().filter(|line| !line.starts_with(' ')).collect();
            let expected = ["What it is", "Reads", "Unit and range", "Value at a known point", "Source"];
            assert_eq!(headings, expected, "{name}: headings of explain");
            assert!(explain.lines().all(|line| line.len() <= 120), "{name}: a line is too long for a terminal");
            for measure in figure.needs().iter().chain(figure.needs_any()) {
                assert!(crate::measure::find(measure).is_ok(), "{name} needs {measure}, which is no measure");
                assert!(explain.contains(measure), "{name}: explain does not name {measure}");
            }
        }
        assert_eq!(find("replica").err().and_then(|e| e.hint()).as_deref(), Some("did you mean `replicas`?"));
    }

    #[test]
    fn what_a_figure_needs_is_what_it_reads() {
        let run = synthetic::run(&[0, 1, 10, 100], 2);
        for figure in of_tasks() {
            for measure in figure.needs() {
                let series: Vec<Series> = run.series.iter().filter(|s| s.measure != *measure).cloned().collect();
                let input = FigureInput { series: &series, ..run.input() };
                let error = figure.draw(&input, &mut Sink::default()).unwrap_err();
                let of = format!("of measure {measure}");
                assert!(error.to_string().contains(&of), "{}: {error}", figure.name());
                assert!(error.hint().unwrap().contains("phaselab measure"));
            }
            if figure.reads_checkpoint() {
                let input = FigureInput { probe: None, ..run.input() };
                let error = figure.draw(&input, &mut Sink::default()).unwrap_err();
                assert!(error.hint().unwrap().contains("phaselab train"), "{}: {error}", figure.name());
                assert!(!input.has_all_of(*figure));
            }
            let probe = run.input().probe.filter(|_| figure.reads_checkpoint());
            let of = |names: &[&str]| -> Vec<Series> {
                run.series.iter().filter(|s| names.contains(&s.measure.as_str())).cloned().collect()
            };
            let any = figure.needs_any();
            let alone = |one: &&'static str| [figure.needs(), &[*one][..]].concat();
            let enough = if any.is_empty() { vec![figure.needs().to_vec()] } else { any.iter().map(alone).collect() };
            for names in enough {
                let series = of(&names);
                let input = FigureInput { series: &series, probe, ..run.input() };
                assert!(
                    figure.draw(&input, &mut Sink::default()).is_ok(),
                    "{} reads more than {names:?}",
                    figure.name()
                );
                assert!(input.has_all_of(*figure), "{}", figure.name());
            }
            if !any.is_empty() {
                let series = of(figure.needs());
                let input = FigureInput { series: &series, probe, ..run.input() };
                let error = figure.draw(&input, &mut Sink::default()).unwrap_err();
                assert!(error.hint().unwrap().contains(&any.join(" or ")), "{}: {error}", figure.name());
                assert!(!input.has_all_of(*figure), "{}", figure.name());
            }
        }
    }

    #[test]
    fn every_row_of_a_replica_is_a_number_of_the_input() {
        let run = synthetic::run(&[0, 1, 10, 100, 1000], 3);
        for figure in of_tasks() {
            let table = drawn(*figure, &run).0.table.text();
            if !table.starts_with("curve,unit,seed,step,") {
                continue;
            }
            let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
            let mut numbers = 0;
            for line in table.lines().skip(1) {
                let fields: Vec<&str> = line.split(',').collect();
                assert_eq!(fields.len(), header.len(), "{}: {line}", figure.name());
                let (Ok(seed), Ok(step)) = (fields[2].parse::<u64>(), fields[3].parse::<u64>()) else { continue };
                let of = |s: &&Series| figure.needs().contains(&s.measure.as_str()) && s.column == fields[0];
                let series = run.series.iter().find(of).unwrap();
                let s = series.steps.iter().position(|&x| x == step).unwrap();
                let r = series.seeds.iter().position(|&x| x == seed).unwrap();
                let tick = |axis: &crate::measure::Axis| axis.ticks.iter().position(|t| t.to_string() == fields[4]);
                let w = series.axis.as_ref().map_or(0, |axis| tick(axis).unwrap());
                assert_eq!(fields[header.len() - 1].parse::<f64>().unwrap(), series.at(s, r)[w], "{line}");
                assert_eq!(fields[1], series.unit);
                numbers += 1;
            }
            let expected = match figure.name() {
                "loss_curves" | "restricted_excluded" => 4 * 3 * 5,
                "replicas" => 2 * 3 * 5,
                // Step 0 has no place; keys of the last checkpoint alone.
                "fourier_spectrum" => 3 * 4 * synthetic::FREQUENCIES + 3 * synthetic::FREQUENCIES,
                _ => 0,
            };
            assert_eq!(numbers, expected, "{}", figure.name());
        }
    }

    #[test]
    fn medians_in_the_table_are_the_middle_replica() {
        let run = synthetic::run(&[1, 10, 100, 1000], 5);
        let (sink, _) = drawn(&replicas::Replicas, &run);
        let loss = run.input().series("loss", "test_loss_nats").unwrap();
        for (s, step) in loss.steps.iter().enumerate() {
            let mut values: Vec<f64> = (0..5).map(|r| loss.at(s, r)[0]).collect();
            values.sort_by(f64::total_cmp);
            for (name, rank) in [("first_quartile", 1), ("median", 2), ("third_quartile", 3)] {
                let start = format!("test_loss_nats,nats,{name},{step},");
                let text = sink.table.text();
                let value = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
                assert_eq!(value.parse::<f64>().unwrap(), values[rank], "{start}");
            }
        }
    }

    #[test]
    fn axes_say_what_they_count_and_that_they_are_logarithmic() {
        let run = synthetic::run(&[1, 10, 100, 1000], 3);
        let labels: [(&str, &[&str]); 19] = [
            ("loss_curves", &["loss (nats, log scale)", "accuracy (fraction)", "memorisation", "cleanup", "seed 2"]),
            ("position_curves", &["test loss (nats, log scale)", "test accuracy (fraction)", "position 3"]),
            ("position_errors", &["squared error (log scale)", "position 3"]),
            ("in_context_losses", &["test loss (nats)", "answers before (count)", "model", "bayes", "at step 1000"]),
            ("in_context_errors", &["squared error (log scale)", "answers before (count)", "model", "least squares"]),
            ("label_curves", &["test loss (nats, log scale)", "all right (fraction)", "carries 1"]),
            ("head_curves", &["prefix matching (fraction)", "previous token (fraction)", "head 1"]),
            ("replicas", &["test loss (nats, log scale)", "test accuracy (fraction)", "interquartile range", "3 of 3"]),
            ("restricted_excluded", &["loss (nats, log scale)", "restricted (test pairs)", "circuit formation"]),
            ("fourier_spectrum", &["frequency (waves per p)", "component (no unit)", "seed 0: 2, 5"]),
            ("weight_norms", &["Σw² (log scale)", "norm (no unit)", "embed.W_E", "test acc. (fraction)"]),
            ("progress", &["Gini coefficient (no unit)", "Gini of W_L", "test acc. (fraction)"]),
            ("fourier_bars", &["frequency (waves per p)", "norm in W_E (no unit)", "seed 0 at step 1000", ">2</text>"]),
            ("embedding_circles", &["along cos (no unit)", "along sin (no unit)", "phase (turns)", "frequency 2"]),
            (
                "neuron_maps",
                &["activation (no unit)", "component (of norm)", "frequency of a", "neuron 1", "frequency 2: 100 %"],
            ),
            ("attention_maps", &["attention (fraction)", "to a", "to b", "to itself", "head 1"]),
            (
                "pca_trajectory",
                &["PC 1: 60 % (no unit)", "PC 2: 30 % (nats)", "seed 2, logits", "circuit formation", "start"],
            ),
            (
                "cluster_sizes",
                &["neurons (count)", "frequency (waves per p)", "explained (fraction)", "seed 0: 4 of 6"],
            ),
            ("decompositions", &["purity (fraction)", "explained (fraction)", "t-SNE", "neurons", "expected of noise"]),
        ];
        assert_eq!(labels.map(|(name, _)| name).to_vec(), of_tasks().map(|f| f.name()).collect::<Vec<_>>());
        for (name, labels) in labels {
            let (sink, text) = drawn(find(name).unwrap(), &run);
            let over_steps = sink.table.text().starts_with("curve,unit,");
            let steps = over_steps.then_some(&"step (updates, log scale)");
            for label in labels.iter().chain(steps).chain([&"A &lt;run&gt; &amp; more"]) {
                assert!(text.contains(label), "{name}: no text {label:?}");
            }
        }
    }

    #[test]
    fn whatever_runs_give_can_be_drawn() {
        let many: Vec<u64> = (0..60).map(|i| i * 50).collect();
        let cases = [
            ("one step", synthetic::run(&[7], 2)),
            ("step 0 alone", synthetic::run(&[0], 2)),
            ("no steps", synthetic::run(&[], 2)),
            ("no replicas", synthetic::run(&[1, 10], 0)),
            ("one replica", synthetic::run(&[0, 1, 10], 1)),
            ("100 replicas", synthetic::run(&many, 100)),
            ("odd values", synthetic::odd(synthetic::run(&many, 9))),
            ("all missing", synthetic::all_missing(synthetic::run(&many, 3))),
            ("two layers, eight heads, p 53", synthetic::large(synthetic::run(&[1, 10], 1))),
        ];
        for (case, run) in &cases {
            for figure in of_tasks() {
                let nothing = run.probe.steps().is_empty() || run.probe.seeds().is_empty();
                if figure.reads_checkpoint() && nothing {
                    assert!(figure.draw(&run.input(), &mut Sink::default()).is_err(), "{case}: {}", figure.name());
                    continue;
                }
                let (sink, text) = drawn(*figure, run);
                // The letters of a picture inside may spell anything.
                let odd = |line: &&str| !line.starts_with("<image") && (line.contains("NaN") || line.contains("inf"));
                assert_eq!(text.lines().find(odd), None, "{case}: {}", figure.name());
                assert_eq!(check::faults(&sink.drawing), Vec::<String>::new(), "{case}: {}", figure.name());
            }
        }
    }

    #[test]
    fn a_figure_of_one_checkpoint_shows_the_one_that_was_chosen() {
        let run = synthetic::run(&[0, 1, 10], 3);
        for figure in of_tasks().filter(|figure| figure.reads_checkpoint()) {
            let at = |step, seed| {
                let mut sink = Sink::default();
                let input = FigureInput { at: At { step, seed, ..At::default() }, ..run.input() };
                figure.draw(&input, &mut sink).map(|()| sink)
            };
            let [last, same, other] = [at(None, None), at(Some(10), Some(0)), at(Some(1), Some(2))].map(Result::unwrap);
            assert_eq!(last, same, "{}", figure.name());
            assert_ne!(last.table, other.table, "{}: another checkpoint, other numbers", figure.name());
            assert!(svg::svg(&other.drawing).unwrap().contains("seed 2 at step 1"), "{}", figure.name());
            let error = at(Some(3), None).unwrap_err().to_string();
            assert!(error.ends_with("one that has a checkpoint; the nearest is 1"), "{error}");
            let error = at(None, Some(7)).unwrap_err().to_string();
            assert_eq!(error, "the seed of a figure is 7; it must be one of the run's seeds: 0, 1, 2");
        }
    }

    #[test]
    fn a_model_that_lacks_what_a_figure_shows_is_told_so() {
        let mut run = synthetic::run(&[1, 10], 1);
        run.probe.modular = false;
        let dir = tempfile::tempdir().unwrap();
        for figure in of_tasks().filter(|figure| figure.reads_checkpoint()) {
            let error = draw(*figure, &run.input(), dir.path()).unwrap_err().to_string();
            assert!(error.contains(figure.name()) && error.contains("the task has no modulus"), "{error}");
            assert!(!run.input().has_all_of(*figure));
        }
    }

    #[test]
    fn numbers_of_a_checkpoint_are_those_of_closed_forms() {
        let run = synthetic::run(&[4], 1);
        let table = |name: &str| drawn(find(name).unwrap(), &run).0.table.text();
        let p = synthetic::P as f64;
        // W_E holds 4 (step) cos and sin of 2 at norm 1, and a half of 5: √(p/2) times those.
        let bars = table("fourier_bars");
        for (start, norm) in
            [("W_E,0,4,2,cos,", 4.0), ("W_E,0,4,2,sin,", 4.0), ("W_E,0,4,5,sin,", 2.0), ("W_E,0,4,3,cos,", 0.0)]
        {
            let row = bars.lines().find_map(|line| line.strip_prefix(start)).unwrap();
            let got: f64 = row.split(',').next().unwrap().parse().unwrap();
            assert!((got - norm * (p / 2.0).sqrt()).abs() < 1e-12, "{start}{row}");
        }
        // On a circle of radius 4 (frequency 2) and 2 (frequency 5), residue a at phase k a / p.
        for line in table("embedding_circles").lines().skip(1) {
            let fields: Vec<f64> = line.split(',').map(|field| field.parse().unwrap()).collect();
            let [_, _, k, a, turns, x, y] = fields[..] else { panic!("{line}") };
            let radius = if k == 2.0 { 4.0 } else { 2.0 };
            let angle = std::f64::consts::TAU * k * a / p;
            assert!((x - radius * angle.cos()).abs() < 1e-12 && (y - radius * angle.sin()).abs() < 1e-12, "{line}");
            assert!((turns - (k * a / p).fract()).abs() < 1e-12, "{line}");
        }
        // Neuron 1 is 1 + cos 2(a + b): half of its power in cos cos, half in sin sin, all explained by 2.
        let maps = table("neuron_maps");
        let cell = |start: &str| -> f64 {
            maps.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{start}")).parse().unwrap()
        };
        let explained = maps.lines().find(|line| line.starts_with("component,0,4,1,2,")).unwrap();
        let fraction: f64 = explained.split(',').nth(5).unwrap().parse().unwrap();
        assert!((fraction - 1.0).abs() < 1e-12, "{explained}");
        let start = format!("component,0,4,1,2,{},", explained.split(',').nth(5).unwrap());
        assert!((cell(&format!("{start}3,3,")) - 0.5f64.sqrt()).abs() < 1e-12, "cos cos");
        assert!((cell(&format!("{start}4,4,")) + 0.5f64.sqrt()).abs() < 1e-12, "sin sin");
        assert!(cell(&format!("{start}3,4,")).abs() < 1e-12 && cell(&format!("{start}0,3,")).abs() < 1e-12);
        // Attention of head 0 to a is a number of a alone, and all positions together get 1.
        let attention = table("attention_maps");
        let at = |head: usize, key: usize, a: usize, b: usize| -> f64 {
            let start = format!("0,4,0,{head},{key},{a},{b},");
            attention.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
        };
        assert_eq!(at(0, 0, 3, 1), at(0, 0, 3, 6));
        assert!((at(1, 0, 3, 1) + at(1, 1, 3, 1) + at(1, 2, 3, 1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_lone_point_is_a_dot_and_a_gap_stays_a_gap() {
        let series = |values: &[f64]| {
            let mut run = synthetic::run(&[1, 2, 4, 8, 16], 1);
            let loss = run.series.iter_mut().find(|s| s.column == "test_loss_nats").unwrap();
            loss.values_srw.copy_from_slice(values);
            run.series.retain(|s| s.measure == "loss");
            run
        };
        let polylines = |run: &synthetic::Run| {
            let (sink, _) = drawn(&loss_curves::LossCurves, run);
            let ink = style::TEST;
            let lines =
                sink.drawing.items.iter().filter(|i| matches!(i, drawing::Item::Line { ink: k, .. } if *k == ink));
            let dots =
                sink.drawing.items.iter().filter(|i| matches!(i, drawing::Item::Fill { ink: k, .. } if *k == ink));
            (lines.count(), dots.count())
        };
        // Besides the curve of loss: the legend's line and the curve of accuracy.
        assert_eq!(polylines(&series(&[3.0, 2.0, 1.0, 0.5, 0.1])), (3, 0));
        assert_eq!(polylines(&series(&[3.0, 2.0, 0.0, 0.5, 0.1])), (4, 0));
        assert_eq!(polylines(&series(&[3.0, 2.0, f64::NAN, 0.5, f64::INFINITY])), (3, 1));
    }
}
