//! `phaselab explain NAME`: the definition of a task, a measure, a term of the loss, a figure, the phases or the spec.

use phaselab::error::{Error, Result};
use phaselab::task::{self, Task, sample};
use phaselab::{figure, measure, term, transition};

use super::exit::{Answer, Failure};
use super::explain_spec::explain_spec;
use super::output::Output;

/// Explains a task, a task family, a measure, a term of the loss, a figure, `terms`, `phases` or `spec`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  phaselab explain restricted_loss")]
pub struct Args {
    /// A name that `phaselab list` shows; `terms` for how terms of the loss work; `phases` for the rule of the phases; `spec` for
    /// every key and its default
    name: String,
}

/// Prints the explanation.
///
/// # Errors
/// [`Error::Unknown`]; the faults of a card; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    output.print(&explain(&args.name)?)?;
    Ok(Answer::Yes)
}

fn explain(name: &str) -> Result<String> {
    if name == "phases" {
        return Ok(transition::explain().to_owned());
    }
    if name == "terms" {
        return Ok(term::explain());
    }
    if name == "spec" {
        return Ok(explain_spec());
    }
    if let Some(family) = task::family(name) {
        return Ok(family.explain());
    }
    if let Ok(measure) = measure::find(name) {
        return Ok(measure.explain());
    }
    if let Ok(term) = term::find(name) {
        return Ok(term.explain());
    }
    if let Ok(figure) = figure::find(name) {
        return Ok(figure.explain());
    }
    match Task::load(name) {
        Ok(task) => Ok(explain_task(&task)),
        Err(Error::Unknown { name, .. }) => {
            Err(Error::Unknown { kind: "task, measure, term or figure", name, known: names() })
        }
        Err(e) => Err(e),
    }
}

/// Everything that can be explained.
fn names() -> Vec<String> {
    let fixed = ["terms", "phases", "spec"].into_iter();
    let families = task::FAMILIES.iter().map(|family| family.name());
    let measures = measure::ALL.iter().map(|measure| measure.name());
    let terms = term::ALL.iter().map(|term| term.name());
    let figures = figure::ALL.iter().map(|figure| figure.name());
    fixed.chain(families).chain(measures).chain(terms).chain(figures).map(str::to_owned).chain(task::list()).collect()
}

fn explain_task(task: &Task) -> String {
    let n_train = task::n_train(task.n_examples(), task.train_frac);
    let examples = sample(task, 3, 0).into_iter().map(|line| format!("  {line}\n")).collect::<String>();
    format!(
        "{}: {}\n\n\
         family       {} (`phaselab explain {}`)\n\
         examples     {}, of which {n_train} for training (train_frac {})\n\
         tokens       {} positions, vocabulary {}\n\
         answers      {} classes; equal logits have a loss of {:.3} nats\n\n\
         For example:\n{examples}",
        task.name,
        task.title,
        task.family.name(),
        task.family.name(),
        task.n_examples(),
        task.train_frac,
        task.n_ctx,
        task.d_vocab,
        task.d_vocab_out,
        task.chance_loss_nats(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_explains_itself_and_stands_for_one_thing() {
        let names = names();
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name), "`{name}` is the name of two things");
            assert!(explain(name).unwrap().lines().count() >= 5, "{name}");
        }
    }

    #[test]
    fn a_task_is_explained_by_its_numbers() {
        let text = explain("mod_add_113").unwrap();
        for part in ["family       modular", "12769, of which 3830", "vocabulary 114", "4.727 nats", "(mod 113)"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
