//! Linear map: `y = x W + b (+ residual)`.
//!
//! Shapes: x `[rows, d_in]`, W `[d_in, d_out]`, b `[d_out]`, y and residual `[rows, d_out]`.
//! Backward: `dx = dy Wᵀ`, `dW += xᵀ dy`, `db += Σ_rows dy`, `dresidual = dy`.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, ParamId, Tile, ValueId, kernels, on_device, swap_id};
use crate::engine::plan::MAX_TILE_ROWS;
use crate::engine::real::Real;
use crate::engine::simd::{add, vectorized};

use super::matmul::{Mat, matmul, matmul_into};

/// Side of the block of `dW` that one owner adds up.
const BLOCK: usize = 128;
/// From this width on, `gemm` reads a transposed `W` slowly, so one transposed copy a step pays.
const TRANSPOSE_FROM: usize = 192;

#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    pub(crate) w: ParamId,
    pub(crate) b: Option<ParamId>,
    pub(crate) residual: Option<ValueId>,
    pub(crate) d_in: usize,
    pub(crate) d_out: usize,
}

impl Op for Linear {
    kernels!();
    on_device!();
    fn inputs(&self) -> Vec<ValueId> {
        std::iter::once(self.x).chain(self.residual).collect()
    }
    fn outputs(&self) -> Vec<ValueId> {
        vec![self.y]
    }
    fn params(&self) -> Vec<ParamId> {
        std::iter::once(self.w).chain(self.b).collect()
    }
    fn rewire(&mut self, from: ValueId, to: ValueId) {
        swap_id(std::iter::once(&mut self.x).chain(&mut self.residual), from, to);
    }
    fn rewire_output(&mut self, from: ValueId, to: ValueId) {
        swap_id([&mut self.y], from, to);
    }
    fn with_residual(&self, residual: ValueId, output: ValueId) -> Option<Box<dyn Op>> {
        let fused = Linear { residual: Some(residual), y: output, ..self.clone() };
        self.residual.is_none().then(|| Box::new(fused) as Box<dyn Op>)
    }
    fn macs_per_row(&self) -> usize {
        self.d_in * self.d_out
    }
    fn scratch_len(&self) -> usize {
        if self.d_out >= TRANSPOSE_FROM { self.d_in * self.d_out } else { 0 }
    }
}

impl Linear {
    /// Blocks of the longer side of W.
    fn blocks(&self) -> usize {
        self.d_in.max(self.d_out).div_ceil(BLOCK)
    }
}

impl<T: Real> Kernel<T> for Linear {
    fn prepare(&self, c: &Ctx<'_, T>) {
        if Op::scratch_len(self) == 0 || !c.wants_grad(0) {
            return;
        }
        let (w, w_t) = (c.param(self.w), c.scratch_mut());
        // In squares, so that both sides stay in the first-level cache.
        for rows in (0..self.d_in).step_by(16) {
            for cols in (0..self.d_out).step_by(16) {
                for i in rows..(rows + 16).min(self.d_in) {
                    for j in cols..(cols + 16).min(self.d_out) {
                        w_t[j * self.d_in + i] = w[i * self.d_out + j];
                    }
                }
            }
        }
    }

    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (x, w, y) = (c.value(self.x, &tile), c.param(self.w), c.value_mut(self.y, &tile));
        let rows = y.len() / self.d_out;
        if let Some(residual) = self.residual {
            y.copy_from_slice(c.value(residual, &tile));
        }
        if let Some(b) = self.b {
            let b = c.param(b);
            for y in y.chunks_exact_mut(self.d_out) {
                if self.residual.is_some() {
                    vectorized!(add(y, b));
                } else {
                    y.copy_from_slice(b);
                }
            }
        }
        let started = self.residual.is_some() || self.b.is_some();
        let shape = (rows, self.d_out, self.d_in);
        matmul(shape, y, self.d_out, Mat::rows(x, self.d_in), Mat::rows(w, self.d_out), started);
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let dy = c.grad(self.y, &tile);
        if let Some((dx, adding)) = c.input_grad(0, &tile) {
            let w_t = match Op::scratch_len(self) {
                0 => Mat::rows(c.param(self.w), self.d_out).t(),
                _ => Mat::rows(c.scratch(), self.d_in),
            };
            let shape = (dx.len() / self.d_in, self.d_in, self.d_out);
            matmul(shape, dx, self.d_in, Mat::rows(dy, self.d_out), w_t, adding);
        }
        if self.residual.is_some()
            && let Some((dr, adding)) = c.input_grad(1, &tile)
        {
            if adding {
                vectorized!(add(dr, dy));
            } else {
                dr.copy_from_slice(dy);
            }
        }
    }

    fn owners(&self, _c: &Ctx<'_, T>) -> usize {
        self.blocks()
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let (x, dy) = (c.value(self.x, &tile), c.grad(self.y, &tile));
        let by_rows = self.d_in > self.d_out;
        let block = owner * BLOCK..((owner + 1) * BLOCK).min(self.d_in.max(self.d_out));
        let (rows, cols) = if by_rows { (block, 0..self.d_out) } else { (0..self.d_in, block) };
        for (x, dy) in x.chunks(MAX_TILE_ROWS * self.d_in).zip(dy.chunks(MAX_TILE_ROWS * self.d_out)) {
            let terms = dy.len() / self.d_out;
            let a = Mat { data: &x[rows.start..], row_stride: 1, col_stride: self.d_in };
            let b = Mat { data: &dy[cols.start..], row_stride: self.d_out, col_stride: 1 };
            // SAFETY: each owner writes its own rows or columns of dW.
            unsafe {
                let dst = c.param_grad_ptr(self.w).add(rows.start * self.d_out + cols.start);
                matmul_into((rows.len(), cols.len(), terms), dst, self.d_out, a, b, true);
            }
            if let Some(bias) = self.b
                && (!by_rows || owner == 0)
            {
                add_rows(c.param_grad(bias, cols.clone()), dy, self.d_out, cols.start);
            }
        }
    }
}

/// db += Σ_rows dy, with a sum of the chunk of its own first: the same bits whatever was there.
pub(super) fn add_rows<T: Real>(db: &mut [T], dy: &[T], stride: usize, from: usize) {
    vectorized!({
        for (j, db) in db.chunks_mut(64).enumerate() {
            let mut sums = [T::ZERO; 64];
            let at = from + j * 64;
            for row in dy.chunks_exact(stride) {
                add(&mut sums[..db.len()], &row[at..at + db.len()]);
            }
            add(db, &sums[..db.len()]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (d_in, d_out, bias, residual) in [(3, 4, true, false), (5, 200, true, true), (150, 3, false, true)] {
            let mut check = OpCheck::new(6, 2);
            let x = check.input(&[d_in]);
            let residual = residual.then(|| check.input(&[d_out]));
            let w = check.param("W", &[d_in, d_out]);
            let b = bias.then(|| check.param("b", &[d_out]));
            let y = check.value(&[d_out]);
            check.assert_gradients(Linear { x, y, w, b, residual, d_in, d_out }, y);
        }
    }
}
