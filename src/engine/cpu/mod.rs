//! The operations, one file each: formula, shapes, forward, hand-derived backward, test.

pub(crate) mod activation;
mod attend;
pub(crate) mod attention;
pub(crate) mod change;
pub(crate) mod dropout;
pub(crate) mod embed;
pub(crate) mod factor;
pub(crate) mod formula;
pub(crate) mod gain;
pub(crate) mod join;
pub(crate) mod lanes;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod matmul;
pub(crate) mod mix;
pub(crate) mod one_hot;
pub(crate) mod pre_norm;
pub(crate) mod product;
pub(crate) mod reals;
pub(crate) mod rotary;
pub(crate) mod scores;
pub(crate) mod select;
pub(crate) mod sinusoid;
pub(crate) mod softmax;
pub(crate) mod solu;
pub(crate) mod sum;
pub(crate) mod tied;

use std::ops::Range;

/// Columns that one owner of a crossing gradient has.
const OWNED_COLUMNS: usize = 64;

/// Owners of a gradient `width` wide.
fn column_blocks(width: usize) -> usize {
    width.div_ceil(OWNED_COLUMNS)
}

/// The columns of `owner`.
fn columns(owner: usize, width: usize) -> Range<usize> {
    owner * OWNED_COLUMNS..((owner + 1) * OWNED_COLUMNS).min(width)
}
