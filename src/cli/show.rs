//! `phaselab show RUN`: what a run is, and its result again; `phaselab show device`: the machine.

use std::path::Path;

use phaselab::checkpoint::atomic;
use phaselab::error::{Error, Result};
use phaselab::forward::RunSeries;
use phaselab::measure::SnapshotSource;
use phaselab::spec::{Family, Spec};

use super::args::{find_group, find_run};
use super::device;
use super::exit::{Answer, Failure};
use super::output::{Format, Output, columns};
use super::result::{RunResult, plural};
use super::stages;
use super::toy_result::ToyResult;
use super::variants::Comparison;

/// Shows what a run is and its result, or the machine (`show device`)
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  phaselab show grokking_quick --format csv")]
pub struct Args {
    /// A run's folder, or its name under checkpoints/; `device` for processor, threads and GPUs
    run: String,
    /// How to print the result; csv and json leave the description out
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Prints the run, from the files that it has.
///
/// # Errors
/// A run that is not there or has damaged files; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    if args.run == "device" {
        output.print(&device::describe())?;
        return Ok(Answer::Yes);
    }
    if let Some(group) = find_group(&args.run) {
        output.print(&Comparison::load(&group)?.write(args.format, output))?;
        return Ok(Answer::Yes);
    }
    let path = find_run(&args.run)?;
    let run = RunSeries::open(&path, 1)?;
    let series = stages::load_series(&run, &path)?;
    let result = match ToyResult::of(&run, &series)? {
        Some(toys) => toys.write((&path, &run.spec().title), None, args.format, output),
        None => {
            let rows = stages::sum_up(&run, &series)?;
            RunResult::new(&path, run.spec(), &rows, None).write(args.format, output)
        }
    };
    match args.format {
        Format::Table => output.print(&format!("{}\n{result}", describe(&run, &path, output)?))?,
        Format::Csv | Format::Json => output.print(&result)?,
    }
    Ok(Answer::Yes)
}

fn describe(run: &RunSeries, path: &Path, output: &Output) -> Result<String> {
    let (spec, steps) = (run.spec(), run.steps());
    let last = steps.last().copied().unwrap_or_default();
    let seeds = match run.seeds() {
        few if few.len() <= 32 => few.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
        many => format!("{} … {}", many[0], many[many.len() - 1]),
    };
    let rows = [
        match run.task() {
            Ok(task) => ("task", format!("{} ({})", spec.task, task.title)),
            Err(_) => ("features", features(spec)),
        },
        ("model", model(spec)),
        (
            "optimiser",
            format!("{}, lr {}, weight decay {}", lower(spec.optim.kind), spec.optim.lr, spec.optim.weight_decay),
        ),
        ("steps", format!("{last} of {} at most", spec.train.steps)),
        ("checkpoints", steps.len().to_string()),
        ("replicas", format!("{} (seeds {seeds})", run.seeds().len())),
        ("size", format!("{:.1} MB", size_bytes(path)? as f64 / 1e6)),
        ("spec", path.join(phaselab::checkpoint::SPEC).display().to_string()),
    ];
    let title = if spec.title.is_empty() { path.display().to_string() } else { spec.title.clone() };
    Ok(format!("{}\n{}", output.bold(&title), columns(&rows.map(|(name, value)| vec![name.into(), value]), &[])))
}

/// What a toy model's examples are.
fn features(spec: &Spec) -> String {
    let Some(toy) = &spec.toy else { return String::new() };
    let axes: Vec<String> = toy.grid.iter().map(|axis| format!("{} of {}", axis.numbers().len(), axis.name)).collect();
    let grid = if axes.is_empty() { String::new() } else { format!("; grid: {}", axes.join(", ")) };
    format!("{} of {} values, target {}{grid}", toy.n_features, lower(&toy.values), toy.target)
}

fn model(spec: &Spec) -> String {
    let m = &spec.model;
    let dtype = lower(spec.dtype);
    if spec.toy.is_some() {
        return format!("{}, {dtype}", spec.subject());
    }
    match m.family {
        Family::Transformer => format!(
            "transformer of {}, d_model {}, {} of {}, {}, {dtype}",
            plural(m.n_layers, "layer"),
            m.d_model,
            plural(m.n_heads, "head"),
            m.d_head(),
            m.layer.as_ref().map_or(format!("d_mlp {}", m.d_mlp), |layer| format!("{layer}{}", custom(spec))),
        ),
        Family::Mlp => format!(
            "MLP of {}, embeddings of {}, hidden width {}, {dtype}",
            plural(m.n_layers, "hidden layer"),
            m.d_model,
            m.d_mlp
        ),
        Family::Outside(name) => format!("{name}{}, {dtype}", custom(spec)),
    }
}

/// Settings of a model or layer from outside.
fn custom(spec: &Spec) -> String {
    let settings: Vec<String> = spec.model.custom.iter().map(|(key, value)| format!("{key} {value}")).collect();
    if settings.is_empty() { String::new() } else { format!(" with {}", settings.join(", ")) }
}

/// A value of the spec as a spec writes it.
fn lower(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// Of all files in the folder and its subfolders.
fn size_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in atomic::list(folder)? {
        match path.metadata() {
            Ok(about) if about.is_dir() => bytes += size_bytes(&path)?,
            Ok(about) => bytes += about.len(),
            // A run that is being trained removes older resume points.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", &path)(e)),
        }
    }
    Ok(bytes)
}
