//! `feature_directions`: the features of toy models as arrows in their two hidden dimensions.
//!
//! Reads the encoder of the best replica at each point of the grid; draws a panel a point, colours by importance.
//! Source: arXiv 2209.10652, its introduction.

use super::arrows::{ArrowPage, Arrows, MAX_PANELS};
use super::toys::{Toys, chosen};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Setting, parts, tegum_product, toys_of};

/// See the file's first lines.
pub struct FeatureDirections;

impl Figure for FeatureDirections {
    fn name(&self) -> &'static str {
        "feature_directions"
    }

    fn summary(&self) -> &'static str {
        "toy models with two hidden dimensions: the direction of each feature"
    }

    fn explain(&self) -> String {
        "\
What it is
  One panel for each point of the grid (ten of them, evenly chosen, when there are more; for each replica when there is
  no grid): the columns of the encoder W, one line a feature from the origin to W_i. Of several seeds the one with the
  least loss is shown; --seed takes one. Dark features are the most important. In grey, what they form together
  (`phaselab explain polytopes`).
Reads
  W, or W_0, of every replica at one checkpoint (--step; the last when unset); losses of the evaluations.
Unit and range
  Without unit: a feature that is represented has about length 1.
Value at a known point
  Dense features: the two most important ones, at a right angle, the others at the origin. Sparse ones: antipodal pairs,
  then five corners of a pentagon.
Source
  Elhage et al. 2022 (arXiv 2209.10652), introduction."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toys_of(setting)?.spec.d_hidden.0[0] {
            2 => Ok(()),
            m => Err(format!("the hidden space has {m} dimensions, not 2")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let points = chosen(toys.points(), MAX_PANELS);
        let importance = |r: usize, i: usize| toys.setting.replicas[r].importance.get(i).copied().unwrap_or(1.0);
        let panels = points.iter().map(|point| {
            let directions = toys.directions(point.best)?;
            let weights = (0..directions.n).map(|i| importance(point.best, i)).collect();
            let shape = Some(tegum_product(&parts(&directions)));
            Ok(Arrows { label: &point.label, seed: toys.seeds[point.best], directions, weights, shape })
        });
        let page = ArrowPage {
            title: input.title,
            shows: format!("Directions of {} features: {}", toys.setting.spec.n_features, toys.title()),
            step: toys.step,
            panels: panels.collect::<Result<_>>()?,
            reach: toys.reach(&points, |d| d.w_nm.iter().fold(0.0, |top, x| top.max(x.abs())))?,
            what: "feature",
            weight: Some("importance"),
        };
        page.draw(sink);
        Ok(())
    }
}
