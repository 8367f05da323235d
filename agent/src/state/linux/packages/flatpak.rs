//! Owns the table of Flatpak's applications and runtimes, read from where they are deployed; refuses to ask flatpak.

use std::io;

use serde::Serialize;

use super::lines;
use super::places::places;
use crate::state::linux::files::{Files, join};
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The longest metadata that is read, in bytes.
const FILE_CAP: usize = 1 << 20;

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "flatpak_packages",
    about: "Flatpak applications and runtimes that are deployed.",
    sources: &["{/var/lib/flatpak,~/.local/share/flatpak}/{app,runtime}/*/*/*"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_packages,
};

/// One Flatpak application or runtime that is deployed, for all users or for one.
#[derive(Serialize, Default)]
struct FlatpakRow {
    /// osquery: Identifier.
    app_id: String,
    /// Derived: Base64 of the exact bytes behind `app_id`; null where `app_id` is those bytes verbatim.
    app_id_raw: Option<String>,
    /// osquery: Architecture.
    arch: String,
    /// Derived: Base64 of the exact bytes behind `arch`; null where `arch` is those bytes verbatim.
    arch_raw: Option<String>,
    /// osquery: Branch.
    branch: String,
    /// Derived: Base64 of the exact bytes behind `branch`; null where `branch` is those bytes verbatim.
    branch_raw: Option<String>,
    /// osquery: Commit that is deployed; null where none is marked as active.
    commit_hash: Option<String>,
    /// Derived: Base64 of the exact bytes behind `commit_hash`; null where `commit_hash` is those bytes
    /// verbatim.
    commit_hash_raw: Option<String>,
    /// osquery: Remote that it was installed from; null where the deployment does not say.
    origin: Option<String>,
    /// Derived: Base64 of the exact bytes behind `origin`; null where `origin` is those bytes verbatim.
    origin_raw: Option<String>,
    /// osquery: Runtime that it uses; null where its metadata does not say.
    runtime: Option<String>,
    /// Derived: Base64 of the exact bytes behind `runtime`; null where `runtime` is those bytes verbatim.
    runtime_raw: Option<String>,
    /// osquery: app or runtime.
    r#type: &'static str,
    /// osquery: system or user.
    installation: &'static str,
    /// Derived: Folder of the branch.
    path: String,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
}

fn capture_packages(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for (place, installation) in [("/var/lib/flatpak", "system"), ("~/.local/share/flatpak", "user")] {
        for kind in ["app", "runtime"] {
            for branch in places(capture, &mut files, &[&format!("{place}/{kind}/*/*/*")])? {
                // Beside the architectures there is a link `current` to the branch in use.
                if branch.split(|byte| *byte == b'/').rev().nth(1) == Some(b"current") {
                    continue;
                }
                let row = row(capture, &mut files, kind, installation, &branch);
                capture.row(&row)?;
            }
        }
    }
    Ok(())
}

fn row(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    kind: &'static str,
    installation: &'static str,
    branch: &[u8],
) -> FlatpakRow {
    let mut row = FlatpakRow { r#type: kind, installation, ..FlatpakRow::default() };
    let mut parts = branch.rsplit(|byte| *byte == b'/');
    (row.branch, row.branch_raw) = text(parts.next().unwrap_or_default());
    (row.arch, row.arch_raw) = text(parts.next().unwrap_or_default());
    (row.app_id, row.app_id_raw) = text(parts.next().unwrap_or_default());
    (row.path, row.path_raw) = text(branch);
    let active = join(branch, b"active");
    let commit = files.link(capture, &active);
    (row.commit_hash, row.commit_hash_raw) = optional(commit.as_deref());
    let mut read = |name: &[u8]| files.own_text(capture, &join(&active, name), FILE_CAP);
    // A tuple of GVariant that begins with the remote's name and a NUL.
    let deploy = read(b"deploy");
    let origin = deploy.as_deref().and_then(|deploy| deploy.split(|byte| *byte == 0).next());
    (row.origin, row.origin_raw) = optional(origin.filter(|origin| !origin.is_empty()));
    let metadata = read(b"metadata").unwrap_or_default();
    (row.runtime, row.runtime_raw) =
        optional(lines(&metadata).find_map(|line| line.strip_prefix(b"runtime=")));
    if files.names(capture, &join(&active, b"files")).is_empty() && commit.is_some() {
        let reason =
            io::Error::new(io::ErrorKind::InvalidData, "marked as deployed, but its files are not there");
        capture.gap(text(branch).0, &reason);
    }
    row
}
