//! The `[toy]` section: a toy model of superposition in the place of a task and a network.
//!
//! Features are drawn anew at each step; a small network gets them through a few hidden numbers. What differs between replicas is written as
//! an expression of the axes of a grid, so that a whole phase diagram is one run.

use serde::{Deserialize, Serialize};

use super::{Act, Reduce};
use crate::error::nearest;
use crate::expr::Expr;

/// Features, and the network that they go through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToySpec {
    /// Features, n.
    pub n_features: usize,
    /// Hidden numbers, m; a list for several hidden layers.
    pub d_hidden: Widths,
    /// The decoder is the encoder transposed: x' = act(Wᵀ W x + b). For one hidden layer.
    pub tied: bool,
    /// Bias of the outputs.
    pub bias: bool,
    /// Biases of the hidden layers.
    pub hidden_bias: bool,
    /// Activation of the outputs: a name (`softmax` and `solu` too), or an expression in x.
    pub act: ToyAct,
    /// Activation of the hidden layers.
    pub hidden_act: ToyAct,
    /// Share of the hidden numbers that is dropped in training.
    pub dropout: f64,
    /// What the outputs are compared with: an expression in x for each feature, or in x and y for each pair of features
    /// (0 and 1, 2 and 3, …), which then has one output. Or `random`: 0 or 1 at random for each combination of values, a function that
    /// has no structure to be found.
    pub target: String,
    /// Targets of so many features (or pairs) in a row are added to one output: more features to compute than outputs. A random target is
    /// of the values of so many features together.
    pub target_sum: usize,
    /// What a feature's value is where it is present: `uniform` on [0, 1], `{ uniform = [low, high] }`, `gaussian`, `binary` (1), a number,
    /// or a list of numbers, each as often.
    pub values: Values,
    /// Chance that a feature is present (1 − sparsity S): a number, a list with one for each feature, or an expression in i (the feature,
    /// from 0), n and the axes of the grid.
    pub feature_prob: PerFeature,
    /// Squared error of every output; or cross-entropy, the class being the output with the largest target above 0 (examples without one
    /// count nothing). Cross-entropy takes `act = "softmax"`.
    pub loss: ToyLoss,
    /// Factor on the squared error of each output, or on the examples of each class: as above, `pow(0.9, i)`.
    pub importance: PerFeature,
    /// Which features come together.
    pub sets: Sets,
    /// Features in a set; of a ring, the distance at which a bump has fallen to 0.
    pub set_size: usize,
    /// So many fixed examples instead of fresh ones, all of them at every step; a number or an expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<PerFeature>,
    /// Each example is scaled to norm 1; one without any feature is drawn again.
    pub unit_norm: bool,
    /// Whether every replica draws its own examples.
    pub draws: Draws,
    /// The loss is the sum over outputs, or their mean.
    pub reduce: Reduce,
    /// How weights start.
    pub init: ToyInit,
    /// Deviation of the initial weights, or each of them: a number or an expression; Xavier's √(2 / (inputs + outputs)) of each matrix when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_deviation: Option<PerFeature>,
    /// Factor on the learning rate: a number or an expression.
    pub lr_factor: PerFeature,
    /// SGLD's nβ, instead of `optim.inverse_temperature`: a number or an expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inverse_temperature: Option<PerFeature>,
    /// Examples of the evaluations, drawn once for each replica.
    pub eval_examples: usize,
    /// What differs between replicas. Every seed takes every point of the grid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grid: Vec<GridAxis>,
}

/// Numbers of an axis of the grid, under a name that expressions use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridAxis {
    /// The name.
    pub name: String,
    /// For figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The numbers themselves; or else `from`, `to` and `count`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f64>,
    /// First number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Last number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Even steps of the logarithm.
    pub log: bool,
}

impl GridAxis {
    /// Its numbers, in order.
    pub fn numbers(&self) -> Vec<f64> {
        let (Some(from), Some(to), Some(count)) = (self.from, self.to, self.count) else { return self.values.clone() };
        let at = |i: usize| {
            let part = if count > 1 { i as f64 / (count - 1) as f64 } else { 0.0 };
            match (i == 0, i + 1 == count, self.log) {
                (true, ..) => from,
                (_, true, _) => to,
                (_, _, true) => libm::exp(libm::log(from) + part * (libm::log(to) - libm::log(from))),
                (_, _, false) => from + part * (to - from),
            }
        };
        (0..count).map(at).collect()
    }
}

/// One width, or one for each hidden layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WidthsText", into = "WidthsText")]
pub struct Widths(pub Vec<usize>);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum WidthsText {
    One(usize),
    Several(Vec<usize>),
}

impl From<WidthsText> for Widths {
    fn from(text: WidthsText) -> Widths {
        match text {
            WidthsText::One(width) => Widths(vec![width]),
            WidthsText::Several(widths) => Widths(widths),
        }
    }
}

impl From<Widths> for WidthsText {
    fn from(widths: Widths) -> WidthsText {
        match widths.0[..] {
            [width] => WidthsText::One(width),
            _ => WidthsText::Several(widths.0),
        }
    }
}

/// A number for all features, one for each, or an expression in i (the feature, from 0), n and the grid's axes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerFeature {
    /// For all.
    Number(f64),
    /// One each.
    List(Vec<f64>),
    /// For all features by one rule.
    Expr(String),
}

impl PerFeature {
    /// The numbers of `n` features at a point of the grid.
    ///
    /// # Errors
    /// What is wrong with the expression, or with the length of the list.
    pub fn numbers(&self, n: usize, axes: &[&str], point: &[f64]) -> Result<Vec<f64>, String> {
        match self {
            PerFeature::Number(number) => Ok(vec![*number; n]),
            PerFeature::List(list) if list.len() == n => Ok(list.clone()),
            PerFeature::List(list) => Err(format!("{} numbers for {n} features", list.len())),
            PerFeature::Expr(text) => {
                let variables: Vec<&str> = ["i", "n"].into_iter().chain(axes.iter().copied()).collect();
                let expr = Expr::parse(text, &variables).map_err(|e| format!("`{text}`: {e}"))?;
                let at = |i: usize| expr.eval(&[&[i as f64, n as f64], point].concat());
                Ok((0..n).map(at).collect())
            }
        }
    }
}

/// An activation of a toy model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ToyAct {
    /// Of each number alone.
    Each(Act),
    /// eᶻ over its sum over the layer.
    Softmax,
    /// z · softmax(z).
    Solu,
}

impl TryFrom<String> for ToyAct {
    type Error = String;

    fn try_from(text: String) -> Result<ToyAct, String> {
        match text.as_str() {
            "softmax" => Ok(ToyAct::Softmax),
            "solu" => Ok(ToyAct::Solu),
            "solu_ln" => Err("toy models have no LayerNorm; use `solu`".into()),
            _ => Act::try_from(text).map(ToyAct::Each),
        }
    }
}

impl From<ToyAct> for String {
    fn from(act: ToyAct) -> String {
        match act {
            ToyAct::Each(act) => act.into(),
            ToyAct::Softmax => "softmax".into(),
            ToyAct::Solu => "solu".into(),
        }
    }
}

/// What toy models minimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToyLoss {
    /// Σ importance · (output − target)².
    SquaredError,
    /// −importance · ln of the output of the right class.
    CrossEntropy,
}

/// What a present feature's value is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ValuesText", into = "ValuesText")]
pub enum Values {
    /// Uniform on [low, high].
    Uniform(f64, f64),
    /// Standard normal.
    Gaussian,
    /// One of a list, each as often.
    OneOf(Vec<f64>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ValuesText {
    Name(String),
    Number(f64),
    Uniform { uniform: [f64; 2] },
    List(Vec<f64>),
}

impl TryFrom<ValuesText> for Values {
    type Error = String;

    fn try_from(text: ValuesText) -> Result<Values, String> {
        const KNOWN: [&str; 3] = ["uniform", "gaussian", "binary"];
        match text {
            ValuesText::Number(number) => Ok(Values::OneOf(vec![number])),
            ValuesText::Uniform { uniform: [low, high] } => Ok(Values::Uniform(low, high)),
            ValuesText::List(list) => Ok(Values::OneOf(list)),
            ValuesText::Name(name) => match name.as_str() {
                "uniform" => Ok(Values::Uniform(0.0, 1.0)),
                "gaussian" => Ok(Values::Gaussian),
                "binary" => Ok(Values::OneOf(vec![1.0])),
                other => Err(match nearest(other, KNOWN.into_iter()) {
                    Some(near) => format!("there are no values `{other}`; did you mean `{near}`?"),
                    None => format!(
                        "there are no values `{other}`; known: {}, {{ uniform = [low, high] }}, a number, a list",
                        KNOWN.join(", ")
                    ),
                }),
            },
        }
    }
}

impl From<Values> for ValuesText {
    fn from(values: Values) -> ValuesText {
        match values {
            Values::Uniform(0.0, 1.0) => ValuesText::Name("uniform".into()),
            Values::Uniform(low, high) => ValuesText::Uniform { uniform: [low, high] },
            Values::Gaussian => ValuesText::Name("gaussian".into()),
            Values::OneOf(list) => ValuesText::List(list),
        }
    }
}

/// Which features come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sets {
    /// Each by its own chance.
    None,
    /// All of a set are present, or none.
    Correlated,
    /// At most one of a set is present; the set is with the chance of its first feature.
    Anticorrelated,
    /// The first of a set by its chance, the others only where it is present, each by its own.
    Hierarchical,
    /// Exactly one feature of all is present in each example.
    OneHot,
    /// No features but a continuum: the inputs stand evenly on a ring, and an example is a bump around a place drawn anywhere on it: the
    /// value of the nearest input, times 1 − distance / `set_size`.
    Ring,
}

/// What outputs are compared with.
#[derive(Debug, Clone)]
pub enum Target {
    /// The features themselves.
    Copy,
    /// An expression in x of each feature, or in x and y of each pair.
    Of(Expr),
    /// 0 or 1 at random for each combination of values.
    Random,
}

/// How the weights of a toy model start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToyInit {
    /// Normal, with that deviation.
    Normal,
    /// All equal to it: a product of equal parts, where hidden layers have width 1.
    Equal,
}

/// Whose examples a replica draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draws {
    /// Its own.
    Replica,
    /// Those of the first seed, as all replicas do.
    Shared,
}

impl Default for ToySpec {
    /// The introduction of Elhage et al. 2022: five features in two dimensions.
    fn default() -> ToySpec {
        ToySpec {
            n_features: 5,
            d_hidden: Widths(vec![2]),
            tied: true,
            bias: true,
            hidden_bias: false,
            act: ToyAct::Each(Act::Relu),
            hidden_act: ToyAct::Each(Act::Identity),
            dropout: 0.0,
            target: "x".into(),
            target_sum: 1,
            values: Values::Uniform(0.0, 1.0),
            feature_prob: PerFeature::Number(0.1),
            loss: ToyLoss::SquaredError,
            importance: PerFeature::Number(1.0),
            sets: Sets::None,
            set_size: 2,
            points: None,
            unit_norm: false,
            draws: Draws::Replica,
            reduce: Reduce::Sum,
            init: ToyInit::Normal,
            init_deviation: None,
            lr_factor: PerFeature::Number(1.0),
            inverse_temperature: None,
            eval_examples: 4096,
            grid: vec![],
        }
    }
}

/// The settings of one replica, with every expression worked out.
#[derive(Debug, Clone, PartialEq)]
pub struct ToyReplica {
    /// Seed of its start and of its examples.
    pub seed: u64,
    /// Its point of the grid, a number an axis.
    pub point: Vec<f64>,
    /// `[n]` chance of each feature.
    pub feature_prob: Vec<f64>,
    /// `[outputs]` importance.
    pub importance: Vec<f64>,
    /// Fixed examples, if any.
    pub points: Option<usize>,
    /// Deviation of the initial weights, where it is set.
    pub init_deviation: Option<f64>,
    /// Factor on the learning rate.
    pub lr_factor: f64,
    /// SGLD's nβ, where it is set.
    pub inverse_temperature: Option<f64>,
}

impl ToySpec {
    /// Names of the grid's axes.
    pub fn axes(&self) -> Vec<&str> {
        self.grid.iter().map(|axis| axis.name.as_str()).collect()
    }

    /// What outputs are compared with.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn target(&self) -> Result<Target, String> {
        match self.target.trim() {
            "x" if self.target_sum == 1 => Ok(Target::Copy),
            "random" => Ok(Target::Random),
            text => Expr::parse(text, &["x", "y"]).map(Target::Of).map_err(|e| format!("`{}`: {e}", self.target)),
        }
    }

    /// Whether outputs are compared with the features themselves.
    pub fn copies(&self) -> bool {
        matches!(self.target(), Ok(Target::Copy))
    }

    /// Features that one output depends on.
    pub fn features_per_output(&self) -> usize {
        let of_pairs = matches!(self.target(), Ok(Target::Of(expr)) if expr.reads(1));
        self.target_sum.max(1) * if of_pairs { 2 } else { 1 }
    }

    /// Numbers that the network gives: one for each feature or pair, or for so many of them as are added.
    pub fn n_outputs(&self) -> usize {
        self.n_features / self.features_per_output()
    }

    /// Numbers of a random target: one for each combination of values that an output's features can have, absence being one, and that for
    /// each output; none where values do not come again.
    pub fn random_numbers(&self) -> Option<usize> {
        let Values::OneOf(list) = &self.values else { return None };
        let combinations = (list.len() + 1).checked_pow(u32::try_from(self.target_sum).ok()?)?;
        combinations.checked_mul(self.n_outputs())
    }

    /// Whether it is a product of numbers: one of each layer, nothing else.
    pub fn is_product(&self) -> bool {
        let plain = |act: &ToyAct| *act == ToyAct::Each(Act::Identity);
        let is_chain = self.n_features == 1 && self.d_hidden.0.iter().all(|&width| width == 1) && !self.tied;
        is_chain && !self.bias && !self.hidden_bias && plain(&self.act) && plain(&self.hidden_act)
    }

    /// Factor on the sum over outputs in the loss: 1, or one over their number for their mean.
    pub fn loss_scale(&self) -> f64 {
        match self.reduce {
            Reduce::Sum => 1.0,
            Reduce::Mean => 1.0 / self.n_outputs() as f64,
        }
    }

    /// Points of the grid, the last axis fastest; one without axes.
    pub fn grid_points(&self) -> Vec<Vec<f64>> {
        let mut points = vec![vec![]];
        for axis in &self.grid {
            let numbers = axis.numbers();
            let with = |point: &Vec<f64>| numbers.iter().map(|&x| [&point[..], &[x]].concat()).collect::<Vec<_>>();
            points = points.iter().flat_map(with).collect();
        }
        points
    }

    /// Every replica: points of the grid, and within each the seeds. At point number c a seed s stands for s + c · (1 + largest seed),
    /// so that no two replicas share numbers.
    ///
    /// # Errors
    /// The first expression that fails, as key and message.
    pub fn replicas(&self, seeds: &[u64]) -> Result<Vec<ToyReplica>, (&'static str, String)> {
        let span = seeds.iter().max().map_or(1, |top| top.saturating_add(1));
        let (axes, n) = (self.axes(), self.n_features);
        let mut replicas = vec![];
        for (c, point) in self.grid_points().into_iter().enumerate() {
            let of = |key, setting: &PerFeature, n| setting.numbers(n, &axes, &point).map_err(|e| (key, e));
            let one = |key, setting: &PerFeature| of(key, setting, 1).map(|numbers| numbers[0]);
            let feature_prob = of("toy.feature_prob", &self.feature_prob, n)?;
            let importance = of("toy.importance", &self.importance, self.n_outputs())?;
            let perhaps =
                |key, setting: &Option<PerFeature>| setting.as_ref().map(|setting| one(key, setting)).transpose();
            let points = perhaps("toy.points", &self.points)?.map(|points| points.round() as usize);
            let init_deviation = perhaps("toy.init_deviation", &self.init_deviation)?;
            let inverse_temperature = perhaps("toy.inverse_temperature", &self.inverse_temperature)?;
            let lr_factor = one("toy.lr_factor", &self.lr_factor)?;
            for &seed in seeds {
                let seed = seed.wrapping_add(span.wrapping_mul(c as u64));
                let (point, feature_prob, importance) = (point.clone(), feature_prob.clone(), importance.clone());
                replicas.push(ToyReplica {
                    seed,
                    point,
                    feature_prob,
                    importance,
                    points,
                    init_deviation,
                    lr_factor,
                    inverse_temperature,
                });
            }
        }
        Ok(replicas)
    }
}
