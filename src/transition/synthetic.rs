//! Test curves with known phases: grokking, and the ways of not doing so.

use super::*;

/// Straight lines through (step, value) corners, every ten steps to the last corner.
fn line(corners: &[(u64, f64)]) -> Curve {
    let last = corners[corners.len() - 1].0;
    let steps: Vec<u64> = (0..=last / 10).map(|i| i * 10).collect();
    let value = |step: u64| {
        let right = corners.iter().position(|&(s, _)| s >= step).expect("invariant: step is within the corners");
        let ((x1, y1), (x0, y0)) = (corners[right], corners[right.saturating_sub(1)]);
        if x1 == x0 { y1 } else { y0 + (y1 - y0) * (step - x0) as f64 / (x1 - x0) as f64 }
    };
    Curve { values: steps.iter().map(|&step| value(step)).collect(), steps }
}

fn exp(curve: Curve) -> Curve {
    Curve { values: curve.values.iter().map(|x| x.exp()).collect(), ..curve }
}

/// Memorises by 200, circuit from 300, cleanup from 1000 to 2000, flat to 3000.
fn grokks() -> Curves {
    Curves {
        seed: 1,
        train_loss_nats: exp(line(&[(0, 1.5), (300, -9.0), (3000, -14.0)])),
        train_acc_frac: line(&[(0, 0.0), (200, 1.0), (3000, 1.0)]),
        test_acc_frac: line(&[(0, 0.0), (900, 0.1), (1100, 1.0), (3000, 1.0)]),
        test_loss_nats: exp(line(&[(0, 1.4), (200, 2.5), (300, 2.4), (1000, 2.3), (2000, -12.0), (3000, -12.1)])),
        excluded_train_loss_nats: exp(line(&[(0, 1.4), (300, -3.0), (1200, 1.8), (3000, 1.5)])),
        restricted_all_loss_nats: exp(line(&[(0, 1.4), (200, 1.3), (1500, -9.0), (3000, -13.0)])),
        sum_w2: line(&[(0, 900.0), (200, 1400.0), (1000, 1300.0), (2000, 700.0), (3000, 690.0)]),
        ..Curves::default()
    }
}

fn ends(curves: &Curves) -> [Option<u64>; 3] {
    let found = boundaries(curves);
    [found.memorisation_end_step, found.circuit_end_step, found.cleanup_end_step]
}

#[test]
fn thresholds_of_a_replica_that_grokks() {
    let found = phases(&grokks());
    // Accuracy is step/200 in training; 0.1 + 0.9 (step − 900)/200 in test.
    assert_eq!((found.train_90_step, found.train_99_step), (Some(180), Some(200)));
    assert_eq!((found.test_90_step, found.test_99_step), (Some(1080), Some(1100)));
    assert_eq!(found.test_99_sustained_step, Some(1100));
    assert_eq!(found.delay_steps, Some(900));
    assert_eq!(found.seed, 1);
}

/// Up over 0.1 nats after below 0.01, twice; between the two it takes no new spike to stay above 0.01.
#[test]
fn spikes_of_the_training_loss_are_counted_where_it_is_in_nats() {
    let mut curves = grokks();
    assert_eq!(phases(&curves).train_loss_spikes, None);
    let values = [4.0, 0.5, 0.009, 0.05, 0.1, 0.02, 0.3, 0.005, 0.09, 0.2, 0.001];
    let steps: Vec<u64> = (0..values.len() as u64).collect();
    curves.train_loss_evals_nats = Curve::new(&steps, &values);
    assert_eq!(phases(&curves).train_loss_spikes, Some(2));
}

#[test]
fn the_corners_of_a_run_that_grokks_are_found() {
    assert_eq!(ends(&grokks()), [Some(300), Some(1000), Some(2000)]);
}

#[test]
fn spikes_of_the_test_loss_move_nothing() {
    let mut curves = grokks();
    for index in [60, 110, 150, 230, 290] {
        curves.test_loss_nats.values[index] = 3000.0;
    }
    assert_eq!(ends(&curves), [Some(300), Some(1000), Some(2000)]);
}

#[test]
fn a_long_slow_tail_and_a_slow_start_do_not_hide_the_steep_part() {
    let mut curves = grokks();
    let corners = [(0, 1.4), (300, 2.4), (800, 2.3), (1000, 0.9), (1300, -8.0), (3000, -12.0)];
    curves.test_loss_nats = exp(line(&corners));
    assert_eq!(ends(&curves), [Some(300), Some(1000), Some(1300)]);
}

#[test]
fn a_run_stopped_within_the_fall_has_no_end_of_cleanup() {
    let mut curves = grokks();
    curves.test_loss_nats = exp(line(&[(0, 1.4), (300, 2.4), (1000, 2.3), (1500, -5.0)]));
    assert_eq!(ends(&curves), [Some(300), Some(1000), None]);
}

#[test]
fn a_straight_fall_has_no_bend_between_circuit_formation_and_cleanup() {
    let mut curves = grokks();
    curves.test_loss_nats = exp(line(&[(0, 1.4), (300, 2.4), (2000, -12.0), (3000, -12.0)]));
    assert_eq!(ends(&curves), [Some(300), None, None]);
}

#[test]
fn weights_that_grow_are_no_cleanup_and_restricted_loss_must_fall() {
    let mut grows = grokks();
    grows.sum_w2 = line(&[(0, 900.0), (3000, 2000.0)]);
    assert_eq!(ends(&grows), [Some(300), Some(1000), None]);
    let mut stays = grokks();
    stays.restricted_all_loss_nats = line(&[(0, 4.0), (3000, 4.5)]);
    assert_eq!(ends(&stays), [Some(300), None, None]);
}

#[test]
fn never_memorises_never_groks_or_has_no_gap_means_no_phases() {
    let mut never_learns = grokks();
    never_learns.train_acc_frac = line(&[(0, 0.0), (3000, 0.3)]);
    never_learns.test_acc_frac = line(&[(0, 0.0), (3000, 0.1)]);
    assert_eq!(ends(&never_learns), [None; 3]);
    assert_eq!(phases(&never_learns).train_90_step, None);

    let mut memorises_only = grokks();
    memorises_only.test_acc_frac = line(&[(0, 0.0), (3000, 0.25)]);
    memorises_only.test_loss_nats = exp(line(&[(0, 1.4), (3000, 3.5)]));
    assert_eq!(ends(&memorises_only), [None; 3]);
    assert_eq!((phases(&memorises_only).train_99_step, phases(&memorises_only).delay_steps), (Some(200), None));

    let mut at_once = grokks();
    at_once.test_acc_frac = line(&[(0, 0.0), (210, 1.0), (3000, 1.0)]);
    assert_eq!(ends(&at_once), [None; 3]);
    assert_eq!(phases(&at_once).delay_steps, Some(10));
}

#[test]
fn excluded_loss_that_never_rises_or_was_not_measured_leaves_memorisation_open() {
    let mut falls = grokks();
    falls.excluded_train_loss_nats = exp(line(&[(0, 1.4), (3000, -12.0)]));
    assert_eq!(ends(&falls), [None; 3]);
    falls.excluded_train_loss_nats = Curve::default();
    assert_eq!(ends(&falls), [None; 3]);
    assert_eq!(ends(&Curves::default()), [None; 3], "nothing measured");
}

#[test]
fn a_replica_that_meets_nan_midway_keeps_what_it_passed() {
    let mut curves = grokks();
    curves.non_finite = true;
    for curve in [&mut curves.test_acc_frac, &mut curves.test_loss_nats, &mut curves.excluded_train_loss_nats] {
        curve.values.iter_mut().skip(60).for_each(|x| *x = f64::NAN);
    }
    let found = phases(&curves);
    assert!(found.non_finite && found.train_99_step == Some(200) && found.test_90_step.is_none(), "{found:?}");
    assert_eq!(ends(&curves), [None; 3]);
}

#[test]
fn the_rule_is_written_under_the_five_headings() {
    let headings: Vec<&str> = explain().lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(headings, ["What it is", "Reads", "Unit and range", "Value at a known point", "Source"]);
    assert!(explain().lines().all(|line| line.len() <= 120));
}

/// `tests/fixtures/phases_p53.csv`, made by `phases.py` beside it.
#[test]
fn the_bends_of_a_real_run_are_where_the_eye_puts_them() {
    let text = include_str!("../../tests/fixtures/phases_p53.csv");
    let names: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    let column = |name: &str| {
        let at = names.iter().position(|&n| n == name).expect("the fixture has it");
        let number =
            |line: &str, at: usize| -> f64 { line.split(',').nth(at).and_then(|x| x.parse().ok()).expect("one") };
        let points = text.lines().skip(1).map(|line| (number(line, 0) as u64, number(line, at)));
        let (steps, values) = points.unzip();
        Curve { steps, values }
    };
    let curves = Curves {
        train_loss_nats: column("train_loss_nats"),
        test_loss_nats: column("test_loss_nats"),
        train_acc_frac: column("train_acc_frac"),
        test_acc_frac: column("test_acc_frac"),
        restricted_all_loss_nats: column("restricted_all_loss_nats"),
        excluded_train_loss_nats: column("excluded_train_loss_nats"),
        sum_w2: column("sum_w2"),
        ..Curves::default()
    };
    let [memorised, circuit, cleanup] = ends(&curves).map(|end| end.expect("all three phases end"));
    assert_eq!(memorised, 100, "the least excluded loss");
    assert!((500..=640).contains(&circuit), "{circuit}");
    assert!((1160..=1400).contains(&cleanup), "{cleanup}");
}
