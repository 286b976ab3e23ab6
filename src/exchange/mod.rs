//! Files of other tools <-> runs: safetensors, numpy's `.npz`, PyTorch's `.pth`.
//!
//! [`import`] makes a run folder of files with parameters, [`export`] a file of one replica at one step. Foreign bytes are data
//! and nothing else: no code runs, sizes are held against what is there, a panic of a library becomes an error.
//!
//! ```text
//! archive, npy, pickle, pth    bytes -> values (dictionaries, lists, numbers, arrays)
//! contents.rs                  values -> checkpoints, losses, splits
//! name_map.rs, layout.rs       their names and axes -> ours, and back
//! import/                      sizes -> spec; checkpoints -> run folder
//! export.rs                    a checkpoint -> a file
//! transformer_lens.rs          a spec -> HookedTransformerConfig
//! ```

mod archive;
pub mod contents;
pub mod export;
pub mod import;
pub mod layout;
mod name_map;
pub mod npy;
mod pickle;
mod pth;
mod transformer_lens;
pub mod value;

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

pub use export::{Exported, Format, Target, export};
pub use import::{ImportOptions, Imported, import};
pub use layout::Layout;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::tensor::Data;
use value::{Element, Parsed, Value, View};

/// Files beyond this are not of toy models, and are not read into memory.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// What to do about a file that is not read.
const UNREADABLE: &str = "safetensors, .npz, and .pth or .pt of tensors, numbers, lists and dictionaries are read; \
                          with PyTorch, torch.save(model.state_dict(), FILE) writes such a file";

/// A file that was read.
#[derive(Debug)]
pub struct Read {
    /// Everything that it holds.
    pub value: Value,
    /// How long it is.
    pub size_bytes: u64,
    /// Checksum of its bytes.
    pub crc32: u32,
}

/// Everything that a file holds; its kind is told from its first bytes.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Import`] for a file that is damaged, hostile, or of another kind.
pub fn read(path: &Path) -> Result<Read> {
    let about = path.metadata().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Missing {
            what: "the file to import".into(),
            path: path.to_path_buf(),
            hint: "give the path of a .safetensors, .npz, .pth or .pt file".into(),
        },
        _ => Error::io("read", path)(e),
    })?;
    let fail = |cause: String| Error::Import { path: path.into(), causes: vec![cause], hint: UNREADABLE.into() };
    if !about.is_file() {
        return Err(fail("it is no file".into()));
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(fail(format!("it has {} bytes; {MAX_FILE_BYTES} are read at most", about.len())));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let (size_bytes, crc32) = (bytes.len() as u64, crc32fast::hash(&bytes));
    let parsed = quietly(|| parse(bytes)).unwrap_or_else(|panic| Err(format!("it is damaged ({panic})")));
    parsed.map(|value| Read { value, size_bytes, crc32 }).map_err(fail)
}

fn parse(bytes: Vec<u8>) -> Parsed<Value> {
    if bytes.starts_with(archive::MAGIC) {
        let names = archive::Archive::open(&bytes)?.names();
        let is_torch = names.iter().any(|name| name == "data.pkl" || name.ends_with("/data.pkl"));
        return if is_torch { pth::read(&bytes) } else { npy::read_npz(&bytes) };
    }
    match bytes[..] {
        [] => Err("it is empty".into()),
        [0x80, 2..=5, ..] => pth::read(&bytes),
        [0x93, b'N', ..] => Err("it is a single array; np.savez writes arrays with their names".into()),
        [_, _, _, _, _, _, _, _, b'{', ..] => read_safetensors(bytes),
        _ if bytes.get(257..262) == Some(b"ustar") => pth::read(&bytes),
        _ => Err("it does not begin as safetensors, .npz, .pth or .pt files do".into()),
    }
}

/// Texts that our own safetensors files carry beside their arrays.
const TEXTS: [&str; 4] = [contents::SPEC, contents::SEED, contents::TRAIN_INDICES, "phaselab_step"];

fn read_safetensors(bytes: Vec<u8>) -> Parsed<Value> {
    let bytes = Arc::new(bytes);
    let (_, about) = SafeTensors::read_metadata(&bytes).map_err(|e| format!("the safetensors header: {e}"))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format!("the safetensors header: {e}"))?;
    let mut entries = vec![];
    let mut tensors = file.tensors();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, tensor) in tensors {
        let element = match tensor.dtype() {
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::F32 => Element::F32,
            Dtype::F64 => Element::F64,
            Dtype::I8 => Element::I8,
            Dtype::I16 => Element::I16,
            Dtype::I32 => Element::I32,
            Dtype::I64 => Element::I64,
            Dtype::U8 => Element::U8,
            Dtype::BOOL => Element::Bool,
            Dtype::U16 => Element::U16,
            Dtype::U32 => Element::U32,
            Dtype::U64 => Element::U64,
            other => return Err(format!("`{name}` has the type {other:?}, which is not read")),
        };
        let start = (tensor.data().as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
        let view = View::row_major(element, tensor.shape().to_vec(), &bytes, start)?;
        entries.push((Value::Text(name), Value::Array(view)));
    }
    if let Some(texts) = about.metadata() {
        let known =
            TEXTS.iter().filter_map(|&key| Some((Value::Text(key.into()), Value::Text(texts.get(key)?.clone()))));
        entries.extend(known);
    }
    Ok(Value::Dict(entries))
}

/// Numbers as little-endian bytes.
pub(crate) fn little_endian(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U8(v) => v.clone(),
        Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
