//! `[optim]`: the optimiser, with what filters its gradients and changes its learning rate.

use serde::{Deserialize, Serialize};

/// The optimiser, with PyTorch's semantics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimSpec {
    /// Which.
    pub kind: OptimKind,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Decay: decoupled for AdamW, added to the gradient for Adam and SGD; for SGLD the precision of a normal prior around 0.
    pub weight_decay: f64,
    /// Adam's averaging constants.
    pub betas: [f64; 2],
    /// Adam's ε.
    pub eps: f64,
    /// SGD's momentum.
    pub momentum: f64,
    /// Of SGLD, nβ: factor on the gradient of the loss. With n, the examples, for a loss that is the mean of −ln p, it samples the
    /// posterior; n / ln n is usual for learning coefficients.
    pub inverse_temperature: f64,
    /// Of SGLD, γ: pull back to where the run started.
    pub localization: f64,
    /// Largest gradient norm a replica may have; larger ones are scaled down.
    pub clip_norm: Option<f64>,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// Steps of linear warm-up: step s uses lr · min(1, (s + 1) / warmup_steps) (before any decay).
    pub warmup_steps: u64,
    /// Warm-up from 0 instead: step s uses lr · min(1, s / warmup_steps), so the first update changes nothing. The code published with
    /// Nanda et al. 2023 does so.
    pub warmup_from_zero: bool,
    /// Parameters that keep their start, by name: `embed.W_E`, `blocks.0.*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Parameters without weight decay, by name: `*.b_*`, `*ln*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_decay: Vec<String>,
    /// Filter on the (clipped) gradients before the optimiser: slow parts amplified, arXiv 2405.20233.
    pub grokfast: Option<Grokfast>,
}

/// Filter on the (clipped) gradients before the optimiser: g + lamb · m, m an average of the gradients so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grokfast {
    /// Which average.
    pub kind: GrokfastKind,
    /// What of the average stays each step.
    pub alpha: f64,
    /// Weight of the average.
    pub lamb: f64,
}

/// Kind of average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrokfastKind {
    /// Exponential: m = alpha · m + (1 − alpha) · g, from the first gradient on.
    Ema,
}

/// Kind of optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimKind {
    /// Adam with decoupled decay.
    Adamw,
    /// Adam, decay added to the gradient.
    Adam,
    /// SGD with momentum.
    Sgd,
    /// Steps of one size, in the direction of a sign (arXiv 2302.06675).
    Lion,
    /// Hidden matrices along the orthogonal part of their momentum, AdamW for the rest (arXiv 2502.16982).
    Muon,
    /// Stochastic gradient Langevin dynamics: samples of a posterior around exp(−nβ · loss) (Welling and Teh 2011, arXiv 2308.12108).
    Sgld,
}

/// Learning rate after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls in a line to 0 at the last step.
    Linear,
    /// Falls as half a cosine to 0 at the last step.
    Cosine,
}

impl OptimSpec {
    /// The learning rate, where every update is `w −= lr · gradient`.
    pub fn descent_rate(&self) -> Option<f64> {
        let is_plain = self.kind == OptimKind::Sgd && self.momentum == 0.0 && self.weight_decay == 0.0;
        let is_constant = self.schedule == Schedule::Constant && self.warmup_steps == 0;
        (is_plain && is_constant && self.clip_norm.is_none() && self.grokfast.is_none()).then_some(self.lr)
    }
}

impl Default for OptimSpec {
    fn default() -> OptimSpec {
        OptimSpec {
            kind: OptimKind::Adamw,
            lr: 1e-3,
            weight_decay: 1.0,
            betas: [0.9, 0.98],
            eps: 1e-8,
            momentum: 0.9,
            inverse_temperature: 1.0,
            localization: 0.0,
            clip_norm: None,
            schedule: Schedule::Constant,
            warmup_steps: 10,
            warmup_from_zero: false,
            freeze: vec![],
            no_decay: vec![],
            grokfast: None,
        }
    }
}

impl Default for Grokfast {
    fn default() -> Grokfast {
        Grokfast { kind: GrokfastKind::Ema, alpha: 0.98, lamb: 2.0 }
    }
}
