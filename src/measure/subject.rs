//! What measures read: the examples, and one replica at one checkpoint.
//!
//! Reads: nothing itself; views borrow from the task and the snapshots. Shapes: `N` examples, `L` loss positions an
//! example, parameters with TransformerLens's names and shapes and no replica axis.

use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::{Error, Result};
use crate::measure::clusters::Clusters;
use crate::measure::group::{Group, Pairs};
use crate::measure::sums::Sums;
use crate::measure::weights::w_l;
use crate::measure::{clusters, group};
use crate::spec::{Draws, MeasureSpec, ToyReplica, ToySpec};
use crate::task::{Labels, Numbers, Op, Operation, Rule, Task};
use crate::tensor::{Data, Tensor};
use crate::toy::{self, Network, Stream};

/// A modular task: two operands, one answer.
#[derive(Debug, Clone, Copy)]
pub struct Modular<'a> {
    /// The modulus.
    pub p: usize,
    /// The operation, if it is the only one and has a name: `None` for other expressions, and for several operations in one task.
    pub op: Option<Op>,
    /// `[N]` operands (a, b) of each example.
    pub pairs: &'a [[u32; 2]],
    /// All operations of the task.
    pub ops: &'a [Operation],
    /// `[N]` the place in `ops` of each example's operation.
    pub op_of: &'a [u32],
}

impl<'a> From<&'a crate::task::Modular> for Modular<'a> {
    fn from(task: &'a crate::task::Modular) -> Modular<'a> {
        Modular { p: task.p as usize, op: task.op(), pairs: &task.pairs, ops: &task.ops, op_of: &task.op_of }
    }
}

/// The examples that every replica is measured on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Examples<'a> {
    /// N.
    pub n_examples: usize,
    /// Width of the logits.
    pub n_classes: usize,
    /// `[N, L]` right answers.
    pub targets: &'a [u32],
    /// `[N, L]` weight of each answer in the loss, 0 where nothing is asked; 1 for all when unset.
    pub weights: Option<&'a [f64]>,
    /// What examples are told apart by, if by anything.
    pub labels: Option<&'a Labels>,
    /// The operands, for modular tasks.
    pub modular: Option<Modular<'a>>,
    /// `[N, n_ctx]` what the model reads.
    pub tokens: &'a [u32],
    /// What the model reads and is asked for, where that is real numbers.
    pub numbers: Option<&'a Numbers>,
    /// What makes the examples, where it is a rule.
    pub rule: Option<&'a dyn Rule>,
    /// `[N]` the operands that the rule makes each example from; empty without one.
    pub operands: &'a [Vec<u32>],
}

impl<'a> From<&'a Task> for Examples<'a> {
    fn from(task: &'a Task) -> Examples<'a> {
        Examples {
            n_examples: task.n_examples(),
            n_classes: task.d_vocab_out,
            targets: &task.targets_bl,
            weights: task.weights_bl.as_deref(),
            labels: task.labels.as_ref(),
            modular: task.modular.as_ref().map(Modular::from),
            tokens: &task.tokens_bt,
            numbers: task.numbers.as_ref(),
            rule: task.rule.as_deref(),
            operands: &task.operands,
        }
    }
}

impl Examples<'_> {
    /// Loss positions an example, L.
    pub fn n_positions(&self) -> usize {
        let rows = self.numbers.map_or(self.targets.len(), |numbers| numbers.y_bln.len() / numbers.widths.y);
        rows.checked_div(self.n_examples).unwrap_or(0)
    }
}

/// Name and shape of a parameter, without the replica axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamShape {
    /// TransformerLens's name.
    pub name: String,
    /// Sizes, slowest axis first.
    pub shape: Vec<usize>,
}

/// Name and shape of an activation, without the examples' axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookShape {
    /// TransformerLens's name.
    pub name: String,
    /// Positions at which the model has it, ascending.
    pub positions: Vec<usize>,
    /// Sizes after the positions: `[n_heads, d_head]`, `[d_mlp]`, …
    pub axes: Vec<usize>,
}

/// What stays the same over checkpoints and replicas: enough to tell which measures fit, and their columns.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// The examples.
    pub examples: Examples<'a>,
    /// The parameters, in the order of the snapshots.
    pub params: Vec<ParamShape>,
    /// The activations that the model has.
    pub hooks: Vec<HookShape>,
    /// Positions whose logits enter the loss.
    pub loss_positions: Vec<usize>,
    /// Positions at which more than one token can stand: what an MLP reads, block by block.
    pub varying_positions: Vec<usize>,
    /// Positions of the operands of [`Modular::pairs`].
    pub operand_positions: Vec<usize>,
    /// The factor with which the logits read the last hidden layer through W_L; none where they do not, or nobody knows.
    pub readout: Option<f64>,
    /// How measures with a choice are taken: key frequencies, cuts, the order of the basis.
    pub options: MeasureSpec,
    /// The features of toy models; none for a task.
    pub toy: Option<ToySetting<'a>>,
    /// [`Setting::baseline_losses`], once they are known.
    pub baselines: Arc<OnceLock<Vec<f64>>>,
}

/// What toy models are trained on.
#[derive(Debug, Clone)]
pub struct ToySetting<'a> {
    /// The spec's section.
    pub spec: &'a ToySpec,
    /// `[R]` settings of each replica.
    pub replicas: Arc<[ToyReplica]>,
    /// The learning rate, where updates are plain gradient descent at a constant one.
    pub descent_rate: Option<f64>,
}

/// The examples of evaluations, and a toy model on them.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// How they were drawn.
    pub examples: toy::Examples,
    /// `[b, n]` features.
    pub x_bn: Vec<f64>,
    /// For each layer `[b, width]`, the outputs last.
    pub layers: Vec<Vec<f64>>,
}

impl ToySetting<'_> {
    /// The examples of a replica's evaluations, and what every layer of a model gives for each.
    ///
    /// # Errors
    /// As [`Network::activations`].
    pub fn evaluated(&self, replica: usize, params: &[Tensor]) -> Result<Evaluated> {
        let examples = toy::Examples::new(self.spec, &self.replicas[replica]);
        let x_bn = examples.rows(&Stream::evaluation(self.seed_of_draws(replica)), self.spec.eval_examples);
        let layers = Network::new(self.spec).activations(params, &x_bn)?;
        Ok(Evaluated { examples, x_bn, layers })
    }

    /// The seed of a replica's examples: its own, or the first replica's where all share theirs.
    pub fn seed_of_draws(&self, replica: usize) -> u64 {
        match self.spec.draws {
            Draws::Replica => self.replicas[replica].seed,
            Draws::Shared => self.replicas[0].seed,
        }
    }
}

impl<'a> Setting<'a> {
    /// The setting of `examples` and of parameters as snapshots have them, with a leading replica axis; a model of which no
    /// activations are known, until the fields about them are filled.
    pub fn new(examples: Examples<'a>, params: &[Tensor]) -> Setting<'a> {
        let shape = |tensor: &Tensor| tensor.shape.iter().skip(1).copied().collect();
        let params = params.iter().map(|tensor| ParamShape { name: tensor.name.clone(), shape: shape(tensor) });
        let params = params.collect();
        Setting {
            examples,
            params,
            hooks: vec![],
            loss_positions: vec![],
            varying_positions: vec![],
            operand_positions: vec![],
            readout: None,
            options: MeasureSpec::default(),
            toy: None,
            baselines: Arc::default(),
        }
    }

    /// The shape of a parameter, if the model has it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.params.iter().find(|param| param.name == name).map(|param| param.shape.as_slice())
    }

    /// The activation of that name, if the model has it.
    pub fn hook(&self, name: &str) -> Option<&HookShape> {
        self.hooks.iter().find(|hook| hook.name == name)
    }

    /// `[N, baselines, L]`: the losses of the exact predictors of the task's rule; the same at every checkpoint of every replica.
    pub fn baseline_losses(&self) -> &[f64] {
        let of = |rule: &dyn Rule| self.examples.operands.iter().flat_map(|of| rule.baseline_losses(of)).collect();
        self.baselines.get_or_init(|| self.examples.rule.map_or(vec![], of))
    }

    /// The modulus of a modular task.
    pub fn p(&self) -> Option<usize> {
        self.examples.modular.map(|modular| modular.p)
    }
}

/// What is derived from one replica's activations at one checkpoint when the first measure asks for it.
#[derive(Debug, Default)]
pub struct Shared {
    logits: OnceCell<Sums>,
    neurons: OnceCell<Sums>,
    clusters: OnceCell<Clusters>,
    w_l: OnceCell<Vec<f64>>,
}

/// One replica at one checkpoint.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What all subjects share.
    pub setting: &'a Setting<'a>,
    /// Index of the replica.
    pub replica: usize,
    /// `[N]` whether an example is in the training split.
    pub train_mask: &'a [bool],
    /// Parameters in f64, no replica axis.
    pub params: &'a [Tensor],
    /// `[N, L, n_classes]` logits of all examples; empty when no measure asked for them.
    pub logits: &'a [f64],
    /// What the measures asked for, in f64.
    pub activations: &'a [(Hook, Tensor)],
    /// The model, for forward passes beyond the one that all measures share: each costs as much again.
    pub model: &'a dyn Forward,
    /// Key frequencies of this replica, as [`Setting::options`] say; empty when no measure asked for them.
    pub key_freqs: &'a [usize],
    /// What several measures derive from the activations.
    pub shared: &'a Shared,
}

impl<'a> Subject<'a> {
    /// The modular task, for measures that fit no other.
    ///
    /// # Errors
    /// [`Error::Shape`] when the task is another one.
    pub fn modular(&self) -> Result<Modular<'a>> {
        self.setting.examples.modular.ok_or_else(|| Error::Shape {
            op: "task".into(),
            expected: "a modular task".into(),
            got: "a task without modulus".into(),
        })
    }

    /// The group of the task, for measures that fit no other.
    ///
    /// # Errors
    /// [`Error::Shape`] when the task has none.
    pub fn group(&self) -> Result<Group> {
        Group::of(self.setting).map_err(no_group)
    }

    /// The group of the task and the elements of each example, for measures that read all pairs.
    ///
    /// # Errors
    /// [`Error::Shape`] when the examples are not all pairs of a group.
    pub fn pairs(&self) -> Result<(Group, Pairs)> {
        let group = self.group()?;
        let pairs = group::pairs(self.setting, &group).map_err(no_group)?;
        Ok((group, pairs))
    }

    /// Sums of the logits over all pairs, `[n_classes]` wide.
    ///
    /// # Errors
    /// [`Error::Shape`] when the task has no group.
    pub fn logit_sums(&self) -> Result<&'a Sums> {
        self.sums(&self.shared.logits, || Ok((self.logits, self.setting.examples.n_classes)))
    }

    /// Sums of the last hidden layer's activations over all pairs, `[d_mlp]` wide.
    ///
    /// # Errors
    /// [`Error::Shape`] when the task has no group; [`Error::Unknown`] when the activations were not asked for.
    pub fn neuron_sums(&self) -> Result<&'a Sums> {
        self.sums(&self.shared.neurons, || {
            let hook = clusters::hook(self.setting).ok_or_else(|| no_group("the model has no neurons".into()))?;
            let neurons = self.activation(&hook)?;
            Ok((neurons.values, neurons.shape.last().copied().unwrap_or(1)))
        })
    }

    /// The clusters of the last hidden layer's neurons.
    ///
    /// # Errors
    /// As [`Subject::neuron_sums`].
    pub fn clusters(&self) -> Result<&'a Clusters> {
        let neurons = self.neuron_sums()?;
        Ok(self.shared.clusters.get_or_init(|| Clusters::of(neurons, self.setting.options.cluster_frac)))
    }

    /// W_L transposed: a row an element of the group.
    ///
    /// # Shapes
    /// `[order, d_mlp]`, as [`w_l`] gives it
    ///
    /// # Errors
    /// [`Error::Shape`] when the task has no group; [`Error::Unknown`] without `unembed.W_U`.
    pub fn w_l(&self) -> Result<&'a [f64]> {
        if let Some(w_l) = self.shared.w_l.get() {
            return Ok(w_l);
        }
        let w_l = w_l(self.params, &self.group()?.residues)?;
        Ok(self.shared.w_l.get_or_init(|| w_l))
    }

    fn sums(&self, cell: &'a OnceCell<Sums>, rows: impl FnOnce() -> Result<(&'a [f64], usize)>) -> Result<&'a Sums> {
        if let Some(sums) = cell.get() {
            return Ok(sums);
        }
        let (group, pairs) = self.pairs()?;
        let (x_nw, width) = rows()?;
        Ok(cell.get_or_init(|| Sums::new(group, pairs, x_nw, width)))
    }

    /// What a measure that asked for `hook` reads.
    ///
    /// # Errors
    /// [`Error::Unknown`] for one that it did not ask for.
    pub fn activation(&self, hook: &Hook) -> Result<Activation<'a>> {
        let Some((_, tensor)) = self.activations.iter().find(|(asked, _)| asked == hook) else {
            return Err(Error::Unknown {
                kind: "hook",
                name: hook.name.clone(),
                known: self.activations.iter().map(|(asked, _)| asked.name.clone()).collect(),
            });
        };
        Activation::of(tensor)
    }
}

fn no_group(reason: String) -> Error {
    Error::Shape { op: "task".into(), expected: "one that the measure fits".into(), got: reason }
}

/// Numbers of one hook over all examples.
#[derive(Debug, Clone, Copy)]
pub struct Activation<'a> {
    /// `[N, positions, axes…]`
    pub shape: &'a [usize],
    /// The numbers, row-major.
    pub values: &'a [f64],
}

impl<'a> Activation<'a> {
    /// The numbers of a tensor of f64.
    ///
    /// # Errors
    /// [`Error::Shape`] for another type.
    pub fn of(tensor: &'a Tensor) -> Result<Activation<'a>> {
        match &tensor.data {
            Data::F64(values) => Ok(Activation { shape: &tensor.shape, values }),
            _ => Err(Error::Shape {
                op: tensor.name.clone(),
                expected: "64-bit floats".into(),
                got: "another type".into(),
            }),
        }
    }
}

/// A parameter seen as a row-major matrix; leading axes are flattened into the rows.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Rows.
    pub n_rows: usize,
    /// Columns.
    pub n_cols: usize,
    /// `[n_rows, n_cols]`
    pub values: &'a [f64],
}

impl<'a> Matrix<'a> {
    /// The matrix of the parameter `name`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is no such parameter, [`Error::Shape`] when it is not f64 or has no columns.
    pub fn of(params: &'a [Tensor], name: &str) -> Result<Matrix<'a>> {
        let Some(tensor) = params.iter().find(|tensor| tensor.name == name) else {
            return Err(Error::Unknown {
                kind: "parameter",
                name: name.into(),
                known: params.iter().map(|tensor| tensor.name.clone()).collect(),
            });
        };
        match (&tensor.data, tensor.shape.last()) {
            (Data::F64(values), Some(&n_cols)) if n_cols > 0 => {
                Ok(Matrix { n_rows: values.len() / n_cols, n_cols, values })
            }
            _ => Err(Error::Shape {
                op: name.into(),
                expected: "64-bit floats in rows and columns".into(),
                got: format!("{:?}", tensor.shape),
            }),
        }
    }
}

/// Parameters -> activations: what measures need of a model beyond its parameters.
pub trait Forward: Sync {
    /// What `hooks` name, of one replica over all examples, in f64 and in their order: `[N, positions, axes…]`.
    ///
    /// The numbers at a hook do not depend on what else is asked for. A gradient is that of the mean training loss over all
    /// examples.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a hook that the model lacks, and whatever else keeps it from running, e.g. [`Error::Shape`].
    fn observe(&self, params: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>>;

    /// Logits over all examples `[N, L, n_classes]`, computed in the precision that the run was trained in: in f32 half the cost of
    /// [`Forward::observe`]. For measures that run several changed models and read shares, not digits.
    ///
    /// # Errors
    /// As [`Forward::observe`].
    fn logits(&self, params: &[Tensor]) -> Result<Vec<f64>> {
        Ok(self.observe(params, &[Hook::value(LOSS_LOGITS)])?.first().map(Tensor::to_f64).unwrap_or_default())
    }

    /// Gradients of single logits at `hooks`, of one replica in f64: for each (example, class) of `which` the gradient of that
    /// example's logit of the class at the first loss position, `[which, positions, axes…]`.
    ///
    /// # Errors
    /// As [`Forward::observe`].
    fn logit_gradients(&self, params: &[Tensor], which: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>>;
}

/// Where parameters over training come from.
pub trait SnapshotSource {
    /// Checkpoints there are, ascending (count of updates).
    fn steps(&self) -> &[u64];

    /// `[R]` seeds of the replicas.
    fn seeds(&self) -> &[u64];

    /// `[R, N]` whether an example is in a replica's training split.
    fn train_mask_rn(&self) -> &[bool];

    /// All parameters at a step, each with a leading replica axis.
    ///
    /// # Errors
    /// Missing or damaged files.
    fn params(&self, step: u64) -> Result<Vec<Tensor>>;
}
