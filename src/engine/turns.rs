//! Workers that add their tiles to the same sums, each sum in the order of the tiles.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How often a worker looks for its turn before it lets others have the processor.
const LOOKS: usize = 1_000;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    /// The tile that begins next.
    tile: AtomicUsize,
    /// For each sum, the tile that is added next.
    next: Vec<AtomicUsize>,
    /// Threads that have a tile.
    busy: Vec<AtomicBool>,
    /// A worker panicked, so that some turns never come.
    broken: AtomicBool,
}

impl Turns {
    pub(super) fn new(sums: usize, threads: usize) -> Turns {
        Turns {
            tile: AtomicUsize::new(0),
            next: (0..sums).map(|_| AtomicUsize::new(0)).collect(),
            busy: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            broken: AtomicBool::new(false),
        }
    }

    /// Sums that there are.
    pub(super) fn sums(&self) -> usize {
        self.next.len()
    }

    /// The first tile is next, everywhere.
    pub(super) fn begin(&self) {
        self.tile.store(0, Ordering::Relaxed);
        self.next.iter().for_each(|next| next.store(0, Ordering::Relaxed));
    }

    /// Calls `each` with one tile after the other, in their order, until none of `tiles` is left; several threads share them out.
    ///
    /// A thread that waits inside `each` for work that it gave to others may be handed a share of the tiles meanwhile. It leaves that to the
    /// others: it would wait for the turn of the very tile that it holds up.
    pub(super) fn share(&self, tiles: usize, each: impl Fn(usize)) {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.busy.len();
        if self.busy[thread].swap(true, Ordering::Relaxed) {
            return;
        }
        let _at_work = AtWork(self, thread);
        loop {
            match self.tile.fetch_add(1, Ordering::Relaxed) {
                tile if tile < tiles => each(tile),
                _ => return,
            }
        }
    }

    /// Calls `add` when all tiles before this one have been added to a sum.
    pub(super) fn take(&self, sum: usize, tile: usize, add: impl FnOnce()) {
        let next = &self.next[sum];
        let mut looks = 0;
        while next.load(Ordering::Acquire) != tile {
            assert!(!self.broken.load(Ordering::Relaxed), "invariant: a panic in a worker ends the run");
            looks += 1;
            if looks < LOOKS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        add();
        next.store(tile + 1, Ordering::Release);
    }
}

/// A thread that has a tile, until it is dropped.
struct AtWork<'a>(&'a Turns, usize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
        self.0.busy[self.1].store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::engine::Workers;

    #[test]
    fn every_sum_gets_the_tiles_in_their_order() {
        let (workers, turns) = (Workers::new(4).expect("four threads"), Turns::new(3, 4));
        for _ in 0..20 {
            let sums = [const { Mutex::new(vec![]) }; 3];
            turns.begin();
            workers.each(4, |_| {
                turns.share(50, |tile| {
                    for (i, sum) in sums.iter().enumerate() {
                        turns.take(i, tile, || sum.lock().expect("no panic").push(tile));
                    }
                });
            });
            for sum in sums {
                assert_eq!(sum.into_inner().expect("no panic"), (0..50).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_panic_reaches_those_that_wait_for_its_tile() {
        let (workers, turns) = (Workers::new(2).expect("two threads"), Turns::new(1, 2));
        let all = || {
            workers.each(2, |_| {
                turns.share(8, |tile| {
                    assert!(tile != 3, "of the test");
                    turns.take(0, tile, || {});
                });
            });
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(all)).is_err());
    }

    /// As when an op from outside waits for threads, and its thread is handed another share meanwhile.
    #[test]
    fn a_thread_that_has_a_tile_takes_no_other() {
        let turns = Turns::new(1, 1);
        let added = AtomicUsize::new(0);
        turns.share(3, |tile| {
            turns.share(3, |_| unreachable!("it would wait for itself"));
            turns.take(0, tile, || _ = added.fetch_add(1, Ordering::Relaxed));
        });
        assert_eq!(added.into_inner(), 3);
    }
}
