//! The `table` family: the user's own rows of tokens or real numbers, from a file or the card itself.
//!
//! The operand is a row's number, from 0. An example of tokens is the row `1 0 1 0`, the answers being the next token at every position,
//! the last token alone, or the row's own targets; one of numbers is x, the answers being y. Rows of a file are read by position when
//! they are asked for, so it may be larger than memory.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::rule::{Drawn, Example, Rule, Widths, outside};
use super::table_hdf5::Hdf5;
use super::table_numbers::{Numbers, has_numbers};
use super::table_rows::Ask;
use super::table_source::{Content, Rows, Source};
use super::table_tokens::Tokens;
use super::table_vocab::Vocabulary;
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Rows that are listed as a finite set.
const MAX_LISTED: usize = 10_000_000;

/// Columns of a CSV file that may be y.
const MAX_TARGETS: usize = 65_536;

const EXPLAIN: &str = "\
What it is
  Your own rows of tokens or of real numbers. The model reads a row of tokens without its last one and is asked for
  the next one at every position, or for the last token alone; a row with targets is read whole and asked for these.
  Of a row of numbers it reads x, some numbers at each position, and is asked for y, some at each.
Reads
  params.file: a .jsonl or .csv file, one row a line, or a .h5 file, beside the card; or params.rows: the rows.
  Tokens. A row of JSON is a list of tokens, [3, 1, 4], or {\"tokens\": [...], \"targets\": [...], \"mask\": [...]}:
  targets, if there, holds the answer at each token, mask 0 at each where nothing is asked and else 1. A row of CSV is
  tokens between commas. A .h5 file has a dataset tokens [N, T] of integers, and may have targets and mask [N, T].
  Numbers. A row of JSON is {\"x\": [...], \"y\": [...], \"mask\": [...]}: x and y are lists of T lists, one a position, or
  one list or (y) number where T is 1; null in y (nan in a card) asks nothing, as mask [T] does. A .csv file holds
  numbers where params.targets is set: so many columns, the last ones, are y, and T is 1. A .h5 file has datasets
  x [N, T, d] or [N, d], y [N, T, k], [N, k] or [N], and may have mask [N, T]; NaN in y asks nothing.
  The first row tells which it is. params.header = true skips the first line of CSV.
  params.vocab: a list of words; unset, strings in order of first appearance, or integers 0 to the greatest.
  Integers beside a vocab are places in it, from 0; CSV knows no types and has words then. params.ask: next (when
  unset) or last, for rows without targets. Both are for tokens. params.test_frac: the last fraction of the rows, 0.1
  when unset, is only for the tests of a stream and not drawn; with 0 they are drawn from all rows.
  The file must not change during a run: its rows are found by position and read again whenever they are needed.
  Compressed datasets are slow to draw from, since whole chunks are read for a row: keep chunks to few rows.
Unit and range
  Tokens are integers 0 to 65535, or strings of which at most 65536 differ, not both; a row has at most 4096. Shorter
  rows are filled with PAD, the last token, where nothing is asked; it is no class. Numbers are finite, at most 2^20
  a row, and T (at most 4096), d and k are the same for all rows; a position is asked for all of its k or for none,
  and the loss is their squared error: loss.kind = \"mse\". A row must ask something. Rows that stand twice count twice,
  also where one of them is held out. A finite set without split.examples holds all rows, where there are at most
  10,000,000, whatever test_frac is; with split.examples it has only rows that are not held out.
Value at a known point
  table_xor: three bits and their parity, eight rows; equal logits have a loss of ln 2 = 0.693 nats.
  table_of_numbers: nine points of the plane y = 1 + 2 a - b.
Source
  Your data. The usual definitions of next-token prediction and regression.
";

/// `[params]`: rows.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    file: Option<PathBuf>,
    rows: Option<Vec<toml::Value>>,
    header: bool,
    targets: Option<usize>,
    vocab: Option<Vec<String>>,
    ask: Option<Ask>,
    test_frac: Option<f64>,
    /// Where the card lies.
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    content: Box<dyn Content>,
    /// Rows that are not held out.
    #[serde(skip)]
    n_train: usize,
}

impl Default for Box<dyn Content> {
    fn default() -> Box<dyn Content> {
        Box::new(Rows::<Tokens>::default())
    }
}

/// The files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    Jsonl,
    Csv,
    Hdf5,
}

fn extension(file: &Path) -> Option<Extension> {
    match file.extension()?.to_ascii_lowercase().to_str()? {
        "jsonl" => Some(Extension::Jsonl),
        "csv" => Some(Extension::Csv),
        "h5" | "hdf5" => Some(Extension::Hdf5),
        _ => None,
    }
}

impl Table {
    fn test_frac(&self) -> f64 {
        self.test_frac.unwrap_or(0.1)
    }

    fn extension(&self) -> Option<Extension> {
        self.file.as_deref().and_then(extension)
    }

    /// What is wrong with the parameters, before a look at any row.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        match (&self.file, &self.rows) {
            (None, None) => faults.push(fault("file", "missing; a .jsonl, .csv or .h5 file (or rows = [[...], ...])")),
            (Some(_), Some(_)) => faults.push(fault("rows", "stands beside file; keep one of them")),
            (Some(file), None) if extension(file).is_none() => {
                let message =
                    format!("{} is no .jsonl, .csv, .h5 or .hdf5 file; write it as one of them", file.display());
                faults.push(fault("file", message));
            }
            _ => {}
        }
        if self.header && self.extension() != Some(Extension::Csv) {
            faults.push(fault("header", "only a .csv file has a header; remove it"));
        }
        match self.targets {
            Some(_) if self.extension() != Some(Extension::Csv) => {
                faults.push(fault("targets", "only in a .csv file columns are counted; remove it and name x and y"));
            }
            Some(targets) => faults.extend(outside("targets", targets, 1..=MAX_TARGETS)),
            None => {}
        }
        if !(0.0..1.0).contains(&self.test_frac()) {
            let message = format!("{} is out of range; it must be 0 or more, and below 1", self.test_frac());
            faults.push(fault("test_frac", message));
        }
        faults
    }

    /// Where the rows are.
    fn source(&mut self) -> Result<Source, Vec<Fault>> {
        let Some(file) = &self.file else { return Ok(Source::Card(self.rows.take().unwrap_or_default())) };
        let path = self.folder.join(file);
        match extension(file) {
            Some(Extension::Hdf5) => {
                Hdf5::open(&path, file).map(Source::Hdf5).map_err(|message| vec![fault("file", message)])
            }
            _ => Ok(Source::Lines(path, self.header)),
        }
    }

    /// The rows, after a look at each.
    fn read(&mut self, vocabulary: Vocabulary) -> Result<Box<dyn Content>, Vec<Fault>> {
        let source = self.source()?;
        let name = self.file.clone().unwrap_or_default();
        if !has_numbers(&source, self.targets) {
            let csv = self.extension() == Some(Extension::Csv);
            let kind = Tokens::new(vocabulary, self.ask.unwrap_or_default(), csv);
            return Ok(Box::new(Rows::read(kind, source, &name)?));
        }
        let vocab = vocabulary.is_given().then(|| fault("vocab", "numbers have no vocabulary; remove it"));
        let ask = self.ask.map(|_| fault("ask", "y says what is asked of rows of numbers; remove it"));
        let faults: Vec<Fault> = vocab.into_iter().chain(ask).collect();
        match faults.is_empty() {
            true => Ok(Box::new(Rows::read(Numbers::new(self.targets.unwrap_or(0)), source, &name)?)),
            false => Err(faults),
        }
    }

    /// Divides the rows, after a look at what must hold of all together.
    fn divide(&mut self, key: &str) -> Vec<Fault> {
        let n = self.content.len();
        if n == 0 {
            return vec![fault(key, "there are no rows; write at least one")];
        }
        let mut faults: Vec<Fault> = self.content.faults().into_iter().map(|message| fault(key, message)).collect();
        let held_out = (self.test_frac() * n as f64).round() as usize;
        self.n_train = n - held_out.max(usize::from(self.test_frac() > 0.0));
        if self.n_train == 0 {
            let message = format!("{} of {n} rows leaves none to train on; lower it", self.test_frac());
            faults.push(fault("test_frac", message));
        }
        faults
    }
}

impl Drawn for Table {
    const NAME: &'static str = "table";
    const SUMMARY: &'static str =
        "your own rows of tokens or real numbers, from a JSONL, CSV or HDF5 file or the card itself";
    const EXPLAIN: &'static str = EXPLAIN;

    fn beside(&mut self, folder: &Path) {
        self.folder = folder.into();
    }

    fn ready(mut self) -> Result<Table, Vec<Fault>> {
        let mut faults = self.faults();
        let vocabulary = match self.vocab.take().map(|words| Vocabulary::given(&words)) {
            Some(Err(message)) => {
                faults.push(fault("vocab", message));
                Vocabulary::default()
            }
            Some(Ok(vocabulary)) => vocabulary,
            None => Vocabulary::default(),
        };
        // Rows read with wrong parameters would be called wrong themselves.
        if !faults.is_empty() {
            return Err(faults);
        }
        self.content = self.read(vocabulary)?;
        let faults = self.divide(if self.file.is_some() { "file" } else { "rows" });
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Table {
    fn widths(&self) -> Option<Widths> {
        self.content.widths()
    }

    fn words(&self) -> Vec<String> {
        self.content.words()
    }

    fn classes(&self) -> Vec<String> {
        self.content.classes()
    }

    fn n_ctx(&self) -> usize {
        self.content.n_ctx()
    }

    fn loss_positions(&self) -> Vec<usize> {
        self.content.positions().to_vec()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.push(rng.below(self.n_train as u32));
    }

    fn draw_test(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let first = if self.n_train < self.content.len() { self.n_train } else { 0 };
        operands.push(first as u32 + rng.below((self.content.len() - first) as u32));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let n = self.content.len();
        (n <= MAX_LISTED).then(|| (0..n as u32).map(|row| vec![row]).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let &[number] = operands else { return false };
        self.content.write(number as usize, to)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(super) mod tests;
