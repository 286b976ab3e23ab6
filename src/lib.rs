#![doc = include_str!("README.md")]

pub mod error;
pub mod experiment;
pub mod linalg;
pub mod rng;
pub mod spec;
pub mod tensor;

pub mod checkpoint;
pub mod engine;
pub mod figure;
pub mod forward;
pub mod loss;
pub mod measure;
pub mod model;
pub mod optim;
pub mod task;
pub mod train;
pub mod transition;
