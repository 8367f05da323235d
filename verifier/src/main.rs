//! Owns the process: arguments in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_verifier::cli::run()
}
