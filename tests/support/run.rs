//! Running the binary.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use super::fixture;

/// How the binary ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Asserts success without a word on standard error.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "");
        self
    }

    /// Asserts an exit code and, on standard error, one error that says `part`.
    #[track_caller]
    pub fn failed(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        let errors: Vec<_> = self.stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
        assert_eq!(errors.len(), 1, "{:?}", self.stderr);
        assert!(errors[0].starts_with("error: "), "{:?}", self.stderr);
        self
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// The binary, to be given arguments.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_clip-features"))
}

/// A tiny checkpoint: 26 tokens of width 36.
pub fn tiny() -> PathBuf {
    fixture("checkpoints/vision")
}

/// Runs the binary on the tiny checkpoint.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    command().arg("--model").arg(tiny()).args(arguments).stdin(Stdio::null()).output().unwrap().into()
}

/// Runs a command with bytes on its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> Outcome {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap(); // a command that refuses does not read its input
    output.into()
}

/// A tar of members.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}
