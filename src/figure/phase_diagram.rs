//! `phase_diagram`: what becomes of the last feature of toy models over two axes of their grid, trained and in theory.
//!
//! Reads the encoder of the best replica at each point; draws a map of cells, beside it the map of the least exact loss where the models are
//! small enough, and for two features in one dimension the border by formula on both. Source: arXiv 2209.10652, "superposition as a phase
//! change".

use rayon::prelude::*;

use super::csv::Table;
use super::drawing::{Drawing, Point};
use super::page::{self, Key, Mark};
use super::panel::{Frame, Names, Panel};
use super::scale::Scale;
use super::style::{BLACK, CURVE_WIDTH, Ink};
use super::toys::{Toys, axis_label};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Directions, Field, LEARNED, Setting, integrable, toys_of};
use crate::spec::{GridAxis, ToySpec};
use crate::theory::population::{self, border_density};

/// See the file's first lines.
pub struct PhaseDiagram;

/// Interference of at least this much is superposition.
const SHARED: f64 = 0.15;
/// Features up to which the least loss is looked for: its cost grows steeply.
const MAX_THEORY: usize = 3;

/// What became of the last feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is not represented.
    Absent,
    /// It has a dimension of its own.
    Dedicated,
    /// It shares its dimensions with others.
    Superposition,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Absent, Phase::Dedicated, Phase::Superposition];

    fn of(directions: &Directions) -> Phase {
        let last = directions.n - 1;
        match directions.norm(last) {
            norm if norm.is_nan() || norm < LEARNED => Phase::Absent,
            _ if directions.interference(last) < SHARED => Phase::Dedicated,
            _ => Phase::Superposition,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Phase::Absent => "last feature not represented",
            Phase::Dedicated => "has a dimension of its own",
            Phase::Superposition => "superposition",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Phase::Absent => Ink::solid(238, 238, 232),
            Phase::Dedicated => Ink::solid(230, 159, 0),
            Phase::Superposition => Ink::solid(60, 120, 190),
        }
    }
}

impl Figure for PhaseDiagram {
    fn name(&self) -> &'static str {
        "phase_diagram"
    }

    fn summary(&self) -> &'static str {
        "toy models over a grid of two axes: what becomes of the last feature, trained and in theory"
    }

    fn explain(&self) -> String {
        "\
What it is
  A cell for each point of a grid of two axes, coloured by the last feature in the best replica there (least loss): not
  represented (norm below 0.5), with a dimension of its own (interference below 0.15), or in superposition. Beside it
  the same of the least exact loss over (W, b), found by descents from several starts (`phaselab explain
  phase_border`), for ReLU output models of at most 3 features; the name of the left map says in how many cells the two
  agree. Dashed, for two features in one dimension and axes of relative importance and density: p = 4I/(2+5I), for I
  above 1 4/(5+2I), where antipodal and dropped cost the same by formula.
Reads
  W and settings of every replica at one checkpoint (--step; the last when unset); measure population_loss where it was
  taken, else losses of the evaluations, for the choice of the best.
Unit and range
  The axes' own.
Value at a known point
  Two features in one dimension, density 0.05: superposition between relative importances of about 0.03 and 40.
Source
  Elhage et al. 2022 (arXiv 2209.10652), \"superposition as a phase change\"."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toys_of(setting)?.spec.grid.len() {
            2 => Ok(()),
            n => Err(format!("the grid has {n} axes, not two")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let spec = toys.setting.spec;
        let points = toys.points();
        let trained: Vec<Phase> =
            points.iter().map(|point| Ok(Phase::of(&toys.directions(point.best)?))).collect::<Result<_>>()?;
        let theory: Option<Vec<(Phase, f64)>> = (integrable(spec).is_ok() && spec.n_features <= MAX_THEORY)
            .then(|| points.par_iter().map(|point| least(&toys, point.best)).collect());
        let [y_axis, x_axis] = [&spec.grid[0], &spec.grid[1]];
        let columns =
            [y_axis.name.as_str(), &x_axis.name, "seed", "step", "loss", "phase", "least_loss", "least_phase"];
        sink.table = Table::with_columns(&columns);
        for (k, point) in points.iter().enumerate() {
            let at = &toys.setting.replicas[point.best].point;
            let (least_phase, least_loss) = theory.as_ref().map_or(("", f64::NAN), |all| (all[k].0.name(), all[k].1));
            let [y, x, loss, least_loss] = [at[0], at[1], toys.losses[point.best], least_loss].map(Field);
            let seed = toys.seeds[point.best];
            sink.table.record(&[&y, &x, &seed, &toys.step, &loss, &trained[k].name(), &least_loss, &least_phase]);
        }
        let mut keys: Vec<Key> = Phase::ALL.iter().map(|phase| Key::area(phase.name(), phase.ink())).collect();
        let border = border(spec);
        if border.is_some() {
            keys.push(Key { text: "border by formula".into(), ink: BLACK, mark: Mark::Dashed(CURVE_WIDTH) });
        }
        let shows = format!(
            "{} features in {}, {}",
            spec.n_features,
            match spec.d_hidden.0[0] {
                1 => "one dimension".to_owned(),
                m => format!("{m} dimensions"),
            },
            toys.title()
        );
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 20.0);
        let maps = if theory.is_some() { 2 } else { 1 };
        let side = ((area.width - 40.0) / 2.0).min(area.height - 10.0);
        let area =
            Frame { width: side * maps as f64 + 40.0 * (maps as f64 - 1.0), height: side, top: area.top + 8.0, ..area };
        sink.drawing.page.1 = (area.top + side + 44.0).ceil() as u32;
        let frames = area.grid(1, maps, (40.0, 0.0));
        let agreeing = theory.as_ref().map(|all| trained.iter().zip(all).filter(|(t, (l, _))| *t == l).count());
        let name = agreeing.map_or("trained".to_owned(), |k| {
            format!("trained: {:.1} % of cells agree", 100.0 * k as f64 / points.len() as f64)
        });
        let all = std::iter::once((trained, name)).chain(
            theory.map(|all| (all.into_iter().map(|(phase, _)| phase).collect(), "least exact loss".to_owned())),
        );
        for (k, ((phases, name), frame)) in all.zip(frames).enumerate() {
            map(&mut sink.drawing, frame, (y_axis, x_axis), &phases);
            let panel = Panel { frame, x: scale(x_axis), y: scale(y_axis) };
            if let Some(border) = &border {
                curve(&mut sink.drawing, &panel, border);
            }
            let label = |axis: &GridAxis| {
                let text = axis_label(axis);
                if axis.log { format!("{text} (log scale)") } else { text }
            };
            let (x, y) = (label(x_axis), label(y_axis));
            let names = Names { x: Some(&x), y: (k == 0).then_some(y.as_str()), panel: Some(&name) };
            panel.axes(&mut sink.drawing, names);
        }
        Ok(())
    }
}

/// The best model of a replica's setting by its exact loss.
fn least(toys: &Toys<'_>, r: usize) -> (Phase, f64) {
    let (spec, replica) = (toys.setting.spec, &toys.setting.replicas[r]);
    let setting = population::Setting { prob: replica.feature_prob.clone(), importance: replica.importance.clone() };
    let (n, m) = (spec.n_features, spec.d_hidden.0[0]);
    let best = population::optimum(&setting, m);
    let w_nm = (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).map(|(i, j)| best.w_mn[j * n + i]).collect();
    (Phase::of(&Directions { m, n, w_nm }), best.loss * spec.loss_scale())
}

/// An axis whose ends are half a cell beyond its numbers.
fn scale(axis: &GridAxis) -> Scale {
    let numbers = axis.numbers();
    let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
    let half = 0.5 / (numbers.len().max(2) - 1) as f64;
    let (low, high) = if first < last { (first, last) } else { (last, first) };
    match axis.log && low > 0.0 {
        true => {
            let room = libm::pow(high / low, half);
            Scale::Log { low: low / room, high: high * room }
        }
        false => Scale::Linear { low: low - half * (high - low), high: high + half * (high - low) },
    }
}

/// The cells, the second axis across and the first one up, both rising.
fn map(drawing: &mut Drawing, frame: Frame, (y_axis, x_axis): (&GridAxis, &GridAxis), phases: &[Phase]) {
    let (rows, columns) = (y_axis.numbers().len(), x_axis.numbers().len());
    let rises = |axis: &GridAxis| axis.numbers().windows(2).all(|pair| pair[0] <= pair[1]);
    let at = |row: usize, column: usize| {
        let y = if rises(y_axis) { rows - 1 - row } else { row };
        let x = if rises(x_axis) { column } else { columns - 1 - column };
        phases[y * columns + x].ink().rgb
    };
    let rgb = (0..rows * columns).map(|i| at(i / columns, i % columns)).collect();
    drawing.cells((frame.left, frame.top), (frame.width, frame.height), columns, rgb);
}

/// Points (x, y) of the border by formula, where the grid is that of two features in one dimension: the last one's importance relative to
/// the first, and the density of both.
fn border(spec: &ToySpec) -> Option<Vec<(f64, f64)>> {
    if spec.n_features != 2 || spec.d_hidden.0[0] != 1 || integrable(spec).is_err() {
        return None;
    }
    let replicas = spec.replicas(&[0]).ok()?;
    let ratio = |k: usize| replicas[k].importance[1] / replicas[k].importance[0];
    let density = |k: usize| replicas[k].feature_prob[0];
    let both_equal = replicas.iter().all(|replica| replica.feature_prob[0] == replica.feature_prob[1]);
    let columns = spec.grid[1].numbers().len();
    let near = |x: f64, y: f64| (x / y - 1.0).abs() < 1e-9;
    let is = |value: &dyn Fn(usize) -> f64, axis: usize| {
        let numbers = spec.grid[axis].numbers();
        (0..replicas.len()).all(|k| near(value(k), numbers[if axis == 0 { k / columns } else { k % columns }]))
    };
    if !both_equal || !is(&ratio, 0) || !is(&density, 1) {
        return None;
    }
    let (importances, densities) = (spec.grid[0].numbers(), spec.grid[1].numbers());
    let most = densities.iter().copied().fold(0.0, f64::max);
    let (low, high) = importances.iter().fold((f64::INFINITY, 0.0), |(l, h), &x| (f64::min(l, x), f64::max(h, x)));
    let steps = (0..=200).map(|i| libm::exp(libm::log(low) + f64::from(i) / 200.0 * libm::log(high / low)));
    Some(steps.map(|ratio| (border_density(ratio), ratio)).filter(|(x, _)| *x <= most).collect())
}

/// A dashed curve: every other piece between points that are apart by a dash.
fn curve(drawing: &mut Drawing, panel: &Panel, points: &[(f64, f64)]) {
    let points: Vec<Point> = points.iter().filter_map(|&(x, y)| panel.point(x, y)).collect();
    let (mut way, mut piece) = (0.0, vec![]);
    for pair in points.windows(2) {
        let is_dash = |way: f64| way % 8.0 < 5.0;
        if is_dash(way) {
            if piece.is_empty() {
                piece.push(pair[0]);
            }
            piece.push(pair[1]);
        } else if !piece.is_empty() {
            drawing.line(std::mem::take(&mut piece), BLACK, CURVE_WIDTH);
        }
        way += (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
    }
    if piece.len() > 1 {
        drawing.line(piece, BLACK, CURVE_WIDTH);
    }
}
