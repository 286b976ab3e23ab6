#![doc = include_str!("README.md")]

pub mod error;
pub mod rng;
pub mod spec;
pub mod tensor;

pub mod checkpoint;
pub mod figure;
pub mod measure;
pub mod task;
pub mod transition;
