//! One row of tokens: what it asks, and how it is read from JSON or the card.

use std::borrow::Cow;
use std::fmt::{self, Formatter};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::table_source::MAX_POSITIONS;
use super::table_vocab::{Take, Written, out_of_range};

/// What is asked of rows that have no targets of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ask {
    /// Every next token.
    #[default]
    Next,
    /// The last token.
    Last,
}

/// One row.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub tokens: Vec<u32>,
    /// `[tokens]`: the answer at each; otherwise it is the next token.
    pub targets: Option<Vec<u32>>,
    /// `[tokens]`: 0 where nothing is asked.
    pub mask: Option<Vec<i64>>,
}

impl Row {
    /// How many tokens the model reads: not the last one where it is an answer.
    pub fn n_read(&self) -> usize {
        self.tokens.len() - usize::from(self.targets.is_none())
    }

    /// The answer at a position, if one is asked there.
    pub fn answer(&self, at: usize, ask: Ask) -> Option<u32> {
        if self.mask.as_ref().is_some_and(|mask| mask.get(at) == Some(&0)) {
            return None;
        }
        match &self.targets {
            Some(targets) => targets.get(at).copied(),
            None if ask == Ask::Last && at + 2 != self.tokens.len() => None,
            None => self.tokens.get(at + 1).copied(),
        }
    }

    /// What is wrong with the row, if anything.
    pub fn fault(&self, ask: Ask) -> Option<String> {
        let n = self.tokens.len();
        let other_length = |name: &str, found: Option<usize>| {
            let found = found.filter(|&found| found != n)?;
            Some(format!("{name} has length {found} and tokens {n}; give one entry for each token"))
        };
        let wrong = other_length("targets", self.targets.as_ref().map(Vec::len))
            .or_else(|| other_length("mask", self.mask.as_ref().map(Vec::len)));
        let entry = self.mask.iter().flatten().find(|&&entry| entry != 0 && entry != 1);
        match (n, wrong, entry) {
            (0, ..) => Some("the row is empty; give it tokens, or remove it".into()),
            (_, Some(wrong), _) => Some(wrong),
            (_, _, Some(entry)) => Some(format!("mask has the entry {entry}; it must be 0 (not asked) or 1")),
            (1, ..) if self.targets.is_none() => {
                Some("the row is too short to ask anything; it needs two tokens, or targets".into())
            }
            _ if n > MAX_POSITIONS => Some(format!("the row has {n} tokens; it may have {MAX_POSITIONS}")),
            _ if (0..n).all(|t| self.answer(t, ask).is_none()) => Some("mask leaves nothing to ask of the row".into()),
            _ => None,
        }
    }

    /// Leaves no tokens.
    pub fn clear(&mut self) {
        self.tokens.clear();
        (self.targets, self.mask) = (None, None);
    }

    /// Reads the row from a list of tokens, or a map with `tokens`, `targets` and `mask`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<'de, D: Deserializer<'de>>(&mut self, take: Take<'_>, from: D) -> Result<(), D::Error> {
        self.clear();
        from.deserialize_any(RowVisitor { take, row: self })
    }
}

struct RowVisitor<'a, 'r> {
    take: Take<'a>,
    row: &'r mut Row,
}

impl<'de> Visitor<'de> for RowVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens, or a map with `tokens`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(token) = list.next_element_seed(Token(&mut *self.take))? {
            self.row.tokens.push(token);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_tokens = false;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let known = match &*key {
                "tokens" => std::mem::replace(&mut has_tokens, true),
                "targets" => self.row.targets.is_some(),
                "mask" => self.row.mask.is_some(),
                _ => return Err(A::Error::custom(format!("unknown key `{key}`; known here: tokens, targets, mask"))),
            };
            if known {
                return Err(A::Error::custom(format!("`{key}` stands twice")));
            }
            match &*key {
                "tokens" => map.next_value_seed(Tokens(&mut *self.take, &mut self.row.tokens))?,
                "targets" => {
                    map.next_value_seed(Tokens(&mut *self.take, self.row.targets.get_or_insert_default()))?;
                }
                _ => self.row.mask = Some(map.next_value()?),
            }
        }
        if has_tokens { Ok(()) } else { Err(A::Error::custom("the row has no `tokens`")) }
    }
}

/// A list of tokens.
struct Tokens<'a, 'r>(Take<'a>, &'r mut Vec<u32>);

impl<'de> DeserializeSeed<'de> for Tokens<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tokens<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(token) = list.next_element_seed(Token(&mut *self.0))? {
            self.1.push(token);
        }
        Ok(())
    }
}

/// One token.
struct Token<'a>(Take<'a>);

impl<'de> DeserializeSeed<'de> for Token<'_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u32, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Token<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string")
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<u32, E> {
        (self.0)(Written::Integer(n.into())).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<u32, E> {
        (self.0)(Written::Integer(n.into())).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<u32, E> {
        // An integer of more than 64 bits comes as a float.
        let is_integer = x.fract() == 0.0 && x.abs() >= u64::MAX as f64;
        Err(if is_integer { E::custom(out_of_range(x)) } else { E::invalid_type(Unexpected::Float(x), &self) })
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<u32, E> {
        (self.0)(Written::Word(word)).map_err(E::custom)
    }
}
