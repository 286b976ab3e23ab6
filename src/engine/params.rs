//! Parameters, moments and gradients: one flat array for each replica, replicas on the leading axis.

use std::sync::Arc;

use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};

/// How a parameter's numbers lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As its shape says, row-major.
    Plain,
    /// Shape `[n_heads, d_model, d_head]`, stored `[d_model, n_heads, d_head]`, so that all heads are one matrix.
    HeadsInside,
}

/// Name, shape and place of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamInfo {
    /// TransformerLens's name.
    pub name: String,
    /// TransformerLens's shape, without the replica axis.
    pub shape: Vec<usize>,
    /// Storage order.
    pub layout: Layout,
    /// First element in a replica's flat array.
    pub offset: usize,
}

impl ParamInfo {
    /// Whether a pattern is its name: `*` stands for any letters, dots too.
    pub fn is_named(&self, pattern: &str) -> bool {
        matches(pattern, &self.name)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where element `i` of the named shape lies in storage.
    pub(crate) fn stored(&self, i: usize) -> usize {
        match self.layout {
            Layout::Plain => i,
            Layout::HeadsInside => {
                let (h, d, k) = (self.shape[0], self.shape[1], self.shape[2]);
                let (head, row, col) = (i / (d * k), i / k % d, i % k);
                (row * h + head) * k + col
            }
        }
    }
}

/// The parameters of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParamLayout {
    /// In the order of the model's definition.
    pub infos: Vec<ParamInfo>,
    /// Elements a replica, padded to whole vectors.
    pub stride: usize,
}

impl ParamLayout {
    /// Adds a parameter; gives its index.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize], layout: Layout) -> usize {
        let info = ParamInfo { name: name.into(), shape: shape.to_vec(), layout, offset: self.stride };
        self.stride = (self.stride + info.len()).next_multiple_of(16);
        self.infos.push(info);
        self.infos.len() - 1
    }

    /// Elements of all parameters.
    pub fn count(&self) -> usize {
        self.infos.iter().map(ParamInfo::len).sum()
    }

    /// Whether each parameter has a name that one of `patterns` stands for; `key` is where they were given.
    ///
    /// # Errors
    /// [`Error::Value`] for a pattern that names no parameter.
    pub fn named(&self, key: &str, patterns: &[String]) -> Result<Vec<bool>> {
        let names_one = |pattern: &&String| self.infos.iter().any(|info| info.is_named(pattern));
        if let Some(idle) = patterns.iter().find(|pattern| !names_one(pattern)) {
            let names: Vec<&str> = self.infos.iter().map(|info| info.name.as_str()).collect();
            return Err(Error::Value {
                what: key.into(),
                got: format!("{idle}, which names no parameter"),
                expected: format!("patterns of {}", names.join(", ")),
            });
        }
        Ok(self.infos.iter().map(|info| patterns.iter().any(|pattern| info.is_named(pattern))).collect())
    }

    /// Index of a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.infos.iter().position(|info| info.name == name)
    }
}

/// A flat array for each replica: parameters, a moment, or gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Params<T> {
    /// Names, shapes, places.
    pub layout: Arc<ParamLayout>,
    /// `[R, stride]`.
    pub flat: Vec<T>,
}

impl<T: Real> Params<T> {
    /// Zeros for `replicas` replicas.
    pub fn zeros(layout: Arc<ParamLayout>, replicas: usize) -> Params<T> {
        Params { flat: vec![T::ZERO; layout.stride * replicas], layout }
    }

    /// Number of replicas.
    pub fn replicas(&self) -> usize {
        self.flat.len() / self.layout.stride.max(1)
    }

    /// One replica's array.
    pub fn replica(&self, r: usize) -> &[T] {
        &self.flat[r * self.layout.stride..(r + 1) * self.layout.stride]
    }

    /// One replica's array, for writing.
    pub fn replica_mut(&mut self, r: usize) -> &mut [T] {
        &mut self.flat[r * self.layout.stride..(r + 1) * self.layout.stride]
    }

    /// Sets a parameter of a replica from numbers in the order of its named shape.
    pub fn set(&mut self, r: usize, param: usize, values: impl Iterator<Item = T>) {
        let layout = Arc::clone(&self.layout);
        let info = &layout.infos[param];
        let flat = &mut self.replica_mut(r)[info.offset..info.offset + info.len()];
        for (i, value) in values.enumerate() {
            flat[info.stored(i)] = value;
        }
    }

    /// A parameter of a replica, in the order of its named shape.
    pub fn get(&self, r: usize, param: usize) -> impl Iterator<Item = T> + '_ {
        let info = &self.layout.infos[param];
        let flat = &self.replica(r)[info.offset..info.offset + info.len()];
        (0..info.len()).map(move |i| flat[info.stored(i)])
    }

    /// Every parameter as a tensor `[R, …]` with its TransformerLens name (after `prefix`).
    pub fn to_tensors(&self, prefix: &str) -> Vec<Tensor> {
        let replicas = self.replicas();
        (self.layout.infos.iter().enumerate())
            .map(|(param, info)| {
                let values = (0..replicas).flat_map(|r| self.get(r, param)).collect();
                let shape = std::iter::once(replicas).chain(info.shape.iter().copied()).collect();
                Tensor { name: format!("{prefix}{}", info.name), shape, data: T::to_data(values) }
            })
            .collect()
    }

    /// Reads tensors `[R, …]` back.
    ///
    /// # Errors
    /// [`Error::Shape`] when a parameter is missing or has another shape.
    pub fn from_tensors(layout: &Arc<ParamLayout>, tensors: &[Tensor], prefix: &str) -> Result<Params<T>> {
        let replicas = tensors.iter().find(|t| t.name.starts_with(prefix)).map_or(0, |t| t.shape[0]);
        let mut params = Params::zeros(Arc::clone(layout), replicas);
        for (id, info) in layout.infos.iter().enumerate() {
            let name = format!("{prefix}{}", info.name);
            let shape: Vec<usize> = std::iter::once(replicas).chain(info.shape.iter().copied()).collect();
            let tensor = tensors.iter().find(|t| t.name == name);
            let Some(tensor) = tensor.filter(|t| t.shape == shape) else {
                let got = tensor.map_or("no such tensor".into(), |t| format!("{:?}", t.shape));
                return Err(Error::Shape { op: name, expected: format!("{shape:?}"), got });
            };
            let len = info.len();
            for r in 0..replicas {
                match &tensor.data {
                    Data::F32(v) => {
                        params.set(r, id, v[r * len..(r + 1) * len].iter().map(|&x| T::from_f64(x.into())));
                    }
                    Data::F64(v) => params.set(r, id, v[r * len..(r + 1) * len].iter().map(|&x| T::from_f64(x))),
                    _ => {
                        return Err(Error::Shape { op: name, expected: "floats".into(), got: "integers".into() });
                    }
                }
            }
        }
        Ok(params)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            ends.into_iter().any(|at| matches(rest, &tail[at..]))
        }),
    }
}
