//! The toy models of a run at one checkpoint, by points of their grid.
//!
//! Reads parameters, settings and losses through [`FigureInput`]; gives directions of features, and for each point of the grid the best of
//! its replicas.

use std::ops::Range;

use super::FigureInput;
use super::style::CATEGORIES;
use crate::error::{Error, Result};
use crate::measure::{Directions, Setting, ToySetting, toys_of};
use crate::spec::GridAxis;
use crate::tensor::{Data, Tensor};

/// All replicas at one checkpoint.
pub struct Toys<'a> {
    /// Spec and settings of each replica.
    pub setting: ToySetting<'a>,
    /// Count of updates.
    pub step: u64,
    /// `[R]`
    pub seeds: Vec<u64>,
    params: Vec<Tensor>,
    /// Those that decide the reach of axes, where it is another checkpoint's.
    chosen_params: Option<Vec<Tensor>>,
    /// `[R]` what the best is chosen by; NaN where it is not known.
    pub losses: Vec<f64>,
    /// The replica that was chosen, if one was.
    chosen: Option<usize>,
}

/// The replicas of one point of the grid.
pub struct GridPoint {
    /// Their indices.
    pub replicas: Range<usize>,
    /// That of the least loss.
    pub best: usize,
    /// The point in words: `density 0.1`; with a seed where the grid has no axes.
    pub label: String,
}

impl<'a> Toys<'a> {
    /// The checkpoint that was chosen.
    ///
    /// # Errors
    /// As [`FigureInput::checkpoint`]; [`Error::Value`] for a run of a task.
    pub fn of(input: &FigureInput<'a>) -> Result<Toys<'a>> {
        let checkpoint = input.checkpoint()?;
        let probe = input.probe.expect("invariant: there is a checkpoint");
        let Some(setting) = checkpoint.setting.toy.clone() else {
            return Err(Error::Value {
                what: "the run of a figure".into(),
                got: "one of a task".into(),
                expected: "one of toy models".into(),
            });
        };
        let step = checkpoint.step;
        let seeds = probe.seeds().to_vec();
        let chosen = input.at.seed.and_then(|seed| seeds.iter().position(|&known| known == seed));
        let chosen_at = input.at.chosen_at.filter(|&at| at != step);
        let chosen_params = chosen_at.map(|at| probe.params(at)).transpose()?;
        let losses = losses(input, chosen_at.unwrap_or(step)).unwrap_or_else(|| vec![f64::NAN; seeds.len()]);
        Ok(Toys { setting, step, seeds, params: probe.params(step)?, chosen_params, losses, chosen })
    }

    /// The parameters of a replica, in f64.
    ///
    /// # Errors
    /// Files of another run.
    pub fn params(&self, r: usize) -> Result<Vec<Tensor>> {
        of_replica(&self.params, r)
    }

    /// The parameters of a replica at the checkpoint that decides what is chosen.
    ///
    /// # Errors
    /// As [`Toys::params`].
    pub fn params_of_choice(&self, r: usize) -> Result<Vec<Tensor>> {
        of_replica(self.chosen_params.as_ref().unwrap_or(&self.params), r)
    }

    /// The largest of a number of the replicas' directions, and at least 1, so that pages of different checkpoints have the same axes.
    ///
    /// # Errors
    /// As [`Toys::params`].
    pub fn reach(&self, points: &[GridPoint], of: impl Fn(&Directions) -> f64) -> Result<f64> {
        let mut reach = 1.0f64;
        for point in points {
            for params in [self.params(point.best)?, self.params_of_choice(point.best)?] {
                let number = of(&Directions::of(&params)?);
                reach = if number.is_finite() { reach.max(number) } else { reach };
            }
        }
        Ok(reach)
    }

    /// Directions of a replica's features.
    ///
    /// # Errors
    /// As [`Toys::params`].
    pub fn directions(&self, r: usize) -> Result<Directions> {
        Directions::of(&self.params(r)?)
    }

    /// The points of the grid in order; one for each replica where there is no grid; the chosen replica's alone where one was chosen.
    pub fn points(&self) -> Vec<GridPoint> {
        let grid = &self.setting.spec.grid;
        let per_point = match grid.is_empty() {
            true => 1,
            false => self.seeds.len() / self.setting.spec.grid_points().len().max(1),
        };
        let point = |first: usize| {
            let replicas = first..first + per_point;
            let loss = |r: &usize| if self.losses[*r].is_nan() { f64::INFINITY } else { self.losses[*r] };
            let best = replicas.clone().min_by(|x, y| loss(x).total_cmp(&loss(y))).unwrap_or(first);
            let best = self.chosen.filter(|r| replicas.contains(r)).unwrap_or(best);
            let settings = grid.iter().zip(&self.setting.replicas[best].point);
            let words = settings.map(|(axis, x)| format!("{} {}", axis.name.replace('_', " "), short(*x)));
            let words: Vec<String> = words.collect();
            let label = if words.is_empty() { format!("seed {}", self.seeds[best]) } else { words.join(", ") };
            GridPoint { replicas, best, label }
        };
        let all = (0..self.seeds.len()).step_by(per_point.max(1)).map(point);
        all.filter(|point| self.chosen.is_none_or(|r| point.replicas.contains(&r))).collect()
    }

    /// The replicas of a point that are shown: all, or the chosen one.
    pub fn shown(&self, point: &GridPoint) -> Range<usize> {
        if self.chosen.is_some() { point.best..point.best + 1 } else { point.replicas.clone() }
    }

    /// What is shown, for the second line of a page.
    pub fn title(&self) -> String {
        let of = match self.points().first().map_or(0, |point| point.replicas.len()) {
            0 | 1 => String::new(),
            k => format!("the best of {k} seeds, "),
        };
        format!("{of}step {}", self.step)
    }
}

/// One replica's parameters, in f64.
fn of_replica(params: &[Tensor], r: usize) -> Result<Vec<Tensor>> {
    let of = |tensor: &Tensor| {
        let row = tensor.row(r)?;
        let values = row.to_f64();
        Tensor::new(row.name, row.shape, Data::F64(values))
    };
    params.iter().map(of).collect()
}

/// Three digits.
pub fn short(x: f64) -> String {
    let digits = if x == 0.0 { 0 } else { (2 - libm::floor(libm::log10(x.abs())) as i32).clamp(0, 6) as usize };
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Whether a grid is one axis, or two of which the first has a colour for each value.
///
/// # Errors
/// What stands in the way, as a clause.
pub fn curves_fit(setting: &Setting) -> Result<(), String> {
    let grid = &toys_of(setting)?.spec.grid;
    match grid.len() {
        1 => Ok(()),
        2 if grid[0].numbers().len() <= CATEGORIES.len() => Ok(()),
        2 => Err(format!("{} values of {} are too many colours", grid[0].numbers().len(), grid[0].name)),
        n => Err(format!("the grid has {n} axes, not one or two")),
    }
}

/// What an axis of the grid says beside a panel.
pub fn axis_label(axis: &GridAxis) -> String {
    axis.label.clone().unwrap_or_else(|| axis.name.replace('_', " "))
}

/// Whether numbers above 0 go over a decade or more, so that a logarithmic axis suits them.
pub fn geometric(numbers: &[f64]) -> bool {
    let (low, high) = numbers.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &x| (low.min(x), high.max(x)));
    low > 0.0 && high >= 10.0 * low
}

/// The points that a page of `room` panels shows, evenly chosen.
pub fn chosen(points: Vec<GridPoint>, room: usize) -> Vec<GridPoint> {
    let n = points.len();
    let keep = |i: usize| n <= room || (0..room).any(|k| k * (n - 1) / (room - 1).max(1) == i);
    points.into_iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, point)| point).collect()
}

/// Exact losses at the step, or else those of the last evaluation until then.
fn losses(input: &FigureInput<'_>, step: u64) -> Option<Vec<f64>> {
    let exact = input.series("population_loss", "population_loss").ok().filter(|series| series.steps.contains(&step));
    let series = exact.or_else(|| input.series("metrics", "test_loss").ok())?;
    let s = series.steps.iter().rposition(|&known| known <= step)?;
    Some((0..series.seeds.len()).map(|r| series.at(s, r)[0]).collect())
}
