//! The operations mod p that have a name: their waves are known, so measures ask for them.
//!
//! Reads operands `a`, `b` in 0 … p − 1; writes a number in 0 … p − 1. Any other operation is an expression (`operation.rs`). Source: Power et al. 2022 (arXiv 2201.02177), appendix A.1.

use crate::expr::{inverse, smallest_factor};

/// An operation mod p.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a · b.
    Mul,
    /// a / b: the c with c · b = a, for b ≠ 0; needs a prime p.
    Div,
}

impl Op {
    /// Every operation, in the order of messages.
    pub const ALL: &[Op] = &[Op::Add, Op::Sub, Op::Mul, Op::Div];

    /// As a card writes it.
    pub fn name(self) -> &'static str {
        match self {
            Op::Add => "x+y",
            Op::Sub => "x-y",
            Op::Mul => "x*y",
            Op::Div => "x/y",
        }
    }

    /// The sign between the operands.
    pub fn symbol(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
        }
    }

    /// The operation of a name.
    pub fn from_name(name: &str) -> Option<Op> {
        Op::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// Whether only a prime p gives every pair of operands an answer.
    pub fn needs_prime(self) -> bool {
        self == Op::Div
    }

    /// The smallest second operand; the largest is p − 1.
    pub fn first_b(self) -> u32 {
        u32::from(self == Op::Div)
    }

    /// The answer, in 0 … p − 1, for operands below p (and p < 2³¹).
    pub fn apply(self, a: u32, b: u32, p: u32) -> u32 {
        match self {
            Op::Add => (a + b) % p,
            Op::Sub => (a + p - b) % p,
            Op::Mul => multiply(a, b, p),
            Op::Div => multiply(a, inverse(b.into(), p.into()).expect("invariant: b is not 0") as u32, p),
        }
    }
}

fn multiply(a: u32, b: u32, p: u32) -> u32 {
    (u64::from(a) * u64::from(b) % u64::from(p)) as u32
}

/// Why division needs another modulus than the composite `p`.
pub(super) fn needs_prime(p: u32) -> String {
    let factor = smallest_factor(p);
    format!(
        "{p} = {factor} · {} is not a prime, so 1 / {factor} does not exist; take a prime p, or another operation",
        p / factor
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// b + b + … + b, a times, each step by counting on: uses neither `%` nor the code above.
    fn multiply_by_adding(a: u32, b: u32, p: u32) -> u32 {
        (0..a).fold(0, |sum, _| count_on(sum, b, p))
    }

    fn count_on(from: u32, steps: u32, p: u32) -> u32 {
        (0..steps).fold(from, |at, _| if at + 1 == p { 0 } else { at + 1 })
    }

    #[test]
    fn operations_agree_with_counting_and_searching() {
        for p in [2, 3, 4, 6, 13] {
            let search = |holds: &dyn Fn(u32) -> bool| (0..p).find(|&c| holds(c));
            for (a, b) in (0..p).flat_map(|a| (0..p).map(move |b| (a, b))) {
                assert_eq!(Op::Add.apply(a, b, p), count_on(a, b, p), "{a} + {b} mod {p}");
                assert_eq!(Some(Op::Sub.apply(a, b, p)), search(&|c| count_on(c, b, p) == a), "{a} - {b} mod {p}");
                assert_eq!(Op::Mul.apply(a, b, p), multiply_by_adding(a, b, p), "{a} * {b} mod {p}");
                if smallest_factor(p) == p && b > 0 {
                    let quotient = search(&|c| multiply_by_adding(c, b, p) == a);
                    assert_eq!(Some(Op::Div.apply(a, b, p)), quotient, "{a} / {b} mod {p}");
                }
            }
        }
    }

    #[test]
    fn every_operation_is_found_by_its_name() {
        for &op in Op::ALL {
            assert_eq!(Op::from_name(op.name()), Some(op));
            assert!(op.name().contains(op.symbol()));
        }
        assert_eq!(Op::from_name("x^y"), None);
    }

    #[test]
    fn smallest_factors() {
        let found = [2, 3, 4, 9, 53, 91, 97, 113, 1003].map(smallest_factor);
        assert_eq!(found, [2, 3, 2, 3, 53, 7, 97, 113, 17]);
    }
}
