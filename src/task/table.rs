//! The `table` family: the user's own rows of tokens, from a file or the card itself.
//!
//! The operand is a row's number, from 0. An example is the row `1 0 1 0`, the answers being the next token at every position, the last
//! token alone, or the row's own targets. Rows of a file are read by position when they are asked for, so it may be larger than memory.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::rule::{Drawn, Example, IGNORED, Rule};
use super::table_rows::{Ask, Format, Row, RowsFile};
use super::table_vocab::{Take, Vocabulary};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Rows that are listed as a finite set.
const MAX_LISTED: usize = 10_000_000;

/// What shorter rows end with.
const PAD: &str = "PAD";

const EXPLAIN: &str = "\
What it is
  Your own rows of tokens. The model reads a row without its last token and is asked for the next one at every
  position, or for the last token alone; a row with targets is read whole and asked for these.
Reads
  params.file: a .jsonl or .csv file, one row a line, beside the card; or params.rows: the rows themselves.
  A row of JSON is a list of tokens, [3, 1, 4], or {\"tokens\": [...], \"targets\": [...], \"mask\": [...]}: targets, if
  there, holds the answer at each token, mask 0 at each where nothing is asked and else 1. A row of CSV is tokens
  between commas; params.header = true skips the first line.
  params.vocab: a list of words; unset, strings in order of first appearance, or integers 0 to the greatest.
  Integers beside a vocab are places in it, from 0; CSV knows no types and has words then. params.ask: next (when
  unset) or last, for rows without targets. params.test_frac: the last fraction of the rows, 0.1 when unset, is only
  for the tests of a stream and not drawn; with 0 they are drawn from all rows.
  The file must not change during a run: its rows are found by position and read again whenever they are needed.
Unit and range
  Tokens are integers 0 to 65535, or strings of which at most 65536 differ, not both; a row has at most 4096. Shorter
  rows are filled with PAD, the last token, where nothing is asked; it is no class. Rows that stand twice count twice,
  also where one of them is held out. A finite set without split.examples holds all rows, where there are at most
  10,000,000, whatever test_frac is; with split.examples it has only rows that are not held out.
Value at a known point
  table_xor: three bits and their parity, eight rows; equal logits have a loss of ln 2 = 0.693 nats.
Source
  Your data. The usual definition of next-token prediction.
";

thread_local! {
    /// Room for the line and the row that a thread reads, so that drawing allocates little.
    static ROOM: RefCell<(Vec<u8>, Row)> = RefCell::default();
}

/// `[params]`: rows of tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    file: Option<PathBuf>,
    rows: Option<Vec<toml::Value>>,
    header: bool,
    vocab: Option<Vec<String>>,
    ask: Ask,
    test_frac: Option<f64>,
    /// Where the card lies.
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    source: Source,
    #[serde(skip)]
    vocabulary: Vocabulary,
    #[serde(skip)]
    shape: Shape,
    /// Positions at which some row asks, ascending.
    #[serde(skip)]
    positions: Vec<usize>,
    /// Rows that are not held out.
    #[serde(skip)]
    n_train: usize,
}

/// Where rows come from.
#[derive(Debug)]
enum Source {
    Card(Vec<Row>),
    File(RowsFile),
}

impl Default for Source {
    fn default() -> Source {
        Source::Card(vec![])
    }
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Source::Card(rows) => rows.len(),
            Source::File(file) => file.len(),
        }
    }
}

/// What holds of all rows together.
#[derive(Debug, Default)]
struct Shape {
    /// Tokens that the model reads, in the longest row.
    longest: usize,
    /// As `longest`, in the shortest.
    shortest: Option<usize>,
    /// `[longest]`: whether some row asks there.
    asked: Vec<bool>,
}

impl Shape {
    /// Looks at a row, and says what is wrong with it.
    fn add(&mut self, row: &Row, ask: Ask) -> Option<String> {
        let fault = row.fault(ask);
        if fault.is_none() {
            let n = row.n_read();
            self.longest = self.longest.max(n);
            self.shortest = Some(self.shortest.map_or(n, |shortest| shortest.min(n)));
            self.asked.resize(self.longest, false);
            (0..n).for_each(|t| self.asked[t] |= row.answer(t, ask).is_some());
        }
        fault
    }

    /// Whether some rows are filled with PAD.
    fn pads(&self) -> bool {
        self.shortest.is_some_and(|shortest| shortest < self.longest)
    }
}

impl Table {
    fn test_frac(&self) -> f64 {
        self.test_frac.unwrap_or(0.1)
    }

    /// What is wrong with the parameters, before a look at any row.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        match (&self.file, &self.rows) {
            (None, None) => faults.push(fault("file", "missing; a .jsonl or .csv file (or rows = [[...], ...])")),
            (Some(_), Some(_)) => faults.push(fault("rows", "stands beside file; keep one of them")),
            (Some(file), None) if extension(file).is_none() => {
                let message =
                    format!("{} is neither a .jsonl nor a .csv file; write it as one of them", file.display());
                faults.push(fault("file", message));
            }
            _ => {}
        }
        if self.header && self.file.as_deref().and_then(extension) != Some(Extension::Csv) {
            faults.push(fault("header", "only a .csv file has a header; remove it"));
        }
        if !(0.0..1.0).contains(&self.test_frac()) {
            let message = format!("{} is out of range; it must be 0 or more, and below 1", self.test_frac());
            faults.push(fault("test_frac", message));
        }
        faults
    }

    /// The rows of the file, after a look at each.
    fn scan(&mut self, file: &Path, format: Format) -> Result<Source, Vec<Fault>> {
        let (vocabulary, shape, ask) = (&mut self.vocabulary, &mut self.shape, self.ask);
        let take: Take<'_> = &mut |written| vocabulary.take(written);
        let rows = RowsFile::scan(&self.folder.join(file), (format, self.header), take, &mut |row| shape.add(row, ask));
        let in_file = |message: String| match message.starts_with("line ") {
            true => fault("file", format!("{}, {message}", file.display())),
            false => fault("file", message),
        };
        rows.map(Source::File).map_err(|messages| messages.into_iter().map(in_file).collect())
    }

    /// The rows of the card.
    fn take_rows(&mut self, values: Vec<toml::Value>) -> Result<Source, Vec<Fault>> {
        let (mut rows, mut faults) = (vec![], vec![]);
        for (i, value) in values.into_iter().enumerate() {
            let mut row = Row::default();
            let read = row.read(&mut |written| self.vocabulary.take(written), value);
            let wrong = read.map_err(|e| e.message().to_owned()).err().or_else(|| self.shape.add(&row, self.ask));
            faults.extend(wrong.map(|wrong| fault(format!("rows[{i}]"), wrong)));
            rows.push(row);
        }
        if faults.is_empty() { Ok(Source::Card(rows)) } else { Err(faults) }
    }

    /// Divides the rows, after a look at what must hold of all together.
    fn divide(&mut self, key: &str) -> Vec<Fault> {
        let (n, mut faults) = (self.source.len(), vec![]);
        if n == 0 {
            return vec![fault(key, "there are no rows; write at least one")];
        }
        if self.vocabulary.len() < 2 {
            faults.push(fault(key, "all tokens are the same; there must be two different ones or more"));
        }
        if self.shape.pads() && self.vocabulary.holds(PAD) {
            let message = "the token PAD is what shorter rows are filled with; call yours otherwise";
            faults.push(fault(key, message));
        }
        let held_out = (self.test_frac() * n as f64).round() as usize;
        self.n_train = n - held_out.max(usize::from(self.test_frac() > 0.0));
        if self.n_train == 0 {
            let message = format!("{} of {n} rows leaves none to train on; lower it", self.test_frac());
            faults.push(fault("test_frac", message));
        }
        faults
    }

    /// Writes a row; false if it is none that was there when the task was made.
    fn write_row(&self, row: &Row, to: &mut Example) -> bool {
        if row.fault(self.ask).is_some() || row.n_read() > self.n_ctx() || self.shape.shortest > Some(row.n_read()) {
            return false;
        }
        to.tokens.extend(&row.tokens[..row.n_read()]);
        to.tokens.resize(self.n_ctx(), self.vocabulary.len() as u32);
        to.targets.extend(self.positions.iter().map(|&t| row.answer(t, self.ask).unwrap_or(IGNORED)));
        true
    }
}

/// The files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    Jsonl,
    Csv,
}

fn extension(file: &Path) -> Option<Extension> {
    match file.extension()?.to_ascii_lowercase().to_str()? {
        "jsonl" => Some(Extension::Jsonl),
        "csv" => Some(Extension::Csv),
        _ => None,
    }
}

impl Drawn for Table {
    const NAME: &'static str = "table";
    const SUMMARY: &'static str = "your own rows of tokens, from a JSONL or CSV file or the card itself";
    const EXPLAIN: &'static str = EXPLAIN;

    fn beside(&mut self, folder: &Path) {
        self.folder = folder.into();
    }

    fn ready(mut self) -> Result<Table, Vec<Fault>> {
        let mut faults = self.faults();
        match self.vocab.take().map(|words| Vocabulary::given(&words)) {
            Some(Ok(vocabulary)) => self.vocabulary = vocabulary,
            Some(Err(message)) => faults.push(fault("vocab", message)),
            None => {}
        }
        // Rows read with wrong parameters would be called wrong themselves.
        if !faults.is_empty() {
            return Err(faults);
        }
        let key = if self.file.is_some() { "file" } else { "rows" };
        self.source = match (self.file.clone(), self.rows.take()) {
            (Some(file), _) => match extension(&file) {
                Some(Extension::Csv) => self.scan(&file, Format::Csv { words_only: self.vocabulary.is_given() })?,
                _ => self.scan(&file, Format::Jsonl)?,
            },
            (None, rows) => self.take_rows(rows.unwrap_or_default())?,
        };
        let faults = self.divide(key);
        self.positions = (0..self.shape.longest).filter(|&t| self.shape.asked[t]).collect();
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Table {
    fn words(&self) -> Vec<String> {
        self.vocabulary.words().into_iter().chain(self.shape.pads().then(|| PAD.to_owned())).collect()
    }

    fn classes(&self) -> Vec<String> {
        self.vocabulary.words()
    }

    fn n_ctx(&self) -> usize {
        self.shape.longest
    }

    fn loss_positions(&self) -> Vec<usize> {
        self.positions.clone()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.push(rng.below(self.n_train as u32));
    }

    fn draw_test(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let first = if self.n_train < self.source.len() { self.n_train } else { 0 };
        operands.push(first as u32 + rng.below((self.source.len() - first) as u32));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let n = self.source.len();
        (n <= MAX_LISTED).then(|| (0..n as u32).map(|row| vec![row]).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let &[number] = operands else { return false };
        match &self.source {
            Source::Card(rows) => rows.get(number as usize).is_some_and(|row| self.write_row(row, to)),
            Source::File(file) => ROOM.with_borrow_mut(|(bytes, row)| {
                let find: Take<'_> = &mut |written| self.vocabulary.find(written);
                file.read(number as usize, bytes, row, find) && self.write_row(row, to)
            }),
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
