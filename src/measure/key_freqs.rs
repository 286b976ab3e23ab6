//! Key frequencies: which waves a model of modular addition uses, by two named rules.
//!
//! Reads W_E or W_L; writes frequencies, ascending. Other codes name key frequencies by hand, or by clusters of neurons.
//! Source: arXiv 2301.05217, sections 3 and 4.

use crate::error::Result;
use crate::measure::fourier::Basis;
use crate::measure::subject::Setting;
use crate::measure::weights::{w_e, w_e_fits, w_l, w_l_fits};
use crate::tensor::Tensor;

/// A frequency is key when its norm is at least this fraction of the largest.
///
/// Norms, not squares: a key frequency carries at least 1/16 of the strongest one's power. In W_L of
/// trained models the weakest wave in use stands well above it, the strongest leftover of early training well below.
pub const THRESHOLD_FRAC: f64 = 0.25;

/// Where the norms come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Rows of the embedding, W_E\[:p\].
    WE,
    /// Columns of the neuron-logit map, W_L = W_out W_U.
    WL,
}

impl Rule {
    /// As in measure names: `w_e`, `w_l`.
    pub fn name(self) -> &'static str {
        match self {
            Rule::WE => "w_e",
            Rule::WL => "w_l",
        }
    }

    /// The modulus, where the task and the model have what the rule reads.
    ///
    /// # Errors
    /// The reason why not, as a clause.
    pub fn fits(self, setting: &Setting) -> Result<usize, String> {
        match self {
            Rule::WE => w_e_fits(setting),
            Rule::WL => w_l_fits(setting),
        }
    }

    /// Norm of each Fourier component of the rule's matrix.
    ///
    /// # Shapes
    /// `[p]`: constant, cos 1, sin 1, …
    ///
    /// # Errors
    /// [`crate::error::Error::Unknown`] when the model lacks the matrix.
    pub fn component_norms(self, params: &[Tensor], basis: &Basis) -> Result<Vec<f64>> {
        Ok(match self {
            Rule::WE => basis.component_norms(w_e(params, basis.p())?),
            Rule::WL => basis.component_norms(&w_l(params, basis.p())?),
        })
    }

    /// Norm of each frequency, cos and sin together.
    ///
    /// # Shapes
    /// `[n_freqs]` for frequencies 1, 2, …
    ///
    /// # Errors
    /// [`crate::error::Error::Unknown`] when the model lacks the matrix.
    pub fn freq_norms(self, params: &[Tensor], basis: &Basis) -> Result<Vec<f64>> {
        Ok(match self {
            Rule::WE => basis.freq_norms(w_e(params, basis.p())?),
            Rule::WL => basis.freq_norms(&w_l(params, basis.p())?),
        })
    }
}

/// Which frequencies are key, from the norms of frequencies 1, 2, …: at least [`THRESHOLD_FRAC`] of the largest.
///
/// None are when the largest is 0 or a norm is not a number.
pub fn is_key(norms: &[f64]) -> Vec<bool> {
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let usable = largest > 0.0 && norms.iter().all(|norm| norm.is_finite());
    norms.iter().map(|&norm| usable && norm >= THRESHOLD_FRAC * largest).collect()
}

/// The key frequencies of one replica by each rule, ascending; empty where the rule does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyFreqs {
    /// By rule `w_e`.
    pub w_e: Vec<usize>,
    /// By rule `w_l`.
    pub w_l: Vec<usize>,
}

impl KeyFreqs {
    /// The key frequencies of `params` (f64, no replica axis).
    ///
    /// # Errors
    /// [`crate::error::Error`] when the parameters are not those of the setting.
    pub fn of(params: &[Tensor], setting: &Setting) -> Result<KeyFreqs> {
        let freqs = |rule: Rule| -> Result<Vec<usize>> {
            let Ok(p) = rule.fits(setting) else { return Ok(vec![]) };
            let keys = is_key(&rule.freq_norms(params, &Basis::new(p))?);
            Ok(keys.iter().enumerate().filter(|&(_, &key)| key).map(|(index, _)| index + 1).collect())
        };
        Ok(KeyFreqs { w_e: freqs(Rule::WE)?, w_l: freqs(Rule::WL)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_largest_is_key_and_less_is_not() {
        assert_eq!(is_key(&[1.0, 4.0, 0.999, 3.0]), [true, true, false, true]);
        assert_eq!(is_key(&[0.0, 0.0]), [false, false]);
        assert_eq!(is_key(&[1.0, f64::NAN]), [false, false]);
    }
}
