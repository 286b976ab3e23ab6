//! `phaselab explain spec`: every key with its default, as a spec that could be used.
//!
//! Reads the doc comments of `src/spec/mod.rs` and `toy.rs`, which are the one description of the keys that there is, and the default
//! [`Spec`], the one list of their values; writes TOML with comments.

use phaselab::spec::{Arm, GridAxis, Grokfast, MaskSpec, Spec, StartFrom, Stop, StopMetric, Sweep, TermSpec, ToySpec};

/// Sections that are unset by default, and shown as comments.
const UNSET: [&str; 9] =
    ["toy", "toy.grid", "model.from", "model.mask", "train.stop", "optim.grokfast", "loss.terms", "arms", "sweep"];

const SOURCE: &str = concat!(
    include_str!("../spec/mod.rs"),
    include_str!("../spec/model.rs"),
    include_str!("../spec/loss.rs"),
    include_str!("../spec/optim.rs"),
    include_str!("../spec/toy.rs")
);

/// Types whose values are more than the names of their variants; the comments of their keys tell them.
const OPEN: [&str; 4] = ["Seeds", "PerFeature", "ToyAct", "Values"];

/// A struct's public field, or an enum's variant.
struct Item<'a> {
    doc: String,
    name: String,
    ty: &'a str,
}

/// Every key with what it means, its values where they are few, and its default; unset ones are commented out.
pub fn explain_spec() -> String {
    // A rule that is unset and a list that is empty have no keys to show, so the defaults are shown with one.
    let mut spec = Spec::default();
    let stop = Stop { metric: StopMetric::TestAccFrac, threshold: 0.99, evals: 3, extra_steps: 0 };
    spec.train.stop = Some(stop);
    spec.arms = vec![Arm { name: "gelu".into(), set: vec!["model.act=gelu".into()] }];
    spec.sweep =
        Some(Sweep { key: "data.train_frac".into(), values: vec![0.3.into(), 0.5.into()], ..Sweep::default() });
    spec.loss.terms = vec![TermSpec::default()];
    spec.optim.grokfast = Some(Grokfast::default());
    spec.model.mask = Some(MaskSpec { run: Some("checkpoints/grokking_quick".into()), ..MaskSpec::default() });
    spec.model.from = Some(StartFrom { run: "checkpoints/grokking_quick".into(), ..StartFrom::default() });
    let mut defaults: toml::Table = toml::from_str(&spec.to_toml()).expect("invariant: a spec writes valid TOML");
    for (section, key, value) in unwritten(&spec) {
        if let Some(toml::Value::Table(section)) = defaults.get_mut(section) {
            section.insert(key.into(), value);
        }
    }
    // Beside a task no spec has it, so it is written by itself.
    let grid = vec![GridAxis { name: "density".into(), values: vec![1.0, 0.1], ..GridAxis::default() }];
    let toy =
        toml::Table::try_from(ToySpec { grid, ..ToySpec::default() }).expect("invariant: it has only TOML's types");
    defaults.insert("toy".into(), toml::Value::Table(toy));
    let mut text = String::from("# Every key of a spec, and its default; a key that is commented out is unset.\n\n");
    section("Spec", "", &defaults, &mut text);
    text
}

/// Defaults that a spec leaves out when it is written.
fn unwritten(spec: &Spec) -> Vec<(&'static str, &'static str, toml::Value)> {
    let (model, optim) = (&spec.model, &spec.optim);
    let dropout = toml::Value::try_from(&model.dropout).expect("invariant: it has only numbers");
    vec![
        ("model", "gated_mlp", model.gated_mlp.into()),
        ("model", "parallel", model.parallel.into()),
        ("model", "nested_init", model.nested_init.into()),
        ("model", "rotary_base", model.rotary_base.into()),
        ("model", "dropout", dropout),
        ("loss", "label_smoothing", spec.loss.label_smoothing.into()),
        ("optim", "freeze", optim.freeze.clone().into()),
        ("optim", "no_decay", optim.no_decay.clone().into()),
    ]
}

/// The keys of a struct, then its sections.
fn section(name: &str, path: &str, defaults: &toml::Table, text: &mut String) {
    let (sections, keys): (Vec<Item>, Vec<Item>) =
        items(&format!("pub struct {name} {{")).into_iter().partition(|item| is_section(item.ty));
    for item in keys {
        *text += &format!("# {}{}\n", item.doc, choices(item.ty));
        match defaults.get(&item.name) {
            Some(_) if UNSET.contains(&path) => *text += &format!("# {} = {}\n", item.name, defaults[&item.name]),
            Some(value) => *text += &format!("{} = {value}\n", item.name),
            None => *text += &format!("# {} =\n", item.name),
        }
    }
    for item in sections {
        let path = if path.is_empty() { item.name.clone() } else { format!("{path}.{}", item.name) };
        let comment = if UNSET.contains(&path.as_str()) { "# " } else { "" };
        let head = if item.ty.starts_with("Vec<") { format!("[[{path}]]") } else { format!("[{path}]") };
        *text += &format!("\n# {}\n{comment}{head}\n", item.doc);
        let inner = defaults.get(&item.name).map(|value| value.get(0).unwrap_or(value));
        if let Some(toml::Value::Table(inner)) = inner {
            section(inner_type(item.ty), &path, inner, text);
        }
    }
}

/// ` (one of: a, b)` for an enum, nothing for other types.
fn choices(ty: &str) -> String {
    let variants = items(&format!("pub enum {} {{", inner_type(ty)));
    if variants.is_empty() || OPEN.iter().any(|open| inner_type(ty).starts_with(open)) {
        return String::new();
    }
    // A variant that holds something has no name of its own.
    let names: Vec<String> =
        variants.into_iter().map(|variant| variant.name).filter(|name| !name.contains('(')).collect();
    format!(" One of: {}.", names.join(", "))
}

fn is_section(ty: &str) -> bool {
    inner_type(ty) != "Seeds" && SOURCE.contains(&format!("pub struct {} {{", inner_type(ty)))
}

fn inner_type(ty: &str) -> &str {
    let inner = ty.strip_prefix("Option<").or_else(|| ty.strip_prefix("Vec<"));
    inner.and_then(|ty| ty.strip_suffix('>')).unwrap_or(ty)
}

/// Fields or variants of the type whose declaration starts with `head`, named as in TOML.
fn items(head: &str) -> Vec<Item<'static>> {
    let Some((before, body)) = SOURCE.split_once(head) else { return vec![] };
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    let case = if attributes.contains("\"snake_case\"") { "_" } else { "" };
    let (mut found, mut doc, mut renamed) = (vec![], vec![], None);
    for line in body.lines().map(str::trim).take_while(|line| *line != "}") {
        if let Some(words) = line.strip_prefix("///") {
            doc.push(words.trim());
        } else if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        } else if let Some((name, ty)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            found.push(Item { doc: doc.join(" "), name: name.to_owned(), ty: ty.trim_end_matches(',') });
            doc.clear();
        } else if line.ends_with(',') && line.starts_with(char::is_uppercase) && !line.contains('(') {
            let name = renamed.take().unwrap_or_else(|| lower(line.trim_end_matches(','), case));
            found.push(Item { doc: doc.join(" "), name, ty: "" });
            doc.clear();
        }
    }
    found
}

/// `CrossEntropy` as `cross_entropy`, with `between` words.
fn lower(name: &str, between: &str) -> String {
    let mut text = String::new();
    for (i, letter) in name.char_indices() {
        if letter.is_uppercase() && i > 0 {
            text += between;
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use phaselab::spec::{Source, from_toml};

    use super::*;

    /// A spec with the sections that the default one lacks.
    const BASE: &str = "[train.stop]\nmetric = \"test_acc_frac\"\nthreshold = 1.0\n\
                        [[loss.terms]]\nexpr = \"abs(w)\"\nover = \"embed.W_E\"\n";

    fn read(text: &str, set: &str) -> Result<Spec, Vec<String>> {
        let sets: &[String] = &[set.to_owned()];
        let sets = if set.is_empty() { &[] } else { sets };
        from_toml(Source { path: Path::new("spec"), text, sets }, Spec::faults).map_err(|e| e.cause())
    }

    #[test]
    fn what_is_explained_is_the_default_spec() {
        assert_eq!(read(&explain_spec(), "").unwrap(), Spec::default());
    }

    /// Serde tells its keys when it meets an unknown one; each must be explained in its section.
    #[test]
    fn every_key_that_serde_knows_is_explained_in_its_section() {
        let text = explain_spec();
        let mut n_keys = 0;
        for path in [
            "",
            "toy",
            "data",
            "model",
            "loss",
            "loss.terms",
            "optim",
            "optim.grokfast",
            "train",
            "train.snapshots",
            "train.stop",
            "measure",
            "measure.sgld",
            "figure",
            "sweep",
        ] {
            let element = if path == "loss.terms" { "loss.terms[0]" } else { path };
            let set = if path.is_empty() { "qqqqqq=1".to_owned() } else { format!("{element}.qqqqqq=1") };
            let causes = read(BASE, &set).unwrap_err();
            let known = causes.iter().find_map(|cause| cause.split_once("known here: ")).unwrap().1;
            let head = if path.is_empty() { text.as_str() } else { text.split_once(&format!("{path}]")).unwrap().1 };
            let body = head.split_once("\n\n# ").map_or(head, |(body, _)| body);
            for key in known.split(", ") {
                let whole = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                let here = if path.is_empty() { &text } else { body };
                let as_key = here.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} =")));
                assert!(
                    as_key || text.contains(&format!("[{whole}]\n")) || text.contains(&format!("[[{whole}]]\n")),
                    "{whole} is not explained"
                );
                n_keys += 1;
            }
        }
        assert!(n_keys > 68, "{n_keys}");
    }

    #[test]
    fn every_value_that_is_offered_is_taken() {
        let text = explain_spec();
        let (mut section, mut offered, mut n_values) = (String::new(), None, 0);
        for line in text.lines() {
            if let Some((_, values)) = line.split_once("One of: ") {
                offered = Some(values.trim_end_matches('.').to_owned());
            } else if let Some(name) = line.trim_start_matches("# ").strip_prefix('[') {
                // Of a list, its first element.
                let index = if name.starts_with('[') { "[0]." } else { "." };
                section = name.trim_matches(['[', ']']).to_owned() + index;
            } else if let Some(values) = offered.take() {
                let key = line.trim_start_matches("# ").split(' ').next().unwrap();
                for value in values.split(", ") {
                    let set = format!("{section}{key}={value}");
                    // A value may contradict the defaults of other keys; it must be one that its own key takes.
                    let (path, sets) = (Path::new("spec"), std::slice::from_ref(&set));
                    let taken = from_toml::<Spec>(Source { path, text: BASE, sets }, |_| vec![]);
                    assert!(taken.is_ok(), "{set}: {taken:?}");
                    n_values += 1;
                }
            }
        }
        assert_eq!(
            n_values,
            1 + 18 * 2 + 2 * 3 + 3 * 5 + 3 * 6 + 9,
            "each enum of the spec is offered with all its values"
        );
    }
}
