//! `phaselab export RUN`: one replica at one step -> a file for other tools.

use std::path::PathBuf;

use phaselab::checkpoint::open_snapshots;
use phaselab::error::{Error, Result};
use phaselab::exchange::{Target, export};

use super::args::{ReplicaArgs, find_run};
use super::exit::{Answer, Failure};
use super::measure::lines;
use super::output::Output;

/// Writes one replica at one step for other tools
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
transformer-lens  a state dict that HookedTransformer.load_state_dict takes with strict=True, buffers and zero biases included, and \
the HookedTransformerConfig as .json beside it (TransformerLens 1, 2 and 3; 4 has no HookedTransformer)
nanda             names and shapes of the code of Nanda et al. 2023, W_U as wide as the vocabulary
safetensors, npz  our names, with the spec in the file; `phaselab import` then needs no options

The first two are written as --out ends: .safetensors, .npz, .pth or .pt. The lines of Python that load the file go to stderr.

Example:
  phaselab export grokking_quick --seed 2 --to transformer-lens \\
    --out grokked.safetensors")]
pub struct Args {
    /// A run's folder, or its name under checkpoints/
    run: String,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// transformer-lens, safetensors, npz or nanda
    #[arg(long, value_name = "TOOL", value_parser = target)]
    to: Target,
    /// The file [default: RUN_step_S_seed_N with the tool's ending, in the working folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

fn target(text: &str) -> Result<Target, String> {
    let found = Target::ALL.into_iter().find(|target| target.name() == text);
    found.ok_or_else(|| format!("known: {}", Target::ALL.map(Target::name).join(", ")))
}

/// Exports, and prints the files.
///
/// # Errors
/// Those of the run, the step and the replica; a model that the tool cannot hold; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let run = find_run(&args.run)?;
    let reader = open_snapshots(&run)?;
    let (step, replica) = args.replica.find(&run, reader.steps(), &reader.spec().train.seeds.0)?;
    let seed = reader.spec().train.seeds.0[replica];
    let out = args.out.clone().unwrap_or_else(|| args.to.default_out(&run, step, seed));
    if out.is_dir() {
        let hint = "give the name of a file in it with --out".into();
        return Err(Error::Exists { path: out, hint }.into());
    }
    let exported = export(&run, (step, replica), args.to, &out, args.force)?;
    exported.notes.iter().for_each(|note| output.note(note));
    output.note(&format!("step {step} of seed {seed}; in Python:\n  {}", exported.lines.join("\n  ")));
    output.print(&lines(&exported.files))?;
    Ok(Answer::Yes)
}
