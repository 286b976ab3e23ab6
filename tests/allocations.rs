//! No allocation in a training step after the third.
//!
//! Counted in the thread that steps. With one worker that is all there is: `Workers::each` stays in the caller's thread, and
//! `gemm` keeps its packing buffers a thread from its first call on. With more workers the caller only waits: `rayon` puts each
//! `install` on the caller's stack and may allocate blocks of its queue now and then, which is its own affair; what the
//! workers themselves allocate is counted there, through the update that they run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phaselab::engine::{Batch, Params, Runner, State, StepOutcome, Workers};
use phaselab::optim::{At, Settings, Update, build};
use phaselab::rng::Rng;
use phaselab::spec::{LossKind, OptimSpec};

use crate::configs::{self, Config};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting calls a thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}
