//! `cluster_sizes`: how many neurons each frequency has, and how well the frequencies explain the neurons.
//!
//! Reads measures `neuron_clusters` and `neuron_freqs` at the last checkpoint; draws a column a replica, neurons by
//! frequency above a histogram of their explained fractions. Source: arXiv 2301.05217, section 4.2.

use super::csv::Table;
use super::drawing::Anchor;
use super::page::{self, Key};
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{BLACK, BLUE, GREEN, Ink, TICK_SIZE};
use super::{Figure, FigureInput, Sink, font};
use crate::error::Result;
use crate::measure::{Field, Series};

/// See the file's first lines.
pub struct ClusterSizes;

/// Replicas that fit side by side.
const MAX_REPLICAS: usize = 4;

/// Bins of the histogram, each 0.05 wide.
const BINS: usize = 20;

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (32.0, 66.0);

impl Figure for ClusterSizes {
    fn name(&self) -> &'static str {
        "cluster_sizes"
    }

    fn summary(&self) -> &'static str {
        "neurons of each frequency and how much of them it explains, at the last checkpoint"
    }

    fn explain(&self) -> String {
        "\
What it is
  Top: how many neurons of the last hidden layer are in the cluster of each frequency, the one that explains most of
  their variance, and at least 0.85 of it (measure.cluster_frac). Numbers over bars are the frequencies, where there
  is room; `433 of 512` counts neurons in a cluster and all. Bottom: how much of each neuron its best frequency
  explains, as a histogram of 20 bins, clustered or not. One column for each of the first four replicas, at the last
  checkpoint.
Reads
  Measures neuron_clusters (n_neurons, n_clustered) and neuron_freqs (explained_frac).
Unit and range
  Neurons, 0 to d_mlp; frequency in waves per p; fraction of the variance, 0 to 1.
Value at a known point
  Before grokking no frequency explains a neuron and the top is empty. In the published run 433 of 512 neurons stand in
  five clusters, and the histogram is a peak near 1.
Source
  Nanda et al. 2023, arXiv 2301.05217, section 4.2; definitions: `phaselab explain neuron_clusters`, neuron_freqs."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &["neuron_clusters", "neuron_freqs"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let sizes = input.series("neuron_clusters", "n_neurons")?;
        let clustered = input.series("neuron_clusters", "n_clustered")?;
        let fractions = input.series("neuron_freqs", "explained_frac")?;
        let shown = sizes.seeds.len().min(clustered.seeds.len()).min(fractions.seeds.len()).min(MAX_REPLICAS);
        sink.table = Table::with_columns(&["curve", "seed", "step", "at", "neurons"]);
        let keys = [
            Key::area("neurons in the cluster of a frequency", BLUE),
            Key::area("neurons by explained fraction", GREEN),
        ];
        let step = sizes.steps.last().map_or(String::new(), |step| format!(" at step {step}"));
        let shows = format!(
            "Neurons by frequency{step}, with how many are in a cluster; {shown} of {} replicas",
            sizes.seeds.len()
        );
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 16.0);
        let frames = area.grid(2, shown.max(1), GAP);
        let freqs = sizes.axis.as_ref().map_or(vec![], |axis| axis.ticks.clone());
        let middles: Vec<f64> = (0..BINS).map(|i| (i as f64 + 0.5) / BINS as f64).collect();
        let counts: Vec<Vec<f64>> = (0..shown).map(|r| last(sizes, r)).collect();
        let bins: Vec<Vec<f64>> = (0..shown).map(|r| histogram(&last(fractions, r))).collect();
        let x = Scale::Linear { low: 0.0, high: freqs.last().copied().unwrap_or(1.0) * 1.07 + 1.0 };
        for r in 0..shown {
            let (seed, y) = (sizes.seeds[r], if r == 0 { "neurons (count)" } else { "" });
            let panel = Panel { frame: frames[r], x, y: count_scale(&counts) };
            let name = panel_name(seed, last(clustered, r).first(), fractions.width(), panel.frame);
            panel.grid_y(&mut sink.drawing);
            bars(sink, &panel, (&freqs, &counts[r]), (0.8, BLUE));
            numbers(sink, &panel, (&freqs, &counts[r]));
            panel.axes(&mut sink.drawing, Names { x: Some("frequency (waves per p)"), y: Some(y), panel: Some(&name) });
            let panel =
                Panel { frame: frames[shown + r], x: Scale::Linear { low: 0.0, high: 1.02 }, y: count_scale(&bins) };
            panel.grid_y(&mut sink.drawing);
            bars(sink, &panel, (&middles, &bins[r]), (0.9 / BINS as f64, GREEN));
            panel.axes(&mut sink.drawing, Names { x: Some("explained (fraction)"), y: Some(y), panel: None });
            record(&mut sink.table, ("n_neurons", sizes, r), (&freqs, &counts[r]));
            record(&mut sink.table, ("explained_frac", fractions, r), (&middles, &bins[r]));
        }
        Ok(())
    }
}

/// The numbers of one replica at the last checkpoint.
fn last(series: &Series, r: usize) -> Vec<f64> {
    series.steps.len().checked_sub(1).map_or(vec![], |s| series.at(s, r).to_vec())
}

/// One replica in the table.
fn record(table: &mut Table, (curve, series, r): (&str, &Series, usize), (at, neurons): (&[f64], &[f64])) {
    let Some(step) = series.steps.last() else { return };
    for (&at, &n) in at.iter().zip(neurons) {
        table.record(&[&curve, &series.seeds[r], step, &Field(at), &Field(n)]);
    }
}

/// How many of the fractions are in each bin; those that are no number in none.
fn histogram(fractions: &[f64]) -> Vec<f64> {
    let mut bins = vec![0.0; BINS];
    for fraction in fractions.iter().filter(|x| (0.0..=1.0 + 1e-9).contains(*x)) {
        bins[((fraction * BINS as f64) as usize).min(BINS - 1)] += 1.0;
    }
    bins
}

/// One axis of counts for all replicas.
fn count_scale(counts: &[Vec<f64>]) -> Scale {
    let highest = counts.iter().flatten().copied().filter(|x| x.is_finite()).fold(0.0, f64::max);
    Scale::Linear { low: 0.0, high: if highest > 0.0 { highest * 1.12 } else { 1.0 } }
}

/// Bars around `at`.
fn bars(sink: &mut Sink, panel: &Panel, (at, heights): (&[f64], &[f64]), (width, ink): (f64, Ink)) {
    for (&center, &height) in at.iter().zip(heights).filter(|(_, height)| **height > 0.0) {
        let corners = (panel.point(center - width / 2.0, 0.0), panel.point(center + width / 2.0, height));
        if let (Some(low), Some(high)) = corners {
            sink.drawing.rect((low.0, high.1), (high.0, low.1), ink);
        }
    }
}

/// Frequencies above their bars where there is room, those of high bars first.
fn numbers(sink: &mut Sink, panel: &Panel, (at, heights): (&[f64], &[f64])) {
    let mut order: Vec<usize> = (0..at.len().min(heights.len())).filter(|&i| heights[i] > 0.0).collect();
    order.sort_by(|&i, &j| heights[j].total_cmp(&heights[i]));
    let (left, right) = (panel.frame.left, panel.frame.left + panel.frame.width);
    let mut taken: Vec<(f64, f64, f64)> = vec![];
    let mut higher: Vec<(f64, f64)> = vec![];
    for i in order {
        let (label, Some((x, y))) = (at[i].to_string(), panel.point(at[i], heights[i])) else { continue };
        let half = font::width(&label, TICK_SIZE) / 2.0 + 1.0;
        // Neither over another number nor over a higher bar.
        let free =
            taken.iter().all(|&(other, top, room)| (x - other).abs() > half + room || (y - top).abs() > TICK_SIZE);
        let clear = higher.iter().all(|&(bar, top)| (x - bar).abs() > half + 1.0 || top > y - 2.0);
        if free && clear && x - half > left && x + half < right {
            sink.drawing.text((x, y - 3.0), &label, TICK_SIZE, BLACK, Anchor::Middle);
            taken.push((x, y, half));
        }
        higher.push((x, y));
    }
}

/// `seed 0: 433 of 512 neurons`, as far as there is room.
fn panel_name(seed: u64, clustered: Option<&f64>, neurons: usize, frame: Frame) -> String {
    let long = match clustered {
        Some(n) if n.is_finite() && *n >= 0.0 && *n < 1e9 => format!("seed {seed}: {n:.0} of {neurons}"),
        _ => format!("seed {seed}"),
    };
    if font::width(&long, TICK_SIZE) > frame.width { format!("seed {seed}") } else { long }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{check::faults, synthetic};
    use super::*;

    #[test]
    fn every_neuron_stands_in_one_bin_and_every_cluster_has_its_bar() {
        let mut run = synthetic::run(&[1, 10], 6);
        let rows = |run: &synthetic::Run, start: &str| -> Vec<f64> {
            let mut sink = Sink::default();
            ClusterSizes.draw(&run.input(), &mut sink).unwrap();
            assert_eq!(faults(&sink.drawing), Vec::<String>::new());
            let text = sink.table.text();
            let rows = text.lines().filter_map(|line| line.strip_prefix(start));
            rows.map(|row| row.rsplit(',').next().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(rows(&run, "n_neurons,0,10,"), [0.0, 3.0, 0.0, 0.0, 1.0, 0.0]);
        // Six neurons with fractions 1/6, 2/6, … 1; a fraction of 1 is in the last bin.
        let bins = rows(&run, "explained_frac,1,10,");
        let full: Vec<usize> = (0..BINS).filter(|&i| bins[i] == 1.0).collect();
        assert_eq!((full, bins.iter().sum::<f64>()), (vec![3, 6, 10, 13, 16, 19], 6.0));
        assert_eq!(rows(&run, "n_neurons,4,10,").len(), 0, "four replicas fit");
        let fractions = run.series.iter_mut().find(|series| series.measure == "neuron_freqs").unwrap();
        fractions.values_srw.fill(f64::NAN);
        assert_eq!(rows(&run, "explained_frac,1,10,").iter().sum::<f64>(), 0.0, "a neuron without value has no bin");
    }

    #[test]
    fn numbers_over_neighbouring_bars_do_not_meet() {
        let ticks: Vec<f64> = (1..=56).map(f64::from).collect();
        let heights: Vec<f64> = ticks.iter().map(|k| if *k == 30.0 { 90.0 } else { 80.0 }).collect();
        let frame = Frame { left: 60.0, top: 100.0, width: 130.0, height: 120.0 };
        let panel =
            Panel { frame, x: Scale::Linear { low: 0.0, high: 57.0 }, y: count_scale(std::slice::from_ref(&heights)) };
        let mut sink = Sink::default();
        numbers(&mut sink, &panel, (&ticks, &heights));
        assert_eq!(faults(&sink.drawing), Vec::<String>::new());
        let texts: Vec<&str> = sink
            .drawing
            .items
            .iter()
            .filter_map(|item| match item {
                super::super::drawing::Item::Text(text) => Some(text.text.as_str()),
                _ => None,
            })
            .collect();
        assert!(texts.len() > 4 && texts[0] == "30", "the highest bar has its number: {texts:?}");
    }
}
