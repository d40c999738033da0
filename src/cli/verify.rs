//! `--verify`: what was written, read again and compared with its manifest.

use std::{ffi::OsString, ops::ControlFlow, path::Path};

use anyhow::{Result, bail};
use clap::{CommandFactory, parser::ValueSource};
use serde_json::json;

use super::{
    args::Args,
    exit::Exit,
    interrupt,
    print::{after_printing, print_line},
    progress::Progress,
};
use crate::{
    features::{self, Difference, Verified},
    job::{Ended, Status, Stop},
};

/// What can be said beside it.
const GOES_WITH: [&str; 4] = ["verify", "json", "quiet", "progress"];

/// Does what `--verify` asks for.
pub(super) fn verify(output: &Path, arguments: &Args, typed: &[OsString]) -> Result<Exit> {
    refuse_others(typed)?;
    let features = features::open(output)?;
    let (stop, voice) = (Stop::new(), arguments.progress.voice());
    interrupt::listen(&stop, voice)?;
    let mut progress = Progress::new(arguments.progress.unless(arguments.quiet), Some(features.len() as u64));
    let (mut differences, mut unprintable) = (0_u64, None);
    let found = features.verify(|verified| {
        let difference = match verified {
            Verified::Image(difference) => difference,
            Verified::File(difference) => Some(difference),
        };
        if let Some(difference) = difference {
            differences += 1;
            let path = difference.path.display().to_string();
            progress.aside(|| voice.say("error", Some(&path), &in_words(difference)));
            if arguments.json
                && let Err(error) = progress.aside(|| print_line(&record(difference)))
            {
                unprintable = Some(error);
                return ControlFlow::Break(());
            }
        }
        if let Verified::Image(difference) = verified {
            progress.step(if difference.is_some() { Status::Failed } else { Status::Done }, &[]);
        }
        if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.clear();
    found?;
    if let Some(error) = unprintable {
        return after_printing(Err(error));
    }
    let ended = if stop.is_asked() { Ended::Stopped } else { Ended::Complete };
    let summary = progress.summary();
    if arguments.json
        && let Err(error) = print_line(&summary.ended(Some(ended)))
    {
        return after_printing(Err(error));
    }
    if !arguments.quiet {
        let how = if ended == Ended::Complete { "finished" } else { "stopped" };
        let images = if features.len() == 1 { "image" } else { "images" };
        let words = match (ended, differences) {
            (Ended::Complete, 0) => format!("{} {images}, all as they were written", features.len()),
            (_, 0) => "all that was read is as it was written".into(),
            (_, 1) => "1 is not as it was written".into(),
            (_, differences) => format!("{differences} are not as they were written"),
        };
        progress.aside(|| voice.say(how, None, &words));
    }
    Ok(match (ended, differences) {
        (Ended::Complete, 0) => Exit::Done,
        (Ended::Complete, _) => Exit::SomeFailed,
        _ => Exit::Interrupted,
    })
}

fn in_words(difference: &Difference) -> String {
    match &difference.key {
        Some(key) => format!("{key}: {}", difference.reason),
        None => difference.reason.clone(),
    }
}

fn record(difference: &Difference) -> String {
    let Difference { key, path, reason } = difference;
    json!({ "key": key, "output": path.display().to_string(), "reason": reason }).to_string()
}

/// Refuses options that would say nothing.
fn refuse_others(typed: &[OsString]) -> Result<()> {
    let Ok(matches) = Args::command().try_get_matches_from(typed) else { return Ok(()) };
    let is_typed = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let command = Args::command();
    let mut names = command.get_arguments().map(|argument| argument.get_id().as_str());
    match names.find(|name| !GOES_WITH.contains(name) && is_typed(name)) {
        None => Ok(()),
        Some("inputs") => bail!("--verify takes one output, and no images\nhint: leave the others out"),
        Some(other) => {
            let other = other.replace('_', "-");
            bail!("--{other} does nothing beside --verify\nhint: it goes with --json, --quiet and --progress")
        }
    }
}
