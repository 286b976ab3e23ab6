//! Records <-> files, whole or not at all, every byte under a checksum.
//!
//! Reads and writes any `.h5` file of a run; `checkpoints/README.md` describes the layout. Each dataset carries the
//! CRC-32 of its little-endian bytes; a dataset with one slice a step (a *stack*) has one CRC-32 a slice, under
//! `checksums/`. The HDF5 crate cannot read numbers back from a file's own attributes, so each attribute is also a
//! small dataset under `attributes/`, with a checksum like any other, and that copy is the one read.

use std::path::Path;

use super::hdf5_read::Reader;
use super::record::Record;
use super::{atomic, hdf5_write};
use crate::error::Result;

/// Writes a new file; it is there whole, or not at all.
///
/// # Errors
/// [`crate::error::Error::Exists`] when `path` is taken; [`crate::error::Error::Io`], with
/// [`std::io::ErrorKind::StorageFull`] where the disk is full.
pub fn write_atomic(path: &Path, record: &Record) -> Result<()> {
    atomic::write(path, false, |temporary| hdf5_write::write(temporary, record))
}

/// As [`write_atomic`], in place of a file that may be there: a reader sees the old one or the new one.
///
/// # Errors
/// [`crate::error::Error::Io`].
pub fn write_replacing(path: &Path, record: &Record) -> Result<()> {
    atomic::write(path, true, |temporary| hdf5_write::write(temporary, record))
}

/// Reads a whole file and verifies every checksum.
///
/// # Errors
/// [`crate::error::Error::Missing`], [`crate::error::Error::NewerFormat`], [`crate::error::Error::Io`], or
/// [`crate::error::Error::Damaged`] with the name of the dataset.
pub fn read(path: &Path) -> Result<Record> {
    read_some(path, "")
}

/// Reads the datasets whose names start with `prefix`, and all attributes.
///
/// # Errors
/// As [`read`]; damage in other datasets is not noticed.
pub fn read_some(path: &Path, prefix: &str) -> Result<Record> {
    let reader = Reader::open(path)?;
    let names = reader.names().iter().filter(|name| name.starts_with(prefix));
    let tensors = names.map(|name| reader.tensor(name)).collect::<Result<_>>()?;
    Ok(Record { kind: reader.kind(), attrs: reader.attrs().to_vec(), tensors })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::checkpoint::record::{Attr, Kind};
    use crate::error::Error;
    use crate::tensor::{Data, Tensor};
    use std::fs;

    /// A linear congruential generator: enough to pick bytes to spoil.
    fn random(state: &mut u64, below: usize) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*state >> 33) as usize) % below
    }

    fn tensor(name: &str, shape: &[usize], data: Data) -> Tensor {
        Tensor::new(name, shape.to_vec(), data).unwrap()
    }

    /// Every element type, ranks 0 to 4, empty axes, numbers whose bits a careless copy would change.
    fn sample() -> Record {
        let f32s = [0x7fc0_1234, 0xffc0_0001, 0x7f80_0001, 0x8000_0000, 0x0000_0001, 0x7f80_0000].map(f32::from_bits);
        let f64s = [0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0001, 1, 1 << 63].map(f64::from_bits);
        let wide: Vec<f32> = (0..3 * 64 * 64).map(|i| (i as f32).sin()).collect();
        Record {
            kind: Kind::Resume,
            attrs: vec![
                ("spec".into(), Attr::Text("title = \"Grokking – p = 113\"\n[model]\n".into())),
                ("nothing".into(), Attr::Text(String::new())),
                ("step".into(), Attr::U64(u64::MAX)),
                ("lr".into(), Attr::F64(-0.0)),
            ],
            tensors: vec![
                tensor("params/blocks.0.attn.W_Q", &[3, 64, 64], Data::F32(wide)),
                tensor("params/b_U", &[2, 3], Data::F32(f32s.to_vec())),
                tensor("moments/deep/er/v", &[1, 2, 1, 2], Data::F64(f64s.to_vec())),
                tensor("train_mask", &[2, 5], Data::U8(vec![0, 1, 255, 1, 0, 7, 8, 9, 10, 11])),
                tensor("generators/counter", &[1], Data::U64(vec![u64::MAX])),
                tensor("generators/token", &[2], Data::U32(vec![u32::MAX, 0])),
                tensor("scalar", &[], Data::F64(vec![0.1])),
                tensor("metrics/step", &[0], Data::U64(vec![])),
                tensor("metrics/train_loss_nats", &[0, 2], Data::F32(vec![])),
            ],
        }
    }

    fn bits(data: &Data) -> Vec<u8> {
        match data {
            Data::F32(v) => v.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect(),
            Data::F64(v) => v.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect(),
            Data::U8(v) => v.clone(),
            Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// Equal bit for bit; the version and commit that writing adds aside.
    fn assert_same(found: &Record, expected: &Record) {
        assert_eq!(found.kind, expected.kind);
        let attrs: Vec<_> = found.attrs.iter().filter(|(name, _)| expected.attr(name).is_some()).cloned().collect();
        assert_eq!(attrs, expected.attrs);
        assert_eq!(found.tensors.len(), expected.tensors.len());
        for (found, expected) in found.tensors.iter().zip(&expected.tensors) {
            assert_eq!((&found.name, &found.shape), (&expected.name, &expected.shape));
            assert_eq!(std::mem::discriminant(&found.data), std::mem::discriminant(&expected.data), "{}", found.name);
            assert_eq!(bits(&found.data), bits(&expected.data), "{}", found.name);
        }
    }

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        write_atomic(&path, &sample()).unwrap();
        let found = read(&path).unwrap();
        assert_same(&found, &sample());
        let Some(Attr::F64(lr)) = found.attr("lr") else { panic!() };
        assert!(lr.is_sign_negative());
        assert_eq!(found.attr("phaselab_version"), Some(&Attr::Text(env!("CARGO_PKG_VERSION").into())));
        let some = read_some(&path, "generators/").unwrap();
        assert_eq!(some.tensors, &sample().tensors[4..6]);
        assert_eq!(atomic::list(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn a_taken_name_is_refused_and_replacing_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        let empty = Record { kind: Kind::Measures, attrs: vec![], tensors: vec![] };
        write_atomic(&path, &empty).unwrap();
        assert!(matches!(write_atomic(&path, &sample()), Err(Error::Exists { .. })));
        assert_same(&read(&path).unwrap(), &empty);
        write_replacing(&path, &sample()).unwrap();
        assert_same(&read(&path).unwrap(), &sample());
    }

    #[test]
    fn no_file_and_no_hdf5_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        assert!(matches!(read(&path), Err(Error::Missing { .. })));
        for garbage in [&b""[..], b"garbage", &[0; 4096], b"\x89HDF\r\n\x1a\n"] {
            fs::write(&path, garbage).unwrap();
            assert!(matches!(read(&path), Err(Error::Damaged { .. })), "{garbage:?}");
        }
    }

    #[test]
    fn a_truncated_file_is_an_error_at_every_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        write_atomic(&path, &sample()).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut state = 1;
        for _ in 0..50 {
            let length = random(&mut state, whole.len());
            fs::write(&path, &whole[..length]).unwrap();
            match read(&path) {
                Ok(found) => assert_same(&found, &sample()),
                Err(Error::Damaged { .. }) => {}
                Err(other) => panic!("{length} bytes: {other:?}"),
            }
        }
    }

    #[test]
    fn a_changed_byte_is_an_error_or_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        write_atomic(&path, &sample()).unwrap();
        let whole = fs::read(&path).unwrap();
        let (mut state, mut noticed) = (2, 0);
        for _ in 0..200 {
            let (at, bit) = (random(&mut state, whole.len()), random(&mut state, 8));
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1 << bit;
            fs::write(&path, &spoiled).unwrap();
            match read(&path) {
                Ok(found) => assert_same(&found, &sample()),
                Err(Error::Damaged { .. }) => noticed += 1,
                Err(other) => panic!("byte {at}: {other:?}"),
            }
        }
        // Most bytes are data or headers; padding may change unnoticed.
        assert!(noticed > 150, "{noticed} of 200 changes noticed");
    }

    #[test]
    fn damage_is_reported_with_the_name_of_the_dataset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        // Incompressible, and so long that its middle is the middle of the file.
        let mut state = 3;
        let noise = (0..100_000).map(|_| random(&mut state, 256) as u8).collect();
        let record = Record {
            kind: Kind::Snapshot,
            attrs: vec![],
            tensors: vec![tensor("a", &[1], Data::U8(vec![1])), tensor("params/noise", &[100_000], Data::U8(noise))],
        };
        write_atomic(&path, &record).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        match read(&path) {
            Err(Error::Damaged { cause, .. }) => assert!(cause.starts_with("params/noise: "), "{cause}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(read_some(&path, "a").unwrap().tensors, &record.tensors[..1]);
    }

    #[test]
    fn a_number_stored_plainly_is_under_its_checksum_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        let mark = 0x1234_5678_9abc_def0_u64;
        let record =
            Record { kind: Kind::Measures, attrs: vec![], tensors: vec![tensor("mark", &[], Data::U64(vec![mark]))] };
        write_atomic(&path, &record).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|window| window == mark.to_le_bytes()).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        match read(&path) {
            Err(Error::Damaged { cause, .. }) => assert!(cause.starts_with("mark: checksum"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }

    /// `/dev/full` stands in for a full disk: it opens, and every write fails.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported_as_such_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h5");
        std::os::unix::fs::symlink("/dev/full", atomic::temporary_path(&path)).unwrap();
        match write_atomic(&path, &sample()) {
            Err(Error::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
        assert!(atomic::list(dir.path()).unwrap().is_empty());
    }
}
