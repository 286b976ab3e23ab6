//! `phaselab list`: what there is by name.

use phaselab::experiment::{self, Experiment};
use phaselab::task::{self, Card};
use phaselab::{figure, measure, outside, term, theory};

use super::exit::{Answer, Failure};
use super::output::{Output, columns};

/// Shows the tasks, models, measures, terms of the loss, figures, closed forms and experiments that there are
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  phaselab list measures")]
pub struct Args {
    /// One kind only
    #[arg(value_enum)]
    kind: Option<Kind>,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Task cards, of the working folder and of the binary
    Tasks,
    /// Task families, which cards set the parameters of
    Families,
    /// Networks, and the models, layers and losses that this program adds
    Models,
    /// What can be measured
    Measures,
    /// Measures that can be a term of the training loss
    Terms,
    /// What can be drawn
    Figures,
    /// Closed forms that `explain` computes
    Theory,
    /// Specs, of the working folder and of the binary
    Experiments,
}

impl Kind {
    const ALL: [(Kind, &str); 8] = [
        (Kind::Tasks, "tasks"),
        (Kind::Families, "families"),
        (Kind::Models, "models"),
        (Kind::Measures, "measures"),
        (Kind::Terms, "terms"),
        (Kind::Figures, "figures"),
        (Kind::Theory, "theory"),
        (Kind::Experiments, "experiments"),
    ];

    /// Name and summary of each.
    fn rows(self) -> Vec<Vec<String>> {
        let pair = |name: &str, summary: &str| vec![name.to_owned(), summary.to_owned()];
        match self {
            Kind::Tasks => task::list().iter().map(|name| pair(name, &task_title(name))).collect(),
            Kind::Families => task::FAMILIES.iter().map(|family| pair(family.name(), family.summary())).collect(),
            Kind::Models => {
                let built_in = [
                    ("transformer", "decoder-only transformer"),
                    ("mlp", "token embeddings, joined, then hidden layers"),
                ];
                let added = outside::additions();
                let added = added.iter().map(|addition| (addition.name, addition.summary));
                built_in.into_iter().chain(added).map(|(name, summary)| pair(name, summary)).collect()
            }
            Kind::Measures => measure::ALL.iter().map(|measure| pair(measure.name(), measure.summary())).collect(),
            Kind::Terms => term::ALL.iter().map(|term| pair(term.name(), term.summary())).collect(),
            Kind::Figures => figure::ALL.iter().map(|figure| pair(figure.name(), figure.summary())).collect(),
            Kind::Theory => theory::ALL.iter().map(|topic| pair(topic.name, topic.summary)).collect(),
            Kind::Experiments => experiment::list().iter().map(|name| pair(name, &experiment_title(name))).collect(),
        }
    }
}

/// Prints one kind, or all under headings.
///
/// # Errors
/// [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let text = match args.kind {
        Some(kind) => columns(&kind.rows(), &[]),
        None => {
            let section = |(kind, name): (Kind, &str)| {
                let rows = columns(&kind.rows(), &[]);
                let indented = rows.lines().map(|line| format!("  {line}\n")).collect::<String>();
                format!("{}\n{indented}", output.bold(name))
            };
            Kind::ALL.map(section).join("\n")
        }
    };
    output.print(&text)?;
    Ok(Answer::Yes)
}

/// A card with faults is still listed; `check` tells what they are.
fn task_title(name: &str) -> String {
    Card::load(name).map_or_else(|_| format!("has faults: phaselab check {name}"), |card| card.title)
}

fn experiment_title(name: &str) -> String {
    let spec = Experiment::find(name).and_then(|experiment| experiment.spec(&[]));
    spec.map_or_else(|_| format!("has faults: phaselab check {name}"), |spec| spec.title)
}
