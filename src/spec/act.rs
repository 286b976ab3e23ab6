//! Activations <-> text: a name, or else an expression in x.

use std::fmt;

use super::Act;
use crate::error::nearest;
use crate::expr::Expr;

/// Steps that an expression that is trained with, and its derivative, has at most: so many rows of numbers does the engine hold at once.
pub(crate) const MAX_STEPS: usize = 128;

/// An expression in x, with its derivative. Equal and shown as its text.
#[derive(Clone)]
pub struct Formula {
    text: String,
    value: Expr,
    slope: Expr,
}

impl Formula {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, with its column.
    pub fn new(text: &str) -> Result<Formula, String> {
        let value = Expr::parse(text, &["x"]).map_err(|e| e.to_string())?;
        if !value.reads(0) {
            return Err("it does not depend on x".into());
        }
        let slope = value.derivative(0);
        for (what, expr) in [("it", &value), ("its derivative", &slope)] {
            if expr.n_nodes() > MAX_STEPS {
                return Err(format!("{what} has {} steps; at most {MAX_STEPS} are possible", expr.n_nodes()));
            }
        }
        Ok(Formula { text: text.to_owned(), value, slope })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression.
    pub fn value(&self) -> &Expr {
        &self.value
    }

    /// Its derivative.
    pub fn slope(&self) -> &Expr {
        &self.slope
    }
}

impl PartialEq for Formula {
    fn eq(&self, other: &Formula) -> bool {
        self.text == other.text
    }
}

impl Eq for Formula {}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Act {
    /// The activations that have a name, in the order of help.
    pub const NAMED: [Act; 9] =
        [Act::Relu, Act::Gelu, Act::Identity, Act::Square, Act::Abs, Act::Tanh, Act::Silu, Act::Solu, Act::SoluLn];

    /// As a spec writes it.
    pub fn text(&self) -> &str {
        match self {
            Act::Relu => "relu",
            Act::Gelu => "gelu",
            Act::Identity => "identity",
            Act::Square => "square",
            Act::Abs => "abs",
            Act::Tanh => "tanh",
            Act::Silu => "silu",
            Act::Solu => "solu",
            Act::SoluLn => "solu_ln",
            Act::Formula(formula) => formula.text(),
        }
    }
}

impl TryFrom<String> for Act {
    type Error = String;

    fn try_from(text: String) -> Result<Act, String> {
        if let Some(named) = Act::NAMED.into_iter().find(|act| act.text() == text) {
            return Ok(named);
        }
        Formula::new(&text).map(Act::Formula).map_err(|why| {
            let names = Act::NAMED.each_ref().map(Act::text);
            match nearest(&text, names.into_iter()) {
                Some(near) => {
                    format!("`{text}` is neither an activation (did you mean `{near}`?) nor an expression in x: {why}")
                }
                None => {
                    format!("`{text}` is neither an activation ({}) nor an expression in x: {why}", names.join(", "))
                }
            }
        })
    }
}

impl From<Act> for String {
    fn from(act: Act) -> String {
        act.text().to_owned()
    }
}
