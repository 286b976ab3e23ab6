//! Terms of W_E's Fourier components: the components there, the gradient back.
//!
//! Reads the rows of `embed.W_E [d_vocab, d_model]` that are elements of the task's group ([`Group`]); component f is `[d_model]` along
//! basis row f (constant, cos 1, sin 1, …).

use super::{Place, Replicas, w_e_fits};
use crate::engine::TermKind;
use crate::engine::op::ParamId;
use crate::engine::simd::{axpy, vectorized};
use crate::engine::terms::ParamsTerm;
use crate::measure::Group;
use crate::measure::fourier::Basis;

/// A function of the components of W_E.
pub(super) trait OfComponents: std::fmt::Debug + Send + Sync {
    /// Numbers of scratch, for so many components.
    fn scratch_len(&self, order: usize) -> usize;

    /// The value; overwrites the components by the gradient with respect to them.
    fn eval(&self, r: usize, comp_fd: Components<'_>, scratch: &mut [f64]) -> f64;

    /// Makes frequencies its parameter for replica `r`.
    fn set_freqs(&mut self, _r: usize, _freqs: &[usize]) {}
}

/// `[order, d]` components of W_E.
pub(super) struct Components<'a> {
    pub(super) order: usize,
    pub(super) values: &'a mut [f64],
}

/// A term that is a function of the components of W_E.
#[derive(Debug)]
pub(super) struct SpectrumTerm<F> {
    params: [ParamId; 1],
    group: Group,
    d: usize,
    basis: Basis,
    of: F,
}

impl<F: OfComponents + 'static> SpectrumTerm<F> {
    /// The term at a place that it fits.
    pub(super) fn kind(place: &Place<'_>, _: &Replicas<'_>, of: F) -> TermKind {
        let id = place.params.find("embed.W_E").expect("invariant: only built where it fits");
        let group = w_e_fits(place).expect("invariant: only built where it fits");
        let basis = Basis::new(group.order);
        let d = place.params.infos[id].shape[1];
        TermKind::Params(Box::new(SpectrumTerm { params: [id], group, d, basis, of }))
    }
}

impl<F: OfComponents> ParamsTerm for SpectrumTerm<F> {
    fn params(&self) -> &[ParamId] {
        &self.params
    }

    fn scratch_len(&self) -> usize {
        self.group.order * self.d + self.of.scratch_len(self.group.order)
    }

    fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        self.of.set_freqs(r, freqs);
    }

    fn eval(&self, r: usize, w: &[f64], dw: &mut [f64], scratch: &mut [f64]) -> f64 {
        let (order, d) = (self.group.order, self.d);
        let (comp_fd, scratch) = scratch.split_at_mut(order * d);
        comp_fd.fill(0.0);
        for (wave_g, comp_d) in self.basis.rows().chunks_exact(order).zip(comp_fd.chunks_exact_mut(d)) {
            for (&height, &residue) in wave_g.iter().zip(&self.group.residues) {
                vectorized!(axpy(comp_d, height, &w[residue * d..][..d]));
            }
        }
        let value = self.of.eval(r, Components { order, values: comp_fd }, scratch);
        // Rows of other tokens stay 0. The basis is orthonormal: back with its transpose.
        dw.fill(0.0);
        for (wave_g, comp_d) in self.basis.rows().chunks_exact(order).zip(comp_fd.chunks_exact(d)) {
            for (&height, &residue) in wave_g.iter().zip(&self.group.residues) {
                vectorized!(axpy(&mut dw[residue * d..][..d], height, comp_d));
            }
        }
        value
    }
}

impl Components<'_> {
    /// Each component, from the constant on.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let d = self.values.len() / self.order;
        self.values.chunks_exact_mut(d)
    }

    /// Cos and sin of each frequency together, from frequency 1 on; the Nyquist frequency has cos alone.
    pub(super) fn freqs(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let d = self.values.len() / self.order;
        self.values[d..].chunks_mut(2 * d)
    }

    /// The constant.
    pub(super) fn constant(&mut self) -> &mut [f64] {
        let d = self.values.len() / self.order;
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
