//! `[loss]`: what is minimised in training.

use serde::{Deserialize, Serialize};

use super::Name;

/// The training loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSpec {
    /// Which; or the name of one that the program adds.
    pub kind: LossKind,
    /// Log-softmax in f64 whatever the dtype, as the grokking paper does.
    pub f64: bool,
    /// Cross-entropy: what of the target's weight is spread evenly over all classes, in training alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub label_smoothing: f64,
    /// Added to it, weighted; `phaselab explain terms` tells what there is.
    pub terms: Vec<TermSpec>,
}

/// A term of the training loss: a differentiable measure by name, or an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TermSpec {
    /// For the column of its value, `term_NAME`; the measure's or loss's name, or `expr`, when unset.
    pub name: Option<String>,
    /// Factor on its value; below 0 to make the value grow, 0 to watch it only.
    pub weight: f64,
    /// Updates made before the first one that it takes part in.
    pub from_step: u64,
    /// Updates made before the first one without it again; it stays to the end when unset.
    pub to_step: Option<u64>,
    /// A differentiable measure's name.
    pub measure: Option<String>,
    /// Frequencies that the measure is about.
    pub freqs: Option<Vec<usize>>,
    /// Instead: take the key frequencies that each replica has after so many updates, from then on.
    pub freqs_at: Option<u64>,
    /// Rule of these key frequencies.
    pub freqs_rule: TermKeyRule,
    /// An expression, instead of a measure: of `w` over parameters, of `l` and `y` over logits.
    pub expr: Option<String>,
    /// Parameters that the expression is over, as `embed.W_E` or `blocks.*.mlp.*`; or `logits`.
    pub over: Option<String>,
    /// Numbers of the expression, over parameters or over classes, made one.
    pub reduce: Reduce,
    /// Another loss beside `loss.kind`, instead of a measure or an expression; or the name of one that the program adds.
    pub loss: Option<LossKind>,
}

/// Where key frequencies are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermKeyRule {
    /// In the embedding, as the measure `key_freqs_w_e`.
    #[serde(rename = "w_e")]
    WE,
    /// In the neuron-logit map, as the measure `key_freqs_w_l`.
    #[serde(rename = "w_l")]
    WL,
}

/// How numbers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

/// Kind of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "String", into = "String")]
pub enum LossKind {
    /// Mean of −log softmax(logits)[target], nats.
    CrossEntropy,
    /// Mean over examples and outputs of (logits − onehot(target))².
    Mse,
    /// One that the program adds ([`outside`](crate::outside)).
    Outside(Name),
}

impl From<String> for LossKind {
    fn from(name: String) -> LossKind {
        match name.as_str() {
            "cross_entropy" => LossKind::CrossEntropy,
            "mse" => LossKind::Mse,
            other => LossKind::Outside(Name::from(other)),
        }
    }
}

impl From<LossKind> for String {
    fn from(kind: LossKind) -> String {
        match kind {
            LossKind::CrossEntropy => "cross_entropy".into(),
            LossKind::Mse => "mse".into(),
            LossKind::Outside(name) => name.to_string(),
        }
    }
}

impl Default for LossSpec {
    fn default() -> LossSpec {
        LossSpec { kind: LossKind::CrossEntropy, f64: false, label_smoothing: 0.0, terms: vec![] }
    }
}

impl Default for TermSpec {
    fn default() -> TermSpec {
        TermSpec {
            name: None,
            weight: 1.0,
            from_step: 0,
            to_step: None,
            measure: None,
            freqs: None,
            freqs_at: None,
            freqs_rule: TermKeyRule::WL,
            expr: None,
            over: None,
            reduce: Reduce::Sum,
            loss: None,
        }
    }
}

impl TermSpec {
    /// Its own name, its measure's, its loss's, or `expr`.
    pub fn name(&self) -> String {
        let known = self.name.as_ref().or(self.measure.as_ref()).cloned();
        known.or_else(|| self.loss.map(String::from)).unwrap_or_else(|| "expr".into())
    }
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}
