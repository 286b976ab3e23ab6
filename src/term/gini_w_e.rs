//! `gini_w_e`: how sparse the embedding is in the Fourier basis, as the measure `gini` tells it.
//!
//! Reads W_E; writes one number and its gradient. Source: arXiv 2301.05217, section 5; arXiv 0811.4706 for the index.

use super::spectrum::{Components, OfComponents, SpectrumTerm, scale, square_sum};
use super::{DifferentiableMeasure, Place, Replicas, w_e_fits};
use crate::engine::TermKind;

/// Gini coefficient of W_E's component norms.
pub struct GiniWE;

const EXPLAIN: &str = "\
What it is
  The column w_e_gini of the measure gini: the Gini coefficient of the norms of the p Fourier components of W_E over the
  input token, constant, cos and sin components apart. Its gradient with respect to a norm x of rank i (from 1,
  ascending) is ((2i - p - 1) / p - G) / sum x; where norms are equal, the order of the components decides.
  A weight below 0 rewards few strong frequencies, one above 0 a flat spectrum.
Reads
  embed.W_E, rows 0 to p-1; for x*y and x/y rows g^0 to g^(p-2), as the measure, and n = p-1 for p.
Unit and range
  Dimensionless, 0 (all equal) to (p-1)/p (a single component); not a number, which ends a replica, when W_E is 0.
Value at a known point
  W_E[a, 0] = cos(2 pi k a / p): (p-1)/p. Independent normal weights: about 0.56 / sqrt(2 d_model) (0.035 at 128).
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5; Hurley and Rickard 2009 (arXiv 0811.4706). Its use as a term is
  phaselab's own.";

impl DifferentiableMeasure for GiniWE {
    fn name(&self) -> &'static str {
        "gini_w_e"
    }

    fn summary(&self) -> &'static str {
        "sparsity of W_E in the Fourier basis (Gini coefficient)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, place: &Place<'_>) -> Result<(), String> {
        w_e_fits(place).map(drop)
    }

    fn build(&self, place: &Place<'_>, replicas: &Replicas<'_>) -> TermKind {
        SpectrumTerm::kind(place, replicas, Gini)
    }
}

#[derive(Debug)]
struct Gini;

impl OfComponents for Gini {
    fn scratch_len(&self, order: usize) -> usize {
        2 * order
    }

    fn eval(&self, _: usize, mut comp_fd: Components<'_>, scratch: &mut [f64]) -> f64 {
        let n = comp_fd.order as f64;
        let (norms, order) = scratch.split_at_mut(comp_fd.order);
        for (f, ((norm, place), comp_d)) in norms.iter_mut().zip(order.iter_mut()).zip(comp_fd.each()).enumerate() {
            (*norm, *place) = (square_sum(comp_d).sqrt(), f as f64);
        }
        let norm = |f: &f64| norms[*f as usize];
        order.sort_unstable_by(|f, g| norm(f).total_cmp(&norm(g)).then(f.total_cmp(g)));
        let rank = |i: usize| 2.0 * i as f64 + 1.0 - n;
        let total: f64 = order.iter().map(norm).sum();
        let gini = order.iter().enumerate().map(|(i, f)| rank(i) * norm(f)).sum::<f64>() / (n * total);
        // The place of each component among the sorted ones, so that components are gone through in order.
        let d = comp_fd.values.len() / comp_fd.order;
        for (i, f) in order.iter().enumerate() {
            let slope = (rank(i) / n - gini) / total;
            // A component of norm 0 has no direction to grow in.
            let factor = if norm(f) > 0.0 { slope / norm(f) } else { 0.0 };
            scale(&mut comp_fd.values[*f as usize * d..][..d], factor);
        }
        gini
    }
}
