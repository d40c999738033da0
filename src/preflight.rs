//! What can be told before the work: names that clash, space that lacks, and the plan in words.

use std::fmt::Write as _;

use clip_features::{
    input::{Distinct, Item, Seen},
    output::{Format, Metadata, free_space, key},
};

use crate::{
    cli::{Plan, Target},
    inputs::Images,
    sink::Complete,
};

/// Refuses two images that would be written to one place; images given twice are taken once.
pub(crate) fn check_names(images: &mut Images, target: &Target) -> Result<(), String> {
    let Images::Known(items, _) = images else { return Ok(()) };
    let mut distinct = Distinct::default();
    let mut clash = None;
    items.retain(|item| {
        let output = match target {
            Target::Tree(names) => names.files(&item.name).swap_remove(0),
            Target::Archive(_) => key(&item.name).into(),
            Target::Nothing | Target::File(..) | Target::Stdout(_) => return true,
        };
        match distinct.note(&item.source, &output) {
            Seen::New => true,
            Seen::Again => false,
            Seen::Taken => {
                clash.get_or_insert_with(|| (item.source.clone(), output));
                true
            }
        }
    });
    let Some((source, output)) = clash else { return Ok(()) };
    let taken = |item: &&Item| match target {
        Target::Tree(names) => names.files(&item.name)[0] == output,
        _ => key(&item.name) == output.to_string_lossy(),
    };
    let first = items.iter().find(taken).map(|item| item.source.to_string()).unwrap_or_default();
    let hint = match target {
        Target::Tree(names) if !names.keep_extension => {
            "--keep-extension names them apart if only that differs"
        }
        _ => "give the directory that holds both, so that their paths differ",
    };
    Err(format!("{first} and {source} would both be written to {}\nhint: {hint}", output.display()))
}

/// Refuses a run whose outputs do not fit on the disk.
pub(crate) fn check_space(
    images: &Images,
    target: &Target,
    complete: &Complete,
    image_bytes: Option<u64>,
) -> Result<(), String> {
    let (Some(path), Some(image_bytes)) = (target.path(), image_bytes) else { return Ok(()) };
    let needed = remaining(images, complete).unwrap_or(0) * image_bytes;
    match free_space(path) {
        Some(free) if free < needed => Err(format!(
            "{}: {} needed, {} free\nhint: --dtype f16 halves it, --tokens may leave some out",
            path.display(),
            size(needed),
            size(free)
        )),
        _ => Ok(()),
    }
}

/// How many images are to be done, if that is known.
pub(crate) fn remaining(images: &Images, complete: &Complete) -> Option<u64> {
    images.count()?;
    Some(images.known().iter().filter(|item| !complete.contains(item)).count() as u64)
}

/// The plan in words, for `--dry-run`.
pub(crate) fn describe(
    plan: &Plan,
    settings: &Metadata,
    images: &Images,
    complete: &Complete,
    tensors: &[(String, Option<Vec<usize>>)],
    image_bytes: Option<u64>,
) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<8}{value}");
    };
    let left = remaining(images, complete).unwrap_or(0);
    line(
        "images",
        match images.count() {
            None => "as they are listed".into(),
            Some(count) => {
                let mut value = format!("{count}, {left} to do");
                if images.others() > 0 {
                    let _ = write!(value, "; {} other files are passed over", images.others());
                }
                value
            }
        },
    );
    for (name, shape) in tensors {
        let shape = shape.as_ref().map_or("of the picture's size".into(), |shape| format!("{shape:?}"));
        line("tensor", format!("{name} {shape} {}", plan.dtype.name()));
    }
    line("model", settings.get("model").unwrap_or_default().to_owned());
    line("compute", format!("{} threads, batches of {}", plan.threads, plan.batch));
    line(
        "output",
        match &plan.target {
            Target::Nothing => "none, shapes are printed".into(),
            Target::File(path, _, split) if split.is_empty() => path.display().to_string(),
            Target::File(path, ..) => format!("{}, one file a tensor", path.display()),
            Target::Stdout(_) => "standard output".into(),
            Target::Tree(names) => format!("{}, {} an image", names.root.display(), extension(names.format)),
            Target::Archive(names) => match names.shard_size {
                None => format!("{}, one archive", names.path.display()),
                Some(limit) => format!("{}, in files of at most {}", names.path.display(), size(limit)),
            },
        },
    );
    if let (Some(image), Some(path)) = (image_bytes, plan.target.path()) {
        let free = free_space(path).map_or("unknown".into(), size);
        line("space", format!("{} needed, {image} bytes an image; {free} free", size(left * image)));
    }
    text
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Npy => "one .npy",
        Format::Safetensors => "one .safetensors",
    }
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}
