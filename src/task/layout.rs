//! How two operands become tokens.
//!
//! Reads operands below p and the place of the operation among a task's; writes tokens. A number is its own token, the operations follow
//! (where the layout writes them), `=` is the last; the answer is read at `=`.

use super::Card;
use super::card::fault;
use crate::error::Fault;

/// The positions of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `a b =`.
    TwoAndEquals,
    /// `a op b =`.
    Infix,
    /// `op a b =`.
    Prefix,
}

impl Layout {
    pub const ALL: &[Layout] = &[Layout::TwoAndEquals, Layout::Infix, Layout::Prefix];

    pub fn name(self) -> &'static str {
        match self {
            Layout::TwoAndEquals => "a b =",
            Layout::Infix => "a op b =",
            Layout::Prefix => "op a b =",
        }
    }

    /// The layout that a card names, of those that its family knows.
    pub fn read(card: &Card, known: &[Layout]) -> Result<Layout, Vec<Fault>> {
        let name = card.layout.tokens.as_str();
        known.iter().copied().find(|layout| layout.name() == name).ok_or_else(|| {
            let known = known.iter().map(|layout| layout.name()).collect::<Vec<_>>().join(", ");
            let message = match name {
                "" => format!("missing; known: {known}"),
                other => format!("there is no layout `{other}`; known: {known}"),
            };
            vec![fault("layout.tokens", message)]
        })
    }

    /// Whether an example shows which operation it is of.
    pub fn has_op(self) -> bool {
        self != Layout::TwoAndEquals
    }

    /// Numbers and signs.
    pub fn d_vocab(self, p: u32, n_ops: usize) -> usize {
        p as usize + 1 + if self.has_op() { n_ops } else { 0 }
    }

    /// Where the operands stand.
    pub fn operand_positions(self) -> [usize; 2] {
        match self {
            Layout::TwoAndEquals => [0, 1],
            Layout::Infix => [0, 2],
            Layout::Prefix => [1, 2],
        }
    }

    pub fn n_ctx(self) -> usize {
        if self.has_op() { 4 } else { 3 }
    }

    /// Writes the tokens of one example.
    pub fn push(self, [a, b]: [u32; 2], op: u32, p: u32, n_ops: usize, tokens: &mut Vec<u32>) {
        let equals = self.d_vocab(p, n_ops) as u32 - 1;
        match self {
            Layout::TwoAndEquals => tokens.extend([a, b, equals]),
            Layout::Infix => tokens.extend([a, p + op, b, equals]),
            Layout::Prefix => tokens.extend([p + op, a, b, equals]),
        }
    }
}
