//! Other tools' files in and out: equal bits from files of PyTorch, round trips, hostile files, TransformerLens, the Python module.
//!
//! `fixtures/import.py` made the `.pth` files with PyTorch. What needs Python runs where `PHASELAB_TEST_PYTHON` (else `python3`)
//! has it, and says so where it has not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use phaselab::checkpoint::open_snapshots;
use phaselab::tensor::{Data, Tensor};
use tempfile::TempDir;

use crate::cli::{command, lab, phaselab, stdout, text};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

const FIVE: &str = "title = 'x + y mod 5'\nfamily = 'modular'\n[params]\nop = 'x+y'\np = 5\n[layout]\ntokens = 'a b ='\n\
    [split]\ntrain_frac = 0.5\n";

/// Names and shapes of the fixtures' model, as `import.py` has them.
const SHAPES: [(&str, &[usize]); 11] = [
    ("embed.W_E", &[6, 8]),
    ("pos_embed.W_pos", &[3, 8]),
    ("blocks.0.attn.W_Q", &[2, 8, 3]),
    ("blocks.0.attn.W_K", &[2, 8, 3]),
    ("blocks.0.attn.W_V", &[2, 8, 3]),
    ("blocks.0.attn.W_O", &[2, 3, 8]),
    ("blocks.0.mlp.W_in", &[8, 7]),
    ("blocks.0.mlp.b_in", &[7]),
    ("blocks.0.mlp.W_out", &[7, 8]),
    ("blocks.0.mlp.b_out", &[8]),
    ("unembed.W_U", &[8, 5]),
];

/// A working folder with the task of the fixtures.
fn five() -> TempDir {
    let dir = lab();
    fs::write(dir.path().join("tasks/five.toml"), FIVE).unwrap();
    dir
}

fn fixture(name: &str) -> String {
    format!("{FIXTURES}/{name}")
}

/// The numbers of `import.py`.
fn numbers(n: u64, len: usize, step: u64) -> Vec<f32> {
    let number = |i: u64| (2_654_435_761 * i + 40_503 * n + 977 * step) % 65_536;
    (0..len as u64).map(|i| (number(i) as f64 / 65_536.0 - 0.5) as f32).collect()
}

fn bits(data: &Data) -> Vec<u64> {
    match data {
        Data::F32(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        Data::F64(v) => v.iter().map(|x| x.to_bits()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Every parameter of the run at `step` has the bits of `import.py`.
fn assert_fixture(run: &Path, step: u64) {
    let params = open_snapshots(run).unwrap().read(step).unwrap().params;
    assert_eq!(params.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().len(), SHAPES.len());
    for (n, (name, shape)) in SHAPES.iter().enumerate() {
        let param = params.iter().find(|t| t.name == *name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(param.shape, [&[1], *shape].concat(), "{name}");
        let expected = Data::F32(numbers(n as u64, shape.iter().product(), step));
        assert!(bits(&param.data) == bits(&expected), "{name} differs at step {step}");
    }
}

#[test]
fn pytorchs_three_layouts_import_with_equal_bits_and_are_measured() {
    let dir = five();
    let args = |file: &str, run: &str| {
        ["import", fixture(file).as_str(), "--task", "five", "--out", run].map(str::to_owned).to_vec()
    };
    let import = |file: &str, run: &str, more: &[&str]| {
        let mut args = args(file, run);
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = phaselab(dir.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let told = import("import_zip.pth", "zip", &["--step", "40"]);
    assert!(told.contains("blocks.0.attn.IGNORE, blocks.0.attn.mask"), "{told}");
    assert!(told.contains("are zero in every checkpoint"), "{told}");
    assert_fixture(&dir.path().join("zip"), 40);

    let told = import("import_legacy.pth", "legacy", &[]);
    assert!(told.contains("Nanda's older code"), "{told}");
    assert!(told.contains("the model has 6 outputs, task five has 5 classes"), "{told}");
    assert!(told.contains("10 of 25 examples for training"), "{told}");
    assert_fixture(&dir.path().join("legacy"), 40);
    let Data::U8(mask) = open_snapshots(&dir.path().join("legacy")).unwrap().read(40).unwrap().train_mask.data else {
        panic!()
    };
    // The tokens are b = 0 and b = 1 with every a; examples are a major.
    let train: Vec<usize> = (0..25).filter(|&i| mask[i] == 1).collect();
    assert_eq!(train, [0, 1, 5, 6, 10, 11, 15, 16, 20, 21]);

    import("import_series.pth", "series", &[]);
    let series = dir.path().join("series");
    assert_eq!(open_snapshots(&series).unwrap().steps(), [0, 10, 20]);
    [0, 10, 20].into_iter().for_each(|step| assert_fixture(&series, step));
    let metrics = open_snapshots(&series).unwrap().metrics().unwrap();
    let column = |name: &str| metrics.iter().find(|t| t.name == format!("metrics/{name}")).unwrap();
    let test = column("test_loss_nats").to_f64();
    assert_eq!(test.len(), 25);
    assert!(test.iter().zip(0..).all(|(x, step)| *x == 3.0 - 0.05 * f64::from(step)));
    let acc = column("test_acc_frac").to_f64();
    let with_value: Vec<usize> = (0..25).filter(|&i| !acc[i].is_nan()).collect();
    assert_eq!(with_value, [0, 10, 20], "accuracies are evaluated at the checkpoints");

    // Everything that reads a run reads this one.
    let measures = stdout(dir.path(), &["measure", "series"], 0);
    assert!(measures.contains("restricted_loss.h5") && measures.contains("key_freqs_w_e.h5"), "{measures}");
    let figures = stdout(dir.path(), &["figure", "series"], 0);
    assert!(figures.contains("loss_curves.svg") && figures.contains("fourier_spectrum.svg"), "{figures}");
    assert!(stdout(dir.path(), &["show", "series"], 0).contains("Imported from import_series.pth"));
    assert!(stdout(dir.path(), &["check", "series"], 0).lines().all(|line| line.starts_with("ok")));
    let about = fs::read_to_string(series.join("import.json")).unwrap();
    assert!(about.contains("\"layout\": \"nanda\"") && about.contains("import_series.pth"), "{about}");

    let again = phaselab(dir.path(), &args("import_zip.pth", "zip").iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(again.status.code(), Some(2), "an older run is not overwritten");
    import("import_zip.pth", "zip", &["--force"]);
    assert_eq!(open_snapshots(&dir.path().join("zip")).unwrap().steps(), [0]);
}

/// A run of two seeds and a few steps with this spec, trained in `dir`.
fn trained(dir: &Path, name: &str, sets: &[&str]) -> PathBuf {
    let mut args = vec!["train", "tiny", "--quiet", "--steps", "8", "--seeds", "3,5", "--out", name];
    sets.iter().for_each(|set| args.extend(["--set", *set]));
    stdout(dir, &args, 0);
    dir.join(name)
}

fn assert_same_params(one: &[Tensor], other: &[Tensor], what: &str) {
    let names = |params: &[Tensor]| params.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(one), names(other), "{what}");
    for (a, b) in one.iter().zip(other) {
        assert_eq!(a.shape, b.shape, "{what}: {}", a.name);
        assert!(bits(&a.data) == bits(&b.data), "{what}: {} differs", a.name);
    }
}

#[test]
fn what_is_exported_imports_with_equal_bits() {
    let dir = lab();
    let plain = trained(dir.path(), "plain", &[]);
    let full =
        ["model.attn_bias=true", "model.unembed_bias=true", "model.normalization=LN", "model.act=gelu", "dtype=f64"];
    let full = trained(dir.path(), "full", &[&full[..], &["model.n_layers=2", "model.d_head=5"]].concat());
    let mlp = trained(dir.path(), "mlp", &["model.family=mlp", "model.n_layers=2", "model.join=concat"]);
    let attention = trained(dir.path(), "attention", &["model.d_mlp=0"]);
    let onehot_sets = ["model.family=mlp", "model.input=onehot", "model.act=square", "model.mlp_bias=false"];
    let onehot = trained(dir.path(), "onehot", &onehot_sets);
    let gromov = trained(dir.path(), "gromov", &[&onehot_sets[..], &["model.init=gromov"]].concat());
    let lean = trained(dir.path(), "lean", &["model.positional=none", "model.tied_unembed=true"]);
    let cases: [(&PathBuf, &str, &[&str]); 16] = [
        (&lean, "transformer-lens", &["safetensors", "npz", "pth"]),
        (&lean, "nanda", &["safetensors", "npz", "pt"]),
        (&onehot, "safetensors", &["safetensors"]),
        (&onehot, "npz", &["npz"]),
        (&gromov, "safetensors", &["safetensors"]),
        (&gromov, "npz", &["npz"]),
        (&plain, "transformer-lens", &["safetensors", "npz", "pth"]),
        (&plain, "nanda", &["safetensors", "npz", "pt"]),
        (&plain, "safetensors", &["safetensors"]),
        (&plain, "npz", &["npz"]),
        (&full, "transformer-lens", &["safetensors", "pth"]),
        (&full, "safetensors", &["safetensors"]),
        (&full, "npz", &["npz"]),
        (&mlp, "safetensors", &["safetensors"]),
        (&mlp, "npz", &["npz"]),
        (&attention, "transformer-lens", &["safetensors"]),
    ];
    for (run, to, endings) in cases {
        let name = run.file_name().unwrap().to_str().unwrap();
        for ending in endings {
            let file = format!("{name}_{to}_{ending}.{ending}");
            stdout(dir.path(), &["export", name, "--step", "8", "--seed", "5", "--to", to, "--out", &file], 0);
            let out = format!("back_{name}_{to}_{ending}");
            let spec = format!("{name}/run.toml");
            let mut args = vec!["import", file.as_str(), "--out", out.as_str()];
            // PyTorch's files have no room for the spec.
            if ending.starts_with("pt") {
                args.extend(["--spec", spec.as_str(), "--step", "8", "--seeds", "5"]);
            }
            stdout(dir.path(), &args, 0);
            let want = open_snapshots(run).unwrap().read(8).unwrap();
            let got = open_snapshots(&dir.path().join(&out)).unwrap().read(8).unwrap();
            let alone: Vec<Tensor> = want.params.iter().map(|t| t.row(1).unwrap()).collect();
            let back: Vec<Tensor> = got.params.iter().map(|t| t.row(0).unwrap()).collect();
            assert_same_params(&alone, &back, &file);
            assert_eq!(want.train_mask.row(1).unwrap().data, got.train_mask.row(0).unwrap().data, "{file}: split");
        }
    }
    let refused = |args: &[&str], words: &str| {
        let output = phaselab(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    };
    refused(&["export", "mlp", "--to", "transformer-lens"], "family `mlp`, a HookedTransformer is a transformer");
    refused(&["export", "full", "--to", "nanda"], "that code normalises nothing");
    refused(&["export", "plain", "--to", "npz", "--out", "a.txt"], "ends in .npz");
    refused(&["export", "plain", "--to", "npz", "--seed", "4"], "one of the run's: 3, 5");
    refused(&["export", "plain", "--to", "npz", "--out", "plain_npz_npz.npz"], "already exists");
    assert_eq!(phaselab(dir.path(), &["export", "plain", "--to", "npz", "--step", "7"]).status.code(), Some(3));
}

#[test]
fn what_pytorchs_files_cannot_say_is_read_beside_them_or_told_at_export() {
    let dir = lab();
    let normalized = trained(dir.path(), "normalized", &["model.normalization=LNPre", "model.act=gelu"]);
    let gelu = trained(dir.path(), "gelu", &["model.act=gelu"]);
    let did = |args: &[&str]| {
        let output = phaselab(dir.path(), args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    let same = |run: &Path, back: &str| {
        let (want, got) = (open_snapshots(run).unwrap(), open_snapshots(&dir.path().join(back)).unwrap());
        let model = |spec: &phaselab::spec::Spec| (spec.model.act.clone(), spec.model.normalization);
        assert_eq!(model(want.spec()), model(got.spec()), "{back}");
        let row = |params: &[Tensor], replica| params.iter().map(|t| t.row(replica).unwrap()).collect::<Vec<_>>();
        assert_same_params(&row(&want.read(8).unwrap().params, 1), &row(&got.read(8).unwrap().params, 0), back);
    };
    let rest = ["--task", "thirteen", "--step", "8", "--seeds", "5", "--out"];
    did(&["export", "normalized", "--step", "8", "--seed", "5", "--to", "transformer-lens", "--out", "n.pth"]);
    let told = did(&[&["import", "n.pth"], &rest[..], &["n"]].concat());
    let said = "from n.json, which lies beside it: model.act=\"gelu\", model.normalization=\"LNPre\"";
    assert!(told.contains(said) && !told.contains("the default is taken"), "{told}");
    same(&normalized, "n");
    let config = fs::read_to_string(dir.path().join("n.json")).unwrap();
    let (other, cause) = (config.replace("\"d_model\": 32", "\"d_model\": 31"), "its d_model is 31, the file's is 32");
    assert_ne!(config, other);
    for (json, cause) in [(other.as_str(), cause), ("{}", "it has no d_model"), ("[1", "it is no JSON object")] {
        fs::write(dir.path().join("n.json"), json).unwrap();
        let told = did(&[&["import", "n.pth", "--force"], &rest[..], &["other"]].concat());
        assert!(told.contains(cause) && told.contains("the default is taken"), "{told}");
    }

    fs::write(
        dir.path().join("n.json"),
        config.replace("\"n_ctx\"", "\"attention_dir\": \"bidirectional\", \"n_ctx\""),
    )
    .unwrap();
    let output = phaselab(dir.path(), &[&["import", "n.pth"], &rest[..], &["refused"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let cause = "its configuration has attention_dir = bidirectional; what is computed here has causal";
    assert!(text(&output.stderr).contains(cause), "{}", text(&output.stderr));

    let told = did(&["export", "gelu", "--step", "8", "--seed", "5", "--to", "nanda", "--out", "g.pt"]);
    let import = "import g.pt --step 8 --seeds 5 --task thirteen --set model.act=gelu";
    assert!(told.contains(&format!("phaselab {import} gives")) && told.contains("gelu/run.toml"), "{told}");
    did(&import.split(' ').chain(["--out", "g"]).collect::<Vec<_>>());
    same(&gelu, "g");
}

#[test]
fn several_files_are_steps_or_replicas() {
    let dir = lab();
    let run = trained(dir.path(), "run", &["train.snapshots.every=4"]);
    let mut files = vec![];
    for seed in ["3", "5"] {
        for step in ["4", "8"] {
            let file = format!("p13_seed{seed}_step{step}.npz");
            stdout(dir.path(), &["export", "run", "--step", step, "--seed", seed, "--to", "npz", "--out", &file], 0);
            files.push(file);
        }
    }
    stdout(dir.path(), &["import", &files[1], &files[0], "--out", "steps"], 0);
    let steps = open_snapshots(&dir.path().join("steps")).unwrap();
    assert_eq!(steps.steps(), [4, 8]);
    stdout(dir.path(), &["import", &files[1], &files[3], "--seeds", "3,5", "--out", "replicas"], 0);
    let replicas = open_snapshots(&dir.path().join("replicas")).unwrap();
    let (want, got) = (open_snapshots(&run).unwrap().read(8).unwrap(), replicas.read(8).unwrap());
    assert_same_params(&want.params, &got.params, "replicas");
    assert_eq!(want.train_mask, got.train_mask);

    // Checkpoints of two replicas, or of two runs, are not those of one.
    trained(dir.path(), "other", &["model.d_mlp=32"]);
    stdout(dir.path(), &["export", "other", "--seed", "3", "--to", "npz", "--out", "other_step8.npz"], 0);
    for (second, cause) in [
        (files[3].as_str(), "it is of seed 5, p13_seed3_step4.npz of seed 3"),
        ("other_step8.npz", "its spec is another than that of p13_seed3_step4.npz: model.d_mlp: 64 -> 32"),
    ] {
        let output = phaselab(dir.path(), &["import", &files[0], second, "--out", "mixed"]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(cause) && stderr.contains("--seeds"), "{stderr}");
    }
}

#[test]
fn an_older_run_stays_until_the_new_one_is_whole() {
    let dir = lab();
    let keep = trained(dir.path(), "keep", &[]);
    trained(dir.path(), "wide", &["dtype=f64"]);
    stdout(dir.path(), &["export", "wide", "--to", "npz", "--out", "wide.npz"], 0);
    let before = fs::read(keep.join("run.h5")).unwrap();
    let output = phaselab(dir.path(), &["import", "wide.npz", "--set", "dtype=f32", "--out", "keep", "--force"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("embed.W_E is f64, the spec's dtype is f32"), "{}", text(&output.stderr));
    assert_eq!(fs::read(keep.join("run.h5")).unwrap(), before);
    // Told before the file is read.
    let output = phaselab(dir.path(), &["import", "none.npz", "--out", "keep"]);
    assert!(text(&output.stderr).contains("error: keep already exists"), "{}", text(&output.stderr));
    stdout(dir.path(), &["import", "wide.npz", "--out", "keep", "--force"], 0);
    assert_eq!(open_snapshots(&keep).unwrap().spec().dtype, phaselab::spec::Dtype::F64);
    assert!(stdout(dir.path(), &["check", "keep"], 0).lines().all(|line| line.starts_with("ok")));
    let names =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert!(names.into_iter().all(|name| !name.starts_with(".tmp")));
}

#[test]
fn the_split_of_an_export_goes_with_it() {
    let dir = lab();
    let run = trained(dir.path(), "run", &[]);
    let want = open_snapshots(&run).unwrap().read(8).unwrap();
    for (to, ending) in
        [("npz", "npz"), ("safetensors", "safetensors"), ("transformer-lens", "npz"), ("nanda", "safetensors")]
    {
        let (file, out) = (format!("{to}.{ending}"), format!("back_{to}"));
        stdout(dir.path(), &["export", "run", "--seed", "5", "--to", to, "--out", &file], 0);
        stdout(dir.path(), &["import", &file, "--seeds", "77", "--out", &out], 0);
        let got = open_snapshots(&dir.path().join(&out)).unwrap();
        assert_eq!(got.spec().train.seeds.0, [77]);
        assert_eq!(got.read(8).unwrap().train_mask.data, want.train_mask.row(1).unwrap().data, "{file}");
    }
    // A file that has the seed alone is not imported with another.
    let params: Vec<Tensor> = want.params.iter().map(|tensor| tensor.row(1).unwrap()).collect();
    let spec = open_snapshots(&run).unwrap().spec().to_toml();
    let texts = [("phaselab_spec", spec.as_str()), ("phaselab_seed", "5")];
    fs::write(dir.path().join("bare.npz"), phaselab::exchange::npy::write_npz(&params, &texts).unwrap()).unwrap();
    let output = phaselab(dir.path(), &["import", "bare.npz", "--seeds", "77", "--out", "bare"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("it is of seed 5, from which its split is made; --seeds gives 77"));
    stdout(dir.path(), &["import", "bare.npz", "--out", "bare"], 0);
}

#[test]
fn a_mask_of_examples_is_one_and_steps_that_are_given_win() {
    let dir = five();
    let mask: Vec<u8> = (0..25).map(|i| u8::from(i % 5 < 2)).collect();
    let arrays = |split: Tensor| {
        let params = SHAPES.iter().enumerate().map(|(n, (name, shape))| {
            let data = Data::F32(numbers(n as u64, shape.iter().product(), 40));
            Tensor::new(*name, shape.to_vec(), data).unwrap()
        });
        phaselab::exchange::npy::write_npz(&params.chain([split]).collect::<Vec<_>>(), &[]).unwrap()
    };
    let as_mask = Tensor::new("train", vec![25], Data::U8(mask.clone())).unwrap();
    fs::write(dir.path().join("mask.npz"), arrays(as_mask)).unwrap();
    stdout(dir.path(), &["import", "mask.npz", "--task", "five", "--out", "mask"], 0);
    assert_eq!(open_snapshots(&dir.path().join("mask")).unwrap().read(0).unwrap().train_mask.data, Data::U8(mask));
    let twice = Tensor::new("train", vec![3], Data::U32(vec![1, 0, 1])).unwrap();
    assert!(refusal(dir.path(), "twice.npz", &arrays(twice)).contains("the index 1 of an example stands twice"));
    let short = Tensor::new("train", vec![3], Data::U8(vec![1, 0, 1])).unwrap();
    assert!(refusal(dir.path(), "short.npz", &arrays(short)).contains("a mask has 3 booleans"));

    let args = ["import", &fixture("import_series.pth"), "--task", "five", "--every", "4", "--out", "every"];
    let output = phaselab(dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the steps of --every 4, not its own"), "{}", text(&output.stderr));
    assert_eq!(open_snapshots(&dir.path().join("every")).unwrap().steps(), [0, 4, 8]);
}

#[test]
fn a_map_of_names_brings_another_programs_parameters() {
    let dir = five();
    let theirs = |n: u64, shape: &[usize]| Data::F32(numbers(n, shape.iter().product(), 40));
    // Theirs: [out, in] as nn.Linear has it, query, key and value in one matrix [3 · heads · d_head, d_model].
    let transposed = |n: u64, rows: usize, columns: usize| {
        let Data::F32(v) = theirs(n, &[rows, columns]) else { panic!() };
        Data::F32((0..rows * columns).map(|i| v[i % rows * columns + i / rows]).collect())
    };
    let mut qkv = vec![];
    for n in 2..5 {
        let Data::F32(v) = theirs(n, &[2, 8, 3]) else { panic!() };
        (0..2).for_each(|h| (0..3).for_each(|k| qkv.extend((0..8).map(|d| v[h * 24 + d * 3 + k]))));
    }
    let tensor = |name: &str, shape: &[usize], data: Data| Tensor::new(name, shape.to_vec(), data).unwrap();
    let arrays = [
        tensor("tok.weight", &[6, 8], theirs(0, &[6, 8])),
        tensor("pos.weight", &[3, 8], theirs(1, &[3, 8])),
        tensor("layers.0.qkv.weight", &[18, 8], Data::F32(qkv)),
        tensor("layers.0.out", &[6, 8], theirs(5, &[6, 8])),
        tensor("layers.0.fc1.weight", &[7, 8], transposed(6, 8, 7)),
        tensor("layers.0.fc1.bias", &[7], theirs(7, &[7])),
        tensor("layers.0.fc2.weight", &[8, 7], transposed(8, 7, 8)),
        tensor("layers.0.fc2.bias", &[8], theirs(9, &[8])),
        tensor("head.weight", &[5, 8], transposed(10, 8, 5)),
        tensor("layers.0.causal.mask", &[1], theirs(0, &[1])),
    ];
    fs::write(dir.path().join("theirs.npz"), phaselab::exchange::npy::write_npz(&arrays, &[]).unwrap()).unwrap();
    let map = "ignore = ['*.mask']\n[names]\n'embed.W_E' = 'tok.weight'\n'pos_embed.W_pos' = 'pos.weight'\n\
        'blocks.*.attn.W_Q' = { name = 'layers.*.qkv.weight', rows = [0, 6], reshape = [2, 3, 8], transpose = [0, 2, 1] }\n\
        'blocks.*.attn.W_K' = { name = 'layers.*.qkv.weight', rows = [6, 12], reshape = [2, 3, 8], transpose = [0, 2, 1] }\n\
        'blocks.*.attn.W_V' = { name = 'layers.*.qkv.weight', rows = [12, 18], reshape = [2, 3, 8], transpose = [0, 2, 1] }\n\
        'blocks.*.attn.W_O' = { name = 'layers.*.out', reshape = [2, 3, 8] }\n\
        'blocks.*.mlp.W_in' = { name = 'layers.*.fc1.weight', transpose = true }\n\
        'blocks.*.mlp.b_in' = 'layers.*.fc1.bias'\n\
        'blocks.*.mlp.W_out' = { name = 'layers.*.fc2.weight', transpose = true }\n\
        'blocks.*.mlp.b_out' = 'layers.*.fc2.bias'\n'unembed.W_U' = { name = 'head.weight', transpose = true }\n";
    fs::write(dir.path().join("names.toml"), map).unwrap();
    let args = ["import", "theirs.npz", "--task", "five", "--map", "names.toml", "--step", "40", "--out", "run"];
    stdout(dir.path(), &args, 0);
    assert_fixture(&dir.path().join("run"), 40);
    let output = phaselab(dir.path(), &["import", "theirs.npz", "--task", "five", "--out", "other"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("--map NAMES.toml"), "{}", text(&output.stderr));
}

/// What the program says of a file that must not be imported; it may leave no run behind.
fn refusal(dir: &Path, name: &str, bytes: &[u8]) -> String {
    fs::write(dir.join(name), bytes).unwrap();
    let output: Output = phaselab(dir, &["import", name, "--task", "five", "--out", "hostile"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{name}: {stderr}");
    assert!(stderr.contains(&format!("error: cannot import {name}")) && stderr.contains("hint:"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!dir.join("hostile").exists(), "{name} left a run behind");
    stderr
}

#[test]
fn damaged_and_hostile_files_are_refused_and_run_nothing() {
    let dir = five();
    for name in ["import_zip.pth", "import_legacy.pth", "import_series.pth"] {
        let whole = fs::read(fixture(name)).unwrap();
        for part in [0, 1, 3, 5, 7] {
            refusal(dir.path(), "cut.pth", &whole[..whole.len() * part / 8]);
        }
    }
    let proof = dir.path().join("proof");
    let command = format!("touch {}", proof.display());
    let call = format!("\x02cposix\nsystem\n(S'{command}'\ntR.");
    let pickle = [&[0x80], call.as_bytes()].concat();
    let told = refusal(dir.path(), "runs.pth", &pickle);
    assert!(told.contains("`posix.system`") && told.contains("nothing was run"), "{told}");
    let in_zip = zip_of(&[("archive/data.pkl", &pickle), ("archive/version", b"3\n")]);
    assert!(refusal(dir.path(), "runs_zip.pth", &in_zip).contains("nothing was run"));
    assert!(!proof.exists(), "code of the file was run");

    let escape = zip_of(&[("../../escape/data.pkl", b"\x80\x02}.")]);
    assert!(refusal(dir.path(), "escape.pth", &escape).contains("leaves it"));
    let storage = |key: &str, count: &str, shape: &str| {
        let text = format!(
            "\x02}}X\x09\x00\x00\x00embed.W_Ectorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n\
             S'{key}'\nX\x03\x00\x00\x00cpu{count}tQK\x00({shape}t(K\x01t\u{0}"
        );
        // The last argument is False, an opcode beyond ASCII.
        let mut bytes = [&[0x80], text.trim_end_matches('\0').as_bytes()].concat();
        bytes.extend([0x89, b'}', b't', b'R', b's', b'.']);
        bytes
    };
    // `S'…'` is no opcode of data that PyTorch writes; keys go as texts.
    let with_key = |key: &str, count: &str, shape: &str| {
        let bytes = storage("KEY", count, shape);
        let text = [&b"X"[..], &(key.len() as u32).to_le_bytes(), key.as_bytes()].concat();
        let at = bytes.windows(7).position(|w| w == b"S'KEY'\n").unwrap();
        [&bytes[..at], &text[..], &bytes[at + 7..]].concat()
    };
    let zip = |pickle: &[u8]| zip_of(&[("a/data.pkl", pickle), ("a/data/0", &[0; 16]), ("a/version", b"3\n")]);
    assert!(refusal(dir.path(), "key.pth", &zip(&with_key("../0", "K\x04", "K\x04"))).contains("`../0`"));
    assert!(
        refusal(dir.path(), "huge.pth", &zip(&with_key("0", "K\x04", "J\u{7f}\u{7f}\u{7f}\u{7f}")))
            .contains("larger than")
    );
    assert!(
        refusal(dir.path(), "count.pth", &zip(&with_key("0", "J\u{7f}\u{7f}\u{7f}\u{7f}", "K\x04")))
            .contains("numbers are said")
    );
    // One long shape, asked for by every tensor.
    let long = [
        &b"\x80\x02("[..],
        &b"K\x01".repeat(1 << 20),
        b"tq\x00(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQq\x010",
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x020",
        &b"h\x02(h\x01K\x00h\x00h\x00tR".repeat(4000),
        b".",
    ];
    assert!(refusal(dir.path(), "shapes.pth", &zip(&long.concat())).contains("1048576 axes"));
    refusal(dir.path(), "ok_but_small.pth", &zip(&with_key("0", "K\x04", "K\x04")));

    let bomb = deflated_zeros("embed.W_E.npy", 200 << 20);
    assert!(bomb.len() < 1 << 20);
    assert!(refusal(dir.path(), "bomb.npz", &bomb).contains("unpacks to more"));
    let header = br#"{"embed.W_E":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    refusal(dir.path(), "huge.safetensors", &[&length[..], header, &[0; 16]].concat());
    refusal(dir.path(), "header.safetensors", &[&u64::MAX.to_le_bytes()[..], header].concat());
    refusal(dir.path(), "text.pth", b"hello, this is a text and no file of tensors");
    refusal(dir.path(), "empty.pth", b"");
    assert_eq!(phaselab(dir.path(), &["import", "none.pth", "--out", "x"]).status.code(), Some(3));
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in entries {
        writer.start_file(*name, options).unwrap();
        std::io::Write::write_all(&mut writer, bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn deflated_zeros(name: &str, n: usize) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    writer.start_file(name, options).unwrap();
    let block = vec![0; 1 << 20];
    (0..n >> 20).for_each(|_| std::io::Write::write_all(&mut writer, &block).unwrap());
    writer.finish().unwrap().into_inner()
}

#[test]
fn what_a_file_does_not_say_is_asked_for() {
    let dir = five();
    let asks = |args: &[&str], status: i32, words: &str| {
        let output = phaselab(dir.path(), args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(!dir.path().join("out").exists(), "{args:?} left a run behind");
    };
    let (zip, series) = (fixture("import_zip.pth"), fixture("import_series.pth"));
    fs::write(dir.path().join("tasks/five_too.toml"), FIVE).unwrap();
    asks(&["import", &zip, "--out", "out"], 2, "its sizes fit the tasks five, five_too");
    asks(
        &["import", &zip, "--out", "out", "--task", "mod_add_113"],
        2,
        "embed.W_E has shape [6, 8], expected d_vocab = 114",
    );
    asks(&["import", &zip, "--out", "out", "--task", "five", "--layout", "nanda"], 2, "layout nanda");
    asks(
        &["import", &zip, "--out", "out", "--task", "five", "--set", "model.d_mlp=9"],
        3,
        "the spec's model has [8, 9]",
    );
    asks(&["import", &zip, "--out", "out", "--task", "five", "--set", "model.d_mpl=9"], 2, "did you mean `d_mlp`?");
    asks(&["import", &series, &zip, "--out", "out", "--task", "five"], 2, "it has 3 checkpoints");
    for (args, words) in [
        (&["--every", "0"][..], "invalid value '0'"),
        (&["--losses-every", "0"], "invalid value '0'"),
        (&["--step", "3", "--shift", "1"], "cannot be used with"),
        (&["--step", "3"], "--step is the step of a single checkpoint, and it has 3"),
        (&["--seeds", "1,2"], "2 seeds are given for 1 files"),
    ] {
        asks(&[&["import", &series, "--out", "out", "--task", "five"], args].concat(), 2, words);
    }
    for (args, words) in [
        (["--every", "10"], "--every is for a list of checkpoints, and it has one"),
        (["--losses-every", "5"], "--losses-every is for lists of losses"),
    ] {
        asks(&[&["import", &zip, "--out", "out", "--task", "five"], &args[..]].concat(), 2, words);
    }
    asks(&["import", &zip, &zip, "--out", "out", "--task", "five", "--every", "4"], 2, "say their own");
    let w_u = Tensor::new("unembed.W_U", vec![8, 5], Data::F32(numbers(0, 40, 0))).unwrap();
    fs::write(dir.path().join("bare.npz"), phaselab::exchange::npy::write_npz(&[w_u], &[]).unwrap()).unwrap();
    asks(&["import", "bare.npz", "--task", "five", "--out", "out"], 3, "no spec says what the model is");
    let square = |name: &str, shape: &[usize]| {
        Tensor::new(name, shape.to_vec(), Data::F32(numbers(0, shape.iter().product(), 0))).unwrap()
    };
    let arrays = [square("embed.W_E", &[6, 6]), square("blocks.0.mlp.W_in", &[6, 6]), square("unembed.W_U", &[6, 6])];
    fs::write(dir.path().join("square.npz"), phaselab::exchange::npy::write_npz(&arrays, &[]).unwrap()).unwrap();
    asks(
        &["import", "square.npz", "--task", "five", "--out", "out"],
        2,
        "--layout transformer-lens or --layout transposed",
    );
    let args = ["import", "square.npz", "--task", "five", "--layout", "transposed", "--out", "decided"];
    stdout(dir.path(), &args, 0);
    let w_u = open_snapshots(&dir.path().join("decided")).unwrap().read_one(0, "unembed.W_U").unwrap();
    assert_eq!((w_u.shape.as_slice(), w_u.to_f64()[1]), (&[1, 6, 5][..], f64::from(numbers(0, 36, 0)[6])));
}

/// A Python that imports these modules, or a line that says what is skipped. A Python that is asked for must be there.
pub(crate) fn python(modules: &str) -> Option<String> {
    let asked = std::env::var("PHASELAB_TEST_PYTHON");
    let python = asked.clone().unwrap_or_else(|_| "python3".into());
    let imports = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if let (Ok(python), Err(e)) = (asked, &imports) {
        panic!("PHASELAB_TEST_PYTHON is `{python}`, which does not start: {e}");
    }
    match imports {
        Ok(output) if output.status.success() => Some(python),
        _ => {
            eprintln!("skipped: `{python}` cannot import {modules}; set PHASELAB_TEST_PYTHON to a Python that can");
            None
        }
    }
}

#[test]
fn transformer_lens_loads_exports_strictly_and_gives_our_logits() {
    let Some(python) = python("torch, safetensors, transformer_lens") else { return };
    let has_model = "from transformer_lens import HookedTransformer";
    let shim = format!("import transformers; transformers.TRANSFORMERS_CACHE = ''; {has_model}");
    if !Command::new(&python).args(["-c", &shim]).output().unwrap().status.success() {
        eprintln!("skipped: TransformerLens has no HookedTransformer, as from 4.0 on; put 1, 2 or 3 on PYTHONPATH");
        return;
    }
    let dir = lab();
    let everything = [
        "model.attn_bias=true",
        "model.unembed_bias=true",
        "model.normalization=LN",
        "model.act=gelu",
        "model.n_layers=2",
    ];
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("plain", &[], &["safetensors", "pth"]),
        ("full", &everything, &["safetensors"]),
        ("f64", &["dtype=f64"], &["safetensors"]),
        ("attention", &["model.d_mlp=0"], &["safetensors"]),
    ];
    for (name, sets, endings) in cases {
        trained(dir.path(), name, sets);
        let activations = format!("{name}.npz");
        stdout(dir.path(), &["cache", name, "--seed", "5", "--hooks", "logits", "--out", &activations], 0);
        for ending in endings {
            let (state, config) = (format!("{name}.{ending}"), format!("{name}.json"));
            let args = ["export", name, "--seed", "5", "--to", "transformer-lens", "--force", "--out", state.as_str()];
            let output = phaselab(dir.path(), &args);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            assert!(text(&output.stderr).contains("strict=True"));
            let script = fixture("load_transformer_lens.py");
            let output = Command::new(&python)
                .current_dir(dir.path())
                .args([&script, &state, &config, &activations])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            let line = text(&output.stdout);
            let (version, off) = line.trim().lines().last().unwrap().split_once(' ').unwrap();
            let off: f64 = off.parse().unwrap();
            eprintln!("TransformerLens {version}, {state}: logits differ by {off:.1e} of the largest");
            assert!(off < if name == "f64" { 1e-12 } else { 1e-5 }, "{state}: {off:e}");
        }
    }
}

#[test]
fn activations_go_into_files() {
    let dir = lab();
    // By its path: this process works in another folder.
    let card = format!("task={}", dir.path().join("tasks/thirteen.toml").display());
    trained(dir.path(), "run", &[&card]);
    let hooks = stdout(dir.path(), &["cache", "run", "--list"], 0);
    assert!(
        hooks.lines().any(|line| line.starts_with("blocks.0.mlp.hook_post ") && line.ends_with("[169, 3, 64]")),
        "{hooks}"
    );
    stdout(dir.path(), &["cache", "run", "--hooks", "blocks.0.mlp.hook_post", "--out", "a.h5"], 0);
    let record = phaselab::checkpoint::hdf5::read(&dir.path().join("a.h5")).unwrap();
    let acts = record.tensor("activations/blocks.0.mlp.hook_post").unwrap();
    assert_eq!(acts.shape, [169, 3, 64]);
    assert_eq!(record.tensor("tokens").unwrap().shape, [169, 3]);
    let run = phaselab::forward::RunSeries::open(&dir.path().join("run"), 1).unwrap();
    let own = run.run_with_cache(8, 0, &["blocks.0.mlp.hook_post"]).unwrap();
    assert!(bits(&acts.data) == bits(&own[0].data));
    let refused = |args: &[&str], status: i32, words: &str| {
        let output = phaselab(dir.path(), args);
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    };
    refused(
        &["cache", "run", "--hooks", "blocks.0.mlp.hook_pots", "--out", "b.npz"],
        2,
        "did you mean `blocks.0.mlp.hook_post`?",
    );
    refused(&["cache", "run", "--hooks", "logits", "--out", "a.h5"], 2, "already exists");
    refused(&["cache", "run", "--hooks", "logits", "--out", "a.csv"], 2, ".h5 or .npz");
    refused(&["cache", "run", "--step", "7", "--out", "b.h5"], 3, "the nearest is that of step 8");
    assert!(!dir.path().join("b.h5").exists());
    stdout(dir.path(), &["cache", "run", "--out", "a.h5", "--force"], 0);
}

const NOTEBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

#[test]
fn the_python_module_reads_a_run_and_its_example_draws() {
    let Some(python) = python("h5py, numpy") else { return };
    let dir = lab();
    trained(dir.path(), "run", &["train.snapshots.every=4"]);
    stdout(dir.path(), &["measure", "run", "gini", "fourier_norm_w_e"], 0);
    let run = |script: &[&str]| {
        let mut command = Command::new(&python);
        command.current_dir(dir.path()).args(script).env("PYTHONPATH", NOTEBOOK);
        let output = command.env("PHASELAB_BIN", env!("CARGO_BIN_EXE_phaselab")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(run(&[&fixture("phaselab_module.py"), "run"]).ends_with("all is well\n"));
    if let Some(_drawing) = self::python("matplotlib") {
        let told = run(&[&format!("{NOTEBOOK}/example.py"), "run", "out.png"]);
        assert!(told.contains("of the neurons are on"), "{told}");
        assert!(fs::read(dir.path().join("out.png")).unwrap().starts_with(b"\x89PNG"));
    }
    // A run that is still in training has loose snapshots.
    let mut child =
        command(dir.path(), &["train", "tiny", "--quiet", "--steps", "100000", "--out", "going"]).spawn().unwrap();
    let snapshot = dir.path().join("going/snapshots/step_0000000020.h5");
    while !snapshot.exists() {
        assert!(child.try_wait().unwrap().is_none(), "training ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(&["-c", "import phaselab; r = phaselab.open('going'); assert 20 in r.steps, r.steps; r.params(20, replica=1)"]);
}
