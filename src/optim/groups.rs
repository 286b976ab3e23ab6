//! Parameters apart: some frozen, some without decay, by patterns of their names.
//!
//! Reads the layout of the parameters; passes each stretch of a block to the optimiser with or without decay, or to none.

use std::fmt::{Debug, Formatter};
use std::ops::Range;

use super::{At, MAX_MOMENTS, Update};
use crate::engine::{ParamInfo, ParamLayout, Real};
use crate::error::{Error, Result};
use crate::spec::OptimSpec;

/// What happens to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Decayed,
    NotDecayed,
    Frozen,
}

/// Two optimisers, for parameters with decay and without; frozen ones have none.
pub struct Groups<T> {
    /// In the order of the flat array, up to its end.
    stretches: Vec<(Range<usize>, Rule)>,
    decayed: Box<dyn Update<T>>,
    not_decayed: Box<dyn Update<T>>,
}

impl<T: Real> Groups<T> {
    /// The groups of a spec, with an optimiser for each.
    ///
    /// # Errors
    /// [`Error::Value`] for a pattern that names no parameter, and when everything is frozen.
    pub fn new(
        spec: &OptimSpec,
        layout: &ParamLayout,
        [decayed, not_decayed]: [Box<dyn Update<T>>; 2],
    ) -> Result<Self> {
        for (key, patterns) in [("optim.freeze", &spec.freeze), ("optim.no_decay", &spec.no_decay)] {
            let names_one = |pattern: &&String| layout.infos.iter().any(|info| info.is_named(pattern));
            if let Some(idle) = patterns.iter().find(|pattern| !names_one(pattern)) {
                let names: Vec<&str> = layout.infos.iter().map(|info| info.name.as_str()).collect();
                return Err(Error::Value {
                    what: key.into(),
                    got: format!("{idle}, which names no parameter"),
                    expected: format!("patterns of {}", names.join(", ")),
                });
            }
        }
        let any = |patterns: &[String], info: &ParamInfo| patterns.iter().any(|pattern| info.is_named(pattern));
        let rule = |info: &ParamInfo| match (any(&spec.freeze, info), any(&spec.no_decay, info)) {
            (true, _) => Rule::Frozen,
            (_, true) => Rule::NotDecayed,
            _ => Rule::Decayed,
        };
        let stretches: Vec<_> =
            layout.infos.iter().map(|info| (info.offset..info.offset + info.len(), rule(info))).collect();
        if stretches.iter().all(|(_, rule)| *rule == Rule::Frozen) {
            return Err(Error::Value {
                what: "optim.freeze".into(),
                got: "patterns of every parameter".into(),
                expected: "some parameter that is left to train".into(),
            });
        }
        Ok(Groups { stretches, decayed, not_decayed })
    }
}

impl<T> Debug for Groups<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("stretches", &self.stretches).finish_non_exhaustive()
    }
}

impl<T: Real> Update<T> for Groups<T> {
    fn moments(&self) -> usize {
        self.decayed.moments()
    }

    fn clip_norm(&self, replica: usize) -> Option<f64> {
        self.decayed.clip_norm(replica)
    }

    fn update(&self, at: At, params: &mut [T], grads: &[T], mut moments: [&mut [T]; MAX_MOMENTS]) {
        let block = at.first..at.first + params.len();
        for (stretch, rule) in &self.stretches {
            let (from, to) = (stretch.start.max(block.start), stretch.end.min(block.end));
            let update = match rule {
                _ if from >= to => continue,
                Rule::Frozen => continue,
                Rule::Decayed => &self.decayed,
                Rule::NotDecayed => &self.not_decayed,
            };
            let part = from - block.start..to - block.start;
            let moments = moments.each_mut().map(|m| if m.is_empty() { &mut [][..] } else { &mut m[part.clone()] });
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

    fn layout() -> ParamLayout {
        let mut g = Graph::new(1);
        for name in ["embed.W_E", "mlp.W_in", "mlp.b_in"] {
            g.param(name, &[2, 3]);
        }
        g.params
    }

    #[test]
    fn frozen_numbers_stay_and_the_others_are_as_alone() {
        let layout = layout();
        let groups = OptimSpec {
            freeze: vec!["embed.*".into()],
            no_decay: vec!["*.b_*".into()],
            warmup_steps: 0,
            ..OptimSpec::default()
        };
        let plain = OptimSpec { freeze: vec![], no_decay: vec![], ..groups.clone() };
        let bare = OptimSpec { weight_decay: 0.0, ..plain.clone() };
        let after = |spec: &OptimSpec| {
            let update = build_over::<f64>(spec, Settings::new(spec, 1, 10), &layout).unwrap();
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
        for (info, want) in layout.infos.iter().zip([None, Some(&plain), Some(&bare)]) {
            for i in info.offset..info.offset + info.len() {
                assert_eq!(mixed[i], want.map_or(1.0, |want| want[i]), "{}", info.name);
            }
        }
    }

    #[test]
    fn patterns_that_name_nothing_or_everything_are_refused() {
        let of = |freeze: &str, no_decay: &[&str]| {
            let no_decay = no_decay.iter().map(|&pattern| pattern.to_owned()).collect();
            let spec = OptimSpec { freeze: vec![freeze.into()], no_decay, ..OptimSpec::default() };
            build_over::<f64>(&spec, Settings::new(&spec, 1, 10), &layout()).map(|_| ()).unwrap_err().to_string()
        };
        assert!(
            of("embde.*", &[]).contains("optim.freeze is embde.*, which names no parameter"),
            "{}",
            of("embde.*", &[])
        );
        assert!(of("embed.*", &["b_*"]).contains("optim.no_decay is b_*"));
        assert!(of("*", &[]).contains("some parameter that is left to train"));
    }
}
