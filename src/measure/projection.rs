//! Losses of logits of which waves are kept or taken away: what the restricted and excluded losses share.
//!
//! Reads sums of the logits over all pairs ([`Sums`]); writes tables `[order, n_classes]` over s = a + b (a − b for
//! subtraction), and means of the cross-entropy by split. Source: arXiv 2301.05217, section 5.1.
//!
//! What is kept along the waves of a + b is a function of a + b, and so is the right answer: one loss for each s is enough, not
//! one for each pair.

use crate::error::Result;
use crate::linalg::{product, product_t};
use crate::measure::fourier::waves;
use crate::measure::group;
use crate::measure::key_freqs;
use crate::measure::loss::{SplitMean, score};
use crate::measure::subject::{Setting, Subject};
use crate::measure::sums::{Along, Sums, is_nyquist};
use crate::measure::weights::w_l;
use crate::measure::{clusters, weights};

/// Whether the task is a sum in a cyclic group over all pairs, and the model has what key frequencies are read from.
///
/// # Errors
/// The reason why not, as a clause.
pub fn fits(setting: &Setting) -> Result<(), String> {
    group::sum_fits(setting)?;
    key_freqs::fits(setting)
}

/// Whether the last hidden layer is read linearly by the logits, so that waves can be kept or dropped in the neurons; the factor
/// with which W_L gives them to the logits.
///
/// # Errors
/// The reason why not, as a clause.
pub fn neurons_fit(setting: &Setting) -> Result<f64, String> {
    clusters::fits(setting)?;
    if setting.hook("ln_final.hook_scale").is_some() {
        return Err("the model normalises between its neurons and the logits".into());
    }
    match setting.readout {
        Some(factor) if weights::w_l_width(setting) == Some(clusters::n_neurons(setting)) => Ok(factor),
        Some(_) => Err("the logits do not read the neurons through W_out and W_U".into()),
        None => Err("how the logits read the neurons is not known of a model from outside".into()),
    }
}

/// Losses and accuracies of rows that depend on a + b alone, over the pairs of the group.
///
/// # Shapes
/// `row_sc` `[order, n_classes]`
pub fn score_by_sum(subject: &Subject, sums: &Sums, row_sc: &[f64]) -> (SplitMean, SplitMean) {
    let rows = row_sc.chunks_exact(sums.width).zip(&sums.group.residues);
    let by_s: Vec<[f64; 2]> = rows.map(|(row_c, &target)| score(row_c, target as u32)).collect();
    let (mut loss, mut acc) = (SplitMean::default(), SplitMean::default());
    for (&pair, &train) in sums.pairs.iter().zip(subject.train_mask) {
        let Some(pair) = pair else { continue };
        let [nats, right] = by_s[sums.group.sum(pair)];
        loss.add(train, nats);
        acc.add(train, right);
    }
    (loss, acc)
}

/// Losses and accuracies of rows that `fill` writes, from the pair's logits, its a + b and its a − b; over the pairs of the group that `wanted` names
/// by whether they are for training.
pub fn score_by_pair(
    subject: &Subject,
    sums: &Sums,
    wanted: impl Fn(bool) -> bool,
    mut fill: impl FnMut(&mut [f64], &[f64], (usize, usize)),
) -> (SplitMean, SplitMean) {
    let (mut loss, mut acc) = (SplitMean::default(), SplitMean::default());
    let mut row_c = vec![0.0; sums.width];
    let rows = subject.logits.chunks_exact(sums.width).zip(&sums.pairs).zip(subject.train_mask);
    for ((logits_c, &pair), &train) in rows.filter(|(_, train)| wanted(**train)) {
        let Some(pair) = pair else { continue };
        let s = sums.group.sum(pair);
        fill(&mut row_c, logits_c, (s, sums.group.difference(pair)));
        let [nats, right] = score(&row_c, sums.group.residues[s] as u32);
        loss.add(train, nats);
        acc.add(train, right);
    }
    (loss, acc)
}

/// The frequencies whose waves of a − b are not those of a + b as well.
pub fn with_differences(sums: &Sums, freqs: &[usize]) -> Vec<usize> {
    freqs.iter().copied().filter(|&k| !is_nyquist(sums.group.order, k)).collect()
}

/// The part of the logits that comes from the neurons' waves of a + b: those waves times W_L and the factor of the readout.
///
/// # Shapes
/// `[order, n_classes]`
///
/// # Errors
/// [`crate::error::Error`] when the model lacks W_U or the activations were not asked for.
pub fn neuron_part(subject: &Subject, freqs: &[usize]) -> Result<Vec<f64>> {
    let neurons = subject.neuron_sums()?;
    let factor = subject.setting.readout.unwrap_or(f64::NAN);
    let n_classes = subject.setting.examples.n_classes;
    let w_l_cm = w_l(subject.params, &(0..n_classes).collect::<Vec<_>>())?;
    // The neurons' components become components of the logits; the waves are laid over them afterwards.
    let order = neurons.group.order;
    let waves_is: Vec<Vec<f64>> = freqs.iter().flat_map(|&k| waves(order, k)).collect();
    let components_im = product(&waves_is.concat(), neurons.table(Along::Sum), order);
    let components_ic = product_t(&components_im, &w_l_cm, neurons.width);
    let scale = factor / order as f64;
    let waves_si: Vec<f64> = (0..order).flat_map(|s| waves_is.iter().map(move |wave_s| scale * wave_s[s])).collect();
    let mut part_sc = product(&waves_si, &components_ic, waves_is.len());
    // Without frequencies there is no part.
    part_sc.resize(order * n_classes, 0.0);
    Ok(part_sc)
}

/// Each row plus `base_c`.
pub fn plus(mut row_sc: Vec<f64>, base_c: &[f64]) -> Vec<f64> {
    for row_c in row_sc.chunks_exact_mut(base_c.len()) {
        row_c.iter_mut().zip(base_c).for_each(|(x, base)| *x += base);
    }
    row_sc
}

/// Row `i` of a table `[rows, width]`.
pub fn row(table: &[f64], width: usize, i: usize) -> &[f64] {
    &table[i * width..][..width]
}
