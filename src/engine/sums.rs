//! Which gradient sums cross rows, and who may work on them at the same time.

use super::batch::BatchView;
use super::ctx::{Ctx, Raw};
use super::kept::{Failure, Kept};
use super::op::Space;
use super::plan::{Plan, Step};
use super::real::Real;

/// One piece of work: an owner of a step of the plan, or all owners (`None`) of several steps that add to the same numbers.
pub(super) type Parts = Vec<(usize, Option<usize>)>;

/// What steps add to, as (is a table, index), and the steps.
type Group = (Vec<(bool, usize)>, Vec<usize>);

/// Steps that add to the same parameter or table form one group, so that the order of their sums is fixed; the owners
/// of a step alone in its group are independent.
pub(super) fn gradient_sums<T: Real>(plan: &Plan) -> Vec<Parts> {
    let targets = |step: &Step| {
        let tables = step.op.inputs().into_iter().filter(|&id| plan.values[id].space == Space::Pairs && !step.on_pairs);
        let mut all: Vec<(bool, usize)> = tables.map(|id| (true, id)).collect();
        all.extend(step.op.params().into_iter().map(|id| (false, id)));
        all
    };
    let mut groups: Vec<Group> = vec![];
    for (i, step) in plan.steps.iter().enumerate().rev().filter(|(_, step)| step.has_grad) {
        let mut group = (targets(step), vec![i]);
        if group.0.is_empty() {
            continue;
        }
        let same_stage = |other: &[usize]| plan.steps[other[0]].on_pairs == step.on_pairs;
        while let Some(at) =
            groups.iter().position(|(t, steps)| same_stage(steps) && t.iter().any(|t| group.0.contains(t)))
        {
            let (targets, mut steps) = groups.remove(at);
            group.0.extend(targets);
            steps.append(&mut group.1);
            group.1 = steps;
        }
        group.1.sort_unstable_by(|a, b| b.cmp(a));
        groups.push(group);
    }
    let mut sums = vec![];
    for (_, steps) in groups {
        if let [step] = steps[..] {
            let owners = owners::<T>(plan, step);
            sums.extend((0..owners).map(|owner| vec![(step, Some(owner))]));
        } else {
            sums.push(steps.into_iter().map(|step| (step, None)).collect());
        }
    }
    // The batch's before the tables', as they are needed.
    sums.sort_by_key(|parts: &Parts| plan.steps[parts[0].0].on_pairs);
    sums
}

/// Owners depend on the plan alone; they are asked for through an empty context.
fn owners<T: Real>(plan: &Plan, step: usize) -> usize {
    let step = &plan.steps[step];
    let (batch, kept, failure) = (BatchView::empty(plan.n_ctx), Kept::default(), Failure::default());
    let c = Ctx::<T> {
        plan,
        places: &plan.tile_slot.places,
        site: &step.site,
        params: &[],
        param_grads: Raw::new(&mut []),
        values: Raw::new(&mut []),
        grads: Raw::new(&mut []),
        scratch: Raw::new(&mut []),
        batch: &batch,
        origin: 0,
        kept: &kept,
        failure: &failure,
    };
    T::kernel(step.op.as_ref()).owners(&c)
}
