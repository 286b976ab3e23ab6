//! Text -> [`Expr`], by recursive descent; the first fault with its column.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = signed { ("*" | "/") signed | power }      a power without a sign before it multiplies, but not after "/"
//! signed  = "-" signed | power
//! power   = atom [ "^" whole | superscripts ]
//! atom    = number | variable | function "(" sum { "," sum } ")" | "(" sum ")"
//! ```

use super::{Expr, ExprError, Function, Grammar, Id, Node};
use crate::error::nearest;

/// Longest text, in characters.
const MAX_TEXT: usize = 4096;

/// Deepest tree and deepest parentheses: what reads an expression may then recurse.
const MAX_DEPTH: usize = 200;

/// Largest power, up or down.
const MAX_POWER: i32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Number(f64),
    /// A number that has a name.
    Constant(f64),
    Variable(usize),
    Function(Function),
    /// `+`, `-`, `*`, `/`, `^`, `(`, `)`, `,`.
    Sign(char),
    Superscript(i32),
    End,
}

/// A token with the column and the length of its text.
#[derive(Debug, Clone, Copy)]
struct Place {
    token: Token,
    at: usize,
    len: usize,
}

/// Reads a whole text.
pub(super) fn parse(text: &str, grammar: Grammar<'_>) -> Result<Expr, ExprError> {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() > MAX_TEXT {
        let found = format!("a text of {} characters", letters.len());
        return Err(ExprError { column: MAX_TEXT + 1, found, expected: format!("at most {MAX_TEXT}") });
    }
    let places = Scanner { letters: &letters, grammar, at: 0, places: vec![] }.scan()?;
    let mut parser =
        Parser { letters: &letters, grammar, places, at: 0, open: 0, nodes: vec![], columns: vec![], depths: vec![] };
    parser.sum()?;
    match parser.here().token {
        Token::End => {
            let variables = grammar.variables.iter().map(|&name| name.to_owned()).collect();
            Ok(Expr { variables, nodes: parser.nodes, columns: parser.columns })
        }
        Token::Number(_) => Err(parser.unexpected("an operator; a product whose right side is a number needs its `*`")),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Scanner<'a> {
    letters: &'a [char],
    grammar: Grammar<'a>,
    at: usize,
    places: Vec<Place>,
}

impl Scanner<'_> {
    fn scan(mut self) -> Result<Vec<Place>, ExprError> {
        while let Some(&letter) = self.letters.get(self.at) {
            match letter {
                _ if letter.is_whitespace() => self.at += 1,
                '+' | '-' | '*' | '/' | '^' | '(' | ')' | ',' => self.push(Token::Sign(letter), 1),
                '−' => self.push(Token::Sign('-'), 1),
                '·' | '×' => self.push(Token::Sign('*'), 1),
                _ if superscript(letter).is_some() || letter == '⁻' => self.superscript()?,
                _ if letter.is_ascii_digit() || letter == '.' => self.number()?,
                _ if letter.is_alphabetic() || letter == '_' => self.word()?,
                _ => return Err(self.fail(1, "a number, a name, an operator or a parenthesis")),
            }
        }
        self.push(Token::End, 0);
        Ok(self.places)
    }

    fn push(&mut self, token: Token, len: usize) {
        self.places.push(Place { token, at: self.at, len });
        self.at += len;
    }

    /// The next `len` letters are wrong.
    fn fail(&self, len: usize, expected: impl Into<String>) -> ExprError {
        let found = format!("`{}`", self.letters[self.at..self.at + len].iter().collect::<String>());
        ExprError { column: self.at + 1, found, expected: expected.into() }
    }

    /// How many letters from `from` on fit.
    fn count(&self, from: usize, fits: impl Fn(char) -> bool) -> usize {
        self.letters[from..].iter().take_while(|&&letter| fits(letter)).count()
    }

    fn number(&mut self) -> Result<(), ExprError> {
        let mut end = self.at + self.count(self.at, |c| c.is_ascii_digit());
        if self.letters.get(end) == Some(&'.') {
            end += 1;
            end += self.count(end, |c| c.is_ascii_digit());
        }
        // `2e3` is a number unless e is a variable.
        if matches!(self.letters.get(end), Some('e' | 'E')) && !self.grammar.variables.contains(&"e") {
            let digits_from = end + 1 + usize::from(matches!(self.letters.get(end + 1), Some('+' | '-')));
            if digits_from <= self.letters.len() {
                let digits = self.count(digits_from, |c| c.is_ascii_digit());
                end = if digits > 0 { digits_from + digits } else { end };
            }
        }
        let len = end - self.at;
        let text: String = self.letters[self.at..end].iter().collect();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.push(Token::Number(number), len);
                Ok(())
            }
            Ok(_) => Err(self.fail(len, "a number that f64 can hold")),
            Err(_) => Err(self.fail(len, "a number like `2`, `0.5` or `1e-3`")),
        }
    }

    fn superscript(&mut self) -> Result<(), ExprError> {
        let minus = self.letters[self.at] == '⁻';
        let digits = self.count(self.at + usize::from(minus), |c| superscript(c).is_some());
        let len = digits + usize::from(minus);
        let text = self.letters[self.at..self.at + len].iter().filter_map(|&c| superscript(c));
        let value = text.fold(0i32, |sum, digit| sum.saturating_mul(10).saturating_add(digit));
        if digits == 0 || value > MAX_POWER {
            return Err(self.fail(len, format!("a whole power from -{MAX_POWER} to {MAX_POWER}")));
        }
        self.push(Token::Superscript(if minus { -value } else { value }), len);
        Ok(())
    }

    fn word(&mut self) -> Result<(), ExprError> {
        // Superscripts are numeric too, and no part of a name.
        let len = self.count(self.at, |c| c.is_alphabetic() || c.is_ascii_digit() || c == '_');
        let letters = &self.letters[self.at..self.at + len];
        let word: String = letters.iter().collect();
        let place = |name: &str| self.grammar.variables.iter().position(|&variable| variable == name);
        if let Some(index) = place(&word) {
            self.push(Token::Variable(index), len);
            return Ok(());
        }
        let product: Option<Vec<usize>> = letters.iter().map(|letter| place(letter.encode_utf8(&mut [0; 4]))).collect();
        let known = match Function::from_name(&word) {
            Some(function) if self.grammar.functions.contains(&function) => Some(Token::Function(function)),
            _ => (word == "pi").then_some(Token::Constant(std::f64::consts::PI)),
        };
        match (known, product) {
            (Some(_), Some(_)) => Err(self
                .fail(len, format!("no word that is a name and a product of variables; write {}", starred(letters)))),
            (Some(token), None) => {
                self.push(token, len);
                Ok(())
            }
            (None, Some(indices)) => {
                indices.into_iter().for_each(|index| self.push(Token::Variable(index), 1));
                Ok(())
            }
            (None, None) => Err(self.fail(len, self.names(&word))),
        }
    }

    /// The names there are, the nearest one first.
    fn names(&self, word: &str) -> String {
        let functions = || self.grammar.functions.iter().map(|f| f.name());
        if let Some(near) =
            nearest(word, functions().chain(self.grammar.variables.iter().copied()).filter(|name| name.len() > 1))
        {
            return format!("a name that is known here; did you mean `{near}`?");
        }
        let variables = self.grammar.variables.join(", ");
        match self.grammar.functions {
            [] => format!("a variable ({variables}); functions are not allowed here"),
            _ => format!("a variable ({variables}) or a function ({})", functions().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// `xy` as "`x*y`".
fn starred(letters: &[char]) -> String {
    format!("`{}`", letters.iter().map(char::to_string).collect::<Vec<_>>().join("*"))
}

/// The value of a superscript digit.
fn superscript(letter: char) -> Option<i32> {
    "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|digit| digit == letter).map(|value| value as i32)
}

struct Parser<'a> {
    letters: &'a [char],
    grammar: Grammar<'a>,
    places: Vec<Place>,
    at: usize,
    /// Parentheses and signs that are open.
    open: usize,
    nodes: Vec<Node>,
    columns: Vec<usize>,
    /// `[nodes]`: levels of the tree under each.
    depths: Vec<usize>,
}

impl Parser<'_> {
    fn here(&self) -> Place {
        self.places[self.at]
    }

    fn next(&mut self) -> Place {
        let place = self.here();
        self.at += usize::from(place.token != Token::End);
        place
    }

    /// Takes a sign if it is the next token.
    fn take(&mut self, sign: char) -> bool {
        let is_next = self.here().token == Token::Sign(sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn unexpected(&self, expected: impl Into<String>) -> ExprError {
        let Place { token, at, len } = self.here();
        let found = match token {
            Token::End => "the end".to_owned(),
            _ => format!("`{}`", self.letters[at..at + len].iter().collect::<String>()),
        };
        ExprError { column: at + 1, found, expected: expected.into() }
    }

    fn too_deep(&self, at: usize) -> ExprError {
        let found = format!("more than {MAX_DEPTH} operations one inside the other");
        ExprError { column: at + 1, found, expected: "a shallower expression".into() }
    }

    fn push(&mut self, node: Node, at: usize) -> Result<Id, ExprError> {
        let depth = 1 + node.operands().into_iter().map(|operand| self.depths[operand]).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(self.too_deep(at));
        }
        self.nodes.push(node);
        self.columns.push(at + 1);
        self.depths.push(depth);
        Ok(self.nodes.len() - 1)
    }

    fn enter(&mut self) -> Result<(), ExprError> {
        self.open += 1;
        if self.open > MAX_DEPTH { Err(self.too_deep(self.here().at)) } else { Ok(()) }
    }

    fn sum(&mut self) -> Result<Id, ExprError> {
        let mut sum = self.product()?;
        loop {
            let at = self.here().at;
            let node: fn(Id, Id) -> Node = match self.here().token {
                Token::Sign('+') => Node::Add,
                Token::Sign('-') => Node::Subtract,
                _ => return Ok(sum),
            };
            self.next();
            let right = self.product()?;
            sum = self.push(node(sum, right), at)?;
        }
    }

    fn product(&mut self) -> Result<Id, ExprError> {
        let mut product = self.signed()?;
        let mut divided = false;
        loop {
            let at = self.here().at;
            match self.here().token {
                Token::Sign(sign @ ('*' | '/')) => {
                    self.next();
                    divided = sign == '/';
                    let right = self.signed()?;
                    let node = if divided { Node::Divide(product, right) } else { Node::Multiply(product, right) };
                    product = self.push(node, at)?;
                }
                Token::Variable(_) | Token::Constant(_) | Token::Function(_) | Token::Sign('(') if divided => {
                    return Err(self.unexpected(
                        "`*` or parentheses: after a division it is unclear what a product without a sign divides",
                    ));
                }
                Token::Variable(_) | Token::Constant(_) | Token::Function(_) | Token::Sign('(') => {
                    let right = self.power()?;
                    product = self.push(Node::Multiply(product, right), at)?;
                }
                _ => return Ok(product),
            }
        }
    }

    fn signed(&mut self) -> Result<Id, ExprError> {
        let at = self.here().at;
        if !self.take('-') {
            return self.power();
        }
        self.enter()?;
        let operand = self.signed()?;
        self.open -= 1;
        match self.nodes[operand] {
            // A number with its sign is one number.
            Node::Number(number) => {
                self.nodes[operand] = Node::Number(-number);
                Ok(operand)
            }
            _ => self.push(Node::Negate(operand), at),
        }
    }

    fn power(&mut self) -> Result<Id, ExprError> {
        let base = self.atom()?;
        let at = self.here().at;
        let exponent = match self.here().token {
            Token::Superscript(exponent) => {
                self.next();
                exponent
            }
            Token::Sign('^') => {
                self.next();
                self.exponent()?
            }
            _ => return Ok(base),
        };
        if matches!(self.here().token, Token::Superscript(_) | Token::Sign('^')) {
            return Err(self.unexpected("parentheses around a power that is raised again"));
        }
        self.push(Node::Power(base, exponent), at)
    }

    /// `2`, `-2`, or either in parentheses.
    fn exponent(&mut self) -> Result<i32, ExprError> {
        let root =
            if self.grammar.functions.contains(&Function::Sqrt) { " (others: `sqrt(x)`, `pow(x, y)`)" } else { "" };
        let expected = || format!("a whole power from -{MAX_POWER} to {MAX_POWER}{root}");
        let parentheses = self.take('(');
        let minus = self.take('-');
        let Token::Number(number) = self.here().token else { return Err(self.unexpected(expected())) };
        if number.fract() != 0.0 || number > f64::from(MAX_POWER) {
            return Err(self.unexpected(expected()));
        }
        self.next();
        if parentheses && !self.take(')') {
            return Err(self.unexpected("`)`; a power is one whole number"));
        }
        let exponent = number as i32;
        Ok(if minus { -exponent } else { exponent })
    }

    fn atom(&mut self) -> Result<Id, ExprError> {
        let Place { token, at, .. } = self.here();
        match token {
            Token::Number(number) | Token::Constant(number) => {
                self.next();
                self.push(Node::Number(number), at)
            }
            Token::Variable(index) => {
                self.next();
                self.push(Node::Variable(index), at)
            }
            Token::Sign('(') => {
                self.next();
                self.enter()?;
                let inner = self.sum()?;
                if !self.take(')') {
                    return Err(self.unexpected(format!("an operator or the `)` of column {}", at + 1)));
                }
                self.open -= 1;
                Ok(inner)
            }
            Token::Function(function) => self.call(function),
            Token::Sign('*') => Err(self.unexpected("a number, a name or `(`; a power is written `^`")),
            _ => Err(self.unexpected("a number, a name or `(`")),
        }
    }

    fn call(&mut self, function: Function) -> Result<Id, ExprError> {
        let at = self.next().at;
        let (name, arity) = (function.name(), function.arity());
        if !self.take('(') {
            return Err(self.unexpected(format!("`(` after `{name}`")));
        }
        self.enter()?;
        let mut args = [0; 3];
        for (i, arg) in args[..arity].iter_mut().enumerate() {
            if i > 0 && !self.take(',') {
                return Err(self.unexpected(format!("`,`: `{name}` has {arity} arguments")));
            }
            *arg = self.sum()?;
        }
        if !self.take(')') {
            return Err(self.unexpected(format!(
                "an operator or `)`: `{name}` has {arity} argument{}",
                if arity == 1 { "" } else { "s" }
            )));
        }
        self.open -= 1;
        self.push(Node::Call(function, args), at)
    }
}
