//! Curves -> the ends of memorisation, circuit formation and cleanup.
//!
//! Reads losses, accuracy and Σw² of one replica; writes up to three steps, ascending. The rule is [`EXPLAIN`]; the
//! phases are those of arXiv 2301.05217, section 5, which tells them apart by eye.

use crate::transition::{Curve, Curves, SUSTAINED};

/// The rule, as `phaselab explain phases` prints it.
pub const EXPLAIN: &str = "\
What it is
  Three steps that end memorisation, circuit formation and cleanup, each none when it cannot be told. A replica
  has phases only if it generalises (test accuracy at least 0.90 at three evaluations in a row; call the first of
  them G) and did so after a gap (test accuracy below 0.50 when training accuracy first reached 0.90). Without a
  gap there was nothing to tell apart; without generalisation the key frequencies are not those of a circuit.
  Memorisation ends at M, the checkpoint before G where excluded_train_loss_nats is least, if it later rises:
  three checkpoints in a row, up to the end of the run, at 1.1 times that minimum + 0.1 nats or more. M is not
  step 0.
  Let y be the logarithm of the least test loss since M: level, then a fall, then level again, whatever spikes
  there are.
  Circuit formation ends at C, cleanup at E, the two bends of y: C is the checkpoint, no later than the first from
  G on, furthest above the straight line from M to E; E the one after C furthest below the straight line from C to
  the last checkpoint; both hold at once.
  C is none unless it stands off its line by 0.05 of the whole fall of y and restricted loss (over all pairs) is
  lower at C than at M. E is none unless it stands off by 0.05 (the test loss has flattened), is not before G, and
  sum_w2 is lower at E than at C. Without C there is no E, without M neither.
Reads
  train_acc_frac and test_acc_frac (every evaluation); test_loss_nats, excluded_train_loss_nats,
  restricted_all_loss_nats and sum_w2 (every checkpoint). A task without excluded loss has no boundaries.
Unit and range
  steps (count of updates), M < C < E, each a checkpoint; so no finer than the snapshots.
Value at a known point
  y level until step 1000, then straight down until 2000, then level, excluded loss least at 300: 300, 1000, 2000.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 5, describe the phases and name their ends by eye (1.4k, 9.4k and
  14k steps in the main run): excluded loss rises and restricted loss falls in circuit formation, sum_w2 and test
  loss fall in cleanup. This rule is ours.";

/// Level of accuracy that counts as generalising, and how many evaluations in a row must be there.
const GENERALISES: (f64, usize) = (0.90, SUSTAINED);
/// Test accuracy below which a replica that has learnt its training split has only memorised.
const GAP_FRAC: f64 = 0.50;
/// How far a bend must stand off its line, as a fraction of the whole fall of y.
const BEND_FRAC: f64 = 0.05;
/// Test losses below this are as good as it, nats: y must not follow rounding down to −∞.
const FLOOR_NATS: f64 = 1e-12;

/// The ends of the three phases, steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Boundaries {
    /// End of memorisation.
    pub memorisation_end_step: Option<u64>,
    /// End of circuit formation.
    pub circuit_end_step: Option<u64>,
    /// End of cleanup.
    pub cleanup_end_step: Option<u64>,
}

/// The ends of the phases of one replica, by the rule of [`EXPLAIN`].
pub fn boundaries(curves: &Curves) -> Boundaries {
    let none = Boundaries::default();
    let Some(generalises) = generalises_after_gap(curves) else {
        return none;
    };
    let Some(memorised) = memorisation_end(&curves.excluded_train_loss_nats, generalises) else {
        return none;
    };
    let (circuit, cleanup) = bends(curves, memorised, generalises);
    Boundaries { memorisation_end_step: Some(memorised), circuit_end_step: circuit, cleanup_end_step: cleanup }
}

/// The step from which a replica that first only memorised generalises.
fn generalises_after_gap(curves: &Curves) -> Option<u64> {
    let (level, in_a_row) = GENERALISES;
    let generalises = curves.test_acc_frac.sustained_at_least(level, in_a_row)?;
    let memorises = curves.train_acc_frac.first_at_least(level)?;
    (curves.test_acc_frac.at(memorises)? < GAP_FRAC).then_some(generalises)
}

/// The least excluded loss before `until`, if it is not the first point and rises afterwards.
fn memorisation_end(excluded: &Curve, until: u64) -> Option<u64> {
    let before = excluded.points().take_while(|&(step, _)| step < until);
    let (end, least) = before.min_by(|(_, x), (_, y)| x.total_cmp(y))?;
    let after: Vec<f64> = excluded.points().filter(|&(step, _)| step > end).map(|(_, x)| x).collect();
    let rises = after.windows(3).any(|three| three.iter().all(|&x| x >= 1.1 * least + 0.1));
    (end > 0 && rises).then_some(end)
}

/// Ends of circuit formation and of cleanup: the two bends of the test loss's fall.
fn bends(curves: &Curves, memorised: u64, generalises: u64) -> (Option<u64>, Option<u64>) {
    let y = log_least(&curves.test_loss_nats, memorised);
    // G is an evaluation, maybe between two checkpoints: the first one from G on may still hold the bend.
    let g = y.iter().position(|&(step, _)| step >= generalises).unwrap_or(y.len().saturating_sub(1));
    let Some(&(last_step, floor)) = y.last().filter(|_| y.len() >= 3) else {
        return (None, None);
    };
    let fall = y[0].1 - floor;
    let last = y.len() - 1;
    // Both bends at once: each is sought with the other held, until neither moves (nearly always the second time).
    let (mut c, mut e) = (0, first_near(&y, floor + 0.1 * fall));
    for _ in 0..16 {
        let found = furthest(&y, 0, e, 0..=g.min(e), 1.0);
        let end = furthest(&y, found, last, found..=last, -1.0);
        let settled = (found, end) == (c, e);
        (c, e) = (found, end);
        if settled {
            break;
        }
    }
    let stands_off = |bend: usize, from: usize, to: usize| off_line(&y, from, to, bend).abs() >= BEND_FRAC * fall;
    let falls = |curve: &Curve, from: u64, to: u64| match (curve.at(from), curve.at(to)) {
        (Some(before), Some(after)) => after < before,
        _ => false,
    };
    let (c_step, e_step) = (y[c].0, y[e].0);
    if fall <= 0.0 || !stands_off(c, 0, e) || !falls(&curves.restricted_all_loss_nats, memorised, c_step) {
        return (None, None);
    }
    let flat = stands_off(e, c, last) && e_step < last_step && e_step >= generalises;
    (Some(c_step), (flat && falls(&curves.sum_w2, c_step, e_step)).then_some(e_step))
}

/// Logarithm of the least loss since `from`, at every point from there on.
fn log_least(loss: &Curve, from: u64) -> Vec<(u64, f64)> {
    let mut least = f64::INFINITY;
    let points = loss.points().filter(|&(step, x)| step >= from && x.is_finite());
    points
        .map(|(step, x)| {
            least = least.min(x.max(FLOOR_NATS));
            (step, least.ln())
        })
        .collect()
}

/// Index of the first point at or below `level`.
fn first_near(y: &[(u64, f64)], level: f64) -> usize {
    y.iter().position(|&(_, value)| value <= level).unwrap_or(y.len() - 1)
}

/// The point of `among` furthest above (`side` 1) or below (−1) the line through points `from` and `to`; of equal ones
/// the earliest.
fn furthest(y: &[(u64, f64)], from: usize, to: usize, among: std::ops::RangeInclusive<usize>, side: f64) -> usize {
    let mut best = (*among.start(), f64::NEG_INFINITY);
    for index in among {
        let distance = side * off_line(y, from, to, index);
        if distance > best.1 {
            best = (index, distance);
        }
    }
    best.0
}

/// How far point `index` lies above the line through points `from` and `to`.
fn off_line(y: &[(u64, f64)], from: usize, to: usize, index: usize) -> f64 {
    let (x0, y0) = (y[from].0 as f64, y[from].1);
    let (x1, y1) = (y[to].0 as f64, y[to].1);
    let slope = if to > from { (y1 - y0) / (x1 - x0) } else { 0.0 };
    y[index].1 - (y0 + slope * (y[index].0 as f64 - x0))
}
