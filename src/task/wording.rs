//! Words of sentences: vocabularies, sentences with slots, and the lists of words that the families of sentences build in.
//!
//! Reads sentences such as `When [A] and [B] went to the [PLACE]`, one word a token; writes [`Piece`]s, which the operands of an example
//! turn into tokens. The lists are parted by spaces; no word stands in two lists of one family.

use crate::error::Fault;
use crate::task::card::fault;

/// Names of persons, of the `ioi` family.
pub(super) const NAMES: &str = "\
    Mary John Alice Bob Anna Paul Emma Mark Laura Peter Kate James Sarah David Lisa Tom Rachel Simon Julia \
    Daniel Ruby Adam Clara Henry Nora Oscar Rose Kevin Helen Martin Diana Victor";

/// Places to go to, of the `ioi` family.
pub(super) const PLACES: &str = "\
    store garden restaurant school hospital office house station park library museum market beach theatre bakery \
    harbour";

/// Things to give, of the `ioi` family.
pub(super) const OBJECTS: &str = "\
    drink ring bone basketball computer necklace snack book letter lamp flower hat ticket camera guitar watch";

/// Names of functions, of docstrings.
pub(super) const FUNCTIONS: &str = "load save parse build read send merge update";

/// Names of arguments, of docstrings.
pub(super) const ARGUMENTS: &str = "\
    files obj state size shape option path name index value key mode count label color width height depth start \
    end step user token node text data item group rate limit target source";

/// Words that say what an argument is, of docstrings; they mean nothing.
pub(super) const DESCRIPTIONS: &str = "\
    river stone music winter bread engine forest window doctor garden silver bridge candle market paper island \
    castle summer bottle farmer mirror planet ladder pocket ribbon saddle tunnel velvet walnut orchard kitten \
    lantern";

/// Things that last for years, of the greater-than task.
pub(super) const EVENTS: &str = "\
    war siege voyage famine drought treaty conflict campaign expedition dispute rebellion alliance project \
    reform plague truce boycott journey trial strike revolt regime contract experiment feud reign crisis \
    blockade occupation custom dynasty partnership";

/// Days of the week.
pub(super) const DAYS: &str = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday";

/// Months of the year.
pub(super) const MONTHS: &str = "\
    January February March April May June July August September October November December";

/// One token of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// The same in every example.
    Word(u32),
    /// The token that many places after `first` as operand `operand` says.
    Slot {
        /// Which operand.
        operand: usize,
        /// Token of the operand 0.
        first: u32,
    },
}

impl Piece {
    /// The token in the example of these operands.
    pub(super) fn token(self, operands: &[u32]) -> u32 {
        match self {
            Piece::Word(token) => token,
            Piece::Slot { operand, first } => first + operands[operand],
        }
    }
}

/// Words, each once; their places are their tokens.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    words: Vec<String>,
}

impl Vocabulary {
    /// The token of a word, which is added if it is new.
    pub(super) fn token(&mut self, word: &str) -> u32 {
        let known = self.words.iter().position(|other| other == word);
        let place = known.unwrap_or(self.words.len());
        if known.is_none() {
            self.words.push(word.to_owned());
        }
        place as u32
    }

    /// Adds words that are all new, and gives the token of the first one.
    pub(super) fn list(&mut self, words: impl IntoIterator<Item = impl Into<String>>) -> u32 {
        let first = self.words.len() as u32;
        self.words.extend(words.into_iter().map(Into::into));
        first
    }

    /// The pieces of a sentence whose words are parted by spaces. `slots` tells the operand and the first token of each word in
    /// brackets.
    pub(super) fn sentence(&mut self, text: &str, slots: &[(&str, usize, u32)]) -> Vec<Piece> {
        let piece = |word: &str| match slots.iter().find(|slot| slot.0 == word) {
            Some(&(_, operand, first)) => Piece::Slot { operand, first },
            None => Piece::Word(self.token(word)),
        };
        text.split(' ').map(piece).collect()
    }

    /// All words, in the order of their tokens.
    pub(super) fn into_words(self) -> Vec<String> {
        self.words
    }
}

/// The faults of parameters that are given, though `reader` does not read them.
pub(super) fn unread(reader: &str, parameters: impl IntoIterator<Item = (&'static str, bool)>) -> Vec<Fault> {
    let given = parameters.into_iter().filter(|&(_, given)| given);
    given.map(|(key, _)| fault(key, format!("{reader} does not read it; remove it"))).collect()
}

/// A list of words as a card chooses it: so many of those built in, or its own.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    /// The parameters: how many, and the own words.
    keys: [&'static str; 2],
    count: Option<usize>,
    own: Option<&'a [String]>,
    built_in: &'static str,
    least: usize,
    default: usize,
}

impl<'a> Choice<'a> {
    /// Of the parameters `keys`, `count` words of those built in or the own ones; at least so many and, when nothing is said, so many.
    pub(super) fn of(
        keys: [&'static str; 2],
        (count, own): (Option<usize>, &'a Option<Vec<String>>),
        built_in: &'static str,
        [least, default]: [usize; 2],
    ) -> Choice<'a> {
        Choice { keys, count, own: own.as_deref(), built_in, least, default }
    }

    /// The words.
    ///
    /// # Errors
    /// All that is wrong. No word may be among `taken`, which sentences or other lists hold.
    pub(super) fn words(&self, taken: &[String]) -> Result<Vec<String>, Vec<Fault>> {
        let (words, mut faults) = match self.own {
            Some(own) => (own.to_vec(), self.faults_of_own(own)),
            None => self.first_built_in(),
        };
        if let Some(word) = words.iter().find(|word| taken.contains(word)) {
            let key = self.keys[usize::from(self.own.is_some())];
            let message = format!("`{word}` already stands elsewhere in the sentences; choose other words");
            faults.push(fault(key, message));
        }
        if faults.is_empty() { Ok(words) } else { Err(faults) }
    }

    fn first_built_in(&self) -> (Vec<String>, Vec<Fault>) {
        let ([count_key, own_key], least) = (self.keys, self.least);
        let (count, most) = (self.count.unwrap_or(self.default), self.built_in.split(' ').count());
        let words = self.built_in.split(' ').take(count).map(str::to_owned).collect();
        let message = || format!("{count} is out of range; it must be {least} to {most} (or {own_key} = [...])");
        let out_of_range = !(least..=most).contains(&count);
        (words, out_of_range.then(|| fault(count_key, message())).into_iter().collect())
    }

    fn faults_of_own(&self, own: &[String]) -> Vec<Fault> {
        let ([count_key, key], least) = (self.keys, self.least);
        let mut faults = vec![];
        if self.count.is_some() {
            faults.push(fault(key, format!("stands beside {count_key}; keep one of them")));
        }
        let stands_twice = (1..own.len()).any(|i| own[..i].contains(&own[i]));
        if own.len() < least || stands_twice {
            faults.push(fault(key, format!("must be {least} or more words, each once")));
        }
        if let Some(bad) = own.iter().find(|w| w.is_empty() || w.contains(char::is_whitespace)) {
            faults.push(fault(key, format!("`{bad}` is no word; it must have no space and not be empty")));
        }
        faults
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_once_in_the_lists_of_a_family() {
        let families = [[NAMES, PLACES, OBJECTS], [FUNCTIONS, ARGUMENTS, DESCRIPTIONS], [EVENTS, DAYS, MONTHS]];
        for lists in families {
            let words: Vec<&str> = lists.iter().flat_map(|list| list.split(' ')).collect();
            for (i, word) in words.iter().enumerate() {
                assert!(!words[..i].contains(word) && !word.is_empty() && !word.contains(' '), "{word}");
            }
        }
    }

    #[test]
    fn sentences_share_their_words() {
        let mut vocabulary = Vocabulary::default();
        let names = vocabulary.list(["Mary", "John"]);
        let pieces = vocabulary.sentence("to [X] and to Mary", &[("[X]", 1, names)]);
        let [to, and] = [2, 3];
        let slot = Piece::Slot { operand: 1, first: 0 };
        assert_eq!(pieces, [Piece::Word(to), slot, Piece::Word(and), Piece::Word(to), Piece::Word(0)]);
        assert_eq!(pieces.iter().map(|piece| piece.token(&[9, 1])).collect::<Vec<_>>(), [2, 1, 3, 2, 0]);
        assert_eq!(vocabulary.into_words(), ["Mary", "John", "to", "and"]);
    }
}
