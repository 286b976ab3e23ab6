//! `point_directions`: the fixed points of toy models as vectors in their two hidden dimensions.
//!
//! Reads the encoder of the best replica at each point of the grid, and its data; draws a panel a point.
//! Source: Henighan et al. 2023.

use super::arrows::{ArrowPage, Arrows, MAX_PANELS};
use super::toys::{Toys, chosen};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Directions, Setting, has_hidden_points, hidden_points, toys_of};

/// See the file's first lines.
pub struct PointDirections;

/// Points of one model at most: the first ones.
const MAX_POINTS: usize = 500;

impl Figure for PointDirections {
    fn name(&self) -> &'static str {
        "point_directions"
    }

    fn summary(&self) -> &'static str {
        "toy models of fixed points in two hidden dimensions: the hidden vector of each point"
    }

    fn explain(&self) -> String {
        "\
What it is
  One panel for each point of the grid (ten of them, evenly chosen, when there are more; for each replica when there is
  no grid): the hidden vector W x of each point x of the training set, the first 500 of them. Of several seeds the one
  with the least loss is shown; --seed takes one. `feature_directions` has the features of the same models.
Reads
  W, or W_0, of every replica at one checkpoint (--step; the last when unset), and its points; losses of the
  evaluations.
Unit and range
  Without unit; all panels have the same axes.
Value at a known point
  Few points: corners of a regular polygon, one a point. Many: no polygon, and most points near the middle.
Source
  Henighan et al. 2023, superposition, memorization and double descent."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        has_hidden_points(setting)?;
        match toys_of(setting)?.spec.d_hidden.0[0] {
            2 => Ok(()),
            m => Err(format!("the hidden space has {m} dimensions, not 2")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let points = chosen(toys.points(), MAX_PANELS);
        let panels = points.iter().map(|point| {
            let mut directions = hidden_points(&toys.directions(point.best)?, &toys.setting, point.best);
            directions.n = directions.n.min(MAX_POINTS);
            directions.w_nm.truncate(directions.n * directions.m);
            let weights = vec![1.0; directions.n];
            Ok(Arrows { label: &point.label, seed: toys.seeds[point.best], directions, weights, shape: None })
        });
        let panels: Vec<Arrows> = panels.collect::<Result<_>>()?;
        let mut largest = 0.0f64;
        for point in &points {
            let deciding = Directions::of(&toys.params_of_choice(point.best)?)?;
            let hidden = hidden_points(&deciding, &toys.setting, point.best);
            let all = hidden.w_nm.iter().map(|x| x.abs()).filter(|x| x.is_finite());
            largest = all.fold(largest, f64::max);
        }
        let page = ArrowPage {
            title: input.title,
            shows: format!("Hidden vectors of training points: {}", toys.title()),
            step: toys.step,
            panels,
            reach: if largest > 0.0 { largest } else { 1.0 },
            what: "training_point",
            weight: None,
        };
        page.draw(sink);
        Ok(())
    }
}
