//! Owns the table of Docker's containers, from the files below its data folder; refuses their environments.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::super::text::text;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "docker_containers",
    about: "Docker's containers with what they may do, as its own files have them.",
    sources: &["/etc/docker/daemon.json", "/var/lib/docker/containers/*/{config.v2.json,hostconfig.json}"],
    group: Group::Containers,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_containers,
};

/// One container.
#[derive(Serialize)]
struct ContainerRow {
    /// osquery: Identifier.
    id: String,
    /// osquery: Name, with the slash that Docker puts before it.
    name: Option<String>,
    /// osquery: Image, as it was asked for.
    image: Option<String>,
    /// osquery: Identifier of the image.
    image_id: Option<String>,
    /// osquery: Program and arguments, as a JSON array.
    command: String,
    /// Derived: When it was created, as Docker writes it; osquery's `created` is Unix seconds.
    created_at: Option<String>,
    /// osquery: State the file states: running, paused, restarting, dead or exited.
    state: String,
    /// osquery: Process id in the engine's namespace; 0 where it does not run.
    pid: Option<i64>,
    /// osquery: When it was last started, as Docker writes it.
    started_at: Option<String>,
    /// osquery: When it last ended, as Docker writes it.
    finished_at: Option<String>,
    /// osquery: Whether it is privileged; null where `hostconfig.json` could not be read.
    privileged: Option<bool>,
    /// osquery: Security options, as a JSON array.
    security_options: String,
    /// osquery: Whether its root is read-only; null where unknown.
    readonly_rootfs: Option<bool>,
    /// Derived: Capabilities added, as a JSON array.
    capabilities_added: String,
    /// Derived: Network mode, such as host.
    network_mode: Option<String>,
    /// Derived: Process id mode; host where it sees the host's processes.
    pid_mode: Option<String>,
    /// Derived: Bind mounts asked for, `source:destination[:options]`, as a JSON array.
    binds: String,
    /// Derived: Storage driver, such as overlay2.
    storage_driver: Option<String>,
    /// Derived: The file the row was read from.
    source: String,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
}

/// The most that is read of one file, in bytes.
const CAP: usize = 8 << 20;

fn capture_containers(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut folders = vec![b"/var/lib/docker".to_vec()];
    let daemon = read(capture, b"/etc/docker/daemon.json");
    let moved = daemon.as_ref().and_then(|daemon| daemon.get("data-root").or_else(|| daemon.get("graph")));
    if let Some(moved) = moved.and_then(Value::as_str).filter(|moved| moved.starts_with('/'))
        && moved.trim_end_matches('/') != "/var/lib/docker"
    {
        folders.push(moved.trim_end_matches('/').as_bytes().to_vec());
    }
    for folder in folders {
        let list = [folder.as_slice(), b"/containers"].concat();
        match capture.root().names(&list) {
            Ok(names) => {
                for name in names {
                    capture.go_on()?;
                    let at = [list.as_slice(), b"/", &name].concat();
                    capture_container(capture, &name, &at)?;
                }
            }
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => {}
            Err(reason) => capture.gap(text(&list).0, &reason),
        }
    }
    Ok(())
}

fn capture_container(capture: &mut TableCapture<'_>, name: &[u8], at: &[u8]) -> io::Result<()> {
    let source = [at, b"/config.v2.json"].concat();
    let Some(config) = read(capture, &source) else { return Ok(()) };
    let host = read(capture, &[at, b"/hostconfig.json"].concat()).unwrap_or_default();
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| if value.is_null() { "[]".to_owned() } else { value.to_string() };
    let path = string(&config["Path"]).into_iter().map(Value::from);
    let arguments = config["Args"].as_array().cloned().unwrap_or_default();
    let state = &config["State"];
    let is = |key: &str| state[key] == Value::Bool(true);
    let words =
        [("Restarting", "restarting"), ("Paused", "paused"), ("Dead", "dead"), ("Running", "running")];
    let word = words.into_iter().find(|(key, _)| is(key)).map_or("exited", |(_, word)| word);
    let (source, source_raw) = text(&source);
    capture.row(&ContainerRow {
        id: string(&config["ID"]).unwrap_or_else(|| text(name).0),
        name: string(&config["Name"]),
        image: string(&config["Config"]["Image"]),
        image_id: string(&config["Image"]),
        command: Value::Array(path.chain(arguments).collect()).to_string(),
        created_at: string(&config["Created"]),
        state: word.to_owned(),
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
        source,
        source_raw,
    })
}

/// Reads a JSON file; one that is not there is no gap.
fn read(capture: &mut TableCapture<'_>, path: &[u8]) -> Option<Value> {
    let bytes = capture.root().text(path, CAP);
    match bytes.and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)) {
        Ok(value) => Some(value),
        Err(reason) => {
            if reason.kind() != io::ErrorKind::NotFound {
                capture.gap(text(path).0, &reason);
            }
            None
        }
    }
}
