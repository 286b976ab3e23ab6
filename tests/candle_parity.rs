//! Whole models against candle, in f64 on its CPU: logits, loss, every gradient, ten AdamW steps.
//!
//! The second implementation is written from the formulas with candle's basic tensor operations, `ops::softmax` and `erf`;
//! the fused variants cut gradients and `gelu_erf` differentiates with six digits, so none of them is used.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use phaselab::engine::{Hook, Params, Runner, Savings, State, StepOutcome, Workers};
use phaselab::optim::{Settings, build};
use phaselab::spec::{
    Act, Attention, Family, Input, Join, LossKind, Normalization, OptimSpec, Parametrization, Positional,
};

use crate::configs::{self, Config, apart, norm, size_floor};

/// A network of candle's, its parameters under TransformerLens's names.
pub struct Witness<'a> {
    config: &'a Config,
    pub vars: BTreeMap<String, Var>,
}

impl Witness<'_> {
    /// With the numbers of replica 0.
    pub fn new<'a>(config: &'a Config, params: &Params<f64>) -> Witness<'a> {
        let var = |(id, info): (usize, &phaselab::engine::ParamInfo)| {
            let numbers: Vec<f64> = params.get(0, id).collect();
            let var = Var::from_vec(numbers, info.shape.as_slice(), &Device::Cpu).unwrap();
            (info.name.clone(), var)
        };
        Witness { config, vars: params.layout.infos.iter().enumerate().map(var).collect() }
    }

    fn p(&self, name: &str) -> &Tensor {
        self.vars[name].as_tensor()
    }

    fn has(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    /// `x W (+ b)` over the last axis.
    fn linear(&self, x: &Tensor, w: &str, b: &str) -> Result<Tensor> {
        let y = x.broadcast_matmul(self.p(w))?;
        if self.has(b) { y.broadcast_add(self.p(b)) } else { Ok(y) }
    }

    fn act(&self, x: &Tensor) -> Result<Tensor> {
        let sigmoid = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.recip();
        match &self.config.model.act {
            Act::Relu => x.relu(),
            Act::Gelu => (x * 0.5)?.mul(&((x / 2f64.sqrt())?.erf()? + 1.0)?),
            Act::Identity => Ok(x.clone()),
            Act::Square => x.sqr(),
            Act::Abs => x.abs(),
            Act::Tanh => x.tanh(),
            Act::Silu => x * sigmoid(x)?,
            Act::Solu | Act::SoluLn => x * candle_nn::ops::softmax(x, D::Minus1)?,
            Act::Formula(formula) => {
                assert_eq!(formula.text(), "x*sigmoid(1.7*x)", "the witness knows this one");
                x * sigmoid(&(x * 1.7)?)?
            }
        }
    }

    /// A layer's result with the factor that stands before it.
    fn scaled(&self, x: Tensor, factor: f64) -> Result<Tensor> {
        if self.config.model.parametrization == Parametrization::MeanField { x * factor } else { Ok(x) }
    }

    fn normalize(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let kind = self.config.model.normalization;
        if kind == Normalization::None {
            return Ok(x.clone());
        }
        let centred = matches!(kind, Normalization::Ln | Normalization::LnPre);
        let x = if centred { x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)? } else { x.clone() };
        let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
        let mut x = x.broadcast_div(&scale)?;
        assert_eq!(self.has(&format!("{name}.w")), matches!(kind, Normalization::Ln | Normalization::Rms));
        assert_eq!(self.has(&format!("{name}.b")), kind == Normalization::Ln);
        if self.has(&format!("{name}.w")) {
            x = x.broadcast_mul(self.p(&format!("{name}.w")))?;
        }
        if self.has(&format!("{name}.b")) {
            x = x.broadcast_add(self.p(&format!("{name}.b")))?;
        }
        Ok(x)
    }

    /// `[B, T, d]`.
    fn attention(&self, x: &Tensor, block: &str) -> Result<Tensor> {
        let (model, n_ctx) = (&self.config.model, self.config.task.n_ctx);
        let placed = match model.positional {
            Positional::Shortformer => x.broadcast_add(self.p("pos_embed.W_pos"))?,
            _ => x.clone(),
        };
        let project = |letter: char, x: &Tensor| {
            let y = x.unsqueeze(1)?.broadcast_matmul(self.p(&format!("{block}.attn.W_{letter}")))?;
            let b = format!("{block}.attn.b_{letter}");
            let y = if self.has(&b) { y.broadcast_add(&self.p(&b).unsqueeze(1)?)? } else { y };
            let turned = model.positional == Positional::Rotary && letter != 'V';
            let y = if turned { self.rotated(&y)? } else { y };
            // Each head of keys and values stands for as many heads of queries.
            let each = model.n_heads / y.dim(1)?;
            let copies: Vec<u32> = (0..model.n_heads as u32).map(|head| head / each as u32).collect();
            y.index_select(&Tensor::new(copies, &Device::Cpu)?, 1)
        };
        let (q, k, v) = (project('Q', &placed)?, project('K', &placed)?, project('V', x)?);
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / (q.dim(3)? as f64).sqrt())?;
        let hidden = |query: usize, key: usize| {
            let ahead = model.attention == Attention::Causal && key > query;
            ahead || model.window.is_some_and(|width| key + width <= query)
        };
        let mask: Vec<f64> =
            (0..n_ctx * n_ctx).map(|i| if hidden(i / n_ctx, i % n_ctx) { -1e5 } else { 0.0 }).collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (n_ctx, n_ctx), &Device::Cpu)?)?;
        let z = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let out = z.broadcast_matmul(self.p(&format!("{block}.attn.W_O")))?.sum(1)?;
        let b = format!("{block}.attn.b_O");
        if self.has(&b) { out.broadcast_add(self.p(&b)) } else { Ok(out) }
    }

    /// candle's own rotary embedding.
    fn rotated(&self, x: &Tensor) -> Result<Tensor> {
        let (n_ctx, half) = (x.dim(2)?, x.dim(3)? / 2);
        let base = self.config.model.rotary_base;
        let angle = |i: usize| (i / half) as f64 / base.powf((i % half) as f64 / half as f64);
        let angles = Tensor::from_vec((0..n_ctx * half).map(angle).collect(), (n_ctx, half), &Device::Cpu)?;
        candle_nn::rotary_emb::rope_slow(&x.contiguous()?, &angles.cos()?, &angles.sin()?)
    }

    fn embed(&self) -> Result<Tensor> {
        let config = self.config;
        let tokens = Tensor::from_slice(&config.tokens, config.tokens.len(), &Device::Cpu)?;
        let x = self.p("embed.W_E").index_select(&tokens, 0)?;
        x.reshape((config.examples(), config.task.n_ctx, config.model.d_model))
    }

    fn transformer(&self) -> Result<Tensor> {
        let mut x = self.embed()?;
        let positional = self.config.model.positional;
        let has_learned = matches!(positional, Positional::Learned | Positional::Shortformer);
        assert_eq!(self.has("pos_embed.W_pos"), has_learned);
        if positional == Positional::Learned {
            x = x.broadcast_add(self.p("pos_embed.W_pos"))?;
        } else if positional == Positional::Sinusoidal {
            x = x.broadcast_add(&sinusoids(self.config.task.n_ctx, self.config.model.d_model)?)?;
        }
        for layer in 0..self.config.model.n_layers {
            let block = format!("blocks.{layer}");
            if self.config.model.parallel {
                let attended = self.attention(&self.normalize(&x, &format!("{block}.ln1"))?, &block)?;
                x = ((&x + attended)? + self.layer(&self.normalize(&x, &format!("{block}.ln2"))?, &block)?)?;
                continue;
            }
            x = (&x + self.attention(&self.normalize(&x, &format!("{block}.ln1"))?, &block)?)?;
            if self.config.model.d_mlp > 0 {
                let normal = self.normalize(&x, &format!("{block}.ln2"))?;
                x = (&x + self.layer(&normal, &block)?)?;
            }
        }
        let x = self.normalize(&x, "ln_final")?;
        let at: Vec<u32> = self.config.task.loss_positions.iter().map(|&t| t as u32).collect();
        let x = x.index_select(&Tensor::new(at, &Device::Cpu)?, 1)?;
        assert_eq!(self.has("unembed.W_U"), !self.config.model.tied_unembed);
        if self.has("unembed.W_U") {
            return self.linear(&x, "unembed.W_U", "unembed.b_U");
        }
        let classes = self.p("embed.W_E").narrow(0, 0, self.config.task.d_vocab_out)?;
        let logits = x.broadcast_matmul(&classes.t()?)?;
        if self.has("unembed.b_U") { logits.broadcast_add(self.p("unembed.b_U")) } else { Ok(logits) }
    }

    /// A hidden layer and the way back to the residual stream.
    fn layer(&self, x: &Tensor, block: &str) -> Result<Tensor> {
        let model = &self.config.model;
        let [w_in, b_in] = ["W_in", "b_in"].map(|name| format!("{block}.mlp.{name}"));
        let mut hidden = if model.gated_mlp {
            let gate = self.act(&x.broadcast_matmul(self.p(&format!("{block}.mlp.W_gate")))?)?;
            let product = gate.mul(&x.broadcast_matmul(self.p(&w_in))?)?;
            if self.has(&b_in) { product.broadcast_add(self.p(&b_in))? } else { product }
        } else {
            self.act(&self.linear(x, &w_in, &b_in)?)?
        };
        if model.act == Act::SoluLn {
            let [w, b] = ["w", "b"].map(|name| self.p(&format!("{block}.mlp.ln.{name}")));
            hidden = candle_nn::ops::layer_norm_slow(&hidden, w, b, 1e-5)?;
        }
        self.linear(&hidden, &format!("{block}.mlp.W_out"), &format!("{block}.mlp.b_out"))
    }

    /// What the first layer reads: `[B, 1, width]`.
    fn mlp_input(&self) -> Result<Tensor> {
        let (task, model) = (&self.config.task, &self.config.model);
        if model.input == Input::Onehot {
            let width = task.varying_tokens;
            let codes = self.config.tokens.chunks_exact(task.n_ctx).flat_map(|tokens| {
                let code = |&t: &usize| (0..width).map(move |code| f64::from(u8::from(tokens[t] as usize == code)));
                task.varying_positions.iter().flat_map(code).collect::<Vec<_>>()
            });
            let shape = (self.config.examples(), 1, width * task.varying_positions.len());
            return Tensor::from_vec(codes.collect::<Vec<f64>>(), shape, &Device::Cpu);
        }
        let x = self.embed()?;
        let parts: Vec<Tensor> = task.varying_positions.iter().map(|&t| x.narrow(1, t, 1)).collect::<Result<_>>()?;
        match model.join {
            Join::Sum => parts[1..].iter().try_fold(parts[0].clone(), |sum, part| sum + part),
            Join::Concat => Tensor::cat(&parts, 2),
        }
    }

    fn mlp(&self) -> Result<Tensor> {
        let mut x = self.mlp_input()?;
        for layer in 0..self.config.model.n_layers {
            let fan_in = x.dim(2)? as f64;
            let [w, b] = ["W_in", "b_in"].map(|rest| format!("blocks.{layer}.mlp.{rest}"));
            x = self.act(&self.scaled(self.linear(&x, &w, &b)?, 1.0 / fan_in.sqrt())?)?;
        }
        let fan_in = x.dim(2)? as f64;
        self.scaled(self.linear(&x, "unembed.W_U", "unembed.b_U")?, 1.0 / fan_in)
    }

    /// Logits `[B, L, V]` and the loss.
    pub fn logits_and_loss(&self) -> Result<(Tensor, Tensor)> {
        let config = self.config;
        let logits = match config.model.family {
            Family::Transformer => self.transformer()?,
            Family::Mlp => self.mlp()?,
            Family::Outside(name) => unreachable!("{name} is not built in"),
        };
        let rows = logits.flatten_to(1)?;
        let (n, classes) = rows.dims2()?;
        let targets = Tensor::from_slice(&config.targets, (n, 1), &Device::Cpu)?;
        let row_loss = match config.loss.kind {
            LossKind::CrossEntropy => {
                candle_nn::ops::log_softmax(&rows, D::Minus1)?.gather(&targets, 1)?.squeeze(1)?.neg()?
            }
            LossKind::Mse => {
                let classes = Tensor::arange(0, classes as u32, &Device::Cpu)?.unsqueeze(0)?;
                let onehot = targets.broadcast_eq(&classes)?.to_dtype(DType::F64)?;
                (rows - onehot)?.sqr()?.mean(1)?
            }
            LossKind::Outside(name) => unreachable!("{name} is not built in"),
        };
        let weights = config.weights.clone().unwrap_or_else(|| vec![1.0; n]);
        let total: f64 = weights.iter().sum();
        let loss = ((row_loss * Tensor::from_vec(weights, n, &Device::Cpu)?)?.sum_all()? / total)?;
        Ok((logits, loss))
    }

    /// Gradient of every parameter, row-major.
    fn grads(&self, loss: &Tensor) -> Result<BTreeMap<String, Vec<f64>>> {
        let grads = loss.backward()?;
        (self.vars.iter())
            .map(|(name, var)| Ok((name.clone(), numbers(grads.get(var.as_tensor()).unwrap())?)))
            .collect()
    }
}

/// `[n_ctx, d]`, as section 3.5 of arXiv 1706.03762 has them.
fn sinusoids(n_ctx: usize, d: usize) -> Result<Tensor> {
    let number = |i: usize| {
        let (position, column) = ((i / d) as f64, i % d);
        let angle = position / 10_000f64.powf((column - column % 2) as f64 / d as f64);
        if column % 2 == 0 { angle.sin() } else { angle.cos() }
    };
    Tensor::from_vec((0..n_ctx * d).map(number).collect(), (n_ctx, d), &Device::Cpu)
}

fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    x.flatten_all()?.to_vec1()
}

#[test]
fn logits_loss_and_gradients_are_candles() {
    for config in configs::all() {
        let plan = config.plan_with(Savings::default(), &[Hook::value("logits")], &[]).unwrap();
        let batch = config.batch(&plan);
        let mut params = configs::params::<f64>(plan.params(), &[1]);
        let mut grads = Params::zeros(plan.params().clone(), 1);
        let witness = Witness::new(&config, &params);
        let (logits, loss) = witness.logits_and_loss().unwrap();

        let mut runner = Runner::new(plan.into(), Workers::new(1).unwrap());
        let (outcome, held) = runner.observe(&params, 0, &batch).unwrap();
        let at_losses = at_positions(&held[0], &config);
        let off = apart(&at_losses, &numbers(&logits).unwrap(), 0.0);
        assert!(off < 1e-10, "{}: logits are off by {off:e}", config.name);
        let loss_apart = (outcome.loss / loss.to_scalar::<f64>().unwrap() - 1.0).abs();
        assert!(loss_apart < 1e-10, "{}: the loss is off by {loss_apart:e}", config.name);

        let mut out = [StepOutcome::default()];
        runner.loss_and_grads(&mut params, &mut grads, std::slice::from_ref(&batch), &mut out).unwrap();
        assert_eq!(out[0].loss.to_bits(), outcome.loss.to_bits(), "{}: observing changes the loss", config.name);
        let own = named(&grads);
        let wanted = witness.grads(&loss).unwrap();
        let whole = norm(&wanted.values().flatten().copied().collect::<Vec<_>>());
        for (name, want) in wanted {
            let off = apart(&own[&name], &want, size_floor(&name, whole));
            assert!(off < 1e-10, "{}: gradient of {name} is off by {off:e}", config.name);
        }
    }
}

/// The rows of a tensor over all positions that enter the loss.
fn at_positions(held: &phaselab::tensor::Tensor, config: &Config) -> Vec<f64> {
    let all = held.to_f64();
    if held.shape[1] == config.task.loss_positions.len() {
        return all;
    }
    let width: usize = held.shape[2..].iter().product();
    let row = |b: usize, t: usize| &all[(b * held.shape[1] + t) * width..][..width];
    (0..held.shape[0]).flat_map(|b| config.task.loss_positions.iter().flat_map(move |&t| row(b, t).to_vec())).collect()
}

fn named(params: &Params<f64>) -> BTreeMap<String, Vec<f64>> {
    let infos = params.layout.infos.iter().enumerate();
    infos.map(|(id, info)| (info.name.clone(), params.get(0, id).collect())).collect()
}

/// AdamW (arXiv 1711.05101, algorithm 2), one number at a time.
struct Adamw<'a> {
    spec: &'a OptimSpec,
    moments: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Adamw<'_> {
    fn step(&mut self, step: u64, witness: &Witness<'_>, grads: &BTreeMap<String, Vec<f64>>) -> Result<()> {
        let (s, t) = (self.spec, step as i32 + 1);
        let lr = s.lr * f64::min(1.0, f64::from(t) / s.warmup_steps as f64);
        for (name, var) in &witness.vars {
            let mut w = numbers(var.as_tensor())?;
            let moments = self.moments.entry(name.clone()).or_insert_with(|| vec![[0.0; 2]; w.len()]);
            for ((w, g), [m, v]) in w.iter_mut().zip(&grads[name]).zip(moments) {
                *m = s.betas[0] * *m + (1.0 - s.betas[0]) * g;
                *v = s.betas[1] * *v + (1.0 - s.betas[1]) * g * g;
                let (m_hat, v_hat) = (*m / (1.0 - s.betas[0].powi(t)), *v / (1.0 - s.betas[1].powi(t)));
                *w -= lr * s.weight_decay * *w + lr * m_hat / (v_hat.sqrt() + s.eps);
            }
            var.set(&Tensor::from_vec(w, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

#[test]
fn ten_adamw_steps_are_candles() {
    // A large ε, so that the rounding errors that stand for b_K's gradient of zero are not blown up to full steps.
    let spec = OptimSpec { lr: 1e-2, warmup_steps: 3, eps: 1e-5, ..OptimSpec::default() };
    for config in configs::all() {
        let plan = config.plan();
        let batch = config.batch(&plan);
        let mut params = configs::params::<f64>(plan.params(), &[2]);
        let witness = Witness::new(&config, &params);
        let mut adamw = Adamw { spec: &spec, moments: BTreeMap::new() };
        let mut grads = Params::zeros(plan.params().clone(), 1);
        let mut moments = [grads.clone(), grads.clone()];
        let mut runner = Runner::new(plan, Workers::new(1).unwrap());
        let update = build::<f64>(&spec, Settings::new(&spec, &[0], 100));
        for step in 0..10 {
            let (_, loss) = witness.logits_and_loss().unwrap();
            adamw.step(step, &witness, &witness.grads(&loss).unwrap()).unwrap();
            let state = State { params: &mut params, grads: &mut grads, moments: &mut moments };
            let mut out = [StepOutcome::default()];
            runner.step(state, std::slice::from_ref(&batch), update.as_ref(), step, &mut out).unwrap();
            let off = (out[0].loss / loss.to_scalar::<f64>().unwrap() - 1.0).abs();
            assert!(off < 1e-8, "{}: the loss of step {step} is off by {off:e}", config.name);
        }
        for (name, own) in named(&params) {
            let off = apart(&own, &numbers(witness.vars[&name].as_tensor()).unwrap(), 0.0);
            assert!(off < 1e-8, "{}: {name} is off by {off:e} after ten steps", config.name);
        }
    }
}
