//! Adam and AdamW (Kingma and Ba 2015, arXiv 1412.6980; Loshchilov and Hutter 2019, arXiv 1711.05101), as PyTorch computes them.
//!
//! `m = β₁ m + (1 − β₁) g`, `v = β₂ v + (1 − β₂) g²`,
//! `w −= lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)`; decay first: AdamW `w *= 1 − lr · λ`, Adam `g += λ w`.

use super::{At, MAX_MOMENTS, Settings, Update};
use crate::engine::Real;
use crate::engine::simd::vectorized;

/// Adam, or AdamW when the decay is decoupled.
#[derive(Debug, Clone)]
pub struct Adam {
    /// Settings of each replica.
    pub settings: Settings,
    /// AdamW.
    pub decoupled: bool,
}

impl<T: Real> Update<T> for Adam {
    fn moments(&self) -> usize {
        2
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.settings.clip_norm[replica]
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], [m, v, _]: [&mut [T]; MAX_MOMENTS]) {
        let s = &self.settings;
        let ([beta1, beta2], decay) = (s.betas[at.replica], s.weight_decay[at.replica]);
        let (lr, t) = (s.lr(at.replica, at.step), (at.step + 1) as f64);
        let t_of = T::from_f64;
        let size = t_of(lr / (1.0 - libm::pow(beta1, t)));
        let inverse_root = t_of(1.0 / libm::sqrt(1.0 - libm::pow(beta2, t)));
        let (keep, coupled) = if self.decoupled { (1.0 - lr * decay, 0.0) } else { (1.0, decay) };
        let (keep, coupled, eps, scale) = (t_of(keep), t_of(coupled), t_of(s.eps[at.replica]), t_of(at.grad_scale));
        let (b1, b2, a1, a2) = (t_of(beta1), t_of(beta2), t_of(1.0 - beta1), t_of(1.0 - beta2));
        vectorized!({
            for (((w, &g), m), v) in params.iter_mut().zip(grads).zip(m).zip(v) {
                let g = coupled.mul_add(*w, g * scale);
                *m = b1.mul_add(*m, a1 * g);
                *v = b2.mul_add(*v, a2 * g * g);
                let step = size * *m / (*v).sqrt().mul_add(inverse_root, eps);
                *w = keep * *w - step;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::OptimSpec;

    /// The first step of Adam moves by lr · sign(g) whatever the size of g, and AdamW shrinks first.
    #[test]
    fn first_step_is_the_learning_rate() {
        let spec = OptimSpec { lr: 0.1, weight_decay: 0.5, warmup_steps: 0, eps: 0.0, ..OptimSpec::default() };
        for (decoupled, want) in [(true, [0.85, -1.8]), (false, [0.9, -1.9])] {
            let adam = Adam { settings: Settings::new(&spec, &[0], 10), decoupled };
            let (mut w, mut m, mut v) = ([1.0f64, -2.0], [0.0; 2], [0.0; 2]);
            let at = At { replica: 0, step: 0, first: 0, grad_scale: 1.0 };
            adam.update(at, &mut w, &[3.0, -1e-3], [&mut m, &mut v, &mut []]);
            for (w, want) in w.iter().zip(want) {
                assert!((w - want).abs() < 1e-12, "{w} against {want}");
            }
        }
    }
}
