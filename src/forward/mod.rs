//! A run folder -> what measures and figures read: its snapshots, its examples, and activations over all of them in f64.

mod network;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use network::Network;

use crate::checkpoint::{SnapshotReader, hdf5, open_snapshots, resume};
use crate::engine::{Hook, ParamInfo};
use crate::error::{Error, Result};
use crate::measure::{self, Examples, Forward, HookShape, ParamShape, Series, Setting, SnapshotSource, ToySetting};
use crate::model;
use crate::spec::{MeasureSpec, Source, Spec, from_toml};
use crate::task::Task;
use crate::tensor::{Data, Tensor};
use crate::term;
use crate::toy;
use crate::train::{Metrics, TERM, metrics_columns, task_shape};

/// A trained or half-trained run, ready to be measured.
pub struct RunSeries {
    folder: PathBuf,
    reader: SnapshotReader,
    /// None for toy models.
    task: Option<Task>,
    /// How measures with a choice are taken.
    options: MeasureSpec,
    train_mask_rn: Vec<bool>,
    seeds: Vec<u64>,
    pool: rayon::ThreadPool,
}
impl RunSeries {
    /// Opens the run in `folder`.
    ///
    /// # Errors
    /// A folder without a run, damaged files, a task card that is gone.
    pub fn open(folder: &Path, threads: usize) -> Result<RunSeries> {
        let reader = open_snapshots(folder)?;
        let task = match &reader.spec().toy {
            None => Some(Task::of(&reader.spec().task, &reader.spec().data)?),
            Some(_) => None,
        };
        let Some(&last) = reader.steps().last() else {
            return Err(Error::Missing {
                what: "every snapshot".into(),
                path: folder.to_path_buf(),
                hint: "train first, with `phaselab train` or `phaselab run`".into(),
            });
        };
        let mask = reader.read(last)?.train_mask;
        if let Some(task) = task.as_ref().filter(|task| mask.shape.last() != Some(&task.n_examples())) {
            return Err(Error::Shape {
                op: format!("train_mask of {}", folder.display()),
                expected: format!("{} examples, as task {} has", task.n_examples(), task.name),
                got: format!("{:?}", mask.shape),
            });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::Value {
            what: "threads".into(),
            got: e.to_string(),
            expected: "as many as the system gives".into(),
        })?;
        let train_mask_rn = mask.to_f64().into_iter().map(|x| x != 0.0).collect();
        let (options, seeds) = (reader.spec().measure.clone(), reader.spec().replica_seeds());
        Ok(RunSeries { folder: folder.to_path_buf(), reader, task, options, train_mask_rn, seeds, pool })
    }

    /// The same run, with its spec's `[measure]` changed by `measure.key=value` pairs.
    ///
    /// # Errors
    /// [`Error::Value`] for a key of another section or key frequencies that the task does not have; [`Error::Spec`] with all
    /// other faults.
    pub fn with_options(mut self, sets: &[String]) -> Result<RunSeries> {
        if let Some(other) = sets.iter().find(|set| !set.trim_start().starts_with("measure.")) {
            return Err(Error::Value {
                what: "--set".into(),
                got: other.clone(),
                expected: "a key of [measure], like measure.key_frac=0.3; the rest of a run's spec is fixed".into(),
            });
        }
        let text = self.spec().to_toml();
        let source = Source { path: &self.folder, text: &text, sets };
        self.options = from_toml(source, Spec::faults)?.measure;
        if let Some(task) = &self.task {
            measure::check_options(&self.options, task)?;
        }
        Ok(self)
    }

    /// The run's spec.
    pub fn spec(&self) -> &Spec {
        self.reader.spec()
    }

    /// The run's task.
    ///
    /// # Errors
    /// [`Error::Value`] for a run of toy models, which has none.
    pub fn task(&self) -> Result<&Task> {
        self.task.as_ref().ok_or_else(|| Error::Value {
            what: format!("the run {}", self.folder.display()),
            got: self.spec().subject(),
            expected: "a run of a task: its examples and activations are asked for".into(),
        })
    }

    /// Steps that have a snapshot.
    pub fn steps(&self) -> &[u64] {
        self.reader.steps()
    }

    /// Names of the measures that fit this run's task and model, without those that are taken on request alone.
    pub fn fitting_measures(&self) -> Vec<&'static str> {
        let setting = self.setting();
        let fit = |m: &&&dyn measure::Measure| !m.on_request() && m.fits(&setting).is_ok();
        measure::ALL.iter().filter(fit).map(|m| m.name()).collect()
    }

    /// Measures over a range of checkpoints, all replicas; see [`measure::measure`].
    ///
    /// # Errors
    /// As [`measure::measure`].
    pub fn measure(
        &self,
        names: &[&str],
        steps: RangeInclusive<u64>,
        progress: &mut (dyn FnMut(usize, usize) -> Result<()> + Send),
    ) -> Result<Vec<Series>> {
        let setting = self.setting();
        match self.network() {
            Ok(network) => self.pool.install(|| measure::measure(names, self, &setting, &network, steps, progress)),
            Err(_) => self.pool.install(|| measure::measure(names, self, &setting, &NoActivations, steps, progress)),
        }
    }

    /// Loss and accuracy at every evaluation, as the series of a measure `metrics`.
    ///
    /// # Errors
    /// Damaged files.
    pub fn metrics(&self) -> Result<Vec<Series>> {
        let metrics = Metrics::from_tensors(self.spec().metrics_of(), &self.reader.metrics()?)?;
        let terms = &self.spec().loss.terms;
        let unit = |name: &str| terms.iter().find(|term| term.name() == name).map_or("1", term::unit);
        let of_terms = metrics.terms.into_iter().map(|(name, values)| ((format!("{TERM}{name}"), unit(&name)), values));
        let fixed = metrics_columns(metrics.loss)
            .into_iter()
            .map(|(column, unit)| (column.to_owned(), unit))
            .zip(metrics.columns);
        let series = fixed.chain(of_terms).map(|((column, unit), values_srw)| Series {
            measure: "metrics".into(),
            column,
            unit: unit.into(),
            key_freqs: None,
            steps: metrics.steps.clone(),
            seeds: self.seeds().to_vec(),
            axis: None,
            values_srw,
        });
        Ok(series.collect())
    }

    /// For each replica, the first update that met a non-finite value.
    ///
    /// # Errors
    /// Damaged files.
    pub fn non_finite(&self) -> Result<Vec<Option<u64>>> {
        let replicas = self.seeds().len();
        let Some(latest) = resume::latest(&self.folder)? else { return Ok(vec![None; replicas]) };
        let record = hdf5::read_some(&resume::point_path(&self.folder, latest.point.step), "state/")?;
        let found = record.tensors.iter().find(|t| t.name == "state/non_finite_step");
        let marks: Vec<Option<u64>> = match found.map(|t| &t.data) {
            Some(Data::U64(marks)) => marks.iter().map(|&mark| (mark < u64::MAX).then_some(mark)).collect(),
            _ => vec![None; replicas],
        };
        Ok(Metrics::from_tensors(self.spec().metrics_of(), &self.reader.metrics()?)?.with_last_row(&marks))
    }

    /// Every activation that the model has, with its positions and axes.
    pub fn hooks(&self) -> Vec<HookShape> {
        self.network().map_or(vec![], |network| network.hooks())
    }

    /// Activations of the replica with index `replica` at the checkpoint `step`, over all examples, in f64; the names are
    /// TransformerLens's, and [`RunSeries::hooks`] has those that there are.
    ///
    /// The numbers do not depend on which other hooks are asked for.
    ///
    /// # Shapes
    /// `[N, positions, axes…]`, one a hook: all positions at which the model has it (queries, for `hook_pattern`, whose axes are
    /// `[n_heads, keys]`).
    ///
    /// # Errors
    /// [`Error::Unknown`] for a hook that is not there, with the nearest name; [`Error::Missing`] for a step without a
    /// checkpoint; [`Error::Value`] for a replica that is not there; damaged files.
    pub fn run_with_cache(&self, step: u64, replica: usize, hooks: &[&str]) -> Result<Vec<Tensor>> {
        self.observe(step, replica, &hooks.iter().map(|&name| Hook::value(name)).collect::<Vec<_>>())
    }

    /// As [`RunSeries::run_with_cache`], at some positions or gradients.
    ///
    /// # Errors
    /// As [`RunSeries::run_with_cache`].
    pub fn observe(&self, step: u64, replica: usize, hooks: &[Hook]) -> Result<Vec<Tensor>> {
        let params = self.replica_params(step, replica)?;
        self.network()?.observe(&params, hooks)
    }

    /// The parameters of one replica at a checkpoint, as files have them, without the replica axis.
    fn replica_params(&self, step: u64, replica: usize) -> Result<Vec<Tensor>> {
        if self.steps().binary_search(&step).is_err() {
            let near = self.steps().iter().min_by_key(|known| known.abs_diff(step));
            return Err(Error::Missing {
                what: format!("the checkpoint of step {step}"),
                path: self.folder.clone(),
                hint: near.map(|near| format!("the nearest is that of step {near}")).unwrap_or_default(),
            });
        }
        let n = self.seeds().len();
        if replica >= n {
            return Err(Error::Value {
                what: "replica".into(),
                got: replica.to_string(),
                expected: format!("an index below {n}, the number of replicas"),
            });
        }
        self.reader.read(step)?.params.iter().map(|tensor| tensor.row(replica)).collect()
    }

    fn network(&self) -> Result<Network<'_>> {
        Ok(Network::new(self.spec(), self.task()?))
    }

    /// Task, parameters and hooks: which measures and figures fit.
    pub fn setting(&self) -> Setting<'_> {
        Setting { options: self.options.clone(), ..setting(self.spec(), self.task.as_ref()) }
    }
}

/// A toy model's measures read parameters alone.
struct NoActivations;

impl Forward for NoActivations {
    fn observe(&self, _: &[Tensor], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        let name = hooks.first().map_or(String::new(), |hook| hook.name.clone());
        Err(Error::Unknown { kind: "hook", name, known: vec![] })
    }

    fn logit_gradients(&self, params: &[Tensor], _: &[(usize, u32)], hooks: &[Hook]) -> Result<Vec<Tensor>> {
        self.observe(params, hooks)
    }
}

/// Task, parameters and hooks of a spec, whether or not it was trained; a toy model has no task.
pub fn setting<'a>(spec: &'a Spec, task: Option<&'a Task>) -> Setting<'a> {
    let Some(task) = task else { return toy_setting(spec) };
    let network = Network::new(spec, task);
    Setting {
        examples: Examples::from(task),
        params: network.params(),
        hooks: network.hooks(),
        loss_positions: task.loss_positions.clone(),
        varying_positions: task_shape(task).varying_positions,
        operand_positions: task.modular.as_ref().map_or(vec![], |modular| modular.positions.to_vec()),
        readout: model::readout(&spec.model),
        options: spec.measure.clone(),
        toy: None,
        baselines: Arc::default(),
    }
}

/// Parameters and features of a toy model.
fn toy_setting(spec: &Spec) -> Setting<'_> {
    let nothing = Examples::default();
    let Some(toy) = &spec.toy else { return Setting::new(nothing, &[]) };
    let layout = toy::Network::new(toy).layout;
    let shape = |info: &ParamInfo| ParamShape { name: info.name.clone(), shape: info.shape.clone() };
    Setting {
        params: layout.infos.iter().map(shape).collect(),
        options: spec.measure.clone(),
        toy: toy.replicas(&spec.train.seeds.0).ok().map(|replicas| ToySetting {
            spec: toy,
            replicas: replicas.into(),
            descent_rate: spec.optim.descent_rate(),
        }),
        ..Setting::new(nothing, &[])
    }
}

impl SnapshotSource for RunSeries {
    fn steps(&self) -> &[u64] {
        self.reader.steps()
    }

    fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    fn train_mask_rn(&self) -> &[bool] {
        &self.train_mask_rn
    }

    fn params(&self, step: u64) -> Result<Vec<Tensor>> {
        Ok(self.reader.read(step)?.params)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::checkpoint::RunFolder;
    use crate::engine::LOSS_LOGITS;
    use crate::measure::file;
    use crate::spec::{Act, Family, Init, Input, Join, KeyFreqsBy, ModelSpec, Normalization, Parametrization, Seeds};
    use crate::train::{Progress, TrainOptions, Watch, train};

    struct Silent;

    impl Watch for Silent {
        fn progress(&mut self, _: &Progress) {}
        fn note(&mut self, _: &str) {}
    }

    const CARD: &str = "title = 'x + y mod 7'\nfamily = 'modular'\n[params]\nop = 'x+y'\np = 7\n[layout]\ntokens = 'a b ='\n\
        [split]\ntrain_frac = 0.5\n";

    /// Two replicas of a small transformer with everything on, three updates, in a folder that lives as long as the answer.
    fn trained() -> (tempfile::TempDir, RunSeries) {
        let model = ModelSpec { n_layers: 2, normalization: Normalization::Ln, ..small() };
        trained_as(model)
    }

    fn small() -> ModelSpec {
        ModelSpec { d_model: 8, n_heads: 2, d_mlp: 12, ..ModelSpec::default() }
    }

    fn trained_as(model: ModelSpec) -> (tempfile::TempDir, RunSeries) {
        trained_on(CARD, model)
    }

    fn trained_on(card_text: &str, model: ModelSpec) -> (tempfile::TempDir, RunSeries) {
        let dir = tempfile::tempdir().unwrap();
        let card = dir.path().join("mod_add_7.toml");
        std::fs::write(&card, card_text).unwrap();
        let mut spec = Spec { task: card.display().to_string(), model, ..Spec::default() };
        spec.train.seeds = Seeds(vec![3, 5]);
        spec.train.steps = 3;
        let run = dir.path().join("run");
        let folder = RunFolder::create(&run, &spec, false).unwrap();
        let options = TrainOptions { threads: 1, resume: false, interrupt: &AtomicBool::new(false), gpu: None };
        train(&spec, &folder, &options, &mut Silent).unwrap();
        let series = RunSeries::open(&run, 1).unwrap();
        (dir, series)
    }

    fn bits(tensor: &Tensor) -> Vec<u64> {
        tensor.to_f64().iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn every_hook_is_the_same_alone_and_among_others_at_all_positions() {
        let (_dir, run) = trained();
        let hooks = run.hooks();
        let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
        for name in ["hook_embed", "blocks.1.hook_resid_pre", "blocks.0.attn.hook_pattern", "ln_final.hook_scale"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        let step = *run.steps().last().unwrap();
        let together = run.run_with_cache(step, 1, &names).unwrap();
        for (hook, among) in hooks.iter().zip(&together) {
            let shape = [&[49, 3][..], &hook.axes].concat();
            assert_eq!((&among.name, &among.shape), (&hook.name, &shape));
            let alone = run.run_with_cache(step, 1, &[&hook.name]).unwrap();
            assert_eq!(bits(&alone[0]), bits(among), "{}", hook.name);
        }
        let other = run.run_with_cache(step, 0, &["hook_embed"]).unwrap();
        assert_ne!(bits(&other[0]), bits(&together[0]), "replicas differ");
        // h = resid_pre of block 0 = W_E[token] + W_pos[position], read from the file.
        let params = run.replica_params(step, 1).unwrap();
        let get = |name: &str| params.iter().find(|t| t.name == name).unwrap().to_f64();
        let (w_e, w_pos) = (get("embed.W_E"), get("pos_embed.W_pos"));
        let resid = together.iter().find(|t| t.name == "blocks.0.hook_resid_pre").unwrap().to_f64();
        for (i, &token) in run.task().unwrap().tokens_bt.iter().enumerate() {
            for d in 0..8 {
                let sum = w_e[token as usize * 8 + d] + w_pos[i % 3 * 8 + d];
                assert!((resid[i * 8 + d] - sum).abs() < 1e-15, "row {i}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is_near() {
        let (_dir, run) = trained();
        let step = *run.steps().last().unwrap();
        let error = run.run_with_cache(step, 0, &["blocks.0.mlp.hook_pst"]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `blocks.0.mlp.hook_post`?");
        let error = run.run_with_cache(step + 7, 0, &["logits"]).unwrap_err();
        assert_eq!(error.hint().unwrap(), format!("the nearest is that of step {step}"));
        let error = run.run_with_cache(step, 2, &["logits"]).unwrap_err();
        assert!(error.to_string().contains("below 2"), "{error}");
    }

    /// d logit / d W_E[a] is the gradient at the embedding of operand a, as long as the other operand is another token.
    #[test]
    fn gradients_of_single_logits_are_differences_of_logits() {
        let (_dir, run) = trained();
        let params = run.replica_params(3, 0).unwrap();
        let network = run.network().unwrap();
        let (example, class) = (2 * 7 + 5, 4u32);
        let at = Hook::value("hook_embed").at([0, 1]);
        let gradients = network.logit_gradients(&params, &[(0, 0), (example, class)], &[at]).unwrap();
        assert_eq!(gradients[0].shape, [2, 2, 8]);
        let gradient = &gradients[0].to_f64()[16..];
        let logit = |token: usize, d: usize, by: f64| {
            let mut moved: Vec<Tensor> =
                params.iter().map(|t| Tensor { data: Data::F64(t.to_f64()), ..t.clone() }).collect();
            let w_e = moved.iter_mut().find(|t| t.name == "embed.W_E").unwrap();
            let Data::F64(values) = &mut w_e.data else { unreachable!() };
            values[token * 8 + d] += by;
            let logits = network.observe(&moved, &[Hook::value(LOSS_LOGITS)]).unwrap();
            logits[0].to_f64()[example * 7 + class as usize]
        };
        for (operand, token) in [2, 5].into_iter().enumerate() {
            for d in 0..8 {
                let slope = (logit(token, d, 1e-5) - logit(token, d, -1e-5)) / 2e-5;
                let got = gradient[operand * 8 + d];
                assert!((got - slope).abs() < 1e-8 * (1.0 + slope.abs()), "{operand} {d}: {got} against {slope}");
            }
        }
    }

    /// The gradient of the mean loss at the logits is (softmax − onehot) / N.
    #[test]
    fn a_gradient_among_the_hooks_is_that_of_the_mean_loss() {
        let (_dir, run) = trained();
        let params = run.replica_params(3, 0).unwrap();
        let hooks = [Hook::value(LOSS_LOGITS), Hook::gradient(LOSS_LOGITS)];
        let observed = run.network().unwrap().observe(&params, &hooks).unwrap();
        let (logits, gradients) = (observed[0].to_f64(), observed[1].to_f64());
        for (n, (logits, gradient)) in logits.chunks(7).zip(gradients.chunks(7)).enumerate() {
            let sum: f64 = logits.iter().map(|x| x.exp()).sum();
            for (c, (x, got)) in logits.iter().zip(gradient).enumerate() {
                let hit = f64::from(c as u32 == run.task().unwrap().targets_bl[n]);
                assert!((got - (x.exp() / sum - hit) / 49.0).abs() < 1e-16, "example {n}, class {c}");
            }
        }
    }

    #[test]
    fn every_measure_that_fits_is_measured_saved_and_read_back() {
        let (dir, run) = trained();
        let names = run.fitting_measures();
        for name in ["gradient_symmetricity", "circle_isolation", "decompose_neurons", "weights_trajectory"] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        let all = |threads: usize| {
            let run = RunSeries::open(&dir.path().join("run"), threads).unwrap();
            run.measure(&names, 0..=3, &mut |_, _| Ok(())).unwrap()
        };
        let series = all(1);
        let bits = |series: &[Series]| -> Vec<u64> {
            series.iter().flat_map(|series| series.values_srw.iter().map(|x| x.to_bits())).collect()
        };
        assert_eq!(bits(&all(2)), bits(&series), "threads change a bit");
        file::save(&dir.path().join("run"), &series).unwrap();
        let read = names.iter().map(|name| file::load(&dir.path().join("run"), name).unwrap()).collect::<Vec<_>>();
        assert_eq!(bits(&read.concat()), bits(&series));
        let units = |series: &[Series]| series.iter().map(|s| (s.column.clone(), s.unit.clone())).collect::<Vec<_>>();
        assert_eq!(units(&read.concat()), units(&series), "columns and units come back");
        for name in &names {
            let own = series.iter().filter(|series| series.measure == *name);
            let numbers = own.flat_map(|series| &series.values_srw).filter(|x| x.is_finite()).count();
            assert!(numbers > 0, "{name} gives no number at all");
        }
    }

    #[test]
    fn a_measure_has_the_same_bits_alone_and_among_others() {
        let (_dir, run) = trained();
        let names = run.fitting_measures();
        let all = run.measure(&names, 3..=3, &mut |_, _| Ok(())).unwrap();
        for name in names {
            let alone = run.measure(&[name], 3..=3, &mut |_, _| Ok(())).unwrap();
            for (alone, among) in alone.iter().zip(all.iter().filter(|series| series.measure == name)) {
                let bits = |series: &Series| series.values_srw.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(alone), bits(among), "{name} {}", among.column);
            }
        }
    }

    #[test]
    fn a_model_that_sees_the_sum_of_embeddings_has_symmetric_gradients_and_others_have_not() {
        let symmetricity = |join: Join| {
            let model = ModelSpec { family: Family::Mlp, join, ..small() };
            let (_dir, run) = trained_as(model);
            run.measure(&["gradient_symmetricity"], 3..=3, &mut |_, _| Ok(())).unwrap()[0].values_srw[0]
        };
        assert!((symmetricity(Join::Sum) - 1.0).abs() < 1e-12);
        assert!(symmetricity(Join::Concat).abs() < 0.9);
    }

    /// In an MLP all that the logits have of the waves of a + b comes from the neurons, through W_U and the factor of the readout.
    #[test]
    fn waves_kept_in_the_neurons_are_waves_kept_in_the_logits_of_an_mlp() {
        let analytic = ModelSpec {
            family: Family::Mlp,
            input: Input::Onehot,
            parametrization: Parametrization::MeanField,
            init: Init::Gromov,
            act: Act::Square,
            d_mlp: 24,
            ..small()
        };
        let embedded = ModelSpec { input: Input::Embed, init: ModelSpec::default().init, ..analytic.clone() };
        let plain = ModelSpec { parametrization: Parametrization::Standard, ..embedded.clone() };
        for model in [analytic, embedded, plain] {
            let (_dir, run) = trained_as(model);
            let series =
                run.measure(&["restricted_loss", "restricted_loss_protocols"], 0..=3, &mut |_, _| Ok(())).unwrap();
            for split in ["all", "train", "test"] {
                let get = |name: &str| {
                    let column = format!("{name}_{split}_loss_nats");
                    &series.iter().find(|series| series.column == column).unwrap().values_srw
                };
                for (neurons, logits) in get("neurons").iter().zip(get("restricted")) {
                    assert!(
                        (neurons - logits).abs() < 1e-11,
                        "{split}: {neurons} in the neurons, {logits} in the logits"
                    );
                }
            }
        }
    }

    const TWO_OPS: &str = "title = 't'\nfamily = 'modular'\n[params]\nops = ['x+y', 'x-y']\np = 5\n\
        [layout]\ntokens = 'a op b ='\n[split]\ntrain_frac = 0.5\n";

    #[test]
    fn operands_stand_where_the_layout_has_them() {
        for (layout, operands, varying) in
            [("a op b =", vec![0, 2], vec![0, 1, 2]), ("op a b =", vec![1, 2], vec![0, 1, 2])]
        {
            let (_dir, run) = trained_on(&TWO_OPS.replace("a op b =", layout), small());
            let setting = run.setting();
            assert_eq!((setting.operand_positions, setting.varying_positions), (operands, varying), "{layout}");
        }
        let one = TWO_OPS.replace("ops = ['x+y', 'x-y']", "op = 'x-y'");
        let (_dir, run) = trained_on(&one, small());
        let setting = run.setting();
        assert_eq!((setting.operand_positions, setting.varying_positions), (vec![0, 2], vec![0, 2]));
    }

    /// A run whose parameters are not numbers.
    struct Spoilt<'a>(&'a RunSeries);

    impl SnapshotSource for Spoilt<'_> {
        fn steps(&self) -> &[u64] {
            SnapshotSource::steps(self.0)
        }

        fn seeds(&self) -> &[u64] {
            self.0.seeds()
        }

        fn train_mask_rn(&self) -> &[bool] {
            &self.0.train_mask_rn
        }

        fn params(&self, step: u64) -> Result<Vec<Tensor>> {
            let spoil = |t: Tensor| Tensor { data: Data::F32(vec![f32::NAN; t.to_f64().len()]), ..t };
            Ok(self.0.params(step)?.into_iter().map(spoil).collect())
        }
    }

    /// Tasks and models of every kind: each measure that fits has numbers, and none when the parameters are not numbers.
    #[test]
    fn whatever_fits_has_numbers_and_none_when_parameters_are_not_numbers() {
        let mlp = || ModelSpec { family: Family::Mlp, ..small() };
        let joined = || ModelSpec { join: Join::Concat, ..mlp() };
        let one_hot = || ModelSpec { input: Input::Onehot, ..mlp() };
        let mean_field = || ModelSpec { parametrization: Parametrization::MeanField, act: Act::Square, ..one_hot() };
        let add = || CARD.to_owned();
        let of = |op: &str| CARD.replace("x+y", op);
        let table: [(&str, String, ModelSpec, &[&str]); 10] = [
            ("transformer", add(), small(), &["circle_isolation", "neuron_ipr"]),
            ("products", of("x*y"), small(), &["circle_isolation", "distance_irrelevance", "decompose_neurons"]),
            ("quotients", of("x/y"), mlp(), &["gradient_symmetricity", "decompose_logits", "neuron_ipr"]),
            ("y + x", of("y+x"), small(), &["restricted_loss"]),
            ("another operation", of("x^2+y"), joined(), &["ipr", "gini", "decompose_w_e"]),
            ("concat", add(), joined(), &["neuron_ipr"]),
            ("mean field", add(), mean_field(), &["ipr", "neuron_ipr", "mlp_directions_explained"]),
            ("two operations, concat", TWO_OPS.to_owned(), joined(), &["neuron_ipr", "ipr", "logits_pca"]),
            ("two operations, one-hot", TWO_OPS.to_owned(), one_hot(), &["neuron_ipr", "ipr"]),
            ("attention alone", add(), ModelSpec { d_mlp: 0, ..small() }, &["w_l_rank", "excluded_loss_each"]),
        ];
        for (what, card, model, among) in table {
            let (_dir, run) = trained_on(&card, model);
            let names = run.fitting_measures();
            for name in among {
                assert!(names.contains(name), "{what}: {name} is not among {names:?}");
            }
            let series = run.measure(&names, 0..=3, &mut |_, _| Ok(())).unwrap();
            for name in &names {
                let own = series.iter().filter(|series| series.measure == *name);
                let numbers = own.flat_map(|series| &series.values_srw).filter(|x| x.is_finite()).count();
                assert!(numbers > 0, "{what}: {name} gives no number at all");
            }
            let (setting, network) = (run.setting(), run.network().unwrap());
            let spoilt =
                measure::measure(&names, &Spoilt(&run), &setting, &network, 0..=3, &mut |_, _| Ok(())).unwrap();
            for series in spoilt {
                // The way to the first checkpoint has length 0 whatever stands there.
                let first = usize::from(series.column == "travelled") * series.seeds.len();
                let numbers = series.values_srw[first..].iter().filter(|x| !x.is_nan()).count();
                assert_eq!(
                    numbers, 0,
                    "{what}: {} {} of parameters that are not numbers",
                    series.measure, series.column
                );
            }
        }
    }

    /// Gradients of single logits come from plans that are made once, and stay right for other parameters.
    #[test]
    fn gradients_of_single_logits_are_the_same_from_plans_in_use() {
        let (_dir, run) = trained();
        let used = run.network().unwrap();
        let (which, at) = ([(3, 2), (40, 6)], [Hook::value("hook_embed").at([0, 1])]);
        for (step, replica) in [(0, 0), (3, 1), (3, 0)] {
            let params = run.replica_params(step, replica).unwrap();
            let fresh = run.network().unwrap().logit_gradients(&params, &which, &at).unwrap();
            assert_eq!(bits(&used.logit_gradients(&params, &which, &at).unwrap()[0]), bits(&fresh[0]));
        }
    }

    /// What all measures on one checkpoint of one replica cost, for the canonical model (p = 113, d_mlp 512), with as many key frequencies as
    /// it has when it is trained: run it with
    /// `cargo test --release -- --ignored --nocapture how_many_forward_passes`.
    #[test]
    #[ignore = "prints times, which a busy machine makes meaningless"]
    fn how_many_forward_passes_all_measures_cost() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = Spec::default();
        spec.train.seeds = Seeds(vec![0]);
        spec.train.steps = 1;
        // Untrained weights have nearly all frequencies by every rule.
        spec.measure.key_freqs = KeyFreqsBy::List(vec![14, 35, 41, 42, 52]);
        let run = dir.path().join("run");
        let folder = RunFolder::create(&run, &spec, false).unwrap();
        let options = TrainOptions { threads: 1, resume: false, interrupt: &AtomicBool::new(false), gpu: None };
        train(&spec, &folder, &options, &mut Silent).unwrap();
        let series = RunSeries::open(&run, 1).unwrap();
        let params: Vec<Tensor> = series.replica_params(1, 0).unwrap();
        let params: Vec<Tensor> = (params.into_iter())
            .map(|t| Tensor { name: t.name.clone(), shape: t.shape.clone(), data: Data::F64(t.to_f64()) })
            .collect();
        // The fastest of five: what the work costs, without what the machine does besides.
        let fastest = |work: &mut dyn FnMut()| {
            let time = |_| {
                let start = std::time::Instant::now();
                work();
                start.elapsed().as_secs_f64()
            };
            (0..5).map(time).fold(f64::INFINITY, f64::min)
        };
        let network = series.network().unwrap();
        let logits = [Hook::value(LOSS_LOGITS)];
        let forward = fastest(&mut || drop(network.observe(&params, &logits).unwrap()));
        println!("one forward pass over all pairs: {:.1} ms", forward * 1e3);
        let time = |names: &[&str]| {
            let cost = fastest(&mut || drop(series.measure(names, 1..=1, &mut |_, _| Ok(())).unwrap()));
            println!("{:9.1} ms  {:5.2} passes  {}", cost * 1e3, cost / forward, names.join(" "));
        };
        let names = series.fitting_measures();
        names.iter().for_each(|name| time(&[name]));
        time(&names);
        // Taking a matrix apart is no pass through the model.
        time(&names.iter().filter(|name| !name.starts_with("decompose_")).copied().collect::<Vec<_>>());
        let everywhere = |name: &&&str| !matches!(measure::find(name).unwrap().scope(), measure::Scope::Last);
        time(&names.iter().filter(everywhere).copied().collect::<Vec<_>>());
    }
}
