//! Arithmetic as people write it, checked: a text and the names of its variables -> an [`Expr`].
//!
//! - numbers, the caller's variables, `pi`; `+ - * /` (also `−`, `·`, `×`), unary minus, parentheses;
//! - whole powers from −1000 to 1000: `x^2`, `x^-1`, `x²`, and −x² is −(x²);
//! - products without a sign, `2x`, `xy²`, `x(y+1)`: a word that is no name stands for the product of its letters if each is a variable.
//!   What could be read in two ways (`1/2x`, a word that is a function's name and also such a product) is refused;
//! - the functions of [`Function`], of which a caller may allow some, or none.
//!
//! An expression is evaluated over numbers ([`Expr::eval`], [`Expr::eval_lanes`]), over residues mod p ([`Expr::residues`]), differentiated
//! ([`Expr::derivative`]), and written as text that reads back equal.

mod derivative;
mod function;
mod parse;
mod print;
mod residues;

pub use function::Function;
pub(crate) use residues::inverse;
pub use residues::{Residues, smallest_factor};

/// What a text may hold.
#[derive(Debug, Clone, Copy)]
pub struct Grammar<'a> {
    /// Names of the variables; values are given in this order.
    pub variables: &'a [&'a str],
    /// The functions that may be called.
    pub functions: &'a [Function],
}

/// Why a text is no expression, or has no meaning where it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: found {found}, expected {expected}")]
pub struct ExprError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What could stand there, or how to write it.
    pub expected: String,
}

/// Place of a node in [`Expr::nodes`].
pub(crate) type Id = usize;

/// One step of an expression; operands stand before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    Number(f64),
    /// Index into the variables.
    Variable(usize),
    Negate(Id),
    Add(Id, Id),
    Subtract(Id, Id),
    Multiply(Id, Id),
    Divide(Id, Id),
    Power(Id, i32),
    /// A function has at most three arguments; those that it does not have are 0.
    Call(Function, [Id; 3]),
}

impl Node {
    /// The node with its operands renamed.
    fn map(self, id: impl Fn(Id) -> Id) -> Node {
        match self {
            Node::Number(_) | Node::Variable(_) => self,
            Node::Negate(a) => Node::Negate(id(a)),
            Node::Add(a, b) => Node::Add(id(a), id(b)),
            Node::Subtract(a, b) => Node::Subtract(id(a), id(b)),
            Node::Multiply(a, b) => Node::Multiply(id(a), id(b)),
            Node::Divide(a, b) => Node::Divide(id(a), id(b)),
            Node::Power(a, n) => Node::Power(id(a), n),
            Node::Call(f, args) => {
                let mut renamed = [0; 3];
                for (to, &from) in renamed.iter_mut().zip(&args[..f.arity()]) {
                    *to = id(from);
                }
                Node::Call(f, renamed)
            }
        }
    }

    /// The operands, in order.
    fn operands(&self) -> Vec<Id> {
        match *self {
            Node::Number(_) | Node::Variable(_) => vec![],
            Node::Negate(a) | Node::Power(a, _) => vec![a],
            Node::Add(a, b) | Node::Subtract(a, b) | Node::Multiply(a, b) | Node::Divide(a, b) => vec![a, b],
            Node::Call(f, args) => args[..f.arity()].to_vec(),
        }
    }
}

/// An arithmetic expression over named variables.
///
/// ```
/// use phaselab::expr::Expr;
///
/// let curve = Expr::parse("x² + xy + y²", &["x", "y"])?;
/// assert_eq!(curve.eval(&[2.0, 3.0]), 19.0);
/// assert_eq!(curve.derivative(0).to_string(), "2*x + y");
/// assert_eq!(curve.residues(7)?.eval(&[2, 3]), Some(5));
/// # Ok::<(), phaselab::expr::ExprError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Expr {
    variables: Vec<String>,
    /// Operands before what reads them; the last is the whole.
    nodes: Vec<Node>,
    /// `[nodes]`: where each stands in the text that it was read from; 1 for what no text had.
    columns: Vec<usize>,
}

impl PartialEq for Expr {
    /// Same variables, same operations in the same order; where they stood in a text does not count.
    fn eq(&self, other: &Expr) -> bool {
        self.variables == other.variables && self.nodes == other.nodes
    }
}

impl Expr {
    /// Reads a text with every function allowed.
    ///
    /// # Errors
    /// The first thing that cannot be read, with its column.
    pub fn parse(text: &str, variables: &[&str]) -> Result<Expr, ExprError> {
        Expr::parse_with(text, Grammar { variables, functions: Function::ALL })
    }

    /// Reads a text of the given grammar.
    ///
    /// # Errors
    /// As [`Expr::parse`].
    pub fn parse_with(text: &str, grammar: Grammar<'_>) -> Result<Expr, ExprError> {
        parse::parse(text, grammar)
    }

    /// The names of the variables, in the order of values.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Whether a variable, by its place, stands in the expression.
    pub fn reads(&self, variable: usize) -> bool {
        self.nodes.contains(&Node::Variable(variable))
    }

    /// The value, for one number a variable. Outside a function's domain it is what IEEE arithmetic gives (NaN, infinities).
    ///
    /// # Panics
    /// With fewer values than variables.
    pub fn eval(&self, values: &[f64]) -> f64 {
        let values: Vec<[f64; 1]> = values.iter().map(|&x| [x]).collect();
        let [value] = self.eval_lanes(&values, &mut vec![[0.0]; self.n_nodes()]);
        value
    }

    /// `L` values at once, without allocating; each lane's bits are those of [`Expr::eval`].
    ///
    /// # Shapes
    /// `values_ul [variables, L]`; `scratch [n_nodes or more, L]`; returns `[L]`.
    ///
    /// # Panics
    /// With fewer values than variables, or less scratch than nodes.
    #[inline(always)]
    pub fn eval_lanes<const L: usize>(&self, values_ul: &[[f64; L]], scratch: &mut [[f64; L]]) -> [f64; L] {
        for (at, node) in self.nodes.iter().enumerate() {
            let (done, rest) = scratch.split_at_mut(at);
            let both = |a: Id, b: Id, f: fn(f64, f64) -> f64| std::array::from_fn(|l| f(done[a][l], done[b][l]));
            rest[0] = match *node {
                Node::Number(number) => [number; L],
                Node::Variable(index) => values_ul[index],
                Node::Negate(a) => done[a].map(|x| -x),
                Node::Add(a, b) => both(a, b, |x, y| x + y),
                Node::Subtract(a, b) => both(a, b, |x, y| x - y),
                Node::Multiply(a, b) => both(a, b, |x, y| x * y),
                Node::Divide(a, b) => both(a, b, |x, y| x / y),
                Node::Power(a, n) => done[a].map(|x| power(x, n)),
                Node::Call(f, args) => std::array::from_fn(|l| f.apply(args.map(|arg| done[arg][l]))),
            };
        }
        scratch[self.nodes.len() - 1]
    }

    /// The steps, in order; the last is the whole.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many steps an evaluation has: the scratch that [`Expr::eval_lanes`] needs.
    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Only what the node `root` reads, and it last.
    fn rooted(variables: Vec<String>, nodes: &[Node], columns: &[usize], root: Id) -> Expr {
        let mut needed = vec![false; nodes.len()];
        needed[root] = true;
        for at in (0..=root).rev() {
            if needed[at] {
                nodes[at].operands().into_iter().for_each(|operand| needed[operand] = true);
            }
        }
        let mut renamed = vec![0; nodes.len()];
        let mut expr = Expr { variables, nodes: vec![], columns: vec![] };
        for at in (0..=root).filter(|&at| needed[at]) {
            renamed[at] = expr.nodes.len();
            expr.nodes.push(nodes[at].map(|id| renamed[id]));
            expr.columns.push(columns.get(at).copied().unwrap_or(1));
        }
        expr
    }
}

/// `x` to a whole power by squaring, so that its bits are the same everywhere; x⁰ is 1.
fn power(x: f64, n: i32) -> f64 {
    let (mut result, mut square, mut rest) = (1.0, x, n.unsigned_abs());
    while rest > 0 {
        if rest % 2 == 1 {
            result *= square;
        }
        square *= square;
        rest /= 2;
    }
    if n < 0 { 1.0 / result } else { result }
}

#[cfg(test)]
mod tests;
