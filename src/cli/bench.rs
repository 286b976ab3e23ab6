//! `phaselab bench`: the trainer's own step beside PyTorch's, alternating in one run, as medians and ratios.
//!
//! Ours is the canonical grokking set-up with default options, or with `--toys` toy models of superposition,
//! or with `--transformers` transformers on streams, through [`Steps::advance`];
//! theirs are the scripts in `benches/peers/`.
//! Every round runs each side once, so that a machine that slows down slows both; a ratio is the median of the rounds' ratios.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use phaselab::engine::{Workers, peak_flops};
use phaselab::error::{Error, Result};
use phaselab::rng::Rng;
use phaselab::spec::{Normalization, OptimKind, OptimSpec, PerFeature, Seeds, Spec, ToySpec, Widths};
use phaselab::task::rule::{Examples, Stream};
use phaselab::task::{Card, Task};
use phaselab::train::{Session, Steps, ToySession};

use super::exit::{Answer, Failure};
use super::output::Output;

/// Times the training step, and PyTorch's beside it
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  phaselab bench --python .venv/bin/python --compile\n  phaselab bench --python .venv/bin/python --toys\n  phaselab bench --python .venv/bin/python --transformers --compile"
)]
pub struct Args {
    /// A Python with PyTorch; without it only phaselab is timed
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// The folder of the peers' scripts
    #[arg(long, value_name = "FOLDER", default_value = "benches/peers")]
    peers: PathBuf,
    /// Time toy models of superposition instead of the canonical grokking step
    #[arg(long)]
    toys: bool,
    /// Time small transformers on streams of sequences instead
    #[arg(long, conflicts_with = "toys")]
    transformers: bool,
    /// Time the peers through torch.compile as well
    #[arg(long)]
    compile: bool,
    /// Rounds; each runs every case once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Steps a case and round
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Worker threads of both sides [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
}

/// One thing that is timed.
struct Case {
    name: String,
    kind: Kind,
    /// Milliseconds a step, one a round.
    ms: Vec<f64>,
}

enum Kind {
    Ours { replicas: u64, flops_per_step: f64 },
    Peer { step: &'static str, compile: bool },
    Sequences { case: &'static str, drawing: f64 },
    SequencePeer { case: &'static str, compile: bool },
    Toys { sizes: [u64; 3] },
    ToyPeer { sizes: [u64; 3], compile: bool },
}

/// Features, hidden dimensions and instances of the toy models that are timed.
const TOYS: [[u64; 3]; 4] = [[5, 2, 10], [5, 2, 1000], [20, 5, 100], [2, 1, 1000]];

const WARMUP: u32 = 3;

/// Runs all cases and prints the table.
///
/// # Errors
/// A Python without PyTorch, scripts that are not there.
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism().map_or(1, Into::into),
    };
    let workers = Workers::new(threads)?;
    let mut cases = match (args.toys, args.transformers) {
        (true, _) => toy_cases(args),
        (_, true) => sequence_cases(args),
        _ => cases(args, &workers)?,
    };
    let mut peaks = vec![];
    for round in 1..=args.rounds {
        output.note(&format!("round {round} of {}", args.rounds));
        peaks.push(peak_flops::<f32>(&workers));
        for case in &mut cases {
            case.ms.push(match &mut case.kind {
                Kind::Sequences { case, drawing } => {
                    let [ms, share] = sequences(case, args.steps, &workers)?;
                    *drawing = share;
                    ms
                }
                &mut Kind::SequencePeer { case, compile } => peer(args, "transformers.py", case, compile, threads)?,
                &mut Kind::Ours { replicas, .. } => ours(replicas, args.steps, &workers)?,
                &mut Kind::Peer { step, compile } => peer(args, "grokking.py", step, compile, threads)?,
                &mut Kind::Toys { sizes } => toys(sizes, args.steps, &workers)?,
                &mut Kind::ToyPeer { sizes, compile } => {
                    peer(args, "superposition.py", &sizes.map(|n| n.to_string()).join(","), compile, threads)?
                }
            });
        }
    }
    output.print(&match (args.toys, args.transformers) {
        (true, _) => toy_table(&cases, threads),
        (_, true) => sequence_table(&cases, threads),
        _ => table(&cases, median(&peaks), threads),
    })?;
    Ok(Answer::Yes)
}

fn cases(args: &Args, workers: &Workers) -> Result<Vec<Case>> {
    let mut cases = vec![];
    for replicas in [1, 8] {
        let (spec, task) = canonical(replicas)?;
        let flops_per_step = Session::<f32>::new(&spec, &task, workers.clone())?.plan().flops_per_step();
        let name = format!("phaselab, {replicas} replica{}", if replicas == 1 { "" } else { "s" });
        cases.push(Case { name, kind: Kind::Ours { replicas, flops_per_step }, ms: vec![] });
    }
    if args.python.is_some() {
        for step in ["published", "lean"] {
            for compile in [false, true] {
                if compile && !args.compile {
                    continue;
                }
                let how = if compile { "torch.compile" } else { "eager" };
                let name = format!("PyTorch {how}, {step} step");
                cases.push(Case { name, kind: Kind::Peer { step, compile }, ms: vec![] });
            }
        }
    }
    Ok(cases)
}

fn toy_cases(args: &Args) -> Vec<Case> {
    let ways: &[bool] = match (&args.python, args.compile) {
        (None, _) => &[],
        (Some(_), false) => &[false],
        (Some(_), true) => &[false, true],
    };
    let mut cases = vec![];
    for sizes in TOYS {
        let [features, hidden, instances] = sizes;
        let name = format!("{features} features, {hidden} hidden, {instances} instances");
        cases.push(Case { name: name.clone(), kind: Kind::Toys { sizes }, ms: vec![] });
        for &compile in ways {
            let how = if compile { "torch.compile" } else { "eager" };
            let name = format!("  PyTorch {how}");
            cases.push(Case { name, kind: Kind::ToyPeer { sizes, compile }, ms: vec![] });
        }
    }
    cases
}

/// The two transformers, each with its peers.
fn sequence_cases(args: &Args) -> Vec<Case> {
    let mut cases = vec![];
    for case in ["attention", "mlp"] {
        let sizes = if case == "mlp" { "d_model 128, MLPs of 512" } else { "d_model 64, attention only" };
        let kind = Kind::Sequences { case, drawing: f64::NAN };
        cases.push(Case { name: format!("2 layers, {sizes}"), kind, ms: vec![] });
        for compile in [false, true] {
            if args.python.is_some() && (args.compile || !compile) {
                let how = if compile { "torch.compile" } else { "eager" };
                let kind = Kind::SequencePeer { case, compile };
                cases.push(Case { name: format!("  PyTorch {how}"), kind, ms: vec![] });
            }
        }
    }
    cases
}

/// Repeated random tokens, the next one asked everywhere: vocabulary 64, 32 positions.
const SEQUENCES: &str = "title = \"repeated random tokens\"\nfamily = \"induction\"\n\
    params = { vocab = 63, length = 32, subsequence = 15, ask = \"all\" }\nsplit = { stream = true }\n";

/// A step on fresh sequences, never evaluated but at step 0: milliseconds, and the share of them in which examples are drawn.
fn sequences(case: &str, steps: u32, workers: &Workers) -> Result<[f64; 2]> {
    let mut spec = Spec::default();
    spec.train.seeds = Seeds(vec![0]);
    (spec.train.eval_every, spec.train.batch_size) = (u64::MAX, Some(256));
    (spec.model.n_layers, spec.model.normalization) = (2, Normalization::Ln);
    (spec.model.d_model, spec.model.d_mlp) = if case == "mlp" { (128, 512) } else { (64, 0) };
    (spec.optim.weight_decay, spec.optim.betas) = (0.01, [0.9, 0.999]);
    let task = Card::parse("bench.toml".as_ref(), SEQUENCES)?.build_for(&spec.data)?;
    let rule = task.rule.clone().expect("invariant: the family is one of rules");
    let mut session = Session::<f32>::new(&spec, &task, workers.clone())?;
    let (mut times, mut drawn) = (vec![], vec![]);
    let mut stream = Stream::default();
    for i in 0..u64::from(WARMUP + steps) {
        let started = Instant::now();
        session.advance(u64::MAX)?;
        let step = started.elapsed().as_secs_f64();
        let mut examples = Examples::default();
        let started = Instant::now();
        stream.draw(&*rule, (256, i), &mut Rng::stream(1, "bench"), &mut examples);
        if i >= u64::from(WARMUP) {
            times.push(1e3 * step);
            drawn.push(started.elapsed().as_secs_f64() / step);
        }
    }
    Ok([median(&times), median(&drawn)])
}

fn sequence_table(cases: &[Case], threads: usize) -> String {
    let mut text = format!(
        "transformers on fresh sequences, vocabulary 64, 32 positions, batch 256, 4 heads, LayerNorm, AdamW, f32, {threads} threads, \
         medians over rounds\n"
    );
    let mut own: Option<&Case> = None;
    for case in cases {
        text += &format!("{:<44} {:9.2} ms a step", case.name, median(&case.ms));
        if let Kind::Sequences { drawing, .. } = case.kind {
            text += &format!(", {:.1} % of them to draw the examples", 100.0 * drawing);
            own = Some(case);
        } else {
            let ratios = own.iter().flat_map(|own| case.ms.iter().zip(&own.ms)).map(|(peer, own)| peer / own);
            text += &format!(", {:.1} times as long", median(&ratios.collect::<Vec<_>>()));
        }
        text.push('\n');
    }
    text
}

/// A step of toy models that draw fresh examples each, never evaluated but at step 0; milliseconds.
fn toys([features, hidden, instances]: [u64; 3], steps: u32, workers: &Workers) -> Result<f64> {
    let mut spec = Spec::default();
    spec.train.seeds = Seeds((0..instances).collect());
    spec.train.eval_every = u64::MAX;
    spec.optim = OptimSpec { kind: OptimKind::Adam, weight_decay: 0.0, warmup_steps: 0, ..OptimSpec::default() };
    spec.toy = Some(ToySpec {
        n_features: features as usize,
        d_hidden: Widths(vec![hidden as usize]),
        feature_prob: PerFeature::Number(0.05),
        importance: PerFeature::Expr("pow(0.9, i)".into()),
        ..ToySpec::default()
    });
    let mut session = ToySession::<f32>::new(&spec, workers.clone())?;
    let mut times = vec![];
    for i in 0..u64::from(WARMUP + steps) {
        let started = Instant::now();
        session.advance(i + 1)?;
        if i >= u64::from(WARMUP) {
            times.push(1e3 * started.elapsed().as_secs_f64());
        }
    }
    Ok(median(&times))
}

fn toy_table(cases: &[Case], threads: usize) -> String {
    let mut text = format!(
        "toy models of superposition, batch 1024 drawn anew for each instance, density 0.05, Adam, f32, {threads} threads, medians \
         over rounds\n"
    );
    let mut own: Option<&Case> = None;
    for case in cases {
        text += &format!("{:<44} {:9.3} ms a step", case.name, median(&case.ms));
        match case.kind {
            Kind::ToyPeer { .. } => {
                let ratios = own.iter().flat_map(|own| case.ms.iter().zip(&own.ms)).map(|(peer, own)| peer / own);
                text += &format!(", {:.1} times as long", median(&ratios.collect::<Vec<_>>()));
            }
            _ => own = Some(case),
        }
        text.push('\n');
    }
    text
}

/// The canonical set-up, default options, never evaluated but at step 0.
fn canonical(replicas: u64) -> Result<(Spec, Task)> {
    let mut spec = Spec::default();
    spec.train.seeds = Seeds((0..replicas).collect());
    spec.train.eval_every = u64::MAX;
    spec.data.train_frac = Some(0.3);
    let task = Task::load("mod_add_113")?;
    Ok((spec, task))
}

fn ours(replicas: u64, steps: u32, workers: &Workers) -> Result<f64> {
    let (spec, task) = canonical(replicas)?;
    let mut session = Session::<f32>::new(&spec, &task, workers.clone())?;
    let mut times = vec![];
    for i in 0..WARMUP + steps {
        let started = Instant::now();
        session.advance(u64::MAX)?;
        if i >= WARMUP {
            times.push(1e3 * started.elapsed().as_secs_f64());
        }
    }
    Ok(median(&times))
}

fn peer(args: &Args, script: &str, step: &str, compile: bool, threads: usize) -> Result<f64> {
    let python = args.python.as_ref().expect("invariant: peers are timed with a Python only");
    let script = args.peers.join(script);
    if !script.is_file() {
        let hint = "run from the repository, or name the folder with --peers".into();
        return Err(Error::Missing { what: "the peers' script".into(), path: script, hint });
    }
    let mut command = Command::new(python);
    command.arg(&script).arg(step).args(["--threads", &threads.to_string(), "--steps", &args.steps.to_string()]);
    if compile {
        command.arg("--compile");
    }
    let ended = command.stdin(Stdio::null()).output().map_err(Error::io("start", python))?;
    let text = String::from_utf8_lossy(&ended.stdout);
    let number = text.split("\"median_ms\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
    number.and_then(|n| n.trim().parse().ok()).ok_or_else(|| {
        let told = String::from_utf8_lossy(&ended.stderr);
        Error::Value {
            what: format!("what {} {} printed", python.display(), script.display()),
            got: told.lines().last().unwrap_or("nothing").to_owned(),
            expected: "its median_ms; the Python needs PyTorch".into(),
        }
    })
}

fn table(cases: &[Case], peak: f64, threads: usize) -> String {
    let mut text = format!(
        "canonical grokking step (p = 113, full batch of 3,830, f32), {threads} threads, medians over rounds\n\
         f32 matrix peak measured in the same run: {:.0} GFLOP/s\n",
        peak * 1e-9
    );
    let peers: Vec<&Case> = cases.iter().filter(|c| matches!(c.kind, Kind::Peer { .. })).collect();
    for case in cases {
        let ms = median(&case.ms);
        text += &format!("{:<34} {ms:8.2} ms a step", case.name);
        if let Kind::Ours { replicas, flops_per_step } = case.kind {
            let replicas = replicas as f64;
            let share = flops_per_step * replicas / (ms * 1e-3) / peak;
            text += &format!(
                ", {:.2} GFLOP after savings, {:.0} % of peak",
                flops_per_step * replicas * 1e-9,
                100.0 * share
            );
            for peer in &peers {
                let ratios: Vec<f64> = peer.ms.iter().zip(&case.ms).map(|(peer, own)| replicas * peer / own).collect();
                text += &format!("\n    {:.1} times the throughput of {}", median(&ratios), peer.name);
            }
        }
        text.push('\n');
    }
    text
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
