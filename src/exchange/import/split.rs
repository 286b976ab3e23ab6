//! Which examples were for training: from the file, else as the spec splits.

use std::collections::BTreeMap;

use super::super::contents::SplitRows;
use super::fail;
use super::series::Replica;
use crate::error::Result;
use crate::spec::Spec;
use crate::task::{self, Task};
use crate::tensor::{Data, Tensor};
use crate::train;

/// `train_mask [R, N]`, and the spec with the fraction that it is.
///
/// # Errors
/// Indices or tokens that are no examples of the task, examples in both splits, replicas of which only some say theirs.
pub fn train_mask(
    replicas: &[Replica],
    mut spec: Spec,
    task: &Task,
    note: &mut dyn FnMut(&str),
) -> Result<(Spec, Tensor)> {
    let says = |replica: &Replica| replica.train.is_some() || replica.test.is_some();
    if !replicas.iter().any(says) {
        let mask = train::Data::new(&spec, task)?.train_mask();
        note(&format!(
            "no file says which examples were for training; taken as the spec splits (train_frac {}, seed {}): train and test \
             are right only if data.* describes the split that was used (--set data.…)",
            spec.data.train_frac.unwrap_or(task.train_frac),
            spec.data.seed.map_or("of each replica".to_owned(), |seed| seed.to_string()),
        ));
        return Ok((spec, mask));
    }
    let n = task.n_examples();
    let mut mask = vec![];
    for replica in replicas {
        let own = of_replica(replica, task).map_err(|cause| {
            fail(
                &replica.path,
                vec![cause],
                "its examples must be those of the task, in the order of `phaselab explain modular`",
            )
        })?;
        mask.extend(own);
    }
    let n_train = mask[..n].iter().filter(|&&is_train| is_train == 1).count();
    note(&format!("the split is the file's: {n_train} of {n} examples for training"));
    if task::n_train(n, spec.data.train_frac.unwrap_or(task.train_frac)) != n_train {
        spec.data.train_frac = Some(n_train as f64 / n as f64);
    }
    Ok((spec, Tensor::new("train_mask", vec![replicas.len(), n], Data::U8(mask))?))
}

fn of_replica(replica: &Replica, task: &Task) -> Result<Vec<u8>, String> {
    let n = task.n_examples();
    let marked = |rows: &Option<SplitRows>| rows.as_ref().map(|rows| marks(rows, task)).transpose();
    let mask = match (marked(&replica.train)?, marked(&replica.test)?) {
        (Some(train), Some(test)) => {
            if let Some(at) = (0..n).find(|&i| train[i] == 1 && test[i] == 1) {
                return Err(format!("example {at} is both for training and for testing"));
            }
            train
        }
        (Some(train), None) => train,
        (None, Some(test)) => test.into_iter().map(|is_test| 1 - is_test).collect(),
        (None, None) => return Err("it does not say its split, other replicas do".into()),
    };
    match mask.contains(&1) {
        true => Ok(mask),
        false => Err("its training split is empty".into()),
    }
}

/// `[N]`: 1 for the examples of `rows`.
fn marks(rows: &SplitRows, task: &Task) -> Result<Vec<u8>, String> {
    let n = task.n_examples();
    let mut marks = vec![0u8; n];
    match rows {
        SplitRows::Indices(indices) => {
            for &index in indices {
                let at = usize::try_from(index).ok().filter(|&at| at < n);
                let at = at.ok_or_else(|| format!("index {index} is none of the task's {n} examples"))?;
                if marks[at] == 1 {
                    return Err(format!(
                        "the index {index} of an example stands twice; a mask of all examples is an array of booleans"
                    ));
                }
                marks[at] = 1;
            }
        }
        SplitRows::Mask(mask) if mask.len() == n => marks = mask.iter().map(|&is_in| u8::from(is_in)).collect(),
        SplitRows::Mask(mask) => {
            return Err(format!("a mask has {} booleans, the task has {n} examples", mask.len()));
        }
        SplitRows::Tokens(rows) => {
            let examples: BTreeMap<Vec<i64>, usize> =
                (0..n).map(|i| (task.tokens_t(i).iter().map(|&token| token.into()).collect(), i)).collect();
            for row in rows {
                let at = examples.get(row);
                marks[*at.ok_or_else(|| format!("the tokens {row:?} are no example of task {}", task.name))?] = 1;
            }
        }
    }
    Ok(marks)
}
