//! What help and the man page say beside the options: examples, exit codes, the environment.

use std::fmt::Write as _;

use super::exit::Exit;

/// The day of the man page: that of the release, which a build does not know.
pub(super) const DATE: &str = "2026-11-25";

/// What the command is for.
pub(super) const DESCRIPTION: &str = "\
Runs the vision tower of CLIP, SigLIP, SigLIP 2, DINOv2 or DINOv3 on images and gives every token of last_hidden_state, with the \
numbers that transformers gives, as .npy or .safetensors files. Data goes to standard output or to files, all else to standard \
error.

What is complete is skipped when the same command is run again, and files are renamed into place when they are whole.";

/// What is typed, and what that does where the command does not say it.
pub(super) const EXAMPLES: [(&str, &str); 11] = [
    ("clip-features photo.jpg", "print the shape of the features"),
    ("clip-features photo.jpg -o photo.npy", "write them, [1, 257, 1024] for ViT-L/14"),
    ("clip-features photo.jpg --layer -2 --tokens patch", "what LLaVA takes, [1, 256, 1024]"),
    ("clip-features photos/ -o features/", "features/<same relative path>.npy, one an image"),
    ("clip-features photos/ -o x.safetensors", "one archive, one tensor an image"),
    ("clip-features photos/ -o x.npy", "one stack [N, 257, 1024] and x.manifest.jsonl"),
    ("cat photo.jpg | clip-features - -o -", "bytes in, .npy out"),
    ("find . -name '*.jpg' -print0 | clip-features --files-from - -0 --json -o features/", ""),
    ("clip-features shards/ -o features/", "features/<same name>.tar for each tar of samples"),
    ("clip-features -m DIR photo.jpg", "another model: a directory, or ORG/NAME"),
    ("clip-features --random-weights photo.jpg", "the full ViT-L/14 without a download"),
];

/// Variables that are followed.
pub(super) const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "HF_HOME, HF_HUB_CACHE",
        "Where models of the hub are kept, as Python's huggingface_hub reads them; --cache-dir comes first.",
    ),
    ("HF_HUB_OFFLINE", "Set to 1, no connection is made, as with --offline."),
    ("HF_TOKEN, HF_TOKEN_PATH", "The token for models that need one, or the file that holds it."),
    ("HF_ENDPOINT", "Another hub of the same kind."),
    ("HTTPS_PROXY, ALL_PROXY, NO_PROXY", "The proxy that downloads go through."),
    ("SSL_CERT_FILE", "Certificates to trust beside the system's."),
];

/// What stands below the options in `-h`.
pub(super) const AFTER_SHORT_HELP: &str = "\
Example:
  clip-features photos/ -o features/    # features/<same relative path>.npy, one for each image";

/// What stands above the options in `--help`: what the command is for, and examples.
pub(super) fn long_about() -> String {
    let mut text = format!("{DESCRIPTION}\n\nExamples:");
    for (command, what) in EXAMPLES {
        let _ = match what {
            "" => write!(text, "\n  {command}"),
            _ => write!(text, "\n  {command:<49}  {what}"),
        };
    }
    text
}

/// What stands below the options in `--help`: exit codes and the environment.
pub(super) fn after_long_help() -> String {
    let mut text = String::from("Exit codes:");
    for exit in Exit::ALL {
        let _ = write!(text, "\n  {:<3}  {}", exit.code(), exit.meaning());
    }
    text.push_str("\n\nEnvironment:");
    for (names, what) in ENVIRONMENT {
        let _ = write!(text, "\n  {names}\n          {what}");
    }
    text
}
