//! `phaselab explain terms`: how terms of the training loss work, and what there is.

use super::ALL;
use crate::expr::Function;

const HEAD: &str = "\
What it is
  Updates follow the gradient of: the loss + the sum over [[loss.terms]] of weight * value. A term is a differentiable
  measure by name, an expression, or another loss:

    [[loss.terms]]
    measure = \"restricted_train_loss\"
    freqs = [4, 9, 14]
    weight = 1.0

    [[loss.terms]]
    expr = \"abs(w)\"
    over = \"blocks.*.mlp.*\"
    weight = 1e-4
    to_step = 500

    [[loss.terms]]
    loss = \"mse\"
    weight = 0.1

  A weight below 0 makes the value grow; with weight 0 it is only watched. from_step and to_step bound the updates that
  it takes part in (to_step not included). An expression over parameters is a function of each number w of those
  whose name matches `over` (`*` stands for any letters), summed (or averaged, reduce = \"mean\"). One over logits
  (over = \"logits\") is a function of each logit l and of its target y (1 for the right class, 0 for the others), summed
  over classes (or averaged) and averaged over examples. A loss is one of those of loss.kind: cross_entropy, mse, or one
  that the program adds.
  Weight decay, clipping and the check for numbers that are not finite come after terms: clipping sees the whole
  gradient, and a replica whose term is not finite is marked and rests.
Reads
  Parameters, or the logits of the examples of each step.
Unit and range
  Of each term: see its name. train_loss_nats and the other metrics are without terms, so that runs with and without
  one compare. The value of each term, without its weight, stands beside them as term_NAME at every evaluation, as the
  update made there sees it; no value where the term takes no part.
Value at a known point
  weight = 0: the same parameters, bit for bit, as without the term.
Source
  Gradients are exact: by hand for measures, symbolic for expressions, both tested against differences.
";

/// The whole text.
pub fn explain() -> String {
    let measures = ALL.iter().map(|measure| format!("  {:<22} {}\n", measure.name(), measure.summary()));
    let functions: Vec<&str> = Function::ALL.iter().map(|f| f.name()).collect();
    format!(
        "{HEAD}\nMeasures\n{}\nFunctions of expressions\n  {}\n",
        measures.collect::<String>(),
        functions.join(", ")
    )
}
