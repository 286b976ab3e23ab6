//! `feature_courses`: loss and the dimensionality of each feature of toy models over training.
//!
//! Reads measure `features` and the losses of evaluations; draws two rows with a column for each of the best replicas, dashed levels of
//! polygons where features come one at a time. Sources: arXiv 2209.10652, "learning dynamics"; arXiv 2310.06301.

use super::csv::Table;
use super::drawing::Anchor;
use super::heat::Colors;
use super::page::{self, STEP_LOG};
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{BLUE, CURVE_WIDTH, GREY, TICK_SIZE};
use super::toys::{Toys, chosen};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Examples, Field, Setting, toys_of};
use crate::theory::k_gon::{self, KGon};

/// See the file's first lines.
pub struct FeatureCourses;

/// Columns on a page.
const MAX_COLUMNS: usize = 4;
/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (30.0, 16.0);
/// Features of which the courses can be told apart.
const MAX_FEATURES: usize = 40;

impl Figure for FeatureCourses {
    fn name(&self) -> &'static str {
        "feature_courses"
    }

    fn summary(&self) -> &'static str {
        "toy models over training: loss, and the dimensionality of each feature"
    }

    fn explain(&self) -> String {
        "\
What it is
  A column for each point of the grid (four of them, evenly chosen, when there are more; for each replica when there is
  no grid): the loss of evaluations over training (top), and the dimensionality of every feature (bottom), dark features
  the most important. Of several seeds the one with the least loss is shown; --seed takes one. Where features come one
  at a time in two dimensions, dashed lines are the losses of regular polygons (`phaselab explain k_gon`): 5+1 is the
  pentagon with one spare feature that has a bias; the faint lines are those with fewer such biases.
Reads
  Measure features, column dimensionality; measure population_loss where it was taken, else losses of evaluations.
  Steps are on a logarithmic axis, without step 0.
Unit and range
  Loss: squared error or nats, as trained (log scale). Dimensionality: 0 to 1.
Value at a known point
  A feature that finds a place jumps from 0 to the dimensionality of its shape: 1/2 in an antipodal pair, 2/5 in a
  pentagon.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"superposition and learning dynamics\"; Chen et al. 2023 (arXiv 2310.06301)."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["features"]
    }

    fn shows_all_training(&self) -> bool {
        true
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toys_of(setting)?.spec.n_features {
            n if n <= MAX_FEATURES => Ok(()),
            n => Err(format!("{n} features are too many to tell apart")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let dimensionality = input.series("features", "dimensionality")?;
        let exact = input.series("population_loss", "population_loss");
        let loss = exact.or_else(|_| input.series("metrics", "test_loss"))?;
        let points = chosen(toys.points(), MAX_COLUMNS);
        let shows = format!("Loss and dimensionality of features over training: {}", toys.title());
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &[], 36.0);
        (area.top, area.height) = (area.top - 10.0, area.height + 10.0);
        sink.table = Table::with_columns(&["point", "seed", "step", "curve", "feature", "value"]);
        let frames = area.grid(2, points.len().max(1), GAP);
        let x = page::log_steps(&[loss]);
        let c = toys.setting.spec.n_features;
        let levels: Vec<Level> = match is_of_polygons(&toys) {
            true => (4..=c).filter_map(k_gon::known).flat_map(|gon| Level::of(gon, c)).collect(),
            false => vec![],
        };
        let shown = points.iter().flat_map(|point| loss.curve(point.best));
        let y = Scale::log(shown.chain(levels.iter().map(|level| level.loss)));
        for (k, point) in points.iter().enumerate() {
            let r = point.best;
            let first = k == 0;
            let panel = Panel { frame: frames[k], x, y };
            panel.grid(&mut sink.drawing);
            self::levels(sink, &panel, &levels, k + 1 == points.len());
            panel.curve(&mut sink.drawing, &loss.steps, &loss.curve(r), (BLUE, CURVE_WIDTH));
            let seed = toys.seeds[r];
            for (&step, value) in loss.steps.iter().zip(loss.curve(r)) {
                sink.table.record(&[&point.label, &seed, &step, &loss.column, &"", &Field(value)]);
            }
            let name = first.then_some("loss (log scale)");
            panel.axes(&mut sink.drawing, Names { x: None, y: name, panel: Some(&point.label) });
            let panel = Panel { frame: frames[points.len() + k], x, y: Scale::Linear { low: -0.03, high: 1.05 } };
            panel.grid(&mut sink.drawing);
            let importance = &toys.setting.replicas[r].importance;
            let colors = Colors::of_importance(importance.iter().copied());
            for i in (0..c).rev() {
                let curve: Vec<f64> = (0..dimensionality.steps.len()).map(|s| dimensionality.at(s, r)[i]).collect();
                for (&step, &value) in dimensionality.steps.iter().zip(&curve) {
                    sink.table.record(&[&point.label, &seed, &step, &"dimensionality", &i, &Field(value)]);
                }
                let ink = colors.of(importance.get(i).copied().unwrap_or(1.0));
                panel.curve(&mut sink.drawing, &dimensionality.steps, &curve, (ink, 1.1));
            }
            let name = first.then_some("dimensionality (no unit)");
            let steps = if points.len() > 2 { "step (log scale)" } else { STEP_LOG };
            panel.axes(&mut sink.drawing, Names { x: Some(steps), y: name, panel: None });
        }
        Ok(())
    }
}

/// Whether the levels of polygons are those of these models.
fn is_of_polygons(toys: &Toys<'_>) -> bool {
    let polygon_level = crate::measure::find("polygon_level");
    let setting = Setting { toy: Some(toys.setting.clone()), ..Setting::new(Examples::default(), &[]) };
    polygon_level.is_ok_and(|measure| measure.fits(&setting).is_ok())
        && toys.setting.spec.reduce == crate::spec::Reduce::Sum
}

/// The loss of a critical point.
struct Level {
    loss: f64,
    /// What it says at its end; nothing where lines are too close.
    label: Option<String>,
}

impl Level {
    /// Those of a polygon among c features: from no spare feature with a bias to all of them, whose line has a name.
    fn of(gon: &KGon, c: usize) -> Vec<Level> {
        let spare = c - gon.k;
        let name = if spare == 0 { gon.k.to_string() } else { format!("{}+{spare}", gon.k) };
        let level = |n: usize| Level { loss: gon.level_with_biases(c, n), label: (n == spare).then(|| name.clone()) };
        (0..=spare).map(level).collect()
    }
}

/// Dashed lines, with their names right of the last panel.
fn levels(sink: &mut Sink, panel: &Panel, levels: &[Level], numbered: bool) {
    let Frame { left, top, width, height } = panel.frame;
    for level in levels {
        let Some(place) = panel.y.place(level.loss) else { continue };
        let y = top + (1.0 - place) * height;
        let ink = if level.label.is_some() { GREY } else { GREY.faded(0.4) };
        sink.drawing.dashed((left, y), (left + width, y), ink, 0.8);
        if let Some(label) = level.label.as_ref().filter(|_| numbered) {
            sink.drawing.text((left + width + 5.0, y + TICK_SIZE * 0.36), label, TICK_SIZE, GREY, Anchor::Start);
        }
    }
}
