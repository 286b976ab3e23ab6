//! Series -> CSV: one file a measure.
//!
//! Reads the [`Series`] of one measure; writes `step,seed,column…`, one row a checkpoint and replica. Where a column has
//! an axis, `step,seed,AXIS,column…`, one row a tick, with scalar columns repeated. Numbers in the fewest digits that
//! read back to the same bits; a missing value (NaN) is an empty field.

use std::fmt;
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::measure::{Axis, Series};

/// A number as CSV files have it: fewest digits that read back equal, whole numbers without a point, NaN as nothing.
#[derive(Debug, Clone, Copy)]
pub struct Field(pub f64);

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            x if x.is_nan() => Ok(()),
            x if x == x.trunc() && x.abs() < 1e15 => write!(f, "{x}"),
            x => write!(f, "{x:?}"),
        }
    }
}

/// Writes the series of one measure as a table.
///
/// # Errors
/// [`Error::Shape`] when the series differ in steps, seeds or axis; an [`Error::Io`] without a path when `out` fails.
pub fn write_csv(series: &[Series], out: &mut dyn Write) -> Result<()> {
    let Some(first) = series.first() else { return Ok(()) };
    let axis = series.iter().find_map(|series| series.axis.as_ref());
    for other in series {
        let same_axis = other.axis.is_none() || other.axis.as_ref() == axis;
        if other.steps != first.steps || other.seeds != first.seeds || !same_axis {
            return Err(Error::Shape {
                op: format!("table of {}", first.measure),
                expected: format!("the steps, seeds and axis of column {}", first.column),
                got: format!("others in column {}", other.column),
            });
        }
    }
    write_rows(series, axis, out).map_err(Error::io("write", std::path::Path::new(&format!("{}.csv", first.measure))))
}

fn write_rows(series: &[Series], axis: Option<&Axis>, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "step,seed")?;
    if let Some(axis) = axis {
        write!(out, ",{}", axis.name)?;
    }
    for column in series {
        write!(out, ",{}", column.column)?;
    }
    writeln!(out)?;
    for (s, step) in series[0].steps.iter().enumerate() {
        for (r, seed) in series[0].seeds.iter().enumerate() {
            for tick in 0..axis.map_or(1, |axis| axis.ticks.len()) {
                write!(out, "{step},{seed}")?;
                if let Some(axis) = axis {
                    write!(out, ",{}", Field(axis.ticks[tick]))?;
                }
                for column in series {
                    let values = column.at(s, r);
                    write!(out, ",{}", Field(if column.axis.is_some() { values[tick] } else { values[0] }))?;
                }
                writeln!(out)?;
            }
        }
    }
    out.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn series(column: &str, axis: Option<Axis>, values_srw: &[f64]) -> Series {
        Series {
            measure: "m".into(),
            column: column.into(),
            unit: "1".into(),
            key_freqs: None,
            steps: vec![0, 100],
            seeds: vec![7],
            axis,
            values_srw: values_srw.to_vec(),
        }
    }

    fn text(series: &[Series]) -> String {
        let mut out = vec![];
        write_csv(series, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn scalars_stand_side_by_side_and_a_missing_value_is_empty() {
        let table = text(&[series("x", None, &[0.1, f64::NAN]), series("y", None, &[2.0, 1e-300])]);
        assert_eq!(table, "step,seed,x,y\n0,7,0.1,2\n100,7,,1e-300\n");
    }

    #[test]
    fn an_axis_makes_a_long_table_with_scalars_repeated() {
        let axis = Some(Axis { name: "frequency".into(), ticks: vec![1.0, 2.0] });
        let table = text(&[series("norm", axis, &[0.5, 0.25, 3.0, 4.0]), series("count", None, &[1.0, 2.0])]);
        assert_eq!(table, "step,seed,frequency,norm,count\n0,7,1,0.5,1\n0,7,2,0.25,1\n100,7,1,3,2\n100,7,2,4,2\n");
    }

    #[test]
    fn every_number_reads_back_to_the_same_bits() {
        for x in [0.1 + 0.2, -0.0, f64::MIN_POSITIVE, f64::MAX, 1e15, 123_456_789.0, f64::INFINITY] {
            assert_eq!(Field(x).to_string().parse::<f64>().unwrap().to_bits(), x.to_bits(), "{x:?}");
        }
    }

    #[test]
    fn columns_of_different_runs_are_refused() {
        let mut other = series("y", None, &[0.0, 0.0]);
        other.seeds = vec![8];
        let error = write_csv(&[series("x", None, &[0.0, 0.0]), other], &mut io::sink());
        assert!(matches!(error, Err(Error::Shape { .. })), "{error:?}");
    }
}
