//! `restricted_excluded`: the two progress measures of grokking beside train and test loss.
//!
//! Reads measures `loss`, `restricted_loss`, `excluded_loss` and the phases; draws a panel a replica, up to eight, losses
//! in nats on one logarithmic axis over logarithmic steps. Source: arXiv 2301.05217, figure 7.

use super::page::{self, Key, STEP_LOG};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::style::{CURVE_WIDTH, GREEN, Ink, PURPLE, TEST, TRAIN};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct RestrictedExcluded;

/// Panels on a page.
const MAX_REPLICAS: usize = 8;

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (20.0, 24.0);

/// Measure, column, legend and ink of each curve.
const CURVES: [(&str, &str, &str, Ink); 4] = [
    ("loss", "train_loss_nats", "train", TRAIN),
    ("loss", "test_loss_nats", "test", TEST),
    ("restricted_loss", "restricted_test_loss_nats", "restricted (test pairs)", GREEN),
    ("excluded_loss", "excluded_train_loss_nats", "excluded (train pairs)", PURPLE),
];

impl Figure for RestrictedExcluded {
    fn name(&self) -> &'static str {
        "restricted_excluded"
    }

    fn summary(&self) -> &'static str {
        "restricted and excluded loss beside train and test loss, a panel a replica, with phases"
    }

    fn explain(&self) -> String {
        "\
What it is
  Restricted loss (only the key waves of the logits kept, test pairs) and excluded loss (the key waves removed,
  training pairs) beside the losses of the whole model, one panel for each of the first eight replicas.
Reads
  Measures loss, restricted_loss (column restricted_test_loss_nats) and excluded_loss; the phases of each replica.
  Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  Nats, log scale, one axis for all panels; steps are counts of updates.
Value at a known point
  Memorised: excluded near train loss, restricted near ln p. While the circuit forms, restricted loss falls and
  excluded loss rises before test loss moves; after cleanup restricted and test loss are both small and excluded
  loss is above 1 nat.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 5 and figure 7."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["loss", "restricted_loss", "excluded_loss"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let mut series = vec![];
        for (measure, column, _, _) in CURVES {
            series.push(input.series(measure, column)?);
        }
        let seeds = &series[0].seeds;
        let shown = seeds.len().min(MAX_REPLICAS);
        let mut keys: Vec<Key> = CURVES.iter().map(|&(_, _, name, ink)| Key::line(name, ink, CURVE_WIDTH)).collect();
        keys.extend(page::phase_keys(seeds[..shown].iter().filter_map(|&seed| input.phases(seed))));
        let shows = format!("Restricted and excluded loss; {shown} of {} replicas", seeds.len());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let columns = page::columns(shown);
        let frames = area.grid(shown.div_ceil(columns).max(1), columns, GAP);
        let (x, y) = (page::log_steps(&series), Scale::log(page::values(&series)));
        for r in 0..shown {
            let panel = Panel { frame: frames[r], x, y };
            if let Some(phases) = input.phases(seeds[r]) {
                page::shade_phases(&mut sink.drawing, &panel, phases);
                sink.table.phases(phases);
            }
            panel.grid(&mut sink.drawing);
            for (series, (_, _, _, ink)) in series.iter().zip(CURVES) {
                panel.curve(&mut sink.drawing, &series.steps, &series.curve(r), (ink, CURVE_WIDTH));
                sink.table.replica(series, r);
            }
            let names = Names {
                x: (r + columns >= shown).then_some(STEP_LOG),
                y: r.is_multiple_of(columns).then_some("loss (nats, log scale)"),
                panel: Some(&format!("seed {}", seeds[r])),
            };
            panel.axes(&mut sink.drawing, names);
        }
        Ok(())
    }
}
