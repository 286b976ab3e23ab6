//! A plan -> a program: where every value of every replica lies, and the launches of each op, forward and back.
//!
//! A value is `[R, rows, width]`, one region a value, so that a matrix product takes the replicas as its batch. Where a value has many rows,
//! they are padded by zeros to whole parts of [`PART_ROWS`], so that a gradient's sum over rows is a batch of sums over parts, which are
//! then added in order: the same bits however many replicas there are, without atomics and without a library's split of its own.

use std::collections::BTreeMap;

use super::program::{Address, Args, Buffer, Gemm, Matrix, Node, Part, Program, Rows};
use crate::engine::batch::{Batch, Inputs, Targets};
use crate::engine::op::{Op, ParamId, Space, ValueId};
use crate::engine::plan::{Plan, Site};
use crate::error::{Error, Result};
use crate::spec::{Dtype, LossKind};

/// Rows that one part of a gradient's sum has.
pub(super) const PART_ROWS: usize = 512;
/// Threads of a block, and rows that a block has where a warp takes one.
const THREADS: usize = 256;
const WARPS: usize = THREADS / 32;
/// Numbers that a thread takes where each is worked on by itself.
const PER_THREAD: usize = 4;
/// Numbers between starts of regions.
const ALIGN: usize = 64;
/// Columns of a segment sum that a block takes.
const SEGMENT_COLUMNS: usize = 128;

/// An op's part of a program.
pub(crate) trait OnDevice {
    /// The launches that write its outputs.
    fn forward(&self, l: &mut Lower<'_>);
    /// The launches that write the gradients of its inputs and parameters.
    fn backward(&self, l: &mut Lower<'_>, site: &Site);
}

/// Where a value lies.
#[derive(Debug, Clone, Copy)]
struct Region {
    value_at: usize,
    grad_at: Option<usize>,
    rows: usize,
    padded: usize,
    width: usize,
}

/// A program in the making.
pub(crate) struct Lower<'p> {
    pub(crate) plan: &'p Plan,
    replicas: usize,
    /// Whether each replica has a batch of its own.
    own_batches: bool,
    regions: Vec<Region>,
    grad_written: Vec<bool>,
    param_written: Vec<bool>,
    nodes: Vec<Node>,
    sizes: BTreeMap<Buffer, usize>,
    words: Vec<u32>,
    numbers: Vec<f64>,
    scratch_used: usize,
}

/// How rows know what they pick from a table; see `tables.cu`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pick {
    /// The token at the row's position.
    Token,
    /// The row of the pair table at its position.
    Pair,
    /// Its position.
    Position,
    /// What constants say, row by row.
    Constant(Address),
    /// The token at a position of its example.
    TokenAt(usize),
}

/// The program of a step (with `backward`) or an evaluation, for batches like `batch`.
///
/// # Errors
/// [`Error::Value`] for ops, losses and edits that have no kernels.
pub(super) fn lower<'p>(
    plan: &'p Plan,
    dtype: Dtype,
    replicas: usize,
    batches: &[Batch],
    more: impl FnOnce(&mut Lower<'p>),
) -> Result<Program> {
    let mut l = Lower::new(plan, replicas, batches.len() > 1);
    l.batch_sizes(&batches[0], batches.len());
    for step in &plan.steps {
        on_device(step.op.as_ref())?.forward(&mut l);
        l.scratch_used = 0;
    }
    l.loss(&batches[0])?;
    if plan.backward {
        for step in plan.steps.iter().rev().filter(|step| step.has_grad) {
            on_device(step.op.as_ref())?.backward(&mut l, &step.site);
            l.scratch_used = 0;
        }
    }
    more(&mut l);
    Ok(l.finish(dtype))
}

fn on_device(op: &dyn Op) -> Result<&dyn OnDevice> {
    op.on_device().ok_or_else(|| not_here("a layer from outside"))
}

/// What a device cannot do.
pub(crate) fn not_here(what: &str) -> Error {
    Error::Value {
        what: "the device".into(),
        got: format!("a GPU, which has no kernels for {what}"),
        expected: "the processor for this run: --device cpu".into(),
    }
}

impl<'p> Lower<'p> {
    fn new(plan: &'p Plan, replicas: usize, own_batches: bool) -> Lower<'p> {
        let mut sizes = BTreeMap::new();
        let mut at = 0;
        let regions: Vec<Region> = (plan.values.iter().zip(&plan.tile_slot.places))
            .map(|(value, place)| {
                let rows = match &value.space {
                    Space::Batch(positions) => plan.shape.examples * positions.len(),
                    Space::Pairs => plan.n_pairs(),
                };
                let padded = if rows > 2 * PART_ROWS { rows.next_multiple_of(PART_ROWS) } else { rows };
                let region =
                    Region { value_at: at, grad_at: place.grad_at.map(|_| at), rows, padded, width: value.width };
                at += (replicas * padded * value.width).next_multiple_of(ALIGN);
                region
            })
            .collect();
        sizes.insert(Buffer::Values, at);
        if plan.backward {
            sizes.insert(Buffer::ValueGrads, at);
        }
        sizes.insert(Buffer::Params, replicas * plan.params.stride);
        if plan.backward {
            sizes.insert(Buffer::Grads, replicas * plan.params.stride);
        }
        Lower {
            plan,
            replicas,
            own_batches,
            grad_written: vec![false; regions.len()],
            param_written: vec![false; plan.params.infos.len()],
            regions,
            nodes: vec![],
            sizes,
            words: vec![],
            numbers: vec![],
            scratch_used: 0,
        }
    }

    fn finish(mut self, dtype: Dtype) -> Program {
        self.sizes.insert(Buffer::Words, self.words.len());
        self.sizes.insert(Buffer::Numbers, self.numbers.len());
        let values = self.regions.iter().map(|region| (region.value_at, region.rows * region.width)).collect();
        Program { dtype, nodes: self.nodes, sizes: self.sizes, words: self.words, numbers: self.numbers, values }
    }

    /// Makes sure that a buffer has so many numbers.
    pub(super) fn need(&mut self, buffer: Buffer, len: usize) -> Address {
        let size = self.sizes.entry(buffer).or_default();
        *size = (*size).max(len);
        Address::start(buffer)
    }

    pub(super) fn replicas(&self) -> usize {
        self.replicas
    }

    /// A launch.
    pub(crate) fn launch(&mut self, kernel: &'static str, grid: [usize; 3], args: Args) {
        if grid.iter().all(|&n| n > 0) {
            self.nodes.push(Node::Launch { kernel, grid, args });
        }
    }

    /// A launch whose threads take numbers one by one, `n` of each replica.
    pub(crate) fn each(&mut self, kernel: &'static str, n: usize, args: Args) {
        self.launch(kernel, [n.div_ceil(THREADS * PER_THREAD), self.replicas, 1], args);
    }

    /// A launch whose warps take rows, `rows` of each replica.
    pub(crate) fn by_row(&mut self, kernel: &'static str, rows: usize, args: Args) {
        self.launch(kernel, [rows.div_ceil(WARPS), self.replicas, 1], args);
    }

    /// A value.
    pub(crate) fn value(&self, id: ValueId) -> Rows {
        let region = &self.regions[id];
        let at = Address { buffer: Buffer::Values, at: region.value_at };
        Rows { at, stride: region.padded * region.width }
    }

    /// The gradient of a value, which is there.
    pub(crate) fn grad(&self, id: ValueId) -> Rows {
        let region = &self.regions[id];
        let at = region.grad_at.expect("invariant: only gradients that reach the loss are asked for");
        Rows { at: Address { buffer: Buffer::ValueGrads, at }, stride: region.padded * region.width }
    }

    /// The gradient of input number `input`, where it is needed, and whether to add to it: then an op writes all of it.
    pub(crate) fn input_grad(&mut self, site: &Site, input: usize) -> Option<(Rows, bool)> {
        site.input_grads[input]?;
        let id = site.inputs[input];
        let add = std::mem::replace(&mut self.grad_written[id], true);
        Some((self.grad(id), add))
    }

    /// A parameter.
    pub(crate) fn param(&self, id: ParamId) -> Rows {
        let at = Address { buffer: Buffer::Params, at: self.plan.params.infos[id].offset };
        Rows { at, stride: self.plan.params.stride }
    }

    /// The gradient of a parameter, and whether to add to it: then an op writes all of it.
    pub(crate) fn param_grad(&mut self, id: ParamId) -> (Rows, bool) {
        let at = Address { buffer: Buffer::Grads, at: self.plan.params.infos[id].offset };
        let add = std::mem::replace(&mut self.param_written[id], true);
        (Rows { at, stride: self.plan.params.stride }, add)
    }

    /// Rows, and width, of a value of one replica.
    pub(crate) fn size(&self, id: ValueId) -> (usize, usize) {
        (self.regions[id].rows, self.regions[id].width)
    }

    /// Numbers of a value of one replica.
    pub(crate) fn len(&self, id: ValueId) -> usize {
        self.regions[id].rows * self.regions[id].width
    }

    /// Room for `len` numbers of each replica, until the op is done.
    pub(crate) fn scratch(&mut self, len: usize) -> Rows {
        let at = self.scratch_used;
        self.scratch_used += (self.replicas * len).next_multiple_of(ALIGN);
        self.need(Buffer::Scratch, self.scratch_used);
        Rows { at: Address { buffer: Buffer::Scratch, at }, stride: len }
    }

    /// Constant whole numbers.
    pub(crate) fn words(&mut self, words: impl IntoIterator<Item = u32>) -> Address {
        let at = self.words.len();
        self.words.extend(words);
        Address { buffer: Buffer::Words, at }
    }

    /// Constant real numbers.
    pub(crate) fn numbers(&mut self, numbers: impl IntoIterator<Item = f64>) -> Address {
        let at = self.numbers.len();
        self.numbers.extend(numbers);
        Address { buffer: Buffer::Numbers, at }
    }

    /// The positions of an example's rows, or of a table's, as constants; and how many rows these are.
    pub(crate) fn positions(&mut self, id: ValueId) -> (Address, usize) {
        let plan = self.plan;
        let positions: Vec<u32> = match &plan.values[id].space {
            Space::Batch(positions) => positions.iter().map(|&at| at as u32).collect(),
            Space::Pairs => plan.pairs.iter().map(|&(_, at)| at as u32).collect(),
        };
        let n = positions.len();
        (self.words(positions), n)
    }

    /// Positions of a value that lies in the batch.
    pub(crate) fn held(&self, id: ValueId) -> &'p [usize] {
        match &self.plan.values[id].space {
            Space::Batch(positions) => positions,
            Space::Pairs => &[],
        }
    }

    /// A part of the batch.
    pub(crate) fn part(&self, part: Part) -> Rows {
        let buffer = Buffer::Of(part);
        let len = self.sizes.get(&buffer).copied().unwrap_or(0);
        let stride = if self.own_batches { len / self.replicas } else { 0 };
        Rows { at: Address::start(buffer), stride }
    }

    fn batch_sizes(&mut self, batch: &Batch, batches: usize) {
        for part in Part::ALL {
            let len = part_len(batch, part);
            if len > 0 {
                self.sizes.insert(Buffer::Of(part), batches * len);
            }
        }
    }

    /// A matrix product of every replica, added to c where there is one.
    pub(crate) fn gemm(
        &mut self,
        sizes: [usize; 3],
        (a, b): (Matrix, Matrix),
        (c, d): (Option<Matrix>, Matrix),
        bias: Option<Rows>,
    ) {
        self.nodes.push(Node::Gemm(Gemm { sizes, a, b, c, d, bias, batch: self.replicas }));
    }

    /// `to (+)= Σ_rows aᵀ b`, a and b being rows of `[m]` and `[n]` numbers of the same space.
    pub(crate) fn outer(&mut self, a: (Rows, usize), b: (Rows, usize), of: ValueId, to: (Rows, bool)) {
        let (rows, padded) = (self.regions[of].rows, self.regions[of].padded);
        let ((a, m), (b, n)) = (a, b);
        if padded <= 2 * PART_ROWS {
            let d = Matrix::of(to.0, n);
            self.gemm([m, n, rows], (Matrix::of(a, m).t(), Matrix::of(b, n)), (to.1.then_some(d), d), None);
            return;
        }
        let parts = padded / PART_ROWS;
        let sums = self.scratch(parts * m * n);
        let part = |of: Rows, width: usize| Matrix { stride: PART_ROWS * width, ..Matrix::of(of, width) };
        self.nodes.push(Node::Gemm(Gemm {
            sizes: [m, n, PART_ROWS],
            a: part(a, m).t(),
            b: part(b, n),
            c: None,
            d: Matrix { stride: m * n, ..Matrix::of(sums, n) },
            bias: None,
            batch: self.replicas * parts,
        }));
        self.part_sums(sums, to, m * n, parts);
    }

    fn part_sums(&mut self, parts: Rows, (to, add): (Rows, bool), n: usize, n_parts: usize) {
        self.each("part_sums", n, Args::new().rows(parts).rows(to).int(n).int(n_parts).flag(add));
    }

    /// `to (+)= Σ_rows` of dy, of dy ⊙ x, or of dy ⊙ (x − mean) / scale, for rows like those of `of`.
    pub(crate) fn column_sums(
        &mut self,
        dy: ValueId,
        x: Option<ValueId>,
        norm: Option<(Rows, Rows)>,
        to: (Rows, bool),
    ) {
        let (rows, width) = self.size(dy);
        let part_rows = PART_ROWS / 4;
        let parts = rows.div_ceil(part_rows);
        let sums = self.scratch(parts * width);
        let args = Args::new().rows(self.grad(dy)).maybe(x.map(|x| self.value(x)));
        let args = args.maybe(norm.map(|(mean, _)| mean)).maybe(norm.map(|(_, scale)| scale)).rows(sums);
        let grid = [width.div_ceil(THREADS), self.replicas, parts];
        self.launch("column_sums", grid, args.int(rows).int(width).int(part_rows));
        self.part_sums(sums, to, width, parts);
    }

    fn pick(&mut self, of: ValueId, pick: Pick) -> Args {
        let (positions, per_example) = self.positions(of);
        let n_ctx = self.plan.n_ctx;
        let (mode, ids) = match pick {
            Pick::Token => (0, Some(self.part(Part::Tokens))),
            Pick::Pair => (0, Some(self.part(Part::Pairs))),
            Pick::Position => (1, None),
            Pick::Constant(at) => (2, Some(Rows { at, stride: 0 })),
            Pick::TokenAt(_) => (3, Some(self.part(Part::Tokens))),
        };
        Args::new().int(mode).maybe(ids).at(positions).int(per_example).int(n_ctx)
    }

    /// `y[row] = from[pick(row)]`.
    pub(crate) fn gather(&mut self, from: Rows, y: ValueId, pick: Pick) {
        let (n, width) = (self.len(y), self.size(y).1);
        let mut args = Args::new().rows(from).rows(self.value(y)).int(n).int(width);
        args.0.extend(self.pick(y, pick).0);
        self.each("gather", n, args);
    }

    /// `to[k] (+)= Σ dy[row]` over the rows that pick k, for k below `n`.
    pub(crate) fn segment_sums(&mut self, y: ValueId, (to, add): (Rows, bool), n: usize, pick: Pick) {
        let (rows, width) = self.size(y);
        let mut args = Args::new().rows(self.grad(y)).rows(to).int(rows).int(width);
        args.0.extend(self.pick(y, pick).0);
        let at = if let Pick::TokenAt(position) = pick { position } else { 0 };
        let grid = [n, self.replicas, width.div_ceil(SEGMENT_COLUMNS)];
        self.launch("segment_sums", grid, args.int(at).flag(add));
    }

    /// Loss of every row and replica, and the gradient of the logits.
    fn loss(&mut self, batch: &Batch) -> Result<()> {
        let (plan, logits) = (self.plan, self.plan.logits);
        let [term] = &plan.losses[..] else {
            return Err(not_here("a loss of several terms"));
        };
        let (rows, width) = self.size(logits);
        let replicas = self.replicas;
        let per_row = |l: &mut Lower<'_>, buffer| Rows { at: l.need(buffer, replicas * rows), stride: rows };
        let (row_loss, row_correct) = (per_row(self, Buffer::RowLoss), per_row(self, Buffer::RowCorrect));
        let dlogits = match plan.backward && self.regions[logits].grad_at.is_some() {
            true => Some(self.grad(logits)),
            false => None,
        };
        self.grad_written[logits] = true;
        let weights = batch.weights.is_some().then(|| self.part(Part::Weights));
        let weight_sum = self.part(Part::WeightSum);
        let args = Args::new().rows(self.value(logits)).maybe(dlogits);
        let ends = |args: Args| {
            let args = args.maybe(weights).rows(weight_sum).at(row_loss.at).at(row_correct.at).int(rows);
            args.int(rows).int(width).real(term.weight)
        };
        match (&batch.targets, term.kind) {
            (_, LossKind::Outside(_)) => return Err(not_here("a loss from outside")),
            (Targets::Classes(_), LossKind::CrossEntropy) => {
                let args = ends(args.rows(self.part(Part::Classes))).real(term.smoothing).flag(term.f64);
                self.by_row("cross_entropy", rows, args);
            }
            (Targets::Classes(_), LossKind::Mse) => {
                let args = ends(args.rows(self.part(Part::Classes)).maybe(None));
                self.by_row("squared_error", rows, args);
            }
            (Targets::Reals { .. }, _) => {
                let args = ends(args.maybe(None).rows(self.part(Part::Targets)));
                self.by_row("squared_error", rows, args);
            }
        }
        let [loss, accuracy, finite] =
            [Buffer::Loss, Buffer::Accuracy, Buffer::Finite].map(|buffer| self.need(buffer, replicas));
        let args = Args::new().at(row_loss.at).at(row_correct.at).int(rows).rows(weight_sum);
        self.launch("outcome", [1, replicas, 1], args.at(loss).at(accuracy).at(finite).int(rows));
        Ok(())
    }
}

/// Numbers of a part of one batch.
pub(super) fn part_len(batch: &Batch, part: Part) -> usize {
    match (part, &batch.x, &batch.targets) {
        (Part::Tokens, Inputs::Ids(ids), _) => ids.len(),
        (Part::Inputs, Inputs::Reals { x_btn, .. }, _) => x_btn.len(),
        (Part::Classes, _, Targets::Classes(classes)) => classes.len(),
        (Part::Targets, _, Targets::Reals { y_bln, .. }) => y_bln.len(),
        (Part::Pairs, ..) => batch.pairs.len(),
        (Part::Weights, ..) => batch.weights.as_ref().map_or(0, Vec::len),
        (Part::WeightSum, ..) => 1,
        _ => 0,
    }
}
