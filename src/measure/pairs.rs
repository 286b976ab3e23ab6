//! All pairs of two operands mod p: what measures of addition circuits look at.
//!
//! Reads the examples of a setting; writes sums and differences. For x − y the second operand counts with its sign turned, so that
//! what is said of a + b and a − b holds for it with the two exchanged.

use crate::error::Result;
use crate::measure::subject::{Modular, Setting, Subject};
use crate::task::Op;

/// The modulus, where the task is x + y or x − y mod p over all pairs with one answer each.
///
/// # Errors
/// The reason why not, as a clause.
pub fn fits(setting: &Setting) -> Result<usize, String> {
    let examples = &setting.examples;
    let Some(Modular { p, op, pairs, .. }) = examples.modular else {
        return Err("the task has no modulus".into());
    };
    if !matches!(op, Some(Op::Add | Op::Sub)) {
        return Err("the operation is neither x + y nor x - y".into());
    }
    if examples.n_positions() != 1 {
        return Err(format!("the loss is on {} positions, not on one", examples.n_positions()));
    }
    let grid = (0..p as u32).flat_map(|a| (0..p as u32).map(move |b| [a, b]));
    if p < 2 || pairs.len() != p * p || !pairs.iter().copied().eq(grid) {
        return Err(format!("the examples are not all {} pairs in order", p * p));
    }
    if examples.n_classes < p {
        return Err(format!("there are {} classes, fewer than the {p} residues", examples.n_classes));
    }
    Ok(p)
}

/// The answer a + b, and the distance a − b, both mod p; of x − y the answer a − b, and a + b.
pub fn sum_and_distance(modular: &Modular, [a, b]: [u32; 2]) -> (usize, usize) {
    let (a, b, p) = (a as usize, b as usize, modular.p);
    let (sum, difference) = ((a + b) % p, (a + p - b) % p);
    if modular.op == Some(Op::Sub) { (difference, sum) } else { (sum, difference) }
}

/// Means over the pairs with the same answer.
///
/// # Shapes
/// `x_nd` `[N, d]` over all pairs -> `[p, d]`
///
/// # Errors
/// [`crate::error::Error::Shape`] when the task is not modular.
pub fn by_answer(subject: &Subject, x_nd: &[f64]) -> Result<Vec<f64>> {
    let modular = subject.modular()?;
    let d = x_nd.len() / modular.pairs.len().max(1);
    let mut mean_pd = vec![0.0; modular.p * d];
    for (x_d, &pair) in x_nd.chunks_exact(d.max(1)).zip(modular.pairs) {
        let (sum, _) = sum_and_distance(&modular, pair);
        // Every answer has p pairs.
        mean_pd[sum * d..][..d].iter_mut().zip(x_d).for_each(|(mean, x)| *mean += x / modular.p as f64);
    }
    Ok(mean_pd)
}
