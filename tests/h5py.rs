//! Every kind of file opens in h5py with equal bits.
//!
//! Needs a Python with h5py: `PHASELAB_TEST_PYTHON`, else `python3`; without one the test says so and stops. The
//! script is `tests/fixtures/read_back.py`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use phaselab::checkpoint::snapshot::loose_path;
use phaselab::checkpoint::{
    Attr, Kind, MEASURES, PACKED, Record, ResumePoint, RunFolder, Snapshot, hdf5, pack, resume::point_path,
};
use phaselab::spec::{Seeds, Spec, TrainSpec};
use phaselab::tensor::{Data, Tensor};

use crate::exchange::python;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/read_back.py");

fn tensor(name: &str, shape: &[usize], data: Data) -> Tensor {
    Tensor::new(name, shape.to_vec(), data).unwrap()
}

fn snapshot(step: u64) -> Snapshot {
    // NaNs with payloads, infinities, subnormals and -0 among ordinary numbers.
    let bits = (0..2 * 70 * 64).map(|i: u32| i.wrapping_mul(2_654_435_761) ^ step as u32);
    Snapshot {
        step,
        params: vec![
            tensor("embed.W_E", &[2, 70, 64], Data::F32(bits.map(f32::from_bits).collect())),
            tensor(
                "unembed.b_U",
                &[2, 3],
                Data::F64([0x7ff8_0000_0000_0001, 1, 1 << 63].repeat(2).into_iter().map(f64::from_bits).collect()),
            ),
        ],
        train_mask: tensor("train_mask", &[2, 4], Data::U8(vec![1, 0, 0, 1, 1, 1, 0, 0])),
    }
}

fn metrics() -> Vec<Tensor> {
    vec![
        tensor("metrics/step", &[3], Data::U64(vec![0, 10, u64::MAX])),
        tensor("metrics/train_acc_frac", &[3, 2], Data::F64(vec![0.0, 0.5, f64::NAN, 1.0, -0.0, 0.25])),
    ]
}

/// dtype as numpy writes it, shape, little-endian bytes as hex.
fn as_numpy(tensor: &Tensor) -> (String, String, String) {
    let (dtype, bytes): (&str, Vec<u8>) = match &tensor.data {
        Data::F32(v) => ("<f4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::F64(v) => ("<f8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::U8(v) => ("|u1", v.clone()),
        Data::U32(v) => ("<u4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::U64(v) => ("<u8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
    };
    let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
    (dtype.into(), shape.join(","), hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What h5py saw in one file: attributes and datasets by name, the rest of each line split at its tabs.
#[derive(Default)]
struct Seen {
    attrs: BTreeMap<String, Vec<String>>,
    datasets: BTreeMap<String, Vec<String>>,
}

impl Seen {
    fn has_tensor(&self, tensor: &Tensor) {
        let seen = self.datasets.get(&tensor.name).unwrap_or_else(|| panic!("no dataset {}", tensor.name));
        let (dtype, shape, bytes) = as_numpy(tensor);
        assert_eq!((&seen[0], &seen[1]), (&dtype, &shape), "{}", tensor.name);
        assert!(seen[3] == bytes, "the bits of {} differ", tensor.name);
    }

    fn has_attr(&self, name: &str, value: &Attr) {
        let expected = match value {
            Attr::Text(text) => ["str".to_owned(), hex(text.as_bytes())],
            Attr::U64(count) => ["<u8".to_owned(), hex(&count.to_le_bytes())],
            Attr::F64(real) => ["<f8".to_owned(), hex(&real.to_le_bytes())],
        };
        assert_eq!(self.attrs.get(name).map(Vec::as_slice), Some(&expected[..]), "{name}");
    }
}

fn read_with_h5py(python: &str, files: &[PathBuf]) -> BTreeMap<PathBuf, Seen> {
    let output = Command::new(python).arg(SCRIPT).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen: BTreeMap<PathBuf, Seen> = BTreeMap::new();
    let mut at = PathBuf::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let (kind, name) = (fields.next().unwrap(), fields.next().unwrap());
        match kind.as_str() {
            "file" => at = name.into(),
            "attr" => drop(seen.entry(at.clone()).or_default().attrs.insert(name, fields.collect())),
            _ => drop(seen.entry(at.clone()).or_default().datasets.insert(name, fields.collect())),
        }
    }
    seen
}

fn new_run(path: &Path) -> RunFolder {
    let train = TrainSpec { seeds: Seeds(vec![3, 5]), ..TrainSpec::default() };
    RunFolder::create(path, &Spec { title: "π in the title".into(), train, ..Spec::default() }, false).unwrap()
}

fn params_on_disk(snapshot: &Snapshot) -> impl Iterator<Item = Tensor> {
    snapshot.params.iter().map(|param| Tensor { name: format!("params/{}", param.name), ..param.clone() })
}

#[test]
fn snapshots_resume_points_and_measures_open_in_h5py_with_equal_bits() {
    let Some(python) = python("h5py") else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = new_run(dir.path());
    snapshot(10).write(&folder).unwrap();
    let mut state = metrics();
    state.push(tensor("moments/v/embed.W_E", &[1, 2], Data::F64(vec![1.5, f64::MIN_POSITIVE])));
    state.push(tensor("generators/tokens", &[2], Data::U32(vec![u32::MAX, 7])));
    state.push(tensor("empty", &[0, 2], Data::F32(vec![])));
    state.push(tensor("scalar", &[], Data::F32(vec![0.1])));
    ResumePoint { step: 10, plan_fingerprint: "abc".into(), tensors: state.clone() }.write(&folder).unwrap();
    let series = tensor("weight_norm/value", &[1, 2, 1], Data::F64(vec![f64::NAN, 2.0]));
    let attrs = vec![("half".to_owned(), Attr::F64(0.5)), ("unit".to_owned(), Attr::Text(String::new()))];
    let measures = dir.path().join(MEASURES).join("weight_norm.h5");
    let record = Record { kind: Kind::Measures, attrs, tensors: vec![series] };
    hdf5::write_atomic(&measures, &record).unwrap();

    let files = [loose_path(dir.path(), 10), point_path(dir.path(), 10), measures];
    let seen = read_with_h5py(&python, &files);
    let (loose, point, measured) = (&seen[&files[0]], &seen[&files[1]], &seen[&files[2]]);
    params_on_disk(&snapshot(10)).for_each(|param| loose.has_tensor(&param));
    loose.has_tensor(&snapshot(10).train_mask);
    loose.has_attr("phaselab_format", &Attr::U64(1));
    loose.has_attr("kind", &Attr::Text("snapshot".into()));
    loose.has_attr("step", &Attr::U64(10));
    loose.has_attr("seeds", &Attr::Text("3,5".into()));
    loose.has_attr("spec", &Attr::Text(folder.spec().to_toml()));
    state.iter().for_each(|tensor| point.has_tensor(tensor));
    point.has_attr("plan_fingerprint", &Attr::Text("abc".into()));
    measured.has_tensor(&record.tensors[0]);
    record.attrs.iter().for_each(|(name, value)| measured.has_attr(name, value));
}

#[test]
fn a_packed_run_opens_in_h5py_with_equal_bits() {
    let Some(python) = python("h5py") else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = new_run(dir.path());
    let steps: Vec<u64> = (0..40).collect();
    for &step in &steps {
        snapshot(step).write(&folder).unwrap();
    }
    ResumePoint { step: 39, plan_fingerprint: "abc".into(), tensors: metrics() }.write(&folder).unwrap();
    pack(&folder).unwrap();

    let file = dir.path().join(PACKED);
    let seen = &read_with_h5py(&python, std::slice::from_ref(&file))[&file];
    for index in 0..2 {
        let slices: Vec<Tensor> =
            steps.iter().map(|&step| params_on_disk(&snapshot(step)).nth(index).unwrap()).collect();
        let data = match index {
            0 => Data::F32(
                slices.iter().flat_map(|t| if let Data::F32(v) = &t.data { v.clone() } else { vec![] }).collect(),
            ),
            _ => Data::F64(
                slices.iter().flat_map(|t| if let Data::F64(v) = &t.data { v.clone() } else { vec![] }).collect(),
            ),
        };
        let shape = [&[steps.len()], &slices[0].shape[..]].concat();
        seen.has_tensor(&Tensor::new(slices[0].name.clone(), shape, data).unwrap());
    }
    seen.has_tensor(&tensor("steps", &[40], Data::U64(steps)));
    seen.has_tensor(&tensor("seeds", &[2], Data::U64(vec![3, 5])));
    seen.has_tensor(&snapshot(0).train_mask);
    metrics().iter().for_each(|tensor| seen.has_tensor(tensor));
    seen.has_attr("kind", &Attr::Text("run".into()));
    // 40 slices of 2 replicas: more chunks than one block of the index holds.
    assert_eq!(seen.datasets["checksums/params/embed.W_E"][1], "40");
}
