//! A drawn figure -> `NAME.svg`, `NAME.png`, `NAME.csv`.
//!
//! Reads a [`Sink`]; writes three files, each whole or not at all, over older ones. The same input gives the same bytes.

use std::path::{Path, PathBuf};

use plotters::backend::BitMapBackend;
use plotters::prelude::DrawingBackend;

use super::Sink;
use super::raster;
use super::style::{PAGE, PNG_SCALE};
use super::svg::svg;
use crate::checkpoint::atomic;
use crate::error::{Error, Result};

/// Writes the three files into `folder`, which is made where it is not there; gives their paths.
///
/// # Errors
/// [`Error::Draw`] from the drawing library, [`Error::Io`].
pub fn save(sink: &Sink, name: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    let paths = ["svg", "png", "csv"].map(|extension| folder.join(format!("{name}.{extension}")));
    let [svg_path, png_path, csv_path] = &paths;
    let text = svg(&sink.drawing, PAGE).map_err(|cause| Error::Draw { path: svg_path.clone(), cause })?;
    atomic::write_text(svg_path, true, &text)?;
    atomic::write(png_path, true, |temporary| {
        write_png(sink, temporary).map_err(|cause| Error::Draw { path: png_path.clone(), cause })
    })?;
    atomic::write_text(csv_path, true, &sink.table.text())?;
    Ok(paths.to_vec())
}

fn write_png(sink: &Sink, path: &Path) -> Result<(), String> {
    let size = (PAGE.0 * PNG_SCALE, PAGE.1 * PNG_SCALE);
    let rgb = raster::pixels(&sink.drawing, PAGE, PNG_SCALE);
    let mut backend = BitMapBackend::new(path, size);
    backend.blit_bitmap((0, 0), size, &rgb).map_err(|e| e.to_string())?;
    backend.present().map_err(|e| e.to_string())
}
