//! Words of brackets: a stack that reads them, and balanced ones, counted, drawn, listed and corrupted.
//!
//! A word is a list of brackets: 2k opens kind k, 2k + 1 closes it.

use crate::rng::Rng;

/// Brackets that a word may have.
pub(super) const MAX_LENGTH: usize = 128;

/// Exchanges of two brackets that are drawn for one that unbalances a word.
const TRIES: usize = 16;

/// The brackets that are open, by kind.
pub(super) struct Open {
    kinds: [u32; MAX_LENGTH],
    /// How many they are.
    pub(super) depth: usize,
}

impl Open {
    /// Nothing is open before a word.
    pub(super) fn none() -> Open {
        Open { kinds: [0; MAX_LENGTH], depth: 0 }
    }

    /// The kind of the one that was opened last.
    pub(super) fn innermost(&self) -> Option<u32> {
        self.kinds[..self.depth].last().copied()
    }

    /// Reads a bracket; false when it closes none of its kind: then it closes the innermost one, if any.
    pub(super) fn read(&mut self, bracket: u32) -> bool {
        let kind = bracket / 2;
        if bracket.is_multiple_of(2) {
            self.kinds[self.depth] = kind;
            self.depth += 1;
            return true;
        }
        let fits = self.innermost() == Some(kind);
        self.depth = self.depth.saturating_sub(1);
        fits
    }
}

/// Whether a word is balanced, and its greatest depth.
pub(super) fn look(word: &[u32]) -> (bool, usize) {
    let (mut open, mut fits, mut depth) = (Open::none(), true, 0);
    for &bracket in word {
        fits &= open.read(bracket);
        depth = depth.max(open.depth);
    }
    (fits && open.depth == 0, depth)
}

/// Exchanges two brackets of a balanced word so that it is not balanced any more.
fn exchange(rng: &mut Rng, word: &mut [u32]) {
    let n = word.len() as u32;
    for _ in 0..TRIES {
        let (i, j) = (rng.below(n) as usize, rng.below(n) as usize);
        word.swap(i, j);
        if !look(word).0 {
            return;
        }
        word.swap(i, j);
    }
    // The word then begins with a closing bracket.
    word.swap(0, n as usize - 1);
}

/// Corrupts a balanced word in one of the ways that there are, each as likely: a bracket turned round, two brackets exchanged, or, where
/// there are kinds, one bracket of another kind.
pub(super) fn unbalance(kinds: u32, rng: &mut Rng, word: &mut [u32]) {
    let place = rng.below(word.len() as u32) as usize;
    match rng.below(if kinds > 1 { 3 } else { 2 }) {
        0 => word[place] ^= 1,
        1 => exchange(rng, word),
        _ => word[place] = (word[place] + 2 * (1 + rng.below(kinds - 1))) % (2 * kinds),
    }
}

/// Balanced words of brackets of some kinds with a depth limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Balanced {
    kinds: usize,
    max_depth: usize,
    /// `[length + 1, max_depth + 2]`: the ways to close so many open brackets of one kind with so many brackets left.
    ways: Vec<f64>,
}

impl Balanced {
    /// Words of at most `length` brackets.
    pub(super) fn new(kinds: usize, length: usize, max_depth: usize) -> Balanced {
        let width = max_depth + 2;
        let mut words = Balanced { kinds, max_depth, ways: vec![0.0; (length + 1) * width] };
        words.ways[0] = 1.0;
        for left in 1..=length {
            for depth in 0..=max_depth {
                let closed = if depth > 0 { words.ways(left - 1, depth - 1) } else { 0.0 };
                words.ways[left * width + depth] = closed + words.ways(left - 1, depth + 1);
            }
        }
        words
    }

    fn ways(&self, left: usize, depth: usize) -> f64 {
        self.ways[left * (self.max_depth + 2) + depth]
    }

    /// How many words of this length there are.
    pub(super) fn count(&self, length: usize) -> f64 {
        self.ways(length, 0) * (self.kinds as f64).powi(length as i32 / 2)
    }

    /// Appends a word of this length; each is as likely.
    pub(super) fn draw(&self, length: usize, rng: &mut Rng, word: &mut Vec<u32>) {
        let mut open = Open::none();
        for left in (0..length).rev() {
            // The part of all ways to go on that open a bracket: exactly 0 where there is none, and all where nothing is open.
            let opens = self.ways(left, open.depth + 1) / self.ways(left + 1, open.depth);
            let bracket = match open.innermost() {
                Some(kind) if rng.uniform_f64() >= opens => 2 * kind + 1,
                _ => 2 * rng.below(self.kinds as u32),
            };
            open.read(bracket);
            word.push(bracket);
        }
    }

    /// Every word of this length, in ascending order.
    pub(super) fn all(&self, length: usize) -> Vec<Vec<u32>> {
        let mut all = vec![];
        self.list(length, &mut vec![], &mut all);
        all
    }

    /// Appends every word that begins with `word` and has `left` more brackets.
    fn list(&self, left: usize, word: &mut Vec<u32>, to: &mut Vec<Vec<u32>>) {
        if left == 0 {
            return to.push(word.clone());
        }
        let mut open = Open::none();
        word.iter().for_each(|&bracket| {
            open.read(bracket);
        });
        for bracket in 0..2 * self.kinds as u32 {
            let fits = match open.innermost() {
                _ if bracket.is_multiple_of(2) => self.ways(left - 1, open.depth + 1) > 0.0,
                innermost => innermost == Some(bracket / 2),
            };
            if fits {
                word.push(bracket);
                self.list(left - 1, word, to);
                word.pop();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Catalan's numbers; with depth 2 at most, powers of 2; with 3, every other number of Fibonacci.
    #[test]
    fn words_are_counted() {
        let counts =
            |kinds, max_depth| [1, 2, 3, 4, 5, 6].map(|pairs| Balanced::new(kinds, 12, max_depth).count(2 * pairs));
        assert_eq!(counts(1, 6), [1.0, 2.0, 5.0, 14.0, 42.0, 132.0]);
        assert_eq!(counts(1, 2), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        assert_eq!(counts(1, 3), [1.0, 2.0, 5.0, 13.0, 34.0, 89.0]);
        assert_eq!(counts(3, 6)[..3], [3.0, 18.0, 135.0]);
        // C(128, 64) / 65.
        let catalan_64 = (1..=64).fold(1.0, |c, i| c * f64::from(64 + i) / f64::from(i)) / 65.0;
        assert!((Balanced::new(1, 128, 64).count(128) / catalan_64 - 1.0).abs() < 1e-12);
        assert_eq!(Balanced::new(8, 128, 1).count(128), 8f64.powi(64));
    }

    #[test]
    fn words_are_drawn_uniformly() {
        for (kinds, length, max_depth, n) in
            [(1, 6, 3, 5), (1, 8, 4, 14), (1, 10, 5, 42), (1, 10, 3, 34), (2, 6, 3, 40), (3, 6, 2, 108), (1, 12, 2, 32)]
        {
            let words = Balanced::new(kinds, length, max_depth);
            let mut rng = Rng::stream(3, "uniform");
            let mut counts = BTreeMap::<Vec<u32>, f64>::new();
            for _ in 0..1000 * n {
                let mut word = vec![];
                words.draw(length, &mut rng, &mut word);
                *counts.entry(word).or_default() += 1.0;
            }
            assert!(counts.keys().eq(&words.all(length)), "{counts:?}");
            let chi_square: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
            let freedom = f64::from(n - 1);
            assert!(counts.len() == n as usize && chi_square < freedom + 6.0 * (2.0 * freedom).sqrt(), "{chi_square}");
        }
    }

    /// Words of 128 brackets reach both ends of what their depth can be without going wrong.
    #[test]
    fn long_words_are_balanced() {
        let mut rng = Rng::stream(4, "long");
        for max_depth in [1, 2, 5, 64] {
            let words = Balanced::new(8, 128, max_depth);
            for _ in 0..2000 {
                let mut word = vec![];
                words.draw(128, &mut rng, &mut word);
                let (balanced, depth) = look(&word);
                assert!(balanced && depth <= max_depth && word.len() == 128);
            }
        }
    }

    /// No corrupted word is balanced, and each differs from its original in one place or two.
    #[test]
    fn corrupted_words_are_nearly_balanced() {
        let mut rng = Rng::stream(5, "corrupted");
        for (kinds, length) in [(1, 2), (1, 4), (2, 2), (3, 10), (8, 128)] {
            let words = Balanced::new(kinds as usize, length, length / 2);
            let mut changed = [0i32; 3];
            for _ in 0..3000 {
                let mut word = vec![];
                words.draw(length, &mut rng, &mut word);
                let whole = word.clone();
                unbalance(kinds, &mut rng, &mut word);
                assert!(!look(&word).0 && word.iter().all(|&bracket| bracket < 2 * kinds), "{whole:?} {word:?}");
                changed[whole.iter().zip(&word).filter(|(one, other)| one != other).count()] += 1;
            }
            let exchanged = if kinds > 1 { 1000 } else { 1500 };
            assert!(changed[0] == 0 && (changed[2] - exchanged).abs() < 150, "{kinds} {length}: {changed:?}");
        }
    }
}
