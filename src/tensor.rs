//! Host arrays with a name: what goes into files and comes out of them, and what measures read.

use crate::error::{Error, Result};

/// The numbers of a [`Tensor`], row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Bytes: masks and flags.
    U8(Vec<u8>),
    /// Tokens and indices.
    U32(Vec<u32>),
    /// Steps, seeds, counters.
    U64(Vec<u64>),
}

/// A named row-major array.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// TransformerLens's name for parameters; a path (`metrics/train_loss_nats`) for the rest.
    pub name: String,
    /// Sizes, slowest axis first; the replica axis comes first where there is one.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Data,
}

impl Data {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::F64(v) => v.len(),
            Data::U8(v) => v.len(),
            Data::U32(v) => v.len(),
            Data::U64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tensor {
    /// A tensor whose numbers fill its shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, data: Data) -> Result<Tensor> {
        let name = name.into();
        let expected: usize = shape.iter().product();
        if expected != data.len() {
            return Err(Error::Shape {
                op: name,
                expected: format!("{expected} numbers for shape {shape:?}"),
                got: data.len().to_string(),
            });
        }
        Ok(Tensor { name, shape, data })
    }

    /// Everything as `f64`, whatever it was.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::F64(v) => v.clone(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U64(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// Slice `index` of the leading axis, as a tensor of one dimension less.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such index.
    pub fn row(&self, index: usize) -> Result<Tensor> {
        let Some((&n, rest)) = self.shape.split_first().filter(|&(&n, _)| index < n) else {
            return Err(Error::Shape {
                op: self.name.clone(),
                expected: format!("a leading axis longer than {index}"),
                got: format!("{:?}", self.shape),
            });
        };
        let width = self.data.len() / n;
        let range = index * width..(index + 1) * width;
        let data = match &self.data {
            Data::F32(v) => Data::F32(v[range].to_vec()),
            Data::F64(v) => Data::F64(v[range].to_vec()),
            Data::U8(v) => Data::U8(v[range].to_vec()),
            Data::U32(v) => Data::U32(v[range].to_vec()),
            Data::U64(v) => Data::U64(v[range].to_vec()),
        };
        Tensor::new(self.name.clone(), rest.to_vec(), data)
    }
}
