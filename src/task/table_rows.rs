//! Rows of a table: what one asks, how it is read from a line of JSON or CSV, and where the lines of a file are.
//!
//! A file is read twice: once from begin to end, to look at every row and note where it begins, and then row by row, by position. So it
//! may be larger than memory, and must not change in between.

use std::borrow::Cow;
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::table_vocab::{Take, Written, out_of_range};

/// Tokens that a row may have.
const MAX_TOKENS: usize = 4096;

/// Bytes that a line may have: what is longer is no row, and might not fit into memory.
const MAX_LINE: u64 = 1 << 24;

/// Faults of a file that are told at once.
const MAX_FAULTS: usize = 10;

/// Some programs begin a file of UTF-8 with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is asked of rows that have no targets of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ask {
    /// Every next token.
    #[default]
    Next,
    /// The last token.
    Last,
}

/// One row.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub tokens: Vec<u32>,
    /// `[tokens]`: the answer at each; otherwise it is the next token.
    pub targets: Option<Vec<u32>>,
    /// `[tokens]`: 0 where nothing is asked.
    pub mask: Option<Vec<u64>>,
}

impl Row {
    /// How many tokens the model reads: not the last one where it is an answer.
    pub fn n_read(&self) -> usize {
        self.tokens.len() - usize::from(self.targets.is_none())
    }

    /// The answer at a position, if one is asked there.
    pub fn answer(&self, at: usize, ask: Ask) -> Option<u32> {
        if self.mask.as_ref().is_some_and(|mask| mask.get(at) == Some(&0)) {
            return None;
        }
        match &self.targets {
            Some(targets) => targets.get(at).copied(),
            None if ask == Ask::Last && at + 2 != self.tokens.len() => None,
            None => self.tokens.get(at + 1).copied(),
        }
    }

    /// What is wrong with the row, if anything.
    pub fn fault(&self, ask: Ask) -> Option<String> {
        let n = self.tokens.len();
        let other_length = |name: &str, found: Option<usize>| {
            let found = found.filter(|&found| found != n)?;
            Some(format!("{name} has length {found} and tokens {n}; give one entry for each token"))
        };
        let wrong = other_length("targets", self.targets.as_ref().map(Vec::len))
            .or_else(|| other_length("mask", self.mask.as_ref().map(Vec::len)));
        let entry = self.mask.iter().flatten().find(|&&entry| entry > 1);
        match (n, wrong, entry) {
            (0, ..) => Some("the row is empty; give it tokens, or remove it".into()),
            (_, Some(wrong), _) => Some(wrong),
            (_, _, Some(entry)) => Some(format!("mask has the entry {entry}; it must be 0 (not asked) or 1")),
            (1, ..) if self.targets.is_none() => {
                Some("the row is too short to ask anything; it needs two tokens, or targets".into())
            }
            _ if n > MAX_TOKENS => Some(format!("the row has {n} tokens; it may have {MAX_TOKENS}")),
            _ if (0..n).all(|t| self.answer(t, ask).is_none()) => Some("mask leaves nothing to ask of the row".into()),
            _ => None,
        }
    }

    fn clear(&mut self) {
        self.tokens.clear();
        (self.targets, self.mask) = (None, None);
    }

    /// Reads the row from a list of tokens, or a map with `tokens`, `targets` and `mask`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<'de, D: Deserializer<'de>>(&mut self, take: Take<'_>, from: D) -> Result<(), D::Error> {
        self.clear();
        from.deserialize_any(RowVisitor { take, row: self })
    }
}

struct RowVisitor<'a, 'r> {
    take: Take<'a>,
    row: &'r mut Row,
}

impl<'de> Visitor<'de> for RowVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens, or a map with `tokens`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(token) = list.next_element_seed(Token(&mut *self.take))? {
            self.row.tokens.push(token);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_tokens = false;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let known = match &*key {
                "tokens" => std::mem::replace(&mut has_tokens, true),
                "targets" => self.row.targets.is_some(),
                "mask" => self.row.mask.is_some(),
                _ => return Err(A::Error::custom(format!("unknown key `{key}`; known here: tokens, targets, mask"))),
            };
            if known {
                return Err(A::Error::custom(format!("`{key}` stands twice")));
            }
            match &*key {
                "tokens" => map.next_value_seed(Tokens(&mut *self.take, &mut self.row.tokens))?,
                "targets" => {
                    map.next_value_seed(Tokens(&mut *self.take, self.row.targets.get_or_insert_default()))?;
                }
                _ => self.row.mask = Some(map.next_value()?),
            }
        }
        if has_tokens { Ok(()) } else { Err(A::Error::custom("the row has no `tokens`")) }
    }
}

/// A list of tokens.
struct Tokens<'a, 'r>(Take<'a>, &'r mut Vec<u32>);

impl<'de> DeserializeSeed<'de> for Tokens<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tokens<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(token) = list.next_element_seed(Token(&mut *self.0))? {
            self.1.push(token);
        }
        Ok(())
    }
}

/// One token.
struct Token<'a>(Take<'a>);

impl<'de> DeserializeSeed<'de> for Token<'_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u32, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Token<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string")
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<u32, E> {
        (self.0)(Written::Integer(n.into())).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<u32, E> {
        (self.0)(Written::Integer(n.into())).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<u32, E> {
        // An integer of more than 64 bits comes as a float.
        let is_integer = x.fract() == 0.0 && x.abs() >= u64::MAX as f64;
        Err(if is_integer { E::custom(out_of_range(x)) } else { E::invalid_type(Unexpected::Float(x), &self) })
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<u32, E> {
        (self.0)(Written::Word(word)).map_err(E::custom)
    }
}

/// How a line of a file holds a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON value.
    Jsonl,
    /// Tokens between commas.
    Csv {
        /// Whether digits are words too, because the words are given.
        words_only: bool,
    },
}

impl Format {
    /// Reads one line into `row`, or tells its place in the line and what is wrong, as `, column 4: …`.
    fn read(self, line: &[u8], row: &mut Row, take: Take<'_>) -> Result<(), String> {
        let line = line.trim_ascii_end();
        match self {
            _ if line.is_empty() => {
                row.clear();
                Ok(())
            }
            Format::Jsonl => {
                let mut json = serde_json::Deserializer::from_slice(line);
                row.read(take, &mut json).and_then(|()| json.end()).map_err(|e| json_fault(&e))
            }
            Format::Csv { words_only } => {
                row.clear();
                let line = std::str::from_utf8(line).map_err(|_| ": the line is not UTF-8; save the file as UTF-8")?;
                let mut rest = Some(line);
                while let Some(fields) = rest {
                    let token = field(fields).and_then(|(text, after)| {
                        rest = after;
                        csv_token(&text, words_only, &mut *take)
                    });
                    let place = row.tokens.len() + 1;
                    row.tokens.push(token.map_err(|message| format!(", token {place}: {message}"))?);
                }
                Ok(())
            }
        }
    }
}

/// The message of a line of JSON, with its column: the line that serde knows is always the first.
fn json_fault(e: &serde_json::Error) -> String {
    let (text, place) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
    let message = text.strip_suffix(&place).unwrap_or(&text);
    let no_json = if e.is_data() { "" } else { "this is no JSON: " };
    format!(", column {}: {no_json}{message}", e.column())
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

/// The first of these fields, without quotes and blanks around it, and the fields after it.
fn field(fields: &str) -> Result<(Cow<'_, str>, Option<&str>), String> {
    let Some(quoted) = fields.trim_start().strip_prefix('"') else {
        let (bare, after) = fields.split_once(',').map_or((fields, None), |(bare, after)| (bare, Some(after)));
        return match bare.contains('"') {
            true => Err("a quote stands inside; put the whole token in quotes, and write a quote in it twice".into()),
            false => Ok((bare.trim().into(), after)),
        };
    };
    let mut from = 0;
    let end = loop {
        let quote =
            from + quoted[from..].find('"').ok_or("a quote is not closed on its line; add one, or remove it")?;
        if !quoted[quote + 1..].starts_with('"') {
            break quote;
        }
        from = quote + 2;
    };
    let text = match &quoted[..end] {
        text if text.contains('"') => text.replace("\"\"", "\"").into(),
        text => text.into(),
    };
    match quoted[end + 1..].trim_start() {
        "" => Ok((text, None)),
        after => match after.strip_prefix(',') {
            Some(after) => Ok((text, Some(after))),
            None => Err("text follows a closing quote; write a comma there, or a quote in a token twice".into()),
        },
    }
}

/// A file whose lines are rows.
pub(super) struct RowsFile {
    file: File,
    format: Format,
    /// `[rows + 1]` bytes before each row, and before the end.
    starts: Vec<u64>,
}

impl Debug for RowsFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "RowsFile({:?}, {} rows)", self.format, self.len())
    }
}

impl RowsFile {
    /// Reads the file from begin to end; `each` looks at every row, and says what is wrong with it.
    ///
    /// # Errors
    /// The first faults, each as `line 3, column 4: …`, or the system's words.
    pub fn scan(
        path: &Path,
        (format, header): (Format, bool),
        take: Take<'_>,
        each: &mut dyn FnMut(&Row) -> Option<String>,
    ) -> Result<RowsFile, Vec<String>> {
        let system = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => vec![format!("there is no file {}; name one beside the card", path.display())],
            _ => vec![format!("cannot read {}: {e}", path.display())],
        };
        let file = File::open(path).map_err(system)?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut row, mut faults, mut starts) = (vec![], Row::default(), vec![], vec![]);
        let mut at = 0;
        for number in 1u64.. {
            line.clear();
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(system)? as u64;
            if read == 0 || faults.len() >= MAX_FAULTS {
                break;
            }
            if read == MAX_LINE || number > u64::from(u32::MAX) {
                let what = if read == MAX_LINE { "the line is too long" } else { "there are too many rows" };
                faults.push(format!("line {number}: {what}; a file has fewer than 2^32 lines of less than 16 MiB"));
                break;
            }
            let mark = if number == 1 && line.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
            if number > 1 || !header {
                starts.push(at + mark as u64);
                let found = format.read(&line[mark..], &mut row, &mut *take);
                let fault = found.err().or_else(|| Some(format!(": {}", each(&row)?)));
                faults.extend(fault.map(|fault| format!("line {number}{fault}")));
            }
            at += read;
        }
        starts.push(at);
        if faults.is_empty() { Ok(RowsFile { file, format, starts }) } else { Err(faults) }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Reads a row by its number into `row`; false if it is not there, or no longer as it was. `bytes` is room for its line.
    pub fn read(&self, number: usize, bytes: &mut Vec<u8>, row: &mut Row, take: Take<'_>) -> bool {
        let Some(&[start, end]) = self.starts.get(number..).and_then(|starts| starts.first_chunk()) else {
            return false;
        };
        bytes.resize((end - start) as usize, 0);
        self.file.read_exact_at(bytes, start).is_ok() && self.format.read(bytes, row, take).is_ok()
    }
}
