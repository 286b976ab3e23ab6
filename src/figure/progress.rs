//! `progress`: how sparse the weights are in the Fourier basis, over training.
//!
//! Reads measures `gini` and `loss`; draws the Gini coefficients of W_E and W_L above test accuracy, medians and
//! interquartile ranges over the replicas, over logarithmic steps. Source: arXiv 2301.05217, section 5.

use super::context::{median_and_band, test_accuracy};
use super::page::{self, Key};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::style::{BLUE, GREEN, Ink, MEDIAN_WIDTH, TEST};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;

/// See the file's first lines.
pub struct Progress;

/// Column, legend and ink of each curve.
const CURVES: [(&str, &str, Ink); 2] = [("w_e_gini", "Gini of W_E", BLUE), ("w_l_gini", "Gini of W_L", GREEN)];

impl Figure for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn summary(&self) -> &'static str {
        "Gini coefficients of W_E and W_L in the Fourier basis over training, with test accuracy"
    }

    fn explain(&self) -> String {
        "\
What it is
  The Gini coefficients of the Fourier norms of W_E and of W_L = W_out W_U (top) with test accuracy (bottom), at each
  checkpoint: medians over the replicas, with bands from the first to the third quartile.
Reads
  Measures gini and loss. Steps are on a logarithmic axis, which has no place for step 0.
Unit and range
  Gini coefficients without unit, 0 (all frequencies equal) to 1 (one alone); accuracy as a fraction, 0 to 1.
Value at a known point
  Near 0 at initialisation; it rises while the circuit forms, before test accuracy does, and again during cleanup.
  Both curves high and test accuracy at 1: few frequencies do all the work.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 5 and figure 7."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["gini", "loss"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let mut ginis = vec![];
        for (column, _, ink) in CURVES {
            ginis.push((input.series("gini", column)?, ink));
        }
        let accuracy = input.series("loss", "test_acc_frac")?;
        let mut keys: Vec<Key> = CURVES.iter().map(|&(_, name, ink)| Key::line(name, ink, MEDIAN_WIDTH)).collect();
        keys.push(Key::line("test accuracy", TEST, MEDIAN_WIDTH));
        let shows = format!("Median and interquartile range of {} replicas", accuracy.seeds.len());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let frames = area.grid(2, 1, (0.0, 14.0));
        let x = page::log_steps(&[ginis[0].0, accuracy]);
        let panel = Panel { frame: frames[0], x, y: Scale::fraction() };
        panel.grid(&mut sink.drawing);
        for (gini, ink) in ginis {
            median_and_band(sink, &panel, gini, ink);
        }
        panel.axes(&mut sink.drawing, Names { y: Some("Gini coefficient (no unit)"), ..Names::default() });
        test_accuracy(sink, frames[1], x, accuracy);
        Ok(())
    }
}
