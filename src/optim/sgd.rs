//! SGD with momentum, as PyTorch computes it: `g += λ w`, `m = μ m + g` (m = g at the first step), `w −= lr · m`.

use super::{At, MAX_MOMENTS, Settings, Update};
use crate::engine::Real;
use crate::engine::simd::vectorized;

/// SGD.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// Settings of each replica.
    pub settings: Settings,
}

impl<T: Real> Update<T> for Sgd {
    fn moments(&self) -> usize {
        1
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.settings.clip_norm[replica]
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], [m, _, _]: [&mut [T]; MAX_MOMENTS]) {
        let s = &self.settings;
        let (lr, decay) = (T::from_f64(s.lr(at.replica, at.step)), T::from_f64(s.weight_decay[at.replica]));
        let (momentum, scale) = (T::from_f64(s.momentum[at.replica]), T::from_f64(at.grad_scale));
        vectorized!({
            for ((w, &g), m) in params.iter_mut().zip(grads).zip(m) {
                let g = decay.mul_add(*w, g * scale);
                *m = momentum.mul_add(*m, g);
                *w = (-lr).mul_add(*m, *w);
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
        let spec = OptimSpec { lr: 0.1, weight_decay: 0.0, momentum: 0.5, warmup_steps: 0, ..OptimSpec::default() };
        let sgd = Sgd { settings: Settings::new(&spec, &[0], 10) };
        let (mut w, mut m) = ([1.0f64], [0.0]);
        for step in 0..2 {
            let at = At { replica: 0, step, first: 0, grad_scale: 1.0 };
            sgd.update(at, &mut w, &[2.0], [&mut m, &mut [], &mut []]);
        }
        // m: 2, then 3; w: 1 − 0.2 − 0.3.
        assert!((w[0] - 0.5).abs() < 1e-15);
    }
}
