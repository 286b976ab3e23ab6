//! What a spec's types cannot tell: sizes that contradict each other, ranges, keys that another family reads.

use super::{DataSpec, Family, KeyFreqsBy, KeyRule, MeasureSpec, ModelSpec, OptimSpec, Snapshots, Spec, TrainSpec};
use crate::error::Fault;

impl Spec {
    /// All contradictions, with the key of each.
    pub fn faults(&self) -> Vec<Fault> {
        let mut found = Found(vec![]);
        data(&self.data, &mut found);
        model(&self.model, &mut found);
        optim(&self.optim, &mut found);
        train(&self.train, self.train.steps, &mut found);
        measure(&self.measure, &self.model, &mut found);
        found.0
    }
}

/// Beyond this a model is no toy, and sizes could overflow.
const MAX_WIDTH: usize = 65_536;

struct Found(Vec<Fault>);

impl Found {
    fn check(&mut self, ok: bool, key: &str, message: impl FnOnce() -> String) {
        if !ok {
            self.0.push(Fault { line: None, key: key.into(), message: message() });
        }
    }
}

fn data(data: &DataSpec, found: &mut Found) {
    if let Some(frac) = data.train_frac {
        found.check(frac > 0.0 && frac <= 1.0, "data.train_frac", || {
            format!("{frac} leaves a split empty; it must be above 0 and at most 1")
        });
    }
}

fn model(m: &ModelSpec, found: &mut Found) {
    let layers = if m.family == Family::Transformer { 1..=4 } else { 1..=3 };
    found.check(layers.contains(&m.n_layers), "model.n_layers", || {
        format!("{} layers; this family has {} to {}", m.n_layers, layers.start(), layers.end())
    });
    found.check((1..=MAX_WIDTH).contains(&m.d_model), "model.d_model", || format!("must be 1 to {MAX_WIDTH}"));
    found.check(m.d_mlp <= MAX_WIDTH, "model.d_mlp", || format!("must be at most {MAX_WIDTH}"));
    found.check(m.init_scale.is_finite() && m.init_scale >= 0.0, "model.init_scale", || {
        format!("{} is not a finite number of at least 0", m.init_scale)
    });
    match m.family {
        Family::Transformer => {
            found.check(m.n_heads > 0, "model.n_heads", || "must be at least 1".into());
            match m.d_head {
                Some(d_head) => found.check(d_head > 0, "model.d_head", || "must be at least 1".into()),
                None => found.check(m.n_heads == 0 || m.d_model.is_multiple_of(m.n_heads), "model.n_heads", || {
                    format!(
                        "{} heads do not divide d_model {}; set model.d_head, or another n_heads",
                        m.n_heads, m.d_model
                    )
                }),
            }
            let wide = m.n_heads.saturating_mul(m.d_head());
            found.check(wide <= MAX_WIDTH, "model.d_head", || {
                format!("{} heads of {} are wider than {MAX_WIDTH}", m.n_heads, m.d_head())
            });
        }
        Family::Mlp => {
            found.check(m.d_mlp > 0, "model.d_mlp", || "an MLP needs a hidden layer of at least 1".into());
            found.check(m.d_head.is_none(), "model.d_head", || "an MLP has no heads; remove it".into());
        }
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
    found.check(o.clip_norm.is_none_or(|c| c > 0.0), "optim.clip_norm", || {
        "must be above 0; leave it out for no clipping".into()
    });
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
    if let Some(stop) = &t.stop {
        found.check(stop.evals > 0, "train.stop.evals", || "must be at least 1".into());
        found.check(stop.threshold.is_finite(), "train.stop.threshold", || "must be a finite number".into());
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
    for (key, frac) in [("measure.key_frac", m.key_frac), ("measure.cluster_frac", m.cluster_frac)] {
        found.check(frac > 0.0 && frac <= 1.0, key, || format!("{frac} must be above 0 and at most 1"));
    }
    found.check(m.key_norm.is_finite() && m.key_norm > 0.0, "measure.key_norm", || {
        format!("{} must be a finite number above 0", m.key_norm)
    });
}
