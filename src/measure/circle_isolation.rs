//! `circle_isolation`: what a model answers when its embedding keeps one circle alone, and which formula that is.
//!
//! Reads W_E and the logits of models whose W_E was projected on two of its principal components; writes numbers a circle.
//! Source: arXiv 2306.17844, section 4.

use std::f64::consts::PI;

use crate::engine::simd::{self, vectorized};
use crate::error::Result;
use crate::measure::fourier::{Basis, single_frequency};
use crate::measure::group::{self, Group, Pairs};
use crate::measure::loss::is_right;
use crate::measure::pca;
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::{w_e, w_e_fits};
use crate::measure::{Axis, Column, Measure, Scope};
use crate::tensor::{Data, Tensor};

/// One circle of the embedding at a time.
pub struct CircleIsolation;

/// Circles, each of two principal components; one forward pass each.
const CIRCLES: usize = 4;
const W_E: &str = "embed.W_E";

const EXPLAIN: &str = "\
What it is
  The embedding of the residues is taken apart into principal components (residues as points, around their mean);
  components 1 and 2 are circle 1, components 3 and 4 circle 2, up to 4. Then the model runs with every residue's
  embedding replaced by the mean plus its part in one circle, other tokens as they are, and its logits are compared
  with two formulas at the circle's frequency k, the strongest of its two components, w = 2 pi k / p:
  clock_fve is the fraction of the variance of the logits (all pairs, all p classes together) that cos w(a+b-c)
  explains, pizza_fve that of |cos(w(a-b)/2)| cos w(a+b-c): squared correlations, so both are standardised first.
  For x-y read -b for b; for x*y and x/y, a, b and c are discrete logarithms, p-1 stands for p, and 0 is left out.
  acc_frac is the accuracy over all pairs with the circle alone, as loss has it. explained_frac is the circle's share
  of the embedding's variance, fourier_frac the share of its frequency in its own variance. circularity is the mean
  over the first 4 components of the largest share that a single frequency has. Components below 1e-10 of the largest
  are rounding, and none.
  Taken at the last checkpoint of the range alone: give --to for another.
Reads
  embed.W_E, rows 0 to p-1 (1 to p-1 for x*y and x/y); the logits of 4 further forward passes over all pairs, in the
  precision that the run was trained in.
Unit and range
  frequency: waves per p. The others: fraction, 0 to 1. No value where the embedding has fewer components, or where a
  number on the way is not finite.
Value at a known point
  One circle whose model multiplies angles (logits cos w(a+b-c)): clock_fve 1. One that adds embeddings and takes
  the absolute value: pizza_fve 1. The other formula then has 0.81 (p = 59).
Source
  Zhong et al. 2023 (arXiv 2306.17844), sections 4.2 and 5: its pizza has 99 % at each circle. The paper names circles
  by eye; the pairing of neighbouring components is its published code's.";

impl Measure for CircleIsolation {
    fn name(&self) -> &'static str {
        "circle_isolation"
    }

    fn summary(&self) -> &'static str {
        "the logits of one circle of the embedding at a time, against the formulas of clock and pizza"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        group::sum_fits(setting)?;
        w_e_fits(setting)?;
        match setting.shape("unembed.W_U") {
            Some(_) => Ok(()),
            None => Err("the unembedding is not a matrix of its own, so that W_E cannot be changed alone".into()),
        }
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        let axis = || Axis { name: "circle".into(), ticks: (1..=CIRCLES).map(|i| i as f64).collect() };
        let fraction = |name: &str| Column::along(name, "fraction", axis());
        vec![
            Column::along("frequency", "waves/p", axis()),
            fraction("explained_frac"),
            fraction("fourier_frac"),
            fraction("acc_frac"),
            fraction("clock_fve"),
            fraction("pizza_fve"),
            Column::scalar("circularity", "fraction"),
        ]
    }

    fn scope(&self) -> Scope<'_> {
        Scope::Last
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let (group, pairs) = subject.pairs()?;
        let embedding = Embedding {
            rows: pca::Rows::new(&w_e(subject.params, &group)?, group.order),
            basis: Basis::new(group.order),
            group,
            pairs,
        };
        let mut columns = vec![vec![f64::NAN; CIRCLES]; 6];
        for circle in 0..CIRCLES.min(embedding.rows.values_k.len() / 2) {
            let numbers = isolate(subject, &embedding, circle)?;
            columns.iter_mut().zip(numbers).for_each(|(column, x)| column[circle] = x);
        }
        let of_one = |i: usize| single_frequency(&embedding.basis, &embedding.rows.scores_p(i)).1;
        let components = embedding.rows.values_k.len().min(4);
        columns.push(vec![(0..components).map(of_one).sum::<f64>() / components as f64]);
        Ok(columns)
    }
}

/// Residues' embeddings in principal components, and the pairs that the logits are of.
struct Embedding {
    group: Group,
    pairs: Pairs,
    rows: pca::Rows,
    basis: Basis,
}

impl Embedding {
    /// `[order, d]`: the mean and the part in components `2 circle` and `2 circle + 1`.
    fn circle_pd(&self, circle: usize) -> Vec<f64> {
        let mut out_pd = self.rows.mean_d.repeat(self.group.order);
        for i in [2 * circle, 2 * circle + 1] {
            let direction_d = &self.rows.right_kd[i];
            for (row_d, score) in out_pd.chunks_exact_mut(direction_d.len()).zip(self.rows.scores_p(i)) {
                row_d.iter_mut().zip(direction_d).for_each(|(x, direction)| *x += score * direction);
            }
        }
        out_pd
    }

    /// The parameters with that in place of the residues' embeddings.
    fn with_circle(&self, params: &[Tensor], circle: usize) -> Result<Vec<Tensor>> {
        let d = self.rows.mean_d.len();
        let circle_pd = self.circle_pd(circle);
        let change = |tensor: &Tensor| {
            if tensor.name != W_E {
                return Ok(tensor.clone());
            }
            let mut values = tensor.to_f64();
            for (&residue, row_d) in self.group.residues.iter().zip(circle_pd.chunks_exact(d)) {
                values[residue * d..][..d].copy_from_slice(row_d);
            }
            Tensor::new(W_E, tensor.shape.clone(), Data::F64(values))
        };
        params.iter().map(change).collect()
    }
}

/// The numbers of one circle, in the order of the columns.
fn isolate(subject: &Subject, embedding: &Embedding, circle: usize) -> Result<[f64; 6]> {
    let both = [2 * circle, 2 * circle + 1];
    let scores_p2: Vec<f64> = {
        let [one, two] = both.map(|i| embedding.rows.scores_p(i));
        one.into_iter().zip(two).flat_map(|(x, y)| [x, y]).collect()
    };
    let (k, fourier_frac) = single_frequency(&embedding.basis, &scores_p2);
    let values_k = &embedding.rows.values_k;
    let square = |i: usize| values_k[i] * values_k[i];
    let total: f64 = (0..values_k.len()).map(square).sum();
    let explained_frac = both.map(square).iter().sum::<f64>() / total;
    let params = embedding.with_circle(subject.params, circle)?;
    let logits = &subject.model.logits(&params)?;
    let examples = &subject.setting.examples;
    let right =
        logits.chunks_exact(examples.n_classes).zip(examples.targets).map(|(row, &target)| is_right(row, target));
    let acc_frac = right.sum::<f64>() / examples.n_examples as f64;
    let [clock, pizza] = explained(embedding, (logits, examples.n_classes), k);
    Ok([if k == 0 { f64::NAN } else { k as f64 }, explained_frac, fourier_frac, acc_frac, clock, pizza])
}

/// Fractions of the variance of the logits that the formulas of clock and pizza explain.
fn explained(Embedding { group, pairs, .. }: &Embedding, (logits, n_classes): (&[f64], usize), k: usize) -> [f64; 2] {
    let n = group.order;
    // cos of k steps of x, `per` steps a turn.
    let cosines =
        |per: usize| -> Vec<f64> { (0..n).map(|x| (2.0 * PI * (k * x % per) as f64 / per as f64).cos()).collect() };
    // Half the angle of the distance: a turn has 2n steps.
    let (whole, half) = (cosines(n), cosines(2 * n));
    // cos of k (s − c) steps over c begins, in this list, n − 1 − s from its start.
    let falling: Vec<f64> = whole.iter().rev().chain(whole.iter().rev()).copied().collect();
    let in_order = group.residues.iter().copied().eq(0..n);
    let (mut row_c, mut sums) = (vec![0.0; n], [Moments::default(); 2]);
    let (wave, wave_squares) = (whole.iter().sum::<f64>(), whole.iter().map(|x| x * x).sum::<f64>());
    for (row, &pair) in logits.chunks_exact(n_classes).zip(pairs) {
        let Some(pair) = pair else { continue };
        let x = if in_order {
            &row[..n]
        } else {
            row_c.iter_mut().zip(&group.residues).for_each(|(x, &residue)| *x = row[residue]);
            &row_c
        };
        let near = half[group.difference(pair)].abs();
        let clock = &falling[n - 1 - group.sum(pair)..][..n];
        let (sum, squares, along) = vectorized!((simd::sum(x), simd::dot(x, x), simd::dot(x, clock)));
        sums[0].add(Moments { n: n as f64, x: sum, y: wave, xx: squares, xy: along, yy: wave_squares });
        let (y, xy, yy) = (near * wave, near * along, near * near * wave_squares);
        sums[1].add(Moments { n: n as f64, x: sum, y, xx: squares, xy, yy });
    }
    sums.map(Moments::square_correlation)
}

/// Sums over pairs of numbers.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Moments {
    fn add(&mut self, other: Moments) {
        self.n += other.n;
        self.x += other.x;
        self.y += other.y;
        self.xx += other.xx;
        self.xy += other.xy;
        self.yy += other.yy;
    }

    fn square_correlation(self) -> f64 {
        let of = |xy: f64, x: f64, y: f64| xy - x * y / self.n;
        let (xx, xy, yy) = (of(self.xx, self.x, self.x), of(self.xy, self.x, self.y), of(self.yy, self.y, self.y));
        // Below this, what varies is rounding.
        if xx > 1e-12 * self.xx { xy * xy / (xx * yy) } else { f64::NAN }
    }
}
