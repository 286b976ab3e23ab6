//! Automata as tables: by name, or from rows that are checked.
//!
//! Reads a name such as `parity` or `cyclic_5`, or rows of numbers with the names of letters and states; writes a [`Machine`], or what is
//! wrong. State 0 of a permutation automaton is the identity.

use super::group_table::GroupTable;
use super::rule::numbers;
use crate::error::Fault;
use crate::task::card::fault;

/// Letters, and states, that an automaton may have.
const MAX_SIZE: usize = 1024;

/// What a wrong name is answered with.
pub(super) const KNOWN: &str =
    "known: parity, flip_flop, cyclic_5, addition_mod_5, grid_walk_5, permutation_S3 to permutation_S6";

/// What takes an automaton from state to state.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    /// Their names.
    pub letters: Vec<String>,
    /// Their names.
    pub states: Vec<String>,
    /// `[states, letters]`: the state after each letter.
    pub next: Vec<u32>,
}

impl Machine {
    fn of(letters: Vec<String>, states: Vec<String>, next: impl Fn(usize, usize) -> usize) -> Machine {
        let n = letters.len();
        let next = (0..states.len() * n).map(|cell| next(cell / n, cell % n) as u32).collect();
        Machine { letters, states, next }
    }

    /// The automaton of a name.
    ///
    /// # Errors
    /// What is wrong with the name, in words.
    pub(super) fn named(name: &str) -> Result<Machine, String> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match name {
            "parity" => return Ok(Machine::of(numbers(2), words(&["even", "odd"]), |state, letter| state ^ letter)),
            "flip_flop" => {
                let next = |state, letter| if letter == 0 { state } else { letter - 1 };
                return Ok(Machine::of(words(&["keep", "set0", "set1"]), numbers(2), next));
            }
            "permutation_S3" | "permutation_S4" | "permutation_S5" | "permutation_S6" => {
                return GroupTable::named(&name["permutation_".len()..]).map(Machine::of_generators);
            }
            _ => {}
        }
        let unknown = || format!("there is no automaton `{name}`; {KNOWN}");
        let (kind, n) = name.rsplit_once('_').ok_or_else(unknown)?;
        let n: usize = n.parse().ok().filter(|number: &usize| number.to_string() == n).ok_or_else(unknown)?;
        if !["cyclic", "addition_mod", "grid_walk"].contains(&kind) {
            return Err(unknown());
        }
        if !(2..=MAX_SIZE).contains(&n) {
            return Err(format!("{n} is out of range; it must be 2 to {MAX_SIZE}"));
        }
        let states = numbers(n);
        Ok(match kind {
            "cyclic" => Machine::of(words(&["stay", "step"]), states, |state, letter| (state + letter) % n),
            "addition_mod" => Machine::of(numbers(n), states, |state, letter| (state + letter) % n),
            _ => Machine::of(words(&["left", "right"]), states, |cell, letter| match letter {
                0 => cell.saturating_sub(1),
                _ => (cell + 1).min(n - 1),
            }),
        })
    }

    /// The permutations of a symmetric group, from the identity on; letters exchange the first two things and move all by one.
    fn of_generators(group: GroupTable) -> Machine {
        let n = group.words[0].len();
        let place = |word: String| group.words.iter().position(|w| *w == word).expect("invariant: S_n has all words");
        let swap: String = [1, 0].into_iter().chain(2..n).map(|i| i.to_string()).collect();
        let cycle: String = (1..n).chain([0]).map(|i| i.to_string()).collect();
        let letters = [place(swap), place(cycle)];
        let names = letters.map(|letter| group.words[letter].clone()).to_vec();
        Machine::of(names, group.words.clone(), |state, letter| group.times_at(state, letters[letter]))
    }

    /// The automaton of a table, `[states, letters]`, and of the names of both, which are numbers where there are none.
    ///
    /// # Errors
    /// All that is wrong, by name of the parameter.
    pub(super) fn of_rows(
        rows: &[Vec<u32>],
        letters: Option<Vec<String>>,
        states: Option<Vec<String>>,
    ) -> Result<Machine, Vec<Fault>> {
        let states = states.unwrap_or_else(|| numbers(rows.len()));
        let letters = letters.unwrap_or_else(|| numbers(rows.first().map_or(0, Vec::len)));
        let mut faults: Vec<Fault> = names_fault("letters", &letters).into_iter().collect();
        faults.extend(names_fault("states", &states));
        if rows.len() != states.len() {
            faults.push(fault("table", format!("has {} rows; it must be {}, one a state", rows.len(), states.len())));
            return Err(faults);
        }
        for (row, state) in rows.iter().zip(&states) {
            if row.len() != letters.len() {
                let message = format!("the row of state {state} has {} entries", row.len());
                faults.push(fault("table", format!("{message}; it must be {}, one a letter", letters.len())));
            }
            for (next, letter) in row.iter().zip(&letters).filter(|&(&next, _)| next as usize >= states.len()) {
                let message = format!("in the row of state {state}, at letter {letter}: {next} is out of range");
                faults.push(fault("table", format!("{message}; it must be 0 to {}", states.len() - 1)));
            }
        }
        let next = rows.concat();
        if faults.is_empty() { Ok(Machine { letters, states, next }) } else { Err(faults) }
    }
}

/// What is wrong with the names of letters or states, if anything.
fn names_fault(key: &'static str, names: &[String]) -> Option<Fault> {
    if !(2..=MAX_SIZE).contains(&names.len()) {
        return Some(fault(key, format!("there are {}; it must be 2 to {MAX_SIZE}", names.len())));
    }
    if let Some(bad) = names.iter().find(|name| name.is_empty() || name.contains(char::is_whitespace)) {
        return Some(fault(key, format!("`{bad}` is no word; it must have no space and not be empty")));
    }
    let twice = (0..names.len()).find(|&i| names[..i].contains(&names[i]));
    twice.map(|i| fault(key, format!("`{}` stands twice; each name once", names[i])))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The letters of a permutation automaton reach the whole group.
    #[test]
    fn every_permutation_is_reached() {
        for (name, n) in [("S3", 6), ("S4", 24), ("S5", 120), ("S6", 720)] {
            let machine = Machine::named(&format!("permutation_{name}")).unwrap();
            let (mut reached, mut done) = (vec![0], 0);
            while done < reached.len() {
                let state = reached[done] as usize;
                for &next in &machine.next[2 * state..2 * state + 2] {
                    if !reached.contains(&next) {
                        reached.push(next);
                    }
                }
                done += 1;
            }
            assert_eq!((reached.len(), machine.states.len()), (n, n), "{name}");
        }
    }
}
