//! The neurons of the last hidden layer over (a, b), and how much of each a frequency explains.
//!
//! Reads a [`Checkpoint`]; gives maps `[p, p]` (a major), explained fractions and spectra. The fraction of frequency k is
//! the share of a neuron's variance over the pairs in the eight products of {1, cos k, sin k} over a and over b that are
//! not constant. Source: arXiv 2301.05217, section 4.

use super::probe::{self, Checkpoint};
use crate::engine::Hook;
use crate::error::Result;
use crate::measure::fourier::{Basis, n_freqs, waves};

/// Activations of all neurons.
pub struct Neurons {
    /// The modulus, a side of a map.
    p: usize,
    /// Elements of the group, a side of a spectrum.
    order: usize,
    n_neurons: usize,
    /// `[pairs]` where each pair is in a map, a times p plus b.
    cells: Vec<usize>,
    /// `[pairs]` elements of a and b in the group; none for a pair with a residue that is not in it.
    elements: Vec<Option<[usize; 2]>>,
    /// `[pairs, n_neurons]`
    values_nm: Vec<f64>,
    /// `[n_neurons]` over the pairs in the group.
    mean_m: Vec<f64>,
    /// `[n_neurons]` sum of squares about the mean.
    power_m: Vec<f64>,
}

/// A neuron and the frequency for which it was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// Its index.
    pub neuron: usize,
    /// The frequency.
    pub freq: usize,
    /// The share of its variance that the frequency explains.
    pub fraction: f64,
}

/// A neuron with less than this of the largest variance is as good as dead.
const ALIVE_FRAC: f64 = 0.1;

impl Neurons {
    /// The last hidden layer at the last position that enters the loss.
    ///
    /// # Errors
    /// A model without one; missing or damaged files.
    pub fn of(checkpoint: &Checkpoint) -> Result<Neurons> {
        let hooks = probe::hooks_ending(&checkpoint.setting, probe::HIDDEN).unwrap_or_default();
        let hook = hooks.last().map_or(Hook::value(probe::HIDDEN), |hook| {
            let wanted = checkpoint.setting.loss_positions.last().filter(|at| hook.positions.contains(at));
            Hook::value(hook.name.as_str()).at(wanted.or(hook.positions.last()).copied())
        });
        let tensor = checkpoint.activation(hook)?;
        let (cells, values_nm) = (checkpoint.cells(), tensor.to_f64());
        let n_neurons = values_nm.len().checked_div(cells.len()).unwrap_or(0);
        let shown = |(value_m, cell): (_, &Option<usize>)| cell.map(|cell| (value_m, cell));
        let rows: Vec<(&[f64], usize)> =
            values_nm.chunks_exact(n_neurons.max(1)).zip(&cells).filter_map(shown).collect();
        let cells: Vec<usize> = rows.iter().map(|&(_, cell)| cell).collect();
        let values_nm: Vec<f64> = rows.iter().flat_map(|&(value_m, _)| value_m).copied().collect();
        let group = checkpoint.group()?;
        let elements: Vec<Option<[usize; 2]>> = cells
            .iter()
            .map(|cell| Some([group.element(cell / checkpoint.p())?, group.element(cell % checkpoint.p())?]))
            .collect();
        let in_group = || {
            let all = values_nm.chunks_exact(n_neurons.max(1)).zip(&elements);
            all.filter(|(_, elements)| elements.is_some()).map(|(value_m, _)| value_m)
        };
        let mut mean_m = vec![0.0; n_neurons];
        for value_m in in_group() {
            mean_m.iter_mut().zip(value_m).for_each(|(sum, x)| *sum += x);
        }
        mean_m.iter_mut().for_each(|sum| *sum /= in_group().count().max(1) as f64);
        let mut power_m = vec![0.0; n_neurons];
        for value_m in in_group() {
            let all = power_m.iter_mut().zip(value_m).zip(&mean_m);
            all.for_each(|((power, x), mean)| *power += (x - mean) * (x - mean));
        }
        let (p, order) = (checkpoint.p(), group.order);
        Ok(Neurons { p, order, n_neurons, cells, elements, values_nm, mean_m, power_m })
    }

    /// For each of `keys` (all frequencies where there are none) the neuron of which it explains most; the `most` best of
    /// them, in order of frequency.
    pub fn choose(&self, keys: &[usize], most: usize) -> Vec<Chosen> {
        let all: Vec<usize> = (1..=n_freqs(self.order)).collect();
        let freqs = if keys.is_empty() { &all } else { keys };
        let mut chosen: Vec<Chosen> = freqs.iter().filter_map(|&freq| self.best(freq)).collect();
        chosen.sort_by(|a, b| b.fraction.total_cmp(&a.fraction));
        chosen.truncate(most);
        chosen.sort_by_key(|chosen| chosen.freq);
        chosen
    }

    fn best(&self, freq: usize) -> Option<Chosen> {
        let largest = self.power_m.iter().copied().fold(0.0, f64::max);
        let fractions = self.fractions(freq);
        let alive = |&(neuron, _): &(usize, f64)| self.power_m[neuron] >= ALIVE_FRAC * largest && largest > 0.0;
        let candidates = fractions.into_iter().enumerate().filter(|(_, x)| x.is_finite()).filter(alive);
        let best = candidates.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
        Some(Chosen { neuron: best.0, freq, fraction: best.1 })
    }

    /// `[n_neurons]` the share of the variance that frequency `k` explains.
    pub fn fractions(&self, k: usize) -> Vec<f64> {
        let mut basis = vec![vec![(self.order as f64).sqrt().recip(); self.order]];
        basis.extend(waves(self.order, k));
        let m = self.n_neurons;
        let mut explained_m = vec![0.0; m];
        for (i, over_a) in basis.iter().enumerate() {
            // Without the constant in both.
            for over_b in &basis[usize::from(i == 0)..] {
                let mut component_m = vec![0.0; m];
                for (value_m, elements) in self.values_nm.chunks_exact(m.max(1)).zip(&self.elements) {
                    let Some([a, b]) = *elements else { continue };
                    let height = over_a[a] * over_b[b];
                    let all = component_m.iter_mut().zip(value_m).zip(&self.mean_m);
                    all.for_each(|((sum, x), mean)| *sum += height * (x - mean));
                }
                explained_m.iter_mut().zip(&component_m).for_each(|(sum, x)| *sum += x * x);
            }
        }
        explained_m.iter().zip(&self.power_m).map(|(explained, power)| explained / power).collect()
    }

    /// `[p, p]` the activation of one neuron, a major; no number where the task has no such pair.
    pub fn map(&self, neuron: usize) -> Vec<f64> {
        let mut map = vec![f64::NAN; self.p * self.p];
        for (value_m, &cell) in self.values_nm.chunks_exact(self.n_neurons.max(1)).zip(&self.cells) {
            map[cell] = value_m[neuron];
        }
        map
    }

    /// `[order, order]` components of one neuron about its mean, the basis over a major, divided by its norm.
    pub fn spectrum(&self, neuron: usize, basis: &Basis) -> Vec<f64> {
        let (n, mean, norm) = (self.order, self.mean_m[neuron], self.power_m[neuron].sqrt());
        let mut map_ab = vec![0.0; n * n];
        for (value_m, elements) in self.values_nm.chunks_exact(self.n_neurons.max(1)).zip(&self.elements) {
            if let Some([a, b]) = *elements {
                map_ab[a * n + b] = (value_m[neuron] - mean) / norm;
            }
        }
        let transposed = |x: &[f64]| -> Vec<f64> { (0..n * n).map(|i| x[i % n * n + i / n]).collect() };
        let over_a = basis.components(&map_ab);
        transposed(&basis.components(&transposed(&over_a)))
    }
}
