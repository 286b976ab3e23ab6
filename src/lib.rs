#![doc = include_str!("README.md")]

// The command line is written as a user of the library.
extern crate self as phaselab;

pub mod error;
pub mod experiment;
pub mod expr;
pub(crate) mod guard;
pub mod linalg;
pub mod rng;
pub mod spec;
pub mod tensor;

pub mod checkpoint;
pub mod cli;
#[cfg(feature = "candle")]
pub mod door;
pub mod engine;
pub mod exchange;
pub mod figure;
pub mod forward;
pub mod loss;
pub mod measure;
pub mod model;
pub mod optim;
pub mod outside;
pub mod task;
pub mod term;
pub mod theory;
pub mod toy;
pub mod train;
pub mod transition;
