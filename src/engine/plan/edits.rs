//! Edits -> ops behind the activations they change, and changes of parameters around a step.

use std::ops::Range;

use crate::engine::cpu::change::ChangeOp;
use crate::engine::edit::{Change, Edit};
use crate::engine::graph::Graph;
use crate::engine::op::{Space, Value, ValueId};
use crate::engine::plan::BatchShape;
use crate::error::{Error, Result};

/// A change of one parameter, in the parameter's storage order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParamEdit {
    pub(crate) range: Range<usize>,
    pub(crate) change: Change,
}

/// Puts the edits into the graph; gives those of parameters.
pub(super) fn insert(graph: &mut Graph, shape: &BatchShape, edits: &[Edit]) -> Result<Vec<ParamEdit>> {
    let mut of_params = vec![];
    for edit in edits {
        if let Change::Clamp { min, max } = edit.change
            && min.partial_cmp(&max).is_none_or(std::cmp::Ordering::is_gt)
        {
            return Err(value(edit, &format!("a clamp from {min} to {max}"), "min ≤ max, both numbers"));
        }
        if let Some(param) = graph.params.find(&edit.at) {
            if edits.iter().filter(|other| other.at == edit.at).count() > 1 {
                return Err(value(
                    edit,
                    "more than one edit of one parameter",
                    "one: join them into one mask or patch",
                ));
            }
            of_params.push(param_edit(graph, param, edit)?);
        } else {
            insert_op(graph, shape, edit)?;
        }
    }
    Ok(of_params)
}

/// Values that edits write; they keep all their positions.
pub(super) fn edited(graph: &Graph) -> Vec<ValueId> {
    graph.ops.iter().filter(|op| op.is_edit()).flat_map(|op| op.outputs()).collect()
}

fn insert_op(graph: &mut Graph, shape: &BatchShape, edit: &Edit) -> Result<()> {
    let id = graph.find(&edit.at)?;
    // Attention reads keys up to the query only: numbers that an edit puts beyond would be shown and not used.
    let writes = matches!(edit.change, Change::Patch(_) | Change::Clamp { .. } | Change::Ablate);
    if writes && edit.at.ends_with("attn.hook_attn_scores") {
        return Err(value(
            edit,
            "a change of masked scores",
            "an edit of hook_pattern, or a mask or freeze of the scores",
        ));
    }
    let Some(maker) = graph.ops.iter().position(|op| op.outputs().first() == Some(&id)) else {
        return Err(value(edit, "a place that can only be read", "a hook that an op's result passes through"));
    };
    let source = graph.values[id].clone();
    let cols = match edit.head {
        None => 0..source.width,
        Some(head) if source.axes.len() > 1 && head < source.axes[0] => {
            let width = source.width / source.axes[0];
            head * width..(head + 1) * width
        }
        Some(head) => {
            return Err(value(edit, &format!("head {head}"), &format!("an index of axes {:?}", source.axes)));
        }
    };
    let Space::Batch(all) = &source.space else { unreachable!("invariant: edits come before tables") };
    if let Some(bad) = edit.positions.iter().flatten().find(|p| !all.contains(p)) {
        return Err(value(edit, &format!("position {bad}"), &format!("one of {all:?}")));
    }
    check_len(edit, source.width, shape.examples * all.len() * source.width)?;
    // The edited value takes over the hook's name and all readers.
    let unedited = graph.values.len();
    graph.values.push(Value { name: format!("{}.unedited", source.name), ..source });
    for op in &mut graph.ops {
        op.rewire_output(id, unedited);
    }
    let op = ChangeOp::new(unedited, id, edit.change.clone(), cols, edit.positions.clone());
    graph.ops.insert(maker + 1, Box::new(op));
    Ok(())
}

fn check_len(edit: &Edit, width: usize, whole: usize) -> Result<()> {
    let (got, expected) = match &edit.change {
        Change::Patch(v) => (v.len(), [width, whole]),
        Change::Mask(v) => (v.len(), [width, width]),
        _ => return Ok(()),
    };
    if expected.contains(&got) {
        return Ok(());
    }
    Err(Error::Shape {
        op: format!("edit at {}", edit.at),
        expected: format!("{} or {} numbers", expected[0], expected[1]),
        got: got.to_string(),
    })
}

fn param_edit(graph: &Graph, param: usize, edit: &Edit) -> Result<ParamEdit> {
    let info = &graph.params.infos[param];
    if edit.positions.is_some() || edit.head.is_some() {
        return Err(value(edit, "an edit of some positions or heads", "an edit of the whole parameter (use a mask)"));
    }
    check_len(edit, info.len(), info.len())?;
    let stored = |v: &[f64]| {
        let mut out = vec![0.0; v.len()];
        for (i, &x) in v.iter().enumerate() {
            out[info.stored(i)] = x;
        }
        out
    };
    let change = match &edit.change {
        Change::Patch(v) => Change::Patch(stored(v)),
        Change::Mask(v) => Change::Mask(stored(v)),
        other => other.clone(),
    };
    Ok(ParamEdit { range: info.offset..info.offset + info.len(), change })
}

fn value(edit: &Edit, got: &str, expected: &str) -> Error {
    Error::Value { what: format!("edit at {}", edit.at), got: got.into(), expected: expected.into() }
}
