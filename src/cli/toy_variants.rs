//! Variants of toy models, compared: for people, as CSV, as JSON, and in a figure over all of them.
//!
//! Reads the result of each variant's run; writes one row a replica. The figure has a panel for each measured number: over the axis of the
//! grid with a colour a variant, or a row a variant where there is no grid.

use std::path::Path;

use phaselab::error::{Error, Result};
use phaselab::figure::arms::{self, ArmsInput, Quantity};
use phaselab::figure::{Curve, MeasurePanels, NUMBERS, Number};
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
    let mut text = format!("variant,seed,{}\n", names.join(","));
    for variant in variants {
        for r in 0..variant.result.replicas() {
            let number = |name: &&str| variant.result.number(name, r).map_or(String::new(), |x| Field(x).to_string());
            let fields: Vec<String> = names.iter().map(number).collect();
            text += &format!("{},{},{}\n", variant.name, variant.result.seed(r), fields.join(","));
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

/// Losses by variant and point of the grid.
pub fn table(variants: &[ToyVariant], output: &Output) -> String {
    let mut head = vec!["variant".to_owned()];
    head.extend(variants.first().map_or(vec![], |variant| variant.result.axes().to_vec()));
    let axes = head.len() - 1;
    head.extend(["replicas", "best loss", "median"].map(str::to_owned));
    let mut rows = vec![head];
    for variant in variants {
        for point in variant.result.losses() {
            let mut row = vec![output.bold(variant.name)];
            row.extend(point.at.iter().take(axes).map(|x| format!("{x:.4}")));
            row.resize(axes + 1, "–".into());
            let loss = |x: Option<f64>| x.map_or("–".into(), loss_nats);
            row.extend([point.replicas.to_string(), loss(point.best), loss(point.median)]);
            rows.push(row);
        }
    }
    columns(&rows, &(1..axes + 4).collect::<Vec<_>>())
}

/// Draws what was measured of all variants into `folder`; nothing where their grids differ or have two axes.
///
/// # Errors
/// Those of writing.
pub fn draw(spec: &Spec, variants: &[ToyVariant], folder: &Path) -> Result<()> {
    let measured = |number: &&Number| variants.iter().any(|variant| variant.result.number(number.column, 0).is_some());
    let numbers: Vec<&'static Number> = NUMBERS.iter().filter(measured).collect();
    let of = |variant: &ToyVariant, number: &Number, r: usize| variant.result.number(number.column, r);
    let first = variants.first().map_or(&[][..], |variant| variant.result.axes());
    if variants.iter().any(|variant| variant.result.axes() != first) || first.len() > 1 {
        return Err(Error::Value {
            what: "the grids of the variants".into(),
            got: "different ones, or two axes".into(),
            expected: "one axis that all share, or none, for a figure over all variants".into(),
        });
    }
    let all = |variant: &ToyVariant| 0..variant.result.replicas();
    let seeds = |variant: &ToyVariant| all(variant).map(|r| variant.result.seed(r)).collect();
    let Some(axis) = first.first() else {
        let quantity = |number: &&'static Number| Quantity {
            name: number.column.into(),
            label: number.label.into(),
            unit: "1".into(),
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
    let grid = spec.toy.as_ref().and_then(|toy| toy.grid.iter().find(|grid| grid.name == *axis));
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
