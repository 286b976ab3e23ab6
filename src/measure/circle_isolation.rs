//! `circle_isolation`: what a model answers when its embedding keeps one circle alone, and which formula that is.
//!
//! Reads W_E and the logits of models whose W_E was projected on two of its principal components; writes numbers a circle.
//! Source: arXiv 2306.17844, section 4.

use std::f64::consts::PI;

use crate::engine::{Hook, LOSS_LOGITS};
use crate::error::Result;
use crate::linalg::svd;
use crate::measure::fourier::{Basis, single_frequency};
use crate::measure::loss::argmax;
use crate::measure::pairs::{self, sum_and_distance};
use crate::measure::subject::{Activation, Setting, Subject};
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
  For x-y read -b for b. acc_frac is the accuracy over all pairs with the circle alone. explained_frac is the circle's
  share of the embedding's variance, fourier_frac the share of its frequency in its own variance. circularity is the
  mean over the first 4 components of the largest share that a single frequency has.
  Taken at the last checkpoint of the range alone: give --to for another.
Reads
  embed.W_E, rows 0 to p-1; the logits of 4 further forward passes over all pairs.
Unit and range
  frequency: waves per p. The others: fraction, 0 to 1. No value where the embedding has fewer components.
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
        pairs::fits(setting)?;
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
        let group = subject.group()?;
        let w_e = w_e(subject.params, &group)?;
        let embedding = Embedding::new(&w_e, group.order);
        let mut columns = vec![vec![f64::NAN; CIRCLES]; 6];
        for circle in 0..CIRCLES.min(embedding.values_k.len() / 2) {
            let numbers = isolate(subject, &embedding, circle)?;
            columns.iter_mut().zip(numbers).for_each(|(column, x)| column[circle] = x);
        }
        let of_one = |i: usize| single_frequency(&embedding.basis, &embedding.scores_p(i)).1;
        let components = embedding.values_k.len().min(4);
        columns.push(vec![(0..components).map(of_one).sum::<f64>() / components as f64]);
        Ok(columns)
    }
}

/// Residues' embeddings in principal components.
struct Embedding {
    p: usize,
    d: usize,
    mean_d: Vec<f64>,
    /// Singular values of the centred embedding.
    values_k: Vec<f64>,
    /// `[p, k]`, columns of norm 1.
    left_pk: Vec<f64>,
    /// `[k, d]`
    right_kd: Vec<f64>,
    basis: Basis,
}

impl Embedding {
    fn new(w_e_pd: &[f64], p: usize) -> Embedding {
        let d = w_e_pd.len() / p;
        let mean_d: Vec<f64> = (0..d).map(|i| w_e_pd.iter().skip(i).step_by(d).sum::<f64>() / p as f64).collect();
        let centered_pd: Vec<f64> = w_e_pd.iter().enumerate().map(|(i, x)| x - mean_d[i % d]).collect();
        let found = svd(&centered_pd, p, d);
        let (values_k, left_pk, right_kd) = (found.values_k, found.left_rk, found.right_kc);
        Embedding { p, d, mean_d, values_k, left_pk, right_kd, basis: Basis::new(p) }
    }

    /// The residues along component `i`.
    fn scores_p(&self, i: usize) -> Vec<f64> {
        self.left_pk.iter().skip(i).step_by(self.values_k.len()).map(|x| x * self.values_k[i]).collect()
    }

    /// `[p, d]`: the mean and the part in components `2 circle` and `2 circle + 1`.
    fn circle_pd(&self, circle: usize) -> Vec<f64> {
        let mut out_pd = self.mean_d.repeat(self.p);
        for i in [2 * circle, 2 * circle + 1] {
            let direction_d = &self.right_kd[i * self.d..(i + 1) * self.d];
            for (row_d, score) in out_pd.chunks_exact_mut(self.d).zip(self.scores_p(i)) {
                row_d.iter_mut().zip(direction_d).for_each(|(x, direction)| *x += score * direction);
            }
        }
        out_pd
    }
}

/// The numbers of one circle, in the order of the columns.
fn isolate(subject: &Subject, embedding: &Embedding, circle: usize) -> Result<[f64; 6]> {
    let both = [2 * circle, 2 * circle + 1];
    let scores_p2: Vec<f64> = {
        let [one, two] = both.map(|i| embedding.scores_p(i));
        one.into_iter().zip(two).flat_map(|(x, y)| [x, y]).collect()
    };
    let (k, fourier_frac) = single_frequency(&embedding.basis, &scores_p2);
    let square = |i: usize| embedding.values_k[i] * embedding.values_k[i];
    let total: f64 = (0..embedding.values_k.len()).map(square).sum();
    let explained_frac = both.map(square).iter().sum::<f64>() / total;
    let logits =
        subject.model.observe(&changed(subject.params, &embedding.circle_pd(circle))?, &[Hook::value(LOSS_LOGITS)])?;
    let logits = logits.first().map(Activation::of).transpose()?.map_or(&[][..], |found| found.values);
    let examples = &subject.setting.examples;
    let right = logits.chunks_exact(examples.n_classes).zip(examples.targets);
    let right = right.filter(|&(row, &target)| argmax(row) == target as usize).count();
    let [clock, pizza] = explained(subject, logits, k)?;
    Ok([k as f64, explained_frac, fourier_frac, right as f64 / examples.n_examples as f64, clock, pizza])
}

/// The parameters with other embeddings of the residues.
fn changed(params: &[Tensor], w_e_pd: &[f64]) -> Result<Vec<Tensor>> {
    let change = |tensor: &Tensor| {
        if tensor.name != W_E {
            return Ok(tensor.clone());
        }
        let mut values = tensor.to_f64();
        values[..w_e_pd.len()].copy_from_slice(w_e_pd);
        Tensor::new(W_E, tensor.shape.clone(), Data::F64(values))
    };
    params.iter().map(change).collect()
}

/// Fractions of the variance of the logits that the formulas of clock and pizza explain.
fn explained(subject: &Subject, logits: &[f64], k: usize) -> Result<[f64; 2]> {
    let modular = subject.modular()?;
    let (p, n_classes) = (modular.p, subject.setting.examples.n_classes);
    let cos = |turns: usize, per: usize| (2.0 * PI * (turns % per) as f64 / per as f64).cos();
    let mut sums = [Moments::default(); 2];
    for (row, &pair) in logits.chunks_exact(n_classes).zip(modular.pairs) {
        let (sum, distance) = sum_and_distance(&modular, pair);
        // Half the angle of the distance: a turn has 2p steps.
        let near = cos(k * distance, 2 * p).abs();
        for (c, &logit) in row[..p].iter().enumerate() {
            let clock = cos(k * (sum + p - c), p);
            sums[0].add(logit, clock);
            sums[1].add(logit, near * clock);
        }
    }
    Ok(sums.map(Moments::square_correlation))
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
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    fn square_correlation(self) -> f64 {
        let of = |xy: f64, x: f64, y: f64| xy - x * y / self.n;
        let (xx, xy, yy) = (of(self.xx, self.x, self.x), of(self.xy, self.x, self.y), of(self.yy, self.y, self.y));
        // Below this, what varies is rounding.
        if xx > 1e-12 * self.xx { xy * xy / (xx * yy) } else { f64::NAN }
    }
}
