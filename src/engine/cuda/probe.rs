//! Which of CUDA's libraries and which GPUs are there, without touching what would panic if they are not.
//!
//! Three libraries are needed: the driver's (it comes with the driver alone), NVRTC, which compiles the kernels, and cuBLASLt. They are
//! looked for where the system's loader looks, `LD_LIBRARY_PATH` included, and in the folders that the caller names.

use std::path::{Path, PathBuf};

use cudarc::driver::{result, sys};
use libloading::Library;

use crate::error::{Error, Result};

/// A library that a GPU needs.
#[derive(Debug, Clone)]
pub struct Needed {
    /// What people call it.
    pub name: &'static str,
    /// Whether it can be loaded.
    pub found: bool,
    /// File names that were tried.
    pub tried: Vec<String>,
}

/// A GPU.
#[derive(Debug, Clone)]
pub struct Gpu {
    /// Its number.
    pub ordinal: usize,
    /// The vendor's name for it.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Bytes of its memory.
    pub bytes: usize,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The driver's library, NVRTC, cuBLASLt.
    pub needed: [Needed; 3],
    /// The GPUs that the driver tells of.
    pub gpus: Vec<Gpu>,
    /// What the driver said, where it did not answer.
    pub refused: Option<String>,
    /// Where else libraries were looked for.
    pub folders: Vec<PathBuf>,
}

/// Looks for the libraries and asks the driver for its GPUs.
pub fn probe(folders: &[PathBuf]) -> Probe {
    let find = |name: &'static str, stems: &[&str]| {
        let tried: Vec<String> = stems.iter().flat_map(|stem| cudarc::get_lib_name_candidates(stem)).collect();
        let found = tried.iter().any(|file| can_load(Path::new(file)))
            || folders.iter().any(|folder| tried.iter().any(|file| can_load(&folder.join(file))));
        Needed { name, found, tried }
    };
    let needed =
        [find("the driver's library", &["cuda", "nvcuda"]), find("NVRTC", &["nvrtc"]), find("cuBLASLt", &["cublasLt"])];
    let gpus = if needed[0].found { gpus() } else { Ok(vec![]) };
    let (gpus, refused) = match gpus {
        Ok(gpus) => (gpus, None),
        Err(error) => (vec![], Some(error.to_string())),
    };
    Probe { needed, gpus, refused, folders: folders.to_vec() }
}

/// Loads a library for good, so that whoever asks for its name later gets it from wherever it lies.
fn can_load(path: &Path) -> bool {
    // SAFETY: these are libraries of CUDA, which do nothing harmful when they are loaded.
    match unsafe { Library::new(path) } {
        Ok(library) => {
            std::mem::forget(library);
            true
        }
        Err(_) => false,
    }
}

fn gpus() -> Result<Vec<Gpu>, result::DriverError> {
    result::init()?;
    let count = result::device::get_count()?;
    (0..count)
        .map(|ordinal| {
            let device = result::device::get(ordinal)?;
            // SAFETY: the device is one that the driver has just given.
            unsafe {
                use sys::CUdevice_attribute as Is;
                let attribute = |attribute| result::device::get_attribute(device, attribute);
                let major = attribute(Is::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
                let minor = attribute(Is::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
                Ok(Gpu {
                    ordinal: ordinal as usize,
                    name: result::device::get_name(device)?,
                    capability: (major, minor),
                    bytes: result::device::total_mem(device)?,
                })
            }
        })
        .collect()
}

impl Probe {
    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// [`Error::Gpu`], which says what is missing, what was tried, and what helps.
    pub fn gpu(&self, ordinal: usize) -> Result<&Gpu> {
        let missing: Vec<&Needed> = self.needed.iter().filter(|needed| !needed.found).collect();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|needed| needed.name).collect();
            let is_driver = !self.needed[0].found;
            let hint = if is_driver {
                "install NVIDIA's driver, or set LD_LIBRARY_PATH to the folder of libcuda.so.1; --device cpu needs none of it"
            } else {
                "install the CUDA toolkit (or `pip install nvidia-cuda-nvrtc nvidia-cublas`), and set LD_LIBRARY_PATH to the \
                 folder of the files, or CUDA_HOME to the toolkit; --device cpu needs none of it"
            };
            return Err(Error::Gpu {
                what: format!("{} cannot be loaded", names.join(" and ")),
                causes: missing.iter().map(|needed| format!("tried {}", needed.tried.join(", "))).collect(),
                hint: hint.into(),
            });
        }
        self.gpus.get(ordinal).ok_or_else(|| Error::Gpu {
            what: match (&self.refused, self.gpus.len()) {
                (Some(_), _) => "the driver does not answer".into(),
                (None, 0) => "the driver knows of none".into(),
                (None, n) => format!(
                    "there is no number {ordinal}, only {}",
                    (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
                ),
            },
            causes: self.refused.iter().cloned().collect(),
            hint: "`phaselab show device` shows what there is; --device cpu needs no GPU".into(),
        })
    }
}
