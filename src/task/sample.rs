//! Examples of a task as a reader would write them.
//!
//! Reads a [`Task`]; writes lines of text, drawn without repetition by the stream `sample` of a seed.

use super::Task;
use crate::rng::Rng;

/// `n` random examples (all of them, in random order, when there are fewer), one a line: as a reader would write it, then
/// the tokens and the targets, in columns; real numbers only as a reader would.
pub fn sample(task: &Task, n: usize, seed: u64) -> Vec<String> {
    let mut order = Rng::stream(seed, "sample").permutation(task.n_examples());
    order.truncate(n);
    if task.numbers.is_some() {
        return order.iter().map(|&example| task.family.write_example(task, example as usize)).collect();
    }
    let rows: Vec<[String; 2]> = order
        .iter()
        .map(|&example| {
            let example = example as usize;
            [task.family.write_example(task, example), list(task.tokens_t(example))]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (text_width, tokens_width) = (width(0), width(1));
    rows.iter()
        .zip(&order)
        .map(|([text, tokens], &example)| {
            let targets = match task.targets_l(example as usize) {
                [one] => one.to_string(),
                several => list(several),
            };
            format!("{text:<text_width$}   tokens {tokens:<tokens_width$}   target {targets}")
        })
        .collect()
}

fn list(tokens: &[u32]) -> String {
    format!("{tokens:?}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_true_different_and_in_columns() {
        let task = Task::load("mod_sub_113").unwrap();
        let lines = sample(&task, 50, 1);
        assert_eq!(lines.len(), 50);
        for (i, line) in lines.iter().enumerate() {
            let numbers: Vec<i64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|s| s.parse().ok()).collect();
            let [a, b, c, p, a_token, b_token, equals, target] = numbers[..] else { panic!("{line}") };
            assert_eq!([a, b, c, p, equals], [a_token, b_token, target, 113, 113], "{line}");
            assert_eq!((a - b - c).rem_euclid(113), 0, "{line}");
            assert!(!lines[..i].contains(line), "{line} stands twice");
            assert_eq!(line.find("target"), lines[0].find("target"), "{line}");
        }
        assert_ne!(lines, sample(&task, 50, 2));
    }

    #[test]
    fn no_more_lines_than_examples() {
        let task = Task::load("mod_div_53").unwrap();
        assert_eq!(sample(&task, 10_000, 0).len(), 53 * 52);
    }
}
