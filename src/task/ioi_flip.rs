//! Flips of examples of indirect object identification: the corrupted prompts of path patching.
//!
//! Reads the first name, the second name and the subject of an example, as numbers; writes those of the corrupted one. Nothing is drawn,
//! so that an example always has the same corrupted one. Source: the patterns by their letters; the definition is ours.

use serde::Deserialize;

/// A corruption of an example.
///
/// The letters are the first name, the second name and the subject of what becomes of an example `ABB`, whose answer is A. C and D are
/// names that it does not hold. An example `ABA`, whose subject is its first name and whose answer is B, changes in the same ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Flip {
    /// New names at every place: the answer becomes C. `ABA` becomes `CDC`, with the answer D.
    Cdd,
    /// The first two names in the other order and the other subject: the answer becomes B. `ABA` becomes `BAB`, with the answer A.
    Baa,
    /// The first two names in the other order, the same subject: the answer stays A. `ABA` becomes `BAA`, with the answer B as before.
    Bab,
    /// New names, the first two in the other order: the answer becomes C. `ABA` becomes `DCC`, with the answer D.
    Dcd,
    /// The other subject: the answer becomes B. `ABA` becomes `ABB`, with the answer A.
    Aba,
}

impl Flip {
    /// Every flip.
    pub const ALL: [Flip; 5] = [Flip::Cdd, Flip::Baa, Flip::Bab, Flip::Dcd, Flip::Aba];

    /// How many names there must be.
    pub(super) fn least_names(self) -> u32 {
        if self.new_names() { 4 } else { 2 }
    }

    fn new_names(self) -> bool {
        matches!(self, Flip::Cdd | Flip::Dcd)
    }

    fn exchanges(self) -> bool {
        matches!(self, Flip::Baa | Flip::Bab | Flip::Dcd)
    }

    fn other_subject(self) -> bool {
        matches!(self, Flip::Baa | Flip::Aba)
    }

    /// Flips the first three of an example's operands, see [`Flip::of`].
    pub(super) fn apply(self, operands: &mut [u32], n: u32) {
        let flipped = self.of([operands[0], operands[1], operands[2]], n);
        operands[..3].copy_from_slice(&flipped);
    }

    /// First name, second name and subject once flipped. The two names must differ and be below `n`, the least number or more, and the
    /// subject must be one of them.
    ///
    /// C and D are A and B moved along the list of names by the same shift, the least that gives two new names. It depends only on how far
    /// apart A and B are, as C and D are too; so different examples become different ones, and none is likelier than another.
    fn of(self, [first, second, subject]: [u32; 3], n: u32) -> [u32; 3] {
        let subject = if self.other_subject() { first + second - subject } else { subject };
        let apart = (second + n - first) % n;
        let is_new = |shift: &u32| *shift != apart && *shift != n - apart;
        let shift = if self.new_names() { (1..n).find(is_new) } else { Some(0) };
        let shift = shift.expect("invariant: of four names, two are new");
        let [first, second] = if self.exchanges() { [second, first] } else { [first, second] };
        [first, second, subject].map(|name| (name + shift) % n)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The pattern of a flip: each letter stands for one name, and no two for the same.
    fn assert_pattern(pattern: &str, clean: [u32; 3], flipped: [u32; 3]) {
        let mut by_letter = BTreeMap::from([('A', clean[0]), ('B', clean[1])]);
        for (letter, name) in pattern.chars().zip(flipped) {
            assert_eq!(*by_letter.entry(letter).or_insert(name), name, "{pattern}: {flipped:?} from {clean:?}");
        }
        let different: BTreeSet<&u32> = by_letter.values().collect();
        assert_eq!(different.len(), by_letter.len(), "{pattern}: {flipped:?} from {clean:?}");
    }

    #[test]
    fn flips_give_their_pattern_and_keep_examples_apart() {
        let table = [
            (Flip::Cdd, "CDD", "CDC"),
            (Flip::Baa, "BAA", "BAB"),
            (Flip::Bab, "BAB", "BAA"),
            (Flip::Dcd, "DCD", "DCC"),
            (Flip::Aba, "ABA", "ABB"),
        ];
        assert_eq!(table.map(|row| row.0), Flip::ALL);
        for n in 2..20 {
            for (flip, from_abb, from_aba) in table.into_iter().filter(|row| n >= row.0.least_names()) {
                let mut flipped = BTreeSet::new();
                for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b) {
                    assert_pattern(from_abb, [a, b, b], flip.of([a, b, b], n));
                    assert_pattern(from_aba, [a, b, a], flip.of([a, b, a], n));
                    flipped.extend([flip.of([a, b, b], n), flip.of([a, b, a], n)]);
                }
                assert!(flipped.iter().flatten().all(|&name| name < n), "{flip:?}");
                assert_eq!(flipped.len() as u32, n * (n - 1) * 2, "{flip:?}");
            }
        }
    }
}
