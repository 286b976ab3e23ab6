//! Records -> HDF5 files. With `hdf5_read.rs` the only code that knows the HDF5 crate.
//!
//! Writes any `.h5` file of a run, under the name that it is given: giving it its final name is [`super::atomic`]'s
//! work. Arrays are chunked, shuffled and deflated; empty ones and single numbers are stored plainly, since HDF5 has
//! no chunks for them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rust_hdf5::{H5Dataset, H5File, H5Type};

use super::FORMAT;
use super::hdf5_read::{Reader, system_error};
use super::record::{Attr, Element, Record, crc32, with_numbers};
use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::tensor::{Data, Tensor};

/// Deflate level. Shuffled float parameters get no smaller above 1 (5.66 MB of noise: 4.73 MB at 1, 4.75 MB at 4), and
/// level 4 takes about five times as long.
const DEFLATE: u32 = 1;

/// Slices of the leading axis from this size on get a chunk of their own; smaller ones share one.
const CHUNK_BYTES: usize = 16 << 10;

/// Writes a record into the new file `path`, without making it durable.
///
/// # Errors
/// [`Error::Io`], with [`std::io::ErrorKind::StorageFull`] where the disk is full.
pub fn write(path: &Path, record: &Record) -> Result<()> {
    write_as(FORMAT, path, record)
}

/// As [`write`], with another format number.
fn write_as(format: u64, path: &Path, record: &Record) -> Result<()> {
    let file = create(path)?;
    let written = guarded(path, || put_record(&file, format, record, &[]));
    close(path, file, written)
}

/// One dataset of a [`StackWriter`].
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Shape of one slice.
    pub shape: Vec<usize>,
    /// Type of its numbers.
    pub element: Element,
}

/// A file of datasets `[slices, …]` that are filled slice by slice, so that one slice at a time is in memory.
pub struct StackWriter {
    file: H5File,
    path: PathBuf,
    stacks: Vec<(Stack, H5Dataset, Vec<u32>)>,
}

impl StackWriter {
    /// Starts the file `path` with room for `n_slices` slices of each stack.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path, stacks: Vec<Stack>, n_slices: usize) -> Result<StackWriter> {
        let file = create(path)?;
        let made = guarded(path, || {
            create_groups(&file, stacks.iter().map(|stack| stack.name.as_str()), &[])?;
            let with_dataset = |stack: Stack| {
                let shape: Vec<usize> = std::iter::once(n_slices).chain(stack.shape.iter().copied()).collect();
                let chunk = chunk_dims(&stack.shape, stack.element).map(|chunk| [&[1], &chunk[..]].concat());
                let dataset = match stack.element {
                    Element::F32 => create_dataset::<f32>(&file, &stack.name, &shape, chunk)?,
                    Element::F64 => create_dataset::<f64>(&file, &stack.name, &shape, chunk)?,
                    Element::U8 => create_dataset::<u8>(&file, &stack.name, &shape, chunk)?,
                    Element::U32 => create_dataset::<u32>(&file, &stack.name, &shape, chunk)?,
                    Element::U64 => create_dataset::<u64>(&file, &stack.name, &shape, chunk)?,
                };
                Ok((stack, dataset, vec![0; n_slices]))
            };
            stacks.into_iter().map(with_dataset).collect::<rust_hdf5::Result<Vec<_>>>()
        });
        match made {
            Ok(stacks) => Ok(StackWriter { file, path: path.to_path_buf(), stacks }),
            Err(e) => {
                abandon(file);
                Err(e)
            }
        }
    }

    /// Fills slice `at` of every stack from the datasets of the same names in `source`: whole ones, or their slice
    /// `from`. Compressed chunks and their checksums are copied as they are.
    ///
    /// # Errors
    /// [`Error::Damaged`] about the source when shapes or types differ; [`Error::Io`].
    pub fn copy(&mut self, at: usize, source: &Reader, from: Option<usize>) -> Result<()> {
        for (stack, dataset, checksums) in &mut self.stacks {
            source.expect_slice(stack, from)?;
            checksums[at] = match from {
                None => source.checksum(&stack.name)?,
                Some(from) => source.slice_checksums(&stack.name)?[from],
            };
            let n_chunks = match chunk_dims(&stack.shape, stack.element) {
                Some(chunk) => stack.shape[0] / chunk[0],
                None => 0,
            };
            for chunk in 0..n_chunks {
                let (bytes, filter_mask) = source.stored_chunk(&stack.name, from, chunk)?;
                let mut coords = vec![0; 1 + stack.shape.len()];
                coords[..2].copy_from_slice(&[at, chunk]);
                guarded(&self.path, || dataset.write_chunk_raw_at(&coords, &bytes, filter_mask))?;
            }
        }
        Ok(())
    }

    /// Gives the file up; it must be removed.
    pub fn abandon(self) {
        drop(self.stacks);
        abandon(self.file);
    }

    /// Adds the record's attributes and arrays and the checksums of the slices, and closes the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self, record: &Record) -> Result<()> {
        let StackWriter { file, path, stacks } = self;
        let names: Vec<String> = stacks.iter().map(|(stack, _, _)| stack.name.clone()).collect();
        let mut record = record.clone();
        for (stack, _, checksums) in &stacks {
            let name = format!("checksums/{}", stack.name);
            record.tensors.push(Tensor::new(name, vec![checksums.len()], Data::U32(checksums.clone()))?);
        }
        let written = guarded(&path, || put_record(&file, FORMAT, &record, &names));
        drop(stacks);
        close(&path, file, written)
    }
}

/// Shape of a chunk: one slice of the leading axis when that is large, else the whole; none where HDF5 has no chunks.
fn chunk_dims(shape: &[usize], element: Element) -> Option<Vec<usize>> {
    let (&n, rest) = shape.split_first()?;
    let slice_bytes = rest.iter().product::<usize>() * element.size_bytes();
    match (n * slice_bytes, slice_bytes >= CHUNK_BYTES) {
        (0, _) => None,
        (_, true) => Some([&[1], rest].concat()),
        (_, false) => Some(shape.to_vec()),
    }
}

/// Attributes, table of contents and arrays; `stacks` are datasets that the file already has.
fn put_record(file: &H5File, format: u64, record: &Record, stacks: &[String]) -> rust_hdf5::Result<()> {
    let text = |name: &str, value: &str| (name.to_owned(), Attr::Text(value.to_owned()));
    let mut attrs = vec![
        ("phaselab_format".to_owned(), Attr::U64(format)),
        text("phaselab_version", env!("CARGO_PKG_VERSION")),
        text("git_commit", option_env!("PHASELAB_GIT_COMMIT").unwrap_or("unknown")),
        text("kind", record.kind.name()),
    ];
    // A record that was read carries the version and commit of its writer; the writer of this file is this program.
    let own: Vec<String> = attrs.iter().map(|(name, _)| name.clone()).collect();
    attrs.extend(record.attrs.iter().filter(|(name, _)| !own.contains(name)).cloned());
    let contents: Vec<String> = stacks
        .iter()
        .cloned()
        .chain(record.tensors.iter().map(|tensor| tensor.name.clone()))
        .chain(attrs.iter().map(|(name, _)| format!("attributes/{name}")))
        .collect();
    attrs.push(text("contents", &contents.join("\n")));
    let new = record.tensors.iter().map(|tensor| tensor.name.as_str()).chain(["attributes/"]);
    create_groups(file, new, stacks)?;
    for (name, value) in &attrs {
        put_attr(file, name, value)?;
    }
    record.tensors.iter().try_for_each(|tensor| put_tensor(file, tensor))
}

/// An attribute of the file, for people and h5py, and its checksummed copy, for [`Reader`].
fn put_attr(file: &H5File, name: &str, value: &Attr) -> rust_hdf5::Result<()> {
    let (shape, data) = match value {
        Attr::Text(text) => {
            file.set_attr_string(name, text)?;
            (vec![text.len()], Data::U8(text.clone().into_bytes()))
        }
        Attr::U64(count) => {
            file.set_attr_numeric(name, count)?;
            (vec![], Data::U64(vec![*count]))
        }
        Attr::F64(real) => {
            file.set_attr_numeric(name, real)?;
            (vec![], Data::F64(vec![*real]))
        }
    };
    put_tensor(file, &Tensor { name: format!("attributes/{name}"), shape, data })
}

fn put_tensor(file: &H5File, tensor: &Tensor) -> rust_hdf5::Result<()> {
    with_numbers!(&tensor.data, v => put_numbers(file, tensor, v))
}

fn put_numbers<T: H5Type>(file: &H5File, tensor: &Tensor, numbers: &[T]) -> rust_hdf5::Result<()> {
    let chunk = chunk_dims(&tensor.shape, Element::of(&tensor.data));
    let dataset = create_dataset::<T>(file, &tensor.name, &tensor.shape, chunk)?;
    if !numbers.is_empty() {
        dataset.write_raw(numbers)?;
    }
    dataset.new_attr::<u32>().shape(()).create("crc32")?.write_numeric(&crc32(&tensor.data))
}

fn create_dataset<T: H5Type>(
    file: &H5File,
    name: &str,
    shape: &[usize],
    chunk: Option<Vec<usize>>,
) -> rust_hdf5::Result<H5Dataset> {
    let builder = file.new_dataset::<T>().shape(shape);
    match chunk {
        Some(chunk) => builder.chunk(&chunk).shuffle_deflate(DEFLATE).create(name),
        None => builder.create(name),
    }
}

/// Makes the groups that `names` need, where those of `present` are already there.
fn create_groups<'a>(file: &H5File, names: impl Iterator<Item = &'a str>, present: &[String]) -> rust_hdf5::Result<()> {
    let there: BTreeSet<&str> = present.iter().flat_map(|name| ancestors(name)).collect();
    // Sorted, so that a group comes before those inside it.
    let wanted: BTreeSet<&str> = names.flat_map(ancestors).collect();
    wanted.difference(&there).try_for_each(|name| file.create_group(name).map(drop))
}

/// `a/b/c` -> `a`, `a/b`.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn create(path: &Path) -> Result<H5File> {
    // The lock of the run folder keeps other writers away.
    guarded(path, || H5File::options().no_locking().create(path))
}

/// Finalizes the file if `written` went well; the first error counts.
fn close(path: &Path, file: H5File, written: Result<()>) -> Result<()> {
    match written {
        Ok(()) => guarded(path, || file.close_no_sync()),
        Err(e) => {
            abandon(file);
            Err(e)
        }
    }
}

/// Closes a file that will be removed. Dropping it instead would print that it is incomplete.
fn abandon(file: H5File) {
    let _ = quietly(|| file.close_no_sync());
}

fn guarded<T>(path: &Path, f: impl FnOnce() -> rust_hdf5::Result<T>) -> Result<T> {
    let source = match quietly(f) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(e)) => system_error(&e).unwrap_or_else(|| io::Error::other(e.to_string())),
        Err(panic) => io::Error::other(panic),
    };
    Err(Error::io("write", path)(source))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::checkpoint::record::Kind;

    #[test]
    fn large_slices_have_their_own_chunks() {
        assert_eq!(chunk_dims(&[8, 64, 64], Element::F32), Some(vec![1, 64, 64]));
        assert_eq!(chunk_dims(&[8, 64, 63], Element::F32), Some(vec![8, 64, 63]));
        assert_eq!(chunk_dims(&[8, 64, 63], Element::F64), Some(vec![1, 64, 63]));
        assert_eq!(chunk_dims(&[8, 0], Element::F32), None);
        assert_eq!(chunk_dims(&[], Element::F32), None);
    }

    #[test]
    fn hdf5_of_another_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.h5");
        H5File::create(&path).unwrap().close().unwrap();
        match Reader::open(&path).map(|_| ()) {
            Err(Error::Damaged { cause, .. }) => assert!(cause.contains("phaselab_format"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.h5");
        write_as(FORMAT + 1, &path, &Record { kind: Kind::Run, attrs: vec![], tensors: vec![] }).unwrap();
        match Reader::open(&path).map(|_| ()) {
            Err(Error::NewerFormat { found, supported, .. }) => assert_eq!((found, supported), (FORMAT + 1, FORMAT)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slice_that_is_not_what_its_checksum_says_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (source, packed) = (dir.path().join("source.h5"), dir.path().join("packed.h5"));
        let param = Tensor::new("params/W", vec![2, 3], Data::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN])).unwrap();
        write(&source, &Record { kind: Kind::Snapshot, attrs: vec![], tensors: vec![param.clone()] }).unwrap();
        let source = Reader::open(&source).unwrap();
        let stack = Stack { name: "params/W".into(), shape: vec![2, 3], element: Element::F32 };
        let mut writer = StackWriter::create(&packed, vec![stack], 2).unwrap();
        writer.copy(0, &source, None).unwrap();
        writer.copy(1, &source, None).unwrap();
        writer.stacks[0].2[1] ^= 1;
        writer.finish(&Record { kind: Kind::Run, attrs: vec![], tensors: vec![] }).unwrap();
        let reader = Reader::open(&packed).unwrap();
        assert_eq!(crc32(&reader.slice("params/W", 0).unwrap().data), crc32(&param.data));
        match (reader.slice("params/W", 1), reader.tensor("params/W"), reader.slice("params/W", 2)) {
            (Err(Error::Damaged { cause, .. }), Err(Error::Damaged { .. }), Err(Error::Damaged { .. })) => {
                assert!(cause.starts_with("params/W: checksum of slice 1"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
    }
}
