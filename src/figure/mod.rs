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

mod csv;
mod drawing;
mod font;
mod loss_curves;
mod page;
mod panel;
mod raster;
mod save;
mod scale;
mod spread;
mod style;
mod svg;

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
pub const ALL: &[&dyn Figure] = &[&loss_curves::LossCurves];

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
