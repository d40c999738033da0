//! What the fuzzers run, one file a target: functions from bytes to nothing, which panic where a promise is broken.
//!
//! The package's own tests run them too, over the committed corpus.

pub mod checkpoint;
pub mod config;
pub mod decode;
pub mod hub;
pub mod processor;
pub mod resume;
pub mod tar;

pub mod files;

/// A target's name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, each of the name that it has in `fuzz_targets/` and `corpus/`.
pub const TARGETS: [Target; 15] = [
    ("avif", decode::avif),
    ("bmp", decode::bmp),
    ("gif", decode::gif),
    ("jpeg", decode::jpeg),
    ("png", decode::png),
    ("pnm", decode::pnm),
    ("rare", decode::rare),
    ("tiff", decode::tiff),
    ("webp", decode::webp),
    ("processor", processor::run),
    ("config", config::run),
    ("checkpoint", checkpoint::run),
    ("resume", resume::run),
    ("tar", tar::run),
    ("hub", hub::run),
];
