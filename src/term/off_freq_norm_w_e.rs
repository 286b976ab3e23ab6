//! `off_freq_norm_w_e`: squared norm of the embedding at all frequencies but some.
//!
//! Reads W_E; writes one number and its gradient.

use super::freq_norm_w_e::SubspaceNorm;
use super::spectrum::SpectrumTerm;
use super::{DifferentiableMeasure, Place, Replicas, w_e_fits};
use crate::engine::TermKind;

/// Squared norm of W_E at the frequencies that are not given.
pub struct OffFreqNormWE;

const EXPLAIN: &str = "\
What it is
  The embedding's rows 0 to p-1, Fourier transformed over the token with an orthonormal basis; the sum of squares of
  the cos and sin components of all frequencies but those given, over d_model. The constant is left out.
  freq_norm_w_e has the given ones.
  Frequencies: `freqs = [..]`, or `freqs_at = STEP` for the key frequencies (rule `freqs_rule`: a quarter of the
  largest norm, whatever measure.key_frac says) that each replica has before that update, kept from then on; before it
  the term takes no part.
  A weight above 0 is a decay of all other frequencies: cleanup from the first step, so that grokking comes sooner.
Reads
  embed.W_E, rows 0 to p-1; for x*y and x/y rows g^0 to g^(p-2).
Unit and range
  Dimensionless, 0 and up.
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p): 0 with k among the frequencies, else p/2.
Source
  The square of what the measure fourier_norm_w_e shows, summed over the other frequencies; its use as a term is
  phaselab's own.";

impl DifferentiableMeasure for OffFreqNormWE {
    fn name(&self) -> &'static str {
        "off_freq_norm_w_e"
    }

    fn summary(&self) -> &'static str {
        "squared norm of W_E at all frequencies but the given ones"
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
        SpectrumTerm::kind(place, replicas, SubspaceNorm::new(place, replicas, true))
    }
}
