//! Schedules, seeds and resolved specs at known points.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

fn due(schedule: &Snapshots, last: u64) -> Vec<u64> {
    (0..=last).filter(|&step| schedule.due(step)).collect()
}

#[test]
fn snapshot_rules_alone_and_together() {
    let none = Snapshots::default();
    assert_eq!(due(&none, 100), [0]);
    assert_eq!(due(&Snapshots { every: Some(40), ..none.clone() }, 100), [0, 40, 80]);
    assert_eq!(due(&Snapshots { powers_of_two: true, ..none.clone() }, 20), [0, 1, 2, 4, 8, 16]);
    let powers_then = Snapshots { powers_then_every: Some(1000), ..none.clone() };
    assert_eq!(due(&powers_then, 2100), [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000]);
    let together = Snapshots { every: Some(50), windows: vec![[10, 14, 2]], list: vec![13], ..none };
    assert_eq!(due(&together, 60), [0, 10, 12, 13, 14, 50]);
}

#[test]
fn seeds_are_written_as_they_are_read() {
    for (text, seeds) in [("0..3", vec![0, 1, 2]), ("7", vec![7]), ("5..6", vec![5])] {
        assert_eq!(text.parse::<Seeds>().unwrap().0, seeds);
    }
    for bad in ["3..3", "a..b", "-1..2", "0..100000", "9223372036854775808"] {
        assert!(bad.parse::<Seeds>().is_err(), "{bad}");
    }
    assert!(Seeds::try_from(SeedsText::List(vec![1, 2, 1])).is_err());
}

#[test]
fn a_resolved_spec_reads_back_equal() {
    let mut spec = Spec { title: "a \"title\"".into(), ..Spec::default() };
    spec.optim.clip_norm = Some(0.5);
    spec.train.seeds = Seeds(vec![4, 9]);
    spec.train.snapshots = Snapshots { windows: vec![[1, 9, 2]], list: vec![3], ..Snapshots::default() };
    spec.train.stop = Some(Stop { metric: StopMetric::TestLossNats, threshold: 1e-2, evals: 3, extra_steps: 100 });
    let text = spec.to_toml();
    let source = Source { path: Path::new("run.toml"), text: &text, sets: &[] };
    assert_eq!(from_toml(source, Spec::faults).unwrap(), spec);
}

#[test]
fn key_frequencies_are_a_rule_or_a_list_and_anything_else_is_explained() {
    let read = |set: &str| {
        let sets = [set.to_owned()];
        let source = Source { path: Path::new("spec"), text: "", sets: &sets };
        from_toml(source, Spec::faults).map_err(|e| e.cause().join("\n"))
    };
    let of = |set: &str| read(set).map(|spec| spec.measure.key_freqs);
    for rule in KeyRule::ALL {
        assert_eq!(of(&format!("measure.key_freqs={}", rule.name())), Ok(KeyFreqsBy::Rule(*rule)));
    }
    assert_eq!(of("measure.key_freqs=[14, 35]"), Ok(KeyFreqsBy::List(vec![14, 35])));
    for bad in ["[]", "[0]", "[3, 3]"] {
        let why = of(&format!("measure.key_freqs={bad}"));
        assert!(why.as_ref().is_err_and(|why| why.contains("is not a list of frequencies")), "{bad}: {why:?}");
    }
    assert!(of("measure.key_freqs=w_m").is_err_and(|why| why.contains("known: w_e, w_e_norm, w_l, neurons")));
    let two = Spec { model: ModelSpec { d_mlp: 0, ..ModelSpec::default() }, ..Spec::default() };
    let measure =
        MeasureSpec { key_freqs: KeyFreqsBy::Rule(KeyRule::Neurons), key_frac: 0.0, key_norm: -1.0, ..two.measure };
    let keys: Vec<String> = Spec { measure, ..two }.faults().into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["measure.key_freqs", "measure.key_frac", "measure.key_norm"]);
    // A spec that was written before the keys were there reads as the default.
    let old = Spec::default().to_toml();
    let old: String = old
        .lines()
        .filter(|line| !line.starts_with("key_") && !line.starts_with("basis_"))
        .map(|line| format!("{line}\n"))
        .collect();
    let source = Source { path: Path::new("spec"), text: &old, sets: &[] };
    assert_eq!(from_toml(source, Spec::faults).ok(), Some(Spec::default()));
}
