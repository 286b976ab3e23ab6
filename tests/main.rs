//! Integration tests, one binary.

#![allow(clippy::unwrap_used, missing_docs)]

mod candle_parity;
mod cli;
mod configs;
mod h5py;
mod kill;
mod plans;
