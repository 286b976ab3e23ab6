//! A spec's optimiser as the update kernel reads it: a kind, a group for every number, and a row of settings a step and replica.
//!
//! The settings are computed by the host in f64, as for the processor, and uploaded for many steps at once. Kernels in `update.cu`.

use super::lower::{Lower, not_here};
use super::program::{Address, Args, Buffer};
use crate::engine::edit::Change;
use crate::engine::plan::Plan;
use crate::error::Result;
use crate::optim::Settings;
use crate::rng::Rng;
use crate::spec::{Grokfast, OptimKind, OptimSpec};

/// Numbers of a row of settings, in the order of `update.cu`.
pub(super) const COLUMNS: usize = 17;
/// The column of the stream that dropout draws from.
pub(super) const NOISE: usize = 16;
/// Numbers that one block squares and adds.
const SQUARES: usize = 16_384;

/// What the update kernel does.
#[derive(Debug)]
pub(crate) struct Optim {
    kind: Kind,
    /// Adam's decay is not part of the gradient.
    decoupled: bool,
    filter: Option<Grokfast>,
    settings: Settings,
    clips: bool,
    /// Of each number: 0 for room and frozen ones, 1 for those that decay, 2 for those that do not.
    pub(super) group: Vec<u8>,
    /// Whether replicas have masks.
    pub(super) masked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Adam,
    Sgd,
    Lion,
}

impl Optim {
    /// The optimiser of a spec, over the parameters of a plan.
    ///
    /// # Errors
    /// [`Error::Value`](crate::error::Error::Value) for those that have no kernels, and for a pattern that names no parameter.
    pub(crate) fn new(spec: &OptimSpec, settings: Settings, plan: &Plan, masked: bool) -> Result<Optim> {
        let kind = match spec.kind {
            OptimKind::Adamw | OptimKind::Adam => Kind::Adam,
            OptimKind::Sgd => Kind::Sgd,
            OptimKind::Lion => Kind::Lion,
            OptimKind::Muon => return Err(not_here("optim.kind muon")),
            OptimKind::Sgld => return Err(not_here("optim.kind sgld")),
        };
        let bare = match spec.no_decay.is_empty() {
            true => vec![false; plan.params.infos.len()],
            false => plan.params.named("optim.no_decay", &spec.no_decay)?,
        };
        let mut group = vec![0; plan.params.stride];
        for (info, bare) in plan.params.infos.iter().zip(bare) {
            group[info.offset..info.offset + info.len()].fill(if bare { 2 } else { 1 });
        }
        for edit in &plan.param_edits {
            match edit.change {
                Change::Freeze => group[edit.range.clone()].fill(0),
                _ => return Err(not_here("edits of parameters")),
            }
        }
        let clips = settings.clip_norm.iter().any(Option::is_some);
        let decoupled = spec.kind == OptimKind::Adamw;
        Ok(Optim { kind, decoupled, filter: spec.grokfast.clone(), settings, clips, group, masked })
    }

    /// Arrays of state beside the parameters.
    pub(crate) fn moments(&self) -> usize {
        self.own_moments() + usize::from(self.filter.is_some())
    }

    fn own_moments(&self) -> usize {
        if self.kind == Kind::Adam { 2 } else { 1 }
    }

    /// The settings of replica `r` for the update after `step` others.
    pub(super) fn row(&self, r: usize, step: u64) -> [f64; COLUMNS] {
        let s = &self.settings;
        let ([beta1, beta2], decay, lr) = (s.betas[r], s.weight_decay[r], s.lr(r, step));
        let t = (step + 1) as f64;
        let (keep, coupled) = match self.kind {
            Kind::Adam if !self.decoupled => (1.0, decay),
            Kind::Sgd => (1.0, decay),
            _ => (1.0 - lr * decay, 0.0),
        };
        let (alpha, lamb) = match &self.filter {
            Some(filter) => (if step == 0 { 0.0 } else { filter.alpha }, filter.lamb),
            None => (0.0, 0.0),
        };
        [
            lr,
            lr / (1.0 - libm::pow(beta1, t)),
            1.0 / libm::sqrt(1.0 - libm::pow(beta2, t)),
            keep,
            coupled,
            1.0,
            s.eps[r],
            beta1,
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            s.momentum[r],
            alpha,
            1.0 - alpha,
            lamb,
            s.clip_norm[r].unwrap_or(f64::INFINITY),
            f64::from_bits(Rng::stream(s.seeds[r], "dropout").substream(step).stream_number()),
        ]
    }

    /// The launches after the gradients are there.
    pub(super) fn lower(&self, l: &mut Lower<'_>, replicas: usize) {
        let stride = l.plan.params.stride;
        let of_replicas = |l: &mut Lower<'_>, buffer| l.need(buffer, replicas * stride);
        let (params, grads) = (of_replicas(l, Buffer::Params), of_replicas(l, Buffer::Grads));
        let moments: Vec<Address> = (0..self.moments()).map(|i| of_replicas(l, Buffer::Moment(i as u8))).collect();
        let mask = if self.masked { Some(of_replicas(l, Buffer::Mask)) } else { None };
        let group = l.need(Buffer::Group, stride);
        let [step, first] = [Buffer::Step, Buffer::First].map(|buffer| l.need(buffer, 1));
        let table = l.need(Buffer::Table, replicas * COLUMNS);
        let [finite, first_bad] = [Buffer::Finite, Buffer::FirstBad].map(|buffer| l.need(buffer, replicas));

        let optional = |args: Args, address: Option<Address>| match address {
            Some(address) => args.at(address),
            None => args.null(),
        };
        if let Some(mask) = mask {
            l.each("keep", stride, Args::new().at(mask).at(grads).int(stride).int(stride));
        }
        l.each("check_gradients", stride, Args::new().at(grads).int(stride).at(finite).int(stride));
        let now = |args: Args| args.at(table).at(step).at(first).int(replicas);
        let mut factor = None;
        if self.clips {
            let blocks = stride.div_ceil(SQUARES);
            let sums = l.need(Buffer::SquareSums, replicas * blocks);
            let args = Args::new().at(grads).int(stride).at(group).at(sums).int(stride).int(SQUARES);
            l.launch("square_sums", [blocks, replicas, 1], args);
            let [norm, own] = [Buffer::Norm, Buffer::Factor].map(|buffer| l.need(buffer, replicas));
            let args = now(Args::new().at(sums).int(blocks)).at(norm).at(own);
            l.launch("clip", [1, replicas, 1], args);
            factor = Some(own);
        }
        let own = self.own_moments();
        let args = Args::new().int(self.kind as usize).flag(self.filter.is_some()).at(params).at(grads);
        let args = optional(args.at(moments[0]), (own > 1).then(|| moments[1]));
        let args = optional(args, moments.get(own).copied()).int(stride).at(group);
        let args = optional(optional(args, mask), factor).at(finite).at(first_bad);
        l.each("update", stride, now(args).int(stride));
        l.launch("end_step", [1, 1, 1], Args::new().at(finite).at(first_bad).at(step).int(replicas));
    }

    /// Whether gradients are clipped, so that their norms are known.
    pub(super) fn clips(&self) -> bool {
        self.clips
    }
}
