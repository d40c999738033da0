//! The command line: arguments → a job, and its reports → text, JSON, progress and an exit code.
//!
//! What was typed is `args`; what it means together is `settled`; what can go wrong gets the options that are a way out in
//! `hints`. Nothing here opens an output or knows a tensor: that is the job's.

mod args;
mod choices;
mod download;
mod early;
mod exit;
mod generate;
mod hints;
mod interrupt;
mod manual;
mod parsed;
mod parts;
mod preview;
mod print;
mod progress;
mod reporter;
mod request;
mod settled;
mod summary;
mod usage;
mod verify;

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use crate::{input::look_at_stdin, job::Stop};

pub use exit::Exit;
pub use hints::told;
pub use parsed::{Cause, Parsed, Refusal};

use args::Args;
use download::Downloads;
use parts::Parts;
use print::print_line;
use reporter::Reporter;
use settled::Settled;

/// Runs the command with these arguments, the program's name first, and says how it ended. Everything a person sees is
/// printed.
///
/// For the rest of the process, the first Ctrl-C, SIGTERM or (on Linux, unless it was ignored) SIGHUP ends the run after the images in
/// flight, and the second one ends the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    interrupt::outlive_size_limit();
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Args::try_parse_from(&typed) {
        Ok(arguments) => arguments,
        Err(error) => return usage::show(&error, &typed),
    };
    let refused = |message: String| {
        arguments.progress.voice().say("error", &message);
        Exit::Refused
    };
    if let Some(wanted) = arguments.generate {
        return match print_line(wanted.text(Args::command()).trim_end()) {
            Ok(()) => Exit::Done,
            Err(error) => print::cannot_print(&error).unwrap_or_else(refused),
        };
    }
    if let Some(output) = &arguments.verify {
        return verify::verify(output, &arguments, &typed).unwrap_or_else(refused);
    }
    if arguments.inputs.iter().any(|input| input.as_os_str() == "-") {
        // Whether it is an image or a tar is told by its content.
        look_at_stdin();
    }
    match Settled::new(arguments.clone()).map(execute) {
        Ok(Ok(code)) => code,
        Ok(Err(message)) => refused(message),
        Err(error) => refused(error.to_string()),
    }
}

/// Does what was settled. The error is what to say.
fn execute(mut settled: Settled) -> Result<Exit, String> {
    if let Some(exit) = early::look(&mut settled)? {
        return Ok(exit);
    }
    let downloads = Downloads::new(settled.shows_downloads, settled.show.voice);
    let model = settled
        .model
        .obtain(settled.wanted(), &|event| downloads.report(event))
        .map_err(|error| told(&error))?;
    let Settled { job, show, .. } = settled;
    let looked = job.look(&model).map_err(|error| told(&error))?;
    // Of all parts, where one says what it would do.
    let complete = if show.dry_run { looked.complete_parts() } else { Ok(Vec::new()) };
    let complete = complete.map_err(|error| told(&error))?;
    let prepared = looked.prepare().map_err(|error| told(&error))?;
    show.empty_inputs(&prepared.passed_over().empty);
    if show.dry_run {
        let parts = Parts::of(&complete);
        let printed = match show.json {
            true => print_line(&preview::json(&prepared, &parts)),
            false => print_line(preview::describe(&prepared, &parts).trim_end()),
        };
        return match printed {
            Ok(()) => Ok(Exit::Done),
            Err(error) => print::cannot_print(&error),
        };
    }
    let stop = Stop::new();
    interrupt::listen(&stop, show.voice).map_err(|error| told(&error))?;
    let resumes = prepared.resumes();
    let mut reporter = Reporter::new(&show, prepared.passed_over().not_read.clone());
    let ran = prepared.run(&stop, &mut |event| reporter.take(event));
    let ran = ran.map(|(ended, _)| ended).map_err(|error| told(&error));
    Ok(reporter.end(ran, resumes))
}
