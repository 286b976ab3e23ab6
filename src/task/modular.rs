//! The `modular` family: one operation on two operands mod p.
//!
//! Reads `params.op`, `params.p` and `layout.tokens` of a card; writes every pair of operands, `a` major and `b` minor, as
//! `tokens_bt [N, 3]` and the answers as `targets_bl [N, 1]`. N is p², and p(p − 1) for division. Sources: Power et al. 2022
//! (arXiv 2201.02177), Nanda et al. 2023 (arXiv 2301.05217).

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::card::fault;
use super::op::smallest_factor;
use super::{Card, Op, Task, TaskFamily, possible_tokens};
use crate::error::{Fault, Result};

/// Above this the pairs no longer fit a full batch of any use: a million examples.
const P_RANGE: RangeInclusive<u32> = 2..=1024;

const EXPLAIN: &str = "\
What it is
  Every pair of numbers a, b below p, and the answer of one operation mod p. With part of the pairs for training,
  small networks memorise them first and generalise much later (grokking).
Reads
  params.op: x+y, x-y, x*y or x/y. params.p: the modulus, 2 to 1024; a prime for x/y, which leaves b = 0 out.
  layout.tokens: `a b =`, three positions; a number is its own token, `=` is token p; the answer is read at `=`.
Unit and range
  Tokens 0 to p, answers 0 to p - 1; p^2 examples (p(p - 1) for x/y), a major and b minor.
Value at a known point
  mod_add_113: 5 + 110 = 2; 12,769 examples; the loss of equal logits is ln 113 = 4.727 nats.
Source
  Power et al. 2022 (arXiv 2201.02177); Nanda et al. 2023 (arXiv 2301.05217).
";

/// The family; its examples are [`Task`]s with [`Task::modular`] set.
#[derive(Debug)]
pub struct Family;

/// What a modular task computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modular {
    /// The modulus.
    pub p: u32,
    /// The operation.
    pub op: Op,
}

impl Modular {
    /// How many second operands there are.
    fn width(self) -> u32 {
        self.p - self.op.first_b()
    }
}

/// How operands become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `a b =`: numbers are their own tokens, `=` is token p; the answer is read at `=`.
    TwoAndEquals,
}

impl Layout {
    const ALL: &[Layout] = &[Layout::TwoAndEquals];

    fn name(self) -> &'static str {
        match self {
            Layout::TwoAndEquals => "a b =",
        }
    }

    /// Numbers and signs.
    fn d_vocab(self, p: u32) -> usize {
        match self {
            Layout::TwoAndEquals => p as usize + 1,
        }
    }

    fn n_ctx(self) -> usize {
        match self {
            Layout::TwoAndEquals => 3,
        }
    }

    fn push(self, a: u32, b: u32, p: u32, tokens: &mut Vec<u32>) {
        match self {
            Layout::TwoAndEquals => tokens.extend([a, b, p]),
        }
    }
}

/// `[params]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    op: Option<String>,
    p: Option<u32>,
}

impl Params {
    fn faults(&self) -> Vec<Fault> {
        let (least, most) = P_RANGE.into_inner();
        let op = self.op.as_deref().map(Op::from_name);
        let mut faults = vec![];
        match &self.op {
            None => faults.push(fault("op", format!("missing; known: {}", op_names()))),
            Some(name) if op == Some(None) => {
                faults.push(fault("op", format!("there is no operation `{name}`; known: {}", op_names())));
            }
            Some(_) => {}
        }
        match self.p {
            None => faults.push(fault("p", format!("missing; the modulus, {least} to {most}"))),
            Some(p) if !P_RANGE.contains(&p) => {
                faults.push(fault("p", format!("{p} is out of range; it must be {least} to {most}")));
            }
            Some(p) if op.flatten().is_some_and(Op::needs_prime) && smallest_factor(p) < p => {
                let factor = smallest_factor(p);
                let message = format!(
                    "{p} = {factor} · {} is not a prime, so 1 / {factor} does not exist; take a prime p, or another operation",
                    p / factor
                );
                faults.push(fault("p", message));
            }
            Some(_) => {}
        }
        faults
    }
}

fn op_names() -> String {
    Op::ALL.iter().map(|op| op.name()).collect::<Vec<_>>().join(", ")
}

/// The family's part of a card, or all that is wrong with it.
fn read(card: &Card) -> Result<(Modular, Layout), Vec<Fault>> {
    let modular = card.params(Params::faults).and_then(|params: Params| {
        let op = params.op.as_deref().and_then(Op::from_name);
        let pair = op.zip(params.p);
        pair.map(|(op, p)| Modular { p, op }).ok_or_else(|| vec![fault("params", "op and p are missing")])
    });
    let layout = Layout::ALL.iter().copied().find(|layout| layout.name() == card.layout.tokens).ok_or_else(|| {
        let known = Layout::ALL.iter().map(|layout| layout.name()).collect::<Vec<_>>().join(", ");
        vec![fault(
            "layout.tokens",
            match card.layout.tokens.as_str() {
                "" => format!("missing; known: {known}"),
                other => format!("there is no layout `{other}`; known: {known}"),
            },
        )]
    });
    match (modular, layout) {
        (Ok(modular), Ok(layout)) => Ok((modular, layout)),
        (modular, layout) => Err([modular.err(), layout.err()].into_iter().flatten().flatten().collect()),
    }
}

impl TaskFamily for Family {
    fn name(&self) -> &'static str {
        "modular"
    }

    fn summary(&self) -> &'static str {
        "an operation on two numbers mod p: x+y, x-y, x*y or x/y, all pairs"
    }

    fn explain(&self) -> String {
        EXPLAIN.to_owned()
    }

    fn faults(&self, card: &Card) -> Vec<Fault> {
        read(card).err().unwrap_or_default()
    }

    fn build(&self, card: &Card) -> Result<Task> {
        let (modular, layout) = read(card).map_err(|faults| card.fail(faults))?;
        let Modular { p, op } = modular;
        let n_examples = (p * modular.width()) as usize;
        let (n_ctx, d_vocab) = (layout.n_ctx(), layout.d_vocab(p));
        let mut tokens_bt = Vec::with_capacity(n_examples * n_ctx);
        let mut targets_bl = Vec::with_capacity(n_examples);
        for a in 0..p {
            for b in op.first_b()..p {
                layout.push(a, b, p, &mut tokens_bt);
                targets_bl.push(op.apply(a, b, p));
            }
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
            train_frac: card.split.train_frac.unwrap_or_default(),
            modular: Some(modular),
        })
    }

    fn find_example(&self, task: &Task, operands: &[u32]) -> Option<usize> {
        let modular = task.modular?;
        let &[a, b] = operands else { return None };
        let inside = a < modular.p && (modular.op.first_b()..modular.p).contains(&b);
        inside.then(|| (a * modular.width() + b - modular.op.first_b()) as usize)
    }

    fn write_example(&self, task: &Task, example: usize) -> String {
        let modular = task.modular.expect("invariant: this family sets it");
        let (Modular { p, op }, width) = (modular, modular.width());
        let (a, b) = (example as u32 / width, example as u32 % width + op.first_b());
        format!("{a} {} {b} = {} (mod {p})", op.symbol(), task.targets_l(example)[0])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn task(op: &str, p: u32) -> Task {
        let text = format!(
            "title = \"t\"\nfamily = \"modular\"\nparams = {{ op = \"{op}\", p = {p} }}\n\
             layout = {{ tokens = \"a b =\" }}\nsplit = {{ train_frac = 0.5 }}\n"
        );
        Card::parse(std::path::Path::new("t.toml"), &text).unwrap().build().unwrap()
    }

    #[test]
    fn every_pair_stands_once_in_order_and_is_found_again() {
        for (op, first_b) in [("x+y", 0), ("x-y", 0), ("x*y", 0), ("x/y", 1)] {
            let task = task(op, 7);
            let pairs: Vec<[u32; 2]> = (0..7).flat_map(|a| (first_b..7).map(move |b| [a, b])).collect();
            assert_eq!(task.n_examples(), pairs.len(), "{op}");
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
}
