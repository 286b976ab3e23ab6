//! A drawn figure -> `NAME.svg`, `NAME.png`, `NAME.csv`.
//!
//! Reads a [`Sink`]; writes three files, each whole or not at all, over older ones. The same input gives the same bytes.

use std::path::{Path, PathBuf};

use super::Sink;
use super::style::PNG_SCALE;
use super::svg::svg;
use super::{png, raster};
use crate::checkpoint::atomic;
use crate::error::{Error, Result};

/// Writes the three files into `folder`, which is made where it is not there; gives their paths.
///
/// # Errors
/// [`Error::Draw`] from the PNG encoder, [`Error::Io`].
pub fn save(sink: &Sink, name: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    let paths = ["svg", "png", "csv"].map(|extension| folder.join(format!("{name}.{extension}")));
    let [svg_path, png_path, csv_path] = &paths;
    let text = svg(&sink.drawing).map_err(|cause| Error::Draw { path: svg_path.clone(), cause })?;
    atomic::write_text(svg_path, true, &text)?;
    let (width, height) = sink.drawing.page;
    let rgb = raster::pixels(&sink.drawing, PNG_SCALE);
    let picture = png::encode(width * PNG_SCALE, height * PNG_SCALE, &rgb)
        .map_err(|cause| Error::Draw { path: png_path.clone(), cause })?;
    atomic::write(png_path, true, |temporary| {
        std::fs::write(temporary, &picture).map_err(Error::io("write", png_path))
    })?;
    atomic::write_text(csv_path, true, &sink.table.text())?;
    Ok(paths.to_vec())
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
        let of_tasks: Vec<_> = ALL.iter().filter(|figure| !figure.is_of_toys()).collect();
        for figure in &of_tasks {
            let paths = draw(**figure, &run.input(), first.path()).unwrap();
            let again = draw(**figure, &run.input(), second.path()).unwrap();
            for (path, again) in paths.iter().zip(&again) {
                assert!(std::fs::read(path).unwrap() == std::fs::read(again).unwrap(), "{} differs", path.display());
            }
            let mut png = ::png::Decoder::new(std::fs::File::open(&paths[1]).unwrap()).read_info().unwrap();
            let mut pixels = vec![0; png.output_buffer_size()];
            let info = png.next_frame(&mut pixels).unwrap();
            assert_eq!(info.width, 1400);
            assert!(info.height == 900 || figure.reads_checkpoint(), "{} is {} high", figure.name(), info.height);
            let colors: BTreeSet<&[u8]> = pixels.chunks(3).collect();
            assert!(colors.len() > 60, "{} has {} colours", figure.name(), colors.len());
            let white = pixels.chunks(3).filter(|pixel| *pixel == [255; 3]).count();
            assert!(white > pixels.len() / 24, "{}: no white ground", figure.name());
        }
        let names: Vec<PathBuf> = atomic::list(first.path()).unwrap();
        assert_eq!(names.len(), 3 * of_tasks.len(), "{names:?}");
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
