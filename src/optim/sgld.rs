//! Stochastic gradient Langevin dynamics (Welling and Teh 2011): samples of a posterior instead of a minimum.
//!
//! `w += −lr/2 · (nβ g + λ w + γ (w − w₀)) + √lr · ξ` with ξ standard normal: for small lr, samples of the density ∝
//! exp(−nβ L(w) − λ/2 |w|² − γ/2 |w − w₀|²), w₀ the start. ξ is a function of (seed, step, parameter). Source of the pull to the start:
//! Lau et al. 2023 (arXiv 2308.12108).

use super::{At, MAX_MOMENTS, Settings, Update};
use crate::engine::Real;
use crate::rng::Rng;

/// SGLD.
#[derive(Debug, Clone)]
pub struct Sgld {
    settings: Settings,
    /// Of each replica.
    noise: Vec<Rng>,
}

/// Normal numbers that are drawn together.
const NOISE: usize = 64;

impl Sgld {
    /// With these settings, its noise from the replicas' seeds.
    pub fn new(settings: Settings) -> Sgld {
        let noise = settings.seeds.iter().map(|&seed| Rng::stream(seed, "optim/sgld")).collect();
        Sgld { settings, noise }
    }
}

impl<T: Real> Update<T> for Sgld {
    fn moments(&self) -> usize {
        // The start, if anything pulls there.
        usize::from(self.settings.localization.iter().any(|pull| *pull > 0.0))
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.settings.clip_norm[replica]
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], [start, _, _]: [&mut [T]; MAX_MOMENTS]) {
        let s = &self.settings;
        if at.step == 0 && !start.is_empty() {
            start.copy_from_slice(params);
        }
        let lr = s.lr(at.replica, at.step);
        let of = |x: f64| T::from_f64(-0.5 * lr * x);
        let heat = of(s.inverse_temperature[at.replica] * at.grad_scale);
        let (decay, pull) = (of(s.weight_decay[at.replica]), of(s.localization[at.replica]));
        let root = lr.sqrt();
        let mut rng = self.noise[at.replica].substream(at.step);
        let mut normal = [0.0; NOISE];
        let mut done = 0;
        while done < params.len() {
            // Normal numbers come in pairs.
            let first = at.first + done;
            let skip = first % 2;
            let n = (NOISE - skip).min(params.len() - done);
            rng.seek(2 * (first - skip) as u64);
            rng.fill_normal(&mut normal[..skip + n]);
            for (i, noise) in (done..done + n).zip(&normal[skip..]) {
                let w = params[i];
                let off = start.get(i).map_or(T::ZERO, |&start| w - start);
                params[i] = w + heat * grads[i] + decay * w + pull * off + T::from_f64(root * noise);
            }
            done += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{OptimKind, OptimSpec};

    fn spec() -> OptimSpec {
        OptimSpec { kind: OptimKind::Sgld, warmup_steps: 0, weight_decay: 0.0, ..OptimSpec::default() }
    }

    fn at(step: u64, first: usize) -> At {
        At { replica: 0, step, first, grad_scale: 1.0 }
    }

    /// The loss w²/2 with a prior and a pull to the start: a normal distribution of variance 1 / (nβ + λ + γ) around γ w₀ times that.
    #[test]
    fn samples_have_the_mean_and_variance_of_the_posterior() {
        let spec = OptimSpec { lr: 1e-2, inverse_temperature: 6.0, weight_decay: 1.0, localization: 3.0, ..spec() };
        let sgld = Sgld::new(Settings::new(&spec, &[0], 1));
        // Many chains of one number each, from 2.
        let (mut w, mut start) = (vec![2.0f64; 4000], vec![0.0; 4000]);
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for step in 0..400 {
            let grads = w.clone();
            sgld.update(at(step, 0), &mut w, &grads, [&mut start, &mut [], &mut []]);
            if step >= 200 && step % 20 == 0 {
                sum += w.iter().sum::<f64>();
                squares += w.iter().map(|x| x * x).sum::<f64>();
                count += w.len() as f64;
            }
        }
        assert!(start.iter().all(|x| *x == 2.0));
        let mean = sum / count;
        let variance = squares / count - mean * mean;
        // Steps of this size widen it by 1 / (1 − lr · 10 / 4).
        let expected = 0.1 / (1.0 - 0.025);
        assert!((mean - 0.6).abs() < 0.01 && (variance / expected - 1.0).abs() < 0.04, "{mean} {variance}");
    }

    #[test]
    fn noise_does_not_depend_on_how_parameters_are_cut_into_blocks_but_on_seed_and_step() {
        let settings = |seed| Settings::new(&spec(), &[seed], 1);
        let run = |seed, step, cuts: &[usize]| {
            let sgld = Sgld::new(settings(seed));
            let mut w = [0.0f32; 200];
            for range in cuts.windows(2) {
                let block = &mut w[range[0]..range[1]];
                let grads = vec![0.0; block.len()];
                sgld.update(at(step, range[0]), block, &grads, [&mut [], &mut [], &mut []]);
            }
            w
        };
        let whole = run(3, 5, &[0, 200]);
        assert_eq!(whole, run(3, 5, &[0, 1, 64, 65, 131, 200]));
        assert_ne!(whole, run(4, 5, &[0, 200]));
        assert_ne!(whole, run(3, 6, &[0, 200]));
        assert!(whole.iter().all(|x| x.is_finite() && *x != 0.0));
    }
}
