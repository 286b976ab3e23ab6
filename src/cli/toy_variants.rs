//! Variants of toy models, compared: for people, as CSV, as JSON, and in a figure over all of them.
//!
//! Reads the result of each variant's run; writes one row a replica. The figure has a panel for each measured number: over the axis of the
//! grid with a colour a variant, or a row a variant where there is no grid.

use std::path::Path;

use phaselab::error::Result;
use phaselab::figure::arms::{self, ArmsInput, Quantity};
use phaselab::figure::{Curve, MAX_CURVES, MeasurePanels, NUMBERS, Number};
use phaselab::measure::Field;
use phaselab::spec::{Spec, Sweep};
use serde_json::{Map, Value};

use super::output::{Output, columns};
use super::progress::loss_nats;
use super::toy_result::ToyResult;

/// The result of one variant's run, and what it is called.
pub struct ToyVariant<'a> {
    /// Name of the variant.
    pub name: &'a str,
    /// The value of the swept key, where it is a number.
    pub x: Option<f64>,
    /// Its run.
    pub result: &'a ToyResult,
}

/// One row a replica: variant, seed, axes of the grid, numbers. A variant lacks what was not measured of it.
pub fn csv(variants: &[ToyVariant]) -> String {
    let mut names: Vec<&str> = vec![];
    for name in variants.iter().flat_map(|variant| variant.result.names()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut text = format!("variant,seed,{},non_finite_step\n", names.join(","));
    for variant in variants {
        for r in 0..variant.result.replicas() {
            let number = |name: &&str| variant.result.number(name, r).map_or(String::new(), |x| Field(x).to_string());
            let fields: Vec<String> = names.iter().map(number).collect();
            let diverged = variant.result.non_finite(r).map_or(String::new(), |step| step.to_string());
            text += &format!("{},{},{},{diverged}\n", variant.name, variant.result.seed(r), fields.join(","));
        }
    }
    text
}

/// The replicas of each variant as JSON.
pub fn json(variants: &[ToyVariant]) -> Value {
    let of = |variant: &ToyVariant| {
        let mut map = Map::new();
        map.insert("name".into(), variant.name.into());
        map.insert("x".into(), variant.x.into());
        map.insert("replicas".into(), variant.result.json());
        Value::Object(map)
    };
    Value::Array(variants.iter().map(of).collect())
}

/// Losses by variant and point of the grid, and why there is no figure if there is none.
pub fn table(variants: &[ToyVariant], output: &Output) -> String {
    let axes = variants.first().map_or(&[][..], |variant| variant.result.axes());
    let alike = variants.iter().all(|variant| variant.result.axes() == axes);
    let mut head = vec!["variant".to_owned()];
    head.extend(if alike { axes.to_vec() } else { vec!["point".into()] });
    head.extend(["replicas", "best loss", "median"].map(str::to_owned));
    let width = head.len();
    let mut rows = vec![head];
    for variant in variants {
        for point in variant.result.losses() {
            let mut row = vec![output.bold(variant.name)];
            let named = variant.result.axes().iter().zip(point.at).map(|(name, x)| format!("{name} {x:.4}"));
            match alike {
                true => row.extend(point.at.iter().map(|x| format!("{x:.4}"))),
                false => row.push(named.collect::<Vec<_>>().join(", ")),
            }
            let loss = |x: Option<f64>| x.map_or("–".into(), loss_nats);
            row.extend([point.replicas.to_string(), loss(point.best), loss(point.median)]);
            rows.push(row);
        }
    }
    let text = columns(&rows, &(1..width).collect::<Vec<_>>());
    match common_axis(variants) {
        Ok(_) => text,
        Err(why) => format!("{text}\nno figure over all variants: {why}\n"),
    }
}

/// The axis that all variants share; none where they have no grid.
///
/// # Errors
/// Why they cannot be drawn together, as a clause.
fn common_axis<'a>(variants: &[ToyVariant<'a>]) -> Result<Option<&'a str>, String> {
    let Some(first) = variants.first().map(|variant| variant.result.axes()) else { return Ok(None) };
    match first {
        _ if variants.iter().any(|variant| variant.result.axes() != first) => Err("their grids differ".into()),
        [] => Ok(None),
        [_] if variants.len() > MAX_CURVES => {
            Err(format!("{} variants are more than the {MAX_CURVES} colours that are told apart", variants.len()))
        }
        [axis] => Ok(Some(axis)),
        _ => Err(format!("their grids have {} axes", first.len())),
    }
}

/// Draws what was measured of all variants into `folder`; nothing where [`table`] says why.
///
/// # Errors
/// Those of writing.
pub fn draw(spec: &Spec, variants: &[ToyVariant], folder: &Path) -> Result<()> {
    let Ok(axis) = common_axis(variants) else { return Ok(()) };
    let of = |variant: &ToyVariant, number: &Number, r: usize| variant.result.number(number.column, r);
    let has_value = |number: &&Number| {
        let values = |variant: &ToyVariant| {
            (0..variant.result.replicas()).any(|r| of(variant, number, r).is_some_and(f64::is_finite))
        };
        variants.iter().any(values)
    };
    let numbers: Vec<&'static Number> = NUMBERS.iter().filter(has_value).collect();
    let all = |variant: &ToyVariant| 0..variant.result.replicas();
    let seeds = |variant: &ToyVariant| all(variant).map(|r| variant.result.seed(r)).collect();
    let Some(axis) = axis else {
        let quantity = |number: &&'static Number| Quantity {
            name: number.column.into(),
            label: number.label.into(),
            unit: number.unit.into(),
            log: number.log,
            values: variants
                .iter()
                .map(|v| all(v).map(|r| of(v, number, r).filter(|x| !x.is_nan())).collect())
                .collect(),
        };
        let arm = |variant: &ToyVariant| arms::Arm {
            label: variant.name.into(),
            x: variant.x,
            seeds: seeds(variant),
            steps_to_threshold: vec![None; variant.result.replicas()],
            ..arms::Arm::default()
        };
        let sweep = spec.sweep.as_ref();
        let input = ArmsInput {
            title: spec.title.clone(),
            x_label: sweep.map(Sweep::name).unwrap_or_default(),
            x_log: sweep.is_some_and(|sweep| sweep.log_x),
            arms: variants.iter().map(arm).collect(),
            quantities: numbers.iter().map(quantity).collect(),
            ..ArmsInput::default()
        };
        return arms::draw_quantities(&input, folder).map(drop);
    };
    let curve = |variant: &ToyVariant| Curve {
        label: variant.name.replace('_', " "),
        seeds: seeds(variant),
        x: all(variant).map(|r| variant.result.number(axis, r).unwrap_or(f64::NAN)).collect(),
        values: numbers.iter().map(|n| all(variant).map(|r| of(variant, n, r).unwrap_or(f64::NAN)).collect()).collect(),
    };
    let grid = spec.toy.as_ref().and_then(|toy| toy.grid.iter().find(|grid| grid.name == axis));
    let panels = MeasurePanels {
        title: &spec.title,
        shows: "At the end of training: dots are replicas, lines medians over seeds".into(),
        x_label: grid.map_or_else(|| axis.replace('_', " "), phaselab::figure::axis_label),
        x_log: grid.is_some_and(|grid| grid.log || phaselab::figure::geometric(&grid.numbers())),
        numbers: numbers.clone(),
        curves: variants.iter().map(curve).collect(),
    };
    panels.save("arms_measures", folder).map(drop)
}
