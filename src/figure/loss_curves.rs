//! `loss_curves`: train and test loss and accuracy of the first replicas, with their phases.
//!
//! Reads measure `loss` and the phases; draws two rows (loss in nats on a logarithmic axis, accuracy) with a column a
//! replica, over logarithmic steps. Source: arXiv 2301.05217, figure 2.

use super::page::{self, Key, STEP_LOG};
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{CURVE_WIDTH, TEST, TRAIN};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::Series;

/// See the file's first lines.
pub struct LossCurves;

/// Replicas that fit side by side.
const MAX_REPLICAS: usize = 4;

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (20.0, 14.0);

impl Figure for LossCurves {
    fn name(&self) -> &'static str {
        "loss_curves"
    }

    fn summary(&self) -> &'static str {
        "train and test loss and accuracy of the first replicas, with their phases"
    }

    fn explain(&self) -> String {
        "\
What it is
  Loss (top) and accuracy (bottom) on the training and test pairs over training, one column for each of the first
  four replicas. Shades are memorisation, circuit formation and cleanup (`phaselab explain phases`).
Reads
  Measure loss, at every evaluation where the training loss is in nats; the phases of each replica. Steps are on a
  logarithmic axis, which has no place for step 0.
Unit and range
  Loss in nats (log scale); accuracy as a fraction, 0 to 1; steps are counts of updates.
Value at a known point
  A model that knows nothing about x + y mod p has loss ln p (4.727 nats at p = 113) and accuracy 1/p. Grokking
  is the gap between the two accuracies: training reaches 1 long before test does.
Source
  Nanda et al. 2023, arXiv 2301.05217, figure 2; phases: section 5."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["loss"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let column = |name: &str| input.evaluated(name);
        let losses = [column("train_loss_nats")?, column("test_loss_nats")?];
        let accuracies = [column("train_acc_frac")?, column("test_acc_frac")?];
        let seeds = &losses[0].seeds;
        let shown = seeds.len().min(MAX_REPLICAS);
        let mut keys = vec![Key::line("train", TRAIN, CURVE_WIDTH), Key::line("test", TEST, CURVE_WIDTH)];
        keys.extend(page::phase_keys(seeds[..shown].iter().filter_map(|&seed| input.phases(seed))));
        let shows = format!("Loss and accuracy; {shown} of {} replicas", seeds.len());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let frames = area.grid(2, shown.max(1), GAP);
        let (x, loss) = (page::log_steps(&losses), Scale::log(page::values(&losses)));
        for r in 0..shown {
            let (top, bottom) = (frames[r], frames[shown + r]);
            let first = r == 0;
            let name = format!("seed {}", seeds[r]);
            let y = first.then_some("loss (nats, log scale)");
            draw_panel(input, sink, (top, x, loss), losses.map(|s| (s, r)), Names { x: None, y, panel: Some(&name) });
            let y = first.then_some("accuracy (fraction)");
            let names = Names { x: Some(STEP_LOG), y, panel: None };
            draw_panel(input, sink, (bottom, x, Scale::fraction()), accuracies.map(|s| (s, r)), names);
            if let Some(phases) = input.phases(seeds[r]) {
                sink.table.phases(phases);
            }
        }
        Ok(())
    }
}

/// The train and test curve of one replica.
fn draw_panel(
    input: &FigureInput<'_>,
    sink: &mut Sink,
    (frame, x, y): (Frame, Scale, Scale),
    train_test: [(&Series, usize); 2],
    names: Names<'_>,
) {
    let panel = Panel { frame, x, y };
    if let Some(phases) = input.phases(train_test[0].0.seeds[train_test[0].1]) {
        page::shade_phases(&mut sink.drawing, &panel, phases);
    }
    panel.grid(&mut sink.drawing);
    for ((series, r), ink) in train_test.into_iter().zip([TRAIN, TEST]) {
        panel.curve(&mut sink.drawing, &series.steps, &series.curve(r), (ink, CURVE_WIDTH));
        sink.table.replica(series, r);
    }
    panel.axes(&mut sink.drawing, names);
}
