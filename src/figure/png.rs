//! Pixels -> PNG.
//!
//! Reads rows of red, green, blue; gives the bytes of a file, the same ones each time: one picture, or several that play in a loop.

/// An 8-bit picture of `width` times `height` pixels.
///
/// # Errors
/// The encoder's words.
pub fn encode(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>, String> {
    written((width, height, png::ColorType::Rgb), None, |writer| writer.write_image_data(rgb))
}

/// Pictures of one size that are shown one after another without end, each for so many milliseconds, the last for longer. Of all but the
/// first only pixels that change are stored, the others being transparent.
///
/// # Errors
/// The encoder's words.
pub fn encode_frames(
    width: u32,
    height: u32,
    frames: &[Vec<u8>],
    (each_ms, last_ms): (u16, u16),
) -> Result<Vec<u8>, String> {
    written((width, height, png::ColorType::Rgba), Some(frames.len() as u32), |writer| {
        writer.set_blend_op(png::BlendOp::Over)?;
        // What is transparent has no neighbours to be predicted from.
        writer.set_filter(png::FilterType::NoFilter);
        for (i, rgb) in frames.iter().enumerate() {
            writer.set_frame_delay(if i + 1 < frames.len() { each_ms } else { last_ms }, 1000)?;
            let before = i.checked_sub(1).map(|i| frames[i].as_chunks::<3>().0);
            let pixel = |(at, &[red, green, blue]): (usize, &[u8; 3])| match before {
                Some(before) if before[at] == [red, green, blue] => [0; 4],
                _ => [red, green, blue, 255],
            };
            writer.write_image_data(&rgb.as_chunks::<3>().0.iter().enumerate().flat_map(pixel).collect::<Vec<u8>>())?;
        }
        Ok(())
    })
}

/// The bytes of a file whose pictures `write` gives.
fn written(
    (width, height, color): (u32, u32, png::ColorType),
    frames: Option<u32>,
    write: impl FnOnce(&mut png::Writer<&mut Vec<u8>>) -> Result<(), png::EncodingError>,
) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    let encode = || {
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Best);
        encoder.set_filter(png::FilterType::Up);
        if let Some(frames) = frames {
            encoder.set_animated(frames, 0)?;
        }
        let mut writer = encoder.write_header()?;
        write(&mut writer)?;
        writer.finish()
    };
    encode().map_err(|e| e.to_string())?;
    Ok(bytes)
}
