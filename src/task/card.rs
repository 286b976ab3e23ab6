//! Task cards: one TOML file a task, with facts and worked rows that its examples must agree with.
//!
//! Reads `title`, `family`, `[params]` and `[layout]` (the family's own), `[split]`, `[facts]` and `[[worked]]`; writes a
//! [`Card`], which builds a [`Task`]. Every fault of a card is listed at once, with its line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{FAMILIES, Facts, Task, Worked, family, find};
use crate::error::{Error, Fault, Result, nearest};
use crate::spec::parse::line_of_key;
use crate::spec::{DataSpec, Source, from_toml};

/// A task card. [`Card::parse`] and [`Card::load`] give only cards without faults; what they state is not yet replayed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Card {
    /// File stem.
    #[serde(skip)]
    pub name: String,
    /// Where it was read; where it would lie if it came from the binary.
    #[serde(skip)]
    pub path: PathBuf,
    #[serde(skip)]
    text: String,
    /// One line for people.
    pub title: String,
    /// Registry name of a task family.
    pub family: String,
    /// What the family calls its parameters; read with [`Card::params`].
    pub params: toml::Table,
    /// How operands become tokens.
    pub layout: Layout,
    /// What is for training.
    pub split: SplitCard,
    /// What must hold of the examples.
    pub facts: Facts,
    /// Single examples.
    pub worked: Vec<Worked>,
}

/// How operands become tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layout {
    /// The positions in order, e.g. `a b =`.
    pub tokens: String,
}

/// What is for training, unless a spec says otherwise.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitCard {
    /// Fraction of the examples, above 0 and at most 1.
    pub train_frac: Option<f64>,
    /// How many different examples a finite set has, where there are too many to take them all.
    pub examples: Option<usize>,
    /// Fresh examples without end, instead of a finite set.
    pub stream: bool,
}

impl Card {
    /// Reads the card `name` (the working folder's, else the one in the binary), or the file when it ends in `.toml`.
    ///
    /// # Errors
    /// As [`Task::load`], without replaying the card.
    pub fn load(name_or_path: &str) -> Result<Card> {
        let (path, text) = find::text(name_or_path)?;
        Card::parse(&path, &text)
    }

    /// Reads a card's text; `path` gives its name and stands in messages.
    ///
    /// # Errors
    /// [`Error::Spec`] with all faults, in line order.
    pub fn parse(path: &Path, text: &str) -> Result<Card> {
        // Files that parameters name lie beside the card, so that its family must know its path before it looks for faults.
        let faults = |card: &Card| Card { path: path.into(), ..card.clone() }.faults();
        let card: Card = from_toml(Source { path, text, sets: &[] }, faults)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Card { name, path: path.into(), text: text.into(), ..card })
    }

    /// What the types cannot tell, with what the family says about its own part.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        if self.title.is_empty() {
            faults.push(fault("title", "missing; write one line for people"));
        }
        match family(&self.family) {
            Some(family) => faults.extend(family.faults(self)),
            None => faults.push(fault("family", self.unknown_family())),
        }
        let family = family(&self.family);
        if self.split.stream && family.is_some_and(|family| !family.can_stream()) {
            faults.push(fault(
                "split.stream",
                format!("the family {} has finitely many examples; remove it", self.family),
            ));
        }
        if self.split.examples.is_some() && family.is_some_and(|family| !family.can_stream()) {
            let message = format!("the family {} takes all the examples that it has; remove it", self.family);
            faults.push(fault("split.examples", message));
        }
        match self.split.train_frac {
            None if self.split.stream => {}
            None => faults.push(fault("split.train_frac", "missing; a fraction above 0 and at most 1")),
            Some(frac) if frac > 0.0 && frac <= 1.0 => {}
            Some(frac) => {
                let message = format!("{frac} is outside its range; it must be above 0 and at most 1");
                faults.push(fault("split.train_frac", message));
            }
        }
        faults
    }

    fn unknown_family(&self) -> String {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.name()).collect();
        match nearest(&self.family, known.iter().copied()) {
            _ if self.family.is_empty() => format!("missing; known: {}", known.join(", ")),
            Some(near) => format!("there is no task family `{}`; did you mean `{near}`?", self.family),
            None => format!("there is no task family `{}`; known: {}", self.family, known.join(", ")),
        }
    }

    /// `[params]` as the family's own struct, checked by `validate`; keys of faults start with `params.`.
    ///
    /// # Errors
    /// All faults.
    pub fn params<T: DeserializeOwned>(&self, validate: impl Fn(&T) -> Vec<Fault>) -> Result<T, Vec<Fault>> {
        let text = toml::to_string(&self.params).expect("invariant: a table that was TOML can be written as TOML");
        from_toml(Source { path: &self.path, text: &text, sets: &[] }, validate).map_err(|e| match e {
            // The lines are those of the section alone; whoever knows the whole text finds the right ones by key.
            Error::Spec { faults, .. } => {
                faults.into_iter().map(|f| Fault { line: None, key: format!("params.{}", f.key), ..f }).collect()
            }
            other => vec![fault("params", other.to_string())],
        })
    }

    /// Makes all examples.
    ///
    /// # Errors
    /// [`Error::Spec`] for a card that [`Card::parse`] would not have given.
    pub fn build(&self) -> Result<Task> {
        self.build_for(&DataSpec::default())
    }

    /// As [`Card::build`], with the examples that a spec chooses.
    ///
    /// # Errors
    /// As [`Card::build`]; [`Error::Spec`] for a finite set that the task does not have, or a stream of a family that has none.
    pub fn build_for(&self, data: &DataSpec) -> Result<Task> {
        match family(&self.family) {
            Some(family) if !family.can_stream() && (data.stream == Some(true) || data.examples.is_some()) => {
                let message = format!("{}; remove data.stream and data.examples", family.name());
                Err(self.fail(vec![fault("family", format!("all examples are taken in the family {message}"))]))
            }
            Some(family) => family.build(self, data),
            None => Err(self.fail(vec![fault("family", self.unknown_family())])),
        }
    }

    /// The error of this card with these faults, in line order.
    pub fn fail(&self, faults: Vec<Fault>) -> Error {
        Error::Spec { path: self.path.clone(), faults: self.locate(faults) }
    }

    pub(super) fn locate(&self, faults: Vec<Fault>) -> Vec<Fault> {
        let line = |f: &Fault| f.line.or_else(|| line_of_key(&self.text, &f.key));
        let mut faults: Vec<Fault> = faults.into_iter().map(|f| Fault { line: line(&f), ..f }).collect();
        faults.sort_by_key(|f| f.line.unwrap_or(usize::MAX));
        faults
    }
}

/// A fault whose line is found by its key.
pub(super) fn fault(key: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault { line: None, key: key.into(), message: message.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = r#"title = "x + y mod 7"
family = "modular"

[params]
op = "x+y"
p = 7

[layout]
tokens = "a b ="

[split]
train_frac = 0.5

[facts]
examples = 49
train_examples = 24
chance_loss_nats = 1.946

[[worked]]
in = [5, 4]
out = 2

[[worked]]
in = [0, 0]
out = 0
"#;

    /// The faults of `GOOD` with texts exchanged, those of replaying included.
    fn faults(exchanges: &[(&str, &str)]) -> Vec<String> {
        let mut text = GOOD.to_owned();
        for (old, new) in exchanges {
            assert!(text.contains(old), "{old}");
            text = text.replacen(old, new, 1);
        }
        let found = match Card::parse(Path::new("tasks/seven.toml"), &text) {
            Ok(card) => card.replay(&card.build().unwrap()),
            Err(Error::Spec { faults, .. }) => faults,
            Err(other) => panic!("{other}"),
        };
        found.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn a_good_card_has_no_faults() {
        assert_eq!(faults(&[]), [""; 0]);
        let card = Card::parse(Path::new("tasks/seven.toml"), GOOD).unwrap();
        assert_eq!((card.name.as_str(), card.build().unwrap().name.as_str()), ("seven", "seven"));
    }

    #[test]
    fn each_kind_of_bad_card_has_its_message() {
        let unknown_key = [("train_frac", "trian_frac")];
        assert_eq!(
            faults(&unknown_key),
            [
                "line 11: split.train_frac: missing; a fraction above 0 and at most 1",
                "line 12: split.trian_frac: unknown key; did you mean `train_frac`?",
            ]
        );
        let known = FAMILIES.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ");
        assert_eq!(
            faults(&[("\"modular\"", "\"xylophone\"")]),
            [format!("line 2: family: there is no task family `xylophone`; known: {known}")]
        );
        for (old, new, message) in [
            ("op = ", "pp = 3\nop = ", "line 5: params.pp: unknown key; did you mean `op`?"),
            (
                "\"modular\"",
                "\"modluar\"",
                "line 2: family: there is no task family `modluar`; did you mean `modular`?",
            ),
            (
                "x+y\"\n",
                "x^2+z\"\n",
                "line 5: params.op: column 5: found `z`, expected a variable (x, y, p); functions are not allowed here",
            ),
            ("p = 7", "p = 1", "line 6: params.p: 1 is out of range; it must be 2 to 1024"),
            ("p = 7", "p = 2000", "line 6: params.p: 2000 is out of range; it must be 2 to 1024"),
            ("p = 7\n", "", "line 4: params.p: missing; the modulus, 2 to 1024"),
            ("p = 7", "p = -7", "line 6: params.p: invalid value: integer `-7`, expected u32"),
            (
                "a b =",
                "a + b =",
                "line 9: layout.tokens: there is no layout `a + b =`; known: a b =, a op b =, op a b =",
            ),
            ("0.5", "0", "line 12: split.train_frac: 0 is outside its range; it must be above 0 and at most 1"),
            ("[5, 4]", "[5, 7]", "line 19: worked[0]: the task has no example with in = [5, 7]"),
            ("[5, 4]", "[5]", "line 19: worked[0]: the task has no example with in = [5]"),
            (
                "out = 0",
                "out = 3",
                "line 23: worked[1]: in = [0, 0]: the card says 3, its examples give 0 (0 + 0 = 0 (mod 7))",
            ),
            ("49", "50", "line 15: facts.examples: the card says 50, its examples give 49"),
            ("1.946", "1.95", "line 17: facts.chance_loss_nats: the card says 1.95, its examples give 1.945910"),
            ("1.946", "nan", "line 17: facts.chance_loss_nats: the card says NaN, its examples give 1.945910"),
        ] {
            assert_eq!(faults(&[(old, new)]), [message], "{old} -> {new}");
        }
    }

    #[test]
    fn division_by_a_composite_names_a_factor_and_the_ways_out() {
        assert_eq!(
            faults(&[("x+y\"\n", "x/y\"\n"), ("p = 7", "p = 91")]),
            [
                "line 6: params.p: 91 = 7 · 13 is not a prime, so 1 / 7 does not exist; take a prime p, or another operation"
            ]
        );
    }

    #[test]
    fn all_faults_of_one_stage_are_listed_in_line_order() {
        assert_eq!(
            faults(&[("title", "titel"), ("p = 7", "p = 0"), ("0.5", "1.5"), ("\"x+y", "\"x+")]),
            [
                "line 1: titel: unknown key; did you mean `title`?",
                "line 5: params.op: column 3: found the end, expected a number, a name or `(`",
                "line 6: params.p: 0 is out of range; it must be 2 to 1024",
                "line 12: split.train_frac: 1.5 is outside its range; it must be above 0 and at most 1",
                "title: missing; write one line for people",
            ]
        );
        let replayed = faults(&[("0.5", "0.001"), ("49", "48"), ("out = 2", "out = 1")]);
        assert_eq!(
            replayed,
            [
                "line 12: split.train_frac: 0.001 of 49 examples leaves the training split empty; it must be at least 1/49",
                "line 15: facts.examples: the card says 48, its examples give 49",
                "line 16: facts.train_examples: the card says 24, its examples give 0",
                "line 19: worked[0]: in = [5, 4]: the card says 1, its examples give 2 (5 + 4 = 2 (mod 7))",
            ]
        );
    }
}
