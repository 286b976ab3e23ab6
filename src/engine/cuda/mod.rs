//! The same steps on a GPU: all replicas in one program of launches, replayed as one CUDA graph.
//!
//! [`lower`] makes a program of a plan, one file a kind of op: what each op launches stands in [`rows`], [`norms`], [`tables`],
//! [`products`] and [`attention`], its kernels in `kernels/` in a file of the same name. [`optim`] adds the update, [`trainer`] holds what a
//! run needs. A program runs on a [`Machine`](machine::Machine): a card, or in tests the host, for which the system's C++ compiler builds
//! the same kernels (`host.h`), so that every kernel is compared with the processor's on machines without a GPU.
//!
//! No kernel adds by float atomics, and no sum depends on how many replicas there are.

pub(crate) mod attention;
pub(crate) mod card;
pub(crate) mod compile;
#[cfg(test)]
pub(crate) mod host;
pub(crate) mod lower;
pub(crate) mod machine;
pub(crate) mod norms;
pub(crate) mod optim;
pub mod probe;
pub(crate) mod products;
pub(crate) mod program;
pub(crate) mod rows;
pub(crate) mod tables;
pub(crate) mod trainer;

pub(crate) use card::Card;
pub use card::{Choice, Products};
pub use probe::{Gpu, Needed, Probe, probe};

/// The kernels, as one source.
pub(crate) fn source() -> String {
    [
        include_str!("kernels/prelude.cuh"),
        include_str!("kernels/rows.cu"),
        include_str!("kernels/norms.cu"),
        include_str!("kernels/tables.cu"),
        include_str!("kernels/attention.cu"),
        include_str!("kernels/loss.cu"),
        include_str!("kernels/update.cu"),
    ]
    .concat()
}
