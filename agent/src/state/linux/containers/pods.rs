//! Owns the table of Kubernetes pods, from the folders that a node keeps of them and the manifests that it starts pods from;
//! refuses to read what is mounted into them.

use std::io;

use holdfast_schemas::item::ItemKind;
use serde_json::Value;

use super::super::files::{Entry, Files, join};
use super::super::row::row;
use super::super::text::{Twin, text};
use super::{MOST, damaged, elements, first, string};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "kubernetes_pods",
    about: "Kubernetes pods of this node, as its folders of logs and volumes and its static manifests have them.",
    sources: &[
        "/var/log/pods/*/*",
        "/var/lib/kubelet/pods/*/{containers,volumes}",
        "/etc/kubernetes/manifests/*",
    ],
    group: Group::Containers,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_pods,
};

/// Most containers, or volumes of a kind, of one pod.
const MOST_OF_A_POD: usize = 1_000;
/// The most that is read of one manifest, in bytes.
const MANIFEST_CAP: usize = 1 << 20;

row! {
    /// One trace of a pod.
    #[derive(Default)]
    struct PodRow {
        /// Derived: Where the trace is: logs, volumes or static_manifest.
        trace: &'static str,
        /// Derived: Namespace; null where this trace has none.
        namespace: Option<Twin>,
        /// Derived: Name; null where this trace has none.
        name: Option<Twin>,
        /// Derived: Identifier; null where this trace has none.
        uid: Option<Twin>,
        /// Derived: Names of its containers, as a JSON array; null where this trace could not tell.
        containers: Option<String>,
        /// Derived: Kinds and names of its volumes, `kind/name`, as a JSON array; null where this trace could not tell.
        volumes: Option<String>,
        /// Derived: Images of its containers, as a JSON array; null in any other trace than a manifest that was read.
        images: Option<String>,
        /// Derived: Whether it shares the host's network; null in any other trace than a manifest that was read.
        host_network: Option<bool>,
        /// Derived: Whether any of its containers is privileged; null in any other trace than a manifest that was read.
        privileged: Option<bool>,
        /// Derived: Paths of the host that are its volumes, as a JSON array; null in any other trace than a manifest
        /// that was read.
        host_paths: Option<String>,
        /// Derived: File or folder this was read from.
        source_path: Twin,
    }
}

fn capture_pods(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    capture_logs(capture, &mut files)?;
    capture_volumes(capture, &mut files)?;
    const MANIFESTS: &[u8] = b"/etc/kubernetes/manifests";
    let manifests = files.entries(capture, MANIFESTS);
    for manifest in first(capture, MANIFESTS, manifests, MOST) {
        capture_manifest(capture, &mut files, &manifest)?;
    }
    Ok(())
}

/// Folders `namespace_name_uid`, with a folder of each container in them.
fn capture_logs(capture: &mut TableCapture<'_>, files: &mut Files) -> io::Result<()> {
    const LOGS: &[u8] = b"/var/log/pods";
    let pods = files.entries(capture, LOGS);
    for pod in first(capture, LOGS, pods, MOST) {
        let mut parts: Vec<Option<Twin>> =
            pod.name.splitn(3, |byte| *byte == b'_').map(|part| Some(text(part))).collect();
        if parts.len() == 1 {
            // A name alone has no namespace.
            parts.insert(0, None);
        }
        let mut parts = parts.into_iter();
        let (namespace, name) = (parts.next().flatten(), parts.next().flatten());
        let row = PodRow {
            trace: "logs",
            namespace,
            name,
            uid: parts.next().flatten(),
            containers: Some(array(names(capture, files, &pod.path))),
            volumes: None,
            source_path: text(&pod.path),
            ..PodRow::default()
        };
        capture.row(&row)?;
    }
    Ok(())
}

fn capture_volumes(capture: &mut TableCapture<'_>, files: &mut Files) -> io::Result<()> {
    const PODS: &[u8] = b"/var/lib/kubelet/pods";
    let pods = files.entries(capture, PODS);
    for pod in first(capture, PODS, pods, MOST) {
        let containers = names(capture, files, &join(&pod.path, b"containers"));
        let mut volumes = Vec::new();
        let folder = join(&pod.path, b"volumes");
        let kinds = files.entries(capture, &folder);
        for kind in first(capture, &folder, kinds, MOST_OF_A_POD) {
            let of_kind = names(capture, files, &kind.path);
            volumes.extend(of_kind.into_iter().map(|name| format!("{}/{name}", text(&kind.name).0)));
        }
        let row = PodRow {
            trace: "volumes",
            uid: Some(text(&pod.name)),
            containers: Some(array(containers)),
            volumes: Some(array(volumes)),
            source_path: text(&pod.path),
            ..PodRow::default()
        };
        capture.row(&row)?;
    }
    Ok(())
}

/// The pods of one manifest; one that is not read is a row all the same. The kubelet reads every file there, whatever its
/// name ends in, but those that begin with a dot.
fn capture_manifest(capture: &mut TableCapture<'_>, files: &mut Files, manifest: &Entry) -> io::Result<()> {
    let is_read = manifest.kind != ItemKind::Directory && !manifest.name.starts_with(b".");
    let content = if is_read { files.text(capture, &manifest.path, MANIFEST_CAP) } else { None };
    let documents = content.map(|content| documents(&content)).unwrap_or_else(|| Ok(Vec::new()));
    let documents = documents.unwrap_or_else(|reason| {
        damaged(capture, &manifest.path, &reason);
        Vec::new()
    });
    let pods: Vec<&Value> = documents
        .iter()
        .flat_map(|document| match document["items"].as_array() {
            Some(items) => items.iter().collect(),
            None => vec![document],
        })
        .filter(|pod| pod.is_object())
        .collect();
    for pod in &pods {
        capture.row(&declared(pod, &manifest.path))?;
    }
    if pods.is_empty() {
        let source_path = text(&manifest.path);
        capture.row(&PodRow { trace: "static_manifest", source_path, ..PodRow::default() })?;
    }
    Ok(())
}

/// The documents of a manifest, in YAML or in JSON, or the first line of why there are none.
fn documents(content: &[u8]) -> Result<Vec<Value>, String> {
    if let Ok(document) = serde_json::from_slice(content) {
        return Ok(vec![document]);
    }
    let content = std::str::from_utf8(content).map_err(|reason| reason.to_string())?;
    serde_saphyr::from_multiple(content)
        .map_err(|reason| reason.to_string().lines().next().unwrap_or_default().to_owned())
}

fn declared(pod: &Value, path: &[u8]) -> PodRow {
    let spec = &pod["spec"];
    let containers: Vec<&Value> = ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|kind| elements(&spec[*kind]))
        .collect();
    let column = |key: &str| array(containers.iter().filter_map(|container| container[key].as_str()));
    let volumes = elements(&spec["volumes"]);
    let kind_and_name = |volume: &Value| {
        let kind = volume.as_object()?.keys().find(|key| *key != "name").map_or("emptyDir", String::as_str);
        Some(format!("{kind}/{}", volume["name"].as_str().unwrap_or_default()))
    };
    let is_privileged = |container: &&Value| container["securityContext"]["privileged"] == Value::Bool(true);
    PodRow {
        trace: "static_manifest",
        namespace: string(&pod["metadata"]["namespace"]),
        name: string(&pod["metadata"]["name"]),
        uid: string(&pod["metadata"]["uid"]),
        containers: Some(column("name")),
        volumes: Some(array(volumes.iter().filter_map(kind_and_name))),
        images: Some(column("image")),
        host_network: Some(spec["hostNetwork"] == Value::Bool(true)),
        privileged: Some(containers.iter().any(is_privileged)),
        host_paths: Some(array(volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()))),
        source_path: text(path),
    }
}

fn names(capture: &mut TableCapture<'_>, files: &mut Files, folder: &[u8]) -> Vec<String> {
    let names = files.names(capture, folder);
    first(capture, folder, names, MOST_OF_A_POD).iter().map(|name| text(name).0).collect()
}

fn array(values: impl IntoIterator<Item = impl Into<Value>>) -> String {
    Value::Array(values.into_iter().map(Into::into).collect()).to_string()
}
