//! Lion (Chen et al. 2023, arXiv 2302.06675): steps of one size, in the direction of a sign.
//!
//! `w −= lr · (sign(β₁ m + (1 − β₁) g) + λ w)`, then `m = β₂ m + (1 − β₂) g`; the sign of 0 is 0.

use super::{At, MAX_MOMENTS, Settings, Update};
use crate::engine::Real;
use crate::engine::simd::vectorized;

/// Lion.
#[derive(Debug, Clone)]
pub struct Lion {
    /// Settings of each replica.
    pub settings: Settings,
}

#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    let positive = if x > T::ZERO { T::ONE } else { T::ZERO };
    if x < T::ZERO { -T::ONE } else { positive }
}

impl<T: Real> Update<T> for Lion {
    fn moments(&self) -> usize {
        1
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.settings.clip_norm[replica]
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], [m, _, _]: [&mut [T]; MAX_MOMENTS]) {
        let s = &self.settings;
        let ([beta1, beta2], lr) = (s.betas[at.replica], s.lr(at.replica, at.step));
        let of = T::from_f64;
        let keep = of(1.0 - lr * s.weight_decay[at.replica]);
        let (b1, b2, a1, a2) = (of(beta1), of(beta2), of(1.0 - beta1), of(1.0 - beta2));
        let (lr, scale) = (of(lr), of(at.grad_scale));
        vectorized!({
            for ((w, &g), m) in params.iter_mut().zip(grads).zip(m) {
                let g = g * scale;
                *w = keep * *w - lr * sign(b1.mul_add(*m, a1 * g));
                *m = b2.mul_add(*m, a2 * g);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::OptimSpec;

    #[test]
    fn two_steps_by_hand() {
        let spec =
            OptimSpec { lr: 0.1, weight_decay: 0.5, warmup_steps: 0, betas: [0.5, 0.75], ..OptimSpec::default() };
        let lion = Lion { settings: Settings::new(&spec, &[0], 10) };
        let (mut w, mut m) = ([1.0f64, 0.0], [0.0; 2]);
        for (step, grads) in [[2.0, 0.0], [-0.5, 0.0]].into_iter().enumerate() {
            let at = At { replica: 0, step: step as u64, first: 0, grad_scale: 1.0 };
            lion.update(at, &mut w, &grads, [&mut m, &mut [], &mut []]);
        }
        // Step 1: sign +, m = 0.5; step 2: 0.25 − 0.25 = 0, so decay alone; m = 0.375 − 0.125.
        assert!((w[0] - (0.95 - 0.1) * 0.95).abs() < 1e-15 && w[1] == 0.0, "{w:?}");
        assert!((m[0] - 0.25).abs() < 1e-15);
    }
}
