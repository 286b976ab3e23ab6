//! Threads that share out replicas and tiles.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Threads that work on plans.
#[derive(Debug, Clone)]
pub struct Workers {
    pool: Arc<rayon::ThreadPool>,
    threads: usize,
}

impl Workers {
    /// `threads` workers.
    ///
    /// # Errors
    /// [`Error::Value`] for none, or when the system gives no more threads.
    pub fn new(threads: usize) -> Result<Workers> {
        let fail = |cause: String| Error::Value { what: "threads".into(), got: cause, expected: "at least 1".into() };
        if threads == 0 {
            return Err(fail("0".into()));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| fail(e.to_string()))?;
        Ok(Workers { pool: Arc::new(pool), threads })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.threads
    }

    /// Runs `work` for 0 to `n`, in any order.
    pub fn each(&self, n: usize, work: impl Fn(usize) + Sync + Send) {
        if self.threads == 1 || n <= 1 {
            (0..n).for_each(work);
        } else {
            self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(work));
        }
    }

    /// Runs `work` for every item, in any order; with many of them, a worker takes several at a time.
    pub(crate) fn each_mut<S: Send>(&self, items: &mut [S], work: impl Fn(usize, &mut S) + Sync + Send) {
        if self.threads == 1 || items.len() <= 1 {
            items.iter_mut().enumerate().for_each(|(i, item)| work(i, item));
        } else {
            let at_once = (items.len() / (8 * self.threads)).max(1);
            let all = || items.par_iter_mut().enumerate().with_min_len(at_once).for_each(|(i, item)| work(i, item));
            self.pool.install(all);
        }
    }

    /// Runs `work` for every chunk of `size` numbers of `x`, in any order.
    pub(super) fn each_chunk(&self, x: &mut [f64], size: usize, work: impl Fn(usize, &mut [f64]) + Sync + Send) {
        if self.threads == 1 || x.len() <= size {
            x.chunks_mut(size).enumerate().for_each(|(i, chunk)| work(i, chunk));
        } else {
            let all = || x.par_chunks_mut(size).with_max_len(1).enumerate().for_each(|(i, chunk)| work(i, chunk));
            self.pool.install(all);
        }
    }
}
