//! `transition_steps`: the step at which toy models lose half of their first loss, over an axis of their grid.
//!
//! Reads the test loss at every evaluation; draws a dot a replica and the medians; for products of equal parts the closed form too.

use super::csv::Table;
use super::page::{self, Key, Mark};
use super::panel::{Names, Panel};
use super::scale::Scale;
use super::style::{CATEGORIES, CURVE_WIDTH, GREY};
use super::toys::{Toys, axis_label, geometric};
use super::{Figure, FigureInput, Sink};
use crate::error::Result;
use crate::measure::{Field, Series, Setting, ToySetting, toys_of};
use crate::spec::ToyInit;
use crate::theory::product::time_to;

/// See the file's first lines.
pub struct TransitionSteps;

impl Figure for TransitionSteps {
    fn name(&self) -> &'static str {
        "transition_steps"
    }

    fn summary(&self) -> &'static str {
        "toy models over an axis of the grid: the step at which half of the first loss is gone"
    }

    fn explain(&self) -> String {
        "\
What it is
  For each replica the first evaluation at which its test loss is at most half of that at step 0, over the one axis of
  the grid: a dot a replica, and a line through the medians of those that get there. For a product of equal parts
  (toy.init = \"equal\", hidden layers of width 1, no activations, plain SGD) a dashed line has the step that gradient
  flow gives (`phaselab explain product_of_parts`).
Reads
  Test losses of all evaluations, as the run's metrics have them; the spec.
Unit and range
  Counts of updates, logarithmic axis. Replicas that never get there have no dot. Evaluations are as far apart as
  train.eval_every says.
Value at a known point
  Two parts: the step goes as the logarithm of the start; three: as one over it.
Source
  The usual definition of a half-time."
            .into()
    }

    fn is_of_toys(&self) -> bool {
        true
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        match toys_of(setting)?.spec.grid.len() {
            1 => Ok(()),
            n => Err(format!("the grid has {n} axes, not one")),
        }
    }

    fn draw(&self, input: &FigureInput<'_>, sink: &mut Sink) -> Result<()> {
        let toys = Toys::of(input)?;
        let axis = &toys.setting.spec.grid[0];
        let loss = input.series("metrics", "test_loss")?;
        let steps: Vec<Option<u64>> = (0..loss.seeds.len()).map(|r| half(loss, r)).collect();
        sink.table = Table::with_columns(&[&axis.name, "seed", "step"]);
        let (mut dots, mut medians, mut theory) = (vec![], vec![], vec![]);
        for point in toys.points() {
            let x = toys.setting.replicas[point.best].point[0];
            for r in point.replicas.clone() {
                let step = steps[r].map_or(f64::NAN, |step| step as f64);
                sink.table.record(&[&Field(x), &toys.seeds[r], &Field(step)]);
                dots.push((x, step));
            }
            let mut there: Vec<u64> = point.replicas.clone().filter_map(|r| steps[r]).collect();
            there.sort_unstable();
            medians.extend(there.get(there.len() / 2).map(|&step| (x, step as f64)));
            let start = toys.setting.replicas[point.best].init_deviation;
            theory.extend(start.and_then(|start| Some((x, in_theory(&toys.setting, start)?))));
        }
        let mut keys = vec![Key { text: "a replica".into(), ink: CATEGORIES[0], mark: Mark::Dot }];
        keys.push(Key::line("median", CATEGORIES[0], CURVE_WIDTH));
        if !theory.is_empty() {
            keys.push(Key { text: "gradient flow".into(), ink: GREY, mark: Mark::Dashed(CURVE_WIDTH) });
        }
        let shows = format!("Half of the first loss is gone, over {}", axis_label(axis));
        let area = page::head(&mut sink.drawing, input.title, &shows, &keys, 20.0);
        let all = || dots.iter().chain(&theory);
        let x = match axis.log || geometric(&axis.numbers()) {
            true => Scale::log(all().map(|dot| dot.0)),
            false => Scale::linear(all().map(|dot| dot.0)),
        };
        let panel = Panel { frame: area, x, y: Scale::log(all().map(|dot| dot.1)) };
        panel.grid(&mut sink.drawing);
        for pair in theory.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|(x, y)| panel.point(x, y));
            if let (Some(from), Some(to)) = (from, to) {
                sink.drawing.dashed(from, to, GREY, CURVE_WIDTH);
            }
        }
        let line: Vec<_> = medians.iter().filter_map(|&(x, y)| panel.point(x, y)).collect();
        sink.drawing.line(line, CATEGORIES[0], CURVE_WIDTH);
        for at in dots.iter().filter_map(|&(x, y)| panel.point(x, y)) {
            sink.drawing.dot(at, 2.4, CATEGORIES[0]);
        }
        let log = matches!(x, Scale::Log { .. });
        let name = if log { format!("{} (log scale)", axis_label(axis)) } else { axis_label(axis) };
        panel.axes(&mut sink.drawing, Names { x: Some(&name), y: Some("step (updates, log scale)"), panel: None });
        Ok(())
    }
}

/// The first evaluation of replica `r` with at most half of the loss at the first one.
fn half(loss: &Series, r: usize) -> Option<u64> {
    let first = loss.at(0, r)[0];
    (0..loss.steps.len()).find(|&s| loss.at(s, r)[0] <= 0.5 * first).map(|s| loss.steps[s])
}

/// The step of gradient flow at which half of the first loss of a product of equal parts is gone; none for other models.
fn in_theory(setting: &ToySetting, start: f64) -> Option<f64> {
    let toy = setting.spec;
    let is_product = toy.init == ToyInit::Equal && toy.is_product();
    let parts = toy.d_hidden.0.len() + 1;
    // The loss is (1 − product)².
    let level = 1.0 - std::f64::consts::FRAC_1_SQRT_2 * (1.0 - libm::pow(start, parts as f64));
    setting.descent_rate.filter(|_| is_product).map(|rate| time_to(level, parts, start) / rate)
}
