//! The `program` family: lists in variables, assignments to their items, and the list that a variable holds in the end.
//!
//! Operands are the items of every variable's first list, then variable, index and value of each assignment, then the variable that is
//! asked for. An example is `a = 1 2 3 . a [ 2 ] = 4 . a 1 2`, the answers being the next token from the last `a` on: 1 2 4. Source: the
//! usual definition.

use serde::Deserialize;

use super::rule::{Drawn, Example, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;

/// Programs that may be listed.
const MAX_LISTED: u32 = 100_000;

const EXPLAIN: &str = "\
What it is
  A program: every variable is given a list, single items are assigned new values, and one variable stands at the end.
  Asked for the list that it then holds: a = 1 2 3 . a [ 2 ] = 4 . a has the answer 1 2 4. The model reads all but the last
  token and is asked for the next one from the last variable on.
Reads
  params.variables: 1 to 26, called a, b, c and so on. params.length: items a list, 1 to 64. params.values: how many
  different numbers items are drawn from, 2 to 1024. params.statements: assignments after the first lists, 0 to 64.
Unit and range
  Items, and indices counted from 0, are tokens 0 to values - 1 or length - 1, whichever is more; then the variables, then
  `=`, `[`, `]` and `.`. All is drawn uniformly, so the same item may be assigned twice: the later one holds. Labels in
  measures: assignments, those to the variable that is asked for.
Value at a known point
  program_3: equal logits have a loss of ln 17 = 2.833 nats. Copying the first list is right at an item with probability
  (8/9)^3 + (1 - (8/9)^3) / 10 = 0.732.
Source
  The usual definition.
";

/// `[params]`: programs of assignments.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    variables: usize,
    length: usize,
    values: usize,
    statements: usize,
}

impl Program {
    /// How many values each operand can have.
    fn sizes(&self) -> impl Iterator<Item = u32> {
        let [variables, length, values] = [self.variables, self.length, self.values].map(|size| size as u32);
        let items = std::iter::repeat_n(values, self.variables * self.length);
        let statements = (0..3 * self.statements).map(move |i| [variables, length, values][i % 3]);
        items.chain(statements).chain([variables])
    }

    /// Tokens of values and indices.
    fn n_numbers(&self) -> usize {
        self.values.max(self.length)
    }

    /// The parts of these operands, if they are an example: first lists, assignments, the variable asked for.
    fn parts<'a>(&self, operands: &'a [u32]) -> Option<(&'a [u32], &'a [[u32; 3]], u32)> {
        let n_items = self.variables * self.length;
        if operands.len() != n_items + 3 * self.statements + 1
            || operands.iter().zip(self.sizes()).any(|(&operand, size)| operand >= size)
        {
            return None;
        }
        let (items, rest) = operands.split_at(n_items);
        let (&asked, statements) = rest.split_last()?;
        Some((items, statements.as_chunks::<3>().0, asked))
    }
}

impl Drawn for Program {
    const NAME: &'static str = "program";
    const SUMMARY: &'static str =
        "what a variable holds after assignments to the items of lists: a = 1 2 3 . a [ 2 ] = 4 . a";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<Program, Vec<Fault>> {
        let faults = [
            outside("variables", self.variables, 1..=26),
            outside("length", self.length, 1..=64),
            outside("values", self.values, 2..=1024),
            outside("statements", self.statements, 0..=64),
        ];
        let faults: Vec<Fault> = faults.into_iter().flatten().collect();
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Program {
    fn words(&self) -> Vec<String> {
        let variables = ('a'..='z').take(self.variables).map(String::from);
        let signs = ["=", "[", "]", "."].map(str::to_owned);
        numbers(self.n_numbers()).into_iter().chain(variables).chain(signs).collect()
    }

    fn n_ctx(&self) -> usize {
        self.variables * (self.length + 3) + 7 * self.statements + self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.n_ctx() - self.length..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend(self.sizes().map(|size| rng.below(size)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let sizes: Vec<u32> = self.sizes().collect();
        let listed = |n: u32, &size: &u32| n.checked_mul(size).filter(|&n| n <= MAX_LISTED);
        let n = sizes.iter().try_fold(1, listed)?;
        // The last operand runs fastest.
        let operands = |mut i: u32| {
            let mut operands = vec![0; sizes.len()];
            for (operand, size) in operands.iter_mut().zip(&sizes).rev() {
                *operand = i % size;
                i /= size;
            }
            operands
        };
        Some((0..n).map(operands).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some((items, statements, asked)) = self.parts(operands) else { return false };
        let (tokens, first) = (&mut to.tokens, self.n_numbers() as u32);
        let [equals, open, close, stop] = [0, 1, 2, 3].map(|sign| first + self.variables as u32 + sign);
        for (variable, list) in (first..).zip(items.chunks_exact(self.length)) {
            tokens.extend([variable, equals]);
            tokens.extend(list);
            tokens.push(stop);
        }
        for &[variable, index, value] in statements {
            tokens.extend([first + variable, open, index, close, equals, value, stop]);
        }
        tokens.push(first + asked);
        let held = (0..).zip(&items[asked as usize * self.length..][..self.length]).map(|(place, &item)| {
            let last = statements.iter().rev().find(|[variable, index, _]| (*variable, *index) == (asked, place));
            last.map_or(item, |&[_, _, value]| value)
        });
        to.targets.extend(held);
        tokens.extend(&to.targets[..self.length - 1]);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("assignments")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        let Some((_, statements, asked)) = self.parts(operands) else { return 0 };
        statements.iter().filter(|statement| statement[0] == asked).count() as u32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// Runs the words of a program; gives the variable at its end, the lists that were held and the assignments to each.
    fn run(words: &[&str]) -> (String, BTreeMap<String, (Vec<String>, u32)>) {
        let mut held: BTreeMap<String, (Vec<String>, u32)> = BTreeMap::new();
        let mut lines = words.split(|&word| word == ".").peekable();
        loop {
            let line = lines.next().unwrap();
            match line {
                [last] if lines.peek().is_none() => return ((*last).to_owned(), held),
                [variable, "=", list @ ..] => {
                    let list = list.iter().map(|&item| item.to_owned()).collect();
                    assert!(held.insert((*variable).to_owned(), (list, 0)).is_none(), "{words:?}");
                }
                [variable, "[", index, "]", "=", value] => {
                    let (list, assignments) = held.get_mut(*variable).unwrap();
                    list[index.parse::<usize>().unwrap()] = (*value).to_owned();
                    *assignments += 1;
                }
                _ => panic!("{line:?} is no line"),
            }
        }
    }

    #[test]
    fn ten_thousand_programs_run_to_their_answers() {
        for (params, n_lines) in [
            ("variables = 3, length = 3, values = 10, statements = 3", 6),
            ("variables = 1, length = 5, values = 2, statements = 9", 10),
            ("variables = 26, length = 2, values = 4, statements = 0", 26),
            ("variables = 4, length = 1, values = 3, statements = 2", 6),
        ] {
            let rule = rule("program", params);
            samples(&*rule, 10_000, |d| {
                let words: Vec<&str> = d.words.iter().map(String::as_str).collect();
                let (program, read) = words.split_at(words.len() + 1 - d.answers.len());
                let (asked, held) = run(program);
                let (list, assignments) = &held[&asked];
                assert_eq!(&d.answers, list, "{words:?}");
                assert_eq!(read, &list[..list.len() - 1], "{words:?}");
                assert_eq!(rule.label(&d.operands), *assignments, "{words:?}");
                assert_eq!(program.iter().filter(|&&word| word == ".").count(), n_lines, "{words:?}");
            });
        }
    }

    #[test]
    fn examples_are_written_out() {
        let one = rule("program", "variables = 1, length = 3, values = 5, statements = 1");
        let d = drawing(&*one, &[1, 2, 3, 0, 2, 4, 0]);
        assert_eq!(d.words.join(" "), "a = 1 2 3 . a [ 2 ] = 4 . a 1 2");
        assert_eq!(d.answers, ["1", "2", "4"]);
        let two = rule("program", "variables = 2, length = 2, values = 5, statements = 3");
        let d = drawing(&*two, &[1, 2, 3, 4, 1, 0, 2, 0, 0, 0, 1, 0, 4, 1]);
        assert_eq!(d.words.join(" "), "a = 1 2 . b = 3 4 . b [ 0 ] = 2 . a [ 0 ] = 0 . b [ 0 ] = 4 . b 4");
        assert_eq!(d.answers, ["4", "4"]);
        assert_eq!(two.label(&d.operands), 2);
        for wrong in [&[1, 2, 3, 0, 2, 4][..], &[1, 2, 5, 0, 2, 4, 0], &[1, 2, 3, 1, 2, 4, 0], &[1, 2, 3, 0, 3, 4, 0]] {
            assert!(!one.write(wrong, &mut Example::default()), "{wrong:?}");
            assert_eq!(one.label(wrong), 0);
        }
    }

    #[test]
    fn few_programs_are_listed_and_many_are_not() {
        let few = rule("program", "variables = 2, length = 1, values = 3, statements = 1");
        let all = few.all().unwrap();
        // Two items, a variable, the one index, a value, and the variable asked for.
        assert_eq!(all.len(), 3 * 3 * 2 * 3 * 2);
        assert!(all.is_sorted_by(|a, b| a < b));
        assert!(all.iter().all(|operands| few.write(operands, &mut Example::default())));
        assert!(rule("program", "variables = 3, length = 3, values = 10, statements = 3").all().is_none());
        assert!(rule("program", "variables = 26, length = 64, values = 1024, statements = 64").all().is_none());
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("length = 3, values = 5, statements = 1", "params.variables: 0 is out of range; it must be 1 to 26"),
            ("variables = 2, length = 65, values = 5", "params.length: 65 is out of range; it must be 1 to 64"),
            ("variables = 2, length = 3, values = 1", "params.values: 1 is out of range; it must be 2 to 1024"),
            (
                "variables = 2, length = 3, values = 5, statements = 65",
                "params.statements: 65 is out of range; it must be 0 to 64",
            ),
        ] {
            let found = faults("program", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
