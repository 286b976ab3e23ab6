//! `excluded_train_loss`: the training loss when some waves of a + b are taken away, fitted over the training split.
//!
//! Reads all logits of the training split; writes nats and their gradient. Source: arXiv 2301.05217, section 5.1.

use super::projection::{CHUNK_ROWS, LOSS_LAST, Projection, at_s, components, log_sum_exp, sums};
use super::{DifferentiableMeasure, Place, Replicas, modulus, whole_split_fits};
use crate::engine::TermKind;
use crate::engine::simd::{axpy, vectorized};
use crate::engine::terms::{LogitRows, LogitsOut, LogitsTerm};

/// Training loss without the waves.
pub struct ExcludedTrainLoss;

const EXPLAIN: &str = "\
What it is
  Protocol train_fit. The logits of each output class, as a function of the training pairs (a, b), are fitted by least
  squares over the training split with the constant and cos w_k(a+b), sin w_k(a+b), w_k = 2 pi k / p, of the
  frequencies k given; the fit, less each class's mean over the training split, is taken away, and the value is the mean
  cross-entropy of what is left, on the training split. For x-y read a-b for a+b.
  Frequencies: `freqs = [..]`, or `freqs_at = STEP` for the key frequencies (rule `freqs_rule`: a quarter of the
  largest norm, whatever measure.key_frac says) that each replica has before that update, kept from then on; before it
  the term takes no part.
  A weight above 0 rewards memorising: the training pairs must be answered without these waves. With all frequencies
  nothing that is a function of a+b alone helps the term. The gradient is exact, through the fit. It costs one more
  forward pass a step (about a third of a step).
Reads
  The logits of all training examples. Full batches only.
Unit and range
  nats, 0 and up.
Value at a known point
  Logits cos w_k(a+b-c) with k among the frequencies: ln p, for any split. Equal logits: ln p. With all pairs in the
  training split: excluded_train_loss_nats of the measure excluded_loss, if the frequencies are the same. With fewer
  pairs it differs from it: the measure projects over all pairs, test pairs included.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5.1, for the measure over all pairs; the fit over the training split
  and its use as a term are phaselab's own.";

impl DifferentiableMeasure for ExcludedTrainLoss {
    fn name(&self) -> &'static str {
        "excluded_train_loss"
    }

    fn summary(&self) -> &'static str {
        "training loss when the given frequencies' waves of a + b are taken away (protocol train_fit)"
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
        let n_rows = replicas.batches.first().map_or(0, |batch| batch.targets.rows());
        TermKind::Logits(Box::new(Excluded { projection: Projection::new(p, replicas), width, n_rows }))
    }
}

#[derive(Debug)]
struct Excluded {
    projection: Projection,
    width: usize,
    n_rows: usize,
}

impl LogitsTerm for Excluded {
    fn scratch_len(&self) -> usize {
        (self.projection.p + self.projection.most_waves()) * self.width + self.n_rows * (self.width + 1)
    }

    fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        self.projection.set_freqs(r, freqs);
    }

    fn add(&self, r: usize, rows: LogitRows<'_>, out: LogitsOut<'_>) -> f64 {
        let (p, width, share) = (self.projection.p, rows.width, out.share);
        // Without the constant: the mean of each class stays.
        let (split, waves_fs) = (self.projection.split(r), &self.projection.waves(r)[p..]);
        let (table_sc, rest) = out.scratch.split_at_mut(p * width);
        let (comp_fc, rest) = rest.split_at_mut(self.projection.most_waves() * width);
        let comp_fc = &mut comp_fc[..waves_fs.len() / p * width];
        // One number more a row: its loss.
        let left_bc = &mut rest[..self.n_rows * (width + 1)];
        let n = rows.targets.len() as f64;

        sums(split, (rows.logits, width), width, (table_sc, share));
        components(waves_fs, table_sc, width, (comp_fc, share));
        share.chunks(table_sc, width, |s, out_c| at_s(waves_fs, p, s, (comp_fc, out_c)));
        share.chunks(left_bc, CHUNK_ROWS * (width + 1), |chunk, left| {
            for (i, left) in left.chunks_exact_mut(width + 1).enumerate() {
                let (row, (loss, left_c)) = (chunk * CHUNK_ROWS + i, left.split_last_mut().expect(LOSS_LAST));
                left_c.copy_from_slice(&rows.logits[row * width..][..width]);
                vectorized!(axpy(left_c, -1.0, &table_sc[split.s_of_row[row] as usize * width..][..width]));
                let target = rows.targets[row] as usize;
                let of_target = left_c[target];
                *loss = log_sum_exp(left_c) - of_target;
                left_c[target] -= 1.0;
            }
        });
        let value = left_bc.chunks_exact(width + 1).map(|left| left[width]).sum::<f64>() / n;
        if out.factor != 0.0 {
            // What is taken away is a projection, which is its own transpose: its part of the gradient goes too.
            sums(split, (left_bc, width + 1), width, (table_sc, share));
            components(waves_fs, table_sc, width, (comp_fc, share));
            share.chunks(table_sc, width, |s, out_c| at_s(waves_fs, p, s, (comp_fc, out_c)));
            share.chunks(out.dlogits, CHUNK_ROWS * width, |chunk, d| {
                for (i, d) in d.chunks_exact_mut(width).enumerate() {
                    let row = chunk * CHUNK_ROWS + i;
                    let table_c = &table_sc[split.s_of_row[row] as usize * width..][..width];
                    let left_c = &left_bc[row * (width + 1)..][..width];
                    vectorized!(axpy(d, out.factor / n, left_c));
                    vectorized!(axpy(d, -out.factor / n, table_c));
                }
            });
        }
        value
    }
}
