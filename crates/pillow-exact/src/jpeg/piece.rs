//! The pieces of a TIFF that are JPEG streams, as libtiff drives libjpeg for them (`JPEGPreDecode`, `JPEGDecode`).

use super::libjpeg::{Colour, Session};
use super::refused;
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

/// What the components are, which the TIFF says: markers of the stream do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// They become red, green and blue.
    YCbCr,
    AsStored,
}

/// The samples of a piece. Tables that pieces share come before its own.
pub(crate) fn decode_piece(
    tables: Option<&[u8]>,
    data: &[u8],
    (width, rows): (usize, usize),
    samples: usize,
    model: Model,
) -> Result<Vec<u8>, DecodeError> {
    let invalid = |what: &str| Err(DecodeError::invalid(FORMAT, what));
    let stream;
    let data = match tables {
        None => data,
        Some(tables) => {
            let (Some(tables), Some(data)) =
                (tables.strip_prefix(b"\xff\xd8"), data.strip_prefix(b"\xff\xd8"))
            else {
                return invalid("JPEG tables or a piece that begins otherwise");
            };
            let tables = tables.strip_suffix(b"\xff\xd9").unwrap_or(tables);
            stream = [b"\xff\xd8", tables, data].concat();
            &stream
        }
    };
    let refused = |failure| refused(FORMAT, failure);
    let mut session = Session::open(data).map_err(refused)?;
    if session.size() != (width as u32, rows as u32) {
        return invalid("a JPEG piece of another size");
    }
    let sampling = session.sampling();
    let chroma = if model == Model::YCbCr { 1 } else { 0 };
    if sampling.len() != samples || sampling[chroma..].iter().any(|&factors| factors != (1, 1)) {
        return invalid("a JPEG piece of other components");
    }
    let colour = match model {
        Model::YCbCr => Colour::YCbCr,
        Model::AsStored => Colour::Stored(samples),
    };
    session.start(colour).map_err(refused)?;
    let mut out = vec![0; width * rows * samples];
    for row in out.chunks_exact_mut(width * samples) {
        session.read_row(row).map_err(refused)?;
    }
    session.finish().map_err(refused)?;
    Ok(out)
}
