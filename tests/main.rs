//! Integration tests, one binary.

#![allow(clippy::unwrap_used, missing_docs)]

mod allocations;
mod candle_parity;
mod cli;
mod configs;
mod door;
mod edits;
mod exchange;
mod h5py;
mod kill;
mod plans;
mod real_numbers;
mod same_bits;
mod task_family;
mod torch_parity;
mod toys;
