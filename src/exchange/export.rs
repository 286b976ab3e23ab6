//! One replica at one step -> a file for other tools.
//!
//! Reads a run folder; writes the file, and for TransformerLens its configuration as JSON beside it. `safetensors` and `npz` hold
//! the parameters under our names, and the spec, step, seed and training examples, so that importing such a file needs no options.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use super::layout::{Layout, from_ours};
use super::transformer_lens::{self, ModelText, gather};
use super::{contents, npy, pth};
use crate::checkpoint::{atomic, open_snapshots};
use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::task::Task;
use crate::tensor::{Data, Tensor};

/// Whose names and shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// TransformerLens's, complete for `load_state_dict(strict=True)`.
    TransformerLens,
    /// Ours, as safetensors.
    Safetensors,
    /// Ours, as `.npz`.
    Npz,
    /// Those of Nanda et al. 2023.
    Nanda,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.safetensors`
    Safetensors,
    /// `.npz`
    Npz,
    /// `.pth`, `.pt`
    Pth,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The parameters, and the configuration if there is one.
    pub files: Vec<PathBuf>,
    /// How Python loads them.
    pub lines: Vec<String>,
    /// What differs from the run's parameters, and why.
    pub notes: Vec<String>,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 4] = [Target::TransformerLens, Target::Safetensors, Target::Npz, Target::Nanda];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Target::TransformerLens => "transformer-lens",
            Target::Safetensors => "safetensors",
            Target::Npz => "npz",
            Target::Nanda => "nanda",
        }
    }

    /// The kind of the file `out`, by its ending.
    ///
    /// # Errors
    /// [`Error::Value`] for an ending that is not one of this target's.
    pub fn format(self, out: &Path) -> Result<Format> {
        let ending = out.extension().unwrap_or_default().to_string_lossy().into_owned();
        match (ending.as_str(), self) {
            ("safetensors", Target::TransformerLens | Target::Nanda | Target::Safetensors) => Ok(Format::Safetensors),
            ("npz", Target::TransformerLens | Target::Nanda | Target::Npz) => Ok(Format::Npz),
            ("pth" | "pt", Target::TransformerLens | Target::Nanda) => Ok(Format::Pth),
            _ => Err(Error::Value {
                what: "--out".into(),
                got: out.display().to_string(),
                expected: match self {
                    Target::Safetensors => "a name that ends in .safetensors".into(),
                    Target::Npz => "a name that ends in .npz".into(),
                    _ => "a name that ends in .safetensors, .npz, .pth or .pt".into(),
                },
            }),
        }
    }

    /// The name of the file where none is asked for: `RUN_step_S_seed_N`, with the target's own ending.
    pub fn default_out(self, run: &Path, step: u64, seed: u64) -> PathBuf {
        let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = match self {
            Target::TransformerLens => "_transformer_lens.safetensors",
            Target::Nanda => "_nanda.safetensors",
            Target::Safetensors => ".safetensors",
            Target::Npz => ".npz",
        };
        PathBuf::from(format!("{name}_step_{step}_seed_{seed}{target}"))
    }
}

/// Writes the parameters of replica index `replica` after `step` updates of the run to `out`.
///
/// # Errors
/// [`Error::Export`] for a model that the target cannot hold; [`Error::Missing`] for a step without a checkpoint;
/// [`Error::Value`] for a replica that is not there or another ending; [`Error::Exists`] without `force`; [`Error::Io`].
pub fn export(run: &Path, (step, replica): (u64, usize), target: Target, out: &Path, force: bool) -> Result<Exported> {
    let reader = open_snapshots(run)?;
    if reader.spec().toy.is_some() {
        return Err(Error::Value {
            what: format!("the run {}", run.display()),
            got: reader.spec().subject(),
            expected: "a run of a task; a toy model's parameters are params/… of run.h5, which h5py opens".into(),
        });
    }
    let spec = reader.spec().clone();
    let task = Task::of(&spec.task, &spec.data)?;
    let seeds = &spec.train.seeds.0;
    let Some(&seed) = seeds.get(replica) else {
        return Err(Error::Value {
            what: "replica".into(),
            got: replica.to_string(),
            expected: format!("an index below {}, the number of replicas", seeds.len()),
        });
    };
    let format = target.format(out)?;
    let config = out.with_extension("json");
    let files = match target {
        Target::TransformerLens => vec![out.to_path_buf(), config.clone()],
        _ => vec![out.to_path_buf()],
    };
    if let Some(there) = files.iter().find(|file| !force && file.exists()) {
        return Err(Error::Exists { path: there.clone(), hint: "--force replaces it, --out writes elsewhere".into() });
    }
    let snapshot = reader.read(step)?;
    let params: Vec<Tensor> = snapshot.params.iter().map(|tensor| tensor.row(replica)).collect::<Result<_>>()?;
    let mask = snapshot.train_mask.row(replica)?.to_f64();
    let train_indices: Vec<u32> = (0u32..).zip(mask).filter(|(_, is_train)| *is_train != 0.0).map(|(i, _)| i).collect();
    let configuration = match target {
        Target::TransformerLens => Some(transformer_lens::config(&spec, &task)?),
        _ => None,
    };
    let mut notes = vec![];
    let tensors = match target {
        Target::Safetensors | Target::Npz => params,
        Target::TransformerLens => transformer_lens::state_dict(&spec, &task, &params)?,
        Target::Nanda => nanda(&spec, &task, params, &mut notes)?,
    };
    if format == Format::Pth {
        notes.push(import_again(&spec, target, (run, step, seed), out));
    }
    let one = Spec {
        train: crate::spec::TrainSpec { seeds: crate::spec::Seeds(vec![seed]), ..spec.train.clone() },
        ..spec.clone()
    };
    let texts =
        [(contents::SPEC, one.to_toml()), (contents::SEED, seed.to_string()), ("phaselab_step", step.to_string())];
    let bytes = encode(format, tensors, (&texts, train_indices), target)?;
    atomic::write(out, force, |temporary| std::fs::write(temporary, &bytes).map_err(Error::io("write", out)))?;
    if let Some(configuration) = configuration {
        let text = serde_json::to_string_pretty(&configuration);
        let text = text.expect("invariant: every key is a string") + "\n";
        atomic::write_text(&config, force, &text)?;
    }
    let lines = lines(target, format, out, &config);
    Ok(Exported { files, lines, notes })
}

/// The file's bytes; the spec and the like go where the format has room for them beside the tensors.
fn encode(
    format: Format,
    mut tensors: Vec<Tensor>,
    (texts, train_indices): (&[(&str, String)], Vec<u32>),
    target: Target,
) -> Result<Vec<u8>> {
    let failed = |cause: String| Error::Export {
        format: target.name(),
        cause,
        hint: "report it: the parameters are fine".into(),
    };
    match format {
        Format::Npz => {
            let texts: Vec<(&str, &str)> = texts.iter().map(|(key, text)| (*key, text.as_str())).collect();
            let shape = vec![train_indices.len()];
            tensors.push(Tensor::new(contents::TRAIN_INDICES, shape, Data::U32(train_indices))?);
            npy::write_npz(&tensors, &texts).map_err(failed)
        }
        Format::Pth => pth::write(&tensors).map_err(failed),
        Format::Safetensors => {
            let bytes: Vec<Vec<u8>> = tensors.iter().map(|tensor| super::little_endian(&tensor.data)).collect();
            let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
                let view = TensorView::new(safetensors_type(&tensor.data), tensor.shape.clone(), bytes);
                Ok((tensor.name.as_str(), view.map_err(|e| failed(e.to_string()))?))
            });
            let views = views.collect::<Result<Vec<_>>>()?;
            // As text: a tensor more would be one too many for `load_state_dict`.
            let indices = train_indices.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            let texts = texts.iter().map(|(key, text)| ((*key).to_owned(), text.clone()));
            let texts = texts.chain([(contents::TRAIN_INDICES.to_owned(), indices)]).collect();
            safetensors::serialize(views, Some(texts)).map_err(|e| failed(e.to_string()))
        }
    }
}

fn safetensors_type(data: &Data) -> Dtype {
    match data {
        Data::F32(_) => Dtype::F32,
        Data::F64(_) => Dtype::F64,
        Data::U8(_) => Dtype::BOOL,
        Data::U32(_) => Dtype::U32,
        Data::U64(_) => Dtype::U64,
    }
}

/// The parameters as the code of Nanda et al. 2023 has them.
fn nanda(spec: &Spec, task: &Task, mut params: Vec<Tensor>, notes: &mut Vec<String>) -> Result<Vec<Tensor>> {
    let (m, text) = (&spec.model, ModelText::of(spec));
    let refuse = |cause: String| {
        let hint = "--to transformer-lens, safetensors or npz can hold it".into();
        Err(Error::Export { format: "Nanda's layout", cause, hint })
    };
    if let Some(layer) = &m.layer {
        let (cause, hint) = (transformer_lens::of_layer(layer), "--to safetensors or --to npz can hold it".into());
        return Err(Error::Export { format: "Nanda's layout", cause, hint });
    }
    if text.family != "transformer" || m.d_mlp == 0 {
        return refuse("that code is a transformer with an MLP in each block".into());
    }
    if let Some(cause) = transformer_lens::other_attention(m).or_else(|| transformer_lens::other_block(m)) {
        return refuse(cause);
    }
    if text.normalization != "none" {
        return refuse(format!("that code normalises nothing, the model has `{}`", text.normalization));
    }
    if !["relu", "gelu"].contains(&text.act.as_str()) {
        return refuse(format!("that code has the activations relu and gelu, the model has `{}`", text.act));
    }
    if let Some(bias) = params.iter().find(|t| t.name.contains(".attn.b_") || t.name == "unembed.b_U") {
        return refuse(format!("that code has no {}", bias.name));
    }
    let find = |params: &[Tensor], name: &str| params.iter().any(|tensor| tensor.name == name);
    let mut missing = vec![("pos_embed.W_pos".to_owned(), vec![task.n_ctx, m.d_model])];
    for block in 0..m.n_layers {
        missing.push((format!("blocks.{block}.mlp.b_in"), vec![m.d_mlp]));
        missing.push((format!("blocks.{block}.mlp.b_out"), vec![m.d_model]));
    }
    for (name, shape) in missing {
        if !find(&params, &name) {
            notes.push(format!("{name} is 0: that code has it, the model does not"));
            let data = transformer_lens::zeros(&params, &shape);
            params.push(Tensor { name, shape, data });
        }
    }
    if !find(&params, "unembed.W_U") {
        let tied = transformer_lens::tied_unembed(&params, m.d_model, task.d_vocab_out)?;
        params.push(tied);
    }
    if task.d_vocab_out < task.d_vocab {
        notes.push(format!(
            "W_U has {} columns as that code wants; those from {} on are 0 and are no classes: take logits[..., :{}]",
            task.d_vocab, task.d_vocab_out, task.d_vocab_out
        ));
        params.iter_mut().filter(|t| t.name == "unembed.W_U").for_each(|t| widen(t, task.d_vocab));
    }
    let changed = |tensor: Tensor| {
        let refuse = |cause| Error::Export { format: "Nanda's layout", cause, hint: "--to npz can hold it".into() };
        let (shape, indices) = from_ours(&tensor.name, &tensor.shape, Layout::Nanda, true).map_err(refuse)?;
        Ok(Tensor { data: gather(&tensor.data, &indices), shape, ..tensor })
    };
    let mut tensors: Vec<Tensor> = params.into_iter().map(changed).collect::<Result<_>>()?;
    for block in 0..m.n_layers {
        let n = task.n_ctx;
        let mask: Vec<f32> = transformer_lens::causal(n).map(f32::from).collect();
        let data = match transformer_lens::zeros(&tensors, &[]) {
            Data::F64(_) => Data::F64(mask.into_iter().map(f64::from).collect()),
            _ => Data::F32(mask),
        };
        tensors.push(Tensor { name: format!("blocks.{block}.attn.mask"), shape: vec![n, n], data });
    }
    Ok(tensors)
}

/// How a file without room for the spec is imported again: what its parameters do not tell must be given.
fn import_again(spec: &Spec, target: Target, (run, step, seed): (&Path, u64, u64), out: &Path) -> String {
    let act = ModelText::of(spec).act;
    let set = match target {
        // TransformerLens's configuration says it; import takes ReLU where nothing does.
        Target::Nanda if act != "relu" => format!(" --set model.act={act}"),
        _ => String::new(),
    };
    format!(
        "PyTorch's files have no room for the spec; phaselab import {} --step {step} --seeds {seed} --task {}{set} gives a model \
         with the same outputs, and --spec {} instead of --task and --set the run's own spec",
        out.display(),
        spec.task,
        run.join("run.toml").display(),
    )
}

/// More columns, of zeros.
fn widen(tensor: &mut Tensor, columns: usize) {
    fn rows<T: Copy + Default>(v: &[T], old: usize, new: usize) -> Vec<T> {
        let padding = vec![T::default(); new - old];
        v.chunks_exact(old).flat_map(|row| row.iter().chain(&padding).copied().collect::<Vec<_>>()).collect()
    }
    let old = tensor.shape[1];
    tensor.data = match &tensor.data {
        Data::F32(v) => Data::F32(rows(v, old, columns)),
        Data::F64(v) => Data::F64(rows(v, old, columns)),
        other => other.clone(),
    };
    tensor.shape[1] = columns;
}

fn lines(target: Target, format: Format, out: &Path, config: &Path) -> Vec<String> {
    let path = out.display();
    let load = match format {
        Format::Safetensors => {
            ["from safetensors.torch import load_file".to_owned(), format!("load_file({:?})", path.to_string())]
        }
        Format::Pth => [String::new(), format!("torch.load({:?}, weights_only=True)", path.to_string())],
        Format::Npz => [
            "import numpy as np".to_owned(),
            format!(
                "{{k: torch.from_numpy(v) for k, v in np.load({:?}).items() if not k.startswith(\"phaselab_\")}}",
                path.to_string()
            ),
        ],
    };
    let [import, state_dict] = load;
    let mut lines = vec![];
    if target == Target::TransformerLens {
        lines.push("import json, torch".into());
        lines.push(import);
        lines.push("from transformer_lens import HookedTransformer, HookedTransformerConfig".into());
        lines.push(format!("config = json.load(open({:?}))", config.display().to_string()));
        lines.push("config[\"dtype\"] = getattr(torch, config[\"dtype\"])".into());
        lines.push("model = HookedTransformer(HookedTransformerConfig(**config))".into());
        lines.push(format!("model.load_state_dict({state_dict}, strict=True)"));
    } else if format == Format::Npz && target == Target::Npz {
        lines.push(import);
        lines.push(format!("params = np.load({:?})", path.to_string()));
    } else if target == Target::Safetensors {
        lines.push("from safetensors.numpy import load_file    # or safetensors.torch".into());
        lines.push(format!("params = {state_dict}"));
    } else {
        lines.extend(["import torch".to_owned(), import, format!("state_dict = {state_dict}")]);
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_from_outside_has_no_place_in_another_programs_model() {
        let task = Task::load("mod_add_53").unwrap();
        let mut spec = Spec { task: "mod_add_53".into(), ..Spec::default() };
        let w_e = Tensor::new("embed.W_E", vec![54, spec.model.d_model], Data::F32(vec![0.0; 54 * spec.model.d_model]));
        let params = vec![w_e.unwrap()];
        transformer_lens::config(&spec, &task).unwrap();
        spec.model.layer = Some("gated".into());
        let refused = [
            transformer_lens::config(&spec, &task).map(drop).unwrap_err(),
            nanda(&spec, &task, params, &mut vec![]).map(drop).unwrap_err(),
        ];
        for error in refused {
            assert!(error.to_string().contains("the layer `gated`"), "{error}");
            assert!(error.hint().unwrap().contains("--to npz"), "{error}");
        }
    }
}
