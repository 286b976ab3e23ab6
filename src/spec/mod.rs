//! What a run is: task, data, model, loss, optimiser, training, measures and figures, as one [`Spec`].
//!
//! Read from `experiments/NN_slug/experiment.toml` and `--set key=value`; every run stores the resolved spec, with all
//! defaults written out. Defaults live here and nowhere else. An unset option is `None`, never a magic number.

mod act;
mod key_freqs;
mod loss;
mod model;
mod name;
mod optim;
pub mod parse;
mod toy;
mod toy_faults;
mod validate;

use serde::{Deserialize, Serialize};

pub use act::Formula;
pub(crate) use act::MAX_STEPS;
pub use key_freqs::{KeyFreqsBy, KeyRule};
pub use loss::{LossKind, LossSpec, Reduce, TermKeyRule, TermSpec};
pub use model::{
    Act, Attention, Dropout, Family, Init, Input, Join, KeepBy, MaskScope, MaskSpec, ModelSpec, Normalization,
    Parametrization, Positional, StartFrom,
};
pub use name::Name;
pub use optim::{Grokfast, GrokfastKind, OptimKind, OptimSpec, Schedule};
pub use parse::{Source, from_toml, line_of_key};
pub use toy::{
    Draws, GridAxis, PerFeature, Sets, Target, ToyAct, ToyInit, ToyLoss, ToyReplica, ToySpec, Values, Widths,
};

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
    /// Chains of `learning_coefficient`.
    pub sgld: SgldSpec,
}

/// Chains of Langevin dynamics around a checkpoint, for the learning coefficient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgldSpec {
    /// Chains.
    pub chains: usize,
    /// Steps of each.
    pub steps: u64,
    /// Steps at its start that do not count.
    pub burn_in: u64,
    /// Step size.
    pub lr: f64,
    /// Pull γ to the checkpoint.
    pub localization: f64,
    /// nβ; n / ln n for n examples when unset.
    pub inverse_temperature: Option<f64>,
}

impl Default for SgldSpec {
    fn default() -> SgldSpec {
        SgldSpec { chains: 4, steps: 2000, burn_in: 500, lr: 1e-3, localization: 1.0, inverse_temperature: None }
    }
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
            sgld: SgldSpec::default(),
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
