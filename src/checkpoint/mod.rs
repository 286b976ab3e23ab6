//! Parameters, moments, generators <-> files. (layout documented here)

/// The format that is written, and the newest that is read.
pub const FORMAT: u64 = 1;

pub mod atomic;
mod guard;
pub mod hdf5;
pub mod hdf5_read;
mod hdf5_write;
pub mod record;
