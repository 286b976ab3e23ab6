//! How parameters start, by named rules.
//!
//! - `paper` (Nanda et al. 2023, arXiv 2301.05217, its published code): every weight normal with deviation 1/√d_model, `W_U`
//!   1/√d_vocab_out, biases 0.
//! - `gpt2` (TransformerLens): every weight normal with deviation 0.8/√d_model, biases 0.
//! - `unit`: every weight normal with deviation 1, biases 0; for `parametrization = "mean_field"`.
//! - `gromov`: [analytic weights](super::gromov).
//! - `torch`: what PyTorch's CPU generator draws, in the order and with the scales of the published grokking notebook for a transformer and
//!   of PyTorch's own layers for an MLP; [`super::torch`] says what exactly. Its draws stand in one sequence, unlike those below.
//!
//! A one-hot MLP has no d_model; its first layer is its embedding, so d_mlp stands in its place.
//!
//! With `nested_init` a parameter's numbers are the first ones of a larger parameter of that name, axis by axis.
//!
//! LayerNorm starts with w = 1, b = 0. Each parameter draws from a stream of its own name, in the order of its named
//! shape, so its start does not depend on what else the model has, nor on the engine's storage.

use std::sync::Arc;

use super::gromov::Waves;
use super::torch;
use crate::engine::{ParamInfo, ParamLayout, Params, Real};
use crate::outside;
use crate::rng::Rng;
use crate::spec::{Family, Init, Input, ModelSpec};

/// Parameters of one replica a seed.
pub fn initialize<T: Real>(layout: &Arc<ParamLayout>, spec: &ModelSpec, seeds: &[u64]) -> Params<T> {
    let mut params = Params::zeros(Arc::clone(layout), seeds.len());
    if spec.init == Init::Torch {
        for (r, &seed) in seeds.iter().enumerate() {
            for (id, values) in torch::start(layout, spec, T::DTYPE, seed).into_iter().enumerate() {
                params.set(r, id, values.into_iter().map(T::from_f64));
            }
        }
        return params;
    }
    let waves = |&seed: &u64| (spec.init == Init::Gromov).then(|| Waves::new(layout, seed));
    let waves: Vec<Option<Waves>> = seeds.iter().map(waves).collect();
    for (id, info) in layout.infos.iter().enumerate() {
        let mut values = vec![0.0; info.len()];
        for (r, &seed) in seeds.iter().enumerate() {
            start(info, spec, (seed, waves[r].as_ref()), &mut values);
            params.set(r, id, values.iter().map(|&x| T::from_f64(x)));
        }
    }
    params
}

fn start(info: &ParamInfo, spec: &ModelSpec, (seed, waves): (u64, Option<&Waves>), values: &mut [f64]) {
    let rng = || Rng::stream(seed, &format!("init/{}", info.name));
    // What is not there has no parameters either: the graph could not be compiled.
    if let Family::Outside(name) = spec.family {
        if let Ok(network) = outside::network(&name) {
            network.start(spec, info, &mut rng(), values);
        }
        return;
    }
    if let Some(name) = &spec.layer
        && info.name.contains(".mlp.")
    {
        if let Ok(layer) = outside::layer(name) {
            layer.start(spec, info, &mut rng(), values);
        }
        return;
    }
    let field = info.name.rsplit('.').next().unwrap_or_default();
    if field == "w" {
        values.fill(1.0);
    } else if field.starts_with('b') {
        values.fill(0.0);
    } else if let Some(waves) = waves {
        waves.fill(info, values);
        values.iter_mut().for_each(|x| *x *= spec.init_scale);
    } else {
        draw(&mut rng(), info, spec.nested_init, values);
        let deviation = spec.init_scale * deviation(info, spec);
        for x in values {
            *x *= deviation;
        }
    }
}

/// Standard normal numbers in the order of the shape; or, nested, each row from a stream of its own place, so that its first numbers and
/// the first rows are the same whatever the shape.
fn draw(rng: &mut Rng, info: &ParamInfo, nested: bool, values: &mut [f64]) {
    let [leading @ .., width] = info.shape.as_slice() else { return };
    if !nested {
        return rng.fill_normal(values);
    }
    for (row, values) in values.chunks_exact_mut((*width).max(1)).enumerate() {
        // The row's place: a digit an axis, none of which depends on the sizes.
        let (mut rest, mut place, mut digit) = (row as u64, 0, 1);
        for &size in leading.iter().rev() {
            place += digit * (rest % size as u64);
            (rest, digit) = (rest / size as u64, digit << 20);
        }
        rng.substream(place).fill_normal(values);
    }
}

fn deviation(info: &ParamInfo, spec: &ModelSpec) -> f64 {
    let one_hot = spec.family == Family::Mlp && spec.input == Input::Onehot;
    let root = (if one_hot { spec.d_mlp } else { spec.d_model } as f64).sqrt();
    match spec.init {
        Init::Gpt2 => 0.8 / root,
        Init::Paper if info.name == "unembed.W_U" => 1.0 / (info.shape[1] as f64).sqrt(),
        Init::Paper => 1.0 / root,
        Init::Unit | Init::Gromov => 1.0,
        Init::Torch => unreachable!("invariant: `torch` draws in its own way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TaskShape, graph};

    #[test]
    fn a_nested_start_is_the_corner_of_a_wider_and_deeper_one() {
        let task = TaskShape::of_pairs(5);
        let narrow =
            ModelSpec { nested_init: true, init: Init::Unit, d_model: 6, n_heads: 2, d_mlp: 5, ..ModelSpec::default() };
        let wide = ModelSpec { d_model: 12, n_heads: 3, d_mlp: 9, n_layers: 2, ..narrow.clone() };
        let start = |spec: &ModelSpec| {
            let layout = Arc::new(graph(spec, &task).params);
            initialize::<f64>(&layout, spec, &[4])
        };
        let (small, large) = (start(&narrow), start(&wide));
        for (id, info) in small.layout.infos.iter().enumerate() {
            let there = large.layout.find(&info.name).expect("the wider model has it");
            let larger = &large.layout.infos[there].shape;
            let numbers: Vec<f64> = large.get(0, there).collect();
            for (i, x) in small.get(0, id).enumerate() {
                let (mut rest, mut at, mut stride) = (i, 0, 1);
                for (&own, &theirs) in info.shape.iter().zip(larger).rev() {
                    at += stride * (rest % own);
                    (rest, stride) = (rest / own, stride * theirs);
                }
                assert_eq!(x, numbers[at], "{} number {i}", info.name);
            }
        }
        let mut all: Vec<u64> = (0..large.layout.infos.len())
            .filter(|&id| large.layout.infos[id].shape.len() > 1 && !large.layout.infos[id].name.contains(".b_"))
            .flat_map(|id| large.get(0, id).map(f64::to_bits).collect::<Vec<_>>())
            .collect();
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n, "no two numbers are the same draw");
    }

    #[test]
    fn deviations_follow_the_rule_and_seeds_differ() {
        let task = TaskShape::of_pairs(113);
        let spec = ModelSpec::default();
        let layout = Arc::new(graph(&spec, &task).params);
        let params = initialize::<f64>(&layout, &spec, &[0, 1]);
        for (name, want) in [("embed.W_E", 128.0), ("unembed.W_U", 113.0), ("blocks.0.mlp.W_out", 128.0)] {
            let id = layout.find(name).expect("the model has it");
            let n = layout.infos[id].len() as f64;
            let deviation = (params.get(0, id).map(|x| x * x).sum::<f64>() / n).sqrt();
            assert!((deviation * f64::sqrt(want) - 1.0).abs() < 0.03, "{name}: {deviation}");
            assert_ne!(params.get(0, id).next(), params.get(1, id).next());
        }
        let bias = layout.find("blocks.0.mlp.b_in").expect("the model has it");
        assert!(params.get(0, bias).all(|x| x == 0.0));
    }
}
