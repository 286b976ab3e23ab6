//! The worked example of CONTRIBUTING.md, word for word: a family of its own file that makes examples.

#[rustfmt::skip] // In few lines, as CONTRIBUTING.md shows it.
#[path = "fixtures/task_family.rs"]
mod family;

use phaselab::rng::Rng;
use phaselab::task::rule::Of;
use phaselab::task::{Drawn, Example, Rule, TaskFamily};

#[test]
fn the_family_of_contributing_compiles_and_makes_examples() {
    let text = include_str!("../CONTRIBUTING.md");
    let code = include_str!("fixtures/task_family.rs");
    let (_, code) = code.split_once("\n\n").unwrap();
    assert!(text.contains(code.trim()), "CONTRIBUTING.md shows another family than tests/fixtures/task_family.rs");
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 30, "{lines} lines");
    let rule = family::Successor { modulus: 7 }.ready().unwrap();
    let mut example = Example::default();
    assert!(rule.write(&[6], &mut example) && !rule.write(&[7], &mut Example::default()));
    assert_eq!((example.tokens, example.targets), (vec![6], vec![0]));
    let mut operands = vec![];
    rule.draw(&mut Rng::stream(0, "t"), &mut operands);
    assert!(operands[0] < 7);
    assert_eq!(Of::<family::Successor>::FAMILY.name(), "successor");
    assert_eq!(family::Successor { modulus: 1 }.ready().unwrap_err()[0].message, "must be at least 2");
}
