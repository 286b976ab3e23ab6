//! Rows of numbers written as JSON, CSV and in a card come back as the arrays that they were written from.

#![allow(clippy::unwrap_used)]

use crate::rng::Rng;
use crate::task::rule::check::{faults, rule};
use crate::task::rule::text;
use crate::task::table::tests::Beside;
use crate::task::{Example, Rule, Widths};

/// `n` rows of x `[t, d]` and y `[t, k]`, of normal numbers of all sizes.
pub(in crate::task) struct Arrays {
    pub n: usize,
    pub t: usize,
    pub d: usize,
    pub k: usize,
    /// `[n, t, d]`.
    pub x: Vec<f64>,
    /// `[n, t, k]`; NaN where nothing is asked: at some places of each row, if there are several.
    pub y: Vec<f64>,
}

impl Arrays {
    pub(in crate::task) fn new(n: usize, (t, d, k): (usize, usize, usize)) -> Arrays {
        let mut rng = Rng::stream(3, "arrays");
        let mut numbers = |n: usize| {
            let mut numbers = vec![0.0; n];
            rng.fill_normal(&mut numbers);
            (0..).zip(&mut numbers).for_each(|(i, number)| *number *= 10f64.powi(i % 41 - 20));
            numbers
        };
        let (x, mut y) = (numbers(n * t * d), numbers(n * t * k));
        for (place, y) in y.chunks_exact_mut(k).enumerate() {
            let (row, t_here) = (place / t, place % t);
            if t > 1 && t_here != row % t && (row + 2 * t_here).is_multiple_of(3) {
                y.fill(f64::NAN);
            }
        }
        Arrays { n, t, d, k, x, y }
    }

    pub(in crate::task) fn x(&self, row: usize) -> &[f64] {
        &self.x[row * self.t * self.d..][..self.t * self.d]
    }

    pub(in crate::task) fn y(&self, row: usize) -> &[f64] {
        &self.y[row * self.t * self.k..][..self.t * self.k]
    }

    /// One row as JSON: lists of lists.
    fn json(&self, row: usize) -> String {
        let number = |x: &f64| if x.is_nan() { "null".to_owned() } else { format!("{x:?}") };
        let list = |numbers: &[f64]| format!("[{}]", numbers.iter().map(number).collect::<Vec<_>>().join(", "));
        let lists = |numbers: &[f64], width: usize| {
            format!("[{}]", numbers.chunks_exact(width).map(list).collect::<Vec<_>>().join(", "))
        };
        format!("{{\"x\": {}, \"y\": {}}}", lists(self.x(row), self.d), lists(self.y(row), self.k))
    }

    /// Panics where the rule has not just these rows.
    pub(in crate::task) fn compare(&self, rule: &dyn Rule) {
        assert_eq!(rule.widths(), Some(Widths { x: self.d, y: self.k }));
        assert_eq!((rule.n_ctx(), rule.loss_positions()), (self.t, (0..self.t).collect()));
        assert_eq!((rule.words().len(), rule.classes().len()), (0, 0));
        assert_eq!(rule.all().unwrap().len(), self.n);
        let bits = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits() << u32::from(x.is_nan())).collect::<Vec<_>>();
        for row in 0..self.n {
            let mut example = Example::default();
            assert!(rule.write(&[row as u32], &mut example), "{row}");
            assert!(example.tokens.is_empty() && example.targets.is_empty());
            assert_eq!((example.x.as_slice(), bits(&example.y)), (self.x(row), bits(self.y(row))), "{row}");
        }
        for wrong in [&[self.n as u32][..], &[u32::MAX], &[0, 1], &[]] {
            assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }
}

#[test]
fn ten_thousand_rows_of_json_are_the_arrays_that_were_written() {
    for sizes in [(1, 3, 1), (1, 1, 4), (4, 2, 3)] {
        let arrays = Arrays::new(10_000, sizes);
        let lines: String = (0..arrays.n).map(|row| arrays.json(row) + "\n").collect();
        arrays.compare(&*Beside::file("d.jsonl", lines).rule("file = \"d.jsonl\""));
    }
}

#[test]
fn ten_thousand_rows_of_csv_are_the_arrays_that_were_written() {
    for (d, k) in [(3, 1), (1, 2)] {
        let arrays = Arrays::new(10_000, (1, d, k));
        let fields = |row: usize| arrays.x(row).iter().chain(arrays.y(row)).map(f64::to_string).collect::<Vec<_>>();
        let lines: String = (0..arrays.n).map(|row| fields(row).join(" , ") + "\r\n").collect();
        let params = format!("file = \"d.csv\", targets = {k}");
        arrays.compare(&*Beside::file("d.csv", &lines).rule(&params));
        let headed = Beside::file("d.csv", format!("\u{feff}a,\"b\",c,d\n{lines}"));
        arrays.compare(&*headed.rule(&format!("{params}, header = true")));
    }
}

#[test]
fn rows_of_a_card_are_the_arrays_that_were_written() {
    let arrays = Arrays::new(50, (3, 2, 2));
    // TOML has nan in place of null.
    let rows: Vec<String> = (0..arrays.n)
        .map(|row| arrays.json(row).replace("\"x\":", "x =").replace("\"y\":", "y =").replace("null", "nan"))
        .collect();
    arrays.compare(&*rule("table", &format!("rows = [{}]", rows.join(", "))));
}

#[test]
fn each_way_of_writing_asks_what_it_says() {
    for (lines, texts) in [
        (
            "{\"x\": [1, 2.5], \"y\": -3}\n{\"y\": [4], \"x\": [0, 1e-3]}\n{\"x\": [[1, 2]], \"y\": [[7]]}",
            ["[1.000 2.500] -> [-3.000]", "[0.000 0.001] -> [4.000]", "[1.000 2.000] -> [7.000]"],
        ),
        (
            "{\"x\": [[1], [2]], \"y\": [[1, 2], [3, 4]], \"mask\": [0, 1]}\n{\"x\": [[1], [2]], \"y\": [null, [3, 4]]}\n\
             {\"x\": [[1], [2]], \"y\": [[5, 6], [null, null]]}",
            [
                "[1.000] [2.000] -> [3.000 4.000]",
                "[1.000] [2.000] -> [3.000 4.000]",
                "[1.000] [2.000] -> [5.000 6.000]",
            ],
        ),
        (
            "{\"x\": [[1], [2], [3]], \"y\": [null, null, [3]]}\n{\"x\": [[1], [2], [3]], \"y\": [[null], [2], null]}\n\
             {\"x\": [[1], [2], [3]], \"y\": [[1], null, [3]], \"mask\": [0, 1, 1]}",
            [
                "[1.000] [2.000] [3.000] -> [3.000]",
                "[1.000] [2.000] [3.000] -> [2.000]",
                "[1.000] [2.000] [3.000] -> [3.000]",
            ],
        ),
    ] {
        let beside = Beside::file("d.jsonl", lines);
        let rule = beside.rule("file = \"d.jsonl\"");
        for (row, expected) in (0..).zip(texts) {
            let mut example = Example::default();
            assert!(rule.write(&[row], &mut example));
            assert_eq!(text(&*rule, &example), expected, "{lines}");
        }
        let asked = lines.contains("null, null, [3]");
        // No row of the last file asks at the first position, where one is masked.
        assert_eq!(rule.loss_positions().first(), Some(&usize::from(asked)));
    }
}

#[test]
fn sets_and_streams_keep_to_their_rows() {
    let arrays = Arrays::new(1000, (4, 2, 1));
    let lines: String = (0..arrays.n).map(|row| arrays.json(row) + "\n").collect();
    let beside = Beside::file("d.jsonl", lines);
    let task = beside.build("file = \"d.jsonl\"", "train_frac = 0.5").unwrap();
    let numbers = task.numbers.as_ref().unwrap();
    assert_eq!((task.n_examples(), task.d_vocab, task.d_vocab_out, task.n_ctx), (1000, 0, 1, 4));
    assert_eq!((&numbers.x_btn, numbers.y_bln.len()), (&arrays.x, 4000));
    let weights = task.weights_bl.as_ref().unwrap();
    assert!(weights.iter().zip(&arrays.y).all(|(&weight, y)| weight == f64::from(u8::from(!y.is_nan()))));
    let rule = beside.rule("file = \"d.jsonl\", test_frac = 0.25");
    let (mut rng, mut drawn, mut tested) = (Rng::stream(7, "rows"), [0; 1000], [0; 1000]);
    for _ in 0..20_000 {
        let mut operands = vec![];
        rule.draw(&mut rng, &mut operands);
        rule.draw_test(&mut rng, &mut operands);
        drawn[operands[0] as usize] += 1;
        tested[operands[1] as usize] += 1;
    }
    assert!((0..1000).all(|row| (drawn[row] > 0) == (row < 750) && (tested[row] > 0) == (row >= 750)));
}

#[test]
fn a_row_that_can_no_longer_be_read_is_none() {
    let beside = Beside::file("d.csv", "1,2\n3,4\n5,6\n");
    let rule = beside.rule("file = \"d.csv\", targets = 1");
    let readable = |row: u32| rule.write(&[row], &mut Example::default());
    assert!(readable(0) && readable(1) && readable(2));
    std::fs::write(beside.0.path().join("d.csv"), "1,2\n3,\"\n5,").unwrap();
    assert_eq!([readable(0), readable(1), readable(2)], [true, false, false]);
}

#[test]
fn faults_of_json_name_their_line() {
    let good = "{\"x\": [[1, 2], [3, 4]], \"y\": [[1], [2]]}\n";
    for (line, message) in [
        ("{\"x\": [1, 2]}", "line 2, column 13: the row has no `y`"),
        ("{\"y\": [1]}", "line 2, column 10: the row has no `x`"),
        ("{\"x\": [1], \"y\": 1, \"z\": 1}", "line 2, column 22: unknown key `z`; known here: x, y, mask"),
        ("{\"x\": [1], \"x\": [1]}", "line 2, column 14: `x` stands twice"),
        ("[1, 2]", "line 2, column 1: invalid type: sequence, expected a map with `x` and `y`, as the first row is"),
        ("{\"x\": [1, 2], \"y\": 1", "line 2, column 20: this is no JSON: EOF while parsing an object"),
        ("{\"x\": [1, 1e999], \"y\": 1}", "line 2, column 15: this is no JSON: number out of range"),
        ("", "line 2: the row is empty; give it numbers, or remove it"),
        (
            "{\"x\": 1, \"y\": 1}",
            "line 2, column 7: invalid type: floating point `1.0`, expected a list of numbers or of lists",
        ),
        (
            "{\"x\": [1, null], \"y\": 1}",
            "line 2, column 14: invalid type: null, expected a number or a list of numbers",
        ),
        ("{\"x\": [1, \"a\"], \"y\": 1}", "invalid type: string \"a\", expected a number or a list of numbers"),
        (
            "{\"x\": [1], \"y\": \"a\"}",
            "invalid type: string \"a\", expected a number, null, or a list of numbers or of lists",
        ),
        ("{\"x\": [[1, [2]]], \"y\": 1}", "line 2, column 11: invalid type: sequence, expected f64"),
        ("{\"x\": [[1], 2], \"y\": 1}", "numbers stand beside lists; give a list at each position"),
        ("{\"x\": [[1], []], \"y\": 1}", "a list is empty; give it numbers"),
        ("{\"x\": [], \"y\": 1}", "line 2: the row is empty; give it numbers, or remove it"),
        (
            "{\"x\": [[1, 2], [3, 4]], \"y\": [1, 2]}",
            "line 2: y has length 1 and x 2; give one list of numbers for each position",
        ),
        ("{\"x\": [[1, 2], [3]], \"y\": [[1], [2]]}", "line 2: x has 2 numbers at one position and 1 at another"),
        ("{\"x\": [[1], [3]], \"y\": [[1, 1], [2]]}", "line 2: y has 2 numbers at one position and 1 at another"),
        (
            "{\"x\": [[1], [3]], \"y\": [[1, 1], [null, 1]]}",
            "line 2: y has numbers and gaps at position 2; a position is asked for all or for none",
        ),
        (
            "{\"x\": [[1, 2], [3, 4]], \"y\": [null, [null]]}",
            "line 2: nothing is asked of the row; give it numbers in y, or remove it",
        ),
        ("{\"x\": [1], \"y\": null}", "line 2: nothing is asked of the row; give it numbers in y, or remove it"),
        (
            "{\"x\": [1], \"y\": 1, \"mask\": [0]}",
            "line 2: nothing is asked of the row; give it numbers in y, or remove it",
        ),
        (
            "{\"x\": [1], \"y\": 1, \"mask\": [1, 1]}",
            "line 2: mask has length 2 and x 1; give one entry for each position",
        ),
        ("{\"x\": [1], \"y\": 1, \"mask\": [2]}", "line 2: mask has the entry 2; it must be 0 (not asked) or 1"),
        (
            "{\"x\": [[1, 2]], \"y\": [[1]]}",
            "line 2: the row has x [1, 2] and y [1, 1], rows before it x [2, 2] and y [2, 1]; numbers are not padded, so \
             give all rows the same sizes",
        ),
        (
            "{\"x\": [[1, 2, 3], [3, 4, 5]], \"y\": [[1], [2]]}",
            "line 2: the row has x [2, 3] and y [2, 1], rows before it x [2, 2] and y [2, 1]; numbers are not padded, so \
             give all rows the same sizes",
        ),
    ] {
        let found = Beside::file("d.jsonl", format!("{good}{line}\n{good}")).faults("file = \"d.jsonl\"");
        assert!(found.len() == 1 && found[0].contains("params.file: d.jsonl, line 2"), "{line}: {found:?}");
        assert!(found[0].ends_with(message), "{line}: {found:?}");
    }
    let long = format!("{{\"x\": [[0]{}], \"y\": [null{}, [1]]}}", ", [0]".repeat(4096), ", null".repeat(4095));
    let found = Beside::file("d.jsonl", long).faults("file = \"d.jsonl\"");
    assert!(
        found[0].ends_with("the row has 4097 positions and 4098 numbers; it may have 4096 and 1048576"),
        "{found:?}"
    );
    // The first row tells what a file holds, even where it is broken.
    let found = Beside::file("d.jsonl", format!("{{\"x\": [1\n{good}")).faults("file = \"d.jsonl\"");
    assert_eq!(found, ["line 3: params.file: d.jsonl, line 1, column 8: this is no JSON: EOF while parsing a list"]);
    let found = Beside::file("d.jsonl", format!("[1, 2]\n{good}")).faults("file = \"d.jsonl\"");
    assert!(found[0].ends_with("line 2, column 4: unknown key `x`; known here: tokens, targets, mask"), "{found:?}");
}

#[test]
fn faults_of_csv_name_their_line() {
    for (line, message) in [
        ("1,2,x", ", field 3: `x` is no number; correct it (or set header = true where it is a column's name)"),
        ("1,inf,2", ", field 2: `inf` is not finite; leave a field of y empty where nothing is asked"),
        ("1,2,nan", ", field 3: `nan` is not finite; leave a field of y empty where nothing is asked"),
        (",2,3", ", field 1: there is nothing between the commas; every number of x must be written"),
        ("1,,3", ": y has numbers and gaps at position 1; a position is asked for all or for none"),
        ("1,,", ": nothing is asked of the row; give it numbers in y, or remove it"),
        ("1,2", ": the line has 2 fields, of which the last 2 are y; x needs one or more"),
        ("1,\"2,3", ", field 2: a quote is not closed on its line; add one, or remove it"),
        ("", ": the row is empty; give it numbers, or remove it"),
        (
            "1,2,3,4",
            ": the row has x [1, 2] and y [1, 2], rows before it x [1, 1] and y [1, 2]; numbers are not padded, so give \
             all rows the same sizes",
        ),
    ] {
        let found = Beside::file("d.csv", format!("1,2,3\n{line}\n4,5,6\n")).faults("file = \"d.csv\", targets = 2");
        assert_eq!(found, [format!("line 3: params.file: d.csv, line 2{message}")], "{line}");
    }
}

#[test]
fn faults_name_their_key() {
    for (params, message) in [
        ("rows = [{ x = [1], y = 1 }], vocab = [\"a\"]", "params.vocab: numbers have no vocabulary; remove it"),
        (
            "rows = [{ x = [1], y = 1 }], ask = \"next\"",
            "params.ask: y says what is asked of rows of numbers; remove it",
        ),
        (
            "rows = [{ x = [1], y = 1 }], targets = 1",
            "params.targets: only in a .csv file columns are counted; remove it and name x and y",
        ),
        ("file = \"d.csv\", targets = 0", "params.targets: 0 is out of range; it must be 1 to 65536"),
        ("rows = [{ x = [1], y = 1 }]", "params.test_frac: 0.1 of 1 rows leaves none to train on; lower it"),
        ("rows = [{ x = [inf], y = 1 }]", "params.rows[0]: x has inf at position 1; every number must be finite"),
        ("rows = [{ x = [nan], y = 1 }]", "params.rows[0]: x has NaN at position 1; every number must be finite"),
        ("rows = [{ x = [1], y = -inf }]", "params.rows[0]: y has inf at position 1; every number must be finite"),
        (
            "rows = [{ x = [1], y = 1 }, { x = [1, 2], y = 1 }]",
            "params.rows[1]: the row has x [1, 2] and y [1, 1], rows before it x [1, 1] and y [1, 1]; numbers are not \
             padded, so give all rows the same sizes",
        ),
        ("rows = [{ x = [1], y = 1 }, { x = [1] }]", "params.rows[1]: the row has no `y`"),
    ] {
        let found = faults("table", params);
        assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
    }
}
