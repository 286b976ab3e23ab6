//! Rules as one: the tokens, classes and loss positions of several together, and their examples in them.
//!
//! Reads the rules of a mixture's tasks; writes examples of any of them in the vocabulary of all, padded to the longest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rule::{Example, IGNORED, Rule};
use crate::rng::Rng;

const PAD: &str = "PAD";

/// Several rules and what they have together.
#[derive(Debug, Clone, Default)]
pub struct Union {
    members: Vec<Member>,
    /// How each token is written, `[d_vocab]`.
    pub words: Vec<String>,
    /// How each class is written, `[d_vocab_out]`.
    pub classes: Vec<String>,
    /// Positions at which any rule asks, ascending.
    pub loss_positions: Vec<usize>,
    /// Positions of the longest rule, the task's token included.
    pub n_ctx: usize,
    /// What follows shorter examples.
    pad: Option<u32>,
    /// The token of rule 0, where rules have one.
    first_task: Option<u32>,
    /// Whether a rule has several right answers.
    several: bool,
}

/// A rule among others, with its place in the whole.
#[derive(Debug, Clone)]
struct Member {
    rule: Arc<dyn Rule>,
    /// The whole's token for each of the rule's own.
    tokens: Vec<u32>,
    /// The whole's class for each of the rule's own.
    classes: Vec<u32>,
    /// The place among the whole's loss positions of each of the rule's own, ascending.
    places: Vec<usize>,
}

/// The word that names a rule in examples.
pub fn task_word(task: usize) -> String {
    format!("<{task}>")
}

/// A word that a list holds twice.
pub fn twice(words: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    words.iter().find(|word| !seen.insert(*word))
}

/// The words of all lists, each once, in order of first appearance.
fn union(lists: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    lists.flatten().filter(|word| seen.insert(word.clone())).collect()
}

/// The place of each word of `own` in `all`, which holds them.
fn ids(own: &[String], all: &[String]) -> Vec<u32> {
    let id: BTreeMap<&String, u32> = all.iter().zip(0..).collect();
    own.iter().map(|word| id[word]).collect()
}

/// Whether an example of the rule says which answers are allowed.
fn has_several(rule: &dyn Rule) -> bool {
    let mut operands = vec![];
    rule.draw(&mut Rng::stream(0, "mixture"), &mut operands);
    rule.allowed(&operands).is_some()
}

impl Union {
    /// These rules as one, each with a token that names it where `task_token`.
    pub fn new(rules: Vec<Arc<dyn Rule>>, task_token: bool) -> Union {
        let shift = usize::from(task_token);
        let longest = rules.iter().map(|rule| rule.n_ctx()).max().unwrap_or(0);
        let positions = rules.iter().flat_map(|rule| rule.loss_positions());
        let loss_positions: Vec<usize> = positions.map(|t| t + shift).collect::<BTreeSet<_>>().into_iter().collect();
        let pads = rules.iter().any(|rule| rule.n_ctx() < longest).then(|| vec![PAD.to_owned()]);
        let mut words = union(rules.iter().map(|rule| rule.words()).chain(pads));
        let classes = union(rules.iter().map(|rule| rule.classes()));
        let first_task = task_token.then_some(words.len() as u32);
        let pad = words.iter().position(|word| word == PAD).map(|pad| pad as u32);
        if task_token {
            words.extend((0..rules.len()).map(task_word));
        }
        let place = |t: usize| loss_positions.partition_point(|&other| other < t + shift);
        let member = |rule: Arc<dyn Rule>| Member {
            tokens: ids(&rule.words(), &words),
            classes: ids(&rule.classes(), &classes),
            places: rule.loss_positions().into_iter().map(place).collect(),
            rule,
        };
        let several = rules.iter().any(|rule| has_several(&**rule));
        let members = rules.into_iter().map(member).collect();
        Union { members, words, classes, loss_positions, n_ctx: longest + shift, pad, first_task, several }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// One of the rules.
    pub fn rule(&self, task: usize) -> &dyn Rule {
        &*self.members[task].rule
    }

    /// The rule that the first operand names, and its own operands.
    fn split<'a>(&self, operands: &'a [u32]) -> Option<(u32, &Member, &'a [u32])> {
        let (&task, own) = operands.split_first()?;
        Some((task, self.members.get(task as usize)?, own))
    }

    /// Writes the example of these operands, the rule's number first, into `to`, which is empty; false when there is none.
    pub fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some((task, member, own)) = self.split(operands) else { return false };
        if !member.rule.write(own, to) {
            return false;
        }
        to.tokens.iter_mut().for_each(|token| *token = member.tokens[*token as usize]);
        if let Some(first) = self.first_task {
            to.tokens.insert(0, first + task);
        }
        if let Some(pad) = self.pad {
            to.tokens.resize(self.n_ctx, pad);
        }
        to.targets.resize(self.loss_positions.len(), IGNORED);
        // From the last on, so that no target is moved onto one that is still to be moved.
        for (from, &place) in member.places.iter().enumerate().rev() {
            let target = std::mem::replace(&mut to.targets[from], IGNORED);
            to.targets[place] = if target == IGNORED { IGNORED } else { member.classes[target as usize] };
        }
        true
    }

    /// `[loss positions]` lists of right classes; none where no rule has several.
    pub fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        if !self.several {
            return None;
        }
        let (_, member, own) = self.split(operands)?;
        let Some(allowed) = member.rule.allowed(own) else { return self.one_right(operands) };
        let mut all = vec![vec![]; self.loss_positions.len()];
        for (own, &place) in allowed.iter().zip(&member.places) {
            all[place] = own.iter().map(|&class| member.classes[class as usize]).collect();
            all[place].sort_unstable();
        }
        Some(all)
    }

    /// The targets of an example as lists.
    fn one_right(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        let mut example = Example::default();
        let right = |&target: &u32| if target == IGNORED { vec![] } else { vec![target] };
        self.write(operands, &mut example).then(|| example.targets.iter().map(right).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};
    use crate::task::{CARDS, Card, Task, family};

    const SORT: &str = "{ family = \"sort\", params = { values = 10, length = 4 } }";
    const REVERSE: &str = "{ family = \"list_map\", params = { op = \"reverse\", values = 10, length = 4 } }";
    const SUMS: &str = "{ family = \"list_map\", params = { op = \"cumulative_sum\", values = 10, length = 4 } }";
    const SHORT: &str = "{ family = \"sort\", params = { values = 10, length = 2 } }";

    #[test]
    fn tasks_share_their_words_and_are_padded_to_the_longest() {
        let both = rule("mixture", &format!("tasks = [{SHORT}, {SUMS}, {REVERSE}]"));
        let ten = "0 1 2 3 4 5 6 7 8 9 START MID";
        assert_eq!((both.words().join(" "), both.classes().join(" ")), (format!("{ten} PAD"), ten.to_owned()));
        assert_eq!((both.n_ctx(), both.loss_positions()), (9, (1..9).collect()));
        for (operands, words, answers) in [
            (&[0, 6, 4][..], "START 6 4 MID 4 PAD PAD PAD PAD", "  4 6    "),
            (&[1, 4, 6, 4, 9], "START 4 6 4 9 PAD PAD PAD PAD", "4 0 4 3    "),
            (&[2, 4, 6, 2, 9], "START 4 6 2 9 MID 9 2 6", "    9 2 6 4"),
        ] {
            let d = drawing(&*both, operands);
            assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), (words, answers));
        }
        for wrong in [&[][..], &[0], &[3, 1, 2], &[0, 1, 2, 3], &[1, 4, 6, 4, 10]] {
            assert!(!both.write(wrong, &mut Example::default()), "{wrong:?}");
        }
        let named = rule("mixture", &format!("tasks = [{SORT}, {REVERSE}], task_token = true"));
        assert_eq!(named.words().join(" "), format!("{ten} <0> <1>"));
        assert_eq!((named.n_ctx(), named.loss_positions()), (10, (6..10).collect()));
        let d = drawing(&*named, &[1, 4, 6, 2, 9]);
        assert_eq!(d.words.join(" "), "<1> START 4 6 2 9 MID 9 2 6");
        // A task's own PAD is taken.
        let vary = "{ family = \"sort\", params = { values = 10, length = 3, min_length = 2 } }";
        let padded = rule("mixture", &format!("tasks = [{vary}, {REVERSE}]"));
        assert_eq!(padded.words().join(" "), format!("{ten} END PAD"));
        assert_eq!(drawing(&*padded, &[0, 7, 5]).words.join(" "), "START 7 5 MID 5 7 END PAD PAD");
    }

    #[test]
    fn allowed_answers_are_passed_on_where_a_task_has_several() {
        let path = "{ card = \"shortest_path_8\" }";
        let one = rule("mixture", &format!("tasks = [{path}, {SORT}], task_token = true"));
        let alone = Task::load("shortest_path_8").unwrap().rule.unwrap();
        let (classes, own_classes) = (one.classes(), alone.classes());
        let positions = one.loss_positions();
        samples(&*one, 1000, |d| {
            let allowed = one.allowed(&d.operands).unwrap();
            let mut example = Example::default();
            assert!(one.write(&d.operands, &mut example));
            for (allowed, &target) in allowed.iter().zip(&example.targets) {
                assert!(allowed.is_sorted() && (target == IGNORED) == allowed.is_empty());
                assert!(allowed.is_empty() || allowed.contains(&target), "{:?}", d.words);
                assert!(d.operands[0] == 0 || allowed.len() < 2);
            }
            if d.operands[0] == 0 {
                let own = alone.allowed(&d.operands[1..]).unwrap();
                for (own, t) in own.iter().zip(alone.loss_positions()) {
                    let here = &allowed[positions.iter().position(|&other| other == t + 1).unwrap()];
                    let words = |ids: &[u32], classes: &[String]| {
                        let mut words: Vec<String> = ids.iter().map(|&id| classes[id as usize].clone()).collect();
                        words.sort();
                        words
                    };
                    assert_eq!(words(here, &classes), words(own, &own_classes));
                }
            }
        });
        assert_eq!(rule("mixture", &format!("tasks = [{REVERSE}, {SORT}]")).allowed(&[0, 1, 2, 3, 4]), None);
    }

    #[test]
    fn every_card_with_a_rule_can_be_mixed() {
        let asked =
            |answers: &[String]| answers.iter().filter(|answer| !answer.is_empty()).cloned().collect::<Vec<_>>();
        for (name, text) in CARDS {
            let card = Card::parse(name.as_ref(), text).unwrap();
            if card.family == "mixture" || !family(&card.family).unwrap().can_stream() {
                continue;
            }
            let alone = Card::build(&card).unwrap().rule.unwrap();
            let params = format!("tasks = [{{ card = \"{name}\" }}, {SORT}], task_token = true");
            if alone.widths().is_some() {
                let found = faults("mixture", &params);
                assert!(found[0].contains("has real numbers, which no vocabulary can hold"), "{name}: {found:?}");
                continue;
            }
            let mixed = rule("mixture", &params);
            samples(&*mixed, 20, |d| {
                if d.operands[0] == 0 {
                    let own = drawing(&*alone, &d.operands[1..]);
                    assert_eq!(
                        (&d.words[1..=own.words.len()], asked(&d.answers)),
                        (&own.words[..], asked(&own.answers)),
                        "{name}"
                    );
                }
            });
        }
    }
}
