//! A drawn figure -> `NAME.svg`, `NAME.png`, `NAME.csv`.
//!
//! Reads a [`Sink`]; writes three files, each whole or not at all, over older ones. The same input gives the same bytes.

use std::path::{Path, PathBuf};

use plotters::backend::BitMapBackend;
use plotters::prelude::DrawingBackend;

use super::Sink;
use super::raster;
use super::style::PNG_SCALE;
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
    let text = svg(&sink.drawing).map_err(|cause| Error::Draw { path: svg_path.clone(), cause })?;
    atomic::write_text(svg_path, true, &text)?;
    atomic::write(png_path, true, |temporary| {
        write_png(sink, temporary).map_err(|cause| Error::Draw { path: png_path.clone(), cause })
    })?;
    atomic::write_text(csv_path, true, &sink.table.text())?;
    Ok(paths.to_vec())
}

fn write_png(sink: &Sink, path: &Path) -> Result<(), String> {
    let (width, height) = sink.drawing.page;
    let size = (width * PNG_SCALE, height * PNG_SCALE);
    let rgb = raster::pixels(&sink.drawing, PNG_SCALE);
    let mut backend = BitMapBackend::new(path, size);
    backend.blit_bitmap((0, 0), size, &rgb).map_err(|e| e.to_string())?;
    backend.present().map_err(|e| e.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{ALL, draw, synthetic};
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_bytes_and_a_picture_of_the_right_size() {
        let run = synthetic::run(&[0, 1, 3, 10, 30, 100, 300, 1000], 3);
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for figure in ALL {
            let paths = draw(*figure, &run.input(), first.path()).unwrap();
            let again = draw(*figure, &run.input(), second.path()).unwrap();
            for (path, again) in paths.iter().zip(&again) {
                assert!(std::fs::read(path).unwrap() == std::fs::read(again).unwrap(), "{} differs", path.display());
            }
            let mut png = png::Decoder::new(std::fs::File::open(&paths[1]).unwrap()).read_info().unwrap();
            let mut pixels = vec![0; png.output_buffer_size()];
            let info = png.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (1400, 900));
            let colors: BTreeSet<&[u8]> = pixels.chunks(3).collect();
            assert!(colors.len() > 60, "{} has {} colours", figure.name(), colors.len());
            let white = pixels.chunks(3).filter(|pixel| *pixel == [255; 3]).count();
            assert!(white > 1400 * 900 / 8, "{}: no white ground", figure.name());
        }
        let names: Vec<PathBuf> = atomic::list(first.path()).unwrap();
        assert_eq!(names.len(), 3 * ALL.len(), "{names:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_of_the_system() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = draw(ALL[0], &synthetic::run(&[1, 10], 1).input(), &file.join("figures")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }
}
