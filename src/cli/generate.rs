//! `--generate`: completion scripts and the man page, from the definitions that `--help` is made of.

use std::io::{self, Write as _};

use clap::{Command, ValueEnum, ValueHint};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};

use super::{
    exit::Exit,
    manual::{DATE, DESCRIPTION, ENVIRONMENT, EXAMPLES},
};

/// What can be generated.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Generated {
    /// For ~/.local/share/bash-completion/completions/clip-features
    CompleteBash,
    /// For a file _clip-features in a directory that fpath names
    CompleteZsh,
    /// For ~/.config/fish/completions/clip-features.fish
    CompleteFish,
    /// For the file that PROFILE names
    CompletePowershell,
    /// For ~/.local/share/man/man1/clip-features.1
    Man,
}

impl Generated {
    /// The text, of a command's definition.
    pub(super) fn text(self, mut command: Command) -> String {
        let shell = match self {
            Self::CompleteBash => Shell::Bash,
            Self::CompleteZsh => Shell::Zsh,
            Self::CompleteFish => Shell::Fish,
            Self::CompletePowershell => Shell::PowerShell,
            Self::Man => return man(command).expect("memory can be written to"),
        };
        let mut script = Vec::new();
        // What is not known to be a path is none, and no file is offered for it.
        command = command.mut_args(|arg| match arg.get_value_hint() {
            ValueHint::Unknown if arg.get_action().takes_values() => arg.value_hint(ValueHint::Other),
            _ => arg,
        });
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut script);
        String::from_utf8(script).expect("scripts are text")
    }
}

/// The man page, in section 1.
fn man(command: Command) -> io::Result<String> {
    let usage = "clip-features [OPTIONS] INPUT...\nclip-features [OPTIONS] --files-from FILE\nclip-features --verify PATH\nclip-features --generate WHAT";
    let command = command.override_usage(usage).long_about(DESCRIPTION);
    let page = Man::new(command);
    let mut text = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    writeln!(text, r#".TH CLIP-FEATURES 1 {DATE} "clip-features {version}" "User Commands""#)?;
    // Words are not spread out, since many are to be typed.
    text.extend(b".ad l\n");
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    let mut options = Vec::new();
    page.render_options_section(&mut options)?;
    // One section whose parts are the groups of `--help`, rather than a section for each group; and one space before possible values,
    // rather than what formatters warn of.
    let options =
        String::from_utf8_lossy(&options).replace(".SH ", ".SS ").replace(".SS OPTIONS", ".SH OPTIONS");
    text.extend(options.replace(".br\n\n.br\n", ".sp\n").bytes());
    sections().to_writer(&mut text)?;
    String::from_utf8(text).map(|text| folded(&text)).map_err(io::Error::other)
}

/// The page with no line of text longer than those who check pages like. Formatters fill lines anew in any case.
fn folded(page: &str) -> String {
    const LONGEST: usize = 80;
    let mut folded = String::with_capacity(page.len());
    let mut is_tag = false;
    for line in page.lines() {
        let is_macro = line.starts_with(['.', '\'']);
        let mut rest = line;
        // What follows .TP is one line: the tag.
        while !is_macro && !is_tag && rest.len() > LONGEST {
            // The last space at which no sentence ends, since that would be spread, and after which no macro begins.
            let fits = |&(at, _): &(usize, &str)| {
                at <= LONGEST
                    && !rest[..at].ends_with(['.', '!', '?', ':'])
                    && !rest[at + 1..].starts_with(['.', '\''])
            };
            let Some((at, _)) = rest.rmatch_indices(' ').find(fits) else { break };
            folded.extend([&rest[..at], "\n"]);
            rest = &rest[at + 1..];
        }
        folded.extend([rest, "\n"]);
        is_tag = line == ".TP";
    }
    folded
}

/// What follows the options.
fn sections() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (command, what) in EXAMPLES {
        roff.control("TP", []).text([bold(command)]);
        roff.text([roman(if what.is_empty() {
            "a list of paths in, a line of JSON for each out"
        } else {
            what
        })]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []).text([bold(exit.code().to_string())]).text([roman(exit.meaning())]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (names, what) in ENVIRONMENT {
        let mut header: Vec<Inline> = Vec::new();
        for (index, name) in names.split(", ").enumerate() {
            header.extend((index > 0).then(|| roman(", ")));
            header.push(bold(name));
        }
        roff.control("TP", []).text(header).text([roman(what)]);
    }
    roff
}
