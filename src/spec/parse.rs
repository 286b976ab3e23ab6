//! TOML text and `--set key=value` -> a checked struct, with every fault at once and the line of each.
//!
//! Serde's own field lists are the only list of keys: a fault that serde reports is noted, its key taken out, and the
//! rest read again, until nothing is left to report. So types must have a default for every key.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Fault, Result, nearest};

/// Text to read, and what to lay over it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// For messages.
    pub path: &'a Path,
    /// TOML.
    pub text: &'a str,
    /// `key=value` pairs, dotted keys, values as TOML or bare words.
    pub sets: &'a [String],
}

/// Reads `source` as a `T`, then asks `validate` for what types alone cannot tell.
///
/// # Errors
/// [`Error::Spec`] with all faults, in line order.
pub fn from_toml<T: DeserializeOwned>(source: Source<'_>, validate: impl Fn(&T) -> Vec<Fault>) -> Result<T> {
    let mut table: toml::Table = toml::from_str(source.text).map_err(|e| {
        let line = e.span().map(|span| line_of(source.text, span.start));
        fail(source.path, vec![Fault { line, key: "syntax".into(), message: first_line(e.message()) }])
    })?;
    let mut faults = vec![];
    for set in source.sets {
        if let Err(message) = lay_over(&mut table, set) {
            faults.push(Fault { line: None, key: format!("--set {set}"), message });
        }
    }
    // What was set on the command line stands in no line of the file.
    let is_set = |key: &str| source.sets.iter().any(|set| set.split('=').next().is_some_and(|k| k.trim() == key));
    let locate = |key: &str| if is_set(key) { None } else { line_of_key(source.text, key) };
    let value = loop {
        match serde_path(&table) {
            Ok(value) => break Some(value),
            Err((key, message)) => {
                let gone = remove(&mut table, &key);
                faults.push(Fault { line: locate(&key), key, message });
                if !gone {
                    break None;
                }
            }
        }
    };
    match value {
        Some(value) => {
            // A key of the wrong type has been taken out: that it is missing now would be said a second time.
            let wrong: Vec<String> = faults.iter().map(|f| f.key.clone()).collect();
            let found = validate(&value).into_iter().filter(|f| !wrong.contains(&f.key));
            faults.extend(found.map(|f| Fault { line: f.line.or_else(|| locate(&f.key)), ..f }));
            faults.sort_by_key(|f| f.line.unwrap_or(usize::MAX));
            if faults.is_empty() { Ok(value) } else { Err(fail(source.path, faults)) }
        }
        None => Err(fail(source.path, faults)),
    }
}

/// A table of free keys as a `T`, with all faults; keys are those within the table.
///
/// # Errors
/// What serde says of each key that does not fit.
#[cfg_attr(not(feature = "candle"), expect(dead_code, reason = "only models from outside have such tables"))]
pub(crate) fn settings<T: DeserializeOwned>(table: &toml::Table) -> Result<T, Vec<Fault>> {
    let (mut table, mut faults) = (table.clone(), vec![]);
    loop {
        match serde_path::<T>(&table) {
            Ok(value) if faults.is_empty() => return Ok(value),
            Ok(_) => return Err(faults),
            Err((key, message)) => {
                let gone = remove(&mut table, &key);
                faults.push(Fault { line: None, key, message });
                if !gone {
                    return Err(faults);
                }
            }
        }
    }
}

fn fail(path: &Path, faults: Vec<Fault>) -> Error {
    Error::Spec { path: PathBuf::from(path), faults }
}

/// Deserializes, or gives the dotted key that is wrong and why.
fn serde_path<T: DeserializeOwned>(table: &toml::Table) -> Result<T, (String, String)> {
    let text = toml::to_string(table).map_err(|e| (String::new(), e.to_string()))?;
    let deserializer = toml::Deserializer::parse(&text).map_err(|e| (String::new(), e.to_string()))?;
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let path = e.path().to_string();
        let message = first_line(e.inner().message());
        match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((field, rest)) => {
                let key = match path.strip_suffix(field).map(|p| p.trim_end_matches('.')) {
                    Some("") | None if path.is_empty() || path == "." || path == field => field.to_owned(),
                    Some(parent) => format!("{parent}.{field}"),
                    None => format!("{path}.{field}"),
                };
                let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
                let message = match nearest(field, known.iter().copied()) {
                    Some(near) => format!("unknown key; did you mean `{near}`?"),
                    None => format!("unknown key; known here: {}", known.join(", ")),
                };
                (key, message)
            }
            None => (path, message),
        }
    })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// Puts `a.b.c=value` into the table; a value that is not TOML counts as a string.
fn lay_over(table: &mut toml::Table, set: &str) -> Result<(), String> {
    let (key, text) = set.split_once('=').ok_or("write it as key=value, like `optim.lr=1e-3`")?;
    let (key, text) = (key.trim(), text.trim());
    let value = toml::from_str::<toml::Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut at = table;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err("the key has an empty part".into());
        }
        let is_last = parts.peek().is_none();
        let inner = match indexed(part) {
            Some((name, index)) => element(at, name, index)?,
            None if is_last => {
                at.insert(part.to_owned(), value);
                return Ok(());
            }
            None => at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new())),
        };
        if is_last {
            *inner = value;
            return Ok(());
        }
        at = inner.as_table_mut().ok_or_else(|| format!("`{part}` is a value, not a section"))?;
    }
    Ok(())
}

/// `terms[0]` as its name and its index.
fn indexed(part: &str) -> Option<(&str, usize)> {
    let (name, index) = part.split_once('[')?;
    Some((name, index.strip_suffix(']')?.parse().ok()?))
}

/// An element of a list that is there.
fn element<'a>(table: &'a mut toml::Table, name: &str, index: usize) -> Result<&'a mut toml::Value, String> {
    let list = table.get_mut(name).and_then(toml::Value::as_array_mut).ok_or_else(|| format!("`{name}` is no list"))?;
    let count = list.len();
    list.get_mut(index).ok_or_else(|| format!("`{name}` has {count} entries, counted from 0"))
}

/// Takes a dotted key out; false when it was not there.
fn remove(table: &mut toml::Table, key: &str) -> bool {
    let mut at = table;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let name = part.split('[').next().unwrap_or(part);
        if let Some((name, index)) = indexed(part)
            && parts.peek().is_some()
            && element(at, name, index).is_ok_and(|value| value.is_table())
        {
            let value = element(at, name, index).ok().and_then(toml::Value::as_table_mut);
            at = value.expect("invariant: it was there a line ago");
            continue;
        }
        let part = name;
        if parts.peek().is_none() || !at.get(part).is_some_and(toml::Value::is_table) {
            return at.remove(part).is_some();
        }
        let Some(next) = at.get_mut(part).and_then(toml::Value::as_table_mut) else {
            return false;
        };
        at = next;
    }
    false
}

/// The line, counted from 1, of a dotted key like `model.d_head` or `worked[2].out`; that of its section when the key
/// itself is not there.
pub fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    Some(line_of(text, span_of(root.get_ref(), key)?.start))
}

fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (part, rest) = match key.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (key, None),
    };
    let (name, index) = match part.split_once('[') {
        Some((name, index)) => (name, index.strip_suffix(']')?.parse::<usize>().ok()),
        None => (part, None),
    };
    let (found_key, value): (&Spanned<_>, &Spanned<DeValue<'_>>) =
        table.iter().find(|(k, _)| k.get_ref().as_ref() as &str == name)?;
    let (span, value) = match (index, value.get_ref()) {
        (Some(index), DeValue::Array(items)) => items.get(index).map(|item| (item.span(), item.get_ref()))?,
        (_, value) => (found_key.span(), value),
    };
    match (rest, value) {
        (Some(rest), DeValue::Table(inner)) => span_of(inner, rest).or(Some(span)),
        _ => Some(span),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1
}
