//! `phaselab import FILE…`: files with parameters -> a run.

use std::num::NonZeroU64;
use std::path::PathBuf;

use phaselab::exchange::{ImportOptions, Layout, import};

use super::args::ThreadArgs;
use super::exit::{Answer, Failure};
use super::output::Output;
use super::result::plural;

/// Makes a run of another tool's checkpoints
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Reads safetensors, .npz, and PyTorch's .pth and .pt (both layouts of torch.save). No code in a file is ever run: anything but \
tensors, numbers, texts, lists and dictionaries is an error. The result is a run folder that `measure`, `figure`, `show` and \
`export` take.

A file is one state dict; or a dictionary with one under model, state_dict or model_state_dict (and its step or epoch); or with a \
list of them under state_dicts, models, model_checkpoints or checkpoints (and epochs, steps or checkpoint_epochs), or a list or a \
dictionary by step. Beside them train_losses, test_losses, train_accs, test_accs, train_indices, test_indices, train_data, \
test_data and config are read, and without a config the HookedTransformerConfig in a .json of the same name beside the file, as \
`export --to transformer-lens` writes it. Several files are checkpoints of one replica, their steps in their names; with as many --seeds as \
files each is a replica.

Names are TransformerLens's, with its own shapes or those of Nanda's older code; --map says others:

  ignore = [\"*.mask\"]
  [names]
  \"embed.W_E\" = \"tok_emb.weight\"
  \"blocks.*.mlp.W_in\" = { name = \"layers.*.fc1.weight\", transpose = true }
  [names.\"blocks.*.attn.W_Q\"]
  name = \"layers.*.qkv.weight\"
  rows = [0, 128]
  reshape = [4, 32, 128]
  transpose = [0, 2, 1]

Example:
  phaselab import full_run_data.pth --task mod_add_113 --out checkpoints/nanda")]
pub struct Args {
    /// .safetensors, .npz, .pth or .pt
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder of the new run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// The task's name, or the path of its card [default: the only card that fits the sizes]
    #[arg(long, value_name = "CARD")]
    task: Option<String>,
    /// A spec that describes the model: an experiment, or a path as RUN/run.toml [default: made from the sizes]
    #[arg(long, value_name = "SPEC")]
    spec: Option<String>,
    /// Change a key of the spec, as `model.act=gelu`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Names, shapes and axes of another program's parameters, TOML
    #[arg(long, value_name = "NAMES.toml")]
    map: Option<PathBuf>,
    /// Order of axes, where square shapes leave it open
    #[arg(long, value_name = "LAYOUT", value_parser = layout)]
    layout: Option<Layout>,
    /// Step of a single checkpoint [default: what the file says, else 0]
    #[arg(long, value_name = "N", conflicts_with_all = ["every", "shift"])]
    step: Option<u64>,
    /// Steps from one checkpoint of a list to the next, the first at 0 [default: what the file says]
    #[arg(long, value_name = "N")]
    every: Option<NonZeroU64>,
    /// Add this to the steps of checkpoints: 1 where they are numbered by the update before them
    #[arg(long, value_name = "N", default_value_t = 0)]
    shift: u64,
    /// Steps from one loss of a list to the next [default: 1]
    #[arg(long, value_name = "N")]
    losses_every: Option<NonZeroU64>,
    /// Seeds of the replicas, as `0,1,2`; with one for each file, each file is a replica
    #[arg(long, value_name = "SEEDS", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Replace an older run of that name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    threads: ThreadArgs,
}

fn layout(text: &str) -> Result<Layout, String> {
    let known = Layout::ALL.map(Layout::name);
    let found = Layout::ALL.into_iter().find(|layout| layout.name() == text);
    found.ok_or_else(|| format!("known: {}", known.join(", ")))
}

/// Imports, and prints the run's folder.
///
/// # Errors
/// Those of the files, the spec and the folder; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let options = ImportOptions {
        files: &args.files,
        task: args.task.as_deref(),
        spec: args.spec.as_deref(),
        sets: &args.sets,
        map: args.map.as_deref(),
        layout: args.layout,
        step: args.step,
        every: args.every,
        shift: args.shift,
        losses_every: args.losses_every,
        seeds: &args.seeds,
        force: args.force,
        threads: args.threads.count(),
    };
    let imported = import(&options, &args.out, &mut |note| output.note(note))?;
    output.note(&format!(
        "imported {} of {} with {} parameters, task {}; `phaselab measure {}` goes on",
        plural(imported.steps.len(), "checkpoint"),
        plural(imported.spec.train.seeds.0.len(), "replica"),
        imported.n_params,
        imported.spec.task,
        args.out.display(),
    ));
    output.print(&args.out.display().to_string())?;
    Ok(Answer::Yes)
}
