//! `kill -9` at 50 moments, a third at random, a third while a file is being written, a third while the run is packed: nothing that was there is lost, and going on gives the
//! bits of a run that was never stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use phaselab::checkpoint::open_snapshots;
use phaselab::tensor::Tensor;

const KILLS: usize = 50;

const SPEC: &str = r#"
task = "mod_add_53"
[data]
train_frac = 0.3
[model]
d_model = 16
n_heads = 2
d_mlp = 32
[train]
steps = 240
seeds = "0..3"
eval_every = 5
resume_every = 20
snapshots = { every = 10 }
"#;

fn start(spec: &Path, out: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phaselab"));
    command.arg("train").arg(spec).arg("--out").arg(out).args(["--threads", "2", "--quiet"]);
    if out.join("run.toml").exists() {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Parameters by step, and the metrics.
fn contents(run: &Path) -> (BTreeMap<u64, Vec<Tensor>>, Vec<Tensor>) {
    let reader = open_snapshots(run).unwrap();
    let params = reader.steps().iter().map(|&step| (step, reader.read(step).unwrap().params)).collect();
    (params, reader.metrics().unwrap())
}

/// Steps that are there; none while the folder is still being made.
fn listed(run: &Path) -> Vec<u64> {
    open_snapshots(run).map(|reader| reader.steps().to_vec()).unwrap_or_default()
}

fn being_written(run: &Path) -> bool {
    being_packed(run) || [run.join("snapshots"), run.join("resume")].iter().any(|folder| has_temporary(folder))
}

/// Whether `run.h5` is being written, or loose snapshots are being removed after it.
fn being_packed(run: &Path) -> bool {
    has_temporary(run) || (run.join("run.h5").exists() && !listed_loose(run).is_empty())
}

fn has_temporary(folder: &Path) -> bool {
    names(folder).iter().any(|name| name.starts_with(".tmp-"))
}

fn listed_loose(run: &Path) -> Vec<String> {
    names(&run.join("snapshots")).into_iter().filter(|name| name.starts_with("step_")).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn fifty_kills_lose_nothing_and_change_no_bit() {
    let home = tempfile::tempdir().unwrap();
    let spec = home.path().join("experiment.toml");
    std::fs::write(&spec, SPEC).unwrap();
    let whole = home.path().join("whole");
    let output = start(&spec, &whole).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (reference, metrics) = contents(&whole);
    assert_eq!(reference.keys().copied().collect::<Vec<_>>(), (0..=240).step_by(10).collect::<Vec<_>>());

    let mut folders: Vec<PathBuf> = vec![home.path().join("run 0")];
    let mut random = 12_345u64;
    let (mut kills, mut while_writing, mut while_packing) = (0, 0, 0);
    while kills < KILLS {
        let run = folders.last().unwrap().clone();
        let mut child = start(&spec, &run);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let patience = Duration::from_millis(30 + (random >> 33) % 250);
        let started = Instant::now();
        let there = |_: &Path| true;
        let moment: &dyn Fn(&Path) -> bool = [&there as _, &being_written as _, &being_packed as _][kills % 3];
        let ended = loop {
            if child.try_wait().unwrap().is_some() {
                break true;
            }
            if started.elapsed() >= patience && moment(&run) {
                break false;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        if ended {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            folders.push(home.path().join(format!("run {}", folders.len())));
            continue;
        }
        let before = listed(&run);
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        while_writing += usize::from(being_written(&run));
        while_packing += usize::from(being_packed(&run));
        let after = listed(&run);
        assert!(before.iter().all(|step| after.contains(step)), "lost: had {before:?}, now {after:?}");
        for step in after {
            let params = open_snapshots(&run).unwrap().read(step).unwrap().params;
            assert_eq!(params, reference[&step], "step {step} after kill {kills}");
        }
    }
    eprintln!("{kills} kills, {while_writing} while a file was written, {while_packing} of them while packing");
    assert!(while_writing > 0 && while_packing > 0, "no kill hit what it aimed at: the test shows less than it says");
    // Every run, whatever was done to it, ends as the whole one.
    for run in &folders {
        let output = start(&spec, run).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (params, run_metrics) = contents(run);
        assert!(params == reference, "{} differs from the uninterrupted run", run.display());
        assert_eq!(run_metrics, metrics);
    }
}
