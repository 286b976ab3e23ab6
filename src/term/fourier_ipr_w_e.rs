//! `fourier_ipr_w_e`: inverse participation ratio of the embedding's Fourier power.
//!
//! Reads W_E; writes one number and its gradient.

use super::spectrum::{Components, OfComponents, SpectrumTerm, scale, square_sum};
use super::{DifferentiableMeasure, Place, Replicas, w_e_fits};
use crate::engine::TermKind;

/// Inverse participation ratio of W_E's power over frequencies.
pub struct FourierIprWE;

const EXPLAIN: &str = "\
What it is
  The embedding's rows 0 to p-1, Fourier transformed over the token; P_k is the power of frequency k, |cos_k|^2 +
  |sin_k|^2 summed over d_model, the constant left out (w_e_ipr of the measure ipr counts it as one more frequency). The
  value is sum P_k^2 / (sum P_k)^2: one over the number of frequencies that take part. A weight below 0 rewards few
  frequencies, one above 0 a flat spectrum. Smooth, unlike gini_w_e, and blind to the size of W_E.
Reads
  embed.W_E, rows 0 to p-1; for x*y and x/y rows g^0 to g^(p-2).
Unit and range
  Dimensionless, 1/(number of frequencies) (all alike) to 1 (a single one); not a number, which ends a replica, when
  W_E is constant over tokens.
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p): 1. Two such columns of different k: 1/2.
Source
  The inverse participation ratio of physics, as Gromov 2023 (arXiv 2301.02679) and Doshi et al. use it for Fourier
  spectra of rows; here over the whole matrix. Its use as a term is phaselab's own.";

impl DifferentiableMeasure for FourierIprWE {
    fn name(&self) -> &'static str {
        "fourier_ipr_w_e"
    }

    fn summary(&self) -> &'static str {
        "sparsity of W_E over frequencies (inverse participation ratio of power)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, place: &Place<'_>) -> Result<(), String> {
        w_e_fits(place).map(drop)
    }

    fn build(&self, place: &Place<'_>, replicas: &Replicas<'_>) -> TermKind {
        SpectrumTerm::kind(place, replicas, Ipr)
    }
}

#[derive(Debug)]
struct Ipr;

impl OfComponents for Ipr {
    fn scratch_len(&self, _: usize) -> usize {
        0
    }

    fn eval(&self, _: usize, mut comp_fd: Components<'_>, _: &mut [f64]) -> f64 {
        let (mut total, mut squares) = (0.0, 0.0);
        for comp in comp_fd.freqs() {
            let power = square_sum(comp);
            total += power;
            squares += power * power;
        }
        let value = squares / (total * total);
        comp_fd.constant().fill(0.0);
        for comp in comp_fd.freqs() {
            let power = square_sum(comp);
            // Of P_k, times dP_k / dcomponent = 2 component.
            scale(comp, 4.0 * (power - value * total) / (total * total));
        }
        value
    }
}
