//! Zip archives of other tools (`.npz`, `.pth`), read into memory and no further than the file can honestly hold.
//!
//! Nothing is ever unpacked to disk, so names inside an archive reach no folder; those that try are refused all the same.

use std::io::{Cursor, Read};
use std::path::{Component, Path};

use zip::{CompressionMethod, ZipArchive};

use super::value::Parsed;

/// How a zip file begins.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// Bytes that an archive may give at most: so many times its own, and [`FLOOR`] more. Weights shrink to no less than a third.
pub const EXPANSION: u64 = 64;
/// See [`EXPANSION`].
pub const FLOOR: u64 = 64 << 20;

/// An archive in memory.
pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    left: u64,
}

impl<'a> Archive<'a> {
    /// Reads the table of contents.
    ///
    /// # Errors
    /// No archive, names that leave it, names that stand twice.
    pub fn open(bytes: &'a [u8]) -> Parsed<Archive<'a>> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("the zip archive cannot be read: {e}"))?;
        let left = (bytes.len() as u64).saturating_mul(EXPANSION).saturating_add(FLOOR);
        for name in zip.file_names() {
            let name = name.map_err(|e| format!("the zip archive cannot be read: {e}"))?;
            let inside = Path::new(name.as_ref()).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || name.contains('\\') {
                return Err(format!("the archive has the entry `{name}`, a path that leaves it; no tool writes such"));
            }
        }
        Ok(Archive { zip, left })
    }

    /// Names of the entries, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.zip.file_names().flatten().map(|name| name.into_owned()).collect();
        names.sort();
        names
    }

    /// An entry, its checksum verified.
    ///
    /// # Errors
    /// No such entry, a compression other than deflate, more bytes than an honest archive has, a wrong checksum.
    pub fn read(&mut self, name: &str) -> Parsed<Vec<u8>> {
        let entry = self.zip.by_name(name).map_err(|e| format!("entry `{name}` of the archive: {e}"))?;
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(format!("entry `{name}` is compressed by {:?}, which is not read", entry.compression()));
        }
        // The declared size is not believed: memory grows with what comes out.
        let mut bytes = vec![];
        let limit = self.left;
        entry.take(limit + 1).read_to_end(&mut bytes).map_err(|e| format!("entry `{name}` is damaged: {e}"))?;
        if bytes.len() as u64 > limit {
            return Err(format!("entry `{name}` unpacks to more than an archive of this size may hold"));
        }
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }
}
