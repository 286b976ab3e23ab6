//! `fourier_bars`: the norm of every Fourier component of W_E and of W_L at one checkpoint.
//!
//! Reads the parameters of one replica; draws two rows of bars, cosine and sine of each frequency side by side, with the
//! key frequencies marked. Source: arXiv 2301.05217, figures 3 and 5.

use super::csv::Table;
use super::drawing::{Anchor, Drawing};
use super::page::{self, Key};
use super::panel::{Names, Panel};
use super::probe::Checkpoint;
use super::scale::Scale;
use super::style::{BLACK, BLUE, GREY, Ink, ORANGE, TICK_SIZE};
use super::{Figure, FigureInput, Sink, font};
use crate::error::Result;
use crate::measure::{Field, Setting};
use crate::spec::KeyRule;

/// See the file's first lines.
pub struct FourierBars;

/// Ink of a cosine and of a sine.
const COS_SIN: [Ink; 2] = [BLUE, ORANGE];

impl Figure for FourierBars {
    fn name(&self) -> &'static str {
        "fourier_bars"
    }

    fn summary(&self) -> &'static str {
        "norm of every Fourier component of W_E and W_L at one checkpoint, key frequencies marked"
    }

    fn explain(&self) -> String {
        "\
What it is
  The norm of each component of the embedding W_E (top) and of the neuron-logit map W_L = W_out W_U (bottom) in the
  Fourier basis over the residues: the constant, then cosine and sine of each frequency side by side. Numbers above
  the bars are the key frequencies of that matrix: norm of cosine and sine together at least a quarter
  (measure.key_frac) of the largest. For x * y and x / y the basis runs over the discrete logarithms.
Reads
  The parameters of one replica at one checkpoint (--seed, --step; the first seed and the last step when unset).
Unit and range
  Norm without unit, 0 and up, an axis for each matrix; frequency in waves per p, 0 (constant) to p/2.
Value at a known point
  At initialisation all bars are about equally high. After grokking few pairs are left, cosine and sine nearly equal:
  both are needed to turn a residue by an angle. Leftovers in W_E that W_L lacks are read by no neuron.
Source
  Nanda et al. 2023, arXiv 2301.05217, figures 3 and 5; rules: `phaselab explain key_freqs_w_l`."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn reads_checkpoint(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WE.fits(setting).and_then(|_| KeyRule::WL.fits(setting)).map(|_| ())
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let checkpoint = input.checkpoint()?;
        sink.table = Table::with_columns(&["matrix", "seed", "step", "frequency", "wave", "norm", "is_key"]);
        let keys = [Key::area("constant", GREY), Key::area("cosine", COS_SIN[0]), Key::area("sine", COS_SIN[1])];
        let shows = format!("Fourier components of W_E and W_L, {}; key frequencies in numbers", checkpoint.title());
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let frames = area.grid(2, 1, (0.0, 34.0));
        let x = Scale::Linear { low: -1.0, high: (checkpoint.group()?.order / 2) as f64 + 1.0 };
        for ((rule, name), frame) in [(KeyRule::WE, "W_E"), (KeyRule::WL, "W_L")].into_iter().zip(frames) {
            let norms = checkpoint.component_norms(rule)?;
            let highest = norms.iter().copied().filter(|x| x.is_finite()).fold(0.0, f64::max);
            let y = Scale::Linear { low: 0.0, high: if highest > 0.0 { highest * 1.16 } else { 1.0 } };
            let panel = Panel { frame, x, y };
            panel.grid_y(&mut sink.drawing);
            bars(sink, &panel, (&checkpoint, name), (&norms, &checkpoint.is_key(rule)?));
            let names = Names {
                x: (name == "W_L").then_some("frequency (waves per p)"),
                y: Some(if name == "W_E" { "norm in W_E (no unit)" } else { "norm in W_L (no unit)" }),
                panel: None,
            };
            panel.axes(&mut sink.drawing, names);
        }
        Ok(())
    }
}

/// The bars of one matrix, its rows of the table and the names of its key frequencies.
fn bars(sink: &mut Sink, panel: &Panel, (checkpoint, name): (&Checkpoint, &str), (norms, keys): (&[f64], &[bool])) {
    let Sink { drawing, table } = sink;
    let mut row = |frequency: usize, wave: &str, norm: f64, key: bool| {
        let key = u8::from(key);
        table.record(&[&name, &checkpoint.seed, &checkpoint.step, &frequency, &wave, &Field(norm), &key]);
    };
    row(0, "constant", norms[0], false);
    bar(drawing, panel, (-0.2, 0.2), (norms[0], GREY));
    let mut last = f64::NEG_INFINITY;
    for (i, (pair, &key)) in norms[1..].chunks(2).zip(keys).enumerate() {
        let frequency = i + 1;
        let center = frequency as f64;
        for (j, &norm) in pair.iter().enumerate() {
            row(frequency, ["cos", "sin"][j], norm, key);
            let left = center - 0.42 + 0.42 * j as f64;
            bar(drawing, panel, (left, left + 0.42), (norm, COS_SIN[j]));
        }
        let highest = pair.iter().copied().fold(0.0, f64::max);
        let label = frequency.to_string();
        let half = font::width(&label, TICK_SIZE) / 2.0;
        if let Some((x, y)) = panel.point(center, highest).filter(|&(x, _)| key && x - half > last + 2.0) {
            drawing.text((x, y - 4.0), &label, TICK_SIZE, BLACK, Anchor::Middle);
            last = x + half;
        }
    }
}

fn bar(drawing: &mut Drawing, panel: &Panel, (left, right): (f64, f64), (norm, ink): (f64, Ink)) {
    if let (Some(bottom), Some(top)) = (panel.point(left, 0.0), panel.point(right, norm)) {
        drawing.rect((bottom.0, top.1), (top.0, bottom.1), ink);
    }
}
