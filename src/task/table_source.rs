//! Where the rows of a table are: in the card, on the lines of a file, or in the datasets of an HDF5 file.
//!
//! A file is read twice: once from begin to end, to look at every row, and then row by row, by position. So it may be larger than
//! memory, and must not change in between. What rows consist of is a [`Kind`]: tokens or real numbers.

use std::cell::RefCell;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::thread::LocalKey;

use super::card::fault;
use super::rule::{Example, Widths};
use super::table_hdf5::{Block, Hdf5, Shapes, Wanted};
use super::table_lines::Lines;
use crate::error::Fault;

/// Faults of a file that are told at once.
pub(super) const MAX_FAULTS: usize = 10;

/// Positions that a row may have.
pub(super) const MAX_POSITIONS: usize = 4096;

/// A row as its source holds it.
pub(super) enum Raw<'a> {
    /// In a card.
    Value(toml::Value),
    /// On a line of a file, without blanks at its end.
    Line(&'a [u8]),
    /// In datasets: the row of the block with this number.
    Block(&'a Block<'a>, usize),
}

/// Room for the line and the row that a thread reads, so that drawing allocates little.
pub(super) type Room<R> = RefCell<(Vec<u8>, R)>;

/// What rows consist of, with all that holds of them together.
pub(super) trait Kind: Debug + Default + Send + Sync + 'static {
    /// One row.
    type Row: Debug + Default + Send + Sync;

    /// What an HDF5 file has.
    const DATASETS: &'static [Wanted];

    /// What is wrong with the datasets' shapes, `[N, …]`, beside each other; their N is the same.
    fn shapes_fault(shape: Shapes<'_>) -> Option<String>;

    /// This thread's.
    fn room() -> &'static LocalKey<Room<Self::Row>>;

    /// Reads a row into `row`, whatever that was.
    ///
    /// # Errors
    /// What is wrong with it, after its place, as `, column 4: …` or `: …`.
    fn read(&self, raw: Raw<'_>, row: &mut Self::Row) -> Result<(), String>;

    /// As [`Kind::read`], of a row that was not looked at before.
    ///
    /// # Errors
    /// As there.
    fn read_first(&mut self, raw: Raw<'_>, row: &mut Self::Row) -> Result<(), String> {
        self.read(raw, row)
    }

    /// Looks at a row, and says what is wrong with it.
    fn add(&mut self, row: &Self::Row) -> Option<String>;

    /// What is wrong with all rows together.
    fn faults(&self) -> Vec<&'static str>;

    /// `[n_ctx]`: whether some row asks there.
    fn asked(&self) -> &[bool];

    /// Writes a row, which is asked at these positions; false if it is none that was there when the task was made.
    fn write(&self, row: &Self::Row, positions: &[usize], to: &mut Example) -> bool;

    /// As a rule's.
    fn words(&self) -> Vec<String> {
        vec![]
    }

    /// As a rule's.
    fn classes(&self) -> Vec<String> {
        vec![]
    }

    /// As a rule's.
    fn widths(&self) -> Option<Widths> {
        None
    }
}

/// Rows of one kind, as a table sees them.
pub(super) trait Content: Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;
    /// What is wrong with them together.
    fn faults(&self) -> Vec<&'static str>;
    /// Positions.
    fn n_ctx(&self) -> usize;
    /// Positions at which some row asks, ascending.
    fn positions(&self) -> &[usize];
    /// Writes the row with this number; false if it is not there, or no longer as it was.
    fn write(&self, number: usize, to: &mut Example) -> bool;
    /// As a rule's.
    fn words(&self) -> Vec<String>;
    /// As a rule's.
    fn classes(&self) -> Vec<String>;
    /// As a rule's.
    fn widths(&self) -> Option<Widths>;
}

/// Where rows are, before any is read.
pub(super) enum Source {
    /// In a card.
    Card(Vec<toml::Value>),
    /// On lines: of which file, and whether the first is a header.
    Lines(PathBuf, bool),
    /// In datasets.
    Hdf5(Hdf5),
}

/// Rows of a kind.
#[derive(Debug, Default)]
pub(super) struct Rows<K: Kind> {
    kind: K,
    held: Held<K::Row>,
    positions: Vec<usize>,
}

/// Rows that were looked at.
#[derive(Debug)]
enum Held<R> {
    Card(Vec<R>),
    Lines(Lines),
    Hdf5(Hdf5),
}

impl<R> Default for Held<R> {
    fn default() -> Held<R> {
        Held::Card(vec![])
    }
}

impl<K: Kind> Rows<K> {
    /// The rows of a source, after a look at each; messages call its file `name`.
    ///
    /// # Errors
    /// What is wrong with them; of a file, the first faults.
    pub fn read(mut kind: K, source: Source, name: &Path) -> Result<Rows<K>, Vec<Fault>> {
        let in_file = |message: String| match message.starts_with("line ") || message.starts_with("row ") {
            true => fault("file", format!("{}, {message}", name.display())),
            false => fault("file", message),
        };
        let in_file = |messages: Vec<String>| messages.into_iter().map(in_file).collect::<Vec<Fault>>();
        let mut row = K::Row::default();
        let held = match source {
            Source::Card(values) => Held::Card(kept(&mut kind, values)?),
            Source::Lines(path, header) => {
                let each = &mut |line: &[u8]| look(&mut kind, Raw::Line(line), &mut row);
                Held::Lines(Lines::scan(&path, header, each).map_err(in_file)?)
            }
            Source::Hdf5(mut file) => {
                file.select(K::DATASETS, &K::shapes_fault).map_err(in_file)?;
                let each = &mut |block: &Block<'_>, i: usize| look(&mut kind, Raw::Block(block, i), &mut row);
                file.scan(each).map_err(in_file)?;
                Held::Hdf5(file)
            }
        };
        let positions = (0..).zip(kind.asked()).filter(|&(_, &asked)| asked).map(|(t, _)| t).collect();
        Ok(Rows { kind, held, positions })
    }
}

/// Reads and looks at a row; what is wrong with it, after its place.
fn look<K: Kind>(kind: &mut K, raw: Raw<'_>, row: &mut K::Row) -> Option<String> {
    kind.read_first(raw, row).err().or_else(|| Some(format!(": {}", kind.add(row)?)))
}

/// The rows of a card.
fn kept<K: Kind>(kind: &mut K, values: Vec<toml::Value>) -> Result<Vec<K::Row>, Vec<Fault>> {
    let (mut rows, mut faults) = (vec![], vec![]);
    for (i, value) in values.into_iter().enumerate() {
        let mut row = K::Row::default();
        let wrong = look(kind, Raw::Value(value), &mut row);
        faults.extend(wrong.map(|wrong| fault(format!("rows[{i}]"), wrong.trim_start_matches([':', ',', ' ']))));
        rows.push(row);
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

impl<K: Kind> Content for Rows<K> {
    fn len(&self) -> usize {
        match &self.held {
            Held::Card(rows) => rows.len(),
            Held::Lines(lines) => lines.len(),
            Held::Hdf5(file) => file.len(),
        }
    }

    fn faults(&self) -> Vec<&'static str> {
        self.kind.faults()
    }

    fn n_ctx(&self) -> usize {
        self.kind.asked().len()
    }

    fn positions(&self) -> &[usize] {
        &self.positions
    }

    fn write(&self, number: usize, to: &mut Example) -> bool {
        let (kind, positions) = (&self.kind, &self.positions);
        if let Held::Card(rows) = &self.held {
            return rows.get(number).is_some_and(|row| kind.write(row, positions, to));
        }
        K::room().with_borrow_mut(|(bytes, row)| {
            let read = match &self.held {
                Held::Card(_) => false,
                Held::Lines(lines) => {
                    lines.read(number, bytes).is_some_and(|line| kind.read(Raw::Line(line), row).is_ok())
                }
                Held::Hdf5(file) => {
                    file.read(number).is_some_and(|block| kind.read(Raw::Block(&block, 0), row).is_ok())
                }
            };
            read && kind.write(row, positions, to)
        })
    }

    fn words(&self) -> Vec<String> {
        self.kind.words()
    }

    fn classes(&self) -> Vec<String> {
        self.kind.classes()
    }

    fn widths(&self) -> Option<Widths> {
        self.kind.widths()
    }
}
