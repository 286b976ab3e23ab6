//! Losses: logits and targets -> nats (or squared error), and the gradient of the logits.
//!
//! Reads logits `[rows, v]`, row = (example, loss position); writes one loss a row and `dlogits [rows, v]`.
//! Cross-entropy: `−log softmax(l)[target]`, gradient `softmax(l) − onehot`; with smoothing ε the target is (1 − ε) onehot + ε / v, as
//! PyTorch's. Mean squared error over rows and outputs:
//! `(l − y)²`, gradient `2 (l − y) / v`. The loss of a batch is the weighted mean over its rows.

use std::ops::Range;

use crate::engine::batch::{BatchView, Targets};
use crate::engine::real::Real;
use crate::engine::simd::{LANES, max, sum, vectorized};
use crate::error::{Error, Result};
use crate::outside;
use crate::spec::LossKind;

/// One term of a training loss.
#[derive(Debug, Clone, PartialEq)]
pub struct LossTerm {
    /// Which.
    pub kind: LossKind,
    /// Factor.
    pub weight: f64,
    /// Log-softmax in f64 whatever the dtype.
    pub f64: bool,
    /// Cross-entropy: what of the target's weight is spread evenly over all classes, 0 to 1.
    pub smoothing: f64,
}

impl LossTerm {
    /// A single term of weight 1.
    pub fn new(kind: LossKind, f64: bool) -> LossTerm {
        LossTerm { kind, weight: 1.0, f64, smoothing: 0.0 }
    }
}

/// The rows of one tile.
pub(crate) struct Rows<'a, T> {
    /// `[rows, width]`.
    pub(crate) logits: &'a [T],
    pub(crate) width: usize,
    /// Loss positions an example.
    pub(crate) per_example: usize,
    pub(crate) tile: Range<usize>,
}

/// Where the results of a tile go.
pub(crate) struct Results<'a, T> {
    /// Gradient of the logits, and whether to add to it.
    pub(crate) dlogits: Option<(&'a mut [T], bool)>,
    /// Weighted loss of each row, divided by the sum of all weights; terms add up.
    pub(crate) loss: &'a mut [f64],
    /// Whether the target has the largest logit (the first of equal ones).
    pub(crate) correct: &'a mut [u8],
}

/// One term over one tile.
///
/// # Errors
/// [`Error::Outside`](crate::error::Error::Outside) from a loss from outside; its rows are then NaN.
pub(crate) fn term<T: Real>(
    term: &LossTerm,
    batch: &BatchView<'_>,
    rows: &Rows<'_, T>,
    mut out: Results<'_, T>,
) -> Result<()> {
    if let LossKind::Outside(name) = term.kind {
        return outside_term(&name, term.weight, batch, rows, out);
    }
    let weights = batch.weights_of(rows.tile.clone(), rows.per_example);
    for (i, logits) in rows.logits.chunks_exact(rows.width).enumerate() {
        let weight = term.weight * weights.map_or(1.0, |w| w[i]) / batch.weight_sum;
        let at = rows.tile.start * rows.per_example + i;
        let d = out.dlogits.as_mut().map(|(d, adding)| (&mut d[i * rows.width..(i + 1) * rows.width], *adding));
        out.loss[i] += match (&batch.targets, term.kind) {
            (Targets::Classes(classes), LossKind::CrossEntropy) => {
                let class = classes[at] as usize;
                out.correct[i] = u8::from(first_largest(logits, class));
                let target = (class, term.smoothing);
                vectorized!(match term.f64 {
                    true => cross_entropy::<T, f64>(logits, target, weight, d),
                    false => cross_entropy::<T, T>(logits, target, weight, d),
                })
            }
            (Targets::Classes(classes), LossKind::Mse) => {
                let class = classes[at] as usize;
                out.correct[i] = u8::from(first_largest(logits, class));
                squared(logits, |j| if j == class { 1.0 } else { 0.0 }, weight, d)
            }
            (Targets::Reals { y_bln, width }, _) => {
                let y = &y_bln[at * width..(at + 1) * width];
                squared(logits, |j| y[j], weight, d)
            }
            (Targets::Classes(_), LossKind::Outside(_)) => unreachable!("invariant: taken above"),
        };
    }
    Ok(())
}

/// A loss from outside, in f64 whatever the dtype.
fn outside_term<T: Real>(
    name: &str,
    factor: f64,
    batch: &BatchView<'_>,
    rows: &Rows<'_, T>,
    out: Results<'_, T>,
) -> Result<()> {
    let n = rows.logits.len() / rows.width;
    let logits: Vec<f64> = rows.logits.iter().map(|x| x.to_f64()).collect();
    let (mut losses, mut d) = (vec![f64::NAN; n], vec![0.0; if out.dlogits.is_some() { logits.len() } else { 0 }]);
    let computed = match batch.targets {
        Targets::Classes(classes) => {
            let targets = &classes[rows.tile.start * rows.per_example..][..n];
            for (correct, (logits, &class)) in out.correct.iter_mut().zip(rows.logits.chunks(rows.width).zip(targets)) {
                *correct = u8::from(first_largest(logits, class as usize));
            }
            let d = out.dlogits.is_some().then_some(&mut d[..]);
            outside::loss(name).and_then(|loss| loss.rows(&logits, targets, &mut losses, d))
        }
        Targets::Reals { .. } => Err(Error::Value {
            what: "loss.kind".into(),
            got: name.to_owned(),
            expected: "mse: the targets are real numbers, and a loss from outside compares with classes".into(),
        }),
    };
    let weights = batch.weights_of(rows.tile.clone(), rows.per_example);
    let weight = |i: usize| factor * weights.map_or(1.0, |w| w[i]) / batch.weight_sum;
    for (i, (sum, loss)) in out.loss.iter_mut().zip(losses).enumerate() {
        *sum += weight(i) * loss;
    }
    if let Some((dlogits, adding)) = out.dlogits {
        for (i, (own, d)) in dlogits.iter_mut().zip(d).enumerate() {
            let g = T::from_f64(weight(i / rows.width) * d);
            *own = if adding { *own + g } else { g };
        }
    }
    computed
}

fn first_largest<T: Real>(logits: &[T], class: usize) -> bool {
    let top = vectorized!(max(logits));
    logits[class] == top && !logits[..class].contains(&top)
}

/// Exponents and sums in `A`. Exponentials are computed twice rather than stored: they are cheap and storage is not.
#[inline(always)]
fn cross_entropy<T: Real, A: Real>(
    logits: &[T],
    (class, smoothing): (usize, f64),
    weight: f64,
    d: Option<(&mut [T], bool)>,
) -> f64 {
    let wide = |x: T| A::from_f64(x.to_f64());
    let top = wide(max(logits));
    let mut lanes = [A::ZERO; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += (wide(x) - top).exp();
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += (wide(x) - top).exp();
    }
    let total = sum(&lanes);
    let even = smoothing / logits.len() as f64;
    if let Some((d, adding)) = d {
        let factor = A::from_f64(weight) / total;
        let before = if adding { d[class] } else { T::ZERO };
        for (d, &x) in d.iter_mut().zip(logits) {
            let g = T::from_f64(((wide(x) - top).exp() * factor - A::from_f64(weight * even)).to_f64());
            *d = if adding { *d + g } else { g };
        }
        // In `A`, before rounding: near the end of training the probability is so close to 1 that in f32 nothing is left.
        let own = (wide(logits[class]) - top).exp() * factor - A::from_f64(weight * (1.0 - smoothing + even));
        d[class] = before + T::from_f64(own.to_f64());
    }
    let mut expected = (1.0 - smoothing) * (wide(logits[class]) - top).to_f64();
    if smoothing > 0.0 {
        expected += even * logits.iter().map(|&x| (wide(x) - top).to_f64()).sum::<f64>();
    }
    weight * (libm::log(total.to_f64()) - expected)
}

fn squared<T: Real>(logits: &[T], y: impl Fn(usize) -> f64, weight: f64, d: Option<(&mut [T], bool)>) -> f64 {
    let width = logits.len() as f64;
    let mut total = 0.0;
    for (j, &l) in logits.iter().enumerate() {
        let difference = l.to_f64() - y(j);
        total += difference * difference;
    }
    if let Some((d, adding)) = d {
        for (j, (d, &l)) in d.iter_mut().zip(logits).enumerate() {
            let g = T::from_f64(2.0 * weight / width * (l.to_f64() - y(j)));
            *d = if adding { *d + g } else { g };
        }
    }
    weight * total / width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::Batch;

    fn loss_of(kind: LossKind, logits: &[f64], class: u32) -> (f64, Vec<f64>, u8) {
        loss_of_term(&LossTerm::new(kind, false), logits, class)
    }

    fn loss_of_term(kind: &LossTerm, logits: &[f64], class: u32) -> (f64, Vec<f64>, u8) {
        let batch = Batch::classes(1, vec![0], vec![class]).expect("one example");
        let (mut loss, mut correct, mut d) = ([0.0], [0], vec![0.0; logits.len()]);
        let rows = Rows { logits, width: logits.len(), per_example: 1, tile: 0..1 };
        let out = Results { dlogits: Some((&mut d, false)), loss: &mut loss, correct: &mut correct };
        term(kind, &batch.view(), &rows, out).expect("built in");
        (loss[0], d, correct[0])
    }

    #[test]
    fn uniform_logits_cost_the_logarithm_of_their_number() {
        let (loss, d, correct) = loss_of(LossKind::CrossEntropy, &[0.5; 113], 3);
        assert!((loss - 113f64.ln()).abs() < 1e-14);
        assert!((d[3] - (1.0 / 113.0 - 1.0)).abs() < 1e-15 && (d[0] - 1.0 / 113.0).abs() < 1e-15);
        assert_eq!(correct, 0, "the first of equal logits is the answer");
    }

    /// The gradient of a nearly certain answer survives f32 when the loss is computed in f64.
    #[test]
    fn a_small_gradient_is_not_rounded_away() {
        let batch = Batch::classes(1, vec![0], vec![0]).expect("one example");
        let (mut loss, mut correct, mut d) = ([0.0], [0], [0f32; 2]);
        let rows = Rows { logits: &[20.0f32, 0.0], width: 2, per_example: 1, tile: 0..1 };
        let out = Results { dlogits: Some((&mut d, false)), loss: &mut loss, correct: &mut correct };
        term(&LossTerm::new(LossKind::CrossEntropy, true), &batch.view(), &rows, out).expect("built in");
        let want = 1.0 / (1.0 + libm::exp(20.0));
        assert!((f64::from(d[0]) / -want - 1.0).abs() < 1e-6, "{} against {}", d[0], -want);
        assert!((f64::from(d[1]) / want - 1.0).abs() < 1e-6, "{} against {want}", d[1]);
    }

    /// The mixture of the losses of all classes that smoothing is.
    #[test]
    fn a_smoothed_loss_is_a_mean_over_targets() {
        let logits = [0.3, -1.0, 2.0, 0.0, 1.5];
        let smoothing = LossTerm { smoothing: 0.2, ..LossTerm::new(LossKind::CrossEntropy, false) };
        let each: Vec<f64> = (0..5).map(|class| loss_of(LossKind::CrossEntropy, &logits, class).0).collect();
        let want = 0.8 * each[2] + 0.2 * each.iter().sum::<f64>() / 5.0;
        assert!((loss_of_term(&smoothing, &logits, 2).0 - want).abs() < 1e-14);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let smoothing = LossTerm { smoothing: 0.1, ..LossTerm::new(LossKind::CrossEntropy, false) };
        let plain = [LossKind::CrossEntropy, LossKind::Mse].map(|kind| LossTerm::new(kind, false));
        for kind in plain.iter().chain([&smoothing]) {
            let logits: Vec<f64> = (0..37).map(|i| (f64::from(i) * 1.7).sin() * 3.0).collect();
            let (_, d, _) = loss_of_term(kind, &logits, 5);
            for j in 0..37 {
                let (mut up, mut down) = (logits.clone(), logits.clone());
                up[j] += 1e-6;
                down[j] -= 1e-6;
                let fd = (loss_of_term(kind, &up, 5).0 - loss_of_term(kind, &down, 5).0) / 2e-6;
                assert!((fd - d[j]).abs() < 1e-8, "{kind:?} {j}: {fd} against {}", d[j]);
            }
        }
    }
}
