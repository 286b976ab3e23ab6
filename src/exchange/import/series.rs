//! Files -> replicas: their checkpoints in order of step, under our names.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use super::super::contents::{Checkpoint, SplitRows};
use super::super::layout::{MAX_BLOCKS, axes, is_transformer, n_blocks};
use super::super::name_map::NameMap;
use super::super::value::View;
use super::{File, ImportOptions, ask, fail, listed};
use crate::checkpoint::differing_keys;
use crate::error::Result;
use crate::spec::{Seeds, Source, Spec, TrainSpec, from_toml};

/// What a wrapper puts before every name: data parallelism, `torch.compile`, a module that holds the model.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];
/// Buffers of TransformerLens, which are no parameters.
const BUFFERS: [&str; 5] = [".attn.mask", ".attn.IGNORE", ".attn.rotary_sin", ".attn.rotary_cos", ".attn.alibi"];

/// One replica over training.
pub struct Replica {
    /// The file, the first if there are several.
    pub path: PathBuf,
    /// By step, ascending; arrays under the file's names, and under ours after [`rename`].
    pub checkpoints: Vec<(u64, BTreeMap<String, View>)>,
    /// Rows of the four columns of metrics, as (step, value).
    pub metrics: [Option<Vec<(u64, f64)>>; 4],
    /// Training examples.
    pub train: Option<SplitRows>,
    /// Test examples.
    pub test: Option<SplitRows>,
}

/// One replica of all files, or one a file where there are as many seeds.
///
/// # Errors
/// Steps that nobody says, that stand twice, or that differ between replicas; files that are not of one run; arguments that do
/// not go with the files.
pub fn arrange(files: &[File], options: &ImportOptions<'_>, note: &mut dyn FnMut(&str)) -> Result<Vec<Replica>> {
    let Some(first) = files.first() else {
        return Err(ask(Path::new("nothing"), vec!["no file is given".into()], "give a FILE"));
    };
    let per_file = files.len() > 1 && options.seeds.len() == files.len();
    if options.seeds.len() > 1 && !per_file {
        let cause = format!("{} seeds are given for {} files", options.seeds.len(), files.len());
        return Err(ask(&first.path, vec![cause], "give one seed, or one for each file: then each file is a replica"));
    }
    check_seeds(files, options, per_file)?;
    check_one_run(files, per_file)?;
    check_losses_every(files, options, per_file)?;
    if !per_file && files.len() > 1 {
        return Ok(vec![joined(files, options, note)?]);
    }
    let replicas = files.iter().map(|file| alone(file, options, note)).collect::<Result<Vec<Replica>>>()?;
    let steps = |replica: &Replica| replica.checkpoints.iter().map(|(step, _)| *step).collect::<Vec<_>>();
    match replicas.iter().find(|replica| steps(replica) != steps(&replicas[0])) {
        Some(other) => {
            let cause = format!("its checkpoints are at other steps than those of {}", replicas[0].path.display());
            Err(fail(&other.path, vec![cause], "import replicas with different steps into runs of their own"))
        }
        None => Ok(replicas),
    }
}

/// A seed that is given may not contradict the one that phaselab wrote into a file, where the split is made from it.
fn check_seeds(files: &[File], options: &ImportOptions<'_>, per_file: bool) -> Result<()> {
    for (i, file) in files.iter().enumerate() {
        let given = options.seeds.get(if per_file { i } else { 0 });
        let says_split = file.contents.train.is_some() || file.contents.test.is_some();
        match (file.contents.seed, given) {
            (Some(seed), Some(&given)) if seed != given && !says_split => {
                let cause = format!("it is of seed {seed}, from which its split is made; --seeds gives {given}");
                return Err(ask(&file.path, vec![cause], &format!("leave --seeds out, or give {seed}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Files of one replica are of one seed, spec and split, as far as they say; files of several, of one spec.
fn check_one_run(files: &[File], per_file: bool) -> Result<()> {
    let first = &files[0];
    for other in &files[1..] {
        let (mut causes, name) = (vec![], first.path.display());
        let (one, two) = (&first.contents, &other.contents);
        let differs = |a: &Option<SplitRows>, b: &Option<SplitRows>| a.is_some() && b.is_some() && a != b;
        if let (Some(seed), Some(of_other), false) = (one.seed, two.seed, per_file)
            && seed != of_other
        {
            causes.push(format!("it is of seed {of_other}, {name} of seed {seed}"));
        } else if !per_file && (differs(&one.train, &two.train) || differs(&one.test, &two.test)) {
            causes.push(format!("its split is another than that of {name}"));
        }
        if let (Some(text), Some(of_other)) = (&one.spec, &two.spec) {
            let spec = |text: &str, path: &Path| -> Result<Spec> {
                let spec = from_toml(Source { path, text, sets: &[] }, Spec::faults)?;
                let train = TrainSpec { seeds: Seeds(vec![0]), ..spec.train.clone() };
                Ok(Spec { train, ..spec })
            };
            let keys = differing_keys(&spec(text, &first.path)?, &spec(of_other, &other.path)?);
            causes.extend(keys.into_iter().map(|key| format!("its spec is another than that of {name}: {key}")));
        }
        if !causes.is_empty() {
            let hint = "several files are checkpoints of one replica, or with a seed for each in --seeds replicas of one run; \
                        import files of different runs one by one";
            return Err(ask(&other.path, causes, hint));
        }
    }
    Ok(())
}

/// `--losses-every` wants a list of losses that are not those of the checkpoints.
fn check_losses_every(files: &[File], options: &ImportOptions<'_>, per_file: bool) -> Result<()> {
    let is_list = |file: &File| {
        let mut columns = file.contents.metrics.iter().flatten();
        columns.any(|values| !values.is_empty() && values.len() != file.contents.checkpoints.len())
    };
    let is_joined = files.len() > 1 && !per_file;
    if options.losses_every.is_some() && (is_joined || !files.iter().any(is_list)) {
        let cause = "--losses-every is for lists of losses with steps of their own, of which there is none".to_owned();
        return Err(ask(&files[0].path, vec![cause], "leave it out"));
    }
    Ok(())
}

/// The replica of one file.
fn alone(file: &File, options: &ImportOptions<'_>, note: &mut dyn FnMut(&str)) -> Result<Replica> {
    let found = &file.contents.checkpoints;
    let (is_list, untold) = (found.len() > 1, found.iter().any(|checkpoint| checkpoint.step.is_none()));
    let refuse = |cause: String, hint: &str| Err(ask(&file.path, vec![cause], hint));
    let steps: Vec<u64> = match (options.step, options.every.map(NonZeroU64::get)) {
        (Some(_), _) if is_list => {
            let cause = format!("--step is the step of a single checkpoint, and it has {}", found.len());
            return refuse(cause, "--every N gives the checkpoints of a list their steps");
        }
        (None, Some(_)) if !is_list => {
            return refuse("--every is for a list of checkpoints, and it has one".into(), "--step N says its step");
        }
        (Some(step), _) => vec![step],
        (None, Some(every)) => {
            if !untold {
                note(&format!(
                    "{}: its checkpoints have the steps of --every {every}, not its own",
                    file.path.display()
                ));
            }
            (0..found.len() as u64).map(|i| i.saturating_mul(every).saturating_add(options.shift)).collect()
        }
        (None, None) if !untold => found.iter().filter_map(|c| Some(c.step?.saturating_add(options.shift))).collect(),
        (None, None) if !is_list => {
            let step = options.shift;
            note(&format!(
                "{}: it does not say its step; taken as step {step} (--step N says another)",
                file.path.display()
            ));
            vec![step]
        }
        (None, None) => {
            let cause = format!("it has {} checkpoints and does not say their steps", found.len());
            return refuse(cause, "--every N says how many steps lie between two of them");
        }
    };
    replica(&file.path, steps.into_iter().zip(found).collect(), file, options)
}

/// The replica of several files with a checkpoint each.
fn joined(files: &[File], options: &ImportOptions<'_>, note: &mut dyn FnMut(&str)) -> Result<Replica> {
    if let Some(argument) = options.step.map(|_| "--step").or(options.every.map(|_| "--every")) {
        let cause = format!("{argument} says steps, and several files of one replica say their own");
        let hint = "name the files after their steps, as model_100.pth; --shift N adds to each";
        return Err(ask(&files[0].path, vec![cause], hint));
    }
    let mut checkpoints = vec![];
    let mut rows: [Vec<(u64, f64)>; 4] = Default::default();
    for file in files {
        let [checkpoint] = &file.contents.checkpoints[..] else {
            let cause = format!("it has {} checkpoints", file.contents.checkpoints.len());
            let hint = "several files are one checkpoint each; give as many --seeds as files to make each a replica";
            return Err(ask(&file.path, vec![cause], hint));
        };
        let step = match checkpoint.step.or_else(|| number_in(&file.path)) {
            Some(step) => step.saturating_add(options.shift),
            None => {
                let hint = "name the files after their steps, as model_100.pth";
                return Err(fail(&file.path, vec!["neither it nor its name says its step".into()], hint));
            }
        };
        for (rows, values) in rows.iter_mut().zip(&file.contents.metrics) {
            if let Some([value]) = values.as_deref() {
                rows.push((step, *value));
            }
        }
        checkpoints.push((step, checkpoint));
    }
    if files.iter().any(|file| file.contents.checkpoints.iter().any(|c| c.step.is_none())) {
        note("steps are those in the names of the files");
    }
    let mut replica = replica(&files[0].path, checkpoints, &files[0], options)?;
    replica.metrics = rows.map(|mut rows| {
        rows.sort_by_key(|row| row.0);
        (!rows.is_empty()).then_some(rows)
    });
    Ok(replica)
}

fn replica(
    path: &Path,
    mut checkpoints: Vec<(u64, &Checkpoint)>,
    file: &File,
    options: &ImportOptions<'_>,
) -> Result<Replica> {
    let contents = &file.contents;
    let at: Vec<u64> = checkpoints.iter().map(|(step, _)| *step).collect();
    checkpoints.sort_by_key(|(step, _)| *step);
    if let Some(twice) = checkpoints.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let cause = format!("step {} has two checkpoints", twice[0].0);
        return Err(match contents.checkpoints.len() {
            1 => fail(path, vec![cause], "give one file for each step, or a seed for each file in --seeds"),
            _ => ask(path, vec![cause], "--every N gives the checkpoints of a list steps of their own"),
        });
    }
    let losses_every = options.losses_every.map_or(1, NonZeroU64::get);
    let rows = |values: &Vec<f64>| match values.len() == at.len() {
        true => at.iter().copied().zip(values.iter().copied()).collect(),
        false => (0u64..).map(|i| i.saturating_mul(losses_every)).zip(values.iter().copied()).collect(),
    };
    let mut metrics = [const { None }; 4];
    for (column, values) in metrics.iter_mut().zip(&contents.metrics) {
        *column = values.as_ref().filter(|values| !values.is_empty()).map(rows);
        column.iter_mut().for_each(|rows: &mut Vec<(u64, f64)>| rows.sort_by_key(|row| row.0));
    }
    Ok(Replica {
        path: path.to_path_buf(),
        checkpoints: checkpoints.into_iter().map(|(step, checkpoint)| (step, checkpoint.arrays.clone())).collect(),
        metrics,
        train: contents.train.clone(),
        test: contents.test.clone(),
    })
}

/// The number after `step`, `epoch` or the like in a file's name, else its last number.
fn number_in(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_string_lossy().to_lowercase();
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let after = |word: &str| {
        let (_, rest) = stem.rsplit_once(word)?;
        digits(rest.trim_start_matches(['_', '-', '=', 's'])).parse().ok()
    };
    let last = || {
        let end = stem.rfind(|c: char| c.is_ascii_digit())? + 1;
        let start = stem[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
        stem.get(start..end)?.parse().ok()
    };
    ["step", "epoch", "iter", "ckpt"].iter().find_map(|word| after(word)).or_else(last)
}

/// Gives the arrays of every checkpoint our names, and leaves out what is no parameter. `has_spec`: a spec says what the model is.
///
/// # Errors
/// Names that mean nothing here; a model that needs positions of another kind; one without an embedding that no spec describes.
pub fn rename(
    replica: &mut Replica,
    (map, has_spec): (Option<&NameMap>, bool),
    note: &mut dyn FnMut(&str),
) -> Result<()> {
    let path = replica.path.clone();
    let mut told = false;
    for (_, arrays) in &mut replica.checkpoints {
        let (ours, ignored) = match map {
            Some(map) => map.apply(arrays).map_err(|cause| ask(&path, vec![cause], "change the file of --map"))?,
            None => by_prefix(&path, arrays)?,
        };
        if !ignored.is_empty() && !told {
            note(&format!("{}: ignored {}, no parameters", path.display(), listed(&ignored)));
            told = true;
        }
        check_names(&path, &ours, &ignored, has_spec)?;
        *arrays = ours;
    }
    Ok(())
}

fn by_prefix(path: &Path, arrays: &BTreeMap<String, View>) -> Result<(BTreeMap<String, View>, Vec<String>)> {
    let mut names: Vec<(&str, &View)> = arrays.iter().map(|(name, view)| (name.as_str(), view)).collect();
    while let Some(prefix) = PREFIXES.iter().find(|prefix| names.iter().all(|(name, _)| name.starts_with(**prefix))) {
        names.iter_mut().for_each(|(name, _)| *name = &name[prefix.len()..]);
    }
    let transformer = is_transformer(names.iter().map(|(name, _)| name));
    let (mut ours, mut ignored, mut unknown) = (BTreeMap::new(), vec![], vec![]);
    for (name, view) in names {
        if axes(name, transformer).is_some() {
            ours.insert(name.to_owned(), view.clone());
        } else if BUFFERS.iter().any(|buffer| name.ends_with(buffer)) {
            ignored.push(name.to_owned());
        } else {
            unknown.push(name.to_owned());
        }
    }
    if unknown.is_empty() {
        return Ok((ours, ignored));
    }
    let cause = format!("names that are not TransformerLens's: {}", listed(&unknown));
    let hint = "--map NAMES.toml says what they are: `[names]`, then a line `\"embed.W_E\" = \"their.name\"` for each";
    Err(fail(path, vec![cause], hint))
}

fn check_names(path: &Path, ours: &BTreeMap<String, View>, ignored: &[String], has_spec: bool) -> Result<()> {
    if ours.is_empty() {
        let cause = "there is no parameter in it".to_owned();
        return Err(fail(path, vec![cause], "--map NAMES.toml says what its parameters are called here"));
    }
    if !has_spec && !ours.contains_key("embed.W_E") {
        let cause = "there is no embed.W_E among its parameters, and no spec says what the model is".to_owned();
        let hint = "--map NAMES.toml says what embed.W_E is called in it; a model without an embedding is imported with --spec \
                    SPEC.toml, whose model is of a known family, as family = \"mlp\", input = \"onehot\"";
        return Err(fail(path, vec![cause], hint));
    }
    if n_blocks(ours.keys()) > MAX_BLOCKS {
        return Err(fail(path, vec![format!("it has more than {MAX_BLOCKS} blocks")], "only toy models are imported"));
    }
    let rotary = ignored.iter().any(|name| name.contains(".rotary_"));
    if rotary && !ours.contains_key("pos_embed.W_pos") {
        let cause = "its positions are rotary: buffers attn.rotary_sin and rotary_cos, and no pos_embed.W_pos";
        return Err(fail(path, vec![cause.into()], "models with learned positions are imported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_in_names() {
        for (name, step) in [
            ("model_100.pth", Some(100)),
            ("run/p113_step_0000200.safetensors", Some(200)),
            ("epoch7-acc99.pt", Some(7)),
            ("checkpoints-5.npz", Some(5)),
            ("steps=30.pt", Some(30)),
            ("p113.pth", Some(113)),
            ("final.pth", None),
            ("99999999999999999999999.pth", None),
        ] {
            assert_eq!(number_in(Path::new(name)), step, "{name}");
        }
    }
}
