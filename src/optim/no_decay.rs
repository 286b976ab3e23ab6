//! Parameters without weight decay, by patterns of their names.
//!
//! Reads the layout of the parameters; passes each stretch of a block to the optimiser with decay or to the one without.

use std::fmt::{Debug, Formatter};
use std::ops::Range;

use super::{At, MAX_MOMENTS, Update};
use crate::engine::{ParamLayout, Real};
use crate::error::Result;

/// Two optimisers, for parameters with decay and without.
pub struct NoDecay<T> {
    /// In the order of the flat array, and whether they decay.
    stretches: Vec<(Range<usize>, bool)>,
    decayed: Box<dyn Update<T>>,
    not_decayed: Box<dyn Update<T>>,
}

impl<T: Real> NoDecay<T> {
    /// Parameters whose names match one of `patterns` go to the second optimiser.
    ///
    /// # Errors
    /// [`Error::Value`](crate::error::Error::Value) for a pattern that names no parameter.
    pub fn new(patterns: &[String], layout: &ParamLayout, optimisers: [Box<dyn Update<T>>; 2]) -> Result<NoDecay<T>> {
        let named = layout.named("optim.no_decay", patterns)?;
        let [decayed, not_decayed] = optimisers;
        let range = |info: &crate::engine::ParamInfo| info.offset..info.offset + info.len();
        let stretches = layout.infos.iter().zip(named).map(|(info, named)| (range(info), !named)).collect();
        Ok(NoDecay { stretches, decayed, not_decayed })
    }
}

impl<T> Debug for NoDecay<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoDecay").field("stretches", &self.stretches).finish_non_exhaustive()
    }
}

impl<T: Real> Update<T> for NoDecay<T> {
    fn moments(&self) -> usize {
        self.decayed.moments()
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.decayed.clip_norm(replica)
    }

    fn whole(&self) -> bool {
        self.decayed.whole()
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], mut moments: [&mut [T]; MAX_MOMENTS]) {
        let block = at.first..at.first + params.len();
        for (stretch, decays) in &self.stretches {
            let (from, to) = (stretch.start.max(block.start), stretch.end.min(block.end));
            if from >= to {
                continue;
            }
            let part = from - block.start..to - block.start;
            let moments = moments.each_mut().map(|m| if m.is_empty() { &mut [][..] } else { &mut m[part.clone()] });
            let update = if *decays { &self.decayed } else { &self.not_decayed };
            update.update(At { first: from, ..at }, &mut params[part.clone()], &grads[part.clone()], moments);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::Graph;
    use crate::optim::{Settings, build_over};
    use crate::spec::OptimSpec;

    fn layout() -> ParamLayout {
        let mut g = Graph::new(1);
        for name in ["embed.W_E", "mlp.W_in", "mlp.b_in"] {
            g.param(name, &[2, 3]);
        }
        g.params
    }

    #[test]
    fn each_parameter_is_as_with_its_own_optimiser() {
        let layout = layout();
        let groups = OptimSpec { no_decay: vec!["*.b_*".into()], warmup_steps: 0, ..OptimSpec::default() };
        let plain = OptimSpec { no_decay: vec![], ..groups.clone() };
        let bare = OptimSpec { weight_decay: 0.0, ..plain.clone() };
        let after = |spec: &OptimSpec| {
            let update = build_over::<f64>(spec, Settings::new(spec, &[0], 10), &layout).unwrap();
            let n = layout.stride;
            let (mut w, mut m, mut v) = (vec![1.0; n], vec![0.0; n], vec![0.0; n]);
            let grads: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
            for step in 0..3 {
                // In blocks that cut through parameters.
                for first in (0..n).step_by(5) {
                    let part = first..n.min(first + 5);
                    let at = At { replica: 0, step, first, grad_scale: 1.0 };
                    let moments = [&mut m[part.clone()], &mut v[part.clone()], &mut [][..]];
                    update.update(at, &mut w[part.clone()], &grads[part.clone()], moments);
                }
            }
            w
        };
        let (mixed, plain, bare) = (after(&groups), after(&plain), after(&bare));
        for (info, want) in layout.infos.iter().zip([&plain, &plain, &bare]) {
            for i in info.offset..info.offset + info.len() {
                assert_eq!(mixed[i], want[i], "{}", info.name);
            }
        }
    }

    #[test]
    fn a_pattern_that_names_nothing_is_refused() {
        let spec = OptimSpec { no_decay: vec!["b_*".into()], ..OptimSpec::default() };
        let error = build_over::<f64>(&spec, Settings::new(&spec, &[0], 10), &layout()).map(|_| ()).unwrap_err();
        let expected =
            "optim.no_decay is b_*, which names no parameter; it must be patterns of embed.W_E, mlp.W_in, mlp.b_in";
        assert_eq!(error.to_string(), expected);
    }
}
