//! The points of a figure as a table.
//!
//! Reads what a figure draws; writes `curve,unit,seed,step,value`, one row a point, with a column for the axis (as
//! `frequency`) before `value` where there is one. `curve` is the column's name; `seed` is a seed, or `median`,
//! `first_quartile`, `third_quartile` over the replicas. Phase ends and first crossings are rows without a step, whose
//! value is the step. A missing value is an empty field; a value that a logarithmic axis cannot show is in the table. A
//! figure whose points are not curves over steps has columns of its own ([`Table::with_columns`]).

use std::fmt::{Display, Write};

use super::spread::Quartiles;
use crate::measure::{Field, Series};
use crate::transition::ReplicaPhases;

/// The rows so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The columns, where they are not those of curves.
    columns: Option<String>,
    axis: Option<String>,
    rows: String,
}

impl Table {
    /// A table with these columns, to be filled with [`Table::record`].
    pub fn with_columns(columns: &[&str]) -> Table {
        Table { columns: Some(columns.join(",")), ..Table::default() }
    }

    /// One row of a table that has its own columns.
    pub fn record(&mut self, fields: &[&dyn Display]) {
        let fields: Vec<String> = fields.iter().map(|field| quoted(field.to_string())).collect();
        self.rows += &fields.join(",");
        self.rows.push('\n');
    }

    /// One replica of a scalar column.
    pub fn replica(&mut self, series: &Series, r: usize) {
        self.curve(series, &series.seeds[r].to_string(), &series.curve(r));
    }

    /// Median and quartiles of a scalar column.
    pub fn quartiles(&mut self, series: &Series, quartiles: &Quartiles) {
        self.curve(series, "first_quartile", &quartiles.low);
        self.curve(series, "median", &quartiles.median);
        self.curve(series, "third_quartile", &quartiles.high);
    }

    /// The median of a scalar column.
    pub fn median(&mut self, series: &Series, quartiles: &Quartiles) {
        self.curve(series, "median", &quartiles.median);
    }

    fn curve(&mut self, series: &Series, seed: &str, values: &[f64]) {
        for (&step, &value) in series.steps.iter().zip(values) {
            self.row(series, [seed, &step.to_string()], None, value);
        }
    }

    /// One replica of a column with an axis, at the checkpoints `at`.
    pub fn map(&mut self, series: &Series, r: usize, at: impl IntoIterator<Item = usize>) {
        let Some(axis) = &series.axis else { return };
        self.axis = Some(axis.name.clone());
        for s in at {
            let (seed, step) = (series.seeds[r].to_string(), series.steps[s].to_string());
            for (&tick, &value) in axis.ticks.iter().zip(series.at(s, r)) {
                self.row(series, [&seed, &step], Some(tick), value);
            }
        }
    }

    /// Ends of the phases of one replica.
    pub fn phases(&mut self, phases: &ReplicaPhases) {
        self.event("memorisation_end_step", phases.seed, phases.memorisation_end_step);
        self.event("circuit_end_step", phases.seed, phases.circuit_end_step);
        self.event("cleanup_end_step", phases.seed, phases.cleanup_end_step);
    }

    /// A step at which something happened to one replica; no row where it never did.
    pub fn event(&mut self, name: &str, seed: u64, step: Option<u64>) {
        if let Some(step) = step {
            let along = if self.axis.is_some() { "," } else { "" };
            let _infallible = writeln!(self.rows, "{name},step,{seed},,{along}{step}");
        }
    }

    fn row(&mut self, series: &Series, [seed, step]: [&str; 2], along: Option<f64>, value: f64) {
        let Series { column, unit, .. } = series;
        let along = along.map_or(String::new(), |tick| format!("{},", Field(tick)));
        let _infallible = writeln!(self.rows, "{column},{unit},{seed},{step},{along}{}", Field(value));
    }

    /// The whole file.
    pub fn text(&self) -> String {
        if let Some(columns) = &self.columns {
            return format!("{columns}\n{}", self.rows);
        }
        let along = self.axis.as_ref().map_or(String::new(), |axis| format!("{axis},"));
        format!("curve,unit,seed,step,{along}value\n{}", self.rows)
    }
}

/// A field in quotes where a comma, a quote or a line break would end it (RFC 4180).
fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Axis;

    #[test]
    fn rows_say_curve_unit_replica_and_step() {
        let mut series = Series {
            measure: "m".into(),
            column: "loss_nats".into(),
            unit: "nats".into(),
            key_freqs: None,
            steps: vec![0, 5],
            seeds: vec![3, 4],
            axis: None,
            values_srw: vec![0.5, 1.0, f64::NAN, 2.0],
        };
        let mut table = Table::default();
        table.replica(&series, 0);
        table.quartiles(&series, &Quartiles::of(&series));
        table.event("memorisation_end_step", 4, Some(1400));
        table.event("cleanup_end_step", 4, None);
        let rows = "loss_nats,nats,3,0,0.5\nloss_nats,nats,3,5,\n\
                    loss_nats,nats,first_quartile,0,0.625\nloss_nats,nats,first_quartile,5,2\n\
                    loss_nats,nats,median,0,0.75\nloss_nats,nats,median,5,2\n\
                    loss_nats,nats,third_quartile,0,0.875\nloss_nats,nats,third_quartile,5,2\n\
                    memorisation_end_step,step,4,,1400\n";
        assert_eq!(table.text(), format!("curve,unit,seed,step,value\n{rows}"));

        (series.seeds, series.axis) = (vec![3], Some(Axis { name: "frequency".into(), ticks: vec![1.0, 2.0] }));
        let mut table = Table::default();
        table.map(&series, 0, [1]);
        let rows = "loss_nats,nats,3,5,1,\nloss_nats,nats,3,5,2,2\n";
        assert_eq!(table.text(), format!("curve,unit,seed,step,frequency,value\n{rows}"));
    }

    #[test]
    fn columns_of_its_own_and_fields_with_commas() {
        let mut table = Table::with_columns(&["arm", "value"]);
        table.record(&[&"decay 1, \"warm\"", &Field(f64::NAN)]);
        table.record(&[&"plain", &Field(0.5)]);
        assert_eq!(table.text(), "arm,value\n\"decay 1, \"\"warm\"\"\",\nplain,0.5\n");
    }
}
