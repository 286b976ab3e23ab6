//! The `automaton` family: words over an alphabet, and the states that they lead an automaton through.
//!
//! Operands are the word's letters. An example is the word itself, `0 1 1 0`, the answer at each letter, or at the last one alone, being
//! the state after it. Source: Liu et al. 2022 (arXiv 2210.10749).

use serde::Deserialize;

use super::automaton_table::Machine;
use super::list_map::every_list;
use super::rule::{Drawn, Example, IGNORED, Rule, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  A finite automaton reads a word letter by letter, each letter taking it from one state to the next. The model reads
  the letters and is asked, at each of them or at the last one alone, for the state after it.
Reads
  Exactly one of params.name and params.table. params.name is, with any number in the place of 5,
    parity          letters 0, 1; states even, odd: whether the number of ones so far is odd
    flip_flop       letters keep, set0, set1; states 0, 1: the bit that was set last
    cyclic_5        letters stay, step; states 0 to 4: the number of steps so far, mod 5
    addition_mod_5  letters 0 to 4; states 0 to 4: the sum of the letters so far, mod 5
    grid_walk_5     letters left, right; states 0 to 4: the cell of a row of 5, where a step into a wall moves nothing
    permutation_S5  letters 10234 and 12340 (S3: 102 and 120; to S6); states: all permutations in one-line notation, in
                    lexicographic order: the product of the letters so far, in the order of reading, where a b means:
                    apply b first, then a, as in the family group. So 10234 exchanges the first two things of a row,
                    and 12340 puts the first one last.
  params.table: a row for each state, which holds for each letter the number of the next state. params.letters and
  params.states: their names; their numbers from 0 when unset.
  params.start: the number of the state before the first letter, from 0; 0 when unset: even, 0, or the identity.
  params.length: letters that the model reads, 1 to 512. params.min_length: words from this length on, each length as
  likely, with PAD after shorter ones; length when unset. params.ask: all or last; all when unset.
Unit and range
  Tokens are the letters, in the order above, then PAD where lengths differ; classes are the states; 2 to 1024 of
  each. Letters are drawn independently. Probes find the number of the state after each token as state; PAD does not
  change it. Labels in measures: length, where lengths differ.
  A finite set without split.examples holds every word, where there are at most 100,000 of each length.
Value at a known point
  flip_flop: keep set1 keep set0 leads through 0 1 1 0. permutation_S3: 102 120 leads through 102 021.
Source
  Parity, memory, grid and permutations of five: Liu et al. 2022 (arXiv 2210.10749), who ask for the state after each
  letter. The letters here may differ from those there.
";

/// Where the state is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[default]
    All,
    Last,
}

/// `[params]`: an automaton and the words that it reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Automaton {
    name: Option<String>,
    table: Option<Vec<Vec<u32>>>,
    letters: Option<Vec<String>>,
    states: Option<Vec<String>>,
    start: usize,
    length: usize,
    min_length: Option<usize>,
    ask: Ask,
    #[serde(skip)]
    machine: Machine,
}

impl Automaton {
    fn least(&self) -> usize {
        self.min_length.unwrap_or(self.length)
    }

    fn varies(&self) -> bool {
        self.least() < self.length
    }

    fn first_asked(&self) -> usize {
        match self.ask {
            Ask::All => 0,
            Ask::Last => self.least() - 1,
        }
    }

    /// The state after one more letter.
    fn next(&self, state: u32, letter: u32) -> u32 {
        self.machine.next[state as usize * self.machine.letters.len() + letter as usize]
    }

    fn knows(&self, word: &[u32]) -> bool {
        let n = self.machine.letters.len();
        (self.least()..=self.length).contains(&word.len()) && word.iter().all(|&letter| (letter as usize) < n)
    }

    fn read(&self) -> Result<Machine, Vec<Fault>> {
        match (&self.name, &self.table) {
            (None, None) => {
                let message = "missing; an automaton such as parity or cyclic_5 (or table = [[...], ...])";
                Err(vec![fault("name", message)])
            }
            (Some(_), Some(_)) => Err(vec![fault("table", "stands beside name; keep one of them")]),
            (Some(name), None) => {
                let unread = |key| fault(key, "an automaton with a name has its own; remove it");
                let names = [self.letters.is_some().then_some("letters"), self.states.is_some().then_some("states")];
                let mut faults: Vec<Fault> = names.into_iter().flatten().map(unread).collect();
                let machine = Machine::named(name).map_err(|message| faults.push(fault("name", message)));
                machine.ok().filter(|_| faults.is_empty()).ok_or(faults)
            }
            (None, Some(rows)) => {
                let mut faults = vec![];
                if self.varies() && self.letters.iter().flatten().any(|letter| letter == "PAD") {
                    faults.push(fault("letters", "PAD stands after shorter words; choose another name"));
                }
                match Machine::of_rows(rows, self.letters.clone(), self.states.clone()) {
                    Ok(machine) if faults.is_empty() => Ok(machine),
                    found => Err(found.err().into_iter().flatten().chain(faults).collect()),
                }
            }
        }
    }
}

impl Drawn for Automaton {
    const NAME: &'static str = "automaton";
    const SUMMARY: &'static str =
        "the states of an automaton that reads a word: parity, flip-flop, walks, permutations";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Automaton, Vec<Fault>> {
        let mut faults: Vec<Fault> = outside("length", self.length, 1..=512).into_iter().collect();
        if let Some(least) = self.min_length.filter(|least| !(1..=self.length).contains(least)) {
            faults.push(fault("min_length", format!("{least} is not between 1 and length {}", self.length)));
        }
        match self.read() {
            Ok(machine) => {
                faults.extend(outside("start", self.start, 0..=machine.states.len() - 1));
                self.machine = machine;
            }
            Err(found) => faults.extend(found),
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Automaton {
    fn words(&self) -> Vec<String> {
        self.machine.letters.iter().cloned().chain(self.varies().then(|| "PAD".to_owned())).collect()
    }

    fn classes(&self) -> Vec<String> {
        self.machine.states.clone()
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.first_asked()..self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let spread = (self.length - self.least()) as u32;
        let length = self.least() + if spread == 0 { 0 } else { rng.below(spread + 1) as usize };
        operands.extend((0..length).map(|_| rng.below(self.machine.letters.len() as u32)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let of_length = |length| every_list(self.machine.letters.len(), length);
        let words: Option<Vec<_>> = (self.least()..=self.length).map(of_length).collect();
        words.map(|words| words.concat())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        if !self.knows(operands) {
            return false;
        }
        to.tokens.extend(operands);
        to.tokens.resize(self.length, self.machine.letters.len() as u32);
        let (mut state, first) = (self.start as u32, self.first_asked());
        for (t, &letter) in operands.iter().enumerate() {
            state = self.next(state, letter);
            if t >= first {
                let asked = self.ask == Ask::All || t + 1 == operands.len();
                to.targets.push(if asked { state } else { IGNORED });
            }
        }
        to.targets.resize(self.length - first, IGNORED);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        self.varies().then_some("length")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands.len() as u32
    }

    fn state_names(&self) -> Vec<String> {
        vec!["state".to_owned()]
    }

    fn states(&self, operands: &[u32]) -> Vec<u32> {
        let mut state = self.start as u32;
        let mut after: Vec<u32> = Vec::with_capacity(self.length);
        for &letter in operands {
            state = self.next(state, letter);
            after.push(state);
        }
        after.resize(self.length, state);
        after
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::automaton_table::KNOWN;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// The state after a whole word, from its text alone.
    type Solve = fn(&[String]) -> String;

    fn count(word: &[String], letter: &str) -> usize {
        word.iter().filter(|&other| other == letter).count()
    }

    fn parity(word: &[String]) -> String {
        if count(word, "1").is_multiple_of(2) { "even" } else { "odd" }.to_owned()
    }

    fn last_set(word: &[String]) -> String {
        word.iter().rev().find_map(|letter| letter.strip_prefix("set")).unwrap_or("0").to_owned()
    }

    /// The rest of the steps once each five of them are struck out.
    fn cyclic_5(word: &[String]) -> String {
        let steps = "#".repeat(count(word, "step"));
        steps.replace("#####", "").len().to_string()
    }

    fn addition_mod_7(word: &[String]) -> String {
        let sum: u32 = word.iter().map(|letter| letter.parse::<u32>().unwrap()).sum();
        (sum % 7).to_string()
    }

    /// From cell 4 of a row of nine: a token that is pushed about in a text.
    fn walk_9(word: &[String]) -> String {
        let mut row = "....X....".to_owned();
        for letter in word {
            row = if letter == "left" { row.replace(".X", "X.") } else { row.replace("X.", ".X") };
        }
        row.find('X').unwrap().to_string()
    }

    /// Things in a row: the first two change places, or the first one goes to the end.
    fn arrange(word: &[String]) -> String {
        let mut row: Vec<char> = "0123456"[..word[0].len()].chars().collect();
        for letter in word {
            if letter.starts_with("10") {
                row.swap(0, 1);
            } else {
                let moved = row.remove(0);
                row.push(moved);
            }
        }
        row.into_iter().collect()
    }

    /// Whether the word holds `a b` somewhere.
    fn holds_ab(word: &[String]) -> String {
        let text = word.concat();
        match (text.contains("ab"), text.ends_with('a')) {
            (true, _) => "found",
            (false, true) => "after_a",
            (false, false) => "none",
        }
        .to_owned()
    }

    const AB: &str =
        "table = [[1, 0], [1, 2], [2, 2]], letters = [\"a\", \"b\"], states = [\"none\", \"after_a\", \"found\"]";

    #[test]
    fn ten_thousand_words_lead_where_they_should() {
        let ab = format!("{AB}, length = 6");
        let solvers: [(&str, Solve); 12] = [
            ("name = \"parity\", length = 16", parity),
            ("name = \"parity\", length = 9, min_length = 2, ask = \"last\"", parity),
            ("name = \"flip_flop\", length = 16", last_set),
            ("name = \"flip_flop\", length = 12, min_length = 1", last_set),
            ("name = \"cyclic_5\", length = 40, ask = \"last\"", cyclic_5),
            ("name = \"addition_mod_7\", length = 10", addition_mod_7),
            ("name = \"grid_walk_9\", start = 4, length = 30", walk_9),
            ("name = \"permutation_S3\", length = 16", arrange),
            ("name = \"permutation_S4\", length = 8", arrange),
            ("name = \"permutation_S5\", length = 16, min_length = 15", arrange),
            ("name = \"permutation_S6\", length = 16", arrange),
            (&ab, holds_ab),
        ];
        for (params, solve) in solvers {
            let rule = rule("automaton", params);
            let (first, classes) = (rule.loss_positions()[0], rule.classes());
            samples(&*rule, 10_000, |d| {
                let word: Vec<String> = d.words.iter().filter(|&letter| letter != "PAD").cloned().collect();
                assert!(d.words[word.len()..].iter().all(|letter| letter == "PAD"));
                assert_eq!(word.len(), d.operands.len());
                let last_only = params.contains("last");
                for (t, answer) in (first..).zip(&d.answers) {
                    let asked = t < word.len() && (!last_only || t + 1 == word.len());
                    let right = if asked { solve(&word[..=t]) } else { String::new() };
                    assert_eq!(*answer, right, "{params}: {:?} at {t}", d.words);
                }
                let states = rule.states(&d.operands);
                assert_eq!(states.len(), rule.n_ctx());
                for t in [0, word.len() / 2, rule.n_ctx() - 1] {
                    assert_eq!(classes[states[t] as usize], solve(&word[..=t.min(word.len() - 1)]), "{params}");
                }
            });
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, operands, words, answers) in [
            ("name = \"flip_flop\", length = 4", &[0, 2, 0, 1][..], "keep set1 keep set0", "0 1 1 0"),
            ("name = \"parity\", length = 4", &[0, 1, 1, 1], "0 1 1 1", "even odd even odd"),
            ("name = \"parity\", length = 4, start = 1, ask = \"last\"", &[0, 1, 1, 1], "0 1 1 1", "even"),
            ("name = \"permutation_S3\", length = 2", &[0, 1], "102 120", "102 021"),
            ("name = \"grid_walk_2\", length = 3", &[0, 1, 1], "left right right", "0 1 1"),
            ("table = [[1, 0], [1, 0]], length = 3, min_length = 1", &[0, 1], "0 1 PAD", "1 0 "),
        ] {
            let rule = rule("automaton", params);
            let d = drawing(&*rule, operands);
            assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), (words, answers), "{params}");
            let too_long = [&[0; 4], operands].concat();
            for wrong in [&[9, 0, 0, 0][..], &[], &too_long, &[u32::MAX]] {
                assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
            }
        }
        let varying = rule("automaton", "name = \"parity\", length = 3, min_length = 2");
        assert_eq!((varying.label_name(), varying.label(&[0, 1])), (Some("length"), 2));
        assert_eq!(rule("automaton", "name = \"parity\", length = 3").label_name(), None);
        assert_eq!((varying.state_names(), varying.states(&[1, 0])), (vec!["state".to_owned()], vec![1, 1, 1]));
    }

    #[test]
    fn words_are_listed_where_they_are_few_and_drawn_as_often() {
        let all = |params| rule("automaton", params).all();
        assert_eq!(all("name = \"parity\", length = 16").unwrap().len(), 65_536);
        assert_eq!(all("name = \"flip_flop\", length = 16"), None);
        assert_eq!(
            all("name = \"cyclic_3\", length = 2, min_length = 1").unwrap(),
            [vec![0], vec![1], vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1]]
        );
        let (mut lengths, mut ones) = ([0; 3], 0);
        samples(&*rule("automaton", "name = \"parity\", length = 4, min_length = 2"), 9000, |d| {
            lengths[d.operands.len() - 2] += 1;
            ones += d.operands.iter().sum::<u32>();
        });
        assert!(lengths.iter().all(|count| (2800..3200).contains(count)), "{lengths:?}");
        assert!((13_200..13_800).contains(&ones), "{ones}");
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("length = 4", "params.name: missing; an automaton such as parity or cyclic_5 (or table = [[...], ...])"),
            ("name = \"parity\", table = [[0]], length = 4", "params.table: stands beside name; keep one of them"),
            (
                "name = \"parity\", letters = [\"a\", \"b\"], length = 4",
                "params.letters: an automaton with a name has its own; remove it",
            ),
            (
                "name = \"parity\", states = [\"a\", \"b\"], length = 4",
                "params.states: an automaton with a name has its own; remove it",
            ),
            ("name = \"cyclic_1\", length = 4", "params.name: 1 is out of range; it must be 2 to 1024"),
            ("name = \"grid_walk_1025\", length = 4", "params.name: 1025 is out of range; it must be 2 to 1024"),
            ("name = \"parity\"", "params.length: 0 is out of range; it must be 1 to 512"),
            ("name = \"parity\", length = 4, min_length = 5", "params.min_length: 5 is not between 1 and length 4"),
            ("name = \"parity\", length = 4, start = 2", "params.start: 2 is out of range; it must be 0 to 1"),
            ("table = [[0, 1]], length = 4", "params.states: there are 1; it must be 2 to 1024"),
            ("table = [[0], [1]], length = 4", "params.letters: there are 1; it must be 2 to 1024"),
            (
                "table = [[0, 1], [1, 0]], states = [\"a\", \"b\", \"c\"], length = 4",
                "params.table: has 2 rows; it must be 3, one a state",
            ),
            (
                "table = [[0, 1], [1]], states = [\"a\", \"b\"], length = 4",
                "params.table: the row of state b has 1 entries; it must be 2, one a letter",
            ),
            (
                "table = [[0, 2], [1, 0]], states = [\"a\", \"b\"], letters = [\"x\", \"y\"], length = 4",
                "params.table: in the row of state a, at letter y: 2 is out of range; it must be 0 to 1",
            ),
            (
                "table = [[0, 1], [1, 0]], letters = [\"x\", \"x\"], length = 4",
                "params.letters: `x` stands twice; each name once",
            ),
            (
                "table = [[0, 1], [1, 0]], states = [\"x\", \"x\"], length = 4",
                "params.states: `x` stands twice; each name once",
            ),
            (
                "table = [[0, 1], [1, 0]], states = [\"x y\", \"\"], length = 4",
                "params.states: `x y` is no word; it must have no space and not be empty",
            ),
            (
                "table = [[0, 1], [1, 0]], letters = [\"x\", \"PAD\"], length = 4, min_length = 2",
                "params.letters: PAD stands after shorter words; choose another name",
            ),
        ] {
            let found = faults("automaton", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        for name in
            ["", "cyclic_", "cyclic_x", "cyclic_+5", "cyclic_05", "toggle_5", "permutation_S7", "parity_2", "cyclic"]
        {
            let unknown = format!("params.name: there is no automaton `{name}`; {KNOWN}");
            let found = faults("automaton", &format!("name = \"{name}\", length = 4"));
            assert!(found.iter().any(|fault| fault.ends_with(&unknown)), "{found:?}");
        }
        let all_at_once = "table = [[0, 7], [7]], letters = [\"x\", \"x\"], length = 0, min_length = 2";
        assert_eq!(faults("automaton", all_at_once).len(), 6);
    }

    /// A state that no word leads to is allowed.
    #[test]
    fn unreachable_states_are_allowed() {
        assert_eq!(rule("automaton", "table = [[0, 0], [0, 1]], length = 4").classes(), ["0", "1"]);
    }
}
