//! `replicas`: test loss and accuracy of every replica, with median and interquartile range.
//!
//! Reads measure `loss` and the first steps at 0.99 test accuracy; draws test loss (nats, logarithmic) above test
//! accuracy over logarithmic steps, with a stroke for each replica that grokked.

use super::page::{self, Key, Mark, STEP_LOG};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::spread::Quartiles;
use super::style::{BLACK, MEDIAN_WIDTH, REPLICA_WIDTH, TEST};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::Series;

/// See the file's first lines.
pub struct Replicas;

impl Figure for Replicas {
    fn name(&self) -> &'static str {
        "replicas"
    }

    fn summary(&self) -> &'static str {
        "test loss and accuracy of every replica, with median, interquartile range and grok times"
    }

    fn explain(&self) -> String {
        "\
What it is
  Test loss (top) and test accuracy (bottom) of every replica as thin curves, with the median and the range from
  the first to the third quartile at each checkpoint. Strokes at the bottom: first steps at 0.99 test accuracy.
Reads
  Measure loss, at every evaluation where the training loss is in nats; test_99_step of each replica. Steps are on a
  logarithmic axis, which has no place for step 0.
Unit and range
  Loss in nats (log scale); accuracy as a fraction, 0 to 1; steps are counts of updates.
Value at a known point
  The median passes 0.5 when half of the replicas have; a band that stays wide to the end means that some replicas
  never grok. The median at a step is not one replica's curve: it can be smooth where every replica jumps.
Source
  Rates instead of single runs: arXiv 2607.05104."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["loss"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let (loss, accuracy) = (input.evaluated("test_loss_nats")?, input.evaluated("test_acc_frac")?);
        let grokked: Vec<(u64, u64)> =
            input.phases.iter().filter_map(|phases| Some((phases.seed, phases.test_99_step?))).collect();
        let of = format!("{} of {}", grokked.len(), loss.seeds.len());
        let rug = format!("first at test accuracy 0.99 ({of})");
        let keys = [
            Key::line("replica", TEST.faded(0.5), REPLICA_WIDTH),
            Key::line("median", TEST, MEDIAN_WIDTH),
            Key::area("interquartile range", TEST.faded(0.2)),
            Key { text: rug, ink: BLACK, mark: Mark::Upright(1.6) },
        ];
        let shows = format!("Test loss and accuracy of {} replicas", loss.seeds.len());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let frames = area.grid(2, 1, (0.0, 14.0));
        let x = page::log_steps(&[loss, accuracy]);
        let top = Panel { frame: frames[0], x, y: Scale::log(page::values(&[loss])) };
        let bottom = Panel { frame: frames[1], x, y: Scale::fraction() };
        top.grid(&mut sink.drawing);
        bottom.grid(&mut sink.drawing);
        draw_replicas(sink, &top, loss);
        draw_replicas(sink, &bottom, accuracy);
        bottom.rug(&mut sink.drawing, grokked.iter().map(|&(_, step)| step), BLACK);
        for (seed, step) in grokked {
            sink.table.event("test_99_step", seed, Some(step));
        }
        top.axes(&mut sink.drawing, Names { y: Some("test loss (nats, log scale)"), ..Names::default() });
        let names = Names { x: Some(STEP_LOG), y: Some("test accuracy (fraction)"), panel: None };
        bottom.axes(&mut sink.drawing, names);
        Ok(())
    }
}

/// Band, thin curves and median.
fn draw_replicas(sink: &mut Sink, panel: &Panel, series: &Series) {
    let quartiles = Quartiles::of(series);
    let Sink { drawing, table } = sink;
    panel.band(drawing, &series.steps, [&quartiles.low, &quartiles.high], TEST.faded(0.2));
    for r in 0..series.seeds.len() {
        panel.curve(drawing, &series.steps, &series.curve(r), (TEST.faded(0.5), REPLICA_WIDTH));
        table.replica(series, r);
    }
    panel.curve(drawing, &series.steps, &quartiles.median, (TEST, MEDIAN_WIDTH));
    table.quartiles(series, &quartiles);
}
