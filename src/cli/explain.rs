//! `phaselab explain NAME`: the definition of what `list` shows, of the phases, or of the spec.

use phaselab::error::{Error, Result};
use phaselab::experiment::{self, Experiment};
use phaselab::outside::{self, Thing};
use phaselab::spec::{Family, ModelSpec};
use phaselab::task::{self, Task, sample};
use phaselab::{figure, measure, term, theory, transition};

use super::exit::{Answer, Failure};
use super::explain_spec::explain_spec;
use super::output::Output;

/// Explains what `phaselab list` shows: a task, a task family, a model, a measure, a term of the loss, a figure, a closed form, an experiment
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
    if let Some(topic) = theory::find(name) {
        return Ok((topic.explain)());
    }
    if let Some(model) = explain_model(name)? {
        return Ok(model);
    }
    match Task::load(name) {
        Ok(task) => return Ok(explain_task(&task)),
        Err(Error::Unknown { .. }) => {}
        Err(e) => return Err(e),
    }
    match Experiment::find(name) {
        Ok(experiment) => explain_experiment(&experiment),
        Err(Error::Unknown { name, .. }) => Err(Error::Unknown {
            kind: "task, model, measure, term, figure, closed form or experiment",
            name,
            known: names(),
        }),
        Err(e) => Err(e),
    }
}

/// A model, or a layer or loss that the program adds: what it is, and its settings.
fn explain_model(name: &str) -> Result<Option<String>> {
    let table = |settings: toml::Table| settings.to_string();
    let built_in = [Family::Transformer, Family::Mlp].into_iter().find(|family| String::from(*family) == name);
    if let Some(family) = built_in {
        let model = ModelSpec { family, ..ModelSpec::default() };
        let settings = toml::Table::try_from(model).expect("invariant: a spec has only TOML's types");
        let head = format!("{name}: model.family = {name:?}; `phaselab explain spec` says what each setting is");
        return Ok(Some(format!("{head}\n\n[model]\n{}", table(settings))));
    }
    let Some(added) = outside::additions().into_iter().find(|addition| addition.name == name) else { return Ok(None) };
    let (key, settled) = match &added.thing {
        Thing::Network(network) => ("model.family", network.settle(&toml::Table::new())),
        Thing::Layer(layer) => ("model.layer", layer.settle(&toml::Table::new())),
        Thing::Loss(_) => ("loss.kind", Ok(toml::Table::new())),
    };
    let settings = settled.map_err(|faults| Error::Spec { path: "model.custom".into(), faults })?;
    let settings = if settings.is_empty() { String::new() } else { format!("\n[model.custom]\n{}", table(settings)) };
    Ok(Some(format!("{name}: {}\n\n{key} = {name:?}, which this program adds\n{settings}", added.summary)))
}

/// Its title, and its spec with all defaults.
fn explain_experiment(experiment: &Experiment) -> Result<String> {
    let spec = experiment.spec(&[])?;
    Ok(format!("{}: {}\n\n{}", experiment.name, spec.title, spec.to_toml()))
}

/// Everything that can be explained.
fn names() -> Vec<String> {
    let fixed = ["terms", "phases", "spec"].into_iter();
    let families = task::FAMILIES.iter().map(|family| family.name());
    let measures = measure::ALL.iter().map(|measure| measure.name());
    let terms = term::ALL.iter().map(|term| term.name());
    let figures = figure::ALL.iter().map(|figure| figure.name()).chain(theory::ALL.iter().map(|topic| topic.name));
    let models = [Family::Transformer, Family::Mlp].map(String::from).into_iter();
    let models = models.chain(outside::additions().into_iter().map(|addition| addition.name.to_owned()));
    let words = fixed.chain(families).chain(measures).chain(terms).chain(figures).map(str::to_owned);
    words.chain(models).chain(task::list()).chain(experiment::list()).collect()
}

fn explain_task(task: &Task) -> String {
    let n = task.n_examples();
    let counts = match task.stream {
        true => format!("fresh ones without end; {n} fixed ones for testing"),
        false => {
            let n_train = task::n_train(n, task.train_frac);
            format!("{n}, of which {n_train} for training (train_frac {})", task.train_frac)
        }
    };
    let examples = sample(task, 3, 0).into_iter().map(|line| format!("  {line}\n")).collect::<String>();
    let what = match &task.numbers {
        None => format!(
            "tokens       {} positions, vocabulary {}\n\
             answers      {} classes; equal logits have a loss of {:.3} nats",
            task.n_ctx,
            task.d_vocab,
            task.d_vocab_out,
            task.chance_loss_nats(),
        ),
        Some(numbers) => format!(
            "numbers      {} positions, {} at each\n\
             answers      {} positions, {} at each; the loss is their squared error, loss.kind = \"mse\"",
            task.n_ctx,
            numbers.widths.x,
            task.loss_positions.len(),
            numbers.widths.y,
        ),
    };
    format!(
        "{}: {}\n\n\
         family       {} (`phaselab explain {}`)\n\
         {}examples     {counts}\n\
         {what}\n\n\
         For example:\n{examples}",
        task.name,
        task.title,
        task.family.name(),
        task.family.name(),
        operations(task),
    )
}

/// The operations as they were read, one a line; nothing for a task without.
fn operations(task: &Task) -> String {
    let Some(modular) = &task.modular else { return String::new() };
    let line = |i: usize| {
        let head = if i == 0 { "operation" } else { "" };
        let number = if modular.ops.len() > 1 { format!("{i}: ") } else { String::new() };
        format!("{head:<13}{number}{} mod {}\n", modular.ops[i].name(), modular.p)
    };
    (0..modular.ops.len()).map(line).collect()
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
    fn operations_stand_one_a_line() {
        let text = explain("mod_add_sub_59").unwrap();
        assert!(
            text.contains("\noperation    0: x+y mod 59\n             1: x-y mod 59\nexamples     6962,"),
            "{text}"
        );
        let text = explain("mod_x3_xy2_y_97").unwrap();
        assert!(text.contains("\noperation    x^3 + x*y^2 + y mod 97\n"), "{text}");
        assert!(!explain("random_labels_59").unwrap().contains("operation"));
    }

    #[test]
    fn a_task_is_explained_by_its_numbers() {
        let text = explain("mod_add_113").unwrap();
        for part in ["family       modular", "12769, of which 3830", "vocabulary 114", "4.727 nats", "(mod 113)"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
