//! Owns the table of Docker's containers, from the files below its data folder; refuses their environments.

use std::io;

use serde_json::Value;

use super::super::files::{Files, join};
use super::super::row::row;
use super::super::text::{Twin, text};
use super::{MOST, elements, first, object, string};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "docker_containers",
    about: "Docker's containers with what they may do, as its own files have them.",
    sources: &[
        "/etc/docker/daemon.json",
        "{/var/lib/docker,its data-root}/containers/*/{config.v2.json,hostconfig.json}",
    ],
    group: Group::Containers,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_containers,
};

row! {
    /// One container.
    struct ContainerRow {
        /// osquery: Identifier.
        id: Twin,
        /// osquery: Name, with the slash that Docker puts before it; null where none is stated.
        name: Option<Twin>,
        /// osquery: Image, as it was asked for; null where none is stated.
        image: Option<Twin>,
        /// osquery: Identifier of the image; null where none is stated.
        image_id: Option<Twin>,
        /// osquery: Program and arguments, as a JSON array.
        command: String,
        /// Derived: When it was created, as Docker writes it; osquery's `created` is Unix seconds. Null where not
        /// stated.
        created_at: Option<Twin>,
        /// osquery: State the file states: running, paused, restarting, dead or exited; null where it states none.
        state: Option<&'static str>,
        /// osquery: Process id in the engine's namespace; 0 where it does not run; null where none is stated.
        pid: Option<i64>,
        /// osquery: When it was last started, as Docker writes it; null where not stated.
        started_at: Option<Twin>,
        /// osquery: When it last ended, as Docker writes it; null where not stated.
        finished_at: Option<Twin>,
        /// osquery: Whether it is privileged; null where `hostconfig.json` could not be read.
        privileged: Option<bool>,
        /// osquery: Security options, as a JSON array; null where `hostconfig.json` could not be read.
        security_options: Option<String>,
        /// osquery: Whether its root is read-only; null where unknown.
        readonly_rootfs: Option<bool>,
        /// Derived: Capabilities added, as a JSON array; null where `hostconfig.json` could not be read.
        capabilities_added: Option<String>,
        /// Derived: Network mode, such as host; null where unknown.
        network_mode: Option<Twin>,
        /// Derived: Process id mode; host where it sees the host's processes; null where unknown.
        pid_mode: Option<Twin>,
        /// Derived: Bind mounts asked for, `source:destination[:options]`, as a JSON array; null where
        /// `hostconfig.json` could not be read.
        binds: Option<String>,
        /// Derived: Storage driver, such as overlay2; null where none is stated.
        storage_driver: Option<Twin>,
        /// Derived: The file the row was read from.
        source: Twin,
    }
}

fn capture_containers(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut folders = vec![b"/var/lib/docker".to_vec()];
    let daemon = object(capture, &mut files, b"/etc/docker/daemon.json");
    let moved = daemon.as_ref().and_then(|daemon| daemon.get("data-root").or_else(|| daemon.get("graph")));
    if let Some(moved) = moved.and_then(Value::as_str).filter(|moved| moved.starts_with('/'))
        && moved.trim_end_matches('/') != "/var/lib/docker"
    {
        folders.push(moved.trim_end_matches('/').as_bytes().to_vec());
    }
    for folder in folders {
        let list = join(&folder, b"containers");
        let names = files.names(capture, &list);
        for name in first(capture, &list, names, MOST) {
            capture.go_on()?;
            capture_container(capture, &mut files, &name, &join(&list, &name))?;
        }
    }
    Ok(())
}

fn capture_container(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    name: &[u8],
    at: &[u8],
) -> io::Result<()> {
    let source = join(at, b"config.v2.json");
    let Some(config) = object(capture, files, &source) else { return Ok(()) };
    let known = object(capture, files, &join(at, b"hostconfig.json"));
    let host = known.as_ref().unwrap_or(&Value::Null);
    let list = |value: &Value| {
        known.as_ref().map(|_| if value.is_null() { "[]".to_owned() } else { value.to_string() })
    };
    let path = config["Path"].as_str().map(Value::from);
    let command = path.into_iter().chain(elements(&config["Args"]).iter().cloned());
    let state = &config["State"];
    capture.row(&ContainerRow {
        id: string(&config["ID"]).unwrap_or_else(|| text(name)),
        name: string(&config["Name"]),
        image: string(&config["Config"]["Image"]),
        image_id: string(&config["Image"]),
        command: Value::Array(command.collect()).to_string(),
        created_at: string(&config["Created"]),
        state: state_word(state),
        pid: state["Pid"].as_i64(),
        started_at: string(&state["StartedAt"]),
        finished_at: string(&state["FinishedAt"]),
        privileged: host["Privileged"].as_bool(),
        security_options: list(&host["SecurityOpt"]),
        readonly_rootfs: host["ReadonlyRootfs"].as_bool(),
        capabilities_added: list(&host["CapAdd"]),
        network_mode: string(&host["NetworkMode"]),
        pid_mode: string(&host["PidMode"]),
        binds: list(&host["Binds"]),
        storage_driver: string(&config["Driver"]),
        source: text(&source),
    })
}

fn state_word(state: &Value) -> Option<&'static str> {
    state.as_object()?;
    let words =
        [("Restarting", "restarting"), ("Paused", "paused"), ("Dead", "dead"), ("Running", "running")];
    let is = |key: &str| state[key] == Value::Bool(true);
    Some(words.into_iter().find(|(key, _)| is(key)).map_or("exited", |(_, word)| word))
}
