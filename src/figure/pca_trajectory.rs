//! `pca_trajectory`: a replica's way through the plane of its first two principal components, coloured by phase.
//!
//! Reads measures `weights_trajectory` and `logits_trajectory`, those that are there, and the phases; draws a column a replica,
//! the flattened parameters above the logits, both over all checkpoints.

use super::csv::Table;
use super::page::{self, DOT, Key, Mark};
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{BLACK, BLUE, GREEN, Ink, ORANGE, PURPLE};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Series};
use crate::transition::ReplicaPhases;

/// See the file's first lines.
pub struct PcaTrajectory;

/// Replicas that fit side by side.
const MAX_REPLICAS: usize = 3;

/// Distance between panels, points: across, down.
const GAP: (f64, f64) = (62.0, 66.0);

/// Width of the way, and radius of its checkpoints.
const WAY: (f64, f64) = (1.2, 1.8);

/// The phases and what no phase has, each with the colour of its part of the way.
const PARTS: [(&str, Ink); 5] = [
    ("memorisation", Ink::solid(150, 150, 150)),
    ("circuit formation", ORANGE),
    ("cleanup", BLUE),
    ("after cleanup", GREEN),
    ("phase not found", PURPLE),
];

/// The measures with the names of what moves and of its unit on an axis.
const SPACES: [(&str, &str, &str); 2] =
    [("weights_trajectory", "parameters", "no unit"), ("logits_trajectory", "logits", "nats")];

impl Figure for PcaTrajectory {
    fn name(&self) -> &'static str {
        "pca_trajectory"
    }

    fn summary(&self) -> &'static str {
        "way of replicas through their first two principal components over training, coloured by phase"
    }

    fn explain(&self) -> String {
        "\
What it is
  Every checkpoint of a replica as a point of parameter space (top) and of logit space (bottom), along the first two
  principal components over that replica's own checkpoints, joined in the order of training; one column for each of
  the first three replicas. Colours are memorisation, circuit formation and cleanup (`phaselab explain phases`); a ring
  is the first checkpoint, a black dot the last.
Reads
  Measures weights_trajectory and logits_trajectory (coordinate, explained_frac), or the one that was measured; the
  phases of each replica.
Unit and range
  Parameters without unit, logits in nats. Each panel has its own axes, and each replica its own components; percentages
  are the shares of the variance over checkpoints that the two components (PC 1, PC 2) explain.
Value at a known point
  A model that stops moving piles its last checkpoints up. Grokking bends the way: memorisation goes one way,
  circuit formation turns off it. A smooth random walk bends too, so that a bend alone is no phase.
Source
  Definitions: `phaselab explain weights_trajectory`; random walks: arXiv 1806.08805."
            .into()
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn needs_any(&self) -> &'static [&'static str] {
        &["weights_trajectory", "logits_trajectory"]
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let coordinates = input.any_of(self.needs_any(), "coordinate")?;
        let (seeds, steps) = (&coordinates[0].1.seeds, &coordinates[0].1.steps);
        let shown = seeds.len().min(MAX_REPLICAS);
        sink.table = Table::with_columns(&["space", "unit", "seed", "step", "phase", "pc_1", "pc_2"]);
        let spaces: Vec<&str> = coordinates.iter().filter_map(|(name, _)| Some(space_of(name)?.0)).collect();
        let shows = format!(
            "Principal components of the checkpoints' {}, with their shares of the variance; {shown} of {} replicas",
            spaces.join(" and "),
            seeds.len()
        );
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys(input, (seeds, steps), shown), 16.0);
        // Spaces below each other; side by side where there is one replica.
        let (rows, columns) = if shown > 1 { (coordinates.len(), shown) } else { (1, coordinates.len()) };
        let frames = area.grid(rows, columns, GAP);
        for (row, &(measure, coordinate)) in coordinates.iter().enumerate() {
            let explained = input.series(measure, "explained_frac")?;
            let Some((space, unit)) = space_of(measure) else { continue };
            for r in 0..shown.min(coordinate.seeds.len()) {
                let seed = coordinate.seeds[r];
                let way = Way::of(coordinate, r, input.phases(seed));
                let panel = way.panel(frames[row * shown + r]);
                panel.grid(&mut sink.drawing);
                way.draw(sink, &panel);
                way.record(&mut sink.table, (space, &coordinate.unit, seed));
                let [x, y] = [0, 1].map(|i| axis_name(explained, r, i, unit));
                panel.axes(&mut sink.drawing, Names { x: Some(&x), y: Some(&y), panel: None });
                panel.name(&mut sink.drawing, &format!("seed {seed}, {space}"));
            }
        }
        Ok(())
    }
}

/// What moves in the space of a measure, and its unit.
fn space_of(measure: &str) -> Option<(&'static str, &'static str)> {
    SPACES.iter().find(|(name, ..)| *name == measure).map(|&(_, space, unit)| (space, unit))
}

/// `PC 1: 81 % (nats)`, without the share where there is none.
fn axis_name(explained: &Series, r: usize, i: usize, unit: &str) -> String {
    let known = !explained.steps.is_empty() && r < explained.seeds.len();
    let share = known.then(|| explained.at(0, r).get(i).copied()).flatten();
    match share.filter(|share| (0.0..=1.0 + 1e-9).contains(share)) {
        Some(share) => format!("PC {}: {:.0} % ({unit})", i + 1, 100.0 * share),
        None => format!("PC {} ({unit})", i + 1),
    }
}

/// The parts that the shown replicas have, and the ends.
fn keys(input: &FigureInput<'_>, (seeds, steps): (&[u64], &[u64]), shown: usize) -> Vec<Key> {
    let has = |part: usize| {
        seeds[..shown].iter().any(|&seed| steps.iter().any(|&step| part_at(input.phases(seed), step) == part))
    };
    let parts = PARTS.iter().enumerate().filter(|&(part, _)| has(part));
    let mut keys: Vec<Key> = parts.map(|(_, &(name, ink))| Key::line(name, ink, WAY.0 * 2.0)).collect();
    keys.push(Key { text: "start".into(), ink: BLACK, mark: Mark::Ring });
    keys.push(Key { text: "end".into(), ink: BLACK, mark: Mark::Dot });
    keys
}

/// Which of [`PARTS`] a step belongs to.
fn part_at(phases: Option<&ReplicaPhases>, step: u64) -> usize {
    let Some(phases) = phases else { return 4 };
    let ends = [phases.memorisation_end_step, phases.circuit_end_step, phases.cleanup_end_step];
    for (part, end) in ends.into_iter().enumerate() {
        match end {
            None => return 4,
            Some(end) if step <= end => return part,
            Some(_) => {}
        }
    }
    3
}

/// The checkpoints of one replica: step, part, place.
struct Way(Vec<(u64, usize, f64, f64)>);

impl Way {
    fn of(coordinate: &Series, r: usize, phases: Option<&ReplicaPhases>) -> Way {
        let place = |(s, &step): (usize, &u64)| {
            let at = coordinate.at(s, r);
            let along = |i: usize| at.get(i).copied().unwrap_or(f64::NAN);
            (step, part_at(phases, step), along(0), along(1))
        };
        Way(coordinate.steps.iter().enumerate().map(place).collect())
    }

    fn panel(&self, frame: Frame) -> Panel {
        let (x, y) = (self.0.iter().map(|point| point.2), self.0.iter().map(|point| point.3));
        Panel { frame, x: Scale::linear(x), y: Scale::linear(y) }
    }

    fn draw(&self, sink: &mut Sink, panel: &Panel) {
        let points: Vec<_> = self.0.iter().map(|&(_, part, x, y)| (part, panel.point(x, y))).collect();
        for pair in points.windows(2) {
            if let (Some(from), (part, Some(to))) = (pair[0].1, pair[1]) {
                sink.drawing.line(vec![from, to], PARTS[part].1, WAY.0);
            }
        }
        for &(part, point) in &points {
            point.into_iter().for_each(|point| sink.drawing.dot(point, WAY.1, PARTS[part].1));
        }
        let ends: Vec<_> = points.iter().filter_map(|point| point.1).collect();
        if let (Some(&first), Some(&last)) = (ends.first(), ends.last()) {
            sink.drawing.ring(first, DOT, BLACK, 1.2);
            sink.drawing.dot(last, DOT, BLACK);
        }
    }

    fn record(&self, table: &mut Table, (space, unit, seed): (&str, &str, u64)) {
        for &(step, part, x, y) in &self.0 {
            table.record(&[&space, &unit, &seed, &step, &PARTS[part].0, &Field(x), &Field(y)]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{check::faults, svg, synthetic};
    use super::*;

    fn drawn(input: &FigureInput<'_>) -> (Sink, String) {
        let mut sink = Sink::default();
        PcaTrajectory.draw(input, &mut sink).unwrap();
        assert_eq!(faults(&sink.drawing), Vec::<String>::new());
        let text = svg::svg(&sink.drawing).unwrap();
        (sink, text)
    }

    #[test]
    fn rows_are_the_checkpoints_with_their_phase() {
        let run = synthetic::run(&[0, 60, 61, 300, 900, 901], 5);
        let (sink, _) = drawn(&run.input());
        let text = sink.table.text();
        let phases: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("logits,nats,2,"))
            .map(|row| row.split(',').nth(1).unwrap())
            .collect();
        let [m, c, k, after] = ["memorisation", "circuit formation", "cleanup", "after cleanup"];
        assert_eq!(phases, [m, m, c, c, k, after]);
        let series = run.input().series("weights_trajectory", "coordinate").unwrap();
        let row = format!("parameters,1,2,300,{c},{},{}\n", Field(series.at(3, 2)[0]), Field(series.at(3, 2)[1]));
        assert!(text.contains(&row), "{row}");
        // Two spaces of three replicas.
        assert_eq!(text.lines().count(), 1 + 2 * 3 * 6);
    }

    #[test]
    fn a_phase_that_ended_never_has_no_end_and_the_legend_has_what_is_drawn() {
        let mut run = synthetic::run(&[10, 100, 1000], 1);
        run.phases[0].circuit_end_step = None;
        let (sink, text) = drawn(&run.input());
        assert!(sink.table.text().contains(",10,memorisation,") && sink.table.text().contains(",100,phase not found,"));
        assert!(text.contains("phase not found") && !text.contains("cleanup"));
        run.phases.clear();
        assert!(!drawn(&run.input()).1.contains("memorisation"));
    }

    #[test]
    fn one_space_alone_fills_the_page() {
        let mut run = synthetic::run(&[10, 100, 1000], 2);
        run.series.retain(|series| series.measure != "weights_trajectory");
        let (_, text) = drawn(&run.input());
        assert!(text.contains("seed 1, logits") && !text.contains("parameters"));
    }

    #[test]
    fn shares_that_are_no_shares_are_left_out() {
        let mut run = synthetic::run(&[10, 100], 1);
        let explained = run.series.iter_mut().find(|series| series.column == "explained_frac" && series.unit == "1");
        explained.unwrap().values_srw[..2].copy_from_slice(&[f64::NAN, 7.0]);
        let series = run.series.iter().find(|series| series.column == "explained_frac" && series.unit == "1").unwrap();
        assert_eq!(axis_name(series, 0, 0, "nats"), "PC 1 (nats)");
        assert_eq!(axis_name(series, 0, 1, "nats"), "PC 2 (nats)");
        assert_eq!(axis_name(series, 9, 1, "nats"), "PC 2 (nats)");
    }
}
