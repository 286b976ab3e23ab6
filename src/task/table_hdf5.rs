//! The datasets of a table's HDF5 file: opened, held against what is wanted, and read by blocks of rows.
//!
//! Reads datasets `[N, …]` whose rows are along the first axis; writes [`Block`]s. The HDF5 crate may panic over a damaged file, which is
//! an error here.

use std::fmt::{self, Debug, Formatter};
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File};

use super::table_lines::unread;
use super::table_source::MAX_FAULTS;
use crate::error::nearest;
use crate::guard::quietly;

/// Numbers that a row of a dataset may have.
pub(super) const MAX_NUMBERS: usize = 1 << 20;

/// Numbers that a block has, or one row; a whole chunk may make it more, up to [`MAX_BLOCK`].
const BLOCK: usize = 1 << 18;

/// Numbers that no block of several rows is larger than.
const MAX_BLOCK: usize = 1 << 23;

/// A dataset that a table has or may have.
#[derive(Debug)]
pub(super) struct Wanted {
    /// In the file.
    pub name: &'static str,
    /// Its shape in words, `[N, T]`.
    pub shape: &'static str,
    /// How many axes that may be.
    pub axes: RangeInclusive<usize>,
    /// Whether it may have other numbers than integers.
    pub real: bool,
    /// Whether it must be there.
    pub needed: bool,
}

/// The shape of a dataset `[N, …]`, if it is in use.
pub(super) type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// How a dataset's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Integer,
    /// `bool`, as h5py stores it: an enumeration of a byte.
    Flag,
    Real,
}

/// A dataset in use.
struct Column {
    name: &'static str,
    dataset: H5Dataset,
    shape: Vec<usize>,
    element: Element,
    /// Whether its numbers are wanted as real ones.
    real: bool,
}

/// An open file.
pub(super) struct Hdf5 {
    file: H5File,
    /// As messages call it.
    name: String,
    /// What it has.
    datasets: Vec<String>,
    columns: Vec<Column>,
}

impl Debug for Hdf5 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Hdf5({}, {} rows)", self.name, self.len())
    }
}

/// Some rows, as they stand in the datasets.
pub(super) struct Block<'a> {
    columns: &'a [Column],
    /// `[columns]`.
    values: Vec<Values>,
}

/// Numbers of a dataset.
enum Values {
    Integers(Vec<i64>),
    Reals(Vec<f64>),
}

impl Block<'_> {
    /// Row `i` of a dataset of integers, if the file has it.
    pub fn integers(&self, name: &str, i: usize) -> Option<&[i64]> {
        let (column, values) = self.columns.iter().zip(&self.values).find(|(column, _)| column.name == name)?;
        let Values::Integers(values) = values else { return None };
        Some(&values[i * column.width()..][..column.width()])
    }

    /// Row `i` of a dataset of real numbers, if the file has it, with its shape `[T, d]`, `[d]` or `[]`.
    pub fn reals(&self, name: &str, i: usize) -> Option<(&[f64], &[usize])> {
        let (column, values) = self.columns.iter().zip(&self.values).find(|(column, _)| column.name == name)?;
        let Values::Reals(values) = values else { return None };
        Some((&values[i * column.width()..][..column.width()], &column.shape[1..]))
    }
}

impl Column {
    /// Numbers of a row.
    fn width(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Rows of a chunk; 1 for a dataset without chunks.
    fn chunk_rows(&self) -> usize {
        quietly(|| self.dataset.chunk_dims()).ok().flatten().and_then(|dims| dims.first().copied()).unwrap_or(1)
    }

    fn read(&self, rows: Range<usize>) -> Result<Values, String> {
        let starts: Vec<usize> = [rows.start].into_iter().chain(self.shape[1..].iter().map(|_| 0)).collect();
        let counts: Vec<usize> = [rows.len()].into_iter().chain(self.shape[1..].iter().copied()).collect();
        let read = || -> rust_hdf5::Result<Values> {
            Ok(match self.element {
                Element::Real => Values::Reals(self.dataset.read_numeric_slice_as(&starts, &counts)?),
                Element::Integer => Values::Integers(self.dataset.read_numeric_slice_as(&starts, &counts)?),
                Element::Flag => {
                    let flags: Vec<i8> = self.dataset.read_slice(&starts, &counts)?;
                    Values::Integers(flags.into_iter().map(i64::from).collect())
                }
            })
        };
        match quietly(read).map_err(|panic| format!("it cannot be decoded ({panic})"))? {
            Ok(Values::Integers(values)) if self.real => {
                Ok(Values::Reals(values.into_iter().map(|value| value as f64).collect()))
            }
            Ok(values) => Ok(values),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl Hdf5 {
    /// Opens a file; messages call it `name`.
    ///
    /// # Errors
    /// The system's words, or that it is no HDF5 file.
    pub fn open(path: &Path, name: &Path) -> Result<Hdf5, String> {
        let metadata = path.metadata().map_err(|e| unread(path, &e))?;
        if !metadata.is_file() {
            return Err(format!("cannot read {}: it is no file", path.display()));
        }
        // The file must not change during a run, so no lock is needed, and some network file systems have none.
        let open = || -> rust_hdf5::Result<(H5File, Vec<String>)> {
            let file = H5File::options().no_locking().open(path)?;
            let datasets = file.dataset_names();
            Ok((file, datasets))
        };
        let name = name.display().to_string();
        let (file, mut datasets) = match quietly(open) {
            Ok(Ok(opened)) => opened,
            Ok(Err(e)) => return Err(format!("{name} cannot be read as HDF5: {e}")),
            Err(panic) => return Err(format!("{name} cannot be read as HDF5 ({panic})")),
        };
        datasets.sort();
        Ok(Hdf5 { file, name, datasets, columns: vec![] })
    }

    /// Whether there is such a dataset.
    pub fn has(&self, dataset: &str) -> bool {
        self.datasets.iter().any(|there| there == dataset)
    }

    /// Takes these datasets into use.
    ///
    /// # Errors
    /// Which is missing, and what is wrong with the shapes and types of the others; `fault` tells what is, of shapes of one N.
    pub fn select(
        &mut self,
        wanted: &[Wanted],
        fault: &dyn Fn(Shapes<'_>) -> Option<String>,
    ) -> Result<(), Vec<String>> {
        let mut faults = self.misspelt(wanted);
        for wanted in wanted {
            match self.column(wanted) {
                Ok(column) => self.columns.extend(column),
                Err(message) => faults.push(message),
            }
        }
        let named = |message: String| format!("{}: {message}", self.name);
        if faults.is_empty() {
            let shape = |name: &str| self.columns.iter().find(|c| c.name == name).map(|c| c.shape.clone());
            faults.extend(self.rows_fault().or_else(|| fault(&shape)));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.into_iter().map(named).collect()) }
    }

    /// Datasets that were likely meant to be wanted ones: without this, `target` would be overlooked.
    fn misspelt(&self, wanted: &[Wanted]) -> Vec<String> {
        let absent = || wanted.iter().map(|wanted| wanted.name).filter(|name| name.len() > 1 && !self.has(name));
        let others = self.datasets.iter().filter(|name| wanted.iter().all(|wanted| wanted.name != *name));
        let meant = others.filter_map(|name| Some((name, nearest(name, absent())?)));
        meant.map(|(name, near)| format!("unknown dataset `{name}`; did you mean `{near}`?")).collect()
    }

    /// A dataset, if it is there.
    fn column(&self, wanted: &Wanted) -> Result<Option<Column>, String> {
        let &Wanted { name, shape: words, ref axes, real, needed } = wanted;
        if !self.has(name) {
            let there = if self.datasets.is_empty() { "none".to_owned() } else { self.datasets.join(", ") };
            let message = format!("there is no dataset `{name}`, {words}; datasets there are: {there}");
            return if needed { Err(message) } else { Ok(None) };
        }
        let open = || -> rust_hdf5::Result<(H5Dataset, DatatypeMessage)> {
            let dataset = self.file.dataset(name)?;
            let datatype = dataset.datatype()?;
            Ok((dataset, datatype))
        };
        let opened = quietly(open).map_err(|panic| format!("{name} cannot be decoded ({panic})"))?;
        let (dataset, datatype) = opened.map_err(|e| format!("{name} cannot be read: {e}"))?;
        let shape = dataset.shape();
        let element = match element(&datatype) {
            Some(Element::Real) if !real => None,
            element => element,
        };
        let Some(element) = element else {
            let kind = if real { "numbers" } else { "integers" };
            return Err(format!("{name} is of type {datatype}; it must have {kind}"));
        };
        if !axes.contains(&shape.len()) || shape[1..].contains(&0) {
            return Err(format!("{name} has shape {shape:?}; it must be {words}, without an axis of length 0"));
        }
        match shape[1..].iter().try_fold(1usize, |product, &n| product.checked_mul(n)) {
            Some(width) if width <= MAX_NUMBERS => Ok(Some(Column { name, dataset, shape, element, real })),
            _ => Err(format!("{name} has shape {shape:?}; a row may have {MAX_NUMBERS} numbers")),
        }
    }

    /// What is wrong with the numbers of rows.
    fn rows_fault(&self) -> Option<String> {
        let n = self.len();
        if n as u64 > u64::from(u32::MAX) {
            return Some(format!("{n} rows are too many; a file has fewer than 2^32"));
        }
        let other = self.columns.iter().find(|column| column.shape[0] != n)?;
        let first = self.columns.first()?;
        let (name, shape) = (other.name, &other.shape);
        Some(format!("{name} has shape {shape:?} and {} {:?}; they must have as many rows", first.name, first.shape))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.shape[0])
    }

    /// Reads all rows in blocks; `each` looks at every row, and says what is wrong with it, as `, token 4: …` or `: …`.
    ///
    /// # Errors
    /// The first faults, each as `row 3, token 4: …`, rows being numbered from 0.
    pub fn scan(&self, each: &mut dyn FnMut(&Block<'_>, usize) -> Option<String>) -> Result<(), Vec<String>> {
        let (n, step, mut faults) = (self.len(), self.block_rows(), vec![]);
        for start in (0..n).step_by(step) {
            let rows = start..n.min(start + step);
            match self.block(rows.clone()) {
                Ok(block) => {
                    for row in rows {
                        faults.extend(each(&block, row - start).map(|fault| format!("row {row}{fault}")));
                        if faults.len() >= MAX_FAULTS {
                            return Err(faults);
                        }
                    }
                }
                Err(message) => {
                    faults.push(self.unreadable(rows, &message));
                    return Err(faults);
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Rows of a block: whole chunks, where they are not too large, since part of a chunk costs as much as all of it.
    fn block_rows(&self) -> usize {
        let width = self.columns.iter().map(Column::width).sum::<usize>().max(1);
        let chunk = self.columns.iter().map(Column::chunk_rows).max().unwrap_or(1).max(1);
        let rows = (BLOCK / width).max(1);
        let whole = rows.div_ceil(chunk).saturating_mul(chunk);
        if whole.saturating_mul(width) <= MAX_BLOCK { whole } else { rows }
    }

    fn block(&self, rows: Range<usize>) -> Result<Block<'_>, String> {
        let read = |column: &Column| column.read(rows.clone()).map_err(|message| format!("{}: {message}", column.name));
        Ok(Block { columns: &self.columns, values: self.columns.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The message of rows that cannot be read, by the first of them that cannot be by itself.
    fn unreadable(&self, mut rows: Range<usize>, message: &str) -> String {
        let first = rows.start;
        let alone = rows.find_map(|row| Some((row, self.block(row..row + 1).err()?)));
        match alone {
            Some((row, message)) => format!("row {row}: cannot read {message}"),
            None => format!("row {first}: cannot read {message}"),
        }
    }

    /// A block of one row; none if it is not there.
    pub fn read(&self, number: usize) -> Option<Block<'_>> {
        (number < self.len()).then(|| self.block(number..number + 1).ok()).flatten()
    }
}

/// How numbers of a type are stored; none for what is no number.
fn element(datatype: &DatatypeMessage) -> Option<Element> {
    match datatype {
        DatatypeMessage::FixedPoint { .. } => Some(Element::Integer),
        DatatypeMessage::FloatingPoint { .. } => Some(Element::Real),
        DatatypeMessage::Enum { base, .. } if matches!(**base, DatatypeMessage::FixedPoint { size: 1, .. }) => {
            Some(Element::Flag)
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "table_hdf5_tests.rs"]
mod tests;
