//! The command `clip-features`: everything is in the library's `cli`.

fn main() -> std::process::ExitCode {
    clip_features::cli::run(std::env::args_os()).into()
}
