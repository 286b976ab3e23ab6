#![doc = include_str!("README.md")]

pub mod error;
pub mod rng;
pub mod spec;
pub mod tensor;

pub mod task;
pub mod checkpoint;
pub mod measure;
pub mod transition;
pub mod figure;
