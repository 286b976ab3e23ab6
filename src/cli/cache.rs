//! `phaselab cache RUN --hooks a,b`: activations of one replica at one step, as arrays in a file.

use std::path::{Path, PathBuf};

use phaselab::checkpoint::{Attr, Kind, Record, atomic, hdf5};
use phaselab::error::{Error, Result};
use phaselab::exchange::npy::write_npz;
use phaselab::forward::RunSeries;
use phaselab::measure::SnapshotSource;
use phaselab::task::Task;
use phaselab::tensor::{Data, Tensor};

use super::args::{ReplicaArgs, ThreadArgs, find_run};
use super::exit::{Answer, Failure};
use super::measure::lines;
use super::output::{Output, columns};

/// Writes activations of one replica at one step
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
All examples of the task, in f64, one array `[examples, positions, axes...]` a hook under TransformerLens's name, and the examples \
themselves: tokens, targets (of real numbers x and y), and train_mask of the replica; where the task has them asked (which targets count), labels, and \
states `[examples, positions, state_names]` for probes. `.h5` has the hooks under activations/ and the run, step and seed as \
attributes; `.npz` has all arrays by name. `--list` shows the hooks.

Example:
  phaselab cache grokking_quick --seed 2 --out acts.npz \\
    --hooks blocks.0.attn.hook_pattern,blocks.0.mlp.hook_post")]
pub struct Args {
    /// A run's folder, or its name under checkpoints/
    run: String,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// Hook names, as blocks.0.mlp.hook_post; without any the file has the examples alone
    #[arg(long, value_name = "HOOKS", value_delimiter = ',')]
    hooks: Vec<String>,
    /// The file, .h5 or .npz
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Show the hooks of the run's model and stop
    #[arg(long)]
    list: bool,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    threads: ThreadArgs,
}

/// Writes the file and prints its path, or prints the hooks.
///
/// # Errors
/// Those of the run, the step, the replica and the hooks; [`Error::Exists`]; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let path = find_run(&args.run)?;
    let run = RunSeries::open(&path, args.threads.count())?;
    let Some(out) = args.out.as_ref().filter(|_| !args.list) else {
        output.print(&hooks(&run))?;
        return Ok(Answer::Yes);
    };
    let is_npz = match out.extension().and_then(|ending| ending.to_str()) {
        Some("npz") => true,
        Some("h5") => false,
        _ => {
            let expected = "a name that ends in .h5 or .npz".into();
            return Err(Error::Value { what: "--out".into(), got: out.display().to_string(), expected }.into());
        }
    };
    if !args.force && out.exists() {
        let hint = "--force replaces it, --out writes elsewhere".into();
        return Err(Error::Exists { path: out.clone(), hint }.into());
    }
    let (step, replica) = args.replica.find(&path, run.steps(), run.seeds())?;
    let mut hooks: Vec<&str> = vec![];
    for hook in args.hooks.iter().map(String::as_str) {
        if !hooks.contains(&hook) {
            hooks.push(hook);
        }
    }
    let mut tensors = if hooks.is_empty() { vec![] } else { run.run_with_cache(step, replica, &hooks)? };
    let group = if is_npz { "" } else { "activations/" };
    tensors.iter_mut().zip(&hooks).for_each(|(tensor, hook)| tensor.name = format!("{group}{hook}"));
    let task = run.task()?;
    tensors.extend(examples(&run, task, replica)?);
    let states = task.rule.as_ref().map_or(vec![], |rule| rule.state_names()).join(" ");
    write((out, is_npz, args.force), tensors, &states, (&path, step, run.seeds()[replica]))?;
    output.print(&lines(std::slice::from_ref(out)))?;
    Ok(Answer::Yes)
}

fn write(
    (out, is_npz, force): (&Path, bool, bool),
    tensors: Vec<Tensor>,
    states: &str,
    (run, step, seed): (&Path, u64, u64),
) -> Result<()> {
    let named = (!states.is_empty()).then_some(("state_names", states));
    if is_npz {
        let texts: Vec<(&str, &str)> = named.into_iter().collect();
        let bytes = write_npz(&tensors, &texts).map_err(|cause| Error::Export {
            format: "npz",
            cause,
            hint: "write .h5 instead".into(),
        })?;
        return atomic::write(out, force, |temporary| {
            std::fs::write(temporary, &bytes).map_err(Error::io("write", out))
        });
    }
    let mut attrs = vec![
        ("run".to_owned(), Attr::Text(run.display().to_string())),
        ("step".to_owned(), Attr::U64(step)),
        ("seed".to_owned(), Attr::U64(seed)),
    ];
    attrs.extend(named.map(|(name, text)| (name.to_owned(), Attr::Text(text.to_owned()))));
    let record = Record { kind: Kind::Activations, attrs, tensors };
    if force { hdf5::write_replacing(out, &record) } else { hdf5::write_atomic(out, &record) }
}

/// What the activations are over: tokens, targets, which examples the replica was trained on; where the task has them, which targets are
/// asked for, labels, and the state of the world behind each example once each token is read.
fn examples(run: &RunSeries, task: &Task, replica: usize) -> Result<Vec<Tensor>> {
    let (n, losses) = (task.n_examples(), task.loss_positions.len());
    let mask = run.train_mask_rn()[replica * n..][..n].iter().map(|&is_train| u8::from(is_train)).collect();
    let [read, asked_for] = match &task.numbers {
        None => [
            Tensor::new("tokens", vec![n, task.n_ctx], Data::U32(task.tokens_bt.clone()))?,
            Tensor::new("targets", vec![n, losses], Data::U32(task.targets_bl.clone()))?,
        ],
        Some(numbers) => [
            Tensor::new("x", vec![n, task.n_ctx, numbers.widths.x], Data::F64(numbers.x_btn.clone()))?,
            Tensor::new("y", vec![n, losses, numbers.widths.y], Data::F64(numbers.y_bln.clone()))?,
        ],
    };
    let mut tensors = vec![read, asked_for, Tensor::new("train_mask", vec![n], Data::U8(mask))?];
    if let Some(weights) = &task.weights_bl {
        let asked = weights.iter().map(|&weight| u8::from(weight != 0.0)).collect();
        tensors.push(Tensor::new("asked", vec![n, losses], Data::U8(asked))?);
    }
    if let Some(labels) = &task.labels {
        tensors.push(Tensor::new("labels", vec![n], Data::U32(labels.of.clone()))?);
    }
    let rule = task.rule.as_ref().map(|rule| (rule, rule.state_names().len()));
    if let Some((rule, kinds)) = rule.filter(|(_, kinds)| *kinds > 0) {
        let states = task.operands.iter().flat_map(|operands| rule.states(operands)).collect();
        tensors.push(Tensor::new("states", vec![n, task.n_ctx, kinds], Data::U32(states))?);
    }
    Ok(tensors)
}

/// A line a hook: its name, positions and axes.
fn hooks(run: &RunSeries) -> String {
    let shape = |axes: &[usize]| axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let n_examples = run.task().map_or(0, Task::n_examples);
    let rows: Vec<Vec<String>> = (run.hooks().into_iter())
        .map(|hook| vec![hook.name, format!("[{}, {}, {}]", n_examples, hook.positions.len(), shape(&hook.axes))])
        .collect();
    columns(&rows, &[])
}
