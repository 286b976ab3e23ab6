//! The command line: one file a subcommand.
//!
//! Reads arguments and, here alone, the environment (`NO_COLOR`, `TERM`); writes results to stdout and everything else to
//! stderr.

mod args;
mod bench;
mod cache;
mod check;
mod device;
mod exit;
mod explain;
mod explain_spec;
mod export;
mod figure;
mod import;
mod interrupt;
mod list;
mod measure;
mod output;
mod progress;
mod result;
mod run;
mod sample;
mod selftest;
mod show;
mod stages;
mod toy_result;
mod toy_variants;
mod train;
mod variants;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use phaselab::outside::{self, Addition};

use exit::{Answer, Failure};
use output::{ColorWhen, Output};

/// Trains toy models, many seeds at once, and shows how they learn.
#[derive(Debug, Parser)]
#[command(name = "phaselab", version, arg_required_else_help = true, max_term_width = 100, after_long_help = AFTER_HELP)]
#[command(about = "Trains toy models, many seeds at once, and shows how they learn: dense checkpoints, progress \
                   measures, phases, figures.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to write in colour; `auto` does on a terminal, unless NO_COLOR is set or TERM is `dumb`
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: ColorWhen,
    /// Write no progress and no notes
    #[arg(long, short, global = true)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
Begin with:
  phaselab run grokking_quick   five seeds, from data to figures, in a minute
  phaselab explain phases       how one phase is told from the next

Exit status:
    0  done
    1  done, and the answer is no: no replica grokked, a card has faults
    2  wrong usage, or a spec with faults
    3  missing or damaged data
    4  every replica met a number that is not finite
  130  interrupted; training writes a resume point first";

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Explain(explain::Args),
    Check(check::Args),
    Sample(sample::Args),
    Train(train::Args),
    Measure(measure::Args),
    Figure(figure::Args),
    Run(run::Args),
    Show(show::Args),
    Import(import::Args),
    Export(export::Args),
    Cache(cache::Args),
    Bench(bench::Args),
    Selftest(selftest::Args),
}

/// The `phaselab` command: parses the arguments, runs the subcommand and tells how it ended.
pub fn main() -> ExitCode {
    main_with(&[])
}

/// The same command with models, layers and losses of a program's own: every subcommand knows them by their names.
pub fn main_with(additions: &[Addition]) -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let color = output::Color::decide(output::color_asked(&arguments));
    let parsed = Cli::command().color(color.for_clap()).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(e) => return exit::of_usage(&e),
    };
    let output = Output::new(color, cli.quiet);
    let done = outside::register(additions).map_err(Failure::from).and_then(|()| dispatch(&cli.command, &output));
    exit::of(done, &output)
}

fn dispatch(command: &Command, output: &Output) -> Result<Answer, Failure> {
    match command {
        Command::List(args) => list::run(args, output),
        Command::Explain(args) => explain::run(args, output),
        Command::Check(args) => check::run(args, output),
        Command::Sample(args) => sample::run(args, output),
        Command::Train(args) => train::run(args, output),
        Command::Measure(args) => measure::run(args, output),
        Command::Figure(args) => figure::run(args, output),
        Command::Run(args) => run::run(args, output),
        Command::Show(args) => show::run(args, output),
        Command::Import(args) => import::run(args, output),
        Command::Export(args) => export::run(args, output),
        Command::Cache(args) => cache::run(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::Selftest(args) => selftest::run(args, output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together_and_every_subcommand_shows_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("phaselab {}", command.get_name());
            assert!(after.contains(&example), "the long help of {} has no example", command.get_name());
        }
    }

    #[test]
    fn what_is_to_be_copied_from_a_long_help_is_not_broken_on_a_terminal() {
        let command = Cli::command();
        for command in command.get_subcommands().chain([&command]) {
            let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() < 80, "{}: `{line}` is wrapped", command.get_name());
            }
        }
    }
}
