//! A `HookedTransformerConfig`, in a file or beside it: keys of the spec, and a refusal of what is not computed here.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::contents::LIST;
use super::spec::{Found, is_set};
use super::{File, fail};
use crate::engine::cpu::layer_norm::EPS;
use crate::error::Result;

/// Settings as text, and where they stand.
pub struct Config {
    settings: BTreeMap<String, String>,
    source: String,
}

/// What of a setting's values is computed here.
enum Here {
    /// This word.
    Word(&'static str),
    /// On or off.
    Flag(bool),
    /// Nothing.
    Nothing,
    /// A cap that is off: nothing, or no positive number.
    NoCap,
}

/// Settings of TransformerLens that change what a model computes.
const COMPUTED: &[(&str, Here)] = &[
    ("attention_dir", Here::Word("causal")),
    ("positional_embedding_type", Here::Word("standard")),
    ("use_attn_scale", Here::Flag(true)),
    ("scale_attn_by_inverse_layer_idx", Here::Flag(false)),
    ("use_local_attn", Here::Flag(false)),
    ("parallel_attn_mlp", Here::Flag(false)),
    ("gated_mlp", Here::Flag(false)),
    ("post_embedding_ln", Here::Flag(false)),
    ("use_normalization_before_and_after", Here::Flag(false)),
    ("use_qk_norm", Here::Flag(false)),
    ("window_size", Here::Nothing),
    ("attn_types", Here::Nothing),
    ("num_experts", Here::Nothing),
    ("attn_scores_soft_cap", Here::NoCap),
    ("output_logits_soft_cap", Here::NoCap),
];

impl Here {
    fn is(&self, text: &str) -> bool {
        let number = text.parse::<f64>();
        match self {
            Here::Word(word) => text == *word,
            Here::Flag(flag) => number.is_ok_and(|x| (x != 0.0) == *flag) || text == "None" && !flag,
            Here::Nothing => text == "None",
            Here::NoCap => text == "None" || number.is_ok_and(|x| x <= 0.0),
        }
    }

    fn describe(&self) -> String {
        match self {
            Here::Word(word) => (*word).to_owned(),
            Here::Flag(flag) => flag.to_string(),
            Here::Nothing => "None".to_owned(),
            Here::NoCap => "none".to_owned(),
        }
    }
}

impl Config {
    /// That of the file, else of the `.json` beside it; what is beside and is none of this model is told.
    pub fn of(file: &File, found: &Found, note: &mut dyn FnMut(&str)) -> Config {
        let path = file.path.with_extension("json");
        if !file.contents.config.is_empty() || !found.transformer || !path.is_file() {
            return Config { settings: file.contents.config.clone(), source: "the file's configuration".into() };
        }
        let source = format!("{}, which lies beside it", path.display());
        let settings = beside(&path, found).unwrap_or_else(|cause| {
            note(&format!("{source}, is not read: {cause}"));
            BTreeMap::new()
        });
        Config { settings, source }
    }

    /// Whether a transformer of these settings computes what ours does.
    ///
    /// # Errors
    /// Every setting that it does not.
    pub fn check(&self, path: &Path, found: &Found) -> Result<()> {
        let get = |key: &str| self.settings.get(key).map(String::as_str);
        let wrong = |key: &str, text: &str, here: &str| {
            format!("its configuration has {key} = {text}; what is computed here has {here}")
        };
        let mut causes: Vec<String> = (COMPUTED.iter())
            .filter_map(|(key, here)| Some((key, get(key)?, here)))
            .filter(|(_, text, here)| !here.is(text))
            .map(|(key, text, here)| wrong(key, text, &here.describe()))
            .collect();
        let is_near = |x: f64, y: f64| (x - y).abs() <= 1e-5 * y;
        let number = |key: &str| Some((get(key)?, get(key)?.parse::<f64>().unwrap_or(f64::NAN)));
        if let (Some((text, scale)), Some(&d_head)) = (number("attn_scale"), found.sizes.get(&'k')) {
            let ours = (d_head as f64).sqrt();
            // −1 stands for it.
            if !is_near(scale, ours) && scale != -1.0 && text != "None" {
                causes.push(wrong("attn_scale", text, &format!("the root of d_head, {ours}")));
            }
        }
        let normalization = get("normalization_type").unwrap_or("None");
        if let (Some((text, eps)), true) = (number("eps"), normalization != "None")
            && !is_near(eps, EPS)
        {
            causes.push(wrong("eps", text, &EPS.to_string()));
        }
        // RMS normalises the same way at the end.
        if !normalization.starts_with("RMS") && get("final_rms").is_some_and(|text| !Here::Flag(false).is(text)) {
            causes.push(wrong("final_rms", "true", "false"));
        }
        if causes.is_empty() || !found.transformer {
            return Ok(());
        }
        Err(fail(
            path,
            causes,
            "the same parameters would be another function here; save a model without these settings",
        ))
    }

    /// Activation and normalisation, as TransformerLens or Nanda's code names them.
    pub fn keys(&self, sets: &[String], note: &mut dyn FnMut(&str)) -> Vec<String> {
        let mut keys = vec![];
        let act = self.settings.get("act_fn").or_else(|| self.settings.get("act_type")).map(|act| act.to_lowercase());
        if let Some(act) = act.filter(|act| act != "none" && !is_set(sets, "model.act")) {
            keys.push(format!("model.act={act:?}"));
        }
        let normalization = self.settings.get("normalization_type");
        if let Some(kind) = normalization.filter(|_| !is_set(sets, "model.normalization")) {
            let kind = if kind == "None" { "none" } else { kind };
            keys.push(format!("model.normalization={kind:?}"));
        }
        if !keys.is_empty() {
            note(&format!("from {}: {}", self.source, keys.join(", ")));
        }
        keys
    }
}

/// Bytes of a configuration at most.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The `HookedTransformerConfig` in a JSON file, as `export` writes it beside a state dict.
///
/// # Errors
/// Why it is none, or none of this model.
fn beside(path: &Path, found: &Found) -> Result<BTreeMap<String, String>, String> {
    use serde_json::{Map, Value};
    if path.metadata().map_err(|e| e.to_string())?.len() > MAX_CONFIG_BYTES {
        return Err(format!("it has more than {MAX_CONFIG_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let table: Map<String, Value> = serde_json::from_str(&text).map_err(|e| format!("it is no JSON object ({e})"))?;
    if let Some(key) = ["d_model", "act_fn", "normalization_type"].into_iter().find(|key| !table.contains_key(*key)) {
        return Err(format!("it has no {key}, as a HookedTransformerConfig has"));
    }
    let axes = [("d_model", 'd'), ("d_vocab", 'v'), ("n_heads", 'h'), ("d_head", 'k'), ("d_mlp", 'm'), ("n_ctx", 't')];
    for (key, axis) in axes {
        match (table.get(key).and_then(Value::as_u64), found.sizes.get(&axis)) {
            (Some(said), Some(&size)) if said != size as u64 => {
                return Err(format!("its {key} is {said}, the file's is {size}"));
            }
            _ => {}
        }
    }
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Some((key, text)),
        Value::Null => Some((key, "None".to_owned())),
        Value::Bool(flag) => Some((key, u8::from(flag).to_string())),
        Value::Number(x) => Some((key, x.as_f64()?.to_string())),
        Value::Array(_) => Some((key, LIST.to_owned())),
        Value::Object(_) => None,
    };
    Ok(table.into_iter().filter_map(text).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::layout::Layout;
    use super::*;

    fn check(settings: &[(&str, &str)]) -> Vec<String> {
        let settings = settings.iter().map(|&(key, text)| (key.to_owned(), text.to_owned())).collect();
        let found = Found { layout: Layout::TransformerLens, sizes: [('k', 16)].into(), transformer: true, own: false };
        let config = Config { settings, source: String::new() };
        config.check(Path::new("a.pth"), &found).map_or_else(|e| e.cause(), |()| vec![])
    }

    #[test]
    fn settings_that_change_the_function_are_refused_and_others_are_not() {
        let ours = [
            ("attention_dir", "causal"),
            ("positional_embedding_type", "standard"),
            ("use_attn_scale", "1"),
            ("attn_scale", "4"),
            ("eps", "0.00001"),
            ("normalization_type", "LN"),
            ("window_size", "None"),
            ("output_logits_soft_cap", "-1"),
            ("parallel_attn_mlp", "0"),
            ("seed", "7"),
        ];
        assert!(check(&ours).is_empty(), "{:?}", check(&ours));
        assert!(check(&[("attn_scale", "-1"), ("eps", "0.1")]).is_empty(), "nothing is normalised");
        for (key, text) in [
            ("attention_dir", "bidirectional"),
            ("positional_embedding_type", "shortformer"),
            ("use_attn_scale", "0"),
            ("attn_scale", "1"),
            ("eps", "0.000001"),
            ("window_size", "4"),
            ("attn_types", LIST),
            ("output_logits_soft_cap", "30"),
            ("use_local_attn", "1"),
            ("scale_attn_by_inverse_layer_idx", "1"),
            ("parallel_attn_mlp", "1"),
            ("final_rms", "1"),
        ] {
            let causes = check(&[("normalization_type", "LNPre"), (key, text)]);
            assert_eq!(causes.len(), 1, "{key} = {text}: {causes:?}");
            assert!(causes[0].contains(key), "{causes:?}");
        }
    }
}
