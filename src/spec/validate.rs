//! What a spec's types cannot tell: sizes that contradict each other, ranges, keys that another family reads.

use super::{
    Act, Attention, DataSpec, Dropout, Family, Formula, Init, Input, KeepBy, KeyFreqsBy, KeyRule, LossKind, LossSpec,
    MaskSpec, MeasureSpec, ModelSpec, Normalization, OptimKind, OptimSpec, Parametrization, Positional, Snapshots,
    Spec, SplitRule, StopMetric, TermSpec, TrainSpec,
};
use crate::error::Fault;
use crate::term;

impl Spec {
    /// All contradictions, with the key of each.
    pub fn faults(&self) -> Vec<Fault> {
        let mut found = Found(vec![]);
        data(&self.data, &mut found);
        model(&self.model, &mut found);
        smoothing(&self.loss, &mut found);
        terms(&self.loss, &mut found);
        optim(&self.optim, &mut found);
        train(&self.train, self.train.steps, &mut found);
        stop(&self.train, self.metrics_of(), &mut found);
        variants(self, &mut found);
        self.torch_seeds(&mut found);
        measure(&self.measure, &self.model, &mut found);
        found.check(self.optim.kind != OptimKind::Sgld || self.model.mask.is_none(), "model.mask", || {
            "SGLD's noise would move what is masked; remove it, or take another optim.kind".into()
        });
        self.toy_alone(&mut found);
        found.0
    }

    /// A toy model has no task and no network beside it.
    fn toy_alone(&self, found: &mut Found) {
        let Some(toy) = &self.toy else { return };
        let (by_name, muon) = (!self.optim.no_decay.is_empty() || !self.optim.freeze.is_empty(), OptimKind::Muon);
        found.check(self.optim.kind != muon && !by_name, "optim", || {
            "toy models have neither Muon nor frozen parameters nor parameters without decay; remove them".into()
        });
        let plain = Spec::default();
        for (is_plain, key) in [
            (self.task == plain.task, "task"),
            (self.data == plain.data, "data"),
            (self.model == plain.model, "model"),
            (self.loss == plain.loss, "loss"),
        ] {
            found.check(is_plain, key, || "stands beside [toy], which has its own; remove one of them".into());
        }
        found.check(
            toy.inverse_temperature.is_none() || self.optim.kind == OptimKind::Sgld,
            "toy.inverse_temperature",
            || "is read by SGLD alone; set optim.kind to `sgld`, or leave it out".into(),
        );
        toy.faults(&self.train.seeds.0, found);
    }

    /// PyTorch's generator reads 32 bits: larger seeds would give replicas the numbers of smaller ones.
    fn torch_seeds(&self, found: &mut Found) {
        let torch_split = self.data.split == SplitRule::TorchRandperm;
        let (key, who) = match (torch_split, self.model.init == Init::Torch) {
            (_, true) => ("model.init", "torch"),
            (true, false) => ("data.split", "torch_randperm"),
            (false, false) => return,
        };
        let fits = |seed: u64| seed <= u32::MAX.into();
        let large = self.train.seeds.0.iter().copied().find(|&seed| !fits(seed));
        found.check(large.is_none(), "train.seeds", || {
            format!(
                "{} does not fit 32 bits, all that PyTorch's generator reads ({key} = \"{who}\")",
                large.unwrap_or(0)
            )
        });
        found.check(!torch_split || self.data.seed.is_none_or(fits), "data.seed", || {
            "does not fit 32 bits, all that PyTorch's generator reads (data.split = \"torch_randperm\")".into()
        });
    }
}

/// Beyond this a model is no toy, and sizes could overflow.
const MAX_WIDTH: usize = 65_536;

pub(super) struct Found(pub(super) Vec<Fault>);

impl Found {
    pub(super) fn check(&mut self, ok: bool, key: &str, message: impl FnOnce() -> String) {
        if !ok {
            self.0.push(Fault { line: None, key: key.into(), message: message() });
        }
    }
}

fn data(data: &DataSpec, found: &mut Found) {
    found.check(data.test_examples > 0, "data.test_examples", || {
        "0 leaves a stream nothing to be tested on; it must be at least 1".into()
    });
    if let Some(frac) = data.train_frac {
        found.check(frac > 0.0 && frac <= 1.0, "data.train_frac", || {
            format!("{frac} leaves a split empty; it must be above 0 and at most 1")
        });
    }
}

fn mask(mask: &MaskSpec, found: &mut Found) {
    found.check(mask.keep_frac > 0.0 && mask.keep_frac <= 1.0, "model.mask.keep_frac", || {
        format!("{} is out of range; it must be above 0 and at most 1", mask.keep_frac)
    });
    found.check(mask.run.is_some() || mask.by == KeepBy::Random, "model.mask.run", || {
        "missing; the run whose weights tell which are the largest (or by = \"random\")".into()
    });
    found.check(mask.run.is_some() || mask.step.is_none(), "model.mask.step", || {
        "stands without model.mask.run; name the run, or remove it".into()
    });
}

fn model(m: &ModelSpec, found: &mut Found) {
    found.check(m.init_scale.is_finite() && m.init_scale >= 0.0, "model.init_scale", || {
        format!("{} is not a finite number of at least 0", m.init_scale)
    });
    if let Some(of) = &m.mask {
        mask(of, found);
    }
    let draws_alone = matches!(m.init, Init::Paper | Init::Gpt2 | Init::Unit) && m.layer.is_none();
    found.check(!m.nested_init || draws_alone, "model.nested_init", || {
        "is for the rules paper, gpt2 and unit, and models of phaselab's own; remove it".into()
    });
    if let Family::Outside(_) = m.family {
        return;
    }
    found.check((1..=12).contains(&m.n_layers), "model.n_layers", || {
        format!("{} layers; a model has 1 to 12", m.n_layers)
    });
    found.check((1..=MAX_WIDTH).contains(&m.d_model), "model.d_model", || format!("must be 1 to {MAX_WIDTH}"));
    found.check(m.d_mlp <= MAX_WIDTH, "model.d_mlp", || format!("must be at most {MAX_WIDTH}"));
    found.check(m.init != Init::Torch || m.layer.is_none(), "model.init", || {
        "`torch` does not know how a layer from outside starts; take another".into()
    });
    match m.family {
        Family::Transformer => transformer(m, found),
        Family::Mlp => mlp(m, found),
        Family::Outside(_) => {}
    }
    if m.init == Init::Gromov {
        gromov(m, found);
    }
}

fn transformer(m: &ModelSpec, found: &mut Found) {
    found.check(m.n_heads > 0, "model.n_heads", || "must be at least 1".into());
    match m.d_head {
        Some(d_head) => found.check(d_head > 0, "model.d_head", || "must be at least 1".into()),
        None => found.check(m.n_heads == 0 || m.d_model.is_multiple_of(m.n_heads), "model.n_heads", || {
            format!("{} heads do not divide d_model {}; set model.d_head, or another n_heads", m.n_heads, m.d_model)
        }),
    }
    let wide = m.n_heads.saturating_mul(m.d_head());
    found.check(wide <= MAX_WIDTH, "model.d_head", || {
        format!("{} heads of {} are wider than {MAX_WIDTH}", m.n_heads, m.d_head())
    });
    let kv_heads = m.n_kv_heads();
    found.check(kv_heads > 0 && m.n_heads.is_multiple_of(kv_heads.max(1)), "model.n_kv_heads", || {
        format!("{kv_heads} heads of keys do not divide {} heads; take a divisor, or leave it out", m.n_heads)
    });
    found.check(m.positional != Positional::Rotary || m.d_head().is_multiple_of(2), "model.positional", || {
        format!("rotary positions turn pairs of columns, and a head has {}; set an even model.d_head", m.d_head())
    });
    found.check(m.rotary_base.is_finite() && m.rotary_base > 1.0, "model.rotary_base", || {
        format!("{} is not a finite number above 1", m.rotary_base)
    });
    let Dropout { embedding, attention, hidden, residual } = m.dropout;
    for (key, rate) in [
        ("model.dropout.embedding", embedding),
        ("model.dropout.attention", attention),
        ("model.dropout.hidden", hidden),
        ("model.dropout.residual", residual),
    ] {
        found.check((0.0..1.0).contains(&rate), key, || format!("{rate} must be at least 0 and below 1"));
    }
    let has_mlp = m.d_mlp > 0 && m.layer.is_none();
    found.check(has_mlp || !m.gated_mlp, "model.gated_mlp", || "the model has no MLP of its own; remove it".into());
    found.check(m.d_mlp > 0 || m.layer.is_some() || !m.parallel, "model.parallel", || {
        "there is no MLP beside the attention; remove it, or set model.d_mlp".into()
    });
    found.check(m.init != Init::Torch || (!m.gated_mlp && m.n_kv_heads.is_none()), "model.init", || {
        "`torch` does not know gated MLPs and shared keys; take another".into()
    });
    found.check(m.window != Some(0), "model.window", || "must be at least 1; leave it out for no limit".into());
    found.check(m.window.is_none() || m.attention == Attention::Causal, "model.window", || {
        "a window reaches back from its position; remove it, or set model.attention = \"causal\"".into()
    });
    found.check(m.input == Input::Embed, "model.input", || {
        "a transformer reads embeddings; remove it, or set model.family = \"mlp\"".into()
    });
    found.check(m.parametrization == Parametrization::Standard, "model.parametrization", || {
        "only an MLP has factors before its layers; remove it, or set model.family = \"mlp\"".into()
    });
}

fn mlp(m: &ModelSpec, found: &mut Found) {
    found.check(m.d_mlp > 0, "model.d_mlp", || "an MLP needs a hidden layer of at least 1".into());
    found.check(m.d_head.is_none(), "model.d_head", || "an MLP has no heads; remove it".into());
    found.check(m.normalization == Normalization::None, "model.normalization", || {
        "an MLP has no normalisation; remove it".into()
    });
    found.check(m.positional == Positional::Learned, "model.positional", || {
        "an MLP reads its tokens in their order and has no positions; remove it".into()
    });
    found.check(m.attention == Attention::Causal && m.window.is_none(), "model.attention", || {
        "an MLP has no attention; remove it, and model.window".into()
    });
    found.check(m.dropout == Dropout::default(), "model.dropout", || {
        "only a transformer drops; remove it, or set model.family = \"transformer\"".into()
    });
    found.check(m.n_kv_heads.is_none(), "model.n_kv_heads", || "an MLP has no attention; remove it".into());
    found.check(!m.parallel, "model.parallel", || "an MLP has no attention; remove it".into());
    found.check(!m.gated_mlp, "model.gated_mlp", || {
        "only a transformer's MLPs are gated; remove it, or set model.family = \"transformer\"".into()
    });
    found.check(m.act != Act::SoluLn, "model.act", || "an MLP has no normalisation; use `solu`".into());
    found.check(!m.tied_unembed, "model.tied_unembed", || {
        "an MLP's W_U reads the last hidden layer, not the embedding's width; remove it".into()
    });
}

/// What the analytic weights are made for.
fn gromov(m: &ModelSpec, found: &mut Found) {
    let of_one_hot = m.family == Family::Mlp && m.input == Input::Onehot;
    let square = |text: &str| Formula::new(text).ok().map(|formula| formula.value().clone());
    let squares = match &m.act {
        Act::Square => true,
        Act::Formula(formula) => ["x^2", "x*x"].into_iter().filter_map(square).any(|square| square == *formula.value()),
        _ => false,
    };
    found.check(of_one_hot && m.n_layers == 1 && squares, "model.init", || {
        "gromov's weights are those of one hidden layer that squares one-hot tokens; set model.family = \"mlp\", \
         input = \"onehot\", n_layers = 1 and act = \"square\", or another init"
            .into()
    });
}

fn smoothing(loss: &LossSpec, found: &mut Found) {
    let smoothing = loss.label_smoothing;
    found.check((0.0..1.0).contains(&smoothing), "loss.label_smoothing", || {
        format!("{smoothing} must be at least 0 and below 1")
    });
    found.check(smoothing == 0.0 || loss.kind == LossKind::CrossEntropy, "loss.label_smoothing", || {
        "only cross-entropy has it; remove it, or set loss.kind = \"cross_entropy\"".into()
    });
}

fn terms(loss: &LossSpec, found: &mut Found) {
    for (i, term) in loss.terms.iter().enumerate() {
        let key = |name: &str| format!("loss.terms[{i}]{}{name}", if name.is_empty() { "" } else { "." });
        found.check(term.weight.is_finite(), &key("weight"), || format!("{} is not a finite number", term.weight));
        let from = term.from_step.max(term.freqs_at.unwrap_or(0));
        found.check(term.to_step.is_none_or(|to| to > from), &key("to_step"), || {
            let starts = if from == term.from_step { "from_step" } else { "freqs_at" };
            format!("{} is not after {starts} {from}: the term would never take part", term.to_step.unwrap_or_default())
        });
        let name = term.name();
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        found.check(!name.is_empty() && name.chars().all(letters), &key("name"), || {
            format!("`{name}` must be lower-case letters, digits and `_`: it names a column")
        });
        found.check(loss.terms[..i].iter().all(|other| other.name() != name), &key("name"), || {
            format!("two terms are called `{name}`; give one of them another `name`")
        });
        term_kind(term, &key, found);
    }
}

fn term_kind(term: &TermSpec, key: &dyn Fn(&str) -> String, found: &mut Found) {
    let kinds = [("measure", term.measure.is_some()), ("expr", term.expr.is_some()), ("loss", term.loss.is_some())];
    let mut there = kinds.iter().filter(|(_, is_there)| *is_there);
    let Some((first, _)) = there.next() else {
        return found.check(false, &key(""), || {
            "a term needs `measure = \"…\"` (`phaselab list terms`), `expr = \"…\"` or `loss = \"…\"`".into()
        });
    };
    if let Some((second, _)) = there.next() {
        return found.check(false, &key(second), || {
            format!("stands beside `{first}`; a term is one or the other: write two terms")
        });
    }
    if term.measure.is_some() {
        found.check(term.freqs.is_none() || term.freqs_at.is_none(), &key("freqs_at"), || {
            "stands beside `freqs`; frequencies are given or found, not both".into()
        });
    } else {
        found.check(term.freqs.is_none(), &key("freqs"), || "is for `measure`; remove it".into());
        found.check(term.freqs_at.is_none(), &key("freqs_at"), || "is for `measure`; remove it".into());
    }
    let Some(expr) = &term.expr else {
        return found.check(term.over.is_none(), &key("over"), || "is for `expr`; remove it".into());
    };
    let Some(over) = &term.over else {
        return found.check(false, &key("over"), || {
            "missing; the parameters' name, as `embed.W_E` or `blocks.*.mlp.*`, or `logits`".into()
        });
    };
    if let Err(e) = term::parse_expr(expr, over == term::LOGITS) {
        found.check(false, &key("expr"), || format!("`{expr}`: {e}"));
    }
}

fn optim(o: &OptimSpec, found: &mut Found) {
    found.check(o.lr.is_finite() && o.lr >= 0.0, "optim.lr", || {
        format!("{} is not a finite number of at least 0", o.lr)
    });
    found.check(o.weight_decay.is_finite() && o.weight_decay >= 0.0, "optim.weight_decay", || {
        format!("{} is not a finite number of at least 0", o.weight_decay)
    });
    found.check(o.betas.iter().all(|b| (0.0..1.0).contains(b)), "optim.betas", || {
        format!("{:?} must both be at least 0 and below 1", o.betas)
    });
    found.check(o.eps >= 0.0, "optim.eps", || format!("{} must be at least 0", o.eps));
    found.check((0.0..1.0).contains(&o.momentum), "optim.momentum", || {
        format!("{} must be at least 0 and below 1", o.momentum)
    });
    found.check(o.inverse_temperature.is_finite() && o.inverse_temperature > 0.0, "optim.inverse_temperature", || {
        format!("{} is not a finite number above 0", o.inverse_temperature)
    });
    found.check(o.localization.is_finite() && o.localization >= 0.0, "optim.localization", || {
        format!("{} is not a finite number of at least 0", o.localization)
    });
    found.check(o.clip_norm.is_none_or(|c| c > 0.0), "optim.clip_norm", || {
        "must be above 0; leave it out for no clipping".into()
    });
    found.check(o.kind != OptimKind::Muon || o.grokfast.is_none(), "optim.grokfast", || {
        "filters numbers one by one, and Muon needs whole matrices; remove it, or take another optim.kind".into()
    });
    found.check(o.kind != OptimKind::Sgld || o.grokfast.is_none(), "optim.grokfast", || {
        "filters gradients, so that SGLD would sample no posterior; remove it, or take another optim.kind".into()
    });
    if let Some(filter) = &o.grokfast {
        found.check((0.0..1.0).contains(&filter.alpha), "optim.grokfast.alpha", || {
            format!("{} must be at least 0 and below 1", filter.alpha)
        });
        found.check(filter.lamb.is_finite() && filter.lamb >= 0.0, "optim.grokfast.lamb", || {
            format!("{} is not a finite number of at least 0", filter.lamb)
        });
    }
}

fn train(t: &TrainSpec, steps: u64, found: &mut Found) {
    found.check(t.eval_every > 0, "train.eval_every", || "must be at least 1".into());
    found.check(t.resume_every > 0, "train.resume_every", || "must be at least 1".into());
    found.check(t.batch_size != Some(0), "train.batch_size", || {
        "must be at least 1; leave it out for all examples".into()
    });
    let Snapshots { every, powers_then_every, windows, list, .. } = &t.snapshots;
    found.check(*every != Some(0), "train.snapshots.every", || "must be at least 1".into());
    found.check(*powers_then_every != Some(0), "train.snapshots.powers_then_every", || "must be at least 1".into());
    for &[from, to, every] in windows {
        found.check(from <= to && every > 0, "train.snapshots.windows", || {
            format!("[{from}, {to}, {every}] is not a window [from, to, every] with from ≤ to and every ≥ 1")
        });
    }
    for &step in list {
        found.check(step <= steps, "train.snapshots.list", || format!("step {step} is after the last one, {steps}"));
    }
}

fn stop(t: &TrainSpec, loss: LossKind, found: &mut Found) {
    let Some(stop) = &t.stop else { return };
    let in_nats = matches!(stop.metric, StopMetric::TrainLossNats | StopMetric::TestLossNats);
    found.check(!in_nats || loss == LossKind::CrossEntropy, "train.stop.metric", || {
        format!("the loss is `{}`, which is not in nats; take train_loss or test_loss", String::from(loss))
    });
    found.check(stop.evals > 0, "train.stop.evals", || "must be at least 1".into());
    found.check(stop.threshold.is_finite(), "train.stop.threshold", || "must be a finite number".into());
}

/// Whether a change is one of the arms or the sweep.
fn of_variants(set: &str) -> bool {
    let section = set.trim().split(['.', '[', '=', ' ']).next();
    matches!(section, Some("arms" | "sweep"))
}

fn variants(spec: &Spec, found: &mut Found) {
    for (i, arm) in spec.arms.iter().enumerate() {
        let key = format!("arms[{i}].name");
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        found.check(!arm.name.is_empty() && arm.name.chars().all(usable) && !arm.name.starts_with('.'), &key, || {
            format!("`{}` cannot name a folder; use letters, digits, `_`, `-` and `.`", arm.name)
        });
        found.check(!matches!(arm.name.as_str(), "figures" | "summary.csv" | "variants.toml"), &key, || {
            format!("`{}` is a file of the comparison; take another name", arm.name)
        });
        for set in &arm.set {
            let own = of_variants(set);
            found.check(!own, &format!("arms[{i}].set"), || format!("`{set}`: an arm has no arms or sweep of its own"));
        }
        found.check(spec.arms[..i].iter().all(|other| other.name != arm.name), &key, || {
            format!("`{}` stands twice", arm.name)
        });
    }
    if let Some(sweep) = &spec.sweep {
        found.check(!sweep.key.is_empty(), "sweep.key", || "missing; a key like `data.train_frac`".into());
        found.check(!of_variants(&sweep.key), "sweep.key", || "a sweep has no arms or sweep of its own".into());
        found.check(!sweep.values.is_empty(), "sweep.values", || "missing; the values of the key, as a list".into());
        for (i, value) in sweep.values.iter().enumerate() {
            found.check(!sweep.values[..i].contains(value), "sweep.values", || format!("{value} stands twice"));
        }
    }
}

fn measure(m: &MeasureSpec, model: &ModelSpec, found: &mut Found) {
    match &m.key_freqs {
        KeyFreqsBy::List(list) => {
            let ascending: Vec<usize> =
                list.iter().copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            found.check(
                !list.is_empty() && !list.contains(&0) && ascending.len() == list.len(),
                "measure.key_freqs",
                || format!("{list:?} is not a list of frequencies from 1, each once; or name a rule, like w_l"),
            );
        }
        KeyFreqsBy::Rule(KeyRule::Neurons) => {
            found.check(model.d_mlp > 0, "measure.key_freqs", || {
                "the rule neurons needs hidden layers, and model.d_mlp is 0; take another rule".into()
            });
        }
        KeyFreqsBy::Rule(_) => {}
    }
    for (i, name) in m.names.iter().enumerate() {
        found.check(!m.names[..i].contains(name), "measure.names", || format!("`{name}` stands twice"));
    }
    for (key, frac) in [("measure.key_frac", m.key_frac), ("measure.cluster_frac", m.cluster_frac)] {
        found.check(frac > 0.0 && frac <= 1.0, key, || format!("{frac} must be above 0 and at most 1"));
    }
    let sgld = &m.sgld;
    found.check(sgld.chains >= 1, "measure.sgld.chains", || "must be at least 1".into());
    found.check(sgld.burn_in < sgld.steps, "measure.sgld.burn_in", || {
        format!("{} must be less than measure.sgld.steps, {}", sgld.burn_in, sgld.steps)
    });
    found.check(sgld.lr.is_finite() && sgld.lr > 0.0, "measure.sgld.lr", || {
        format!("{} must be a finite number above 0", sgld.lr)
    });
    found.check(
        sgld.inverse_temperature.is_none_or(|x| x.is_finite() && x > 0.0),
        "measure.sgld.inverse_temperature",
        || "must be a finite number above 0; leave it out for n / ln n".into(),
    );
    found.check(sgld.localization.is_finite() && sgld.localization >= 0.0, "measure.sgld.localization", || {
        format!("{} is not a finite number of at least 0", sgld.localization)
    });
    found.check(m.key_norm.is_finite() && m.key_norm > 0.0, "measure.key_norm", || {
        format!("{} must be a finite number above 0", m.key_norm)
    });
}
