//! Owns the table of Kubernetes pods, from the folders that a node keeps of them; refuses to read what is mounted into
//! them.

use std::io;

use serde::Serialize;

use super::super::files::{Files, join};
use super::super::text::text;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in super::super) const TABLE: Table = Table {
    name: "kubernetes_pods",
    about: "Kubernetes pods of this node, as its folders of logs, volumes and static manifests have them.",
    sources: &["/var/log/pods/*", "/var/lib/kubelet/pods/*", "/etc/kubernetes/manifests/*"],
    group: Group::Containers,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_pods,
};

/// Most pods of one folder.
const MOST: usize = 10_000;

/// One trace of a pod.
#[derive(Serialize)]
struct PodRow {
    /// Derived: Where the trace is: logs, volumes or static_manifest.
    trace: &'static str,
    /// Derived: Namespace; null where this trace has none.
    namespace: Option<String>,
    /// Derived: Name; null where this trace has none.
    name: Option<String>,
    /// Derived: Identifier; null where this trace has none.
    uid: Option<String>,
    /// Derived: Names of its containers, as a JSON array.
    containers: String,
    /// Derived: Kinds and names of its volumes, `kind/name`, as a JSON array.
    volumes: String,
    /// Derived: File or folder this was read from; bytes that are not UTF-8 are escaped.
    source_path: String,
}

fn capture_pods(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for pod in files.entries(capture, b"/var/log/pods").into_iter().take(MOST) {
        let name = text(&pod.name).0;
        let mut parts = name.splitn(3, '_').map(str::to_owned);
        let (namespace, pod_name, uid) = (parts.next(), parts.next(), parts.next());
        let containers = names(capture, &mut files, &pod.path);
        let row = PodRow {
            trace: "logs",
            namespace,
            name: pod_name,
            uid,
            containers: serde_json::to_string(&containers)?,
            volumes: "[]".to_owned(),
            source_path: text(&pod.path).0,
        };
        capture.row(&row)?;
    }
    for pod in files.entries(capture, b"/var/lib/kubelet/pods").into_iter().take(MOST) {
        let containers = names(capture, &mut files, &join(&pod.path, b"containers"));
        let mut volumes = Vec::new();
        for kind in files.entries(capture, &join(&pod.path, b"volumes")).into_iter().take(1_000) {
            let of_kind = names(capture, &mut files, &kind.path);
            volumes.extend(of_kind.into_iter().map(|name| format!("{}/{name}", text(&kind.name).0)));
        }
        let row = PodRow {
            trace: "volumes",
            namespace: None,
            name: None,
            uid: Some(text(&pod.name).0),
            containers: serde_json::to_string(&containers)?,
            volumes: serde_json::to_string(&volumes)?,
            source_path: text(&pod.path).0,
        };
        capture.row(&row)?;
    }
    for manifest in files.entries(capture, b"/etc/kubernetes/manifests").into_iter().take(MOST) {
        let row = PodRow {
            trace: "static_manifest",
            namespace: None,
            name: Some(text(manifest.name.split(|byte| *byte == b'.').next().unwrap_or_default()).0),
            uid: None,
            containers: "[]".to_owned(),
            volumes: "[]".to_owned(),
            source_path: text(&manifest.path).0,
        };
        capture.row(&row)?;
    }
    Ok(())
}

fn names(capture: &mut TableCapture<'_>, files: &mut Files, folder: &[u8]) -> Vec<String> {
    files.entries(capture, folder).into_iter().take(1_000).map(|entry| text(&entry.name).0).collect()
}
