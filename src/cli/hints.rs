//! Errors of the library as a person at the command line reads them: with the options that are a way out.

use std::{error::Error, path::Path};

use crate::{
    device::{DeviceChoice, DeviceError},
    features::FeaturesError,
    hub::{HubError, refetch_hint},
    input::{Absence, InputError, NoList},
    job::{Failure, JobError, Remedy},
    model::ModelError,
    output::{Format, OutputError, Setting},
};

/// An error and, on a line of its own, the way out where there is one.
pub fn told(error: &(dyn Error + 'static)) -> String {
    if let Some(JobError::Output(error)) = error.downcast_ref() {
        return told(error);
    }
    let own = || error.downcast_ref().and_then(of_job).or_else(|| error.downcast_ref().and_then(of_output));
    let device = || error.downcast_ref().map(of_device);
    let features = error.downcast_ref().and_then(of_features);
    let input = || error.downcast_ref().and_then(of_input);
    let hub = || error.downcast_ref().and_then(of_hub);
    let hint = features.or_else(input).or_else(hub).map(str::to_owned).or_else(own).or_else(device);
    let message = if begins_with_an_option(error) { format!("--{error}") } else { error.to_string() };
    hint.map_or_else(|| message.clone(), |hint| format!("{message}\nhint: {hint}"))
}

/// Why an image failed, with the way out where an option is one.
pub(super) fn told_of_image(failure: &Failure) -> String {
    let hint = match failure.remedy {
        Some(Remedy::MaxPixels) => "\nhint: --max-pixels N allows more",
        Some(Remedy::LfsPull) => "\nhint: git lfs pull brings it",
        Some(Remedy::ImageKey) => "\nhint: --image-key EXT takes one",
        None => "",
    };
    format!("{}{hint}", failure.reason)
}

/// Why there is no such input, with the way out of what was typed in place of a path.
pub(super) fn told_of_absent(path: &str, error: &InputError) -> String {
    let hint = match Absence::of(Path::new(path)) {
        Some(Absence::Address) => format!("\nhint: curl -L {path} | clip-features -"),
        Some(Absence::Pattern) => "\nhint: give the directory, which is searched for images".into(),
        Some(Absence::Tilde) => "\nhint: leave ~ unquoted, or write $HOME".into(),
        None => String::new(),
    };
    format!("{error}{hint}")
}

/// Whether the message begins with the name of a setting, which is an option's.
fn begins_with_an_option(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(OutputError::Unused { .. } | OutputError::NoBfloat16))
        || matches!(error.downcast_ref(), Some(JobError::NoTars { .. }))
        || matches!(error.downcast_ref(), Some(HubError::UselessRevision { .. }))
}

fn of_job(error: &JobError) -> Option<String> {
    let hint = match error {
        JobError::Input(error) => of_input(error)?,
        JobError::AmongInputs { path, .. } => {
            let other = path.join("drawn");
            return Some(format!("give them a directory of their own, such as -o {}/", other.display()));
        }
        JobError::Model(ModelError::Corrupt { path, .. }) => {
            let is_weights = path.extension().is_some_and(|extension| extension == "safetensors");
            let elsewhere = || is_weights.then(|| "copy it again, or save the model again".to_owned());
            return refetch_hint(path).or_else(elsewhere);
        }
        JobError::Model(ModelError::Cut { path, .. }) => {
            let elsewhere =
                "another process has written to it; copy it again, and run the same command again";
            return Some(refetch_hint(path).unwrap_or_else(|| elsewhere.to_owned()));
        }
        JobError::Model(ModelError::Device(error)) => return Some(of_device(error)),
        JobError::Model(error) => of_model(error)?,
        JobError::Clash { by_extension: true, .. } => {
            "--keep-extension keeps them apart, if they differ in that alone"
        }
        JobError::SamePlace { .. } => "--output and --failures each need a place of their own",
        JobError::Over { .. } => "write to another file",
        JobError::NoFailures { .. } => "give --failures another file, or remove this one",
        JobError::Clash { by_dots: true, .. } => {
            "rename one of them, or write a directory, .safetensors or .npy, where names stay as they are"
        }
        JobError::Clash { .. } => "give the directory that holds both, so that their paths differ",
        JobError::Thread(_) => FEWER_THREADS,
        JobError::NoTars { setting, .. } => return Some(format!("leave --{setting} out, or give tars")),
        JobError::NoSpace { .. } => "--dtype f16 halves it, --tokens may leave some out",
        _ => return None,
    };
    Some(hint.to_owned())
}

const FEWER_THREADS: &str = "--threads 1 starts the fewest; ulimit -u and -v limit threads and their memory";

fn of_features(error: &FeaturesError) -> Option<&'static str> {
    Some(match error {
        FeaturesError::Unfinished { .. } => "the command that wrote it, run again, completes it",
        FeaturesError::Damaged { path, .. } if is_manifest(path) => {
            "the command that wrote it makes everything again with --overwrite"
        }
        FeaturesError::Damaged { .. } => "remove it, and the command that wrote it makes its images again",
        _ => return None,
    })
}

/// Whether it is a manifest, without which nothing says whose the files beside it are.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl")
}

fn of_input(error: &InputError) -> Option<&'static str> {
    let InputError::NoList { reason, .. } = error else { return None };
    Some(match reason {
        NoList::Directory => "name it without --files-from, and its images are taken",
        NoList::Utf16 => "save it as UTF-8",
        NoList::NulInLine => "-0 reads paths that end in NUL bytes; an image is named without --files-from",
        NoList::OnlyLines => "leave -0 out, and each line is a path",
        NoList::Long => "--files-from takes a file of paths; an image is named without it",
        NoList::Ends => "leave empty paths out",
    })
}

fn of_model(error: &ModelError) -> Option<&'static str> {
    match error {
        ModelError::PixelShape { .. } => Some(
            "config.json's image_size and preprocessor_config.json's crop_size must agree; --image-size N sets both",
        ),
        ModelError::PatchSize { .. } => {
            Some("the patch_size of config.json and of preprocessor_config.json must agree")
        }
        ModelError::Memory { .. } => Some("give a smaller --image-size"),
        ModelError::NoPatch { .. } => Some("give a larger --image-size"),
        ModelError::Threads { .. } => Some(FEWER_THREADS),
        ModelError::NoWeights { .. } => Some("--random-weights runs this architecture without weights"),
        _ => None,
    }
}

fn of_device(error: &DeviceError) -> String {
    let hint = match error {
        DeviceError::NotBuilt { feature, .. } => {
            return format!(
                "build with --features {feature}, as docs/devices.md says, or leave --device out"
            );
        }
        DeviceError::NotThere { device: DeviceChoice::Cuda(_), .. } => {
            "nvidia-smi shows what the driver knows; --device cpu needs none"
        }
        DeviceError::NotThere { .. } => "--device cpu is always there",
        DeviceError::NoSuchIndex { .. } => "CUDA_VISIBLE_DEVICES may hide some; nvidia-smi -L lists them",
        DeviceError::TooLittle { .. } => {
            "another process may hold some; --device cuda:N takes another card, --device cpu the CPU"
        }
        DeviceError::OwnKernels { .. } => "leave --kernels out",
        DeviceError::Precision { .. } => "leave --matmul-precision out",
        DeviceError::OneSwitch { .. } => "run it in a process of its own",
    };
    hint.to_owned()
}

fn of_output(error: &OutputError) -> Option<String> {
    let hint = match error {
        OutputError::ShardSize { least, .. } => return Some(format!("the smallest is --shard-size {least}")),
        OutputError::Unused { setting } => match setting {
            Setting::Format => "add -o PATH, or -o - for standard output",
            Setting::ShardSize => "give -o x.safetensors or -o x.npy and several images",
            Setting::KeepExtension => "give -o DIR/",
            Setting::Keep => "give tars, and -o x.tar or -o DIR/",
            Setting::Part => "give several images",
            Setting::Overwrite => "give -o PATH",
            Setting::Update => "give -o DIR/; elsewhere --overwrite makes everything again",
        },
        OutputError::NoBfloat16 => "write .safetensors, or --dtype f16 or f32",
        OutputError::NoFormat { .. } => "end it in .npy, .safetensors or .tar, or in / for a directory",
        OutputError::OtherFormat { asked: Format::Png, .. } => "--draw writes .png",
        OutputError::OtherFormat { .. } => "leave --format out",
        OutputError::NoStream => "leave --format out, or write -o x.safetensors",
        OutputError::Taken { .. } | OutputError::Newer { .. } => {
            "--overwrite starts over, another -o keeps both"
        }
        OutputError::Full { .. } | OutputError::TooMany { .. } => {
            "--shard-size 10GB writes as many files as it takes"
        }
        OutputError::Busy { .. } => "when that has ended, the same command goes on where it was",
        OutputError::Foreign { .. } => "--overwrite replaces it",
        OutputError::Damaged { path, .. } if is_manifest(path) => {
            "--overwrite starts over, another -o keeps both"
        }
        OutputError::Damaged { .. } => {
            "remove it, and the same command makes its images again; --overwrite starts over"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_hub(error: &HubError) -> Option<&'static str> {
    Some(match error {
        HubError::NoCacheDirectory => "--cache-dir DIR or HF_HOME",
        HubError::NotCached { .. } => {
            "run once without --offline, --dry-run and HF_HUB_OFFLINE, or use --model DIR for a checkpoint on disk, or \
             --random-weights"
        }
        HubError::Unreachable { .. } => {
            "without a network, use --model DIR for a checkpoint on disk, or --random-weights; behind a proxy, set \
             HTTPS_PROXY, and SSL_CERT_FILE if it has a certificate of its own"
        }
        HubError::RevisionNotFound { .. } => "--revision takes a branch, a tag, or a full commit hash",
        HubError::DiskFull { .. } => {
            "free some space, or use --cache-dir on another disk; what has arrived is kept and continued"
        }
        HubError::Io { .. } => "--cache-dir names another cache",
        _ => return None,
    })
}
