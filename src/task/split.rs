//! Which examples are for training: the first ones of a random order.
//!
//! Reads the number of examples, a fraction, a seed and a rule; writes example indices. By the rule
//!
//! - `phaselab` the order is drawn from the stream `split` of the seed, so a replica's split does not depend on its initial weights or
//!   batches;
//! - `torch_randperm` it is `torch.manual_seed(seed); torch.randperm(n)` on the CPU, with equal bits; `torch.utils.data.random_split` into
//!   these two lengths, of a generator with that seed, takes the same. TransformerLens's grokking demonstration splits so (seed 598, 30 %);
//! - `python_shuffle` it is `random.seed(seed); random.shuffle(list(range(n)))` in CPython, with equal bits. The code published with Nanda
//!   et al. 2023 (arXiv 2301.05217) splits so: seed 0, pairs (i, j) with i major, the first 30 %.
//!
//! In a code that draws other numbers after seeding and before splitting, the order is another one.

use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::rng::python::PythonRng;
use crate::rng::torch::TorchRng;
use crate::spec::SplitRule;

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

/// Splits `n` examples by taking the first [`n_train`] of a random order; the test part is empty only when `train_frac` is 1.
///
/// # Shapes
/// `train [n_train]`, `test [n − n_train]`.
///
/// # Errors
/// [`Error::Value`] for a fraction outside (0, 1], or one that leaves no example for training.
pub fn split(n: usize, train_frac: f64, seed: u64, rule: SplitRule) -> Result<Split> {
    let wrong = |expected: String| Error::Value { what: "train_frac".into(), got: train_frac.to_string(), expected };
    if !(train_frac > 0.0 && train_frac <= 1.0) {
        return Err(wrong("above 0 and at most 1".into()));
    }
    let n_train = n_train(n, train_frac);
    if n_train == 0 {
        return Err(wrong(format!("at least 1/{n}: the training split of {n} examples is empty")));
    }
    let mut train = match rule {
        SplitRule::Phaselab => Rng::stream(seed, "split").permutation(n),
        SplitRule::TorchRandperm => TorchRng::manual_seed(seed).randperm(n),
        SplitRule::PythonShuffle => PythonRng::seed(seed).permutation(n),
    };
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

    const RULES: [SplitRule; 3] = [SplitRule::Phaselab, SplitRule::TorchRandperm, SplitRule::PythonShuffle];

    proptest! {
        #[test]
        fn both_parts_together_are_all_examples_once(n in 2usize..3000, frac in 0.001f64..1.0, seed: u64, rule in 0usize..3) {
            match split(n, frac, seed, RULES[rule]) {
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
        let split = split(113 * 113, 0.3, 0, SplitRule::Phaselab).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (3830, 8939));
        assert_eq!(split.train[..8], [1, 4, 8, 9, 11, 12, 14, 18]);
        assert_eq!(split.train[3827..], [12752, 12763, 12767]);
    }

    /// The splits of two published codes, made in Python with the lines that this file's head quotes:
    /// `python -c "import random; random.seed(0); x = list(range(12769)); random.shuffle(x); x = sorted(x[:3830]); print(x[:8], x[-3:])"` and
    /// `python -c "import torch; torch.manual_seed(598); x = sorted(torch.randperm(12769)[:3830].tolist()); print(x[:8], x[-3:])"`.
    #[test]
    fn published_splits() {
        for (rule, seed, first, last) in [
            (SplitRule::PythonShuffle, 0, [23, 28, 29, 32, 37, 39, 43, 46], [12762, 12765, 12767]),
            (SplitRule::TorchRandperm, 598, [1, 2, 7, 8, 9, 10, 12, 14], [12757, 12762, 12765]),
        ] {
            let split = split(113 * 113, 0.3, seed, rule).unwrap();
            assert_eq!((split.train.len(), split.test.len()), (3830, 8939));
            assert_eq!((&split.train[..8], &split.train[3827..]), (&first[..], &last[..]), "{rule:?}");
        }
    }

    #[test]
    fn other_seeds_give_other_splits_and_all_of_it_is_allowed() {
        for rule in RULES {
            assert_ne!(split(100, 0.5, 0, rule).unwrap(), split(100, 0.5, 1, rule).unwrap());
            let all = split(7, 1.0, 3, rule).unwrap();
            assert_eq!((all.train, all.test), ((0..7).collect(), vec![]));
        }
    }

    #[test]
    fn an_empty_training_split_is_refused() {
        for (frac, words) in [
            (0.0, "train_frac is 0; it must be above 0 and at most 1"),
            (1.5, "train_frac is 1.5; it must be above 0 and at most 1"),
            (f64::NAN, "train_frac is NaN; it must be above 0 and at most 1"),
            (0.05, "train_frac is 0.05; it must be at least 1/10: the training split of 10 examples is empty"),
        ] {
            assert_eq!(split(10, frac, 0, SplitRule::Phaselab).unwrap_err().to_string(), words);
        }
    }
}
