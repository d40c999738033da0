//! What is printed, where, and when nobody reads it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use super::exit::Exit;

/// Prints on standard output, at once, since a reader may be waiting for the line.
pub(super) fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush())
}

/// How a run ends whose standard output cannot be written. Whoever closed it has seen enough; else the error is what to say.
pub(super) fn cannot_print(error: &io::Error) -> Result<Exit, String> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        _ => Err(format!("standard output cannot be written: {error}")),
    }
}

/// Prints a line on standard error. Where that is closed, there is nobody left to tell.
pub(super) fn say(kind: &str, message: &str) {
    let _ = writeln!(io::stderr(), "{kind}: {message}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(printable("a\nb\u{1b}[2Jü.png"), "a\\nb\\u{1b}[2Jü.png");
    }
}
