//! Their arrays -> our parameters `[R, …]`, as the spec's model has them.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::archive::{EXPANSION, FLOOR};
use super::super::layout::to_ours;
use super::super::value::{Element, Parsed, View};
use super::fail;
use super::series::Replica;
use super::spec::{BIASES, Found};
use crate::error::Result;
use crate::model;
use crate::spec::{Dtype, Spec};
use crate::task::Task;
use crate::tensor::{Data, Tensor};
use crate::train::task_shape;

/// The parameters of the spec's model.
pub struct Expected {
    /// Names and shapes, in order.
    params: Vec<(String, Vec<usize>)>,
    dtype: Dtype,
    task: String,
    n_ctx: usize,
    d_vocab_out: usize,
}

impl Expected {
    /// Those of `spec` on `task`.
    pub fn new(spec: &Spec, task: &Task) -> Expected {
        let graph = model::graph(&spec.model, &task_shape(task));
        let params = graph.params.infos.iter().map(|info| (info.name.clone(), info.shape.clone())).collect();
        Expected {
            params,
            dtype: spec.dtype,
            task: task.name.clone(),
            n_ctx: task.n_ctx,
            d_vocab_out: task.d_vocab_out,
        }
    }

    /// Numbers of one replica.
    pub fn count(&self) -> usize {
        self.params.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Whether every array of every checkpoint fits; tells what is cut off.
    ///
    /// # Errors
    /// The first checkpoint that does not, with all that is wrong in it.
    pub fn check(
        &self,
        (replicas, file_bytes): (&[Replica], u64),
        found: &Found,
        note: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let n: usize = replicas.iter().map(|replica| replica.checkpoints.len()).sum();
        // A list of checkpoints may share arrays, but not without end.
        let bytes = (self.count() as u64).saturating_mul(8).saturating_mul(n as u64);
        if bytes > file_bytes.saturating_mul(EXPANSION).saturating_add(FLOOR) {
            let cause =
                format!("{n} checkpoints of {} numbers are more than files of this size may hold", self.count());
            return Err(fail(&replicas[0].path, vec![cause], "save each checkpoint with numbers of its own"));
        }
        for replica in replicas {
            for (step, arrays) in &replica.checkpoints {
                let faults = self.faults(arrays, found);
                if !faults.is_empty() {
                    let causes = faults.into_iter().map(|fault| format!("step {step}: {fault}")).collect();
                    return Err(fail(&replica.path, causes, HINT));
                }
            }
        }
        self.tell_cut(&replicas[0].checkpoints[0].1, found, note);
        Ok(())
    }

    fn faults(&self, arrays: &BTreeMap<String, View>, found: &Found) -> Vec<String> {
        let mut faults: Vec<String> =
            self.params.iter().filter_map(|(name, shape)| self.fit(name, shape, arrays, found).err()).collect();
        let extra = arrays.iter().filter(|(name, _)| !self.params.iter().any(|(known, _)| known == *name));
        faults.extend(
            extra
                .filter(|(name, view)| !self.is_idle(name, view, arrays, found))
                .map(|(name, _)| format!("the spec's model has no {name}")),
        );
        faults
    }

    /// Whether a parameter that the model lacks changes nothing in it: zero biases and positions, and the `W_U` that a tied model
    /// has, the classes' rows of `W_E` transposed.
    fn is_idle(&self, name: &str, view: &View, arrays: &BTreeMap<String, View>, found: &Found) -> bool {
        match name {
            "pos_embed.W_pos" => view.is_zero(),
            "unembed.W_U" => self.is_tied(arrays, found).unwrap_or(false),
            _ => BIASES.iter().any(|(_, group)| group.iter().any(|bias| name.ends_with(bias))) && view.is_zero(),
        }
    }

    /// Whether `W_U` has the numbers of the classes' rows of `W_E`; columns that are no classes are not looked at.
    fn is_tied(&self, arrays: &BTreeMap<String, View>, found: &Found) -> Option<bool> {
        let ours = |name: &str| to_ours(name, arrays.get(name)?, found.layout, (&found.sizes, found.transformer)).ok();
        let (w_e, w_u) = (ours("embed.W_E")?, ours("unembed.W_U")?);
        let classes = self.d_vocab_out;
        let fits = w_e.shape[0] >= classes && w_u.shape[1] >= classes && w_e.shape[1] == w_u.shape[0];
        let rows = fits.then(|| w_e.narrow(0, 0, classes).permute(&[1, 0]).to_f64())?;
        let columns = w_u.narrow(1, 0, classes).to_f64();
        // A run that diverged is tied too.
        Some(rows.iter().zip(&columns).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())))
    }

    /// An array in our order of axes, cut to the task; none for a bias that the file lacks.
    fn fit(&self, name: &str, shape: &[usize], arrays: &BTreeMap<String, View>, found: &Found) -> Parsed<Option<View>> {
        let Some(theirs) = arrays.get(name) else {
            let is_bias = BIASES.iter().any(|(_, group)| group.iter().any(|ending| name.ends_with(ending)));
            return if is_bias {
                Ok(None)
            } else {
                Err(format!("{name} is missing; the spec's model has it with shape {shape:?}"))
            };
        };
        if theirs.element == Element::F64 && self.dtype == Dtype::F32 {
            return Err(format!("{name} is f64, the spec's dtype is f32"));
        }
        let mut view = match found.own {
            true => theirs.clone(),
            false => to_ours(name, theirs, found.layout, (&found.sizes, found.transformer))?,
        };
        let last = view.shape.len().saturating_sub(1);
        match name {
            "unembed.W_U" | "unembed.b_U" if view.shape[last] > self.d_vocab_out => {
                view = view.narrow(last, 0, self.d_vocab_out)
            }
            "pos_embed.W_pos" if view.shape[0] > self.n_ctx => view = view.narrow(0, 0, self.n_ctx),
            _ => {}
        }
        match view.shape == shape {
            true => Ok(Some(view)),
            false => Err(format!("{name} has shape {:?}, the spec's model has {shape:?}", view.shape)),
        }
    }

    /// Says which outputs and positions have no meaning in the task.
    fn tell_cut(&self, arrays: &BTreeMap<String, View>, found: &Found, note: &mut dyn FnMut(&str)) {
        let size = |axis: char| found.sizes.get(&axis).copied().unwrap_or(0);
        if arrays.contains_key("unembed.W_U") && size('o') > self.d_vocab_out {
            note(&format!(
                "the model has {} outputs, task {} has {} classes: outputs from {} on, which are never an answer, are left out \
                 of W_U, as the published analysis does with `logits[..., :-1]` (their part in the training loss goes too)",
                size('o'),
                self.task,
                self.d_vocab_out,
                self.d_vocab_out,
            ));
        }
        if size('t') > self.n_ctx {
            note(&format!("the model has {} positions, task {} uses the first {}", size('t'), self.task, self.n_ctx));
        }
    }

    /// The parameters `[R, …]` of checkpoint index `at`.
    ///
    /// # Errors
    /// Those of [`Expected::check`].
    pub fn params(&self, replicas: &[Replica], at: usize, found: &Found) -> Result<Vec<Tensor>> {
        self.params
            .iter()
            .map(|(name, shape)| {
                let mut data = if self.dtype == Dtype::F64 { Data::F64(vec![]) } else { Data::F32(vec![]) };
                for replica in replicas {
                    let wrong = |cause: String| fail(Path::new(&replica.path), vec![cause], HINT);
                    let view = self.fit(name, shape, &replica.checkpoints[at].1, found).map_err(wrong)?;
                    let count: usize = shape.iter().product();
                    match (&mut data, view.map(|view| view.to_tensor(name)).transpose().map_err(wrong)?.map(|t| t.data))
                    {
                        (Data::F32(all), Some(Data::F32(own))) => all.extend(own),
                        (Data::F64(all), Some(Data::F64(own))) => all.extend(own),
                        (Data::F64(all), Some(Data::F32(own))) => all.extend(own.into_iter().map(f64::from)),
                        (Data::F32(all), None) => all.resize(all.len() + count, 0.0),
                        (Data::F64(all), None) => all.resize(all.len() + count, 0.0),
                        _ => return Err(wrong(format!("{name} is f64, the spec's dtype is f32"))),
                    }
                }
                Tensor::new(name.clone(), [&[replicas.len()], &shape[..]].concat(), data)
            })
            .collect()
    }
}

const HINT: &str = "--set model.…, --spec or --task must describe the model that the file has";
