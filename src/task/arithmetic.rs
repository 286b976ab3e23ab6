//! The `arithmetic` family: sums, differences and products of two numbers, digit by digit.
//!
//! Operands are the digits of the first number, then of the second. An example is `1 2 3 + 4 5 6 = 0 5 7`, the answers being the next token
//! from `=` on; numbers without leading zeros are followed by `END` and padding. Source: addition as in Nanda et al. 2023 (arXiv 2301.05217).

use serde::Deserialize;

use super::list_map::every_list;
use super::rule::{Drawn, Example, IGNORED, Rule, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Digits of an operand, at most; a product has twice as many.
const MAX_DIGITS: usize = 32;

const DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

const EXPLAIN: &str = "\
What it is
  Two numbers in digits, and their sum, difference or product: 1 2 3 + 4 5 6 = 0 5 7 9. The model reads all but the
  last token and is asked for the next one from = on.
Reads
  params.op: add (written +), subtract (-) or multiply (*). params.digits: of each number; 1 to 32, for multiply 1 to
  16. params.base: 2 to 36; 10 when unset. params.order: most_significant_first or least_significant_first, the order
  in which the digits of both numbers and of the answer are written; most_significant_first when unset.
  params.answer_order: the order of the answer alone; params.order when unset.
  params.padded: whether numbers have leading zeros, so that all are as long; true when unset. If false, they have
  none, and END, which is asked for too, and PAD follow the answer. Leading are the zeros of the greatest places: they
  stand last in a number that is written least_significant_first.
  params.carry_balance (add, subtract): whether long chains of carries or borrows are made common, as said below;
  false when unset.
Unit and range
  Tokens are the digits 0 to 9, a to z as far as the base goes, then the sign of the operation, =, for padded
  differences +, for numbers without leading zeros END and PAD.
  A padded sum has one digit more than either number, a padded product twice as many. A difference has a sign, which
  stands before its digits in either order: + or - if padded (+ for 0), else - or nothing.
  Operands are the digits of the first number, then of the second, each with leading zeros and the most significant
  digit first, however they are written. Both numbers are uniform: each digit is. With carry_balance the first number
  is uniform, and each digit of the second is, with probability 1/2 and independently, the one with which its place
  hands a carry or borrow on if it is given one: base - 1 minus the first number's digit for add, equal to it for
  subtract; else it is uniform.
  Labels in measures: carries, the places of a sum whose digits, with the carry from the place before, reach the base;
  borrows, the places of the greater number whose digit is less than what is taken from it. None for multiply.
  A finite set without split.examples holds every pair of numbers, where there are at most 100,000.
Value at a known point
  9 9 9 + 0 0 1 = 1 0 0 0 has 3 carries, 1 2 3 + 4 5 6 = 0 5 7 9 has none. 1 2 3 - 4 5 6 = - 3 3 3.
Source
  Sums of two numbers of five digits: Nanda et al. 2023 (arXiv 2301.05217). Differences too: Quirke et al. 2024 (arXiv
  2402.02619). Answers written least significant digit first: Lee et al. 2023 (arXiv 2307.03381).
";

/// What is asked of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Add,
    Subtract,
    Multiply,
}

/// In which order the digits of a number are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    MostSignificantFirst,
    LeastSignificantFirst,
}

/// `[params]`: numbers to add, subtract or multiply.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arithmetic {
    op: Option<Op>,
    digits: usize,
    base: usize,
    order: Order,
    answer_order: Option<Order>,
    padded: bool,
    carry_balance: bool,
}

impl Default for Arithmetic {
    fn default() -> Arithmetic {
        let (op, order, answer_order) = (None, Order::default(), None);
        Arithmetic { op, digits: 0, base: 10, order, answer_order, padded: true, carry_balance: false }
    }
}

/// The digits of a number, least significant first.
type Places = [u32; 2 * MAX_DIGITS];

impl Arithmetic {
    fn op(&self) -> Op {
        self.op.expect("invariant: a rule that is ready has an op")
    }

    /// Tokens of the longest answer, without `END`.
    fn answer_length(&self) -> usize {
        self.answer_digits() + usize::from(self.op() == Op::Subtract)
    }

    fn answer_digits(&self) -> usize {
        match self.op() {
            Op::Add => self.digits + 1,
            Op::Subtract => self.digits,
            Op::Multiply => 2 * self.digits,
        }
    }

    /// Both numbers, the greater one first where they are subtracted, and whether that exchanged them.
    fn numbers(&self, operands: &[u32]) -> (Places, Places, bool) {
        let places = |number: &[u32]| {
            let mut places = [0; 2 * MAX_DIGITS];
            places.iter_mut().zip(number.iter().rev()).for_each(|(place, &digit)| *place = digit);
            places
        };
        let (a, b) = operands.split_at(self.digits);
        let negative = self.op() == Op::Subtract && a < b;
        if negative { (places(b), places(a), true) } else { (places(a), places(b), false) }
    }

    /// The answer's digits, without its sign, and how many carries or borrows it takes.
    fn answer(&self, a: &Places, b: &Places) -> (Places, u32) {
        let (n, base) = (self.digits, self.base as u32);
        let (mut answer, mut carries) = ([0; 2 * MAX_DIGITS], 0);
        match self.op() {
            Op::Add => {
                for i in 0..n {
                    let sum = answer[i] + a[i] + b[i];
                    (answer[i], answer[i + 1]) = (sum % base, sum / base);
                    carries += answer[i + 1];
                }
            }
            Op::Subtract => {
                let mut borrow = 0;
                for i in 0..n {
                    let taken = b[i] + borrow;
                    borrow = u32::from(a[i] < taken);
                    answer[i] = a[i] + borrow * base - taken;
                    carries += borrow;
                }
            }
            Op::Multiply => {
                for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    answer[i + j] += a[i] * b[j];
                }
                for i in 0..2 * n - 1 {
                    answer[i + 1] += answer[i] / base;
                    answer[i] %= base;
                }
            }
        }
        (answer, carries)
    }

    fn push(&self, places: &[u32], order: Order, tokens: &mut Vec<u32>) {
        let length = match self.padded {
            true => places.len(),
            false => places.iter().rposition(|&digit| digit != 0).map_or(1, |top| top + 1),
        };
        match order {
            Order::MostSignificantFirst => tokens.extend(places[..length].iter().rev()),
            Order::LeastSignificantFirst => tokens.extend(&places[..length]),
        }
    }
}

impl Drawn for Arithmetic {
    const NAME: &'static str = "arithmetic";
    const SUMMARY: &'static str = "sums, differences and products in digits: 1 2 3 + 4 5 6 = 0 5 7 9";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(self) -> Result<Arithmetic, Vec<Fault>> {
        let is_product = self.op == Some(Op::Multiply);
        let max_digits = if is_product { MAX_DIGITS / 2 } else { MAX_DIGITS };
        let unread = || fault("carry_balance", "multiply does not read it; remove it");
        let found = [
            self.op.is_none().then(|| fault("op", "missing; add, subtract or multiply")),
            outside("digits", self.digits, 1..=max_digits),
            outside("base", self.base, 2..=DIGITS.len()),
            (is_product && self.carry_balance).then(unread),
        ];
        let faults: Vec<Fault> = found.into_iter().flatten().collect();
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

impl Rule for Arithmetic {
    fn words(&self) -> Vec<String> {
        let signs: &[&str] = match (self.op(), self.padded) {
            (Op::Add, true) => &["+", "="],
            (Op::Subtract, true) => &["-", "=", "+"],
            (Op::Multiply, true) => &["*", "="],
            (Op::Add, false) => &["+", "=", "END", "PAD"],
            (Op::Subtract, false) => &["-", "=", "END", "PAD"],
            (Op::Multiply, false) => &["*", "=", "END", "PAD"],
        };
        let digits = DIGITS[..self.base].chars().map(String::from);
        digits.chain(signs.iter().map(|&sign| sign.to_owned())).collect()
    }

    /// The last answer, `END` where numbers are not padded, is not read.
    fn n_ctx(&self) -> usize {
        2 * self.digits + 1 + self.answer_length() + usize::from(!self.padded)
    }

    fn loss_positions(&self) -> Vec<usize> {
        let shortest = if self.padded { self.digits } else { 1 };
        (2 * shortest + 1..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let (n, base) = (self.digits, self.base as u32);
        operands.extend((0..n).map(|_| rng.below(base)));
        for i in 0..n {
            let digit = match self.op() {
                _ if !self.carry_balance || rng.below(2) == 0 => rng.below(base),
                Op::Add => base - 1 - operands[i],
                _ => operands[i],
            };
            operands.push(digit);
        }
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        every_list(self.base, 2 * self.digits)
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (n, base) = (self.digits, self.base as u32);
        if operands.len() != 2 * n || operands.iter().any(|&digit| digit >= base) {
            return false;
        }
        let [sign, equals, plus, end, pad] = [base, base + 1, base + 2, base + 2, base + 3];
        let (greater, lesser, negative) = self.numbers(operands);
        let (answer, _) = self.answer(&greater, &lesser);
        let (a, b) = if negative { (&lesser, &greater) } else { (&greater, &lesser) };
        let tokens = &mut to.tokens;
        self.push(&a[..n], self.order, tokens);
        tokens.push(sign);
        self.push(&b[..n], self.order, tokens);
        tokens.push(equals);
        let first = tokens.len() - 1;
        match (negative, self.op() == Op::Subtract && self.padded) {
            (true, _) => tokens.push(sign),
            (false, true) => tokens.push(plus),
            (false, false) => {}
        }
        self.push(&answer[..self.answer_digits()], self.answer_order.unwrap_or(self.order), tokens);
        if !self.padded {
            tokens.push(end);
        }
        // The answer at a position is the token after it.
        let (asked, begin) = (first..tokens.len() - 1, if self.padded { first } else { 3 });
        to.targets.extend((begin..self.n_ctx()).map(|t| if asked.contains(&t) { tokens[t + 1] } else { IGNORED }));
        tokens.pop();
        tokens.resize(self.n_ctx(), pad);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        match self.op() {
            Op::Add => Some("carries"),
            Op::Subtract => Some("borrows"),
            Op::Multiply => None,
        }
    }

    fn label(&self, operands: &[u32]) -> u32 {
        let (greater, lesser, _) = self.numbers(operands);
        self.answer(&greater, &lesser).1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{Drawing, drawing, faults, rule, samples};

    /// What is written: both numbers and the answer, as the text of their digits, most significant first, and the operation.
    struct Written {
        numbers: [String; 3],
        op: String,
        negative: bool,
    }

    fn read(d: &Drawing, params: &str) -> Written {
        let equals = d.words.iter().position(|word| word == "=").unwrap();
        let op = d.words[..equals].iter().position(|word| "+-*".contains(word.as_str())).unwrap();
        let asked: Vec<String> = d.answers.iter().filter(|answer| !answer.is_empty()).cloned().collect();
        let read_on: Vec<&String> = d.words[equals + 1..].iter().filter(|&word| word != "PAD").collect();
        assert!(read_on.into_iter().eq(&asked[..asked.len() - 1]), "{params}: {:?} {asked:?}", d.words);
        let signed = if params.contains("padded = false") {
            assert_eq!(asked.last().unwrap(), "END");
            &asked[..asked.len() - 1]
        } else {
            assert_eq!(asked.len(), d.answers.len());
            &asked[..]
        };
        let (sign, answer) = signed.split_at(usize::from("+-".contains(&signed[0])));
        let reversed = |key: &str| params.contains(&format!("{key} = \"least"));
        let text = |digits: &[String], reverse: bool| -> String {
            if reverse { digits.iter().rev().cloned().collect() } else { digits.concat() }
        };
        let (order, answer_order) = (reversed(", order"), reversed("answer_order") || reversed(", order"));
        let numbers = [text(&d.words[..op], order), text(&d.words[op + 1..equals], order), text(answer, answer_order)];
        Written { numbers, op: d.words[op].clone(), negative: sign == ["-"] }
    }

    const PARAMS: [(&str, u32, usize); 12] = [
        ("op = \"add\", digits = 3", 10, 3),
        ("op = \"add\", digits = 12, base = 36, carry_balance = true", 36, 12),
        ("op = \"add\", digits = 32, base = 2, order = \"least_significant_first\"", 2, 32),
        ("op = \"add\", digits = 5, answer_order = \"least_significant_first\", carry_balance = true", 10, 5),
        ("op = \"add\", digits = 3, padded = false", 10, 3),
        ("op = \"subtract\", digits = 5", 10, 5),
        ("op = \"subtract\", digits = 12, base = 7, order = \"least_significant_first\", carry_balance = true", 7, 12),
        ("op = \"subtract\", digits = 2, base = 3, padded = false, carry_balance = true", 3, 2),
        ("op = \"multiply\", digits = 2", 10, 2),
        ("op = \"multiply\", digits = 16", 10, 16),
        ("op = \"multiply\", digits = 6, base = 36, answer_order = \"least_significant_first\"", 36, 6),
        ("op = \"multiply\", digits = 1, base = 2, padded = false, order = \"least_significant_first\"", 2, 1),
    ];

    /// The integers of the language, read from text, agree; so does the number of carries by Legendre's formula, from sums of digits.
    #[test]
    fn ten_thousand_answers_are_right() {
        for (params, base, n) in PARAMS {
            let rule = rule("arithmetic", params);
            samples(&*rule, 10_000, |d| {
                let w = read(d, params);
                let [a, b, answer] = [0, 1, 2].map(|i| i128::from_str_radix(&w.numbers[i], base).unwrap());
                let found = if w.negative { -answer } else { answer };
                let right = match w.op.as_str() {
                    "+" => a + b,
                    "-" => a - b,
                    _ => a * b,
                };
                assert_eq!((found, w.negative), (right, right < 0), "{params}: {:?}", d.words);
                let digits = |number: i128| -> String {
                    let text: Vec<char> = (0..40)
                        .scan(number, |rest, _| {
                            let digit = char::from_digit((*rest % i128::from(base)) as u32, base).unwrap();
                            *rest /= i128::from(base);
                            Some(digit)
                        })
                        .collect();
                    text.into_iter().rev().collect()
                };
                let stated: String = d.operands.iter().map(|&x| char::from_digit(x, base).unwrap()).collect();
                assert_eq!(stated, [a, b].map(|x| digits(x)[40 - n..].to_owned()).concat());
                for (i, number) in w.numbers.iter().enumerate() {
                    let long = if i < 2 { n } else { n + usize::from(w.op == "+") + if w.op == "*" { n } else { 0 } };
                    match params.contains("padded = false") {
                        true => assert!(number == "0" || !number.starts_with('0'), "{params}: {:?}", w.numbers),
                        false => assert_eq!(number.len(), long, "{params}: {:?}", w.numbers),
                    }
                }
                let digit_sum = |number: i128| digits(number).chars().map(|c| c.to_digit(base).unwrap()).sum::<u32>();
                let (summands, sum) = if w.op == "+" { ([a, b], a + b) } else { ([a.min(b), answer], a.max(b)) };
                if w.op != "*" {
                    let carries = (summands.map(digit_sum).iter().sum::<u32>() - digit_sum(sum)) / (base - 1);
                    assert_eq!(rule.label(&d.operands), carries, "{params}: {:?}", d.words);
                }
            });
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, operands, words, answers) in [
            ("op = \"add\", digits = 3", &[1, 2, 3, 4, 5, 6][..], "1 2 3 + 4 5 6 = 0 5 7", "0 5 7 9"),
            (
                "op = \"add\", digits = 2, order = \"least_significant_first\"",
                &[1, 2, 9, 9],
                "2 1 + 9 9 = 1 1",
                "1 1 1",
            ),
            (
                "op = \"add\", digits = 2, answer_order = \"least_significant_first\"",
                &[1, 2, 3, 4],
                "1 2 + 3 4 = 6 4",
                "6 4 0",
            ),
            ("op = \"add\", digits = 2, padded = false", &[0, 5, 1, 2], "5 + 1 2 = 1 7 PAD PAD", " 1 7 END  "),
            ("op = \"add\", digits = 2, padded = false", &[0, 0, 0, 0], "0 + 0 = 0 PAD PAD PAD PAD", "0 END    "),
            ("op = \"add\", digits = 2, padded = false", &[9, 9, 1, 0], "9 9 + 1 0 = 1 0 9", "  1 0 9 END"),
            ("op = \"subtract\", digits = 3", &[1, 2, 3, 4, 5, 6], "1 2 3 - 4 5 6 = - 3 3", "- 3 3 3"),
            ("op = \"subtract\", digits = 2", &[4, 2, 4, 2], "4 2 - 4 2 = + 0", "+ 0 0"),
            ("op = \"subtract\", digits = 2, padded = false", &[1, 2, 4, 1], "1 2 - 4 1 = - 2 9", "  - 2 9 END"),
            (
                "op = \"subtract\", digits = 2, order = \"least_significant_first\"",
                &[1, 2, 9, 0],
                "2 1 - 0 9 = - 8",
                "- 8 7",
            ),
            ("op = \"multiply\", digits = 2", &[1, 2, 3, 4], "1 2 * 3 4 = 0 4 0", "0 4 0 8"),
            ("op = \"add\", digits = 1, base = 36", &[35, 35], "z + z = 1", "1 y"),
        ] {
            let rule = rule("arithmetic", params);
            let d = drawing(&*rule, operands);
            assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), (words, answers), "{params}");
            for wrong in [&operands[1..], &[operands, &[0]].concat(), &[&operands[1..], &[36]].concat(), &[]] {
                assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
            }
        }
        let add = rule("arithmetic", "op = \"add\", digits = 3");
        assert_eq!(
            (add.label_name(), add.label(&[9, 9, 9, 0, 0, 1]), add.label(&[1, 2, 3, 4, 5, 6])),
            (Some("carries"), 3, 0)
        );
        assert_eq!(rule("arithmetic", "op = \"subtract\", digits = 1").label_name(), Some("borrows"));
        assert_eq!(rule("arithmetic", "op = \"multiply\", digits = 1").label_name(), None);
    }

    #[test]
    fn few_pairs_are_listed_and_drawn_as_often() {
        let rule_of = |params| rule("arithmetic", params);
        assert_eq!(rule_of("op = \"multiply\", digits = 2").all().unwrap().len(), 10_000);
        assert_eq!(rule_of("op = \"add\", digits = 3").all(), None);
        assert_eq!(rule_of("op = \"add\", digits = 1, base = 2").all().unwrap(), [[0, 0], [0, 1], [1, 0], [1, 1]]);
        let mut counts = [0; 81];
        samples(&*rule_of("op = \"subtract\", digits = 2, base = 3"), 81_000, |d| {
            counts[d.operands.iter().fold(0, |code, &digit| 3 * code + digit as usize)] += 1;
        });
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    /// Half of the places are set to hand a carry on, and a tenth of the others does by chance.
    #[test]
    fn balanced_draws_have_long_chains() {
        for (op, hands_on) in [("add", (|a, b| a + b == 9) as fn(u32, u32) -> bool), ("subtract", |a, b| a == b)] {
            let (mut places, mut firsts) = ([0; 4], [0; 10]);
            samples(&*rule("arithmetic", &format!("op = \"{op}\", digits = 4, carry_balance = true")), 10_000, |d| {
                (0..4).for_each(|i| places[i] += u32::from(hands_on(d.operands[i], d.operands[i + 4])));
                firsts[d.operands[0] as usize] += 1;
            });
            assert!(places.iter().all(|count| (5300..5700).contains(count)), "{op}: {places:?}");
            assert!(firsts.iter().all(|count| (850..1150).contains(count)), "{op}: {firsts:?}");
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("digits = 3", "params.op: missing; add, subtract or multiply"),
            ("op = \"add\"", "params.digits: 0 is out of range; it must be 1 to 32"),
            ("op = \"subtract\", digits = 33", "params.digits: 33 is out of range; it must be 1 to 32"),
            ("op = \"multiply\", digits = 17", "params.digits: 17 is out of range; it must be 1 to 16"),
            ("op = \"add\", digits = 3, base = 1", "params.base: 1 is out of range; it must be 2 to 36"),
            ("op = \"add\", digits = 3, base = 37", "params.base: 37 is out of range; it must be 2 to 36"),
            (
                "op = \"multiply\", digits = 2, carry_balance = true",
                "params.carry_balance: multiply does not read it; remove it",
            ),
        ] {
            let found = faults("arithmetic", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("arithmetic", "base = 1, digits = 0").len(), 3);
    }
}
