//! The real Fourier basis over the residues mod p, and norms of components along it.
//!
//! Reads row-major f64 matrices whose rows are residues; writes components and norms, shapes at each function.
//! Components are small matrix products with a precomputed basis. Source: arXiv 2301.05217, section 3.

use std::f64::consts::TAU;

use crate::linalg::product;

/// Orthonormal rows: constant, cos 1, sin 1, cos 2, sin 2, … and, for even p, the alternating Nyquist row last.
#[derive(Debug, Clone)]
pub struct Basis {
    p: usize,
    /// `[p, p]`, one basis vector a row.
    rows_fp: Vec<f64>,
}

impl Basis {
    /// The basis for a modulus of at least 1.
    pub fn new(p: usize) -> Basis {
        let mut rows_fp = vec![(p as f64).sqrt().recip(); p];
        for k in 1..=n_freqs(p) {
            rows_fp.extend(waves(p, k).into_iter().flatten());
        }
        Basis { p, rows_fp }
    }

    /// The modulus.
    pub fn p(&self) -> usize {
        self.p
    }

    /// `[p, p]`, one basis vector a row.
    pub fn rows(&self) -> &[f64] {
        &self.rows_fp
    }

    /// Components along each basis row.
    ///
    /// # Shapes
    /// `x_pd` `[p, d]` -> `[p, d]`: row f is the component along basis row f.
    pub fn components(&self, x_pd: &[f64]) -> Vec<f64> {
        product(&self.rows_fp, x_pd, self.p)
    }

    /// Norm of each component over the columns.
    ///
    /// # Shapes
    /// `x_pd` `[p, d]` -> `[p]`, in the order of the basis rows.
    pub fn component_norms(&self, x_pd: &[f64]) -> Vec<f64> {
        let d = x_pd.len() / self.p;
        self.components(x_pd).chunks_exact(d.max(1)).map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).collect()
    }

    /// Norm of cos and sin of each frequency together, √(|cos_k|² + |sin_k|²); the Nyquist frequency has cos alone.
    ///
    /// # Shapes
    /// `x_pd` `[p, d]` -> `[n_freqs]` for frequencies 1, 2, …
    pub fn freq_norms(&self, x_pd: &[f64]) -> Vec<f64> {
        let norms_f = self.component_norms(x_pd);
        norms_f[1..].chunks(2).map(|pair| pair.iter().map(|x| x * x).sum::<f64>().sqrt()).collect()
    }
}

/// The frequency that has most of the power of the columns of `x_pd` around their means, and its share of it; NaN for the
/// share, and frequency 0, when nothing varies.
///
/// # Shapes
/// `x_pd` `[p, d]`
pub fn single_frequency(basis: &Basis, x_pd: &[f64]) -> (usize, f64) {
    let squares_f: Vec<f64> = basis.component_norms(x_pd).iter().map(|norm| norm * norm).collect();
    let power: Vec<f64> = squares_f[1..].chunks(2).map(|pair| pair.iter().sum()).collect();
    let (total, constant) = (power.iter().sum::<f64>(), squares_f[0].sqrt());
    let mut top = 0;
    for (k, &x) in power.iter().enumerate() {
        if x > power[top] {
            top = k;
        }
    }
    // Below this, what varies is rounding.
    if total > 1e-24 * (total + constant * constant) { (top + 1, power[top] / total) } else { (0, f64::NAN) }
}

/// How many frequencies above zero there are: (p − 1)/2 for odd p, p/2 for even p.
pub fn n_freqs(p: usize) -> usize {
    p / 2
}

/// The frequencies 1 to [`n_freqs`], as ticks of an axis.
pub fn freq_ticks(p: usize) -> Vec<f64> {
    (1..=n_freqs(p)).map(|k| k as f64).collect()
}

/// cos(2πkx/p) and sin(2πkx/p) over x = 0 … p − 1, each of norm 1; no sin at the Nyquist frequency, where it is 0.
///
/// # Shapes
/// One or two vectors `[p]`.
pub fn waves(p: usize, k: usize) -> Vec<Vec<f64>> {
    // k·x is reduced mod p before it meets a float, so that the angles are as exact at x = p − 1 as at x = 1.
    let angle = |x: usize| TAU * ((k * x) % p) as f64 / p as f64;
    if 2 * k == p {
        let height = (p as f64).sqrt().recip();
        return vec![(0..p).map(|x| if x % 2 == 0 { height } else { -height }).collect()];
    }
    let height = (2.0 / p as f64).sqrt();
    vec![(0..p).map(|x| height * angle(x).cos()).collect(), (0..p).map(|x| height * angle(x).sin()).collect()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_is_orthonormal_for_odd_and_even_moduli() {
        for p in [1, 2, 3, 7, 10, 53] {
            let basis = Basis::new(p);
            assert_eq!(basis.rows_fp.len(), p * p);
            for (f, row_f) in basis.rows_fp.chunks_exact(p).enumerate() {
                for (g, row_g) in basis.rows_fp.chunks_exact(p).enumerate() {
                    let dot: f64 = row_f.iter().zip(row_g).map(|(x, y)| x * y).sum();
                    assert!((dot - f64::from(f == g)).abs() < 1e-13, "p {p}: rows {f}, {g}: {dot}");
                }
            }
        }
    }

    #[test]
    fn a_phase_shifted_wave_has_all_its_norm_at_its_frequency() {
        let (p, k) = (11, 3);
        let x_pd: Vec<f64> = (0..p).flat_map(|x| [2.0 * (TAU * (k * x) as f64 / p as f64 + 0.7).cos(), 1.0]).collect();
        let basis = Basis::new(p);
        let norms = basis.freq_norms(&x_pd);
        for (f, norm) in norms.iter().enumerate() {
            // 2 cos(… + φ) has sum of squares 4 · p / 2.
            let expected = if f + 1 == k { (2.0 * p as f64).sqrt() } else { 0.0 };
            assert!((norm - expected).abs() < 1e-12, "frequency {}: {norm}", f + 1);
        }
        assert!((basis.component_norms(&x_pd)[0] - (p as f64).sqrt()).abs() < 1e-12, "the column of ones is constant");
    }

    #[test]
    fn the_strongest_frequency_is_found_with_its_share() {
        let angle = |k: usize, x: usize| TAU * (k * x) as f64 / 11.0;
        let x_pd: Vec<f64> = (0..11).flat_map(|x| [3.0 * angle(2, x).cos() + 7.0, angle(5, x).sin()]).collect();
        let basis = Basis::new(11);
        let (k, share) = single_frequency(&basis, &x_pd);
        assert!(k == 2 && (share - 0.9).abs() < 1e-12, "{k}: {share}");
        assert!(single_frequency(&basis, &[4.0; 11]).1.is_nan());
    }

    #[test]
    fn even_moduli_end_with_a_nyquist_frequency() {
        let x_pd = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
        let norms = Basis::new(6).freq_norms(&x_pd);
        assert_eq!(norms.len(), 3);
        assert!((norms[2] - 6f64.sqrt()).abs() < 1e-12 && norms[0] < 1e-12 && norms[1] < 1e-12, "{norms:?}");
    }
}
