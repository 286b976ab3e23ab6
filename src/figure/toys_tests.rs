//! Figures of toy models, on runs whose geometry is known.

#![allow(clippy::unwrap_used)]

use std::f64::consts::TAU;

use super::*;
use crate::engine::Hook;
use crate::measure::{Examples, SnapshotSource, ToySetting};
use crate::spec::{Act, GridAxis, PerFeature, Sets, ToyAct, ToyInit, ToySpec, Widths};
use crate::tensor::{Data, Tensor};

/// Replicas at every point of a grid, with given directions.
struct Made {
    toy: ToySpec,
    steps: Vec<u64>,
    seeds: Vec<u64>,
    w_rmn: Vec<f64>,
}

impl Made {
    /// Two seeds at each point; `w(point, seed, i)` is the direction of feature i.
    fn new(toy: ToySpec, w: impl Fn(&[f64], usize, usize) -> Vec<f64>) -> Made {
        let replicas = toy.replicas(&[0, 1]).unwrap();
        let (n, m) = (toy.n_features, toy.d_hidden.0[0]);
        let mut w_rmn = vec![0.0; replicas.len() * m * n];
        for (r, replica) in replicas.iter().enumerate() {
            for i in 0..n {
                for (j, x) in w(&replica.point, r % 2, i).into_iter().enumerate() {
                    w_rmn[(r * m + j) * n + i] = x;
                }
            }
        }
        Made { seeds: replicas.iter().map(|replica| replica.seed).collect(), toy, steps: vec![0, 100], w_rmn }
    }

    /// Losses: the second seed of every point is the better one.
    fn losses(&self) -> Series {
        let n = self.seeds.len();
        Series {
            measure: "metrics".into(),
            column: "test_loss".into(),
            unit: "1".into(),
            key_freqs: None,
            steps: vec![100],
            seeds: self.seeds.clone(),
            axis: None,
            values_srw: (0..n).map(|r| if r % 2 == 0 { 0.5 } else { 0.25 }).collect(),
        }
    }

    fn draw(&self, name: &str, at: At) -> Result<(Sink, String)> {
        self.draw_with(name, at, self.losses())
    }

    fn draw_with(&self, name: &str, at: At, losses: Series) -> Result<(Sink, String)> {
        let series = [losses];
        let input = FigureInput { title: "A <toy> & more", series: &series, phases: &[], probe: Some(self), at };
        let (figure, mut sink) = (find(name).unwrap(), Sink::default());
        figure.fits(&self.setting()).map_err(|got| Error::Value { what: name.into(), got, expected: String::new() })?;
        figure.draw(&input, &mut sink)?;
        assert_eq!(check::faults(&sink.drawing), Vec::<String>::new(), "{name}");
        let text = svg::svg(&sink.drawing).unwrap();
        Ok((sink, text))
    }
}

impl SnapshotSource for Made {
    fn steps(&self) -> &[u64] {
        &self.steps
    }

    fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    fn train_mask_rn(&self) -> &[bool] {
        &[]
    }

    fn params(&self, _: u64) -> Result<Vec<Tensor>> {
        let shape = vec![self.seeds.len(), self.toy.d_hidden.0[0], self.toy.n_features];
        Ok(vec![Tensor::new("W", shape, Data::F32(self.w_rmn.iter().map(|x| *x as f32).collect()))?])
    }
}

impl Probe for Made {
    fn setting(&self) -> Setting<'_> {
        let nothing = Examples::default();
        let replicas = self.toy.replicas(&[0, 1]).unwrap().into();
        Setting {
            toy: Some(ToySetting { spec: &self.toy, replicas, descent_rate: Some(0.1) }),
            ..Setting::new(nothing, &[])
        }
    }

    fn activations(&self, _: u64, _: usize, _: &[Hook]) -> Result<Vec<Tensor>> {
        Ok(vec![])
    }
}

fn axis(name: &str, values: &[f64]) -> GridAxis {
    GridAxis { name: name.into(), values: values.to_vec(), ..GridAxis::default() }
}

/// A pentagon for the better seeds, antipodal pairs for the others.
fn pentagons(densities: &[f64]) -> Made {
    let toy = ToySpec {
        feature_prob: PerFeature::Expr("density".into()),
        importance: PerFeature::Expr("pow(0.9, i)".into()),
        grid: vec![axis("density", densities)],
        ..ToySpec::default()
    };
    Made::new(toy, |_, seed, i| {
        let turns = if seed == 1 { i as f64 / 5.0 } else { 0.5 * i as f64 };
        vec![libm::cos(TAU * turns), libm::sin(TAU * turns)]
    })
}

#[test]
fn the_best_seed_of_each_point_is_shown_or_the_one_that_was_asked_for() {
    let run = pentagons(&[1.0, 0.1]);
    let (sink, text) = run.draw("feature_directions", At::default()).unwrap();
    for words in
        ["density 1<", "density 0.1<", "the best of 2 seeds, step 100", "importance (no unit)", "A &lt;toy&gt;"]
    {
        assert!(text.contains(words), "{words}");
    }
    let rows: Vec<Vec<String>> =
        sink.table.text().lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert_eq!(rows.len(), 10);
    // Seeds 1 and 3 are the second ones; the table goes from the last feature to the first.
    assert_eq!((&rows[0][0][..], &rows[0][1][..], &rows[0][3][..]), ("density 1", "1", "4"));
    assert_eq!((&rows[9][0][..], &rows[9][1][..], &rows[9][4][..]), ("density 0.1", "3", "1"));
    let x: f64 = rows[8][5].parse().unwrap();
    assert!((x - libm::cos(TAU / 5.0)).abs() < 1e-6);
    let (one, text) = run.draw("feature_directions", At { seed: Some(0), step: Some(0), ..At::default() }).unwrap();
    assert_eq!(one.table.text().lines().count(), 6);
    assert!(text.contains("step 0") && !text.contains("density 0.1<"));
}

#[test]
fn products_and_interference_are_those_of_the_directions() {
    let (sink, text) = pentagons(&[1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01]).draw("feature_gram", At::default()).unwrap();
    assert!(text.contains("density 1<") && text.contains("density 0.01<") && text.contains("interference"));
    let table = sink.table.text();
    let lines: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(lines.len(), 5 * 25, "five of seven points");
    let fields: Vec<&str> = lines[1].split(',').collect();
    let [product, interference] = [5, 6].map(|i| fields[i].parse::<f64>().unwrap());
    assert!((product - libm::cos(TAU / 5.0)).abs() < 1e-6);
    // Of five corners: 2 cos² 72° + 2 cos² 144° = 3/2.
    assert!((interference - 1.5).abs() < 1e-5, "{interference}");
}

#[test]
fn dimensionality_is_drawn_over_density_for_every_replica() {
    let run = pentagons(&[1.0, 0.1, 0.02]);
    let (sink, text) = run.draw("feature_dimensionality", At::default()).unwrap();
    for words in ["1 / density (log scale)", "dimensionality (no unit)", "2/3", "1/2", "count"] {
        assert!(text.contains(words), "{words}");
    }
    let table = sink.table.text();
    assert_eq!(table.lines().count(), 1 + 6 * 5);
    for line in table.lines().skip(1) {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().unwrap()).collect();
        // The better seeds have a pentagon; of the others feature 0, 2, 4 and 1, 3 share one dimension: 1/5 each.
        let expected = if fields[0] % 2.0 == 1.0 { 0.4 } else { 0.2 };
        assert!((fields[5] - expected).abs() < 1e-5, "{line}");
    }
    let alike = Made::new(ToySpec::default(), |_, _, _| vec![1.0, 0.0]);
    let error = alike.draw("feature_dimensionality", At::default()).unwrap_err().to_string();
    assert!(error.contains("all replicas have the same density"), "{error}");
}

#[test]
fn the_phase_diagram_compares_cells_with_the_least_exact_loss() {
    let toy = ToySpec {
        n_features: 2,
        d_hidden: Widths(vec![1]),
        feature_prob: PerFeature::Expr("density".into()),
        importance: PerFeature::Expr("pow(ratio, i)".into()),
        grid: vec![axis("ratio", &[0.1, 1.0, 10.0]), axis("density", &[0.02, 0.9])],
        ..ToySpec::default()
    };
    // Antipodal everywhere: right where features are sparse, wrong where they are dense.
    let run = Made::new(toy.clone(), |_, _, i| vec![if i == 0 { 1.0 } else { -1.0 }]);
    let (sink, text) = run.draw("phase_diagram", At::default()).unwrap();
    let table = sink.table.text();
    assert_eq!(table.lines().count(), 7);
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[5], "superposition");
        let expected = match (fields[0], fields[1]) {
            (_, "0.02") => "superposition",
            ("0.1", _) => "last feature not represented",
            ("10", _) => "has a dimension of its own",
            _ => continue,
        };
        assert_eq!(fields[7], expected, "{line}");
    }
    for words in ["% of cells agree", "least exact loss", "border by formula", "superposition<", "one dimension"] {
        assert!(text.contains(words), "{words}");
    }
    // Without the formula's axes there is no border, with other models no theory.
    let wide = ToySpec { n_features: 6, d_hidden: Widths(vec![2]), ..toy };
    let (_, text) = Made::new(wide, |_, _, _| vec![0.1, 0.0]).draw("phase_diagram", At::default()).unwrap();
    assert!(!text.contains("border by formula") && !text.contains("least exact loss") && text.contains("trained<"));
}

/// One feature at a time: levels of polygons beside the loss, the courses of every feature below.
#[test]
fn courses_show_levels_where_features_come_one_at_a_time() {
    let draw = |sets: Sets| {
        let toy = ToySpec { sets, n_features: 6, ..ToySpec::default() };
        let run = Made::new(toy, |_, _, i| vec![libm::cos(i as f64), libm::sin(i as f64)]);
        let steps = vec![1, 10, 100];
        let series = |measure: &str, column: &str, width: usize| Series {
            measure: measure.into(),
            column: column.into(),
            steps: steps.clone(),
            axis: (width > 1).then(|| crate::measure::Axis { name: "feature".into(), ticks: vec![0.0; width] }),
            values_srw: (0..3 * 2 * width).map(|i| 0.2 / (1.0 + i as f64)).collect(),
            ..run.losses()
        };
        let all = [series("metrics", "test_loss", 1), series("features", "dimensionality", 6)];
        let input = FigureInput { title: "courses", series: &all, phases: &[], probe: Some(&run), at: At::default() };
        let mut sink = Sink::default();
        find("feature_courses").unwrap().draw(&input, &mut sink).unwrap();
        assert_eq!(check::faults(&sink.drawing), Vec::<String>::new());
        assert_eq!(sink.table.text().lines().count(), 1 + 2 * 3 * (1 + 6));
        svg::svg(&sink.drawing).unwrap()
    };
    let (one_hot, independent) = (draw(Sets::OneHot), draw(Sets::None));
    for k in ["4+2", "5+1", "6"] {
        let label = format!(">{k}</text>");
        // An axis may have the same number.
        let count = |text: &str| text.matches(&label).count();
        assert_eq!(count(&one_hot), count(&independent) + 1, "{k}");
    }
    assert!(independent.contains("dimensionality (no unit)") && independent.contains("seed 1"));
}

/// Two colours and the best of them over the second axis; the better seed at each point.
#[test]
fn losses_are_drawn_over_the_last_axis_with_a_curve_for_each_value_of_the_first() {
    let toy =
        ToySpec { grid: vec![axis("rate", &[1.0, 3.0]), axis("count", &[3.0, 30.0, 300.0])], ..ToySpec::default() };
    let run = Made::new(toy.clone(), |_, _, _| vec![1.0, 0.0]);
    let loss = |column: &str, factor: f64| Series {
        column: column.into(),
        values_srw: (0..12).map(|r| factor * (1.0 + f64::from((r * 5) % 12))).collect(),
        ..run.losses()
    };
    let series = [loss("test_loss", 0.01), loss("train_loss", 0.001)];
    let draw = |at: At| {
        let input = FigureInput { title: "losses", series: &series, phases: &[], probe: Some(&run), at };
        let (figure, mut sink) = (find("grid_losses").unwrap(), Sink::default());
        figure.draw(&input, &mut sink).unwrap();
        assert_eq!(check::faults(&sink.drawing), Vec::<String>::new());
        (sink.table.text(), svg::svg(&sink.drawing).unwrap())
    };
    let (table, text) = draw(At::default());
    // Of seeds 0 and 1 of the first point the losses are 0.01 and 0.06.
    assert!(table.starts_with("first_axis,count,seed,test_loss,train_loss\n1,3,0,0.01,0.001\n"), "{table}");
    assert_eq!(table.lines().count(), 7);
    for words in ["rate: 1<", "rate: 3<", "best of them", "training loss", "count (log scale)"] {
        assert!(text.contains(words), "{words}");
    }
    assert_eq!(draw(At { seed: Some(2), ..At::default() }).0.lines().count(), 2);
    let wide = ToySpec { grid: vec![axis("rate", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), axis("count", &[3.0])], ..toy };
    let error = Made::new(wide, |_, _, _| vec![1.0, 0.0]).draw("grid_losses", At::default()).unwrap_err();
    assert!(error.to_string().contains("6 values of rate are too many colours"), "{error}");
}

/// A vector a point: W times the examples that training has.
#[test]
fn points_are_drawn_where_the_encoder_puts_them() {
    let toy = ToySpec {
        points: Some(PerFeature::Expr("count".into())),
        grid: vec![axis("count", &[3.0, 700.0])],
        ..ToySpec::default()
    };
    let run = Made::new(toy.clone(), |_, _, i| vec![1.0 + i as f64, -0.5]);
    let (sink, text) = run.draw("point_directions", At::default()).unwrap();
    let table = sink.table.text();
    assert_eq!(table.lines().count(), 1 + 3 + 500);
    assert!(text.contains("Hidden vectors of training points") && text.contains("count 700<"));
    let replica = &toy.replicas(&[0, 1]).unwrap()[1];
    let rows = crate::toy::Examples::new(&toy, replica).rows(&crate::toy::Stream::points(replica.seed), 3);
    for line in table.lines().filter(|line| line.starts_with("count 3,")) {
        let fields: Vec<f64> = line.split(',').skip(3).map(|field| field.parse().unwrap()).collect();
        let x_n = &rows[fields[0] as usize * 5..][..5];
        let expected: f64 = x_n.iter().enumerate().map(|(i, x)| x * (1.0 + i as f64)).sum();
        assert!((fields[2] - expected).abs() < 1e-6, "{line}: not {expected}");
    }
    let fresh = Made::new(ToySpec::default(), |_, _, _| vec![1.0, 0.0]);
    assert!(fresh.draw("point_directions", At::default()).unwrap_err().to_string().contains("fresh at every step"));
}

/// Two colours, a dot a replica; the median of two seeds lies between them.
#[test]
fn measures_are_drawn_over_the_last_axis_with_a_panel_a_number() {
    // A name that is wider than a panel.
    let long = "count of something that takes many words to say".to_owned();
    let count = GridAxis { label: Some(long), ..axis("count", &[3.0, 30.0, 300.0]) };
    let toy = ToySpec { grid: vec![axis("rate", &[1.0, 3.0]), count], ..ToySpec::default() };
    let run = Made::new(toy, |_, _, _| vec![1.0, 0.0]);
    let of = |measure: &str, column: &str| Series { measure: measure.into(), column: column.into(), ..run.losses() };
    let series = [of("features", "n_represented"), of("features", "dims_per_feature"), of("metrics", "test_loss")];
    let draw = |series: &[Series]| {
        let input = FigureInput { title: "measures", series, phases: &[], probe: Some(&run), at: At::default() };
        let mut sink = Sink::default();
        find("grid_measures").unwrap().draw(&input, &mut sink)?;
        assert_eq!(check::faults(&sink.drawing), Vec::<String>::new());
        Ok::<_, Error>((sink.table.text(), svg::svg(&sink.drawing).unwrap()))
    };
    let (table, text) = draw(&series).unwrap();
    assert!(
        table.starts_with("curve,measure,column,seed,x,value\nrate: 1,features,n_represented,0,3,0.5\n"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 1 + 3 * 12);
    for words in
        ["rate: 1<", "rate: 3<", "features represented", "test loss (log scale)", "many words to say (log scale)<"]
    {
        assert!(text.contains(words), "{words}");
    }
    let error = draw(&series[2..]).unwrap_err();
    assert!(error.hint().unwrap().contains("phaselab measure"), "{error}");
}

/// Neurons in order of what they read most strongly.
#[test]
fn neurons_make_stairs() {
    let toy = ToySpec { n_features: 3, d_hidden: Widths(vec![3]), ..ToySpec::default() };
    // Neuron 0 reads feature 2, neuron 1 feature 0 negatively, neuron 2 feature 0 positively.
    let run = Made::new(toy, |_, _, i| [[0.1, -2.0, 2.0], [0.0, 0.0, 0.3], [1.0, 0.5, 0.0]][i].to_vec());
    let (sink, text) = run.draw("neuron_weights", At::default()).unwrap();
    let table = sink.table.text();
    let row = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert_eq!(row("seed 0,0,100,2,"), "seed 0,0,100,2,0,reads,0,2");
    assert_eq!(row("seed 0,0,100,1,"), "seed 0,0,100,1,1,reads,0,-2");
    assert!(row("seed 0,0,100,0,").starts_with("seed 0,0,100,0,2,reads,0,0.1"));
    assert_eq!(table.lines().count(), 1 + 2 * 2 * 9);
    assert!(text.contains("reads feature") && text.contains("writes output") && text.contains("seed 1<"));
}

#[test]
fn figures_of_toy_models_refuse_a_task_and_draw_what_is_not_finite() {
    let task = synthetic::run(&[1, 10], 1);
    for figure in ALL.iter().filter(|figure| figure.is_of_toys()) {
        assert!(figure.fits(&task.probe.setting()).is_err(), "{}", figure.name());
        assert!(!task.input().has_all_of(*figure));
    }
    let mut run = pentagons(&[1.0, 0.1]);
    run.w_rmn[..30].fill(f64::NAN);
    for name in ["feature_directions", "feature_gram", "feature_dimensionality", "neuron_weights"] {
        assert!(!run.draw(name, At::default()).unwrap().1.contains("NaN"), "{name}");
    }
}

#[test]
fn transitions_have_a_dot_where_half_of_the_first_loss_is_gone_and_theory_beside_them() {
    let product = ToySpec {
        n_features: 1,
        d_hidden: Widths(vec![1]),
        tied: false,
        bias: false,
        act: ToyAct::Each(Act::Identity),
        init: ToyInit::Equal,
        init_deviation: Some(PerFeature::Expr("start".into())),
        grid: vec![axis("start", &[0.01, 0.1])],
        ..ToySpec::default()
    };
    let run = Made::new(product.clone(), |_, _, _| vec![0.0]);
    // The second seed of the second start never gets there.
    let course = [1.0, 1.0, 1.0, 1.0, 0.9, 0.5, 0.4, 0.8, 0.1, 0.1, 0.1, 0.6];
    let losses = Series { steps: vec![0, 50, 100], values_srw: course.to_vec(), ..run.losses() };
    let (sink, text) = run.draw_with("transition_steps", At::default(), losses.clone()).unwrap();
    let table = sink.table.text();
    let rows: Vec<&str> = table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(rows, ["100", "50", "50", ""]);
    assert!(text.contains("gradient flow") && text.contains("step (updates, log scale)"));
    // A bias makes it another model, of which nothing is known.
    let other = Made::new(ToySpec { bias: true, ..product }, |_, _, _| vec![0.0]);
    assert!(!other.draw_with("transition_steps", At::default(), losses).unwrap().1.contains("gradient flow"));
}
