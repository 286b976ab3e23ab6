//! Picks rows: from a pair table, or from a value with more positions. `y[b, i] = x[row(b, position_i)]`.
//!
//! Shapes: x `[table rows or B · more positions, width]`, y `[B · positions, width]`.
//! Backward: `dx[row] += dy`; for a table the sums cross examples and have owners (blocks of columns).

use crate::engine::ctx::Ctx;
use crate::engine::op::{Kernel, Op, Space, Tile, Value, ValueId, wiring};
use crate::engine::real::Real;
use crate::engine::simd::{add, prefetch, vectorized};

use super::{column_blocks, columns};

#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) x: ValueId,
    pub(crate) y: ValueId,
    /// For a batch-space source: its row, within an example, of each output position.
    pub(crate) rows: Vec<usize>,
}

impl Select {
    pub(crate) fn new(x: ValueId, y: ValueId) -> Select {
        Select { x, y, rows: vec![] }
    }
}

impl Op for Select {
    wiring!(inputs: x; output: y);
    fn row_wise(&self) -> bool {
        false
    }
    fn settle(&mut self, values: &[Value]) {
        if let (Space::Batch(from), Space::Batch(to)) = (&values[self.x].space, &values[self.y].space) {
            let find = |t| from.iter().position(|f| f == t).expect("invariant: a selection is part of its source");
            self.rows = to.iter().map(find).collect();
        }
    }
}

/// For each row of a tile the row of the table, and the one that is needed some rows later: tables are larger than the nearest caches.
#[inline(always)]
fn table_rows<T: Real>(c: &Ctx<'_, T>, tile: Tile, positions: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    const AHEAD: usize = 8;
    let rows = tile.flat_map(
        #[inline(always)]
        move |b| {
            positions.iter().map(
                #[inline(always)]
                move |&t| c.pair(b, t),
            )
        },
    );
    let ahead = rows.clone().skip(AHEAD).map(Some).chain(std::iter::repeat(None));
    rows.zip(ahead).map(
        #[inline(always)]
        |(row, ahead)| (row, ahead.unwrap_or(row)),
    )
}

impl<T: Real> Kernel<T> for Select {
    fn forward(&self, c: &Ctx<'_, T>, tile: Tile) {
        let (y, width, positions) = (c.value_mut(self.y, &tile), c.width(self.y), c.positions(self.y));
        if c.is_table(self.x) {
            let x = c.table(self.x);
            let row = |row: usize| &x[row * width..(row + 1) * width];
            for (y, (from, ahead)) in y.chunks_exact_mut(width).zip(table_rows(c, tile, positions)) {
                prefetch(row(ahead));
                y.copy_from_slice(row(from));
            }
        } else {
            let (x, per_example) = (c.value(self.x, &tile), c.positions(self.x).len());
            for (b, y) in y.chunks_exact_mut(width * positions.len()).enumerate() {
                for (y, row) in y.chunks_exact_mut(width).zip(&self.rows) {
                    let at = (b * per_example + row) * width;
                    y.copy_from_slice(&x[at..at + width]);
                }
            }
        }
    }

    fn backward(&self, c: &Ctx<'_, T>, tile: Tile) {
        if c.is_table(self.x) {
            return;
        }
        let Some((dx, adding)) = c.input_grad(0, &tile) else {
            return;
        };
        if !adding {
            dx.fill(T::ZERO);
        }
        let (dy, width) = (c.grad(self.y, &tile), c.width(self.y));
        let per_example = c.positions(self.x).len();
        vectorized!({
            for (b, dy) in dy.chunks_exact(width * self.rows.len()).enumerate() {
                for (dy, row) in dy.chunks_exact(width).zip(&self.rows) {
                    let at = (b * per_example + row) * width;
                    add(&mut dx[at..at + width], dy);
                }
            }
        });
    }

    fn owners(&self, c: &Ctx<'_, T>) -> usize {
        if c.is_table(self.x) && c.wants_grad(0) { column_blocks(c.width(self.y)) } else { 0 }
    }

    fn reduce(&self, c: &Ctx<'_, T>, tile: Tile, owner: usize) {
        let (width, positions) = (c.width(self.y), c.positions(self.y));
        let cols = columns(owner, width);
        let dy = c.grad(self.y, &tile);
        vectorized!({
            for (dy, (row, ahead)) in dy.chunks_exact(width).zip(table_rows(c, tile, positions)) {
                prefetch(c.table_grad(self.x, ahead, cols.clone()));
                add(c.table_grad(self.x, row, cols.clone()), &dy[cols.clone()]);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::check::OpCheck;
    use crate::engine::cpu::join::Join;
    use crate::engine::cpu::sum::Sum;
    use crate::spec;

    /// The join reads other positions of x than the sum, so the sum gets a selection of them.
    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut check = OpCheck::new(3, 4);
        let x = check.input(&[5]);
        let joined = check.value_at(&[5], vec![1, 3]);
        let y = check.value_at(&[5], vec![1, 3]);
        let join = Join { x, y: joined, positions: vec![0, 2], how: spec::Join::Sum };
        check.assert_gradients_through(vec![Box::new(join), Box::new(Sum { a: x, b: joined, y })], y);
    }
}
