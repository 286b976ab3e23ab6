//! Launches of the ops that look at a whole row; kernels in `norms.cu`.

use super::lower::{Lower, OnDevice};
use super::program::{Args, Rows};
use crate::engine::cpu::layer_norm::LayerNorm;
use crate::engine::cpu::pre_norm::PreNorm;
use crate::engine::cpu::softmax::Softmax;
use crate::engine::cpu::solu::Solu;
use crate::engine::op::ValueId;
use crate::engine::plan::Site;

/// Normalised rows, with weights where there are some.
struct Norm {
    x: ValueId,
    y: ValueId,
    scale: ValueId,
    centred: bool,
    weights: Option<(Rows, Rows)>,
}

impl Norm {
    fn forward(&self, l: &mut Lower<'_>) {
        let (rows, d) = l.size(self.x);
        let args = Args::new().rows(l.value(self.x));
        let args = match self.weights {
            Some((w, b)) => args.at(w.at).at(b.at).int(w.stride),
            None => args.null().null().int(0),
        };
        let args = args.rows(l.value(self.y)).rows(l.value(self.scale)).int(rows).int(d).flag(self.centred);
        l.by_row("norm_forward", rows, args);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((dx, add)) = l.input_grad(site, 0) else { return };
        let (rows, d) = l.size(self.x);
        let args = Args::new().rows(l.value(self.x)).maybe(self.weights.map(|(w, _)| w)).rows(l.value(self.scale));
        let args = args.rows(l.grad(self.y)).rows(dx).int(rows).int(d).flag(self.centred).flag(add);
        l.by_row("norm_backward", rows, args);
    }
}

impl LayerNorm {
    fn norm(&self, l: &Lower<'_>) -> Norm {
        let weights = Some((l.param(self.w), l.param(self.b)));
        Norm { x: self.x, y: self.y, scale: self.scale, centred: true, weights }
    }
}

impl OnDevice for LayerNorm {
    fn forward(&self, l: &mut Lower<'_>) {
        self.norm(l).forward(l);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        self.norm(l).backward(l, site);
        let (rows, d) = l.size(self.x);
        let means = l.scratch(rows);
        l.by_row("row_means", rows, Args::new().rows(l.value(self.x)).rows(means).int(rows).int(d));
        let (to, scale) = (l.param_grad(self.w), l.value(self.scale));
        l.column_sums(self.y, Some(self.x), Some((means, scale)), to);
        let to = l.param_grad(self.b);
        l.column_sums(self.y, None, None, to);
    }
}

impl PreNorm {
    fn norm(&self) -> Norm {
        Norm { x: self.x, y: self.y, scale: self.scale, centred: self.centred, weights: None }
    }
}

impl OnDevice for PreNorm {
    fn forward(&self, l: &mut Lower<'_>) {
        self.norm().forward(l);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        self.norm().backward(l, site);
    }
}

impl OnDevice for Softmax {
    fn forward(&self, l: &mut Lower<'_>) {
        let rows = l.len(self.scores) / self.keys;
        let args = Args::new().rows(l.value(self.scores)).rows(l.value(self.pattern));
        l.by_row("softmax_forward", rows, args.int(rows).int(self.keys));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((ds, add)) = l.input_grad(site, 0) else { return };
        let rows = l.len(self.scores) / self.keys;
        let args = Args::new().rows(l.value(self.pattern)).rows(l.grad(self.pattern)).rows(ds);
        l.by_row("softmax_backward", rows, args.int(rows).int(self.keys).flag(add));
    }
}

impl OnDevice for Solu {
    fn forward(&self, l: &mut Lower<'_>) {
        let (rows, d) = l.size(self.x);
        let args = Args::new().rows(l.value(self.x)).maybe(None).rows(l.value(self.y));
        l.by_row("solu", rows, args.int(rows).int(d).flag(false));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((dx, add)) = l.input_grad(site, 0) else { return };
        let (rows, d) = l.size(self.x);
        let args = Args::new().rows(l.value(self.x)).rows(l.grad(self.y)).rows(dx);
        l.by_row("solu", rows, args.int(rows).int(d).flag(add));
    }
}
