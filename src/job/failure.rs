//! An image that failed, as a value.

use pillow_exact::DecodeError;
use serde::Serialize;

use crate::{extractor::ExtractError, input::InputError, output::Defect};

/// Where an image failed.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// use clip_features::job::Stage;
///
/// std::fs::write(directory.path().join("photos/cat.ppm"), "P6 1 1 255\n")?; // its pixel is missing
/// let records = given::records(job, &model)?; // runs the job
/// assert!(records[0].json().contains(&format!(r#""stage":"{}""#, Stage::Decode.name())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Its bytes could not be read.
    Read,
    /// They are no picture that can be decoded.
    Decode,
    /// The picture does not become the tower's input.
    Preprocess,
    /// The tower failed on it.
    Encode,
    /// Its output could not be placed.
    Write,
}

impl Stage {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Encode => "encode",
            Self::Write => "write",
        }
    }
}

/// What might let an image be read.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// use clip_features::job::Remedy;
///
/// let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:2c26b46b68ff\nsize 3\n";
/// std::fs::write(directory.path().join("photos/cat.ppm"), pointer)?;
/// let failed = given::records(job, &model)?.remove(0).failure.ok_or("it has not failed")?; // runs the job
/// assert_eq!(failed.remedy, Some(Remedy::LfsPull));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// More pixels are allowed: [`DecodeOptions::max_pixels`](pillow_exact::DecodeOptions::max_pixels).
    MaxPixels,
    /// Git LFS brings the image in place of the pointer.
    LfsPull,
    /// One of a sample's images is chosen: [`Selection::image_keys`](crate::shard::Selection::image_keys).
    ImageKey,
}

/// An image that has no features, and why.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// std::fs::write(directory.path().join("photos/empty.jpg"), "")?;
/// let records = given::records(job, &model)?; // runs the job
/// let failure = records[2].failure.as_ref().ok_or("it has not failed")?;
/// assert_eq!((failure.reason.as_str(), &failure.remedy), ("is empty", &None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where it failed.
    pub stage: Stage,
    /// What is wrong with its own bytes, if they are to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defect: Option<Defect>,
    /// The reason, without the path.
    pub reason: String,
    /// What might help, if a setting does. How it is spelled is the caller's.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

impl Failure {
    pub(super) fn new(stage: Stage, reason: impl ToString) -> Self {
        Self { stage, defect: None, reason: reason.to_string(), remedy: None }
    }

    /// The bytes could not be read.
    pub(super) fn read(error: &InputError) -> Self {
        if let InputError::NoImage(error) = error {
            return Self::decode(error);
        }
        let remedy = matches!(error, InputError::SeveralImages(_)).then_some(Remedy::ImageKey);
        let defect = match error {
            InputError::Empty => Some(Defect::NoImage),
            InputError::TooLarge => Some(Defect::TooLarge),
            InputError::Damaged(_) => Some(Defect::Damaged),
            _ => None,
        };
        Self { defect, remedy, ..Self::new(Stage::Read, error) }
    }

    /// They cannot be decoded.
    fn decode(error: &DecodeError) -> Self {
        let remedy = match error {
            DecodeError::TooManyPixels { .. } => Some(Remedy::MaxPixels),
            DecodeError::LfsPointer => Some(Remedy::LfsPull),
            _ => None,
        };
        Self { defect: Some(defect_of(error)), remedy, ..Self::new(Stage::Decode, error) }
    }

    /// They do not become the tower's input.
    pub(super) fn preprocess(error: &ExtractError) -> Self {
        match error {
            ExtractError::Decode(error) => Self::decode(error),
            ExtractError::Process(_) => {
                Self { defect: Some(Defect::TooLarge), ..Self::new(Stage::Preprocess, error) }
            }
            ExtractError::Model(_) => Self::new(Stage::Preprocess, error),
        }
    }
}

/// What is wrong with bytes that cannot be decoded.
fn defect_of(error: &DecodeError) -> Defect {
    match error {
        DecodeError::Empty
        | DecodeError::UnknownFormat { .. }
        | DecodeError::NoPicture { .. }
        | DecodeError::LfsPointer => Defect::NoImage,
        DecodeError::Truncated { .. } | DecodeError::Invalid { .. } => Defect::Damaged,
        DecodeError::TooManyPixels { .. } | DecodeError::Shape { .. } => Defect::TooLarge,
        DecodeError::NotRead { .. } | DecodeError::Unsupported { .. } | DecodeError::Panicked { .. } => {
            Defect::NotSupported
        }
    }
}
