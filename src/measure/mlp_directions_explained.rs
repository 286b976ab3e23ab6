//! `mlp_directions_explained`: how well the neurons, read along W_L's waves, are waves of a + b.
//!
//! Reads the last hidden layer's activations, W_L and the key frequencies; writes two fractions a key frequency.
//! Source: arXiv 2301.05217, section 4.2.

use crate::engine::Hook;
use crate::engine::simd::{axpy, dot, vectorized};
use crate::error::Result;
use crate::linalg::product_t;
use crate::measure::fourier::{n_freqs, waves};
use crate::measure::group::freq_axis;
use crate::measure::projection;
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::{Along, Sums};
use crate::measure::{Column, Measure, clusters};

/// Variance of the neurons along W_L's directions.
pub struct MlpDirectionsExplained;

const EXPLAIN: &str = "\
What it is
  For each key frequency k, u_k = sum_c cos(w_k c) W_L[:, c] and v_k = sum_c sin(w_k c) W_L[:, c] are directions in
  neuron space. cos_explained_frac: the fraction of the variance of u_k . MLP(a, b) over all pairs that a multiple of
  cos w_k(a+b) explains; sin_explained_frac: of v_k . MLP(a, b), by sin w_k(a+b). mean_, min_explained_frac: over the
  directions of all key frequencies. For x*y and x/y, a, b and c are discrete logarithms.
Reads
  blocks.L.mlp.hook_post of the last hidden layer where the answer is read, all pairs; W_out, W_U; what the rule for
  key frequencies reads.
Unit and range
  fraction, 0 to 1; frequencies 1 to (p-1)/2 (p/2 for even p). No value at frequencies that are not key, and at sin
  p/2.
Value at a known point
  Neurons cos w_k(a+b) and sin w_k(a+b), W_L their waves over c: 1 and 1.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4.2: 93 to 98 % for the ten directions of the main run.";

impl Measure for MlpDirectionsExplained {
    fn name(&self) -> &'static str {
        "mlp_directions_explained"
    }

    fn summary(&self) -> &'static str {
        "variance of the neurons along W_L's cos and sin directions that waves of a + b explain"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        projection::fits(setting)?;
        projection::neurons_fit(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let along = ["cos_explained_frac", "sin_explained_frac"]
            .map(|name| Column::along(name, "fraction", freq_axis(setting)));
        let over = ["mean_explained_frac", "min_explained_frac"].map(|name| Column::scalar(name, "fraction"));
        along.into_iter().chain(over).collect()
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        clusters::hook(setting).into_iter().collect()
    }

    fn uses_key_freqs(&self) -> bool {
        true
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let neurons = subject.neuron_sums()?;
        let n = neurons.group.order;
        let w_l_cm = subject.w_l()?;
        let mut found = [vec![f64::NAN; n_freqs(n)], vec![f64::NAN; n_freqs(n)]];
        let hook = clusters::hook(subject.setting);
        let activations = hook.map(|hook| subject.activation(&hook)).transpose()?.map_or(&[][..], |found| found.values);
        let (mut directions, mut places) = (vec![], vec![]);
        for &k in subject.key_freqs {
            for (which, (wave_c, component_m)) in waves(n, k).iter().zip(neurons.components(Along::Sum, k)).enumerate()
            {
                let mut direction_m = vec![0.0; neurons.width];
                for (&x, w_m) in wave_c.iter().zip(w_l_cm.chunks_exact(neurons.width)) {
                    vectorized!(axpy(&mut direction_m, x, w_m));
                }
                places.push((which, k, vectorized!(dot(&direction_m, &component_m))));
                directions.push(direction_m);
            }
        }
        let variations = variations_along(neurons, activations, &directions);
        for ((which, k, component), variation) in places.into_iter().zip(variations) {
            found[which][k - 1] = component * component / variation;
        }
        let all: Vec<f64> = found.iter().flatten().copied().filter(|frac| !frac.is_nan()).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let min = all.iter().copied().reduce(f64::min).unwrap_or(f64::NAN);
        let [cos, sin] = found;
        Ok(vec![cos, sin, vec![mean], vec![min]])
    }
}

/// Pairs at a time.
const PAIRS: usize = 256;

/// Sum of squared deviations of each direction . neurons over the pairs; NaN where it is rounding alone.
///
/// Some pairs at a time, so that the activations are read once however many directions there are.
fn variations_along(neurons: &Sums, activations: &[f64], directions: &[Vec<f64>]) -> Vec<f64> {
    let means: Vec<f64> = directions.iter().map(|direction_m| vectorized!(dot(direction_m, &neurons.mean_w))).collect();
    let directions_im = directions.concat();
    let mut sums = vec![(0.0, 0.0); directions.len()];
    let rows = neurons.pairs.chunks(PAIRS).zip(activations.chunks(PAIRS * neurons.width));
    for (pairs, x_nm) in rows.filter(|_| !directions.is_empty()) {
        let along_ni = product_t(x_nm, &directions_im, neurons.width);
        for (_, along_i) in pairs.iter().zip(along_ni.chunks_exact(means.len())).filter(|(pair, _)| pair.is_some()) {
            for ((x, mean), (variation, squares)) in along_i.iter().zip(&means).zip(&mut sums) {
                *variation += (x - mean) * (x - mean);
                *squares += x * x;
            }
        }
    }
    let varying = |(variation, squares): (f64, f64)| if variation > 1e-24 * squares { variation } else { f64::NAN };
    sums.into_iter().map(varying).collect()
}
