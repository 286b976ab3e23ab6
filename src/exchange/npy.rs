//! numpy's `.npy` and `.npz` <-> values.
//!
//! Reads and writes the header of versions 1 to 3 (a Python dictionary of three known keys) and little-endian numbers. Arrays
//! of Python objects are pickles in disguise and are refused. The format: numpy's NEP 1.

use std::io::{Cursor, Write};
use std::sync::Arc;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::archive::Archive;
use super::value::{Element, Parsed, Value, View, row_major};
use crate::tensor::{Data, Tensor};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The arrays of an `.npz`, as a dictionary in order of name.
///
/// # Errors
/// A damaged archive, arrays that are not numbers.
pub fn read_npz(bytes: &[u8]) -> Parsed<Value> {
    let mut archive = Archive::open(bytes)?;
    let mut entries = vec![];
    for name in archive.names() {
        let Some(stem) = name.strip_suffix(".npy") else {
            return Err(format!("entry `{name}` is no .npy array"));
        };
        let value = read_npy(archive.read(&name)?).map_err(|e| format!("array `{stem}`: {e}"))?;
        entries.push((Value::Text(stem.to_owned()), value));
    }
    Ok(Value::Dict(entries))
}

/// One array; an array of text gives its first text.
///
/// # Errors
/// A damaged header, Python objects, big-endian numbers, fewer numbers than the shape says.
pub fn read_npy(bytes: Vec<u8>) -> Parsed<Value> {
    let short = || "the header is cut off".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as an .npy file does")?;
    let (length, start) = match rest.first().ok_or_else(short)? {
        1 => (usize::from(u16::from_le_bytes(rest.get(2..4).ok_or_else(short)?.try_into().map_err(|_| short())?)), 10),
        2 | 3 => (u32::from_le_bytes(rest.get(2..6).ok_or_else(short)?.try_into().map_err(|_| short())?) as usize, 12),
        version => return Err(format!("its version {version} is not known")),
    };
    let end = start + length;
    let header = std::str::from_utf8(bytes.get(start..end).ok_or_else(short)?).map_err(|_| "the header is no text")?;
    let header = Header::parse(header)?;
    let bytes = Arc::new(bytes);
    if let Some(width) = header.text_width {
        return Ok(text(&bytes[end..], width));
    }
    let mut shape = header.shape;
    let view = if header.fortran_order {
        shape.reverse();
        let strides = row_major(&shape).ok_or("the sizes are too large")?;
        let (shape, strides) = (shape.into_iter().rev().collect(), strides.into_iter().rev().collect());
        View::new(header.element, (shape, strides), &bytes, end)?
    } else {
        View::row_major(header.element, shape, &bytes, end)?
    };
    Ok(Value::Array(view))
}

/// The first text of an array of UTF-32 texts.
fn text(bytes: &[u8], width: usize) -> Value {
    let letters = bytes.chunks_exact(4).take(width);
    let letters = letters.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).take_while(|&letter| letter != 0);
    Value::Text(letters.map(|letter| char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

struct Header {
    element: Element,
    /// Letters of a text, for arrays of texts.
    text_width: Option<usize>,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
    fn parse(text: &str) -> Parsed<Header> {
        let after = |key: &str| {
            let found = text.split_once(&format!("'{key}'")).map(|(_, rest)| rest.trim_start());
            let value = found.and_then(|rest| rest.strip_prefix(':')).map(str::trim_start);
            value.ok_or_else(|| format!("its header has no {key}"))
        };
        let descr = after("descr")?;
        let descr = descr.strip_prefix('\'').and_then(|rest| rest.split('\'').next());
        let descr = descr.ok_or("it is an array of records, not of numbers")?;
        let shape = after("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let sizes =
            shape.ok_or("its shape cannot be read")?.0.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Option<Vec<usize>> = sizes.map(|size| size.parse().ok()).collect();
        let (element, text_width) = match descr.strip_prefix("<U").map(str::parse) {
            Some(width) => (Element::U32, Some(width.map_err(|_| format!("its type `{descr}` is not known"))?)),
            None => (element(descr)?, None),
        };
        Ok(Header {
            element,
            text_width,
            fortran_order: after("fortran_order")?.starts_with("True"),
            shape: shape.ok_or("its shape cannot be read")?,
        })
    }
}

/// numpy's name of a type, as `<f4`.
pub(super) fn element(descr: &str) -> Parsed<Element> {
    let (order, name) = match descr.strip_prefix(['<', '|', '=']) {
        Some(name) => (true, name),
        None => (!descr.starts_with('>'), descr.trim_start_matches('>')),
    };
    let found = match name {
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "i1" => Element::I8,
        "i2" => Element::I16,
        "i4" => Element::I32,
        "i8" => Element::I64,
        "u1" => Element::U8,
        "b1" => Element::Bool,
        "u2" => Element::U16,
        "u4" => Element::U32,
        "u8" => Element::U64,
        _ if name.starts_with('O') => return Err("it holds Python objects, which are code; they are not read".into()),
        _ => return Err(format!("its type `{descr}` is not one of numbers")),
    };
    if !order && found.size_bytes() > 1 {
        return Err(format!("its numbers are big-endian (`{descr}`); save them little-endian"));
    }
    Ok(found)
}

/// An `.npz` of these arrays and texts, uncompressed.
///
/// # Errors
/// What the archive's writer says.
pub fn write_npz(tensors: &[Tensor], texts: &[(&str, &str)]) -> Parsed<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("{name}.npy"), options).map_err(|e| e.to_string())?;
        zip.write_all(bytes).map_err(|e| e.to_string())
    };
    for tensor in tensors {
        put(&tensor.name, &write_npy(tensor))?;
    }
    for (name, text) in texts {
        let letters: Vec<u8> = text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
        let mut bytes = header(&format!("<U{}", text.chars().count().max(1)), &[]);
        bytes.extend(if letters.is_empty() { vec![0; 4] } else { letters });
        put(name, &bytes)?;
    }
    Ok(zip.finish().map_err(|e| e.to_string())?.into_inner())
}

/// The bytes of one `.npy`.
pub fn write_npy(tensor: &Tensor) -> Vec<u8> {
    let descr = match &tensor.data {
        Data::F32(_) => "<f4",
        Data::F64(_) => "<f8",
        // Bytes are masks here.
        Data::U8(_) => "|b1",
        Data::U32(_) => "<u4",
        Data::U64(_) => "<u8",
    };
    let mut bytes = header(descr, &tensor.shape);
    bytes.extend(super::little_endian(&tensor.data));
    bytes
}

fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() == 1 { sizes.trim_end().to_owned() } else { sizes.trim_end_matches(", ").to_owned() };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Magic, version, length and header fill whole lines of 64 bytes.
    while !(MAGIC.len() + 4 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let length = u16::try_from(text.len()).expect("invariant: a header of a few sizes is short");
    [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let odd = vec![1.5, f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY, 0.1];
        let matrix = Tensor::new("embed.W_E", vec![2, 3], Data::F32(odd.clone())).unwrap();
        let vector = Tensor::new("b", vec![2], Data::F64(vec![0.1, -3.0])).unwrap();
        let scalar = Tensor::new("s", vec![], Data::U64(vec![7])).unwrap();
        let bytes = write_npz(&[matrix.clone(), vector, scalar], &[("about", "π = 3")]).unwrap();
        let read = read_npz(&bytes).unwrap();
        let Some(Value::Array(view)) = read.get("embed.W_E") else { panic!("{read:?}") };
        let Data::F32(back) = view.to_tensor("x").unwrap().data else { panic!() };
        assert_eq!(
            back.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            odd.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
        assert_eq!(view.shape, [2, 3]);
        assert_eq!(read.get("b").unwrap().numbers().unwrap(), [0.1, -3.0]);
        assert_eq!(read.get("s").unwrap().count(), Some(7));
        assert_eq!(read.get("about").unwrap().text(), Some("π = 3"));
    }

    #[test]
    fn bad_headers_are_told_apart() {
        let bytes = |descr: &str, shape: &str, numbers: usize| {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
            let mut bytes = [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
            bytes.extend(vec![0; numbers]);
            read_npy(bytes)
        };
        assert!(bytes("'<f4'", "(2,)", 8).is_ok());
        for (descr, shape, words) in [
            ("'|O'", "(2,)", "Python objects"),
            ("'>f4'", "(2,)", "big-endian"),
            ("'<f4'", "(3,)", "larger than"),
            ("'<f4'", "(99999999999, 99999999999)", "larger than"),
            ("'<f4'", "(99999999999999999999999,)", "shape cannot be read"),
            ("'<M8'", "(2,)", "not one of numbers"),
            ("[('a', '<f4')]", "(2,)", "records"),
        ] {
            let error = bytes(descr, shape, 8).unwrap_err();
            assert!(error.contains(words), "{descr} {shape}: {error}");
        }
        assert!(read_npy(b"\x93NUMPY\x01\x00\xff\xff{".to_vec()).unwrap_err().contains("cut off"));
        assert!(read_npy(b"hello".to_vec()).is_err());
    }

    #[test]
    fn columns_first_is_transposed() {
        let text = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n";
        let mut bytes = [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        bytes.extend((0..6).flat_map(|x| (x as f32).to_le_bytes()));
        let Value::Array(view) = read_npy(bytes).unwrap() else { panic!() };
        assert_eq!(view.to_f64(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    }
}
