//! Unembedding by the embedding: `y = x W_Eᵀ (+ b)`, W_E's first rows being the classes.
//!
//! Shapes: x `[rows, d]`, W_E `[d_vocab, d]` with d_vocab ≥ classes, b `[classes]`, y `[rows, classes]`.
//! Backward: `dx = dy W_E`, `dW_E[:classes] += dyᵀ x`, `db += Σ_rows dy`. Where both uses of W_E add to its gradient in one
//! stage, this one comes first, tile by tile; where tokens are tabulated, the embedding's sums come after all tiles of this one.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, wiring};
use crate::engine::plan::MAX_TILE_ROWS;
use crate::engine::real::Real;

use super::linear::add_rows;
use super::matmul::{Mat, matmul, matmul_into};

/// Classes whose rows of the gradient one owner adds up.
const BLOCK: usize = 128;

#[derive(Debug)]
pub(crate) struct Tied {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) w: ParamId,
    pub(crate) b: Option<ParamId>,
    pub(crate) d: usize,
    pub(crate) classes: usize,
}

impl Op for Tied {
    wiring!(inputs: x; output: y);
    fn params(&self) -> Vec<ParamId> {
        std::iter::once(self.w).chain(self.b).collect()
    }
    fn macs_per_row(&self) -> usize {
        self.d * self.classes
    }
}

impl<T: Real> Kernel<T> for Tied {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, w, y) = (c.value(self.x, &tile), c.param(self.w), c.value_mut(self.y, &tile));
        if let Some(b) = self.b {
            let b = c.param(b);
            for y in y.chunks_exact_mut(self.classes) {
                y.copy_from_slice(b);
            }
        }
        let shape = (y.len() / self.classes, self.classes, self.d);
        matmul(shape, y, self.classes, Mat::rows(x, self.d), Mat::rows(w, self.d).t(), self.b.is_some());
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (dy, w) = (c.grad(self.y, &tile), c.param(self.w));
        if let Some((dx, adding)) = c.input_grad(0, &tile) {
            let shape = (dx.len() / self.d, self.d, self.classes);
            matmul(shape, dx, self.d, Mat::rows(dy, self.classes), Mat::rows(w, self.d), adding);
        }
    }

    fn owners(&self, _c: &Ctx<'_, T>) -> usize {
        self.classes.div_ceil(BLOCK)
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let (x, dy) = (c.value(self.x, &tile), c.grad(self.y, &tile));
        let rows = owner * BLOCK..((owner + 1) * BLOCK).min(self.classes);
        for (x, dy) in x.chunks(MAX_TILE_ROWS * self.d).zip(dy.chunks(MAX_TILE_ROWS * self.classes)) {
            let a = Mat { data: &dy[rows.start..], row_stride: 1, col_stride: self.classes };
            // SAFETY: each owner writes its own rows of dW_E.
            unsafe {
                let dst = c.param_grad_ptr(self.w).add(rows.start * self.d);
                let terms = dy.len() / self.classes;
                matmul_into((rows.len(), self.d, terms), dst, self.d, a, Mat::rows(x, self.d), true);
            }
            if let Some(b) = self.b {
                add_rows(c.param_grad(b, rows.clone()), dy, self.classes, rows.start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;
    use crate::engine::cpu::embed::{Embed, Index};

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (d, classes, bias) in [(3, 4, true), (5, 150, true), (70, 3, false)] {
            let mut check = OpCheck::new(6, 2);
            let x = check.input(&[d]);
            let w = check.param("W_E", &[classes + 1, d]);
            let b = bias.then(|| check.param("b_U", &[classes]));
            let y = check.value(&[classes]);
            check.assert_gradients(Tied { x, y, w, b, d, classes }, y);
        }
    }

    /// The check's tokens are four; the gradient of W_E has a part from each use.
    #[test]
    fn gradients_of_both_uses_add_up() {
        let mut check = OpCheck::new(6, 2);
        let w = check.param("W_E", &[4, 5]);
        let (x, y) = (check.value(&[5]), check.value(&[3]));
        let embed = Embed { w, output: x, index: Index::Token };
        check.assert_gradients_through(vec![Box::new(embed), Box::new(Tied { x, y, w, b: None, d: 5, classes: 3 })], y);
    }
}
