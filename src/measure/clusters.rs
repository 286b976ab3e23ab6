//! Neurons by the frequency that explains most of their activation.
//!
//! Reads sums of the activations over all pairs; writes explained fractions `[n_freqs, d_mlp]` and clusters. The part of a
//! neuron at frequency k is its projection onto the eight components cos and sin of w_k a and of w_k b, alone and multiplied:
//! the waves of a, of b, of a + b and of a − b. Source: arXiv 2301.05217, section 4.2.

use crate::engine::Hook;
use crate::measure::fourier::{Basis, n_freqs};
use crate::measure::group::{self, Group};
use crate::measure::subject::Setting;
use crate::measure::sums::{Along, Sums, is_nyquist};

/// Which frequency each neuron has.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// `[d_mlp]` the frequency with the largest explained fraction; 0 for a neuron that does not vary.
    pub freq_m: Vec<usize>,
    /// `[d_mlp]` that fraction; NaN for a neuron that does not vary.
    pub frac_m: Vec<f64>,
    /// `[n_freqs]` neurons of each frequency whose fraction is at least the cut; nothing when an activation is not finite.
    pub counts: Option<Vec<usize>>,
}

impl Clusters {
    /// The clusters of neurons whose fraction is at least `cut`.
    pub fn of(sums: &Sums, cut: f64) -> Clusters {
        let n = n_freqs(sums.group.order);
        let explained_fm = explained(sums);
        let (mut freq_m, mut frac_m, mut counts) = (vec![0; sums.width], vec![f64::NAN; sums.width], vec![0; n]);
        for (m, (freq, frac)) in freq_m.iter_mut().zip(&mut frac_m).enumerate() {
            for (f, row_m) in explained_fm.chunks_exact(sums.width).enumerate() {
                // Of those that are equal to nine digits the lowest; a comparison with NaN is false.
                if row_m[m] > if *freq == 0 { -1.0 } else { *frac * (1.0 + 1e-9) } {
                    (*freq, *frac) = (f + 1, row_m[m]);
                }
            }
            if *freq > 0 && *frac >= cut {
                counts[*freq - 1] += 1;
            }
        }
        let finite = sums.squares_w.iter().all(|squares| squares.is_finite());
        Clusters { freq_m, frac_m, counts: finite.then_some(counts) }
    }
}

/// The fraction of each neuron's variance over all pairs that each frequency explains; NaN for a neuron that does not vary.
///
/// # Shapes
/// `[n_freqs, d_mlp]`
pub fn explained(sums: &Sums) -> Vec<f64> {
    let order = sums.group.order;
    let varies_m: Vec<bool> = sums.variation_w.iter().zip(&sums.squares_w).map(|(x, all)| *x > 1e-24 * all).collect();
    let basis = Basis::new(order);
    let mut explained_fm = vec![0.0; n_freqs(order) * sums.width];
    for along in [Along::A, Along::B, Along::Sum, Along::Difference] {
        let components_fm = basis.components(sums.table(along));
        let waves = components_fm[sums.width..].chunks(2 * sums.width);
        for (k, (power_m, waves)) in (1..).zip(explained_fm.chunks_exact_mut(sums.width).zip(waves)) {
            if along == Along::Difference && is_nyquist(order, k) {
                continue;
            }
            for component_m in waves.chunks_exact(sums.width) {
                // A wave of norm 1 over the elements has the root of their number over the pairs.
                power_m.iter_mut().zip(component_m).for_each(|(power, x)| *power += x * x / order as f64);
            }
        }
    }
    for power_m in explained_fm.chunks_exact_mut(sums.width) {
        for ((power, all), varies) in power_m.iter_mut().zip(&sums.variation_w).zip(&varies_m) {
            *power = if *varies { *power / all } else { f64::NAN };
        }
    }
    explained_fm
}

/// The activations of the last hidden layer where the answer is read.
pub fn hook(setting: &Setting) -> Option<Hook> {
    let layer = |name: &str| name.strip_prefix("blocks.")?.strip_suffix(".mlp.hook_post")?.parse::<usize>().ok();
    let last = setting.hooks.iter().filter_map(|hook| layer(&hook.name)).max()?;
    Some(Hook::value(format!("blocks.{last}.mlp.hook_post")).at(setting.loss_positions.iter().copied()))
}

/// Number of neurons in that layer; 0 without one.
pub fn n_neurons(setting: &Setting) -> usize {
    let shape = hook(setting).and_then(|hook| setting.hook(&hook.name));
    shape.and_then(|shape| shape.axes.last()).copied().unwrap_or(0)
}

/// The group, where the task is a sum in it over all pairs and the model has neurons.
///
/// # Errors
/// The reason why not, as a clause.
pub fn fits(setting: &Setting) -> Result<Group, String> {
    let group = group::sum_fits(setting)?;
    let shape = hook(setting).and_then(|hook| setting.hook(&hook.name));
    match shape.filter(|_| n_neurons(setting) > 0) {
        None => Err("the model has no neurons (blocks.*.mlp.hook_post)".into()),
        Some(shape) if setting.loss_positions.iter().all(|t| shape.positions.contains(t)) => Ok(group),
        Some(shape) => Err(format!("{} is not at the position of the answer", shape.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Op;
    use std::f64::consts::TAU;

    /// Neurons that are functions of the pair mod 7.
    fn sums(neurons: &[&dyn Fn(f64, f64) -> f64]) -> Sums {
        let n = 7;
        let group = Group::new(n, Op::Add).expect("sums have a group");
        let pairs: Vec<_> = (0..n * n).map(|i| Some((i / n, i % n))).collect();
        let row = |i: usize| neurons.iter().map(move |x| x((i / n) as f64, (i % n) as f64));
        Sums::new(group, pairs, &(0..n * n).flat_map(row).collect::<Vec<_>>(), neurons.len())
    }

    #[test]
    fn neurons_of_one_frequency_are_in_its_cluster_mixed_and_dead_ones_in_none() {
        let w = TAU / 7.0;
        let cos = |k: f64, x: f64| (k * w * x).cos();
        let clusters = Clusters::of(
            &sums(&[
                &|a, b| 1.0 + cos(2.0, a) * (2.0 * w * b).sin() + 0.5 * cos(2.0, b),
                // Nine tenths of the variance at 3, one tenth at 1.
                &|a, b| 3.0 * cos(3.0, a + b) + cos(1.0, a),
                // Half and half: no cluster, and the lower frequency.
                &|a, b| cos(1.0, a) + cos(3.0, b),
                &|_, _| 0.3,
                // A mixed product has no part at either frequency.
                &|a, b| cos(1.0, a) * cos(2.0, b),
            ]),
            0.85,
        );
        assert_eq!(clusters.freq_m[..3], [2, 3, 1]);
        assert!((clusters.frac_m[0] - 1.0).abs() < 1e-12 && (clusters.frac_m[1] - 0.9).abs() < 1e-12);
        assert!((clusters.frac_m[2] - 0.5).abs() < 1e-12);
        assert!(clusters.freq_m[3] == 0 && clusters.frac_m[3].is_nan());
        assert!(clusters.frac_m[4] < 1e-12);
        assert_eq!(clusters.counts, Some(vec![0, 1, 1]));
        let spoilt =
            Clusters::of(&sums(&[&|a, _| cos(1.0, a), &|a, b| if a + b > 0.0 { f64::NAN } else { 1.0 }]), 0.85);
        assert!(spoilt.freq_m == [1, 0] && spoilt.frac_m[1].is_nan() && spoilt.counts.is_none());
    }

    #[test]
    fn the_lowest_of_frequencies_of_equal_height_is_taken_whatever_rounding_makes_of_them() {
        let w = TAU / 7.0;
        for i in 0..12 {
            let (x, y) = (0.37 * f64::from(i), 1.1 * f64::from(i));
            let neuron = |a: f64, b: f64| (w * a + x).cos() + (2.0 * w * b + y).cos() + (3.0 * w * (a + b)).cos();
            assert_eq!(Clusters::of(&sums(&[&neuron]), 0.85).freq_m, [1], "phases {x}, {y}");
        }
    }
}
