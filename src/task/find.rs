//! Where cards are: the working folder first, the binary second.
//!
//! Reads `tasks/*.toml` and the cards that the build put into the binary; writes names, and the text of one card.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The cards in the binary: (name, TOML text), in order of name.
pub const CARDS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/cards.rs"));

/// Folder of the cards, in the repository and in a working folder.
const FOLDER: &str = "tasks";

/// The names of all cards, in the working folder and in the binary, ascending.
pub fn list() -> Vec<String> {
    list_in(Path::new(FOLDER))
}

fn list_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = CARDS.iter().map(|&(name, _)| name.to_owned()).collect();
    // No such folder is the usual case: the binary's cards are then all there are.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "toml") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Path and text of a card: a path ending in `.toml` as it is, a name in the working folder first and in the binary second.
pub(super) fn text(name_or_path: &str) -> Result<(PathBuf, String)> {
    text_in(Path::new(FOLDER), name_or_path)
}

fn text_in(folder: &Path, name_or_path: &str) -> Result<(PathBuf, String)> {
    let is_path = name_or_path.ends_with(".toml");
    let path = if is_path { PathBuf::from(name_or_path) } else { folder.join(format!("{name_or_path}.toml")) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("read", &path)(e)),
        Err(_) if is_path => {
            let hint = "`phaselab list` shows the tasks that are known by name".into();
            Err(Error::Missing { what: "the task card".into(), path, hint })
        }
        Err(_) => match CARDS.iter().find(|(name, _)| *name == name_or_path) {
            Some(&(_, text)) => Ok((path, text.to_owned())),
            None => Err(Error::Unknown { kind: "task", name: name_or_path.into(), known: list_in(folder) }),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Task;
    use super::*;

    #[test]
    fn the_binary_holds_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert_eq!(paths.len(), CARDS.len());
        for (path, &(name, text)) in paths.iter().zip(CARDS) {
            assert_eq!(path.file_name().unwrap().to_str(), Some(format!("{name}.toml").as_str()));
            assert_eq!(std::fs::read_to_string(path).unwrap(), text, "{name}");
        }
    }

    #[test]
    fn a_card_in_the_working_folder_wins_and_a_new_one_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("mod_add_113.toml", "title = \"mine\"\n");
        write("new_one.toml", "");
        write("notes.txt", "");
        assert_eq!(text_in(folder.path(), "mod_add_113").unwrap().1, "title = \"mine\"\n");
        assert!(text_in(folder.path(), "mod_add_97").unwrap().1.contains("p = 97"));
        let names = list_in(folder.path());
        assert_eq!(names.len(), CARDS.len() + 1);
        assert!(names.is_sorted() && names.contains(&"new_one".to_owned()));
    }

    #[test]
    fn a_wrong_name_gets_the_nearest_and_a_missing_file_its_path() {
        let unknown = Task::load("mod_ad_113").unwrap_err();
        assert_eq!(unknown.to_string(), "there is no task named `mod_ad_113`");
        assert_eq!(unknown.hint().as_deref(), Some("did you mean `mod_add_113`?"));
        let missing = Task::load("no/such/card.toml").unwrap_err();
        assert_eq!(missing.to_string(), "the task card is missing: no/such/card.toml");
    }
}
