//! `embedding_circles`: the residues in the plane of each key frequency of the embedding.
//!
//! Reads the parameters of one replica; draws a panel a key frequency k, with each residue's embedding along the
//! directions of W_E's components cos k and sin k. Source: arXiv 2205.10343 (circles) and 2301.05217, section 4.1.

use std::f64::consts::TAU;

use super::csv::Table;
use super::drawing::{Anchor, Drawing, Point};
use super::heat::{self, Colors};
use super::page::{self, DOT};
use super::panel::{Frame, Names, Panel};
use super::probe::Checkpoint;
use super::scale::Scale;
use super::style::{BLACK, GREY, LABEL_SIZE, phase};
use super::{Figure, FigureInput, Sink, font};
use crate::error::Result;
use crate::measure::fourier::{n_freqs, waves};
use crate::measure::{Field, Group, Setting, w_e};
use crate::spec::KeyRule;

/// See the file's first lines.
pub struct EmbeddingCircles;

/// Panels on a page.
const MAX_FREQS: usize = 6;

/// Size of the residues' numbers.
const NUMBER: f64 = 8.5;

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (46.0, 46.0);

/// The largest side of a panel, points.
const MAX_SIDE: f64 = 230.0;

/// One residue in one plane: along cos k, along sin k.
type Place = (f64, f64);

impl Figure for EmbeddingCircles {
    fn name(&self) -> &'static str {
        "embedding_circles"
    }

    fn summary(&self) -> &'static str {
        "the residues' embeddings in the plane of each key frequency, at one checkpoint"
    }

    fn explain(&self) -> String {
        "\
What it is
  For each key frequency k (by rule w_l; the six with the largest norm in W_E), the embedding of every residue a along
  two directions of W_E: its components along cos(2 pi k a / p) and sin(2 pi k a / p), each made a unit vector. Colour
  is the phase k a / p in turns; numbers are residues, as many as have room. Both axes of a panel have one scale. For
  x * y and x / y a is the discrete logarithm of the residue, and p - 1 stands for p.
Reads
  The parameters of one replica at one checkpoint (--seed, --step; the first seed and the last step when unset).
Unit and range
  Without unit, as the weights; the phase in turns, 0 to 1.
Value at a known point
  An embedding of pure waves is a circle, with the colours in order once around. Noise of other frequencies makes it
  ragged; directions that are not orthogonal or not equally long make it an ellipse.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 4.1; circles of embeddings: Liu et al. 2022, arXiv 2205.10343."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn reads_checkpoint(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match KeyRule::WE.fits(setting)?.order {
            order if order < 3 => Err(format!("{order} residues make no circle")),
            _ => Ok(()),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let checkpoint = input.checkpoint()?;
        let (freqs, group) = (shown(&checkpoint)?, checkpoint.group()?);
        sink.table = Table::with_columns(&["seed", "step", "frequency", "residue", "phase", "along_cos", "along_sin"]);
        let shows = format!("Residues in the planes of {} key frequencies of W_E, {}", freqs.len(), checkpoint.title());
        let mut area = page::head(&mut sink.drawing, input.title, &shows, &[], 0.0);
        let colors = Colors::of_phase();
        area.top -= 8.0;
        area.height += 8.0;
        let columns = page::columns(freqs.len()).min(3);
        let rows = freqs.len().div_ceil(columns).max(1);
        let room = (area.width - heat::bar_room(&colors, &area) - GAP.0 * (columns as f64 - 1.0)) / columns as f64;
        let side = room.min(MAX_SIDE);
        let length = |n: usize, gap: f64| side * n as f64 + gap * (n as f64 - 1.0);
        (area.width, area.height) = (length(columns, GAP.0), length(rows, GAP.1));
        sink.drawing.page.1 = (area.top + area.height + 44.0).ceil() as u32;
        let frames = area.grid(rows, columns, GAP);
        for (i, (&k, frame)) in freqs.iter().zip(frames).enumerate() {
            let places = places(&checkpoint, k)?;
            let panel = panel(frame, &places);
            panel.grid(&mut sink.drawing);
            points(sink, &panel, (&checkpoint, &group, k), &places);
            panel.axes(&mut sink.drawing, Names { x: Some(""), y: Some(""), panel: None });
            panel.name(&mut sink.drawing, &format!("frequency {k}"));
            let Frame { left, top, width, height } = panel.frame;
            if i + columns >= freqs.len() {
                let at = (left + width / 2.0, top + height + 32.0);
                sink.drawing.text(at, "along cos (no unit)", LABEL_SIZE, BLACK, Anchor::Middle);
            }
            if i.is_multiple_of(columns) {
                sink.drawing.text_upwards((16.0, top + height / 2.0), "along sin (no unit)", LABEL_SIZE, BLACK);
            }
        }
        heat::color_bar(&mut sink.drawing, &area, &colors, "phase (turns)");
        Ok(())
    }
}

/// Key frequencies, ascending; those with the largest norms where there are too many, or none.
fn shown(checkpoint: &Checkpoint) -> Result<Vec<usize>> {
    let p = checkpoint.group()?.order;
    let components = checkpoint.component_norms(KeyRule::WE)?;
    let norms: Vec<f64> = components[1..].chunks(2).map(|pair| pair.iter().map(|x| x * x).sum()).collect();
    let mut freqs = checkpoint.key_freqs()?;
    if freqs.is_empty() {
        freqs = (1..=n_freqs(p)).collect();
    }
    // The last frequency of an even modulus has no sine.
    freqs.retain(|&k| 2 * k != p);
    freqs.sort_by(|&a, &b| norms[b - 1].total_cmp(&norms[a - 1]));
    freqs.truncate(MAX_FREQS);
    freqs.sort_unstable();
    Ok(freqs)
}

/// Every residue along the unit vectors of W_E's components cos k and sin k.
fn places(checkpoint: &Checkpoint, k: usize) -> Result<Vec<Place>> {
    let group = checkpoint.group()?;
    let w_e = w_e(&checkpoint.params, &group)?;
    let (p, d) = (group.order, w_e.len() / group.order);
    let along = |wave: &[f64]| {
        let mut direction = vec![0.0; d];
        for (&height, row_d) in wave.iter().zip(w_e.chunks_exact(d)) {
            direction.iter_mut().zip(row_d).for_each(|(sum, &x)| *sum += height * x);
        }
        let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let dot = |row_d: &[f64]| row_d.iter().zip(&direction).map(|(x, u)| x * u).sum::<f64>() / norm;
        w_e.chunks_exact(d).map(dot).collect::<Vec<f64>>()
    };
    let waves = waves(p, k);
    Ok(along(&waves[0]).into_iter().zip(along(&waves[1])).collect())
}

/// One scale for both axes.
fn panel(frame: Frame, places: &[Place]) -> Panel {
    let sizes = places.iter().flat_map(|&(x, y)| [x.abs(), y.abs()]).filter(|x| x.is_finite());
    let largest = sizes.fold(0.0, f64::max);
    let reach = if largest > 0.0 { largest * 1.28 } else { 1.0 };
    let scale = Scale::Linear { low: -reach, high: reach };
    Panel { frame, x: scale, y: scale }
}

/// Dots, and the numbers of residues outside of them where they are free.
fn points(sink: &mut Sink, panel: &Panel, (checkpoint, group, k): (&Checkpoint, &Group, usize), places: &[Place]) {
    let p = places.len();
    let turns = |a: usize| (k * a % p) as f64 / p as f64;
    let Sink { drawing, table } = sink;
    let mut boxes: Vec<[f64; 4]> = vec![];
    for (a, &(x, y)) in places.iter().enumerate() {
        table.record(&[
            &checkpoint.seed,
            &checkpoint.step,
            &k,
            &group.residues[a],
            &Field(turns(a)),
            &Field(x),
            &Field(y),
        ]);
        if let Some(at) = panel.point(x, y) {
            drawing.dot(at, DOT * 0.8, phase(turns(a)));
            boxes.push([at.0 - DOT, at.1 - DOT, at.0 + DOT, at.1 + DOT]);
        }
    }
    for (a, &(x, y)) in places.iter().enumerate() {
        if let Some(at) = panel.point(x, y) {
            number(drawing, panel, (group.residues[a], at), &mut boxes);
        }
    }
}

/// The number of a residue, a little further from the middle than its dot, unless something is there.
fn number(drawing: &mut Drawing, panel: &Panel, (a, at): (usize, Point), boxes: &mut Vec<[f64; 4]>) {
    let Frame { left, top, width, height } = panel.frame;
    let (dx, dy) = (at.0 - left - width / 2.0, at.1 - top - height / 2.0);
    let angle = if dx == 0.0 && dy == 0.0 { TAU / 4.0 } else { libm::atan2(dy, dx) };
    let text = a.to_string();
    let (half, tall) = (font::width(&text, NUMBER) / 2.0, NUMBER * font::CAP_HEIGHT_EM);
    let away = DOT + 2.0 + half.max(tall / 2.0);
    let middle = (at.0 + away * libm::cos(angle), at.1 + away * libm::sin(angle));
    let own = [middle.0 - half, middle.1 - tall / 2.0, middle.0 + half, middle.1 + tall / 2.0];
    let inside =
        own[0] > left + 1.0 && own[2] < left + width - 1.0 && own[1] > top + 1.0 && own[3] < top + height - 1.0;
    let apart = |other: &[f64; 4]| {
        own[2] + 0.5 < other[0] || other[2] + 0.5 < own[0] || own[3] + 0.5 < other[1] || other[3] + 0.5 < own[1]
    };
    if inside && boxes.iter().all(apart) {
        drawing.text((middle.0, middle.1 + tall / 2.0), &text, NUMBER, GREY, Anchor::Middle);
        boxes.push(own);
    }
}
