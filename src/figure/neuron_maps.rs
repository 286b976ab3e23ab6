//! `neuron_maps`: activations of a few neurons over (a, b), and their two-dimensional Fourier spectra.
//!
//! Reads the last hidden activations of one replica at one checkpoint; draws a column a neuron, its map over the operands
//! above its components in the Fourier basis over both. Source: arXiv 2301.05217, figures 4 and 6.

use super::csv::Table;
use super::heat::{self, Colors};
use super::maps::{self, Lay, Map};
use super::neurons::{Chosen, Neurons};
use super::page;
use super::panel::Frame;
use super::probe::{self, Checkpoint};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::{Field, Group, Setting};

/// See the file's first lines.
pub struct NeuronMaps;

/// Neurons on a page.
const MAX_NEURONS: usize = 5;

/// Distance between maps, points: across, down.
const GAP: (f64, f64) = (14.0, 62.0);

impl Figure for NeuronMaps {
    fn name(&self) -> &'static str {
        "neuron_maps"
    }

    fn summary(&self) -> &'static str {
        "activations of a few neurons over (a, b) and their 2-D Fourier spectra, at one checkpoint"
    }

    fn explain(&self) -> String {
        "\
What it is
  For each key frequency k (rule w_l) the neuron of the last hidden layer of which it explains the largest fraction:
  the part of the variance over all pairs that lies in the products of 1, cos k and sin k over a with 1, cos k and
  sin k over b. At most five frequencies, those with the largest fractions; neurons with less than a tenth of the
  largest variance are passed over. Top: its activation, a across and b up. Bottom: its components in the Fourier
  basis over a (across) and b (up), after its mean is taken off, divided by its norm: their squares are shares of the
  variance. For x * y and x / y the basis runs over the discrete logarithms.
Reads
  hook_post of the last hidden layer at the last position, one replica at one checkpoint, all pairs (--seed, --step;
  the first seed and the last step when unset).
Unit and range
  Activation without unit; components -1 to 1; the axes of the bottom row count waves per p, cosine before sine.
Value at a known point
  A neuron that has memorised is noise, with a spectrum spread everywhere. After grokking it is a plaid of one
  frequency: the spectrum has dots in row and column 0 (cos k, sin k) and where frequency k of a meets that of b.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 4 and figures 4 and 6."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn reads_checkpoint(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        Group::of(setting)?;
        probe::hooks_ending(setting, probe::HIDDEN).map(|_| ())
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let checkpoint = input.checkpoint()?;
        let (p, order) = (checkpoint.p(), checkpoint.group()?.order);
        let basis = Basis::new(order);
        let neurons = Neurons::of(&checkpoint)?;
        let chosen = neurons.choose(&checkpoint.key_freqs()?, MAX_NEURONS);
        let maps: Vec<Vec<f64>> = chosen.iter().map(|chosen| neurons.map(chosen.neuron)).collect();
        let spectra: Vec<Vec<f64>> = chosen.iter().map(|chosen| neurons.spectrum(chosen.neuron, &basis)).collect();
        sink.table =
            Table::with_columns(&["map", "seed", "step", "neuron", "frequency", "fraction", "a", "b", "value"]);
        let shows = format!("Neurons with the most of each key frequency, {}", checkpoint.title_over_pairs());
        let area = page::head(&mut sink.drawing, input.title, &shows, &[], 0.0);
        let (activation, component) = (Colors::between(values(&maps)), Colors::around_zero(values(&spectra)));
        let lay = Lay::new(&mut sink.drawing, area, (2, chosen.len()), (&component, GAP));
        for (i, chosen) in chosen.iter().enumerate() {
            let Chosen { neuron, freq, fraction } = *chosen;
            let name = Some(format!("neuron {neuron}"));
            lay.draw(&mut sink.drawing, (0, i), &Map { values: &maps[i], p, colors: activation, name }, true);
            let frame = lay.frame((1, i));
            maps::cells(
                &mut sink.drawing,
                frame,
                &Map { values: &spectra[i], p: order, colors: component, name: None },
            );
            let name = format!("frequency {freq}: {:.0} %", 100.0 * fraction);
            maps::frequency_axes(&mut sink.drawing, frame, order, (&name, i == 0));
            for (map, values, n) in [("activation", &maps[i], p), ("component", &spectra[i], order)] {
                record(&mut sink.table, (&checkpoint, chosen, map), (values, n));
            }
        }
        let rows = [(activation, "activation (no unit)"), (component, "component (of norm)")];
        for (row, (colors, name)) in rows.into_iter().enumerate() {
            let Frame { top, height, .. } = lay.frame((row, 0));
            heat::color_bar(&mut sink.drawing, &Frame { top, height, ..lay.area }, &colors, name);
        }
        Ok(())
    }
}

/// All numbers of all maps.
fn values(maps: &[Vec<f64>]) -> impl Iterator<Item = f64> + '_ {
    maps.iter().flatten().copied().filter(|x| x.is_finite())
}

/// One map in the table; of the components, `a` and `b` count the basis: constant, cos 1, sin 1, cos 2, …
fn record(table: &mut Table, (checkpoint, chosen, map): (&Checkpoint, &Chosen, &str), (values, p): (&[f64], usize)) {
    let Chosen { neuron, freq, fraction } = chosen;
    for (cell, &value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        let (a, b) = (cell / p, cell % p);
        let (seed, step) = (checkpoint.seed, checkpoint.step);
        table.record(&[&map, &seed, &step, neuron, freq, &Field(*fraction), &a, &b, &Field(value)]);
    }
}
