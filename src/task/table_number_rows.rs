//! One row of real numbers: what it asks, and how x and y are read from JSON or the card.

use std::borrow::Cow;
use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::table_hdf5::MAX_NUMBERS;
use super::table_source::MAX_POSITIONS;

/// Numbers, some at each position.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub numbers: Vec<f64>,
    /// `[positions]`: how many numbers there are up to the end of each. A position without any is a gap, and so is NaN.
    pub ends: Vec<usize>,
}

impl Places {
    /// Takes the numbers since the last position as one.
    pub fn end(&mut self) {
        self.ends.push(self.numbers.len());
    }

    /// As many positions as fill these numbers, each of `width`.
    pub fn extend(&mut self, numbers: &[f64], width: usize) {
        for place in numbers.chunks_exact(width) {
            self.numbers.extend(place);
            self.end();
        }
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.ends.clear();
    }

    /// Of a position.
    fn at(&self, t: usize) -> &[f64] {
        let start = if t == 0 { 0 } else { self.ends[t - 1] };
        &self.numbers[start..self.ends[t]]
    }

    fn iter(&self) -> impl Iterator<Item = &[f64]> {
        (0..self.ends.len()).map(|t| self.at(t))
    }

    /// The numbers of each position that is no gap; 0 if all are.
    fn width(&self, name: &str) -> Result<usize, String> {
        let mut lengths = self.iter().map(<[f64]>::len).filter(|&n| n > 0);
        let first = lengths.next().unwrap_or(0);
        match lengths.find(|&n| n != first) {
            Some(other) => Err(format!("{name} has {first} numbers at one position and {other} at another")),
            None => Ok(first),
        }
    }
}

/// The sizes of a row, which are the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub positions: usize,
    /// Numbers that are read at a position.
    pub x: usize,
    /// Numbers that are asked for at a position.
    pub y: usize,
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "x [{}, {}] and y [{0}, {}]", self.positions, self.x, self.y)
    }
}

/// One row.
#[derive(Debug, Clone, Default)]
pub(super) struct NumberRow {
    pub x: Places,
    pub y: Places,
    /// `[positions]`: 0 where nothing is asked.
    pub mask: Option<Vec<i64>>,
}

impl NumberRow {
    /// Leaves no numbers.
    pub fn clear(&mut self) {
        self.x.clear();
        self.y.clear();
        self.mask = None;
    }

    /// The answer at a position, if one is asked there.
    pub fn answer(&self, t: usize) -> Option<&[f64]> {
        let masked = self.mask.as_ref().is_some_and(|mask| mask[t] == 0);
        let y = self.y.at(t);
        (!masked && y.first().is_some_and(|y| !y.is_nan())).then_some(y)
    }

    /// The sizes of the row.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn sizes(&self) -> Result<Sizes, String> {
        let n = self.x.ends.len();
        if self.x.numbers.is_empty() {
            return Err("the row is empty; give it numbers, or remove it".into());
        }
        if n > MAX_POSITIONS || self.x.numbers.len() + self.y.numbers.len() > MAX_NUMBERS {
            let numbers = self.x.numbers.len() + self.y.numbers.len();
            let most = format!("it may have {MAX_POSITIONS} and {MAX_NUMBERS}");
            return Err(format!("the row has {n} positions and {numbers} numbers; {most}"));
        }
        if self.y.ends.len() != n {
            let found = self.y.ends.len();
            return Err(format!("y has length {found} and x {n}; give one list of numbers for each position"));
        }
        let sizes = Sizes { positions: n, x: self.x.width("x")?, y: self.y.width("y")? };
        self.mask_fault().or_else(|| self.number_fault()).map_or(Ok(()), Err)?;
        match (0..n).all(|t| self.answer(t).is_none()) {
            true => Err("nothing is asked of the row; give it numbers in y, or remove it".into()),
            false => Ok(sizes),
        }
    }

    fn mask_fault(&self) -> Option<String> {
        let (mask, n) = (self.mask.as_ref()?, self.x.ends.len());
        if mask.len() != n {
            return Some(format!("mask has length {} and x {n}; give one entry for each position", mask.len()));
        }
        let entry = mask.iter().find(|&&entry| entry != 0 && entry != 1)?;
        Some(format!("mask has the entry {entry}; it must be 0 (not asked) or 1"))
    }

    fn number_fault(&self) -> Option<String> {
        for (t, (x, y)) in (1..).zip(self.x.iter().zip(self.y.iter())) {
            if let Some(x) = x.iter().find(|x| !x.is_finite()) {
                return Some(format!("x has {x} at position {t}; every number must be finite"));
            }
            if y.iter().any(|y| y.is_infinite()) {
                return Some(format!("y has inf at position {t}; every number must be finite"));
            }
            if y.iter().any(|y| y.is_nan()) && !y.iter().all(|y| y.is_nan()) {
                return Some(format!(
                    "y has numbers and gaps at position {t}; a position is asked for all or for none"
                ));
            }
        }
        None
    }

    /// Reads the row from a map with `x`, `y` and `mask`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(RowVisitor(self))
    }
}

struct RowVisitor<'r>(&'r mut NumberRow);

impl<'de> Visitor<'de> for RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a map with `x` and `y`, as the first row is")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut has_x, mut has_y) = (false, false);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let known = match &*key {
                "x" => std::mem::replace(&mut has_x, true),
                "y" => std::mem::replace(&mut has_y, true),
                "mask" => self.0.mask.is_some(),
                _ => return Err(A::Error::custom(format!("unknown key `{key}`; known here: x, y, mask"))),
            };
            if known {
                return Err(A::Error::custom(format!("`{key}` stands twice")));
            }
            match &*key {
                "x" => map.next_value_seed(Lists { to: &mut self.0.x, is_y: false })?,
                "y" => map.next_value_seed(Lists { to: &mut self.0.y, is_y: true })?,
                _ => self.0.mask = Some(map.next_value()?),
            }
        }
        match (has_x, has_y) {
            (true, true) => Ok(()),
            (false, _) => Err(A::Error::custom("the row has no `x`")),
            (true, false) => Err(A::Error::custom("the row has no `y`")),
        }
    }
}

/// x or y: a list of numbers, which is one position, or a list of such lists; y may be a number and have gaps.
struct Lists<'r> {
    to: &'r mut Places,
    is_y: bool,
}

impl<'de> DeserializeSeed<'de> for Lists<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lists<'_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_y {
            "a number, null, or a list of numbers or of lists"
        } else {
            "a list of numbers or of lists"
        })
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<(), E> {
        self.visit_f64(n as f64)
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<(), E> {
        self.visit_f64(n as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if !self.is_y {
            return Err(E::invalid_type(Unexpected::Float(number), &self));
        }
        self.to.numbers.push(number);
        self.to.end();
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if !self.is_y {
            return Err(E::invalid_type(Unexpected::Unit, &self));
        }
        self.to.end();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Lists { to, is_y } = self;
        let (mut gaps, mut numbers, mut lists) = (0, false, false);
        while let Some(found) = list.next_element_seed(Item { to: &mut *to, is_y })? {
            match found {
                Found::Gap if numbers => to.numbers.push(f64::NAN),
                Found::Gap if lists => to.end(),
                // Whether numbers or lists have these gaps, the first of them will tell.
                Found::Gap => gaps += 1,
                Found::Number(number) => {
                    to.numbers.extend((0..std::mem::take(&mut gaps)).map(|_| f64::NAN));
                    to.numbers.push(number);
                    numbers = true;
                }
                Found::List => {
                    let end = to.ends.pop();
                    to.ends.extend((0..std::mem::take(&mut gaps)).map(|_| 0).chain(end));
                    lists = true;
                }
            }
        }
        match (numbers, lists) {
            (true, true) => Err(A::Error::custom("numbers stand beside lists; give a list at each position")),
            (false, true) => Ok(()),
            _ => {
                to.numbers.extend((0..gaps).map(|_| f64::NAN));
                to.end();
                Ok(())
            }
        }
    }
}

/// What stands in x or y.
enum Found {
    Number(f64),
    Gap,
    /// Its numbers are taken.
    List,
}

/// A number, a gap or a list in x or y.
struct Item<'r> {
    to: &'r mut Places,
    is_y: bool,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_y { "a number, null or a list of them" } else { "a number or a list of numbers" })
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Found, E> {
        Ok(Found::Number(n as f64))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Found, E> {
        Ok(Found::Number(n as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Found, E> {
        Ok(Found::Number(number))
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        if self.is_y { Ok(Found::Gap) } else { Err(E::invalid_type(Unexpected::Unit, &self)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let before = self.to.numbers.len();
        if self.is_y {
            while let Some(number) = list.next_element::<Option<f64>>()? {
                self.to.numbers.push(number.unwrap_or(f64::NAN));
            }
        } else {
            while let Some(number) = list.next_element::<f64>()? {
                self.to.numbers.push(number);
            }
        }
        self.to.end();
        match self.to.numbers.len() > before {
            true => Ok(Found::List),
            false => Err(A::Error::custom("a list is empty; give it numbers")),
        }
    }
}

/// Whether a row is one of real numbers: a map with x or y, and without tokens. A broken one counts by what is read before the fault.
pub(super) fn is_of_numbers<'de, D: Deserializer<'de>>(row: D) -> bool {
    let (mut numbers, mut tokens) = (false, false);
    // A fault is found again when the row is read.
    let _ = row.deserialize_any(Keys(&mut numbers, &mut tokens));
    numbers && !tokens
}

/// Whether there are x or y, and whether there are tokens.
struct Keys<'r>(&'r mut bool, &'r mut bool);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            *self.0 |= matches!(&*key, "x" | "y");
            *self.1 |= key == "tokens";
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
