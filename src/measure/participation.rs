//! How concentrated a spectrum is: inverse participation ratio, and the maps from tokens to neurons whose spectra are taken.
//!
//! Reads W_E and the weights into the first hidden layer; writes tables `[order, neurons]` and ratios. Sources: arXiv 2301.02679,
//! arXiv 2310.13061.

use crate::error::Result;
use crate::linalg::product;
use crate::measure::fourier::Basis;
use crate::measure::group::Group;
use crate::measure::subject::{Matrix, Setting, Subject};
use crate::measure::weights::w_e;
use crate::tensor::Tensor;

const W_E: &str = "embed.W_E";
const W_IN: &str = "blocks.0.mlp.W_in";

/// Σ P² / (Σ P)²: 1 for a single power, 1/n for n equal ones; NaN when all are 0.
pub fn inverse_participation(powers: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = powers.fold((0.0, 0.0), |(sum, squares), power| (sum + power, squares + power * power));
    squares / (sum * sum)
}

/// Powers of the frequencies, from 0, of each column: the constant's, then cos and sin together.
///
/// # Shapes
/// `x_pd` `[order, d]` -> `[1 + n_freqs, d]`
pub fn powers(basis: &Basis, x_pd: &[f64]) -> Vec<f64> {
    let d = x_pd.len() / basis.p();
    let components_fd = basis.components(x_pd);
    let (constant, waves) = components_fd.split_at(d);
    let mut powers_fd: Vec<f64> = constant.iter().map(|x| x * x).collect();
    for pair in waves.chunks(2 * d.max(1)) {
        let of = |i: usize| pair.iter().skip(i).step_by(d).map(|x| x * x).sum::<f64>();
        powers_fd.extend((0..d).map(of));
    }
    powers_fd
}

/// Powers of the p complex Fourier coefficients, from those of the frequencies: k and p − k have half each.
///
/// # Shapes
/// `[1 + n_freqs]` -> `[order]` (in no particular order)
pub fn complex_powers(powers_f: &[f64], order: usize) -> Vec<f64> {
    let halves = powers_f.iter().enumerate().skip(1).flat_map(|(k, power)| match 2 * k == order {
        true => vec![*power],
        false => vec![power / 2.0; 2],
    });
    powers_f.first().copied().into_iter().chain(halves).collect()
}

/// Powers of the neurons' weights from the tokens, those of all maps added.
///
/// # Shapes
/// `[1 + n_freqs, d_mlp]`
///
/// # Errors
/// [`crate::error::Error`] when the model lacks a weight.
pub fn input_powers(subject: &Subject, group: &Group, basis: &Basis) -> Result<Vec<f64>> {
    let maps = input_maps(subject.setting, subject.params, group)?;
    let mut total: Vec<f64> = vec![];
    for map in &maps {
        let own = powers(basis, map);
        total.resize(own.len(), 0.0);
        total.iter_mut().zip(own).for_each(|(sum, power)| *sum += power);
    }
    Ok(total)
}

/// The maps from the tokens of the group to the first hidden layer: one an operand for an MLP that joins its embeddings one after
/// another, one for their sum, one a head (through W_V and W_O) for a transformer. W_E is left out where the model has none.
///
/// # Shapes
/// Each `[order, d_mlp]`.
///
/// # Errors
/// [`crate::error::Error`] when the model lacks a weight.
fn input_maps(setting: &Setting, params: &[Tensor], group: &Group) -> Result<Vec<Vec<f64>>> {
    let w_in = Matrix::of(params, W_IN)?;
    if !params.iter().any(|tensor| tensor.name == W_E) {
        // One-hot inputs: one block of rows a position that varies, each with a row a token.
        let height = w_in.n_rows / setting.varying_positions.len().max(1);
        let row =
            |block: usize, residue: usize| &w_in.values[(block * height + residue) * w_in.n_cols..][..w_in.n_cols];
        let map = |block: usize| group.residues.iter().flat_map(|&residue| row(block, residue)).copied().collect();
        return Ok(operand_blocks(setting).map(map).collect());
    }
    let w_e_nd = w_e(params, group)?;
    let d_model = w_e_nd.len() / group.order;
    if params.iter().any(|tensor| tensor.name == "blocks.0.attn.W_V") {
        let (w_v, w_o) = (Matrix::of(params, "blocks.0.attn.W_V")?, Matrix::of(params, "blocks.0.attn.W_O")?);
        let d_head = w_v.n_cols;
        let heads = w_v.values.chunks_exact(d_model * d_head).zip(w_o.values.chunks_exact(d_head * w_o.n_cols));
        let map = |(v_dk, o_kd): (&[f64], &[f64])| {
            let z_nk = product(&w_e_nd, v_dk, d_model);
            product(&product(&z_nk, o_kd, d_head), w_in.values, w_in.n_rows)
        };
        return Ok(heads.map(map).collect());
    }
    let size = d_model * w_in.n_cols;
    let map = |block: usize| product(&w_e_nd, &w_in.values[block * size..][..size], d_model);
    Ok(if w_in.n_rows == d_model { vec![map(0)] } else { operand_blocks(setting).map(map).collect() })
}

/// Which of an MLP's blocks of input rows, one a position that varies, are the operands'.
fn operand_blocks(setting: &Setting) -> impl Iterator<Item = usize> {
    let block = |operand: &usize| setting.varying_positions.iter().position(|position| position == operand);
    setting.operand_positions.iter().filter_map(block)
}

/// Whether the model has maps from tokens to a hidden layer, and how many neurons that has.
///
/// # Errors
/// The reason why not, as a clause.
pub fn input_fits(setting: &Setting) -> Result<usize, String> {
    let (p, blocks) = (setting.p().unwrap_or(0), setting.varying_positions.len());
    let Some(&[rows, d_mlp]) = setting.shape(W_IN) else {
        return Err(format!("the model has no {W_IN}"));
    };
    let fits = match setting.shape(W_E) {
        Some(&[d_vocab, d_model]) if d_vocab < p => {
            return Err(format!("{W_E} has shape {:?}, fewer rows than the {p} residues", [d_vocab, d_model]));
        }
        Some(&[_, d_model]) => rows == d_model || (blocks > 0 && rows == blocks * d_model),
        _ => blocks > 0 && rows.is_multiple_of(blocks) && rows / blocks >= p,
    };
    match fits && (blocks == 0 || operand_blocks(setting).next().is_some()) {
        true => Ok(d_mlp),
        false => Err(format!("the {rows} rows of {W_IN} are not a block for each position that varies")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Examples;
    use crate::task::Op;
    use crate::tensor::Data;
    use std::f64::consts::TAU;

    #[test]
    fn one_is_1_equal_ones_are_1_over_n_and_none_is_nothing() {
        assert_eq!(inverse_participation([0.0, 3.0, 0.0].into_iter()), 1.0);
        assert_eq!(inverse_participation([2.0; 8].into_iter()), 0.125);
        assert!(inverse_participation([0.0; 2].into_iter()).is_nan());
    }

    #[test]
    fn a_wave_of_any_phase_has_one_frequency_and_two_complex_coefficients() {
        for (n, k, complex) in [(11, 4, 0.5), (6, 3, 1.0)] {
            let phase = if 2 * k == n { 0.0 } else { 0.7 };
            let x: Vec<f64> = (0..n).map(|x| (TAU * (k * x) as f64 / n as f64 + phase).cos()).collect();
            let powers = powers(&Basis::new(n), &x);
            assert!((inverse_participation(powers.iter().copied()) - 1.0).abs() < 1e-12);
            let found = inverse_participation(complex_powers(&powers, n).into_iter());
            assert!((found - complex).abs() < 1e-12, "{found}");
        }
    }

    /// Gromov's analytic weights: neuron m has cos(2π k_m n/p + φ) for each operand, from one-hot inputs.
    #[test]
    fn analytic_weights_have_one_frequency_a_neuron_through_every_kind_of_input() {
        let (p, n_neurons) = (11, 5);
        let wave = |n: usize, m: usize| (TAU * (m * n) as f64 / p as f64 + 0.3 + m as f64).cos();
        let block: Vec<f64> = (0..p).flat_map(|n| (0..n_neurons).map(move |m| wave(n, m + 1))).collect();
        let group = Group::new(p, Op::Add).expect("sums have a group");
        let tensor = |name: &str, shape: &[usize], values: &[f64]| {
            Tensor::new(name, shape.to_vec(), Data::F64(values.to_vec())).expect("sizes fit")
        };
        let identity = |n: usize| -> Vec<f64> { (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect() };
        let twice = [block.as_slice(), &block].concat();
        let examples = Examples { n_classes: p, ..Examples::default() };
        let setting =
            Setting { varying_positions: vec![0, 1], operand_positions: vec![0, 1], ..Setting::new(examples, &[]) };
        let two_hot = vec![tensor(W_IN, &[2 * p, n_neurons], &twice)];
        let embedded = vec![tensor(W_E, &[p, p], &identity(p)), tensor(W_IN, &[p, n_neurons], &block)];
        let mut attention = embedded.clone();
        attention.push(tensor("blocks.0.attn.W_V", &[1, p, p], &identity(p)));
        attention.push(tensor("blocks.0.attn.W_O", &[1, p, p], &identity(p)));
        for (params, n_maps) in [(two_hot, 2), (embedded, 1), (attention, 1)] {
            let maps = input_maps(&setting, &params, &group).expect("all weights are there");
            assert_eq!(maps.len(), n_maps);
            for map in maps {
                assert_eq!(map, block);
                let powers = powers(&Basis::new(p), &map);
                for m in 0..n_neurons {
                    let own = powers.iter().skip(m).step_by(n_neurons).copied();
                    assert!((inverse_participation(own) - 1.0).abs() < 1e-12);
                }
            }
        }
    }
    /// Positions `a op b`, of fewer numbers than tokens: the operation's block lies between the operands', and counts nowhere.
    #[test]
    fn the_block_of_the_operation_is_no_operand() {
        let (p, height, d_mlp) = (3, 5, 2);
        let group = Group::new(p, Op::Add).expect("sums have a group");
        let w_in: Vec<f64> = (0..3 * height * d_mlp).map(|i| i as f64).collect();
        let tensor = Tensor::new(W_IN, vec![3 * height, d_mlp], Data::F64(w_in.clone())).expect("sizes fit");
        let examples = Examples { n_classes: p, ..Examples::default() };
        let setting =
            Setting { varying_positions: vec![0, 1, 2], operand_positions: vec![0, 2], ..Setting::new(examples, &[]) };
        let maps = input_maps(&setting, &[tensor], &group).expect("all weights are there");
        assert_eq!(maps, [&w_in[..p * d_mlp], &w_in[2 * height * d_mlp..][..p * d_mlp]]);
    }
}
