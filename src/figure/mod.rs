//! Series -> SVG, PNG and the CSV of what is drawn.
//!
//! Reads the series of measures and the phases of replicas ([`FigureInput`]); writes `NAME.svg` (700 × 450, text as
//! text), `NAME.png` (1400 × 900) and `NAME.csv` (one row a point; see `csv.rs`), with the same bytes each time.
//!
//! A figure is one file that fills a [`Sink`]: a display list in points of the page, which `svg.rs` and `raster.rs` both
//! replay, and a table. On the way it uses `page.rs` (title, legend, shades of the phases), `panel.rs` (a pair of axes,
//! curves, bands), `scale.rs` (linear and logarithmic axes, ticks) and `style.rs` (sizes and inks).
//!
//! To add a figure: a new file `figure/NAME.rs` with a unit struct that implements [`Figure`], and one line in [`ALL`].
//! The tests below then check its name, its headings and that it can draw whatever runs give.

pub mod arms;
mod arms_curves;
mod arms_lay;
mod arms_points;
#[cfg(test)]
mod check;
mod context;
mod csv;
mod drawing;
mod font;
mod fourier_spectrum;
mod heat;
mod loss_curves;
mod page;
mod panel;
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
mod weight_norms;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::measure::Series;
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

    /// Names of the measures that it reads.
    fn needs(&self) -> &'static [&'static str];

    /// Fills `sink` with the picture and the table of its points.
    ///
    /// # Errors
    /// [`Error::Missing`] where a series that it needs is not there.
    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()>;
}

/// What figures are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct FigureInput<'a> {
    /// Title of the run.
    pub title: &'a str,
    /// Columns of measures; those of one measure have the same steps, and all have the same seeds.
    pub series: &'a [Series],
    /// Phases by replica; replicas that are not there are drawn without phases.
    pub phases: &'a [ReplicaPhases],
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
    &replicas::Replicas,
    &restricted_excluded::RestrictedExcluded,
    &fourier_spectrum::FourierSpectrum,
    &weight_norms::WeightNorms,
    &progress::Progress,
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

/// Draws `figure` and writes `NAME.svg`, `NAME.png` and `NAME.csv` into `folder`; gives their paths, in that order.
///
/// # Errors
/// [`Error::Missing`] where a series is not there; [`Error::Draw`] and [`Error::Io`] from writing.
pub fn draw(figure: &dyn Figure, input: &FigureInput<'_>, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut sink = Sink::default();
    figure.draw(input, &mut sink)?;
    save::save(&sink, figure.name(), folder)
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

    /// The phases of the replica with that seed.
    pub fn phases(&self, seed: u64) -> Option<&'a ReplicaPhases> {
        self.phases.iter().find(|phases| phases.seed == seed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn drawn(figure: &dyn Figure, run: &synthetic::Run) -> (Sink, String) {
        let mut sink = Sink::default();
        figure.draw(&run.input(), &mut sink).unwrap();
        let text = svg::svg(&sink.drawing).unwrap();
        (sink, text)
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
            for measure in figure.needs() {
                assert!(crate::measure::find(measure).is_ok(), "{name} needs {measure}, which is no measure");
                assert!(explain.contains(measure), "{name}: explain does not name {measure}");
            }
        }
        assert_eq!(find("replica").err().and_then(|e| e.hint()).as_deref(), Some("did you mean `replicas`?"));
    }

    #[test]
    fn what_a_figure_needs_is_what_it_reads() {
        let run = synthetic::run(&[0, 1, 10, 100], 2);
        for figure in ALL {
            for measure in figure.needs() {
                let series: Vec<Series> = run.series.iter().filter(|s| s.measure != *measure).cloned().collect();
                let input = FigureInput { series: &series, ..run.input() };
                let error = figure.draw(&input, &mut Sink::default()).unwrap_err();
                let of = format!("of measure {measure}");
                assert!(error.to_string().contains(&of), "{}: {error}", figure.name());
                assert!(error.hint().unwrap().contains("phaselab measure"));
            }
            let needed = |s: &&Series| figure.needs().contains(&s.measure.as_str());
            let series: Vec<Series> = run.series.iter().filter(needed).cloned().collect();
            let input = FigureInput { series: &series, ..run.input() };
            assert!(figure.draw(&input, &mut Sink::default()).is_ok(), "{} reads more", figure.name());
        }
    }

    #[test]
    fn every_row_of_a_replica_is_a_number_of_the_input() {
        let run = synthetic::run(&[0, 1, 10, 100, 1000], 3);
        for figure in ALL {
            let table = drawn(*figure, &run).0.table.text();
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
        let labels: [(&str, &[&str]); 6] = [
            ("loss_curves", &["loss (nats, log scale)", "accuracy (fraction)", "memorisation", "cleanup", "seed 2"]),
            ("replicas", &["test loss (nats, log scale)", "test accuracy (fraction)", "interquartile range", "3 of 3"]),
            ("restricted_excluded", &["loss (nats, log scale)", "restricted (test pairs)", "circuit formation"]),
            ("fourier_spectrum", &["frequency (waves per p)", "component (no unit)", "seed 0: 2, 5"]),
            ("weight_norms", &["Σw² (log scale)", "norm (no unit)", "embed.W_E", "test acc. (fraction)"]),
            ("progress", &["Gini coefficient (no unit)", "Gini of W_L", "test acc. (fraction)"]),
        ];
        assert_eq!(labels.map(|(name, _)| name).to_vec(), ALL.iter().map(|f| f.name()).collect::<Vec<_>>());
        for (name, labels) in labels {
            let text = drawn(find(name).unwrap(), &run).1;
            let all = labels.iter().chain([&"step (updates, log scale)", &"A &lt;run&gt; &amp; more"]);
            for label in all {
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
        ];
        for (case, run) in &cases {
            for figure in ALL {
                let (sink, text) = drawn(*figure, run);
                assert!(!text.contains("NaN") && !text.contains("inf"), "{case}: {}", figure.name());
                assert_eq!(check::faults(&sink.drawing), Vec::<String>::new(), "{case}: {}", figure.name());
            }
        }
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
