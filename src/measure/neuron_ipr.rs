//! `neuron_ipr`: inverse participation ratio and strongest frequency of every neuron's weights.
//!
//! Reads W_L and the weights into the first hidden layer; writes numbers a neuron. Sources: arXiv 2301.02679, arXiv 2310.13061.

use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::group::Group;
use crate::measure::loss::argmax;
use crate::measure::participation::{input_fits, input_powers, inverse_participation, powers};
use crate::measure::subject::{Setting, Subject};
use crate::measure::weights::w_l_width;
use crate::measure::{Axis, Column, Measure};
use crate::spec::KeyRule;

/// Concentration of each neuron's weights in Fourier space.
pub struct NeuronIpr;

const EXPLAIN: &str = "\
What it is
  The IPR (see ipr) of each neuron's weights from the tokens, in_ipr, and to the outputs, out_ipr, with the frequency
  of the largest power beside it (0: the constant). From the tokens: W_E W_in for an MLP that adds its embeddings; the
  blocks of W_in of both operands for one that joins them (their powers added; the block of a token for the operation
  counts nowhere); W_in alone for one-hot inputs; W_E W_V
  W_O W_in head by head for a transformer (powers of the heads added). To the outputs: the neuron's row of W_L = W_out
  W_U. The neurons are those of the first hidden layer for in, of the last for out: the same where there is one.
Reads
  embed.W_E, blocks.0.mlp.W_in, W_V and W_O of block 0, W_L as key_freqs_w_l. LayerNorm weights are not folded in.
Unit and range
  ipr: dimensionless, 1/(number of frequencies) to 1. freq: 0 to (p-1)/2 (p/2 for even p). No value for a neuron whose
  weights are all 0.
Value at a known point
  Gromov's analytic weights: in_ipr = out_ipr = 1, and in_freq = out_freq.
Source
  Gromov 2023 (arXiv 2301.02679); Doshi et al. 2023 (arXiv 2310.13061).";

impl Measure for NeuronIpr {
    fn name(&self) -> &'static str {
        "neuron_ipr"
    }

    fn summary(&self) -> &'static str {
        "concentration and strongest frequency of each neuron's weights in Fourier space"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        KeyRule::WL.fits(setting)?;
        let (n_in, n_out) = (input_fits(setting)?, w_l_width(setting));
        if n_out == Some(n_in) { Ok(()) } else { Err("the first and the last hidden layer differ in width".into()) }
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let axis =
            Axis { name: "neuron".into(), ticks: (0..w_l_width(setting).unwrap_or(0)).map(|m| m as f64).collect() };
        ["in_ipr", "in_freq", "out_ipr", "out_freq"].map(|name| Column::along(name, "1", axis.clone())).into()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let group = subject.group()?;
        let basis = Basis::new(group.order);
        let input = ratios(&input_powers(subject, &group, &basis)?, &group);
        let output = ratios(&powers(&basis, subject.w_l()?), &group);
        Ok(input.into_iter().chain(output).collect())
    }
}

/// Ratio and strongest frequency of each column of `[1 + n_freqs, neurons]`.
fn ratios(powers_fm: &[f64], group: &Group) -> [Vec<f64>; 2] {
    let n_neurons = powers_fm.len() / (1 + group.order / 2);
    let column = |m: usize| powers_fm.iter().skip(m).step_by(n_neurons).copied().collect::<Vec<f64>>();
    let (mut iprs, mut freqs) = (vec![], vec![]);
    for powers_f in (0..n_neurons).map(column) {
        let ipr = inverse_participation(powers_f.iter().copied());
        freqs.push(if ipr.is_nan() { f64::NAN } else { argmax(&powers_f) as f64 });
        iprs.push(ipr);
    }
    [iprs, freqs]
}
