//! Tasks of real numbers, from a card to measures, figures and arrays; same bits for other threads and after an interruption.

use std::fs;
use std::path::Path;

use phaselab::checkpoint::hdf5;
use phaselab::forward::RunSeries;
use phaselab::tensor::Tensor;

use crate::cli::{lab, phaselab, stdout, text};

const SPEC: &str = r#"task = "in_context_regression_64_tasks"

[data]
test_examples = 12

[model]
n_layers = 2
d_model = 16
n_heads = 2
d_mlp = 32

[loss]
kind = "mse"

[train]
steps = 8
seeds = "0..2"
batch_size = 8
eval_every = 4
snapshots = { every = 4 }

[measure]
names = ["error_by_position", "error_by_label"]

[figure]
names = ["in_context_errors"]
"#;

fn params(dir: &Path, run: &str, step: u64) -> Vec<Tensor> {
    phaselab::checkpoint::open_snapshots(&dir.join(run)).unwrap().read(step).unwrap().params
}

fn found<'a>(tensors: &'a [Tensor], name: &str) -> &'a Tensor {
    tensors.iter().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn a_regression_is_trained_measured_drawn_and_read_by_others() {
    let dir = lab();
    let folder = dir.path().join("experiments/91_regression");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("experiment.toml"), SPEC).unwrap();
    stdout(dir.path(), &["run", "regression"], 1);
    let run = dir.path().join("checkpoints/regression");
    for (file, columns) in [
        ("measures/error_by_position.csv", ["test_error", "bayes_error"]),
        ("measures/error_by_label.csv", ["fresh", "ridge_error"]),
        ("figures/in_context_errors.csv", ["answers_before", "least_squares_error"]),
    ] {
        let csv = fs::read_to_string(run.join(file)).unwrap();
        assert!(columns.iter().all(|column| csv.contains(column)), "{file}: {}", &csv[..csv.len().min(500)]);
    }
    // What a measure of classes says to it.
    let output = phaselab(dir.path(), &["measure", "regression", "loss_by_position"]);
    assert!(text(&output.stderr).contains("the task has no class targets"), "{}", text(&output.stderr));

    stdout(dir.path(), &["cache", "regression", "--hooks", "hook_embed", "--out", "seen.h5"], 0);
    let tensors = hdf5::read(&dir.path().join("seen.h5")).unwrap().tensors;
    let (x, y) = (found(&tensors, "x"), found(&tensors, "y"));
    assert_eq!((x.shape.as_slice(), y.shape.as_slice()), (&[12, 31, 6][..], &[12, 16, 1][..]));
    // Each y stands among the inputs of the next position.
    let (x, y) = (x.to_f64(), y.to_f64());
    assert!((0..15).all(|point| x[(2 * point + 1) * 6 + 5] == y[point]));
    let embedded = found(&tensors, "activations/hook_embed");
    let w_e = params(dir.path(), "checkpoints/regression", 8);
    let w_e = found(&w_e, "embed.W_E").row(0).unwrap().to_f64();
    for (row, embedded) in embedded.to_f64().chunks_exact(16).enumerate() {
        for (i, &embedded) in embedded.iter().enumerate() {
            let exact: f64 = (0..6).map(|j| x[row * 6 + j] * w_e[j * 16 + i]).sum();
            assert!((embedded - exact).abs() < 1e-12, "row {row}: {embedded} is not {exact}");
        }
    }
    let run = RunSeries::open(&run, 1).unwrap();
    assert!(run.fitting_measures().contains(&"error_by_position") && !run.fitting_measures().contains(&"loss"));
}

#[test]
fn threads_and_an_interruption_change_no_bit() {
    let dir = lab();
    fs::write(dir.path().join("regression.toml"), SPEC).unwrap();
    let train = |more: &[&str]| {
        stdout(dir.path(), &[&["train", "regression.toml", "--quiet"][..], more].concat(), 0);
    };
    train(&["--threads", "1", "--out", "one"]);
    train(&["--threads", "4", "--out", "four"]);
    train(&["--threads", "2", "--out", "again", "--steps", "5"]);
    train(&["--threads", "2", "--out", "again", "--resume"]);
    train(&["--threads", "2", "--out", "alone", "--seeds", "1"]);
    let one = params(dir.path(), "one", 8);
    assert_eq!(one, params(dir.path(), "four", 8));
    assert_eq!(one, params(dir.path(), "again", 8));
    for (all, alone) in one.iter().zip(params(dir.path(), "alone", 8)) {
        assert_eq!(all.row(1).unwrap().to_f64(), alone.row(0).unwrap().to_f64(), "{}", all.name);
    }
}

#[test]
fn what_reads_tokens_is_refused() {
    let dir = lab();
    fs::write(dir.path().join("regression.toml"), SPEC).unwrap();
    for (set, told) in [
        ("loss.kind=cross_entropy", "it must be mse: there are no classes"),
        ("model.tied_unembed=true", "there are no tokens to read out with their embeddings"),
        ("model.init=torch", "another rule: this one starts models of tokens"),
        ("data.stream=false", "split.examples: missing"),
    ] {
        let output = phaselab(dir.path(), &["train", "regression.toml", "--quiet", "--set", set]);
        assert!(text(&output.stderr).contains(told), "{set}: {}", text(&output.stderr));
        assert!(!dir.path().join("checkpoints").exists(), "{set}");
    }
}

/// A finite set, which is split, by an MLP: the numbers of all positions side by side.
#[test]
fn an_mlp_reads_them_too() {
    let dir = lab();
    let sets =
        ["data.stream=false", "data.examples=40", "data.train_frac=0.5", "model.family=mlp", "model.join=concat"];
    fs::write(dir.path().join("regression.toml"), SPEC).unwrap();
    let mut args = vec!["train", "regression.toml", "--quiet", "--out", "mlp"];
    for set in sets.iter().chain(&["model.n_layers=1", "measure.names=[\"error_by_position\"]"]) {
        args.extend(["--set", set]);
    }
    stdout(dir.path(), &args, 0);
}
