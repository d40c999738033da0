//! What the parser of arguments has to say: help and the version, which are its errors too, and wrong usage.

use std::{
    ffi::OsString,
    io::{self, Write as _},
};

use super::{
    exit::Exit,
    print::{Voice, cannot_print},
};

/// Shows it, and says how the command ends. `typed` are the arguments, which nobody could parse.
pub(super) fn show(error: &clap::Error, typed: &[OsString]) -> Exit {
    if error.use_stderr() {
        match asks_for_json(typed) {
            true => Voice::Json.say("error", &message(error)),
            false => drop(error.print()), // where that is closed, there is nobody left to tell
        }
        return Exit::Refused;
    }
    let printed = error.print().and_then(|()| io::stdout().flush());
    printed.map_or_else(|error| cannot_print(&error), |()| Ok(Exit::Done)).unwrap_or_else(|message| {
        Voice::Words.say("error", &message);
        Exit::Refused
    })
}

/// What is wrong, on one line, and the parser's tip as a hint.
pub(super) fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n");
    let wrong = paragraphs.next().unwrap_or_default();
    let words: Vec<&str> = wrong.strip_prefix("error: ").unwrap_or(wrong).split_whitespace().collect();
    let tip = paragraphs.find_map(|paragraph| paragraph.trim_start().strip_prefix("tip: "));
    let hint = tip.map_or_else(String::new, |tip| format!("\nhint: {}", tip.trim_end()));
    words.join(" ") + &hint
}

/// Whether `--progress json` is among arguments.
fn asks_for_json(typed: &[OsString]) -> bool {
    typed.iter().any(|word| word == "--progress=json")
        || typed.windows(2).any(|pair| pair[0] == "--progress" && pair[1] == "json")
}
