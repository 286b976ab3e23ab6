//! Parameters, moments, generators <-> HDF5 files.
//!
//! Reads and writes one folder a run; `checkpoints/README.md` describes every dataset and attribute:
//!
//! ```text
//! run.toml                        the resolved spec
//! snapshots/step_0000001000.h5    parameters at one step, until the run is packed
//! resume/point_0000001000.h5      all that training needs to go on; the last two
//! run.h5                          all snapshots, packed, and the metrics
//! measures/  figures/             what is made from them
//! ```
//!
//! A file is immutable, and there whole or not at all (`atomic`). One process at a time writes a folder
//! (`run_folder`). Only `hdf5_read` and `hdf5_write` know the HDF5 crate.

pub mod atomic;
pub mod check;
pub mod hdf5;
pub mod hdf5_read;
mod hdf5_write;
pub mod pack;
pub mod record;
pub mod resume;
pub mod run_folder;
pub mod snapshot;
pub mod snapshots;

pub use check::{FileReport, Verdict, check};
pub use pack::{pack, pack_with};
pub use record::{Attr, Kind, Record};
pub use resume::ResumePoint;
pub use run_folder::{RunFolder, StagedRun, differing_keys, lock, read_spec};
pub use snapshot::Snapshot;
pub use snapshots::{SnapshotReader, open_snapshots};

/// The file format that is written, and the newest that is read.
pub const FORMAT: u64 = 1;

/// The resolved spec.
pub const SPEC: &str = "run.toml";
/// The resolved spec of an experiment with variants, above the folders of their runs.
pub const VARIANTS: &str = "variants.toml";
/// Loose snapshots.
pub const SNAPSHOTS: &str = "snapshots";
/// Resume points.
pub const RESUME: &str = "resume";
/// All snapshots of a finished run.
pub const PACKED: &str = "run.h5";
/// One file of series a measure.
pub const MEASURES: &str = "measures";
/// Pictures and the points drawn in them.
pub const FIGURES: &str = "figures";
/// One row a replica.
pub const SUMMARY: &str = "summary.csv";
/// Where an imported run comes from.
pub const IMPORT: &str = "import.json";
/// Whoever writes holds its lock.
const LOCK: &str = ".lock";
