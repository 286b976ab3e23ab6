//! Bands over replicas, and the panel that says when the replicas grokked.
//!
//! Reads scalar series; adds median and interquartile range to a panel and to the table.

use super::Sink;
use super::page::STEP_LOG;
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::spread::Quartiles;
use super::style::{Ink, MEDIAN_WIDTH, TEST};
use crate::measure::Series;

/// Band and median of a scalar column.
pub fn median_and_band(sink: &mut Sink, panel: &Panel, series: &Series, ink: Ink) {
    let quartiles = Quartiles::of(series);
    let Sink { drawing, table } = sink;
    panel.band(drawing, &series.steps, [&quartiles.low, &quartiles.high], ink.faded(0.2));
    panel.curve(drawing, &series.steps, &quartiles.median, (ink, MEDIAN_WIDTH));
    table.quartiles(series, &quartiles);
}

/// Test accuracy over the same steps as the panels above it.
pub fn test_accuracy(sink: &mut Sink, frame: Frame, x: Scale, test_acc_frac: &Series) {
    let panel = Panel { frame, x, y: Scale::fraction() };
    panel.grid(&mut sink.drawing);
    median_and_band(sink, &panel, test_acc_frac, TEST);
    panel.axes(&mut sink.drawing, Names { x: Some(STEP_LOG), y: Some("test acc. (fraction)"), panel: None });
}
