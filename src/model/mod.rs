//! Spec -> graph: the built-in networks as lists of ops, and how their parameters start.

mod gromov;
mod init;
mod mlp;
mod torch;
mod transformer;

pub use init::initialize;

use crate::engine::Graph;
use crate::engine::cpu::activation::Activation;
use crate::engine::cpu::embed::{Embed, Index};
use crate::engine::cpu::formula::FormulaOp;
use crate::engine::cpu::linear::Linear;
use crate::engine::cpu::solu::Solu;
use crate::engine::op::{ParamId, ValueId};
use crate::error::{Error, Result};
use crate::outside;
use crate::spec::{Act, Family, Init, Input, ModelSpec, Normalization};
use crate::task::{Op, Task};

/// What a network must know of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskShape {
    /// Real numbers that are read at each position, in place of a token.
    pub numbers: Option<usize>,
    /// Input tokens.
    pub d_vocab: usize,
    /// Classes of the loss, or numbers that are asked for at a position.
    pub d_vocab_out: usize,
    /// Positions an example.
    pub n_ctx: usize,
    /// Positions whose logits enter the loss.
    pub loss_positions: Vec<usize>,
    /// Positions at which more than one token can stand: what an MLP reads.
    pub varying_positions: Vec<usize>,
    /// The largest token that can stand at one of them, plus one: codes of one-hot tokens.
    pub varying_tokens: usize,
}

#[cfg(test)]
impl TaskShape {
    /// Pairs of numbers below p, and `=`, where the answer is asked.
    fn of_pairs(p: usize) -> TaskShape {
        TaskShape {
            numbers: None,
            d_vocab: p + 1,
            d_vocab_out: p,
            n_ctx: 3,
            loss_positions: vec![2],
            varying_positions: vec![0, 1],
            varying_tokens: p,
        }
    }
}

/// The network of a spec, every value at every position; one that is not in this program is told when it is compiled.
pub fn graph(spec: &ModelSpec, task: &TaskShape) -> Graph {
    match spec.family {
        Family::Transformer => transformer::graph(spec, task),
        Family::Mlp => mlp::graph(spec, task),
        Family::Outside(name) => match outside::network(&name) {
            Ok(network) => network.graph(spec, task),
            Err(fault) => Graph { fault: Some(fault), ..Graph::new(task.n_ctx) },
        },
    }
}

/// What only the task can tell of a model's spec.
///
/// # Errors
/// [`Error::Value`] for analytic weights of another task, for classes without an embedding to read them with, and for what reads
/// tokens only, where the task has real numbers.
pub fn fits(spec: &ModelSpec, task: &Task) -> Result<()> {
    let adds_two = task.modular.as_ref().is_some_and(|m| m.op() == Some(Op::Add))
        && task.possible_tokens.iter().filter(|tokens| tokens.len() > 1).count() == 2;
    if spec.init == Init::Gromov && !adds_two {
        return Err(Error::Value {
            what: "model.init".into(),
            got: format!("gromov, for the task {}", task.name),
            expected: "another rule: these weights solve x+y mod p".into(),
        });
    }
    let reads_tokens = [
        (
            spec.tied_unembed,
            "model.tied_unembed",
            "true",
            "false: there are no tokens to read out with their embeddings",
        ),
        (
            spec.input == Input::Onehot,
            "model.input",
            "onehot",
            "embed: W_E then is a matrix that the numbers are read by",
        ),
        (spec.init == Init::Torch, "model.init", "torch", "another rule: this one starts models of tokens"),
        (matches!(spec.family, Family::Outside(_)), "model.family", "a model from outside", "transformer or mlp"),
    ];
    if let Some((_, what, got, expected)) = reads_tokens.iter().find(|row| row.0 && task.numbers.is_some()) {
        return Err(Error::Value {
            what: (*what).into(),
            got: format!("{got}, for the real numbers of the task {}", task.name),
            expected: (*expected).into(),
        });
    }
    if spec.tied_unembed && task.d_vocab_out > task.d_vocab {
        return Err(Error::Value {
            what: "model.tied_unembed".into(),
            got: format!("true, for {} classes and {} tokens", task.d_vocab_out, task.d_vocab),
            expected: "false: each class needs a row of W_E".into(),
        });
    }
    Ok(())
}

/// The factor with which the logits read the last hidden layer through W_L (`W_out W_U`, or `W_U` alone), whatever else they read;
/// none where something stands between, or only a program from outside knows.
pub fn readout(spec: &ModelSpec) -> Option<f64> {
    match spec.family {
        Family::Outside(_) => None,
        Family::Transformer => (spec.normalization == Normalization::None && spec.layer.is_none()).then_some(1.0),
        Family::Mlp => Some(mlp::readout(spec)),
    }
}

/// `hook_embed`: the row of W_E of each token, or W_E applied to the numbers in its place; with W_E.
fn embed(g: &mut Graph, task: &TaskShape, d_model: usize) -> (ParamId, ValueId) {
    let w = g.param("embed.W_E", &[task.numbers.unwrap_or(task.d_vocab), d_model]);
    let Some(width) = task.numbers else {
        let token = g.value("hook_embed", &[d_model]);
        g.push(Embed { w, output: token, index: Index::Token });
        return (w, token);
    };
    let x = g.reals("hook_numbers", width);
    let y = g.value("hook_embed", &[d_model]);
    g.push(Linear { x, y, w, b: None, residual: None, d_in: width, d_out: d_model });
    (w, y)
}

/// `y = act(x)`.
fn activate(g: &mut Graph, act: &Act, x: ValueId, y: ValueId) {
    match act {
        Act::Formula(formula) => g.push(FormulaOp::new(x, y, formula)),
        Act::Solu | Act::SoluLn => g.push(Solu { x, y }),
        named => g.push(Activation { x, y, act: named.clone() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_the_tasks_is_refused() {
        let [add, sub] = ["mod_add_97", "mod_sub_97"].map(|name| Task::load(name).unwrap());
        let gromov = ModelSpec { init: Init::Gromov, ..ModelSpec::default() };
        assert!(fits(&gromov, &add).is_ok());
        assert!(fits(&gromov, &sub).unwrap_err().to_string().contains("mod_sub_97"));
        let tied = ModelSpec { tied_unembed: true, ..ModelSpec::default() };
        assert!(fits(&tied, &add).is_ok());
        let more_classes = Task { d_vocab_out: add.d_vocab + 1, ..add };
        assert!(fits(&tied, &more_classes).unwrap_err().to_string().contains("99 classes and 98 tokens"));
        assert!(fits(&ModelSpec::default(), &more_classes).is_ok());
    }
}
