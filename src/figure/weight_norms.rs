//! `weight_norms`: the sum of squared weights and the norms of the largest parameters over training.
//!
//! Reads measures `weight_norm` and `loss`; draws Σw² above the Frobenius norms of the five largest parameters above test
//! accuracy, medians over the replicas, over logarithmic steps. Source: arXiv 2301.05217, section 5.

use super::context::{median_and_band, test_accuracy};
use super::page::{self, Key};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::spread::Quartiles;
use super::style::{BLACK, CATEGORIES, CURVE_WIDTH, Ink, MEDIAN_WIDTH, TEST};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::Series;

/// See the file's first lines.
pub struct WeightNorms;

impl Figure for WeightNorms {
    fn name(&self) -> &'static str {
        "weight_norms"
    }

    fn summary(&self) -> &'static str {
        "sum of squared weights and the largest norms over training, with test accuracy"
    }

    fn explain(&self) -> String {
        "\
What it is
  The sum of squares of all parameters (top) and the Frobenius norms of the five parameters whose median norm is ever
  largest (middle), with test accuracy (bottom). Medians over the replicas; bands (top and bottom) from the first to the
  third quartile.
Reads
  Measures weight_norm and loss. Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  Without unit, 0 and up; sum of squares on a logarithmic axis; accuracy as a fraction, 0 to 1.
Value at a known point
  With weight decay the sum rises while the model memorises and falls during cleanup, when the memorising weights
  go; test accuracy reaches 1 near the steepest fall. Without weight decay it does not fall.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 5 and figure 7."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["weight_norm", "loss"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let total = input.series("weight_norm", "sum_w2")?;
        let accuracy = input.series("loss", "test_acc_frac")?;
        let largest = largest(input.series);
        let mut keys = vec![Key::line("Σw²", BLACK, MEDIAN_WIDTH), Key::line("test accuracy", TEST, MEDIAN_WIDTH)];
        keys.extend(largest.iter().map(|(norm, _, ink)| Key::line(norm.column.as_str(), *ink, CURVE_WIDTH)));
        let shows = format!("Weight norms, median and interquartile range of {} replicas", total.seeds.len());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let frames = area.grid(3, 1, (0.0, 12.0));
        let x = page::log_steps(&[total, accuracy]);
        let top = Panel { frame: frames[0], x, y: Scale::log(page::values(&[total])) };
        top.grid(&mut sink.drawing);
        median_and_band(sink, &top, total, BLACK);
        top.axes(&mut sink.drawing, Names { y: Some("Σw² (log scale)"), ..Names::default() });
        let medians = largest.iter().flat_map(|(_, quartiles, _)| quartiles.median.iter().copied());
        let middle = Panel { frame: frames[1], x, y: Scale::linear(medians.chain([0.0])) };
        middle.grid(&mut sink.drawing);
        for (norm, quartiles, ink) in &largest {
            middle.curve(&mut sink.drawing, &norm.steps, &quartiles.median, (*ink, CURVE_WIDTH));
            sink.table.median(norm, quartiles);
        }
        middle.axes(&mut sink.drawing, Names { y: Some("norm (no unit)"), ..Names::default() });
        test_accuracy(sink, frames[2], x, accuracy);
        Ok(())
    }
}

/// The parameters with the largest median norms over training, each with its colour.
fn largest(series: &[Series]) -> Vec<(&Series, Quartiles, Ink)> {
    let norms = series.iter().filter(|series| series.measure == "weight_norm" && series.column != "sum_w2");
    let mut norms: Vec<(&Series, Quartiles)> = norms.map(|series| (series, Quartiles::of(series))).collect();
    let peak = |quartiles: &Quartiles| quartiles.median.iter().copied().fold(f64::MIN, f64::max);
    norms.sort_by(|a, b| peak(&b.1).total_cmp(&peak(&a.1)));
    norms.into_iter().zip(CATEGORIES).map(|((series, quartiles), ink)| (series, quartiles, ink)).collect()
}
