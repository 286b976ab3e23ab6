//! `ipr`: inverse participation ratio of the spectra of the embedding, the neuron-logit map and the neurons' weights.
//!
//! Reads W_E, W_L and the weights into the first hidden layer; writes ratios. Sources: arXiv 2301.02679, arXiv 2310.13061.

use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::group::Group;
use crate::measure::participation::{complex_powers, input_fits, input_powers, inverse_participation, powers};
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::{w_e, w_e_fits};
use crate::measure::{Column, Measure};
use crate::spec::KeyRule;

/// Inverse participation ratios of Fourier power.
pub struct Ipr;

const EXPLAIN: &str = "\
What it is
  IPR = sum_f P_f^2 / (sum_f P_f)^2 over frequencies f = 0 (the constant) to (p-1)/2, where P_f is the squared norm of
  the cos and sin components of f together, so that the phase does not matter. 1/IPR is a number of frequencies in use.
  w_e_ipr, w_l_ipr: P summed over the columns of W_E (over the token; missing where the model has none) and over the
  neurons of W_L (over the output). The term fourier_ipr_w_e is w_e_ipr without the constant.
  in_mean_ipr: mean over neurons of the IPR of each neuron's weights from the tokens (see neuron_ipr), out_mean_ipr:
  of its weights to the outputs, its row of W_L. in_mean_dft_ipr, out_mean_dft_ipr: the same over the p complex
  coefficients of the discrete Fourier transform, where k and p-k have half of a wave's power each.
Reads
  embed.W_E, W_L as key_freqs_w_l, blocks.0.mlp.W_in, W_V and W_O of block 0 where there is attention. LayerNorm
  weights are not folded in. For x*y and x/y over log_g of the residues 1 to p-1.
Unit and range
  Dimensionless, 1/(number of frequencies) to 1; no value where all weights are 0.
Value at a known point
  Gromov's analytic weights cos(2 pi k n/p + phi), one k a neuron: in and out 1, dft 1/2; w_e_ipr 1/m for m
  frequencies of equal norm. Independent normal weights: about 4/p for one neuron.
Source
  Gromov 2023 (arXiv 2301.02679); Doshi et al. 2023 (arXiv 2310.13061), who take it neuron by neuron, with exponent r
  = 2.";

impl Measure for Ipr {
    fn name(&self) -> &'static str {
        "ipr"
    }

    fn summary(&self) -> &'static str {
        "concentration of Fourier power: embedding, neuron-logit map, neurons (inverse participation ratio)"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WL.fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let input = ["in_mean_ipr", "in_mean_dft_ipr"].into_iter().filter(|_| input_fits(setting).is_ok());
        let w_e = w_e_fits(setting).is_ok().then_some("w_e_ipr");
        let names = w_e.into_iter().chain(["w_l_ipr", "out_mean_ipr", "out_mean_dft_ipr"]);
        names.chain(input).map(|name| Column::scalar(name, "1")).collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        let basis = Basis::new(group.order);
        let whole = |x_pd: &[f64]| {
            let d = x_pd.len() / group.order;
            inverse_participation(powers(&basis, x_pd).chunks_exact(d).map(|row| row.iter().sum()))
        };
        let w_l = subject.w_l()?;
        let mut numbers = vec![];
        if w_e_fits(subject.setting).is_ok() {
            numbers.push(whole(&w_e(subject.params, &group)?));
        }
        numbers.push(whole(w_l));
        numbers.extend(means(&powers(&basis, w_l), &group));
        if input_fits(subject.setting).is_ok() {
            numbers.extend(means(&input_powers(subject, &group, &basis)?, &group));
        }
        Ok(numbers.into_iter().map(|x| vec![x]).collect())
    }
}

/// Mean ratio over the columns of `[1 + n_freqs, neurons]`, by frequency and by complex coefficient.
fn means(powers_fm: &[f64], group: &Group) -> [f64; 2] {
    let n_neurons = powers_fm.len() / (1 + group.order / 2);
    let column = |m: usize| powers_fm.iter().skip(m).step_by(n_neurons).copied().collect::<Vec<f64>>();
    let mut sums = [0.0; 2];
    for powers_f in (0..n_neurons).map(column) {
        sums[0] += inverse_participation(powers_f.iter().copied());
        sums[1] += inverse_participation(complex_powers(&powers_f, group.order).into_iter());
    }
    sums.map(|sum| sum / n_neurons as f64)
}
