//! What tests of measures share: snapshots in memory, a model whose activations are among its parameters, and lines of fixtures.

use super::subject::Matrix;
use super::*;
use crate::engine::Hook;
use crate::task::{Labels, Numbers, Op, Widths};
use crate::tensor::{Data, Tensor};

/// Snapshots in memory; the logits of a checkpoint travel as the parameter `logits`.
pub(super) struct Memory {
    pub(super) steps: Vec<u64>,
    pub(super) seeds: Vec<u64>,
    pub(super) mask_rn: Vec<bool>,
    pub(super) params_s: Vec<Vec<Tensor>>,
}

impl SnapshotSource for Memory {
    fn steps(&self) -> &[u64] {
        &self.steps
    }

    fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    fn train_mask_rn(&self) -> &[bool] {
        &self.mask_rn
    }

    fn params(&self, step: u64) -> Result<Vec<Tensor>> {
        let s = self.steps.iter().position(|&s| s == step).expect("invariant: the driver asks for steps there are");
        Ok(self.params_s[s].clone())
    }
}

/// A model whose logits are one of its parameters.
pub(super) struct Given;

impl Forward for Given {
    fn observe(&self, params: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        let given = |hook: &Hook| {
            let name = hook.name.trim_end_matches(".at_loss");
            Matrix::of(params, name)?;
            Ok(params.iter().find(|tensor| tensor.name == name).expect("invariant: found above").clone())
        };
        hooks.iter().map(given).collect()
    }

    fn logit_gradients(&self, params: &[Tensor], _: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.observe(params, hooks)
    }
}

/// A model that must not be run.
pub(crate) struct Never;

impl Forward for Never {
    fn observe(&self, _: &[Tensor], _: &[Hook]) -> Result<Vec<Tensor>> {
        Err(Error::Value { what: "forward".into(), got: "called".into(), expected: "never called".into() })
    }

    fn logit_gradients(&self, params: &[Tensor], _: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.observe(params, hooks)
    }
}

pub(super) fn tensor(name: &str, shape: &[usize], values: Vec<f64>) -> Tensor {
    Tensor::new(name, shape.to_vec(), Data::F64(values)).expect("invariant: test sizes fit")
}

/// With a leading replica axis of one.
pub(super) fn grown(params: &[Tensor]) -> Vec<Tensor> {
    params.iter().map(|t| Tensor { shape: [&[1], t.shape.as_slice()].concat(), ..t.clone() }).collect()
}

/// All pairs mod p and their answers.
pub(super) fn grid(p: usize, op: Op) -> (Vec<[u32; 2]>, Vec<u32>) {
    let p = p as u32;
    let pairs: Vec<[u32; 2]> = (0..p * p).map(|n| [n / p, n % p]).collect();
    let answer = |&[a, b]: &[u32; 2]| match op {
        Op::Sub => (a + p - b) % p,
        Op::Mul => a * b % p,
        _ => (a + b) % p,
    };
    let targets = pairs.iter().map(answer).collect();
    (pairs, targets)
}

pub(super) fn setting<'a>(
    p: usize,
    op: Op,
    pairs: &'a [[u32; 2]],
    targets: &'a [u32],
    params: &[Tensor],
) -> Setting<'a> {
    let n_classes = params.iter().find(|t| t.name == "logits").map_or(p, |t| t.shape[t.shape.len() - 1]);
    let modular = Some(Modular { p, op: Some(op), pairs, ops: &[], op_of: &[] });
    let examples = Examples { n_examples: pairs.len(), n_classes, targets, modular, ..Examples::default() };
    let is_weight = |t: &&Tensor| t.name != "logits" && !t.name.contains("hook_");
    let own: Vec<Tensor> = params.iter().filter(is_weight).cloned().collect();
    let hooks = params.iter().filter(|t| t.name.contains("hook_"));
    let hooks = hooks.map(|t| HookShape { name: t.name.clone(), positions: vec![2], axes: t.shape[3..].to_vec() });
    let hooks = hooks.collect();
    let positions = vec![0, 1];
    Setting {
        hooks,
        loss_positions: vec![2],
        varying_positions: positions.clone(),
        operand_positions: positions,
        readout: Some(1.0),
        ..Setting::new(examples, &own)
    }
}

/// Whether all numbers are equal to a fraction, and NaN where NaN is expected.
pub(super) fn close(got: &[f64], expected: &[f64], tolerance: f64) -> bool {
    let same = |(x, y): (&f64, &f64)| (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * (1.0 + y.abs());
    got.len() == expected.len() && got.iter().zip(expected).all(same)
}

/// A line of a fixture: a name, sizes and values.
pub(super) fn parse(line: &str) -> (String, Tensor) {
    let mut fields = line.split(' ');
    let (name, sizes) = (fields.next().expect("a name"), fields.next().expect("sizes"));
    let shape: Vec<usize> = sizes.split('x').map(|size| size.parse().expect("a size")).collect();
    (name.to_owned(), tensor(name, &shape, fields.map(|x| x.parse().expect("a number")).collect()))
}

/// What a measure says of three examples with two loss positions, 3 and 5, and three classes: logits are 4 for the class that is
/// answered and 0 for the others; the first example is for training; labels are 3, 1 and 3.
pub(super) fn answered(
    measure: &dyn Measure,
    answers: &[[u32; 2]; 3],
    targets: &[[u32; 2]; 3],
    weights: &[f64; 6],
) -> Vec<Vec<f64>> {
    let labels = Labels { name: "length", of: vec![3, 1, 3] };
    let logit = |answer: u32, class: u32| if answer == class { 4.0 } else { 0.0 };
    let logits: Vec<f64> = answers.iter().flatten().flat_map(|&a| (0..3).map(move |class| logit(a, class))).collect();
    let examples = Examples {
        n_examples: 3,
        n_classes: 3,
        targets: targets.as_flattened(),
        weights: Some(weights),
        labels: Some(&labels),
        ..Examples::default()
    };
    let setting = Setting { loss_positions: vec![3, 5], ..Setting::new(examples, &[]) };
    measure.fits(&setting).expect("it fits");
    evaluated(measure, &setting, &[true, false, false], &[], &logits)
}

/// What a measure says of three examples that are asked for two numbers at two positions each, the first for training, of lengths 3, 1
/// and 3. Squared errors are 2 and 2, 4.5 and 0.5, 0.5 and, where the last asks nothing, 81.
pub(super) fn numbered(measure: &dyn Measure) -> Vec<Vec<f64>> {
    let outputs = [1.0, 0.0, 2.0, 2.0, 0.0, 3.0, 1.0, 1.0, 1.0, 1.0, 9.0, 9.0];
    let y_bln = vec![1.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
    let labels = Labels { name: "length", of: vec![3, 1, 3] };
    let numbers = Numbers { x_btn: vec![0.0; 18], y_bln, widths: Widths { x: 1, y: 2 } };
    let examples = Examples {
        n_examples: 3,
        n_classes: 2,
        weights: Some(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        labels: Some(&labels),
        numbers: Some(&numbers),
        ..Examples::default()
    };
    let setting = Setting { loss_positions: vec![3, 5], ..Setting::new(examples, &[]) };
    measure.fits(&setting).expect("it fits");
    evaluated(measure, &setting, &[true, false, false], &[], &outputs)
}

/// What a measure says of parameters alone.
pub(super) fn of_params(measure: &dyn Measure, params: &[Tensor]) -> Vec<Vec<f64>> {
    let setting = Setting::new(Examples::default(), &grown(params));
    measure.fits(&setting).expect("it fits");
    evaluated(measure, &setting, &[], params, &[])
}

fn evaluated(
    measure: &dyn Measure,
    setting: &Setting,
    train_mask: &[bool],
    params: &[Tensor],
    logits: &[f64],
) -> Vec<Vec<f64>> {
    let shared = Shared::default();
    let subject = Subject {
        setting,
        replica: 0,
        train_mask,
        params,
        logits,
        activations: &[],
        model: &Never,
        key_freqs: &[],
        shared: &shared,
    };
    let columns = measure.eval(&subject).expect("it has all it needs");
    assert!(columns.iter().map(Vec::len).eq(measure.columns(setting).iter().map(Column::width)));
    columns
}
