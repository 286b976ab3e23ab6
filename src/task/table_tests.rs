//! Rows written to files and cards here come back as the plain lists that they were written from.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::error::Result as Built;
use crate::task::rule::check::{drawing, faults, rule, samples};
use crate::task::{Card, Task};

/// A folder with this one file, and a card beside it.
pub(in crate::task) struct Beside(pub tempfile::TempDir);

impl Beside {
    pub(in crate::task) fn file(name: &str, bytes: impl AsRef<[u8]>) -> Beside {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        Beside(folder)
    }

    pub(in crate::task) fn build(&self, params: &str, split: &str) -> Built<Task> {
        let text = format!("title = \"t\"\nfamily = \"table\"\nparams = {{ {params} }}\nsplit = {{ {split} }}\n");
        Card::parse(&self.0.path().join("t.toml"), &text)?.build()
    }

    pub(in crate::task) fn rule(&self, params: &str) -> Arc<dyn Rule> {
        let task = self.build(params, "stream = true");
        task.unwrap_or_else(|e| panic!("{params}: {:?}", e.cause())).rule.unwrap()
    }

    pub(in crate::task) fn faults(&self, params: &str) -> Vec<String> {
        self.build(params, "stream = true").unwrap_err().cause()
    }
}

/// `n` rows of 2 to 8 words of a vocabulary of `words`, which a formula chooses.
fn plain_rows(n: usize, words: &[&str]) -> Vec<Vec<String>> {
    let item = |row: usize, i: usize| words[(row * row * 7 + i * (row + 3) + row / 5) % words.len()].to_owned();
    (0..n).map(|row| (0..2 + row * 5 % 7).map(|i| item(row, i)).collect()).collect()
}

/// What a row without targets must give: words read and answers, both filled up to the longest row.
fn expected(row: &[String], n_ctx: usize, last_only: bool) -> (Vec<String>, Vec<String>) {
    let (mut words, mut answers) = (vec!["PAD".to_owned(); n_ctx], vec![String::new(); n_ctx]);
    for i in 0..row.len() - 1 {
        words[i].clone_from(&row[i]);
        if !last_only || i == row.len() - 2 {
            answers[i].clone_from(&row[i + 1]);
        }
    }
    (words, answers)
}

fn compare(rule: &dyn Rule, rows: &[Vec<String>], last_only: bool) {
    let n_ctx = rows.iter().map(Vec::len).max().unwrap() - 1;
    assert_eq!((rule.n_ctx(), rule.loss_positions()), (n_ctx, (0..n_ctx).collect()));
    let all = rule.all().unwrap();
    assert_eq!(all, (0..rows.len() as u32).map(|row| vec![row]).collect::<Vec<_>>());
    for (operands, row) in all.iter().zip(rows) {
        let d = drawing(rule, operands);
        assert_eq!((d.words, d.answers), expected(row, n_ctx, last_only), "{operands:?}");
    }
    for wrong in [&[rows.len() as u32][..], &[u32::MAX], &[0, 1], &[]] {
        assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
    }
}

const WORDS: [&str; 6] = ["blå", "a,b", "say\"it\"", "3", "-", "\\n"];
const NUMBERS: [&str; 5] = ["0", "12", "7", "3", "1"];

fn jsonl(rows: &[Vec<String>], quoted: bool) -> String {
    let token = |word: &String| match quoted {
        true => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
        false => word.clone(),
    };
    let row = |row: &Vec<String>| format!("[{}]\n", row.iter().map(token).collect::<Vec<_>>().join(", "));
    rows.iter().map(row).collect()
}

fn csv(rows: &[Vec<String>]) -> String {
    let token = |word: &String| match word.contains([',', '"']) {
        true => format!("\"{}\"", word.replace('"', "\"\"")),
        false => word.clone(),
    };
    rows.iter().map(|row| row.iter().map(token).collect::<Vec<_>>().join(",") + "\r\n").collect()
}

#[test]
fn every_row_of_a_file_is_the_plain_list_that_was_written() {
    let (words, integers) = (plain_rows(1000, &WORDS), plain_rows(1000, &NUMBERS));
    let vocab = "vocab = [\"-\", \"3\", \"blå\", \"a,b\", 'say\"it\"', '\\n']";
    let files: [(&str, String, &str, &[Vec<String>]); 6] = [
        ("d.jsonl", jsonl(&words, true), "", &words),
        ("d.jsonl", jsonl(&words, true).trim_end().to_owned(), vocab, &words),
        ("d.jsonl", jsonl(&integers, false), "", &integers),
        ("d.csv", csv(&words), vocab, &words),
        ("d.CSV", csv(&integers), "", &integers),
        ("d.csv", format!("\u{feff}a,\"b\n{}", csv(&integers)), "header = true", &integers),
    ];
    for (name, text, more, rows) in files {
        let beside = Beside::file(name, text);
        for (ask, last_only) in [("next", false), ("last", true)] {
            let params = [&format!("file = \"{name}\", ask = \"{ask}\""), more].join(", ");
            compare(&*beside.rule(params.trim_end_matches(", ")), rows, last_only);
        }
    }
    let inline = plain_rows(40, &NUMBERS);
    let rows = jsonl(&inline, false).replace('\n', ",");
    compare(&*rule("table", &format!("rows = [{rows}]")), &inline, false);
    compare(&*rule("table", &format!("rows = [{rows}], ask = \"last\"")), &inline, true);
}

#[test]
fn ten_thousand_samples_stay_within_their_split() {
    let rows = plain_rows(1000, &NUMBERS);
    let beside = Beside::file("d.jsonl", jsonl(&rows, false));
    for (more, n_train, test_from) in [("", 900, 900), (", test_frac = 0.25", 750, 750), (", test_frac = 0", 1000, 0)] {
        let rule = beside.rule(&format!("file = \"d.jsonl\"{more}"));
        let mut drawn = vec![0u32; 1000];
        samples(&*rule, 10_000, |d| {
            drawn[d.operands[0] as usize] += 1;
            assert_eq!(d.words, expected(&rows[d.operands[0] as usize], 7, false).0);
        });
        assert!(drawn[n_train..].iter().all(|&count| count == 0) && drawn[..n_train].iter().all(|&count| count < 50));
        let (mut rng, mut tested) = (Rng::stream(7, "test"), vec![false; 1000]);
        for _ in 0..20_000 {
            let mut operands = vec![];
            rule.draw_test(&mut rng, &mut operands);
            tested[operands[0] as usize] = true;
        }
        assert!((0..1000).all(|row| tested[row] == (row >= test_from)), "{more}");
    }
}

#[test]
fn targets_and_masks_decide_what_is_asked() {
    let lines = r#"{"tokens": [3, 1, 2], "targets": [1, 2, 3]}
{"mask": [0, 1, 1, 0], "tokens": [3, 1, 2, 0]}
{"targets": [0, 0, 9, 0, 0], "mask": [0, 0, 1, 0, 0], "tokens": [5, 5, 5, 5, 5]}
[1, 2]"#;
    let beside = Beside::file("d.jsonl", lines);
    for (ask, positions, texts) in [
        (
            "next",
            0..3,
            ["3 1 2 PAD PAD -> 1/2/3", "3 1 2 PAD PAD -> /2/0", "5 5 5 5 5 -> //9", "1 PAD PAD PAD PAD -> 2//"],
        ),
        (
            "last",
            0..3,
            ["3 1 2 PAD PAD -> 1/2/3", "3 1 2 PAD PAD -> //0", "5 5 5 5 5 -> //9", "1 PAD PAD PAD PAD -> 2//"],
        ),
    ] {
        let rule = beside.rule(&format!("file = \"d.jsonl\", ask = \"{ask}\""));
        assert_eq!((rule.words().len(), rule.classes().len()), (11, 10));
        assert_eq!(rule.loss_positions(), positions.collect::<Vec<usize>>());
        for (row, text) in (0..).zip(texts) {
            let d = drawing(&*rule, &[row]);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join("/")), text);
        }
    }
    // Rows of a card may be such maps as well, and integers beside a vocabulary are places in it.
    let rule = rule(
        "table",
        "rows = [{ tokens = [1, 0], targets = [0, 1], mask = [0, 1] }, [0, 0, 1]], vocab = [\"no\", \"yes\"]",
    );
    let d = drawing(&*rule, &[0]);
    assert_eq!((d.words.join(" "), d.answers.join("/")), ("yes no".to_owned(), "/yes".to_owned()));
}

#[test]
fn a_finite_set_is_all_rows_in_their_order() {
    let rows = plain_rows(30, &NUMBERS);
    let beside = Beside::file("d.csv", csv(&rows));
    let task = beside.build("file = \"d.csv\"", "train_frac = 0.5").unwrap();
    assert_eq!((task.n_examples(), task.operands.len(), task.n_ctx), (30, 30, 7));
    for (i, row) in rows.iter().enumerate() {
        let asked: Vec<bool> = task.weights_l(i).unwrap().iter().map(|&weight| weight > 0.0).collect();
        assert_eq!(asked, (0..7).map(|t| t < row.len() - 1).collect::<Vec<_>>());
    }
}

#[test]
fn words_stand_in_order_of_first_appearance_and_integers_from_0() {
    assert_eq!(rule("table", "rows = [[\"c\", \"a\"], [\"b\", \"a\"]]").words(), ["c", "a", "b"]);
    assert_eq!(rule("table", "rows = [[3, 1], [1, 1, 1]]").words(), ["0", "1", "2", "3", "PAD"]);
    assert_eq!(rule("table", "rows = [[\"a\", \"a\"], [\"a\", \"a\"]], vocab = [\"b\", \"a\"]").words(), ["b", "a"]);
    let beside = Beside::file("d.csv", " 1 , \"2\" \n0,1\n");
    assert_eq!(drawing(&*beside.rule("file = \"d.csv\""), &[0]).answers, ["2"]);
}

#[test]
fn a_row_that_can_no_longer_be_read_is_none() {
    let beside = Beside::file("d.jsonl", "[1, 2, 3]\n[2, 2, 1]\n[3, 1, 1]\n");
    let rule = beside.rule("file = \"d.jsonl\"");
    let readable = |row: u32| rule.write(&[row], &mut Example::default());
    assert!(readable(0) && readable(1) && readable(2));
    std::fs::write(beside.0.path().join("d.jsonl"), "[1, 2, 3]\n[2, 9, 1]\n[3, 1").unwrap();
    assert_eq!([readable(0), readable(1), readable(2)], [true, false, false]);
    std::fs::write(beside.0.path().join("d.jsonl"), "[1, 2]   \n[1,2,2,3]\n[3,  , 1]\n").unwrap();
    assert_eq!([readable(0), readable(1), readable(2)], [false, false, false]);
}

#[test]
fn faults_of_a_file_name_its_line() {
    let words = ", vocab = [\"apple\", \"fig\"]";
    let mixed = "write all as one kind (in a CSV file, name every word in vocab)";
    for (name, text, more, message) in [
        ("d.jsonl", "[1, 2]\n[1, 2\n", "", "line 2, column 5: this is no JSON: EOF while parsing a list"),
        ("d.jsonl", "[1, 2] 3\n", "", "line 1, column 8: this is no JSON: trailing characters"),
        ("d.jsonl", "[1, 2.5]\n", "", "invalid type: floating point `2.5`, expected an integer or a string"),
        ("d.jsonl", "[1, 2]\n[1, null]\n", "", "invalid type: null, expected an integer or a string"),
        ("d.jsonl", "[1, {}]\n", "", "invalid type: map, expected an integer or a string"),
        ("d.jsonl", "7\n", "", "invalid type: integer `7`, expected a list of tokens, or a map with `tokens`"),
        ("d.jsonl", "[1, 2]\n[1, \"a\"]\n", "", &format!("line 2, column 7: `a` is a string among integers; {mixed}")),
        ("d.jsonl", "[\"a\", 1]\n", "", &format!("1 is an integer among strings; {mixed}")),
        ("d.csv", "1,2\n3,x\n", "", &format!("line 2, token 2: `x` is a string among integers; {mixed}")),
        ("d.jsonl", "[1, 2]\n[]\n", "", "line 2: the row is empty; give it tokens, or remove it"),
        ("d.csv", "1,2\n\n3,4\n", "", "line 2: the row is empty; give it tokens, or remove it"),
        ("d.jsonl", "[1]\n", "", "line 1: the row is too short to ask anything; it needs two tokens, or targets"),
        ("d.jsonl", "[65536, 1]\n", "", "65536 is out of range; integers are 0 to 65535"),
        ("d.jsonl", "[-1, 1]\n", "", "-1 is out of range; integers are 0 to 65535"),
        (
            "d.jsonl",
            "[99999999999999999999, 1]\n",
            "",
            "100000000000000000000 is out of range; integers are 0 to 65535",
        ),
        ("d.csv", "1,9999999999999999999999999999999999999999\n", "", "is out of range; integers are 0 to 65535"),
        ("d.jsonl", "[2, 0]\n", words, "2 is no place in vocab, whose words are 0 to 1"),
        ("d.jsonl", "[\"aple\", \"fig\"]\n", words, "line 1, column 7: `aple` is not in vocab; did you mean `apple`?"),
        ("d.csv", "fig,melon\n", words, "line 1, token 2: `melon` is not in vocab; add it there, or correct the row"),
        ("d.jsonl", "[\"a b\", \"c\"]\n", "", "`a b` is no word; it must have no space and not be empty"),
        (
            "d.csv",
            "\n1,\"2\n",
            ", header = true",
            "line 2, token 2: a quote is not closed on its line; add one, or remove it",
        ),
        (
            "d.csv",
            "a,b\"c\n",
            "",
            "token 2: a quote stands inside; put the whole token in quotes, and write a quote in it twice",
        ),
        ("d.csv", "\"a\"b,c\n", "", "text follows a closing quote; write a comma there, or a quote in a token twice"),
        ("d.csv", "1,2,\n", "", "line 1, token 3: there is nothing between the commas; every token must be written"),
        ("d.jsonl", "{\"targets\": [1]}\n", "", "line 1, column 16: the row has no `tokens`"),
        ("d.jsonl", "{\"tokens\": [1], \"x\": 1}\n", "", "unknown key `x`; known here: tokens, targets, mask"),
        ("d.jsonl", "{\"mask\": [1], \"mask\": [1]}\n", "", "`mask` stands twice"),
        (
            "d.jsonl",
            "{\"tokens\": [1, 2], \"targets\": [1]}\n",
            "",
            "line 1: targets has length 1 and tokens 2; give one entry for each token",
        ),
        (
            "d.jsonl",
            "{\"tokens\": [1, 2], \"mask\": [1, 1, 1]}\n",
            "",
            "line 1: mask has length 3 and tokens 2; give one entry for each token",
        ),
        (
            "d.jsonl",
            "{\"tokens\": [1, 2], \"mask\": [2, 1]}\n",
            "",
            "mask has the entry 2; it must be 0 (not asked) or 1",
        ),
        ("d.jsonl", "{\"tokens\": [1, 2], \"mask\": [0, 1]}\n", "", "line 1: mask leaves nothing to ask of the row"),
        ("d.jsonl", "", "", "there are no rows; write at least one"),
        ("d.csv", "a,b\n", ", header = true", "there are no rows; write at least one"),
        (
            "d.jsonl",
            "[1, 1]\n",
            ", test_frac = 0.5",
            "params.test_frac: 0.5 of 1 rows leaves none to train on; lower it",
        ),
        ("d.jsonl", "[0, 0]\n", "", "all tokens are the same; there must be two different ones or more"),
        (
            "d.jsonl",
            "[\"a\", \"PAD\"]\n[\"a\", \"b\", \"a\"]\n",
            "",
            "the token PAD is what shorter rows are filled with; call yours otherwise",
        ),
    ] {
        let found = Beside::file(name, text).faults(&format!("file = \"{name}\"{more}"));
        assert!(found.iter().any(|fault| fault.ends_with(message)), "{text:?}: {found:?}");
        let in_line = message.starts_with("line ");
        assert!(
            !in_line || found.iter().any(|fault| fault.contains(&format!("params.file: {name}, {message}"))),
            "{found:?}"
        );
    }
    let long = format!("[{}1]\n", "1,".repeat(4096));
    let found = Beside::file("d.jsonl", long).faults("file = \"d.jsonl\"");
    assert_eq!(found, ["line 3: params.file: d.jsonl, line 1: the row has 4097 tokens; it may have 4096"]);
    let found = Beside::file("d.csv", b"\xff,b\n").faults("file = \"d.csv\"");
    assert_eq!(found, ["line 3: params.file: d.csv, line 1: the line is not UTF-8; save the file as UTF-8"]);
    // All faults at once, but not a million of them.
    let found = Beside::file("d.jsonl", "[]\n".repeat(1000)).faults("file = \"d.jsonl\"");
    assert_eq!(found.len(), 10, "{found:?}");
}

#[test]
fn faults_name_their_key() {
    let beside = Beside::file("d.txt", "1 2\n");
    let missing =
        format!("params.file: there is no file {}/e.csv; name one beside the card", beside.0.path().display());
    for (params, message) in [
        ("ask = \"last\"", "params.file: missing; a .jsonl, .csv or .h5 file (or rows = [[...], ...])"),
        ("file = \"d.csv\", rows = [[0, 1]]", "params.rows: stands beside file; keep one of them"),
        ("file = \"d.txt\"", "params.file: d.txt is no .jsonl, .csv, .h5 or .hdf5 file; write it as one of them"),
        ("file = \"e.csv\"", &missing),
        ("rows = [[0, 1]], header = true", "params.header: only a .csv file has a header; remove it"),
        (
            "rows = [[0, 1]], test_frac = 1.5",
            "params.test_frac: 1.5 is out of range; it must be 0 or more, and below 1",
        ),
        ("rows = [[0, 1]]", "params.test_frac: 0.1 of 1 rows leaves none to train on; lower it"),
        ("rows = [[0, 1]], ask = \"all\"", "params.ask: unknown variant `all`, expected `next` or `last`"),
        ("rows = []", "params.rows: there are no rows; write at least one"),
        (
            "rows = [[0, 1], [0, 1.5]]",
            "params.rows[1]: invalid type: floating point `1.5`, expected an integer or a string",
        ),
        (
            "rows = [[0, 1], [2]]",
            "params.rows[1]: the row is too short to ask anything; it needs two tokens, or targets",
        ),
        ("rows = [[\"a\", \"b\"]], vocab = [\"a\", \"a\"]", "params.vocab: `a` stands twice"),
        ("rows = [[\"a\", \"b\"]], vocab = []", "params.vocab: has 0 words; it must have 1 to 65536"),
        (
            "rows = [[\"a\", \"b\"]], vocab = [\"a \"]",
            "params.vocab: `a ` is no word; it must have no space and not be empty",
        ),
    ] {
        let found = beside.faults(params);
        assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
    }
    let found = faults("table", "rows = [[0, -1], []], ask = \"last\"");
    assert_eq!(found.len(), 2, "{found:?}");
}
