//! `fourier_spectrum`: Fourier norms of the embedding over training, as a heat map a replica.
//!
//! Reads measures `fourier_norm_w_e` (`norm` by frequency) and `key_freqs_w_l` (`is_key` at the last checkpoint); draws
//! up to eight panels, frequency over logarithmic steps, with the key frequencies marked. Source: arXiv 2301.05217.

use super::heat::{self, Colors, Heat};
use super::page::{self, Key, STEP_LOG};
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::TICK_SIZE;
use super::{Figure, FigureInput, Sink, font};
use crate::error::Result;
use crate::measure::Series;

/// See the file's first lines.
pub struct FourierSpectrum;

/// Panels on a page.
const MAX_REPLICAS: usize = 8;

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (22.0, 24.0);

impl Figure for FourierSpectrum {
    fn name(&self) -> &'static str {
        "fourier_spectrum"
    }

    fn summary(&self) -> &'static str {
        "Fourier norms of the embedding over training, with the key frequencies marked"
    }

    fn explain(&self) -> String {
        "\
What it is
  Colour is the norm of W_E's component of each frequency (cosine and sine together), at each checkpoint, one panel
  for each of the first eight replicas. Triangles mark the key frequencies of the last checkpoint. Checkpoints less
  than a point apart on the page are left out, here and in the CSV.
Reads
  Measures fourier_norm_w_e (norm) and key_freqs_w_l (is_key). Steps are on a logarithmic axis, without step 0.
Unit and range
  Frequency in waves per p tokens, 1 to (p - 1)/2; norm without unit, from 0, one colour scale for all panels.
Value at a known point
  At initialisation every frequency has about the same norm. After grokking three to six bright rows are left and
  the others are dark: an embedding of pure waves of frequency k has one bright row, k.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 4.1; colours: viridis."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["fourier_norm_w_e", "key_freqs_w_l"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let norm = input.series("fourier_norm_w_e", "norm")?;
        let is_key = input.series("key_freqs_w_l", "is_key")?;
        let shown = norm.seeds.len().min(MAX_REPLICAS);
        let keys = [Key::marker("key frequency at the last checkpoint")];
        let shows = format!("Fourier norms of W_E; {shown} of {} replicas", norm.seeds.len());
        let highest = page::values(&[norm]).filter(|x| x.is_finite()).fold(0.0, f64::max);
        let colors = Colors::from_zero(highest);
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &keys, 0.0);
        area.width -= heat::bar_room(&colors, &area);
        let columns = page::columns(shown);
        let frames = area.grid(shown.div_ceil(columns).max(1), columns, GAP);
        let x = page::log_steps(&[norm]);
        let y = Scale::Linear { low: 0.5, high: norm.width() as f64 + 0.5 };
        for (r, &frame) in frames.iter().enumerate().take(shown) {
            let panel = Panel { frame, x, y };
            let drawn = Heat { series: norm, r, colors }.draw(&mut sink.drawing, &panel);
            sink.table.map(norm, r, drawn);
            let keys = mark_keys(sink, &panel, is_key, r);
            let names = Names {
                x: (r + columns >= shown).then_some(STEP_LOG),
                y: r.is_multiple_of(columns).then_some("frequency (waves per p)"),
                panel: Some(&panel_name(norm.seeds[r], (&keys, norm.width()), panel.frame)),
            };
            panel.axes(&mut sink.drawing, names);
        }
        heat::color_bar(&mut sink.drawing, &area, &colors, "norm of W_E's component (no unit)");
        Ok(())
    }
}

/// Marks the key frequencies of the last checkpoint outside the right edge, and gives them.
fn mark_keys(sink: &mut Sink, panel: &Panel, is_key: &Series, r: usize) -> Vec<f64> {
    let (Some(axis), Some(last)) = (&is_key.axis, is_key.steps.len().checked_sub(1)) else { return vec![] };
    if r >= is_key.seeds.len() {
        return vec![];
    }
    sink.table.map(is_key, r, [last]);
    let flags = axis.ticks.iter().zip(is_key.at(last, r));
    let keys: Vec<f64> = flags.filter(|(_, flag)| **flag == 1.0).map(|(tick, _)| *tick).collect();
    let right = panel.frame.left + panel.frame.width;
    for place in keys.iter().filter_map(|&key| panel.y.place(key)) {
        page::triangle(&mut sink.drawing, (right + 2.0, panel.frame.top + (1.0 - place) * panel.frame.height));
    }
    keys
}

/// The seed and its key frequencies, or how many they are where there is no room for them.
fn panel_name(seed: u64, (keys, n_freqs): (&[f64], usize), frame: Frame) -> String {
    let list = keys.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let long = format!("seed {seed}: {list}");
    match keys.len() {
        0 => format!("seed {seed}"),
        n if font::width(&long, TICK_SIZE) > frame.width => format!("seed {seed}: {n} of {n_freqs}"),
        _ => long,
    }
}
