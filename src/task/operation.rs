//! What a modular task computes: one of the four named operations, an expression in x and y, or one of two by whether a number is odd.
//!
//! Reads a card's text, as papers write it: `x+y`, `x^3+xy^2+y`, `x/y if y odd else x-y`; writes residues mod p. Source: the list of
//! Power et al. 2022 (arXiv 2201.02177), appendix A.1.

use super::{Op, op};
use crate::expr::{Expr, ExprError, Grammar, Residues, smallest_factor};

/// Names in expressions: the operands, and the modulus (0 mod itself).
const VARIABLES: &[&str] = &["x", "y", "p"];

/// An operation on two operands mod p.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// x + y, x − y, x · y or x / y.
    Named(Op),
    /// Another expression.
    Polynomial(Formula),
    /// One expression or another.
    Piecewise {
        /// Whose parity decides: 0 for x, 1 for y.
        of: usize,
        /// The remainder by 2 for which the first one is taken.
        parity: u32,
        /// The first and the second.
        branches: Box<[Formula; 2]>,
    },
}

/// An expression over residues.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    expr: Expr,
    residues: Residues,
}

impl Formula {
    fn new(expr: Expr, p: u32) -> Result<Formula, ExprError> {
        let residues = expr.residues(p)?;
        Ok(Formula { expr, residues })
    }

    fn apply(&self, [x, y]: [u32; 2]) -> Option<u32> {
        self.residues.eval(&[x, y, 0])
    }

    fn write(&self, [x, y]: [u32; 2], p: u32) -> String {
        self.expr.write_as(&[x, y, p].map(|number| number.to_string()))
    }
}

impl Operation {
    /// Reads an operation mod `p`, which is at least 2.
    ///
    /// # Errors
    /// What is wrong, with the column where that is one.
    pub fn parse(text: &str, p: u32) -> Result<Operation, String> {
        let operation = match text.split_once(" if ") {
            Some((first, rest)) => piecewise(text, first, rest, p)?,
            None => {
                let expr = read(text, 0)?;
                match named(&expr) {
                    Some(op) if op.needs_prime() && smallest_factor(p) < p => return Err(op::needs_prime(p)),
                    Some(op) => Operation::Named(op),
                    None => Operation::Polynomial(Formula::new(expr, p).map_err(|e| e.to_string())?),
                }
            }
        };
        if !(operation.reads(0) || operation.reads(1)) {
            return Err(format!("`{text}` reads neither x nor y, so every answer is the same"));
        }
        Ok(operation)
    }

    fn reads(&self, variable: usize) -> bool {
        match self {
            Operation::Named(_) => true,
            Operation::Polynomial(formula) => formula.expr.reads(variable),
            Operation::Piecewise { of, branches, .. } => {
                *of == variable || branches.iter().any(|formula| formula.expr.reads(variable))
            }
        }
    }

    /// The named operation that this is, if it is one.
    pub fn named(&self) -> Option<Op> {
        match self {
            Operation::Named(op) => Some(*op),
            _ => None,
        }
    }

    /// As a card writes it.
    pub fn name(&self) -> String {
        match self {
            Operation::Named(op) => op.name().to_owned(),
            Operation::Polynomial(formula) => formula.expr.to_string(),
            Operation::Piecewise { of, parity, branches } => {
                let [first, second] = branches.each_ref().map(|formula| formula.expr.to_string());
                format!("{first} if {} {} else {second}", VARIABLES[*of], parity_name(*parity))
            }
        }
    }

    /// The answer, in 0 … p − 1, for operands below p; `None` where it would divide by 0.
    pub fn apply(&self, [a, b]: [u32; 2], p: u32) -> Option<u32> {
        match self {
            Operation::Named(op) => (b >= op.first_b()).then(|| op.apply(a, b, p)),
            Operation::Polynomial(formula) => formula.apply([a, b]),
            Operation::Piecewise { .. } => self.branch([a, b])?.apply([a, b]),
        }
    }

    /// The formula that a piecewise operation takes for these operands.
    fn branch(&self, pair: [u32; 2]) -> Option<&Formula> {
        match self {
            Operation::Piecewise { of, parity, branches } => Some(&branches[usize::from(pair[*of] % 2 != *parity)]),
            _ => None,
        }
    }

    /// An example as a reader would write it, e.g. `5 + 110 = 2 (mod 113)` or `2^2 + 2*3 = 10 (mod 97)`.
    pub fn write(&self, [a, b]: [u32; 2], answer: u32, p: u32) -> String {
        match self {
            Operation::Named(op) => format!("{a} {} {b} = {answer} (mod {p})", op.symbol()),
            Operation::Polynomial(formula) => format!("{} = {answer} (mod {p})", formula.write([a, b], p)),
            Operation::Piecewise { of, .. } => {
                let left = self.branch([a, b]).map(|formula| formula.write([a, b], p)).unwrap_or_default();
                let decides = [a, b][*of];
                format!("{left} = {answer} (mod {p}), as {decides} is {}", parity_name(decides % 2))
            }
        }
    }
}

fn parity_name(parity: u32) -> &'static str {
    if parity == 1 { "odd" } else { "even" }
}

/// An expression that begins after `before` characters of a card's text.
fn read(text: &str, before: usize) -> Result<Expr, String> {
    Expr::parse_with(text, Grammar { variables: VARIABLES, functions: &[] })
        .map_err(|e| ExprError { column: e.column + before, ..e }.to_string())
}

/// The named operation that is written in the same way, whatever its spaces; a sum and a product in either order.
fn named(expr: &Expr) -> Option<Op> {
    let written = |text: &str| read(text, 0).is_ok_and(|named| named == *expr);
    let turned = [(Op::Add, "y+x"), (Op::Mul, "y*x")].into_iter().find(|(_, text)| written(text));
    Op::ALL.iter().copied().find(|op| written(op.name())).or(turned.map(|(op, _)| op))
}

/// `first` if `rest` = `y odd else x-y`.
fn piecewise(text: &str, first: &str, rest: &str, p: u32) -> Result<Operation, String> {
    let shape = || "write a choice as `x/y if y odd else x-y`".to_owned();
    let (condition, second) = rest.split_once(" else ").ok_or_else(shape)?;
    let [of, parity] = condition.split_whitespace().collect::<Vec<_>>()[..] else { return Err(shape()) };
    let of = ["x", "y"].iter().position(|&name| name == of).ok_or_else(shape)?;
    let parity = ["even", "odd"].iter().position(|&name| name == parity).ok_or_else(shape)? as u32;
    let formula = |part: &str| {
        // Both parts are slices of the text: their distance from its start tells the column.
        let before = text[..part.as_ptr() as usize - text.as_ptr() as usize].chars().count();
        let column = |e: ExprError| ExprError { column: e.column + before, ..e }.to_string();
        Formula::new(read(part, before)?, p).map_err(column)
    };
    Ok(Operation::Piecewise { of, parity, branches: Box::new([formula(first)?, formula(second)?]) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn named_operations_are_known_however_they_are_spaced() {
        for (text, op) in [
            ("x+y", Op::Add),
            ("y + x", Op::Add),
            ("x - y", Op::Sub),
            ("xy", Op::Mul),
            ("x·y", Op::Mul),
            ("yx", Op::Mul),
            (" x / y ", Op::Div),
        ] {
            assert_eq!(Operation::parse(text, 7).unwrap(), Operation::Named(op), "{text}");
        }
        for text in ["y-x", "y/x", "x+y+0", "x²+y²", "2x+y"] {
            assert_eq!(Operation::parse(text, 7).unwrap().named(), None, "{text}");
        }
    }

    type Answer<'a> = &'a dyn Fn(i64, i64) -> i64;

    /// The list of Power et al. 2022, against arithmetic on i64 that shares nothing with it.
    #[test]
    fn the_published_operations() {
        let p = 97;
        let divide = |x: i64, y: i64| (0..p).find(|c| (c * y - x).rem_euclid(p) == 0).unwrap();
        let table: [(&str, Answer<'_>); 7] = [
            ("x^2+y^2", &|x, y| x * x + y * y),
            ("x^2+xy+y^2", &|x, y| x * x + x * y + y * y),
            ("x²+xy+y²+x", &|x, y| x * x + x * y + y * y + x),
            ("x^3+xy", &|x, y| x * x * x + x * y),
            ("x^3+xy^2+y", &|x, y| x * x * x + x * y * y + y),
            ("x/y if y odd else x-y", &|x, y| if y % 2 == 1 { divide(x, y) } else { x - y }),
            ("(x+p)^2 - 3y if x even else 2y", &|x, y| if x % 2 == 0 { x * x - 3 * y } else { 2 * y }),
        ];
        for (text, f) in table {
            let operation = Operation::parse(text, p as u32).unwrap();
            for (x, y) in (0..p).flat_map(|x| (0..p).map(move |y| (x, y))) {
                let answer = operation.apply([x as u32, y as u32], p as u32);
                assert_eq!(answer, Some(f(x, y).rem_euclid(p) as u32), "{text} at {x}, {y}");
            }
            assert_eq!(Operation::parse(&operation.name(), p as u32).unwrap(), operation, "{}", operation.name());
        }
    }

    #[test]
    fn examples_are_written_with_their_numbers() {
        let write = |text: &str, pair| {
            let operation = Operation::parse(text, 97).unwrap();
            operation.write(pair, operation.apply(pair, 97).unwrap(), 97)
        };
        assert_eq!(write("x+y", [5, 95]), "5 + 95 = 3 (mod 97)");
        assert_eq!(write("x²+xy+y²", [2, 3]), "2^2 + 2*3 + 3^2 = 19 (mod 97)");
        assert_eq!(write("x/y if y odd else x-y", [6, 3]), "6/3 = 2 (mod 97), as 3 is odd");
        assert_eq!(write("x/y if y odd else x-y", [6, 4]), "6 - 4 = 2 (mod 97), as 4 is even");
    }

    #[test]
    fn faults_name_the_column_or_the_way_out() {
        for (text, p, words) in [
            ("x^2+", 97, "column 5: found the end, expected a number, a name or `(`"),
            ("x^2+z", 97, "column 5: found `z`, expected a variable (x, y, p); functions are not allowed here"),
            ("x^2+sin(y)", 97, "column 5: found `sin`, expected a variable (x, y, p); functions are not allowed here"),
            (
                "x+0.5y",
                97,
                "column 3: found `0.5`, expected a whole number up to 2^53, as arithmetic mod p has no others",
            ),
            ("x/y", 91, "91 = 7 · 13 is not a prime, so 1 / 7 does not exist; take a prime p, or another operation"),
            (
                "x/y+1",
                91,
                "column 2: found a division, expected a prime p: 91 is divisible by 7, so not every number has an inverse",
            ),
            ("p+3", 97, "`p+3` reads neither x nor y, so every answer is the same"),
            ("x if y odd", 97, "write a choice as `x/y if y odd else x-y`"),
            ("x if z odd else y", 97, "write a choice as `x/y if y odd else x-y`"),
            ("x if y odd else y)", 97, "column 18: found `)`, expected an operator or the end"),
            (
                "x/y if y odd else x",
                91,
                "column 2: found a division, expected a prime p: 91 is divisible by 7, so not every number has an inverse",
            ),
        ] {
            assert_eq!(Operation::parse(text, p).unwrap_err(), words, "{text}");
        }
    }
}
