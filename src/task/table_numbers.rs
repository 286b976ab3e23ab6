//! Rows of real numbers: how each source holds them, and what must hold of all together.

use std::cell::RefCell;
use std::path::Path;
use std::thread::LocalKey;

use super::rule::{Example, Widths};
use super::table_hdf5::{Block, Shapes, Wanted};
use super::table_lines::{first_line, read_csv, read_json};
use super::table_number_rows::{NumberRow, Sizes, is_of_numbers};
use super::table_source::{Kind, MAX_POSITIONS, Raw, Room, Source};

thread_local! {
    static ROOM: Room<NumberRow> = RefCell::default();
}

/// What holds of all rows together, and how one is read.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Columns of a CSV file that are y, the last ones; 0 where lines are JSON.
    targets: usize,
    sizes: Option<Sizes>,
    /// `[positions]`: whether some row asks there.
    asked: Vec<bool>,
}

impl Numbers {
    /// Of rows that are not yet read: on lines of CSV with this many columns that are y, or of JSON if there are none.
    pub fn new(targets: usize) -> Numbers {
        Numbers { targets, ..Numbers::default() }
    }
}

/// Whether the rows of a source are numbers: its first row, or the datasets that there are, tell.
pub(super) fn has_numbers(source: &Source, csv_targets: Option<usize>) -> bool {
    match source {
        Source::Card(values) => values.first().cloned().is_some_and(is_of_numbers),
        Source::Lines(path, _) => csv_targets.is_some() || is_line_of_numbers(path),
        Source::Hdf5(file) => !file.has("tokens") && (file.has("x") || file.has("y")),
    }
}

fn is_line_of_numbers(path: &Path) -> bool {
    is_of_numbers(&mut serde_json::Deserializer::from_slice(&first_line(path)))
}

impl Kind for Numbers {
    type Row = NumberRow;

    const DATASETS: &'static [Wanted] = &[
        Wanted { name: "x", shape: "[N, d] or [N, T, d]", axes: 2..=3, real: true, needed: true },
        Wanted { name: "y", shape: "[N], [N, k] or [N, T, k]", axes: 1..=3, real: true, needed: true },
        Wanted { name: "mask", shape: "[N, T]", axes: 2..=2, real: false, needed: false },
    ];

    fn shapes_fault(shape: Shapes<'_>) -> Option<String> {
        let (x, y, mask) = (shape("x")?, shape("y")?, shape("mask"));
        let positions = |shape: &[usize]| if shape.len() == 3 { shape[1] } else { 1 };
        let n = positions(&x);
        if n > MAX_POSITIONS {
            return Some(format!("x has shape {x:?}; a row may have {MAX_POSITIONS} positions"));
        }
        if positions(&y) != n {
            return Some(format!("y has shape {y:?} and x {x:?}; with {n} positions y must be [N, {n}, k]"));
        }
        let mask = mask.filter(|mask| mask[1] != n)?;
        Some(format!("mask has shape {mask:?} and x {x:?}; with {n} positions mask must be [N, {n}]"))
    }

    fn room() -> &'static LocalKey<Room<NumberRow>> {
        &ROOM
    }

    fn read(&self, raw: Raw<'_>, row: &mut NumberRow) -> Result<(), String> {
        row.clear();
        match raw {
            Raw::Value(value) => row.read(value).map_err(|e| format!(": {}", e.message())),
            Raw::Line([]) => Ok(()),
            Raw::Line(line) if self.targets == 0 => read_json(line, |json| row.read(json)),
            Raw::Line(line) => read_fields(line, self.targets, row),
            Raw::Block(block, i) => {
                read_block(block, i, row);
                Ok(())
            }
        }
    }

    fn add(&mut self, row: &NumberRow) -> Option<String> {
        let found = match row.sizes() {
            Ok(found) => found,
            Err(message) => return Some(message),
        };
        let first = *self.sizes.get_or_insert(found);
        if found != first {
            return Some(format!(
                "the row has {found}, rows before it {first}; numbers are not padded, so give all rows the same sizes"
            ));
        }
        self.asked.resize(found.positions, false);
        (0..found.positions).for_each(|t| self.asked[t] |= row.answer(t).is_some());
        None
    }

    fn faults(&self) -> Vec<&'static str> {
        vec![]
    }

    fn asked(&self) -> &[bool] {
        &self.asked
    }

    fn write(&self, row: &NumberRow, positions: &[usize], to: &mut Example) -> bool {
        let Some(sizes) = self.sizes.filter(|&sizes| row.sizes() == Ok(sizes)) else { return false };
        to.x.extend(&row.x.numbers);
        for &t in positions {
            match row.answer(t) {
                Some(y) => to.y.extend(y),
                None => to.y.extend((0..sizes.y).map(|_| f64::NAN)),
            }
        }
        true
    }

    fn widths(&self) -> Option<Widths> {
        self.sizes.map(|sizes| Widths { x: sizes.x, y: sizes.y })
    }
}

/// Reads a line of CSV, whose last columns are y.
fn read_fields(line: &[u8], targets: usize, row: &mut NumberRow) -> Result<(), String> {
    let all = &mut row.x.numbers;
    // An empty field is a gap; those of x are found when it is known which are y.
    let mut gaps = vec![];
    read_csv(line, "field", &mut |text| {
        if text.is_empty() {
            gaps.push(all.len());
        }
        all.push(number(text)?);
        Ok(())
    })?;
    let Some(d) = all.len().checked_sub(targets).filter(|&d| d > 0) else {
        return Err(format!(
            ": the line has {} fields, of which the last {targets} are y; x needs one or more",
            all.len()
        ));
    };
    if let Some(gap) = gaps.into_iter().find(|&gap| gap < d) {
        let message = "there is nothing between the commas; every number of x must be written";
        return Err(format!(", field {}: {message}", gap + 1));
    }
    row.y.extend(&all[d..], targets);
    all.truncate(d);
    row.x.end();
    Ok(())
}

/// A field of a CSV file; NaN for an empty one.
fn number(text: &str) -> Result<f64, String> {
    if text.is_empty() {
        return Ok(f64::NAN);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(format!("`{text}` is not finite; leave a field of y empty where nothing is asked")),
        Err(_) => Err(format!("`{text}` is no number; correct it (or set header = true where it is a column's name)")),
    }
}

/// Reads row `i` of a block.
fn read_block(block: &Block<'_>, i: usize, row: &mut NumberRow) {
    for (name, to) in [("x", &mut row.x), ("y", &mut row.y)] {
        if let Some((numbers, shape)) = block.reals(name, i) {
            to.extend(numbers, shape.last().copied().unwrap_or(1));
        }
    }
    row.mask = block.integers("mask", i).map(<[i64]>::to_vec);
}

#[cfg(test)]
#[path = "table_numbers_tests.rs"]
pub(super) mod tests;
