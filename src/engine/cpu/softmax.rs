//! Attention pattern: `a[h, :] = softmax(s[h, :])` over the keys, head by head.
//!
//! Shapes: s, a `[rows, n_heads · keys]`. Backward: `ds = a · (da − Σ_keys da · a)`. Masked scores (−∞) give 0 and get 0.

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Part, Tile, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{dot, max, sum, vectorized};

#[derive(Debug)]
pub(crate) struct Softmax {
    pub(crate) scores: ValueId,
    pub(crate) pattern: ValueId,
    pub(crate) keys: usize,
}

impl Op for Softmax {
    wiring!(inputs: scores; output: pattern);
    fn attention_part(&self) -> Option<Part> {
        Some(Part::Softmax)
    }
}

impl<T: Real> Kernel<T> for Softmax {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (s, a) = (c.value(self.scores, &tile), c.value_mut(self.pattern, &tile));
        vectorized!({
            for (s, a) in s.chunks_exact(self.keys).zip(a.chunks_exact_mut(self.keys)) {
                let top = max(s);
                for (a, &s) in a.iter_mut().zip(s) {
                    *a = s - top;
                }
            }
            for a in a.iter_mut() {
                *a = a.exp();
            }
            for a in a.chunks_exact_mut(self.keys) {
                let inverse = T::ONE / sum(a);
                for a in a {
                    *a *= inverse;
                }
            }
        });
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (a, da) = (c.value(self.pattern, &tile), c.grad(self.pattern, &tile));
        let Some((ds, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        vectorized!({
            for ((a, da), ds) in
                a.chunks_exact(self.keys).zip(da.chunks_exact(self.keys)).zip(ds.chunks_exact_mut(self.keys))
            {
                let shared = dot(a, da);
                for ((&a, &da), ds) in a.iter().zip(da).zip(ds) {
                    let through = a * (da - shared);
                    *ds = if adding { *ds + through } else { through };
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::check::OpCheck;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for keys in [3, 21] {
            let mut check = OpCheck::new(4, 2);
            let scores = check.input(&[2, keys]);
            let pattern = check.value(&[2, keys]);
            check.assert_gradients(Softmax { scores, pattern, keys }, pattern);
        }
    }
}
