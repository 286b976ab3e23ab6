//! The `text` family: windows of a text, of which every next token is asked.
//!
//! Reads a file beside the card or a text in it, as characters, bytes, words or byte-pair tokens; operands are the place of a window's
//! first token. The end of the text is kept for tests: no window that training draws reaches into it. Source: language modelling as
//! usual.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[cfg(feature = "bpe")]
use super::byte_pairs::BytePairs;
#[cfg(feature = "bpe")]
use super::corpus::n_train;
use super::corpus::{Corpus, Tokens};
use super::rule::{Drawn, Example, Rule, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Bytes that a text may have.
const MAX_BYTES: u64 = 1 << 28;

/// Different tokens that a text may have.
const MAX_VOCAB: usize = 65_536;

/// Byte-pair tokens that are trained at least: the bytes.
const MIN_BPE: usize = 256;

/// What a program says that has no byte-pair tokens.
const WITHOUT_BPE: &str = "this program was built without byte-pair tokens; build it with --features bpe";

/// The part of the text that is kept for tests.
const TEST_FRAC: f64 = 0.1;

const EXPLAIN: &str = "\
What it is
  A text, of which the model reads windows as long as its context and is asked for the next token at every position.
Reads
  params.file: the path of a text, from the folder of the card; or params.text: the text itself. At most 256 MiB.
  params.tokens: chars (when unset), bytes, words or bpe. A word is a run of letters and digits, with apostrophes
  between them; every other mark is a token of its own, and white space is none. params.length: tokens a window, 1 to
  1024. For bpe, byte-pair tokens, the program must be built with --features bpe. params.tokenizer is then the path
  of a tokenizer.json as Hugging Face writes it, from the folder of the card; or, without one, a byte-level tokenizer
  of params.vocab_size tokens, 256 to 65536, is trained on the training part, each time to the same tokens. The two
  parts are divided by their bytes and each encoded alone, in pieces of 4 MiB or more that end between plain lines.
  params.test_frac: the last part of the text, kept for tests; 0.1 when unset, above 0 and below 1.
Unit and range
  Tokens are the text's characters or words (both parts'), at most 65536, in order of their code points; the bytes 0
  to 255; or what the tokenizer has, with its ids. Space is written ␣, newline ↵ and tab ⇥; what cannot be seen, those
  three signs themselves and the backslash are escaped as in Rust, other bytes than ASCII as \\xff, an id without token
  as \\#7. A window is named by the place of its first token.
  A stream draws each window of the training part as likely and is tested on windows of the test part; none crosses.
  Windows of a finite set (split.examples) are of the training part and overlap: its own test split is no new text.
  Baselines, nats: unigram, -ln((n(b) + 1) / (n + V)), and bigram, -ln((n(a b) + 1) / (n(a) + V)), of the token b
  after a. n are counts of the training part (n(a): of a with a token after it), V is the number of different tokens;
  the 1 added gives tokens and pairs that only the test part has a finite loss.
Value at a known point
  The training part a b a b a with V = 2 gives b after a the bigram loss -ln(3/4) = 0.2877, and unigram -ln(3/7).
Source
  The usual definitions, with Laplace's add-one smoothing. Byte pairs: Sennrich et al. 2016 (arXiv 1508.07909).
";

/// `[params]`: a text to predict.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Text {
    file: Option<PathBuf>,
    text: Option<String>,
    tokens: Tokens,
    length: usize,
    test_frac: Option<f64>,
    tokenizer: Option<PathBuf>,
    vocab_size: Option<usize>,
    /// The card's.
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    corpus: Corpus,
}

impl Text {
    /// The parameter that the text comes from.
    fn key(&self) -> &'static str {
        if self.text.is_some() { "text" } else { "file" }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, Fault> {
        let file = match (&self.file, &self.text) {
            (None, Some(text)) => return Ok(Cow::Borrowed(text.as_bytes())),
            (Some(file), None) => self.folder.join(file),
            (None, None) => {
                return Err(fault("file", "missing; the path of a text, from the card's folder (or text = \"...\")"));
            }
            (Some(_), Some(_)) => return Err(fault("text", "stands beside file; keep one of them")),
        };
        let unread = |e: std::io::Error| {
            let message =
                format!("cannot read {}: {e}; give the path of a text, from the card's folder", file.display());
            fault("file", message)
        };
        let n = fs::metadata(&file).map_err(unread)?.len();
        if n > MAX_BYTES {
            let message = format!("{} has {n} bytes; a text has {MAX_BYTES} at most, so take a part", file.display());
            return Err(fault("file", message));
        }
        fs::read(&file).map(Cow::Owned).map_err(unread)
    }

    /// The text in tokens.
    fn read(&self, test_frac: f64) -> Result<Corpus, Fault> {
        let bytes = self.bytes()?;
        if self.tokens == Tokens::Bytes {
            return Ok(Corpus::of_bytes(&bytes, test_frac));
        }
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            let message = format!("byte {} is not UTF-8; save it as UTF-8, or set tokens = \"bytes\"", e.valid_up_to());
            fault(self.key(), message)
        })?;
        if self.tokens == Tokens::Bpe {
            return self.in_byte_pairs(text, test_frac);
        }
        Corpus::of_pieces(text, self.tokens, (MAX_VOCAB, test_frac)).map_err(|found| {
            let (kind, others) = (self.tokens.plural(), self.tokens.others());
            let message = format!("the text has {found} different {kind}, more than {MAX_VOCAB}; use {others}");
            fault("tokens", message)
        })
    }

    /// The text in byte-pair tokens. Its parts are divided as texts, so that each is what the tokenizer makes of it alone.
    #[cfg(feature = "bpe")]
    fn in_byte_pairs(&self, text: &str, test_frac: f64) -> Result<Corpus, Fault> {
        let n_train = n_train(text.len(), test_frac);
        let cut = (0..=n_train).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let (train, test) = text.split_at(cut);
        let (tokenizer, key) = match (&self.tokenizer, self.vocab_size) {
            (Some(file), _) => (self.read_tokenizer(file)?, "tokenizer"),
            (None, Some(size)) => (BytePairs::train(train, size).map_err(|e| fault("vocab_size", e))?, "vocab_size"),
            (None, None) => return Err(fault("vocab_size", "missing; how many tokens a tokenizer has")),
        };
        let encode = |part: &str| tokenizer.encode(part).map_err(|e| fault(key, e));
        let (train, test) = (encode(train)?, encode(test)?);
        let n_train = train.len();
        Ok(Corpus::new([train, test].concat(), tokenizer.words(), n_train))
    }

    #[cfg(feature = "bpe")]
    fn read_tokenizer(&self, file: &Path) -> Result<BytePairs, Fault> {
        let file = self.folder.join(file);
        let wrong = |e: &dyn std::fmt::Display| fault("tokenizer", format!("{}: {e}", file.display()));
        let json = fs::read(&file)
            .map_err(|e| wrong(&format!("{e}; give the path of a tokenizer.json, from the card's folder")))?;
        BytePairs::from_json(&json, MAX_VOCAB).map_err(|e| wrong(&e))
    }

    #[cfg(not(feature = "bpe"))]
    fn in_byte_pairs(&self, _: &str, _: f64) -> Result<Corpus, Fault> {
        Err(fault("tokens", WITHOUT_BPE))
    }

    /// What is wrong with the parameters of byte-pair tokens.
    fn bpe_faults(&self) -> Vec<Fault> {
        let (tokenizer, size) = (self.tokenizer.is_some(), self.vocab_size);
        let only = |key: &str| fault(key, "only tokens = \"bpe\" has one; remove it");
        match (self.tokens == Tokens::Bpe, tokenizer, size) {
            (true, ..) if cfg!(not(feature = "bpe")) => vec![fault("tokens", WITHOUT_BPE)],
            (true, true, Some(_)) => vec![fault("vocab_size", "stands beside tokenizer, which has a size; remove it")],
            (true, false, Some(size)) => outside("vocab_size", size, MIN_BPE..=MAX_VOCAB).into_iter().collect(),
            (true, false, None) => {
                let message = "missing; how many tokens to train, 256 to 65536 (or tokenizer = \"tokenizer.json\")";
                vec![fault("vocab_size", message)]
            }
            (true, true, None) => vec![],
            (false, tokenizer, size) => {
                let tokenizer = tokenizer.then(|| only("tokenizer"));
                tokenizer.into_iter().chain(size.map(|_| only("vocab_size"))).collect()
            }
        }
    }

    /// What is wrong with the parts of the text, whose windows also need the token after them.
    fn part_faults(&self, corpus: &Corpus) -> Vec<Fault> {
        let (kind, needed) = (self.tokens.plural(), self.length + 1);
        if corpus.n() == 0 {
            return vec![fault(self.key(), format!("has no {kind}; give a text of {} or more", 2 * needed))];
        }
        let short = |part: &str, n: usize, what: &str| {
            let message = format!(
                "the {part} part has {n} {kind}, and a window needs {needed} (the answer to its last one too); \
                 lower length, {what} test_frac or give a longer text"
            );
            (n < needed).then(|| fault("length", message))
        };
        let (train, test) = (corpus.n_train(), corpus.n() - corpus.n_train());
        [short("training", train, "lower"), short("test", test, "raise")].into_iter().flatten().collect()
    }

    /// The window of these operands and the token after it, if it lies in one part of the text.
    fn window(&self, operands: &[u32]) -> Option<&[u32]> {
        let &[start] = operands else { return None };
        let (start, needed) = (start as usize, self.length + 1);
        let end = if start < self.corpus.n_train() { self.corpus.n_train() } else { self.corpus.n() };
        self.corpus.tokens()[..end].get(start..start + needed)
    }
}

impl Drawn for Text {
    const NAME: &'static str = "text";
    const SUMMARY: &'static str =
        "windows of a text, by characters, bytes, words or byte-pair tokens: t o ␣ b -> o ␣ b e";
    const EXPLAIN: &'static str = EXPLAIN;

    fn beside(&mut self, folder: &Path) {
        self.folder = folder.into();
    }

    fn ready(mut self) -> Result<Text, Vec<Fault>> {
        let mut faults: Vec<Fault> = outside("length", self.length, 1..=1024).into_iter().collect();
        let test_frac = self.test_frac.unwrap_or(TEST_FRAC);
        let in_range = test_frac > 0.0 && test_frac < 1.0;
        if !in_range {
            let message = format!("{test_frac} is out of range; it must be above 0 and below 1");
            faults.push(fault("test_frac", message));
        }
        faults.extend(self.bpe_faults());
        if self.tokens == Tokens::Bpe && !faults.is_empty() {
            // Training takes time, and needs right parameters.
            return Err(faults);
        }
        match self.read(if in_range { test_frac } else { TEST_FRAC }) {
            Err(unread) => faults.push(unread),
            // Parts are only as long as the parameters say, which must be right first.
            Ok(corpus) if faults.is_empty() || corpus.n() == 0 => {
                faults.extend(self.part_faults(&corpus));
                self.corpus = corpus;
            }
            Ok(_) => {}
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Text {
    fn words(&self) -> Vec<String> {
        self.corpus.words().to_vec()
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (0..self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.push(rng.below((self.corpus.n_train() - self.length) as u32));
    }

    fn draw_test(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let (train, n) = (self.corpus.n_train(), self.corpus.n());
        operands.push(train as u32 + rng.below((n - train - self.length) as u32));
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some(window) = self.window(operands) else { return false };
        to.tokens.extend(&window[..self.length]);
        to.targets.extend(&window[1..]);
        true
    }

    fn baselines(&self) -> &'static [&'static str] {
        &["unigram", "bigram"]
    }

    fn baseline_losses(&self, operands: &[u32]) -> Vec<f64> {
        let Some(window) = self.window(operands) else { return vec![] };
        let unigram = window[1..].iter().map(|&b| self.corpus.unigram_loss(b));
        let bigram = window.windows(2).map(|pair| self.corpus.bigram_loss(pair[0], pair[1]));
        unigram.chain(bigram).collect()
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;

#[cfg(all(test, feature = "bpe"))]
#[path = "text_bpe_tests.rs"]
mod bpe_tests;
