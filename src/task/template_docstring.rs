//! Docstrings of the `template` family: a function's arguments, then what its docstring says of some of them.
//!
//! Operands are the function, the place of the first argument that the docstring names, all arguments, then the words of each
//! description, the number of words standing for none. An example is `def load ( self files obj state ) : doc param files river param`,
//! the answer being the argument after the last one named. Source: the prompts of Heimersheim and Janiak 2023, with fewer signs.

use super::rule::{Example, IGNORED, Rule};
use super::wording::{ARGUMENTS, DESCRIPTIONS, FUNCTIONS, Vocabulary};
use crate::rng::Rng;

/// How large docstrings are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Names that arguments are drawn from.
    pub(super) names: usize,
    /// Names that functions are drawn from.
    pub(super) functions: usize,
    /// Words that descriptions are drawn from.
    pub(super) words: usize,
    /// Arguments a function, without `self`.
    pub(super) arguments: usize,
    /// Arguments that the docstring names before the one that is asked for.
    pub(super) documented: usize,
    /// Words that describe an argument, at most.
    pub(super) description: usize,
    /// The same, at least.
    pub(super) min_description: usize,
}

/// Docstrings whose next argument is asked for.
#[derive(Debug)]
pub(super) struct Docstring {
    sizes: Sizes,
    words: Vec<String>,
    /// Tokens of the first function and of the first word of descriptions; argument names start at 0.
    first_function: u32,
    first_word: u32,
    def: u32,
    open: u32,
    this: u32,
    /// `) : doc`
    close: [u32; 3],
    param: u32,
    pad: u32,
}

impl Docstring {
    /// Docstrings of these sizes, which are within range.
    pub(super) fn new(sizes: Sizes) -> Docstring {
        let mut vocabulary = Vocabulary::default();
        vocabulary.list(ARGUMENTS.split(' ').take(sizes.names));
        let first_function = vocabulary.list(FUNCTIONS.split(' ').take(sizes.functions));
        let first_word = vocabulary.list(DESCRIPTIONS.split(' ').take(sizes.words));
        let [def, open, this] = ["def", "(", "self"].map(|word| vocabulary.token(word));
        let close = [")", ":", "doc"].map(|word| vocabulary.token(word));
        let param = vocabulary.token("param");
        let varies = sizes.min_description < sizes.description;
        let pad = if varies { vocabulary.token("PAD") } else { param };
        let words = vocabulary.into_words();
        Docstring { sizes, words, first_function, first_word, def, open, this, close, param, pad }
    }

    /// Position of the last `param` where each description has so many words.
    fn end(&self, words: usize) -> usize {
        7 + self.sizes.arguments + self.sizes.documented * (2 + words)
    }

    /// Places where the first argument named may stand.
    fn n_starts(&self) -> u32 {
        (self.sizes.arguments - self.sizes.documented) as u32
    }

    /// Whether a description has enough words, and none after its end.
    fn describes(&self, words: &[u32]) -> bool {
        let none = self.sizes.words as u32;
        let said = words.iter().take_while(|&&word| word < none).count();
        said >= self.sizes.min_description && words[said..].iter().all(|&word| word == none)
    }

    /// Function, start, arguments and words, if these are the operands of an example.
    fn parts<'a>(&self, operands: &'a [u32]) -> Option<(u32, usize, &'a [u32], &'a [u32])> {
        let Sizes { arguments, documented, description, .. } = self.sizes;
        if operands.len() != 2 + arguments + documented * description {
            return None;
        }
        let (head, words) = operands.split_at(2 + arguments);
        let (function, start, arguments) = (head[0], head[1], &head[2..]);
        let is_new = |i: usize| arguments[i] < self.sizes.names as u32 && !arguments[..i].contains(&arguments[i]);
        let fits = function < self.sizes.functions as u32
            && start < self.n_starts()
            && (0..arguments.len()).all(is_new)
            && (description == 0 || words.chunks_exact(description).all(|words| self.describes(words)));
        fits.then_some((function, start as usize, arguments, words))
    }
}

impl Rule for Docstring {
    fn words(&self) -> Vec<String> {
        self.words.clone()
    }

    fn n_ctx(&self) -> usize {
        self.end(self.sizes.description) + 1
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.end(self.sizes.min_description)..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let Sizes { arguments, documented, description, min_description, .. } = self.sizes;
        operands.push(rng.below(self.sizes.functions as u32));
        operands.push(rng.below(self.n_starts()));
        while operands.len() < 2 + arguments {
            let name = rng.below(self.sizes.names as u32);
            if !operands[2..].contains(&name) {
                operands.push(name);
            }
        }
        let (none, spare) = (self.sizes.words as u32, (description - min_description) as u32);
        for _ in 0..documented {
            let said = min_description + rng.below(spare + 1) as usize;
            operands.extend((0..said).map(|_| rng.below(none)));
            operands.extend((said..description).map(|_| none));
        }
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some((function, start, arguments, words)) = self.parts(operands) else { return false };
        let Sizes { documented, description, .. } = self.sizes;
        let tokens = &mut to.tokens;
        tokens.extend([self.def, self.first_function + function, self.open, self.this]);
        tokens.extend(arguments);
        tokens.extend(self.close);
        let none = self.sizes.words as u32;
        for (i, argument) in arguments[start..][..documented].iter().enumerate() {
            tokens.extend([self.param, *argument]);
            let said = words[i * description..][..description].iter().filter(|&&word| word < none);
            tokens.extend(said.map(|word| self.first_word + word));
        }
        tokens.push(self.param);
        let (end, answer) = (tokens.len() - 1, arguments[start + documented]);
        let asked = self.end(self.sizes.min_description)..self.n_ctx();
        to.targets.extend(asked.map(|t| if t == end { answer } else { IGNORED }));
        tokens.resize(self.n_ctx(), self.pad);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("start")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands[1]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::rule::check::{drawing, rule, samples};

    /// The argument after the last one named, from the text of the example; the docstring must follow the definition's order.
    fn by_parsing(text: &str) -> String {
        let (definition, doc) = text.split_once(" ) : doc ").unwrap();
        let (head, arguments) = definition.split_once(" self ").unwrap();
        assert!(head.starts_with("def ") && head.ends_with(" ("), "{text}");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut lines: Vec<&str> = doc.split("param").map(str::trim).collect();
        assert_eq!((lines.remove(0), lines.pop()), ("", Some("")), "{text}");
        let named: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let from = arguments.iter().position(|argument| *argument == named[0]).unwrap();
        assert_eq!(arguments[from..][..named.len()], named, "{text}");
        arguments[from + named.len()].to_owned()
    }

    #[test]
    fn ten_thousand_docstrings_go_on_with_the_next_argument() {
        for (params, arguments, documented) in [
            ("arguments = 4, documented = 2", 4, 2),
            ("arguments = 2", 2, 1),
            ("arguments = 6, documented = 2, description = 3, min_description = 0", 6, 2),
            ("arguments = 5, documented = 4, description = 0, names = 5, functions = 1, words = 1", 5, 4),
            ("arguments = 8, documented = 3, description = 2, min_description = 1, names = 32, words = 32", 8, 3),
        ] {
            let rule = rule("template", &format!("kind = \"docstring\", {params}"));
            let positions = rule.loss_positions();
            let mut starts = BTreeMap::new();
            samples(&*rule, 10_000, |d| {
                let length = d.words.iter().position(|word| word == "PAD").unwrap_or(d.words.len());
                assert!(d.words[length..].iter().all(|word| word == "PAD"), "{:?}", d.words);
                let text = d.words[..length].join(" ");
                for (&t, answer) in positions.iter().zip(&d.answers) {
                    let expected = if t + 1 == length { by_parsing(&text) } else { String::new() };
                    assert_eq!(*answer, expected, "{params}: {text}");
                }
                assert_eq!(text.matches("param").count(), documented + 1);
                assert_eq!(text.split(' ').position(|word| word == ")"), Some(4 + arguments), "{text}");
                *starts.entry(rule.label(&d.operands)).or_insert(0) += 1;
            });
            let expected = 10_000 / (arguments - documented);
            assert_eq!(starts.len(), arguments - documented, "{params}");
            assert!(starts.values().all(|count| expected.abs_diff(*count) < 300), "{params}: {starts:?}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let params = "arguments = 6, documented = 2, min_description = 1";
        let varying = rule("template", &format!("kind = \"docstring\", {params}"));
        let d = drawing(&*varying, &[0, 2, 0, 1, 2, 3, 4, 5, 0, 1, 2, 16]);
        let text =
            "def load ( self files obj state size shape option ) : doc param state river stone param size music param";
        assert_eq!((d.words.join(" "), d.answers.concat()), (format!("{text} PAD"), "shape".to_owned()));
        assert_eq!(d.words.len(), varying.n_ctx());
        for wrong in [
            &[0, 2, 0, 1, 2, 3, 4, 5, 0, 1, 16, 2][..],
            &[0, 2, 0, 1, 2, 3, 4, 5, 0, 1, 2, 17],
            &[0, 4, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3],
            &[8, 2, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3],
            &[0, 2, 0, 1, 2, 3, 4, 4, 0, 1, 2, 3],
            &[0, 2, 0, 1, 2, 3, 4, 16, 0, 1, 2, 3],
            &[0, 2, 0],
            &[],
        ] {
            assert!(!varying.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }
}
