//! Launches of the ops that pick rows; kernels in `tables.cu`.

use super::lower::{Lower, OnDevice, Pick};
use super::program::{Args, Part};
use super::rows::index_pick;
use crate::engine::cpu::embed::{Embed, Index};
use crate::engine::cpu::join::Join;
use crate::engine::cpu::one_hot::OneHot;
use crate::engine::cpu::select::Select;
use crate::engine::op::Space;
use crate::engine::plan::Site;

/// In a map of rows: none.
const NONE: u32 = u32::MAX;

impl OnDevice for Embed {
    fn forward(&self, l: &mut Lower<'_>) {
        let pick = index_pick(l, self.output, self.index == Index::Token);
        l.gather(l.param(self.w), self.output, pick);
    }

    fn backward(&self, l: &mut Lower<'_>, _: &Site) {
        let (pick, to) = (index_pick(l, self.output, self.index == Index::Token), l.param_grad(self.w));
        let n = l.plan.params.infos[self.w].shape[0];
        l.segment_sums(self.output, to, n, pick);
    }
}

impl Select {
    fn reads_table(&self, l: &Lower<'_>) -> bool {
        l.plan.values[self.x].space == Space::Pairs
    }
}

impl OnDevice for Select {
    fn forward(&self, l: &mut Lower<'_>) {
        if self.reads_table(l) {
            l.gather(l.value(self.x), self.y, Pick::Pair);
            return;
        }
        let (n, d) = (l.len(self.y), l.size(self.y).1);
        let from = l.words(self.rows.iter().map(|&row| row as u32));
        let args = Args::new().rows(l.value(self.x)).rows(l.value(self.y)).int(n).int(d).at(from);
        l.each("select_forward", n, args.int(l.held(self.x).len()).int(l.held(self.y).len()));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((dx, add)) = l.input_grad(site, 0) else { return };
        if self.reads_table(l) {
            l.segment_sums(self.y, (dx, add), l.plan.n_pairs(), Pick::Pair);
            return;
        }
        let (n, d, x_rows) = (l.len(self.x), l.size(self.y).1, l.held(self.x).len());
        let to = |row| self.rows.iter().position(|&r| r == row).map_or(NONE, |at| at as u32);
        let to = l.words((0..x_rows).map(to));
        let args = Args::new().rows(l.grad(self.y)).rows(dx).int(n).int(d).at(to);
        l.each("select_backward", n, args.int(x_rows).int(l.held(self.y).len()).flag(add));
    }
}

impl Join {
    /// Of each joined position, its row in an example of x.
    fn rows(&self, l: &Lower<'_>) -> Vec<u32> {
        let held = l.held(self.x);
        let row = |at| held.iter().position(|h| h == at).expect("invariant: joined positions are computed") as u32;
        self.positions.iter().map(row).collect()
    }
}

impl OnDevice for Join {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, d, width) = (l.len(self.y), l.size(self.x).1, l.size(self.y).1);
        let from = self.rows(l);
        let from = l.words(from);
        let args = Args::new().rows(l.value(self.x)).rows(l.value(self.y)).int(n).int(d).int(width).at(from);
        let (x_rows, outputs) = (l.held(self.x).len(), l.held(self.y).len());
        l.each("join_forward", n, args.int(self.positions.len()).int(x_rows).int(outputs));
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let Some((dx, add)) = l.input_grad(site, 0) else { return };
        let (n, d, width) = (l.len(self.x), l.size(self.x).1, l.size(self.y).1);
        let (x_rows, outputs, from) = (l.held(self.x).len(), l.held(self.y).len(), self.rows(l));
        let part = |row| from.iter().position(|&r| r == row).map_or(NONE, |at| at as u32);
        let part = l.words((0..x_rows as u32).map(part));
        let args = Args::new().rows(l.grad(self.y)).rows(dx).int(n).int(d).int(width).at(part);
        l.each("join_backward", n, args.int(self.positions.len()).int(x_rows).int(outputs).flag(add));
    }
}

impl OnDevice for OneHot {
    fn forward(&self, l: &mut Lower<'_>) {
        let (n, d, outputs) = (l.len(self.y), l.size(self.y).1, l.held(self.y).len());
        let positions = l.words(self.positions.iter().map(|&at| at as u32));
        let (w, tokens) = (l.param(self.w), l.part(Part::Tokens));
        let args = Args::new().at(w.at);
        let args = match self.b {
            Some(b) => args.at(l.param(b).at),
            None => args.null(),
        };
        let args = args.int(w.stride).rows(l.value(self.y)).int(n).int(d).rows(tokens).at(positions);
        let args = args.int(self.positions.len()).int(self.n_tokens).int(l.plan.n_ctx).int(outputs);
        l.each("one_hot_forward", n, args);
    }

    fn backward(&self, l: &mut Lower<'_>, _: &Site) {
        let ((dw, add), d) = (l.param_grad(self.w), l.size(self.y).1);
        for (j, &position) in self.positions.iter().enumerate() {
            let to = dw.after(j * self.n_tokens * d);
            l.segment_sums(self.y, (to, add), self.n_tokens, Pick::TokenAt(position));
        }
        if let Some(b) = self.b {
            let to = l.param_grad(b);
            l.column_sums(self.y, None, None, to);
        }
    }
}
