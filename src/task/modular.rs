//! The `modular` family: one operation on two operands mod p, or several that a token tells apart.
//!
//! Reads `params.op` or `params.ops`, `params.p` and `layout.tokens` of a card; writes, operation after operation, every pair of operands
//! that has an answer, `a` major and `b` minor, as `tokens_bt [N, n_ctx]` and the answers as `targets_bl [N, 1]`. N is p² an operation,
//! p(p − 1) for division. Sources: Power et al. 2022 (arXiv 2201.02177), Nanda et al. 2023 (arXiv 2301.05217).

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::card::fault;
use super::layout::Layout;
use super::{Card, Op, Operation, Task, TaskFamily, possible_tokens};
use crate::error::{Fault, Result};
use crate::spec::DataSpec;

/// Above this the pairs no longer fit a full batch of any use: a million examples.
const P_RANGE: RangeInclusive<u32> = 2..=1024;

/// Operations of one task at most.
const MAX_OPS: usize = 16;

const EXPLAIN: &str = "\
What it is
  Every pair of numbers a, b below p, and the answer of one operation mod p. With part of the pairs for training,
  small networks memorise them first and generalise much later (grokking). Several operations make one task in which
  a token tells each example's operation.
Reads
  params.op: x+y, x-y, x*y, x/y, or an expression in x, y and p with + - * / ^ and whole numbers, written as in
  papers: x^2+xy+y^2, x^3 + 2xy. One of two by parity: `x/y if y odd else x-y`. params.ops: a list of such operations
  instead of op. params.p: the modulus, 2 to 1024; a prime where something is divided.
  layout.tokens: `a b =`, `a op b =` or `op a b =`; several operations need one of the last two. A number is its own
  token, then comes a token for each operation that the layout writes, `=` is the last; the answer is read at `=`.
  A worked row's `in` is [a, b], and [i, a, b] for operation number i of several, counted from 0.
Unit and range
  Answers 0 to p - 1; p^2 examples an operation, less those that divide by 0; operations one after another,
  a major and b minor.
Value at a known point
  mod_add_113: 5 + 110 = 2; 12,769 examples; the loss of equal logits is ln 113 = 4.727 nats.
  Measures of logits as waves of a + b or a - b fit tasks of that one operation alone; Fourier measures of the
  embedding fit all, and see the numbers' tokens only.
Source
  Power et al. 2022 (arXiv 2201.02177); Nanda et al. 2023 (arXiv 2301.05217).
";

/// The family; its examples are [`Task`]s with [`Task::modular`] set.
#[derive(Debug)]
pub struct Family;

/// What a modular task computes, and the operands of its examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Modular {
    /// The modulus.
    pub p: u32,
    /// The operations: one, or several that a token tells apart.
    pub ops: Vec<Operation>,
    /// `[N]` the operands of each example.
    pub pairs: Vec<[u32; 2]>,
    /// `[N]` the place in `ops` of each example's operation.
    pub op_of: Vec<u32>,
    /// Positions of the two operands in an example.
    pub positions: [usize; 2],
}

impl Modular {
    /// The operation, if it is the only one and has a name.
    pub fn op(&self) -> Option<Op> {
        match &self.ops[..] {
            [only] => only.named(),
            _ => None,
        }
    }

    /// The operation of an example.
    fn operation(&self, example: usize) -> &Operation {
        &self.ops[self.op_of[example] as usize]
    }
}

/// `[params]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    op: Option<String>,
    ops: Option<Vec<String>>,
    p: Option<u32>,
}

impl Params {
    fn faults(&self) -> Vec<Fault> {
        self.read().err().unwrap_or_default()
    }

    /// Modulus and operations, or all that is wrong.
    fn read(&self) -> Result<(u32, Vec<Operation>), Vec<Fault>> {
        let (least, most) = P_RANGE.into_inner();
        let mut faults = vec![];
        let mut wrong = |key: &str, message: String| faults.push(fault(key, message));
        match self.p {
            None => wrong("p", format!("missing; the modulus, {least} to {most}")),
            Some(p) if !P_RANGE.contains(&p) => {
                wrong("p", format!("{p} is out of range; it must be {least} to {most}"));
            }
            Some(_) => {}
        }
        let named: Vec<(String, &String)> = match (&self.op, &self.ops) {
            (Some(op), None) => vec![("op".into(), op)],
            (None, Some(ops)) => ops.iter().enumerate().map(|(i, op)| (format!("ops[{i}]"), op)).collect(),
            (None, None) => {
                wrong("op", format!("missing; {}, or an expression like `x^2+xy+y^2`", op_names()));
                vec![]
            }
            (Some(_), Some(_)) => {
                wrong("ops", "stands beside op; keep one of them".into());
                vec![]
            }
        };
        if self.ops.is_some() && !(2..=MAX_OPS).contains(&named.len()) && self.op.is_none() {
            wrong("ops", format!("{} operations; give 2 to {MAX_OPS}, or a single one as op", named.len()));
        }
        let p = self.p.filter(|p| P_RANGE.contains(p));
        let mut ops: Vec<Operation> = vec![];
        for (key, text) in named {
            // Read mod a prime first: what is wrong there is the operation's fault, and what only p makes wrong is p's,
            // or that of the one operation of several that cannot be had mod p.
            let key = key.as_str();
            let of_p = if self.ops.is_some() { key } else { "p" };
            let operation = Operation::parse(text, 2).map_err(|message| (key, message));
            let operation = operation.and_then(|operation| match p {
                Some(p) => Operation::parse(text, p).map_err(|message| (of_p, message)),
                None => Ok(operation),
            });
            match operation {
                Ok(operation) if ops.contains(&operation) => wrong(key, format!("`{text}` stands twice")),
                Ok(operation) => ops.push(operation),
                Err((key, message)) => wrong(key, message),
            }
        }
        match p {
            Some(p) if faults.is_empty() => Ok((p, ops)),
            _ => Err(faults),
        }
    }
}

fn op_names() -> String {
    Op::ALL.iter().map(|op| op.name()).collect::<Vec<_>>().join(", ")
}

/// The family's part of a card, or all that is wrong with it.
fn read(card: &Card) -> Result<(Modular, Layout), Vec<Fault>> {
    let in_params = |fault: Fault| Fault { key: format!("params.{}", fault.key), ..fault };
    let params = card
        .params(Params::faults)
        .and_then(|params: Params| params.read().map_err(|faults| faults.into_iter().map(in_params).collect()));
    let layout = Layout::read(card, Layout::ALL);
    let ((p, ops), layout) = match (params, layout) {
        (Ok(params), Ok(layout)) => (params, layout),
        (params, layout) => return Err([params.err(), layout.err()].into_iter().flatten().flatten().collect()),
    };
    if ops.len() > 1 && !layout.has_op() {
        let message =
            format!("{} operations cannot be told apart in `a b =`; take `a op b =` or `op a b =`", ops.len());
        return Err(vec![fault("layout.tokens", message)]);
    }
    let positions = layout.operand_positions();
    let mut modular = Modular { p, ops, pairs: vec![], op_of: vec![], positions };
    for (i, op) in (0..).zip(&modular.ops) {
        let all = (0..p).flat_map(|a| (0..p).map(move |b| [a, b]));
        let before = modular.pairs.len();
        modular.pairs.extend(all.filter(|&pair| op.apply(pair, p).is_some()));
        modular.op_of.resize(modular.pairs.len(), i);
        if modular.pairs.len() == before {
            let message = format!("`{}` divides by 0 for every pair of operands", op.name());
            return Err(vec![fault(if modular.ops.len() == 1 { "params.op" } else { "params.ops" }, message)]);
        }
    }
    Ok((modular, layout))
}

impl TaskFamily for Family {
    fn name(&self) -> &'static str {
        "modular"
    }

    fn summary(&self) -> &'static str {
        "operations on two numbers mod p: x+y, x-y, x*y, x/y, any polynomial, several in one model; all pairs"
    }

    fn explain(&self) -> String {
        EXPLAIN.to_owned()
    }

    fn faults(&self, card: &Card) -> Vec<Fault> {
        read(card).err().unwrap_or_default()
    }

    fn build(&self, card: &Card, _: &DataSpec) -> Result<Task> {
        let (modular, layout) = read(card).map_err(|faults| card.fail(faults))?;
        let (p, n_ops, n_examples) = (modular.p, modular.ops.len(), modular.pairs.len());
        let (n_ctx, d_vocab) = (layout.n_ctx(), layout.d_vocab(p, n_ops));
        let mut tokens_bt = Vec::with_capacity(n_examples * n_ctx);
        let mut targets_bl = Vec::with_capacity(n_examples);
        for (example, (&pair, &op)) in modular.pairs.iter().zip(&modular.op_of).enumerate() {
            layout.push(pair, op, p, n_ops, &mut tokens_bt);
            let answer = modular.operation(example).apply(pair, p);
            targets_bl.push(answer.expect("invariant: only pairs with an answer are examples"));
        }
        Ok(Task {
            name: card.name.clone(),
            title: card.title.clone(),
            family: &Family,
            d_vocab,
            d_vocab_out: p as usize,
            n_ctx,
            loss_positions: vec![n_ctx - 1],
            possible_tokens: possible_tokens(&tokens_bt, n_ctx, d_vocab),
            tokens_bt,
            targets_bl,
            numbers: None,
            weights_bl: None,
            labels: None,
            operands: vec![],
            rule: None,
            stream: false,
            train_frac: card.split.train_frac.unwrap_or_default(),
            modular: Some(modular),
        })
    }

    fn find_example(&self, task: &Task, operands: &[u32]) -> Option<usize> {
        let modular = task.modular.as_ref()?;
        let (op, pair) = match *operands {
            [a, b] if modular.ops.len() == 1 => (0, [a, b]),
            [op, a, b] if modular.ops.len() > 1 => (op, [a, b]),
            _ => return None,
        };
        let examples = modular.op_of.iter().zip(&modular.pairs);
        examples.into_iter().position(|(&its_op, &its_pair)| (its_op, its_pair) == (op, pair))
    }

    fn write_example(&self, task: &Task, example: usize) -> String {
        let modular = task.modular.as_ref().expect("invariant: this family sets it");
        modular.operation(example).write(modular.pairs[example], task.targets_l(example)[0], modular.p)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn card(params: &str, layout: &str) -> Result<Card> {
        let text = format!(
            "title = \"t\"\nfamily = \"modular\"\nparams = {{ {params} }}\n\
             layout = {{ tokens = \"{layout}\" }}\nsplit = {{ train_frac = 0.5 }}\n"
        );
        Card::parse(std::path::Path::new("t.toml"), &text)
    }

    fn task(op: &str, p: u32) -> Task {
        card(&format!("op = \"{op}\", p = {p}"), "a b =").unwrap().build().unwrap()
    }

    #[test]
    fn every_pair_stands_once_in_order_and_is_found_again() {
        for (op, first_b) in [("x+y", 0), ("x-y", 0), ("x*y", 0), ("x/y", 1)] {
            let task = task(op, 7);
            let pairs: Vec<[u32; 2]> = (0..7).flat_map(|a| (first_b..7).map(move |b| [a, b])).collect();
            assert_eq!(task.n_examples(), pairs.len(), "{op}");
            assert_eq!(task.modular.as_ref().unwrap().op(), Op::from_name(op));
            for (example, &[a, b]) in pairs.iter().enumerate() {
                assert_eq!(task.tokens_t(example), [a, b, 7], "{op}");
                assert_eq!(Family.find_example(&task, &[a, b]), Some(example), "{op}");
                let text = Family.write_example(&task, example);
                let answer = task.targets_l(example)[0];
                assert_eq!(text, format!("{a} {} {b} = {answer} (mod 7)", &op[1..2]), "{op}");
            }
            assert_eq!(Family.find_example(&task, &[7, 1]), None);
            assert_eq!(Family.find_example(&task, &[1, 7]), None);
        }
        assert_eq!(Family.find_example(&task("x/y", 7), &[3, 0]), None);
    }

    #[test]
    fn sizes_and_possible_tokens() {
        let task = task("x/y", 7);
        assert_eq!((task.d_vocab, task.d_vocab_out, task.n_ctx), (8, 7, 3));
        assert_eq!(task.loss_positions, [2]);
        assert_eq!(task.possible_tokens, [(0..7).collect(), (1..7).collect(), vec![7]]);
    }

    /// The tables at the sizes in use, against arithmetic that shares nothing with them: what undoes an operation gives
    /// `a` back, and products are sums.
    #[test]
    fn answers_obey_the_opposite_operation() {
        let sum = |times: u32, term: u32, p: u32| (0..times).fold(0, |sum, _| (sum + term) % p);
        for p in [2, 53, 97, 113] {
            for op in Op::ALL {
                let holds = |a, b, c| match op {
                    Op::Add => (c + p - b) % p == a,
                    Op::Sub => (c + b) % p == a,
                    Op::Mul => sum(b, a, p) == c,
                    Op::Div => sum(b, c, p) == a,
                };
                let task = task(op.name(), p);
                for example in 0..task.n_examples() {
                    let (tokens, answer) = (task.tokens_t(example), task.targets_l(example)[0]);
                    let text = Family.write_example(&task, example);
                    assert!(answer < p && holds(tokens[0], tokens[1], answer), "{text}");
                }
            }
        }
    }

    #[test]
    fn pairs_without_an_answer_are_left_out() {
        let task = task("x/(x+y)", 7);
        let modular = task.modular.as_ref().unwrap();
        assert_eq!((task.n_examples(), modular.op()), (42, None));
        assert!(modular.pairs.iter().all(|[a, b]| (a + b) % 7 != 0));
        assert_eq!(Family.find_example(&task, &[3, 4]), None);
        assert_eq!(Family.write_example(&task, Family.find_example(&task, &[3, 5]).unwrap()), "3/(3 + 5) = 3 (mod 7)");
    }

    /// The tokens of two operations, by layout: numbers 0 to 6, operations 7 and 8, `=` 9.
    #[test]
    fn several_operations_have_a_token_each() {
        for (layout, at) in [("a op b =", [0, 2, 1]), ("op a b =", [1, 2, 0])] {
            let task = card("ops = [\"x+y\", \"x/y\"], p = 7", layout).unwrap().build().unwrap();
            let modular = task.modular.as_ref().unwrap();
            assert_eq!((task.n_examples(), task.d_vocab, task.d_vocab_out, task.n_ctx), (49 + 42, 10, 7, 4));
            assert_eq!((&task.loss_positions[..], modular.op()), (&[3][..], None));
            for example in 0..task.n_examples() {
                let (tokens, op) = (task.tokens_t(example), u32::from(example >= 49));
                let [a, b, sign] = at.map(|at| tokens[at]);
                assert_eq!(modular.positions.map(|at| tokens[at]), modular.pairs[example], "{layout}");
                assert_eq!((modular.pairs[example], modular.op_of[example]), ([a, b], op), "{layout}");
                assert_eq!((sign, tokens[3]), (7 + op, 9), "{layout}");
                assert_eq!(Family.find_example(&task, &[op, a, b]), Some(example), "{layout}");
                let answer = if op == 0 { (a + b) % 7 } else { Op::Div.apply(a, b, 7) };
                assert_eq!(task.targets_l(example), [answer]);
                let sign = ["+", "/"][op as usize];
                assert_eq!(Family.write_example(&task, example), format!("{a} {sign} {b} = {answer} (mod 7)"));
            }
            assert_eq!((Family.find_example(&task, &[1, 2]), Family.find_example(&task, &[2, 1, 1])), (None, None));
        }
        let one = card("op = \"x+y\", p = 7", "a op b =").unwrap().build().unwrap();
        assert_eq!((one.tokens_t(9), one.d_vocab), (&[1, 7, 2, 8][..], 9));
    }

    #[test]
    fn faults_of_operations_name_their_place() {
        for (params, layout, words) in [
            (
                "op = \"x+y\", ops = [\"x-y\", \"x+y\"], p = 7",
                "a op b =",
                "line 3: params.ops: stands beside op; keep one of them",
            ),
            (
                "ops = [\"x+y\"], p = 7",
                "a op b =",
                "line 3: params.ops: 1 operations; give 2 to 16, or a single one as op",
            ),
            ("ops = [\"x+y\", \"x + y\"], p = 7", "a op b =", "line 3: params.ops[1]: `x + y` stands twice"),
            (
                "ops = [\"x+y\", \"x+\"], p = 7",
                "a op b =",
                "line 3: params.ops[1]: column 3: found the end, expected a number, a name or `(`",
            ),
            (
                "ops = [\"x+y\", \"x-y\"], p = 7",
                "a b =",
                "line 4: layout.tokens: 2 operations cannot be told apart in `a b =`; take `a op b =` or `op a b =`",
            ),
            (
                "op = \"x/(y-y)\", p = 7",
                "a b =",
                "line 3: params.op: `x/(y - y)` divides by 0 for every pair of operands",
            ),
            ("p = 7", "a b =", "line 3: params.op: missing; x+y, x-y, x*y, x/y, or an expression like `x^2+xy+y^2`"),
        ] {
            assert_eq!(card(params, layout).unwrap_err().cause(), [words], "{params}");
        }
    }
}
