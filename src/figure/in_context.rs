//! Loss by position at one checkpoint, beside the exact predictors of the task: what `in_context_losses` and `in_context_errors` share.
//!
//! Reads the series of a measure by position; draws the model's median and quartiles over the replicas and a curve for
//! each predictor, over the number of answers before. As in Garg et al. 2022, figure 2.

use super::csv::Table;
use super::page::{self, Key};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::spread::Quartiles;
use super::style::{CATEGORIES, CURVE_WIDTH, MEDIAN_WIDTH, TEST};
use super::{FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Series};

/// What the figures differ in.
pub struct InContext {
    /// The measure.
    pub measure: &'static str,
    /// What its columns' names end in.
    pub ending: &'static str,
    /// Name of the y axis, with the unit.
    pub label: &'static str,
    /// Whether that axis is logarithmic.
    pub log: bool,
}

/// On a logarithmic axis what is smaller than this share of the model's least error has no place: least squares without noise.
const SMALLEST: f64 = 0.1;

impl InContext {
    /// The text of `explain`.
    pub fn explain(&self) -> String {
        format!(
            "\
What it is
  The test loss over the number of answers that were asked for before, at the last checkpoint (or --step): the median
  over the replicas, with the interquartile range, and a curve for each of the task's exact predictors, where it has
  some (`phaselab explain FAMILY` says which).
Reads
  Measure {}. A predictor that is right to rounding has no place on a logarithmic axis.
Unit and range
  {}; the number of answers before is a count.
Value at a known point
  A model that learns in context as well as can be lies on the curve bayes.
Source
  Garg et al. 2022 (arXiv 2208.01066), figure 2.",
            self.measure, self.label
        )
    }

    /// Draws the figure.
    pub fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let measure = self.measure;
        let model = input.series(measure, &format!("test{}", self.ending))?;
        let last = model.steps.iter().rposition(|&step| input.at.step.is_none_or(|at| step <= at));
        let Some(s) = last else { return Ok(()) };
        let predictor = |series: &&Series| {
            let name = series.column.strip_suffix(self.ending);
            series.measure == measure && name.is_some_and(|name| !["train", "test"].contains(&name))
        };
        let predictors: Vec<&Series> = input.series.iter().filter(predictor).collect();
        let curves: Vec<(Series, Quartiles)> = (std::iter::once(&model).chain(&predictors))
            .map(|series| along(series, s))
            .map(|series| {
                let quartiles = Quartiles::of(&series);
                (series, quartiles)
            })
            .collect();
        let ink = |i: usize| if i == 0 { TEST } else { CATEGORIES[(i - 1) % CATEGORIES.len()] };
        let mut keys = vec![Key::line("model", TEST, MEDIAN_WIDTH)];
        // The key of each curve: of two that agree the curves lie upon each other, and have one.
        let mut key_of = vec![0];
        for (i, (series, quartiles)) in curves.iter().enumerate().skip(1) {
            let name = series.column.trim_end_matches(self.ending).replace('_', " ");
            match (1..i).find(|&earlier| curves[earlier].1.median == quartiles.median) {
                Some(earlier) => {
                    keys[key_of[earlier]].text += &format!(" = {name}");
                    key_of.push(key_of[earlier]);
                }
                None => {
                    keys.push(Key::line(name, ink(i), CURVE_WIDTH));
                    key_of.push(keys.len() - 1);
                }
            }
        }
        let n = model.seeds.len();
        let shows = format!("Test examples at step {}, median and quartiles of {n} replicas", model.steps[s]);
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let least = curves[0].1.median.iter().copied().filter(|x| *x > 0.0).fold(f64::INFINITY, f64::min);
        let values = curves.iter().flat_map(|(_, quartiles)| quartiles.median.iter().chain(&quartiles.high).copied());
        let y = match self.log {
            true => Scale::log(values.filter(|&x| x >= least * SMALLEST)),
            false => Scale::linear(values.chain([0.0])),
        };
        let places = &curves[0].0.steps;
        let panel = Panel { frame: area, x: Scale::count(places.iter().map(|&place| place as f64)), y };
        panel.grid(&mut sink.drawing);
        let Quartiles { low, high, .. } = &curves[0].1;
        panel.band(&mut sink.drawing, places, [low, high], TEST.faded(0.25));
        for (i, (_, quartiles)) in curves.iter().enumerate().rev() {
            let width = if i == 0 { MEDIAN_WIDTH } else { CURVE_WIDTH };
            panel.curve(&mut sink.drawing, places, &quartiles.median, (ink(i), width));
        }
        sink.table = Table::with_columns(&["column", "answers_before", "first_quartile", "median", "third_quartile"]);
        for (series, Quartiles { low, median, high }) in &curves {
            for (place, ((low, median), high)) in low.iter().zip(median).zip(high).enumerate() {
                sink.table.record(&[&series.column, &place, &Field(*low), &Field(*median), &Field(*high)]);
            }
        }
        panel.axes(&mut sink.drawing, Names { x: Some("answers before (count)"), y: Some(self.label), panel: None });
        Ok(())
    }
}

/// The values at checkpoint number `s`, with the place along the sequence where a series has its steps.
fn along(series: &Series, s: usize) -> Series {
    let (width, replicas) = (series.width(), series.seeds.len());
    let places = 0..width;
    let values = places.clone().flat_map(|place| (0..replicas).map(move |r| series.at(s, r)[place]));
    Series {
        measure: series.measure.clone(),
        column: series.column.clone(),
        unit: series.unit.clone(),
        key_freqs: None,
        steps: places.map(|place| place as u64).collect(),
        seeds: series.seeds.clone(),
        axis: None,
        values_srw: values.collect(),
    }
}
