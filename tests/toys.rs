//! Toy models of superposition: gradients against candle, and the program from a spec to its files.

use std::fs;

use candle_core::{D, Device, Result, Tensor, Var};
use phaselab::checkpoint::hdf5;
use phaselab::engine::tiny::{Loss, TILE, Tile};
use phaselab::spec::{Act, ToyAct, ToyLoss, ToySpec, Widths};
use phaselab::toy::{BatchAt, Examples, Network, Stream};

use crate::cli::{phaselab, stdout, text};

fn act(x: &Tensor, act: &ToyAct) -> Result<Tensor> {
    let softmax = |x: &Tensor| {
        let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
        e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
    };
    match act {
        ToyAct::Each(Act::Identity) => Ok(x.clone()),
        ToyAct::Each(Act::Relu) => x.relu(),
        ToyAct::Each(Act::Gelu) => (x * 0.5)?.mul(&((x / 2f64.sqrt())?.erf()? + 1.0)?),
        ToyAct::Each(Act::Abs) => x.abs(),
        ToyAct::Softmax => softmax(x),
        ToyAct::Solu => x * softmax(x)?,
        other => panic!("the witness does not know {other:?}"),
    }
}

/// Loss and every gradient of networks of each kind, against the formulas with candle's basic operations, in f64.
#[test]
fn candle_gives_the_same_losses_and_gradients() {
    let each = ToyAct::Each;
    let untied = ToySpec { tied: false, hidden_bias: true, ..ToySpec::default() };
    let cases = [
        ToySpec::default(),
        ToySpec { bias: false, act: each(Act::Gelu), ..ToySpec::default() },
        ToySpec { act: ToyAct::Softmax, n_features: 7, d_hidden: Widths(vec![3]), ..ToySpec::default() },
        ToySpec { hidden_act: each(Act::Relu), target: "abs(x)".into(), ..untied.clone() },
        ToySpec { act: ToyAct::Softmax, loss: ToyLoss::CrossEntropy, ..untied.clone() },
        ToySpec { d_hidden: Widths(vec![6, 4]), hidden_act: ToyAct::Solu, act: each(Act::Abs), ..untied },
    ];
    for spec in cases {
        let replica = &spec.replicas(&[7]).unwrap()[0];
        let network = Network::new(&spec);
        let mut params = network.start::<f64>(&spec, std::slice::from_ref(replica));
        // At 0 itself, where biases start, candle's ReLU has slope 1 and ours 0, as PyTorch's.
        for (id, info) in network.layout.infos.iter().enumerate().filter(|(_, info)| info.shape.len() == 1) {
            params.set(0, id, (0..info.len()).map(|i| 0.05 - 0.03 * i as f64));
        }
        let (examples, n) = (TILE + 40, spec.n_features);
        let (rule, stream) = (Examples::new(&spec, replica), Stream::training(7));
        let importance: Vec<f64> = (0..n).map(|i| 1.0 / (1 + i) as f64).collect();
        let (mut scratch, mut grads) = (network.net.scratch(), vec![0.0; network.layout.stride]);
        let (mut x_bn, mut y_bn) = (vec![], vec![]);
        let loss = Loss { examples, importance: &importance, scale: 1.0 };
        let ours =
            network.net.loss_and_grads(params.replica(0), &mut grads, loss, &mut scratch, |tile: Tile<'_, f64>| {
                rule.fill(&stream, BatchAt { number: 3, examples }, tile.first, tile.lanes, tile.x);
                rule.targets(tile.x, tile.lanes, tile.y);
                for b in 0..TILE.min(examples - tile.first) {
                    x_bn.extend(tile.x[b..].iter().step_by(tile.lanes));
                    y_bn.extend(tile.y[b..].iter().step_by(tile.lanes));
                }
            });
        let vars: Vec<Var> = (network.layout.infos.iter().enumerate())
            .map(|(id, info)| Var::from_vec(params.get(0, id).collect(), info.shape.as_slice(), &Device::Cpu).unwrap())
            .collect();
        let theirs = witness(&spec, &network, &vars, (x_bn, y_bn, examples), &importance).unwrap();
        let value: f64 = theirs.to_scalar().unwrap();
        assert!((ours / value - 1.0).abs() < 1e-12, "{spec:?}: {ours} against {value}");
        let all = theirs.backward().unwrap();
        for (var, info) in vars.iter().zip(&network.layout.infos) {
            let expected: Vec<f64> = all.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let found = &grads[info.offset..][..info.len()];
            let largest = expected.iter().fold(1e-3, |top, x| f64::max(top, x.abs()));
            let far = found.iter().zip(&expected).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(far < 1e-12 * largest, "{}: {found:?} against {expected:?}", info.name);
        }
    }
}

fn witness(
    spec: &ToySpec,
    network: &Network,
    vars: &[Var],
    (x, y, examples): (Vec<f64>, Vec<f64>, usize),
    importance: &[f64],
) -> Result<Tensor> {
    let param = |name: &str| network.layout.find(name).map(|id| vars[id].as_tensor());
    let n = spec.n_features;
    let mut a = Tensor::from_vec(x, (examples, n), &Device::Cpu)?;
    let y = Tensor::from_vec(y, (examples, n), &Device::Cpu)?;
    for l in 0..spec.d_hidden.0.len() {
        let w = param(if spec.tied { "W" } else { ["W_0", "W_1"][l] }).unwrap();
        let mut z = a.matmul(&w.t()?)?;
        if let Some(b) = param(["b_0", "b_1"][l]) {
            z = z.broadcast_add(b)?;
        }
        a = act(&z, &spec.hidden_act)?;
    }
    let mut z = if spec.tied { a.matmul(param("W").unwrap())? } else { a.matmul(&param("W_out").unwrap().t()?)? };
    if let Some(b) = param("b_out") {
        z = z.broadcast_add(b)?;
    }
    let importance = Tensor::from_slice(importance, (1, n), &Device::Cpu)?;
    let a = act(&z, &spec.act)?;
    let each = match spec.loss {
        ToyLoss::SquaredError => (a - y)?.sqr()?,
        ToyLoss::CrossEntropy => y.mul(&a.log()?)?.neg()?,
    };
    each.broadcast_mul(&importance)?.sum_all()? / examples as f64
}

const TOY: &str = r#"title = "Tiny toys"

[toy]
n_features = 4
d_hidden = 2
importance = "pow(0.8, i)"
feature_prob = "density"

[[toy.grid]]
name = "density"
values = [1.0, 0.1]

[optim]
kind = "adam"
lr = 1e-2
weight_decay = 0.0
warmup_steps = 0

[train]
steps = 90
batch_size = 100
seeds = "0..3"
eval_every = 30
snapshots = { every = 30 }
"#;

#[test]
fn a_run_of_toys_leaves_all_its_files_and_the_same_bits_on_any_threads() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("toys.toml"), TOY).unwrap();
    let run =
        |threads: &str, out: &str| stdout(dir.path(), &["run", "toys.toml", "--threads", threads, "--out", out], 0);
    let told = run("1", "one");
    assert!(told.contains("density  replicas  best loss  median") && told.contains(" 6 replicas in "), "{told}");
    run("2", "two");
    let params = |out: &str| hdf5::read(&dir.path().join(out).join("run.h5")).unwrap().tensors;
    // As text, since accuracies that there are not are NaN.
    assert!(format!("{:?}", params("one")) == format!("{:?}", params("two")), "the same bits");
    let names: Vec<String> = params("one").into_iter().map(|tensor| tensor.name).collect();
    for name in ["params/W", "params/b_out", "seeds", "grid/density", "metrics/test_loss"] {
        assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
    }
    for file in ["feature_directions.svg", "feature_gram.png", "feature_courses.csv", "feature_dimensionality.svg"] {
        assert!(dir.path().join("one/figures").join(file).is_file(), "{file}");
    }
    for measure in ["features", "polytopes", "population_loss", "weight_norm"] {
        assert!(dir.path().join(format!("one/measures/{measure}.csv")).is_file(), "{measure}");
    }
    let summary = fs::read_to_string(dir.path().join("one/summary.csv")).unwrap();
    assert!(summary.starts_with("seed,density,train_loss,test_loss,"), "{summary}");
    assert_eq!(summary.lines().count(), 7);
    // The exact loss is what evaluations estimate, each with the density of its replica.
    let head: Vec<&str> = summary.lines().next().unwrap().split(',').collect();
    let column = |name: &str| head.iter().position(|known| *known == name).unwrap();
    for row in summary.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
        let [test, exact] = ["test_loss", "population_loss"].map(|name| row[column(name)].parse::<f64>().unwrap());
        assert!((test / exact - 1.0).abs() < 0.15, "{test} estimated, {exact} exact");
    }
    // Going on to more steps gives what a longer run gives.
    stdout(dir.path(), &["train", "toys.toml", "--steps", "150", "--out", "long"], 0);
    stdout(dir.path(), &["train", "toys.toml", "--steps", "150", "--resume", "--out", "one"], 0);
    let last =
        |out: &str| params(out).into_iter().filter(|tensor| tensor.name.starts_with("params/")).collect::<Vec<_>>();
    assert_eq!(last("one"), last("long"));
    let shown = stdout(dir.path(), &["show", "two"], 0);
    assert!(shown.contains("4 of uniform(0.0, 1.0) values") && shown.contains("grid: 2 of density"), "{shown}");
    let drawn = stdout(dir.path(), &["figure", "two", "feature_directions", "--step", "30"], 0);
    assert!(drawn.contains("feature_directions.svg"), "{drawn}");
    let drawn = stdout(dir.path(), &["figure", "two", "feature_directions", "--animate"], 0);
    assert_eq!(drawn.lines().count(), 2, "{drawn}");
    let page = fs::read_to_string(dir.path().join("two/figures/feature_directions.html")).unwrap();
    assert_eq!(page.matches("data-step=").count(), 4, "one frame a checkpoint");
    let check = stdout(dir.path(), &["check", "two"], 0);
    assert!(check.contains("run.h5"), "{check}");
}

/// Variants of toy models have one table and one figure, over the axis that they share or as rows.
#[test]
fn variants_of_toys_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let arms = TOY.replace(
        "[toy]",
        "[[arms]]\nname = \"relu\"\nset = [\"toy.act=relu\"]\n\n[[arms]]\nname = \"softmax\"\n\
         set = [\"toy.act=softmax\", \"toy.loss=cross_entropy\"]\n\n[toy]",
    );
    fs::write(dir.path().join("arms.toml"), &arms).unwrap();
    let names = ["--set", "measure.names=[\"features\", \"privileged_basis\"]"];
    let told = stdout(dir.path(), &[&["run", "arms.toml", "--out", "arms"][..], &names].concat(), 0);
    assert!(told.contains("variant  density  replicas  best loss  median") && told.contains("softmax"), "{told}");
    let summary = fs::read_to_string(dir.path().join("arms/summary.csv")).unwrap();
    assert!(summary.starts_with("variant,seed,density,train_loss,test_loss,"), "{summary}");
    assert_eq!(summary.lines().filter(|line| line.starts_with("softmax,")).count(), 6);
    let table = fs::read_to_string(dir.path().join("arms/figures/arms_measures.csv")).unwrap();
    // Four numbers, two arms, six replicas: features represented, dimensions for each, privileged basis, loss.
    assert_eq!(table.lines().count(), 1 + 4 * 2 * 6, "{table}");
    let json = stdout(dir.path(), &["show", "arms", "--format", "json"], 0);
    assert!(json.contains("\"variants\"") && json.contains("\"privileged_basis\""), "{json}");
    let alone =
        arms.replace("[[toy.grid]]\nname = \"density\"\nvalues = [1.0, 0.1]\n", "").replace("\"density\"", "0.1");
    fs::write(dir.path().join("alone.toml"), alone).unwrap();
    stdout(dir.path(), &[&["run", "alone.toml", "--out", "alone"][..], &names].concat(), 0);
    for name in ["arms_privileged_basis.svg", "arms_test_loss.png"] {
        assert!(dir.path().join("alone/figures").join(name).is_file(), "{name}");
    }
}

#[test]
fn what_toy_models_do_not_have_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("toys.toml"), TOY).unwrap();
    stdout(dir.path(), &["train", "toys.toml", "--out", "run"], 0);
    for (args, message) in [
        (&["measure", "run", "gini"][..], "gini, but "),
        (&["figure", "run", "phase_diagram"], "the grid has 1 axes, not two"),
        (&["figure", "run", "grid_losses", "--animate", "--step", "30"], "--step"),
        (&["measure", "run", "class_accuracy"], "the models do not classify"),
        (&["measure", "run", "data_dimensionality"], "examples are fresh at every step"),
        (&["run", "toys.toml", "--out", "b", "--set", "toy.loss=cross_entropy"], "set it to `softmax`"),
        (&["cache", "run", "--hooks", "logits", "--out", "x.npz"], "a run of a task"),
        (&["export", "run", "--to", "safetensors", "--out", "x.safetensors"], "toy"),
        (&["run", "toys.toml", "--out", "b", "--set", "measure.names=[\"loss\"]"], "loss, but "),
    ] {
        let output = phaselab(dir.path(), args);
        let stderr = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)) && stderr.contains(message), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}
