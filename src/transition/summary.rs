//! Replicas -> `summary.csv` and the few numbers that a run is told by.
//!
//! Reads the phases, key frequencies and final losses of each replica; writes one row a replica, and rates and medians
//! over them. Steps in counts of updates.

use std::io::{self, Write};

use crate::measure::Field;
use crate::transition::{Curves, Rate, ReplicaPhases, Spread, phases};

/// One replica, summed up.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct SummaryRow {
    /// Its thresholds and phases.
    #[serde(flatten)]
    pub phases: ReplicaPhases,
    /// Key frequencies by rule `w_l` at the last checkpoint, ascending; empty where the task has none.
    pub key_freqs: Vec<usize>,
    /// Last training loss, nats; NaN where there is none, as for the next three.
    pub final_train_loss_nats: f64,
    /// Last test loss, nats.
    pub final_test_loss_nats: f64,
    /// Last training accuracy, fraction.
    pub final_train_acc_frac: f64,
    /// Last test accuracy, fraction.
    pub final_test_acc_frac: f64,
}

impl SummaryRow {
    /// The row of a replica, from its curves.
    pub fn new(curves: &Curves, key_freqs: Vec<usize>) -> SummaryRow {
        SummaryRow {
            phases: phases(curves),
            key_freqs,
            final_train_loss_nats: curves.train_loss_nats.last(),
            final_test_loss_nats: curves.test_loss_nats.last(),
            final_train_acc_frac: curves.train_acc_frac.last(),
            final_test_acc_frac: curves.test_acc_frac.last(),
        }
    }
}

/// Rates and medians over the replicas of a run.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Training accuracy at least 0.99 at three evaluations in a row.
    pub memorised: Rate,
    /// Test accuracy at least 0.99 at three evaluations in a row.
    pub grokked: Rate,
    /// Met a non-finite value.
    pub non_finite: Rate,
    /// First crossing of 0.99 training accuracy, steps.
    pub train_99_step: Spread,
    /// First crossing of 0.99 test accuracy, steps.
    pub test_99_step: Spread,
    /// From the one to the other, steps.
    pub delay_steps: Spread,
    /// End of memorisation, step.
    pub memorisation_end_step: Spread,
    /// End of circuit formation, step.
    pub circuit_end_step: Spread,
    /// End of cleanup, step.
    pub cleanup_end_step: Spread,
}

impl Summary {
    /// Over all replicas of a run.
    pub fn of(rows: &[SummaryRow]) -> Summary {
        let rate =
            |did: fn(&ReplicaPhases) -> bool| Rate::of(rows.iter().filter(|row| did(&row.phases)).count(), rows.len());
        let spread = |step: fn(&ReplicaPhases) -> Option<f64>| Spread::of(rows.iter().map(|row| step(&row.phases)));
        Summary {
            memorised: rate(|phases| phases.train_99_sustained_step.is_some()),
            grokked: rate(|phases| phases.test_99_sustained_step.is_some()),
            non_finite: rate(|phases| phases.non_finite),
            train_99_step: spread(|phases| phases.train_99_step.map(|step| step as f64)),
            test_99_step: spread(|phases| phases.test_99_step.map(|step| step as f64)),
            delay_steps: spread(|phases| phases.delay_steps.map(|steps| steps as f64)),
            memorisation_end_step: spread(|phases| phases.memorisation_end_step.map(|step| step as f64)),
            circuit_end_step: spread(|phases| phases.circuit_end_step.map(|step| step as f64)),
            cleanup_end_step: spread(|phases| phases.cleanup_end_step.map(|step| step as f64)),
        }
    }
}

/// Writes `summary.csv`: one row a replica; what never happened is an empty field, key frequencies stand as `14 35 41`.
///
/// # Errors
/// Those of `out`.
pub fn write_summary(rows: &[SummaryRow], out: &mut dyn Write) -> io::Result<()> {
    for (index, row) in rows.iter().enumerate() {
        let fields = fields(row);
        if index == 0 {
            writeln!(out, "{}", fields.each_ref().map(|&(name, _)| name).join(","))?;
        }
        writeln!(out, "{}", fields.map(|(_, value)| value).join(","))?;
    }
    out.flush()
}

/// Writes the `summary.csv` of an experiment with variants: one row a variant and replica, the name of the variant and the
/// value of the swept key (empty where there is none, or no number) first.
///
/// # Errors
/// Those of `out`.
pub fn write_variants_summary(variants: &[(&str, Option<f64>, &[SummaryRow])], out: &mut dyn Write) -> io::Result<()> {
    let head = fields(&SummaryRow::default()).map(|(name, _)| name).join(",");
    writeln!(out, "variant,x,{head}")?;
    for (name, x, rows) in variants {
        let x = Field(x.unwrap_or(f64::NAN));
        for row in *rows {
            writeln!(out, "{name},{x},{}", fields(row).map(|(_, value)| value).join(","))?;
        }
    }
    out.flush()
}

/// Names and values of a row, in file order.
fn fields(row: &SummaryRow) -> [(&'static str, String); 20] {
    let step = |step: Option<u64>| step.map(|step| step.to_string()).unwrap_or_default();
    let number = |x: f64| Field(x).to_string();
    let p = &row.phases;
    [
        ("seed", p.seed.to_string()),
        ("non_finite", p.non_finite.to_string()),
        ("train_90_step", step(p.train_90_step)),
        ("train_99_step", step(p.train_99_step)),
        ("test_90_step", step(p.test_90_step)),
        ("test_99_step", step(p.test_99_step)),
        ("train_90_sustained_step", step(p.train_90_sustained_step)),
        ("train_99_sustained_step", step(p.train_99_sustained_step)),
        ("test_90_sustained_step", step(p.test_90_sustained_step)),
        ("test_99_sustained_step", step(p.test_99_sustained_step)),
        ("delay_steps", p.delay_steps.map(|steps| steps.to_string()).unwrap_or_default()),
        ("train_loss_spikes", p.train_loss_spikes.map(|count| count.to_string()).unwrap_or_default()),
        ("memorisation_end_step", step(p.memorisation_end_step)),
        ("circuit_end_step", step(p.circuit_end_step)),
        ("cleanup_end_step", step(p.cleanup_end_step)),
        ("key_freqs", row.key_freqs.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")),
        ("final_train_loss_nats", number(row.final_train_loss_nats)),
        ("final_test_loss_nats", number(row.final_test_loss_nats)),
        ("final_train_acc_frac", number(row.final_train_acc_frac)),
        ("final_test_acc_frac", number(row.final_test_acc_frac)),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows() -> Vec<SummaryRow> {
        let phases = ReplicaPhases {
            seed: 3,
            train_99_step: Some(130),
            train_99_sustained_step: Some(140),
            test_99_step: Some(900),
            test_99_sustained_step: Some(910),
            delay_steps: Some(770),
            train_loss_spikes: Some(2),
            ..ReplicaPhases::default()
        };
        let grokked = SummaryRow {
            phases,
            key_freqs: vec![14, 35, 41],
            final_train_loss_nats: 2.4e-7,
            final_test_loss_nats: 0.5,
            final_train_acc_frac: 1.0,
            final_test_acc_frac: f64::NAN,
        };
        let never = SummaryRow {
            phases: ReplicaPhases { seed: 4, train_99_step: Some(150), ..ReplicaPhases::default() },
            ..SummaryRow::default()
        };
        vec![grokked, never]
    }

    #[test]
    fn a_row_a_replica_with_empty_fields_for_what_never_happened() {
        let mut out = vec![];
        write_summary(&rows(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("seed,non_finite,train_90_step,train_99_step,"), "{}", lines[0]);
        assert_eq!(lines[1], "3,false,,130,,900,,140,,910,770,2,,,,14 35 41,2.4e-7,0.5,1,");
        assert_eq!(lines[2], "4,false,,150,,,,,,,,,,,,,0,0,0,0");
    }

    #[test]
    fn variants_stand_before_the_rows_of_each() {
        let (rows, mut out) = (rows(), vec![]);
        write_variants_summary(&[("decay_0.3", Some(0.3), &rows[..1]), ("gelu", None, &rows[1..])], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let starts: Vec<&str> = text.lines().map(|line| &line[..16]).collect();
        assert_eq!(starts, ["variant,x,seed,n", "decay_0.3,0.3,3,", "gelu,,4,false,,1"]);
    }

    #[test]
    fn medians_are_over_the_replicas_that_got_there_and_say_how_many() {
        let summary = Summary::of(&rows());
        assert_eq!((summary.grokked.successes, summary.grokked.n), (1, 2));
        assert_eq!(summary.train_99_step, Spread { with_value: 2, n: 2, quartiles: Some([135.0, 140.0, 145.0]) });
        assert_eq!(summary.test_99_step, Spread { with_value: 1, n: 2, quartiles: Some([900.0; 3]) });
        assert_eq!(summary.circuit_end_step.quartiles, None);
    }
}
