//! `restricted_train_loss`: the training loss when only some waves of a + b are kept, fitted over the training split.
//!
//! Reads all logits of the training split; writes nats and their gradient. Source: arXiv 2301.05217, section 5.1.

use super::projection::{CHUNK_ROWS, LOSS_LAST, Projection, at_s, components, log_sum_exp, sums};
use super::{DifferentiableMeasure, Place, Replicas, modulus, whole_split_fits};
use crate::engine::TermKind;
use crate::engine::simd::{axpy, vectorized};
use crate::engine::terms::{LogitRows, LogitsOut, LogitsTerm};

/// Training loss of the kept waves alone.
pub struct RestrictedTrainLoss;

const EXPLAIN: &str = "\
What it is
  Protocol train_fit. The logits of each output class, as a function of the training pairs (a, b), are fitted by least
  squares over the training split with the constant and cos w_k(a+b), sin w_k(a+b), w_k = 2 pi k / p, of the
  frequencies k given; the value is the mean cross-entropy of the fit on the training split. For x-y read a-b for a+b.
  Frequencies: `freqs = [..]`, or `freqs_at = STEP` for the key frequencies (rule `freqs_rule`: a quarter of the
  largest norm, whatever measure.key_frac says) that each replica has before that update, kept from then on; before it
  the term takes no part.
  A weight above 0 rewards the circuit of these frequencies from the first step, so that grokking comes sooner. The
  gradient is exact, through the fit. It costs one more forward pass a step (about a third of a step).
Reads
  The logits of all training examples. Full batches only.
Unit and range
  nats, 0 and up.
Value at a known point
  Logits cos w_k(a+b-c) with k among the frequencies: the plain training loss, for any split. Equal logits: ln p. With
  all pairs in the training split: restricted_all_loss_nats of the measure restricted_loss, if the frequencies are
  the same. With fewer pairs it differs from restricted_train_loss_nats, which projects over all pairs, test pairs
  included: no training loss may look at those.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1, for the measure over all pairs; the fit over the training split
  and its use as a term are phaselab's own.";

impl DifferentiableMeasure for RestrictedTrainLoss {
    fn name(&self) -> &'static str {
        "restricted_train_loss"
    }

    fn summary(&self) -> &'static str {
        "training loss when only the given frequencies' waves of a + b are kept (protocol train_fit)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn unit(&self) -> &'static str {
        "nats"
    }

    fn takes_freqs(&self) -> bool {
        true
    }

    fn fits(&self, place: &Place<'_>) -> Result<(), String> {
        whole_split_fits(place)
    }

    fn build(&self, place: &Place<'_>, replicas: &Replicas<'_>) -> TermKind {
        let (p, width) = (modulus(place).unwrap_or(0), place.task.d_vocab_out);
        TermKind::Logits(Box::new(Restricted { projection: Projection::new(p, replicas), width }))
    }
}

#[derive(Debug)]
struct Restricted {
    projection: Projection,
    width: usize,
}

impl LogitsTerm for Restricted {
    fn scratch_len(&self) -> usize {
        let p = self.projection.p;
        p * self.width + self.projection.most_waves() * self.width + p * (self.width + 1)
    }

    fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        self.projection.set_freqs(r, freqs);
    }

    fn add(&self, r: usize, rows: LogitRows<'_>, out: LogitsOut<'_>) -> f64 {
        let (p, width, share) = (self.projection.p, rows.width, out.share);
        let (split, waves_fs) = (self.projection.split(r), self.projection.waves(r));
        let (table_sc, rest) = out.scratch.split_at_mut(p * width);
        let (comp_fc, rest) = rest.split_at_mut(self.projection.most_waves() * width);
        let comp_fc = &mut comp_fc[..waves_fs.len() / p * width];
        // One number more a row: the loss of all rows of this s.
        let fit_sc = &mut rest[..p * (width + 1)];
        let n = rows.targets.len() as f64;

        sums(split, (rows.logits, width), width, (table_sc, share));
        components(waves_fs, table_sc, width, (comp_fc, share));
        share.chunks(fit_sc, width + 1, |s, fit| {
            let (loss, fit_c) = fit.split_last_mut().expect(LOSS_LAST);
            at_s(waves_fs, p, s, (comp_fc, fit_c));
            let rows_of_s = split.rows_of(s);
            let of_targets: f64 = rows_of_s.iter().map(|&row| fit_c[rows.targets[row as usize] as usize]).sum();
            *loss = rows_of_s.len() as f64 * log_sum_exp(fit_c) - of_targets;
            fit_c.iter_mut().for_each(|d| *d *= rows_of_s.len() as f64);
            rows_of_s.iter().for_each(|&row| fit_c[rows.targets[row as usize] as usize] -= 1.0);
        });
        let value = fit_sc.chunks_exact(width + 1).map(|fit| fit[width]).sum::<f64>() / n;
        if out.factor != 0.0 {
            // The projection is its own transpose: back the same way.
            for (table_c, fit) in table_sc.chunks_exact_mut(width).zip(fit_sc.chunks_exact(width + 1)) {
                table_c.copy_from_slice(&fit[..width]);
            }
            components(waves_fs, table_sc, width, (comp_fc, share));
            share.chunks(table_sc, width, |s, out_c| at_s(waves_fs, p, s, (comp_fc, out_c)));
            share.chunks(out.dlogits, CHUNK_ROWS * width, |chunk, d| {
                for (d, &s) in d.chunks_exact_mut(width).zip(&split.s_of_row[chunk * CHUNK_ROWS..]) {
                    vectorized!(axpy(d, out.factor / n, &table_sc[s as usize * width..][..width]));
                }
            });
        }
        value
    }
}
