//! `decompositions`: how near the components of PCA, ICA, NMF and t-SNE come to single Fourier frequencies.
//!
//! Reads measures `decompose_MATRIX`, those that are there, at the last checkpoint; draws a column a matrix: purity of every
//! component by method, above the shares of variance that as many directions explain.

use super::arms_points::swarm;
use super::csv::Table;
use super::drawing::Anchor;
use super::page::{self, Key, Mark};
use super::panel::{Frame, Panel};
use super::scale::Scale;
use super::style::{BLACK, BLUE, CURVE_WIDTH, Ink, MEDIAN_WIDTH, TICK_SIZE, VERMILLION};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Series};
use crate::transition::Spread;

/// See the file's first lines.
pub struct Decompositions;

/// The measures, with what they take apart.
const MATRICES: [(&str, &str); 4] = [
    ("decompose_w_e", "W_E"),
    ("decompose_w_l", "W_L"),
    ("decompose_neurons", "neurons"),
    ("decompose_logits", "logits"),
];

/// Methods by column, with their names, from the top.
const METHODS: [(&str, &str); 4] = [("pca", "PCA"), ("ica", "ICA"), ("nmf", "NMF"), ("tsne", "t-SNE")];

/// Shares of variance by column; ICA has those of PCA.
const EXPLAINED: [(&str, &str); 3] = [("fourier", "Fourier"), ("pca", "PCA, ICA"), ("nmf", "NMF")];

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (16.0, 64.0);

/// One component, and its radius.
const COMPONENT: (Ink, f64) = (BLUE.faded(0.5), 2.2);

impl Figure for Decompositions {
    fn name(&self) -> &'static str {
        "decompositions"
    }

    fn summary(&self) -> &'static str {
        "how near PCA, ICA, NMF and t-SNE come to single Fourier frequencies, at the last checkpoint"
    }

    fn explain(&self) -> String {
        "\
What it is
  One column a matrix: W_E, W_L, the neurons and the logits by answer, as far as they were measured, each taken apart
  over the residues by methods that know nothing of waves. Top: every component of every replica (at most six of PCA,
  ICA and NMF, two of t-SNE) by its purity, the share of its power around its mean that its strongest frequency has;
  components of the Fourier basis have 1 by definition. The dashed line is the purity that normal noise has on average:
  the largest of n random shares, (1 + 1/2 + … + 1/n) / n for n = (p-1)/2 frequencies. Bottom: the share of the
  matrix's variance that six directions explain, one dot a replica: cosine and sine of the three strongest frequencies,
  and the components of PCA (ICA spans the same) and NMF. t-SNE explains no variance. Strokes are medians and quartiles.
Reads
  Measures decompose_w_e, decompose_w_l, decompose_neurons, decompose_logits, at least one, at its last checkpoint.
Unit and range
  Fractions, 0 to 1.
Value at a known point
  Noise stands at the dashed line in each method. Waves of different heights: PCA and Fourier both at 1, top and
  bottom. PCA is the best six directions for any matrix, so that Fourier explains at most as much; where it comes near,
  the matrix is made of three frequencies, and low purity of PCA then means frequencies of like height that it mixes.
Source
  Definitions: `phaselab explain decompose_w_e`; Fourier: Nanda et al. 2023, arXiv 2301.05217. The line of noise is the
  mean of the largest of n exponential variables over their sum (Rényi 1953, by spacings)."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn needs_any(&self) -> &'static [&'static str] {
        &["decompose_w_e", "decompose_w_l", "decompose_neurons", "decompose_logits"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let matrices = input.any_of(self.needs_any(), "pca_1_frac")?;
        sink.table = Table::with_columns(&["quantity", "matrix", "method", "seed", "step", "component", "value"]);
        let first = matrices[0].1;
        let step = first.steps.last().map_or(String::new(), |step| format!(" at step {step}"));
        let shows = format!(
            "Purity: the share of a component's power that its strongest frequency has{step}; {} replicas",
            first.seeds.len()
        );
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys(), 16.0);
        let frames = area.grid(1, matrices.len(), GAP);
        for (i, ((measure, _), frame)) in matrices.into_iter().zip(frames).enumerate() {
            let Some((_, name)) = MATRICES.iter().find(|(known, _)| *known == measure) else { continue };
            let [purity, explained] = rows(frame);
            let noise = input.series(measure, "pca_1").ok().and_then(|series| noise(series.width() / 2));
            purity.ground(sink, noise);
            purity.spread(sink, 0, &[1.0]);
            for (row, (method, _)) in METHODS.iter().enumerate() {
                let components = components(input, measure, method);
                for (n, series) in components.iter().enumerate() {
                    record(&mut sink.table, ("purity", name, method), (series, &(n + 1).to_string()));
                }
                purity.values(sink, row + 1, components.into_iter().flat_map(last).collect());
            }
            explained.ground(sink, None);
            for (row, (method, _)) in EXPLAINED.iter().enumerate() {
                let series = input.series(measure, &format!("{method}_explained_frac"))?;
                record(&mut sink.table, ("explained", name, method), (series, ""));
                explained.values(sink, row, last(series));
            }
            purity.axes(sink, (name, "purity (fraction)"));
            explained.axes(sink, ("variance, 6 directions", "explained (fraction)"));
            if i == 0 {
                purity.labels(sink, std::iter::once("Fourier").chain(METHODS.map(|(_, name)| name)));
                explained.labels(sink, EXPLAINED.map(|(_, name)| name));
            }
        }
        Ok(())
    }
}

fn keys() -> [Key; 4] {
    [
        Key { text: "component, or replica (bottom)".into(), ink: COMPONENT.0, mark: Mark::Dot },
        Key { text: "median".into(), ink: BLACK, mark: Mark::Upright(1.6) },
        Key::line("quartiles", BLACK, CURVE_WIDTH),
        Key { text: "expected of noise".into(), ink: VERMILLION, mark: Mark::Dashed(CURVE_WIDTH) },
    ]
}

/// Purity of the components of a method, as many as there are.
fn components<'a>(input: &FigureInput<'a>, measure: &str, method: &str) -> Vec<&'a Series> {
    (1..).map_while(|n| input.series(measure, &format!("{method}_{n}_frac")).ok()).collect()
}

/// The scalar of every replica at the last checkpoint.
fn last(series: &Series) -> Vec<f64> {
    let s = series.steps.len().checked_sub(1);
    s.map_or(vec![], |s| (0..series.seeds.len()).map(|r| series.at(s, r)[0]).collect())
}

/// Mean of the largest of `n` shares that are as those of noise.
fn noise(n: usize) -> Option<f64> {
    (n > 0).then(|| (1..=n).map(|i| 1.0 / i as f64).sum::<f64>() / n as f64)
}

/// One column of a measure in the table.
fn record(table: &mut Table, (quantity, matrix, method): (&str, &str, &str), (series, component): (&Series, &str)) {
    let Some(step) = series.steps.last() else { return };
    for (seed, value) in series.seeds.iter().zip(last(series)) {
        table.record(&[&quantity, &matrix, &method, seed, step, &component, &Field(value)]);
    }
}

/// A panel with a row a method.
struct Rows {
    panel: Panel,
    /// Height of a row.
    height: f64,
}

/// The panels of one matrix, purity and explained shares, with rows of one height.
fn rows(frame: Frame) -> [Rows; 2] {
    let counts = [METHODS.len() + 1, EXPLAINED.len()].map(|n| n as f64);
    let height = (frame.height - GAP.1) / counts.iter().sum::<f64>();
    let tops = [frame.top, frame.top + counts[0] * height + GAP.1];
    [0, 1].map(|i| {
        let frame = Frame { top: tops[i], height: counts[i] * height, ..frame };
        Rows { panel: Panel { frame, x: Scale::fraction(), y: Scale::Linear { low: 0.0, high: counts[i] } }, height }
    })
}

impl Rows {
    /// The point of `value` in the middle of a row.
    fn point(&self, row: usize, value: f64) -> Option<(f64, f64)> {
        let Frame { left, top, width, .. } = self.panel.frame;
        Some((left + self.panel.x.place(value)? * width, top + (row as f64 + 0.5) * self.height))
    }

    /// What is behind the dots.
    fn ground(&self, sink: &mut Sink, noise: Option<f64>) {
        self.panel.grid_x(&mut sink.drawing);
        let Frame { top, height, .. } = self.panel.frame;
        if let Some((x, _)) = noise.and_then(|noise| self.point(0, noise)) {
            // The row of Fourier itself is no method's.
            sink.drawing.dashed((x, top + self.height), (x, top + height), VERMILLION, CURVE_WIDTH);
        }
    }

    /// The values of a row, with median and quartiles.
    fn values(&self, sink: &mut Sink, row: usize, mut values: Vec<f64>) {
        values.retain(|&value| self.panel.x.place(value).is_some());
        values.sort_by(f64::total_cmp);
        let points: Vec<_> = values.iter().filter_map(|&value| self.point(row, value)).collect();
        let along: Vec<f64> = points.iter().map(|point| point.0).collect();
        for ((x, y), offset) in points.into_iter().zip(swarm(&along, self.height, COMPONENT.1)) {
            sink.drawing.dot((x, y + offset), COMPONENT.1, COMPONENT.0);
        }
        self.spread(sink, row, &values);
    }

    /// Median and quartiles of a row.
    fn spread(&self, sink: &mut Sink, row: usize, values: &[f64]) {
        let Some(quartiles) = Spread::of(values.iter().copied().map(Some)).quartiles else { return };
        if let [Some(low), Some((x, y)), Some(high)] = quartiles.map(|value| self.point(row, value)) {
            let half = self.height * 0.36;
            sink.drawing.line(vec![low, high], BLACK, CURVE_WIDTH);
            sink.drawing.line(vec![(x, y - half), (x, y + half)], BLACK, MEDIAN_WIDTH);
        }
    }

    fn axes(&self, sink: &mut Sink, (name, x): (&str, &str)) {
        self.panel.outline(&mut sink.drawing);
        self.panel.x_axis(&mut sink.drawing, Some(x));
        self.panel.name(&mut sink.drawing, name);
    }

    /// Names of the rows, left of the panel.
    fn labels<'a>(&self, sink: &mut Sink, names: impl IntoIterator<Item = &'a str>) {
        for (row, name) in names.into_iter().enumerate() {
            let Frame { left, top, .. } = self.panel.frame;
            let y = top + (row as f64 + 0.5) * self.height + 4.0;
            sink.drawing.text((left - 6.0, y), name, TICK_SIZE, BLACK, Anchor::End);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{check::faults, svg, synthetic};
    use super::*;
    use crate::measure::fourier::{Basis, single_frequency};
    use crate::rng::Rng;

    fn drawn(run: &synthetic::Run) -> (Sink, String) {
        let mut sink = Sink::default();
        Decompositions.draw(&run.input(), &mut sink).unwrap();
        assert_eq!(faults(&sink.drawing), Vec::<String>::new());
        let text = svg::svg(&sink.drawing).unwrap();
        (sink, text)
    }

    #[test]
    fn every_component_of_every_replica_is_a_row_and_a_dot() {
        let run = synthetic::run(&[1, 10], 3);
        let (sink, _) = drawn(&run);
        let text = sink.table.text();
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("purity,W_L,pca,"), 6 * 3);
        assert_eq!(count("purity,neurons,tsne,"), 2 * 3);
        assert_eq!(text.lines().count(), 1 + 4 * (3 * 6 * 3 + 2 * 3 + 3 * 3));
        assert!(text.contains("purity,W_E,pca,0,10,1,0.9") && text.contains("explained,logits,fourier,0,10,,0.8\n"));
        let is_dot = |item: &&super::super::drawing::Item| matches!(item, super::super::drawing::Item::Fill { ink, .. } if *ink == COMPONENT.0);
        assert_eq!(sink.drawing.items.iter().filter(is_dot).count(), 4 * (3 * 6 * 3 + 2 * 3 + 3 * 3) + 1);
    }

    #[test]
    fn matrices_that_were_not_measured_have_no_column() {
        let mut run = synthetic::run(&[1, 10], 3);
        run.series.retain(|series| series.measure != "decompose_w_e" && series.measure != "decompose_neurons");
        let (sink, text) = drawn(&run);
        assert!(text.contains(">W_L<") && text.contains(">logits<"));
        assert!(!text.contains(">W_E<") && !text.contains(">neurons<") && !sink.table.text().contains("W_E"));
    }

    #[test]
    fn the_line_of_noise_is_where_noise_is() {
        let p = 23;
        let (basis, mut rng) = (Basis::new(p), Rng::stream(0, "noise"));
        let mut sum = 0.0;
        for _ in 0..4000 {
            let mut component_p = vec![0.0; p];
            rng.fill_normal(&mut component_p);
            sum += single_frequency(&basis, &component_p).1;
        }
        // Standard error about 0.0014.
        let expected = noise(p / 2).unwrap();
        assert!((sum / 4000.0 - expected).abs() < 0.006, "{} against {expected}", sum / 4000.0);
        assert_eq!((noise(0), noise(1)), (None, Some(1.0)));
    }
}
