//! Terms of W_E's Fourier components: the components there, the gradient back.
//!
//! Reads `embed.W_E [d_vocab, d_model]`, rows 0 to p − 1; component f is `[d_model]` along basis row f (constant, cos 1, sin 1, …).

use super::{Place, Replicas, modulus};
use crate::engine::TermKind;
use crate::engine::op::ParamId;
use crate::engine::simd::{axpy, vectorized};
use crate::engine::terms::ParamsTerm;
use crate::measure::fourier::waves;

/// A function of the components of W_E.
pub(super) trait OfComponents: std::fmt::Debug + Send + Sync {
    /// Numbers of scratch.
    fn scratch_len(&self, p: usize) -> usize;

    /// The value; overwrites the components by the gradient with respect to them.
    fn eval(&self, r: usize, comp_fd: Components<'_>, scratch: &mut [f64]) -> f64;

    /// Makes frequencies its parameter for replica `r`.
    fn set_freqs(&mut self, _r: usize, _freqs: &[usize]) {}
}

/// `[p, d]` components of W_E.
pub(super) struct Components<'a> {
    pub(super) p: usize,
    pub(super) values: &'a mut [f64],
}

/// A term that is a function of the components of W_E.
#[derive(Debug)]
pub(super) struct SpectrumTerm<F> {
    params: [ParamId; 1],
    p: usize,
    d: usize,
    /// `[p, p]`, one basis vector a row.
    basis_fp: Vec<f64>,
    of: F,
}

impl<F: OfComponents + 'static> SpectrumTerm<F> {
    /// The term at a place that it fits.
    pub(super) fn kind(place: &Place<'_>, _: &Replicas<'_>, of: F) -> TermKind {
        let id = place.params.find("embed.W_E").expect("invariant: only built where it fits");
        let p = modulus(place).expect("invariant: only built where it fits");
        let mut basis_fp = vec![(p as f64).sqrt().recip(); p];
        basis_fp.extend((1..=p / 2).flat_map(|k| waves(p, k)).flatten());
        let d = place.params.infos[id].shape[1];
        TermKind::Params(Box::new(SpectrumTerm { params: [id], p, d, basis_fp, of }))
    }
}

impl<F: OfComponents> ParamsTerm for SpectrumTerm<F> {
    fn params(&self) -> &[ParamId] {
        &self.params
    }

    fn scratch_len(&self) -> usize {
        self.p * self.d + self.of.scratch_len(self.p)
    }

    fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        self.of.set_freqs(r, freqs);
    }

    fn eval(&self, r: usize, w: &[f64], dw: &mut [f64], scratch: &mut [f64]) -> f64 {
        let (comp_fd, scratch) = scratch.split_at_mut(self.p * self.d);
        comp_fd.fill(0.0);
        for (wave_p, comp_d) in self.basis_fp.chunks_exact(self.p).zip(comp_fd.chunks_exact_mut(self.d)) {
            for (&height, w_d) in wave_p.iter().zip(w.chunks_exact(self.d)) {
                vectorized!(axpy(comp_d, height, w_d));
            }
        }
        let value = self.of.eval(r, Components { p: self.p, values: comp_fd }, scratch);
        // Rows of other tokens stay 0. The basis is orthonormal: back with its transpose.
        dw.fill(0.0);
        for (wave_p, comp_d) in self.basis_fp.chunks_exact(self.p).zip(comp_fd.chunks_exact(self.d)) {
            for (&height, dw_d) in wave_p.iter().zip(dw.chunks_exact_mut(self.d)) {
                vectorized!(axpy(dw_d, height, comp_d));
            }
        }
        value
    }
}

impl Components<'_> {
    /// Each component, from the constant on.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let d = self.values.len() / self.p;
        self.values.chunks_exact_mut(d)
    }

    /// Cos and sin of each frequency together, from frequency 1 on; the Nyquist frequency has cos alone.
    pub(super) fn freqs(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let d = self.values.len() / self.p;
        self.values[d..].chunks_mut(2 * d)
    }

    /// The constant.
    pub(super) fn constant(&mut self) -> &mut [f64] {
        let d = self.values.len() / self.p;
        &mut self.values[..d]
    }
}

/// Σ x².
pub(super) fn square_sum(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// x *= factor.
pub(super) fn scale(x: &mut [f64], factor: f64) {
    x.iter_mut().for_each(|x| *x *= factor);
}
