//! `neuron_clusters`: how many neurons each frequency has.
//!
//! Reads the last hidden layer's activations; writes counts and shares a frequency, and totals. Source: arXiv 2301.05217.

use crate::engine::Hook;
use crate::error::Result;
use crate::measure::clusters;
use crate::measure::group::freq_axis;
use crate::measure::subject::{Setting, Subject};
use crate::measure::{Column, Measure};

/// Neurons by frequency.
pub struct NeuronClusters;

const EXPLAIN: &str = "\
What it is
  A neuron belongs to the cluster of its best frequency (see neuron_freqs) when that explains at least 0.85 of its
  variance over all pairs (another fraction: measure.cluster_frac). n_neurons and share_frac: the cluster of each
  frequency, as a number and as a share of all neurons. n_clusters: frequencies with a neuron. n_clustered,
  n_without: neurons in a cluster and in none (mixed ones, and those that do not vary). mean_explained_frac: mean over
  the neurons that vary of the best fraction.
Reads
  blocks.L.mlp.hook_post of the last hidden layer where the answer is read, all pairs.
Unit and range
  Counts: 0 to d_mlp. Shares: fraction, 0 to 1. n_clustered + n_without = d_mlp. No value when an activation is not
  finite.
Value at a known point
  All neurons 1 + cos w_k(a+b): d_mlp and 1 at k, 0 elsewhere, n_without 0.
Source
  Nanda et al. 2023 (arXiv 2301.05217), section 4.2: 433 of 512 neurons in five clusters in the main run.";

impl Measure for NeuronClusters {
    fn name(&self) -> &'static str {
        "neuron_clusters"
    }

    fn summary(&self) -> &'static str {
        "neurons of each frequency, and those with none"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        clusters::fits(setting).map(|_| ())
    }

    fn columns(&self, setting: &Setting) -> Vec<Column> {
        let axis = freq_axis(setting);
        let scalars = ["n_clusters", "n_clustered", "n_without"].map(|name| Column::scalar(name, "1"));
        let along = [Column::along("n_neurons", "1", axis.clone()), Column::along("share_frac", "fraction", axis)];
        along.into_iter().chain(scalars).chain([Column::scalar("mean_explained_frac", "fraction")]).collect()
    }

    fn needs_hooks(&self, setting: &Setting) -> Vec<Hook> {
        clusters::hook(setting).into_iter().collect()
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let found = subject.clusters()?;
        let Some(counts) = &found.counts else {
            return Ok(self.columns(subject.setting).iter().map(|column| vec![f64::NAN; column.width()]).collect());
        };
        let n = found.frac_m.len();
        let clustered: usize = counts.iter().sum();
        let varying: Vec<f64> = found.frac_m.iter().copied().filter(|frac| !frac.is_nan()).collect();
        Ok(vec![
            counts.iter().map(|&count| count as f64).collect(),
            counts.iter().map(|&count| count as f64 / n as f64).collect(),
            vec![counts.iter().filter(|&&count| count > 0).count() as f64],
            vec![clustered as f64],
            vec![(n - clustered) as f64],
            vec![varying.iter().sum::<f64>() / varying.len() as f64],
        ])
    }
}
