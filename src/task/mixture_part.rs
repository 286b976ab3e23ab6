//! The tasks that a mixture is made of, from cards or from parameters.
//!
//! Reads one entry of a mixture's `tasks`; writes its rule, or all that is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::card::Card;
use super::rule::Rule;
use super::{family, find};
use crate::error::{Error, Fault, Result};
use crate::spec::DataSpec;

/// Registry name of the family of mixtures, which may not stand in one.
pub(super) const MIXTURE: &str = "mixture";

/// One entry of `tasks`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    card: Option<String>,
    family: Option<String>,
    params: toml::Table,
}

impl Part {
    /// Its rule; files lie in `folder`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn rule(&self, folder: &Path) -> Result<Arc<dyn Rule>, Vec<String>> {
        let card = match (&self.card, &self.family) {
            (Some(_), None) if !self.params.is_empty() => {
                return Err(vec!["params stands beside card, which has its own; remove it, or name a family".into()]);
            }
            (Some(name), None) => read_card(name, folder)?,
            (None, Some(family)) => made_card(family, &self.params, folder)?,
            (None, None) => return Err(vec!["names no task; write card = \"...\", or family and params".into()]),
            (Some(_), Some(_)) => return Err(vec!["names both card and family; keep one of them".into()]),
        };
        // The examples of a finite set are not needed, only the rule that makes them.
        let data = DataSpec { stream: Some(true), test_examples: 0, ..DataSpec::default() };
        let task = card.build_for(&data).map_err(|error| messages(&error))?;
        let rule = task.rule.expect("invariant: a family that can stream has a rule");
        match rule.widths() {
            Some(_) => Err(vec!["has real numbers, which no vocabulary can hold; take a task of tokens".into()]),
            None => Ok(rule),
        }
    }
}

/// The card of this name, or the file in `folder` when it ends in `.toml`.
fn read_card(name: &str, folder: &Path) -> Result<Card, Vec<String>> {
    let path = folder.join(name);
    let place = if name.ends_with(".toml") { path.to_string_lossy() } else { name.into() };
    let (path, text) = find::text(&place).map_err(|error| messages(&error))?;
    // Before the card is parsed: one that names itself would be parsed without end.
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    if let Some(name) = table.get("family").and_then(toml::Value::as_str) {
        family_fault(name).map_or(Ok(()), |message| Err(vec![message]))?;
    }
    let in_card = |message| format!("{}: {message}", path.display());
    Card::parse(&path, &text).map_err(|error| messages(&error).into_iter().map(in_card).collect())
}

/// The card of a family's parameters, as if it lay in `folder`.
fn made_card(family: &str, params: &toml::Table, folder: &Path) -> Result<Card, Vec<String>> {
    if let Some(message) = family_fault(family) {
        return Err(vec![message]);
    }
    let split = toml::Table::from_iter([("stream".to_owned(), true.into())]);
    let table = toml::Table::from_iter([
        ("title".to_owned(), "a task of a mixture".into()),
        ("family".to_owned(), family.into()),
        ("params".to_owned(), params.clone().into()),
        ("split".to_owned(), split.into()),
    ]);
    let text = toml::to_string(&table).expect("invariant: a table that was TOML can be written as TOML");
    let path: PathBuf = folder.join("part.toml");
    // The lines are those of a text that nobody has written.
    Card::parse(&path, &text).map_err(|error| match error {
        Error::Spec { faults, .. } => faults.into_iter().map(|f| Fault { line: None, ..f }.to_string()).collect(),
        other => messages(&other),
    })
}

/// What is wrong with the family of this name as a part of a mixture; one that nobody knows is the card's own fault.
fn family_fault(name: &str) -> Option<String> {
    if name == MIXTURE {
        return Some("is itself a mixture; name the tasks that it mixes instead".into());
    }
    let is_finite = family(name).is_some_and(|family| !family.can_stream());
    is_finite.then(|| format!("the family {name} has no rule to draw examples by; take a task of another family"))
}

/// An error in one line, or in one for each fault.
fn messages(error: &Error) -> Vec<String> {
    match error {
        Error::Spec { faults, .. } => faults.iter().map(Fault::to_string).collect(),
        Error::Io { .. } => vec![format!("{error}: {}", error.cause().join("; "))],
        _ => vec![error.hint().map_or(error.to_string(), |hint| format!("{error}; {hint}"))],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults};

    const SORT: &str = "{ family = \"sort\", params = { values = 10, length = 4 } }";

    #[test]
    fn files_lie_beside_the_card() {
        let folder = tempfile::tempdir().unwrap();
        let sort = "title = \"t\"\nfamily = \"sort\"\nparams = { values = 3, length = 2 }\nsplit = { stream = true }\n";
        std::fs::write(folder.path().join("mine.toml"), sort).unwrap();
        let own = |tasks: &str| {
            let text = format!(
                "title = \"t\"\nfamily = \"mixture\"\nparams = {{ tasks = [{tasks}] }}\nsplit = {{ stream = true }}\n"
            );
            let path = folder.path().join("mixed.toml");
            std::fs::write(&path, &text).unwrap();
            Card::parse(&path, &text)
        };
        let rule = own(&format!("{{ card = \"mine.toml\" }}, {SORT}")).unwrap().build().unwrap().rule.unwrap();
        assert_eq!(drawing(&*rule, &[0, 2, 1]).words[..5], ["START", "2", "1", "MID", "1"]);
        // One that names itself ends.
        let found = own(&format!("{{ card = \"mixed.toml\" }}, {SORT}")).unwrap_err().cause();
        assert_eq!(found, ["line 3: params.tasks[0]: is itself a mixture; name the tasks that it mixes instead"]);
        std::fs::write(folder.path().join("mine.toml"), sort.replace("values = 3", "values = 1")).unwrap();
        let found = own(&format!("{{ card = \"mine.toml\" }}, {SORT}")).unwrap_err().cause();
        let message = "mine.toml: line 3: params.values: 1 is out of range; it must be 2 to 1024";
        assert!(found.len() == 1 && found[0].ends_with(message), "{found:?}");
    }

    #[test]
    fn faults_name_their_task() {
        for (params, message) in [
            (
                format!("tasks = [{SORT}, {{ }}]"),
                "params.tasks[1]: names no task; write card = \"...\", or family and params",
            ),
            (
                format!("tasks = [{SORT}, {{ card = \"reverse_8\", family = \"sort\" }}]"),
                "params.tasks[1]: names both card and family; keep one of them",
            ),
            (
                format!("tasks = [{SORT}, {{ card = \"reverse_8\", params = {{ values = 3 }} }}]"),
                "params.tasks[1]: params stands beside card, which has its own; remove it, or name a family",
            ),
            (
                format!("tasks = [{SORT}, {{ card = \"revers_8\" }}]"),
                "params.tasks[1]: there is no task named `revers_8`; did you mean `reverse_8`?",
            ),
            (
                format!("tasks = [{SORT}, {{ card = \"none.toml\" }}]"),
                "params.tasks[1]: the task card is missing: none.toml; `phaselab list` shows the tasks that are known by name",
            ),
            (
                format!("tasks = [{{ card = \"mod_add_113\" }}, {SORT}]"),
                "params.tasks[0]: the family modular has no rule to draw examples by; take a task of another family",
            ),
            (
                format!("tasks = [{{ family = \"random_labels\" }}, {SORT}]"),
                "params.tasks[0]: the family random_labels has no rule to draw examples by; take a task of another family",
            ),
            (
                format!("tasks = [{SORT}, {{ card = \"mixture_sort_reverse\" }}]"),
                "params.tasks[1]: is itself a mixture; name the tasks that it mixes instead",
            ),
            (
                format!("tasks = [{SORT}, {{ family = \"mixture\" }}]"),
                "params.tasks[1]: is itself a mixture; name the tasks that it mixes instead",
            ),
            (
                format!("tasks = [{SORT}, {{ family = \"srt\" }}]"),
                "params.tasks[1]: family: there is no task family `srt`; did you mean `sort`?",
            ),
            (
                format!("tasks = [{SORT}, {{ family = \"sort\", params = {{ values = 1, length = 4 }} }}]"),
                "params.tasks[1]: params.values: 1 is out of range; it must be 2 to 1024",
            ),
        ] {
            assert_eq!(faults("mixture", &params), [format!("line 3: {message}")], "{params}");
        }
    }
}
