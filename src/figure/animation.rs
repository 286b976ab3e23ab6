//! A figure of one checkpoint over training -> `NAME.html`, a page with a slider, and `NAME.apng`, which plays by itself.
//!
//! Reads a [`FigureInput`] and the checkpoints to show; draws the figure once for each. What pictures of toy models' weights choose by a
//! number of the run (the best seed, the reach of axes, the order of neurons) is chosen by the last checkpoint, so that frames can be
//! compared; axes of other figures are each frame's own. The page holds everything it needs and works offline.

use std::path::{Path, PathBuf};

use super::style::PAGE;
use super::svg::{escaped, svg};
use super::{At, Figure, FigureInput, Sink, png, raster};
use crate::checkpoint::atomic;
use crate::error::{Error, Result};

/// Frames at most: more than are told apart, and a file that is still mailed.
pub const MAX_FRAMES: usize = 80;
/// How long a frame is shown, and the last one, ms.
const SHOWN_MS: (u16, u16) = (120, 2000);
const HTML: &str = include_str!("animation.html");

/// Draws `figure` at each of `steps`, evenly chosen where there are more than [`MAX_FRAMES`]; writes `NAME.html` and `NAME.apng` into
/// `folder` and gives their paths.
///
/// # Errors
/// [`Error::Value`] for a figure that shows all of training already, or does not fit, and for a run without checkpoints; those of
/// [`Figure::draw`]; [`Error::Draw`] and [`Error::Io`] from writing.
pub fn animate(figure: &dyn Figure, input: &FigureInput<'_>, steps: &[u64], folder: &Path) -> Result<Vec<PathBuf>> {
    if figure.shows_all_training() {
        return Err(Error::Value {
            what: "figure".into(),
            got: format!("{}, which shows the whole training", figure.name()),
            expected: "one of a single checkpoint".into(),
        });
    }
    super::fitting_probe(figure, input)?;
    let Some(&last) = steps.last() else {
        return Err(Error::Missing {
            what: "every checkpoint".into(),
            path: "snapshots".into(),
            hint: "train first, with `phaselab train` or `phaselab run`".into(),
        });
    };
    let frame = |&step: &u64| {
        let at = At { step: Some(step), chosen_at: Some(last), ..input.at };
        let mut sink = Sink::default();
        figure.draw(&FigureInput { at, ..*input }, &mut sink)?;
        Ok((step, sink))
    };
    let frames: Vec<(u64, Sink)> = chosen(steps).iter().map(frame).collect::<Result<_>>()?;
    std::fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
    let paths = ["html", "apng"].map(|extension| folder.join(format!("{}.{extension}", figure.name())));
    let [html_path, apng_path] = &paths;
    let page = html(input.title, &frames).map_err(|cause| Error::Draw { path: html_path.clone(), cause })?;
    atomic::write_text(html_path, true, &page)?;
    let bytes = apng(&frames).map_err(|cause| Error::Draw { path: apng_path.clone(), cause })?;
    atomic::write(apng_path, true, |temporary| {
        std::fs::write(temporary, &bytes).map_err(Error::io("write", apng_path))
    })?;
    Ok(paths.to_vec())
}

/// The first, the last, and those evenly between.
fn chosen(steps: &[u64]) -> Vec<u64> {
    let n = steps.len();
    if n <= MAX_FRAMES {
        return steps.to_vec();
    }
    (0..MAX_FRAMES).map(|k| steps[k * (n - 1) / (MAX_FRAMES - 1)]).collect()
}

fn html(title: &str, frames: &[(u64, Sink)]) -> Result<String, String> {
    let mut pictures = String::new();
    for (step, sink) in frames {
        pictures += &format!("<div class=\"frame\" data-step=\"{step}\" hidden>\n{}</div>\n", svg(&sink.drawing)?);
    }
    let last = (frames.len() - 1).to_string();
    Ok(HTML.replace("{title}", &escaped(title)).replace("{last}", &last).replace("{frames}", &pictures))
}

/// One pixel a point; frames that are less high than the highest are white below.
fn apng(frames: &[(u64, Sink)]) -> Result<Vec<u8>, String> {
    let height = frames.iter().map(|(_, sink)| sink.drawing.page.1).max().unwrap_or(PAGE.1);
    let width = PAGE.0;
    let pictures = frames.iter().map(|(_, sink)| {
        let mut rgb = raster::pixels(&sink.drawing, 1);
        rgb.resize((width * height * 3) as usize, 255);
        rgb
    });
    png::encode_frames(width, height, &pictures.collect::<Vec<_>>(), SHOWN_MS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{find, synthetic};
    use super::*;

    #[test]
    fn frames_are_the_checkpoints_and_both_files_hold_them() {
        let run = synthetic::run(&[1, 10, 100], 1);
        let folder = tempfile::tempdir().unwrap();
        let figure = find("fourier_bars").unwrap();
        let paths = animate(figure, &run.input(), &[1, 10, 100], folder.path()).unwrap();
        let html = std::fs::read_to_string(&paths[0]).unwrap();
        for step in [1, 10, 100] {
            assert!(html.contains(&format!("data-step=\"{step}\"")), "{step}");
        }
        assert_eq!(html.matches("<svg").count(), 3);
        assert!(html.contains("max=\"2\"") && !html.contains("{frames}") && !html.contains("http://www.w3.org/1999"));
        let mut reader = ::png::Decoder::new(std::fs::File::open(&paths[1]).unwrap()).read_info().unwrap();
        let animation = *reader.info().animation_control().unwrap();
        assert_eq!((animation.num_frames, animation.num_plays), (3, 0));
        let mut stored = vec![0; reader.output_buffer_size()];
        let mut shown = vec![0; stored.len() / 4 * 3];
        for step in [1u64, 10, 100] {
            reader.next_frame(&mut stored).unwrap();
            for (shown, stored) in shown.as_chunks_mut::<3>().0.iter_mut().zip(stored.as_chunks::<4>().0) {
                if stored[3] == 255 {
                    shown.copy_from_slice(&stored[..3]);
                }
            }
            let mut sink = Sink::default();
            let at = At { step: Some(step), chosen_at: Some(100), ..At::default() };
            figure.draw(&FigureInput { at, ..run.input() }, &mut sink).unwrap();
            assert!(raster::pixels(&sink.drawing, 1) == shown, "frame of step {step}");
        }
    }

    #[test]
    fn a_figure_of_all_training_is_refused_and_many_checkpoints_are_thinned_to_both_ends() {
        let run = synthetic::run(&[1, 10], 1);
        let folder = tempfile::tempdir().unwrap();
        for name in ["loss_curves", "feature_courses"] {
            let error = animate(find(name).unwrap(), &run.input(), &[1, 10], folder.path()).unwrap_err();
            assert!(error.to_string().contains("shows the whole training"), "{error}");
        }
        let error = animate(find("feature_gram").unwrap(), &run.input(), &[1, 10], folder.path()).unwrap_err();
        assert!(error.to_string().contains("the run is of a task"), "{error}");
        assert!(animate(find("fourier_bars").unwrap(), &run.input(), &[], folder.path()).is_err());
        let many: Vec<u64> = (0..1000).collect();
        let few = chosen(&many);
        assert_eq!((few.len(), few[0], few[MAX_FRAMES - 1]), (MAX_FRAMES, 0, 999));
        assert!(few.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
