//! Puts task cards and experiments into the binary: `cards.rs` and `experiments.rs`, slices of (name, text) in order of name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    println!("cargo::rerun-if-changed=build.rs");
    let cards = list(&root.join("tasks"))?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "toml"));
    embed(cards.map(|path| (stem(&path), path)), &out.join("cards.rs"))?;
    let folders = list(&root.join("experiments"))?.into_iter().filter(|path| path.is_dir());
    let specs = folders.map(|folder| (stem(&folder), folder.join("experiment.toml")));
    embed(specs.filter(|(_, path)| path.is_file()), &out.join("experiments.rs"))
}

/// What is in `folder`, in order of name.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Writes `&[("name", include_str!("path")), …]` to `target`.
fn embed(files: impl Iterator<Item = (String, PathBuf)>, target: &Path) -> io::Result<()> {
    let mut code = String::from("&[\n");
    for (name, path) in files {
        writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string()).map_err(io::Error::other)?;
    }
    code.push_str("]\n");
    fs::write(target, code)
}
