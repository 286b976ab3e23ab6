//! `phaselab check`: cards replayed, specs validated, every file of a run read.

use std::path::{Path, PathBuf};

use phaselab::checkpoint::{self, VARIANTS, Verdict};
use phaselab::error::{Error, Result};
use phaselab::experiment::{self, Experiment};
use phaselab::task::{self, Card, Task};

use super::args::{find_group, find_run, runs, runs_in};
use super::exit::{Answer, Failure};
use super::output::Output;

/// Checks task cards, specs and the files of runs
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A card's facts and worked rows are replayed on its examples; a spec is checked against its task; each file of a run \
is read through, every checksum verified.

Exit status: 0 all is well, 1 a card or a spec has faults, 3 a file is damaged.

Example:
  phaselab check grokking_quick")]
pub struct Args {
    /// An experiment, a run's folder, a task card, or `all` cards, specs and runs there are
    #[arg(default_value = "all")]
    what: String,
}

/// One thing that was checked.
struct Line {
    state: State,
    what: String,
    why: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Faults,
    /// Of a later format, this one.
    Newer(u64),
    Damaged,
}

/// Prints one line a thing, with what is wrong below it.
///
/// # Errors
/// [`Error::Unknown`] when there is no such thing; [`Error::Damaged`] or [`Error::NewerFormat`] after printing, when a file is;
/// [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let lines = if args.what == "all" { check_all()? } else { check_one(&args.what)? };
    output.print(&lines.iter().map(|line| line.write(output)).collect::<String>())?;
    match lines.iter().max_by_key(|line| line.state) {
        Some(Line { state: State::Damaged, what, why }) => {
            Err(Error::Damaged { path: PathBuf::from(what), cause: why.join("; ") }.into())
        }
        Some(Line { state: State::Newer(found), what, .. }) => {
            Err(Error::NewerFormat { path: PathBuf::from(what), found: *found, supported: checkpoint::FORMAT }.into())
        }
        Some(Line { state: State::Faults, .. }) => Ok(Answer::No),
        _ => Ok(Answer::Yes),
    }
}

impl Line {
    fn of(what: &str, checked: Result<()>) -> Result<Line> {
        let (state, why) = match checked {
            Ok(()) => (State::Ok, vec![]),
            Err(e @ Error::Spec { .. }) => (State::Faults, e.cause()),
            Err(e @ (Error::Unknown { .. } | Error::Value { .. })) => (State::Faults, vec![e.to_string()]),
            Err(e @ Error::Outside { .. }) => (State::Faults, [vec![e.to_string()], e.cause()].concat()),
            Err(e) => return Err(e),
        };
        Ok(Line { state, what: what.to_owned(), why })
    }

    fn write(&self, output: &Output) -> String {
        let word = match self.state {
            State::Ok => output.good("ok     "),
            State::Faults => output.bad("faults "),
            State::Newer(_) => output.bad("newer  "),
            State::Damaged => output.bad("damaged"),
        };
        let why = self.why.iter().map(|why| format!("           {why}\n")).collect::<String>();
        format!("{word}  {}\n{why}", self.what)
    }
}

fn check_all() -> Result<Vec<Line>> {
    let cards = task::list().into_iter().map(|name| check_card(&name));
    let specs = experiment::list().into_iter().map(|name| check_experiment(&Experiment::find(&name)?));
    let mut lines = cards.chain(specs).collect::<Result<Vec<_>>>()?;
    for name in runs() {
        lines.extend(check_run(&find_run(&name)?)?);
    }
    Ok(lines)
}

/// Everything of that name: a card, an experiment, its run.
fn check_one(name: &str) -> Result<Vec<Line>> {
    if name.ends_with(".toml") && is_card(Path::new(name)) {
        return Ok(vec![check_card(name)?]);
    }
    let mut lines = vec![];
    if task::list().iter().any(|card| card == name) {
        lines.push(check_card(name)?);
    }
    let found = Experiment::find(name);
    if let Ok(experiment) = &found {
        lines.push(check_experiment(experiment)?);
    }
    if let Ok(run) = find_run(name) {
        lines.extend(check_run(&run)?);
    } else if let Some(group) = find_group(name) {
        lines.push(check_experiment(&Experiment::find(&group.join(VARIANTS).to_string_lossy())?)?);
        for run in runs_in(&group) {
            lines.extend(check_run(&group.join(run))?);
        }
    }
    match found {
        Err(Error::Unknown { name, known, .. }) if lines.is_empty() => {
            let known = [known, runs(), task::list()].concat();
            Err(Error::Unknown { kind: "experiment, run or task", name, known })
        }
        Err(e) if lines.is_empty() => Err(e),
        _ => Ok(lines),
    }
}

/// Whether a file is a task card: a card has a family, a spec has none.
fn is_card(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut before_sections = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    before_sections.any(|line| line.split_once('=').is_some_and(|(key, _)| key.trim() == "family"))
}

fn check_card(name: &str) -> Result<Line> {
    let path = Card::load(name).map_or_else(|_| name.to_owned(), |card| card.path.display().to_string());
    Line::of(&path, Task::load(name).map(drop))
}

fn check_experiment(experiment: &Experiment) -> Result<Line> {
    let checked = experiment.spec(&[]).and_then(|spec| {
        let variants = experiment::variants(experiment, &spec, &[])?;
        experiment.preflight_all(&spec, &variants)
    });
    Line::of(&experiment.path.display().to_string(), checked)
}

fn check_run(run: &Path) -> Result<Vec<Line>> {
    let line = |report: checkpoint::FileReport| {
        let (state, why) = match report.verdict {
            Verdict::Whole => (State::Ok, vec![]),
            Verdict::Damaged(why) => (State::Damaged, vec![why]),
            Verdict::NewerFormat(format) => {
                let newest = checkpoint::FORMAT;
                (State::Newer(format), vec![format!("format {format} is newer than this phaselab reads ({newest})")])
            }
        };
        Line { state, what: report.path.display().to_string(), why }
    };
    Ok(checkpoint::check(run)?.into_iter().map(line).collect())
}
