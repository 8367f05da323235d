//! Owns the table of containers of every engine but Docker, from the engines' own files; refuses their environments and to
//! believe that a file left behind means a running container.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::super::files::{Files, SMALL, join};
use super::super::text::text;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "containers",
    about: "Containers of podman, CRI-O, containerd, LXC, Incus, LXD and systemd-nspawn, as their engines' files have them.",
    sources: &[
        "/var/lib/containers/storage/*-containers/containers.json",
        "~/.local/share/containers/storage/*-containers/containers.json",
        "/run/containerd/io.containerd.runtime.v2.task/*/*/config.json",
        "/var/lib/lxc/*/config",
        "/var/lib/{incus,lxd}/containers",
        "/var/lib/machines",
    ],
    group: Group::Containers,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_containers,
};

/// One container.
#[derive(Serialize, Default)]
struct EngineRow {
    /// Derived: podman_or_crio, containerd, lxc, incus, lxd or nspawn.
    runtime: &'static str,
    /// Derived: Identifier, or the name where the engine has no other.
    id: String,
    /// Derived: Names, as a JSON array.
    names: String,
    /// Derived: Image, by name or identifier; null where the engine's file has none.
    image: Option<String>,
    /// Derived: When it was created, as the engine writes it; null where unknown.
    created: Option<String>,
    /// Derived: Namespace of the engine or the pod it belongs to; null where none.
    namespace: Option<String>,
    /// Derived: Program and arguments, as a JSON array; null where unknown.
    command: Option<String>,
    /// Derived: Folder of its root file system; null where unknown.
    rootfs: Option<String>,
    /// Derived: Folders of the host that are mounted into it, `source:destination`, as a JSON array; null where unknown.
    mounts: Option<String>,
    /// Derived: Effective capabilities, as a JSON array; null where unknown.
    capabilities: Option<String>,
    /// Derived: File or folder this was read from; bytes that are not UTF-8 are escaped.
    source_path: String,
}

/// Most containers of one engine.
const MOST: usize = 10_000;

fn capture_containers(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut storages = vec![b"/var/lib/containers/storage".to_vec(), b"/run/containers/storage".to_vec()];
    for home in files.homes(capture) {
        storages.push(join(&home.path, b".local/share/containers/storage"));
    }
    for storage in storages {
        capture_storage(capture, &mut files, &storage)?;
    }
    capture_containerd(capture, &mut files)?;
    for (runtime, folder) in [
        ("lxc", &b"/var/lib/lxc"[..]),
        ("incus", b"/var/lib/incus/containers"),
        ("lxd", b"/var/lib/lxd/containers"),
        ("lxd", b"/var/snap/lxd/common/lxd/containers"),
        ("nspawn", b"/var/lib/machines"),
    ] {
        capture_folders(capture, &mut files, runtime, folder)?;
    }
    Ok(())
}

/// containers-storage, which podman and CRI-O share: a list of containers, each with its OCI specification beside it.
fn capture_storage(capture: &mut TableCapture<'_>, files: &mut Files, storage: &[u8]) -> io::Result<()> {
    for driver in ["overlay", "vfs", "btrfs", "zfs"] {
        let folder = join(storage, format!("{driver}-containers").as_bytes());
        for list in [&b"containers.json"[..], b"volatile-containers.json"] {
            let path = join(&folder, list);
            let Some(Value::Array(containers)) = json(capture, files, &path) else { continue };
            for container in containers.iter().take(MOST) {
                let id = string(&container["id"]).unwrap_or_default();
                let metadata =
                    string(&container["metadata"]).and_then(|text| serde_json::from_str::<Value>(&text).ok());
                let metadata = metadata.unwrap_or_default();
                let image = string(&metadata["image-name"]).or_else(|| string(&container["image"]));
                let mut row = EngineRow {
                    runtime: "podman_or_crio",
                    names: container["names"].to_string(),
                    image,
                    created: string(&container["created"]),
                    namespace: string(&metadata["namespace"]),
                    source_path: text(&path).0,
                    ..EngineRow::default()
                };
                // An identifier becomes a part of a path only where it can be nothing else.
                if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    let specification = join(&folder, format!("{id}/userdata/config.json").as_bytes());
                    row.specify(json(capture, files, &specification).as_ref());
                }
                row.id = id;
                capture.row(&row)?;
            }
        }
    }
    Ok(())
}

fn capture_containerd(capture: &mut TableCapture<'_>, files: &mut Files) -> io::Result<()> {
    const TASKS: &[u8] = b"/run/containerd/io.containerd.runtime.v2.task";
    for namespace in files.entries(capture, TASKS).into_iter().take(MOST) {
        for container in files.entries(capture, &namespace.path).into_iter().take(MOST) {
            let path = join(&container.path, b"config.json");
            let Some(specification) = json(capture, files, &path) else { continue };
            let annotations = &specification["annotations"];
            let mut row = EngineRow {
                runtime: "containerd",
                id: text(&container.name).0,
                names: annotations["io.kubernetes.cri.container-name"].to_string(),
                image: string(&annotations["io.kubernetes.cri.image-name"]),
                namespace: Some(text(&namespace.name).0),
                source_path: text(&path).0,
                ..EngineRow::default()
            };
            row.specify(Some(&specification));
            capture.row(&row)?;
        }
    }
    Ok(())
}

/// Engines that keep a folder for each container.
fn capture_folders(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    runtime: &'static str,
    folder: &[u8],
) -> io::Result<()> {
    for entry in
        files.entries(capture, folder).into_iter().filter(|entry| !entry.name.starts_with(b".")).take(MOST)
    {
        let name = text(&entry.name).0;
        let row = EngineRow {
            runtime,
            names: serde_json::to_string(&[&name])?,
            rootfs: Some(text(&join(&entry.path, b"rootfs")).0).filter(|_| runtime != "nspawn"),
            source_path: text(&entry.path).0,
            id: name,
            ..EngineRow::default()
        };
        capture.row(&row)?;
    }
    Ok(())
}

impl EngineRow {
    /// Adds what an OCI runtime specification says.
    fn specify(&mut self, specification: Option<&Value>) {
        let Some(specification) = specification else { return };
        let process = &specification["process"];
        self.command = process["args"].as_array().map(|_| process["args"].to_string());
        self.rootfs = string(&specification["root"]["path"]);
        let effective = &process["capabilities"]["effective"];
        self.capabilities = effective.as_array().map(|_| effective.to_string());
        let mounts = specification["mounts"].as_array().map(|mounts| {
            let of_host = mounts
                .iter()
                .filter(|mount| mount["source"].as_str().is_some_and(|from| from.starts_with('/')));
            let pair = |mount: &Value| {
                format!(
                    "{}:{}",
                    mount["source"].as_str().unwrap_or_default(),
                    mount["destination"].as_str().unwrap_or_default()
                )
            };
            serde_json::to_string(&of_host.map(pair).collect::<Vec<_>>()).unwrap_or_default()
        });
        self.mounts = mounts;
    }
}

/// A JSON file; what is none is a gap.
fn json(capture: &mut TableCapture<'_>, files: &mut Files, path: &[u8]) -> Option<Value> {
    let bytes = files.text(capture, path, SMALL)?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(reason) => {
            capture.gap(text(path).0, &io::Error::new(io::ErrorKind::InvalidData, reason.to_string()));
            None
        }
    }
}

/// A text without NUL, which no column may hold.
fn string(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.replace('\0', "\\x00"))
}
