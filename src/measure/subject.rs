//! What measures read: the examples, and one replica at one checkpoint.
//!
//! Reads: nothing itself; views borrow from the task and the snapshots. Shapes: `N` examples, `L` loss positions an
//! example, parameters with TransformerLens's names and shapes and no replica axis.

use crate::error::{Error, Result};
use crate::measure::KeyFreqs;
use crate::task::{Op, Operation};
use crate::tensor::{Data, Tensor};

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

/// The examples that every replica is measured on.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// N.
    pub n_examples: usize,
    /// Width of the logits.
    pub n_classes: usize,
    /// `[N, L]` right answers.
    pub targets: &'a [u32],
    /// The operands, for modular tasks.
    pub modular: Option<Modular<'a>>,
}

impl Examples<'_> {
    /// Loss positions an example, L.
    pub fn n_positions(&self) -> usize {
        self.targets.len().checked_div(self.n_examples).unwrap_or(0)
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

/// What stays the same over checkpoints and replicas: enough to tell which measures fit, and their columns.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// The examples.
    pub examples: Examples<'a>,
    /// The parameters, in the order of the snapshots.
    pub params: Vec<ParamShape>,
}

impl<'a> Setting<'a> {
    /// The setting of `examples` and of parameters as snapshots have them, with a leading replica axis.
    pub fn new(examples: Examples<'a>, params: &[Tensor]) -> Setting<'a> {
        let shape = |tensor: &Tensor| tensor.shape.iter().skip(1).copied().collect();
        let params = params.iter().map(|tensor| ParamShape { name: tensor.name.clone(), shape: shape(tensor) });
        Setting { examples, params: params.collect() }
    }

    /// The shape of a parameter, if the model has it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.params.iter().find(|param| param.name == name).map(|param| param.shape.as_slice())
    }

    /// The modulus of a modular task.
    pub fn p(&self) -> Option<usize> {
        self.examples.modular.map(|modular| modular.p)
    }
}

/// One replica at one checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What all subjects share.
    pub setting: &'a Setting<'a>,
    /// `[N]` whether an example is in the training split.
    pub train_mask: &'a [bool],
    /// Parameters in f64, no replica axis.
    pub params: &'a [Tensor],
    /// `[N, L, n_classes]` logits of all examples; empty when no measure asked for them.
    pub logits: &'a [f64],
    /// Key frequencies of this replica at the last checkpoint of the range.
    pub key_freqs: &'a KeyFreqs,
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

/// Parameters -> logits, the one thing that measures need of a model.
pub trait Forward: Sync {
    /// `[N, L, n_classes]` logits of all examples for one replica.
    ///
    /// # Errors
    /// Whatever keeps the model from running, e.g. [`Error::Shape`].
    fn logits(&self, params: &[Tensor]) -> Result<Vec<f64>>;
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
