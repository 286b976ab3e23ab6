//! Matrix products of the dense layers.

use super::lower::{Lower, OnDevice};
use super::program::{Args, Matrix};
use super::rows::pass;
use crate::engine::cpu::linear::Linear;
use crate::engine::cpu::tied::Tied;
use crate::engine::plan::Site;

impl OnDevice for Linear {
    fn forward(&self, l: &mut Lower<'_>) {
        let (rows, (d_in, d_out)) = (l.size(self.y).0, (self.d_in, self.d_out));
        let (x, w) = (Matrix::of(l.value(self.x), d_in), Matrix::of(l.param(self.w), d_out));
        let (y, bias) = (Matrix::of(l.value(self.y), d_out), self.b.map(|b| l.param(b)));
        let residual = self.residual.map(|residual| Matrix::of(l.value(residual), d_out));
        l.gemm([rows, d_out, d_in], (x, w), (residual, y), bias);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let (rows, (d_in, d_out)) = (l.size(self.y).0, (self.d_in, self.d_out));
        let dy = l.grad(self.y);
        if let Some((dx, add)) = l.input_grad(site, 0) {
            let (w, dx) = (Matrix::of(l.param(self.w), d_out).t(), Matrix::of(dx, d_in));
            l.gemm([rows, d_in, d_out], (Matrix::of(dy, d_out), w), (add.then_some(dx), dx), None);
        }
        if self.residual.is_some() {
            pass(l, site, 1, self.y, 1.0);
        }
        let to = l.param_grad(self.w);
        l.outer((l.value(self.x), d_in), (dy, d_out), self.y, to);
        if let Some(b) = self.b {
            let to = l.param_grad(b);
            l.column_sums(self.y, None, None, to);
        }
    }
}

impl OnDevice for Tied {
    fn forward(&self, l: &mut Lower<'_>) {
        let rows = l.size(self.y).0;
        let (x, w) = (Matrix::of(l.value(self.x), self.d), Matrix::of(l.param(self.w), self.d).t());
        let (y, bias) = (Matrix::of(l.value(self.y), self.classes), self.b.map(|b| l.param(b)));
        l.gemm([rows, self.classes, self.d], (x, w), (None, y), bias);
    }

    fn backward(&self, l: &mut Lower<'_>, site: &Site) {
        let (rows, dy) = (l.size(self.y).0, l.grad(self.y));
        if let Some((dx, add)) = l.input_grad(site, 0) {
            let (w, dx) = (Matrix::of(l.param(self.w), self.d), Matrix::of(dx, self.d));
            l.gemm([rows, self.d, self.classes], (Matrix::of(dy, self.classes), w), (add.then_some(dx), dx), None);
        }
        let (dw, add) = l.param_grad(self.w);
        let rest = l.plan.params.infos[self.w].len() - self.classes * self.d;
        if !add && rest > 0 {
            // Zeros for the tokens that are no classes: sums of no parts.
            let to = dw.after(self.classes * self.d);
            l.each("part_sums", rest, Args::new().maybe(None).rows(to).int(rest).int(0).flag(false));
        }
        l.outer((dy, self.classes), (l.value(self.x), self.d), self.y, (dw, add));
        if let Some(b) = self.b {
            let to = l.param_grad(b);
            l.column_sums(self.y, None, None, to);
        }
    }
}
