//! The table of networks that the engine's tests share, each with its examples and its parameters.
//!
//! Modular examples: tokens `a b =` `[p², 3]`, target (a + b) mod p at position 2. Sequences: random tokens
//! `[12, 5]`, the next token as target, loss at all positions, weighted. Parameters are normal numbers, biases and LayerNorm
//! weights too, so that no term of a formula is silent.

use std::sync::Arc;

use phaselab::engine::{
    Batch, BatchShape, Edit, Hook, ParamLayout, Params, Plan, Real, Runner, Savings, StepOutcome, Target, Workers,
};
use phaselab::loss::LossTerm;
use phaselab::model::{self, TaskShape};
use phaselab::rng::Rng;
use phaselab::spec::{
    Act, Attention, Family, Formula, Input, Join, LossKind, ModelSpec, Normalization, Parametrization, Positional,
};
use phaselab::tensor::Tensor;

/// One network with its task.
pub struct Config {
    pub name: &'static str,
    pub model: ModelSpec,
    pub task: TaskShape,
    pub loss: LossTerm,
    /// What the plan may tabulate.
    pub possible_tokens: Option<Vec<Vec<u32>>>,
    /// `[B, n_ctx]`.
    pub tokens: Vec<u32>,
    /// `[B, L]`.
    pub targets: Vec<u32>,
    /// `[B, L]`.
    pub weights: Option<Vec<f64>>,
}

/// No saving at all.
pub const PLAIN: Savings = Savings { positions: false, pairs: false, fusion: false, target: Target::Processor };

fn small() -> ModelSpec {
    ModelSpec { d_model: 16, n_heads: 4, d_mlp: 24, ..ModelSpec::default() }
}

fn mlp(join: Join, n_layers: usize) -> ModelSpec {
    ModelSpec { family: Family::Mlp, join, n_layers, d_head: None, ..small() }
}

/// All pairs of `p` numbers.
pub fn modular(name: &'static str, p: u32, model: ModelSpec, kind: LossKind) -> Config {
    let pairs = || (0..p * p).map(|i| (i / p, i % p));
    Config {
        name,
        task: TaskShape {
            numbers: None,
            d_vocab: p as usize + 1,
            d_vocab_out: p as usize,
            n_ctx: 3,
            loss_positions: vec![2],
            varying_positions: vec![0, 1],
            varying_tokens: p as usize,
        },
        loss: LossTerm::new(kind, false),
        possible_tokens: Some(vec![(0..p).collect(), (0..p).collect(), vec![p]]),
        tokens: pairs().flat_map(|(a, b)| [a, b, p]).collect(),
        targets: pairs().map(|(a, b)| (a + b) % p).collect(),
        weights: None,
        model,
    }
}

/// Twelve sequences of five of nine tokens, as a stream gives them: what can stand where is not known.
pub fn sequences(name: &'static str, model: ModelSpec) -> Config {
    sequences_of(5, name, model)
}

/// The same, longer: `n_ctx` tokens each. Attention works in blocks of keys where there are many.
pub fn sequences_of(n_ctx: usize, name: &'static str, model: ModelSpec) -> Config {
    let (mut rng, n) = (Rng::stream(5, "tests/sequences"), 12 * n_ctx);
    let tokens: Vec<u32> = (0..n).map(|_| rng.below(9)).collect();
    let targets = (0..n).map(|i| tokens[(i + 1) % n]).collect();
    let weights = (0..n).map(|i| [1.0, 0.5, 2.0, 0.0][i % 4]).collect();
    let all: Vec<usize> = (0..n_ctx).collect();
    Config {
        name,
        task: TaskShape {
            numbers: None,
            d_vocab: 9,
            d_vocab_out: 9,
            n_ctx,
            loss_positions: all.clone(),
            varying_positions: all,
            varying_tokens: 9,
        },
        loss: LossTerm::new(LossKind::CrossEntropy, false),
        possible_tokens: None,
        tokens,
        targets,
        weights: Some(weights),
        model,
    }
}

/// The grokking model, small.
pub fn grokking() -> Config {
    modular("1 layer, ReLU, no LayerNorm", 11, small(), LossKind::CrossEntropy)
}

/// Two layers with everything that can be switched on, on all pairs of `p` numbers.
pub fn everything(p: u32) -> Config {
    let model = ModelSpec {
        n_layers: 2,
        act: Act::Gelu,
        normalization: Normalization::Ln,
        attn_bias: true,
        unembed_bias: true,
        ..small()
    };
    modular("2 layers, GELU, LayerNorm, all biases", p, model, LossKind::CrossEntropy)
}

/// Gromov's network: one-hot tokens, squares, factors before the layers, no biases, squared error.
pub fn gromov(p: u32, d_mlp: usize) -> Config {
    let model = ModelSpec {
        input: Input::Onehot,
        act: Act::Square,
        mlp_bias: false,
        parametrization: Parametrization::MeanField,
        d_mlp,
        ..mlp(Join::Sum, 1)
    };
    modular("MLP, one-hot, squares, mean field", p, model, LossKind::Mse)
}

/// RMSNorm, tied unembedding, no positions and an expression, in two layers.
pub fn tied(p: u32) -> Config {
    let model = ModelSpec {
        normalization: Normalization::Rms,
        tied_unembed: true,
        positional: Positional::None,
        act: formula(),
        ..everything(p).model
    };
    modular("2 layers, RMSNorm, tied, no positions, expression, all biases", p, model, LossKind::CrossEntropy)
}

/// An activation that has no name.
pub fn formula() -> Act {
    Act::Formula(Formula::new("x*sigmoid(1.7*x)").unwrap())
}

/// Blocks as large language models have them, with the positions given.
fn modern(positional: Positional) -> ModelSpec {
    ModelSpec {
        positional,
        rotary_base: 100.0,
        n_kv_heads: Some(2),
        gated_mlp: true,
        parallel: true,
        act: Act::Silu,
        ..everything(7).model
    }
}

/// What the grokking model and the sequence model can be made of otherwise.
fn variants() -> Vec<Config> {
    let ce = LossKind::CrossEntropy;
    let with_act = |name, act| modular(name, 7, ModelSpec { act, ..small() }, ce);
    let with_norm = |name, normalization| modular(name, 7, ModelSpec { normalization, n_layers: 2, ..small() }, ce);
    let onehot = |join, n_layers| ModelSpec { input: Input::Onehot, ..mlp(join, n_layers) };
    let mean_field =
        ModelSpec { parametrization: Parametrization::MeanField, unembed_bias: true, ..mlp(Join::Concat, 2) };
    let no_positions = ModelSpec { positional: Positional::None, n_layers: 2, ..small() };
    let deep = |attention, window| ModelSpec { attention, window, ..everything(7).model };
    let tied_only = ModelSpec { tied_unembed: true, ..small() };
    vec![
        with_norm("2 layers, LayerNorm without weights", Normalization::LnPre),
        with_norm("2 layers, RMSNorm", Normalization::Rms),
        with_norm("2 layers, RMSNorm without weights", Normalization::RmsPre),
        with_act("identity", Act::Identity),
        with_act("squares", Act::Square),
        with_act("absolute values", Act::Abs),
        with_act("tanh", Act::Tanh),
        with_act("SiLU", Act::Silu),
        with_act("an expression", formula()),
        modular("2 layers, no positions", 7, no_positions.clone(), ce),
        sequences("sequences, no positions", no_positions),
        sequences_of(19, "long sequences", deep(Attention::Causal, None)),
        sequences_of(19, "long sequences, window", deep(Attention::Causal, Some(4))),
        sequences_of(19, "long sequences, bidirectional", deep(Attention::Bidirectional, None)),
        sequences("sequences, window", deep(Attention::Causal, Some(2))),
        sequences("sequences, bidirectional", deep(Attention::Bidirectional, None)),
        sequences_of(19, "rotary, shared keys, gated SiLU, parallel", modern(Positional::Rotary)),
        sequences("sinusoidal, shared keys, gated SiLU, parallel", modern(Positional::Sinusoidal)),
        modular("shortformer, shared keys, gated SiLU, parallel", 7, modern(Positional::Shortformer), ce),
        modular("rotary, few keys", 7, ModelSpec { positional: Positional::Rotary, ..everything(7).model }, ce),
        sequences(
            "gated without bias, SoLU",
            ModelSpec { gated_mlp: true, mlp_bias: false, act: Act::Solu, ..small() },
        ),
        sequences("SoLU with LayerNorm", ModelSpec { act: Act::SoluLn, ..everything(7).model }),
        sequences("shortformer, 2 layers", ModelSpec { positional: Positional::Shortformer, n_layers: 2, ..small() }),
        sequences("12 layers, RMSNorm", ModelSpec { n_layers: 12, normalization: Normalization::Rms, ..small() }),
        modular("MLP, SoLU", 7, ModelSpec { act: Act::Solu, ..mlp(Join::Concat, 2) }, ce),
        modular("tied unembedding", 7, tied_only.clone(), ce),
        sequences("sequences, tied unembedding", tied_only),
        tied(7),
        sequences("sequences, RMSNorm, tied, no positions, expression", tied(7).model),
        modular("MLP, concat, 4 layers, mean field", 7, ModelSpec { n_layers: 4, ..mean_field }, ce),
        modular("MLP, one-hot, 1 layer", 7, onehot(Join::Sum, 1), ce),
        modular("MLP, one-hot, 4 layers", 7, onehot(Join::Concat, 4), LossKind::Mse),
        gromov(7, 24),
    ]
}

/// Every network of the tests.
pub fn all() -> Vec<Config> {
    first().into_iter().chain(variants()).collect()
}

fn first() -> Vec<Config> {
    let (ce, mse) = (LossKind::CrossEntropy, LossKind::Mse);
    let attention_only = ModelSpec { n_layers: 3, d_mlp: 0, ..small() };
    let deep = ModelSpec { n_layers: 4, d_head: Some(6), n_heads: 3, normalization: Normalization::Ln, ..small() };
    let plain_biases = ModelSpec { n_layers: 2, mlp_bias: false, attn_bias: true, ..small() };
    let concat_gelu = ModelSpec { act: Act::Gelu, unembed_bias: true, ..mlp(Join::Concat, 2) };
    let mut wide = modular("attention-only, loss in f64", 11, attention_only.clone(), ce);
    wide.loss.f64 = true;
    let mut middle = modular("loss at the first two positions", 7, plain_biases, mse);
    middle.task.loss_positions = vec![0, 1];
    middle.targets = middle.targets.iter().flat_map(|&c| [c, (2 * c + 1) % 7]).collect();
    vec![
        grokking(),
        everything(11),
        wide,
        modular("4 layers, LayerNorm, d_head 6 of d_model 16", 11, deep.clone(), ce),
        middle,
        sequences("sequences, 3 layers attention-only", attention_only),
        sequences("sequences, 4 layers", deep),
        sequences("sequences, everything", everything(11).model),
        modular("MLP, sum, 1 layer", 11, mlp(Join::Sum, 1), ce),
        modular("MLP, sum, 3 layers, squared error", 11, mlp(Join::Sum, 3), mse),
        modular("MLP, concat, 2 layers, GELU, biases", 11, concat_gelu, ce),
        modular("MLP, concat, 3 layers", 11, mlp(Join::Concat, 3), ce),
    ]
}

impl Config {
    pub fn examples(&self) -> usize {
        self.tokens.len() / self.task.n_ctx
    }

    pub fn shape(&self) -> BatchShape {
        BatchShape {
            examples: self.examples(),
            d_vocab: self.task.d_vocab,
            possible_tokens: self.possible_tokens.clone(),
            loss_positions: self.task.loss_positions.clone(),
        }
    }

    pub fn plan_with(&self, savings: Savings, wants: &[Hook], edits: &[Edit]) -> phaselab::error::Result<Plan> {
        let graph = model::graph(&self.model, &self.task);
        Plan::build_with(savings, graph, &self.shape(), std::slice::from_ref(&self.loss), wants, edits)
    }

    pub fn plan(&self) -> Arc<Plan> {
        Arc::new(self.plan_with(Savings::default(), &[], &[]).unwrap())
    }

    /// The examples, ready for `plan`.
    pub fn batch(&self, plan: &Plan) -> Batch {
        let mut batch = Batch::classes(self.task.n_ctx, self.tokens.clone(), self.targets.clone()).unwrap();
        batch.weights.clone_from(&self.weights);
        plan.prepare(&mut batch).unwrap();
        batch
    }
}

/// A replica a seed, every parameter normal with deviation 0.4 (LayerNorm's w around 1).
pub fn params<T: Real>(layout: &Arc<ParamLayout>, seeds: &[u64]) -> Params<T> {
    let mut params = Params::zeros(Arc::clone(layout), seeds.len());
    for (id, info) in layout.infos.iter().enumerate() {
        let centre = if info.name.ends_with(".w") { 1.0 } else { 0.0 };
        let mut numbers = vec![0.0; info.len()];
        for (r, &seed) in seeds.iter().enumerate() {
            Rng::stream(seed, &info.name).fill_normal(&mut numbers);
            params.set(r, id, numbers.iter().map(|&x| T::from_f64(centre + 0.4 * x)));
        }
    }
    params
}

/// Loss and gradients of replica 0 on the examples of `config`.
pub fn loss_and_grads(config: &Config, plan: Plan, params: &Params<f64>) -> (f64, Params<f64>) {
    let (mut params, mut grads) = (params.clone(), Params::zeros(plan.params().clone(), params.replicas()));
    let batch = config.batch(&plan);
    let mut out = vec![StepOutcome::default(); params.replicas()];
    let mut runner = Runner::new(Arc::new(plan), Workers::new(1).unwrap());
    runner.loss_and_grads(&mut params, &mut grads, &[batch], &mut out).unwrap();
    (out[0].loss, grads)
}

/// The loss, and what the plan's wants hold.
pub fn observe(config: &Config, plan: Plan, params: &Params<f64>) -> (f64, Vec<Tensor>) {
    let batch = config.batch(&plan);
    let (outcome, held) = Runner::new(Arc::new(plan), Workers::new(1).unwrap()).observe(params, 0, &batch).unwrap();
    (outcome.loss, held)
}

/// The largest relative difference of a gradient, and of which parameter.
///
/// The gradient of b_K is exactly zero (softmax does not see it): what rounding leaves there is held against the whole.
pub fn grads_apart(own: &Params<f64>, want: &Params<f64>) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for (id, info) in want.layout.infos.iter().enumerate() {
        let [a, b] = [own, want].map(|g| g.get(0, id).collect::<Vec<_>>());
        let off = apart(&a, &b, size_floor(&info.name, norm(&want.flat)));
        if off.is_nan() || off > worst.0 {
            worst = (off, info.name.clone());
        }
    }
    worst
}

/// Size that a gradient's difference is held against at least, where that of all gradients is `whole`.
pub fn size_floor(name: &str, whole: f64) -> f64 {
    if name.ends_with("b_K") { whole } else { 0.0 }
}

/// ‖a − b‖ over the larger of ‖b‖ and `floor`.
pub fn apart(a: &[f64], b: &[f64], floor: f64) -> f64 {
    assert_eq!(a.len(), b.len(), "arrays of different lengths");
    let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    match norm(&difference) {
        // Equal, and perhaps all zero.
        0.0 => 0.0,
        off => off / norm(b).max(floor),
    }
}

/// Euclidean norm; not a number when any of `x` is not.
pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
