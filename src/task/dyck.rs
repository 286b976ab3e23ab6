//! The `dyck` family: words of brackets, balanced or nearly so.
//!
//! Operands are the word's brackets: 2k opens kind k, 2k + 1 closes it. An example asks at each place of `( [ ] (` which kind must close
//! next, or for the next bracket, or at the end whether the word is balanced. Source: Dyck languages by their usual definition.

use serde::Deserialize;

use super::brackets::{Balanced, MAX_LENGTH, Open, look, unbalance};
use super::rule::{Drawn, Example, IGNORED, Rule, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Words that [`Rule::all`] may give.
const MAX_LISTED: f64 = 100_000.0;

/// The brackets that have a sign of their own.
const SIGNS: [[&str; 2]; 4] = [["(", ")"], ["[", "]"], ["{", "}"], ["<", ">"]];

const EXPLAIN: &str = "\
What it is
  Balanced words of brackets of some kinds: each bracket is closed by one of its kind, and what opens later closes
  sooner, as in ( [ ] ) { }. By params.ask the model is asked
    close  after each bracket, while any is open: the bracket that closes the innermost open one
    next   at START and after each bracket: the next bracket, or END. Measures know which classes may follow:
           those that lead to a word of the task
    valid  at the ? after a word: whether it is balanced
Reads
  params.kinds: 1 to 8; close needs 2. params.length: brackets a word, even, 4 to 128. params.min_length: words from
  this even length on, each length as likely, with PAD after them; length when unset. params.max_depth: how many
  brackets may be open at once, up to length / 2; no limit when unset. params.ask: close, next or valid; next when
  unset.
Unit and range
  Kind k opens as token 2k and closes as 2k + 1; they are written ( ) [ ] { } < >, and from kind 4 on (4 )4. Answers
  are the closing brackets by kind (close), tokens (next), or 0 invalid and 1 valid (valid).
  Of the balanced words of a length within the depth limit each is as likely. With valid, half of the words are then
  corrupted in one of these ways, each as likely: one bracket is turned round; one gets another kind, if there are
  several; or two brackets, drawn at random until the word is not balanced any more, 16 times at most, are exchanged,
  else the first and the last. No count of brackets, whatever their kind, tells the last two ways. The depth limit
  does not hold for corrupted words.
  Labels in measures: depth, how many brackets are open at most, where a closing bracket closes the innermost one, of
  whatever kind, or nothing. The state depth is the number of open brackets at each position.
  A finite set without split.examples holds every word, where there are at most 100,000; not with valid.
Value at a known point
  One kind has 1430 words of length 16, Catalan's number 8, and 2^7 of them are no deeper than 2; n kinds have n^8
  times as many.
Source
  The usual definition. With a depth limit the language is Dyck-(k, D) of Yao et al. 2021 (arXiv 2105.11115).
";

/// What is asked about a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Close,
    #[default]
    Next,
    Valid,
}

/// `[params]`: words of brackets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dyck {
    kinds: usize,
    length: usize,
    min_length: Option<usize>,
    max_depth: Option<usize>,
    ask: Ask,
    #[serde(skip)]
    balanced: Balanced,
}

impl Dyck {
    fn least(&self) -> usize {
        self.min_length.unwrap_or(self.length)
    }

    fn max_depth(&self) -> usize {
        self.max_depth.unwrap_or(self.length / 2)
    }

    fn varies(&self) -> bool {
        self.least() < self.length
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        (self.least()..=self.length).step_by(2)
    }

    /// Whether these brackets are a word of the task.
    fn is_word(&self, word: &[u32]) -> bool {
        let n = word.len();
        if !(self.least()..=self.length).contains(&n)
            || !n.is_multiple_of(2)
            || word.iter().any(|&bracket| bracket >= 2 * self.kinds as u32)
        {
            return false;
        }
        let (balanced, depth) = look(word);
        if balanced { depth <= self.max_depth() } else { self.ask == Ask::Valid }
    }
}

impl Drawn for Dyck {
    const NAME: &'static str = "dyck";
    const SUMMARY: &'static str = "words of brackets: what closes, what comes next, or whether ( [ ] ) { } is balanced";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Dyck, Vec<Fault>> {
        let odd = |key: &str, length: usize| {
            let message = || format!("{length} is odd; words of brackets have an even length");
            (!length.is_multiple_of(2)).then(|| fault(key, message()))
        };
        let found = [
            outside("kinds", self.kinds, 1..=8),
            outside("length", self.length, 4..=MAX_LENGTH).or(odd("length", self.length)),
            self.min_length.and_then(|least| {
                let message = || format!("{least} is not between 2 and length {}", self.length);
                let wrong = (!(2..=self.length).contains(&least)).then(|| fault("min_length", message()));
                wrong.or(odd("min_length", least))
            }),
            self.max_depth.and_then(|depth| outside("max_depth", depth, 1..=(self.length / 2).max(1))),
        ];
        let mut faults: Vec<Fault> = found.into_iter().flatten().collect();
        if self.kinds == 1 && self.ask == Ask::Close {
            faults
                .push(fault("ask", "close has one answer with one kind; set kinds to 2 or more, or ask next or valid"));
        }
        if self.kinds == 1 && self.max_depth == Some(1) && self.ask == Ask::Next {
            faults.push(fault("max_depth", "1 leaves one word of each length with one kind; set it to 2 or more"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.balanced = Balanced::new(self.kinds, self.length, self.max_depth());
        Ok(self)
    }
}

impl Rule for Dyck {
    fn words(&self) -> Vec<String> {
        let own = |kind: usize| SIGNS.get(kind).map(|signs| signs.map(str::to_owned));
        let brackets = (0..self.kinds).flat_map(|kind| own(kind).unwrap_or([format!("({kind}"), format!("){kind}")]));
        let signs: &[&str] = match self.ask {
            Ask::Close => &[],
            Ask::Next => &["START", "END"],
            Ask::Valid => &["?"],
        };
        let pad = self.varies().then_some("PAD");
        brackets.chain(signs.iter().copied().chain(pad).map(str::to_owned)).collect()
    }

    fn classes(&self) -> Vec<String> {
        match self.ask {
            Ask::Close => self.words().into_iter().take(2 * self.kinds).skip(1).step_by(2).collect(),
            Ask::Next => self.words(),
            Ask::Valid => vec!["invalid".to_owned(), "valid".to_owned()],
        }
    }

    fn n_ctx(&self) -> usize {
        self.length + usize::from(self.ask != Ask::Close)
    }

    fn loss_positions(&self) -> Vec<usize> {
        match self.ask {
            // At the end nothing is open.
            Ask::Close => (0..self.length - 1).collect(),
            Ask::Next => (0..=self.length).collect(),
            Ask::Valid => self.lengths().collect(),
        }
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let length = self.least() + 2 * rng.below(((self.length - self.least()) / 2 + 1) as u32) as usize;
        self.balanced.draw(length, rng, operands);
        if self.ask == Ask::Valid && rng.below(2) == 0 {
            unbalance(self.kinds as u32, rng, operands);
        }
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let few = self.lengths().map(|length| self.balanced.count(length)).sum::<f64>() <= MAX_LISTED;
        (few && self.ask != Ask::Valid).then(|| self.lengths().flat_map(|length| self.balanced.all(length)).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        if !self.is_word(operands) {
            return false;
        }
        let (first_sign, n) = (2 * self.kinds as u32, operands.len());
        let (tokens, targets) = (&mut to.tokens, &mut to.targets);
        let pad = match self.ask {
            Ask::Close => {
                tokens.extend(operands);
                let mut open = Open::none();
                targets.extend(operands[..n - 1].iter().map(|&bracket| {
                    open.read(bracket);
                    open.innermost().unwrap_or(IGNORED)
                }));
                targets.resize(self.length - 1, IGNORED);
                first_sign
            }
            Ask::Next => {
                let end = first_sign + 1;
                tokens.push(first_sign);
                tokens.extend(operands);
                // The answer at a position is the token after it; the last one is not read.
                targets.extend(operands);
                targets.push(end);
                targets.resize(self.length + 1, IGNORED);
                if n < self.length {
                    tokens.push(end);
                }
                first_sign + 2
            }
            Ask::Valid => {
                tokens.extend(operands);
                tokens.push(first_sign);
                let answer = u32::from(look(operands).0);
                targets.extend(self.lengths().map(|length| if length == n { answer } else { IGNORED }));
                first_sign + 1
            }
        };
        tokens.resize(self.n_ctx(), pad);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("depth")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        look(operands).1 as u32
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        if self.ask != Ask::Next {
            return None;
        }
        let (brackets, mut open) = (2 * self.kinds as u32, Open::none());
        let mut allowed = Vec::with_capacity(self.length + 1);
        for read in 0..=operands.len() {
            let opens = open.depth < self.max_depth() && read + open.depth + 2 <= self.length;
            let closes = open.innermost().map(|kind| 2 * kind + 1);
            let fits = |&bracket: &u32| closes == Some(bracket) || (opens && bracket.is_multiple_of(2));
            let ends = open.depth == 0 && read >= self.least();
            allowed.push((0..brackets).filter(fits).chain(ends.then_some(brackets + 1)).collect());
            operands.get(read).map(|&bracket| open.read(bracket));
        }
        allowed.resize(self.length + 1, vec![]);
        Some(allowed)
    }

    fn state_names(&self) -> Vec<String> {
        vec!["depth".to_owned()]
    }

    fn states(&self, operands: &[u32]) -> Vec<u32> {
        let mut open = Open::none();
        let mut depths = Vec::with_capacity(self.n_ctx());
        depths.extend((self.ask == Ask::Next).then_some(0));
        depths.extend(operands.iter().map(|&bracket| {
            open.read(bracket);
            open.depth as u32
        }));
        // END, ? and PAD leave it as it is.
        depths.resize(self.n_ctx(), open.depth as u32);
        depths
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// The closing bracket of an opening one, by its text.
    fn closes(word: &str) -> Option<String> {
        let (sign, kind) = word.split_at(1);
        let close = [("(", ")"), ("[", "]"), ("{", "}"), ("<", ">")].iter().find(|(open, _)| *open == sign)?.1;
        Some(format!("{close}{kind}"))
    }

    /// The brackets that must still close after each of a word's, innermost last; none from the first wrong one on.
    fn by_stack<'a>(word: impl IntoIterator<Item = &'a String>) -> Vec<Option<Vec<String>>> {
        let mut stack = Some(vec![]);
        let step = |bracket: &String| {
            stack = stack.take().and_then(|mut open: Vec<String>| {
                match closes(bracket) {
                    Some(close) => open.push(close),
                    None if open.pop().as_ref() != Some(bracket) => return None,
                    None => {}
                }
                Some(open)
            });
            stack.clone()
        };
        word.into_iter().map(step).collect()
    }

    fn depth(stacks: &[Option<Vec<String>>]) -> usize {
        stacks.iter().flatten().map(Vec::len).max().unwrap()
    }

    #[test]
    fn ten_thousand_words_ask_what_closes() {
        for (params, most) in [
            ("kinds = 3, length = 32, max_depth = 4, ask = \"close\"", 4),
            ("kinds = 8, length = 12, min_length = 2, ask = \"close\"", 6),
        ] {
            let rule = rule("dyck", params);
            samples(&*rule, 10_000, |d| {
                let word: Vec<&String> = d.words.iter().filter(|word| *word != "PAD").collect();
                let stacks = by_stack(word.iter().copied());
                assert_eq!(stacks.last(), Some(&Some(vec![])), "{:?}", d.words);
                let inner = |open: &Option<Vec<String>>| open.as_ref().unwrap().last().cloned().unwrap_or_default();
                let mut wanted: Vec<String> = stacks.iter().map(inner).collect();
                wanted.resize(d.words.len(), String::new());
                wanted.pop();
                assert_eq!(d.answers, wanted, "{:?}", d.words);
                assert!(depth(&stacks) <= most && rule.label(&d.operands) as usize == depth(&stacks));
                let mut depths: Vec<u32> = stacks.iter().map(|open| open.as_ref().unwrap().len() as u32).collect();
                depths.resize(d.words.len(), 0);
                assert_eq!(rule.states(&d.operands), depths);
                assert_eq!(rule.allowed(&d.operands), None);
            });
        }
    }

    /// The words that a task can give, found among all strings of brackets, tell what may follow each beginning.
    #[test]
    fn ten_thousand_words_go_on_as_some_word_does() {
        for (params, kinds, [least, length, most]) in [
            ("kinds = 1, length = 16", 1, [16, 16, 8]),
            ("kinds = 1, length = 12, min_length = 4, max_depth = 2", 1, [4, 12, 2]),
            ("kinds = 2, length = 8, min_length = 2, max_depth = 3, ask = \"next\"", 2, [2, 8, 3]),
        ] {
            let rule = rule("dyck", params);
            let signs = &["(", ")", "[", "]"].map(str::to_owned)[..2 * kinds];
            let mut follow: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
            let mut words = 0;
            let mut beginnings = vec![vec![]];
            while let Some(word) = beginnings.pop() {
                let stacks = by_stack(&word);
                let good = stacks.iter().all(|open| open.as_ref().is_some_and(|open| open.len() <= most));
                if !good || word.len() > length {
                    continue;
                }
                if word.len() >= least && stacks.last() == Some(&Some(vec![])) {
                    words += 1;
                    let whole: Vec<String> = word.iter().cloned().chain(["END".to_owned()]).collect();
                    for (i, next) in whole.iter().enumerate() {
                        follow.entry(whole[..i].to_vec()).or_default().insert(next.clone());
                    }
                }
                beginnings.extend(signs.iter().map(|sign| word.iter().cloned().chain([sign.clone()]).collect()));
            }
            assert_eq!(rule.all().unwrap().len(), words, "{params}");
            let classes = rule.classes();
            samples(&*rule, 10_000, |d| {
                let n = d.operands.len();
                let asked: Vec<String> = d.answers.iter().filter(|answer| !answer.is_empty()).cloned().collect();
                assert_eq!((asked.len(), asked[n].as_str()), (n + 1, "END"));
                let written = length.min(n + 1);
                assert_eq!((d.words[0].as_str(), &d.words[1..=written]), ("START", &asked[..written]));
                assert!(d.words[written + 1..].iter().all(|word| word == "PAD"));
                let allowed = rule.allowed(&d.operands).unwrap();
                assert_eq!(allowed.len(), d.answers.len());
                for (i, right) in allowed.iter().enumerate() {
                    assert!(right.is_sorted_by(|a, b| a < b));
                    let right: BTreeSet<String> = right.iter().map(|&class| classes[class as usize].clone()).collect();
                    let wanted = if i <= n { follow[&asked[..i]].clone() } else { BTreeSet::new() };
                    assert_eq!(right, wanted, "{:?} at {i}", d.words);
                }
            });
        }
    }

    #[test]
    fn ten_thousand_words_are_judged_and_half_are_valid() {
        for params in [
            "kinds = 2, length = 16, ask = \"valid\"",
            "kinds = 1, length = 10, min_length = 2, max_depth = 2, ask = \"valid\"",
            "kinds = 6, length = 128, max_depth = 5, ask = \"valid\"",
        ] {
            let rule = rule("dyck", params);
            let mut valid = 0;
            samples(&*rule, 10_000, |d| {
                let end = d.words.iter().position(|word| word == "?").unwrap();
                let stacks = by_stack(&d.words[..end]);
                let is_valid = stacks.last() == Some(&Some(vec![]));
                let asked: Vec<usize> = (0..d.answers.len()).filter(|&i| !d.answers[i].is_empty()).collect();
                assert_eq!(asked.iter().map(|&i| rule.loss_positions()[i]).collect::<Vec<_>>(), [end]);
                assert_eq!(d.answers[asked[0]], if is_valid { "valid" } else { "invalid" }, "{:?}", d.words);
                if is_valid {
                    assert_eq!(depth(&stacks), rule.label(&d.operands) as usize);
                }
                assert_eq!(rule.states(&d.operands).len(), d.words.len());
                valid += i32::from(is_valid);
            });
            // Five standard deviations.
            assert!((valid - 5000).abs() < 250, "{params}: {valid}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, text) in [
            ("kinds = 3, length = 8, ask = \"close\"", "( [ ] ) { } ( ) -> ) ] )  }  )"),
            ("kinds = 3, length = 8", "START ( [ ] ) { } ( ) -> ( [ ] ) { } ( ) END"),
            ("kinds = 3, length = 10, min_length = 2", "START ( [ ] ) { } ( ) END PAD -> ( [ ] ) { } ( ) END"),
            ("kinds = 3, length = 8, ask = \"valid\"", "( [ ] ) { } ( ) ? -> valid"),
        ] {
            let d = drawing(&*rule("dyck", params), &[0, 2, 3, 1, 4, 5, 0, 1]);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join(" ").trim_end()), text);
        }
        let valid = rule("dyck", "kinds = 6, length = 6, min_length = 2, max_depth = 2, ask = \"valid\"");
        let d = drawing(&*valid, &[10, 9, 1, 0]);
        assert_eq!((d.words.join(" ").as_str(), d.answers.concat().as_str()), ("(5 )4 ) ( ? PAD PAD", "invalid"));
        // The first ) closes (5, of whatever kind; the second nothing.
        assert_eq!((valid.states(&[10, 9, 1, 0]), valid.label(&[10, 9, 1, 0])), (vec![1, 0, 0, 1, 1, 1, 1], 1));
        for wrong in [&[][..], &[0], &[0, 1, 0], &[0, 12], &[0, 0, 0, 1, 1, 1], &[0, 1, 0, 1, 0, 1, 0, 1]] {
            assert!(!valid.write(wrong, &mut Example::default()), "{wrong:?}");
        }
        let close = rule("dyck", "kinds = 2, length = 4, ask = \"close\"");
        for wrong in [&[0, 2, 1, 3][..], &[0, 1, 1, 0], &[0, 0, 0, 0], &[0, 1], &[0, 1, 0, u32::MAX]] {
            assert!(!close.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn few_words_are_all_listed() {
        let all = rule("dyck", "kinds = 2, length = 4, min_length = 2, max_depth = 1").all().unwrap();
        assert_eq!(all, [&[0, 1][..], &[2, 3], &[0, 1, 0, 1], &[0, 1, 2, 3], &[2, 3, 0, 1], &[2, 3, 2, 3]]);
        assert_eq!(rule("dyck", "kinds = 1, length = 20").all().unwrap().len(), 16_796);
        assert_eq!(rule("dyck", "kinds = 3, length = 32").all(), None);
        assert_eq!(rule("dyck", "kinds = 1, length = 4, ask = \"valid\"").all(), None);
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("length = 8", "params.kinds: 0 is out of range; it must be 1 to 8"),
            ("kinds = 9, length = 8", "params.kinds: 9 is out of range; it must be 1 to 8"),
            ("kinds = 2, length = 2", "params.length: 2 is out of range; it must be 4 to 128"),
            ("kinds = 2, length = 130", "params.length: 130 is out of range; it must be 4 to 128"),
            ("kinds = 2, length = 7", "params.length: 7 is odd; words of brackets have an even length"),
            ("kinds = 2, length = 8, min_length = 10", "params.min_length: 10 is not between 2 and length 8"),
            (
                "kinds = 2, length = 8, min_length = 3",
                "params.min_length: 3 is odd; words of brackets have an even length",
            ),
            ("kinds = 2, length = 8, max_depth = 5", "params.max_depth: 5 is out of range; it must be 1 to 4"),
            (
                "kinds = 1, length = 8, ask = \"close\"",
                "params.ask: close has one answer with one kind; set kinds to 2 or more, or ask next or valid",
            ),
            (
                "kinds = 1, length = 8, max_depth = 1",
                "params.max_depth: 1 leaves one word of each length with one kind; set it to 2 or more",
            ),
        ] {
            let found = faults("dyck", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("dyck", "kinds = 0, length = 0, min_length = 1, max_depth = 9").len(), 4);
    }
}
