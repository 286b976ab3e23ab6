//! What a run is: task, data, model, loss, optimiser, training, measures and figures, as one [`Spec`].
//!
//! Read from `experiments/NN_slug/experiment.toml` and `--set key=value`; every run stores the resolved spec, with all
//! defaults written out. Defaults live here and nowhere else. An unset option is `None`, never a magic number.

mod act;
mod key_freqs;
mod name;
pub mod parse;
mod toy;
mod validate;

use serde::{Deserialize, Serialize};

pub use act::Formula;
pub(crate) use act::MAX_STEPS;
pub use key_freqs::{KeyFreqsBy, KeyRule};
pub use name::Name;
pub use parse::{Source, from_toml, line_of_key};
pub use toy::{Draws, GridAxis, PerFeature, Sets, ToyAct, ToyLoss, ToyReplica, ToySpec, Values, Widths};

/// A whole experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    /// One line for people.
    pub title: String,
    /// Name of a task card.
    pub task: String,
    /// Precision of parameters, activations and moments.
    pub dtype: Dtype,
    /// A toy model of superposition, in the place of a task and a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toy: Option<ToySpec>,
    /// The split.
    pub data: DataSpec,
    /// The network.
    pub model: ModelSpec,
    /// The training loss.
    pub loss: LossSpec,
    /// The optimiser.
    pub optim: OptimSpec,
    /// Steps, seeds and schedules.
    pub train: TrainSpec,
    /// What is measured after training.
    pub measure: MeasureSpec,
    /// What is drawn after measuring.
    pub figure: FigureSpec,
    /// Variants that are run one after another and compared: tables `[[arms]]` with a `name` and `set`, a list of
    /// changes like `"model.act=gelu"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<Arm>,
    /// Variants that differ in the value of a key: a table `[sweep]` with `key`, `values`, and for the figures `label`
    /// and `log_x`. With arms too, every arm takes every value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

/// One variant of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Name, and folder of its run: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// Changes of the spec, each as `key=value`.
    pub set: Vec<String>,
}

/// One key over several values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweep {
    /// The key, like `data.train_frac`.
    pub key: String,
    /// Its values.
    pub values: Vec<toml::Value>,
    /// What the axis of the figures says; the key when unset.
    pub label: Option<String>,
    /// Whether that axis is logarithmic.
    pub log_x: bool,
}

impl Sweep {
    /// What the axis of the figures says.
    pub fn name(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.key.clone())
    }
}

/// Floating-point precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// Which examples there are, and which of them are for training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSpec {
    /// Fraction of the examples for training, above 0 and at most 1; the card's own when unset.
    pub train_frac: Option<f64>,
    /// One seed for the split of all replicas; each replica splits by its own seed when unset.
    pub seed: Option<u64>,
    /// Whose random order is split: the first `train_frac` of it are for training.
    pub split: SplitRule,
    /// Fresh examples without end (true), or a finite set (false); as the card says when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// How many different examples a finite set has; the card's own number when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Fixed examples that a stream is tested on, the same for all replicas.
    pub test_examples: usize,
}

impl Default for DataSpec {
    fn default() -> DataSpec {
        DataSpec {
            train_frac: None,
            seed: None,
            split: SplitRule::Phaselab,
            stream: None,
            examples: None,
            test_examples: 1024,
        }
    }
}

/// Whose random order a split takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitRule {
    /// phaselab's own.
    #[default]
    Phaselab,
    /// `torch.manual_seed(seed); torch.randperm(n)`.
    TorchRandperm,
    /// `random.seed(seed); random.shuffle(list(range(n)))`.
    PythonShuffle,
}

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
    /// Start as the parameters of another run, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<StartFrom>,
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
    /// For the column of its value, `term_NAME`; the measure's name, or `expr`, when unset.
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

/// The optimiser, with PyTorch's semantics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimSpec {
    /// Which.
    pub kind: OptimKind,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Decay: decoupled for AdamW, added to the gradient for Adam and SGD.
    pub weight_decay: f64,
    /// Adam's averaging constants.
    pub betas: [f64; 2],
    /// Adam's ε.
    pub eps: f64,
    /// SGD's momentum.
    pub momentum: f64,
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

/// Steps, seeds and schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSpec {
    /// Updates at most.
    pub steps: u64,
    /// The replicas: `0..8` (8 not included), or a list.
    pub seeds: Seeds,
    /// Examples a step; all training examples when unset.
    pub batch_size: Option<usize>,
    /// Loss and accuracy on both splits every so many steps.
    pub eval_every: u64,
    /// Resume point every so many steps.
    pub resume_every: u64,
    /// When parameters are kept for analysis.
    pub snapshots: Snapshots,
    /// When to stop early.
    pub stop: Option<Stop>,
}

/// Seeds of the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SeedsText", into = "SeedsText")]
pub struct Seeds(pub Vec<u64>);

/// Replicas of one run at most.
const MAX_SEEDS: u64 = 65_536;

/// The two ways of writing [`Seeds`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SeedsText {
    /// `"0..8"`, or one number.
    Range(String),
    /// `[0, 1, 5]`.
    List(Vec<u64>),
}

/// Snapshot schedule: the union of its rules; step 0 and the last step are always kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshots {
    /// Every so many steps.
    pub every: Option<u64>,
    /// 1, 2, 4, 8, … without end.
    pub powers_of_two: bool,
    /// 1, 2, 4, … up to 512, then every so many steps.
    pub powers_then_every: Option<u64>,
    /// Dense windows: `[from, to, every]`, both ends included.
    pub windows: Vec<[u64; 3]>,
    /// Single steps.
    pub list: Vec<u64>,
}

/// Early stop: all replicas at or past a threshold for so many evaluations in a row, then some more steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Metric watched.
    pub metric: StopMetric,
    /// Accuracy at or above it, loss at or below it.
    pub threshold: f64,
    /// Evaluations in a row.
    #[serde(default = "three")]
    pub evals: usize,
    /// Steps still trained after that.
    #[serde(default)]
    pub extra_steps: u64,
}

fn three() -> usize {
    3
}

/// Metric of a [`Stop`] rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMetric {
    /// Accuracy on the training split.
    TrainAccFrac,
    /// Accuracy on the test split.
    TestAccFrac,
    /// Cross-entropy on the training split, nats.
    TrainLossNats,
    /// Cross-entropy on the test split, nats.
    TestLossNats,
    /// Loss on the training split, whichever is trained on.
    TrainLoss,
    /// Loss on the test split, whichever is trained on.
    TestLoss,
}

/// What is measured after training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureSpec {
    /// Registry names; every one that fits the task when empty.
    pub names: Vec<String>,
    /// Key frequencies: rule `w_e`, `w_e_norm`, `w_l` or `neurons` (`phaselab explain key_freqs_used`), or a list, `[14, 35]`.
    pub key_freqs: KeyFreqsBy,
    /// Checkpoint that the rule looks at.
    pub key_freqs_at: KeyFreqsAt,
    /// Rules `w_e` and `w_l`: a key frequency has at least this fraction of the largest norm.
    pub key_frac: f64,
    /// Rule `w_e_norm`: a key frequency has a cos or sin component of at least this norm.
    pub key_norm: f64,
    /// Rule `neurons`, and clusters: fraction of a neuron's variance that its frequency explains at least.
    pub cluster_frac: f64,
    /// Order of the Fourier basis in lists of components.
    pub basis_order: BasisOrder,
}

/// Checkpoint at which key frequencies are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFreqsAt {
    /// The last of the range, for all checkpoints of a curve.
    Last,
    /// Anew at each.
    Each,
}

/// Order of the Fourier basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BasisOrder {
    /// Constant, cos 1, sin 1, cos 2, sin 2, …
    CosSin,
    /// Constant, sin 1, cos 1, sin 2, cos 2, …
    SinCos,
}

/// What is drawn after measuring.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FigureSpec {
    /// Registry names; every one whose measures are there when empty.
    pub names: Vec<String>,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            title: String::new(),
            task: "mod_add_113".into(),
            dtype: Dtype::F32,
            toy: None,
            data: DataSpec::default(),
            model: ModelSpec::default(),
            loss: LossSpec::default(),
            optim: OptimSpec::default(),
            train: TrainSpec::default(),
            measure: MeasureSpec::default(),
            figure: FigureSpec::default(),
            arms: vec![],
            sweep: None,
        }
    }
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
            from: None,
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

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

fn is_false(flag: &bool) -> bool {
    !flag
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
        }
    }
}

impl TermSpec {
    /// Its own name, its measure's, or `expr`.
    pub fn name(&self) -> String {
        self.name.as_ref().or(self.measure.as_ref()).map_or("expr", String::as_str).to_owned()
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

impl Default for TrainSpec {
    fn default() -> TrainSpec {
        TrainSpec {
            steps: 10_000,
            seeds: Seeds((0..4).collect()),
            batch_size: None,
            eval_every: 10,
            resume_every: 1000,
            snapshots: Snapshots { every: Some(100), ..Snapshots::default() },
            stop: None,
        }
    }
}

impl Default for MeasureSpec {
    fn default() -> MeasureSpec {
        MeasureSpec {
            names: vec![],
            key_freqs: KeyFreqsBy::Rule(KeyRule::WL),
            key_freqs_at: KeyFreqsAt::Last,
            // Norms, not squares: a key frequency carries at least 1/16 of the strongest one's power. In W_L of trained models
            // the weakest wave in use stands well above it, the strongest leftover of early training well below.
            key_frac: 0.25,
            // Half of what each component has before training (1, with init = paper), which decay takes from those not in use.
            key_norm: 0.5,
            // Nanda et al. 2023, section 4.2.
            cluster_frac: 0.85,
            basis_order: BasisOrder::CosSin,
        }
    }
}

impl TryFrom<SeedsText> for Seeds {
    type Error = String;

    fn try_from(text: SeedsText) -> Result<Seeds, String> {
        let seeds: Vec<u64> = match text {
            SeedsText::List(list) => list,
            SeedsText::Range(text) => {
                let number = |s: &str| {
                    let number = s.trim().parse::<u64>();
                    number.map_err(|_| format!("`{text}` is no range of seeds like `0..8`, nor a list like `0,3,7`"))
                };
                match text.split_once("..") {
                    Some((from, to)) => {
                        let (from, to) = (number(from)?, number(to)?);
                        if to.saturating_sub(from) > MAX_SEEDS {
                            return Err(format!("`{text}` has more than {MAX_SEEDS} seeds"));
                        }
                        (from..to).collect()
                    }
                    None => text.trim_matches(['[', ']']).split(',').map(number).collect::<Result<_, _>>()?,
                }
            }
        };
        let mut sorted = seeds.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != seeds.len() {
            return Err("a seed stands twice in the list".into());
        }
        if let Some(large) = seeds.iter().find(|&&seed| seed > i64::MAX as u64) {
            return Err(format!("seed {large} is above {}, the largest that TOML can write", i64::MAX));
        }
        if seeds.is_empty() {
            return Err("there are no seeds; give at least one, like `0..8`".into());
        }
        Ok(Seeds(seeds))
    }
}

impl From<Seeds> for SeedsText {
    fn from(Seeds(seeds): Seeds) -> SeedsText {
        let first = seeds.first().copied().unwrap_or(0);
        if seeds.len() > 1 && seeds.iter().copied().eq(first..first + seeds.len() as u64) {
            SeedsText::Range(format!("{first}..{}", first + seeds.len() as u64))
        } else {
            SeedsText::List(seeds)
        }
    }
}

impl std::str::FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        Seeds::try_from(SeedsText::Range(text.to_owned()))
    }
}

impl Snapshots {
    /// Whether parameters are kept after `step` updates.
    pub fn due(&self, step: u64) -> bool {
        step == 0
            || self.every.is_some_and(|n| step.is_multiple_of(n))
            || (self.powers_of_two && step.is_power_of_two())
            || self
                .powers_then_every
                .is_some_and(|n| if step <= 512 { step.is_power_of_two() } else { step.is_multiple_of(n) })
            || self.windows.iter().any(|&[from, to, n]| (from..=to).contains(&step) && (step - from).is_multiple_of(n))
            || self.list.contains(&step)
    }
}

impl Spec {
    /// The resolved spec as TOML, every default written out; a toy model's without the sections of a task and its network.
    pub fn to_toml(&self) -> String {
        let mut table = toml::Table::try_from(self).expect("invariant: a spec has only TOML's types");
        if self.toy.is_some() {
            for key in ["task", "data", "model", "loss"] {
                table.remove(key);
            }
            return toml::to_string(&table).expect("invariant: a table can be written");
        }
        toml::to_string(self).expect("invariant: a spec has only TOML's types")
    }

    /// What is trained, in a few words: the task, or the toy model's sizes.
    pub fn subject(&self) -> String {
        match &self.toy {
            None => self.task.clone(),
            Some(toy) => {
                let widths: Vec<String> = toy.d_hidden.0.iter().map(usize::to_string).collect();
                format!("a toy model ({} features, {} hidden)", toy.n_features, widths.join(" + "))
            }
        }
    }

    /// The loss that its metrics are of.
    pub(crate) fn metrics_of(&self) -> LossKind {
        if self.toy.is_some() { LossKind::Mse } else { self.loss.kind }
    }

    /// `[R]` seeds of the replicas: those of the spec, for every point of a toy model's grid.
    pub fn replica_seeds(&self) -> Vec<u64> {
        let seeds = &self.train.seeds.0;
        match self.toy.as_ref().map(|toy| toy.replicas(seeds)) {
            Some(Ok(replicas)) => replicas.iter().map(|replica| replica.seed).collect(),
            _ => seeds.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
