//! Models written with candle behind the door: the engine's own numbers, the same bits, the same commands, and errors in place of panics.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use candle_core::{D, Result as CandleResult, Tensor};
use phaselab::door::{self, Model, Param, Scope};
use phaselab::engine::{Batch, Hook, Params, Plan, Runner, Savings, State, StepOutcome, Workers};
use phaselab::error::Error;
use phaselab::experiment::Experiment;
use phaselab::model::TaskShape;
use phaselab::optim::{Settings, build};
use phaselab::rng::Rng;
use phaselab::spec::{Family, Join, LossKind, ModelSpec, Name, Normalization, OptimSpec, Seeds, Spec};
use phaselab::task::Task;
use phaselab::train::{Session, Steps};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::configs::{self, Config};

/// The engine's MLP over the sum of embeddings, in candle.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Mlp {
    d_model: usize,
    d_mlp: usize,
}

impl Default for Mlp {
    fn default() -> Mlp {
        Mlp { d_model: 16, d_mlp: 24 }
    }
}

impl Model for Mlp {
    fn params(&self, task: &TaskShape) -> Vec<Param> {
        vec![
            Param::new("embed.W_E", [task.d_vocab, self.d_model]),
            Param::new("blocks.0.mlp.W_in", [self.d_model, self.d_mlp]),
            Param::new("blocks.0.mlp.b_in", [self.d_mlp]),
            Param::new("unembed.W_U", [self.d_mlp, task.d_vocab_out]),
        ]
    }

    fn forward(&self, tokens: &Tensor, s: &Scope<'_>) -> CandleResult<Tensor> {
        let operands = tokens.narrow(1, 0, s.task().varying_positions.len())?.contiguous()?;
        let x = s.embed("embed.W_E", &operands)?;
        s.keep("hook_embed", &s.embed("embed.W_E", tokens)?);
        let pre = x.sum(1)?.matmul(s.param("blocks.0.mlp.W_in")?)?.broadcast_add(s.param("blocks.0.mlp.b_in")?)?;
        s.keep("blocks.0.mlp.hook_pre", &pre);
        pre.relu()?.matmul(s.param("unembed.W_U")?)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let bad = if self.d_mlp == 0 { Some(("d_mlp", "must be at least 1".to_owned())) } else { None };
        bad.into_iter().collect()
    }
}

/// The engine's MLP with ReLU as a layer of its transformer.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Block {
    d_mlp: usize,
}

impl Default for Block {
    fn default() -> Block {
        Block { d_mlp: 24 }
    }
}

impl door::Layer for Block {
    fn params(&self, width: usize) -> Vec<Param> {
        vec![
            Param::new("W_in", [width, self.d_mlp]),
            Param::new("b_in", [self.d_mlp]),
            Param::new("W_out", [self.d_mlp, width]),
            Param::new("b_out", [width]),
        ]
    }

    fn forward(&self, x: &Tensor, s: &Scope<'_>) -> CandleResult<Tensor> {
        let pre = x.matmul(s.param("W_in")?)?.broadcast_add(s.param("b_in")?)?;
        let post = pre.relu()?;
        s.keep("hook_post", &post);
        post.matmul(s.param("W_out")?)?.broadcast_add(s.param("b_out")?)
    }
}

/// A layer that starts with an operation of candle's that has no gradient: its parameters get theirs, what is below it nothing.
#[derive(Default, Serialize, Deserialize)]
struct Starves {}

impl door::Layer for Starves {
    fn params(&self, width: usize) -> Vec<Param> {
        vec![Param::new("W", [width, width])]
    }

    fn forward(&self, x: &Tensor, s: &Scope<'_>) -> CandleResult<Tensor> {
        candle_nn::ops::softmax_last_dim(x)?.matmul(s.param("W")?)
    }
}

/// Cross-entropy, and one that looks at other rows.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> CandleResult<Tensor> {
    candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?.neg()
}

fn centred(logits: &Tensor, targets: &Tensor) -> CandleResult<Tensor> {
    let losses = cross_entropy(logits, targets)?;
    losses.broadcast_sub(&losses.mean_keepdim(0)?)
}

/// A convolution over positions, softmax, and numbers in order of size, which candle sorts on all threads; logits at all positions.
#[derive(Default, Serialize, Deserialize)]
struct Conv {}

impl Model for Conv {
    fn params(&self, task: &TaskShape) -> Vec<Param> {
        vec![
            Param::new("embed.W_E", [task.d_vocab, 32]),
            Param::new("conv.W", [3, 32, 32]),
            Param::new("unembed.W_U", [32, task.d_vocab_out]),
        ]
    }

    fn forward(&self, tokens: &Tensor, s: &Scope<'_>) -> CandleResult<Tensor> {
        let x = s.embed("embed.W_E", tokens)?;
        let (padded, n) = (x.pad_with_zeros(1, 1, 1)?, x.dim(1)?);
        let shifted = |k| padded.narrow(1, k, n)?.contiguous()?.broadcast_matmul(&s.param("conv.W")?.get(k)?);
        let x = ((shifted(0)? + shifted(1)?)? + shifted(2)?)?;
        let x = (candle_nn::ops::softmax(&x, D::Minus1)? + x.gelu_erf()?)?.contiguous()?;
        let x = x.gather(&x.arg_sort_last_dim(true)?, D::Minus1)?;
        x.contiguous()?.broadcast_matmul(s.param("unembed.W_U")?)
    }
}

/// How often a worker was handed other work in the middle of a replica.
static NESTED: AtomicUsize = AtomicUsize::new(0);

/// What a broken model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Slip {
    #[default]
    None,
    Shape,
    Logits,
    UnknownParam,
    Dtype,
    Cut,
    /// One of two ways from the embedding to the logits has no gradient.
    Branch,
    /// The same, on purpose.
    Meant,
    Batch,
    Late,
    Hook,
    /// Its worker looks for other work, as it does where candle waits for threads.
    Yield,
    /// Parameters of some seeds start so large that the loss is not finite.
    Overflow,
}

/// A bag of tokens with a slip.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Slips {
    slip: Slip,
}

impl Model for Slips {
    fn params(&self, task: &TaskShape) -> Vec<Param> {
        vec![Param::new("embed.W_E", [task.d_vocab, task.d_vocab_out]), Param::new("unembed.b_U", [task.d_vocab_out])]
    }

    fn forward(&self, tokens: &Tensor, s: &Scope<'_>) -> CandleResult<Tensor> {
        let x = s.embed("embed.W_E", tokens)?;
        let bias = s.param(if self.slip == Slip::UnknownParam { "unembed.b" } else { "unembed.b_U" })?;
        let bag = x.sum(1)?.broadcast_add(bias)?;
        match self.slip {
            Slip::Shape => x.matmul(&x),
            Slip::Logits => bag.narrow(1, 0, 3),
            Slip::Dtype => bag.to_dtype(candle_core::DType::F32),
            Slip::Cut => x.sum(1)?.broadcast_add(&bias.detach()),
            Slip::Branch | Slip::Meant => bag.add(&candle_nn::ops::softmax_last_dim(&bag.contiguous()?)?),
            Slip::Batch => bag.broadcast_sub(&bag.mean_keepdim(0)?),
            Slip::Late if tokens.dim(0)? > 3 => candle_core::bail!("too many examples"),
            Slip::Yield => {
                if rayon::yield_now() == Some(rayon::Yield::Executed) {
                    NESTED.fetch_add(1, Ordering::Relaxed);
                }
                Ok(bag)
            }
            Slip::Hook => {
                s.keep("hook_odd", &Tensor::zeros((1, 2, 3), bag.dtype(), bag.device())?);
                Ok(bag)
            }
            _ => Ok(bag),
        }
    }

    fn cuts_gradients(&self) -> bool {
        self.slip == Slip::Meant
    }

    fn start(&self, param: &Param, rng: &mut Rng, values: &mut [f64]) {
        let is_large = rng.uniform_f64() < 0.5;
        door::start(param, rng, values);
        if self.slip == Slip::Overflow && is_large && param.name == "embed.W_E" {
            values.fill(3e38);
        }
    }
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let additions = [
            door::model::<Mlp>("door_mlp", "the engine's MLP"),
            door::model::<Conv>("door_conv", "a convolution"),
            door::model::<Slips>("door_slips", "a broken one"),
            door::layer::<Block>("door_block", "the engine's MLP as a layer"),
            door::layer::<Starves>("door_starves", "a layer that lets no gradient through"),
            door::loss("door_ce", "cross-entropy", cross_entropy),
            door::loss("door_centred", "looks at other rows", centred),
        ];
        phaselab::outside::register(&additions).unwrap();
    });
}

/// A spec's model from outside with settings.
fn outside(name: &str, custom: &str) -> ModelSpec {
    register();
    let custom = toml::from_str(custom).unwrap();
    ModelSpec { family: Family::Outside(Name::from(name)), custom, ..ModelSpec::default() }
}

fn spec(name: &str, seeds: &[u64]) -> Spec {
    let mut spec = Spec { task: "mod_add_53".into(), model: outside(name, ""), ..Spec::default() };
    spec.train.seeds = Seeds(seeds.to_vec());
    spec.train.eval_every = 4;
    spec.optim.lr = 1e-2;
    spec
}

/// Several tiles of examples.
fn config(name: &'static str, model: ModelSpec) -> Config {
    configs::modular(name, 29, model, LossKind::CrossEntropy)
}

#[test]
fn loss_hooks_and_gradients_are_the_engines() {
    let built_in = ModelSpec { family: Family::Mlp, join: Join::Sum, d_model: 16, d_mlp: 24, ..ModelSpec::default() };
    let (own, door) = (config("engine", built_in), config("door", outside("door_mlp", "")));
    let hooks = ["hook_embed", "blocks.0.mlp.hook_pre", "logits"].map(Hook::value);
    let params = configs::params::<f64>(own.plan().params(), &[1]);
    assert_eq!(own.plan().params(), door.plan().params(), "the same parameters in the same order");
    let [(want_loss, want), (got_loss, got)] = [&own, &door].map(|config| {
        let (loss, grads) =
            configs::loss_and_grads(config, config.plan_with(Savings::default(), &[], &[]).unwrap(), &params);
        (loss, grads)
    });
    assert!((got_loss / want_loss - 1.0).abs() < 1e-12, "{got_loss} against {want_loss}");
    let (off, which) = configs::grads_apart(&got, &want);
    assert!(off < 1e-10, "gradient of {which} is off by {off:e}");
    let [want, got] = [&own, &door]
        .map(|config| configs::observe(config, config.plan_with(Savings::default(), &hooks, &[]).unwrap(), &params).1);
    for (want, got) in want.iter().zip(&got) {
        assert_eq!((&want.name, &want.shape), (&got.name, &got.shape));
        assert!(configs::apart(&got.to_f64(), &want.to_f64(), 0.0) < 1e-12, "{}", want.name);
    }
}

/// Both at once in the same runs: a transformer whose MLPs are candle's, and a loss of candle's.
#[test]
fn a_layer_and_a_loss_give_the_engines_numbers() {
    register();
    let built_in =
        ModelSpec { normalization: Normalization::Ln, n_layers: 2, d_model: 16, d_mlp: 24, ..ModelSpec::default() };
    let layer = ModelSpec { layer: Some("door_block".into()), ..built_in.clone() };
    let hooks = [
        Hook::value("blocks.1.mlp.hook_post"),
        Hook::value("blocks.0.hook_mlp_out"),
        Hook::gradient("blocks.0.hook_resid_mid"),
    ];
    for (own, mut door) in [
        (config("engine", built_in.clone()), config("door", layer.clone())),
        (configs::sequences("engine", built_in), configs::sequences("door", layer)),
    ] {
        door.loss.kind = LossKind::Outside(Name::from("door_ce"));
        assert_eq!(own.plan().params(), door.plan().params(), "the same parameters in the same order");
        let params = configs::params::<f64>(own.plan().params(), &[1]);
        let plan = |config: &Config, hooks: &[Hook]| config.plan_with(Savings::default(), hooks, &[]).unwrap();
        let [want, got] = [&own, &door].map(|config| configs::loss_and_grads(config, plan(config, &[]), &params));
        assert!((got.0 / want.0 - 1.0).abs() < 1e-12, "{} against {}", got.0, want.0);
        let (off, which) = configs::grads_apart(&got.1, &want.1);
        assert!(off < 1e-10, "gradient of {which} is off by {off:e}");
        let [want, got] = [&own, &door].map(|config| configs::observe(config, plan(config, &hooks), &params).1);
        for (want, got) in want.iter().zip(&got) {
            assert_eq!((&want.name, &want.shape), (&got.name, &got.shape));
            assert!(configs::apart(&got.to_f64(), &want.to_f64(), 0.0) < 1e-10, "{}", want.name);
        }
    }
}

#[test]
fn a_loss_that_looks_at_other_rows_is_refused() {
    let mut spec = spec("door_mlp", &[0]);
    spec.loss.kind = LossKind::Outside(Name::from("door_ce"));
    phaselab::experiment::preflight(&spec).unwrap();
    spec.loss.kind = LossKind::Outside(Name::from("door_centred"));
    let error = phaselab::experiment::preflight(&spec).unwrap_err();
    assert_eq!(error.to_string(), "loss `door_centred` gives a row another loss among others than alone");
    spec.loss.kind = LossKind::Outside(Name::from("door_none"));
    assert_eq!(
        phaselab::experiment::preflight(&spec).unwrap_err().to_string(),
        "loss `door_none` is not in this program"
    );
}

/// Parameters, moments and metrics after `steps`, by replica; with a stop and another number of threads in between if asked.
fn train(spec: &Spec, threads: usize, steps: u64, stop_at: Option<u64>) -> (Vec<Vec<u32>>, Vec<String>) {
    let task = Task::load(&spec.task).unwrap();
    let session = |threads| Session::<f32>::new(spec, &task, Workers::new(threads).unwrap()).unwrap();
    let mut at = session(threads);
    if let Some(stop) = stop_at {
        while at.step() < stop {
            at.advance(u64::MAX).unwrap();
        }
        let point = at.resume_point().unwrap();
        at = session(threads + 1);
        at.restore(&point).unwrap();
    }
    while at.step() < steps {
        at.advance(u64::MAX).unwrap();
    }
    let bits = |r: usize| at.params().replica(r).iter().map(|x| x.to_bits()).collect();
    let metrics = at.metrics();
    assert!(!metrics.steps.is_empty());
    let n = spec.train.seeds.0.len();
    let of = |r: usize| {
        metrics.columns.iter().map(|c| format!("{:?}", c.iter().skip(r).step_by(n).collect::<Vec<_>>())).collect()
    };
    ((0..n).map(bits).collect(), (0..n).map(of).collect())
}

#[test]
fn the_same_bits_on_any_threads_alone_and_after_a_stop() {
    for (name, batch_size) in [("door_mlp", None), ("door_mlp", Some(500)), ("door_conv", None), ("door_block", None)] {
        let mut spec = spec(name, &[3, 5, 7]);
        spec.train.batch_size = batch_size;
        if name == "door_block" {
            spec.model = ModelSpec { layer: Some(name.into()), d_model: 32, ..ModelSpec::default() };
            spec.loss.kind = LossKind::Outside(Name::from("door_ce"));
        }
        let one = train(&spec, 1, 12, None);
        assert_ne!(one.0[0], one.0[1], "{name}: replicas must differ");
        for threads in [2, 4] {
            assert!(one == train(&spec, threads, 12, None), "{name}: {threads} threads");
        }
        assert!(one == train(&spec, 2, 12, Some(7)), "{name}: stopped after 7 steps");
        spec.train.seeds = Seeds(vec![5]);
        let alone = train(&spec, 2, 12, None);
        assert!(alone.0[0] == one.0[1] && alone.1[0] == one.1[1], "{name}: alone");
    }
}

/// A worker that waits for threads inside candle is handed other replicas.
#[test]
fn a_replica_in_the_middle_of_another_does_not_disturb_it() {
    let of = |seeds: &[u64]| Spec { model: outside("door_slips", "slip = \"yield\""), ..spec("door_slips", seeds) };
    let many = train(&of(&(0..12).collect::<Vec<_>>()), 4, 3, None);
    assert!(NESTED.load(Ordering::Relaxed) > 0, "no replica was in the middle of another, so the test shows nothing");
    assert!(many.0[4] == train(&of(&[4]), 1, 3, None).0[0]);
}

fn fault_of(slip: &str) -> (String, String) {
    let model = outside("door_slips", &format!("slip = \"{slip}\""));
    match config("slips", model).plan_with(Savings::default(), &[], &[]) {
        Err(e @ Error::Outside { .. }) => (e.to_string(), e.cause().concat()),
        Err(other) => panic!("{slip}: {other}"),
        Ok(_) => panic!("{slip} is compiled"),
    }
}

#[test]
fn what_cannot_work_is_told_before_training() {
    for (slip, what, cause) in [
        ("shape", "failed in its forward pass", "shape mismatch in matmul, lhs: [2, 3, 29], rhs: [2, 3, 29]"),
        ("logits", "failed in its forward pass", "logits has shape [2, 3], expected [2, 1, 29] or [2, 3, 29]"),
        (
            "unknown_param",
            "failed in its forward pass",
            "there is no parameter `unembed.b`; there are embed.W_E, unembed.b_U",
        ),
        ("dtype", "failed in its forward pass", "logits is F32 where the parameters are F64"),
        ("cut", "gives no gradient to unembed.b_U", "cuts gradients"),
        ("branch", "gives wrong gradients to embed.W_E, unembed.b_U", "softmax_last_dim"),
        ("batch", "gives an example other numbers among others than alone", "nothing may be averaged"),
        ("hook", "failed in its forward pass", "hook_odd has shape [1, 2, 3]"),
    ] {
        let (got_what, got_cause) = fault_of(slip);
        assert_eq!(got_what, format!("model `door_slips` {what}"));
        assert!(got_cause.contains(cause), "{slip}: {got_cause}");
    }
    for custom in ["", "slip = \"meant\""] {
        assert!(config("none", outside("door_slips", custom)).plan_with(Savings::default(), &[], &[]).is_ok());
    }
    let starves = ModelSpec { layer: Some("door_starves".into()), d_model: 32, ..ModelSpec::default() };
    let Err(error) = config("starves", starves).plan_with(Savings::default(), &[], &[]) else {
        panic!("it is compiled")
    };
    assert_eq!(error.to_string(), "layer `door_starves` gives wrong gradients to its input");
}

#[test]
fn a_failure_in_training_is_an_error_and_changes_nothing() {
    let config = config("late", outside("door_slips", "slip = \"late\""));
    let plan = config.plan();
    let batch: Batch = config.batch(&plan);
    for threads in [1, 2] {
        let mut params = configs::params::<f32>(plan.params(), &[1, 2, 3]);
        let before = params.clone();
        let mut grads = Params::zeros(Arc::clone(plan.params()), 3);
        let mut moments = [grads.clone(), grads.clone()];
        let optim = OptimSpec::default();
        let update = build::<f32>(&optim, Settings::new(&optim, &[0, 1, 2], 10));
        let mut runner = Runner::new(Arc::clone(&plan), Workers::new(threads).unwrap());
        let state = State { params: &mut params, grads: &mut grads, moments: &mut moments };
        let mut out = [StepOutcome::default(); 3];
        let error = runner.step(state, std::slice::from_ref(&batch), update.as_ref(), 0, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "model `door_slips` failed in its forward pass");
        assert_eq!(error.cause(), ["too many examples"]);
        assert_eq!(params, before);
    }
    let plan = Plan::build_forward(
        phaselab::model::graph(&config.model, &config.task),
        &config.shape(),
        &[config.loss],
        &[],
        &[],
    );
    let params = configs::params::<f64>(plan.as_ref().unwrap().params(), &[1]);
    let mut runner = Runner::new(Arc::new(plan.unwrap()), Workers::new(1).unwrap());
    assert!(matches!(runner.observe(&params, 0, &batch), Err(Error::Outside { .. })));
}

#[test]
fn a_replica_whose_loss_is_not_finite_rests_and_the_others_go_on() {
    let mut spec = spec("door_slips", &[0, 1, 2, 3]);
    spec.model = outside("door_slips", "slip = \"overflow\"");
    let task = Task::load(&spec.task).unwrap();
    let mut session = Session::<f32>::new(&spec, &task, Workers::new(2).unwrap()).unwrap();
    let before = session.params().clone();
    (0..3).for_each(|_| session.advance(u64::MAX).unwrap());
    let marks = session.non_finite();
    assert!(marks.contains(&None) && marks.contains(&Some(0)), "{marks:?}");
    for (r, mark) in marks.iter().enumerate() {
        assert_eq!(session.params().replica(r) == before.replica(r), mark.is_some(), "replica {r}");
    }
}

#[test]
fn settings_are_checked_with_their_lines_and_stored_with_their_defaults() {
    register();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own.toml");
    let faults = |text: &str, sets: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        Experiment::find(file.to_str().unwrap()).unwrap().spec(&sets).map_err(|e| e.cause())
    };
    let text = "task = \"mod_add_53\"\n[model]\nfamily = \"door_mlp\"\nn_heads = 8\n[model.custom]\nd_modle = 3\nd_mlp = \"x\"\n";
    let causes = faults(text, &[]).unwrap_err();
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert_eq!(causes[0], "line 4: model.n_heads: `door_mlp` does not read it; remove it");
    assert_eq!(causes[1], "line 6: model.custom.d_modle: unknown key; did you mean `d_model`?");
    assert!(causes[2].starts_with("line 7: model.custom.d_mlp: invalid type: string \"x\""), "{}", causes[2]);

    let text = "[model]\nfamily = \"door_mlp\"\n[model.custom]\nd_mlp = 0\n";
    assert_eq!(faults(text, &[]).unwrap_err(), ["line 4: model.custom.d_mlp: must be at least 1"]);
    let spec = faults(text, &["model.custom.d_mlp=40"]).unwrap();
    assert_eq!(spec.model.custom, toml::from_str("d_model = 16\nd_mlp = 40").unwrap());

    let causes = faults("[model]\nfamily = \"door_mpl\"\n", &[]).unwrap_err();
    assert!(causes[0].starts_with("line 2: model.family: model `door_mpl` is not in this program"), "{causes:?}");
    assert!(causes[0].ends_with("did you mean `door_mlp`?"), "{causes:?}");
    let text = "[model]\nlayer = \"door_block\"\nd_mlp = 8\n[model.custom]\nd_mpl = 1\n[loss]\nkind = \"door_cf\"\n";
    let causes = faults(text, &[]).unwrap_err();
    assert_eq!(
        causes[..2],
        [
            "line 3: model.d_mlp: `door_block` does not read it; remove it",
            "line 5: model.custom.d_mpl: unknown key; did you mean `d_mlp`?"
        ]
    );
    assert!(causes[2].starts_with("line 7: loss.kind: loss `door_cf` is not in this program"), "{causes:?}");
    let causes = faults("[model]\nfamily = \"mlp\"\n[model.custom]\nx = 1\n", &[]).unwrap_err();
    assert_eq!(causes, ["line 3: model.custom: the mlp reads no settings of its own"]);
}

#[test]
fn names_are_words_and_stand_for_one_model() {
    register();
    for name in ["door_mlp", "transformer", "", "Two Words"] {
        let error = phaselab::outside::register(&[door::model::<Mlp>(name, "")]).unwrap_err();
        assert!(matches!(error, Error::Value { .. }), "{name}: {error}");
    }
}

/// The example, which `cargo test` builds.
fn gated(dir: &Path, args: &[&str]) -> Output {
    let mut path = PathBuf::from(env!("CARGO_BIN_EXE_phaselab"));
    path.set_file_name("examples");
    path.push(format!("gated{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is not built; a plain `cargo test` builds it", path.display());
    Command::new(path).current_dir(dir).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_example_is_a_whole_phaselab() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gated.toml");
    let spec = spec.to_str().unwrap();
    assert!(stdout(&gated(dir.path(), &["list", "models"])).contains("gated        gated MLP over two tokens"));
    let result = stdout(&gated(dir.path(), &["run", spec, "--out", "whole", "--threads", "2", "--quiet"]));
    assert!(result.starts_with("3 of 3 replicas grokked"), "{result}");
    for file in ["run.h5", "summary.csv", "measures/gini.csv", "figures/loss_curves.svg", "figures/weight_norms.svg"] {
        assert!(dir.path().join("whole").join(file).is_file(), "{file}");
    }
    let measured = stdout(&gated(dir.path(), &["measure", "whole", "restricted_loss", "--force"]));
    assert!(measured.contains("restricted_loss.h5"), "{measured}");
    stdout(&gated(dir.path(), &["figure", "whole"]));
    stdout(&gated(dir.path(), &["check", "whole"]));
    assert!(stdout(&gated(dir.path(), &["show", "whole"])).contains("gated with d_mlp 128, d_model 64, f32"));

    // What is exported is imported, whatever its parameters are called.
    let params = |run: &str, step: u64, replica: usize| {
        let reader = phaselab::checkpoint::open_snapshots(&dir.path().join(run)).unwrap();
        let params = reader.read(step).unwrap().params;
        params.iter().map(|tensor| tensor.row(replica).unwrap()).collect::<Vec<_>>()
    };
    let last = *phaselab::checkpoint::open_snapshots(&dir.path().join("whole")).unwrap().steps().last().unwrap();
    for to in ["safetensors", "npz"] {
        let file = format!("gated.{to}");
        stdout(&gated(dir.path(), &["export", "whole", "--seed", "1", "--to", to, "--out", &file]));
        stdout(&gated(dir.path(), &["import", &file, "--out", to]));
        assert_eq!(params(to, last, 0), params("whole", last, 1), "{to}");
        let other = Command::new(env!("CARGO_BIN_EXE_phaselab"));
        let other = { other }.current_dir(dir.path()).args(["import", &file, "--out", "other"]).output().unwrap();
        let told = String::from_utf8(other.stderr).unwrap();
        assert!(told.starts_with("error: model `gated` is not in this program\n"), "{told}");
    }

    // Stopped and gone on with is the same run.
    for (out, steps, more) in [("half", "20", None), ("half", "40", Some("--resume")), ("full", "40", None)] {
        let args = ["train", spec, "--steps", steps, "--out", out, "--threads", "1", "--quiet"];
        stdout(&gated(dir.path(), &args.into_iter().chain(more).collect::<Vec<_>>()));
    }
    let params = |run: &str| {
        let reader = phaselab::checkpoint::open_snapshots(&dir.path().join(run)).unwrap();
        reader.read(40).unwrap().params
    };
    assert_eq!(params("half"), params("full"));

    // The plain program reads the files, and says what it lacks.
    let plain = |command: &str| {
        let mut phaselab = Command::new(env!("CARGO_BIN_EXE_phaselab"));
        phaselab.current_dir(dir.path()).args([command, "whole"]).output().unwrap()
    };
    stdout(&plain("check"));
    assert!(stdout(&plain("show")).contains("gated with d_mlp 128"));
    let plain = plain("measure");
    let told = String::from_utf8(plain.stderr).unwrap();
    assert_eq!(plain.status.code(), Some(2), "{told}");
    assert!(told.starts_with("error: model `gated` is not in this program\n"), "{told}");
    assert!(told.contains("hint:  use the program that adds `gated`"), "{told}");
}

/// How the ratio in the docs of `door` was made: `cargo test --release the_door_costs -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn the_door_costs() {
    register();
    let task = Task::load("mod_add_53").unwrap();
    let widths = "d_model = 64\nd_mlp = 128";
    let door = outside("door_mlp", widths);
    let built_in = ModelSpec { family: Family::Mlp, d_model: 64, d_mlp: 128, ..ModelSpec::default() };
    for (replicas, threads) in [(1, 1), (4, 2)] {
        let mut specs = [&built_in, &door].map(|model| Spec { model: model.clone(), ..spec("door_mlp", &[]) });
        let mut sessions = specs.each_mut().map(|spec| {
            spec.train.seeds = Seeds((0..replicas).collect());
            spec.train.eval_every = u64::MAX;
            Session::<f32>::new(spec, &task, Workers::new(threads).unwrap()).unwrap()
        });
        let mut ms = [vec![], vec![]];
        for _ in 0..100 {
            for (session, ms) in sessions.iter_mut().zip(&mut ms) {
                let started = std::time::Instant::now();
                session.advance(u64::MAX).unwrap();
                ms.push(1e3 * started.elapsed().as_secs_f64() / replicas as f64);
            }
        }
        let [own, door] = ms.map(|mut ms| {
            ms.sort_by(f64::total_cmp);
            ms[ms.len() / 2]
        });
        println!(
            "{replicas} replicas, {threads} threads: built in {own:.3} ms a step and replica, door {door:.3} ms, {:.1} times",
            door / own
        );
    }
}
