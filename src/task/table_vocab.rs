//! The vocabulary of a table: which token each integer or string of its rows is.

use std::collections::HashMap;
use std::fmt::Display;

use super::rule::numbers;
use crate::error::nearest;

/// Different tokens that a table may have.
pub(super) const MAX_WORDS: usize = 1 << 16;

/// A token as a row writes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// Its number.
    Integer(i128),
    /// Its word.
    Word(&'a str),
}

/// What tells a written token's id, or what is wrong with it.
pub(super) type Take<'a> = &'a mut dyn FnMut(Written<'_>) -> Result<u32, String>;

/// The tokens of a table: a given list of words, or what its rows hold, which are integers or strings.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// Whether the words are given, and no others may stand.
    given: bool,
    /// `[d_vocab]` words, where rows hold strings or the words are given.
    words: Vec<String>,
    /// The place of each word.
    places: HashMap<String, u32>,
    /// One more than the greatest integer so far, where the words are not given.
    integers: usize,
    /// The first token: all others must be of its kind.
    integer_first: Option<bool>,
}

impl Vocabulary {
    /// The vocabulary of these words.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn given(words: &[String]) -> Result<Vocabulary, String> {
        if words.is_empty() || words.len() > MAX_WORDS {
            return Err(format!("has {} words; it must have 1 to {MAX_WORDS}", words.len()));
        }
        let mut vocabulary = Vocabulary::default();
        for word in words {
            if vocabulary.places.contains_key(word) {
                return Err(format!("`{word}` stands twice"));
            }
            vocabulary.add(word)?;
        }
        Ok(Vocabulary { given: true, ..vocabulary })
    }

    /// Whether the words are given.
    pub fn is_given(&self) -> bool {
        self.given
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.words.len().max(self.integers)
    }

    /// Whether a token is written so.
    pub fn holds(&self, word: &str) -> bool {
        self.places.contains_key(word)
    }

    /// How each token is written.
    pub fn words(&self) -> Vec<String> {
        if self.integers > 0 { numbers(self.integers) } else { self.words.clone() }
    }

    /// The id of a token, which is a new one where it has not stood before and the words are not given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, written: Written<'_>) -> Result<u32, String> {
        let is_integer = matches!(written, Written::Integer(_));
        if *self.integer_first.get_or_insert(is_integer) != is_integer {
            return Err(mixed(written));
        }
        match written {
            Written::Integer(n) if self.given => self.find(written).map_err(|_| {
                let last = self.words.len() - 1;
                format!("{n} is no place in vocab, whose words are 0 to {last}")
            }),
            Written::Integer(n) => match usize::try_from(n) {
                Ok(n) if n < MAX_WORDS => {
                    self.integers = self.integers.max(n + 1);
                    Ok(n as u32)
                }
                _ => Err(out_of_range(n)),
            },
            Written::Word(word) => match self.find(written) {
                Ok(place) => Ok(place),
                Err(_) if !self.given => self.add(word),
                Err(_) => Err(match nearest(word, self.words.iter().map(String::as_str)) {
                    Some(near) => format!("`{word}` is not in vocab; did you mean `{near}`?"),
                    None => format!("`{word}` is not in vocab; add it there, or correct the row"),
                }),
            },
        }
    }

    /// The id of a token that stood in the rows; an error without words otherwise, since it arises while training.
    pub fn find(&self, written: Written<'_>) -> Result<u32, String> {
        let place = match written {
            Written::Integer(n) => u32::try_from(n).ok().filter(|&n| (n as usize) < self.len()),
            Written::Word(word) => self.places.get(word).copied(),
        };
        place.ok_or_else(String::new)
    }

    fn add(&mut self, word: &str) -> Result<u32, String> {
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(format!("`{word}` is no word; it must have no space and not be empty"));
        }
        let place = self.words.len();
        if place == MAX_WORDS {
            return Err(format!("`{word}` is one word more than the {MAX_WORDS} that a table may have"));
        }
        self.words.push(word.to_owned());
        self.places.insert(word.to_owned(), place as u32);
        Ok(place as u32)
    }
}

/// What is wrong with an integer that is no token.
pub(super) fn out_of_range(integer: impl Display) -> String {
    format!("{integer} is out of range; integers are 0 to {}", MAX_WORDS - 1)
}

fn mixed(written: Written<'_>) -> String {
    match written {
        Written::Integer(n) => {
            format!("{n} is an integer among strings; write all as one kind (in a CSV file, name every word in vocab)")
        }
        Written::Word(word) => {
            format!(
                "`{word}` is a string among integers; write all as one kind (in a CSV file, name every word in vocab)"
            )
        }
    }
}
