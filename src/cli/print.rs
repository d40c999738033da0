//! What is printed, where, and when nobody reads it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::exit::Exit;

/// Prints on standard output, at once, since a reader may be waiting for the line.
pub(super) fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush())
}

/// How a run ends after what was printed on standard output. Whoever closed that has seen enough.
pub(super) fn after_printing(printed: io::Result<()>) -> Result<Exit> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            bail!("standard output cannot be written: {error}")
        }
        _ => Ok(Exit::Done),
    }
}

/// How standard error is spoken to: in words, or in a JSON object on each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// `warning: photos: holds no images`
    Words,
    /// `{"warning":{"message":"photos: holds no images"}}`
    Json,
}

impl Voice {
    /// Says something of the run, or of one file.
    pub(super) fn say(self, kind: &str, path: Option<&str>, message: &str) {
        match self {
            Self::Words => {
                let path = path.map_or_else(String::new, |path| format!("{}: ", printable(path)));
                error_line(&format!("{kind}: {path}{}", printable_lines(message)));
            }
            Self::Json => {
                let (message, hint) = match message.split_once("\nhint: ") {
                    Some((message, hint)) => (message, Some(hint)),
                    None => (message, None),
                };
                let facts = [("path", path), ("message", Some(message)), ("hint", hint)];
                let facts = facts.into_iter().filter_map(|(name, fact)| Some((name.into(), fact?.into())));
                error_line(&json!({ kind: Value::Object(facts.collect::<Map<_, _>>()) }).to_string());
            }
        }
    }
}

/// Prints a line on standard error. Where that is closed, there is nobody left to tell.
pub(super) fn error_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A name on one line: control characters, which could break it or drive a terminal, are escaped.
pub(super) fn printable(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut line, character| {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
        line
    })
}

/// A message, which may quote a name or a file's bytes: only what begins a hint is a line of its own.
fn printable_lines(message: &str) -> String {
    const HINT: &str = "\nhint: ";
    message.split(HINT).map(printable).collect::<Vec<_>>().join(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_drives_no_terminal_and_keeps_its_hint() {
        assert_eq!(printable_lines("a\u{1b}[31m\nb\nhint: c"), "a\\u{1b}[31m\\nb\nhint: c");
    }

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(printable("a\nb\u{1b}[2Jü.png"), "a\\nb\\u{1b}[2Jü.png");
    }
}
