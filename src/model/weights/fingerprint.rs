//! A short name for a checkpoint's weights.

use sha2::{Digest, Sha256};

use super::Checkpoint;
use crate::model::error::ModelError;

/// Bytes of one sample.
const SAMPLE: u64 = 4096;
/// Samples of one tensor.
const SAMPLES: u64 = 16;

impl Checkpoint {
    /// SHA-256, in hex, over each vision tensor's name, type, shape and up to 16 evenly spaced samples of 4 KiB.
    ///
    /// Training changes every tensor, so samples tell two checkpoints apart, at a hundredth of the time that
    /// hashing all of a large tower would add to each start. Names count as a full CLIPModel spells them, so the
    /// same tensors saved by another class have the same fingerprint.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn fingerprint(&self) -> Result<String, ModelError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0u8; SAMPLE as usize];
        for (name, entry) in &self.tensors {
            if name.ends_with("position_ids") {
                continue; // a constant that some saves hold and others omit
            }
            hasher.update(format!("{name} {} {:?}\n", entry.dtype(), entry.shape));
            let spacing = (entry.len().saturating_sub(SAMPLE) / (SAMPLES - 1)).max(SAMPLE);
            for start in (0..SAMPLES).map(|sample| sample * spacing).take_while(|&start| start < entry.len())
            {
                let sample = &mut buffer[..SAMPLE.min(entry.len() - start) as usize];
                self.read_raw(entry, start, sample)?;
                hasher.update(&*sample);
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
