//! `freq_norm_w_e`: squared norm of the embedding at some frequencies.
//!
//! Reads W_E; writes one number and its gradient.

use super::spectrum::{Components, OfComponents, SpectrumTerm, scale, square_sum};
use super::{DifferentiableMeasure, Place, Replicas, w_e_fits};
use crate::engine::TermKind;
use crate::measure::fourier::n_freqs;

/// Squared norm of W_E at the given frequencies.
pub struct FreqNormWE;

const EXPLAIN: &str = "\
What it is
  The embedding's rows 0 to p-1, Fourier transformed over the token with an orthonormal basis; the sum of squares of
  the cos and sin components of the frequencies given, over d_model. off_freq_norm_w_e has the others.
  Frequencies: `freqs = [..]`, or `freqs_at = STEP` for the key frequencies (rule `freqs_rule`: a quarter of the
  largest norm, whatever measure.key_frac says) that each replica has before that update, kept from then on; before it
  the term takes no part.
  A weight above 0 is a decay of these frequencies alone: it keeps a model from using them.
Reads
  embed.W_E, rows 0 to p-1; for x*y and x/y rows g^0 to g^(p-2).
Unit and range
  Dimensionless, 0 and up.
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p): p/2 with k among the frequencies, else 0.
Source
  The square of what the measure fourier_norm_w_e shows, summed over the frequencies; its use as a term is phaselab's
  own.";

impl DifferentiableMeasure for FreqNormWE {
    fn name(&self) -> &'static str {
        "freq_norm_w_e"
    }

    fn summary(&self) -> &'static str {
        "squared norm of W_E at the given frequencies"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn takes_freqs(&self) -> bool {
        true
    }

    fn fits(&self, place: &Place<'_>) -> Result<(), String> {
        w_e_fits(place).map(drop)
    }

    fn build(&self, place: &Place<'_>, replicas: &Replicas<'_>) -> TermKind {
        SpectrumTerm::kind(place, replicas, SubspaceNorm::new(place, replicas, false))
    }
}

/// Squared norm at the given frequencies, or at all others.
#[derive(Debug)]
pub(super) struct SubspaceNorm {
    n_freqs: usize,
    others: bool,
    /// `[R, n_freqs]`: whether frequency k + 1 counts.
    counts_rf: Vec<bool>,
}

impl SubspaceNorm {
    pub(super) fn new(place: &Place<'_>, replicas: &Replicas<'_>, others: bool) -> SubspaceNorm {
        let n_freqs = w_e_fits(place).map_or(0, |group| n_freqs(group.order));
        SubspaceNorm { n_freqs, others, counts_rf: vec![others; replicas.count * n_freqs] }
    }
}

impl OfComponents for SubspaceNorm {
    fn scratch_len(&self, _: usize) -> usize {
        0
    }

    fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        let counts_f = &mut self.counts_rf[r * self.n_freqs..][..self.n_freqs];
        for (k, counts) in (1..).zip(counts_f) {
            *counts = freqs.contains(&k) != self.others;
        }
    }

    fn eval(&self, r: usize, mut comp_fd: Components<'_>, _: &mut [f64]) -> f64 {
        comp_fd.constant().fill(0.0);
        let mut total = 0.0;
        for (comp, &counts) in comp_fd.freqs().zip(&self.counts_rf[r * self.n_freqs..]) {
            if counts {
                total += square_sum(comp);
            }
            scale(comp, if counts { 2.0 } else { 0.0 });
        }
        total
    }
}
