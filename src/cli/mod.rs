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

use anyhow::Result;
use clap::{CommandFactory, Parser};

use crate::{input::look_at_stdin, job::Stop};

pub use exit::Exit;
pub use hints::told;
pub use parsed::{Cause, Parsed, Refusal};

use args::Args;
use download::Downloads;
use print::{after_printing, print_line};
use progress::ProgressMode;
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
    let voice = arguments.progress.voice();
    act(arguments, &typed).unwrap_or_else(|error| {
        voice.say("error", None, &told(&*error));
        Exit::Refused
    })
}

/// Does what was asked for.
fn act(arguments: Args, typed: &[OsString]) -> Result<Exit> {
    if let Some(wanted) = arguments.generate {
        return after_printing(print_line(wanted.text(Args::command()).trim_end()));
    }
    if let Some(output) = &arguments.verify {
        return verify::verify(output, &arguments, typed);
    }
    if arguments.inputs.iter().any(|input| input.as_os_str() == "-") {
        // Whether it is an image or a tar is told by its content.
        look_at_stdin();
    }
    let mut settled = Settled::new(arguments)?;
    if let Some(exit) = early::look(&mut settled)? {
        return Ok(exit);
    }
    let shown = &settled.show.args;
    let downloads =
        Downloads::new(!shown.quiet && shown.progress != ProgressMode::Never, shown.progress.voice());
    let model = settled.model.obtain(settled.wanted(), &|event| downloads.report(event))?;
    let Settled { job, show, .. } = settled;
    let looked = job.look(&model)?;
    // Of all parts, where one says what it would do.
    let complete = if show.args.dry_run { looked.complete_parts()? } else { Vec::new() };
    let prepared = looked.prepare()?;
    for directory in &prepared.passed_over().empty {
        show.warn(Some(&directory.display().to_string()), "holds no images");
    }
    if show.args.dry_run {
        let text = match show.args.json {
            true => preview::json(&prepared, &complete),
            false => preview::describe(&prepared, &complete),
        };
        return after_printing(print_line(text.trim_end()));
    }
    let stop = Stop::new();
    interrupt::listen(&stop, show.args.progress.voice())?;
    let resumes = prepared.resumes();
    let mut reporter = Reporter::new(&show, prepared.passed_over().not_read.clone());
    let ran = prepared.run(&stop, &mut |event| reporter.take(event));
    Ok(reporter.end(ran.map(|(ended, _)| ended), resumes))
}
