//! One image's tensor: bytes of a file, mapped or read.

use std::{
    fs::File,
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytemuck::{cast_slice, cast_slice_mut};
use half::{bf16, f16};
use memmap2::{MmapMut, MmapOptions};

use crate::{output::Dtype, read_at::read_exact_at};

/// A tensor of one image, without the dimension of the batch.
///
/// Large ones are mapped: nothing is read before it is looked at, and what is written into [`Tensor::bytes_mut`] stays in memory and
/// changes no file, nor another tensor. Small ones are read, which costs less than a map.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// let tokens = clip_features::features::open(path)?.get("cat.ppm")?;
/// assert_eq!(tokens.bytes().len(), 5 * 48 * tokens.dtype().size());
/// let values = tokens.to_f32();
/// let class_token = &values[..tokens.shape()[1]];
/// assert!(class_token.iter().all(|value| value.is_finite()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tensor {
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mapping),
    /// In words, so that elements of any type are aligned, and how many bytes of them count.
    Read(Vec<u64>, usize),
}

/// What is smaller is read: as many bytes as pages that the system brings in at one fault.
const LEAST_MAPPED: u64 = 64 << 10;

/// The most maps at a time. A system allows a process some 65,000, which others need too.
const MOST_MAPS: usize = 16_384;

static MAPS: AtomicUsize = AtomicUsize::new(0);

/// A map, which is counted.
#[derive(Debug)]
struct Mapping(MmapMut);

impl Drop for Mapping {
    fn drop(&mut self) {
        MAPS.fetch_sub(1, Relaxed);
    }
}

impl Tensor {
    /// Bytes of a file that is known to reach as far.
    pub(super) fn of(file: &File, offset: u64, shape: Vec<usize>, dtype: Dtype) -> io::Result<Self> {
        let length = dtype.bytes(&shape);
        // What cannot be mapped, as on some network file systems, can still be read.
        let bytes = match (length >= LEAST_MAPPED).then(|| map(file, offset, length)) {
            Some(Some(mapping)) => Bytes::Mapped(mapping),
            _ => read(file, offset, length)?,
        };
        Ok(Self { shape, dtype, bytes })
    }

    /// Its shape, such as `[257, 1024]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its elements, little-endian, in C order.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(Mapping(map)) => map,
            Bytes::Read(words, length) => &cast_slice(words)[..*length],
        }
    }

    /// The same, to be changed in memory: no file is.
    ///
    /// ```
    /// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
    /// # let (directory, path) = given::written()?;
    /// let features = clip_features::features::open(path)?;
    /// let mut tokens = features.get("cat.ppm")?;
    /// tokens.bytes_mut().fill(0);
    /// assert_ne!(features.get("cat.ppm")?.bytes(), tokens.bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::Mapped(Mapping(map)) => map,
            Bytes::Read(words, length) => &mut cast_slice_mut(words)[..*length],
        }
    }

    /// Its elements as float32, copied.
    pub fn to_f32(&self) -> Vec<f32> {
        let bytes = self.bytes();
        let halves = || bytes.as_chunks::<2>().0.iter();
        match self.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&element| f32::from_le_bytes(element)).collect(),
            Dtype::F16 => halves().map(|&element| f16::from_le_bytes(element).to_f32()).collect(),
            Dtype::Bf16 => halves().map(|&element| bf16::from_le_bytes(element).to_f32()).collect(),
        }
    }
}

fn map(file: &File, offset: u64, length: u64) -> Option<Mapping> {
    if MAPS.fetch_add(1, Relaxed) >= MOST_MAPS {
        MAPS.fetch_sub(1, Relaxed);
        return None;
    }
    let mut options = MmapOptions::new();
    options.offset(offset).len(usize::try_from(length).ok()?);
    // A private map that nobody writes to takes no memory, and none is set aside for it.
    options.no_reserve_swap();
    // SAFETY: a map of a file is sound as long as nobody changes its bytes. What is read here was made whole, and whole files are never
    // written to again: they are replaced and removed by their names, which leaves a map as it is.
    #[expect(unsafe_code, reason = "to map a file")]
    let map = unsafe { options.map_copy(file) };
    match map {
        Ok(map) => Some(Mapping(map)),
        Err(_) => {
            MAPS.fetch_sub(1, Relaxed);
            None
        }
    }
}

fn read(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut words = vec![0_u64; length.div_ceil(size_of::<u64>())];
    read_exact_at(file, &mut cast_slice_mut(&mut words)[..length], offset)?;
    Ok(Bytes::Read(words, length))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_changed_in_memory_changes_no_file_and_no_other_tensor() {
        let mut file = tempfile::tempfile().unwrap();
        let values: Vec<u8> = (0..200_000_u32).map(|place| place as u8).collect();
        file.write_all(&values).unwrap();
        for shape in [vec![3, 5], vec![180, 257]] {
            let length = Dtype::F32.bytes(&shape) as usize;
            let mut one = Tensor::of(&file, 12, shape.clone(), Dtype::F32).unwrap();
            assert_eq!(one.bytes(), &values[12..12 + length]);
            one.bytes_mut().fill(7);
            assert!(one.bytes().iter().all(|&byte| byte == 7));
            let other = Tensor::of(&file, 12, shape, Dtype::F32).unwrap();
            assert_eq!(other.bytes(), &values[12..12 + length]);
            assert_eq!(matches!(other.bytes, Bytes::Mapped(_)), length as u64 >= LEAST_MAPPED);
        }
    }

    #[test]
    fn elements_are_widened() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0, 0x3c, 0x80, 0x3f, 0, 0, 0, 0xc0]).unwrap();
        let values = |offset, dtype| Tensor::of(&file, offset, vec![1], dtype).unwrap().to_f32();
        assert_eq!(values(0, Dtype::F16), [1.0]);
        assert_eq!(values(2, Dtype::Bf16), [1.0]);
        assert_eq!(values(4, Dtype::F32), [-2.0]);
    }
}
