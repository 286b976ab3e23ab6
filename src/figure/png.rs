//! Pixels -> PNG.
//!
//! Reads rows of red, green, blue; gives the bytes of a file, the same ones each time: one picture, or several that play in a loop.

/// An 8-bit picture of `width` times `height` pixels.
///
/// # Errors
/// The encoder's words.
pub fn encode(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>, String> {
    written(width, height, None, |writer| writer.write_image_data(rgb))
}

/// Pictures of one size that are shown one after another without end, each for so many milliseconds, the last for longer.
///
/// # Errors
/// The encoder's words.
pub fn encode_frames(
    width: u32,
    height: u32,
    frames: &[Vec<u8>],
    (each_ms, last_ms): (u16, u16),
) -> Result<Vec<u8>, String> {
    written(width, height, Some(frames.len() as u32), |writer| {
        for (i, rgb) in frames.iter().enumerate() {
            writer.set_frame_delay(if i + 1 < frames.len() { each_ms } else { last_ms }, 1000)?;
            writer.write_image_data(rgb)?;
        }
        Ok(())
    })
}

/// The bytes of a file whose pictures `write` gives.
fn written(
    width: u32,
    height: u32,
    frames: Option<u32>,
    write: impl FnOnce(&mut png::Writer<&mut Vec<u8>>) -> Result<(), png::EncodingError>,
) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    let encode = || {
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
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
