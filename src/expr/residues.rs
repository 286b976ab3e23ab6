//! Expressions over whole numbers mod p.
//!
//! Reads an [`Expr`] and a modulus; writes residues in 0 … p − 1. Division is by the inverse, so it needs a prime p, and has no answer where
//! the divisor is 0 mod p.

use super::{Expr, ExprError, Node};

/// An expression that has a meaning mod p.
#[derive(Debug, Clone, PartialEq)]
pub struct Residues {
    p: u32,
    /// Those of the expression, each number already a residue.
    nodes: Vec<Node>,
}

/// Whole numbers up to here are exact.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

impl Expr {
    /// The expression over residues mod `p`.
    ///
    /// # Errors
    /// The first number that is not whole, function, or, where `p` is not a prime, division; with its column.
    ///
    /// # Panics
    /// If `p` is 0.
    pub fn residues(&self, p: u32) -> Result<Residues, ExprError> {
        let is_prime = smallest_factor(p) == p && p > 1;
        let mut nodes = self.nodes.clone();
        for (node, &column) in nodes.iter_mut().zip(&self.columns) {
            let fail = |found: String, expected: &str| ExprError { column, found, expected: expected.into() };
            let needs_prime =
                || format!("a prime p: {p} is divisible by {}, so not every number has an inverse", smallest_factor(p));
            match *node {
                Node::Number(x) if x.fract() != 0.0 || x.abs() > MAX_WHOLE => {
                    return Err(fail(format!("`{x}`"), "a whole number up to 2^53, as arithmetic mod p has no others"));
                }
                Node::Number(x) => *node = Node::Number((x as i64).rem_euclid(i64::from(p)) as f64),
                Node::Call(f, _) => {
                    return Err(fail(format!("`{}`", f.name()), "no function, as arithmetic mod p has none"));
                }
                Node::Divide(..) if !is_prime => return Err(fail("a division".into(), &needs_prime())),
                Node::Power(_, n) if n < 0 && !is_prime => return Err(fail("a negative power".into(), &needs_prime())),
                _ => {}
            }
        }
        Ok(Residues { p, nodes })
    }
}

impl Residues {
    /// The modulus.
    pub fn p(&self) -> u32 {
        self.p
    }

    /// The answer, in 0 … p − 1, for one number a variable (taken mod p); `None` where it divides by 0.
    ///
    /// # Panics
    /// With fewer values than the expression has variables.
    pub fn eval(&self, values: &[u32]) -> Option<u32> {
        let p = u64::from(self.p);
        let mut done: Vec<u64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let value = match *node {
                Node::Number(number) => number as u64,
                Node::Variable(index) => u64::from(values[index]) % p,
                Node::Negate(a) => (p - done[a]) % p,
                Node::Add(a, b) => (done[a] + done[b]) % p,
                Node::Subtract(a, b) => (done[a] + p - done[b]) % p,
                Node::Multiply(a, b) => done[a] * done[b] % p,
                Node::Divide(a, b) => done[a] * inverse(done[b], p)? % p,
                Node::Power(a, n) if n < 0 => power(inverse(done[a], p)?, n.unsigned_abs().into(), p),
                Node::Power(a, n) => power(done[a], n.unsigned_abs().into(), p),
                Node::Call(..) => unreachable!("invariant: functions have been refused"),
            };
            done.push(value);
        }
        done.last().map(|&value| value as u32)
    }
}

/// `b` to a power mod `p`, for `p` below 2³².
fn power(b: u64, mut exponent: u64, p: u64) -> u64 {
    let (mut result, mut square) = (1 % p, b % p);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * square % p;
        }
        square = square * square % p;
        exponent /= 2;
    }
    result
}

/// 1 / b mod a prime p, by Fermat's little theorem.
pub fn inverse(b: u64, p: u64) -> Option<u64> {
    (!b.is_multiple_of(p)).then(|| power(b, p - 2, p))
}

/// The smallest factor of `n` above 1, for `n` ≥ 2; `n` itself exactly when it is a prime.
pub fn smallest_factor(n: u32) -> u32 {
    let square = |d: u32| u64::from(d) * u64::from(d);
    (2..).take_while(|&d| square(d) <= u64::from(n)).find(|&d| n.is_multiple_of(d)).unwrap_or(n)
}
