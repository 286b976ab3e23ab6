//! The program as a user meets it: texts, exit statuses, files in place, and going on after an interruption.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use phaselab::checkpoint::{Attr, Record, hdf5};
use phaselab::task::CARDS;
use phaselab::tensor::Tensor;
use tempfile::TempDir;

const CARD: &str = r#"title = "x + y mod 13"
family = "modular"

[params]
op = "x+y"
p = 13

[layout]
tokens = "a b ="

[split]
train_frac = 0.9

[[worked]]
in = [5, 10]
out = 2
"#;

/// Small enough for a debug build; seed 1 generalises near step 70.
const SPEC: &str = r#"title = "Tiny"
task = "thirteen"

[model]
d_model = 32
n_heads = 2
d_mlp = 64

[optim]
lr = 1e-2
weight_decay = 2.0

[train]
steps = 120
seeds = "0..2"
eval_every = 5
snapshots = { every = 20 }
"#;

/// A working folder with a task of its own and an experiment on it.
pub(crate) fn lab() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tasks")).unwrap();
    fs::create_dir_all(dir.path().join("experiments/90_tiny")).unwrap();
    fs::write(dir.path().join("tasks/thirteen.toml"), CARD).unwrap();
    fs::write(dir.path().join("experiments/90_tiny/experiment.toml"), SPEC).unwrap();
    dir
}

pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phaselab"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for name in ["NO_COLOR", "TERM", "COLUMNS", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn phaselab(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// stdout of a command that must exit with `status`.
pub(crate) fn stdout(dir: &Path, args: &[&str], status: i32) -> String {
    let output = phaselab(dir, args);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A command must exit with `status`, print nothing on stdout, and these lines on stderr.
#[track_caller]
fn fails(dir: &Path, args: &[&str], status: i32, lines: &[&str]) {
    let output = phaselab(dir, args);
    let stderr = text(&output.stderr);
    assert_eq!(stderr.trim_end().lines().collect::<Vec<_>>(), lines, "{args:?}");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(status), ""), "{args:?}");
}

#[test]
fn help_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("help", stdout(dir.path(), &["--help"], 0));
    insta::assert_snapshot!("help_run", stdout(dir.path(), &["run", "--help"], 0));
    insta::assert_snapshot!("explain_spec", stdout(dir.path(), &["explain", "spec"], 0));
    let bare = phaselab(dir.path(), &[]);
    assert_eq!(bare.status.code(), Some(2));
    assert!(bare.stdout.is_empty() && text(&bare.stderr).contains("Usage: phaselab"));
    assert_eq!(phaselab(dir.path(), &["frobnicate"]).status.code(), Some(2));
}

#[test]
fn every_name_in_a_list_explains_itself_and_has_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [("tasks", "tasks", "toml"), ("families", "src/task", "rs"), ("measures", "src/measure", "rs")];
    for (kind, folder, ending) in
        folders.into_iter().chain([("terms", "src/term", "rs"), ("figures", "src/figure", "rs")])
    {
        let list = stdout(dir.path(), &["list", kind], 0);
        assert!(!list.trim().is_empty(), "{kind}");
        for line in list.lines() {
            let (name, summary) = line.split_once(' ').unwrap();
            assert!(!summary.trim().is_empty(), "{name} has no summary");
            assert!(root.join(folder).join(format!("{name}.{ending}")).is_file(), "{name} has no file of its name");
            assert!(stdout(dir.path(), &["explain", name], 0).lines().count() > 4, "{name}");
        }
    }
    let experiments = stdout(dir.path(), &["list", "experiments"], 0);
    for line in experiments.lines() {
        let name = line.split(' ').next().unwrap();
        assert!(root.join("experiments").join(name).join("experiment.toml").is_file(), "{name}");
        assert!(stdout(dir.path(), &["explain", name], 0).contains("[train]"), "{name}");
    }
    for line in stdout(dir.path(), &["list", "models"], 0).lines() {
        let name = line.split(' ').next().unwrap();
        assert!(stdout(dir.path(), &["explain", name], 0).contains("[model]"), "{name}");
    }
    let all = stdout(dir.path(), &["list"], 0);
    assert!(experiments.lines().all(|line| all.contains(line)));
    assert_eq!(stdout(dir.path(), &["check"], 0).lines().count(), CARDS.len() + experiments.lines().count());
}

#[test]
fn samples_are_worked_examples_and_the_seed_chooses_them() {
    let dir = lab();
    let lines = stdout(dir.path(), &["sample", "thirteen", "-n", "4", "--seed", "3"], 0);
    assert_eq!(lines.lines().count(), 4);
    for line in lines.lines() {
        let numbers: Vec<u32> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        assert_eq!((numbers[0] + numbers[1]) % 13, numbers[2], "{line}");
    }
    assert_eq!(lines, stdout(dir.path(), &["sample", "tasks/thirteen.toml", "-n", "4", "--seed", "3"], 0));
    assert_ne!(lines, stdout(dir.path(), &["sample", "thirteen", "-n", "4"], 0));
}

#[test]
fn wrong_names_and_specs_are_told_with_cause_and_hint() {
    let dir = lab();
    let spec = "error: experiments/90_tiny/experiment.toml has 1 fault";
    let known = phaselab::experiment::list().into_iter().map(|name| name.split_once('_').unwrap().1.to_owned());
    let known = known.chain(["tiny".to_owned()]).collect::<Vec<_>>().join(", ");
    fails(
        dir.path(),
        &["run", "groking_quick"],
        2,
        &[
            "error: there is no experiment named `groking_quick`",
            &format!("cause: known: {known}"),
            "hint:  did you mean `grokking_quick`?",
        ],
    );
    let cause = "cause: optim.weigth_decay: unknown key; did you mean `weight_decay`?";
    fails(dir.path(), &["run", "tiny", "--set", "optim.weigth_decay=1"], 2, &[spec, cause]);
    let cause = "cause: model.n_heads: 5 heads do not divide d_model 32; set model.d_head, or another n_heads";
    fails(dir.path(), &["train", "90", "--set", "model.n_heads=5"], 2, &[spec, cause]);
    let cause = "cause: train.seeds: `0..x` is no range of seeds like `0..8`, nor a list like `0,3,7`";
    fails(dir.path(), &["train", "tiny", "--seeds", "0..x"], 2, &[spec, cause]);
    let empty = "error: train_frac is 0.001; it must be at least 1/169: the training split of 169 examples is empty";
    fails(dir.path(), &["run", "tiny", "--set", "data.train_frac=0.001"], 2, &[empty]);
    assert!(!dir.path().join("checkpoints").exists(), "nothing is written before the spec is known to be good");
    let output = phaselab(dir.path(), &["explain", "exclude_loss"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).ends_with("hint:  did you mean `excluded_loss`?\n"));
    let missing = [
        "error: the run is missing: checkpoints/tiny",
        "hint:  `phaselab run EXPERIMENT` makes a run folder under checkpoints/",
    ];
    fails(dir.path(), &["show", "tiny"], 3, &missing);
}

#[test]
fn faults_of_a_card_are_an_answer_of_check_and_an_error_elsewhere() {
    let dir = lab();
    fs::write(dir.path().join("tasks/thirteen.toml"), CARD.replace("x+y", "x/y").replace("p = 13", "p = 15")).unwrap();
    let fault =
        "line 6: params.p: 15 = 3 · 5 is not a prime, so 1 / 3 does not exist; take a prime p, or another operation";
    fails(
        dir.path(),
        &["sample", "thirteen"],
        2,
        &["error: tasks/thirteen.toml has 1 fault", &format!("cause: {fault}")],
    );
    let told = stdout(dir.path(), &["check", "tasks/thirteen.toml"], 1);
    assert_eq!(told, format!("faults   tasks/thirteen.toml\n           {fault}\n"));
    fs::write(dir.path().join("tasks/thirteen.toml"), CARD.replace("out = 2", "out = 3")).unwrap();
    let told = stdout(dir.path(), &["check", "thirteen"], 1);
    assert!(told.contains("the card says 3, its examples give 2 (5 + 10 = 2 (mod 13))"), "{told}");
    fs::write(dir.path().join("tasks/thirteen.toml"), CARD).unwrap();
    assert_eq!(stdout(dir.path(), &["check", "tiny"], 0), "ok       experiments/90_tiny/experiment.toml\n");
}

#[test]
fn variants_are_run_compared_shown_and_gone_on_with() {
    let dir = lab();
    let file = dir.path().join("experiments/90_tiny/experiment.toml");
    let spec = SPEC.replace("steps = 120", "steps = 20");
    fs::write(&file, format!("{spec}\n[sweep]\nkey = \"optim.weight_decay\"\nvalues = [0.5, 2]\n")).unwrap();
    let path = |name: &str| dir.path().join("checkpoints/tiny").join(name);
    let one = stdout(dir.path(), &["run", "tiny", "--variant", "weight_decay_2"], 1);
    assert!(one.contains("not finished: weight_decay_0.5"), "{one}");
    // The second call trains the other one alone: what is finished is passed over.
    let first = fs::read(path("weight_decay_2/run.h5")).unwrap();
    stdout(dir.path(), &["run", "tiny", "--resume", "--publish"], 1);
    assert_eq!(fs::read(path("weight_decay_2/run.h5")).unwrap(), first);
    let csv = fs::read_to_string(path("summary.csv")).unwrap();
    let starts: Vec<String> = csv.lines().map(|l| l.split(',').take(3).collect::<Vec<_>>().join(",")).collect();
    let rows = ["weight_decay_0.5,0.5,0", "weight_decay_0.5,0.5,1", "weight_decay_2,2,0", "weight_decay_2,2,1"];
    assert_eq!(starts[1..], rows);
    assert_eq!(fs::read_to_string(dir.path().join("experiments/90_tiny/summary.csv")).unwrap(), csv);
    assert_eq!(stdout(dir.path(), &["show", "tiny", "--format", "csv"], 0), csv);
    assert!(stdout(dir.path(), &["show", "tiny"], 0).contains("weight_decay_0.5  0 of 2 replicas"));
    assert!(stdout(dir.path(), &["show", "tiny/weight_decay_2"], 0).contains("weight decay 2"));
    assert_eq!(stdout(dir.path(), &["check", "tiny"], 0).matches("run.h5").count(), 2);
    let several = [
        "error: a single run is missing: checkpoints/tiny",
        "hint:  it has variants, and each is a run: name one below this folder: weight_decay_0.5, weight_decay_2",
    ];
    fails(dir.path(), &["measure", "tiny", "gini"], 3, &several);
    let unknown = phaselab(dir.path(), &["run", "tiny", "--variant", "weight_decay_1"]);
    let told = text(&unknown.stderr);
    assert!(told.contains("there is no variant named `weight_decay_1`") && !told.contains("phaselab list"), "{told}");
    // Another spec is refused before anything of the older one is touched.
    let stored = fs::read(path("variants.toml")).unwrap();
    let other = phaselab(dir.path(), &["run", "tiny", "--set", "model.d_mlp=32"]);
    assert_eq!(other.status.code(), Some(2), "{}", text(&other.stderr));
    assert!(text(&other.stderr).contains("model.d_mlp: 64 -> 32"), "{}", text(&other.stderr));
    assert_eq!(fs::read(path("variants.toml")).unwrap(), stored);
    let again = phaselab(dir.path(), &["run", "tiny"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("go on with it by --resume"), "{}", text(&again.stderr));
    fs::write(path("variants.toml"), "title = 'x").unwrap();
    let damaged = phaselab(dir.path(), &["show", "tiny"]);
    assert_eq!(damaged.status.code(), Some(3));
    assert!(text(&damaged.stderr).starts_with("error: checkpoints/tiny/variants.toml is damaged\ncause: line 1: "));
}

#[test]
fn what_does_not_fit_is_told_before_anything_is_trained() {
    let dir = lab();
    let file = dir.path().join("experiments/90_tiny/experiment.toml");
    for (section, name, why) in [
        ("measure", "gini", "measure is gini, but the model has no embed.W_E"),
        ("figure", "attention_maps", "figure is attention_maps, but the model has no attn.hook_pattern"),
    ] {
        let onehot = "\n[model]\nfamily = \"mlp\"\ninput = \"onehot\"\nn_layers = 1\nd_mlp = 16\n";
        let spec = format!("title = \"t\"\ntask = \"mod_add_53\"\n{onehot}\n[{section}]\nnames = [\"{name}\"]\n");
        fs::write(&file, &spec).unwrap();
        let told = phaselab(dir.path(), &["run", "tiny"]);
        assert_eq!(told.status.code(), Some(2));
        assert!(text(&told.stderr).contains(why), "{}", text(&told.stderr));
        assert!(!dir.path().join("checkpoints/tiny").exists());
        assert!(stdout(dir.path(), &["check", "tiny"], 1).contains(why), "{name}");
        // A spec of any other name is a spec too.
        fs::write(dir.path().join("mine.toml"), &spec).unwrap();
        assert!(stdout(dir.path(), &["check", "mine.toml"], 1).contains(why), "{name}");
    }
}

/// On a machine without a GPU, that is; with one there is nothing to refuse.
#[test]
fn a_gpu_that_is_not_there_is_told_before_anything_is_written() {
    let dir = lab();
    let shown = stdout(dir.path(), &["show", "device"], 0);
    assert!(["the driver's library", "NVRTC", "cuBLASLt"].iter().all(|name| shown.contains(name)), "{shown}");
    if shown.contains("cuda:0") {
        return;
    }
    let told = phaselab(dir.path(), &["train", "tiny", "--device", "cuda"]);
    let stderr = text(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: cannot use a GPU: ") && stderr.contains("--device cpu needs"), "{stderr}");
    assert!(!dir.path().join("checkpoints/tiny").exists());
    if shown.contains("not found, tried libcuda.so") {
        assert!(["libcuda.so", "LD_LIBRARY_PATH"].iter().all(|name| stderr.contains(name)), "{stderr}");
    }
    let refused = phaselab(dir.path(), &["selftest"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--device is the processor"), "{}", text(&refused.stderr));
    let wrong = phaselab(dir.path(), &["train", "tiny", "--device", "gpu"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("cuda:N"), "{}", text(&wrong.stderr));
    let auto = phaselab(dir.path(), &["train", "tiny", "--device", "auto", "--steps", "2"]);
    assert_eq!(auto.status.code(), Some(0), "{}", text(&auto.stderr));
    assert!(text(&auto.stderr).contains("on the processor: cannot use a GPU"), "{}", text(&auto.stderr));
}

#[test]
fn a_variant_that_diverges_has_its_row_and_the_others_go_on() {
    let dir = lab();
    let file = dir.path().join("experiments/90_tiny/experiment.toml");
    let spec = SPEC.replace("steps = 120", "steps = 20").replace("lr = 1e-2\n", "");
    fs::write(&file, format!("{spec}\n[sweep]\nkey = \"optim.lr\"\nvalues = [1e30, 1e-2]\n")).unwrap();
    let told = stdout(dir.path(), &["run", "tiny"], 1);
    assert!(told.contains("lr_0.01") && !told.contains("not finished"), "{told}");
    let csv = stdout(dir.path(), &["show", "tiny", "--format", "csv"], 0);
    assert_eq!(csv.lines().filter(|line| line.contains(",true,")).count(), 2, "{csv}");
    let alone = phaselab(dir.path(), &["run", "tiny", "--variant", "lr_1000000000000000000000000000000", "--force"]);
    assert_eq!(alone.status.code(), Some(4), "{}", text(&alone.stderr));
}

#[test]
fn what_nobody_knows_or_can_divide_by_is_the_one_thing_that_is_told() {
    let dir = lab();
    let told = text(&phaselab(dir.path(), &["run", "tiny", "--set", "model.family=transfomer"]).stderr);
    assert_eq!(told.matches("cause:").count(), 1, "{told}");
    assert!(told.contains("did you mean `transformer`?"), "{told}");
    let card = CARD.replace("op = \"x+y\"", "ops = [\"x+y\", \"x/y+1\"]").replace("a b =", "a op b =");
    fs::write(dir.path().join("tasks/thirteen.toml"), card.replace("p = 13", "p = 15")).unwrap();
    let told = text(&phaselab(dir.path(), &["run", "tiny"]).stderr);
    assert!(told.contains("params.ops[1]: column 2: found a division"), "{told}");
    let power = CARD.replace("\"x+y\"", "\"x^y\"");
    fs::write(dir.path().join("tasks/thirteen.toml"), power).unwrap();
    let told = text(&phaselab(dir.path(), &["run", "tiny"]).stderr);
    assert!(told.contains("a whole power from -1000 to 1000") && !told.contains("sqrt"), "{told}");
}

/// A neuron's map is over the pairs of one operation: shares of its variance are shares.
#[test]
fn with_several_operations_maps_show_the_first() {
    let dir = lab();
    let card = CARD.replace("op = \"x+y\"", "ops = [\"x+y\", \"x-y\"]").replace("a b =", "a op b =");
    assert!(card.contains("x-y") && card.contains("op b"));
    fs::write(dir.path().join("tasks/thirteen.toml"), card.replace("in = [5, 10]", "in = [0, 5, 10]")).unwrap();
    let spec = SPEC.replace("steps = 120", "steps = 20");
    fs::write(dir.path().join("experiments/90_tiny/experiment.toml"), spec).unwrap();
    stdout(dir.path(), &["run", "tiny"], 1);
    let figures = dir.path().join("checkpoints/tiny/figures");
    let maps = fs::read_to_string(figures.join("neuron_maps.csv")).unwrap();
    let fractions = maps.lines().skip(1).map(|line| line.split(',').nth(5).unwrap().parse::<f64>().unwrap());
    assert!(fractions.clone().count() > 100 && fractions.clone().all(|x| (0.0..=1.0).contains(&x)), "{maps:.300}");
    assert!(fs::read_to_string(figures.join("neuron_maps.svg")).unwrap().contains("at step 20, x+y"));
}

/// Mean squared errors are no nats: neither a column nor a rule calls them so.
#[test]
fn a_loss_that_is_not_cross_entropy_has_columns_of_its_own() {
    let dir = lab();
    let file = dir.path().join("experiments/90_tiny/experiment.toml");
    let spec = SPEC.replace("steps = 120", "steps = 20");
    let stop = "stop = { metric = \"test_loss_nats\", threshold = 0.1 }\n";
    let mse = "\n[loss]\nkind = \"mse\"\n";
    fs::write(&file, spec.replace("steps = 20", &format!("steps = 20\n{stop}")) + mse).unwrap();
    let told = text(&phaselab(dir.path(), &["run", "tiny"]).stderr);
    assert!(told.contains("train.stop.metric: the loss is `mse`, which is not in nats; take train_loss"), "{told}");
    fs::write(&file, spec + mse).unwrap();
    stdout(dir.path(), &["run", "tiny"], 1);
    let curves = fs::read_to_string(dir.path().join("checkpoints/tiny/figures/loss_curves.csv")).unwrap();
    assert!(curves.contains("\ntrain_loss_nats,nats,0,20,"), "the measure has the cross-entropy: {curves}");
    let summary = fs::read_to_string(dir.path().join("checkpoints/tiny/summary.csv")).unwrap();
    let column = |name: &str| {
        let at = summary.lines().next().unwrap().split(',').position(|field| field == name).unwrap();
        summary.lines().nth(1).unwrap().split(',').nth(at).unwrap().to_owned()
    };
    assert_eq!(column("train_loss_spikes"), "", "its thresholds are in nats");
    assert!(column("final_train_loss_nats").parse::<f64>().unwrap() > 1.0, "cross-entropy, not a squared error");
}

#[test]
fn colour_follows_the_flag_and_a_pipe_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let escapes = |args: &[&str], no_color: &str| {
        let output = command(dir.path(), args).env("NO_COLOR", no_color).output().unwrap();
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    let error = ["explain", "nothing"];
    assert!(!escapes(&error, "") && !escapes(&error, "1"));
    assert!(escapes(&["--color", "always", "explain", "nothing"], ""));
    assert!(escapes(&["explain", "nothing", "--color=always"], "1"), "the flag is stronger than NO_COLOR");
    assert!(!escapes(&["--color", "never", "explain", "nothing"], ""));
    assert!(escapes(&["--color", "always", "list"], "") && escapes(&["--color", "always", "--help"], ""));
    assert!(!escapes(&["list"], "") && !escapes(&["--help"], ""));
}

#[test]
fn a_closed_pipe_is_enough_and_a_full_disk_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(dir.path(), &["list"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    if let Ok(full) = fs::File::options().write(true).open("/dev/full") {
        let output = command(dir.path(), &["list"]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stderr).starts_with("error: cannot write the result to stdout\ncause: "));
    }
}

#[test]
fn one_command_goes_from_data_to_figures_and_tells_the_same_numbers_in_every_format() {
    let dir = lab();
    let at = |name: &str| dir.path().join("checkpoints/tiny").join(name);
    let output = phaselab(dir.path(), &["run", "tiny", "--threads", "2", "--publish"]);
    let result = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}{result}", text(&output.stderr));
    assert!(result.lines().next().unwrap().contains(" of 2 replicas grokked (rate "), "{result}");
    for part in
        ["steps to 99 % training accuracy", "key frequencies (rule w_l)", "in checkpoints/tiny: summary.csv, run.h5"]
    {
        assert!(result.contains(part), "{part} is not in\n{result}");
    }
    for name in [
        "run.toml",
        "run.h5",
        "summary.csv",
        "measures/loss.h5",
        "measures/excluded_loss.csv",
        "figures/loss_curves.svg",
    ] {
        assert!(at(name).is_file(), "{name}");
    }
    let summary = fs::read_to_string(at("summary.csv")).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("experiments/90_tiny/summary.csv")).unwrap(), summary);
    assert!(dir.path().join("experiments/90_tiny/figures/loss_curves.svg").is_file());
    assert_eq!(stdout(dir.path(), &["show", "tiny", "--format", "csv"], 0), summary);
    same_numbers(&summary, &stdout(dir.path(), &["show", "90", "--format", "json"], 0));
    assert!(stdout(dir.path(), &["show", "checkpoints/tiny"], 0).contains("transformer of 1 layer, d_model 32"));

    // Nothing is overwritten unasked, nor continued as something else.
    let hint = "hint:  --force replaces it, --out writes elsewhere; `run` and `train` go on with it by --resume";
    fails(dir.path(), &["train", "tiny"], 2, &["error: checkpoints/tiny already exists", hint]);
    fails(
        dir.path(),
        &["train", "tiny", "--resume", "--set", "optim.lr=1e-3"],
        2,
        &[
            "error: checkpoints/tiny was made with another spec",
            "cause: optim.lr: 0.01 -> 0.001",
            "hint:  give the spec that the folder was made with, or start anew in another folder with --out",
        ],
    );
    let cut = phaselab(dir.path(), &["measure", "tiny", "gini", "--from", "20", "--to", "60"]);
    assert_eq!(cut.status.code(), Some(2), "fewer checkpoints would replace more");
    let files = stdout(dir.path(), &["measure", "tiny", "gini", "--from", "20", "--to", "60", "--force"], 0);
    assert_eq!(files, "checkpoints/tiny/measures/gini.h5\ncheckpoints/tiny/measures/gini.csv\n");
    assert_eq!(hdf5::read(&at("measures/gini.h5")).unwrap().tensor("steps").unwrap().to_f64(), [20.0, 40.0, 60.0]);

    let by_hand = ["measure", "tiny", "excluded_loss", "key_freqs_used", "--key-freqs", "1,3"];
    stdout(dir.path(), &by_hand, 0);
    let used = hdf5::read(&at("measures/key_freqs_used.h5")).unwrap();
    assert_eq!(used.attr("key_freqs"), Some(&Attr::Text("by hand, [1, 3]".into())));
    let is_key = used.tensor("is_key").unwrap();
    let width = is_key.shape[2];
    assert!(
        is_key.to_f64().chunks(width).all(|keys| keys[..3] == [1.0, 0.0, 1.0] && keys[3..].iter().all(|&x| x == 0.0))
    );
    let refused = |more: &[&str], part: &str| {
        let output = phaselab(dir.path(), &[&["measure", "tiny", "excluded_loss"], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(part), "{more:?}: {}", text(&output.stderr));
    };
    refused(&["--key-freqs", "w_x"], "there is no rule `w_x` for key frequencies; known: w_e, w_e_norm, w_l, neurons");
    refused(&["--key-freqs", "0,1"], "is not a list of frequencies from 1");
    refused(&["--key-freqs", "1,99"], "measure.key_freqs");
    refused(&["--set", "measure.key_frac=2"], "measure.key_frac");
    refused(&["--set", "optim.lr=2"], "a key of [measure]");
    assert!(stdout(dir.path(), &["figure", "tiny", "loss_curves"], 0).contains("figures/loss_curves.svg\n"));

    // Figures of one checkpoint: the last one after a run, any other by its step and seed.
    let first = fs::read_to_string(at("figures/neuron_maps.csv")).unwrap();
    let files = stdout(dir.path(), &["figure", "tiny", "neuron_maps", "--step", "60", "--seed", "1"], 0);
    assert!(files.contains("figures/neuron_maps.png\n"), "{files}");
    let other = fs::read_to_string(at("figures/neuron_maps.csv")).unwrap();
    assert!(other.contains("\nactivation,1,60,") && !first.contains("\nactivation,1,60,"), "{other:.200}");
    let near = "error: the step of a figure is 61; it must be one that has a checkpoint; the nearest is 60";
    fails(dir.path(), &["figure", "tiny", "fourier_bars", "--step", "61"], 2, &[near]);
    let seeds = "error: the seed of a figure is 9; it must be one of the run's seeds: 0, 1";
    fails(dir.path(), &["figure", "tiny", "fourier_bars", "--seed", "9"], 2, &[seeds]);

    assert!(!stdout(dir.path(), &["check", "tiny"], 0).contains("damaged"));
    let mut bytes = fs::read(at("run.h5")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(at("run.h5"), bytes).unwrap();
    let told = phaselab(dir.path(), &["check", "tiny"]);
    assert!(text(&told.stdout).contains("damaged  checkpoints/tiny/run.h5\n"));
    assert_eq!(told.status.code(), Some(3));
    assert!(text(&told.stderr).contains("hint:  copy it from a backup"), "{}", text(&told.stderr));
}

/// Every cell of the CSV is the value of its column in JSON.
#[test]
fn terms_of_the_loss_are_checked_trained_on_and_told_beside_the_metrics() {
    let dir = lab();
    let file = dir.path().join("experiments/90_tiny/experiment.toml");
    let good = "\n[[loss.terms]]\nmeasure = \"restricted_train_loss\"\nfreqs = [2, 5]\n\n\
                [[loss.terms]]\nname = \"sparse\"\nexpr = \"abs(w)\"\nover = \"embed.*\"\nweight = 1e-3\n";
    fs::write(&file, format!("{SPEC}{good}")).unwrap();
    assert!(stdout(dir.path(), &["check", "tiny"], 0).starts_with("ok "));
    let args = ["train", "tiny", "--steps", "30", "--set", "loss.terms[1].weight=0", "--out", "run"];
    stdout(dir.path(), &args, 0);
    let packed = arrays(dir.path(), "run");
    for name in ["metrics/term_restricted_train_loss", "metrics/term_sparse"] {
        let term = packed.tensor(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(term.shape, [7, 2], "evaluations every 5 steps of 30, two replicas");
        assert!(term.to_f64().iter().all(|x| x.is_finite() && *x > 0.0));
    }
    // A term more, or another weight, is another run.
    let output = phaselab(dir.path(), &["train", "tiny", "--steps", "40", "--resume", "--out", "run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("loss.terms: "), "{}", text(&output.stderr));

    let bad = good.replace("[2, 5]", "[2, 7]").replace("abs(w)", "abs(w").replace("1e-3", "1e-3\nover_all = 1");
    fs::write(&file, format!("{SPEC}{bad}")).unwrap();
    let told = stdout(dir.path(), &["check", "tiny"], 1);
    assert!(told.contains("line 25: loss.terms[1].expr: `abs(w`: column 6:"), "{told}");
    assert!(told.contains("line 28: loss.terms[1].over_all: unknown key"), "{told}");
    fs::write(&file, format!("{SPEC}{}", good.replace("[2, 5]", "[2, 7]").replace("embed.*", "embedding"))).unwrap();
    let told = stdout(dir.path(), &["check", "tiny"], 1);
    assert!(told.contains("line 21: loss.terms[0].freqs: 7 is no frequency of this task; it has 1 to 6"), "{told}");
    assert!(told.contains("line 26: loss.terms[1].over: no parameter is named `embedding`"), "{told}");
}

fn same_numbers(csv: &str, json: &str) {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let (head, rows) = csv.split_once('\n').unwrap();
    let replicas = json["replicas"].as_array().unwrap();
    assert_eq!(rows.lines().count(), replicas.len());
    for (row, replica) in rows.lines().zip(replicas) {
        assert_eq!(replica.as_object().unwrap().len(), head.split(',').count());
        for (name, cell) in head.split(',').zip(row.split(',')) {
            let value = &replica[name];
            let equal = match value {
                serde_json::Value::Null => cell.is_empty(),
                serde_json::Value::Bool(flag) => cell == flag.to_string(),
                serde_json::Value::Array(freqs) => cell.split_whitespace().eq(freqs.iter().map(|f| f.to_string())),
                number => cell.parse::<f64>().ok() == number.as_f64(),
            };
            assert!(equal, "{name}: `{cell}` in CSV, {value} in JSON");
        }
    }
}

/// Fine-tuning: parameters start as another run left them, all or by name, and what does not fit is told.
#[test]
fn a_run_can_start_from_a_checkpoint_of_another() {
    let dir = lab();
    stdout(dir.path(), &["train", "tiny", "--steps", "20"], 0);
    let from = ["--set", "model.from.run=checkpoints/tiny", "--set", "train.seeds=5..7"];
    let args = |out: &'static str, more: &[&'static str]| {
        [&["train", "tiny", "--steps", "1", "--out", out][..], &from, more].concat()
    };
    stdout(dir.path(), &args("all", &[]), 0);
    let params = |run: &str, step: u64| {
        let run = phaselab::checkpoint::open_snapshots(&dir.path().join(run)).unwrap();
        run.read(step).unwrap().params
    };
    assert_eq!(params("all", 0), params("checkpoints/tiny", 20));
    stdout(dir.path(), &args("some", &["--set", "model.from.params=[\"blocks.*\"]", "--set", "model.from.step=0"]), 0);
    for (ours, theirs) in params("some", 0).iter().zip(&params("checkpoints/tiny", 0)) {
        assert_eq!(ours == theirs, ours.name.starts_with("blocks."), "{}", ours.name);
    }
    for (set, told) in [
        ("model.d_mlp=32", "blocks.0.mlp.W_in of shape [32, 64], for [32, 32]"),
        ("model.attn_bias=true", "which has no blocks.0.attn.b_Q"),
        ("train.seeds=0..3", "a run of 2 replicas, for 3"),
        ("model.from.params=[\"nothing\"]", "model.from.params is nothing, which names no parameter"),
        ("model.from.step=7", "step 7"),
    ] {
        let output = phaselab(dir.path(), &args("never", &["--force", "--set", set]));
        assert!(!output.status.success() && text(&output.stderr).contains(told), "{set}: {}", text(&output.stderr));
    }
}

/// Pruning by the weights of another run: what is masked starts at 0 and stays there, and the rest starts where that run did.
#[test]
fn a_lottery_ticket_trains_the_largest_weights_of_another_run() {
    let dir = lab();
    stdout(dir.path(), &["train", "tiny", "--steps", "20"], 0);
    let ticket = ["--set", "model.mask.run=checkpoints/tiny", "--set", "model.mask.keep_frac=0.25"];
    let rewind = ["--set", "model.from.run=checkpoints/tiny", "--set", "model.from.step=0"];
    let train = |out: &str, more: &[&str]| {
        stdout(dir.path(), &[&["train", "tiny", "--out", out][..], &ticket, &rewind, more].concat(), 0);
    };
    train("ticket", &["--steps", "20"]);
    train("control", &["--steps", "20", "--set", "model.mask.by=random"]);
    train("muon", &["--steps", "20", "--set", "optim.kind=muon"]);
    train("half", &["--steps", "7"]);
    train("half", &["--steps", "20", "--resume"]);
    let params = |run: &str, step: u64| {
        phaselab::checkpoint::open_snapshots(&dir.path().join(run)).unwrap().read(step).unwrap().params
    };
    let (start, end) = (params("checkpoints/tiny", 0), params("checkpoints/tiny", 20));
    for (run, of_size) in [("ticket", true), ("control", false), ("muon", true)] {
        let (at_start, at_end) = (params(run, 0), params(run, 20));
        for r in 0..2 {
            let (mut kept, mut masked, mut n_moved) = (vec![], vec![], 0);
            for (i, tensor) in at_end.iter().enumerate() {
                let row = |of: &Tensor| of.row(r).unwrap().to_f64();
                let (first, last, dense) = (row(&at_start[i]), row(tensor), row(&end[i]));
                if tensor.shape.len() < 3 {
                    assert!(last.iter().any(|&x| x != 0.0), "{run}: biases are not masked");
                    continue;
                }
                for (j, &x) in last.iter().enumerate() {
                    // A weight of the ticket may have become 0 only by being masked.
                    if first[j] == 0.0 {
                        assert_eq!(x, 0.0, "{run}: {}", tensor.name);
                        masked.push(dense[j].abs());
                    } else {
                        assert_eq!(first[j], row(&start[i])[j], "{run}: {}", tensor.name);
                        n_moved += u32::from(x != first[j]);
                        kept.push(dense[j].abs());
                    }
                }
            }
            let share = kept.len() as f64 / (kept.len() + masked.len()) as f64;
            assert!((share - 0.25).abs() < 1e-3 && n_moved > 1000, "{run}: {share}, {n_moved}");
            let least = kept.iter().copied().fold(f64::INFINITY, f64::min);
            assert_eq!(masked.iter().all(|&size| size <= least), of_size, "{run}");
        }
    }
    assert_eq!(params("half", 20), params("ticket", 20));
    for (set, told) in [
        ("model.mask.keep_frac=0.0", "0 is out of range; it must be above 0 and at most 1"),
        ("model.mask.params=[\"nothing\"]", "model.mask.params is nothing, which names no parameter"),
        ("model.d_mlp=32", "of shape [32, 64], for [32, 32]"),
    ] {
        let args = [&["train", "tiny", "--out", "never", "--force"][..], &ticket, &["--set", set]].concat();
        let output = phaselab(dir.path(), &args);
        assert!(!output.status.success() && text(&output.stderr).contains(told), "{set}: {}", text(&output.stderr));
    }
    let output = phaselab(dir.path(), &["train", "tiny", "--set", "model.mask.keep_frac=0.5"]);
    assert!(text(&output.stderr).contains("model.mask.run: missing"), "{}", text(&output.stderr));
}

/// A stream of sequences from data to the measures that read positions, labels, heads and several right answers, and the states behind it.
#[test]
fn sequences_are_measured_by_position_and_label_and_their_states_are_written() {
    let dir = lab();
    let spec = "task = \"dyck_1_16\"\n[data]\nstream = true\ntest_examples = 20\n[model]\nn_layers = 2\nd_model = 16\n\
                n_heads = 2\nd_mlp = 0\n[train]\nsteps = 4\nseeds = \"0..2\"\nbatch_size = 8\nsnapshots = { every = 4 }\n\
                [figure]\nnames = [\"position_curves\", \"head_curves\", \"label_curves\"]\n\
                [measure]\nnames = [\"exact_accuracy\", \"loss_by_position\", \"loss_by_label\", \"allowed_answers\", \"head_scores\", \
                \"copying_score\"]\n";
    fs::create_dir_all(dir.path().join("experiments/91_brackets")).unwrap();
    fs::write(dir.path().join("experiments/91_brackets/experiment.toml"), spec).unwrap();
    stdout(dir.path(), &["run", "brackets"], 1);
    let run = dir.path().join("checkpoints/brackets");
    for (measure, column) in [
        ("exact_accuracy", "test_exact_frac"),
        ("loss_by_position", "position"),
        ("loss_by_label", "depth"),
        ("allowed_answers", "test_allowed_prob"),
        ("head_scores", "prefix_matching"),
        ("copying_score", "copying"),
    ] {
        let csv = fs::read_to_string(run.join(format!("measures/{measure}.csv"))).unwrap();
        assert!(csv.lines().next().unwrap().contains(column) && csv.lines().count() > 2, "{measure}: {csv}");
    }
    for figure in ["position_curves", "label_curves", "head_curves"] {
        assert!(run.join(format!("figures/{figure}.svg")).is_file(), "{figure}");
    }
    stdout(dir.path(), &["cache", "brackets", "--out", "seen.h5"], 0);
    let record = hdf5::read(&dir.path().join("seen.h5")).unwrap();
    let shape = |name: &str| record.tensors.iter().find(|tensor| tensor.name == name).unwrap().shape.clone();
    assert_eq!((shape("tokens"), shape("labels"), shape("states")), (vec![20, 17], vec![20], vec![20, 17, 1]));
    assert!(record.attrs.contains(&("state_names".into(), Attr::Text("depth".into()))), "{:?}", record.attrs);
}

#[test]
fn a_run_in_which_nobody_groks_answers_no_and_one_that_explodes_says_so() {
    let dir = lab();
    let json = stdout(dir.path(), &["run", "tiny", "--steps", "10", "--seeds", "5", "--quiet", "--format", "json"], 1);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["summary"]["grokked"]["n"], &json["replicas"][0]["seed"]), (&1.into(), &5.into()));
    let args = ["train", "tiny", "--quiet", "--force", "--set", "optim.lr=1e30", "--steps", "20"];
    let output = phaselab(dir.path(), &args);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(4), ""));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error: all 2 replicas have met a non-finite loss or gradient"), "{stderr}");
    assert!(stderr.ends_with("hint:  lower optim.lr, or set optim.clip_norm\n"), "{stderr}");
    // Where the first loss is no number, no learning rate is to blame.
    let args = ["train", "tiny", "--quiet", "--force", "--set", "model.act=log(x)", "--steps", "5"];
    let stderr = text(&phaselab(dir.path(), &args).stderr);
    assert!(stderr.contains("hint:  it is so from the start: look at model.act"), "{stderr}");
}

#[test]
fn a_folder_that_cannot_be_written_and_a_publication_to_nowhere_are_refused_at_once() {
    let dir = lab();
    fs::write(dir.path().join("file"), "mine").unwrap();
    let output = phaselab(dir.path(), &["train", "tiny", "--quiet", "--out", "file/run"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("cause: Not a directory")
            && stderr.contains("hint:  choose a folder that you may write to with --out"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "mine");
    let output = phaselab(dir.path(), &["run", "grokking_quick", "--publish"]);
    assert_eq!(output.status.code(), Some(3));
    fs::write(dir.path().join("mine.toml"), SPEC).unwrap();
    let output = phaselab(dir.path(), &["run", "mine.toml", "--publish"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the folder of an experiment.toml"), "{}", text(&output.stderr));
    assert!(!dir.path().join("summary.csv").exists() && !dir.path().join("figures").exists());
    assert!(!dir.path().join("checkpoints").exists());
}

/// Arguments of a run that writes many resume points, so that it can be stopped between two of them.
const LONG: [&str; 8] =
    ["train", "tiny", "--quiet", "--steps", "400", "--set", "train.resume_every=4", "--set=train.snapshots.every=50"];

fn arrays(dir: &Path, run: &str) -> Record {
    Record { attrs: vec![], ..hdf5::read(&dir.join(run).join("run.h5")).unwrap() }
}

/// Starts [`LONG`], waits for a resume point, and gives the process.
fn started(dir: &Path, run: &str) -> std::process::Child {
    let child = command(dir, &[&LONG[..], &["--out", run]].concat()).stderr(Stdio::piped()).spawn().unwrap();
    let resume = dir.join(run).join("resume");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !fs::read_dir(&resume)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("point_")))
    {
        assert!(Instant::now() < deadline, "no resume point was written");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[cfg(unix)]
#[test]
fn stopping_and_killing_leave_no_trace_in_the_bits() {
    let dir = lab();
    stdout(dir.path(), &[&LONG[..], &["--out", "whole"]].concat(), 0);
    let whole = arrays(dir.path(), "whole");
    assert!(whole.tensors.iter().any(|tensor| tensor.name == "params/embed.W_E"));

    let child = started(dir.path(), "stopped");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.starts_with("error: stopped at step "), "{stderr}");
    assert!(stderr.ends_with("hint:  a resume point is in stopped; go on with --resume\n"), "{stderr}");
    assert!(!dir.path().join("stopped/run.h5").exists(), "it was stopped before its end");

    let mut child = started(dir.path(), "killed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.path().join("killed/run.h5").exists(), "it was killed before its end");

    for run in ["stopped", "killed"] {
        stdout(dir.path(), &[&LONG[..], &["--out", run, "--resume"]].concat(), 0);
        let resumed = arrays(dir.path(), run);
        assert_eq!(resumed.tensors.len(), whole.tensors.len());
        for (resumed, whole) in resumed.tensors.iter().zip(&whole.tensors) {
            assert_eq!((&resumed.name, &resumed.shape), (&whole.name, &whole.shape));
            assert!(bits(resumed) == bits(whole), "{} differs after --resume in `{run}`", whole.name);
        }
    }
}

fn bits(tensor: &phaselab::tensor::Tensor) -> Vec<u64> {
    tensor.to_f64().iter().map(|x| x.to_bits()).collect()
}
