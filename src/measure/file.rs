//! Series <-> `measures/NAME.h5`, and `NAME.csv` beside it.
//!
//! The HDF5 file has `steps [S]`, `seeds [R]`, one dataset a column under its own name, `[S, R]` or `[S, R, width]` in f64, and
//! the ticks of the axis under the axis's name `[width]`. Attributes: `measure`; `units`, one line `column unit` each, in
//! order; `axis`, if a column has one; `key_freqs`, how key frequencies were found, if the measure uses them.

use std::path::{Path, PathBuf};

use crate::checkpoint::{Attr, Kind, MEASURES, Record, atomic, hdf5};
use crate::error::{Error, Result};
use crate::measure::{Axis, Series, write_csv};
use crate::tensor::{Data, Tensor};

/// Where the series of a measure are, inside a run folder.
pub fn path(run: &Path, measure: &str) -> PathBuf {
    run.join(MEASURES).join(format!("{measure}.h5"))
}

/// Writes series, one `.h5` and one `.csv` a measure, over what an earlier call has written; gives the files.
///
/// # Errors
/// [`Error::Io`]; [`Error::Shape`] when the columns of a measure differ in steps, seeds or axis.
pub fn save(run: &Path, series: &[Series]) -> Result<Vec<PathBuf>> {
    let mut written = vec![];
    for columns in series.chunk_by(|one, next| one.measure == next.measure) {
        let path = path(run, &columns[0].measure);
        let mut csv = vec![];
        write_csv(columns, &mut csv)?;
        hdf5::write_replacing(&path, &to_record(columns)?)?;
        let table = path.with_extension("csv");
        atomic::write(&table, true, |temporary| std::fs::write(temporary, &csv).map_err(Error::io("write", &table)))?;
        written.extend([path, table]);
    }
    Ok(written)
}

/// Reads the series of one measure.
///
/// # Errors
/// [`Error::Missing`] when it was not measured; [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Io`].
pub fn load(run: &Path, measure: &str) -> Result<Vec<Series>> {
    let path = path(run, measure);
    let record = hdf5::read(&path).map_err(|e| match e {
        Error::Missing { path, .. } => Error::Missing {
            what: format!("measure {measure}"),
            path,
            hint: format!("`phaselab measure {} {measure}` makes it", run.display()),
        },
        other => other,
    })?;
    from_record(&record, measure).map_err(|e| Error::Damaged { path, cause: e.to_string() })
}

/// The measures that a run folder has, in the order of the registry.
pub fn measured(run: &Path) -> Vec<&'static str> {
    super::ALL.iter().map(|measure| measure.name()).filter(|name| path(run, name).is_file()).collect()
}

fn to_record(columns: &[Series]) -> Result<Record> {
    let first = &columns[0];
    let (n_steps, n_seeds) = (first.steps.len(), first.seeds.len());
    let mut tensors = vec![
        Tensor::new("steps", vec![n_steps], Data::U64(first.steps.clone()))?,
        Tensor::new("seeds", vec![n_seeds], Data::U64(first.seeds.clone()))?,
    ];
    let units: Vec<String> = columns.iter().map(|series| format!("{} {}", series.column, series.unit)).collect();
    let text = |name: &str, value: &str| (name.to_owned(), Attr::Text(value.to_owned()));
    let mut attrs = vec![text("measure", &first.measure), text("units", &units.join("\n"))];
    attrs.extend(first.key_freqs.as_ref().map(|how| text("key_freqs", how)));
    if let Some(axis) = columns.iter().find_map(|series| series.axis.as_ref()) {
        attrs.push(text("axis", &axis.name));
        tensors.push(Tensor::new(axis.name.clone(), vec![axis.ticks.len()], Data::F64(axis.ticks.clone()))?);
    }
    for series in columns {
        let mut shape = vec![n_steps, n_seeds];
        shape.extend(series.axis.as_ref().map(|axis| axis.ticks.len()));
        tensors.push(Tensor::new(series.column.clone(), shape, Data::F64(series.values_srw.clone()))?);
    }
    Ok(Record { kind: Kind::Measures, attrs, tensors })
}

/// The columns of a record; what does not fit together is an [`Error::Shape`] or [`Error::Missing`].
fn from_record(record: &Record, measure: &str) -> Result<Vec<Series>> {
    let counts = |name: &str| match &tensor(record, name)?.data {
        Data::U64(values) => Ok(values.clone()),
        _ => Err(lacks(name, "whole numbers")),
    };
    let (steps, seeds) = (counts("steps")?, counts("seeds")?);
    let axis = match text(record, "axis") {
        Some(name) => Some(Axis { name: name.to_owned(), ticks: tensor(record, name)?.to_f64() }),
        None => None,
    };
    let units = text(record, "units").ok_or_else(|| lacks("units", "an attribute"))?;
    let key_freqs = text(record, "key_freqs").map(str::to_owned);
    let mut columns = vec![];
    for line in units.lines() {
        let (column, unit) = line.rsplit_once(' ').ok_or_else(|| lacks("units", "`column unit` lines"))?;
        let found = tensor(record, column)?;
        let (axis, width) = match found.shape[..] {
            [s, r] if (s, r) == (steps.len(), seeds.len()) => (None, 1),
            [s, r, w] if (s, r) == (steps.len(), seeds.len()) => (axis.clone().filter(|a| a.ticks.len() == w), w),
            _ => return Err(lacks(column, "the shape [steps, seeds] or [steps, seeds, width]")),
        };
        if width > 1 && axis.is_none() {
            return Err(lacks(column, "as many ticks as its axis is long"));
        }
        let series =
            Series { measure: measure.into(), column: column.into(), unit: unit.into(), axis, ..Series::default() };
        columns.push(Series {
            key_freqs: key_freqs.clone(),
            steps: steps.clone(),
            seeds: seeds.clone(),
            values_srw: found.to_f64(),
            ..series
        });
    }
    Ok(columns)
}

fn tensor<'a>(record: &'a Record, name: &str) -> Result<&'a Tensor> {
    record.tensor(name).ok_or_else(|| lacks(name, "a dataset"))
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    match record.attr(name) {
        Some(Attr::Text(text)) => Some(text),
        _ => None,
    }
}

fn lacks(name: &str, expected: &str) -> Error {
    Error::Shape { op: format!("`{name}` of a measures file"), expected: expected.into(), got: "something else".into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn series() -> Vec<Series> {
        let axis = Axis { name: "frequency".into(), ticks: vec![1.0, 2.0, 3.0] };
        let scalar = Series {
            measure: "gini".into(),
            column: "w_e_gini".into(),
            unit: "1".into(),
            key_freqs: Some("rule w_l, at the last checkpoint".into()),
            steps: vec![0, 10],
            seeds: vec![7, 5],
            axis: None,
            values_srw: vec![0.1, f64::NAN, -0.0, 1e-300],
        };
        let values_srw = (0..12).map(f64::from).collect();
        let vector =
            Series { column: "norm".into(), unit: "nats".into(), axis: Some(axis), values_srw, ..scalar.clone() };
        vec![scalar, vector]
    }

    fn bits(series: &Series) -> Vec<u64> {
        series.values_srw.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn what_is_saved_comes_back_bit_for_bit_and_the_table_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(MEASURES)).unwrap();
        assert!(matches!(load(dir.path(), "gini"), Err(Error::Missing { .. })));
        let saved = series();
        let files = save(dir.path(), &saved).unwrap();
        assert_eq!(files, ["measures/gini.h5", "measures/gini.csv"].map(|name| dir.path().join(name)));
        let loaded = load(dir.path(), "gini").unwrap();
        assert_eq!(loaded.len(), 2);
        for (saved, loaded) in saved.iter().zip(&loaded) {
            assert_eq!(bits(saved), bits(loaded));
            let empty = |s: &Series| Series { values_srw: vec![], ..s.clone() };
            assert_eq!(empty(saved), empty(loaded));
        }
        assert!(
            std::fs::read_to_string(&files[1]).unwrap().starts_with("step,seed,frequency,w_e_gini,norm\n0,7,1,0.1,0\n")
        );
        assert_eq!(measured(dir.path()), ["gini"]);
    }

    #[test]
    fn columns_that_do_not_fit_their_axis_are_damage() {
        let mut record = to_record(&series()).unwrap();
        let ticks = record.tensors.iter_mut().find(|tensor| tensor.name == "frequency").unwrap();
        *ticks = Tensor::new("frequency", vec![2], Data::F64(vec![1.0, 2.0])).unwrap();
        assert!(from_record(&record, "gini").unwrap_err().to_string().contains("`norm`"));
        record.tensors.retain(|tensor| tensor.name != "frequency");
        assert!(from_record(&record, "gini").unwrap_err().to_string().contains("`frequency`"));
    }
}
