//! Logits of the training rows as functions of s = a + b (a − b for subtraction), least squares over these rows alone.
//!
//! The constant and cos w_k s, sin w_k s of some frequencies are made orthonormal over the training rows, by Gram and
//! Schmidt, in this order; the projection onto them is then found from the sums of the logits over the rows of each s, and is
//! itself a function of s. Over all p² pairs the waves are orthogonal as they are, and it is the projection of the
//! measures `restricted_loss` and `excluded_loss`.
//!
//! Shapes: tables `[p, width]` at s, components `[n_waves, width]`, rows `[rows, width]`.

use super::Replicas;
use crate::engine::simd::{axpy, vectorized};
use crate::engine::terms::Share;
use crate::engine::{Batch, Targets};
use crate::measure::fourier::waves;

/// A wave of which less than this fraction is left after the ones before it says nothing new.
const NOTHING_LEFT: f64 = 1e-9;
/// Why a row of `width + 1` numbers has a last one.
pub(super) const LOSS_LAST: &str = "invariant: a row has its loss at the end";
/// Rows a chunk of shared work.
pub(super) const CHUNK_ROWS: usize = 64;

/// The rows of a training split by s.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// `[rows]`.
    pub(super) s_of_row: Vec<u32>,
    /// Rows sorted by s, and where those of each s begin; `[rows]`, `[p + 1]`.
    rows: Vec<u32>,
    starts: Vec<usize>,
}

/// What the two projecting terms share.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    pub(super) p: usize,
    splits: Vec<Split>,
    /// One a replica: `[n_waves, p]`, the constant first; only the constant before frequencies are set.
    waves_rfs: Vec<Vec<f64>>,
}

impl Split {
    /// The rows of a batch; the target of x + y and of x − y is s itself.
    fn new(p: usize, batch: &Batch) -> Split {
        let s_of_row = match &batch.targets {
            Targets::Classes(classes) => classes.clone(),
            Targets::Reals { .. } => vec![],
        };
        let of = |s: usize| (0..).zip(&s_of_row).filter(move |&(_, &own)| own as usize == s).map(|(row, _)| row);
        let rows: Vec<u32> = (0..p).flat_map(of).collect();
        let mut starts = vec![0];
        starts.extend((0..p).scan(0, |at, s| {
            *at += of(s).count();
            Some(*at)
        }));
        Split { rows, starts, s_of_row }
    }

    /// The rows of one s, ascending.
    pub(super) fn rows_of(&self, s: usize) -> &[u32] {
        &self.rows[self.starts[s]..self.starts[s + 1]]
    }
}

impl Projection {
    pub(super) fn new(p: usize, replicas: &Replicas<'_>) -> Projection {
        let splits = replicas.batches.iter().map(|batch| Split::new(p, batch)).collect();
        let mut projection = Projection { p, splits, waves_rfs: vec![vec![]; replicas.count] };
        (0..replicas.count).for_each(|r| projection.set_freqs(r, &[]));
        projection
    }

    /// The split of replica `r`.
    pub(super) fn split(&self, r: usize) -> &Split {
        &self.splits[if self.splits.len() == 1 { 0 } else { r }]
    }

    /// Waves there are at most.
    pub(super) fn most_waves(&self) -> usize {
        self.p
    }

    /// `[n_waves, p]` for replica `r`, the constant first.
    pub(super) fn waves(&self, r: usize) -> &[f64] {
        &self.waves_rfs[r]
    }

    /// Makes the constant and the waves of `freqs` orthonormal over the rows of replica `r`.
    pub(super) fn set_freqs(&mut self, r: usize, freqs: &[usize]) {
        let split = self.split(r);
        let count_s: Vec<f64> = (0..self.p).map(|s| split.rows_of(s).len() as f64).collect();
        let inner = |x: &[f64], y: &[f64]| x.iter().zip(y).zip(&count_s).map(|((x, y), n)| n * x * y).sum::<f64>();
        let mut done_fs: Vec<f64> = vec![];
        let constant = vec![(self.p as f64).sqrt().recip(); self.p];
        for wave in std::iter::once(constant).chain(freqs.iter().flat_map(|&k| waves(self.p, k))) {
            let (mut left, before) = (wave.clone(), inner(&wave, &wave));
            // Twice: once leaves what rounding made of it.
            for _ in 0..2 {
                for done in done_fs.chunks_exact(self.p) {
                    let part = inner(&left, done);
                    left.iter_mut().zip(done).for_each(|(left, done)| *left -= part * done);
                }
            }
            let norm_sq = inner(&left, &left);
            if norm_sq > NOTHING_LEFT * before {
                let norm = norm_sq.sqrt();
                done_fs.extend(left.iter().map(|x| x / norm));
            }
        }
        self.waves_rfs[r] = done_fs;
    }
}

/// Sums of rows, which begin `stride` numbers apart, over those of each s, into `[p, width]`.
pub(super) fn sums(split: &Split, (x, stride): (&[f64], usize), width: usize, out: (&mut [f64], Share<'_>)) {
    let (out_sc, share) = out;
    share.chunks(out_sc, width, |s, out_c| {
        out_c.fill(0.0);
        for &row in split.rows_of(s) {
            vectorized!(axpy(out_c, 1.0, &x[row as usize * stride..][..width]));
        }
    });
}

/// Components along the waves of a table of sums, into `[n_waves, width]`.
pub(super) fn components(waves_fs: &[f64], sums_sc: &[f64], width: usize, (out_fc, share): (&mut [f64], Share<'_>)) {
    let p = sums_sc.len() / width;
    share.chunks(out_fc, width, |f, out_c| {
        out_c.fill(0.0);
        for (&height, sum_c) in waves_fs[f * p..][..p].iter().zip(sums_sc.chunks_exact(width)) {
            vectorized!(axpy(out_c, height, sum_c));
        }
    });
}

/// The function of s that has these components, at one s.
pub(super) fn at_s(waves_fs: &[f64], p: usize, s: usize, (comp_fc, out_c): (&[f64], &mut [f64])) {
    out_c.fill(0.0);
    for (wave_s, comp_c) in waves_fs.chunks_exact(p).zip(comp_fc.chunks_exact(out_c.len())) {
        vectorized!(axpy(out_c, wave_s[s], comp_c));
    }
}

/// log Σ eˣ, and x overwritten by its softmax.
pub(super) fn log_sum_exp(x: &mut [f64]) -> f64 {
    use crate::engine::Real;
    use crate::engine::simd::{max, sum};
    vectorized!({
        let top = max(x);
        for x in x.iter_mut() {
            *x = Real::exp(*x - top);
        }
        let total = sum(x);
        for x in x.iter_mut() {
            *x /= total;
        }
        top + libm::log(total)
    })
}
