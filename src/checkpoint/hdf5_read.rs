//! HDF5 files -> records. With `hdf5_write.rs` and, for the tables of users, `task/table_hdf5.rs` the only code that knows the HDF5 crate.
//!
//! Reads any `.h5` file of a run. Numbers from a file are never trusted: sizes are held against the length of the file
//! before memory is asked for, and a panic of the crate becomes an error.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, H5Type, Hdf5Error};

use super::FORMAT;
use super::hdf5_write::Stack;
use super::record::{Attr, Element, Kind, crc32};
use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::tensor::{Data, Tensor};

/// Deflate expands at most 1032 times.
const MOST_EXPANSION: u64 = 1032;

/// An open file, its attributes verified, its datasets not yet read.
pub struct Reader {
    file: H5File,
    path: PathBuf,
    size_bytes: u64,
    kind: Kind,
    attrs: Vec<(String, Attr)>,
    names: Vec<String>,
}

impl Reader {
    /// Opens a file and reads its attributes and table of contents.
    ///
    /// # Errors
    /// As [`read`], for what is read here.
    pub fn open(path: &Path) -> Result<Reader> {
        let size_bytes = match path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(missing(path)),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        // Finished files never change, so no lock is needed, and some network file systems have none.
        let file = guarded(path, "the file", || H5File::options().no_locking().open(path))?;
        let mut reader =
            Reader { file, path: path.to_path_buf(), size_bytes, kind: Kind::Snapshot, attrs: vec![], names: vec![] };
        match reader.read_attr("phaselab_format")? {
            Attr::U64(FORMAT) => {}
            Attr::U64(found) if found > FORMAT => {
                return Err(Error::NewerFormat { path: path.to_path_buf(), found, supported: FORMAT });
            }
            other => return Err(reader.damaged("attributes/phaselab_format", &format!("{other:?} is no format"))),
        }
        reader.read_contents()?;
        Ok(reader)
    }

    /// What the file is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The file's attributes.
    pub fn attrs(&self) -> &[(String, Attr)] {
        &self.attrs
    }

    /// Names of all datasets, in the order in which they were written.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A text attribute.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file has none of that name.
    pub fn text(&self, name: &str) -> Result<&str> {
        match self.attrs.iter().find(|(key, _)| key == name) {
            Some((_, Attr::Text(text))) => Ok(text),
            _ => Err(self.damaged(name, "there is no such text attribute")),
        }
    }

    /// A count attribute.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file has none of that name.
    pub fn count(&self, name: &str) -> Result<u64> {
        match self.attrs.iter().find(|(key, _)| key == name) {
            Some((_, Attr::U64(count))) => Ok(*count),
            _ => Err(self.damaged(name, "there is no such count attribute")),
        }
    }

    /// Refuses a file that is whole but of another kind.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn expect_kind(&self, kind: Kind) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        let cause = format!("it is a file of kind {}, not {}", self.kind.name(), kind.name());
        Err(Error::Damaged { path: self.path.clone(), cause })
    }

    /// Whether a dataset holds one slice a step, each with its own checksum.
    pub fn is_stack(&self, name: &str) -> bool {
        self.names.iter().any(|other| other.strip_prefix("checksums/") == Some(name))
    }

    /// Shape and element type of a dataset, its data unread.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is missing or of no type that phaselab writes.
    pub fn layout(&self, name: &str) -> Result<(Vec<usize>, Element)> {
        let (dataset, element) = self.dataset(name)?;
        Ok((dataset.shape(), element))
    }

    /// A whole dataset, checksums verified.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (dataset, element) = self.dataset(name)?;
        let shape = dataset.shape();
        self.check_size(name, &shape, element)?;
        let data = self.guarded(name, || read_data(&dataset, element, None))?;
        let tensor = Tensor::new(name, shape, data).map_err(|e| self.damaged(name, &e.to_string()))?;
        if self.is_stack(name) {
            for (index, stored) in self.slice_checksums(name)?.into_iter().enumerate() {
                self.compare(name, Some(index), crc32(&tensor.row(index)?.data), stored)?;
            }
        } else {
            self.compare(name, None, crc32(&tensor.data), self.checksum(name)?)?;
        }
        Ok(tensor)
    }

    /// Slice `index` of the leading axis of a stack, checksum verified; nothing else of it is loaded.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn slice(&self, name: &str, index: usize) -> Result<Tensor> {
        let (dataset, element) = self.dataset(name)?;
        let shape = dataset.shape();
        let stored = self.slice_checksums(name)?.get(index).copied();
        let Some((stored, rest)) = stored.filter(|_| index < shape[0]).zip(shape.get(1..)) else {
            return Err(self.damaged(name, &format!("shape {shape:?} has no slice {index}")));
        };
        self.check_size(name, rest, element)?;
        let data = self.guarded(name, || read_data(&dataset, element, Some((index, rest))))?;
        self.compare(name, Some(index), crc32(&data), stored)?;
        Tensor::new(name, rest.to_vec(), data).map_err(|e| self.damaged(name, &e.to_string()))
    }

    /// The stored checksum of a dataset.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it has none.
    pub fn checksum(&self, name: &str) -> Result<u32> {
        let (dataset, _) = self.dataset(name)?;
        self.guarded(name, || dataset.attr("crc32")?.read_numeric::<u32>())
    }

    /// The stored checksums of a stack's slices.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn slice_checksums(&self, name: &str) -> Result<Vec<u32>> {
        let of = format!("checksums/{name}");
        match self.tensor(&of)?.data {
            Data::U32(sums) if self.layout(name)?.0.first() == Some(&sums.len()) => Ok(sums),
            _ => Err(self.damaged(&of, "it does not fit its dataset")),
        }
    }

    /// Chunk `chunk` (counted along the first axis that has more than one) of a slice as it is stored, compressed.
    pub(super) fn stored_chunk(&self, name: &str, index: Option<usize>, chunk: usize) -> Result<(Vec<u8>, u32)> {
        let (dataset, _) = self.dataset(name)?;
        let mut coords = vec![0; dataset.ndims()];
        let axis = usize::from(index.is_some());
        if coords.len() <= axis {
            return Err(self.damaged(name, "it has too few axes"));
        }
        coords[0] = index.unwrap_or(0);
        coords[axis] = chunk;
        self.guarded(name, || dataset.read_chunk_raw_at(&coords))
    }

    /// Refuses a dataset that is not a slice of `stack`, or where `from` is given, a row of such slices.
    pub(super) fn expect_slice(&self, stack: &Stack, from: Option<usize>) -> Result<()> {
        let (shape, element) = self.layout(&stack.name)?;
        let fits = match (from, shape.split_first()) {
            (None, _) => shape == stack.shape,
            (Some(from), Some((&n, rest))) => from < n && rest == stack.shape,
            (Some(_), None) => false,
        };
        if fits && element == stack.element {
            return Ok(());
        }
        let cause = format!("{element:?} {shape:?} where the run has {:?} {:?}", stack.element, stack.shape);
        Err(self.damaged(&stack.name, &cause))
    }

    fn read_contents(&mut self) -> Result<()> {
        let Attr::Text(contents) = self.read_attr("contents")? else {
            return Err(self.damaged("attributes/contents", "it is not text"));
        };
        let present = self.guarded("the file", || Ok(self.file.dataset_names()))?;
        for name in contents.lines() {
            if !present.iter().any(|there| there == name) {
                return Err(self.damaged(name, "it is missing"));
            }
            match name.strip_prefix("attributes/") {
                Some(attr) => {
                    let value = self.read_attr(attr)?;
                    self.attrs.push((attr.to_owned(), value));
                }
                None => self.names.push(name.to_owned()),
            }
        }
        let kind = Kind::from_name(self.text("kind")?);
        self.kind = kind.ok_or_else(|| self.damaged("attributes/kind", "it is no kind"))?;
        self.attrs.retain(|(name, _)| name != "kind" && name != "phaselab_format");
        Ok(())
    }

    /// An attribute from its checksummed copy; text must also equal the copy that h5py shows.
    fn read_attr(&self, name: &str) -> Result<Attr> {
        let dataset = format!("attributes/{name}");
        let tensor = self.tensor(&dataset)?;
        match (tensor.data, tensor.shape.len()) {
            (Data::U64(v), 0) => Ok(Attr::U64(v[0])),
            (Data::F64(v), 0) => Ok(Attr::F64(v[0])),
            (Data::U8(v), 1) => {
                let text = String::from_utf8(v).map_err(|_| self.damaged(&dataset, "it is not UTF-8"))?;
                let shown = self.guarded(&dataset, || self.file.attr_string(name))?;
                if shown != text {
                    return Err(self.damaged(&dataset, "the attribute of the file has another value"));
                }
                Ok(Attr::Text(text))
            }
            _ => Err(self.damaged(&dataset, "it is no attribute")),
        }
    }

    fn dataset(&self, name: &str) -> Result<(H5Dataset, Element)> {
        let (dataset, datatype) = self.guarded(name, || {
            let dataset = self.file.dataset(name)?;
            let datatype = dataset.datatype()?;
            Ok((dataset, datatype))
        })?;
        match element_of(&datatype) {
            Some(element) => Ok((dataset, element)),
            None => Err(self.damaged(name, &format!("its element type {datatype} is none that phaselab writes"))),
        }
    }

    /// Refuses a size that the file is too short to hold, before memory is asked for.
    fn check_size(&self, name: &str, shape: &[usize], element: Element) -> Result<()> {
        let bytes = shape.iter().try_fold(element.size_bytes(), |product, &n| product.checked_mul(n));
        match bytes {
            Some(bytes) if bytes as u64 <= self.size_bytes.saturating_mul(MOST_EXPANSION) => Ok(()),
            _ => Err(self.damaged(name, &format!("shape {shape:?} is larger than the file can hold"))),
        }
    }

    fn compare(&self, name: &str, index: Option<usize>, found: u32, stored: u32) -> Result<()> {
        if found == stored {
            return Ok(());
        }
        let place = index.map_or(String::new(), |index| format!(" of slice {index}"));
        Err(self.damaged(name, &format!("checksum{place} is {found:08x}, stored as {stored:08x}")))
    }

    pub(super) fn damaged(&self, name: &str, cause: &str) -> Error {
        Error::Damaged { path: self.path.clone(), cause: format!("{name}: {cause}") }
    }

    fn guarded<T>(&self, what: &str, f: impl FnOnce() -> rust_hdf5::Result<T>) -> Result<T> {
        guarded(&self.path, what, f)
    }
}

fn missing(path: &Path) -> Error {
    let hint = "`phaselab check RUN` lists what is there; training writes snapshots, resume points and run.h5".into();
    Error::Missing { what: "a checkpoint file".into(), path: path.to_path_buf(), hint }
}

/// Runs a call into the crate; its errors and panics become damage to `what`, those of the system stay its own.
fn guarded<T>(path: &Path, what: &str, f: impl FnOnce() -> rust_hdf5::Result<T>) -> Result<T> {
    let cause = match quietly(f) {
        Ok(Ok(value)) => return Ok(value),
        // An offset that no file can have is the file's fault, not the system's.
        Ok(Err(e)) => match system_error(&e).filter(|source| source.kind() != ErrorKind::InvalidInput) {
            Some(source) => return Err(Error::io("read", path)(source)),
            None => format!("{what}: {e}"),
        },
        Err(panic) => format!("{what}: it cannot be decoded ({panic})"),
    };
    Err(Error::Damaged { path: path.to_path_buf(), cause })
}

/// The system's error inside one of the crate, which keeps most of them private: their number is in the text.
pub(super) fn system_error(e: &Hdf5Error) -> Option<io::Error> {
    let text = e.to_string();
    let (number, _) = text.rsplit_once("(os error ")?.1.split_once(')')?;
    Some(io::Error::from_raw_os_error(number.parse().ok()?))
}

fn element_of(datatype: &DatatypeMessage) -> Option<Element> {
    let known = [
        (f32::hdf5_type(), Element::F32),
        (f64::hdf5_type(), Element::F64),
        (u8::hdf5_type(), Element::U8),
        (u32::hdf5_type(), Element::U32),
        (u64::hdf5_type(), Element::U64),
    ];
    known.into_iter().find(|(message, _)| message == datatype).map(|(_, element)| element)
}

/// All numbers of a dataset, or those of one slice (index, shape) of its leading axis.
fn read_data(dataset: &H5Dataset, element: Element, slice: Option<(usize, &[usize])>) -> rust_hdf5::Result<Data> {
    Ok(match element {
        Element::F32 => Data::F32(read_numbers(dataset, slice)?),
        Element::F64 => Data::F64(read_numbers(dataset, slice)?),
        Element::U8 => Data::U8(read_numbers(dataset, slice)?),
        Element::U32 => Data::U32(read_numbers(dataset, slice)?),
        Element::U64 => Data::U64(read_numbers(dataset, slice)?),
    })
}

fn read_numbers<T: H5Type>(dataset: &H5Dataset, slice: Option<(usize, &[usize])>) -> rust_hdf5::Result<Vec<T>> {
    match slice {
        // The crate has no storage to read for these, and says so with an error.
        _ if dataset.total_elements() == 0 => Ok(vec![]),
        None => dataset.read_raw(),
        Some((index, shape)) => {
            let starts: Vec<usize> = std::iter::once(index).chain(shape.iter().map(|_| 0)).collect();
            let counts: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
            dataset.read_slice(&starts, &counts)
        }
    }
}
