//! Grokfast (Lee et al. 2024, arXiv 2405.20233, its EMA filter): slow parts of the gradient are amplified before the optimiser.
//!
//! `m = α m + (1 − α) g`, with m = g at the first step as in its published code; the optimiser gets `g + λ m`. g is the gradient
//! after clipping and before any decay. m is one more array of state, after those of the optimiser.

use std::fmt::{Debug, Formatter};

use super::{At, MAX_MOMENTS, Update};
use crate::engine::Real;
use crate::engine::simd::vectorized;
use crate::spec;

/// Numbers that are filtered together: room for them is on the stack.
const CHUNK: usize = 1024;

/// A filter before an optimiser.
pub struct Grokfast<T> {
    /// What of the average stays, for each replica.
    pub alpha: Vec<f64>,
    /// Weight of the average, for each replica.
    pub lamb: Vec<f64>,
    inner: Box<dyn Update<T>>,
}

impl<T: Real> Grokfast<T> {
    /// The same filter for every replica.
    pub fn new(spec: &spec::Grokfast, replicas: usize, inner: Box<dyn Update<T>>) -> Grokfast<T> {
        let spec::GrokfastKind::Ema = spec.kind;
        debug_assert!(inner.moments() < MAX_MOMENTS, "invariant: there is room for one more array");
        Grokfast { alpha: vec![spec.alpha; replicas], lamb: vec![spec.lamb; replicas], inner }
    }
}

impl<T> Debug for Grokfast<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grokfast").field("alpha", &self.alpha).field("lamb", &self.lamb).finish_non_exhaustive()
    }
}

impl<T: Real> Update<T> for Grokfast<T> {
    fn moments(&self) -> usize {
        self.inner.moments() + 1
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.inner.clip_norm(replica)
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], moments: [&mut [T]; MAX_MOMENTS]) {
        let own = self.inner.moments();
        let alpha = if at.step == 0 { 0.0 } else { self.alpha[at.replica] };
        let (stays, enters) = (T::from_f64(alpha), T::from_f64(1.0 - alpha));
        let (lamb, scale) = (T::from_f64(self.lamb[at.replica]), T::from_f64(at.grad_scale));
        let mut moments = moments.map(|m| m.chunks_mut(CHUNK));
        let mut filtered = [T::ZERO; CHUNK];
        for (i, (params, grads)) in params.chunks_mut(CHUNK).zip(grads.chunks(CHUNK)).enumerate() {
            let mut parts = moments.each_mut().map(|m| m.next().unwrap_or_default());
            let filtered = &mut filtered[..grads.len()];
            vectorized!({
                for ((f, m), &g) in filtered.iter_mut().zip(parts[own].iter_mut()).zip(grads) {
                    let g = g * scale;
                    *m = stays.mul_add(*m, enters * g);
                    *f = lamb.mul_add(*m, g);
                }
            });
            let at = At { first: at.first + i * CHUNK, grad_scale: 1.0, ..at };
            self.inner.update(at, params, filtered, parts);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::optim::{Settings, build};
    use crate::spec::{OptimKind, OptimSpec};

    /// Gradient number `i` of `step`.
    fn gradient(step: u64, i: usize) -> f64 {
        (0.3 * step as f64 + 0.7 * i as f64).sin() + 0.2
    }

    /// The filter written once more with plain numbers, before the optimiser without it.
    #[test]
    fn it_is_the_optimiser_on_filtered_gradients() {
        let n = 2 * CHUNK + 77;
        for (kind, moments) in [(OptimKind::Adamw, 3), (OptimKind::Adam, 3), (OptimKind::Sgd, 2)] {
            let plain = OptimSpec { kind, warmup_steps: 3, weight_decay: 0.1, ..OptimSpec::default() };
            let filter = spec::Grokfast { alpha: 0.9, lamb: 5.0, ..spec::Grokfast::default() };
            let fast = OptimSpec { grokfast: Some(filter), ..plain.clone() };
            let update = |spec: &OptimSpec| build::<f64>(spec, Settings::new(spec, &[0], 100));
            let (plain, fast) = (update(&plain), update(&fast));
            assert_eq!(fast.moments(), moments);
            let (mut w, mut a, mut b, mut c) = (vec![0.5; n], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            let (mut want, mut m, mut v) = (vec![0.5; n], vec![0.0; n], vec![0.0; n]);
            let mut average: Vec<f64> = vec![];
            for step in 0..6 {
                let grads: Vec<f64> = (0..n).map(|i| gradient(step, i)).collect();
                fast.update(
                    At { replica: 0, step, first: 0, grad_scale: 0.5 },
                    &mut w,
                    &grads,
                    [&mut a, &mut b, &mut c],
                );

                let clipped: Vec<f64> = grads.iter().map(|g| 0.5 * g).collect();
                if step == 0 {
                    average.clone_from(&clipped);
                }
                for (average, g) in average.iter_mut().zip(&clipped) {
                    *average = 0.9 * *average + 0.1 * g;
                }
                let filtered: Vec<f64> = clipped.iter().zip(&average).map(|(g, average)| g + 5.0 * average).collect();
                let at = At { replica: 0, step, first: 0, grad_scale: 1.0 };
                plain.update(at, &mut want, &filtered, [&mut m, &mut v, &mut []]);
            }
            let apart = w.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-13, "{kind:?}: {apart}");
            let state = if kind == OptimKind::Sgd { &b } else { &c };
            let apart = state.iter().zip(&average).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-14, "{kind:?}: the average is off by {apart}");
        }
    }

    /// Algorithm 2 of the paper on a constant gradient: the average is that gradient from the first step on, so SGD's first step
    /// goes 1 + λ times as far.
    #[test]
    fn a_constant_gradient_is_amplified_by_one_plus_lamb() {
        let filter = spec::Grokfast::default();
        let spec = OptimSpec {
            kind: OptimKind::Sgd,
            lr: 0.1,
            weight_decay: 0.0,
            momentum: 0.0,
            warmup_steps: 0,
            grokfast: Some(filter),
            ..OptimSpec::default()
        };
        let sgd = build::<f64>(&spec, Settings::new(&spec, &[0], 10));
        let (mut w, mut m, mut average) = ([1.0], [0.0], [0.0]);
        for (step, want) in [(0, 0.4), (1, -0.2)] {
            let at = At { replica: 0, step, first: 0, grad_scale: 1.0 };
            sgd.update(at, &mut w, &[2.0], [&mut m, &mut average, &mut []]);
            assert!((w[0] - want).abs() < 1e-14, "{} against {want}", w[0]);
        }
    }
}
