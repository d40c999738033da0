//! What the parser of arguments has to say: help and the version, which are its errors too, and wrong usage.

use std::{
    ffi::OsString,
    io::{self, Write as _},
};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{
    exit::Exit,
    print::{Voice, after_printing},
};

/// Options of other tools, and what does the same here.
const ELSEWHERE: [(&[&str], &str); 14] = [
    (
        &["--fp16", "--half", "--float16"],
        "--dtype f16 stores float16; --matmul-precision medium computes faster",
    ),
    (&["--bf16", "--bfloat16"], "--matmul-precision medium computes with bfloat16, --dtype bf16 stores it"),
    (
        &["--resume", "--continue", "--skip-existing"],
        "run the same command again: what is complete is skipped",
    ),
    (&["--force", "-f"], "--overwrite starts over"),
    (
        &["--num-workers", "--workers", "--jobs", "--num-threads", "-j"],
        "--threads N; images are read ahead in any case",
    ),
    (&["--pooling", "--pool"], "--tensor pooler_output gives the pooled token, --tokens cls the class token"),
    (
        &["--normalize", "--norm"],
        "features are as the tower gives them; divide by their norm where they are read",
    ),
    (&["--gpu", "--cuda", "--gpus"], "--device cuda:N, of a build that knows GPUs"),
    (&["--recursive", "-r", "-R"], "leave it out: a directory is searched with all below it"),
    (&["--resolution", "--size", "--input-size", "--img-size"], "--image-size N, or HxW"),
    (
        &["--checkpoint", "--ckpt", "--pretrained", "--model-name", "--weights"],
        "--model ORG/NAME, DIR or FILE",
    ),
    (&["--crop", "--center-crop", "--resize", "--pad-to-square"], "--fit auto, pad, squash or keep"),
    (&["--output-dir", "--out-dir", "--save-dir", "--output-path"], "-o DIR/"),
    (&["--verbose", "-v"], "--progress always, or --json for a line of each image"),
];

/// Shows it, and says how the command ends. `typed` are the arguments, which nobody could parse.
pub(super) fn show(error: &clap::Error, typed: &[OsString]) -> Exit {
    if error.use_stderr() {
        let voice = if asks_for_json(typed) { Voice::Json } else { Voice::Words };
        voice.say("error", None, &message(error));
        return Exit::Refused;
    }
    let printed = error.print().and_then(|()| io::stdout().flush());
    after_printing(printed).unwrap_or_else(|error| {
        Voice::Words.say("error", None, &error.to_string());
        Exit::Refused
    })
}

/// What is wrong, on one line, and as a hint the way out, or where options are explained.
pub(super) fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let wrong = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = wrong.strip_prefix("error: ").unwrap_or(wrong).split_whitespace().collect();
    let tip = || text.split("\n\n").find_map(|paragraph| paragraph.trim_start().strip_prefix("tip: "));
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg);
    match (error.kind(), argument) {
        (ErrorKind::MissingRequiredArgument, Some(argument)) if argument.starts_with("<INPUT>") => {
            "no images are given\nhint: name a file, a directory or a tar, or - for standard input; --help lists all options".into()
        }
        (ErrorKind::UnknownArgument, Some(argument)) => {
            let name = argument.split('=').next().unwrap_or(argument);
            let other = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint);
            // What it says of names that are like none is how to pass one as an input.
            let similar = || tip().filter(|tip| !tip.starts_with("to pass"));
            let hint = other.or_else(similar).unwrap_or("--help lists all options").trim_end();
            format!("there is no option {name}\nhint: {hint}")
        }
        _ => format!("{}\nhint: {}", words.join(" "), tip().unwrap_or("--help explains the options").trim_end()),
    }
}

/// Whether `--progress json` is among arguments.
fn asks_for_json(typed: &[OsString]) -> bool {
    typed.iter().any(|word| word == "--progress=json")
        || typed.windows(2).any(|pair| pair[0] == "--progress" && pair[1] == "json")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::Args;

    fn refused(line: &str) -> String {
        let words = ["clip-features"].into_iter().chain(line.split_whitespace());
        message(&Args::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn options_of_other_tools_lead_to_ours() {
        for (line, expected) in [
            ("a.png --fp16", "there is no option --fp16\nhint: --dtype f16 stores"),
            ("a.png --num-workers=4", "there is no option --num-workers\nhint: --threads N"),
            ("a.png --resume", "hint: run the same command again"),
            ("a.png -r", "there is no option -r\nhint: leave it out"),
            ("a.png --ofline", "there is no option --ofline\nhint: a similar argument exists: '--offline'"),
            ("a.png --xyzzy", "there is no option --xyzzy\nhint: --help lists all options"),
            ("", "no images are given\nhint: name a file"),
        ] {
            let message = refused(line);
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn no_option_of_another_tool_is_one_of_ours() {
        let command = Args::command();
        for argument in command.get_arguments() {
            let long = argument.get_long().map(|name| format!("--{name}"));
            let short = argument.get_short().map(|name| format!("-{name}"));
            for name in long.into_iter().chain(short) {
                assert!(ELSEWHERE.iter().all(|(names, _)| !names.contains(&name.as_str())), "{name}");
            }
        }
    }
}
