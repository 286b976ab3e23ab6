//! Display list -> pixels.
//!
//! Reads a [`Drawing`]; gives rows of red, green, blue. Coverage is exact along x and sampled [`SAMPLES`] times a pixel
//! along y; a stroke is the union of its segments and round corners, so that curves with sharp turns and faded inks
//! come out as they do in an SVG viewer.

use super::drawing::{Cells, Drawing, Item, Point, Text};
use super::font;
use super::style::Ink;

/// Sampled lines a pixel.
const SAMPLES: usize = 4;

/// Corners of the round end of a stroke.
const ROUND: usize = 8;

/// A picture of `width` times `height` pixels, `scale` of them a point.
pub struct Canvas {
    width: usize,
    height: usize,
    scale: f64,
    rgb: Vec<u8>,
}

/// The pixels of `drawing` on white, `[height, width, 3]`, `scale` of them a point.
pub fn pixels(drawing: &Drawing, scale: u32) -> Vec<u8> {
    let (width, height) = drawing.page;
    let (width, height) = ((width * scale) as usize, (height * scale) as usize);
    let mut canvas = Canvas { width, height, scale: f64::from(scale), rgb: vec![255; width * height * 3] };
    for item in &drawing.items {
        match item {
            Item::Line { points, ink, width } => canvas.stroke(points, *width, *ink),
            Item::Fill { points, ink } => {
                let polygon = points.iter().map(|&point| canvas.to_pixels(point)).collect();
                canvas.fill(&[polygon], *ink);
            }
            Item::Cells(cells) => canvas.cells(cells),
            Item::Text(text) => canvas.text(text),
        }
    }
    canvas.rgb
}

impl Canvas {
    fn to_pixels(&self, (x, y): Point) -> Point {
        (x * self.scale, y * self.scale)
    }

    /// One quadrilateral a segment and one small disc a corner, all turning the same way.
    fn stroke(&mut self, points: &[Point], width: f64, ink: Ink) {
        let radius = width * self.scale / 2.0;
        let points: Vec<Point> = points.iter().map(|&point| self.to_pixels(point)).collect();
        let mut shapes = vec![];
        for pair in points.windows(2) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            let length = (bx - ax).hypot(by - ay);
            if length > 0.0 {
                let (nx, ny) = (-(by - ay) / length * radius, (bx - ax) / length * radius);
                shapes.push(vec![(ax - nx, ay - ny), (bx - nx, by - ny), (bx + nx, by + ny), (ax + nx, ay + ny)]);
            }
        }
        for &(x, y) in points.iter().skip(1).take(points.len().saturating_sub(2)) {
            let corner = |i: usize| {
                let angle = std::f64::consts::TAU * i as f64 / ROUND as f64;
                (x + radius * libm::cos(angle), y + radius * libm::sin(angle))
            };
            shapes.push((0..ROUND).map(corner).collect());
        }
        self.fill(&shapes, ink);
    }

    /// Fills the union of polygons that turn the same way (non-zero winding).
    fn fill(&mut self, polygons: &[Vec<Point>], ink: Ink) {
        let ys = polygons.iter().flatten().map(|point| point.1);
        let (top, bottom) = ys.fold((f64::MAX, f64::MIN), |(low, high), y| (low.min(y), high.max(y)));
        let first = (top.floor().max(0.0) as usize).min(self.height);
        let last = (bottom.ceil().max(0.0) as usize).min(self.height);
        if last <= first {
            return;
        }
        let mut crossings: Vec<Vec<(f64, i32)>> = vec![vec![]; (last - first) * SAMPLES];
        for polygon in polygons {
            let next = polygon.iter().cycle().skip(1);
            for (&from, &to) in polygon.iter().zip(next) {
                cross(from, to, first, &mut crossings);
            }
        }
        let mut cover = vec![0.0; self.width];
        for (row, samples) in crossings.chunks_mut(SAMPLES).enumerate() {
            cover.fill(0.0);
            for sample in samples {
                sample.sort_by(|a, b| a.0.total_cmp(&b.0));
                let mut winding = 0;
                for pair in 0..sample.len().saturating_sub(1) {
                    winding += sample[pair].1;
                    if winding != 0 {
                        add_span(&mut cover, sample[pair].0, sample[pair + 1].0);
                    }
                }
            }
            for (x, &share) in cover.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                self.blend(x, first + row, ink, share);
            }
        }
    }

    /// Every pixel whose middle is in a cell has the cell's colour.
    fn cells(&mut self, cells: &Cells) {
        let (left, top) = self.to_pixels(cells.corner);
        let (width, height) = self.to_pixels(cells.size);
        let within = |at: usize, start: f64, length: f64, n: usize| {
            let place = (at as f64 + 0.5 - start) / length;
            (0.0..1.0).contains(&place).then(|| ((place * n as f64) as usize).min(n - 1))
        };
        for y in 0..self.height {
            let Some(row) = within(y, top, height, cells.rows()) else { continue };
            for x in 0..self.width {
                let Some(column) = within(x, left, width, cells.columns) else { continue };
                let at = (y * self.width + x) * 3;
                self.rgb[at..at + 3].copy_from_slice(&cells.rgb[row * cells.columns + column]);
            }
        }
    }

    fn text(&mut self, text: &Text) {
        let (x, y) = self.to_pixels(text.start());
        let (origin_x, origin_y) = if text.upwards { (0.0, 0.0) } else { (x, y) };
        for glyph in font::outlines(&text.text, text.size * self.scale, origin_x, origin_y) {
            let corner = glyph.px_bounds().min;
            glyph.draw(|dx, dy, share| {
                let (gx, gy) = (corner.x + dx as f32, corner.y + dy as f32);
                let (px, py) = if text.upwards { (x.round() as f32 + gy, y.round() as f32 - gx) } else { (gx, gy) };
                if px >= 0.0 && py >= 0.0 && (px as usize) < self.width && (py as usize) < self.height {
                    self.blend(px as usize, py as usize, text.ink, f64::from(share.min(1.0)));
                }
            });
        }
    }

    fn blend(&mut self, x: usize, y: usize, ink: Ink, share: f64) {
        let at = (y * self.width + x) * 3;
        let share = share.min(1.0) * ink.alpha;
        for (below, above) in self.rgb[at..at + 3].iter_mut().zip(ink.rgb) {
            *below = (f64::from(*below) * (1.0 - share) + f64::from(above) * share).round() as u8;
        }
    }
}

/// Notes where the edge crosses each sampled line, and which way.
fn cross(from: Point, to: Point, first: usize, crossings: &mut [Vec<(f64, i32)>]) {
    let (low, high, way) = if from.1 < to.1 { (from, to, 1) } else { (to, from, -1) };
    // Sampled line i is at y = first + (i + 1/2) / SAMPLES.
    let line = |y: f64| ((y - first as f64) * SAMPLES as f64 - 0.5).ceil().clamp(0.0, crossings.len() as f64) as usize;
    let (start, end) = (line(low.1), line(high.1));
    for (i, crossings) in crossings.iter_mut().enumerate().take(end).skip(start) {
        let y = first as f64 + (i as f64 + 0.5) / SAMPLES as f64;
        crossings.push((low.0 + (high.0 - low.0) * (y - low.1) / (high.1 - low.1), way));
    }
}

/// Adds one sampled line's span to the coverage of a row.
fn add_span(cover: &mut [f64], from: f64, to: f64) {
    let (from, to) = (from.clamp(0.0, cover.len() as f64), to.clamp(0.0, cover.len() as f64));
    for (x, share) in cover.iter_mut().enumerate().take(to.ceil() as usize).skip(from as usize) {
        *share += (to.min(x as f64 + 1.0) - from.max(x as f64)).max(0.0) / SAMPLES as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::BLACK;
    use super::*;

    /// Share of ink on the page, in pixels.
    fn inked(drawing: &Drawing) -> f64 {
        let drawing = Drawing { page: (40, 30), ..drawing.clone() };
        pixels(&drawing, 1).chunks(3).map(|p| 1.0 - f64::from(p[0]) / 255.0).sum()
    }

    #[test]
    fn a_fill_covers_its_area() {
        let mut drawing = Drawing::default();
        drawing.rect((3.25, 4.5), (13.5, 9.75), BLACK);
        assert!((inked(&drawing) - 10.25 * 5.25).abs() < 0.2, "{}", inked(&drawing));
        let mut triangle = Drawing::default();
        triangle.fill(vec![(5.0, 5.0), (25.0, 5.0), (5.0, 25.0)], BLACK);
        assert!((inked(&triangle) - 200.0).abs() < 1.0, "{}", inked(&triangle));
    }

    #[test]
    fn cells_fill_their_rectangle_row_by_row_from_the_top() {
        let mut drawing = Drawing { page: (40, 30), ..Drawing::default() };
        drawing.cells((10.0, 5.0), (4.0, 2.0), 2, vec![[10, 0, 0], [20, 0, 0], [30, 0, 0], [40, 0, 0]]);
        let pixels = pixels(&drawing, 1);
        let red = |x: usize, y: usize| pixels[(y * 40 + x) * 3];
        assert_eq!([red(10, 5), red(11, 5), red(12, 5), red(13, 5)], [10, 10, 20, 20]);
        assert_eq!([red(10, 6), red(13, 6), red(14, 6), red(9, 5), red(10, 7)], [30, 40, 255, 255, 255]);
    }

    #[test]
    fn a_stroke_that_crosses_itself_covers_each_pixel_once() {
        let mut drawing = Drawing::default();
        drawing.line(vec![(5.0, 15.0), (35.0, 15.0), (5.0, 15.0)], BLACK.faded(0.5), 4.0);
        // 30 by 4 at half cover, and a half disc of radius 2 at the turn.
        assert!((inked(&drawing) - 0.5 * (120.0 + 2.0 * 3.0)).abs() < 1.5, "{}", inked(&drawing));
    }

    #[test]
    fn a_stroke_without_length_covers_nothing() {
        let mut drawing = Drawing::default();
        drawing.line(vec![(5.0, 15.0), (5.0, 15.0)], BLACK, 3.0);
        assert_eq!(inked(&drawing), 0.0);
    }

    #[test]
    fn what_is_beyond_the_page_is_cut_off() {
        let mut drawing = Drawing::default();
        drawing.rect((-10.0, -10.0), (100.0, 100.0), BLACK);
        drawing.line(vec![(-50.0, 500.0), (500.0, -50.0)], BLACK, 3.0);
        assert_eq!(inked(&drawing), 1200.0);
    }
}
