//! A map of names in TOML: how another program's parameters become ours.
//!
//! ```toml
//! ignore = ["*.mask"]
//!
//! [names]
//! "embed.W_E" = "tok_emb.weight"
//! "blocks.*.mlp.W_in" = { name = "layers.*.fc1.weight", transpose = true }
//! "blocks.*.attn.W_Q" = { name = "layers.*.qkv.weight", rows = [0, 128], reshape = [4, 32, 128], transpose = [0, 2, 1] }
//! ```
//!
//! Ours on the left, theirs on the right; `*` is the number of a block. Of theirs first `rows` are taken (from, to, along the first
//! axis), then the shape is changed, then the axes are exchanged (`true` for the two of a matrix, or the order of all).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::layout::{MAX_BLOCKS, check_name};
use super::value::View;
use crate::error::{Error, Fault, Result, nearest};
use crate::spec::{Source, from_toml};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Text {
    ignore: Vec<String>,
    names: BTreeMap<String, toml::Value>,
}

/// What becomes of one of their arrays.
#[derive(Debug, Clone, Default)]
struct Entry {
    name: String,
    rows: Option<[usize; 2]>,
    reshape: Option<Vec<usize>>,
    transpose: Option<Transpose>,
}

#[derive(Debug, Clone)]
enum Transpose {
    Matrix(bool),
    Axes(Vec<usize>),
}

/// A map of names.
#[derive(Debug, Clone, Default)]
pub struct NameMap {
    ignore: Vec<String>,
    entries: Vec<(String, Entry)>,
}

impl NameMap {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Spec`] with all faults.
    pub fn load(path: &Path) -> Result<NameMap> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        NameMap::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<NameMap> {
        let read: Text = from_toml(Source { path, text, sets: &[] }, |map: &Text| {
            let faults = map.names.iter().filter_map(|(ours, value)| {
                let message = entry(ours, value).err()?;
                let quoted = [format!("\"{ours}\""), format!("'{ours}'")];
                let line = text.lines().position(|line| quoted.iter().any(|name| line.contains(name))).map(|at| at + 1);
                Some(Fault { line, key: format!("names.\"{ours}\""), message })
            });
            let mut faults: Vec<Fault> = faults.collect();
            if map.names.is_empty() {
                faults.push(Fault {
                    line: None,
                    key: "names".into(),
                    message: "missing; write `\"ours\" = \"theirs\"` lines".into(),
                });
            }
            faults
        })?;
        let entries = read.names.iter().filter_map(|(ours, value)| Some((ours.clone(), entry(ours, value).ok()?)));
        Ok(NameMap { entries: entries.collect(), ignore: read.ignore })
    }

    /// The arrays under our names, and the names of theirs that are ignored.
    ///
    /// # Errors
    /// A sentence: a name that the file lacks, one that the map does not mention, a shape that cannot be changed so.
    pub fn apply(&self, arrays: &BTreeMap<String, View>) -> Result<(BTreeMap<String, View>, Vec<String>), String> {
        let mut ours_by_name = BTreeMap::new();
        let mut used: Vec<String> = vec![];
        for (ours, entry) in &self.entries {
            let mut found = 0;
            for block in 0..if ours.contains('*') { MAX_BLOCKS } else { 1 } {
                let number = block.to_string();
                let theirs = entry.name.replace('*', &number);
                let Some(view) = arrays.get(&theirs) else { break };
                ours_by_name.insert(ours.replace('*', &number), entry.change(&theirs, view)?);
                used.push(theirs);
                found += 1;
            }
            if found == 0 {
                let known: Vec<&str> = arrays.keys().take(12).map(String::as_str).collect();
                return Err(format!("the map asks for `{}`, the file has {}", entry.name, known.join(", ")));
            }
        }
        let rest = arrays.keys().filter(|name| !used.contains(name));
        let (ignored, unknown): (Vec<&String>, Vec<&String>) =
            rest.partition(|name| self.ignore.iter().any(|pattern| matches(pattern, name)));
        match unknown.first() {
            Some(name) => Err(format!("the map says nothing of `{name}`; add it to `names` or to `ignore`")),
            None => Ok((ours_by_name, ignored.into_iter().cloned().collect())),
        }
    }
}

/// How an entry is written.
const FORM: &str = "write \"theirs\", or { name = \"theirs\", rows, reshape, transpose }";

impl Entry {
    fn of(table: &toml::Table) -> Result<Entry, String> {
        const KEYS: [&str; 4] = ["name", "rows", "reshape", "transpose"];
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let near =
                nearest(key, KEYS.into_iter()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("unknown key `{key}`{near}"));
        }
        let name = table.get("name").and_then(toml::Value::as_str).ok_or_else(|| format!("it has no name; {FORM}"))?;
        let sizes = |key: &str, form: &str| {
            let list = table.get(key).map(|value| sizes(value).ok_or_else(|| format!("{key} is not {form}")));
            list.transpose()
        };
        let rows = sizes("rows", "[from, to]")?.map(<[usize; 2]>::try_from).transpose();
        let transpose = match table.get("transpose") {
            Some(toml::Value::Boolean(is_exchanged)) => Some(Transpose::Matrix(*is_exchanged)),
            _ => sizes("transpose", "true, false or the order of all axes, as [0, 2, 1]")?.map(Transpose::Axes),
        };
        Ok(Entry {
            name: name.to_owned(),
            rows: rows.map_err(|_| "rows is not [from, to]")?,
            reshape: sizes("reshape", "a list of sizes")?,
            transpose,
        })
    }

    fn change(&self, name: &str, view: &View) -> Result<View, String> {
        let mut view = view.clone();
        if let Some([from, to]) = self.rows {
            let n = view.shape.first().copied().unwrap_or(0);
            if to > n {
                return Err(format!("the map takes rows {from} to {to} of `{name}`, whose shape is {:?}", view.shape));
            }
            view = view.narrow(0, from, to - from);
        }
        if let Some(shape) = &self.reshape {
            let changed = view.reshape(shape);
            view =
                changed.ok_or_else(|| format!("`{name}` has shape {:?}, which cannot become {shape:?}", view.shape))?;
        }
        let axes = match &self.transpose {
            None | Some(Transpose::Matrix(false)) => return Ok(view),
            Some(Transpose::Matrix(true)) => vec![1, 0],
            Some(Transpose::Axes(axes)) => axes.clone(),
        };
        if axes.len() != view.shape.len() {
            return Err(format!("the map exchanges {} axes of `{name}`, whose shape is {:?}", axes.len(), view.shape));
        }
        Ok(view.permute(&axes))
    }
}

/// A list of whole numbers from 0.
fn sizes(value: &toml::Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|size| usize::try_from(size.as_integer()?).ok()).collect()
}

/// The entry of a value, or what is wrong with it.
fn entry(ours: &str, value: &toml::Value) -> Result<Entry, String> {
    check_name(ours)?;
    let entry = match value {
        toml::Value::String(name) => Entry { name: name.clone(), ..Entry::default() },
        toml::Value::Table(table) => Entry::of(table)?,
        other => return Err(format!("it is of type {}; {FORM}", other.type_str())),
    };
    if ours.contains('*') != entry.name.contains('*') {
        return Err("a `*` stands on one side only".into());
    }
    if entry.rows.is_some_and(|[from, to]| from >= to) {
        return Err("rows are [from, to] with from below to".into());
    }
    if let Some(Transpose::Axes(axes)) = &entry.transpose {
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if sorted != (0..axes.len()).collect::<Vec<_>>() {
            return Err(format!("transpose = {axes:?} is no order of the axes 0 to {}", axes.len().saturating_sub(1)));
        }
    }
    Ok(entry)
}

/// Whether a name is that of a pattern, in which one `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::value::Element;
    use super::*;

    fn view(shape: &[usize]) -> View {
        let bytes = (0..shape.iter().product::<usize>()).flat_map(|x| (x as f32).to_le_bytes()).collect();
        View::row_major(Element::F32, shape.to_vec(), &Arc::new(bytes), 0).unwrap()
    }

    fn parse(text: &str) -> Result<NameMap> {
        NameMap::parse(Path::new("names.toml"), text)
    }

    #[test]
    fn names_rows_shapes_and_axes_are_changed_in_this_order() {
        let map = parse(
            "ignore = [\"*.mask\"]\n[names]\n\"embed.W_E\" = \"tok\"\n\"blocks.*.mlp.W_in\" = { name = \"l.*.fc\", \
             transpose = true }\n\"unembed.W_U\" = { name = \"qkv\", rows = [2, 6], reshape = [2, 2, 3], transpose = [0, 2, 1] }\n",
        )
        .unwrap();
        let theirs = [
            ("tok", vec![2]),
            ("l.0.fc", vec![2, 3]),
            ("l.1.fc", vec![2, 3]),
            ("qkv", vec![6, 3]),
            ("a.mask", vec![1]),
        ];
        let theirs = theirs.map(|(name, shape)| (name.to_owned(), view(&shape))).into_iter().collect();
        let (ours, ignored) = map.apply(&theirs).unwrap();
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            ["blocks.0.mlp.W_in", "blocks.1.mlp.W_in", "embed.W_E", "unembed.W_U"]
        );
        assert_eq!(ours["blocks.0.mlp.W_in"].to_f64(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(ours["unembed.W_U"].shape, [2, 3, 2]);
        assert_eq!(ours["unembed.W_U"].to_f64()[..6], [6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        assert_eq!(ignored, ["a.mask"]);
        let more = theirs.into_iter().chain([("extra".to_owned(), view(&[1]))]).collect();
        assert!(map.apply(&more).unwrap_err().contains("says nothing of `extra`"));
        assert!(map.apply(&BTreeMap::new()).unwrap_err().contains("asks for"));
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let text = "[names]\n\"embed.W_E\" = 3\n\"blocks.*.mlp.W_in\" = \"c\"\n'unembed.W_U' = { name = \"e\", transpose = [0, 2] }\n\
                    \"unembed.b_U\" = { nam = \"e\" }\n\"pos_embed.W_pos\" = { name = \"e\", transpose = \"yes\" }\n\
                    \"blocks.*.mlp.W_inn\" = \"l.*\"\n\"blocks.3.atn.W_Q\" = \"q\"\n\"ln_final.w\" = {}\n";
        let Err(Error::Spec { mut faults, .. }) = parse(text) else { panic!() };
        faults.sort_by_key(|fault| fault.line);
        let parts = [
            "it is of type integer; write \"theirs\"",
            "a `*` stands on one side only",
            "no order of the axes",
            "unknown key `nam`; did you mean `name`?",
            "transpose is not true, false or the order of all axes",
            "did you mean `blocks.*.mlp.W_in`?",
            "did you mean `blocks.3.attn.W_Q`?",
            "it has no name",
        ];
        assert_eq!(faults.len(), parts.len(), "{faults:?}");
        for ((fault, part), line) in faults.iter().zip(parts).zip(2..) {
            assert!(fault.line == Some(line) && fault.message.contains(part), "{part}: {fault:?}");
        }
        assert!(matches!(parse("ignor = []"), Err(Error::Spec { .. })));
        assert!(matches!(parse(""), Err(Error::Spec { .. })));
    }
}
