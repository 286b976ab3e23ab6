//! Sizes of parameters -> the spec of a model that has them, and the task that fits.

use std::path::Path;

use super::super::layout::{Layout, Sizes, fitting, is_transformer, n_blocks};
use super::config::Config;
use super::series::Replica;
use super::{File, ImportOptions, ask, fail, listed};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::model;
use crate::spec::{Dtype, Seeds, Snapshots, Source, Spec, from_toml};
use crate::task::{self, Task};
use crate::train::task_shape;

/// The order of axes of the files, and the sizes that they agree on.
#[derive(Debug, Clone)]
pub struct Found {
    /// The order of axes.
    pub layout: Layout,
    /// Sizes by axis.
    pub sizes: Sizes,
    /// Whether it is a transformer.
    pub transformer: bool,
    /// Whether names and shapes are those of the spec in the file, whatever they are.
    pub own: bool,
}

/// The spec that phaselab wrote into one of the files.
fn written(files: &[File]) -> Option<(&Path, &str)> {
    files.iter().find_map(|file| Some((file.path.as_path(), file.contents.spec.as_deref()?)))
}

/// Files that have the very parameters of the spec that phaselab wrote into them, so that nothing is to be found out: a model
/// from outside has names and axes that nobody else knows.
///
/// # Errors
/// A spec with faults, a task that is not there, a model that is not in this program.
pub fn own(replicas: &[Replica], files: &[File], options: &ImportOptions<'_>) -> Result<Option<Found>> {
    let Some((path, text)) = written(files).filter(|_| options.map.is_none() && options.layout.is_none()) else {
        return Ok(None);
    };
    let spec = from_toml(Source { path, text, sets: &[] }, Spec::faults)?;
    let task = Task::of(options.task.unwrap_or(&spec.task), &spec.data)?;
    let graph = model::graph(&spec.model, &task_shape(&task));
    let params: Vec<(String, Vec<usize>)> =
        graph.params.infos.iter().map(|info| (info.name.clone(), info.shape.clone())).collect();
    graph.compiles()?;
    let mut checkpoints = replicas.iter().flat_map(|replica| &replica.checkpoints);
    let is_own = checkpoints.all(|(_, arrays)| {
        let has = |(name, shape): &(String, Vec<usize>)| arrays.get(name).is_some_and(|view| view.shape == *shape);
        arrays.len() == params.len() && params.iter().all(has)
    });
    let transformer = is_transformer(params.iter().map(|(name, _)| name));
    Ok(is_own.then(|| Found { layout: Layout::TransformerLens, sizes: Sizes::new(), transformer, own: true }))
}

/// The one layout that fits the shapes.
///
/// # Errors
/// None fits, or several do and nothing decides.
pub fn layout(replicas: &[Replica], options: &ImportOptions<'_>, note: &mut dyn FnMut(&str)) -> Result<Found> {
    let (path, (_, arrays)) = (&replicas[0].path, &replicas[0].checkpoints[0]);
    let mut known = Sizes::new();
    if let Some(name) = options.task {
        known.insert('v', Task::load(name)?.d_vocab);
    }
    let (mut fit, why) = fitting(arrays, &known);
    // Without the arguments something fits: it is they that are wrong.
    let is_asked_away = options.layout.is_some() && !fit.is_empty()
        || options.task.is_some() && fit.is_empty() && !fitting(arrays, &Sizes::new()).0.is_empty();
    if let Some(asked) = options.layout {
        fit.retain(|(layout, _)| *layout == asked);
    }
    let transformer = is_transformer(arrays.keys());
    match &fit[..] {
        [(layout, sizes)] => {
            let told = match layout {
                Layout::TransformerLens => "TransformerLens's",
                Layout::Nanda => "that of Nanda's older code, transposed into ours",
                Layout::Transposed => "TransformerLens's with each matrix transposed, exchanged into ours",
            };
            note(&format!("layout of the parameters: {told} (--layout {})", layout.name()));
            Ok(Found { layout: *layout, sizes: sizes.clone(), transformer, own: false })
        }
        [] => {
            let why = match options.layout {
                Some(asked) => why.into_iter().filter(|why| why.contains(asked.name())).collect(),
                None => why,
            };
            let refuse = if is_asked_away { ask } else { fail };
            Err(refuse(path, why, "--task CARD says the task, --map NAMES.toml changes names and shapes"))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(layout, _)| layout.name()).collect();
            let cause =
                format!("its shapes fit the layouts {}: every matrix that could decide is square", names.join(" and "));
            let hint = format!("--layout {} says which it is; --task CARD may decide too", names.join(" or --layout "));
            Err(ask(path, vec![cause], &hint))
        }
    }
}

/// The spec: that of `--spec` or of the file where there is one, else one made from the sizes; then `--set`.
///
/// # Errors
/// [`crate::error::Error::Spec`]; a task that is not there or not decided.
pub fn spec(
    replicas: &[Replica],
    found: &Found,
    files: &[File],
    options: &ImportOptions<'_>,
    note: &mut dyn FnMut(&str),
) -> Result<Spec> {
    let written = written(files);
    let config = Config::of(&files[0], found, note);
    if written.is_none() {
        config.check(&files[0].path, found)?;
        files[1..].iter().try_for_each(|file| Config::of(file, found, note).check(&file.path, found))?;
    }
    let mut sets: Vec<String> = vec![];
    let (base, is_given) = match (options.spec, written) {
        (Some(name), _) => (Experiment::find(name)?.spec(&[])?, true),
        (None, Some((path, text))) => {
            note(&format!("the spec is the one that phaselab wrote into {}", path.display()));
            (from_toml(Source { path, text, sets: &[] }, Spec::faults)?, true)
        }
        (None, None) => (Spec::default(), false),
    };
    match options.task {
        Some(name) => sets.push(format!("task={name:?}")),
        None if is_given || is_set(options.sets, "task") => {}
        None => sets.push(format!("task={:?}", guess_task(&replicas[0].path, &found.sizes, note)?)),
    }
    if !is_given {
        let told = config.keys(options.sets, note);
        let known: Vec<String> = options.sets.iter().chain(&told).cloned().collect();
        sets.extend(model_keys(replicas, found, &known, note));
        sets.extend(told);
        note(
            "the spec's optimiser and training loss are defaults, for the files do not say them (--spec gives others)",
        );
    }
    let text = Spec { dtype: dtype(replicas)?, ..run_keys(base, replicas, files, options) }.to_toml();
    sets.extend(options.sets.iter().cloned());
    from_toml(Source { path: Path::new("run.toml"), text: &text, sets: &sets }, Spec::faults)
}

/// What belongs to the run and not to its model.
fn run_keys(base: Spec, replicas: &[Replica], files: &[File], options: &ImportOptions<'_>) -> Spec {
    let steps: Vec<u64> = replicas[0].checkpoints.iter().map(|(step, _)| *step).collect();
    let seeds = match (options.seeds, files.iter().find_map(|file| file.contents.seed)) {
        ([], Some(seed)) => vec![seed],
        ([], None) => vec![0],
        (seeds, _) => seeds.to_vec(),
    };
    let mut spec = base;
    if spec.title.is_empty() {
        let name = replicas[0].path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        spec.title = format!("Imported from {name}");
    }
    spec.train.seeds = Seeds(seeds);
    spec.train.steps = steps.last().copied().unwrap_or_default();
    spec.train.snapshots = Snapshots { list: steps, ..Snapshots::default() };
    spec.train.stop = None;
    spec
}

/// The keys of the model that its sizes say.
fn model_keys(replicas: &[Replica], found: &Found, sets: &[String], note: &mut dyn FnMut(&str)) -> Vec<String> {
    let arrays = &replicas[0].checkpoints[0].1;
    let size = |axis: char| found.sizes.get(&axis).copied().unwrap_or(0);
    let blocks = n_blocks(arrays.keys());
    let has = |ending: &str| arrays.keys().any(|name| name.ends_with(ending));
    let mut keys =
        vec![("n_layers", blocks.to_string()), ("d_model", size('d').to_string()), ("d_mlp", size('m').to_string())];
    let mut normalization = "none (LNPre and RMSPre have no parameters to tell them by)";
    if found.transformer {
        keys.extend([("n_heads", size('h').to_string()), ("d_head", size('k').to_string())]);
        if has("ln1.w") || has("ln_final.w") {
            let name = if has("ln1.b") || has("ln_final.b") { "LN" } else { "RMS" };
            keys.push(("normalization", format!("{name:?}")));
            normalization = "";
        }
        if !arrays.contains_key("pos_embed.W_pos") {
            keys.push(("positional", "\"none\"".into()));
        }
        if !arrays.contains_key("unembed.W_U") {
            keys.push(("tied_unembed", "true".into()));
        }
    } else {
        let join = if size('j') == size('d') { "sum" } else { "concat" };
        keys.extend([("family", "\"mlp\"".to_owned()), ("join", format!("{join:?}"))]);
    }
    for (key, group) in BIASES {
        if !(found.transformer || *key != "attn_bias") {
            continue;
        }
        let is_there = arrays.keys().any(|name| group.iter().any(|ending| name.ends_with(ending)));
        let is_zero = is_there && group_is_zero(replicas, group);
        if is_zero && !is_set(sets, &format!("model.{key}")) {
            let names: Vec<String> = group.iter().map(|ending| ending.trim_start_matches('.').to_owned()).collect();
            note(&format!(
                "{} are zero in every checkpoint and left out, for the same function (--set model.{key}=true keeps them)",
                listed(&names)
            ));
        }
        keys.push((key, (is_there && !is_zero).to_string()));
    }
    let mut defaults = vec![];
    if size('m') > 0 && !is_set(sets, "model.act") {
        defaults.push("activation ReLU");
    }
    if found.transformer && !normalization.is_empty() && !is_set(sets, "model.normalization") {
        defaults.push("no normalisation");
    }
    if !defaults.is_empty() {
        note(&format!(
            "no parameter tells these, so the default is taken: {} (--set model.act=…, model.normalization=…)",
            defaults.join(", ")
        ));
    }
    keys.into_iter().map(|(key, value)| format!("model.{key}={value}")).collect()
}

/// A key of the spec and the parameters that it stands for.
pub const BIASES: &[(&str, &[&str])] = &[
    ("attn_bias", &[".attn.b_Q", ".attn.b_K", ".attn.b_V", ".attn.b_O"]),
    ("mlp_bias", &[".mlp.b_in", ".mlp.b_out"]),
    ("unembed_bias", &["unembed.b_U"]),
];

fn group_is_zero(replicas: &[Replica], group: &[&str]) -> bool {
    let arrays = replicas.iter().flat_map(|replica| &replica.checkpoints).flat_map(|(_, arrays)| arrays);
    arrays.filter(|(name, _)| group.iter().any(|ending| name.ends_with(ending))).all(|(_, view)| view.is_zero())
}

/// The task whose vocabulary and classes the sizes are, if it is one alone.
fn guess_task(path: &Path, sizes: &Sizes, note: &mut dyn FnMut(&str)) -> Result<String> {
    let size = |axis: char| sizes.get(&axis).copied();
    let (d_vocab, outputs) = (size('v').unwrap_or(0), size('o').or_else(|| size('v')).unwrap_or(0));
    let fits = |name: &String| {
        let Ok(task) = Task::load(name) else { return false };
        let positions = size('t').is_none_or(|n_ctx| n_ctx >= task.n_ctx);
        task.d_vocab == d_vocab && (outputs == task.d_vocab_out || outputs == d_vocab) && positions
    };
    let names: Vec<String> = task::list().into_iter().filter(fits).collect();
    match &names[..] {
        [name] => {
            note(&format!("the task is taken to be {name}, the only card with {d_vocab} tokens and as many outputs"));
            Ok(name.clone())
        }
        [] => {
            let cause = format!("no task card has {d_vocab} tokens and {outputs} outputs");
            Err(ask(path, vec![cause], "write a card for its task and give it with --task CARD.toml"))
        }
        several => {
            let cause = format!("its sizes fit the tasks {}", several.join(", "));
            Err(ask(path, vec![cause], "--task CARD says which it is"))
        }
    }
}

fn dtype(replicas: &[Replica]) -> Result<Dtype> {
    use super::super::value::Element;
    let views = replicas
        .iter()
        .flat_map(|r| r.checkpoints.iter().flat_map(move |(_, arrays)| arrays.iter().map(move |a| (r, a))));
    let mut found: Option<Dtype> = None;
    for (replica, (name, view)) in views {
        let dtype = match view.element {
            Element::F64 => Dtype::F64,
            element if element.is_float() => Dtype::F32,
            _ => {
                let cause = format!("{name} holds integers, a parameter has floats");
                return Err(fail(&replica.path, vec![cause], "--map NAMES.toml can name it under `ignore`"));
            }
        };
        if found.is_some_and(|before| before != dtype) {
            let cause = format!("{name} and the arrays before it are f32 and f64 mixed");
            return Err(fail(&replica.path, vec![cause], "save the model in one precision"));
        }
        found = Some(dtype);
    }
    Ok(found.unwrap_or(Dtype::F32))
}

/// Whether `--set` gives a key.
pub fn is_set(sets: &[String], key: &str) -> bool {
    sets.iter().any(|set| set.split('=').next().is_some_and(|k| k.trim() == key))
}
