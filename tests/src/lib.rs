//! Owns what every end-to-end test starts from: the built programs, a workplace, a real timestamp authority and a real
//! capture; refuses stand-ins for any of them.

#![allow(clippy::disallowed_methods, reason = "tests start programs, also those of the host")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod authority;
pub mod capture;
pub mod forge;
pub mod hostile;
pub mod package;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use authority::Authority;
pub use capture::{Capture, Captured};

/// The folder that the programs of this build lie in.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    assert!(
        folder.join("holdfast-agent").exists() && folder.join("holdfast-verifier").exists(),
        "build the programs first: cargo build --workspace with the same profile ({})",
        folder.display()
    );
    folder.to_owned()
}

/// The agent, as a responder runs it.
pub fn agent() -> Command {
    let mut command = Command::new(programs().join("holdfast-agent"));
    command.env_remove("SSH_AUTH_SOCK");
    command
}

/// The verifier, as a lawyer runs it.
pub fn verifier() -> Command {
    let mut command = Command::new(programs().join("holdfast-verifier"));
    command.env("NO_COLOR", "1");
    command
}

/// Runs a command and returns what it printed; fails the test when its exit status is not `expected`.
pub fn run(command: &mut Command, expected: i32) -> Output {
    run_to_one_of(command, &[expected])
}

/// Runs a command and returns what it printed; fails the test when its exit status is none of those `expected`.
pub fn run_to_one_of(command: &mut Command, expected: &[i32]) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs what the tests need"));
    assert!(
        output.status.code().is_some_and(|status| expected.contains(&status)),
        "{command:?}: {}, expected {expected:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a stock tool, which must succeed, and returns its standard output.
pub fn stock(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = run(Command::new(program).args(arguments).current_dir(folder), 0);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A new folder that goes away with its guard.
pub fn workplace() -> tempfile::TempDir {
    let parent = programs().join("test-workplaces");
    std::fs::create_dir_all(&parent).unwrap();
    tempfile::Builder::new().prefix("t-").tempdir_in(parent).unwrap()
}
