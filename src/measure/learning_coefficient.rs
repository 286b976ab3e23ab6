//! `learning_coefficient`: how degenerate the minimum is that a toy model is near, by Langevin dynamics around it.
//!
//! Reads the weights and the examples of training; writes an estimate, its spread over chains and the losses that it comes from.
//! Source: Lau et al. 2023 (arXiv 2308.12108).

use crate::engine::tiny::{Loss, Scratch};
use crate::error::Result;
use crate::measure::directions::toy;
use crate::measure::subject::{Setting, Subject, ToySetting};
use crate::measure::{Column, Measure};
use crate::optim::{At, Settings, Sgld, Update};
use crate::spec::{OptimKind, OptimSpec, SgldSpec};
use crate::toy::{Examples, Network, Stream};

/// The local learning coefficient.
pub struct LearningCoefficient;

const EXPLAIN: &str = "\
What it is
  The local learning coefficient (LLC) of w*, the checkpoint's weights: how fast the volume of weights around w* grows
  whose loss is hardly larger; half the number of parameters at a minimum that nothing leaves, less where directions
  leave the loss as it is. Estimated as
    llc = n beta (mean of L_n(w) over samples w - L_n(w*))
  with samples of exp(-n beta L_n(w) - gamma/2 |w - w*|^2) by Langevin dynamics from w*, L_n the mean loss on n fixed
  examples. measure.sgld sets chains, steps of each, burn_in (steps at its start that do not count), lr (the step
  size), localization (gamma) and inverse_temperature (n beta; n / ln n when unset).
  llc       mean over chains
  llc_std   standard deviation over chains
  llc_loss  L_n(w*)
  Away from a minimum the estimate can be negative: the samples then find lower losses. It is right where samples stay
  so near that the loss has its leading form there, which a larger n beta makes true, and where lr is small (well below
  2 / (n beta) over the largest curvature); a large gamma holds directions that the loss leaves free.
Reads
  The weights; the run's points (toy.points), or 4,096 (toy.eval_examples) examples of the evaluations.
  Only when asked for by name: it costs chains times steps gradients a checkpoint and replica.
Unit and range
  1, 0 to half the number of parameters at a minimum; loss as in training. No value where a chain leaves for infinity.
Value at a known point
  The hexagon of six features (`phaselab explain k_gon`): 17/2. A regular minimum of d parameters: d/2.
Source
  Lau et al. 2023 (arXiv 2308.12108); Chen et al. 2023 (arXiv 2310.06301) for toy models of superposition.";

impl Measure for LearningCoefficient {
    fn name(&self) -> &'static str {
        "learning_coefficient"
    }

    fn summary(&self) -> &'static str {
        "toy models: the local learning coefficient, how degenerate the minimum is, by Langevin dynamics"
    }

    fn explain(&self) -> String {
        EXPLAIN.into()
    }

    fn fits(&self, setting: &Setting) -> Result<(), String> {
        toy(setting).map(drop)
    }

    fn on_request(&self) -> bool {
        true
    }

    fn columns(&self, _: &Setting) -> Vec<Column> {
        vec![Column::scalar("llc", "1"), Column::scalar("llc_std", "1"), Column::scalar("llc_loss", "loss")]
    }

    fn eval(&self, subject: &Subject) -> Result<Vec<Vec<f64>>> {
        let Ok(toy) = toy(subject.setting) else { return Ok(vec![]) };
        let mut potential = Potential::new(toy, subject.replica);
        let start = potential.network.flat(subject.params)?;
        let seed = toy.replicas[subject.replica].seed;
        let (llc, spread, loss) = estimate(&mut potential, &start, &subject.setting.options.sgld, seed);
        Ok(vec![vec![llc], vec![spread], vec![loss]])
    }
}

/// The mean loss of a toy model on its examples of training.
struct Potential {
    network: Network,
    scratch: Scratch<f64>,
    importance: Vec<f64>,
    scale: f64,
    count: usize,
    /// Tiles of features and of targets, one after another.
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Potential {
    fn new(toy: &ToySetting, replica: usize) -> Potential {
        let network = Network::new(toy.spec);
        let of_replica = &toy.replicas[replica];
        let seed = toy.seed_of_draws(replica);
        let (stream, count) = match of_replica.points {
            Some(points) => (Stream::points(seed), points),
            None => (Stream::evaluation(seed), toy.spec.eval_examples),
        };
        let (x, y) = Examples::new(toy.spec, of_replica).tiles(&stream, count);
        Potential {
            scratch: network.net.scratch(),
            importance: of_replica.importance.clone(),
            scale: toy.spec.loss_scale(),
            network,
            count,
            x,
            y,
        }
    }

    /// The loss, and its gradient into `grads`; nothing is dropped.
    fn loss_and_grads(&mut self, params: &[f64], grads: &mut [f64]) -> f64 {
        let (d_in, d_out) = (self.network.net.d_in(), self.network.net.d_out());
        let loss = Loss { examples: self.count, importance: &self.importance, scale: self.scale };
        let (x, y) = (&self.x, &self.y);
        self.network.net.loss_and_grads(params, grads, loss, &mut self.scratch, |tile| {
            tile.x.copy_from_slice(&x[tile.first * d_in..][..tile.x.len()]);
            tile.y.copy_from_slice(&y[tile.first * d_out..][..tile.y.len()]);
            tile.keep.iter_mut().for_each(|keep| keep.fill(1.0));
        })
    }
}

/// The estimate, its standard deviation over chains, and the loss at the start.
fn estimate(potential: &mut Potential, start: &[f64], sgld: &SgldSpec, seed: u64) -> (f64, f64, f64) {
    let n = potential.count as f64;
    let heat = sgld.inverse_temperature.unwrap_or(n / n.ln());
    let mut grads = vec![0.0; start.len()];
    let at_start = potential.loss_and_grads(start, &mut grads);
    let spec = OptimSpec {
        kind: OptimKind::Sgld,
        lr: sgld.lr,
        weight_decay: 0.0,
        warmup_steps: 0,
        inverse_temperature: heat,
        localization: sgld.localization,
        ..OptimSpec::default()
    };
    // Chains have noise of their own: seeds of runs are far below 2⁴⁸.
    let seeds: Vec<u64> = (0..sgld.chains as u64).map(|chain| seed.wrapping_add(chain << 48)).collect();
    let update = Sgld::new(Settings::new(&spec, &seeds, sgld.steps));
    let of_chain = |replica: usize| {
        let (mut w, mut anchor) = (start.to_vec(), start.to_vec());
        let mut sum = 0.0;
        for step in 0..sgld.steps {
            let loss = potential.loss_and_grads(&w, &mut grads);
            if step >= sgld.burn_in {
                sum += loss;
            }
            let at = At { replica, step, first: 0, grad_scale: 1.0 };
            update.update(at, &mut w, &grads, [&mut anchor, &mut [], &mut []]);
        }
        heat * (sum / (sgld.steps - sgld.burn_in) as f64 - at_start)
    };
    let chains: Vec<f64> = (0..sgld.chains).map(of_chain).collect();
    let mean = chains.iter().sum::<f64>() / chains.len() as f64;
    let squares: f64 = chains.iter().map(|x| (x - mean) * (x - mean)).sum();
    let finite = |x: f64| if x.is_finite() { x } else { f64::NAN };
    (finite(mean), finite((squares / (chains.len() as f64 - 1.0)).sqrt()), at_start)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::ParamInfo;
    use crate::spec::{Act, PerFeature, Sets, ToyAct, ToySpec, Values, Widths};
    use crate::tensor::{Data, Tensor};
    use crate::theory::k_gon;

    /// From these values of the parameters, in their order.
    fn of(spec: &ToySpec, values: &[&[f64]], sgld: &SgldSpec) -> (f64, f64, f64) {
        let replicas = spec.replicas(&[7]).unwrap();
        let toy = ToySetting { spec, replicas: replicas.into(), descent_rate: None };
        let mut potential = Potential::new(&toy, 0);
        let infos = potential.network.layout.infos.iter().zip(values);
        let tensor = |(info, values): (&ParamInfo, &&[f64])| {
            Tensor::new(info.name.clone(), info.shape.clone(), Data::F64(values.to_vec())).unwrap()
        };
        let start = potential.network.flat(&infos.map(tensor).collect::<Vec<_>>()).unwrap();
        estimate(&mut potential, &start, sgld, 7)
    }

    #[test]
    fn a_polygon_of_all_features_has_the_coefficient_of_theory() {
        let spec = ToySpec { n_features: 6, sets: Sets::OneHot, eval_examples: 8192, ..ToySpec::default() };
        let (w, b) = k_gon::known(6).unwrap().weights(6);
        // At n / ln n (492 of 4,096 examples) samples leave the part where the loss is quadratic, and the estimate is a fifth too large.
        let sgld = SgldSpec {
            chains: 2,
            steps: 6000,
            burn_in: 1000,
            lr: 2e-4,
            localization: 1.0,
            inverse_temperature: Some(4000.0),
        };
        let (llc, spread, loss) = of(&spec, &[&w, &b], &sgld);
        let theory = k_gon::learning_coefficient(6).unwrap();
        assert!((llc - theory).abs() < 0.15 * theory, "{llc} ± {spread}, theory {theory}");
        assert!((loss / k_gon::known(6).unwrap().level(6) - 1.0).abs() < 0.05, "{loss}");
    }

    /// w₂ w₁ x against 0: the loss is (w₁ w₂)² times a number, of coefficient 1/2, where a sum of two squares would have 1.
    #[test]
    fn two_lines_that_cross_are_more_degenerate_than_a_point() {
        let spec = ToySpec {
            n_features: 1,
            d_hidden: Widths(vec![1]),
            tied: false,
            bias: false,
            act: ToyAct::Each(Act::Identity),
            target: "0 * x".into(),
            values: Values::OneOf(vec![1.0]),
            feature_prob: PerFeature::Number(1.0),
            ..ToySpec::default()
        };
        let sgld = SgldSpec { chains: 8, steps: 20_000, burn_in: 2000, lr: 1e-3, ..SgldSpec::default() };
        let (llc, ..) = of(&spec, &[&[0.0], &[0.0]], &sgld);
        assert!((0.3..0.55).contains(&llc), "{llc}");
        // From a point of one of the lines only the other direction has a slope: 1/2 at once.
        let (llc, ..) = of(&spec, &[&[1.5], &[0.0]], &sgld);
        assert!((0.4..0.6).contains(&llc), "{llc}");
    }
}
