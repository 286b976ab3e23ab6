//! The `mixture` family: examples of several tasks, mixed by weights that may change over training.
//!
//! Operands are the number of a task and that task's own operands. An example is that task's, `START 4 6 2 9 MID 2 4 6`, with the task's
//! token before it if wanted: `<0> START 4 6 2 9 MID 2 4 6`. Curricula and fine-tuning are mixtures whose weights change at a step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::mixture_part::{MIXTURE, Part};
use super::mixture_union::{Union, task_word, twice};
use super::rule::{Drawn, Example, Rule};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Tasks of a mixture.
const MAX_TASKS: usize = 64;

const EXPLAIN: &str = "\
What it is
  Examples of several tasks. Each is drawn by first drawing a task, with the weights of the training step, and then an
  example of that task. With weights that stay as they are this is a mixture; with weights that move from one task to
  another at a step it is training on the one and fine-tuning on the other; with tasks that grow, a curriculum.
Reads
  params.tasks: 2 to 64 of { card = \"NAME\" } and { family = \"NAME\", params = { ... } }; a card that ends in .toml is a
  file beside this card. Of a card only the family and the params count: its examples are drawn, whatever its split.
  Families without a rule (modular, random_labels) and mixtures cannot be mixed.
  params.weights: how likely each task is, up to a common factor; equal when unset. params.stages: instead of weights,
  a list of { from = STEP, weights = [...] }, ascending, the first from 0; each holds for the batches drawn after that
  many updates, up to the next one. params.task_token: whether a token that names the task, <0>, <1>, ..., stands before
  each example; false when unset.
Unit and range
  Tokens are the words of all tasks, each text once, in the order in which they appear first; then PAD, if examples
  differ in length and no task has it; then the tasks' tokens. Classes are those of all tasks likewise. An example of a
  shorter task is followed by PAD. The loss is at the positions at which any task asks, and does not count where the
  drawn one asks nothing. A task whose own parameters change over training reads the step of the whole training.
  Weights are 0 or more, not all 0 at a time.
  Streams are tested on all tasks equally, whatever the weights and the step, so that measures show each task at each
  time, those included that are no longer or not yet trained on. Labels in measures: task.
  A finite set needs split.examples and is drawn with the weights of step 0, so that stages make sense for streams only.
Value at a known point
  mixture_sort_reverse: <0> START 4 6 2 9 MID is followed by 2 4 6 9, <1> START 4 6 2 9 MID by 9 2 6 4.
Source
  The usual definition.
";

/// Weights from a step on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stage {
    from: u64,
    weights: Vec<f64>,
}

/// `[params]`: tasks to mix.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixture {
    tasks: Vec<Part>,
    weights: Option<Vec<f64>>,
    stages: Option<Vec<Stage>>,
    task_token: bool,
    /// That of the card.
    #[serde(skip)]
    folder: PathBuf,
    /// First step and `[tasks]` probabilities of each stage, each the sum of those up to it; ascending.
    #[serde(skip)]
    schedule: Vec<(u64, Vec<f64>)>,
    /// All tasks as one.
    #[serde(skip)]
    union: Union,
}

/// The sums of the weights up to each, over the sum of all.
fn cumulative(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    let mut so_far = 0.0;
    let add = |weight: &f64| {
        so_far += weight;
        so_far / sum
    };
    weights.iter().map(add).collect()
}

impl Mixture {
    /// The weights of every task from each step on.
    fn stages(&self) -> Vec<Stage> {
        let always = || self.weights.clone().unwrap_or_else(|| vec![1.0; self.tasks.len()]);
        self.stages.clone().unwrap_or_else(|| vec![Stage { from: 0, weights: always() }])
    }

    fn weights_fault(&self, key: &str, weights: &[f64]) -> Option<Fault> {
        let (n, sum) = (self.tasks.len(), weights.iter().sum::<f64>());
        let message = match weights.iter().find(|weight| !weight.is_finite() || **weight < 0.0) {
            _ if weights.len() != n => format!("{} for {n} tasks; write one for each", weights.len()),
            Some(bad) => format!("{bad} is no weight; it must be 0 or more"),
            None if sum > 0.0 && sum.is_finite() => return None,
            None => format!("their sum is {sum}; it must be above 0 and finite"),
        };
        Some(fault(key, message))
    }

    /// What is wrong with the weights and their stages.
    fn schedule_faults(&self) -> Vec<Fault> {
        let Some(stages) = &self.stages else {
            return self.weights.iter().filter_map(|weights| self.weights_fault("weights", weights)).collect();
        };
        let mut faults = vec![];
        if self.weights.is_some() {
            faults.push(fault("weights", "stands beside stages, which have their own; remove it"));
        }
        if stages.first().is_none_or(|stage| stage.from != 0) {
            faults.push(fault("stages", "must begin with a stage from = 0"));
        }
        for (i, stage) in stages.iter().enumerate() {
            if i > 0 && stages[i - 1].from >= stage.from {
                let message = format!("{} is not after the stage before, from {}", stage.from, stages[i - 1].from);
                faults.push(fault(format!("stages[{i}].from"), message));
            }
            faults.extend(self.weights_fault(&format!("stages[{i}].weights"), &stage.weights));
        }
        faults
    }

    /// What would make two tokens or classes one.
    fn word_fault(&self, rule: &dyn Rule) -> Option<String> {
        let (words, classes) = (rule.words(), rule.classes());
        if let Some(word) = twice(&words).or(twice(&classes)) {
            return Some(format!("two of its tokens or classes are written `{word}`; rename one"));
        }
        let is_task = |word: &String| self.task_token && (0..self.tasks.len()).any(|task| *word == task_word(task));
        let word = words.iter().find(|word| is_task(word))?;
        Some(format!("`{word}` is one of its tokens and names a task too; rename it, or set task_token = false"))
    }

    /// The rules of all tasks.
    fn rules(&self) -> Result<Vec<Arc<dyn Rule>>, Vec<Fault>> {
        let (mut rules, mut faults) = (vec![], vec![]);
        for (i, part) in self.tasks.iter().enumerate() {
            let rule = part.rule(&self.folder).and_then(|rule| match self.word_fault(&*rule) {
                Some(message) => Err(vec![message]),
                None => Ok(rule),
            });
            match rule {
                Ok(rule) => rules.push(rule),
                Err(messages) => faults.extend(messages.into_iter().map(|m| fault(format!("tasks[{i}]"), m))),
            }
        }
        if faults.is_empty() { Ok(rules) } else { Err(faults) }
    }

    /// The task for this number of [0, 1) after `step` updates.
    fn task(&self, step: u64, uniform: f64) -> usize {
        let stage = self.schedule.partition_point(|&(from, _)| from <= step) - 1;
        // The last sum is exactly 1, and a task of weight 0 has the sum of the one before it, so that it is passed over.
        self.schedule[stage].1.partition_point(|&sum| sum <= uniform)
    }
}

impl Drawn for Mixture {
    const NAME: &'static str = MIXTURE;
    const SUMMARY: &'static str =
        "several tasks mixed by weights, one after another, or growing: <0> START 4 6 2 9 MID 2 4 6 9";
    const EXPLAIN: &'static str = EXPLAIN;

    fn beside(&mut self, folder: &Path) {
        self.folder = folder.to_path_buf();
    }

    fn ready(mut self) -> Result<Mixture, Vec<Fault>> {
        let n = self.tasks.len();
        let mut faults = vec![];
        if !(2..=MAX_TASKS).contains(&n) {
            let message = format!(
                "{n} to mix; write 2 to {MAX_TASKS}, each {{ card = ... }} or {{ family = ..., params = ... }}"
            );
            faults.push(fault("tasks", message));
        }
        faults.extend(self.schedule_faults());
        match self.rules() {
            Ok(rules) if faults.is_empty() => {
                self.schedule = self.stages().iter().map(|s| (s.from, cumulative(&s.weights))).collect();
                self.union = Union::new(rules, self.task_token);
                Ok(self)
            }
            rules => Err(faults.into_iter().chain(rules.err().into_iter().flatten()).collect()),
        }
    }
}

impl Rule for Mixture {
    fn words(&self) -> Vec<String> {
        self.union.words.clone()
    }

    fn classes(&self) -> Vec<String> {
        self.union.classes.clone()
    }

    fn n_ctx(&self) -> usize {
        self.union.n_ctx
    }

    fn loss_positions(&self) -> Vec<usize> {
        self.union.loss_positions.clone()
    }

    /// With the weights of step 0.
    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let task = self.task(0, rng.uniform_f64());
        self.union.rule(task).draw(rng, operands);
        operands.insert(0, task as u32);
    }

    fn draw_at(&self, step: u64, rng: &mut Rng, operands: &mut Vec<u32>) {
        let task = self.task(step, rng.uniform_f64());
        self.union.rule(task).draw_at(step, rng, operands);
        operands.insert(0, task as u32);
    }

    /// Each task as likely, whatever the weights, so that tests show every task at every time.
    fn draw_test(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let task = rng.below(self.union.len() as u32);
        self.union.rule(task as usize).draw_test(rng, operands);
        operands.insert(0, task);
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        self.union.write(operands, to)
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("task")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands.first().copied().unwrap_or(0)
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        self.union.allowed(operands)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::Task;
    use crate::task::rule::check::{Drawing, card, drawing, faults, rule, samples};

    const SORT: &str = "{ family = \"sort\", params = { values = 10, length = 4 } }";
    const REVERSE: &str = "{ family = \"list_map\", params = { op = \"reverse\", values = 10, length = 4 } }";
    const SUMS: &str = "{ family = \"list_map\", params = { op = \"cumulative_sum\", values = 10, length = 4 } }";
    const SHORT: &str = "{ family = \"sort\", params = { values = 10, length = 2 } }";

    /// The answers that are asked for.
    fn asked(d: &Drawing) -> Vec<&str> {
        d.answers.iter().map(String::as_str).filter(|answer| !answer.is_empty()).collect()
    }

    /// What becomes of the words between START and MID, or of all after START, in the task that the first word names.
    fn solve(words: &[String]) -> Vec<String> {
        let read: Vec<&str> = words.iter().map(String::as_str).take_while(|&word| word != "PAD").collect();
        assert_eq!(read[1], "START");
        let list: Vec<u32> = read[2..].iter().take_while(|&&word| word != "MID").map(|w| w.parse().unwrap()).collect();
        let mut answers = list.clone();
        match read[0] {
            "<0>" | "<3>" => answers.sort_unstable(),
            "<1>" => answers.reverse(),
            "<2>" => answers = (1..=list.len()).map(|n| list[..n].iter().sum::<u32>() % 10).collect(),
            other => panic!("{other}"),
        }
        answers.iter().map(u32::to_string).collect()
    }

    #[test]
    fn ten_thousand_examples_are_of_the_task_that_they_name() {
        for params in [
            format!("task_token = true, tasks = [{SORT}, {REVERSE}]"),
            format!("task_token = true, tasks = [{SORT}, {REVERSE}, {SUMS}, {SHORT}], weights = [1, 2, 3, 0.5]"),
        ] {
            let rule = rule("mixture", &params);
            samples(&*rule, 10_000, |d| {
                assert_eq!(asked(d), solve(&d.words), "{:?}", d.words);
                assert_eq!(d.words[0], format!("<{}>", rule.label(&d.operands)));
                let short = d.words.iter().position(|word| word == "PAD").unwrap_or(d.words.len());
                assert!(d.words[short..].iter().all(|word| word == "PAD"), "{:?}", d.words);
                // Where answers are read on, the answer to a position is the word after it.
                for (&t, answer) in rule.loss_positions().iter().zip(&d.answers) {
                    let next = d.words.get(t + 1).filter(|next| *next != "PAD" && d.words[0] != "<2>");
                    assert!(answer.is_empty() || next.is_none_or(|next| next == answer), "{:?}", d.words);
                }
            });
        }
    }

    /// How often each of `tasks` is drawn in 10,000 times.
    fn counts(tasks: usize, mut draw: impl FnMut(&mut Rng, &mut Vec<u32>)) -> Vec<usize> {
        let (mut rng, mut counts) = (Rng::stream(3, "counts"), vec![0; tasks]);
        for _ in 0..10_000 {
            let mut operands = vec![];
            draw(&mut rng, &mut operands);
            counts[operands[0] as usize] += 1;
        }
        counts
    }

    /// Whether counts of 10,000 are within five standard deviations of these probabilities.
    fn agree(counts: &[usize], probabilities: &[f64]) -> bool {
        let near = |(&count, &p): (&usize, &f64)| (count as f64 - 1e4 * p).abs() <= 5.0 * (1e4 * p * (1.0 - p)).sqrt();
        counts.iter().zip(probabilities).all(near)
    }

    #[test]
    fn weights_and_stages_say_how_often_a_task_is_drawn() {
        let three = format!("tasks = [{SORT}, {REVERSE}, {SUMS}]");
        for (weights, probabilities) in [
            ("", [1.0 / 3.0; 3]),
            (", weights = [1, 3, 0]", [0.25, 0.75, 0.0]),
            (", weights = [0, 0.1, 0.3]", [0.0, 0.25, 0.75]),
        ] {
            let rule = rule("mixture", &format!("{three}{weights}"));
            for step in [0, 1, 1_000_000] {
                let found = counts(3, |rng, operands| rule.draw_at(step, rng, operands));
                assert!(agree(&found, &probabilities), "{weights}: {found:?}");
            }
            assert!(agree(&counts(3, |rng, operands| rule.draw(rng, operands)), &probabilities));
            assert!(agree(&counts(3, |rng, operands| rule.draw_test(rng, operands)), &[1.0 / 3.0; 3]));
        }
        let stages = "stages = [{ from = 0, weights = [1, 0, 0] }, { from = 100, weights = [0, 1, 1] }, \
                      { from = 101, weights = [0, 0, 2] }]";
        let rule = rule("mixture", &format!("{three}, {stages}"));
        for (step, probabilities) in [
            (0, [1.0, 0.0, 0.0]),
            (99, [1.0, 0.0, 0.0]),
            (100, [0.0, 0.5, 0.5]),
            (101, [0.0, 0.0, 1.0]),
            (u64::MAX, [0.0, 0.0, 1.0]),
        ] {
            let found = counts(3, |rng, operands| rule.draw_at(step, rng, operands));
            assert!(agree(&found, &probabilities), "{step}: {found:?}");
        }
        assert_eq!(counts(3, |rng, operands| rule.draw(rng, operands)), [10_000, 0, 0]);
        assert!(agree(&counts(3, |rng, operands| rule.draw_test(rng, operands)), &[1.0 / 3.0; 3]));
    }

    #[test]
    fn a_curriculum_grows_at_its_steps() {
        let task = Task::load("curriculum_sort_lengths").unwrap();
        let rule = task.rule.unwrap();
        for (step, length) in [(0, 2), (999, 2), (1000, 4), (2999, 4), (3000, 8), (9999, 8)] {
            let mut operands = vec![];
            rule.draw_at(step, &mut Rng::stream(step, "grow"), &mut operands);
            let d = drawing(&*rule, &operands);
            let mid = d.words.iter().position(|word| word == "MID").unwrap();
            assert_eq!((mid - 1, asked(&d).len()), (length, length), "{step}");
        }
        // Tests show every length at every time.
        let labels = task.labels.unwrap();
        assert_eq!((labels.name, (0..3).all(|length| labels.of.contains(&length))), ("task", true));
    }

    #[test]
    fn faults_name_their_key() {
        let two = format!("tasks = [{SORT}, {REVERSE}]");
        for (params, message) in [
            (
                format!("tasks = [{SORT}]"),
                "params.tasks: 1 to mix; write 2 to 64, each { card = ... } or { family = ..., params = ... }",
            ),
            (
                format!(
                    "tasks = [{SORT}, {{ family = \"sort\", params = {{ words = [\"MID\", \"a\"], length = 4 }} }}]"
                ),
                "params.tasks[1]: two of its tokens or classes are written `MID`; rename one",
            ),
            (
                format!(
                    "task_token = true, tasks = [{SORT}, {{ family = \"sort\", params = {{ words = [\"<1>\", \"a\"], length = 4 }} }}]"
                ),
                "params.tasks[1]: `<1>` is one of its tokens and names a task too; rename it, or set task_token = false",
            ),
            (format!("{two}, weights = [1]"), "params.weights: 1 for 2 tasks; write one for each"),
            (format!("{two}, weights = [1, -2.5]"), "params.weights: -2.5 is no weight; it must be 0 or more"),
            (format!("{two}, weights = [1, inf]"), "params.weights: inf is no weight; it must be 0 or more"),
            (format!("{two}, weights = [0, 0]"), "params.weights: their sum is 0; it must be above 0 and finite"),
            (format!("{two}, stages = []"), "params.stages: must begin with a stage from = 0"),
            (
                format!("{two}, stages = [{{ from = 1, weights = [1, 1] }}]"),
                "params.stages: must begin with a stage from = 0",
            ),
            (
                format!("{two}, weights = [1, 1], stages = [{{ from = 0, weights = [1, 1] }}]"),
                "params.weights: stands beside stages, which have their own; remove it",
            ),
            (
                format!(
                    "{two}, stages = [{{ from = 0, weights = [1, 1] }}, {{ from = 5, weights = [1, 1] }}, {{ from = 5, weights = [1, 1] }}]"
                ),
                "params.stages[2].from: 5 is not after the stage before, from 5",
            ),
            (
                format!("{two}, stages = [{{ from = 0, weights = [1, 1] }}, {{ from = 5 }}]"),
                "params.stages[1].weights: 0 for 2 tasks; write one for each",
            ),
        ] {
            let found = faults("mixture", &params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        let all = "tasks = [{ family = \"sort\" }], weights = [-1]";
        assert!(faults("mixture", all).len() >= 4, "{:?}", faults("mixture", all));
        assert!(card("mixture", &format!("{two}, weights = [1e-300, 1]")).is_ok());
    }
}
