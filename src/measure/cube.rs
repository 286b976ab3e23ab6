//! cos w_k(a + b − c) over all pairs and classes at once: one direction a frequency, not one a class.
//!
//! Reads sums of the logits over the pairs of each a + b; writes components, each along a cube of norm 1. The cubes of different
//! frequencies are orthogonal, so that projecting onto each is least squares onto all. Classes that are no element of the group
//! are not in the cubes. Source: arXiv 2301.05217, section 4.1 and its notebook (`cos_coeffs`).

use std::f64::consts::TAU;

use crate::measure::fourier::n_freqs;
use crate::measure::sums::{Along, Sums, is_nyquist};

/// Norm of cos w_k(a + b − c) over all pairs and the classes of the group.
pub fn norm(order: usize, k: usize) -> f64 {
    let all = (order as f64).powi(3);
    if is_nyquist(order, k) { all.sqrt() } else { (all / 2.0).sqrt() }
}

/// Component of the logits along each cube of norm 1.
///
/// # Shapes
/// `[n_freqs]`
pub fn components(logits: &Sums) -> Vec<f64> {
    let n = logits.group.order;
    // Sums over all (a, b, c) of one a + b − c.
    let mut sum_m = vec![0.0; n];
    for (s, sum_c) in logits.table(Along::Sum).chunks_exact(logits.width).enumerate() {
        for (c, sum) in sum_c.iter().enumerate() {
            if let Some(c) = logits.group.element(c) {
                sum_m[(s + n - c) % n] += sum;
            }
        }
    }
    let component = |k: usize| sum_m.iter().enumerate().map(|(m, sum)| sum * wave(n, k, m)).sum::<f64>() / norm(n, k);
    (1..=n_freqs(n)).map(component).collect()
}

/// The part of the logits along the cubes of some frequencies.
///
/// # Shapes
/// `components_f` `[n_freqs]` -> `[order, width]`, at each s = a + b; 0 in classes that are not in the cubes
pub fn part(logits: &Sums, components_f: &[f64], freqs: &[usize]) -> Vec<f64> {
    let n = logits.group.order;
    let at = |m: usize| freqs.iter().map(|&k| components_f[k - 1] / norm(n, k) * wave(n, k, m)).sum::<f64>();
    let part_m: Vec<f64> = (0..n).map(at).collect();
    let row = |s: usize| {
        let part_m = &part_m;
        let class = move |c: usize| logits.group.element(c).map_or(0.0, |c| part_m[(s + n - c) % n]);
        (0..logits.width).map(class)
    };
    (0..n).flat_map(row).collect()
}

/// cos w_k m.
fn wave(n: usize, k: usize, m: usize) -> f64 {
    (TAU * ((k * m) % n) as f64 / n as f64).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::group::Group;
    use crate::task::Op;

    #[test]
    fn cubes_have_their_norm_and_give_back_their_coefficients_in_both_groups() {
        for (p, op) in [(7, Op::Sub), (6, Op::Add), (7, Op::Mul)] {
            let group = Group::new(p, op).expect("there is one");
            let n = group.order;
            let pairs: Vec<_> = (0..p * p).map(|i| group.pair([(i / p) as u32, (i % p) as u32])).collect();
            let alphas: Vec<f64> = (1..=n_freqs(n)).map(|k| 1.5 - k as f64).collect();
            let logit = |s: usize, c: usize| -> f64 {
                let Some(c) = group.element(c) else { return 9.0 };
                alphas.iter().enumerate().map(|(i, alpha)| alpha * wave(n, i + 1, (s + n - c) % n)).sum()
            };
            let row = |pair: &Option<(usize, usize)>| pair.map_or(0, |pair| group.sum(pair));
            let x: Vec<f64> =
                pairs.iter().flat_map(|pair| (0..p).map(move |c| (row(pair), c))).map(|(s, c)| logit(s, c)).collect();
            let sums = Sums::new(group.clone(), pairs.clone(), &x, p);
            let found = components(&sums);
            for (i, alpha) in alphas.iter().enumerate() {
                assert!((found[i] / norm(n, i + 1) - alpha).abs() < 1e-12, "{op:?} {p}: {found:?}");
            }
            let freqs: Vec<usize> = (1..=n_freqs(n)).collect();
            let kept = part(&sums, &found, &freqs);
            for (s, c) in (0..n).flat_map(|s| (0..p).map(move |c| (s, c))) {
                let expected = if group.element(c).is_some() { logit(s, c) } else { 0.0 };
                assert!((kept[s * p + c] - expected).abs() < 1e-12);
            }
        }
    }
}
