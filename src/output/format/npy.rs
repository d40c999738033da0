//! NumPy's `.npy`, version 1.0.
//!
//! Magic, version, a header length in two bytes, a Python dict literal padded with spaces to a multiple of 64
//! bytes in all, then the elements (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::io::{self, Write};

use super::Dtype;
use crate::output::Array;

/// How a file of version 1.0 begins.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Writes `array` in C order. The caller has refused bfloat16, which the format cannot name.
pub(in crate::output) fn write(writer: &mut dyn Write, array: &Array, dtype: Dtype) -> io::Result<()> {
    writer.write_all(&header(&array.shape, dtype)?)?;
    dtype.write(writer, &array.values)
}

/// The bytes that [`write`] writes.
pub(in crate::output) fn bytes(array: &Array, dtype: Dtype) -> io::Result<u64> {
    Ok((header(&array.shape, dtype)?.len() + array.values.len() * dtype.size()) as u64)
}

/// Bytes of a header of few dimensions, whatever their sizes.
pub(in crate::output) const HEADER: usize = 128;

/// Everything before the elements of a stack of `rows` rows.
pub(in crate::output) fn stack_header(rows: usize, row: &[usize], dtype: Dtype) -> io::Result<Vec<u8>> {
    let shape: Vec<usize> = [rows].into_iter().chain(row.iter().copied()).collect();
    let header = header(&shape, dtype)?;
    // 128 bytes hold a dozen dimensions; more than three or four no tensor here has.
    if header.len() == HEADER { Ok(header) } else { Err(io::Error::other("too many dimensions")) }
}

/// Whether a file begins as [`write`] begins one, of which `start` are the first [`HEADER`] bytes: of an array of this shape, or of any
/// with a first dimension of 1.
pub(in crate::output) fn begins_as(start: &[u8], shape: Option<&[usize]>, dtype: Dtype) -> bool {
    const ANY: &[u8] = b"(1,";
    let Ok(mut wanted) = header(shape.unwrap_or(&[1]), dtype) else { return false };
    if shape.is_none() {
        let end = wanted.windows(ANY.len()).position(|text| text == ANY).unwrap_or(0);
        wanted.truncate(end + ANY.len());
    }
    start.starts_with(&wanted)
}

/// The first dimension of the array that a file begins; none if it begins none.
pub(in crate::output) fn rows(start: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(start.strip_prefix(MAGIC)?);
    text.split_once("'shape': (")?.1.split([',', ')']).next()?.parse().ok()
}

/// Everything before the elements.
fn header(shape: &[usize], dtype: Dtype) -> io::Result<Vec<u8>> {
    const ALIGNMENT: usize = 64;
    let descr = match dtype {
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
        Dtype::Bf16 => return Err(io::Error::new(io::ErrorKind::InvalidInput, ".npy has no bfloat16")),
    };
    // A Python tuple of one element keeps its comma.
    let shape = match shape {
        [size] => format!("({size},)"),
        sizes => format!("({})", sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let unpadded = MAGIC.len() + 2 + dict.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT).max(HEADER) - unpadded;
    let length = u16::try_from(dict.len() + padding + 1).map_err(io::Error::other)?;
    let mut header = MAGIC.to_vec();
    header.extend(length.to_le_bytes());
    header.extend(dict.bytes());
    header.extend(std::iter::repeat_n(b' ', padding));
    header.push(b'\n');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_another_reads(shape in vec(1..5usize, 1..5), value in -1000..1000i16, is_half: bool) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("x.npy");
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| f32::from(value) + i as f32).collect();
            let array = Array { name: "x".into(), shape: shape.clone(), values: values.clone() };
            let dtype = if is_half { Dtype::F16 } else { Dtype::F32 };
            let mut file = Vec::new();
            write(&mut file, &array, dtype).unwrap();
            prop_assert_eq!(file.len() as u64, bytes(&array, dtype).unwrap());
            std::fs::write(&path, file).unwrap();
            let read = Tensor::read_npy(&path).unwrap();
            prop_assert_eq!(read.dims(), shape);
            prop_assert_eq!(read.dtype(), if is_half { DType::F16 } else { DType::F32 });
            let read = read.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
            prop_assert_eq!(read.to_vec1::<f32>().unwrap(), values);
        }
    }

    /// The bytes that numpy 2.4 writes for `np.save(file, np.zeros((1, 257, 1024), "<f4"))`, up to the elements.
    #[test]
    fn the_header_is_numpys() {
        let mut want = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        want.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 257, 1024), }");
        want.resize(127, b' ');
        want.push(b'\n');
        assert_eq!(header(&[1, 257, 1024], Dtype::F32).unwrap(), want);
    }

    #[test]
    fn a_tuple_of_one_keeps_its_comma() {
        let header = header(&[5], Dtype::F16).unwrap();
        assert!(String::from_utf8_lossy(&header).contains("'shape': (5,), }"));
    }

    #[test]
    fn a_file_is_told_by_its_beginning() {
        let start = header(&[1, 257, 1024], Dtype::F32).unwrap();
        for (shape, dtype, is_told) in [
            (Some(&[1, 257, 1024][..]), Dtype::F32, true),
            (None, Dtype::F32, true),
            (Some(&[1, 257, 768]), Dtype::F32, false),
            (Some(&[1, 257, 1024]), Dtype::F16, false),
            (None, Dtype::F16, false),
            (None, Dtype::Bf16, false),
        ] {
            assert_eq!(begins_as(&start, shape, dtype), is_told, "{shape:?} {dtype:?}");
        }
        assert_eq!((rows(&start), rows(b"a text")), (Some(1), None));
        assert!(!begins_as(&header(&[12, 4], Dtype::F32).unwrap(), None, Dtype::F32));
        assert!(!begins_as(&start[..40], None, Dtype::F32));
        assert!(!begins_as(b"a text", None, Dtype::F32));
    }

    #[test]
    fn bfloat16_cannot_be_named() {
        assert!(header(&[1], Dtype::Bf16).is_err());
    }

    #[test]
    fn elements_follow_in_order() {
        let array = Array { name: "x".into(), shape: vec![2], values: vec![1.0, 2.0] };
        let mut bytes = Vec::new();
        write(&mut bytes, &array, Dtype::F16).unwrap();
        assert_eq!(bytes.len(), 128 + 4);
        assert_eq!(bytes[128..], [0, 0x3c, 0, 0x40]);
    }
}
