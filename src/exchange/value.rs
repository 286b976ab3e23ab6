//! What files of other tools hold: arrays, numbers, texts, lists and dictionaries, whatever the format.
//!
//! Reads and writes nothing. A [`View`] is an array over bytes that were read: its sizes are held against those bytes when it
//! is made, and its numbers are taken out only when somebody wants them.

use std::sync::Arc;

use crate::tensor::{Data, Tensor};

/// Why a file cannot be used, as a sentence without its path.
pub type Parsed<T> = Result<T, String>;

/// Type of the numbers of a [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 16-bit floats, 5 bits of exponent.
    F16,
    /// 16-bit floats, 8 bits of exponent.
    Bf16,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// Signed integers.
    I8,
    /// Signed integers.
    I16,
    /// Signed integers.
    I32,
    /// Signed integers.
    I64,
    /// Booleans, a byte each.
    Bool,
    /// Bytes.
    U8,
    /// Unsigned integers.
    U16,
    /// Unsigned integers.
    U32,
    /// Unsigned integers.
    U64,
}

impl Element {
    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 | Element::Bool => 1,
            Element::F16 | Element::Bf16 | Element::I16 | Element::U16 => 2,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F64 | Element::I64 | Element::U64 => 8,
        }
    }

    /// Whether it is one of the floats.
    pub fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::Bf16 | Element::F32 | Element::F64)
    }
}

/// An array over bytes of a file, little-endian.
#[derive(Debug, Clone)]
pub struct View {
    /// Type of its numbers.
    pub element: Element,
    /// Sizes, slowest axis first.
    pub shape: Vec<usize>,
    /// Steps of each axis, in numbers.
    strides: Vec<usize>,
    bytes: Arc<Vec<u8>>,
    /// The first number, in bytes.
    start: usize,
}

/// Axes of an array at most; numpy's own limit is 64.
pub(super) const MAX_AXES: usize = 16;

impl View {
    /// The array of `shape` and `strides` (in numbers) whose first number is at byte `start`.
    ///
    /// # Errors
    /// Sizes that overflow, that reach past the bytes, or that are more than the bytes hold (a repeated axis).
    pub fn new(
        element: Element,
        (shape, strides): (Vec<usize>, Vec<usize>),
        bytes: &Arc<Vec<u8>>,
        start: usize,
    ) -> Parsed<View> {
        if shape.len() != strides.len() || shape.len() > MAX_AXES {
            return Err(format!("an array has {} sizes and {} strides", shape.len(), strides.len()));
        }
        let too_large = || format!("an array of shape {shape:?} is larger than what the file holds for it");
        let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).ok_or_else(too_large)?;
        let last = (shape.iter().zip(&strides))
            .try_fold(0usize, |at, (&size, &stride)| at.checked_add(size.saturating_sub(1).checked_mul(stride)?))
            .ok_or_else(too_large)?;
        let needed = if count == 0 { 0 } else { last.checked_add(1).ok_or_else(too_large)? };
        let held = bytes.len().saturating_sub(start) / element.size_bytes();
        if needed > held || count > held {
            return Err(too_large());
        }
        Ok(View { element, shape, strides, bytes: Arc::clone(bytes), start })
    }

    /// As [`View::new`], row-major.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn row_major(element: Element, shape: Vec<usize>, bytes: &Arc<Vec<u8>>, start: usize) -> Parsed<View> {
        let strides = row_major(&shape).ok_or_else(|| format!("the sizes {shape:?} are too large"))?;
        View::new(element, (shape, strides), bytes, start)
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The same numbers with other axes: axis `i` of the result is axis `axes[i]` of this one.
    pub fn permute(&self, axes: &[usize]) -> View {
        let pick = |of: &[usize]| axes.iter().map(|&axis| of[axis]).collect();
        View { shape: pick(&self.shape), strides: pick(&self.strides), ..self.clone() }
    }

    /// Axis `axis` as two, the second of `inner` numbers; nothing when its size does not divide.
    pub fn split(&self, axis: usize, inner: usize) -> Option<View> {
        let mut view = self.clone();
        let size = view.shape[axis];
        if inner == 0 || !size.is_multiple_of(inner) {
            return None;
        }
        view.shape[axis] = size / inner;
        view.shape.insert(axis + 1, inner);
        let stride = view.strides[axis];
        view.strides[axis] = stride.checked_mul(inner)?;
        view.strides.insert(axis + 1, stride);
        Some(view)
    }

    /// Numbers `from` to `from + n` of axis `axis`, which has as many.
    pub fn narrow(&self, axis: usize, from: usize, n: usize) -> View {
        let mut view = self.clone();
        view.start += from * view.strides[axis] * view.element.size_bytes();
        view.shape[axis] = n;
        view
    }

    /// The same numbers, row-major, under another shape of as many; nothing when there are not as many.
    pub fn reshape(&self, shape: &[usize]) -> Option<View> {
        let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))?;
        if count != self.count() {
            return None;
        }
        let size = self.element.size_bytes();
        let mut bytes = Vec::with_capacity(count * size);
        self.each(|number| bytes.extend_from_slice(number));
        View::row_major(self.element, shape.to_vec(), &Arc::new(bytes), 0).ok()
    }

    /// Every number, row-major, by `get` from its bytes.
    fn each<T>(&self, mut get: impl FnMut(&[u8]) -> T) -> Vec<T> {
        let size = self.element.size_bytes();
        let n = self.count();
        let mut out = Vec::with_capacity(n);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..n {
            let at: usize = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum();
            let at = self.start + at * size;
            out.push(get(&self.bytes[at..at + size]));
            for (i, &size) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
        }
        out
    }

    /// The numbers as a parameter: f32 and f64 bit for bit, 16-bit floats widened to f32, which is exact.
    ///
    /// # Errors
    /// Integers.
    pub fn to_tensor(&self, name: &str) -> Parsed<Tensor> {
        let data = match self.element {
            Element::F32 => Data::F32(self.each(|b| f32::from_le_bytes(array(b)))),
            Element::F64 => Data::F64(self.each(|b| f64::from_le_bytes(array(b)))),
            Element::F16 => Data::F32(self.each(|b| f16_to_f32(u16::from_le_bytes(array(b))))),
            Element::Bf16 => Data::F32(self.each(|b| f32::from_bits(u32::from(u16::from_le_bytes(array(b))) << 16))),
            _ => return Err(format!("{name} holds integers where a parameter has floats")),
        };
        Ok(Tensor { name: name.to_owned(), shape: self.shape.clone(), data })
    }

    /// The numbers as f64, row-major.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.element {
            Element::F64 => self.each(|b| f64::from_le_bytes(array(b))),
            Element::F32 => self.each(|b| f32::from_le_bytes(array(b)).into()),
            Element::F16 => self.each(|b| f16_to_f32(u16::from_le_bytes(array(b))).into()),
            Element::Bf16 => self.each(|b| f32::from_bits(u32::from(u16::from_le_bytes(array(b))) << 16).into()),
            _ => self.to_ints().into_iter().map(|x| x as f64).collect(),
        }
    }

    /// The numbers as integers, row-major; floats lose what is after their point.
    pub fn to_ints(&self) -> Vec<i64> {
        match self.element {
            Element::I8 => self.each(|b| i8::from_le_bytes(array(b)).into()),
            Element::I16 => self.each(|b| i16::from_le_bytes(array(b)).into()),
            Element::I32 => self.each(|b| i32::from_le_bytes(array(b)).into()),
            Element::I64 => self.each(|b| i64::from_le_bytes(array(b))),
            Element::U8 | Element::Bool => self.each(|b| b[0].into()),
            Element::U16 => self.each(|b| u16::from_le_bytes(array(b)).into()),
            Element::U32 => self.each(|b| u32::from_le_bytes(array(b)).into()),
            Element::U64 => self.each(|b| i64::try_from(u64::from_le_bytes(array(b))).unwrap_or(i64::MAX)),
            _ => self.to_f64().into_iter().map(|x| x as i64).collect(),
        }
    }

    /// Whether every number is 0.
    pub fn is_zero(&self) -> bool {
        self.to_f64().iter().all(|&x| x == 0.0)
    }
}

/// Strides of a row-major array, in numbers.
pub fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis].max(1))?;
    }
    Some(strides)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("invariant: each number has the bytes of its type")
}

/// IEEE 754 binary16 as f32, exactly.
fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
    match exponent {
        // Subnormal: fraction · 2⁻²⁴, which f32 holds as a normal number.
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

/// Anything that a file holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// Numbers with a shape.
    Array(View),
    /// A whole number, or a boolean as 0 or 1.
    Int(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
    /// Nothing, or something that has no meaning here (raw bytes, a type).
    None,
    /// A list, tuple or set.
    List(Vec<Value>),
    /// A dictionary, in its order.
    Dict(Vec<(Value, Value)>),
}

impl Value {
    /// The value of a text key of a dictionary.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Dict(entries) => entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// One number: itself, or an array of one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(x) => Some(*x as f64),
            Value::Real(x) => Some(*x),
            Value::Array(view) if view.count() == 1 => view.to_f64().first().copied(),
            _ => None,
        }
    }

    /// A count of steps: a whole number of at least 0.
    pub fn count(&self) -> Option<u64> {
        let x = self.number()?;
        (x >= 0.0 && x.fract() == 0.0 && x < 9e15).then_some(x as u64)
    }

    /// A list of numbers, or an array of one axis.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Value::List(values) => values.iter().map(Value::number).collect(),
            Value::Array(view) if view.shape.len() == 1 => Some(view.to_f64()),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes(numbers: &[f32]) -> Arc<Vec<u8>> {
        Arc::new(numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    #[test]
    fn strides_and_permutations_read_the_right_numbers() {
        let bytes = bytes(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let view = View::row_major(Element::F32, vec![2, 3], &bytes, 4).unwrap();
        assert_eq!(view.to_f64(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(view.permute(&[1, 0]).to_f64(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(view.permute(&[1, 0]).shape, [3, 2]);
        let column = View::new(Element::F32, (vec![3, 2], vec![1, 3]), &bytes, 4).unwrap();
        assert_eq!(column.to_f64(), view.permute(&[1, 0]).to_f64());
        let scalar = View::row_major(Element::F32, vec![], &bytes, 24).unwrap();
        assert_eq!(scalar.to_f64(), [6.0]);
        assert!(View::row_major(Element::F32, vec![0, 5], &bytes, 0).unwrap().to_f64().is_empty());
    }

    #[test]
    fn sizes_beyond_the_bytes_are_refused() {
        let bytes = bytes(&[0.0; 6]);
        for (shape, strides) in [
            (vec![7], vec![1]),
            (vec![2, 3], vec![4, 1]),
            (vec![1000], vec![0]),
            (vec![usize::MAX, 2], vec![1, 1]),
            (vec![2, 2], vec![usize::MAX, usize::MAX]),
            (vec![2], vec![]),
            (vec![1; 17], vec![1; 17]),
        ] {
            assert!(View::new(Element::F32, (shape.clone(), strides), &bytes, 0).is_err(), "{shape:?}");
        }
        assert!(View::row_major(Element::F32, vec![2], &bytes, usize::MAX).is_err());
    }

    #[test]
    fn halves_are_widened_exactly() {
        let known = [
            (0x3c00, 1.0f32),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x8000, -0.0),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, expected) in known {
            assert_eq!(f16_to_f32(bits).to_bits(), expected.to_bits(), "{bits:#x}");
        }
        assert!(f16_to_f32(0x7e00).is_nan());
    }
}
