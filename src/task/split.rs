//! Which examples are for training: a random subset of a fixed size.
//!
//! Reads the number of examples, a fraction and a seed; writes example indices. The order of drawing is the stream
//! `split` of the seed, so a replica's split does not depend on its initial weights or batches.

use crate::error::{Error, Result};
use crate::rng::Rng;

/// The examples of a task in two parts; sorted, so that full-batch sums do not depend on the order of drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Example indices, ascending.
    pub train: Vec<u32>,
    /// The others, ascending.
    pub test: Vec<u32>,
}

/// Examples for training: ⌊`train_frac` · n⌋, in f64 as published codes compute it (so 0.29 of 100 is 28).
pub fn n_train(n: usize, train_frac: f64) -> usize {
    (train_frac * n as f64).floor() as usize
}

/// Splits `n` examples by drawing [`n_train`] of them; the test part is empty only when `train_frac` is 1.
///
/// # Shapes
/// `train [n_train]`, `test [n − n_train]`.
///
/// # Errors
/// [`Error::Value`] for a fraction outside (0, 1], or one that leaves no example for training.
pub fn split(n: usize, train_frac: f64, seed: u64) -> Result<Split> {
    let wrong = |expected: String| Error::Value { what: "train_frac".into(), got: train_frac.to_string(), expected };
    if !(train_frac > 0.0 && train_frac <= 1.0) {
        return Err(wrong("above 0 and at most 1".into()));
    }
    let n_train = n_train(n, train_frac);
    if n_train == 0 {
        return Err(wrong(format!("at least 1/{n}: the training split of {n} examples is empty")));
    }
    let mut train = Rng::stream(seed, "split").permutation(n);
    let mut test = train.split_off(n_train);
    train.sort_unstable();
    test.sort_unstable();
    Ok(Split { train, test })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_parts_together_are_all_examples_once(n in 2usize..3000, frac in 0.001f64..1.0, seed: u64) {
            match split(n, frac, seed) {
                Ok(Split { train, test }) => {
                    prop_assert_eq!(train.len(), (frac * n as f64) as usize);
                    prop_assert!(train.is_sorted() && test.is_sorted());
                    prop_assert!(!test.is_empty());
                    let mut all = [train, test].concat();
                    all.sort_unstable();
                    prop_assert_eq!(all, (0..n as u32).collect::<Vec<_>>());
                }
                Err(_) => prop_assert!(frac * (n as f64) < 1.0),
            }
        }
    }

    /// Nanda et al. 2023 train on 3,830 of 12,769 pairs. The indices come from Philox and Fisher-Yates written a second
    /// time in Python; a difference means that seeds no longer give the splits of published runs.
    #[test]
    fn the_canonical_split() {
        let split = split(113 * 113, 0.3, 0).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (3830, 8939));
        assert_eq!(split.train[..8], [1, 4, 8, 9, 11, 12, 14, 18]);
        assert_eq!(split.train[3827..], [12752, 12763, 12767]);
    }

    #[test]
    fn other_seeds_give_other_splits_and_all_of_it_is_allowed() {
        assert_ne!(split(100, 0.5, 0).unwrap(), split(100, 0.5, 1).unwrap());
        let all = split(7, 1.0, 3).unwrap();
        assert_eq!((all.train, all.test), ((0..7).collect(), vec![]));
    }

    #[test]
    fn an_empty_training_split_is_refused() {
        for (frac, words) in [
            (0.0, "train_frac is 0; it must be above 0 and at most 1"),
            (1.5, "train_frac is 1.5; it must be above 0 and at most 1"),
            (f64::NAN, "train_frac is NaN; it must be above 0 and at most 1"),
            (0.05, "train_frac is 0.05; it must be at least 1/10: the training split of 10 examples is empty"),
        ] {
            assert_eq!(split(10, frac, 0).unwrap_err().to_string(), words);
        }
    }
}
