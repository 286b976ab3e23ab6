//! Muon (Jordan et al. 2024): matrices move along the orthogonal part of their momentum; everything else has AdamW.
//!
//! `m = μ m + (1 − μ) g`, `u = μ m + (1 − μ) g` (Nesterov), `o` ≈ the orthogonal factor of u by five Newton-Schulz steps, `w *= 1 − lr · λ`,
//! `w −= lr · 0.2 √max(rows, columns) · o`: with this factor (Liu et al. 2025, arXiv 2502.16982) a learning rate for AdamW fits both. Matrices are
//! the weights of attention and MLPs; the heads of W_Q, W_K and W_V stand side by side. Embeddings, W_U, biases and LayerNorms are not.

use super::{Adam, At, MAX_MOMENTS, Settings, Update};
use crate::engine::simd::{dot, vectorized};
use crate::engine::{Layout, Mat, ParamInfo, ParamLayout, Real, matmul};

/// Coefficients of a Newton-Schulz step: `x ← a x + b x xᵀ x + c x xᵀ x xᵀ x`, as published.
const STEP: [f64; 3] = [3.4445, -4.775, 2.0315];
const STEPS: usize = 5;

/// Muon, with AdamW for what is no hidden matrix.
#[derive(Debug, Clone)]
pub struct Muon {
    settings: Settings,
    adam: Adam,
    /// Place of each hidden matrix in the flat array, its rows and columns.
    matrices: Vec<(usize, [usize; 2])>,
}

impl Muon {
    /// For the parameters of a layout.
    pub fn new(settings: Settings, layout: &ParamLayout) -> Muon {
        let matrices = layout.infos.iter().filter_map(|info| Some((info.offset, sides(info)?))).collect();
        Muon { adam: Adam { settings: settings.clone(), decoupled: true }, settings, matrices }
    }
}

/// Rows and columns as they lie in memory, of a hidden matrix.
fn sides(info: &ParamInfo) -> Option<[usize; 2]> {
    let field = info.name.rsplit('.').next().unwrap_or_default();
    let outer = ["embed.", "pos_embed.", "unembed."].iter().any(|module| info.name.starts_with(module));
    if outer || !field.starts_with("W_") {
        return None;
    }
    match (info.shape.as_slice(), info.layout) {
        (&[rows, columns], _) => Some([rows, columns]),
        (&[heads, d_model, d_head], Layout::HeadsInside) => Some([d_model, heads * d_head]),
        (&[heads, d_head, d_model], Layout::Plain) => Some([heads * d_head, d_model]),
        _ => None,
    }
}

impl<T: Real> Update<T> for Muon {
    fn moments(&self) -> usize {
        2
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.settings.clip_norm[replica]
    }

    fn whole(&self) -> bool {
        true
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], moments: [&mut [T]; MAX_MOMENTS]) {
        let Some(&(_, [rows, columns])) = self.matrices.iter().find(|(first, _)| *first == at.first) else {
            return self.adam.update(at, params, grads, moments);
        };
        let [m, ..] = moments;
        let s = &self.settings;
        let (lr, momentum) = (s.lr(at.replica, at.step), T::from_f64(s.momentum[at.replica]));
        let (enters, scale) = (T::ONE - momentum, T::from_f64(at.grad_scale));
        let mut direction = vec![T::ZERO; grads.len()];
        vectorized!({
            for ((u, m), &g) in direction.iter_mut().zip(m).zip(grads) {
                let g = enters * g * scale;
                *m = momentum.mul_add(*m, g);
                *u = momentum.mul_add(*m, g);
            }
        });
        orthogonalize(&mut direction, rows, columns);
        let keep = T::from_f64(1.0 - lr * s.weight_decay[at.replica]);
        let size = T::from_f64(-lr * 0.2 * (rows.max(columns) as f64).sqrt());
        vectorized!({
            for (w, &u) in params.iter_mut().zip(&direction) {
                *w = size.mul_add(u, keep * *w);
            }
        });
    }
}

/// Singular values near 1, singular vectors as they are; zeros stay zeros.
fn orthogonalize<T: Real>(x_rc: &mut [T], rows: usize, columns: usize) {
    let norm = vectorized!(dot(x_rc, x_rc)).sqrt();
    if norm == T::ZERO {
        return;
    }
    let inverse = T::ONE / norm;
    x_rc.iter_mut().for_each(|x| *x *= inverse);
    let [a, b, c] = STEP.map(T::from_f64);
    // The product of the smaller side: x xᵀ, or xᵀ x with the factor on the right.
    let small = rows.min(columns);
    let (mut gram, mut factor, mut next) =
        (vec![T::ZERO; small * small], vec![T::ZERO; small * small], vec![T::ZERO; x_rc.len()]);
    for _ in 0..STEPS {
        let x = Mat::rows(x_rc, columns);
        let (left, right) = if rows <= columns { (x, x.t()) } else { (x.t(), x) };
        matmul((small, small, rows.max(columns)), &mut gram, small, left, right, false);
        matmul((small, small, small), &mut factor, small, Mat::rows(&gram, small), Mat::rows(&gram, small), false);
        for (i, (factor, &gram)) in factor.iter_mut().zip(&gram).enumerate() {
            let one = if i % (small + 1) == 0 { a } else { T::ZERO };
            *factor = c.mul_add(*factor, b.mul_add(gram, one));
        }
        let square = Mat::rows(&factor, small);
        match rows <= columns {
            true => matmul((rows, columns, rows), &mut next, columns, square, x, false),
            false => matmul((rows, columns, columns), &mut next, columns, x, square, false),
        }
        x_rc.copy_from_slice(&next);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::linalg::svd;
    use crate::optim::build_over;
    use crate::spec::{OptimKind, OptimSpec};

    fn random(n: usize) -> Vec<f64> {
        let mut x = vec![0.0; n];
        crate::rng::Rng::stream(3, "muon").fill_normal(&mut x);
        x
    }

    /// Each singular value goes through the polynomial by itself, by another library's decomposition.
    #[test]
    fn singular_values_go_through_the_polynomial_and_vectors_stay() {
        for (rows, columns) in [(4, 7), (7, 4), (5, 5)] {
            let start = random(rows * columns);
            let mut x = start.clone();
            orthogonalize(&mut x, rows, columns);
            let parts = svd(&start, rows, columns);
            let norm = start.iter().map(|x| x * x).sum::<f64>().sqrt();
            let step = |s: f64| STEP[0] * s + STEP[1] * s.powi(3) + STEP[2] * s.powi(5);
            let values: Vec<f64> = parts.values_k.iter().map(|s| (0..STEPS).fold(s / norm, |s, _| step(s))).collect();
            let k = values.len();
            for i in 0..rows {
                for j in 0..columns {
                    let want: f64 = (0..k)
                        .map(|k_| parts.left_rk[i * k + k_] * values[k_] * parts.right_kc[k_ * columns + j])
                        .sum();
                    assert!((x[i * columns + j] - want).abs() < 1e-10, "{rows} x {columns}");
                }
            }
            assert!(values.iter().all(|s| (0.5..1.3).contains(s)), "{values:?}");
        }
    }

    #[test]
    fn hidden_matrices_are_turned_and_the_rest_has_adamw() {
        let mut g = crate::engine::Graph::new(1);
        g.param("embed.W_E", &[4, 6]);
        g.param("blocks.0.mlp.W_in", &[6, 4]);
        g.heads_param("blocks.0.attn.W_Q", [2, 6, 3]);
        g.param("blocks.0.mlp.b_in", &[4]);
        let layout = g.params;
        let spec = OptimSpec { kind: OptimKind::Muon, warmup_steps: 0, ..OptimSpec::default() };
        let adamw = OptimSpec { kind: OptimKind::Adamw, ..spec.clone() };
        let after = |spec: &OptimSpec| {
            let update = build_over::<f64>(spec, Settings::new(spec, &[0], 10), &layout).unwrap();
            let mut w = vec![1.0; layout.stride];
            for info in &layout.infos {
                let part = info.offset..info.offset + info.len();
                let (mut m, mut v) = (vec![0.0; info.len()], vec![0.0; info.len()]);
                let at = At { replica: 0, step: 0, first: info.offset, grad_scale: 1.0 };
                update.update(at, &mut w[part], &random(info.len()), [&mut m, &mut v, &mut []]);
            }
            w
        };
        let (muon, adamw) = (after(&spec), after(&adamw));
        for info in &layout.infos {
            let part = info.offset..info.offset + info.len();
            assert_eq!(muon[part.clone()] == adamw[part], sides(info).is_none(), "{}", info.name);
        }
        assert_eq!(layout.infos.iter().map(sides).collect::<Vec<_>>(), [None, Some([6, 4]), Some([6, 6]), None]);
        // The update's own size: each of the four singular values of W_in moves it by about lr · 0.2 √6.
        let part = layout.infos[1].offset..layout.infos[1].offset + 24;
        let moved: f64 =
            muon[part].iter().map(|w| (w - (1.0 - spec.lr * spec.weight_decay)).powi(2)).sum::<f64>().sqrt();
        let expected = spec.lr * 0.2 * 6f64.sqrt() * 2.0;
        assert!((0.7..1.3).contains(&(moved / expected)), "{moved} against {expected}");
    }
}
