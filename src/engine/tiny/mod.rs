//! Tiny networks: a whole training step of one replica while its numbers are in cache.
//!
//! A network of a few numbers spends its time on everything but arithmetic when each op sweeps over the whole batch. Here a tile of
//! [`TILE`] examples goes through all layers, the loss and back before the next one is drawn, and examples lie along the vector lanes:
//! values are `[width, examples]`, so that two features keep 16 lanes as busy as two hundred do.
//!
//! A layer: `a = act(W x + b)`. Loss: `Σ over outputs importance · (a − y)²` or, of the right class,
//! `−importance · ln a`; mean over examples. Backward: `dz = da · act'(z)`,
//! `dW = dz xᵀ`, `db = Σ dz`, `dx = Wᵀ dz`. Weights are reached by strides, so that two layers can share one matrix (a tied decoder reads
//! the encoder's transposed); its gradient then has both parts. One worker takes a replica's whole step, tiles in order: the bits depend
//! neither on threads nor on other replicas.

mod act;
mod product;

use super::real::Real;
use super::simd::{LANES, sum, vectorized};
use crate::spec::{ToyAct, ToyLoss};

/// Examples that go through the network together.
pub const TILE: usize = 256;

/// `a = act(W x + b)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Where W begins in a replica's parameters.
    pub weight: usize,
    /// Steps in W from one output to the next, and from one input to the next.
    pub strides: [usize; 2],
    /// Where b begins.
    pub bias: Option<usize>,
    /// Inputs.
    pub d_in: usize,
    /// Outputs.
    pub d_out: usize,
    /// Activation.
    pub act: ToyAct,
    /// Of its outputs this share is set to 0 in training, and the others are divided by the rest.
    pub dropout: f64,
}

/// Layers one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    /// The layers; at least one.
    pub layers: Vec<Layer>,
    /// What is minimised. Cross-entropy takes a last layer of softmax.
    pub loss: ToyLoss,
}

/// What a step reads of some examples: the caller fills it tile by tile.
pub struct Tile<'a, T> {
    /// Examples before the first of the tile.
    pub first: usize,
    /// Examples in it, a multiple of 32; those beyond the batch count for nothing.
    pub lanes: usize,
    /// `[d_in, lanes]` inputs.
    pub x: &'a mut [T],
    /// `[d_out, lanes]` what the outputs are compared with.
    pub y: &'a mut [T],
    /// For each layer with dropout `[d_out, lanes]` factors: 0 or 1 / (1 − share).
    pub keep: &'a mut [Vec<T>],
}

impl<T> Tile<'_, T> {
    /// Lanes of the tile that begins where `left` examples are left.
    pub fn lanes(left: usize) -> usize {
        TILE.min(left).next_multiple_of(product::LANES_AT_ONCE)
    }
}

/// Buffers of one worker.
#[derive(Debug, Clone)]
pub struct Scratch<T> {
    x: Vec<T>,
    y: Vec<T>,
    layers: Vec<Buffers<T>>,
    keep: Vec<Vec<T>>,
}

/// Of one layer, `[d_out, lanes]`.
#[derive(Debug, Clone)]
struct Buffers<T> {
    a: Vec<T>,
    /// What dropout leaves of a; nothing without it.
    dropped: Vec<T>,
    /// act'(z).
    slope: Vec<T>,
    /// Gradient of z.
    grad: Vec<T>,
}

/// How a replica's loss is taken.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a, T> {
    /// Examples of the batch.
    pub examples: usize,
    /// `[d_out]` factor on each output's squared error, or on the examples of each class.
    pub importance: &'a [T],
    /// Factor on the sum over outputs: 1, or 1 / d_out for their mean.
    pub scale: f64,
}

impl Net {
    /// Numbers that enter.
    pub fn d_in(&self) -> usize {
        self.layers[0].d_in
    }

    /// Numbers that come out.
    pub fn d_out(&self) -> usize {
        self.layers[self.layers.len() - 1].d_out
    }

    /// Buffers for one worker.
    pub fn scratch<T: Real>(&self) -> Scratch<T> {
        let of = |width: usize| vec![T::ZERO; width * TILE];
        let keep = |layer: &Layer| if layer.dropout > 0.0 { of(layer.d_out) } else { vec![] };
        let layer = |layer: &Layer| Buffers {
            a: of(layer.d_out),
            dropped: keep(layer),
            slope: of(layer.d_out),
            grad: of(layer.d_out),
        };
        Scratch {
            x: of(self.d_in()),
            y: of(self.d_out()),
            layers: self.layers.iter().map(layer).collect(),
            keep: self.layers.iter().map(keep).collect(),
        }
    }

    /// The mean loss of a batch and its gradient, which overwrites `grads`; `draw` fills each tile.
    ///
    /// # Shapes
    /// `params`, `grads`: one replica's arrays.
    pub fn loss_and_grads<T: Real>(
        &self,
        params: &[T],
        grads: &mut [T],
        loss: Loss<'_, T>,
        scratch: &mut Scratch<T>,
        mut draw: impl FnMut(Tile<'_, T>),
    ) -> f64 {
        grads.fill(T::ZERO);
        let mut total = 0.0;
        for first in (0..loss.examples).step_by(TILE) {
            let (len, lanes) = (TILE.min(loss.examples - first), Tile::<T>::lanes(loss.examples - first));
            draw(scratch.tile(self, first, lanes));
            vectorized!({
                self.forward(params, scratch, lanes, true);
                total += self.loss(loss, scratch, len, lanes);
                self.backward(params, grads, scratch, lanes);
            });
        }
        total / loss.examples as f64
    }

    /// The mean loss of a batch alone, without dropout.
    pub fn loss_of<T: Real>(
        &self,
        params: &[T],
        loss: Loss<'_, T>,
        scratch: &mut Scratch<T>,
        mut draw: impl FnMut(Tile<'_, T>),
    ) -> f64 {
        let mut total = 0.0;
        for first in (0..loss.examples).step_by(TILE) {
            let (len, lanes) = (TILE.min(loss.examples - first), Tile::<T>::lanes(loss.examples - first));
            draw(scratch.tile(self, first, lanes));
            vectorized!({
                self.forward(params, scratch, lanes, false);
                total += self.loss(loss, scratch, len, lanes);
            });
        }
        total / loss.examples as f64
    }

    /// What every layer gives for each example, without dropout and one example at a time.
    ///
    /// # Shapes
    /// `params`: one replica's array; `x_bn` `[b, d_in]` -> for each layer `[b, d_out]`
    pub fn activations(&self, params: &[f64], x_bn: &[f64]) -> Vec<Vec<f64>> {
        let mut outputs: Vec<Vec<f64>> = vec![];
        for layer in &self.layers {
            let x_bi = outputs.last().map_or(x_bn, Vec::as_slice);
            let [output, input] = layer.strides;
            let mut a_bo = Vec::with_capacity(x_bi.len() / layer.d_in * layer.d_out);
            let mut slope = vec![0.0; layer.d_out];
            for x_i in x_bi.chunks_exact(layer.d_in) {
                let z = |o: usize| {
                    let weights = params[layer.weight + o * output..].iter().step_by(input);
                    layer.bias.map_or(0.0, |at| params[at + o]) + weights.zip(x_i).map(|(w, x)| w * x).sum::<f64>()
                };
                let first = a_bo.len();
                a_bo.extend((0..layer.d_out).map(z));
                layer.act.apply(&mut a_bo[first..], &mut slope, 1);
            }
            outputs.push(a_bo);
        }
        outputs
    }

    #[inline(always)]
    fn forward<T: Real>(&self, params: &[T], scratch: &mut Scratch<T>, lanes: usize, training: bool) {
        for (l, layer) in self.layers.iter().enumerate() {
            let (below, here) = scratch.layers.split_at_mut(l);
            let x = below.last().map_or(&scratch.x, Buffers::out);
            let Buffers { a, dropped, slope, .. } = &mut here[0];
            let bias = layer.bias.map(|at| &params[at..at + layer.d_out]);
            let (a, size) = (&mut a[..], layer.d_out * lanes);
            product::forward((&params[layer.weight..], layer.strides), bias, (x, layer.d_in), (a, layer.d_out), lanes);
            layer.act.apply(&mut a[..size], &mut slope[..size], lanes);
            if layer.dropout > 0.0 {
                for ((dropped, a), keep) in dropped[..size].iter_mut().zip(&a[..size]).zip(&scratch.keep[l]) {
                    *dropped = if training { *a * *keep } else { *a };
                }
            }
        }
    }

    /// Σ over the tile's examples of the loss; leaves the gradient of the last layer's z in its `grad`.
    #[inline(always)]
    fn loss<T: Real>(&self, loss: Loss<'_, T>, scratch: &mut Scratch<T>, len: usize, lanes: usize) -> f64 {
        match self.loss {
            ToyLoss::SquaredError => self.squared_error(loss, scratch, len, lanes),
            ToyLoss::CrossEntropy => self.cross_entropy(loss, scratch, len, lanes),
        }
    }

    /// −w ln a of the right class, w its importance; y is 1 there and 0 elsewhere, and 0 everywhere for an example without class.
    #[inline(always)]
    fn cross_entropy<T: Real>(&self, loss: Loss<'_, T>, scratch: &mut Scratch<T>, len: usize, lanes: usize) -> f64 {
        let last = self.layers.len() - 1;
        let Buffers { a, grad, .. } = &mut scratch.layers[last];
        let (mut right, mut weight) = ([T::ZERO; TILE], [T::ZERO; TILE]);
        for (o, &importance) in loss.importance.iter().enumerate() {
            let row = o * lanes..(o + 1) * lanes;
            let (a, y) = (&a[row.clone()], &mut scratch.y[row]);
            // Examples beyond the batch have no class.
            y[len..].fill(T::ZERO);
            for (((right, weight), a), y) in right.iter_mut().zip(&mut weight).zip(a).zip(&*y) {
                *right = a.mul_add(*y, *right);
                *weight = importance.mul_add(*y, *weight);
            }
        }
        let per_example = T::from_f64(loss.scale / loss.examples as f64);
        for (o, &importance) in loss.importance.iter().enumerate() {
            let row = o * lanes..(o + 1) * lanes;
            let (a, y) = (&a[row.clone()], &scratch.y[row.clone()]);
            for (((d, weight), a), y) in grad[row].iter_mut().zip(&weight).zip(a).zip(y) {
                *d = per_example * (*weight * *a - importance * *y);
            }
        }
        // A probability that became 0 has a finite loss, that of the least number; its gradient is right anyway.
        let least = T::MIN_POSITIVE;
        let of = |(weight, right): (&T, &T)| match *weight > T::ZERO {
            true => -weight.to_f64() * libm::log(if *right < least { least.to_f64() } else { right.to_f64() }),
            // No class; or no number, which the loss is to show.
            false => weight.to_f64(),
        };
        weight[..len].iter().zip(&right).map(of).sum::<f64>() * loss.scale
    }

    #[inline(always)]
    fn squared_error<T: Real>(&self, loss: Loss<'_, T>, scratch: &mut Scratch<T>, len: usize, lanes: usize) -> f64 {
        let last = self.layers.len() - 1;
        let act = &self.layers[last].act;
        let Buffers { a, slope, grad, .. } = &mut scratch.layers[last];
        let mut total = [T::ZERO; LANES];
        let per_example = 2.0 * loss.scale / loss.examples as f64;
        for (o, &importance) in loss.importance.iter().enumerate() {
            let row = o * lanes..(o + 1) * lanes;
            let factor = importance * T::from_f64(per_example);
            let (a, y, d) = (&a[row.clone()], &mut scratch.y[row.clone()], &mut grad[row]);
            // Examples beyond the batch have no error, and pull nowhere.
            y[len..].copy_from_slice(&a[len..]);
            let mut of_output = [T::ZERO; LANES];
            for ((a, y), d) in
                a.as_chunks::<LANES>().0.iter().zip(y.as_chunks::<LANES>().0).zip(d.as_chunks_mut::<LANES>().0)
            {
                let mut error = [T::ZERO; LANES];
                for i in 0..LANES {
                    error[i] = a[i] - y[i];
                }
                for i in 0..LANES {
                    of_output[i] = error[i].mul_add(error[i], of_output[i]);
                }
                error.iter_mut().for_each(
                    #[inline(always)]
                    |error| *error *= factor,
                );
                *d = error;
            }
            for i in 0..LANES {
                total[i] = importance.mul_add(of_output[i], total[i]);
            }
        }
        let size = self.layers[last].d_out * lanes;
        act.pull_back(&a[..size], &slope[..size], &mut grad[..size], lanes);
        sum(&total).to_f64() * loss.scale
    }

    #[inline(always)]
    fn backward<T: Real>(&self, params: &[T], grads: &mut [T], scratch: &mut Scratch<T>, lanes: usize) {
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let (below, here) = scratch.layers.split_at_mut(l);
            let grad = &here[0].grad[..layer.d_out * lanes];
            let x = below.last().map_or(&scratch.x, Buffers::out);
            product::outer((grad, layer.d_out), (x, layer.d_in), lanes, (&mut grads[layer.weight..], layer.strides));
            if let Some(at) = layer.bias {
                for (db, grad) in grads[at..at + layer.d_out].iter_mut().zip(grad.chunks_exact(lanes)) {
                    *db += sum(grad);
                }
            }
            if let Some(below) = below.last_mut() {
                let of_below = &self.layers[l - 1];
                let [output, input] = layer.strides;
                let (w, size) = ((&params[layer.weight..], [input, output]), layer.d_in * lanes);
                product::forward(w, None, (grad, layer.d_out), (&mut below.grad, layer.d_in), lanes);
                if of_below.dropout > 0.0 {
                    for (d, keep) in below.grad[..size].iter_mut().zip(&scratch.keep[l - 1]) {
                        *d *= *keep;
                    }
                }
                of_below.act.pull_back(&below.a[..size], &below.slope[..size], &mut below.grad[..size], lanes);
            }
        }
    }
}

impl<T> Buffers<T> {
    /// What the next layer reads.
    #[inline(always)]
    fn out(&self) -> &Vec<T> {
        if self.dropped.is_empty() { &self.a } else { &self.dropped }
    }
}

impl<T: Real> Scratch<T> {
    fn tile(&mut self, net: &Net, first: usize, lanes: usize) -> Tile<'_, T> {
        let (x, y) = (&mut self.x[..net.d_in() * lanes], &mut self.y[..net.d_out() * lanes]);
        Tile { first, lanes, x, y, keep: &mut self.keep }
    }
}

#[cfg(test)]
mod tests;
