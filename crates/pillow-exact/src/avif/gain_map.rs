//! Gain maps, which change no pixel here: but where one is broken, libavif refuses the picture (`avifParseToneMappedImageBox`).

use super::boxes::broken;
use crate::error::DecodeError;
use crate::format::AVIF as FORMAT;
use crate::reader::Reader;

pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    let (version, least, writer) = (reader.byte()?, reader.u16_be()?, reader.u16_be()?);
    if version != 0 || least > 0 {
        // Newer ones are passed over.
        return Ok(());
    }
    let channels = if reader.byte()? & 0x80 != 0 { 3 } else { 1 };
    let mut fraction = || Ok::<_, DecodeError>((reader.u32_be()?, reader.u32_be()?));
    let mut denominators = vec![fraction()?.1, fraction()?.1];
    for _ in 0..channels {
        let [least, most, gamma, base, alternate] =
            [fraction()?, fraction()?, fraction()?, fraction()?, fraction()?];
        let value = |(n, d): (u32, u32)| f64::from(n as i32) / f64::from(d);
        if value(most) < value(least) || gamma.0 == 0 {
            return Err(broken("a gain map without a range"));
        }
        denominators.extend([least.1, most.1, gamma.1, base.1, alternate.1]);
    }
    if denominators.contains(&0) || (writer == 0 && !reader.rest().is_empty()) {
        return Err(broken("a gain map of another kind"));
    }
    Ok(())
}
