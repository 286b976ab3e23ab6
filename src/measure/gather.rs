//! Numbers of replicas at checkpoints -> series.
//!
//! Takes the rows that workers give, in any order; points of a course are kept until their replica has all of them.

use std::ops::Range;

use rayon::prelude::*;

use crate::measure::course::Scope;
use crate::measure::subject::Setting;
use crate::measure::{Column, Measure, Series, key_freqs};

/// The numbers of some measures, by index, on one replica at one checkpoint: `[column][tick]` each.
pub(super) type Row = Vec<(usize, Vec<Vec<f64>>)>;

/// All numbers so far.
pub(super) struct Table<'a> {
    measures: &'a [&'a dyn Measure],
    steps: &'a [u64],
    /// `[measure][column]`
    series: Vec<Vec<Series>>,
    /// `[measure][replica][step]` points of the course, while its replica is at work.
    points: Vec<Vec<Vec<Vec<f64>>>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        measures: &'a [&'a dyn Measure],
        setting: &Setting,
        steps: &'a [u64],
        seeds: &[u64],
    ) -> Table<'a> {
        let series = |measure: &&dyn Measure| {
            let steps = if matches!(measure.scope(), Scope::Last) { &steps[steps.len() - 1..] } else { steps };
            let key_freqs = measure.uses_key_freqs().then(|| key_freqs::describe(&setting.options));
            let of = |column: Column| Series {
                measure: measure.name().into(),
                values_srw: vec![f64::NAN; steps.len() * seeds.len() * column.width()],
                column: column.name,
                unit: column.unit.into(),
                key_freqs: key_freqs.clone(),
                steps: steps.to_vec(),
                seeds: seeds.to_vec(),
                axis: column.axis,
            };
            measure.columns(setting).into_iter().map(of).collect()
        };
        let points = measures.iter().map(|_| vec![vec![]; seeds.len()]).collect();
        Table { measures, steps, series: measures.iter().map(series).collect(), points }
    }

    pub(super) fn place(&mut self, step: u64, r: usize, row: Row) {
        for (i, mut columns) in row {
            if let Scope::Course(_) = self.measures[i].scope() {
                self.points[i][r].push(columns.swap_remove(0));
            } else {
                let series = &mut self.series[i];
                let s = series[0].steps.iter().position(|&known| known == step);
                let s = s.expect("invariant: a measure is evaluated at its own steps alone");
                series.iter_mut().zip(&columns).for_each(|(series, values)| series.set(s, r, values));
            }
        }
    }

    /// Turns the points of `replicas` into columns, and lets them go.
    pub(super) fn finish_courses(&mut self, replicas: &Range<usize>) {
        for (i, measure) in self.measures.iter().enumerate() {
            let Scope::Course(course) = measure.scope() else { continue };
            let traces: Vec<Vec<Vec<f64>>> =
                self.points[i][replicas.clone()].par_iter().map(|points| course.trace(points)).collect();
            for (r, columns) in replicas.clone().zip(traces) {
                for (series, values) in self.series[i].iter_mut().zip(columns) {
                    let width = series.width();
                    assert_eq!(
                        values.len(),
                        self.steps.len() * width,
                        "invariant: {} fills its columns",
                        measure.name()
                    );
                    (0..self.steps.len()).for_each(|s| series.set(s, r, &values[s * width..(s + 1) * width]));
                }
                self.points[i][r] = vec![];
            }
        }
    }

    pub(super) fn series(self) -> Vec<Series> {
        self.series.into_iter().flatten().collect()
    }
}
