//! `[toy]` -> the layers of a tiny network, the names of its parameters, and how they start.
//!
//! Tied: `W` `[m, n]`, `b_out` `[n]`; x' = act(Wᵀ hidden_act(W x) + b_out), as in Elhage et al. 2022. Else for hidden layer l
//! `W_l` `[m_l, inputs]` and `b_l`, and `W_out` `[outputs, m]`, `b_out`.

use std::sync::Arc;

use crate::engine::tiny::{Layer, Net};
use crate::engine::{Layout, ParamLayout, Params, Real};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::spec::{ToyInit, ToyReplica, ToySpec};
use crate::tensor::Tensor;

/// The matrix of a tied network.
pub const W: &str = "W";
/// The first matrix of a network that is not tied.
pub const W_FIRST: &str = "W_0";
/// The second matrix of a network of several hidden layers.
pub const W_SECOND: &str = "W_1";
/// The last matrix of a network that is not tied.
pub const W_OUT: &str = "W_out";
/// The outputs' bias.
pub const B_OUT: &str = "b_out";

/// Layers and parameters.
#[derive(Debug, Clone)]
pub struct Network {
    /// Layers.
    pub net: Net,
    /// Parameters.
    pub layout: Arc<ParamLayout>,
}

impl Network {
    /// The network of a spec.
    pub fn new(spec: &ToySpec) -> Network {
        let mut layout = ParamLayout::default();
        let (mut layers, mut d_in) = (vec![], spec.n_features);
        let param = |layout: &mut ParamLayout, name: String, shape: &[usize]| {
            let id = layout.push(name, shape, Layout::Plain);
            layout.infos[id].offset
        };
        for (l, &width) in spec.d_hidden.0.iter().enumerate() {
            let name = if spec.tied { W.to_owned() } else { format!("W_{l}") };
            let weight = param(&mut layout, name, &[width, d_in]);
            let bias = spec.hidden_bias.then(|| param(&mut layout, format!("b_{l}"), &[width]));
            let act = spec.hidden_act.clone();
            layers.push(Layer { weight, strides: [d_in, 1], bias, d_in, d_out: width, act, dropout: spec.dropout });
            d_in = width;
        }
        let n_outputs = spec.n_outputs();
        let (weight, strides) = match spec.tied {
            true => (layers[0].weight, [1, n_outputs]),
            false => (param(&mut layout, W_OUT.into(), &[n_outputs, d_in]), [d_in, 1]),
        };
        let bias = spec.bias.then(|| param(&mut layout, B_OUT.into(), &[n_outputs]));
        layers.push(Layer { weight, strides, bias, d_in, d_out: n_outputs, act: spec.act.clone(), dropout: 0.0 });
        Network { net: Net { layers, loss: spec.loss }, layout: Arc::new(layout) }
    }

    /// One replica's parameters as the engine has them.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Shape`] for parameters of another model.
    pub fn flat(&self, params: &[Tensor]) -> Result<Vec<f64>> {
        let mut flat = vec![0.0; self.layout.stride];
        for info in &self.layout.infos {
            let Some(tensor) = params.iter().find(|tensor| tensor.name == info.name) else {
                let known = params.iter().map(|tensor| tensor.name.clone()).collect();
                return Err(Error::Unknown { kind: "parameter", name: info.name.clone(), known });
            };
            if tensor.shape != info.shape {
                let (expected, got) = (format!("{:?}", info.shape), format!("{:?}", tensor.shape));
                return Err(Error::Shape { op: info.name.clone(), expected, got });
            }
            flat[info.offset..info.offset + info.len()].copy_from_slice(&tensor.to_f64());
        }
        Ok(flat)
    }

    /// What every layer of a replica gives for each example.
    ///
    /// # Shapes
    /// `params` without replica axis; `x_bn` `[b, n]` -> for each layer `[b, width]`, the outputs last
    ///
    /// # Errors
    /// As [`Network::flat`].
    pub fn activations(&self, params: &[Tensor], x_bn: &[f64]) -> Result<Vec<Vec<f64>>> {
        Ok(self.net.activations(&self.flat(params)?, x_bn))
    }

    /// Parameters of every replica: matrices normal or constant, biases 0. Each draws from a stream of its own name.
    pub fn start<T: Real>(&self, spec: &ToySpec, replicas: &[ToyReplica]) -> Params<T> {
        let mut params = Params::zeros(Arc::clone(&self.layout), replicas.len());
        for (id, info) in self.layout.infos.iter().enumerate().filter(|(_, info)| info.shape.len() == 2) {
            let xavier = (2.0 / info.shape.iter().sum::<usize>() as f64).sqrt();
            let mut values = vec![0.0; info.len()];
            for (r, replica) in replicas.iter().enumerate() {
                let deviation = replica.init_deviation.unwrap_or(xavier);
                match spec.init {
                    ToyInit::Normal => {
                        Rng::stream(replica.seed, &format!("init/{}", info.name)).fill_normal(&mut values)
                    }
                    ToyInit::Equal => values.fill(1.0),
                }
                params.set(r, id, values.iter().map(|x| T::from_f64(x * deviation)));
            }
        }
        params
    }
}
