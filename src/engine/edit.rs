//! What a caller may ask of a plan beyond the loss: values and gradients at hooks, and edits of activations and parameters.

/// A value or a gradient at a TransformerLens hook, e.g. `blocks.0.attn.hook_pattern`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The hook's name.
    pub name: String,
    /// The gradient of the loss there instead of the value.
    pub gradient: bool,
    /// Positions, ascending; all that there are when unset.
    pub positions: Option<Vec<usize>>,
}

impl Hook {
    /// The value at `name`.
    pub fn value(name: impl Into<String>) -> Hook {
        Hook { name: name.into(), gradient: false, positions: None }
    }

    /// The gradient at `name`.
    pub fn gradient(name: impl Into<String>) -> Hook {
        Hook { name: name.into(), gradient: true, positions: None }
    }

    /// At some positions only; the others are not computed unless something else needs them.
    pub fn at(self, positions: impl IntoIterator<Item = usize>) -> Hook {
        let mut positions: Vec<usize> = positions.into_iter().collect();
        positions.sort_unstable();
        positions.dedup();
        Hook { positions: Some(positions), ..self }
    }
}

/// A change of one activation or parameter, in training and in analysis alike.
///
/// Attention stays causal whatever an edit of its pattern says: keys after the query are never read.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// A hook's or a parameter's name.
    pub at: String,
    /// What happens there.
    pub change: Change,
    /// Positions of an activation (all when unset).
    pub positions: Option<Vec<usize>>,
    /// Index along the activation's first axis, e.g. the head (all when unset).
    pub head: Option<usize>,
}

/// What an [`Edit`] does to each number x.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// x becomes 0.
    Ablate,
    /// x becomes another number: `[B, positions, width]` for an activation (or one row for all), the named shape for a parameter.
    Patch(Vec<f64>),
    /// x is kept within bounds; no gradient passes outside.
    Clamp {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// x stays; no gradient passes, and a parameter is not updated.
    Freeze,
    /// x is multiplied: one factor a column of an activation, or the named shape for a parameter.
    Mask(Vec<f64>),
}

impl Edit {
    /// An edit of everything at `at`.
    pub fn new(at: impl Into<String>, change: Change) -> Edit {
        Edit { at: at.into(), change, positions: None, head: None }
    }

    /// Of one head only.
    pub fn head(self, head: usize) -> Edit {
        Edit { head: Some(head), ..self }
    }

    /// At some positions only.
    pub fn positions(self, positions: impl IntoIterator<Item = usize>) -> Edit {
        Edit { positions: Some(positions.into_iter().collect()), ..self }
    }
}
