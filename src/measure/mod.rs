//! Checkpoints -> series of numbers.
//!
//! A measure reads one replica at one checkpoint (a [`Subject`]) and gives the numbers of its columns, or a point of a course
//! that becomes numbers when all checkpoints are there ([`Scope`]); [`measure`] takes it over a range of checkpoints and all
//! replicas. [`ALL`] is the registry: a name there is the name on the command
//! line, in files and of the source file.

mod additivity;
mod adversarial_vulnerability;
mod allowed_answers;
mod circle_isolation;
mod class_accuracy;
mod clusters;
mod copying_score;
mod course;
mod csv;
mod cube;
mod data_dimensionality;
mod decompose;
mod decompose_logits;
mod decompose_neurons;
mod decompose_w_e;
mod decompose_w_l;
mod directions;
mod distance_irrelevance;
mod driver;
mod effective_rank;
mod error_by_label;
mod error_by_position;
mod exact_accuracy;
mod excluded_loss;
mod excluded_loss_each;
mod excluded_loss_protocols;
mod features;
pub mod file;
pub mod fourier;
mod fourier_components;
mod fourier_norm_w_e;
mod gather;
mod gini;
mod gradient_symmetricity;
mod group;
mod head_scores;
mod ipr;
mod key_freqs;
mod key_freqs_neurons;
mod key_freqs_used;
mod key_freqs_w_e;
mod key_freqs_w_e_norm;
mod key_freqs_w_l;
mod learning_coefficient;
mod linear_probes;
mod logits_cube_fit;
mod logits_pca;
mod logits_trajectory;
mod loss;
mod loss_by_label;
mod loss_by_position;
mod mlp_directions_explained;
mod neuron_clusters;
mod neuron_freqs;
mod neuron_ipr;
mod participation;
mod pca;
mod polygon_level;
mod polysemanticity;
mod polytopes;
mod population_loss;
mod privileged_basis;
mod projection;
mod restricted_loss;
mod restricted_loss_protocols;
mod rows;
mod series;
mod subject;
mod sums;
mod trajectory;
mod trig_logits_explained;
mod w_l_rank;
mod weight_norm;
mod weights;
mod weights_trajectory;
mod without_each;

pub use course::{Course, Scope};
pub use csv::{Field, write_csv};
pub use data_dimensionality::{has_hidden_points, hidden_points};
pub use directions::{Directions, LEARNED, read_out, toy as toys_of};
pub use driver::measure;
pub use group::{Group, freq_axis};
pub use key_freqs::{check_options, describe as describe_key_freqs, large};
pub use polysemanticity::READ;
pub use polytopes::{Part, Shape, parts, tegum_product};
pub use population_loss::integrable;
pub use series::{Axis, Series};
pub use subject::{
    Activation, Examples, Forward, HookShape, Modular, ParamShape, Setting, Shared, SnapshotSource, Subject, ToySetting,
};
pub use sums::{Along, Sums};
pub use weights::{w_e, w_l};

use crate::engine::Hook;
use crate::error::{Error, Result};

/// One way of putting a number on a model.
pub trait Measure: Sync {
    /// Registry name.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn summary(&self) -> &'static str;

    /// The whole definition, under the headings *What it is / Reads / Unit and range / Value at a known point / Source*.
    fn explain(&self) -> String;

    /// Whether the task and the model have what is measured.
    ///
    /// # Errors
    /// The reason why not, as a clause: `the task has no modulus`.
    fn fits(&self, setting: &Setting) -> Result<(), String>;

    /// The columns it gives, in order; those with an axis share one.
    fn columns(&self, setting: &Setting) -> Vec<Column>;

    /// The activations (and gradients of the loss) that it reads, all examples: [`LOSS_LOGITS`](crate::engine::LOSS_LOGITS) for
    /// [`Subject::logits`], any others for [`Subject::activation`]. What all measures read comes from one forward pass.
    fn needs_hooks(&self, _setting: &Setting) -> Vec<Hook> {
        vec![]
    }

    /// Whether it reads [`Subject::key_freqs`]. Where there are none because parameters are not finite, it is not asked, and none of
    /// its columns has a value.
    fn uses_key_freqs(&self) -> bool {
        false
    }

    /// Whether it is taken only when it is asked for by name, because it costs many times what all others do.
    fn on_request(&self) -> bool {
        false
    }

    /// What it is taken of: each checkpoint, the last one alone, or the whole course.
    fn scope(&self) -> Scope<'_> {
        Scope::Checkpoint
    }

    /// One vector a column, of the length of the column's axis (1 without one); of a measure of the course one vector in
    /// all, the point. Only called where it fits.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Shape`] when the subject is not of the setting that was asked about.
    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>>;
}

/// One column of a measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name, unique within the measure.
    pub name: String,
    /// Unit as an axis label writes it: `nats`, `fraction`, `1`.
    pub unit: &'static str,
    /// What the numbers of one checkpoint are counted by, when there are several.
    pub axis: Option<Axis>,
}

impl Column {
    /// One number a checkpoint and replica.
    pub fn scalar(name: &str, unit: &'static str) -> Column {
        Column { name: name.into(), unit, axis: None }
    }

    /// One number a tick of `axis`.
    pub fn along(name: &str, unit: &'static str, axis: Axis) -> Column {
        Column { name: name.into(), unit, axis: Some(axis) }
    }

    /// Numbers a checkpoint and replica.
    pub fn width(&self) -> usize {
        self.axis.as_ref().map_or(1, |axis| axis.ticks.len())
    }
}

/// Every measure, in the order of help and lists.
pub const ALL: &[&dyn Measure] = &[
    &loss::Loss,
    &exact_accuracy::ExactAccuracy,
    &loss_by_position::LossByPosition,
    &loss_by_label::LossByLabel,
    &error_by_position::ErrorByPosition,
    &error_by_label::ErrorByLabel,
    &allowed_answers::AllowedAnswers,
    &head_scores::HeadScores,
    &copying_score::CopyingScore,
    &weight_norm::WeightNorm,
    &effective_rank::EffectiveRank,
    &fourier_norm_w_e::FourierNormWE,
    &fourier_components::FourierComponents,
    &gini::Gini,
    &ipr::Ipr,
    &neuron_ipr::NeuronIpr,
    &neuron_freqs::NeuronFreqs,
    &neuron_clusters::NeuronClusters,
    &key_freqs_w_e::KeyFreqsWE,
    &key_freqs_w_e_norm::KeyFreqsWENorm,
    &key_freqs_w_l::KeyFreqsWL,
    &key_freqs_neurons::KeyFreqsNeurons,
    &key_freqs_used::KeyFreqsUsed,
    &w_l_rank::WLRank,
    &mlp_directions_explained::MlpDirectionsExplained,
    &restricted_loss::RestrictedLoss,
    &restricted_loss_protocols::RestrictedLossProtocols,
    &excluded_loss::ExcludedLoss,
    &excluded_loss_protocols::ExcludedLossProtocols,
    &excluded_loss_each::ExcludedLossEach,
    &trig_logits_explained::TrigLogitsExplained,
    &logits_cube_fit::LogitsCubeFit,
    &logits_pca::LogitsPca,
    &logits_trajectory::LogitsTrajectory,
    &weights_trajectory::WeightsTrajectory,
    &gradient_symmetricity::GradientSymmetricity,
    &distance_irrelevance::DistanceIrrelevance,
    &circle_isolation::CircleIsolation,
    &decompose_w_e::DecomposeWE,
    &decompose_w_l::DecomposeWL,
    &decompose_neurons::DecomposeNeurons,
    &decompose_logits::DecomposeLogits,
    &features::Features,
    &polytopes::Polytopes,
    &population_loss::PopulationLoss,
    &polygon_level::PolygonLevel,
    &polysemanticity::Polysemanticity,
    &privileged_basis::PrivilegedBasis,
    &adversarial_vulnerability::AdversarialVulnerability,
    &data_dimensionality::DataDimensionality,
    &linear_probes::LinearProbes,
    &additivity::Additivity,
    &learning_coefficient::LearningCoefficient,
    &class_accuracy::ClassAccuracy,
];

/// The measure of that name.
///
/// # Errors
/// [`Error::Unknown`], with all names.
pub fn find(name: &str) -> Result<&'static dyn Measure> {
    ALL.iter().copied().find(|measure| measure.name() == name).ok_or_else(|| Error::Unknown {
        kind: "measure",
        name: name.into(),
        known: ALL.iter().map(|measure| measure.name().to_owned()).collect(),
    })
}

/// The measure of that name, if it fits the task and the model.
///
/// # Errors
/// [`Error::Unknown`] for another name; [`Error::Value`], with the reason, where it does not fit.
pub fn fitting(name: &str, setting: &Setting) -> Result<&'static dyn Measure> {
    let measure = find(name)?;
    measure.fits(setting).map_err(|reason| Error::Value {
        what: "measure".into(),
        got: format!("{name}, but {reason}"),
        expected: "one that fits the task and the model".into(),
    })?;
    Ok(measure)
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_circuits;
