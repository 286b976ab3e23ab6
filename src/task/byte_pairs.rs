//! Byte-pair tokens, by the crate `tokenizers`: the only code that knows it.
//!
//! Reads a tokenizer.json, or trains a byte-level tokenizer on a text; writes token ids, and how each token is written. Source: Sennrich et
//! al. 2016 (arXiv 1508.07909); on bytes, as GPT-2.

use std::collections::BTreeMap;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::tokenizer::Tokenizer;

use super::corpus::{written, written_byte};

/// Bytes of a text that are encoded together: each token takes many times its length meanwhile.
const PIECE: usize = 1 << 22;

/// A tokenizer.
pub(super) struct BytePairs {
    tokenizer: Tokenizer,
    /// Where tokens are bytes in disguise: which byte each character is.
    bytes: Option<BTreeMap<char, u8>>,
}

impl BytePairs {
    /// Of the bytes of a tokenizer.json.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(json: &[u8], max_vocab: usize) -> Result<BytePairs, String> {
        let no_tokenizer = |e: &dyn std::fmt::Display| format!("{e}; give a tokenizer.json as Hugging Face writes it");
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|e| no_tokenizer(&format!("this is no JSON: {e}")))?;
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|e| no_tokenizer(&format!("this is no tokenizer: {e}")))?;
        // These are for sentences, and would cut a text off.
        tokenizer.with_truncation(None).map_err(|e| no_tokenizer(&e))?;
        tokenizer.with_padding(None);
        let bytes = [&value["pre_tokenizer"], &value["decoder"]].into_iter().any(is_byte_level).then(bytes_of_chars);
        let found = BytePairs { tokenizer, bytes };
        match found.len() {
            n if n > max_vocab => Err(format!("has {n} tokens; a text may have {max_vocab} different ones")),
            0 | 1 => Err("has no tokens; train it first".into()),
            _ => Ok(found),
        }
    }

    /// A byte-level tokenizer of `size` tokens, 256 of them bytes, trained on a text.
    ///
    /// # Errors
    /// That the text is too short for so many.
    pub fn train(text: &str, size: usize) -> Result<BytePairs, String> {
        let mut tokenizer = Tokenizer::new(BPE::default());
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        let alphabet = ByteLevel::alphabet().into_iter().collect();
        let trainer = BpeTrainer::builder().vocab_size(size).show_progress(false).initial_alphabet(alphabet).build();
        let mut trainer: TrainerWrapper = trainer.into();
        tokenizer.train(&mut trainer, pieces(text, PIECE)).map_err(|e| format!("cannot train: {e}"))?;
        let found = BytePairs { tokenizer, bytes: Some(bytes_of_chars()) };
        match found.len() {
            n if n == size => Ok(found),
            n => Err(format!("the training part gives only {n} tokens; lower vocab_size, or give a longer text")),
        }
    }

    /// One more than the greatest id.
    fn len(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut tokens = vec![];
        for piece in pieces(text, PIECE) {
            let encoding = self.tokenizer.encode_fast(piece, false).map_err(|e| format!("cannot encode: {e}"))?;
            tokens.extend(encoding.get_ids());
        }
        Ok(tokens)
    }

    /// `[V]`: how each token is written; an id without a token as `\#` and its number.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = (0..self.len()).map(|id| format!("\\#{id}")).collect();
        for (token, id) in self.tokenizer.get_vocab(true) {
            words[id as usize] = self.write(&token);
        }
        words
    }

    fn write(&self, token: &str) -> String {
        let bytes = self.bytes.as_ref().and_then(|bytes| token.chars().map(|c| bytes.get(&c).copied()).collect());
        // Special tokens are no bytes in disguise.
        let Some(bytes): Option<Vec<u8>> = bytes else { return written(token) };
        let mut word = String::new();
        for chunk in bytes.utf8_chunks() {
            word += &written(chunk.valid());
            chunk.invalid().iter().for_each(|&byte| word += &written_byte(byte));
        }
        word
    }
}

/// Whether a part of a tokenizer, or one of its parts, makes bytes of texts.
fn is_byte_level(part: &serde_json::Value) -> bool {
    match part {
        serde_json::Value::Object(map) => {
            map.get("type").is_some_and(|name| name == "ByteLevel") || map.values().any(is_byte_level)
        }
        serde_json::Value::Array(list) => list.iter().any(is_byte_level),
        _ => false,
    }
}

/// Which byte each character stands for in byte-level tokens: itself if it can be seen, and else one of those from 256 on, in order.
fn bytes_of_chars() -> BTreeMap<char, u8> {
    let seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !seen(byte));
    let visible = (0..=u8::MAX).filter(seen).map(|byte| (char::from(byte), byte));
    visible.chain(('\u{100}'..).zip(others)).collect()
}

/// A text in pieces of `size` bytes or more, cut between two lines of which no blank is near: byte-level tokens do not cross there.
fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest, size));
        rest = after;
        Some(piece)
    })
}

fn cut(text: &str, size: usize) -> usize {
    let bytes = text.as_bytes();
    let is_between = |at: usize| {
        let [before, newline, after] = [bytes[at - 2], bytes[at - 1], bytes[at]];
        newline == b'\n' && [before, after].iter().all(|byte| byte.is_ascii_graphic())
    };
    (size.max(2)..bytes.len()).find(|&at| is_between(at)).unwrap_or(bytes.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text_cut_between_plain_lines() {
        let text = "one\ntwo\n\nthree \nfour\n five\nsix\né\nseven\n";
        for (size, expected) in [
            (1, &["one\n", "two\n\nthree \nfour\n five\n", "six\né\nseven\n"][..]),
            (5, &["one\ntwo\n\nthree \nfour\n five\n", "six\né\nseven\n"]),
            (100, &[text]),
        ] {
            assert_eq!(pieces(text, size).collect::<Vec<_>>(), expected, "{size}");
        }
        assert_eq!(pieces("", 1).count(), 0);
    }

    #[test]
    fn pieces_have_the_tokens_of_the_whole() {
        let text = "The cat's 12 mats, \"so\" -- to say.\nAnd 3\n\n  more:\n\tend!\nNo;\nyes?\n".repeat(40);
        let tokenizer = BytePairs::train(&text, 275).unwrap();
        let whole = tokenizer.encode(&text).unwrap();
        for size in [1, 50, 333] {
            let cut: Vec<u32> = pieces(&text, size).flat_map(|piece| tokenizer.encode(piece).unwrap()).collect();
            assert_eq!(cut, whole, "{size}");
        }
    }

    #[test]
    fn every_byte_has_one_character() {
        let map = bytes_of_chars();
        let bytes: std::collections::BTreeSet<u8> = map.values().copied().collect();
        assert_eq!((map.len(), bytes.len()), (256, 256));
        assert_eq!((map[&'A'], map[&'Ġ'], map[&'Ċ']), (b'A', b' ', b'\n'));
        assert!(ByteLevel::alphabet().iter().all(|c| map.contains_key(c)));
    }
}
