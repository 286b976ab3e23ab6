//! Activations of tiny networks over a tile `[width, lanes]`: number by number, or over all outputs of an example.
//!
//! Number by number: those of [`Act`]. Over outputs: softmax, and SoLU `z · softmax(z)` (Elhage et al. 2022, without its LayerNorm).
//! Backward: `dz = da · act'(z)`; softmax `dz_i = a_i (da_i − Σ_j a_j da_j)`; SoLU, with s = softmax(z), `dz_i = s_i da_i + a_i da_i − s_i Σ_j a_j da_j`.

use crate::engine::cpu::activation::{abs, gelu, relu, silu, square, tanh};
use crate::engine::cpu::formula::sweep;
use crate::engine::real::Real;
use crate::spec::{Act, ToyAct};

impl ToyAct {
    /// z in `a` becomes act(z); `slope` gets act'(z), for SoLU softmax(z).
    #[inline(always)]
    pub(crate) fn apply<T: Real>(&self, a: &mut [T], slope: &mut [T], lanes: usize) {
        match self {
            ToyAct::Each(act) => each(act, a, slope),
            ToyAct::Softmax => softmax(a, lanes),
            ToyAct::Solu => {
                slope.copy_from_slice(a);
                softmax(slope, lanes);
                for (a, s) in a.iter_mut().zip(&*slope) {
                    *a *= *s;
                }
            }
        }
    }

    /// The gradient of act(z) in `grad` becomes that of z.
    #[inline(always)]
    pub(in crate::engine) fn pull_back<T: Real>(&self, a: &[T], slope: &[T], grad: &mut [T], lanes: usize) {
        match self {
            ToyAct::Each(Act::Identity) => {}
            ToyAct::Each(_) => {
                for (d, slope) in grad.iter_mut().zip(slope) {
                    *d *= *slope;
                }
            }
            ToyAct::Softmax | ToyAct::Solu => {
                let of_solu = *self == ToyAct::Solu;
                for b in 0..lanes {
                    let mut together = T::ZERO;
                    for (a, d) in a[b..].iter().step_by(lanes).zip(grad[b..].iter().step_by(lanes)) {
                        together = a.mul_add(*d, together);
                    }
                    for i in (b..a.len()).step_by(lanes) {
                        grad[i] = match of_solu {
                            true => (slope[i] + a[i]) * grad[i] - slope[i] * together,
                            false => a[i] * (grad[i] - together),
                        };
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn each<T: Real>(act: &Act, a: &mut [T], slope: &mut [T]) {
    match act {
        Act::Identity => {}
        Act::Relu => map(a, slope, relu),
        Act::Gelu => map(a, slope, gelu),
        Act::Square => map(a, slope, square),
        Act::Abs => map(a, slope, abs),
        Act::Tanh => map(a, slope, tanh),
        Act::Silu => map(a, slope, silu),
        Act::Solu | Act::SoluLn => unreachable!("invariant: over outputs, it is taken above; with LayerNorm, refused"),
        Act::Formula(formula) => {
            sweep(formula.slope(), a, |at, row| {
                let n = row.len().min(slope.len() - at);
                slope[at..at + n].copy_from_slice(&row[..n]);
            });
            let z = a.to_vec();
            sweep(formula.value(), &z, |at, row| {
                let n = row.len().min(a.len() - at);
                a[at..at + n].copy_from_slice(&row[..n]);
            });
        }
    }
}

#[inline(always)]
fn map<T: Real>(a: &mut [T], slope: &mut [T], f: impl Fn(T) -> (T, T)) {
    for (a, slope) in a.iter_mut().zip(slope) {
        (*a, *slope) = f(*a);
    }
}

/// Over the outputs of each example.
#[inline(always)]
fn softmax<T: Real>(a: &mut [T], lanes: usize) {
    for b in 0..lanes {
        let mut top = T::NEG_INFINITY;
        for z in a[b..].iter().step_by(lanes) {
            top = z.max(top);
        }
        let mut total = T::ZERO;
        for z in a[b..].iter_mut().step_by(lanes) {
            *z = (*z - top).exp();
            total += *z;
        }
        let per_total = T::ONE / total;
        for z in a[b..].iter_mut().step_by(lanes) {
            *z *= per_total;
        }
    }
}
