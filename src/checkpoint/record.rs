//! What a file holds: kind, attributes, named arrays; and the checksum of an array.
//!
//! Nothing here reads or writes.

use crate::tensor::{Data, Tensor};

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    /// UTF-8.
    Text(String),
    /// A count.
    U64(u64),
    /// A real number.
    F64(f64),
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Parameters at one step.
    Snapshot,
    /// All that training needs to go on.
    Resume,
    /// All snapshots of a run, packed.
    Run,
    /// Series of measures.
    Measures,
    /// Activations of one replica at one step.
    Activations,
}

/// What goes into a file and comes out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Attributes, in order. `phaselab_format`, `phaselab_version`, `git_commit` and `kind` are added when written;
    /// the version and the commit come back among the rest.
    pub attrs: Vec<(String, Attr)>,
    /// Arrays, in order; a `/` in a name makes a group.
    pub tensors: Vec<Tensor>,
}

/// Type of the numbers in a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// Bytes.
    U8,
    /// 32-bit counts.
    U32,
    /// 64-bit counts.
    U64,
}

/// Runs `$body` with `$v` as the vector inside `$data`.
macro_rules! with_numbers {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::F32($v) => $body,
            Data::F64($v) => $body,
            Data::U8($v) => $body,
            Data::U32($v) => $body,
            Data::U64($v) => $body,
        }
    };
}
pub(super) use with_numbers;

impl Kind {
    /// Every kind.
    const ALL: [Kind; 5] = [Kind::Snapshot, Kind::Resume, Kind::Run, Kind::Measures, Kind::Activations];

    /// The value of the attribute `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Snapshot => "snapshot",
            Kind::Resume => "resume",
            Kind::Run => "run",
            Kind::Measures => "measures",
            Kind::Activations => "activations",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Record {
    /// An attribute by name.
    pub fn attr(&self, name: &str) -> Option<&Attr> {
        self.attrs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// An array by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

impl Element {
    /// The type of these numbers.
    pub fn of(data: &Data) -> Element {
        match data {
            Data::F32(_) => Element::F32,
            Data::F64(_) => Element::F64,
            Data::U8(_) => Element::U8,
            Data::U32(_) => Element::U32,
            Data::U64(_) => Element::U64,
        }
    }

    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        match self {
            Element::U8 => 1,
            Element::F32 | Element::U32 => 4,
            Element::F64 | Element::U64 => 8,
        }
    }
}

/// CRC-32 (IEEE 802.3, as zlib's and Python's `zlib.crc32`) of the numbers as little-endian bytes.
pub fn crc32(data: &Data) -> u32 {
    // A block at a time: a second copy of a snapshot in memory would be too much.
    const BLOCK: usize = 4096;
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = Vec::with_capacity(8 * BLOCK);
    with_numbers!(data, v => for block in v.chunks(BLOCK) {
        bytes.clear();
        block.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        hasher.update(&bytes);
    });
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zlib() {
        // The check value of CRC-32/ISO-HDLC, and Python: zlib.crc32(struct.pack("<2f", 1.0, -2.5)).
        assert_eq!(crc32(&Data::U8(b"123456789".to_vec())), 0xcbf4_3926);
        assert_eq!(crc32(&Data::F32(vec![1.0, -2.5])), 0x5603_02f4);
        let long: Vec<u64> = (0..10_000).collect();
        let bytes = long.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(crc32(&Data::U64(long)), crc32(&Data::U8(bytes)));
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("card"), None);
    }
}
