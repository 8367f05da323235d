//! Owns the table of snaps; refuses to ask snapd, and to look into snaps that are not mounted.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::state::linux::files::Files;
use crate::state::linux::text::{optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The state that snapd keeps.
const STATE: &str = "/var/lib/snapd/state.json";
/// The longest state that is read, in bytes.
const STATE_CAP: usize = 64 << 20;
/// Where snaps are mounted; the second where `/snap` is not allowed.
const MOUNTS: [&str; 2] = ["/snap", "/var/lib/snapd/snap"];
/// The longest description of a snap that is read, in bytes.
const META_CAP: usize = 1 << 20;

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "snap_packages",
    about: "Snaps by snapd's state, each revision that is installed.",
    sources: &["/var/lib/snapd/state.json", "/{snap,var/lib/snapd/snap}/*/*/meta/snap.yaml"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_snaps,
};

/// One revision of a snap that snapd's state names as installed.
#[derive(Serialize, Default)]
struct SnapRow {
    /// osquery: Package name.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Version, from the mounted snap; null where it is not mounted.
    version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Summary, from the mounted snap; null where it is not mounted.
    summary: Option<String>,
    /// Derived: Base64 of the exact bytes behind `summary`; null where `summary` is those bytes verbatim.
    summary_raw: Option<String>,
    /// osquery: Kind: app, base, kernel, gadget, os or snapd; null where none is stated.
    r#type: Option<String>,
    /// Derived: Base64 of the exact bytes behind `type`; null where `type` is those bytes verbatim.
    type_raw: Option<String>,
    /// osquery: Confinement (strict, devmode, classic), from the mounted snap; null where it is not mounted.
    confinement: Option<String>,
    /// Derived: Base64 of the exact bytes behind `confinement`; null where `confinement` is those bytes
    /// verbatim.
    confinement_raw: Option<String>,
    /// osquery: Base snap, from the mounted snap; null where it is not mounted or has none.
    base: Option<String>,
    /// Derived: Base64 of the exact bytes behind `base`; null where `base` is those bytes verbatim.
    base_raw: Option<String>,
    /// osquery: Licence, from the mounted snap; null where it is not mounted or states none.
    license: Option<String>,
    /// Derived: Base64 of the exact bytes behind `license`; null where `license` is those bytes verbatim.
    license_raw: Option<String>,
    /// osquery: Grade (stable, devel), from the mounted snap; null where it is not mounted or states none.
    grade: Option<String>,
    /// Derived: Base64 of the exact bytes behind `grade`; null where `grade` is those bytes verbatim.
    grade_raw: Option<String>,
    /// osquery: Revision; `x` stands before those installed from a local file.
    revision: String,
    /// Derived: Base64 of the exact bytes behind `revision`; null where `revision` is those bytes verbatim.
    revision_raw: Option<String>,
    /// osquery: Channel that is followed; null where none is.
    channel: Option<String>,
    /// Derived: Base64 of the exact bytes behind `channel`; null where `channel` is those bytes verbatim.
    channel_raw: Option<String>,
    /// osquery: Identifier in the store; null where it did not come from there.
    snap_id: Option<String>,
    /// Derived: Base64 of the exact bytes behind `snap_id`; null where `snap_id` is those bytes verbatim.
    snap_id_raw: Option<String>,
    /// Derived: Whether this is the revision in use.
    current: bool,
    /// Derived: Whether the snap is switched on.
    active: bool,
    /// Derived: Whether it was installed without confinement by developer mode.
    devmode: bool,
    /// Derived: Whether it was installed without confinement by classic mode.
    classic: bool,
}

#[derive(Deserialize)]
struct State {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    snaps: BTreeMap<String, Snap>,
}

#[derive(Deserialize)]
struct Snap {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    sequence: Vec<Installed>,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    devmode: bool,
    #[serde(default)]
    classic: bool,
}

/// A revision; newer states hold it one level deeper, beside its components.
#[derive(Deserialize, Default)]
struct Installed {
    #[serde(default, rename = "snap-id")]
    id: Option<String>,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    snap: Option<Box<Installed>>,
}

/// What a mounted snap says of itself.
#[derive(Deserialize, Default)]
struct Meta {
    version: Option<String>,
    summary: Option<String>,
    confinement: Option<String>,
    base: Option<String>,
    license: Option<String>,
    grade: Option<String>,
}

fn capture_snaps(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let Some(state) = files.text(capture, STATE.as_bytes(), STATE_CAP) else { return Ok(()) };
    let state: State = match serde_json::from_slice(&state) {
        Ok(state) => state,
        Err(reason) => {
            capture.gap(STATE, &reason.into());
            return Ok(());
        }
    };
    for (name, snap) in &state.data.snaps {
        for installed in &snap.sequence {
            let installed = installed.snap.as_deref().unwrap_or(installed);
            let meta = meta(capture, &mut files, name, installed.revision.as_deref().unwrap_or_default());
            capture.row(&row(name, snap, installed, &meta))?;
        }
    }
    Ok(())
}

fn meta(capture: &mut TableCapture<'_>, files: &mut Files, name: &str, revision: &str) -> Meta {
    let plain = |part: &str| !part.is_empty() && !part.contains(['/', '\0']) && !part.starts_with('.');
    if !plain(name) || !plain(revision) {
        return Meta::default();
    }
    for mount in MOUNTS {
        let path = format!("{mount}/{name}/{revision}/meta/snap.yaml");
        let Some(meta) = files.text(capture, path.as_bytes(), META_CAP) else { continue };
        // YAML is text: a rendering of other bytes would be columns that nobody wrote.
        let parsed = match std::str::from_utf8(&meta) {
            Ok(meta) => serde_saphyr::from_str(meta).map_err(|reason| reason.to_string()),
            Err(reason) => Err(reason.to_string()),
        };
        match parsed {
            Ok(meta) => return meta,
            Err(reason) => {
                let first = reason.lines().next().unwrap_or_default();
                capture.gap(path, &io::Error::new(io::ErrorKind::InvalidData, first));
            }
        }
    }
    Meta::default()
}

fn row(name: &str, snap: &Snap, installed: &Installed, meta: &Meta) -> SnapRow {
    let column = |value: &Option<String>| {
        optional(value.as_deref().filter(|value| !value.is_empty()).map(str::as_bytes))
    };
    let mut row = SnapRow {
        current: snap.current.is_some() && snap.current == installed.revision,
        active: snap.active,
        devmode: snap.devmode,
        classic: snap.classic,
        ..SnapRow::default()
    };
    (row.name, row.name_raw) = text(name.as_bytes());
    (row.version, row.version_raw) = column(&meta.version);
    (row.summary, row.summary_raw) = column(&meta.summary);
    (row.r#type, row.type_raw) = column(&snap.kind);
    (row.confinement, row.confinement_raw) = column(&meta.confinement);
    (row.base, row.base_raw) = column(&meta.base);
    (row.license, row.license_raw) = column(&meta.license);
    (row.grade, row.grade_raw) = column(&meta.grade);
    (row.revision, row.revision_raw) = text(installed.revision.as_deref().unwrap_or_default().as_bytes());
    (row.channel, row.channel_raw) = column(&snap.channel);
    (row.snap_id, row.snap_id_raw) = column(&installed.id);
    row
}
