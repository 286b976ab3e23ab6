//! How key frequencies are chosen: by a named rule, or a list by hand.
//!
//! Reads `"w_l"` or `[14, 35]`; the rules themselves are in `measure/key_freqs.rs`.

use serde::{Deserialize, Serialize};

/// A rule that picks key frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRule {
    /// Norm of W_E's frequency at least a fraction of the largest.
    WE,
    /// Norm of W_E's cos or sin component at least a number.
    WENorm,
    /// Norm of W_L's frequency at least a fraction of the largest: its components that are not trivial.
    WL,
    /// The frequencies of clusters of neurons.
    Neurons,
}

impl KeyRule {
    /// Every rule, in the order of help.
    pub const ALL: &[KeyRule] = &[KeyRule::WE, KeyRule::WENorm, KeyRule::WL, KeyRule::Neurons];

    /// As specs and measures name it.
    pub fn name(self) -> &'static str {
        match self {
            KeyRule::WE => "w_e",
            KeyRule::WENorm => "w_e_norm",
            KeyRule::WL => "w_l",
            KeyRule::Neurons => "neurons",
        }
    }
}

/// Where key frequencies come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum KeyFreqsBy {
    /// By a rule, replica by replica.
    Rule(KeyRule),
    /// By hand, the same for all replicas.
    List(Vec<usize>),
}

/// The two ways of writing [`KeyFreqsBy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Rule(String),
    List(Vec<usize>),
}

impl TryFrom<Written> for KeyFreqsBy {
    type Error = String;

    fn try_from(written: Written) -> Result<KeyFreqsBy, String> {
        match written {
            Written::List(list) => Ok(KeyFreqsBy::List(list)),
            Written::Rule(name) => {
                let rule = KeyRule::ALL.iter().find(|rule| rule.name() == name);
                let known = KeyRule::ALL.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(", ");
                rule.map(|&rule| KeyFreqsBy::Rule(rule)).ok_or_else(|| {
                    format!("there is no rule `{name}` for key frequencies; known: {known}; or a list like [14, 35]")
                })
            }
        }
    }
}

impl From<KeyFreqsBy> for Written {
    fn from(by: KeyFreqsBy) -> Written {
        match by {
            KeyFreqsBy::Rule(rule) => Written::Rule(rule.name().into()),
            KeyFreqsBy::List(list) => Written::List(list),
        }
    }
}
