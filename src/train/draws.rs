//! Fresh examples of a stream for each step, drawn on a thread of their own while the step before them runs.
//!
//! The examples of a step are a function of (seed, step), so it makes no difference who draws them: where none are ready for the step
//! that is asked for (the first, or one after a resume), the caller's thread does.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::rng::Rng;
use crate::task::Rule;
use crate::task::rule::{Examples, Stream};

/// What examples are drawn by.
#[derive(Debug, Clone)]
struct Source {
    rule: Arc<dyn Rule>,
    /// One a replica, or one for all.
    seeds: Vec<u64>,
    /// Examples of a step.
    size: usize,
}

/// Fresh examples, a set a seed.
#[derive(Debug)]
pub(super) struct Draws {
    source: Source,
    stream: Stream,
    examples: Vec<Examples>,
    ahead: Option<Ahead>,
}

/// The thread that draws ahead.
#[derive(Debug)]
struct Ahead {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What the two threads share.
#[derive(Debug)]
struct Desk {
    order: Mutex<Order>,
    changed: Condvar,
}

#[derive(Debug)]
struct Order {
    step: u64,
    examples: Vec<Examples>,
    is: Is,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// The examples are not those of the step.
    Void,
    Asked,
    Drawn,
    /// Nobody will ask any more.
    Over,
}

impl Draws {
    /// Draws by `rule`, `size` examples a step for each of `seeds`, in the caller's thread.
    pub(super) fn new(rule: Arc<dyn Rule>, seeds: Vec<u64>, size: usize) -> Draws {
        let examples = vec![Examples::default(); seeds.len()];
        Draws { source: Source { rule, seeds, size }, stream: Stream::default(), examples, ahead: None }
    }

    /// From now on, with a thread of its own.
    pub(super) fn ahead(&mut self) {
        self.ahead = Ahead::new(self.source.clone(), self.examples.clone());
    }

    /// How many sets a step has.
    pub(super) fn n_seeds(&self) -> usize {
        self.source.seeds.len()
    }

    /// The examples of the update after `step` others, one set a seed, for the caller to take from; those of the next are drawn from now on.
    pub(super) fn of_step(&mut self, step: u64) -> &mut [Examples] {
        let ready = self.ahead.as_ref().is_some_and(|ahead| ahead.take(step, &mut self.examples));
        if !ready {
            self.source.draw(step, &mut self.stream, &mut self.examples);
        }
        if let Some(ahead) = &self.ahead {
            ahead.ask(step + 1);
        }
        &mut self.examples
    }
}

impl Source {
    fn draw(&self, step: u64, stream: &mut Stream, examples: &mut [Examples]) {
        for (examples, &seed) in examples.iter_mut().zip(&self.seeds) {
            examples.clear();
            let mut rng = Rng::stream(seed, "examples of a step").substream(step);
            stream.draw(&*self.rule, (self.size, step), &mut rng, examples);
        }
    }
}

impl Ahead {
    /// None where the system gives no thread.
    fn new(source: Source, examples: Vec<Examples>) -> Option<Ahead> {
        let order = Mutex::new(Order { step: 0, examples, is: Is::Void });
        let desk = Arc::new(Desk { order, changed: Condvar::new() });
        let own = Arc::clone(&desk);
        let work = move || own.work(&source);
        let thread = std::thread::Builder::new().name("examples".into()).spawn(work).ok()?;
        Some(Ahead { desk, thread: Some(thread) })
    }

    /// Swaps `examples` with those of `step`, if these were asked for; waits until they are drawn.
    fn take(&self, step: u64, examples: &mut Vec<Examples>) -> bool {
        let mut order = self.desk.wait_while(|order| order.is == Is::Asked);
        let ready = order.is == Is::Drawn && order.step == step;
        if ready {
            std::mem::swap(examples, &mut order.examples);
        }
        ready
    }

    fn ask(&self, step: u64) {
        let mut order = self.desk.lock();
        (order.step, order.is) = (step, Is::Asked);
        self.desk.changed.notify_all();
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.desk.lock().is = Is::Over;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A rule that panicked there has panicked, or will, in the caller's thread too.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, wait: impl Fn(&Order) -> bool) -> MutexGuard<'_, Order> {
        let guard = self.changed.wait_while(self.lock(), |order| wait(order));
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws whatever is asked for, until nobody will ask any more.
    fn work(&self, source: &Source) {
        let mut stream = Stream::default();
        loop {
            let mut order = self.wait_while(|order| !matches!(order.is, Is::Asked | Is::Over));
            if order.is == Is::Over {
                return;
            }
            let (step, mut examples) = (order.step, std::mem::take(&mut order.examples));
            drop(order);
            // A panic must not leave the caller waiting: it then draws these itself, and meets the same.
            let drawn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                source.draw(step, &mut stream, &mut examples);
            }));
            let mut order = self.lock();
            examples.resize_with(source.seeds.len(), Examples::default);
            order.examples = examples;
            if order.is == Is::Asked {
                order.is = if drawn.is_ok() { Is::Drawn } else { Is::Void };
            }
            self.changed.notify_all();
            if drawn.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::Task;

    fn draws(ahead: bool) -> Draws {
        let rule = Task::load("reverse_8").unwrap().rule.unwrap();
        let mut draws = Draws::new(rule, vec![3, 5], 16);
        if ahead {
            draws.ahead();
        }
        draws
    }

    #[test]
    fn a_thread_of_its_own_draws_the_same_in_any_order_of_steps() {
        let (mut beside, mut within) = (draws(true), draws(false));
        // Steps in order, one twice, a jump back as after a resume.
        for step in [0, 1, 2, 2, 7, 8, 3, 4] {
            let expected = within.of_step(step).to_vec();
            assert_eq!(beside.of_step(step), expected, "step {step}");
            assert_eq!((expected[0].tokens_bt.len() % 16, expected[0] == expected[1]), (0, false));
        }
    }

    /// A rule that gives up at step 2.
    #[derive(Debug)]
    struct GivesUp(Arc<dyn Rule>);

    impl Rule for GivesUp {
        fn words(&self) -> Vec<String> {
            self.0.words()
        }
        fn n_ctx(&self) -> usize {
            self.0.n_ctx()
        }
        fn loss_positions(&self) -> Vec<usize> {
            self.0.loss_positions()
        }
        fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
            self.0.draw(rng, operands);
        }
        fn draw_at(&self, step: u64, rng: &mut Rng, operands: &mut Vec<u32>) {
            assert!(step < 2, "gives up");
            self.draw(rng, operands);
        }
        fn write(&self, operands: &[u32], to: &mut crate::task::Example) -> bool {
            self.0.write(operands, to)
        }
    }

    #[test]
    #[should_panic(expected = "gives up")]
    fn a_panic_there_reaches_the_caller() {
        let rule = Arc::new(GivesUp(Task::load("reverse_8").unwrap().rule.unwrap()));
        let mut draws = Draws::new(rule, vec![1], 4);
        draws.ahead();
        for step in 0..3 {
            draws.of_step(step);
        }
    }
}
