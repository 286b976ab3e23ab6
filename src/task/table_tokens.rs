//! Rows of tokens: how each source holds them, and what must hold of all together.

use std::cell::RefCell;
use std::thread::LocalKey;

use super::rule::{Example, IGNORED};
use super::table_hdf5::{Block, Shapes, Wanted};
use super::table_lines::{read_csv, read_json};
use super::table_rows::{Ask, Row};
use super::table_source::{Kind, MAX_POSITIONS, Raw, Room};
use super::table_vocab::{Take, Vocabulary, Written, out_of_range};

/// What shorter rows end with.
const PAD: &str = "PAD";

thread_local! {
    static ROOM: Room<Row> = RefCell::default();
}

/// What holds of all rows together, and how one is read.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    vocabulary: Vocabulary,
    ask: Ask,
    /// Whether lines are CSV, and not JSON.
    csv: bool,
    /// Tokens that the model reads, in the longest row.
    longest: usize,
    /// As `longest`, in the shortest.
    shortest: Option<usize>,
    /// `[longest]`: whether some row asks there.
    asked: Vec<bool>,
}

impl Tokens {
    /// Of rows that are not yet read.
    pub fn new(vocabulary: Vocabulary, ask: Ask, csv: bool) -> Tokens {
        Tokens { vocabulary, ask, csv, ..Tokens::default() }
    }

    /// Whether some rows are filled with PAD.
    fn pads(&self) -> bool {
        self.shortest.is_some_and(|shortest| shortest < self.longest)
    }
}

impl Kind for Tokens {
    type Row = Row;

    const DATASETS: &'static [Wanted] = &[
        Wanted { name: "tokens", shape: "[N, T]", axes: 2..=2, real: false, needed: true },
        Wanted { name: "targets", shape: "[N, T]", axes: 2..=2, real: false, needed: false },
        Wanted { name: "mask", shape: "[N, T]", axes: 2..=2, real: false, needed: false },
    ];

    fn shapes_fault(shape: Shapes<'_>) -> Option<String> {
        let tokens = shape("tokens")?;
        match tokens[1] {
            n if n > MAX_POSITIONS => {
                return Some(format!("tokens has shape {tokens:?}; a row may have {MAX_POSITIONS} tokens"));
            }
            1 if shape("targets").is_none() => {
                return Some(format!(
                    "tokens has shape {tokens:?}; to ask anything, two tokens are needed, or targets"
                ));
            }
            _ => {}
        }
        let other = |name: &str| {
            let found = shape(name).filter(|found| *found != tokens)?;
            Some(format!("{name} has shape {found:?} and tokens {tokens:?}; give one entry for each token"))
        };
        other("targets").or_else(|| other("mask"))
    }

    fn room() -> &'static LocalKey<Room<Row>> {
        &ROOM
    }

    fn read(&self, raw: Raw<'_>, row: &mut Row) -> Result<(), String> {
        let (words_only, find) =
            (self.vocabulary.is_given(), &mut |written: Written<'_>| self.vocabulary.find(written));
        read(raw, (self.csv, words_only), row, find)
    }

    fn read_first(&mut self, raw: Raw<'_>, row: &mut Row) -> Result<(), String> {
        let words_only = self.vocabulary.is_given();
        read(raw, (self.csv, words_only), row, &mut |written| self.vocabulary.take(written))
    }

    fn add(&mut self, row: &Row) -> Option<String> {
        let fault = row.fault(self.ask);
        if fault.is_none() {
            let n = row.n_read();
            self.longest = self.longest.max(n);
            self.shortest = Some(self.shortest.map_or(n, |shortest| shortest.min(n)));
            self.asked.resize(self.longest, false);
            (0..n).for_each(|t| self.asked[t] |= row.answer(t, self.ask).is_some());
        }
        fault
    }

    fn faults(&self) -> Vec<&'static str> {
        let mut faults = vec![];
        if self.vocabulary.len() < 2 {
            faults.push("all tokens are the same; there must be two different ones or more");
        }
        if self.pads() && self.vocabulary.holds(PAD) {
            faults.push("the token PAD is what shorter rows are filled with; call yours otherwise");
        }
        faults
    }

    fn asked(&self) -> &[bool] {
        &self.asked
    }

    fn write(&self, row: &Row, positions: &[usize], to: &mut Example) -> bool {
        if row.fault(self.ask).is_some() || row.n_read() > self.longest || self.shortest > Some(row.n_read()) {
            return false;
        }
        to.tokens.extend(&row.tokens[..row.n_read()]);
        to.tokens.resize(self.longest, self.vocabulary.len() as u32);
        to.targets.extend(positions.iter().map(|&t| row.answer(t, self.ask).unwrap_or(IGNORED)));
        true
    }

    fn words(&self) -> Vec<String> {
        self.vocabulary.words().into_iter().chain(self.pads().then(|| PAD.to_owned())).collect()
    }

    fn classes(&self) -> Vec<String> {
        self.vocabulary.words()
    }
}

/// Reads a row, whose line is CSV or JSON; in CSV digits are words too where the words are given.
fn read(raw: Raw<'_>, (csv, words_only): (bool, bool), row: &mut Row, take: Take<'_>) -> Result<(), String> {
    row.clear();
    match raw {
        Raw::Value(value) => row.read(take, value).map_err(|e| format!(": {}", e.message())),
        Raw::Line([]) => Ok(()),
        Raw::Line(line) if !csv => read_json(line, |json| row.read(take, json)),
        Raw::Line(line) => read_csv(line, "token", &mut |text| {
            row.tokens.push(csv_token(text, words_only, &mut *take)?);
            Ok(())
        }),
        Raw::Block(block, i) => read_block(block, i, row, take),
    }
}

/// A token of a CSV file, which has no types: what has only digits is an integer, unless the words are given.
fn csv_token(text: &str, words_only: bool, take: Take<'_>) -> Result<u32, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if text.is_empty() {
        return Err("there is nothing between the commas; every token must be written".into());
    }
    if words_only || digits.is_empty() || digits.bytes().any(|byte| !byte.is_ascii_digit()) {
        return take(Written::Word(text));
    }
    text.parse().map_err(|_| out_of_range(text)).and_then(|n| take(Written::Integer(n)))
}

/// Reads row `i` of a block.
fn read_block(block: &Block<'_>, i: usize, row: &mut Row, take: Take<'_>) -> Result<(), String> {
    let mut ids = |name: &str, to: &mut Vec<u32>, found: &[i64]| {
        for (place, &n) in (1..).zip(found) {
            let id = take(Written::Integer(n.into()));
            to.push(id.map_err(|message| format!(", {name} {place}: {message}"))?);
        }
        Ok::<(), String>(())
    };
    ids("token", &mut row.tokens, block.integers("tokens", i).unwrap_or_default())?;
    if let Some(targets) = block.integers("targets", i) {
        ids("target", row.targets.get_or_insert_default(), targets)?;
    }
    row.mask = block.integers("mask", i).map(<[i64]>::to_vec);
    Ok(())
}
