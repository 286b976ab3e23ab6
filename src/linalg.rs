//! Products, singular values and eigenvalues of f64 matrices.
//!
//! Reads row-major matrices; writes values, largest first, and vectors. Serial, so that bits do not depend on the number of
//! threads. Decompositions are `faer`'s; this is the one module that knows it. A matrix with a number that is not finite has no
//! decomposition: values and vectors are then NaN.

use faer::{MatRef, Side};

use crate::engine::{Mat, matmul};

/// Thin singular value decomposition, A = U diag(σ) Vᵀ.
#[derive(Debug, Clone, PartialEq)]
pub struct Svd {
    /// `[k]` singular values, k = min(rows, columns), largest first.
    pub values_k: Vec<f64>,
    /// `[n_rows, k]` left singular vectors, one a column.
    pub left_rk: Vec<f64>,
    /// `[k, n_cols]` right singular vectors, one a row.
    pub right_kc: Vec<f64>,
}

/// Eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// `[n]` eigenvalues, largest first.
    pub values_n: Vec<f64>,
    /// `[n, n]` eigenvectors, one a row, in the order of the values.
    pub vectors_nn: Vec<f64>,
}

/// a · b, by the engine's products: serial, so that the bits depend on the shapes alone.
///
/// # Shapes
/// `a_nm` `[n, m]`, `b_mk` `[m, k]` -> `[n, k]`
pub fn product(a_nm: &[f64], b_mk: &[f64], m: usize) -> Vec<f64> {
    let (n, k) = (a_nm.len() / m.max(1), b_mk.len() / m.max(1));
    let mut out_nk = vec![0.0; n * k];
    matmul((n, k, m), &mut out_nk, k, Mat::rows(a_nm, m), Mat::rows(b_mk, k), false);
    out_nk
}

/// a · bᵀ.
///
/// # Shapes
/// `a_nm` `[n, m]`, `b_km` `[k, m]` -> `[n, k]`
pub fn product_t(a_nm: &[f64], b_km: &[f64], m: usize) -> Vec<f64> {
    let (n, k) = (a_nm.len() / m.max(1), b_km.len() / m.max(1));
    let mut out_nk = vec![0.0; n * k];
    matmul((n, k, m), &mut out_nk, k, Mat::rows(a_nm, m), Mat::rows(b_km, m).t(), false);
    out_nk
}

/// Singular values alone, largest first; min(rows, columns) of them.
///
/// # Shapes
/// `a_rc` `[n_rows, n_cols]` -> `[min(n_rows, n_cols)]`
pub fn singular_values(a_rc: &[f64], n_rows: usize, n_cols: usize) -> Vec<f64> {
    let k = n_rows.min(n_cols);
    if k == 0 {
        return vec![];
    }
    matrix(a_rc, n_rows, n_cols).and_then(|a| a.singular_values().ok()).unwrap_or_else(|| vec![f64::NAN; k])
}

/// The thin singular value decomposition.
///
/// # Shapes
/// `a_rc` `[n_rows, n_cols]` -> values `[k]`, left `[n_rows, k]`, right `[k, n_cols]`
pub fn svd(a_rc: &[f64], n_rows: usize, n_cols: usize) -> Svd {
    let k = n_rows.min(n_cols);
    let found = matrix(a_rc, n_rows, n_cols).filter(|_| k > 0).and_then(|a| a.thin_svd().ok());
    let Some(found) = found else {
        let nans = |n: usize| vec![f64::NAN; n];
        return Svd { values_k: nans(k), left_rk: nans(n_rows * k), right_kc: nans(k * n_cols) };
    };
    let (u, s, v) = (found.U(), found.S().column_vector(), found.V());
    let left = (0..n_rows).flat_map(|r| (0..k).map(move |i| u[(r, i)]));
    let right = (0..k).flat_map(|i| (0..n_cols).map(move |c| v[(c, i)]));
    Svd { values_k: (0..k).map(|i| s[i]).collect(), left_rk: left.collect(), right_kc: right.collect() }
}

/// Eigenvalues and eigenvectors of a symmetric matrix; its lower triangle is read.
///
/// # Shapes
/// `a_nn` `[n, n]` -> values `[n]`, vectors `[n, n]`
pub fn symmetric_eigen(a_nn: &[f64], n: usize) -> Eigen {
    let found = matrix(a_nn, n, n).filter(|_| n > 0).and_then(|a| a.self_adjoint_eigen(Side::Lower).ok());
    let Some(found) = found else {
        return Eigen { values_n: vec![f64::NAN; n], vectors_nn: vec![f64::NAN; n * n] };
    };
    let (u, s) = (found.U(), found.S().column_vector());
    let vectors = (0..n).rev().flat_map(|i| (0..n).map(move |r| u[(r, i)]));
    Eigen { values_n: (0..n).rev().map(|i| s[i]).collect(), vectors_nn: vectors.collect() }
}

/// The matrix as `faer` sees it; none when a number is not finite.
fn matrix(a_rc: &[f64], n_rows: usize, n_cols: usize) -> Option<MatRef<'_, f64>> {
    assert_eq!(a_rc.len(), n_rows * n_cols, "invariant: a matrix has rows times columns numbers");
    a_rc.iter().all(|x| x.is_finite()).then(|| MatRef::from_row_major_slice(a_rc, n_rows, n_cols))
}

/// Eigenvalues of any square matrix, as real and imaginary parts.
///
/// # Shapes
/// `a_nn` `[n, n]` -> `[n]`
pub fn eigenvalues(a_nn: &[f64], n: usize) -> Vec<[f64; 2]> {
    let found = matrix(a_nn, n, n).filter(|_| n > 0).and_then(|a| a.eigenvalues().ok());
    found.map_or_else(|| vec![[f64::NAN; 2]; n], |values| values.iter().map(|value| [value.re, value.im]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], expected: &[f64]) -> bool {
        got.len() == expected.len() && got.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12)
    }

    #[test]
    fn a_matrix_of_known_singular_values_tall_and_wide() {
        // diag(3, 2) between two rotations, with a row of zeros.
        let (c, s) = (0.6, 0.8);
        let tall = [3.0 * c, -2.0 * s, 3.0 * s, 2.0 * c, 0.0, 0.0];
        assert!(close(&singular_values(&tall, 3, 2), &[3.0, 2.0]));
        let wide = [tall[0], tall[2], tall[4], tall[1], tall[3], tall[5]];
        assert!(close(&singular_values(&wide, 2, 3), &[3.0, 2.0]));
        assert!(singular_values(&[], 0, 4).is_empty());
    }

    #[test]
    fn the_parts_multiply_back_to_the_matrix() {
        let (r, c) = (4, 3);
        let a: Vec<f64> = (0..r * c).map(|i| ((i * 7 + 3) % 11) as f64 - 4.0).collect();
        let svd = svd(&a, r, c);
        let entry = |i: usize, j: usize| -> f64 {
            (0..3).map(|k| svd.left_rk[i * 3 + k] * svd.values_k[k] * svd.right_kc[k * c + j]).sum()
        };
        let back: Vec<f64> = (0..r * c).map(|i| entry(i / c, i % c)).collect();
        assert!(close(&back, &a), "{back:?}");
        assert!(close(&svd.values_k, &singular_values(&a, r, c)));
        assert!(svd.values_k.is_sorted_by(|x, y| x >= y));
    }

    #[test]
    fn eigenvalues_come_largest_first_with_their_vectors() {
        let a = [2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, -5.0];
        let eigen = symmetric_eigen(&a, 3);
        assert!(close(&eigen.values_n, &[3.0, 1.0, -5.0]), "{:?}", eigen.values_n);
        for (value, v) in eigen.values_n.iter().zip(eigen.vectors_nn.chunks_exact(3)) {
            let image: Vec<f64> = a.chunks_exact(3).map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect();
            assert!(close(&image, &v.iter().map(|v| v * value).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn a_rotation_has_complex_eigenvalues() {
        let mut values = eigenvalues(&[0.0, -2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0], 3);
        values.sort_by(|a, b| a[1].total_cmp(&b[1]));
        assert!(close(&values.concat(), &[0.0, -2.0, 3.0, 0.0, 0.0, 2.0]), "{values:?}");
    }

    #[test]
    fn a_number_that_is_not_finite_spoils_the_values_and_nothing_else() {
        assert!(singular_values(&[1.0, f64::NAN], 1, 2)[0].is_nan());
        assert!(svd(&[1.0, f64::INFINITY], 2, 1).left_rk.iter().all(|x| x.is_nan()));
        assert!(symmetric_eigen(&[f64::NAN], 1).values_n[0].is_nan());
    }
}
