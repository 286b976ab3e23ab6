//! The `template` family: sentences whose last word follows from the others, one word a token.
//!
//! Operands are what fills the slots of a sentence, by kind. An example is `Today is Monday . In 3 days it is`, the answer being
//! `Thursday`; nothing else is asked. Source: three tasks on which circuits of language models were found, with smaller vocabularies.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Deserialize;

use super::rule::{Drawn, Example, Rule, outside};
use super::template_docstring::{Docstring, Sizes};
use super::template_slots::{Cycle, GreaterThan, NextDay};
use super::wording::{ARGUMENTS, DESCRIPTIONS, EVENTS, FUNCTIONS, unread};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  A sentence with slots and the word that comes next, which is, by params.kind:
    docstring     def load ( self files obj state size ) : doc param files river stone param obj music winter param
                  -> state, the argument after those that the docstring names, in the order of the definition
    greater_than  The war lasted from the year 17 32 to the year 17 -> a two-digit number above 32, each as likely
    next_day      Monday is followed by -> Tuesday; or, with an offset, Today is Monday . In 3 days it is -> Thursday
Reads
  params.kind. docstring: params.arguments a function, 2 to 16, 4 when unset; params.documented, those that are named
  before the answer, 1 to arguments - 1, half of arguments when unset; the first of them stands at any place, each as
  likely. params.description: words that follow a name, 0 to 8, 2 when unset; params.min_description: a number from
  this on, each as likely; PAD then ends shorter examples. params.names (from arguments to 32), params.functions (1 to
  8), params.words (1 to 32): how many words to draw from; 16, 8 and 16 when unset.
  greater_than: params.events, what may last, 1 to 32, 16 when unset; params.min_century, params.max_century: 11 and 17
  when unset, 0 to 99; params.min_year, params.max_year: 2 and 98 when unset, 0 to 98.
  next_day: params.cycle: days, months or hours (0 to 23); days when unset. params.max_offset: offsets 1 to this, at
  most 100; without it the next one is asked for.
Unit and range
  Operands and their tokens. docstring: the function, the place of the first argument named (from 0), the arguments, the
  words of each description, where the number params.words stands for none; argument names are the first tokens.
  greater_than: the event, the century, the year, the answer; tokens 00 to 99 are the first. next_day: the day from 0,
  then the offset if there is one; days are the first tokens. Answers are tokens, asked for at the last word.
  A finite set without split.examples holds all of next_day. Labels in measures: start (docstring), the place of the
  first argument named; year (greater_than); offset (next_day).
Value at a known point
  With greater_than, after the year 32, each of the 67 numbers 33 to 99 is right; no model has a mean loss
  below ln 67 = 4.204693 nats there. next_day with max_offset = 7 has 49 examples, with months and 12 it has 144.
Source
  docstring: Heimersheim and Janiak 2023 (A circuit for Python docstrings in a 4-layer attention-only transformer).
  greater_than: Hanna et al. 2023 (arXiv 2305.00586). next_day with an offset: Engels et al. 2024 (arXiv 2405.14860).
";

/// What a sentence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Docstring,
    GreaterThan,
    NextDay,
}

/// `[params]`: sentences to go on with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Template {
    kind: Option<Kind>,
    arguments: Option<usize>,
    documented: Option<usize>,
    description: Option<usize>,
    min_description: Option<usize>,
    names: Option<usize>,
    functions: Option<usize>,
    words: Option<usize>,
    events: Option<usize>,
    min_century: Option<usize>,
    max_century: Option<usize>,
    min_year: Option<usize>,
    max_year: Option<usize>,
    cycle: Option<Cycle>,
    max_offset: Option<usize>,
    /// The rule of the kind.
    #[serde(skip)]
    made: Option<Arc<dyn Rule>>,
}

/// Numbers of a card, and what is wrong with them.
#[derive(Debug, Default)]
struct Numbers {
    faults: Vec<Fault>,
}

impl Numbers {
    fn number(&mut self, key: &str, given: Option<usize>, default: usize, range: RangeInclusive<usize>) -> usize {
        let number = given.unwrap_or(default);
        self.faults.extend(outside(key, number, range));
        number
    }

    /// What is made of the numbers, where nothing is wrong with them.
    fn done<R>(self, make: impl FnOnce() -> R) -> Result<R, Vec<Fault>> {
        if self.faults.is_empty() { Ok(make()) } else { Err(self.faults) }
    }
}

impl Template {
    /// Parameters of the other kinds.
    fn unread(&self, kind: Kind) -> Vec<Fault> {
        let given = [
            (Kind::Docstring, "arguments", self.arguments.is_some()),
            (Kind::Docstring, "documented", self.documented.is_some()),
            (Kind::Docstring, "description", self.description.is_some()),
            (Kind::Docstring, "min_description", self.min_description.is_some()),
            (Kind::Docstring, "names", self.names.is_some()),
            (Kind::Docstring, "functions", self.functions.is_some()),
            (Kind::Docstring, "words", self.words.is_some()),
            (Kind::GreaterThan, "events", self.events.is_some()),
            (Kind::GreaterThan, "min_century", self.min_century.is_some()),
            (Kind::GreaterThan, "max_century", self.max_century.is_some()),
            (Kind::GreaterThan, "min_year", self.min_year.is_some()),
            (Kind::GreaterThan, "max_year", self.max_year.is_some()),
            (Kind::NextDay, "cycle", self.cycle.is_some()),
            (Kind::NextDay, "max_offset", self.max_offset.is_some()),
        ];
        unread("this kind", given.iter().filter(|row| row.0 != kind).map(|row| (row.1, row.2)))
    }

    fn docstring(&self, mut read: Numbers) -> Result<Docstring, Vec<Fault>> {
        let count = |list: &str| list.split(' ').count();
        let arguments = read.number("arguments", self.arguments, 4, 2..=16);
        let description = read.number("description", self.description, 2, 0..=8);
        // The bounds hold whatever is wrong with `arguments`, so that its fault brings no others.
        let most = arguments.saturating_sub(1).max(1);
        let sizes = Sizes {
            arguments,
            documented: read.number("documented", self.documented, (arguments / 2).max(1), 1..=most),
            description,
            min_description: read.number("min_description", self.min_description, description, 0..=description),
            names: read.number("names", self.names, 16, arguments.min(16)..=count(ARGUMENTS)),
            functions: read.number("functions", self.functions, count(FUNCTIONS), 1..=count(FUNCTIONS)),
            words: read.number("words", self.words, 16, 1..=count(DESCRIPTIONS)),
        };
        read.done(|| Docstring::new(sizes))
    }

    fn greater_than(&self, mut read: Numbers) -> Result<GreaterThan, Vec<Fault>> {
        let events = read.number("events", self.events, 16, 1..=EVENTS.split(' ').count());
        let first_century = read.number("min_century", self.min_century, 11, 0..=99);
        let last_century =
            read.number("max_century", self.max_century, first_century.clamp(17, 99), first_century.min(99)..=99);
        let first_year = read.number("min_year", self.min_year, 2, 0..=98);
        let last_year = read.number("max_year", self.max_year, 98, first_year.min(98)..=98);
        read.done(|| GreaterThan::new(events, [first_century, last_century], [first_year, last_year]))
    }

    fn next_day(&self, mut read: Numbers) -> Result<NextDay, Vec<Fault>> {
        let max_offset = self.max_offset.map(|most| read.number("max_offset", Some(most), most, 1..=100));
        read.done(|| NextDay::new(self.cycle.unwrap_or_default(), max_offset))
    }

    fn made(&self) -> &dyn Rule {
        self.made.as_deref().expect("invariant: parameters are made ready before use")
    }
}

impl Drawn for Template {
    const NAME: &'static str = "template";
    const SUMMARY: &'static str =
        "sentences with slots: docstrings, years that last until later years, days that follow days";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Template, Vec<Fault>> {
        let Some(kind) = self.kind else {
            return Err(vec![fault("kind", "missing; docstring, greater_than or next_day")]);
        };
        let read = Numbers { faults: self.unread(kind) };
        self.made = Some(match kind {
            Kind::Docstring => Arc::new(self.docstring(read)?),
            Kind::GreaterThan => Arc::new(self.greater_than(read)?),
            Kind::NextDay => Arc::new(self.next_day(read)?),
        });
        Ok(self)
    }
}

impl Rule for Template {
    fn words(&self) -> Vec<String> {
        self.made().words()
    }

    fn n_ctx(&self) -> usize {
        self.made().n_ctx()
    }

    fn loss_positions(&self) -> Vec<usize> {
        self.made().loss_positions()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        self.made().draw(rng, operands);
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        self.made().all()
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        self.made().write(operands, to)
    }

    fn label_name(&self) -> Option<&'static str> {
        self.made().label_name()
    }

    fn label(&self, operands: &[u32]) -> u32 {
        self.made().label(operands)
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        self.made().allowed(operands)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::task::rule::check::faults;

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("", "params.kind: missing; docstring, greater_than or next_day"),
            ("kind = 'docstring', arguments = 1", "params.arguments: 1 is out of range; it must be 2 to 16"),
            ("kind = 'docstring', documented = 4", "params.documented: 4 is out of range; it must be 1 to 3"),
            ("kind = 'docstring', description = 9", "params.description: 9 is out of range; it must be 0 to 8"),
            ("kind = 'docstring', min_description = 3", "params.min_description: 3 is out of range; it must be 0 to 2"),
            ("kind = 'docstring', names = 3", "params.names: 3 is out of range; it must be 4 to 32"),
            ("kind = 'docstring', functions = 0", "params.functions: 0 is out of range; it must be 1 to 8"),
            ("kind = 'docstring', words = 33", "params.words: 33 is out of range; it must be 1 to 32"),
            ("kind = 'docstring', events = 3", "params.events: this kind does not read it; remove it"),
            ("kind = 'greater_than', arguments = 3", "params.arguments: this kind does not read it; remove it"),
            ("kind = 'greater_than', cycle = 'days'", "params.cycle: this kind does not read it; remove it"),
            ("kind = 'greater_than', events = 0", "params.events: 0 is out of range; it must be 1 to 32"),
            ("kind = 'greater_than', min_century = 100", "params.min_century: 100 is out of range; it must be 0 to 99"),
            ("kind = 'greater_than', max_century = 10", "params.max_century: 10 is out of range; it must be 11 to 99"),
            ("kind = 'greater_than', min_year = 99", "params.min_year: 99 is out of range; it must be 0 to 98"),
            ("kind = 'greater_than', max_year = 1", "params.max_year: 1 is out of range; it must be 2 to 98"),
            ("kind = 'next_day', max_offset = 0", "params.max_offset: 0 is out of range; it must be 1 to 100"),
            ("kind = 'next_day', max_year = 9", "params.max_year: this kind does not read it; remove it"),
        ] {
            let found = faults("template", params);
            assert!(matches!(&found[..], [one] if one.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("template", "kind = 'docstring', arguments = 99, words = 0, cycle = 'days'").len(), 3);
    }
}
