//! `phaselab sample TASK`: examples as a reader would write them.

use phaselab::task::{Task, sample};

use super::exit::{Answer, Failure};
use super::output::Output;

/// Shows random examples of a task
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  phaselab sample mod_add_113 -n 3 --seed 1")]
pub struct Args {
    /// A task's name, or the path of its card
    task: String,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 5)]
    n: usize,
    /// Which ones
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

/// Prints the examples, one a line.
///
/// # Errors
/// An unknown task, the faults of its card; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let task = Task::load(&args.task)?;
    output.print(&sample(&task, args.n, args.seed).join("\n"))?;
    Ok(Answer::Yes)
}
