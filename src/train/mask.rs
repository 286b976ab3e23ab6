//! Weights that are kept at 0: pruning, and lottery tickets with their controls.
//!
//! Reads the spec's `[model.mask]` and a checkpoint of another run; gives 1 for the numbers that train and 0 for those that stay 0. With
//! `[model.from]` at an early step of that run the rest starts again where it started there: rewinding, as Frankle and Carbin 2019
//! (arXiv 1803.03635).

use super::start_from::Source;
use crate::engine::{Params, Real};
use crate::error::Result;
use crate::rng::Rng;
use crate::spec::{KeepBy, MaskScope, MaskSpec};

/// Which numbers of each replica are kept, as 1 and 0; all of those that no mask is for.
///
/// # Errors
/// A run, step or parameters that are not there.
pub(super) fn mask<T: Real>(spec: &MaskSpec, seeds: &[u64], like: &Params<T>) -> Result<Params<T>> {
    let layout = &like.layout;
    let masked: Vec<usize> = match spec.params.is_empty() {
        true => (0..layout.infos.len()).filter(|&id| layout.infos[id].shape.len() > 1).collect(),
        false => {
            let named = layout.named("model.mask.params", &spec.params)?;
            (0..named.len()).filter(|&id| named[id]).collect()
        }
    };
    let source = match &spec.run {
        Some(run) => Some(Source::open(("model.mask", run), spec.step, seeds.len())?),
        None => None,
    };
    let mut keep = Params::zeros(layout.clone(), seeds.len());
    for (r, &seed) in seeds.iter().enumerate() {
        for (id, info) in layout.infos.iter().enumerate() {
            keep.set(r, id, std::iter::repeat_n(T::ONE, info.len()));
        }
        let sizes = |id: usize| match &source {
            Some(source) => source.numbers(&layout.infos[id], r),
            // Without a run any number is as good as another; the order below is then random.
            None => Ok(vec![0.0; layout.infos[id].len()]),
        };
        let sizes = masked.iter().map(|&id| sizes(id)).collect::<Result<Vec<_>>>()?;
        let mut kept = largest(&sizes, spec.keep_frac, spec.scope);
        for (kept, &id) in kept.iter_mut().zip(&masked) {
            if spec.by == KeepBy::Random {
                Rng::stream(seed, &format!("mask/{}", layout.infos[id].name)).shuffle(kept);
            }
            keep.set(r, id, kept.iter().map(|&kept| if kept { T::ONE } else { T::ZERO }));
        }
    }
    Ok(keep)
}

/// For each parameter, which numbers are among the `frac` of largest magnitude, of all or of their own parameter; of equal ones the first.
fn largest(params: &[Vec<f64>], frac: f64, scope: MaskScope) -> Vec<Vec<bool>> {
    if scope == MaskScope::Each && params.len() > 1 {
        return params.iter().flat_map(|own| largest(std::slice::from_ref(own), frac, scope)).collect();
    }
    let mut order: Vec<(f64, usize, usize)> = (params.iter().enumerate())
        .flat_map(|(which, numbers)| numbers.iter().enumerate().map(move |(i, x)| (x.abs(), which, i)))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    order.truncate((frac * order.len() as f64).round() as usize);
    let mut kept: Vec<Vec<bool>> = params.iter().map(|numbers| vec![false; numbers.len()]).collect();
    for (_, which, i) in order {
        kept[which][i] = true;
    }
    kept
}

/// Sets to 0 what is not kept.
pub(super) fn apply<T: Real>(keep: &Params<T>, params: &mut Params<T>) {
    for (x, keep) in params.flat.iter_mut().zip(&keep.flat) {
        *x *= *keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_of_all_or_of_each() {
        let params = [vec![0.1, -3.0, 0.2, 0.0], vec![2.0, 4.0, -5.0, 1.0]];
        let all = largest(&params, 0.5, MaskScope::All);
        assert_eq!(all, [[false, true, false, false], [true, true, true, false]]);
        let each = largest(&params, 0.5, MaskScope::Each);
        assert_eq!(each, [[false, true, true, false], [false, true, true, false]]);
        // Of equal ones the first, and all where all are kept.
        assert_eq!(largest(&[vec![1.0, 1.0, -1.0]], 0.34, MaskScope::Each), [[true, false, false]]);
        assert_eq!(largest(&params, 1.0, MaskScope::All).concat(), [true; 8]);
    }
}
