//! `[model]`: the network, and how its parameters start.

use serde::{Deserialize, Serialize};

use super::{Formula, Name};

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSpec {
    /// Transformer or MLP, or the name of a model that the program adds.
    pub family: Family,
    /// Transformer blocks, or hidden layers of an MLP: 1 to 12.
    pub n_layers: usize,
    /// Width of the residual stream, or of an MLP's token embedding.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Heads of keys and values, each shared by as many attention heads; one each when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_kv_heads: Option<usize>,
    /// Width of a head; `d_model / n_heads` when unset.
    pub d_head: Option<usize>,
    /// Width of the hidden layer; 0 for an attention-only transformer.
    pub d_mlp: usize,
    /// Activation of the hidden layer: a name, or an expression in x, like `x^2` or `x*sigmoid(1.7*x)`.
    pub act: Act,
    /// The hidden layer is act(x W_gate) · x W_in.
    #[serde(skip_serializing_if = "is_false")]
    pub gated_mlp: bool,
    /// Attention and MLP of a block both read its input.
    #[serde(skip_serializing_if = "is_false")]
    pub parallel: bool,
    /// Normalisation before attention, MLP and unembedding.
    pub normalization: Normalization,
    /// What tells a transformer where a token stands.
    pub positional: Positional,
    /// Rotary positions: the angle between neighbours is base^(-2i/d_head) in the i-th pair of columns.
    #[serde(skip_serializing_if = "is_default_base")]
    pub rotary_base: f64,
    /// Which positions a position of a transformer attends to.
    pub attention: Attention,
    /// Positions that it attends to at most, its own and those just before it; all when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// A transformer's logits are x W_Eᵀ (the classes' rows), and there is no `W_U`.
    pub tied_unembed: bool,
    /// `b_Q`, `b_K`, `b_V`, `b_O`.
    pub attn_bias: bool,
    /// `b_in`, `b_out`.
    pub mlp_bias: bool,
    /// `b_U`.
    pub unembed_bias: bool,
    /// What an MLP's first layer reads.
    pub input: Input,
    /// How an MLP joins the embeddings of its tokens.
    pub join: Join,
    /// Factors before an MLP's layers.
    pub parametrization: Parametrization,
    /// How parameters start.
    pub init: Init,
    /// Factor on every initial weight.
    pub init_scale: f64,
    /// Draws do not depend on sizes: a narrower model starts as a corner of a wider one, but for the deviations. (On depth no draws depend.)
    #[serde(skip_serializing_if = "is_false")]
    pub nested_init: bool,
    /// Start as the parameters of another run, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<StartFrom>,
    /// Weights that are kept at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskSpec>,
    /// What training sets to 0 at random.
    #[serde(skip_serializing_if = "no_dropout")]
    pub dropout: Dropout,
    /// A layer that the program adds, in place of a transformer's MLPs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Settings of a model or layer that the program adds; the built-in ones have none.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub custom: toml::Table,
}

/// A checkpoint that parameters start from: replica by replica, or one replica's for all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartFrom {
    /// The run's folder, as `checkpoints/grokking_quick`.
    pub run: String,
    /// The step; its last checkpoint when unset.
    pub step: Option<u64>,
    /// Parameters to take, by name: `embed.W_E`, `blocks.*`; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
}

/// Which weights train and which stay 0: a lottery ticket of another run, with `[model.from]` for its start, or a control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskSpec {
    /// The run whose weights tell what is kept, replica by replica or one replica's for all: `checkpoints/grokking_quick`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The step; its last checkpoint when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Share of the weights that is kept, above 0.
    pub keep_frac: f64,
    /// The largest weights; or as many of each parameter, by chance (without a run the share of each).
    pub by: KeepBy,
    /// Whether weights are compared with all others or with those of their own parameter.
    pub scope: MaskScope,
    /// Parameters that the mask is for, by name: `blocks.*`; all matrices when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
}

impl Default for MaskSpec {
    fn default() -> MaskSpec {
        MaskSpec { run: None, step: None, keep_frac: 0.2, by: KeepBy::Magnitude, scope: MaskScope::All, params: vec![] }
    }
}

/// What is kept by a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepBy {
    /// The largest weights.
    Magnitude,
    /// As many of each parameter, by chance.
    Random,
}

/// What a weight is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskScope {
    /// All weights that the mask is for.
    All,
    /// Those of its own parameter.
    Each,
}

/// Probabilities with which training sets numbers of a transformer to 0, the others being scaled up; evaluation drops nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dropout {
    /// Of what enters the first block.
    pub embedding: f64,
    /// Of attention patterns.
    pub attention: f64,
    /// Of MLPs' hidden layers, after the activation.
    pub hidden: f64,
    /// Of what attention and MLP add to the residual stream.
    pub residual: f64,
}

fn no_dropout(dropout: &Dropout) -> bool {
    *dropout == Dropout::default()
}

/// Kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Family {
    /// Decoder-only transformer.
    Transformer,
    /// Token embeddings, joined, or one-hot tokens; then hidden layers.
    Mlp,
    /// One that the program adds ([`outside`](crate::outside)).
    Outside(Name),
}

impl From<String> for Family {
    fn from(name: String) -> Family {
        match name.as_str() {
            "transformer" => Family::Transformer,
            "mlp" => Family::Mlp,
            other => Family::Outside(Name::from(other)),
        }
    }
}

impl From<Family> for String {
    fn from(family: Family) -> String {
        match family {
            Family::Transformer => "transformer".into(),
            Family::Mlp => "mlp".into(),
            Family::Outside(name) => name.to_string(),
        }
    }
}

/// Activation function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Act {
    /// max(x, 0), with derivative 0 at 0.
    Relu,
    /// x Φ(x), with erf (PyTorch's default, not the tanh form).
    Gelu,
    /// x: a network without activation.
    Identity,
    /// x².
    Square,
    /// |x|, with derivative 0 at 0.
    Abs,
    /// tanh x.
    Tanh,
    /// x σ(x), σ the logistic function.
    Silu,
    /// x softmax(x), over the hidden layer.
    Solu,
    /// The same, then a LayerNorm with weights (`mlp.ln`).
    #[serde(rename = "solu_ln")]
    SoluLn,
    /// An expression in x.
    Formula(Formula),
}

/// Normalisation, in TransformerLens's names; ε = 1e-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalization {
    /// None.
    #[serde(rename = "none")]
    None,
    /// LayerNorm with weights and biases.
    #[serde(rename = "LN")]
    Ln,
    /// LayerNorm without them: centre and scale.
    #[serde(rename = "LNPre")]
    LnPre,
    /// RMSNorm with weights.
    #[serde(rename = "RMS")]
    Rms,
    /// RMSNorm without them: scale.
    #[serde(rename = "RMSPre")]
    RmsPre,
}

/// What tells a transformer where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positional {
    /// `W_pos`, added to the embedding.
    Learned,
    /// `W_pos`, added to what queries and keys read, in each layer, and to nothing else.
    Shortformer,
    /// Sines and cosines, added to the embedding (Vaswani et al. 2017); there is no `W_pos`.
    Sinusoidal,
    /// Queries and keys are turned by angles that grow with the position; there is no `W_pos`.
    Rotary,
    /// Nothing but the causal mask; there is no `W_pos`.
    None,
}

/// Which positions a position attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// Itself and those before it.
    Causal,
    /// All.
    Bidirectional,
}

/// What an MLP's first layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// Embeddings, joined.
    Embed,
    /// One-hot tokens, one after another: each position has rows of its own in `W_in`, and there is no `W_E`.
    Onehot,
}

/// Factors before an MLP's layers, so that weights can have size 1 at every width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parametrization {
    /// None: `x W + b`.
    Standard,
    /// Gromov 2023: `(x W_in + b_in) / √fan_in` in hidden layers, `(x W_U + b_U) / fan_in` for the logits.
    MeanField,
}

/// How an MLP joins token embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Their sum.
    Sum,
    /// One after another.
    Concat,
}

/// Initialisation rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Nanda et al. 2023: normal, deviation 1/√d_model, `W_U` 1/√d_vocab_out, biases 0.
    Paper,
    /// TransformerLens's `gpt2`: normal, deviation 0.8/√d_model for every weight, biases 0.
    Gpt2,
    /// What PyTorch's CPU generator draws after `torch.manual_seed(seed)`: the published grokking notebook's order and scales for a
    /// transformer, the defaults of `nn.Embedding` and `nn.Linear` for an MLP.
    Torch,
    /// Normal, deviation 1 for every weight, biases 0.
    Unit,
    /// Gromov 2023: the weights that solve x + y mod p, cosines of one random frequency a neuron; one-hot MLPs with x².
    Gromov,
}

impl Default for ModelSpec {
    /// The canonical grokking model.
    fn default() -> ModelSpec {
        ModelSpec {
            family: Family::Transformer,
            n_layers: 1,
            d_model: 128,
            n_heads: 4,
            n_kv_heads: None,
            d_head: None,
            d_mlp: 512,
            act: Act::Relu,
            gated_mlp: false,
            parallel: false,
            normalization: Normalization::None,
            positional: Positional::Learned,
            rotary_base: ROTARY_BASE,
            tied_unembed: false,
            attn_bias: false,
            mlp_bias: true,
            unembed_bias: false,
            input: Input::Embed,
            join: Join::Sum,
            parametrization: Parametrization::Standard,
            attention: Attention::Causal,
            window: None,
            init: Init::Paper,
            init_scale: 1.0,
            nested_init: false,
            from: None,
            mask: None,
            dropout: Dropout::default(),
            layer: None,
            custom: toml::Table::new(),
        }
    }
}

impl ModelSpec {
    /// Width of a head, in numbers.
    pub fn d_head(&self) -> usize {
        self.d_head.unwrap_or(self.d_model / self.n_heads.max(1))
    }

    /// Heads of keys and values.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads.unwrap_or(self.n_heads)
    }
}

/// Su et al. 2021.
const ROTARY_BASE: f64 = 10_000.0;

fn is_default_base(base: &f64) -> bool {
    *base == ROTARY_BASE
}

fn is_false(flag: &bool) -> bool {
    !flag
}
