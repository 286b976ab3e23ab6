//! Median test accuracy of each arm over training.
//!
//! Reads the accuracies of [`ArmsInput`]; draws one curve an arm over logarithmic steps, with the range from the first to
//! the third quartile where there are few arms.

use super::Sink;
use super::arms::{Arm, ArmsInput};
use super::csv::Table;
use super::page::{self, Key, STEP_LOG};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::spread::Quartiles;
use super::style::{BLACK, BLUE, GREEN, Ink, MEDIAN_WIDTH, ORANGE, PURPLE, SKY, VERMILLION, viridis};
use crate::measure::{Field, Series};

/// Arms above which bands would hide each other.
const MAX_BANDS: usize = 4;

/// Colours of arms that no number orders.
const NAMED: [Ink; 7] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK];

/// The lightest part of viridis is too light for a curve on white.
const LAST_LEVEL: f64 = 0.88;

/// The figure and its table.
pub fn draw(input: &ArmsInput) -> Sink {
    let columns = ["arm", "x", "curve", "unit", "seed", "step", "value"];
    let mut sink = Sink { table: Table::with_columns(&columns), ..Sink::default() };
    let inks = inks(input);
    let arms: Vec<(&Arm, &Series, Quartiles, Ink)> = (input.arms.iter().zip(inks))
        // A single evaluation makes no curve.
        .filter_map(|(arm, ink)| Some((arm, arm.test_acc_frac.as_ref().filter(|acc| acc.steps.len() > 1)?, ink)))
        .map(|(arm, acc, ink)| (arm, acc, Quartiles::of(acc), ink))
        .collect();
    let bands = arms.len() <= MAX_BANDS;
    let keys: Vec<Key> =
        arms.iter().map(|(arm, _, _, ink)| Key::line(arm.label.as_str(), *ink, MEDIAN_WIDTH)).collect();
    let shows = if bands { "Test accuracy: median and interquartile range" } else { "Median test accuracy" };
    let area = page::head(&mut sink.drawing, &input.title, &format!("{shows} over replicas"), &keys, 16.0);
    let all: Vec<&Series> = arms.iter().map(|(_, acc, _, _)| *acc).collect();
    let panel = Panel { frame: area, x: page::log_steps(&all), y: Scale::fraction() };
    panel.grid(&mut sink.drawing);
    for (_, acc, quartiles, ink) in arms.iter().filter(|_| bands) {
        panel.band(&mut sink.drawing, &acc.steps, [&quartiles.low, &quartiles.high], ink.faded(0.18));
    }
    for (arm, acc, quartiles, ink) in &arms {
        panel.curve(&mut sink.drawing, &acc.steps, &quartiles.median, (*ink, MEDIAN_WIDTH));
        record(&mut sink.table, arm, acc, quartiles);
    }
    panel.axes(&mut sink.drawing, Names { x: Some(STEP_LOG), y: Some("test accuracy (fraction)"), panel: None });
    sink
}

/// One colour an arm: in the order of `x` along a sequence, else apart in hue.
fn inks(input: &ArmsInput) -> Vec<Ink> {
    let n = input.arms.len();
    let along = |place: usize| viridis(LAST_LEVEL * place as f64 / (n.max(2) - 1) as f64);
    match input.xs() {
        Some(xs) => xs.iter().map(|x| along(xs.iter().filter(|other| *other < x).count())).collect(),
        None if n <= NAMED.len() => NAMED[..n].to_vec(),
        None => (0..n).map(along).collect(),
    }
}

fn record(table: &mut Table, arm: &Arm, acc: &Series, quartiles: &Quartiles) {
    let x = Field(arm.x.unwrap_or(f64::NAN));
    let curves =
        [("first_quartile", &quartiles.low), ("median", &quartiles.median), ("third_quartile", &quartiles.high)];
    for (name, values) in curves {
        for (step, &value) in acc.steps.iter().zip(values) {
            table.record(&[&arm.label, &x, &acc.column, &acc.unit, &name, step, &Field(value)]);
        }
    }
}
