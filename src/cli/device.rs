//! What computes: the processor or a GPU, chosen by `--device`; and `phaselab show device`, which tells what there is.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use phaselab::engine::cuda::{Choice, Gpu, Probe, Products, probe};
use phaselab::error::Result;

use super::output::{Output, columns};

/// What computes.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// What takes the steps: `cpu`, a GPU as `cuda` or `cuda:1`, or `auto` for a GPU if there is one
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
    /// On a GPU, round the factors of matrix products to TF32: faster, less precise; the run says so
    #[arg(long, conflicts_with = "bf16")]
    tf32: bool,
    /// On a GPU, round them to bf16, the weights that are kept staying f32
    #[arg(long)]
    bf16: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Auto,
    Cpu,
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Device, String> {
        match text {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            _ => (text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok()).map(Device::Cuda))
                .ok_or_else(|| "it must be auto, cpu, cuda, or cuda:N with the number of a GPU".into()),
        }
    }
}

impl DeviceArgs {
    /// Whether what is asked for by name is there.
    ///
    /// # Errors
    /// [`Error::Gpu`](phaselab::error::Error::Gpu) where it is not.
    pub fn check(&self) -> Result<()> {
        match self.device {
            Device::Cuda(ordinal) => probe(&folders()).gpu(ordinal).map(|_| ()),
            Device::Auto | Device::Cpu => Ok(()),
        }
    }

    /// The GPU that is asked for; none for the processor.
    ///
    /// # Errors
    /// [`Error::Gpu`](phaselab::error::Error::Gpu) for one that cannot be used.
    pub fn choice(&self, output: &Output) -> Result<Option<Choice>> {
        let products = match (self.tf32, self.bf16) {
            (true, _) => Products::Tf32,
            (_, true) => Products::Bf16,
            _ => Products::F32,
        };
        let choice = |gpu: &Gpu| Choice { gpu: gpu.clone(), products, cache: cache() };
        match self.device {
            Device::Cpu => Ok(None),
            Device::Cuda(ordinal) => probe(&folders()).gpu(ordinal).map(|gpu| Some(choice(gpu))),
            Device::Auto => match probe(&folders()).gpu(0) {
                Ok(gpu) => Ok(Some(choice(gpu))),
                Err(e) => {
                    output.note(&format!("on the processor: {e}"));
                    Ok(None)
                }
            },
        }
    }
}

/// Folders of the CUDA toolkit, beside those that the system's loader knows.
fn folders() -> Vec<PathBuf> {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let homes = homes.chain([PathBuf::from("/usr/local/cuda")]);
    homes.flat_map(|home| [home.join("lib64"), home.join("lib")]).filter(|folder| folder.is_dir()).collect()
}

/// Where compiled kernels are kept.
fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    caches.map(|folder| folder.join("phaselab").join("kernels"))
}

/// What `phaselab show device` prints.
pub fn describe() -> String {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("phaselab", env!("CARGO_PKG_VERSION").to_owned()),
        row("system", format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH)),
        row("processor", processor()),
        row("instructions", instructions().join(" ")),
        row("threads", threads.to_string()),
    ];
    rows.extend(gpus(&probe(&folders())).into_iter().map(|(name, value)| row(&name, value)));
    columns(&rows, &[])
}

/// What there is of GPUs and of the libraries that they need.
fn gpus(found: &Probe) -> Vec<(String, String)> {
    let library = |needed: &phaselab::engine::cuda::Needed| {
        let state = match needed.found {
            true => "found".to_owned(),
            false => format!("not found, tried {}", shown(&needed.tried)),
        };
        (needed.name.to_owned(), state)
    };
    let gpu = |gpu: &Gpu| {
        let (major, minor) = gpu.capability;
        let value = format!("{}, compute capability {major}.{minor}, {} MiB", gpu.name, gpu.bytes >> 20);
        (format!("cuda:{}", gpu.ordinal), value)
    };
    let none = match &found.refused {
        Some(words) => format!("none, the driver does not answer: {words}"),
        None => "none".to_owned(),
    };
    let gpus: Vec<_> = found.gpus.iter().map(gpu).collect();
    let gpus = if gpus.is_empty() { vec![("gpu".to_owned(), none)] } else { gpus };
    gpus.into_iter().chain(found.needed.iter().map(library)).collect()
}

/// The first names that were tried, and how many more.
fn shown(tried: &[String]) -> String {
    let first = tried.iter().take(2).cloned().collect::<Vec<_>>().join(", ");
    match tried.len() {
        n if n > 2 => format!("{first} and {} more names", n - 2),
        _ => first,
    }
}

/// The processor's own name, where the system tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// The vector instructions that kernels may use here.
fn instructions() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512dq", std::is_x86_feature_detected!("avx512dq")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}
