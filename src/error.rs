//! The one error type of the library.
//!
//! Variants carry fields, not sentences; [`Error::cause`] and [`Error::hint`] turn them into the second and third line
//! that the command line prints, and [`Error::exit_code`] into its exit status.

use std::path::{Path, PathBuf};

/// Kinds of names that `phaselab list` shows.
const LISTED: [&str; 5] = ["task", "measure", "figure", "term", "experiment"];

/// What [`Error::Io`] says of an action that writes.
const WRITING: [&str; 7] = ["create the folder", "create", "lock", "remove", "rename", "write", "write to the disk"];

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing wrong in a card, a spec or a `--set` argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, counted from 1; none where the fault came from `--set` or a missing key.
    pub line: Option<usize>,
    /// The dotted key it is about, e.g. `model.d_head`.
    pub key: String,
    /// What is wrong, and the nearest right thing.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}: {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// Everything that can go wrong in phaselab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A card or spec has faults; all of them are listed.
    #[error("{} has {} fault{}", path.display(), faults.len(), if faults.len() == 1 { "" } else { "s" })]
    Spec {
        /// The file, or `--set` where there is none.
        path: PathBuf,
        /// All that was found, in file order.
        faults: Vec<Fault>,
    },
    /// A name that no registry or folder knows.
    #[error("there is no {kind} named `{name}`")]
    Unknown {
        /// What was looked for: `task`, `experiment`, `measure`, `figure`, `hook`, …
        kind: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Sizes that do not fit together.
    #[error("{op}: got {got}, expected {expected}")]
    Shape {
        /// Operation or tensor.
        op: String,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// An argument outside its range.
    #[error("{what} is {got}; it must be {expected}")]
    Value {
        /// The argument.
        what: String,
        /// Its value.
        got: String,
        /// The allowed values.
        expected: String,
    },
    /// A file or a part of one that is not there.
    #[error("{what} is missing: {}", path.display())]
    Missing {
        /// What was looked for.
        what: String,
        /// Where.
        path: PathBuf,
        /// The command or step that makes it.
        hint: String,
    },
    /// A file that is there and cannot be trusted.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found (truncated, checksum of which dataset, …).
        cause: String,
    },
    /// A file written by a later phaselab.
    #[error("{} has format {found}, newer than this phaselab reads ({supported})", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format number.
        found: u64,
        /// The newest that is read here.
        supported: u64,
    },
    /// `--resume` on a folder that was made with something else.
    #[error("{} was made with another {what}", path.display())]
    ResumeMismatch {
        /// The run folder.
        path: PathBuf,
        /// What differs: `spec`, `plan`, …
        what: &'static str,
        /// The differing lines, old and new.
        differs: Vec<String>,
    },
    /// Something that would be overwritten.
    #[error("{} already exists", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
        /// How to go on.
        hint: String,
    },
    /// A run folder that another process is writing.
    #[error("{} is being written by another process", path.display())]
    Locked {
        /// The run folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// A verb phrase: `create the folder`, `write`, `rename`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        #[source]
        source: std::io::Error,
    },
    /// All replicas have met a non-finite loss or gradient.
    #[error("all {replicas} replicas have met a non-finite loss or gradient (the last at step {step})")]
    NonFinite {
        /// How many.
        replicas: usize,
        /// When the last one did.
        step: u64,
    },
    /// Ctrl-C or a termination signal.
    #[error("stopped at step {step} on request")]
    Interrupted {
        /// The last finished step.
        step: u64,
        /// The run folder.
        path: PathBuf,
        /// Whether a resume point is there from which the command goes on.
        resumes: bool,
    },
    /// A model, layer or loss from outside failed, or is not in this program.
    #[error("{kind} `{name}` {what}")]
    Outside {
        /// `model`, `layer` or `loss`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What it did: `cannot be called`, …
        what: String,
        /// Why, in the words of the library that it is written with.
        cause: String,
        /// What to do about it.
        hint: String,
    },
    /// A file of another tool that does not become a run.
    #[error("cannot import {}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or what it needs, a line each.
        causes: Vec<String>,
        /// How to go on.
        hint: String,
    },
    /// An import that an argument must decide, or whose arguments do not go with the files.
    #[error("cannot import {}", path.display())]
    ImportArguments {
        /// The file.
        path: PathBuf,
        /// What is left open, or contradicts what, a line each.
        causes: Vec<String>,
        /// The argument that decides.
        hint: String,
    },
    /// A checkpoint that another tool's format cannot hold.
    #[error("cannot export to {format}: {cause}")]
    Export {
        /// The format.
        format: &'static str,
        /// Why.
        cause: String,
        /// How to go on.
        hint: String,
    },
    /// A GPU that was asked for and cannot be used.
    #[error("cannot use a GPU: {what}")]
    Gpu {
        /// What is missing, or what went wrong.
        what: String,
        /// What was tried, a line each.
        causes: Vec<String>,
        /// How to go on.
        hint: String,
    },
    /// A figure could not be drawn.
    #[error("cannot draw {}", path.display())]
    Draw {
        /// The picture.
        path: PathBuf,
        /// The drawing library's words.
        cause: String,
    },
}

impl Error {
    /// An [`Error::Io`] from a system error, for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// Why, in one or more lines.
    pub fn cause(&self) -> Vec<String> {
        match self {
            Error::Spec { faults, .. } => faults.iter().map(Fault::to_string).collect(),
            Error::Damaged { cause, .. } | Error::Draw { cause, .. } | Error::Outside { cause, .. } => {
                vec![cause.clone()]
            }
            Error::ResumeMismatch { differs, .. } => differs.clone(),
            Error::Import { causes, .. } | Error::ImportArguments { causes, .. } | Error::Gpu { causes, .. } => {
                causes.clone()
            }
            Error::Io { source, .. } => vec![source.to_string()],
            Error::Unknown { known, .. } if !known.is_empty() => vec![format!("known: {}", known.join(", "))],
            _ => vec![],
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Unknown { kind, name, known } => match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None if LISTED.contains(kind) => Some(format!("`phaselab list` shows every {kind}")),
                None => None,
            },
            Error::Missing { hint, .. }
            | Error::Exists { hint, .. }
            | Error::Outside { hint, .. }
            | Error::Import { hint, .. }
            | Error::ImportArguments { hint, .. }
            | Error::Gpu { hint, .. }
            | Error::Export { hint, .. } => Some(hint.clone()),
            Error::Damaged { path, .. } => Some(mend(path).into()),
            Error::NewerFormat { .. } => Some("read it with the phaselab that wrote it, or a later one".into()),
            Error::ResumeMismatch { .. } => {
                Some("give the spec that the folder was made with, or start anew in another folder with --out".into())
            }
            Error::Io { source, path, action } => match source.kind() {
                std::io::ErrorKind::StorageFull => Some(
                    "free some space, then go on with --resume: everything that was finished before is still there"
                        .into(),
                ),
                std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::NotADirectory
                    if WRITING.contains(action) =>
                {
                    Some(format!("choose a folder that you may write to with --out (this one is {})", path.display()))
                }
                std::io::ErrorKind::PermissionDenied => Some("allow it to be read, or name another".into()),
                std::io::ErrorKind::NotADirectory => {
                    Some("a part of this path is a file and no folder; name another".into())
                }
                _ => None,
            },
            Error::Locked { .. } => Some("wait until it ends, or write elsewhere with --out".into()),
            Error::Interrupted { path, resumes: true, .. } => {
                Some(format!("a resume point is in {}; go on with --resume", path.display()))
            }
            Error::Interrupted { path, resumes: false, .. } => {
                Some(format!("nothing was written into {}; the same command begins anew", path.display()))
            }
            // Before the first update the learning rate has done nothing.
            Error::NonFinite { step: 0, .. } => {
                Some("it is so from the start: look at model.act, model.init_scale and loss.terms".into())
            }
            Error::NonFinite { .. } => Some("lower optim.lr, or set optim.clip_norm".into()),
            _ => None,
        }
    }

    /// The exit status that the command line gives: 2 usage or spec, 3 missing or damaged data, 4 not-a-number, 130.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Missing { .. }
            | Error::Damaged { .. }
            | Error::Import { .. }
            | Error::NewerFormat { .. }
            | Error::Io { .. } => 3,
            Error::NonFinite { .. } => 4,
            Error::Interrupted { .. } => 130,
            _ => 2,
        }
    }
}

/// What to do about a damaged file, by what it holds; nothing is to be deleted that cannot be made again.
fn mend(path: &Path) -> &'static str {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (name, folder) = (part(path.file_name()), part(path.parent().and_then(Path::file_name)));
    match (folder.as_str(), name.as_str()) {
        (_, "run.h5") => {
            "copy it from a backup, or train again into another folder with --out; do not delete it: the checkpoints in it \
             that are whole can still be read"
        }
        ("resume", _) => "delete it and go on with --resume, from the resume point before it",
        ("snapshots", _) => "delete it, which loses the checkpoint of its step alone, and go on with --resume",
        ("measures", _) => "`phaselab measure RUN` with the measure's name makes it anew",
        (_, "variants.toml") => "copy it from a backup, or run the experiment again with --force",
        (_, "run.toml") => "copy it from a backup; without it nothing tells what the run's files are",
        _ => "copy it from a backup, or make it again",
    }
}

/// The known name closest to `name`, if one is close enough to be a slip of the hand.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|&(distance, k)| distance <= (name.len().max(k.len()) / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_neighbour_and_nonsense_finds_none() {
        let known = ["weight_decay", "lr", "betas"];
        assert_eq!(nearest("weigth_decay", known.into_iter()), Some("weight_decay"));
        assert_eq!(nearest("momentum", known.into_iter()), None);
    }

    #[test]
    fn a_damaged_file_is_deleted_only_where_that_loses_little() {
        let hint = |path: &str| Error::Damaged { path: path.into(), cause: String::new() }.hint().unwrap_or_default();
        for (path, does) in [
            ("checkpoints/a/resume/point_0000000008.h5", "delete it and go on with --resume"),
            ("checkpoints/a/snapshots/step_0000000008.h5", "delete it"),
            ("checkpoints/a/run.h5", "copy it from a backup, or train again into another folder with --out"),
            ("checkpoints/a/measures/loss.h5", "`phaselab measure RUN`"),
            ("checkpoints/a/variants.toml", "run the experiment again with --force"),
            ("acts.h5", "copy it from a backup"),
        ] {
            assert!(hint(path).starts_with(does) || hint(path).contains(does), "{path}: {}", hint(path));
            assert!(!hint(path).contains("phaselab check"), "{path}");
            assert_eq!(hint(path).starts_with("delete"), path.contains("/resume/") || path.contains("/snapshots/"));
        }
    }

    #[test]
    fn a_folder_to_write_to_is_asked_for_by_what_writes() {
        let hint = |action| Error::io(action, Path::new("a"))(std::io::ErrorKind::PermissionDenied.into()).hint();
        for action in WRITING {
            assert!(hint(action).is_some_and(|hint| hint.contains("--out")), "{action}");
        }
        for action in ["read", "open", "list"] {
            assert!(hint(action).is_some_and(|hint| !hint.contains("--out")), "{action}");
        }
    }

    #[test]
    fn what_is_stopped_goes_on_with_resume_only_where_it_can() {
        let hint = |resumes| Error::Interrupted { step: 8, path: "a".into(), resumes }.hint().unwrap_or_default();
        assert!(hint(true).contains("--resume"));
        assert!(hint(false).contains("nothing was written into a") && !hint(false).contains("--resume"));
    }
}
