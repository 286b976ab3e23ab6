//! The lines of a table's file: where each begins, and how one is read as JSON or CSV.
//!
//! Reads a file from begin to end, a line at a time, and then single lines by position.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::de::SliceRead;

use super::table_source::MAX_FAULTS;

/// Bytes that a line may have: what is longer is no row, and might not fit into memory.
const MAX_LINE: u64 = 1 << 24;

/// Some programs begin a file of UTF-8 with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file whose lines are rows.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    /// `[rows + 1]` bytes before each row, and before the end.
    starts: Vec<u64>,
}

impl Lines {
    /// Reads the file from begin to end, without its first line where that is a header; `each` looks at every line, and says what
    /// is wrong with it, as `, column 4: …` or `: …`.
    ///
    /// # Errors
    /// The first faults, each as `line 3, column 4: …`, or the system's words.
    pub fn scan(
        path: &Path,
        header: bool,
        each: &mut dyn FnMut(&[u8]) -> Option<String>,
    ) -> Result<Lines, Vec<String>> {
        let system = |e: io::Error| vec![unread(path, &e)];
        let file = File::open(path).map_err(system)?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut faults, mut starts) = (vec![], vec![], vec![]);
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
                faults.extend(each(line[mark..].trim_ascii_end()).map(|fault| format!("line {number}{fault}")));
            }
            at += read;
        }
        starts.push(at);
        if faults.is_empty() { Ok(Lines { file, starts }) } else { Err(faults) }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The line of a row, read into `bytes`; none if it is not there.
    pub fn read<'a>(&self, number: usize, bytes: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let &[start, end] = self.starts.get(number..)?.first_chunk()?;
        bytes.resize((end - start) as usize, 0);
        self.file.read_exact_at(bytes, start).ok()?;
        Some(bytes.trim_ascii_end())
    }
}

/// The first line of a file; empty where it cannot be read, which [`Lines::scan`] will tell.
pub(super) fn first_line(path: &Path) -> Vec<u8> {
    let mut line = vec![];
    let read = File::open(path).and_then(|file| BufReader::new(file.take(MAX_LINE)).read_until(b'\n', &mut line));
    match read {
        Ok(_) => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line).to_vec(),
        Err(_) => vec![],
    }
}

/// The message of a file that cannot be read.
pub(super) fn unread(path: &Path, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => format!("there is no file {}; name one beside the card", path.display()),
        _ => format!("cannot read {}: {e}", path.display()),
    }
}

/// Reads a line as one JSON value.
///
/// # Errors
/// Its place in the line and what is wrong, as `, column 4: …`.
pub(super) fn read_json<'a>(
    line: &'a [u8],
    read: impl FnOnce(&mut serde_json::Deserializer<SliceRead<'a>>) -> serde_json::Result<()>,
) -> Result<(), String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    read(&mut json).and_then(|()| json.end()).map_err(|e| json_fault(&e))
}

/// The message of a line of JSON, with its column: the line that serde knows is always the first.
fn json_fault(e: &serde_json::Error) -> String {
    let (text, place) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
    let message = text.strip_suffix(&place).unwrap_or(&text);
    let no_json = if e.is_data() { "" } else { "this is no JSON: " };
    format!(", column {}: {no_json}{message}", e.column())
}

/// Reads a line of CSV: `each` takes the fields, which are called `name`.
///
/// # Errors
/// The place of a field and what is wrong, as `, token 4: …`, or what is wrong with the line.
pub(super) fn read_csv(
    line: &[u8],
    name: &str,
    each: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let line = std::str::from_utf8(line).map_err(|_| ": the line is not UTF-8; save the file as UTF-8")?;
    let (mut rest, mut place) = (Some(line), 1);
    while let Some(fields) = rest {
        let taken = field(fields).and_then(|(text, after)| {
            rest = after;
            each(&text)
        });
        taken.map_err(|message| format!(", {name} {place}: {message}"))?;
        place += 1;
    }
    Ok(())
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
