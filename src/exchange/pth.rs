//! PyTorch's `.pth` and `.pt` files <-> values.
//!
//! Reads both layouts that `torch.save` has had: a zip archive with `data.pkl` and one entry a storage (since PyTorch 1.6), and
//! five pickles followed by the storages (before). Writes the first. What the pickles may name: [`super::pickle`].

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::Arc;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::archive::{self, Archive};
use super::pickle::{Pickle, StorageRef};
use super::value::{Parsed, Value, row_major};
use crate::tensor::{Data, Tensor};

/// The integer 0x1950a86a20f9469cfc6c, with which an older file begins.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Everything in a file.
///
/// # Errors
/// What is damaged, or is no data.
pub fn read(bytes: &[u8]) -> Parsed<Value> {
    if bytes.starts_with(archive::MAGIC) {
        return read_zip(bytes);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Err("it is a tar archive, as PyTorch wrote before 0.4; load and save it with a newer PyTorch".into());
    }
    let first = Pickle::read(bytes)?;
    match first.big_integer() {
        Some(magic) if magic == LEGACY_MAGIC => read_legacy(bytes, first.length),
        // Not PyTorch's: a plain pickle, of numpy arrays perhaps.
        _ => first.value(&mut |storage| Err(format!("storage `{}` is not in the file", storage.key))),
    }
}

fn read_zip(bytes: &[u8]) -> Parsed<Value> {
    let mut archive = Archive::open(bytes)?;
    let names = archive.names();
    let pickle = names.iter().find(|name| name.as_str() == "data.pkl" || name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or("the archive has no data.pkl, so it is not from torch.save")?.clone();
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default().to_owned();
    let order = format!("{folder}byteorder");
    if names.contains(&order) && archive.read(&order)? != b"little" {
        return Err("its numbers are big-endian; save them on a little-endian machine".into());
    }
    let pickle = Pickle::read(&archive.read(&pickle)?).map_err(|e| format!("data.pkl: {e}"))?;
    pickle.value(&mut |storage| {
        let is_plain = storage.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !is_plain || storage.key.is_empty() {
            return Err(format!("a storage is named `{}`, which no PyTorch writes", storage.key));
        }
        let bytes = archive.read(&format!("{folder}data/{}", storage.key))?;
        expect_size(storage, bytes.len())?;
        Ok(Arc::new(bytes))
    })
}

/// A magic number, a protocol number, facts about the machine, the object, the storages' names: a pickle each; then each storage
/// as its count of numbers (8 bytes) and the numbers.
fn read_legacy(bytes: &[u8], mut at: usize) -> Parsed<Value> {
    let mut next = || -> Parsed<Pickle> {
        let pickle = Pickle::read(&bytes[at..])?;
        at += pickle.length;
        Ok(pickle)
    };
    let no_storage = &mut |_: &StorageRef| Err("a storage stands where there are none".to_owned());
    let protocol = next()?.value(no_storage)?;
    if protocol.count() != Some(1001) {
        return Err(format!("its protocol {protocol:?} is not known"));
    }
    let machine = next()?.value(no_storage)?;
    if machine.get("little_endian").and_then(Value::number) == Some(0.0) {
        return Err("its numbers are big-endian; save them on a little-endian machine".into());
    }
    let object = next()?;
    let Value::List(keys) = next()?.value(no_storage)? else {
        return Err("the list of its storages is missing".into());
    };
    let mut wanted: BTreeMap<String, StorageRef> = BTreeMap::new();
    // The sizes of numbers are in the object only.
    object.storages().for_each(|storage| drop(wanted.insert(storage.key.clone(), storage.clone())));
    let mut held: BTreeMap<String, Arc<Vec<u8>>> = BTreeMap::new();
    for key in keys {
        let storage = key.text().and_then(|key| wanted.get(key)).ok_or("a storage is listed that no tensor uses")?;
        let cut = || format!("storage `{}` is cut off", storage.key);
        let count = bytes.get(at..at.saturating_add(8)).ok_or_else(cut)?;
        let count = u64::from_le_bytes(count.try_into().map_err(|_| cut())?);
        if count != storage.count as u64 {
            return Err(format!("storage `{}` has {count} numbers, the tensors say {}", storage.key, storage.count));
        }
        let length = storage.count.checked_mul(storage.element.size_bytes()).ok_or_else(cut)?;
        let end = (at + 8).checked_add(length).ok_or_else(cut)?;
        held.insert(storage.key.clone(), Arc::new(bytes.get(at + 8..end).ok_or_else(cut)?.to_vec()));
        at = end;
    }
    object.value(&mut |storage| {
        let bytes = held.get(&storage.key).ok_or_else(|| format!("storage `{}` is not in the file", storage.key))?;
        expect_size(storage, bytes.len())?;
        Ok(Arc::clone(bytes))
    })
}

fn expect_size(storage: &StorageRef, bytes: usize) -> Parsed<()> {
    match storage.count.checked_mul(storage.element.size_bytes()) {
        Some(expected) if expected == bytes => Ok(()),
        _ => {
            Err(format!("storage `{}` has {bytes} bytes, {} numbers are said to be there", storage.key, storage.count))
        }
    }
}

/// A state dict as `torch.save` writes it, for `torch.load(…, weights_only=True)`: f32 and f64 tensors, and bytes as booleans.
///
/// # Errors
/// What the archive's writer says.
pub fn write(tensors: &[Tensor]) -> Parsed<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    // PyTorch maps storages into memory, so they begin at multiples of 64 bytes.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(64);
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options).map_err(|e| e.to_string())?;
        zip.write_all(bytes).map_err(|e| e.to_string())
    };
    put("data.pkl", &state_dict(tensors))?;
    put("byteorder", b"little")?;
    for (key, tensor) in tensors.iter().enumerate() {
        put(&format!("data/{key}"), &super::little_endian(&tensor.data))?;
    }
    put("version", b"3\n")?;
    Ok(zip.finish().map_err(|e| e.to_string())?.into_inner())
}

/// `OrderedDict([(name, _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())), …])`, protocol 2.
fn state_dict(tensors: &[Tensor]) -> Vec<u8> {
    const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut out = b"\x80\x02".to_vec();
    out.extend(ORDERED_DICT);
    out.push(b'(');
    for (key, tensor) in tensors.iter().enumerate() {
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        let class = match &tensor.data {
            Data::F32(_) => "FloatStorage",
            Data::F64(_) => "DoubleStorage",
            Data::U8(_) => "BoolStorage",
            Data::U32(_) => "IntStorage",
            Data::U64(_) => "LongStorage",
        };
        out.extend(format!("ctorch\n{class}\n").as_bytes());
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        count(&mut out, tensor.data.len());
        out.extend(b"tQK\x00");
        let strides = row_major(&tensor.shape).expect("invariant: a tensor in memory has no overflowing sizes");
        for sizes in [&tensor.shape, &strides] {
            out.push(b'(');
            sizes.iter().for_each(|&size| count(&mut out, size));
            out.push(b't');
        }
        out.push(0x89);
        out.extend(ORDERED_DICT);
        out.extend(b"tR");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// An integer of 8 bytes.
fn count(out: &mut Vec<u8>, n: usize) {
    out.extend([0x8a, 8]);
    out.extend((n as u64).to_le_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let w = Tensor::new("embed.W_E", vec![2, 2], Data::F32(vec![1.5, f32::NAN, -0.0, 1e-40])).unwrap();
        let scalar = Tensor::new("attn.IGNORE", vec![], Data::F64(vec![f64::NEG_INFINITY])).unwrap();
        let mask = Tensor::new("attn.mask", vec![2, 2], Data::U8(vec![1, 0, 1, 1])).unwrap();
        let read = read(&write(&[w.clone(), scalar.clone(), mask]).unwrap()).unwrap();
        for tensor in [w, scalar] {
            let Some(Value::Array(view)) = read.get(&tensor.name) else { panic!("{read:?}") };
            let back = view.to_tensor(&tensor.name).unwrap();
            assert_eq!(super::super::little_endian(&back.data), super::super::little_endian(&tensor.data));
            assert_eq!(back.shape, tensor.shape);
        }
        let Some(Value::Array(mask)) = read.get("attn.mask") else { panic!() };
        assert_eq!(mask.to_ints(), [1, 0, 1, 1]);
    }

    #[test]
    fn every_truncation_and_many_changes_end_in_an_error_or_a_value() {
        let w = Tensor::new("W", vec![3], Data::F32(vec![1.0, 2.0, 3.0])).unwrap();
        let good = write(&[w]).unwrap();
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "{end}");
        }
        for at in 0..good.len() {
            for bit in [1, 16, 128] {
                let mut bytes = good.clone();
                bytes[at] ^= bit;
                let _ = read(&bytes);
            }
        }
    }
}
