//! Owns a real capture by the real agent, with the trust folder that judges it; refuses to build packages any other way.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::{Authority, agent, run, run_to_one_of};

/// The principal that test examiners have.
pub const PRINCIPAL: &str = "examiner@example.gov";

/// What to capture and how.
pub struct Capture<'a> {
    /// Everything the capture makes goes below this folder.
    pub workplace: &'a Path,
    /// Further arguments for `collect`.
    pub arguments: Vec<String>,
    /// Ask this authority.
    pub authority: Option<&'a Authority>,
    /// Sign with an examiner's key as well.
    pub examiner: bool,
    /// The exit status that is expected.
    pub status: i32,
}

/// A sealed package and what belongs to it.
pub struct Captured {
    /// The package.
    pub package: PathBuf,
    /// Its ledger.
    pub ledger: PathBuf,
    /// The trust folder: allowed_signers, and tsa-roots.pem where an authority was asked.
    pub trust: PathBuf,
    /// What the agent printed.
    pub output: Output,
}

impl<'a> Capture<'a> {
    /// A capture of the files that `path` names, signed by an examiner, expected to be without exceptions.
    pub fn of_path(workplace: &'a Path, path: &str) -> Self {
        Self {
            workplace,
            arguments: vec!["--path".to_owned(), path.to_owned()],
            authority: None,
            examiner: true,
            status: 0,
        }
    }

    /// A triage of this very host.
    pub fn of_this_host(workplace: &'a Path) -> Self {
        Self { arguments: Vec::new(), ..Self::of_path(workplace, "") }
    }

    /// Runs the agent.
    pub fn run(self) -> Captured {
        let expected = [self.status];
        self.run_to_one_of(&expected)
    }

    /// Runs the agent where it depends on the host whether there are exceptions: a file that changes, a process that ends.
    pub fn run_with_what_the_host_allows(self) -> Captured {
        self.run_to_one_of(&[0, 10])
    }

    /// Runs the agent, which may end with one of these exit statuses.
    pub fn run_to_one_of(self, expected: &[i32]) -> Captured {
        let trust = self.workplace.join("trust");
        std::fs::create_dir_all(&trust).unwrap();
        let output = self.workplace.join("evidence");
        let mut command = agent();
        command.arg("collect").args(&self.arguments).arg("--output").arg(&output);
        if self.examiner {
            let key = self.workplace.join("examiner");
            if !key.exists() {
                let made = run(
                    agent().args(["init", "--principal", PRINCIPAL, "--no-passphrase", "--output"]).arg(&key),
                    0,
                );
                std::fs::write(trust.join("allowed_signers"), &made.stdout).unwrap();
            }
            command.arg("--key").arg(&key).args(["--examiner-principal", PRINCIPAL]);
        }
        if let Some(authority) = self.authority {
            command.arg("--tsa").arg(&authority.url);
            std::fs::copy(&authority.root, trust.join("tsa-roots.pem")).unwrap();
        }
        let printed = run_to_one_of(&mut command, expected);
        let package = newest_package(&output);
        let ledger = PathBuf::from(format!("{}.custody.jsonl", package.display()));
        Captured { package, ledger, trust, output: printed }
    }
}

fn newest_package(folder: &Path) -> PathBuf {
    let packages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let packages = packages.filter(|path| path.extension().is_some_and(|extension| extension == "zip"));
    packages.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}
