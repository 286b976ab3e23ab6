//! Where each value and gradient lies, and who writes a gradient first.

use crate::engine::graph::Graph;
use crate::engine::op::{Space, Value, ValueId};

/// Place of a value in the buffers.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Offset of the value.
    pub(crate) value_at: usize,
    /// Offset of its gradient, where the loss's gradient reaches it.
    pub(crate) grad_at: Option<usize>,
    /// Rows an example; 0 for a pair table.
    pub(crate) per_example: usize,
    /// Numbers a row.
    pub(crate) width: usize,
}

/// What was decided for one op.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) inputs: Vec<ValueId>,
    /// For each input: `None` when its gradient is not needed, else whether the op adds to it (or writes it first).
    pub(crate) input_grads: Vec<Option<bool>>,
    /// Scratch numbers of the op, within the slot's scratch.
    pub(crate) scratch_at: usize,
    pub(crate) scratch_len: usize,
}

/// Where everything lies in a slot that holds some number of examples.
#[derive(Debug, Clone)]
pub(crate) struct SlotLayout {
    /// By value.
    pub(crate) places: Vec<Place>,
    /// Numbers of all pair tables, which come first.
    pub(crate) tables_len: usize,
    /// Numbers of all values; as many again for the gradients.
    pub(crate) len: usize,
}

/// Values on a path from a parameter to the loss.
pub(super) fn loss_reaches(graph: &Graph, has_loss: bool) -> Vec<bool> {
    let mut from_param = vec![false; graph.values.len()];
    for op in &graph.ops {
        let reached = !op.params().is_empty() || op.inputs().iter().any(|&id| from_param[id]);
        from_param[op.outputs()[0]] = reached;
    }
    let mut to_loss = vec![false; graph.values.len()];
    to_loss[graph.logits] = has_loss;
    for op in graph.ops.iter().rev() {
        if to_loss[op.outputs()[0]] {
            for id in op.inputs() {
                to_loss[id] = true;
            }
        }
    }
    from_param.into_iter().zip(to_loss).map(|(a, b)| a && b).collect()
}

/// Lays out a slot for `examples` examples and `n_pairs` table rows; `reach` says which values have a gradient.
pub(super) fn place(values: &[Value], reach: &[bool], examples: usize, n_pairs: usize) -> SlotLayout {
    let rows = |value: &Value| match &value.space {
        Space::Batch(positions) => positions.len() * examples,
        Space::Pairs => n_pairs,
    };
    let mut at = 0;
    let mut tables_len = 0;
    let mut starts = vec![0; values.len()];
    for tables in [true, false] {
        for (start, value) in starts.iter_mut().zip(values) {
            if (value.space == Space::Pairs) == tables {
                *start = at;
                at += (rows(value) * value.width).next_multiple_of(16);
            }
        }
        if tables {
            tables_len = at;
        }
    }
    let places = (values.iter().zip(starts).zip(reach))
        .map(|((value, start), &reach)| Place {
            value_at: start,
            grad_at: reach.then_some(start),
            per_example: if let Space::Batch(positions) = &value.space { positions.len() } else { 0 },
            width: value.width,
        })
        .collect();
    SlotLayout { places, tables_len, len: at }
}

/// Gradient bookkeeping: in backward order the first op to touch a batch-space gradient writes it, later ones add.
/// Gradients of tables start at zero and are always added to; the loss writes that of the logits.
pub(super) fn sites(graph: &Graph, reach: &[bool]) -> Vec<Site> {
    let mut written = vec![false; graph.values.len()];
    written[graph.logits] = true;
    let mut scratch_at = 0;
    let mut sites: Vec<Site> = (graph.ops.iter())
        .map(|op| {
            let scratch_len = op.scratch_len();
            let site = Site { inputs: op.inputs(), input_grads: vec![], scratch_at, scratch_len };
            scratch_at += scratch_len.next_multiple_of(16);
            site
        })
        .collect();
    for (op, site) in graph.ops.iter().zip(&mut sites).rev() {
        let through = reach[op.outputs()[0]];
        site.input_grads = (site.inputs.iter())
            .map(|&id| {
                let is_table = graph.values[id].space == Space::Pairs;
                (through && reach[id]).then(|| is_table || std::mem::replace(&mut written[id], true))
            })
            .collect();
    }
    sites
}
