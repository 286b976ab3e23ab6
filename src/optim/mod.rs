//! Gradients -> parameters: AdamW, Adam and SGD with PyTorch's semantics, Lion, Muon, Langevin dynamics, schedules, clipping by norm,
//! Grokfast's filter, parameters without decay by name.
//!
//! Every setting is an array over replicas, so that a sweep is replicas. State beyond the parameters is a list of arrays of the
//! parameters' shape ([`Update::moments`]) and the step count, so that a resume point holds all of it.

mod adam;
mod grokfast;
mod lion;
mod muon;
mod no_decay;
mod sgd;
mod sgld;

pub use adam::Adam;
pub use grokfast::Grokfast;
pub use lion::Lion;
pub use muon::Muon;
pub use no_decay::NoDecay;
pub use sgd::Sgd;
pub use sgld::Sgld;

use crate::engine::{ParamLayout, Real};
use crate::error::Result;
use crate::spec::{OptimKind, OptimSpec, Schedule};

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// Replica.
    pub replica: usize,
    /// Updates done before this one.
    pub step: u64,
    /// Index, in the replica's flat array, of the first number given.
    pub first: usize,
    /// Factor on the gradients, from clipping.
    pub grad_scale: f64,
}

/// Arrays of state beside the parameters that an update has at most.
pub const MAX_MOMENTS: usize = 3;

/// One update of a block of one replica's parameters. Each number depends on its own gradient and moments alone, unless the optimiser asks
/// for whole parameters.
pub trait Update<T: Real>: Send + Sync {
    /// Arrays of state beside the parameters, 0 to [`MAX_MOMENTS`].
    fn moments(&self) -> usize;

    /// Largest gradient norm of a replica; larger ones are scaled down to it.
    fn clip_norm(&self, replica: usize) -> Option<f64>;

    /// Whether it must be given whole parameters instead of blocks of any size.
    fn whole(&self) -> bool {
        false
    }

    /// Updates `params` from `grads`; moments that the optimiser lacks are empty.
    fn update(&self, at: At, params: &mut [T], grads: &[T], moments: [&mut [T]; MAX_MOMENTS]);
}

/// The settings of each replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Seeds, of what an optimiser draws.
    pub seeds: Vec<u64>,
    /// Learning rate before schedule.
    pub lr: Vec<f64>,
    /// Decay.
    pub weight_decay: Vec<f64>,
    /// Averaging constants.
    pub betas: Vec<[f64; 2]>,
    /// ε.
    pub eps: Vec<f64>,
    /// Momentum.
    pub momentum: Vec<f64>,
    /// Factor nβ on the gradients of SGLD.
    pub inverse_temperature: Vec<f64>,
    /// Pull γ of SGLD to the start.
    pub localization: Vec<f64>,
    /// Clipping.
    pub clip_norm: Vec<Option<f64>>,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// Warm-up.
    pub warmup_steps: u64,
    /// Whether its first update has learning rate 0.
    pub warmup_from_zero: bool,
    /// Last step, for schedules that end.
    pub steps: u64,
}

impl Settings {
    /// The same settings for every replica, of which there is one a seed.
    pub fn new(spec: &OptimSpec, seeds: &[u64], steps: u64) -> Settings {
        let replicas = seeds.len();
        Settings {
            seeds: seeds.to_vec(),
            lr: vec![spec.lr; replicas],
            weight_decay: vec![spec.weight_decay; replicas],
            betas: vec![spec.betas; replicas],
            eps: vec![spec.eps; replicas],
            momentum: vec![spec.momentum; replicas],
            inverse_temperature: vec![spec.inverse_temperature; replicas],
            localization: vec![spec.localization; replicas],
            clip_norm: vec![spec.clip_norm; replicas],
            schedule: spec.schedule,
            warmup_steps: spec.warmup_steps,
            warmup_from_zero: spec.warmup_from_zero,
            steps,
        }
    }

    /// Learning rate of `replica` for the update after `step` others.
    ///
    /// Warm-up rises as (step + 1) / warmup_steps, or as step / warmup_steps from zero; after it the schedule runs from 1 to 0 at the last step.
    pub fn lr(&self, replica: usize, step: u64) -> f64 {
        let risen = if self.warmup_from_zero { step } else { step + 1 };
        let warm = if self.warmup_steps == 0 { 1.0 } else { (risen as f64 / self.warmup_steps as f64).min(1.0) };
        let span = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let gone = (step.saturating_sub(self.warmup_steps) as f64 / span).min(1.0);
        let factor = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - gone,
            Schedule::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * gone)),
        };
        self.lr[replica] * warm * factor
    }
}

/// The optimiser that a spec names, for numbers without names: Muon, which knows no matrix then, is AdamW.
pub fn build<T: Real>(spec: &OptimSpec, settings: Settings) -> Box<dyn Update<T>> {
    build_on(spec, settings, &ParamLayout::default())
}

fn build_on<T: Real>(spec: &OptimSpec, settings: Settings, layout: &ParamLayout) -> Box<dyn Update<T>> {
    let replicas = settings.lr.len();
    let update: Box<dyn Update<T>> = match spec.kind {
        OptimKind::Adamw => Box::new(Adam { settings, decoupled: true }),
        OptimKind::Adam => Box::new(Adam { settings, decoupled: false }),
        OptimKind::Sgd => Box::new(Sgd { settings }),
        OptimKind::Sgld => Box::new(Sgld::new(settings)),
        OptimKind::Lion => Box::new(Lion { settings }),
        OptimKind::Muon => Box::new(Muon::new(settings, layout)),
    };
    match &spec.grokfast {
        Some(filter) => Box::new(Grokfast::new(filter, replicas, update)),
        None => update,
    }
}

/// The same, without decay of the parameters that `no_decay` names.
///
/// # Errors
/// [`Error::Value`](crate::error::Error::Value) for a pattern that names no parameter.
pub fn build_over<T: Real>(spec: &OptimSpec, settings: Settings, layout: &ParamLayout) -> Result<Box<dyn Update<T>>> {
    if spec.no_decay.is_empty() {
        return Ok(build_on(spec, settings, layout));
    }
    let bare = Settings { weight_decay: vec![0.0; settings.lr.len()], ..settings.clone() };
    Ok(Box::new(NoDecay::new(
        &spec.no_decay,
        layout,
        [build_on(spec, settings, layout), build_on(spec, bare, layout)],
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_at_known_steps() {
        let spec = OptimSpec { lr: 2.0, warmup_steps: 10, ..OptimSpec::default() };
        let mut s = Settings::new(&spec, &[0], 110);
        assert_eq!([s.lr(0, 0), s.lr(0, 4), s.lr(0, 9), s.lr(0, 100)], [0.2, 1.0, 2.0, 2.0]);
        s.warmup_from_zero = true;
        assert_eq!([s.lr(0, 0), s.lr(0, 5), s.lr(0, 10), s.lr(0, 100)], [0.0, 1.0, 2.0, 2.0]);
        s.schedule = Schedule::Linear;
        assert_eq!([s.lr(0, 10), s.lr(0, 60), s.lr(0, 110)], [2.0, 1.0, 0.0]);
        s.schedule = Schedule::Cosine;
        assert!((s.lr(0, 60) - 1.0).abs() < 1e-15 && s.lr(0, 110).abs() < 1e-15);
    }
}
