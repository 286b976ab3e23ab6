//! Arms of an experiment side by side: when their replicas crossed a threshold, how many did, and their curves.
//!
//! Reads [`ArmsInput`], one [`Arm`] for each setting that was trained with several seeds; writes `arms_steps` (steps to the
//! threshold, with rates), `arms_accuracy` (median test accuracy over training) and `arms_NAME` for each further
//! [`Quantity`], each as `.svg`, `.png` and `.csv`, with the same bytes each time.
//!
//! Where every arm has its own `x`, arms stand over an axis of it; else each is a row with its label, in the order given.
//! A replica that never crossed is not left out: medians and quartiles of steps count it as later than all others.

use std::path::{Path, PathBuf};

use super::arms_points::{Beyond, Points};
use super::{Sink, arms_curves, save};
use crate::error::{Error, Result};
use crate::measure::Series;

/// Unit of counts of updates.
const STEP: &str = "step";

/// An experiment with several arms, ready to be drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArmsInput {
    /// Title of the experiment.
    pub title: String,
    /// What [`Arm::x`] counts, with its unit: `training fraction of the pairs`.
    pub x_label: String,
    /// Whether the axis of `x` is logarithmic; needs every `x` above 0.
    pub x_log: bool,
    /// What is crossed, as in `steps to …`: `0.99 test accuracy`.
    pub threshold: String,
    /// The arms, in the order in which they are shown where `x` does not order them.
    pub arms: Vec<Arm>,
    /// Further numbers, a figure each.
    pub quantities: Vec<Quantity>,
}

/// One setting, trained with several seeds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arm {
    /// What it is called: `weight decay 1`, `Grokfast`.
    pub label: String,
    /// Where it stands on the axis, if the experiment varies a number.
    pub x: Option<f64>,
    /// `[R]` the replicas.
    pub seeds: Vec<u64>,
    /// `[R]` count of updates at which each crossed the threshold; `None` for those that never did.
    pub steps_to_threshold: Vec<Option<u64>>,
    /// How many updates were trained: as long as those that never crossed were watched.
    pub trained_steps: u64,
    /// Test accuracy (fraction) over training, of any number of replicas; an arm without it has no curve.
    pub test_acc_frac: Option<Series>,
}

/// One more number a replica, to be compared over the arms.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantity {
    /// Name of its column, and of the file: `arms_NAME`.
    pub name: String,
    /// Axis label with the unit: `delay (updates)`.
    pub label: String,
    /// Unit as CSV files have it.
    pub unit: String,
    /// Whether its axis is logarithmic; what such an axis cannot show (0, negative numbers) is not drawn.
    pub log: bool,
    /// `[arms][R]` one number a replica, in the order of the arms and of their seeds; `None` where there is none. No number of steps
    /// counts as more than all others: what is waited for did not come.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Draws every figure that `input` has the numbers for into `folder`; gives the paths, three a figure.
///
/// # Errors
/// [`Error::Value`] without arms, [`Error::Shape`] where the numbers are not one a seed; [`Error::Draw`] and
/// [`Error::Io`] from writing.
pub fn draw(input: &ArmsInput, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for (name, sink) in figures(input)? {
        paths.extend(save::save(&sink, &name, folder)?);
    }
    Ok(paths)
}

/// Draws a figure for each of `input`'s quantities alone, as [`draw`] does: for arms in which nothing is waited for.
///
/// # Errors
/// As [`draw`].
pub fn draw_quantities(input: &ArmsInput, folder: &Path) -> Result<Vec<PathBuf>> {
    check(input)?;
    let mut paths = vec![];
    for quantity in &input.quantities {
        paths.extend(save::save(&points(input, quantity), &format!("arms_{}", quantity.name), folder)?);
    }
    Ok(paths)
}

fn points(input: &ArmsInput, quantity: &Quantity) -> Sink {
    let beyond = if quantity.unit == STEP { Beyond::Later { rates: false } } else { Beyond::Nowhere };
    Points { input, quantity, beyond }.draw()
}

/// Every figure and the stem of its files.
fn figures(input: &ArmsInput) -> Result<Vec<(String, Sink)>> {
    check(input)?;
    let steps = steps(input);
    let of_steps = Points { input, quantity: &steps, beyond: Beyond::Later { rates: true } };
    let mut figures = vec![("arms_steps".into(), of_steps.draw())];
    if input.arms.iter().any(|arm| arm.test_acc_frac.as_ref().is_some_and(|acc| acc.steps.len() > 1)) {
        figures.push(("arms_accuracy".into(), arms_curves::draw(input)));
    }
    let further = input.quantities.iter().map(|quantity| (format!("arms_{}", quantity.name), points(input, quantity)));
    figures.extend(further);
    Ok(figures)
}

/// Steps to the threshold as a quantity.
fn steps(input: &ArmsInput) -> Quantity {
    let of_arm = |arm: &Arm| arm.steps_to_threshold.iter().map(|step| step.map(|step| step as f64)).collect();
    Quantity {
        name: "steps_to_threshold".into(),
        label: format!("steps to {} (updates)", input.threshold),
        unit: STEP.into(),
        log: true,
        values: input.arms.iter().map(of_arm).collect(),
    }
}

fn check(input: &ArmsInput) -> Result<()> {
    if input.arms.is_empty() {
        return Err(Error::Value { what: "arms".into(), got: "an empty list".into(), expected: "at least one".into() });
    }
    let shape = |op: String, expected: usize, got: usize| match expected == got {
        true => Ok(()),
        false => Err(Error::Shape { op, expected: expected.to_string(), got: got.to_string() }),
    };
    for arm in &input.arms {
        let op = format!("steps_to_threshold of arm `{}`, one a seed", arm.label);
        shape(op, arm.seeds.len(), arm.steps_to_threshold.len())?;
    }
    for quantity in &input.quantities {
        shape(format!("{}, a list an arm", quantity.name), input.arms.len(), quantity.values.len())?;
        for (arm, values) in input.arms.iter().zip(&quantity.values) {
            shape(format!("{} of arm `{}`, one a seed", quantity.name, arm.label), arm.seeds.len(), values.len())?;
        }
    }
    Ok(())
}

impl ArmsInput {
    /// Every arm's place on the axis, where all have one that the axis can show and no two share it.
    pub(super) fn xs(&self) -> Option<Vec<f64>> {
        let can_show = |x: &f64| x.is_finite() && (!self.x_log || *x > 0.0);
        let xs: Vec<f64> = self.arms.iter().map(|arm| arm.x.filter(can_show)).collect::<Option<_>>()?;
        let mut sorted = xs.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.windows(2).all(|pair| pair[0] < pair[1]).then_some(xs)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{check::faults, svg};
    use super::*;

    fn accuracy(steps: &[u64], seeds: u64, middle: f64) -> Series {
        let at = |step: u64, r: u64| 1.0 / (1.0 + (middle * (1.0 + r as f64 / 9.0) / (step as f64 + 1e-3)).powi(4));
        Series {
            measure: "metrics".into(),
            column: "test_acc_frac".into(),
            unit: "fraction".into(),
            key_freqs: None,
            steps: steps.to_vec(),
            seeds: (0..seeds).collect(),
            axis: None,
            values_srw: steps.iter().flat_map(|&step| (0..seeds).map(move |r| at(step, r))).collect(),
        }
    }

    /// Arms at `xs`; the later the larger x is, and seed r is one in ten later than seed r - 1.
    fn made_up(xs: &[Option<f64>], seeds: u64) -> ArmsInput {
        let arm = |(i, &x): (usize, &Option<f64>)| {
            let middle = 300.0 * (i + 1) as f64;
            let step = |r: u64| (r + (i as u64) < seeds + 1).then_some((middle * (1.0 + r as f64 / 10.0)) as u64);
            Arm {
                label: format!("arm {i}, \"{}\"", x.map_or("named".into(), |x| x.to_string())),
                x,
                seeds: (0..seeds).collect(),
                steps_to_threshold: (0..seeds).map(step).collect(),
                trained_steps: 5000,
                test_acc_frac: Some(accuracy(&[0, 10, 100, 300, 500, 1000, 2000, 5000], seeds, middle)),
            }
        };
        let arms: Vec<Arm> = xs.iter().enumerate().map(arm).collect();
        let delay = |arm: &Arm| arm.steps_to_threshold.iter().map(|s| s.map(|s| s as f64 - 90.0)).collect();
        let delay = Quantity {
            name: "delay_steps".into(),
            label: "delay (updates)".into(),
            unit: "step".into(),
            log: false,
            values: arms.iter().map(delay).collect(),
        };
        ArmsInput {
            title: "Made-up <arms> & more".into(),
            x_label: "weight decay (no unit)".into(),
            x_log: true,
            threshold: "0.99 test accuracy".into(),
            arms,
            quantities: vec![delay],
        }
    }

    const XS: [Option<f64>; 5] = [Some(0.3), Some(0.5), Some(1.0), Some(2.0), Some(5.0)];

    fn table(input: &ArmsInput, name: &str) -> String {
        figures(input).unwrap().into_iter().find(|(stem, _)| stem == name).unwrap().1.table.text()
    }

    #[test]
    fn a_replica_that_never_crossed_counts_as_later_than_all_others() {
        let mut input = made_up(&[Some(1.0)], 5);
        input.arms[0].steps_to_threshold = vec![Some(100), None, Some(300), Some(200), None];
        let rows = |input: &ArmsInput| {
            let text = table(input, "arms_steps");
            let start = "steps_to_threshold,step,\"arm 0, \"\"1\"\"\",1,";
            text.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect::<Vec<_>>()
        };
        let expected =
            ["0,100", "1,", "2,300", "3,200", "4,", "first_quartile,200", "median,300", "third_quartile,inf"];
        assert_eq!(rows(&input), expected);
        input.arms[0].steps_to_threshold[0] = None;
        assert_eq!(rows(&input)[5..], ["first_quartile,300", "median,inf", "third_quartile,inf"]);
        let text = table(&input, "arms_steps");
        let rate =
            |what: &str| text.lines().find(|line| line.contains(what)).unwrap().rsplit(',').next().unwrap().to_owned();
        assert_eq!([rate(",crossed,"), rate(",replicas,"), rate(",rate,")], ["2", "5", "0.4"]);
        // So does a delay that never ended; other numbers have the spread of the replicas that have one.
        input.quantities[0].values[0] = vec![Some(10.0), None, Some(30.0), Some(20.0), None];
        let delays = table(&input, "arms_delay_steps");
        assert!(delays.contains(",median,30\n") && delays.contains(",1,1,\n"), "{delays}");
        assert!(!delays.contains(",crossed,"), "{delays}");
        input.quantities[0].unit = "1".into();
        assert!(table(&input, "arms_delay_steps").contains(",median,20\n"));
    }

    #[test]
    fn both_lay_outs_say_what_they_show_and_nothing_overlaps_or_leaves_the_page() {
        let named: Vec<Option<f64>> = vec![None; 6];
        let many: Vec<Option<f64>> = (0..16).map(|i| Some(f64::from(i) / 2.0)).collect();
        let long = {
            let mut input = made_up(&named, 4);
            input.title = "A title that goes on and on ".repeat(9);
            input.arms[1].label = "a label with far more words than a row has room for, by any measure".into();
            input
        };
        let cases = [
            ("numbers", made_up(&XS, 8)),
            ("one arm", made_up(&XS[..1], 3)),
            ("one replica", made_up(&XS, 1)),
            ("no replicas", made_up(&XS, 0)),
            ("100 replicas", made_up(&XS, 100)),
            ("names", made_up(&named, 8)),
            ("30 names", made_up(&[None; 30], 3)),
            ("16 numbers", ArmsInput { x_log: false, ..made_up(&many, 3) }),
            ("0 on a log axis", made_up(&[Some(0.0), Some(1.0)], 3)),
            ("long", long),
        ];
        for (case, input) in &cases {
            for (name, sink) in figures(input).unwrap() {
                assert_eq!(faults(&sink.drawing), Vec::<String>::new(), "{case}: {name}");
                let text = svg::svg(&sink.drawing).unwrap();
                assert!(!text.contains("NaN") && !text.contains("inf"), "{case}: {name}");
            }
        }
        let text = |i: usize, k: usize| svg::svg(&figures(&cases[i].1).unwrap()[k].1.drawing).unwrap();
        for label in
            ["weight decay (no unit, log scale)", "steps to 0.99 test accuracy", "(updates, log scale)", "8/8", "never"]
        {
            assert!(text(0, 0).contains(label), "no {label:?}");
        }
        for label in ["arm 5, \"named\"", "steps to 0.99 test accuracy", "4/8"] {
            assert!(text(5, 0).contains(label), "no {label:?}");
        }
        for label in ["test accuracy (fraction)", "step (updates, log scale)", "arm 3, \"2\""] {
            assert!(text(0, 1).contains(label), "no {label:?}");
        }
        assert!(text(0, 2).contains("delay (updates)"));
    }

    #[test]
    fn values_that_no_axis_can_show_are_in_the_table_and_not_in_the_picture() {
        let mut input = made_up(&XS, 3);
        input.quantities[0].log = true;
        for (i, odd) in [f64::NAN, f64::INFINITY, 0.0, -1.0, f64::NEG_INFINITY].into_iter().enumerate() {
            input.quantities[0].values[i][0] = Some(odd);
        }
        input.arms[0].test_acc_frac.as_mut().unwrap().values_srw[4] = f64::NAN;
        input.arms[1].test_acc_frac = None;
        for (name, sink) in figures(&input).unwrap() {
            assert_eq!(faults(&sink.drawing), Vec::<String>::new(), "{name}");
            assert!(!svg::svg(&sink.drawing).unwrap().contains("inf"), "{name}");
        }
        assert!(table(&input, "arms_delay_steps").contains(",0,inf\n"));
        assert!(!table(&input, "arms_accuracy").contains("arm 1"), "an arm without a curve has no rows");
    }

    #[test]
    fn the_same_arms_give_the_same_files() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let input = made_up(&XS, 8);
        let paths = draw(&input, first.path()).unwrap();
        let again = draw(&input, second.path()).unwrap();
        let names: Vec<&str> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        let stems = ["arms_steps", "arms_accuracy", "arms_delay_steps"];
        let expected: Vec<String> =
            stems.iter().flat_map(|stem| ["svg", "png", "csv"].map(|end| format!("{stem}.{end}"))).collect();
        assert_eq!(names, expected);
        for (path, again) in paths.iter().zip(&again) {
            assert!(std::fs::read(path).unwrap() == std::fs::read(again).unwrap(), "{} differs", path.display());
        }
    }

    #[test]
    fn numbers_that_are_not_one_a_seed_are_refused() {
        let error = |change: &dyn Fn(&mut ArmsInput)| {
            let mut input = made_up(&XS, 3);
            change(&mut input);
            figures(&input).unwrap_err().to_string()
        };
        assert!(error(&|input| input.arms.clear()).contains("arms is an empty list"));
        assert!(error(&|input| input.arms[2].steps_to_threshold.push(None)).contains("of arm `arm 2"));
        assert!(error(&|input| drop(input.quantities[0].values.pop())).contains("delay_steps, a list an arm"));
        assert!(error(&|input| input.quantities[0].values[1].clear()).contains("delay_steps of arm `arm 1"));
    }
}
