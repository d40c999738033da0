//! Arguments → plan → run → exit code.

mod cli;
mod inputs;
mod interrupt;
mod opened;
mod preflight;
mod run;
mod sink;
mod writer;

use std::process::ExitCode;

use clap::Parser;

use cli::{Args, Exit, Plan};

fn main() -> ExitCode {
    let exit = match Plan::settle(Args::parse()) {
        Ok(plan) => run::run(plan),
        Err(error) => {
            cli::say("error", &error.to_string());
            Exit::Refused
        }
    };
    exit.into()
}
