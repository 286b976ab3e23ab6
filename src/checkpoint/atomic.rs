//! Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder.
//!
//! Reads and writes: any file. A temporary name starts with [`TEMPORARY`], which every reader here skips and the next
//! writer that opens the folder removes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How the name of an unfinished file starts.
pub const TEMPORARY: &str = ".tmp-";

/// Makes the file `path` with `fill`, which writes it under the name that it is given.
///
/// `replace` says whether a file of that name may be there; it is then swapped in one step.
///
/// # Errors
/// [`Error::Exists`] without `replace`; whatever `fill` gives; [`Error::Io`]. The temporary file is then gone.
pub fn write(path: &Path, replace: bool, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = temporary_path(path);
    let done = refuse_existing(path, replace)
        .and_then(|()| fill(&temporary))
        .and_then(|()| refuse_existing(path, replace))
        .and_then(|()| publish(&temporary, path));
    if done.is_err() {
        // The first error is the one to report; a file that was never made cannot be removed.
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Writes a small text file, as [`write`] does.
///
/// # Errors
/// As [`write`].
pub fn write_text(path: &Path, replace: bool, text: &str) -> Result<()> {
    write(path, replace, |temporary| fs::write(temporary, text).map_err(Error::io("write", path)))
}

/// Name under which `path` is written by this process.
pub fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY}{}-{name}", std::process::id()))
}

/// Makes a finished temporary file durable, then gives it its name.
///
/// # Errors
/// [`Error::Io`].
pub fn publish(temporary: &Path, path: &Path) -> Result<()> {
    let file = File::open(temporary).map_err(Error::io("open", temporary))?;
    file.sync_all().map_err(Error::io("write to the disk", path))?;
    drop(file);
    fs::rename(temporary, path).map_err(Error::io("rename", temporary))?;
    sync_folder(path)
}

/// Makes the names in the folder of `path` durable.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_folder(path: &Path) -> Result<()> {
    // Other systems than Unix cannot open a folder, and keep renames in their journal.
    if cfg!(unix) {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let opened = File::open(folder).map_err(Error::io("open the folder", folder))?;
        opened.sync_all().map_err(Error::io("write to the disk", folder))?;
    }
    Ok(())
}

/// Removes what killed writers left in `folder`. A folder that is not there has nothing.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for path in list(folder)? {
        if is_temporary(&path) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a name is that of an unfinished file.
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY))
}

/// What is in `folder`, sorted by name; nothing when there is no such folder.
///
/// # Errors
/// [`Error::Io`].
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(Error::io("list", folder)(e)),
    };
    let mut paths = vec![];
    for entry in entries {
        paths.push(entry.map_err(Error::io("list", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The files `<prefix><digits>.h5` of `folder` with their numbers, in order of number.
///
/// # Errors
/// [`Error::Io`].
pub fn numbered(folder: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(prefix)?.strip_suffix(".h5")?.parse::<u64>().ok()
    };
    let mut found: Vec<(u64, PathBuf)> =
        list(folder)?.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    Ok(found)
}

fn refuse_existing(path: &Path, replace: bool) -> Result<()> {
    if !replace && path.symlink_metadata().is_ok() {
        let hint = "it is kept as it is; remove it, or write elsewhere with --out".into();
        return Err(Error::Exists { path: path.to_path_buf(), hint });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_stays_unless_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_text(&path, false, "one").unwrap();
        assert!(matches!(write_text(&path, false, "two"), Err(Error::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write_text(&path, true, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(list(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        let failed = write(&path, false, |temporary| {
            fs::write(temporary, "half").unwrap();
            Err(Error::io("write", temporary)(std::io::ErrorKind::StorageFull.into()))
        });
        assert!(matches!(failed, Err(Error::Io { .. })));
        assert!(list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn numbers_are_read_from_names_and_other_files_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["step_0000000010.h5", "step_12345678901.h5", "step_2.h5", ".tmp-1-step_3.h5", "step_x.h5"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let numbers: Vec<u64> = numbered(dir.path(), "step_").unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [2, 10, 12_345_678_901]);
    }
}
