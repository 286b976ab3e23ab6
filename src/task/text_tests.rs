//! Windows of texts are found by plain search, and baselines by counting again.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::task::Card;
use crate::task::rule::check::{drawing, faults, rule, samples};

const SPEECH: &str = "To be, or not to be, that is the question:\n\tWhether 'tis nobler in the mind's eye to suffer \
    The slings and arrows of outrageous fortune, Or to take arms against a sea of troubles\nAnd by opposing end them.";

/// `params` of this text, which TOML must be told of in escapes.
fn of(text: &str, more: &str) -> String {
    format!("text = {}, {more}", toml::Value::String(text.into()))
}

/// What signs stand for, read back.
fn plain(words: &[String]) -> String {
    words.concat().replace('␣', " ").replace('↵', "\n").replace('⇥', "\t")
}

/// The text with a space around each mark, single ones elsewhere: apostrophes inside words stay.
fn spaced(text: &str) -> String {
    let marks = [",", ":", "."].iter().fold(text.to_owned(), |text, mark| text.replace(mark, &format!(" {mark} ")));
    let marks = marks.replace(" '", " ' ");
    format!(" {} ", marks.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The drawing's words with the answer to the last of them.
fn whole(words: &[String], answers: &[String]) -> Vec<String> {
    assert_eq!(words[1..], answers[..answers.len() - 1], "an answer is the next token");
    [words, &answers[answers.len() - 1..]].concat()
}

#[test]
fn ten_thousand_windows_stand_in_the_text_where_they_say() {
    for tokens in ["chars", "bytes"] {
        for (length, frac) in [(1, 0.1), (8, 0.1), (12, 0.5)] {
            let params = of(SPEECH, &format!("tokens = \"{tokens}\", length = {length}, test_frac = {frac}"));
            let train = SPEECH.len() - (SPEECH.len() as f64 * frac).round() as usize;
            samples(&*rule("text", &params), 10_000, |d| {
                let window = plain(&whole(&d.words, &d.answers));
                let start = d.operands[0] as usize;
                assert!(SPEECH[..train].match_indices(&window).any(|(at, _)| at == start), "{window:?} at {start}");
            });
        }
    }
    let text = spaced(SPEECH);
    samples(&*rule("text", &of(SPEECH, "tokens = \"words\", length = 3")), 10_000, |d| {
        let window = format!(" {} ", whole(&d.words, &d.answers).join(" "));
        let before = |at: usize| text[..at + 1].split_whitespace().count();
        let start = d.operands[0] as usize;
        // Searched from each place: matches may overlap.
        let found = (0..text.len()).filter(|&at| text.is_char_boundary(at) && text[at..].starts_with(&window));
        assert!(found.map(before).any(|at| at == start), "{window:?} at {start}");
    });
}

#[test]
fn examples_are_the_text_cut_by_hand() {
    for (tokens, operands, text) in [
        ("chars", 0, "T o ␣ b e -> o ␣ b e ,"),
        ("bytes", 37, "t i o n : -> i o n : ↵"),
        ("bytes", 41, ": ↵ ⇥ W h -> ↵ ⇥ W h e"),
        ("words", 0, "To be , or not -> be , or not to"),
        ("words", 12, ": Whether ' tis nobler -> Whether ' tis nobler in"),
        ("words", 17, "in the mind's eye to -> the mind's eye to suffer"),
    ] {
        let text_rule = rule("text", &of(SPEECH, &format!("tokens = \"{tokens}\", length = 5, test_frac = 0.2")));
        let d = drawing(&*text_rule, &[operands]);
        assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join(" ")), text);
    }
}

#[test]
fn tests_draw_from_the_end_alone_and_nothing_crosses() {
    let rule = rule("text", &of("abcdefghijklmnopqrst", "length = 3, test_frac = 0.3"));
    let mut rng = Rng::stream(1, "parts");
    let (mut train, mut test) = ([0; 20], [0; 20]);
    for _ in 0..20_000 {
        let mut operands = vec![];
        rule.draw(&mut rng, &mut operands);
        rule.draw_test(&mut rng, &mut operands);
        train[operands[0] as usize] += 1;
        test[operands[1] as usize] += 1;
        assert!(rule.write(&operands[1..], &mut Example::default()));
    }
    // Fourteen characters and six, of windows of four: eleven windows and three, each as likely.
    let drawn = |counts: &[i32]| (0..20).filter(|&at| counts[at] > 0).collect::<Vec<_>>();
    assert_eq!((drawn(&train), drawn(&test)), ((0..11).collect(), vec![14, 15, 16]));
    assert!(train[..11].iter().all(|&n| (1600..2050).contains(&n)), "{train:?}");
    assert!(test[14..17].iter().all(|&n| (6350..7000).contains(&n)), "{test:?}");
    for wrong in [&[11][..], &[12], &[13], &[17], &[20], &[u32::MAX], &[], &[0, 0]] {
        assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        assert_eq!(rule.baseline_losses(wrong), [0.0; 0], "{wrong:?}");
    }
}

#[test]
fn baselines_are_those_of_direct_counts() {
    let frac = 0.25;
    let rule = rule("text", &of(SPEECH, &format!("length = 7, test_frac = {frac}")));
    let train = &SPEECH[..SPEECH.len() - (SPEECH.len() as f64 * frac).round() as usize];
    let vocab = SPEECH.chars().collect::<std::collections::BTreeSet<_>>().len() as f64;
    let loss = |count: usize, of: usize| -((count as f64 + 1.0) / (of as f64 + vocab)).ln();
    let pairs = |pair: &str| (0..train.len() - 1).filter(|&at| train[at..at + 2] == *pair).count();
    let mut rng = Rng::stream(1, "baselines");
    for _ in 0..500 {
        let mut operands = vec![];
        rule.draw_test(&mut rng, &mut operands);
        let start = operands[0] as usize;
        let losses = rule.baseline_losses(&operands);
        assert_eq!(losses.len(), rule.baselines().len() * 7);
        for t in 0..7 {
            let (a, pair) = (&SPEECH[start + t..start + t + 1], &SPEECH[start + t..start + t + 2]);
            let unigram = loss(train.matches(&pair[1..]).count(), train.len());
            let bigram = loss(pairs(pair), train[..train.len() - 1].matches(a).count());
            assert!((losses[t] - unigram).abs() < 1e-12 && (losses[7 + t] - bigram).abs() < 1e-12, "{pair:?}");
        }
    }
}

#[test]
fn baselines_have_the_values_that_explain_states() {
    let rule = rule("text", &of("ababaabab", "length = 2, test_frac = 0.44"));
    let losses = rule.baseline_losses(&[0]);
    let stated = [-(3.0_f64 / 7.0).ln(), -(4.0_f64 / 7.0).ln(), -(0.75_f64).ln(), -(0.75_f64).ln()];
    assert!(losses.iter().zip(stated).all(|(a, b)| (a - b).abs() < 1e-12), "{losses:?}");
}

#[test]
fn every_token_is_written_differently_and_without_space() {
    let odd = "a ␣\n↵\t⇥\r\0\\\u{a0}\u{2003}\u{feff}\u{301}\u{85}\u{1}'\"é字";
    let words = rule("text", &of(&odd.repeat(9), "length = 2")).words();
    let bytes = rule("text", &of(&odd.repeat(9), "length = 2, tokens = \"bytes\"")).words();
    let runs = rule("text", &of(&"␣ \\u{2423} x'y 'x' ’ x’y \\ ".repeat(9), "length = 2, tokens = \"words\"")).words();
    assert_eq!((words.len(), bytes.len()), (odd.chars().count(), 256));
    for list in [&words, &bytes, &runs] {
        let different: std::collections::BTreeSet<_> = list.iter().collect();
        assert_eq!(different.len(), list.len());
        assert!(list.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace)), "{list:?}");
        assert!(list.iter().all(|word| !word.contains(char::is_control)), "{list:?}");
    }
    for word in ["␣", "↵", "⇥", "\\u{2423}", "\\\\", "\\r", "\\0", "\\u{a0}", "\\u{301}", "'", "\"", "é", "字"]
    {
        assert!(words.contains(&word.to_owned()), "{word}: {words:?}");
    }
    assert_eq!(
        [0x0a, 0x20, 0x41, 0x5c, 0x7f, 0xff].map(|b| bytes[b].as_str()),
        ["↵", "␣", "A", "\\\\", "\\x7f", "\\xff"]
    );
}

/// The card `folder/t.toml` with these parameters: its rule's words, or its faults.
fn beside(folder: &Path, params: &str) -> Result<Vec<String>, Vec<String>> {
    let text = format!("title = \"t\"\nfamily = \"text\"\nparams = {{ {params} }}\nsplit = {{ stream = true }}\n");
    let built = Card::parse(&folder.join("t.toml"), &text).and_then(|card| card.build());
    built.map(|task| task.rule.unwrap().words()).map_err(|e| e.cause())
}

#[test]
fn files_lie_beside_the_card_and_their_faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("good.txt", "ab c".repeat(20).as_bytes());
    write("latin.txt", &b"caf\xe9 ".repeat(20));
    write("empty.txt", b"");
    write("blank.txt", &b" \n".repeat(20));
    fs::File::create(folder.path().join("huge.txt")).unwrap().set_len(MAX_BYTES + 1).unwrap();
    let many: String = (0..=MAX_VOCAB).map(|n| format!("{n} ")).collect();
    write("many.txt", many.as_bytes());
    let read = |params: &str| beside(folder.path(), params);
    assert_eq!(read("file = \"good.txt\", length = 4").unwrap(), ["␣", "a", "b", "c"]);
    assert_eq!(read("file = \"latin.txt\", length = 4, tokens = \"bytes\"").unwrap().len(), 256);
    assert!(read(&format!("file = {:?}, length = 4", folder.path().join("good.txt"))).is_ok());
    assert!(read("file = \"many.txt\", length = 4").is_ok());
    for (params, starts, ends) in [
        (
            "file = \"no.txt\", length = 4",
            "params.file: cannot read",
            "; give the path of a text, from the card's folder",
        ),
        ("file = \".\", length = 4", "params.file: cannot read", "; give the path of a text, from the card's folder"),
        ("file = \"empty.txt\", length = 4", "params.file: has no characters", "; give a text of 10 or more"),
        ("file = \"blank.txt\", tokens = \"words\", length = 4", "params.file: has no words", "of 10 or more"),
        (
            "file = \"latin.txt\", length = 4",
            "params.file: byte 3 is not UTF-8",
            "save it as UTF-8, or set tokens = \"bytes\"",
        ),
        (
            "file = \"huge.txt\", length = 4",
            "params.file: ",
            "has 268435457 bytes; a text has 268435456 at most, so take a part",
        ),
        (
            "file = \"many.txt\", tokens = \"words\", length = 4",
            "params.tokens: the text has 65537 different words, more than 65536",
            "use a shorter text, or tokens = \"chars\" or \"bytes\"",
        ),
    ] {
        let found = read(params).unwrap_err();
        let is_it = |fault: &String| fault.contains(starts) && fault.ends_with(ends);
        assert!(found.iter().any(is_it), "{params}: {found:?}");
    }
}

#[test]
fn faults_name_their_key() {
    let abc = "abcdefghijklmnopqrst";
    for (params, message) in [
        (
            "length = 4".to_owned(),
            "params.file: missing; the path of a text, from the card's folder (or text = \"...\")",
        ),
        (of(abc, "file = \"a.txt\", length = 4"), "params.text: stands beside file; keep one of them"),
        (of("", "length = 4"), "params.text: has no characters; give a text of 10 or more"),
        (of(abc, ""), "params.length: 0 is out of range; it must be 1 to 1024"),
        (of(abc, "length = 1025"), "params.length: 1025 is out of range; it must be 1 to 1024"),
        (of(abc, "length = 4, test_frac = 0.0"), "params.test_frac: 0 is out of range; it must be above 0 and below 1"),
        (of(abc, "length = 4, test_frac = 1"), "params.test_frac: 1 is out of range; it must be above 0 and below 1"),
        (
            of(abc, "length = 4, test_frac = nan"),
            "params.test_frac: NaN is out of range; it must be above 0 and below 1",
        ),
        (
            of(abc, "length = 4, test_frac = 0.8"),
            "params.length: the training part has 4 characters, and a window needs 5 (the answer to its last one too); \
             lower length, lower test_frac or give a longer text",
        ),
        (
            of(abc, "length = 4, test_frac = 0.2"),
            "params.length: the test part has 4 characters, and a window needs 5 (the answer to its last one too); \
             lower length, raise test_frac or give a longer text",
        ),
    ] {
        let found = faults("text", &params);
        assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
    }
    let both = faults("text", &of(abc, "length = 0, test_frac = 2.0"));
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(rule("text", &of(abc, "length = 4, test_frac = 0.25")).write(&[15], &mut Example::default()));
}

#[cfg(not(feature = "bpe"))]
#[test]
fn without_the_feature_byte_pair_tokens_are_a_fault() {
    let found = faults("text", &of(SPEECH, "length = 4, tokens = \"bpe\", vocab_size = 300"));
    assert!(
        found[0]
            .ends_with("params.tokens: this program was built without byte-pair tokens; build it with --features bpe")
    );
}
