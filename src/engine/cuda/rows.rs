//! Launches of the ops that work number by number; kernels in `rows.cu`.

use super::lower::{Lower, OnDevice, Pick};
use super::program::{Args, Buffer, Part};
use crate::engine::cpu::activation::Activation;
use crate::engine::cpu::change::ChangeOp;
use crate::engine::cpu::dropout::Dropout;
use crate::engine::cpu::factor::Factor;
use crate::engine::cpu::formula::FormulaOp;
use crate::engine::cpu::gain::Gain;
use crate::engine::cpu::product::Product;
use crate::engine::cpu::reals::Reals;
use crate::engine::cpu::rotary::Rotary;
use crate::engine::cpu::sinusoid::Sinusoid;
use crate::engine::cpu::sum::Sum;
use crate::engine::edit::Change;
use crate::engine::op::ValueId;
use crate::engine::plan::Site;
use crate::expr::{Expr, Function, Node};
use crate::spec::Act;

use super::optim::{COLUMNS, NOISE};

impl OnDevice for Activation {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, args) = (l.len(self.y), Args::new().rows(l.value(self.x)).rows(l.value(self.y)));
        l.each("act_forward", n, args.int(n).int(act_code(&self.act)));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((dx, add)) = l.input_grad(site, 0) else { return };
        let (n, args) = (l.len(self.y), Args::new().rows(l.value(self.x)).rows(l.grad(self.y)).rows(dx));
        l.each("act_backward", n, args.int(n).int(act_code(&self.act)).flag(add));
    }
}

fn act_code(act: &Act) -> usize {
    match act {
        Act::Relu => 0,
        Act::Gelu => 1,
        Act::Identity => 2,
        Act::Square => 3,
        Act::Abs => 4,
        Act::Tanh => 5,
        Act::Silu => 6,
        Act::Solu | Act::SoluLn | Act::Formula(_) => unreachable!("invariant: they have ops of their own"),
    }
}

impl OnDevice for FormulaOp {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, args) = (l.len(self.y), Args::new().rows(l.value(self.x)).rows(l.value(self.y)).int(l.len(self.y)));
        let args = steps(l, self.formula.value(), args);
        l.each("formula_forward", n, args);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((dx, add)) = l.input_grad(site, 0) else { return };
        let n = l.len(self.y);
        let args = Args::new().rows(l.value(self.x)).rows(l.grad(self.y)).rows(dx).int(n);
        let args = steps(l, self.formula.slope(), args).flag(add);
        l.each("formula_backward", n, args);
    }
}

/// An expression as the kernels read it: five words a step, and a number.
fn steps(l: &mut Lower<'_>, expr: &Expr, args: Args) -> Args {
    let step = |node: &Node| -> ([u32; 5], f64) {
        let id = |id: usize| id as u32;
        match *node {
            Node::Number(x) => ([0; 5], x),
            Node::Variable(_) => ([1, 0, 0, 0, 0], 0.0),
            Node::Negate(a) => ([2, id(a), 0, 0, 0], 0.0),
            Node::Add(a, b) => ([3, id(a), id(b), 0, 0], 0.0),
            Node::Subtract(a, b) => ([4, id(a), id(b), 0, 0], 0.0),
            Node::Multiply(a, b) => ([5, id(a), id(b), 0, 0], 0.0),
            Node::Divide(a, b) => ([6, id(a), id(b), 0, 0], 0.0),
            Node::Power(a, n) => ([7, id(a), 0, 0, n as u32], 0.0),
            Node::Call(f, [a, b, c]) => ([8, id(a), id(b), id(c), function_code(f)], 0.0),
        }
    };
    let steps: Vec<_> = expr.nodes().iter().map(step).collect();
    let words = l.words(steps.iter().flat_map(|step| step.0));
    let numbers = l.numbers(steps.iter().map(|step| step.1));
    args.at(words).at(numbers).int(steps.len())
}

fn function_code(f: Function) -> u32 {
    match f {
        Function::Abs => 0,
        Function::Sign => 1,
        Function::Step => 2,
        Function::Relu => 3,
        Function::Exp => 4,
        Function::Log => 5,
        Function::Sqrt => 6,
        Function::Tanh => 7,
        Function::Sigmoid => 8,
        Function::Softplus => 9,
        Function::Erf => 10,
        Function::Sin => 11,
        Function::Cos => 12,
        Function::Max => 13,
        Function::Min => 14,
        Function::Pow => 15,
        Function::Where => 16,
    }
}

impl OnDevice for Product {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, width) = (l.len(self.y), l.size(self.y).1);
        let args = Args::new().rows(l.value(self.a)).rows(l.value(self.b)).maybe(self.bias.map(|bias| l.param(bias)));
        l.each("product_forward", n, args.rows(l.value(self.y)).int(n).int(width));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        for (input, other) in [self.b, self.a].into_iter().enumerate() {
            times(l, site, input, (self.y, other));
        }
        if let Some(bias) = self.bias {
            let to = l.param_grad(bias);
            l.column_sums(self.y, None, None, to);
        }
    }
}

/// `dx (+)= dy ⊙ other` for input number `input`.
fn times(l: &mut Lower<'_>, site: &Site, input: usize, (y, other): (ValueId, ValueId)) {
    let Some((dx, add)) = l.input_grad(site, input) else { return };
    let (n, args) = (l.len(y), Args::new().rows(l.grad(y)).rows(l.value(other)).rows(dx));
    l.each("product_backward", n, args.int(n).flag(add));
}

/// `dx (+)= by · dy` for input number `input`.
pub(super) fn pass(l: &mut Lower<'_>, site: &Site, input: usize, y: ValueId, by: f64) {
    let Some((dx, add)) = l.input_grad(site, input) else { return };
    let (n, args) = (l.len(y), Args::new().rows(l.grad(y)).rows(dx));
    l.each("scale", n, args.int(n).real(by).flag(add));
}

impl OnDevice for Sum {
    fn forward(&self, l: &mut Lower<'_>) {
        let args = Args::new().rows(l.value(self.a)).rows(l.value(self.b)).rows(l.value(self.y));
        l.each("sum_forward", l.len(self.y), args.int(l.len(self.y)));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        pass(l, site, 0, self.y, 1.0);
        pass(l, site, 1, self.y, 1.0);
    }
}

impl OnDevice for Factor {
    fn forward(&self, l: &mut Lower<'_>) {
        let args = Args::new().rows(l.value(self.x)).rows(l.value(self.y)).int(l.len(self.y));
        l.each("scale", l.len(self.y), args.real(self.by).flag(false));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        pass(l, site, 0, self.y, self.by);
    }
}

impl OnDevice for Gain {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, width) = (l.len(self.y), l.size(self.y).1);
        let args = Args::new().rows(l.value(self.x)).rows(l.param(self.w)).rows(l.value(self.y));
        l.each("gain", n, args.int(n).int(width).flag(false));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        if let Some((dx, add)) = l.input_grad(site, 0) {
            let (n, width) = (l.len(self.y), l.size(self.y).1);
            let args = Args::new().rows(l.grad(self.y)).rows(l.param(self.w)).rows(dx);
            l.each("gain", n, args.int(n).int(width).flag(add));
        }
        let to = l.param_grad(self.w);
        l.column_sums(self.y, Some(self.x), None, to);
    }
}

impl ChangeOp {
    /// Writes y, or with the gradient of y that of x.
    fn launch(&self, l: &mut Lower<'_>, grads: Option<(super::program::Rows, bool)>) {
        let ((rows, width), held) = (l.size(self.y), l.held(self.y));
        let which = held.iter().map(|at| u32::from(self.positions.as_ref().is_none_or(|p| p.contains(at))));
        let which = l.words(which);
        let (kind, numbers, bounds) = match &self.change {
            Change::Ablate => (0, &[][..], [0.0; 2]),
            Change::Patch(with) => (1, &with[..], [0.0; 2]),
            Change::Clamp { min, max } => (2, &[][..], [*min, *max]),
            Change::Freeze => (3, &[][..], [0.0; 2]),
            Change::Mask(factors) => (4, &factors[..], [0.0; 2]),
        };
        let by_row = kind == 1 && numbers.len() != width;
        let numbers = l.numbers(numbers.iter().copied());
        let args = Args::new().rows(l.value(self.x)).maybe(grads.map(|_| l.grad(self.y)));
        let args = args.rows(grads.map_or_else(|| l.value(self.y), |(dx, _)| dx)).int(rows * width).int(width);
        let args = args.int(held.len()).at(which).int(self.cols.start).int(self.cols.end).int(kind).at(numbers);
        let args = args.flag(by_row).real(bounds[0]).real(bounds[1]).flag(grads.is_some_and(|(_, add)| add));
        l.each("change", rows * width, args);
    }
}

impl OnDevice for ChangeOp {
    fn forward(&self, l: &mut Lower<'_>) {
        self.launch(l, None);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let grads = l.input_grad(site, 0);
        if grads.is_some() {
            self.launch(l, grads);
        }
    }
}

impl OnDevice for Sinusoid {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, (positions, per_example)) = (l.len(self.y), l.positions(self.y));
        let table = l.numbers(self.table.iter().copied());
        let args = Args::new().at(table).rows(l.value(self.y)).int(n).int(self.d);
        l.each("by_position", n, args.int(per_example).at(positions));
    }

    fn backward(&self, _: &mut Lower<'_>, _: &Site) {}
}

impl OnDevice for Reals {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, (positions, per_example)) = (l.len(self.y), l.positions(self.y));
        let args = Args::new().rows(l.part(Part::Inputs)).rows(l.value(self.y)).int(n).int(l.size(self.y).1);
        l.each("reals", n, args.int(per_example).at(positions).int(l.plan.n_ctx));
    }

    fn backward(&self, _: &mut Lower<'_>, _: &Site) {}
}

impl Rotary {
    fn launch(&self, l: &mut Lower<'_>, (x, y): (super::program::Rows, super::program::Rows), back: bool, add: bool) {
        let (n, width) = (l.len(self.y), l.size(self.y).1);
        let table = l.numbers(self.turns.table.iter().flatten().copied());
        let (positions, per_example) = l.positions(self.y);
        let args = Args::new().rows(x).rows(y).int(n).int(width).int(self.turns.d_head / 2).at(table).at(positions);
        l.each("rotary", n, args.int(per_example).flag(back).flag(add));
    }
}

impl OnDevice for Rotary {
    fn forward(&self, l: &mut Lower<'_>) {
        self.launch(l, (l.value(self.x), l.value(self.y)), false, false);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        if let Some((dx, add)) = l.input_grad(site, 0) {
            self.launch(l, (l.grad(self.y), dx), true, add);
        }
    }
}

impl OnDevice for Dropout {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, width, (positions, per_example)) = (l.len(self.y), l.size(self.y).1, l.positions(self.y));
        let args = Args::new().rows(l.value(self.x)).rows(l.value(self.y)).rows(l.value(self.mask));
        let args = args.int(n).int(width).int(per_example).at(positions).int(l.plan.n_ctx);
        let replicas = l.replicas();
        // Nothing is dropped outside training.
        let args = match l.plan.backward {
            true => args.at(l.need(Buffer::Seeds, replicas)).at(l.need(Buffer::Table, replicas * COLUMNS)),
            false => args.null().null(),
        };
        let args = args.int(COLUMNS).int(NOISE).at(l.need(Buffer::Step, 1)).at(l.need(Buffer::First, 1)).int(replicas);
        let border = (self.rate * 2f64.powi(32)) as u32;
        let args = args.int(self.number as usize).int(border as usize).real(1.0 / (1.0 - self.rate));
        l.each("dropout_forward", n, args);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        times(l, site, 0, (self.y, self.mask));
    }
}

/// Of the parameter that a row is looked up in, what picks it.
pub(super) fn index_pick(l: &mut Lower<'_>, of: ValueId, is_token: bool) -> Pick {
    use crate::engine::op::Space;
    match (&l.plan.values[of].space, is_token) {
        (Space::Pairs, true) => Pick::Constant(l.words(l.plan.pairs.iter().map(|&(token, _)| token))),
        (Space::Batch(_), true) => Pick::Token,
        (_, false) => Pick::Position,
    }
}
