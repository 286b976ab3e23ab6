//! Kernels -> machine code of a chip, by NVRTC, kept on disk by source and chip.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use cudarc::nvrtc::{result, sys};

use super::source;
use crate::error::{Error, Result};
use crate::spec::Dtype;

/// The kernels in a number type, for a chip of compute capability `capability`, as a CUBIN; `cache` is a folder of earlier ones.
///
/// # Errors
/// [`Error::Gpu`] with the compiler's words. A cache that cannot be read or written is passed over.
pub(super) fn cubin(dtype: Dtype, (major, minor): (i32, i32), cache: Option<&Path>) -> Result<Vec<u8>> {
    let real = if dtype == Dtype::F32 { "float" } else { "double" };
    let text = format!("#define REAL {real}\n{}", source());
    let chip = format!("sm_{major}{minor}");
    let version = version()?;
    let key = crc32fast::hash(format!("{text}{chip}{version:?}").as_bytes());
    let path: Option<PathBuf> =
        cache.map(|folder| folder.join(format!("{chip}-{real}-{key:08x}-{}.cubin", text.len())));
    if let Some(kept) = path.as_ref().and_then(|path| std::fs::read(path).ok()).filter(|kept| is_whole(kept)) {
        return Ok(kept);
    }
    let code = compile(&text, &chip)?;
    if let Some(path) = path {
        keep(&path, &code);
    }
    Ok(code)
}

/// An ELF file, whose last four bytes are the checksum of the others.
fn is_whole(kept: &[u8]) -> bool {
    kept.split_last_chunk::<4>().is_some_and(|(code, sum)| u32::from_le_bytes(*sum) == crc32fast::hash(code))
}

/// Writes beside and renames, so that nobody reads half of it.
fn keep(path: &Path, code: &[u8]) {
    let beside = path.with_extension(format!("{}", std::process::id()));
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&beside, code));
    if written.and_then(|()| std::fs::rename(&beside, path)).is_err() {
        let _ = std::fs::remove_file(&beside);
    }
}

fn version() -> Result<(i32, i32)> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both are places for a number.
    let done = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    done.result().map_err(|e| failed(&format!("NVRTC does not tell its version: {e:?}"), vec![]))?;
    Ok((major, minor))
}

fn failed(what: &str, causes: Vec<String>) -> Error {
    let hint = "update the CUDA toolkit's NVRTC to one that knows this GPU; --device cpu needs none of it";
    Error::Gpu { what: what.into(), causes, hint: hint.into() }
}

/// The code, and its checksum after it.
fn compile(text: &str, chip: &str) -> Result<Vec<u8>> {
    let text = CString::new(text).expect("invariant: sources have no zero bytes");
    let program = result::create_program(&text, Some(c"kernels.cu"));
    let program = program.map_err(|e| failed(&format!("NVRTC does not begin: {e:?}"), vec![]))?;
    let options = [format!("--gpu-architecture={chip}"), "-std=c++17".into(), "-diag-suppress=177".into()];
    // SAFETY: the program was created above and is destroyed once, below.
    unsafe {
        let compiled = result::compile_program(program, &options);
        let code = match compiled {
            Ok(()) => read_cubin(program),
            Err(e) => {
                let log = result::get_program_log(program).unwrap_or_default();
                let log = log.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
                let log = String::from_utf8(log).unwrap_or_default();
                Err(failed(
                    &format!("the kernels do not compile for {chip}: {e:?}"),
                    log.lines().map(str::to_owned).collect(),
                ))
            }
        };
        let _ = result::destroy_program(program);
        code
    }
}

/// # Safety
/// The program is compiled.
unsafe fn read_cubin(program: sys::nvrtcProgram) -> Result<Vec<u8>> {
    let told = |e| failed(&format!("NVRTC does not give the code: {e:?}"), vec![]);
    let mut len = 0;
    // SAFETY: by this function's contract, and the buffer has the length that is asked for first.
    unsafe {
        sys::nvrtcGetCUBINSize(program, &raw mut len).result().map_err(told)?;
        let mut code = vec![0u8; len];
        sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result().map_err(told)?;
        code.extend(crc32fast::hash(&code).to_le_bytes());
        Ok(code)
    }
}

/// The names of all kernels, which the sources tell.
pub(super) fn kernels() -> Vec<CString> {
    let name = |line: &str| {
        let rest = line.strip_prefix("TEAM_KERNEL(").or_else(|| line.strip_prefix("KERNEL("))?;
        CString::new(rest.split(',').next()?.trim()).ok()
    };
    source().lines().filter_map(name).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::probe::probe;
    use super::*;

    /// For chips from the first with plain bf16 to the one after Hopper.
    #[test]
    fn every_kernel_compiles_for_every_chip() {
        let home = std::env::var_os("PHASELAB_TEST_CUDA_HOME").map(PathBuf::from);
        let folders: Vec<PathBuf> = home.iter().flat_map(|home| [home.join("lib64"), home.join("lib")]).collect();
        if !probe(&folders).needed[1].found {
            eprintln!("skipped: NVRTC cannot be loaded; set PHASELAB_TEST_CUDA_HOME to the folder of its `lib`");
            return;
        }
        let cache = tempfile::tempdir().unwrap();
        for dtype in [Dtype::F32, Dtype::F64] {
            for chip in [(8, 0), (8, 9), (9, 0), (10, 0)] {
                let code = cubin(dtype, chip, Some(cache.path())).unwrap();
                for name in kernels() {
                    let name = name.as_bytes();
                    assert!(code.windows(name.len()).any(|window| window == name), "{name:?} is not in the code");
                }
                assert_eq!(cubin(dtype, chip, Some(cache.path())).unwrap(), code, "the kept one");
            }
        }
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 8);
        let refused = compile("nonsense", "sm_90").unwrap_err();
        assert!(refused.cause().join(" ").contains("nonsense"), "{:?}", refused.cause());
    }

    #[test]
    fn kernels_are_told_by_their_sources() {
        let names = kernels();
        for name in [c"act_forward", c"norm_backward", c"attention_forward", c"cross_entropy", c"update"] {
            assert!(names.iter().any(|known| known.as_c_str() == name), "{name:?}");
        }
    }
}
