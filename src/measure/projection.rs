//! The part of the logits that is a wave in a + b: what restricted and excluded loss keep and take away.
//!
//! Reads logits over all p² pairs (a, b), a major; writes tables `[p, n_classes]` over s = a + b mod p (a − b for
//! subtraction). Source: arXiv 2301.05217, section 5.1, protocol `nanda`.
//!
//! cos w_k(a+b)·√2/p and its sine are orthonormal over the p² pairs and depend on s alone. So the projection onto them is
//! found from the sums of the logits over the pairs of each s, and is itself a function of s.

use crate::error::Result;
use crate::measure::fourier::waves;
use crate::measure::subject::{Modular, Setting, Subject};
use crate::measure::weights::w_l_fits;
use crate::task::Op;

/// Projections of one replica's logits, class by class.
pub struct Projection {
    /// `[p²]` s of each pair.
    s_of_pair: Vec<usize>,
    n_classes: usize,
    /// `[n_classes]` mean over all pairs: the component along the constant.
    pub mean_c: Vec<f64>,
    /// `[p, n_classes]` sum of the components along the waves, at s.
    wave_sc: Vec<f64>,
}

impl Projection {
    /// Projects the subject's logits onto cos and sin of w_k(a + b), for each k of `freqs`.
    ///
    /// # Errors
    /// [`crate::error::Error::Shape`] when the task is not modular.
    pub fn new(subject: &Subject, freqs: &[usize]) -> Result<Projection> {
        let modular = subject.modular()?;
        let (p, n_classes) = (modular.p, subject.setting.examples.n_classes);
        let s_of_pair: Vec<usize> = modular.pairs.iter().map(|&pair| s_of(&modular, pair)).collect();
        let mut sum_sc = vec![0.0; p * n_classes];
        for (&s, row_c) in s_of_pair.iter().zip(subject.logits.chunks_exact(n_classes)) {
            add(&mut sum_sc[s * n_classes..][..n_classes], 1.0, row_c);
        }
        let mut mean_c = vec![0.0; n_classes];
        for sum_c in sum_sc.chunks_exact(n_classes) {
            add(&mut mean_c, 1.0, sum_c);
        }
        mean_c.iter_mut().for_each(|mean| *mean /= s_of_pair.len() as f64);
        let mut wave_sc = vec![0.0; p * n_classes];
        for wave_s in freqs.iter().flat_map(|&k| waves(p, k)) {
            let mut component_c = vec![0.0; n_classes];
            for (&height, sum_c) in wave_s.iter().zip(sum_sc.chunks_exact(n_classes)) {
                add(&mut component_c, height / p as f64, sum_c);
            }
            for (&height, out_c) in wave_s.iter().zip(wave_sc.chunks_exact_mut(n_classes)) {
                add(out_c, height, &component_c);
            }
        }
        Ok(Projection { s_of_pair, n_classes, mean_c, wave_sc })
    }

    /// The waves' part of the logits of pair `n`, `[n_classes]`.
    pub fn waves_c(&self, n: usize) -> &[f64] {
        &self.wave_sc[self.s_of_pair[n] * self.n_classes..][..self.n_classes]
    }
}

/// out += factor · x
fn add(out: &mut [f64], factor: f64, x: &[f64]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// a + b, or a − b, mod p.
fn s_of(modular: &Modular, [a, b]: [u32; 2]) -> usize {
    let (a, b, p) = (a as usize, b as usize, modular.p);
    if modular.op == Some(Op::Sub) { (a + p - b) % p } else { (a + b) % p }
}

/// Whether the task is x + y or x − y mod p over all pairs, and the model has what rule `w_l` reads.
///
/// # Errors
/// The reason why not, as a clause.
pub fn fits(setting: &Setting) -> Result<(), String> {
    let p = w_l_fits(setting)?;
    let examples = &setting.examples;
    let Some(modular) = examples.modular else {
        return Err("the task has no modulus".into());
    };
    match modular.op {
        Some(Op::Add | Op::Sub) => {}
        Some(Op::Mul | Op::Div) => {
            return Err("the waves of x·y and x/y run over the multiplicative group, which is not supported".into());
        }
        None if modular.ops.len() > 1 => {
            let n = modular.ops.len();
            return Err(format!("the task has {n} operations, and no single sum that all its logits are waves of"));
        }
        None => {
            return Err("the answer is no function of a + b or a − b alone, so the logits are no waves of it".into());
        }
    }
    if examples.n_positions() != 1 {
        return Err(format!("the loss is on {} positions, not on one", examples.n_positions()));
    }
    let grid = (0..p as u32).flat_map(|a| (0..p as u32).map(move |b| [a, b]));
    if modular.pairs.len() != p * p || !modular.pairs.iter().copied().eq(grid) {
        return Err(format!("the examples are not all {} pairs in order", p * p));
    }
    Ok(())
}
