//! `--generate`: scripts that the shells load and complete with, and a page that man shows.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use support::run::{command, feed, run};

fn generated(what: &str) -> String {
    let output = command().args(["--generate", what]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{what}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every `--option` that help shows.
fn options() -> BTreeSet<String> {
    let help = command().arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let help = help.split("\nExit codes:").next().unwrap();
    let words = help.lines().filter_map(|line| line.trim_start().strip_prefix('-'));
    let names = words.filter_map(|line| line.split("--").nth(1).or(line.strip_prefix('-')));
    names.map(|name| name.split([' ', '[', '=', ',']).next().unwrap().to_owned()).collect()
}

/// Runs a program with a script on its standard input; none where it is not installed.
fn shell(program: &str, arguments: &[&str], script: &str) -> Option<String> {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("{program} is not installed: its script is only read");
        return None;
    }
    let outcome = feed(Command::new(program).args(arguments).env("LC_ALL", "C"), script.as_bytes());
    assert!(outcome.code == Some(0) && outcome.stderr.is_empty(), "{program}: {}", outcome.stderr);
    Some(outcome.text().to_owned())
}

fn assert_names_all(text: &str, what: &str) {
    let options = options();
    assert!(options.len() > 30 && options.contains("tensor") && options.contains("generate"), "{options:?}");
    for option in &options {
        assert!(text.contains(option.as_str()), "{what} does not know --{option}");
    }
}

/// The values of options too.
fn assert_names_values(text: &str, what: &str) {
    for value in ["last_hidden_state", "torchvision", "complete-powershell", "safetensors"] {
        assert!(text.contains(value), "{what} does not know {value}");
    }
}

/// Asserts that all words are among the lines of an answer.
fn assert_offers(answer: &str, words: &[&str]) {
    let offered: BTreeSet<&str> = answer.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(words.iter().all(|word| offered.contains(word)), "{words:?} are not all in {answer:?}");
}

#[test]
fn bash_loads_its_script_and_completes() {
    let script = generated("complete-bash");
    assert_names_all(&script, "bash");
    assert_names_values(&script, "bash");
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("some-photo.jpg"), "").unwrap();
    let photo = directory.path().join("some-photo.jpg");
    let ask = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, previous) = (words.len() - 1, words[words.len() - 2]);
        format!(
            "COMP_WORDS=({line}); [ {} = 0 ] && COMP_WORDS+=(''); COMP_CWORD={last}\n\
             function=$(complete -p clip-features | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
             \"$function\" clip-features '{}' '{previous}' 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            words[last].len(),
            words[last]
        )
    };
    let start = directory.path().join("some-").display().to_string();
    let asked = [
        "clip-features --ima",
        "clip-features --processor ",
        "clip-features --tensor last",
        "clip-features --output ",
    ];
    let lines: Vec<String> = asked.into_iter().map(str::to_owned).collect();
    let file = format!("clip-features --failures {start}");
    for (line, expected) in lines.iter().chain([&file]).zip([
        vec!["--image-key", "--image-size"],
        vec!["pil", "torchvision"],
        vec!["last_hidden_state"],
        vec![],
        vec![photo.to_str().unwrap()],
    ]) {
        let Some(answer) = shell("bash", &["--norc"], &(script.clone() + "\n" + &ask(line))) else { return };
        assert_offers(&answer, &expected);
    }
    for number in ["--part", "--threads", "--layer", "--max-pixels", "--draw", "--shard-size"] {
        let line = format!("clip-features {number} {start}");
        let Some(answer) = shell("bash", &["--norc"], &(script.clone() + "\n" + &ask(&line))) else { return };
        assert!(!answer.contains("photo"), "{number}: {answer}");
    }
}

#[test]
fn fish_loads_its_script_and_completes() {
    let script = generated("complete-fish");
    assert_names_all(&script, "fish");
    assert_names_values(&script, "fish");
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("some-photo.jpg"), "").unwrap();
    let start = directory.path().join("some-").display().to_string();
    let photo = directory.path().join("some-photo.jpg").display().to_string();
    for (line, expected) in [
        ("clip-features --ima", vec!["--image-key", "--image-size"]),
        ("clip-features --processor ", vec!["pil", "torchvision"]),
        ("clip-features --tensor last", vec!["last_hidden_state"]),
        (&format!("clip-features --failures {start}"), vec![&photo]),
        ("clip-features --generate ", vec!["complete-powershell\tFor the file that PROFILE names"]),
    ] {
        let asked = format!("{script}\ncomplete -C \"{line}\"\n");
        let Some(answer) = shell("fish", &["--no-config"], &asked) else { return };
        match expected.as_slice() {
            [line] if line.contains('\t') => assert!(answer.contains(line), "{answer}"),
            expected => assert_offers(&answer, expected),
        }
    }
}

/// Types into an interactive zsh, and prints what completion adds to the line.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell "PROMPT=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $1/dump"
zpty -w shell 'zstyle ":completion:*" list-colors ""; zstyle ":completion:*" list-separator "-"'
zpty -w shell 'LISTMAX=0; bindkey "^I" list-choices; echo re''ady'
zpty -r -m shell reading '*ready*'
zpty -w -n shell "$2"$'\t'
sleep 2
zpty -w -n shell $'\x15'
zpty -w shell 'echo fin''ished'
zpty -r -m shell reading '*finished*'
print -r -- "$reading"
zpty -d shell
"#;

#[test]
fn zsh_loads_its_script_and_completes() {
    let script = generated("complete-zsh");
    assert_names_all(&script, "zsh");
    assert_names_values(&script, "zsh");
    assert!(script.starts_with("#compdef clip-features\n"));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("_clip-features"), &script).unwrap();
    fs::write(directory.path().join("some-photo.jpg"), "").unwrap();
    fs::write(directory.path().join("some-other.jpg"), "").unwrap();
    let at = directory.path().to_str().unwrap();
    for (line, expected) in [
        ("clip-features --ima", vec!["--image-key", "--image-size"]),
        ("clip-features --processor ", vec!["pil", "torchvision", "CLIPImageProcessorPil"]),
        ("clip-features --tensor ", vec!["last_hidden_state", "pixel_values"]),
        (&format!("clip-features --failures {at}/some-"), vec!["some-photo.jpg", "some-other.jpg"]),
    ] {
        let Some(answer) = shell("zsh", &["-f", "-s", at, line], ZSH) else { return };
        assert!(expected.iter().all(|word| answer.contains(word)), "{line}: {expected:?} in {answer}");
    }
}

#[test]
fn powershell_has_a_script_too() {
    let script = generated("complete-powershell");
    assert_names_all(&script, "powershell");
    assert!(script.contains("Register-ArgumentCompleter -Native -CommandName 'clip-features'"));
    let block = "\n$line = 'clip-features --ima'\n\
                 (TabExpansion2 $line $line.Length).CompletionMatches | ForEach-Object CompletionText\n";
    if let Some(answer) = shell("pwsh", &["-NoProfile", "-Command", "-"], &(script + block)) {
        assert_offers(&answer, &["--image-key", "--image-size"]);
    }
}

#[test]
fn the_man_page_is_shown_without_a_warning() {
    let page = generated("man");
    let plain = page.replace("\\-", "-");
    assert_names_all(&plain, "man");
    for family in ["CLIP", "SigLIP", "SigLIP 2", "DINOv2", "DINOv3"] {
        let description = plain.split(".SH OPTIONS").next().unwrap().split(".SH DESCRIPTION").nth(1).unwrap();
        assert!(description.replace('\n', " ").contains(family), "{description}");
    }
    assert_names_values(&plain, "man");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected =
        ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT"];
    assert_eq!(sections, expected);
    for (code, meaning) in [("0", "all done"), ("130", "interrupted; into a directory")] {
        assert!(page.contains(&format!("\\fB{code}\\fR\n{meaning}")), "{code}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clip-features.1");
    fs::write(&path, page).unwrap();
    let path = path.to_str().unwrap();
    // Each fails the test with what it has to say.
    if let Some(text) = shell("man", &["--warnings", "-E", "ascii", "-l", path], "") {
        assert!(text.contains("find . -name '*.jpg' -print0 | clip-features"), "{text}");
    }
    if Path::new("/usr/bin/mandoc").exists() {
        let lint = Command::new("mandoc").args(["-T", "lint", path]).output().unwrap();
        assert_eq!(String::from_utf8(lint.stdout).unwrap() + &String::from_utf8(lint.stderr).unwrap(), "");
    }
}

#[test]
fn nothing_goes_with_it() {
    let refused = run(["--generate", "man"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("cannot be used with"), "{refused:?}");
}
