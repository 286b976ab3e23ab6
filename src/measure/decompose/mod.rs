//! One matrix with a residue a row, taken apart by PCA, NMF, ICA and t-SNE, and each part held against Fourier waves.
//!
//! Reads `x_pd` `[p, d]`; writes components `[p]`, each with the frequency that has most of its power and that frequency's share. What
//! the four methods share is here: order and sign of components, and columns. Randomness is of seed 0 and named streams, loops
//! are serial, and the number of iterations is fixed, so that the bits depend on the matrix alone.
//!
//! A picture that compares the methods reads, of measure `decompose_MATRIX`, the columns `METHOD_1`, `METHOD_2` (curves over the residue,
//! or one against the other), their `METHOD_i_freq` and `METHOD_i_frac`, and the scalars `METHOD_frac`, `pca_explained_frac`,
//! `nmf_explained_frac`, `fourier_explained_frac`, with METHOD one of `pca`, `nmf`, `ica`, `tsne`. All have one step, the last.

mod ica;
mod nmf;
mod tsne;

use crate::measure::fourier::{Basis, single_frequency};
use crate::measure::group::Group;
use crate::measure::pca::{Rows, sign};
use crate::measure::{Axis, Column};

/// Components of PCA, NMF and ICA; three waves have six directions.
pub const COMPONENTS: usize = 6;
/// Dimensions of t-SNE.
const MAP: usize = 2;
const METHODS: [(&str, usize); 4] = [("pca", COMPONENTS), ("nmf", COMPONENTS), ("ica", COMPONENTS), ("tsne", MAP)];

/// What every measure of this kind explains after its first sentences.
///
/// It begins without the two spaces that it is to be indented by.
pub const EXPLAIN: &str = "\
  pca: principal components (columns around their means), by variance: coordinates of the residues.
  nmf: X = W H with no negative number, every column less its least number, Lee and Seung's multiplicative updates (500)
  of the squared error from random positive numbers (stream `measure/nmf` of seed 0); columns of W, by the norm of their
  part in X, rows of H having norm 1.
  ica: FastICA, symmetric, g = tanh, on the 6 whitened principal components (start: stream `measure/ica` of seed 0;
  until no direction turns by more than 1e-10, at most 1000 rounds); sources of variance 1, by their part in X.
  tsne: exact t-SNE into 2 dimensions, residues as points, perplexity 30 or (p-1)/3 if that is less, from the first two
  principal components; 250 steps with exaggeration 12, then 750, as scikit-learn takes them.
  METHOD_i is component i over the residue, with the sign that makes its number of largest magnitude positive.
  METHOD_i_freq is the frequency with most of its power around its mean, METHOD_i_frac that frequency's share of it;
  METHOD_frac is the mean share over the method's components. pca_explained_frac (ICA has the same) and
  nmf_explained_frac are shares of the matrix's variance that the 6 components have together;
  fourier_explained_frac that of cosine and sine of the 3 strongest frequencies: as many directions.
  For x*y and x/y the rows are residues g^0 to g^(p-2), g the smallest primitive root: the waves run over log_g of the
  residue, p-1 stands for p, and 0 is left out; ticks are the residues in this order.
  Missing components (a matrix of fewer columns) have no value. Taken at the last checkpoint of the range alone.";

/// Units and known values, the same for every matrix.
pub const EXPLAIN_END: &str = "\
Unit and range
  Components: the matrix's unit (ICA and t-SNE: none), by residue. freq: waves per p. frac: fraction, 0 to 1.
Value at a known point
  A matrix whose columns are waves of three frequencies: every pca_i_frac 1 (of different heights), explained_frac 1.
  Columns that are each a mixture of waves of equal height: PCA mixes frequencies; normal noise at p = 113: about 0.08
  for every component of every method.
Source
  Fourier: Nanda et al. 2023 (arXiv 2301.05217). NMF: Lee and Seung 2001. FastICA: Hyvarinen 1999. t-SNE: van der
  Maaten and Hinton 2008. Comparing them is what a reader who did not know of the waves would try first.";

/// The columns of every measure of this kind.
pub fn columns(group: &Group) -> Vec<Column> {
    let axis = Axis { name: "residue".into(), ticks: group.residues.iter().map(|&residue| residue as f64).collect() };
    let mut columns = vec![
        Column::scalar("fourier_explained_frac", "fraction"),
        Column::scalar("pca_explained_frac", "fraction"),
        Column::scalar("nmf_explained_frac", "fraction"),
    ];
    columns.extend(METHODS.map(|(method, _)| Column::scalar(&format!("{method}_frac"), "fraction")));
    for (method, n) in METHODS {
        for i in 1..=n {
            columns.push(Column::along(&format!("{method}_{i}"), "1", axis.clone()));
            columns.push(Column::scalar(&format!("{method}_{i}_freq"), "waves/p"));
            columns.push(Column::scalar(&format!("{method}_{i}_frac"), "fraction"));
        }
    }
    columns
}

/// The numbers of [`columns`] for one matrix.
pub fn eval(x_pd: &[f64], p: usize) -> Vec<Vec<f64>> {
    let parts = Parts::new(x_pd, p);
    let basis = Basis::new(p);
    let mut methods = [parts.pca, parts.nmf, parts.ica, parts.tsne];
    let (mut means, mut each) = (vec![], vec![]);
    for (components, (_, n)) in methods.iter_mut().zip(METHODS) {
        let (mut sum, there) = (0.0, components.len());
        components.resize(n, vec![f64::NAN; p]);
        for (i, component_p) in components.iter_mut().enumerate() {
            let (freq, frac) = single_frequency(&basis, component_p);
            let sign = sign(component_p);
            component_p.iter_mut().for_each(|x| *x *= sign);
            sum += if i < there { frac } else { 0.0 };
            each.extend([component_p.clone(), vec![if freq == 0 { f64::NAN } else { freq as f64 }], vec![frac]]);
        }
        means.push(vec![sum / there as f64]);
    }
    let mut out = vec![vec![fourier_explained(&basis, x_pd)], vec![parts.pca_explained], vec![parts.nmf_explained]];
    out.extend(means);
    out.extend(each);
    out
}

/// Components `[p]` by method.
struct Parts {
    pca: Vec<Vec<f64>>,
    nmf: Vec<Vec<f64>>,
    ica: Vec<Vec<f64>>,
    tsne: Vec<Vec<f64>>,
    pca_explained: f64,
    nmf_explained: f64,
}

impl Parts {
    fn new(x_pd: &[f64], p: usize) -> Parts {
        let d = x_pd.len() / p;
        let rows = Rows::new(x_pd, p);
        let centered_pd = &rows.centered_pd;
        let variance: f64 = centered_pd.iter().map(|x| x * x).sum();
        let k = rows.values_k.len().min(COMPONENTS);
        let pca: Vec<Vec<f64>> = (0..k).map(|i| rows.scores_p(i)).collect();
        let captured: f64 = rows.values_k[..k].iter().map(|x| x * x).sum();
        let white_kp: Vec<f64> = rows.left_kp[..k].iter().flatten().map(|x| x * (p as f64).sqrt()).collect();
        let mut ica: Vec<Vec<f64>> = ica::sources(&white_kp, k, p).chunks_exact(p).map(<[f64]>::to_vec).collect();
        sort_by_part(&mut ica, |source_p| part(source_p, centered_pd, d));
        let lifted_pd = lifted(x_pd, d);
        let factors = nmf::factors(&lifted_pd, p, k);
        Parts {
            tsne: tsne::map(centered_pd, p, &pca),
            pca,
            ica,
            nmf_explained: 1.0 - factors.square_error(&lifted_pd) / variance,
            nmf: factors.components(),
            pca_explained: captured / variance,
        }
    }
}

/// Σ over columns of (component · column)².
fn part(component_p: &[f64], x_pd: &[f64], d: usize) -> f64 {
    let mut along_d = vec![0.0; d];
    for (weight, row_d) in component_p.iter().zip(x_pd.chunks_exact(d)) {
        along_d.iter_mut().zip(row_d).for_each(|(sum, x)| *sum += weight * x);
    }
    along_d.iter().map(|x| x * x).sum()
}

fn sort_by_part(components: &mut Vec<Vec<f64>>, part: impl Fn(&[f64]) -> f64) {
    let mut keyed: Vec<(f64, Vec<f64>)> = components.drain(..).map(|component| (part(&component), component)).collect();
    keyed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    components.extend(keyed.into_iter().map(|(_, component)| component));
}

/// Every column less its least number.
fn lifted(x_pd: &[f64], d: usize) -> Vec<f64> {
    let least = |i: usize| x_pd.iter().skip(i).step_by(d).copied().fold(f64::INFINITY, f64::min);
    let least_d: Vec<f64> = (0..d).map(least).collect();
    x_pd.iter().enumerate().map(|(i, x)| x - least_d[i % d]).collect()
}

/// Share of the variance in cosine and sine of the strongest frequencies, as many directions as [`COMPONENTS`].
fn fourier_explained(basis: &Basis, x_pd: &[f64]) -> f64 {
    let mut power: Vec<f64> = basis.freq_norms(x_pd).iter().map(|norm| norm * norm).collect();
    power.sort_by(|one, other| other.total_cmp(one));
    let (total, squares) = (power.iter().sum::<f64>(), x_pd.iter().map(|x| x * x).sum::<f64>());
    // Below this, what varies is rounding.
    if total > 1e-24 * squares { power.iter().take(COMPONENTS / 2).sum::<f64>() / total } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::fixture::close;
    use crate::measure::tests_circuits::fixture;

    const WHY: &str = "if the definition changed on purpose, run tests/fixtures/decompositions.py again";

    /// The numbers of a column.
    fn column(x_pd: &[f64], p: usize, name: &str) -> Vec<f64> {
        let group = Group::new(p, None).expect("all residues");
        let at = columns(&group).iter().position(|column| column.name == name).expect("there is such a column");
        eval(x_pd, p)[at].clone()
    }

    #[test]
    fn waves_of_three_heights_are_single_frequencies_for_every_method_that_sees_lines() {
        let p = 31;
        let wave = |k: usize, a: usize, by: f64| (std::f64::consts::TAU * ((k * a) % p) as f64 / p as f64 + by).cos();
        // Each wave has its two directions, which no other wave shares.
        let row = |a: usize| [(3, 4.0), (8, 2.0), (11, 1.0)].map(|(k, h)| [h * wave(k, a, 0.0), h * wave(k, a, 1.0)]);
        let x_pd: Vec<f64> = (0..p).flat_map(|a| row(a).concat()).collect();
        for method in ["pca", "ica"] {
            assert!((column(&x_pd, p, &format!("{method}_frac"))[0] - 1.0).abs() < 1e-6, "{method}");
        }
        let freqs: Vec<f64> = (1..=6).map(|i| column(&x_pd, p, &format!("pca_{i}_freq"))[0]).collect();
        assert_eq!(freqs, [3.0, 3.0, 8.0, 8.0, 11.0, 11.0]);
        for name in ["fourier_explained_frac", "pca_explained_frac"] {
            assert!((column(&x_pd, p, name)[0] - 1.0).abs() < 1e-12, "{name}");
        }
        assert!(column(&x_pd, p, "tsne_1").iter().all(|x| x.is_finite()));
    }

    #[test]
    fn a_matrix_of_one_column_has_one_component_and_a_constant_one_none() {
        let x: Vec<f64> = (0..5).map(|a| (std::f64::consts::TAU * f64::from(a) / 5.0).cos()).collect();
        assert!((column(&x, 5, "pca_1_frac")[0] - 1.0).abs() < 1e-12);
        assert!(column(&x, 5, "pca_2")[0].is_nan() && column(&x, 5, "tsne_1")[0].is_nan());
        assert!((column(&x, 5, "nmf_explained_frac")[0] - 1.0).abs() < 1e-9);
        assert!(eval(&[2.0; 10], 5).iter().flatten().all(|x| x.is_nan()));
        assert!(eval(&[f64::NAN; 35], 5)[1][0].is_nan());
    }

    #[test]
    fn numpy_gives_the_same_components() {
        let (x, p) = (fixture("x").to_f64(), 13);
        let pca: Vec<f64> = (1..=6).flat_map(|i| column(&x, p, &format!("pca_{i}"))).collect();
        assert!(close(&pca, &fixture("x.pca").to_f64(), 1e-10), "{pca:?}: {WHY}");
        for name in ["freq", "frac"] {
            let got: Vec<f64> = (1..=6).map(|i| column(&x, p, &format!("pca_{i}_{name}"))[0]).collect();
            assert!(close(&got, &fixture(&format!("x.pca_{name}")).to_f64(), 1e-8), "{name} {got:?}: {WHY}");
        }
        for name in ["pca_explained_frac", "fourier_explained_frac"] {
            assert!(close(&column(&x, p, name), &fixture(&format!("x.{name}")).to_f64(), 1e-12), "{name}: {WHY}");
        }
    }

    #[test]
    fn scikit_learn_gives_the_same_factors() {
        let get = |name: &str| fixture(&format!("nmf.{name}")).to_f64();
        let found = nmf::from_start(&get("x"), get("w_start"), get("h_start"), 3);
        let [w, h] = found.both();
        assert!(close(w, &get("w"), 1e-8), "{w:?}: {WHY}");
        assert!(close(h, &get("h"), 1e-8), "{h:?}: {WHY}");
    }

    #[test]
    fn scikit_learn_finds_the_same_sources() {
        let (x, n, d) = (fixture("ica.mixed").to_f64(), 80, 4);
        let parts = Parts::new(&x, n);
        assert_eq!((x.len(), parts.ica.len()), (n * d, 3));
        let expected = fixture("ica.sources").to_f64();
        for i in 0..3 {
            let theirs: Vec<f64> = expected.iter().skip(i).step_by(3).copied().collect();
            let product = |ours: &Vec<f64>| ours.iter().zip(&theirs).map(|(x, y)| x * y).sum::<f64>().abs() / n as f64;
            let best = parts.ica.iter().map(product).fold(0.0, f64::max);
            assert!((best - 1.0).abs() < 1e-6, "source {i}: {best}: {WHY}");
        }
    }

    #[test]
    fn scikit_learn_maps_as_well() {
        let (x, p) = (fixture("tsne.x").to_f64(), 24);
        let start = fixture("tsne.start").to_f64();
        let start: Vec<Vec<f64>> = (0..2).map(|i| start.iter().skip(i).step_by(2).copied().collect()).collect();
        let ours = tsne::map(&x, p, &start);
        let y_p2: Vec<[f64; 2]> = ours[0].iter().zip(&ours[1]).map(|(x, y)| [*x, *y]).collect();
        let (joint, divergence) = tsne::tests::joint_and_divergence(&x, &y_p2);
        // Their bisection ends at an entropy that is right to 1e-5, in f32.
        for (ours, theirs) in joint.iter().zip(fixture("tsne.joint").to_f64()) {
            assert!((ours - theirs).abs() < 1e-7, "{ours} against {theirs}: {WHY}");
        }
        let theirs = fixture("tsne.divergence").to_f64()[0];
        assert!((divergence / theirs - 1.0).abs() < 0.02, "{divergence} against {theirs}: {WHY}");
    }
}
