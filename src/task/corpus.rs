//! A text in tokens, with the counts of its training part.
//!
//! Reads bytes, a text or its two parts in tokens; writes token ids, how each token is written, and the losses of the unigram and bigram predictors.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// What a text is cut into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tokens {
    #[default]
    Chars,
    Bytes,
    Words,
    /// What a tokenizer says.
    Bpe,
}

impl Tokens {
    /// What they are called in messages.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Tokens::Chars => "characters",
            Tokens::Bytes => "bytes",
            Tokens::Words => "words",
            Tokens::Bpe => "byte-pair tokens",
        }
    }

    /// What a text of too many different ones can be cut into instead.
    pub(super) fn others(self) -> &'static str {
        match self {
            Tokens::Words => "a shorter text, or tokens = \"chars\" or \"bytes\"",
            _ => "a shorter text, or tokens = \"bytes\"",
        }
    }

    /// The bytes of `text`'s first token, and whether it is one: white space between words is none.
    fn first(self, text: &str) -> Option<(usize, bool)> {
        let first = text.chars().next()?;
        match self {
            Tokens::Words if first.is_whitespace() => Some((first.len_utf8(), false)),
            Tokens::Words if first.is_alphanumeric() => Some((word_end(text), true)),
            _ => Some((first.len_utf8(), true)),
        }
    }

    /// The tokens of a text, in its order.
    fn pieces(self, mut text: &str) -> impl Iterator<Item = &str> {
        std::iter::from_fn(move || {
            loop {
                let (end, is_token) = self.first(text)?;
                let (piece, rest) = text.split_at(end);
                text = rest;
                if is_token {
                    return Some(piece);
                }
            }
        })
    }
}

/// Where the word at the start of `text` ends: letters and digits, with single apostrophes between them.
fn word_end(text: &str) -> usize {
    let mut end = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let goes_on = chars.peek().is_some_and(|&(_, next)| next.is_alphanumeric());
        if !(c.is_alphanumeric() || matches!(c, '\'' | '’') && goes_on) {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

/// A token without spaces, from which it can be told.
pub(super) fn written(token: &str) -> String {
    let mut word = String::new();
    for c in token.chars() {
        match c {
            ' ' => word.push('␣'),
            '\n' => word.push('↵'),
            '\t' => word.push('⇥'),
            '\'' | '"' => word.push(c),
            '␣' | '↵' | '⇥' => word.extend(c.escape_unicode()),
            '\r' | '\0' => word.extend(c.escape_debug()),
            _ if c.is_whitespace() => word.extend(c.escape_unicode()),
            _ => word.extend(c.escape_debug()),
        }
    }
    word
}

/// As [`written`], of a byte.
pub(super) fn written_byte(byte: u8) -> String {
    match byte {
        b'\t' | b'\n' | b' '..=b'~' => written(&char::from(byte).to_string()),
        _ => format!("\\x{byte:02x}"),
    }
}

/// How much of `n` is the training part.
pub(super) fn n_train(n: usize, test_frac: f64) -> usize {
    n - (n as f64 * test_frac).round() as usize
}

/// Token ids of a text and counts of its training part.
#[derive(Clone, Default)]
pub(super) struct Corpus {
    /// `[n]`.
    tokens: Vec<u32>,
    /// `[V]`: how each token is written.
    words: Vec<String>,
    /// Tokens of the training part, which is the first.
    n_train: usize,
    /// `[V]`: how often each token stands in the training part.
    count: Vec<u32>,
    /// How often two tokens follow each other in the training part.
    pairs: BTreeMap<(u32, u32), u32>,
}

/// Its sizes alone: a text is long.
impl fmt::Debug for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, n_train, vocab) = (self.tokens.len(), self.n_train, self.words.len());
        write!(f, "Corpus {{ n: {n}, n_train: {n_train}, vocab: {vocab} }}")
    }
}

impl Corpus {
    /// Every byte is a token, with its own number.
    pub(super) fn of_bytes(bytes: &[u8], test_frac: f64) -> Corpus {
        let words = (0..=u8::MAX).map(written_byte).collect();
        Corpus::new(bytes.iter().map(|&byte| u32::from(byte)).collect(), words, n_train(bytes.len(), test_frac))
    }

    /// The text's characters or words, numbered in order of their code points; how many differ, where they are more than `max_vocab`.
    pub(super) fn of_pieces(text: &str, by: Tokens, (max_vocab, test_frac): (usize, f64)) -> Result<Corpus, usize> {
        let mut ids: BTreeMap<&str, u32> = by.pieces(text).map(|piece| (piece, 0)).collect();
        if ids.len() > max_vocab {
            return Err(ids.len());
        }
        for (next, id) in (0..).zip(ids.values_mut()) {
            *id = next;
        }
        let tokens: Vec<u32> = by.pieces(text).map(|piece| ids[piece]).collect();
        let n_train = n_train(tokens.len(), test_frac);
        Ok(Corpus::new(tokens, ids.into_keys().map(written).collect(), n_train))
    }

    /// Of tokens `[n]`, of which the first are the training part.
    pub(super) fn new(tokens: Vec<u32>, words: Vec<String>, n_train: usize) -> Corpus {
        let (mut count, mut pairs) = (vec![0; words.len()], BTreeMap::new());
        for &token in &tokens[..n_train] {
            count[token as usize] += 1;
        }
        for pair in tokens[..n_train].windows(2) {
            *pairs.entry((pair[0], pair[1])).or_default() += 1;
        }
        Corpus { tokens, words, n_train, count, pairs }
    }

    /// `[n]`.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// `[V]`.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Tokens.
    pub(super) fn n(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens of the training part.
    pub(super) fn n_train(&self) -> usize {
        self.n_train
    }

    /// Of token `b`, wherever it stands.
    pub(super) fn unigram_loss(&self, b: u32) -> f64 {
        self.loss(self.count[b as usize], self.n_train as u32)
    }

    /// Of token `b` after `a`.
    pub(super) fn bigram_loss(&self, a: u32, b: u32) -> f64 {
        // The last token of the training part has none after it there.
        let is_last = self.tokens[..self.n_train].last() == Some(&a);
        let together = self.pairs.get(&(a, b)).copied().unwrap_or(0);
        self.loss(together, self.count[a as usize] - u32::from(is_last))
    }

    /// -ln of the add-one estimate from `count` of `n`, nats.
    fn loss(&self, count: u32, n: u32) -> f64 {
        let (count, n) = (f64::from(count) + 1.0, f64::from(n) + self.words.len() as f64);
        libm::log(n / count)
    }
}
