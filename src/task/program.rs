//! The `program` family: short programs over lists in variables, and what a variable holds at the end.
//!
//! Operands are the queried variable, the lists that the variables begin with, and the statements after that, each as the number of its
//! op and its arguments. An example is `a = 1 2 3 . a [2] = 4 . a -> 1 2`, the answers being the next token from `->` on: `1 2 4`.
//! Source: the problem as in Nanda's 200 concrete open problems.

use serde::Deserialize;

use super::rule::{Drawn, Example, IGNORED, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const MAX_VARIABLES: usize = 26;
const MAX_LENGTH: usize = 16;

const EXPLAIN: &str = "\
What it is
  A program over variables that hold lists, and then what one of them holds: a = 1 2 3 . a [2] = 4 . a -> 1 2 4. The
  model reads all but the last token and is asked for the next one from -> on. First each variable, a b c in this
  order, gets a list; then statements follow, by params.ops:
    assign   a = 1 2 3    the variable gets a list
    element  a [2] = 4    one item gets a value; places count from 0
    copy     b = a        the first variable gets what the second holds now; later the two change apart
    swap     swap a b     the two exchange what they hold
Reads
  params.variables: 1 to 26, named a to z. params.values: how many different numbers there are, 2 to 1024.
  params.list_length: items a list, 1 to 16. params.statements: how many follow the first lists, 1 to 64;
  params.min_statements: from this number on, each as likely; statements when unset. params.ops: which statements
  there are, each as likely; assign and element when unset. copy and swap need two variables.
Unit and range
  Numbers are tokens and classes 0 to values - 1; then places, [0] as one token, variables and signs are tokens, and
  PAD where programs differ in their number of tokens; it follows the answers. Values, places and variables are drawn
  independently, but copy and swap take two different variables; an element may get the value that it had.
  Operands: the number of the queried variable, the first lists, then for each statement 0 v items (assign),
  1 v place value (element), 2 v w (copy to v from w) or 3 v w (swap).
  Labels in measures: writes, the number of statements after the first lists that name the queried variable on their
  left, or in a swap.
Value at a known point
  After a = 1 2 3 . b = 4 5 6 . b = a . a [0] = 9 . b still holds 1 2 3; its writes are 1.
Source
  The problem as in Nanda's 200 concrete open problems, whose example is the first one here. copy and swap are added.
";

/// A kind of statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Assign,
    Element,
    Copy,
    Swap,
}

/// By their numbers among operands.
const OPS: [Op; 4] = [Op::Assign, Op::Element, Op::Copy, Op::Swap];

/// One statement: variables by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement<'a> {
    Assign(u32, &'a [u32]),
    /// Variable, place, value.
    Element(u32, u32, u32),
    /// To, from.
    Copy(u32, u32),
    Swap(u32, u32),
}

impl Statement<'_> {
    fn writes(self, variable: u32) -> bool {
        match self {
            Statement::Assign(v, _) | Statement::Element(v, ..) | Statement::Copy(v, _) => v == variable,
            Statement::Swap(v, w) => v == variable || w == variable,
        }
    }
}

/// `[params]`: programs to run.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    variables: usize,
    values: usize,
    list_length: usize,
    statements: usize,
    min_statements: Option<usize>,
    ops: Vec<Op>,
}

impl Default for Program {
    fn default() -> Program {
        let ops = vec![Op::Assign, Op::Element];
        Program { variables: 0, values: 0, list_length: 0, statements: 0, min_statements: None, ops }
    }
}

impl Program {
    fn least(&self) -> usize {
        self.min_statements.unwrap_or(self.statements)
    }

    /// Tokens of a statement, with the dot.
    fn len(&self, op: Op) -> usize {
        match op {
            Op::Assign => self.list_length + 3,
            Op::Element => 5,
            Op::Copy | Op::Swap => 4,
        }
    }

    /// Tokens up to and with `->`, of the shortest and the longest program.
    fn prompt_lens(&self) -> [usize; 2] {
        let lens = || self.ops.iter().map(|&op| self.len(op));
        let first = self.variables * self.len(Op::Assign) + 2;
        [self.least() * lens().min().unwrap_or(0), self.statements * lens().max().unwrap_or(0)].map(|rest| first + rest)
    }

    fn varies(&self) -> bool {
        let [shortest, longest] = self.prompt_lens();
        shortest < longest
    }

    /// The first token of the places, of the variables, and of the signs.
    fn token_starts(&self) -> [u32; 3] {
        let places = self.values;
        let variables = places + self.list_length;
        [places, variables, variables + self.variables].map(|start| start as u32)
    }

    /// The number of the queried variable, the first lists one after the other, and the rest of the operands.
    fn parts<'a>(&self, operands: &'a [u32]) -> Option<(u32, &'a [u32], &'a [u32])> {
        let (&query, rest) = operands.split_first()?;
        let (lists, rest) = rest.split_at_checked(self.variables * self.list_length)?;
        let good = query < self.variables as u32 && self.are_values(lists);
        good.then_some((query, lists, rest))
    }

    fn are_values(&self, numbers: &[u32]) -> bool {
        numbers.iter().all(|&number| number < self.values as u32)
    }

    /// The first statement of operands and what follows it; none when they begin with no statement.
    fn statement<'a>(&self, operands: &'a [u32]) -> Option<(Statement<'a>, &'a [u32])> {
        let (&[op, v], rest) = operands.split_first_chunk()?;
        let op = *OPS.get(op as usize).filter(|op| self.ops.contains(op))?;
        let is_variable = |v: u32| v < self.variables as u32;
        if !is_variable(v) {
            return None;
        }
        match op {
            Op::Assign => {
                let (list, rest) = rest.split_at_checked(self.list_length)?;
                self.are_values(list).then_some((Statement::Assign(v, list), rest))
            }
            Op::Element => {
                let (&[place, value], rest) = rest.split_first_chunk()?;
                let good = place < self.list_length as u32 && self.are_values(&[value]);
                good.then_some((Statement::Element(v, place, value), rest))
            }
            Op::Copy | Op::Swap => {
                let (&w, rest) = rest.split_first().filter(|&(&w, _)| is_variable(w) && w != v)?;
                Some((if op == Op::Copy { Statement::Copy(v, w) } else { Statement::Swap(v, w) }, rest))
            }
        }
    }

    fn write_statement(&self, statement: Statement<'_>, tokens: &mut Vec<u32>) {
        let [places, variables, signs] = self.token_starts();
        let [equals, dot, swap] = [signs, signs + 1, signs + 3];
        match statement {
            Statement::Assign(v, list) => {
                tokens.extend([variables + v, equals]);
                tokens.extend(list);
            }
            Statement::Element(v, place, value) => tokens.extend([variables + v, places + place, equals, value]),
            Statement::Copy(v, w) => tokens.extend([variables + v, equals, variables + w]),
            Statement::Swap(v, w) => tokens.extend([swap, variables + v, variables + w]),
        }
        tokens.push(dot);
    }
}

/// What the variables hold: `[variable, MAX_LENGTH]`, of which the first items count.
struct Memory([[u32; MAX_LENGTH]; MAX_VARIABLES]);

impl Memory {
    fn run(&mut self, statement: Statement<'_>) {
        let Memory(lists) = self;
        match statement {
            Statement::Assign(v, list) => lists[v as usize][..list.len()].copy_from_slice(list),
            Statement::Element(v, place, value) => lists[v as usize][place as usize] = value,
            Statement::Copy(v, w) => lists[v as usize] = lists[w as usize],
            Statement::Swap(v, w) => lists.swap(v as usize, w as usize),
        }
    }
}

impl Drawn for Program {
    const NAME: &'static str = "program";
    const SUMMARY: &'static str = "short programs over lists: a = 1 2 3 . a [2] = 4 . a -> 1 2 4";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<Program, Vec<Fault>> {
        let found = [
            outside("variables", self.variables, 1..=MAX_VARIABLES),
            outside("values", self.values, 2..=1024),
            outside("list_length", self.list_length, 1..=MAX_LENGTH),
            outside("statements", self.statements, 1..=64),
        ];
        let mut faults: Vec<Fault> = found.into_iter().flatten().collect();
        if let Some(least) = self.min_statements.filter(|&least| least > self.statements) {
            faults.push(fault("min_statements", format!("{least} is above statements {}", self.statements)));
        }
        if self.ops.is_empty() {
            faults.push(fault("ops", "is empty; name some of assign, element, copy and swap"));
        }
        if (1..self.ops.len()).any(|i| self.ops[..i].contains(&self.ops[i])) {
            faults.push(fault("ops", "names a statement twice; keep each once"));
        }
        if self.variables == 1 && (self.ops.contains(&Op::Copy) || self.ops.contains(&Op::Swap)) {
            faults.push(fault("ops", "copy and swap need two variables; remove them, or set variables to 2 or more"));
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Program {
    fn words(&self) -> Vec<String> {
        let places = (0..self.list_length).map(|place| format!("[{place}]"));
        let variables = ('a'..='z').take(self.variables).map(String::from);
        let swap = self.ops.contains(&Op::Swap).then_some("swap");
        let signs = ["=", ".", "->"].into_iter().chain(swap).chain(self.varies().then_some("PAD"));
        numbers(self.values).into_iter().chain(places).chain(variables).chain(signs.map(str::to_owned)).collect()
    }

    fn classes(&self) -> Vec<String> {
        numbers(self.values)
    }

    fn n_ctx(&self) -> usize {
        let [_, longest] = self.prompt_lens();
        longest + self.list_length - 1
    }

    fn loss_positions(&self) -> Vec<usize> {
        let [shortest, _] = self.prompt_lens();
        (shortest - 1..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let (variables, values, length) = (self.variables as u32, self.values as u32, self.list_length);
        operands.push(rng.below(variables));
        operands.extend((0..self.variables * length).map(|_| rng.below(values)));
        let statements = self.least() as u32 + rng.below((self.statements - self.least() + 1) as u32);
        for _ in 0..statements {
            let (op, v) = (self.ops[rng.below(self.ops.len() as u32) as usize], rng.below(variables));
            operands.extend([op as u32, v]);
            match op {
                Op::Assign => operands.extend((0..length).map(|_| rng.below(values))),
                Op::Element => operands.extend([rng.below(length as u32), rng.below(values)]),
                Op::Copy | Op::Swap => operands.push((v + 1 + rng.below(variables - 1)) % variables),
            }
        }
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some((query, lists, mut rest)) = self.parts(operands) else { return false };
        let mut memory = Memory([[0; MAX_LENGTH]; MAX_VARIABLES]);
        for (v, list) in (0..).zip(lists.chunks_exact(self.list_length)) {
            memory.run(Statement::Assign(v, list));
            self.write_statement(Statement::Assign(v, list), &mut to.tokens);
        }
        let mut statements = 0;
        while !rest.is_empty() {
            let Some((statement, after)) = self.statement(rest) else { return false };
            memory.run(statement);
            self.write_statement(statement, &mut to.tokens);
            (rest, statements) = (after, statements + 1);
        }
        if !(self.least()..=self.statements).contains(&statements) {
            return false;
        }
        let [_, variables, signs] = self.token_starts();
        to.tokens.extend([variables + query, signs + 2]);
        let [shortest, _] = self.prompt_lens();
        let asked_from = to.tokens.len() - shortest;
        let answers = &memory.0[query as usize][..self.list_length];
        to.targets.resize(asked_from, IGNORED);
        to.targets.extend(answers);
        to.targets.resize(self.n_ctx() + 1 - shortest, IGNORED);
        // The answer at a position is the token after it.
        to.tokens.extend(&answers[..self.list_length - 1]);
        let pad = signs + 3 + u32::from(self.ops.contains(&Op::Swap));
        to.tokens.resize(self.n_ctx(), pad);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("writes")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        let Some((query, _, mut rest)) = self.parts(operands) else { return 0 };
        let mut writes = 0;
        while let Some((statement, after)) = self.statement(rest) {
            writes += u32::from(statement.writes(query));
            rest = after;
        }
        writes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// Runs the text of a program; returns what the variable asked for holds, and how many statements after the first lists wrote it.
    fn interpret(text: &str, variables: usize) -> (Vec<String>, usize) {
        let (program, query) = text.rsplit_once(" . ").unwrap();
        let query = query.strip_suffix(" ->").unwrap();
        let mut memory: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut writes = 0;
        for (i, line) in program.split(" . ").enumerate() {
            let touched = match line.split_once(" = ") {
                None => {
                    let names: Vec<&str> = line.strip_prefix("swap ").unwrap().split(' ').collect();
                    let [one, other] = [0, 1].map(|at| memory.remove(names[at]).unwrap());
                    memory.insert(names[0].to_owned(), other);
                    memory.insert(names[1].to_owned(), one);
                    names
                }
                Some((left, right)) => {
                    let value: Vec<String> = right.split(' ').map(str::to_owned).collect();
                    let (name, place) = left.split_once(' ').map_or((left, None), |(name, place)| (name, Some(place)));
                    if let Some(place) = place {
                        let place: usize = place.trim_matches(['[', ']']).parse().unwrap();
                        assert_eq!(value.len(), 1, "{line}");
                        memory.get_mut(name).unwrap()[place] = value[0].clone();
                    } else {
                        let value = memory.get(right).cloned().unwrap_or(value);
                        memory.insert(name.to_owned(), value);
                    }
                    vec![name]
                }
            };
            if i < variables {
                assert_eq!(memory.len(), i + 1, "{text}");
            } else {
                writes += usize::from(touched.contains(&query));
            }
        }
        (memory[query].clone(), writes)
    }

    #[test]
    fn ten_thousand_programs_run_as_they_are_written() {
        for (params, variables, counts) in [
            ("variables = 1, values = 10, list_length = 3, statements = 1", 1, 1..=1),
            ("variables = 2, values = 10, list_length = 4, statements = 3, min_statements = 0", 2, 0..=3),
            (
                "variables = 3, values = 5, list_length = 3, statements = 6, min_statements = 2, \
                 ops = [\"copy\", \"element\"]",
                3,
                2..=6,
            ),
            (
                "variables = 5, values = 20, list_length = 1, statements = 9, \
                 ops = [\"assign\", \"swap\", \"element\", \"copy\"]",
                5,
                9..=9,
            ),
            ("variables = 26, values = 2, list_length = 16, statements = 20, ops = [\"swap\"]", 26, 20..=20),
        ] {
            let rule = rule("program", params);
            let mut lengths = BTreeMap::new();
            samples(&*rule, 10_000, |d| {
                let arrow = d.words.iter().position(|word| word == "->").unwrap();
                let text = d.words[..=arrow].join(" ");
                let (holds, writes) = interpret(&text, variables);
                let asked = d.answers.iter().filter(|answer| !answer.is_empty());
                assert!(asked.eq(&holds), "{text} {:?}", d.answers);
                let first = rule.loss_positions()[d.answers.iter().position(|answer| !answer.is_empty()).unwrap()];
                assert_eq!((first, rule.label(&d.operands)), (arrow, writes as u32), "{text}");
                let (read, pad) = d.words[arrow + 1..].split_at(holds.len() - 1);
                assert_eq!(read, &holds[..holds.len() - 1]);
                assert!(pad.iter().all(|word| word == "PAD"));
                *lengths.entry(d.words.iter().filter(|word| *word == ".").count() - variables).or_insert(0) += 1;
            });
            assert!(lengths.keys().copied().eq(counts), "{params}: {lengths:?}");
            let expected = 10_000 / lengths.len() as i32;
            assert!(lengths.values().all(|n: &i32| (n - expected).abs() < 250), "{params}: {lengths:?}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let one = rule("program", "variables = 1, values = 10, list_length = 3, statements = 1, ops = [\"element\"]");
        let d = drawing(&*one, &[0, 1, 2, 3, 1, 0, 2, 4]);
        assert_eq!(
            (d.words.join(" ").as_str(), d.answers.join(" ").as_str()),
            ("a = 1 2 3 . a [2] = 4 . a -> 1 2", "1 2 4")
        );
        let all = "ops = [\"assign\", \"element\", \"copy\", \"swap\"]";
        let two = rule("program", &format!("variables = 2, values = 10, list_length = 2, statements = 4, {all}"));
        // b = a, then a [0] = 9, then swap a b, then b = 7 7: a holds what b was copied from.
        let operands = [0, 1, 2, 3, 4, 2, 1, 0, 1, 0, 0, 9, 3, 0, 1, 0, 1, 7, 7];
        let d = drawing(&*two, &operands);
        let text = "a = 1 2 . b = 3 4 . b = a . a [0] = 9 . swap a b . b = 7 7 . a -> 1";
        assert_eq!(d.words[..text.split(' ').count()].join(" "), text);
        assert_eq!((d.answers.concat(), two.label(&operands)), ("12".to_owned(), 2));
    }

    #[test]
    fn wrong_operands_are_no_example() {
        let rule = rule(
            "program",
            "variables = 2, values = 5, list_length = 2, statements = 2, min_statements = 1, \
             ops = [\"assign\", \"element\", \"copy\"]",
        );
        let with = |statements: &[u32]| [&[1, 0, 1, 2, 3], statements].concat();
        let known = |operands: &[u32]| rule.write(operands, &mut Example::default());
        for good in [&[0, 1, 4, 4][..], &[1, 0, 1, 4], &[2, 0, 1], &[2, 0, 1, 2, 1, 0]] {
            assert!(known(&with(good)), "{good:?}");
        }
        for wrong in [
            &[][..],
            &[2],
            &[2, 0],
            &[2, 0, 0],
            &[2, 0, 2],
            &[2, 2, 0],
            &[3, 0, 1],
            &[4, 0, 1],
            &[u32::MAX, 0, 1],
            &[0, 1, 4],
            &[0, 1, 4, 5],
            &[1, 0, 2, 4],
            &[1, 0, 1, 5],
            &[2, 0, 1, 9],
            &[2, 0, 1, 2, 0, 1, 2, 0, 1],
        ] {
            assert!(!known(&with(wrong)), "{wrong:?}");
        }
        assert!(
            !known(&[]) && !known(&[0, 1, 2]) && !known(&[2, 0, 1, 2, 3, 2, 0, 1]) && !known(&[0, 5, 1, 2, 3, 2, 0, 1])
        );
    }

    #[test]
    fn faults_name_their_key() {
        let sizes = "values = 10, list_length = 3, statements = 2";
        for (params, message) in [
            (sizes.to_owned(), "params.variables: 0 is out of range; it must be 1 to 26"),
            (
                "variables = 2, values = 1, list_length = 3, statements = 2".to_owned(),
                "params.values: 1 is out of range; it must be 2 to 1024",
            ),
            (
                "variables = 2, values = 9, list_length = 17, statements = 2".to_owned(),
                "params.list_length: 17 is out of range; it must be 1 to 16",
            ),
            (
                "variables = 2, values = 9, list_length = 3, statements = 65".to_owned(),
                "params.statements: 65 is out of range; it must be 1 to 64",
            ),
            (format!("variables = 2, {sizes}, min_statements = 3"), "params.min_statements: 3 is above statements 2"),
            (
                format!("variables = 2, {sizes}, ops = []"),
                "params.ops: is empty; name some of assign, element, copy and swap",
            ),
            (
                format!("variables = 2, {sizes}, ops = [\"copy\", \"copy\"]"),
                "params.ops: names a statement twice; keep each once",
            ),
            (
                format!("variables = 1, {sizes}, ops = [\"copy\"]"),
                "params.ops: copy and swap need two variables; remove them, or set variables to 2 or more",
            ),
        ] {
            let found = faults("program", &params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("program", "min_statements = 1, ops = []").len(), 6);
    }
}
