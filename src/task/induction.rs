//! The `induction` family: random tokens of which a piece stands several times, so that an earlier copy tells how a later one goes on.
//!
//! Operands are the places of the copies where these vary, the piece, and the tokens outside the copies. An example is
//! `BOS 4 6 2 4 6`, the answers inside the second copy being 6 2. Source: repeated random tokens as in Olsson et al. 2022
//! (arXiv 2209.11895).

use serde::Deserialize;

use super::rule::{Drawn, Example, IGNORED, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  BOS and then random tokens of which one piece stands several times: BOS 4 6 2 9 4 6 2 9. Inside a later copy the next
  token follows by induction: find the token where it stood before, and take the token after it. The model reads all
  but the last token. With a translation the later copies are the piece with each token replaced by its image under a
  fixed permutation, as a text and its translation are: induction through a dictionary.
Reads
  params.vocab: how many different tokens there are, 2 to 1024. params.length: positions that the model reads, BOS
  being the first, 4 to 512; as many tokens stand after BOS. params.subsequence: tokens of the piece, from 2.
  params.repeats: copies, the piece itself counted, from 2; 2 when unset. params.everywhere: false for copies one right
  after the other from position 1 on, with random tokens after the last; true for copies at random places that do not
  overlap, each choice of places as likely, between random tokens; false when unset.
  params.distinct: true for a piece whose tokens are all different and do not stand outside the copies, so that
  induction is never in doubt; false for independent tokens; true when unset.
  params.translation: the image of each token, a list that holds each number below vocab once; or
  params.translation_seed: a random one. No translation when both are unset.
  params.ask: predictable for the tokens of the later copies except the first of each; all for every next token;
  predictable when unset.
Unit and range
  Tokens and answers 0 to vocab - 1; BOS is token vocab and no answer. Operands: with everywhere the position of each
  copy's first token, ascending; then the piece; then the tokens outside the copies from left to right.
  Without everywhere the distance between copies is fixed, so a model can also attend to a position instead of a token.
Value at a known point
  Predictable tokens have a loss of 0 under induction, and of ln vocab nats with equal logits. With distinct = false a
  token can stand twice in the piece, and only a longer match tells its successors apart.
Source
  Induction heads and repeated random tokens: Olsson et al. 2022 (arXiv 2209.11895). The translation: the problem as in
  Nanda's 200 concrete open problems.
";

/// `[params]`: sequences that repeat a piece.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Induction {
    vocab: usize,
    length: usize,
    subsequence: usize,
    repeats: Option<usize>,
    everywhere: bool,
    distinct: Option<bool>,
    translation: Option<Vec<u32>>,
    translation_seed: Option<u64>,
    ask: Ask,
    /// `[vocab]`: what later copies hold in place of each token; the token itself without a translation.
    #[serde(skip)]
    image: Vec<u32>,
}

/// Where the next token is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[default]
    Predictable,
    All,
}

impl Induction {
    fn repeats(&self) -> usize {
        self.repeats.unwrap_or(2)
    }

    fn distinct(&self) -> bool {
        self.distinct.unwrap_or(true)
    }

    /// Tokens outside the copies.
    fn others(&self) -> usize {
        self.length - self.repeats() * self.subsequence
    }

    /// Operands that are places.
    fn places(&self) -> usize {
        if self.everywhere { self.repeats() } else { 0 }
    }

    /// The position of a copy's first token.
    fn start(&self, places: &[u32], copy: usize) -> usize {
        places.get(copy).map_or(1 + copy * self.subsequence, |&place| place as usize)
    }

    /// The first position that can be asked where places vary: the first of a second copy.
    fn first_asked(&self) -> usize {
        1 + self.subsequence
    }

    /// Whether copies at these places lie inside the sequence, one after the other.
    fn fit(&self, places: &[u32]) -> bool {
        let after = |free: usize, &place: &u32| {
            let place = place as usize;
            (place >= free).then_some(place + self.subsequence)
        };
        places.iter().try_fold(1, after).is_some_and(|end| end <= self.length + 1)
    }

    /// Places of the copies, each choice as likely: of the slots in order, which are copies and single tokens, so many are copies.
    fn draw_places(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let mut copies = self.places() as u32;
        let mut slots = self.others() as u32 + copies;
        let mut place = 1;
        while copies > 0 {
            if rng.below(slots) < copies {
                operands.push(place);
                copies -= 1;
                place += self.subsequence as u32;
            } else {
                place += 1;
            }
            slots -= 1;
        }
    }

    fn translation_fault(&self) -> Option<Fault> {
        let list = self.translation.as_ref()?;
        if self.translation_seed.is_some() {
            return Some(fault("translation", "stands beside translation_seed; keep one of them"));
        }
        let mut sorted = list.clone();
        sorted.sort_unstable();
        let message = format!("must hold each number below vocab {} once", self.vocab);
        (!sorted.into_iter().eq(0..self.vocab as u32)).then(|| fault("translation", message))
    }

    fn size_fault(&self) -> Option<Fault> {
        let (copies, size) = (self.repeats(), self.subsequence);
        let tokens = copies.saturating_mul(size);
        if tokens > self.length {
            let message = format!("{copies} copies of {size} tokens are more than length {}", self.length);
            return Some(fault("subsequence", message));
        }
        // One token more must be left for the places outside the copies.
        let needed = size + usize::from(tokens < self.length);
        let message =
            || format!("{} is too few for a piece of {size} different tokens; it must be {needed} or more", self.vocab);
        (self.distinct() && self.vocab < needed).then(|| fault("vocab", message()))
    }
}

impl Drawn for Induction {
    const NAME: &'static str = "induction";
    const SUMMARY: &'static str = "random tokens with a repeated piece, also through a dictionary: BOS 4 6 2 9 4 6 2 9";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Induction, Vec<Fault>> {
        let ranges = [
            outside("vocab", self.vocab, 2..=1024),
            outside("length", self.length, 4..=512),
            outside("subsequence", self.subsequence, 2..=256),
            outside("repeats", self.repeats(), 2..=256),
        ];
        let mut faults: Vec<Fault> = ranges.into_iter().flatten().collect();
        if faults.is_empty() {
            faults.extend(self.size_fault());
        }
        faults.extend(self.translation_fault());
        if !faults.is_empty() {
            return Err(faults);
        }
        self.image = match (&self.translation, self.translation_seed) {
            (Some(list), _) => list.clone(),
            (None, Some(seed)) => Rng::stream(seed, "translation").permutation(self.vocab),
            (None, None) => (0..self.vocab as u32).collect(),
        };
        Ok(self)
    }
}

impl Rule for Induction {
    fn words(&self) -> Vec<String> {
        numbers(self.vocab).into_iter().chain(["BOS".to_owned()]).collect()
    }

    fn classes(&self) -> Vec<String> {
        numbers(self.vocab)
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        let inside = |copy: usize| (self.start(&[], copy)..).take(self.subsequence - 1);
        match self.ask {
            Ask::All => (0..self.length).collect(),
            Ask::Predictable if self.everywhere => (self.first_asked()..self.length).collect(),
            Ask::Predictable => (1..self.repeats()).flat_map(inside).collect(),
        }
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        self.draw_places(rng, operands);
        let piece = operands.len();
        let tokens = self.subsequence + self.others();
        while operands.len() < piece + tokens {
            let token = rng.below(self.vocab as u32);
            let taken = &operands[piece..operands.len().min(piece + self.subsequence)];
            if !self.distinct() || !taken.contains(&token) {
                operands.push(token);
            }
        }
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (size, places) = (self.subsequence, self.places());
        if operands.len() != places + size + self.others() {
            return false;
        }
        let (places, tokens) = operands.split_at(places);
        let stands_in_piece = |i: usize| tokens[..i.min(size)].contains(&tokens[i]);
        if !self.fit(places)
            || tokens.iter().any(|&token| token >= self.vocab as u32)
            || (self.distinct() && (0..tokens.len()).any(stands_in_piece))
        {
            return false;
        }
        let (piece, mut others) = tokens.split_at(size);
        let (tokens, targets) = (&mut to.tokens, &mut to.targets);
        tokens.push(self.vocab as u32);
        for copy in 0..self.repeats() {
            let (before, after) = others.split_at(self.start(places, copy) - tokens.len());
            tokens.extend(before);
            match copy {
                0 => tokens.extend(piece),
                _ => tokens.extend(piece.iter().map(|&token| self.image[token as usize])),
            }
            others = after;
        }
        tokens.extend(others);
        // The answer at a position is the token after it.
        let first = self.first_asked();
        let later = (1..self.repeats()).map(|copy| self.start(places, copy));
        match self.ask {
            Ask::All => targets.extend(&tokens[1..]),
            Ask::Predictable if self.everywhere => {
                targets.resize(self.length - first, IGNORED);
                for start in later {
                    targets[start - first..][..size - 1].copy_from_slice(&tokens[start + 1..][..size - 1]);
                }
            }
            Ask::Predictable => later.for_each(|start| targets.extend(&tokens[start + 1..][..size - 1])),
        }
        tokens.truncate(self.length);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::rule::check::{Drawing, drawing, faults, rule, samples};

    /// What follows where `word` stood first.
    fn after_first<'a>(words: &'a [String], word: &str) -> &'a str {
        let at = words.iter().position(|other| other == word).unwrap();
        &words[at + 1]
    }

    /// Each asked position with its answer.
    fn asked(positions: &[usize], d: &Drawing) -> Vec<(usize, String)> {
        let pairs = positions.iter().copied().zip(d.answers.iter().cloned());
        pairs.filter(|(_, answer)| !answer.is_empty()).collect()
    }

    #[test]
    fn ten_thousand_sequences_go_on_as_they_did_before() {
        let dictionary = [3, 0, 4, 1, 2, 9, 8, 7, 6, 5, 11, 10];
        let through = format!("translation = {dictionary:?}");
        for (params, questions) in [
            ("vocab = 64, length = 32, subsequence = 16".to_owned(), 15),
            ("vocab = 9, length = 30, subsequence = 8, repeats = 3".to_owned(), 14),
            ("vocab = 64, length = 64, subsequence = 16, everywhere = true".to_owned(), 15),
            ("vocab = 12, length = 40, subsequence = 3, repeats = 9, everywhere = true".to_owned(), 16),
            ("vocab = 2, length = 4, subsequence = 2, everywhere = true".to_owned(), 1),
            (format!("vocab = 12, length = 12, subsequence = 4, repeats = 3, {through}"), 6),
            (format!("vocab = 12, length = 30, subsequence = 6, repeats = 4, everywhere = true, {through}"), 15),
        ] {
            let rule = rule("induction", &params);
            let image = |word: &str| match params.contains("translation") {
                true => dictionary[word.parse::<usize>().unwrap()].to_string(),
                false => word.to_owned(),
            };
            let original = |word: &str| (0..64).map(|x| x.to_string()).find(|x| image(x) == word).unwrap();
            samples(&*rule, 10_000, |d| {
                let questions_here = asked(&rule.loss_positions(), d);
                assert_eq!(questions_here.len(), questions, "{params}");
                for (t, answer) in questions_here {
                    assert!(d.words.get(t + 1).is_none_or(|next| *next == answer), "{params}: {:?}", d.words);
                    let predicted = image(after_first(&d.words[..t], &original(&d.words[t])));
                    assert_eq!(predicted, answer, "{params}: {:?} at {t}", d.words);
                }
            });
        }
    }

    #[test]
    fn every_next_token_is_asked_and_independent_tokens_repeat_by_position() {
        let params = "vocab = 10, length = 24, subsequence = 8, repeats = 3, distinct = false, ask = \"all\"";
        let rule = rule("induction", params);
        let (mut counts, mut twice) = (BTreeMap::<String, f64>::new(), 0);
        samples(&*rule, 10_000, |d| {
            let whole = [&d.words[1..], &d.answers[23..]].concat();
            assert_eq!((d.words[0].as_str(), &d.answers), ("BOS", &whole));
            assert!(whole[..8] == whole[8..16] && whole[..8] == whole[16..]);
            whole[..8].iter().for_each(|word| *counts.entry(word.clone()).or_default() += 1.0);
            twice += usize::from((1..8).any(|i| whole[..i].contains(&whole[i])));
        });
        // Nine degrees of freedom: 33.7 is passed once in 10,000 times.
        let chi_square: f64 = counts.values().map(|count| (count - 8000.0).powi(2) / 8000.0).sum();
        assert!(counts.len() == 10 && chi_square < 33.7, "{counts:?}");
        // Eight different digits are 10! / 2! of 10^8.
        assert!((f64::from(twice as u32) - 9818.56).abs() < 70.0, "{twice} pieces hold a token twice");
    }

    /// Two copies of two tokens among three others: ten choices of places.
    #[test]
    fn places_are_equally_likely() {
        let rule = rule("induction", "vocab = 20, length = 7, subsequence = 2, everywhere = true");
        let mut counts = BTreeMap::<Vec<u32>, f64>::new();
        samples(&*rule, 10_000, |d| *counts.entry(d.operands[..2].to_vec()).or_default() += 1.0);
        let chi_square: f64 = counts.values().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
        assert!(counts.len() == 10 && chi_square < 33.7, "{counts:?}");
        assert!(counts.keys().all(|at| at[0] >= 1 && at[1] >= at[0] + 2 && at[1] <= 6), "{counts:?}");
    }

    /// The dictionary, read off the copies, is one permutation, which the seed chooses.
    #[test]
    fn a_seed_chooses_the_dictionary() {
        let read_off = |seed: u64| {
            let params = format!("vocab = 16, length = 8, subsequence = 4, ask = \"all\", translation_seed = {seed}");
            let mut dictionary = BTreeMap::new();
            samples(&*rule("induction", &params), 1000, |d| {
                for (word, image) in d.answers[..4].iter().zip(&d.answers[4..]) {
                    assert_eq!(dictionary.entry(word.clone()).or_insert(image.clone()), image, "seed {seed}");
                }
            });
            let images: std::collections::BTreeSet<String> = dictionary.values().cloned().collect();
            assert_eq!((dictionary.len(), images.len()), (16, 16));
            dictionary
        };
        assert_eq!(read_off(1), read_off(1));
        assert_ne!(read_off(1), read_off(2));
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, operands, text) in [
            ("vocab = 10, length = 8, subsequence = 4", &[4, 6, 2, 9][..], "BOS 4 6 2 9 4 6 2 -> 6 2 9"),
            ("vocab = 10, length = 8, subsequence = 3", &[4, 6, 2, 0, 9], "BOS 4 6 2 4 6 2 0 -> 6 2"),
            (
                "vocab = 10, length = 8, subsequence = 2, everywhere = true",
                &[2, 5, 4, 6, 0, 1, 1, 7],
                "BOS 0 4 6 1 4 6 1 -> 6",
            ),
            (
                "vocab = 5, length = 6, subsequence = 3, translation = [1, 2, 3, 4, 0]",
                &[4, 2, 0],
                "BOS 4 2 0 0 3 -> 3 1",
            ),
            ("vocab = 10, length = 4, subsequence = 2, ask = \"all\"", &[7, 3], "BOS 7 3 7 -> 7 3 7 3"),
        ] {
            let rule = rule("induction", params);
            let d = drawing(&*rule, operands);
            let answers: Vec<String> = d.answers.iter().filter(|answer| !answer.is_empty()).cloned().collect();
            assert_eq!(format!("{} -> {}", d.words.join(" "), answers.join(" ")), text, "{params}");
        }
    }

    #[test]
    fn operands_that_are_no_example_are_refused() {
        let everywhere = rule("induction", "vocab = 10, length = 7, subsequence = 2, everywhere = true");
        for wrong in [
            &[][..],
            &[1, 3, 4, 6, 0, 1],
            &[1, 3, 4, 6, 0, 1, 2, 3],
            &[0, 3, 4, 6, 0, 1, 2],
            &[1, 2, 4, 6, 0, 1, 2],
            &[3, 1, 4, 6, 0, 1, 2],
            &[1, 7, 4, 6, 0, 1, 2],
            &[1, u32::MAX, 4, 6, 0, 1, 2],
            &[1, 3, 4, 10, 0, 1, 2],
            &[1, 3, 4, 4, 0, 1, 2],
            &[1, 3, 4, 6, 0, 1, 6],
        ] {
            assert!(!everywhere.write(wrong, &mut Example::default()), "{wrong:?}");
        }
        assert!(everywhere.write(&[1, 6, 4, 6, 0, 0, 2], &mut Example::default()));
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("length = 8, subsequence = 4", "params.vocab: 0 is out of range; it must be 2 to 1024"),
            ("vocab = 9, length = 3, subsequence = 2", "params.length: 3 is out of range; it must be 4 to 512"),
            ("vocab = 9, length = 8, subsequence = 1", "params.subsequence: 1 is out of range; it must be 2 to 256"),
            (
                "vocab = 9, length = 8, subsequence = 2, repeats = 1",
                "params.repeats: 1 is out of range; it must be 2 to 256",
            ),
            (
                "vocab = 9, length = 8, subsequence = 3, repeats = 3",
                "params.subsequence: 3 copies of 3 tokens are more than length 8",
            ),
            (
                "vocab = 4, length = 9, subsequence = 4",
                "params.vocab: 4 is too few for a piece of 4 different tokens; it must be 5 or more",
            ),
            (
                "vocab = 3, length = 8, subsequence = 4",
                "params.vocab: 3 is too few for a piece of 4 different tokens; it must be 4 or more",
            ),
            (
                "vocab = 3, length = 4, subsequence = 2, translation = [0, 1, 1]",
                "params.translation: must hold each number below vocab 3 once",
            ),
            (
                "vocab = 2, length = 4, subsequence = 2, translation = [1, 0], translation_seed = 1",
                "params.translation: stands beside translation_seed; keep one of them",
            ),
        ] {
            let found = faults("induction", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("induction", "translation = [0]").len(), 4, "all at once");
    }
}
