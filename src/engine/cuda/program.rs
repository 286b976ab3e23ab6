//! What a device does in a step: launches of kernels and matrix products over named buffers, as data.
//!
//! A program is made from a plan by [`lower`](super::lower) and run by a [`Machine`](super::machine::Machine). It names buffers and places
//! in them, no addresses, so that the same program runs on a card and, in tests, on the host.

use std::collections::BTreeMap;

use crate::spec::Dtype;

/// A piece of device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Buffer {
    /// `[R, stride]` parameters.
    Params,
    /// `[R, stride]` gradients of the parameters.
    Grads,
    /// `[R, stride]` a moment of the optimiser.
    Moment(u8),
    /// `[R, stride]` 1 for numbers that train, 0 for those that stay 0.
    Mask,
    /// `[stride]` what the optimiser does to each number.
    Group,
    /// `[R]` seeds.
    Seeds,
    /// `[1]` updates done.
    Step,
    /// `[1]` the step of the table's first row.
    First,
    /// `[steps, R, columns]` settings of the optimiser.
    Table,
    /// `[R]` the first step that met something not finite.
    FirstBad,
    /// `[R]` norms of the gradients.
    Norm,
    /// `[R]` factors on the gradients.
    Factor,
    /// `[R, parts]`.
    SquareSums,
    /// Activations: of each value `[R, rows, width]`.
    Values,
    /// Their gradients.
    ValueGrads,
    /// Room that an op uses within one pass.
    Scratch,
    /// `[R, rows]` losses.
    RowLoss,
    /// `[R, rows]` weights of the rows that are right.
    RowCorrect,
    /// `[R]` losses.
    Loss,
    /// `[R]` accuracies.
    Accuracy,
    /// `[R]` whether loss and gradients are finite.
    Finite,
    /// Of the batch.
    Of(Part),
    /// The same for several steps.
    Block(Part),
    /// Constant whole numbers.
    Words,
    /// Constant real numbers.
    Numbers,
}

/// A part of a batch: `[R or 1, …]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// `[B, n_ctx]` tokens.
    Tokens,
    /// `[B, n_ctx]` rows of the pair table.
    Pairs,
    /// `[B, L]` classes.
    Classes,
    /// `[B, n_ctx, width]` real inputs.
    Inputs,
    /// `[B, L, width]` real targets.
    Targets,
    /// `[B, L]` weights of the rows.
    Weights,
    /// `[1]` their sum.
    WeightSum,
}

impl Part {
    /// All of them.
    pub(super) const ALL: [Part; 7] =
        [Part::Tokens, Part::Pairs, Part::Classes, Part::Inputs, Part::Targets, Part::Weights, Part::WeightSum];

    /// Whether it consists of whole numbers.
    pub(super) fn is_words(self) -> bool {
        matches!(self, Part::Tokens | Part::Pairs | Part::Classes)
    }
}

impl Buffer {
    /// Bytes of a number.
    pub(super) fn unit(self, dtype: Dtype) -> usize {
        let real = if dtype == Dtype::F32 { 4 } else { 8 };
        match self {
            Buffer::Params | Buffer::Grads | Buffer::Moment(_) | Buffer::Mask => real,
            Buffer::Values | Buffer::ValueGrads | Buffer::Scratch => real,
            Buffer::Group => 1,
            Buffer::Finite | Buffer::Words => 4,
            Buffer::Of(part) | Buffer::Block(part) if part.is_words() => 4,
            _ => 8,
        }
    }

    /// Whether the programs of a run have one together.
    pub(super) fn is_shared(self) -> bool {
        matches!(
            self,
            Buffer::Params
                | Buffer::Grads
                | Buffer::Moment(_)
                | Buffer::Mask
                | Buffer::Group
                | Buffer::Seeds
                | Buffer::Step
                | Buffer::First
                | Buffer::Table
                | Buffer::FirstBad
                | Buffer::Norm
                | Buffer::Factor
                | Buffer::SquareSums
        )
    }
}

/// A place in a buffer, in numbers from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) buffer: Buffer,
    pub(crate) at: usize,
}

impl Address {
    /// The start of a buffer.
    pub(super) fn start(buffer: Buffer) -> Address {
        Address { buffer, at: 0 }
    }
}

/// An array of every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    /// That of the first replica.
    pub(crate) at: Address,
    /// Numbers from one replica's to the next one's; 0 for what all share.
    pub(crate) stride: usize,
}

impl Rows {
    /// From some numbers further on.
    pub(super) fn after(self, numbers: usize) -> Rows {
        Rows { at: Address { at: self.at.at + numbers, ..self.at }, ..self }
    }
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arg {
    At(Address),
    /// A pointer to nothing.
    Null,
    Int(i64),
    Real(f64),
}

/// Arguments in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args(pub(super) Vec<Arg>);

impl Args {
    pub(crate) fn new() -> Args {
        Args::default()
    }

    /// A pointer and the stride between replicas.
    pub(crate) fn rows(self, rows: Rows) -> Args {
        self.at(rows.at).int(rows.stride)
    }

    /// The same, or a pointer to nothing.
    pub(crate) fn maybe(self, rows: Option<Rows>) -> Args {
        match rows {
            Some(rows) => self.rows(rows),
            None => self.null().int(0),
        }
    }

    /// A pointer without a stride.
    pub(crate) fn at(mut self, address: Address) -> Args {
        self.0.push(Arg::At(address));
        self
    }

    pub(crate) fn null(mut self) -> Args {
        self.0.push(Arg::Null);
        self
    }

    pub(crate) fn int(mut self, x: usize) -> Args {
        self.0.push(Arg::Int(x as i64));
        self
    }

    pub(crate) fn flag(self, x: bool) -> Args {
        self.int(usize::from(x))
    }

    pub(crate) fn real(mut self, x: f64) -> Args {
        self.0.push(Arg::Real(x));
        self
    }
}

/// A matrix of a product, row-major, one for each of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) at: Address,
    /// Numbers from one row to the next, as it is stored.
    pub(crate) row: usize,
    /// Whether the product reads it transposed.
    pub(crate) transposed: bool,
    /// Numbers from one matrix of the batch to the next.
    pub(crate) stride: usize,
}

impl Matrix {
    /// Rows of `width` numbers.
    pub(super) fn of(rows: Rows, width: usize) -> Matrix {
        Matrix { at: rows.at, row: width, transposed: false, stride: rows.stride }
    }

    /// Read the other way.
    pub(super) fn t(self) -> Matrix {
        Matrix { transposed: !self.transposed, ..self }
    }
}

/// `D = A B (+ C) (+ bias)`, A `[m, k]`, B `[k, n]`, a batch of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gemm {
    pub(crate) sizes: [usize; 3],
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    pub(crate) c: Option<Matrix>,
    pub(crate) d: Matrix,
    /// `[n]`, added to every row.
    pub(crate) bias: Option<Rows>,
    pub(crate) batch: usize,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Launch { kernel: &'static str, grid: [usize; 3], args: Args },
    Gemm(Gemm),
}

/// All of a step or an evaluation, and the memory that it needs.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) dtype: Dtype,
    pub(crate) nodes: Vec<Node>,
    /// Numbers of each buffer.
    pub(crate) sizes: BTreeMap<Buffer, usize>,
    pub(crate) words: Vec<u32>,
    pub(crate) numbers: Vec<f64>,
    /// Of each value of the plan: where that of the first replica begins, and how many numbers it has.
    pub(crate) values: Vec<(usize, usize)>,
}

impl Program {
    /// Bytes of the buffers that it has for itself, or of those that it shares.
    pub(super) fn bytes(&self, shared: bool) -> BTreeMap<Buffer, usize> {
        let own = self.sizes.iter().filter(|(buffer, _)| buffer.is_shared() == shared);
        own.map(|(&buffer, &len)| (buffer, len * buffer.unit(self.dtype))).collect()
    }
}
