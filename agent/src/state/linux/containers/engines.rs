//! Owns the table of containers of every engine but Docker, from the engines' own files; refuses their environments and to
//! believe that a file left behind means a running container.

use std::io;

use holdfast_schemas::item::ItemKind;
use serde_json::Value;

use super::super::files::{Files, join, lines};
use super::super::row::row;
use super::super::text::{Twin, fields, text};
use super::{FILE_CAP, MOST, damaged, first, json, object, string, texts};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "containers",
    about: "Containers of podman, CRI-O, containerd, LXC, Incus, LXD and systemd-nspawn, as their engines' files have them.",
    sources: &[
        "/{var/lib,run}/containers/storage/*-containers/{,volatile-}containers.json",
        "~/.local/share/containers/storage/*-containers/{,volatile-}containers.json",
        "{these folders}/*/userdata/config.json",
        "/run/containerd/io.containerd.runtime.v2.task/*/*/config.json",
        "/var/lib/lxc/*/config",
        "/var/lib/{incus,lxd}/containers",
        "/var/snap/lxd/common/lxd/containers",
        "/var/lib/machines",
    ],
    group: Group::Containers,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_containers,
};

row! {
    /// One container.
    #[derive(Default)]
    struct EngineRow {
        /// Derived: podman_or_crio, containerd, lxc, incus, lxd or nspawn.
        runtime: &'static str,
        /// Derived: Identifier, or the name where the engine has no other.
        id: Twin,
        /// Derived: Names, as a JSON array; `[]` where it has none.
        names: String,
        /// Derived: Image, by name or identifier; null where the engine's file has none.
        image: Option<Twin>,
        /// Derived: When it was created, as the engine writes it; null where unknown.
        created: Option<Twin>,
        /// Derived: Namespace of the engine or the pod it belongs to; null where none.
        namespace: Option<Twin>,
        /// Derived: Program and arguments, as a JSON array; null where unknown.
        command: Option<String>,
        /// Derived: Root file system, as the engine's file names it or where its folder is; null where unknown.
        rootfs: Option<Twin>,
        /// Derived: Folders of the host that are mounted into it, `source:destination`, as a JSON array; null where unknown.
        mounts: Option<String>,
        /// Derived: Effective capabilities, as a JSON array; null where unknown.
        capabilities: Option<String>,
        /// Derived: AppArmor profile that the engine's file names, such as unconfined; null where it names none.
        apparmor_profile: Option<Twin>,
        /// Derived: File or folder this was read from.
        source_path: Twin,
    }
}

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
            let containers = match json(capture, files, &path) {
                None => continue,
                Some(Value::Array(containers)) => containers,
                Some(_) => {
                    damaged(capture, &path, "not a list of containers");
                    continue;
                }
            };
            for container in first(capture, &path, containers, MOST) {
                if container.is_object() {
                    let row = stored(capture, files, &folder, &path, &container);
                    capture.row(&row)?;
                } else {
                    damaged(capture, &path, "an entry of the list is no container");
                }
            }
        }
    }
    Ok(())
}

fn stored(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    folder: &[u8],
    path: &[u8],
    container: &Value,
) -> EngineRow {
    let metadata = container["metadata"].as_str().filter(|metadata| !metadata.is_empty());
    let metadata = metadata.map_or(Ok(Value::Null), serde_json::from_str).unwrap_or_else(|reason| {
        damaged(capture, path, &format!("metadata of a container: {reason}"));
        Value::Null
    });
    let mut row = EngineRow {
        runtime: "podman_or_crio",
        id: string(&container["id"]).unwrap_or_default(),
        names: texts(&container["names"]),
        image: string(&metadata["image-name"]).or_else(|| string(&container["image"])),
        created: string(&container["created"]),
        namespace: string(&metadata["namespace"]),
        source_path: text(path),
        ..EngineRow::default()
    };
    // An identifier becomes a part of a path only where it can be nothing else.
    let id = &row.id.0;
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let specification = join(folder, format!("{id}/userdata/config.json").as_bytes());
        if let Some(specification) = object(capture, files, &specification) {
            row.specify(&specification);
        }
    }
    row
}

fn capture_containerd(capture: &mut TableCapture<'_>, files: &mut Files) -> io::Result<()> {
    const TASKS: &[u8] = b"/run/containerd/io.containerd.runtime.v2.task";
    let namespaces = files.entries(capture, TASKS);
    for namespace in first(capture, TASKS, namespaces, MOST) {
        let containers = files.entries(capture, &namespace.path);
        for container in first(capture, &namespace.path, containers, MOST) {
            let path = join(&container.path, b"config.json");
            let Some(specification) = object(capture, files, &path) else { continue };
            let annotations = &specification["annotations"];
            let name = &annotations["io.kubernetes.cri.container-name"];
            let mut row = EngineRow {
                runtime: "containerd",
                id: text(&container.name),
                names: texts(&Value::Array(vec![name.clone()])),
                image: string(&annotations["io.kubernetes.cri.image-name"]),
                namespace: Some(text(&namespace.name)),
                source_path: text(&path),
                ..EngineRow::default()
            };
            row.specify(&specification);
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
    let mut entries = files.entries(capture, folder);
    entries.retain(|entry| !entry.name.starts_with(b"."));
    for entry in first(capture, folder, entries, MOST) {
        let below = join(&entry.path, b"rootfs");
        let root = if runtime == "nspawn" { Some(entry.clone()) } else { files.entry(capture, &below) };
        let root = root.filter(|root| root.kind == ItemKind::Directory);
        let mut row = EngineRow {
            runtime,
            names: serde_json::to_string(&[&text(&entry.name).0])?,
            rootfs: root.map(|root| text(&root.path)),
            source_path: text(&entry.path),
            id: text(&entry.name),
            ..EngineRow::default()
        };
        if runtime == "lxc"
            && let Some(settings) = files.text(capture, &join(&entry.path, b"config"), FILE_CAP)
        {
            row.configure(&settings);
        }
        capture.row(&row)?;
    }
    Ok(())
}

impl EngineRow {
    /// Adds what an OCI runtime specification says.
    fn specify(&mut self, specification: &Value) {
        let process = &specification["process"];
        self.command = process["args"].as_array().map(|_| process["args"].to_string());
        self.rootfs = string(&specification["root"]["path"]);
        self.apparmor_profile = string(&process["apparmorProfile"]);
        let effective = &process["capabilities"]["effective"];
        self.capabilities = effective.as_array().map(|_| effective.to_string());
        self.mounts = specification["mounts"].as_array().map(|mounts| {
            let text = |mount: &Value, key: &str| mount[key].as_str().unwrap_or_default().to_owned();
            let pairs = mounts.iter().map(|mount| (text(mount, "source"), text(mount, "destination")));
            of_host(pairs)
        });
    }

    /// Adds what LXC's configuration says (lxc.container.conf(5)).
    fn configure(&mut self, settings: &[u8]) {
        let mut mounts = Vec::new();
        for (_, line) in lines(settings) {
            let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (key, value) = line.split_at(equals);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            match key.trim_ascii() {
                b"lxc.rootfs.path" => self.rootfs = Some(text(value)),
                b"lxc.apparmor.profile" => self.apparmor_profile = Some(text(value)),
                b"lxc.mount.entry" => {
                    let mut columns = fields(value).map(|column| text(column).0);
                    mounts.extend(columns.next().zip(columns.next()));
                }
                _ => {}
            }
        }
        self.mounts = Some(of_host(mounts.into_iter()));
    }
}

/// `source:destination` of mounts whose source is a path of the host, as a JSON array.
fn of_host(mounts: impl Iterator<Item = (String, String)>) -> String {
    let of_host = mounts.filter(|(source, _)| source.starts_with('/'));
    let pairs = of_host.map(|(source, destination)| Value::from(format!("{source}:{destination}")));
    Value::Array(pairs.collect()).to_string()
}
