//! Parameters as PyTorch's CPU generator draws them after `torch.manual_seed(seed)`: `model.init = "torch"`.
//!
//! **Transformer.** The order, shapes and scales of the notebook published with Nanda et al. 2023 (arXiv 2301.05217), whose weights stand
//! transposed to ours: `W_E [d, v]`, `W_pos [t, d]`, then for each block `W_K`, `W_Q`, `W_V` `[h, k, d]`, `W_O [d, h·k]`, `W_in [m, d]`,
//! `W_out [d, m]`, and last `W_U [d, v]`; each is `torch.randn(shape) / √d`, `W_U` `/ √v`. Biases start at 0 and draw nothing.
//! The notebook unembeds all v input tokens, `=` too: here `W_U` is drawn with its v columns and the first `d_vocab_out` are kept
//! (all are drawn for this alone where a task has more answers than tokens).
//!
//! **MLP.** PyTorch's defaults in the order of construction: `nn.Embedding(v, d)`, normal; then an `nn.Linear` for each hidden layer and
//! one for the answers, weights `[out, in]` uniform in ±1/√in (Kaiming, a = √5), then, where it has one, the bias, uniform in ±1/√in.
//!
//! A model without one of these parameters does not draw it. Weights that neither code has are drawn after all others, in the order of the
//! model, `torch.randn / √d` in our shapes. LayerNorm starts with w = 1, b = 0. An f32 run draws f32 tensors, an f64 run f64 ones (as after
//! `torch.set_default_dtype(torch.float64)`): their numbers differ. `init_scale` multiplies all that is drawn.
//!
//! Uniforms are equal to PyTorch's bit for bit, normals within 1e-6. A code that draws other numbers between seeding and building its
//! model, or builds it on a GPU, starts elsewhere.

use crate::engine::{ParamInfo, ParamLayout};
use crate::rng::torch::TorchRng;
use crate::spec::{Dtype, Family, ModelSpec};

/// How a parameter's numbers stand in the tensor that PyTorch draws.
enum Drawn {
    /// As ours.
    Same,
    /// The last two axes exchanged: `[…, b, a]` for our `[…, a, b]`.
    Transposed,
    /// `[d, h·k]` for our `[h, k, d]`.
    HeadsFlat,
    /// Our first columns of a matrix that is so wide.
    Columns(usize),
}

impl Drawn {
    /// How many numbers are drawn for a parameter of this shape.
    fn len(&self, shape: &[usize]) -> usize {
        match self {
            Drawn::Columns(width) => shape[0] * width,
            _ => shape.iter().product(),
        }
    }

    /// Where our element `i`, counted in our shape, stands among them.
    fn place(&self, i: usize, shape: &[usize]) -> usize {
        let last = shape[shape.len() - 1];
        match self {
            Drawn::Same => i,
            Drawn::Transposed => {
                let rows = shape[shape.len() - 2];
                let (matrix, row, column) = (i / (rows * last), i / last % rows, i % last);
                (matrix * last + column) * rows + row
            }
            Drawn::HeadsFlat => (i % last) * shape[0] * shape[1] + i / last,
            Drawn::Columns(width) => i / last * width + i % last,
        }
    }
}

/// The numbers of every parameter of one replica, `[params]` lists in the order of the named shapes.
pub(super) fn start(layout: &ParamLayout, spec: &ModelSpec, dtype: Dtype, seed: u64) -> Vec<Vec<f64>> {
    let values = (layout.infos.iter()).map(|info| vec![if field(&info.name) == "w" { 1.0 } else { 0.0 }; info.len()]);
    let mut start = Start { layout, spec, dtype, rng: TorchRng::manual_seed(seed), values: values.collect() };
    let mut drawn = match spec.family {
        Family::Transformer => start.transformer(),
        Family::Mlp => start.mlp(),
        // Specs refuse `torch` for it: how it starts is its own.
        Family::Outside(_) => vec![],
    };
    for (id, info) in layout.infos.iter().enumerate() {
        if field(&info.name).starts_with('W') && !drawn.contains(&id) {
            start.normal(id, &Drawn::Same, root(spec.d_model));
            drawn.push(id);
        }
    }
    start.values
}

/// `W_in` of `blocks.0.mlp.W_in`.
fn field(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

fn root(n: usize) -> f64 {
    (n as f64).sqrt()
}

struct Start<'a> {
    layout: &'a ParamLayout,
    spec: &'a ModelSpec,
    dtype: Dtype,
    rng: TorchRng,
    values: Vec<Vec<f64>>,
}

impl Start<'_> {
    /// Draws in the notebook's order; gives the parameters drawn.
    fn transformer(&mut self) -> Vec<usize> {
        let scale = root(self.spec.d_model);
        let mut order = vec![("embed.W_E".to_owned(), Drawn::Transposed), ("pos_embed.W_pos".to_owned(), Drawn::Same)];
        for layer in 0..self.spec.n_layers {
            let fields = [
                ("attn.W_K", Drawn::Transposed),
                ("attn.W_Q", Drawn::Transposed),
                ("attn.W_V", Drawn::Transposed),
                ("attn.W_O", Drawn::HeadsFlat),
                ("mlp.W_in", Drawn::Transposed),
                ("mlp.W_out", Drawn::Transposed),
            ];
            order.extend(fields.map(|(field, drawn)| (format!("blocks.{layer}.{field}"), drawn)));
        }
        let mut ids = vec![];
        for (name, drawn) in order {
            if let Some(id) = self.layout.find(&name) {
                self.normal(id, &drawn, scale);
                ids.push(id);
            }
        }
        if let Some(id) = self.layout.find("unembed.W_U") {
            let tokens = self.layout.find("embed.W_E").map_or(0, |w_e| self.info(w_e).shape[0]);
            let width = tokens.max(self.info(id).shape[1]);
            self.normal(id, &Drawn::Columns(width), root(width));
            ids.push(id);
        }
        ids
    }

    /// Draws in the order of construction; gives the parameters drawn.
    fn mlp(&mut self) -> Vec<usize> {
        let mut ids = vec![];
        if let Some(id) = self.layout.find("embed.W_E") {
            self.normal(id, &Drawn::Same, 1.0);
            ids.push(id);
        }
        let hidden = (0..self.spec.n_layers).map(|layer| ["W_in", "b_in"].map(|x| format!("blocks.{layer}.mlp.{x}")));
        for [weight, bias] in hidden.chain([["unembed.W_U", "unembed.b_U"].map(str::to_owned)]) {
            let Some(id) = self.layout.find(&weight) else { continue };
            let d_in = self.info(id).shape[0];
            // As PyTorch computes it: the gain of a leaky ReLU of slope √5, over √in, times √3.
            let slope = 5f64.sqrt();
            let deviation = (2.0 / (1.0 + slope * slope)).sqrt() / root(d_in);
            self.uniform(id, &Drawn::Transposed, 3f64.sqrt() * deviation);
            ids.push(id);
            if let Some(id) = self.layout.find(&bias) {
                self.uniform(id, &Drawn::Same, 1.0 / root(d_in));
            }
        }
        ids
    }

    fn info(&self, id: usize) -> &ParamInfo {
        &self.layout.infos[id]
    }

    /// `torch.randn(…) / divisor`.
    fn normal(&mut self, id: usize, drawn: &Drawn, divisor: f64) {
        let mut numbers = vec![0.0; drawn.len(&self.info(id).shape)];
        match self.dtype {
            Dtype::F32 => self.rng.fill_normal_f32(&mut numbers),
            Dtype::F64 => self.rng.fill_normal_f64(&mut numbers),
        }
        self.place(id, drawn, &numbers, |x| x / divisor);
    }

    /// `tensor.uniform_(-bound, bound)`.
    fn uniform(&mut self, id: usize, drawn: &Drawn, bound: f64) {
        let mut numbers = vec![0.0; drawn.len(&self.info(id).shape)];
        match self.dtype {
            Dtype::F32 => self.rng.fill_uniform_f32(bound, &mut numbers),
            Dtype::F64 => self.rng.fill_uniform_f64(bound, &mut numbers),
        }
        self.place(id, drawn, &numbers, |x| x);
    }

    fn place(&mut self, id: usize, drawn: &Drawn, numbers: &[f64], scaled: impl Fn(f64) -> f64) {
        let (shape, init_scale) = (&self.layout.infos[id].shape, self.spec.init_scale);
        for (i, value) in self.values[id].iter_mut().enumerate() {
            *value = scaled(numbers[drawn.place(i, shape)]) * init_scale;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{TaskShape, graph};
    use crate::spec::{Init, Join};

    /// Written by `tests/fixtures/torch_init.py` with PyTorch: models, seeds and shapes are defined there.
    const NUMBERS: &str = include_str!("../../tests/fixtures/torch_init.txt");

    fn model(name: &str) -> ModelSpec {
        let small = ModelSpec { d_model: 12, n_heads: 3, d_mlp: 10, init: Init::Torch, ..ModelSpec::default() };
        match name {
            "transformer" => ModelSpec { n_layers: 2, ..small },
            "mlp" => ModelSpec { family: Family::Mlp, n_layers: 2, unembed_bias: true, join: Join::Concat, ..small },
            "mlp_without_biases" => ModelSpec { family: Family::Mlp, mlp_bias: false, ..small },
            other => panic!("{other}"),
        }
    }

    /// Models, both dtypes and three seeds: uniforms (of an MLP's layers) bit for bit, normals within 1e-6.
    #[test]
    fn starts_are_torch_s() {
        let task = TaskShape::of_pairs(7);
        let mut n_params = 0;
        for line in NUMBERS.lines().filter(|line| !line.starts_with('#')) {
            let (head, numbers) = line.split_once(": ").unwrap();
            let [name, dtype, seed, param] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{head}") };
            let spec = model(name);
            let layout = graph(&spec, &task).params;
            let dtype = if dtype == "f32" { Dtype::F32 } else { Dtype::F64 };
            let values = &start(&layout, &spec, dtype, seed.parse().unwrap())[layout.find(param).unwrap()];
            let theirs: Vec<f64> = numbers.split(' ').map(|x| x.parse().unwrap()).collect();
            assert_eq!(values.len(), theirs.len(), "{head}");
            let is_uniform = spec.family == Family::Mlp && param != "embed.W_E";
            let tolerance = if is_uniform { 0.0 } else { 1e-6 };
            let apart = values.iter().zip(&theirs).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(apart <= tolerance, "{head}: {apart:e}");
            n_params += 1;
        }
        assert_eq!(n_params, 2 * 3 * (3 + 2 * 6 + 7 + 3));
    }

    #[test]
    fn what_is_not_drawn_and_the_scale() {
        let task = TaskShape::of_pairs(7);
        let layernorm = ModelSpec { normalization: crate::spec::Normalization::Ln, ..model("transformer") };
        let layout = graph(&layernorm, &task).params;
        let plain = start(&layout, &layernorm, Dtype::F64, 4);
        let tripled = start(&layout, &ModelSpec { init_scale: 3.0, ..layernorm }, Dtype::F64, 4);
        for (id, info) in layout.infos.iter().enumerate() {
            match field(&info.name) {
                "w" => assert!(tripled[id].iter().all(|&x| x == 1.0), "{}", info.name),
                bias if bias.starts_with('b') => assert!(tripled[id].iter().all(|&x| x == 0.0), "{}", info.name),
                _ => assert!(
                    plain[id].iter().zip(&tripled[id]).all(|(x, y)| 3.0 * x == *y && *x != 0.0),
                    "{}",
                    info.name
                ),
            }
        }
    }
}
