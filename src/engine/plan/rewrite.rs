//! Exact structure savings, each one pass over the graph.

use std::collections::BTreeSet;

use crate::engine::cpu::attention::Attention;
use crate::engine::cpu::scores::Heads;
use crate::engine::cpu::select::Select;
use crate::engine::cuda::attention::FUSED_KEYS;
use crate::engine::graph::Graph;
use crate::engine::op::{Part, Space, Value, ValueId};

use super::{BatchShape, Target};

/// Drops values that nobody needs and keeps the others only at the positions that reach the loss or a kept value.
///
/// `keep` (wants and edits) are kept at the positions that they name, or at all. With `save` off, dead ops still go and all
/// positions stay.
pub(super) fn needed_positions(
    graph: &mut Graph,
    loss_positions: &[usize],
    keep: &[(ValueId, Option<&[usize]>)],
    save: bool,
) {
    let mut need: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); graph.values.len()];
    need[graph.logits].extend(loss_positions);
    for &(id, at) in keep {
        if let Space::Batch(all) = &graph.values[id].space {
            need[id].extend(at.unwrap_or(all));
        }
    }
    let mut alive = vec![false; graph.ops.len()];
    for (i, op) in graph.ops.iter().enumerate().rev() {
        let out: BTreeSet<usize> = op.outputs().iter().flat_map(|&id| need[id].iter().copied()).collect();
        if out.is_empty() {
            continue;
        }
        alive[i] = true;
        let out: Vec<usize> = out.into_iter().collect();
        for id in op.outputs() {
            // Outputs of one op may stand at different positions.
            let Space::Batch(held) = &graph.values[id].space else { continue };
            need[id].extend(out.iter().filter(|position| held.contains(position)));
        }
        for (input, id) in op.inputs().into_iter().enumerate() {
            need[id].extend(op.reads_positions(input, &out));
        }
    }
    let mut alive = alive.into_iter();
    graph.ops.retain(|_| alive.next().expect("invariant: one flag an op"));
    for (value, need) in graph.values.iter_mut().zip(need) {
        if let Space::Batch(positions) = &mut value.space
            && (save || need.is_empty())
        {
            *positions = need.into_iter().collect();
        }
    }
}

/// Gives the loss its own rows where the logits are kept at more positions than it reads.
pub(super) fn loss_rows(graph: &mut Graph, loss_positions: &[usize]) {
    let logits = &graph.values[graph.logits];
    let space = Space::Batch(loss_positions.to_vec());
    if logits.space == space {
        return;
    }
    let value = Value { name: format!("{}.at_loss", logits.name), space, ..logits.clone() };
    graph.values.push(value);
    let id = graph.values.len() - 1;
    graph.ops.push(Box::new(Select::new(graph.logits, id)));
    graph.logits = id;
}

/// Turns values that depend on (token, position) alone into tables, when the task's pairs are fewer than the batch's rows.
///
/// Gives the pairs, in order of position, then token; none when nothing was turned.
pub(super) fn pair_tables(graph: &mut Graph, shape: &BatchShape, keep: &[ValueId]) -> Vec<(u32, usize)> {
    let Some(possible) = &shape.possible_tokens else {
        return vec![];
    };
    let mut by_pair = vec![false; graph.values.len()];
    for op in &graph.ops {
        let ok = op.keeps_pairs()
            && op.inputs().iter().all(|&id| by_pair[id])
            && !op.outputs().iter().any(|id| keep.contains(id) || *id == graph.logits);
        for id in op.outputs() {
            by_pair[id] = ok;
        }
    }
    let positions: BTreeSet<usize> = (graph.values.iter().zip(&by_pair))
        .filter(|&(_, &by_pair)| by_pair)
        .flat_map(|(value, _)| batch_positions(value).iter().copied())
        .collect();
    let pairs: Vec<(u32, usize)> =
        positions.iter().flat_map(|&at| possible[at].iter().map(move |&token| (token, at))).collect();
    if pairs.is_empty() || pairs.len() >= shape.examples * positions.len() {
        return vec![];
    }
    for (value, by_pair) in graph.values.iter_mut().zip(by_pair) {
        if by_pair {
            value.space = Space::Pairs;
        }
    }
    pairs
}

/// Puts a [`Select`] wherever an op reads a value that has other rows than it needs: more positions, or a table, for a row-wise op and
/// for one that reads no tables.
pub(super) fn select_rows(graph: &mut Graph, target: Target) {
    let mut made: Vec<(ValueId, Space, ValueId)> = vec![];
    let ops = std::mem::take(&mut graph.ops);
    for mut op in ops {
        let own = graph.values[op.outputs()[0]].space.clone();
        for (i, input) in op.inputs().into_iter().enumerate() {
            let from = &graph.values[input].space;
            let no_table = *from == Space::Pairs && (target == Target::Gpu || !op.reads_tables());
            let space = match &own {
                Space::Batch(out) if no_table => Space::Batch(op.reads_positions(i, out)),
                _ => own.clone(),
            };
            let other_rows = op.same_rows(i) && (op.row_wise() || *from != Space::Pairs);
            if *from != space && (other_rows || no_table) {
                let known = made.iter().find(|(from, to, _)| *from == input && *to == space);
                let selected = match known {
                    Some(&(_, _, id)) => id,
                    None => {
                        let source = &graph.values[input];
                        let value =
                            Value { name: format!("{}.selected", source.name), space: space.clone(), ..source.clone() };
                        graph.values.push(value);
                        let id = graph.values.len() - 1;
                        graph.ops.push(Box::new(Select::new(input, id)));
                        made.push((input, space.clone(), id));
                        id
                    }
                };
                op.rewire(input, selected);
            }
        }
        graph.ops.push(op);
    }
}

/// Lets a matrix product start from the other summand, where its own result is needed for nothing but the sum.
pub(super) fn fuse_sums(graph: &mut Graph, keep: &[ValueId]) {
    let mut at = 0;
    while at < graph.ops.len() {
        if let Some((residual, fresh)) = graph.ops[at].as_sum() {
            let readers = graph.ops.iter().filter(|op| op.inputs().contains(&fresh)).count();
            let maker = graph.ops[..at].iter().position(|op| op.outputs().contains(&fresh));
            if let Some(maker) = maker
                && readers == 1
                && !keep.contains(&fresh)
                && let Some(fused) = graph.ops[maker].with_residual(residual, graph.ops[at].outputs()[0])
            {
                graph.ops[at] = fused;
                graph.ops.remove(maker);
                continue;
            }
        }
        at += 1;
    }
}

/// Joins scores, softmax and mixed values to one op, where all rows lie in the batch and nobody reads the scores or a gradient between.
pub(super) fn fuse_attention(graph: &mut Graph, keep: &[ValueId], target: Target) {
    let fits = |heads: &Heads| match target {
        Target::Processor => Attention::fits(heads),
        Target::Gpu => heads.keys <= FUSED_KEYS,
    };
    let maker = |graph: &Graph, id: ValueId| graph.ops.iter().position(|op| op.outputs().contains(&id));
    let is_alone = |graph: &Graph, id: ValueId| {
        graph.ops.iter().filter(|op| op.inputs().contains(&id)).count() == 1 && !keep.contains(&id)
    };
    let in_batch = |graph: &Graph, id: ValueId| matches!(graph.values[id].space, Space::Batch(_));
    for mix in (0..graph.ops.len()).rev() {
        let Some(Part::Mix { v, heads }) = graph.ops.get(mix).and_then(|op| op.attention_part()) else { continue };
        let (pattern, z) = (graph.ops[mix].inputs()[0], graph.ops[mix].outputs()[0]);
        let Some(softmax) = maker(graph, pattern) else { continue };
        let Some(Part::Softmax) = graph.ops[softmax].attention_part() else { continue };
        let scores = graph.ops[softmax].inputs()[0];
        let Some(first) = maker(graph, scores) else { continue };
        let Some(Part::Scores { q, k }) = graph.ops[first].attention_part() else { continue };
        let alone = is_alone(graph, pattern) && is_alone(graph, scores);
        if alone && fits(&heads) && [q, k, v].iter().all(|&id| in_batch(graph, id)) {
            graph.ops[mix] = Box::new(Attention { q, k, v, pattern, z, heads });
            graph.ops.remove(softmax);
            graph.ops.remove(first);
        }
    }
}

fn batch_positions(value: &Value) -> &[usize] {
    match &value.space {
        Space::Batch(positions) => positions,
        Space::Pairs => &[],
    }
}
