//! `attention_maps`: where the last position looks, over both operands.
//!
//! Reads the attention patterns of one replica at one checkpoint; draws a column a head and a row a key position, each a
//! map over (a, b). Source: arXiv 2301.05217, figure 4.

use super::csv::Table;
use super::heat::{self, Colors};
use super::maps::{self, Map};
use super::page;
use super::probe::{self, Checkpoint};
use super::{Figure, FigureInput, Sink};
use crate::engine::Hook;
use crate::error::Result;
use crate::measure::{Field, HookShape, Setting};

/// See the file's first lines.
pub struct AttentionMaps;

/// Distance between maps, points: across, down.
const GAP: (f64, f64) = (14.0, 22.0);

const PATTERN: &str = "attn.hook_pattern";

/// Heads of a layer, key positions and layers on a page.
const MAX: (usize, usize, usize) = (8, 4, 3);

impl Figure for AttentionMaps {
    fn name(&self) -> &'static str {
        "attention_maps"
    }

    fn summary(&self) -> &'static str {
        "attention from the last position over (a, b), a column a head, at one checkpoint"
    }

    fn explain(&self) -> String {
        "\
What it is
  Attention from the last position whose logits enter the loss, as a map over the operands: a across, b up. A column
  for each of the first eight heads, a row for each of the last four positions that are looked at, for the last three
  layers (where there are several, L0H1 is head 1 of layer 0). Pairs that the task does not have are grey.
Reads
  attn.hook_pattern of one replica at one checkpoint over all pairs (--seed, --step; the first seed and the last step
  when unset).
Unit and range
  Share of the attention, 0 to 1; the rows of one head add up to 1 where all positions are shown.
Value at a known point
  At initialisation every position gets about the same share. After grokking a head is a wave over a in the row of a,
  and the same wave over b, mirrored, in the row of b: each looks at the operands by one frequency.
Source
  Nanda et al. 2023, arXiv 2301.05217, figure 4."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn reads_checkpoint(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        probe::modular(setting)?;
        probe::hooks_ending(setting, PATTERN).map(|_| ())
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let checkpoint = input.checkpoint()?;
        sink.table = Table::with_columns(&["seed", "step", "layer", "head", "key_position", "a", "b", "attention"]);
        let layers = probe::hooks_ending(&checkpoint.setting, PATTERN).unwrap_or_default();
        let first = layers.len().saturating_sub(MAX.2);
        let mut all = vec![];
        for (layer, hook) in layers.iter().enumerate().skip(first) {
            all.push((layer, maps_of_layer(&checkpoint, hook)?));
        }
        let shows = format!("Attention from the last position over (a, b), {}", checkpoint.title_over_pairs());
        let area = page::head(&mut sink.drawing, input.title, &shows, &[], 0.0);
        let colors = Colors::from_zero(1.0);
        let columns = all.iter().map(|(_, heads)| heads.len()).max().unwrap_or(0);
        let rows = all.iter().map(|(_, heads)| heads.first().map_or(0, Vec::len)).sum();
        let lay = maps::Lay::new(&mut sink.drawing, area, (rows, columns), (&colors, GAP));
        let mut row = 0;
        for (layer, heads) in &all {
            for (h, maps) in heads.iter().enumerate() {
                for (i, (key, values)) in maps.iter().enumerate() {
                    record(&mut sink.table, &checkpoint, (*layer, h, *key), values);
                    let long = || if layers.len() > 1 { format!("L{layer}H{h}") } else { format!("head {h}") };
                    let name = (i == 0).then(long);
                    let map = Map { values, p: checkpoint.p(), colors, name };
                    lay.draw(&mut sink.drawing, (row + i, h), &map, row + i + 1 == rows);
                    if h == 0 {
                        lay.name_row(&mut sink.drawing, row + i, &key_name(&checkpoint.setting, *key));
                    }
                }
            }
            row += heads.first().map_or(0, Vec::len);
        }
        heat::color_bar(&mut sink.drawing, &lay.area, &colors, "attention (fraction)");
        Ok(())
    }
}

/// The maps of one head: a key position and attention to it, `[p, p]`.
type Head = Vec<(usize, Vec<f64>)>;

/// The heads of a layer.
fn maps_of_layer(checkpoint: &Checkpoint, hook: &HookShape) -> Result<Vec<Head>> {
    let setting = &checkpoint.setting;
    let query = setting.loss_positions.last().or(hook.positions.last()).copied().unwrap_or(0);
    let pattern = checkpoint.activation(Hook::value(hook.name.as_str()).at([query]))?;
    let values = pattern.to_f64();
    let (heads, keys) = match pattern.shape.as_slice() {
        &[_, 1, heads, keys] => (heads, keys),
        _ => (0, 0),
    };
    let cells = checkpoint.cells();
    let p = checkpoint.p();
    let looked_at = (query + 1).min(keys);
    let map = |h: usize, key: usize| {
        let mut map = vec![f64::NAN; p * p];
        for (example, cell) in values.chunks_exact((heads * keys).max(1)).zip(&cells) {
            cell.iter().for_each(|&cell| map[cell] = example[h * keys + key]);
        }
        (key, map)
    };
    let first = looked_at.saturating_sub(MAX.1);
    Ok((0..heads.min(MAX.0)).map(|h| (first..looked_at).map(|key| map(h, key)).collect()).collect())
}

fn record(table: &mut Table, checkpoint: &Checkpoint, (layer, head, key): (usize, usize, usize), values: &[f64]) {
    let p = checkpoint.p();
    for (cell, &value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        let (a, b) = (cell / p, cell % p);
        table.record(&[&checkpoint.seed, &checkpoint.step, &layer, &head, &key, &a, &b, &Field(value)]);
    }
}

/// `to a`, `to b`, `to itself`, or the position.
fn key_name(setting: &Setting, key: usize) -> String {
    match setting.operand_positions.iter().position(|&operand| operand == key) {
        Some(0) => "to a".into(),
        Some(1) => "to b".into(),
        _ if setting.loss_positions.last() == Some(&key) => "to itself".into(),
        _ => format!("to position {key}"),
    }
}
