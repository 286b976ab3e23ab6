//! Expressions as text that reads back equal.

use std::fmt;

use super::{Expr, Id, Node};

/// How tightly an operation binds; an operand that binds less stands in parentheses.
const SUM: u8 = 1;
const PRODUCT: u8 = 2;
const UNARY: u8 = 3;
const POWER: u8 = 4;
const ATOM: u8 = 5;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.nodes.len() - 1, SUM)
    }
}

impl Expr {
    /// The expression with other texts in place of the variables' names, e.g. their values.
    ///
    /// # Panics
    /// With fewer texts than variables.
    pub fn write_as(&self, texts: &[String]) -> String {
        assert!(texts.len() >= self.variables.len(), "{} texts for {} variables", texts.len(), self.variables.len());
        Expr { variables: texts.to_vec(), ..self.clone() }.to_string()
    }

    /// Writes a node, in parentheses if it binds less than `least`.
    fn write(&self, f: &mut fmt::Formatter<'_>, at: Id, least: u8) -> fmt::Result {
        let node = &self.nodes[at];
        if binding(node) < least {
            write!(f, "(")?;
            self.write(f, at, SUM)?;
            return write!(f, ")");
        }
        match *node {
            Node::Number(number) => write!(f, "{}", self.number(number)),
            Node::Variable(index) => write!(f, "{}", self.variables[index]),
            Node::Negate(a) => {
                write!(f, "-")?;
                self.write(f, a, UNARY)
            }
            Node::Add(a, b) => self.write_pair(f, [a, b], " + ", [SUM, PRODUCT]),
            Node::Subtract(a, b) => self.write_pair(f, [a, b], " - ", [SUM, PRODUCT]),
            Node::Multiply(a, b) => self.write_pair(f, [a, b], "*", [PRODUCT, UNARY]),
            Node::Divide(a, b) => self.write_pair(f, [a, b], "/", [PRODUCT, UNARY]),
            Node::Power(a, n) => {
                self.write(f, a, ATOM)?;
                write!(f, "^{n}")
            }
            Node::Call(function, args) => {
                write!(f, "{}(", function.name())?;
                for (i, &arg) in args[..function.arity()].iter().enumerate() {
                    if i > 0 {
                        write!(f, ", ")?;
                    }
                    self.write(f, arg, SUM)?;
                }
                write!(f, ")")
            }
        }
    }

    fn write_pair(&self, f: &mut fmt::Formatter<'_>, [a, b]: [Id; 2], sign: &str, least: [u8; 2]) -> fmt::Result {
        self.write(f, a, least[0])?;
        write!(f, "{sign}")?;
        self.write(f, b, least[1])
    }

    /// The shortest digits that read back equal; with an exponent where it is long and `e` is no variable.
    fn number(&self, number: f64) -> String {
        let plain = number.to_string();
        let has_e = self.variables.iter().any(|name| name == "e");
        if plain.len() > 20 && !has_e { format!("{number:e}") } else { plain }
    }
}

fn binding(node: &Node) -> u8 {
    match node {
        Node::Add(..) | Node::Subtract(..) => SUM,
        Node::Multiply(..) | Node::Divide(..) => PRODUCT,
        Node::Negate(_) => UNARY,
        Node::Number(number) if number.is_sign_negative() => UNARY,
        Node::Power(..) => POWER,
        Node::Number(_) | Node::Variable(_) | Node::Call(..) => ATOM,
    }
}
