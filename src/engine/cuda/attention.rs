//! Launches of attention and its parts; kernels in `attention.cu`.

use super::lower::{Lower, OnDevice};
use super::program::{Args, Rows};
use crate::engine::cpu::attention::Attention;
use crate::engine::cpu::mix::Mix;
use crate::engine::cpu::scores::{Heads, Scores, Sight};
use crate::engine::op::ValueId;
use crate::engine::plan::Site;

/// Keys that the fused kernels take at most.
pub(crate) const FUSED_KEYS: usize = 64;

/// Sizes of attention between the queries at the positions of one value and the keys at those of another.
#[derive(Clone, Copy)]
struct Sizes<'a> {
    heads: &'a Heads,
    queries: ValueId,
    keys: ValueId,
}

impl Sizes<'_> {
    fn scale(&self) -> f64 {
        1.0 / (self.heads.d_head as f64).sqrt()
    }

    /// (example, query, head) rows of a replica.
    fn rows(&self, l: &Lower<'_>) -> usize {
        l.plan.shape.examples * l.held(self.queries).len() * self.heads.n_heads
    }

    /// What all kernels read, from the positions on; `n` rows or numbers.
    fn args(&self, l: &mut Lower<'_>, args: Args, n: usize) -> Args {
        let Heads { n_heads, n_kv_heads, d_head, keys, sight } = *self.heads;
        let (kind, window) = match sight {
            Sight::Causal => (0, 0),
            Sight::Window(width) => (1, width),
            Sight::Full => (2, 0),
        };
        let (at, queries) = l.positions(self.queries);
        let args = args.at(at).int(n).int(queries).int(l.held(self.keys).len()).int(n_heads).int(n_kv_heads);
        args.int(d_head).int(keys).int(kind).int(window)
    }

    /// `w (+)= scale q · k`, and `unseen` elsewhere.
    fn dots(&self, l: &mut Lower<'_>, (q, k): (Rows, Rows), (w, add): (Rows, bool), (scale, unseen): (f64, f64)) {
        let rows = self.rows(l);
        let args = self.args(l, Args::new().rows(q).rows(k).rows(w), rows);
        l.by_row("attend_dots", rows, args.real(scale).real(unseen).flag(add));
    }

    /// `out (+)= scale Σ_key w k`.
    fn mixes(&self, l: &mut Lower<'_>, (w, k): (Rows, Rows), (out, add): (Rows, bool), scale: f64) {
        let n = self.rows(l) * self.heads.d_head;
        let args = self.args(l, Args::new().rows(w).rows(k).rows(out), n);
        l.each("attend_mixes", n, args.real(scale).flag(add));
    }

    /// `out (+)= scale Σ_query w q`.
    fn folds(&self, l: &mut Lower<'_>, (w, q): (Rows, Rows), (out, add): (Rows, bool), scale: f64) {
        let n = l.len(self.keys);
        let args = self.args(l, Args::new().rows(w).rows(q).rows(out), n);
        l.each("attend_folds", n, args.real(scale).flag(add));
    }
}

impl OnDevice for Scores {
    fn forward(&self, l: &mut Lower<'_>) {
        let sizes = Sizes { heads: &self.heads, queries: self.scores, keys: self.k };
        let (q, k, to) = (l.value(self.q), l.value(self.k), l.value(self.scores));
        sizes.dots(l, (q, k), (to, false), (sizes.scale(), f64::NEG_INFINITY));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let sizes = Sizes { heads: &self.heads, queries: self.scores, keys: self.k };
        let (q, k, ds) = (l.value(self.q), l.value(self.k), l.grad(self.scores));
        if let Some(dq) = l.input_grad(site, 0) {
            sizes.mixes(l, (ds, k), dq, sizes.scale());
        }
        if let Some(dk) = l.input_grad(site, 1) {
            sizes.folds(l, (ds, q), dk, sizes.scale());
        }
    }
}

impl OnDevice for Mix {
    fn forward(&self, l: &mut Lower<'_>) {
        let sizes = Sizes { heads: &self.heads, queries: self.z, keys: self.v };
        let (a, v, z) = (l.value(self.pattern), l.value(self.v), l.value(self.z));
        sizes.mixes(l, (a, v), (z, false), 1.0);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let sizes = Sizes { heads: &self.heads, queries: self.z, keys: self.v };
        let (a, v, dz) = (l.value(self.pattern), l.value(self.v), l.grad(self.z));
        if let Some(da) = l.input_grad(site, 0) {
            sizes.dots(l, (dz, v), da, (1.0, 0.0));
        }
        if let Some(dv) = l.input_grad(site, 1) {
            sizes.folds(l, (a, dz), dv, 1.0);
        }
    }
}

impl OnDevice for Attention {
    fn forward(&self, l: &mut Lower<'_>) {
        let sizes = Sizes { heads: &self.heads, queries: self.z, keys: self.k };
        let args = Args::new().rows(l.value(self.q)).rows(l.value(self.k)).rows(l.value(self.v));
        let (args, rows) = (args.rows(l.value(self.pattern)).rows(l.value(self.z)), sizes.rows(l));
        let args = sizes.args(l, args, rows).real(sizes.scale());
        l.by_row("attention_forward", rows, args);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let sizes = Sizes { heads: &self.heads, queries: self.z, keys: self.k };
        let (rows, dq) = (sizes.rows(l), l.input_grad(site, 0));
        let ds = l.scratch(rows * self.heads.keys);
        let (q, a, dz) = (l.value(self.q), l.value(self.pattern), l.grad(self.z));
        let args = Args::new().rows(l.value(self.k)).rows(l.value(self.v)).rows(a).rows(dz).rows(ds);
        let args = sizes.args(l, args.maybe(dq.map(|(dq, _)| dq)), rows).real(sizes.scale());
        l.by_row("attention_backward", rows, args.flag(dq.is_some_and(|(_, add)| add)));
        if let Some(dk) = l.input_grad(site, 1) {
            sizes.folds(l, (ds, q), dk, sizes.scale());
        }
        if let Some(dv) = l.input_grad(site, 2) {
            sizes.folds(l, (a, dz), dv, 1.0);
        }
    }
}
