//! Owns the proofs that containers are found in their engines' files; refuses to need an engine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a planting that fails is a failed test")]

use std::fs;

use holdfast_agent::source::Root;

mod support;

use support::capture;

#[test]
fn docker_containers_are_rows_without_their_environment_and_damaged_ones_are_gaps() {
    let host = tempfile::tempdir().unwrap();
    let plant = |path: &str, content: &[u8]| {
        let path = host.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    plant("etc/docker/daemon.json", br#"{"data-root": "/srv/docker/"}"#);
    plant(
        "srv/docker/containers/aa/config.v2.json",
        br#"{"ID":"aa","Name":"/web","Path":"sh","Args":["-c","id"],"Image":"sha256:1","Driver":"overlay2",
        "Config":{"Image":"web:1","Env":["TOKEN=secret"]},"State":{"Running":true,"Pid":812}}"#,
    );
    plant(
        "srv/docker/containers/aa/hostconfig.json",
        br#"{"Privileged":true,"Binds":["/:/host"],"CapAdd":["SYS_ADMIN"],"NetworkMode":"host","PidMode":"host"}"#,
    );
    plant("var/lib/docker/containers/bb/config.v2.json", b"{\"ID\": \xff");
    plant("var/lib/docker/containers/cc/config.v2.json", b"[1, 2]");
    let root = Root::mounted(host.path()).unwrap();
    let (rows, captured) = capture("docker_containers", &root);
    assert!(captured.gaps.iter().any(|gap| gap.subject.ends_with("/bb/config.v2.json")));
    let row = rows.iter().find(|row| row["id"] == "aa").unwrap();
    assert_eq!((row["state"].as_str(), row["pid"].as_i64()), (Some("running"), Some(812)));
    assert_eq!(
        (row["command"].as_str(), row["privileged"].as_bool()),
        (Some(r#"["sh","-c","id"]"#), Some(true))
    );
    assert_eq!(row["binds"], r#"["/:/host"]"#);
    assert!(!format!("{rows:?}").contains("secret"));
}

#[test]
fn containers_of_every_engine_and_pods_are_rows() {
    let host = tempfile::tempdir().unwrap();
    let plant = |path: &str, content: &[u8]| {
        let path = host.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let storage = "home/alice/.local/share/containers/storage/overlay-containers";
    plant(
        &format!("{storage}/containers.json"),
        br#"[{"id":"ab12","names":["db"],"image":"f00","metadata":"{\"image-name\":\"db:2\"}","created":"2026-01-02T03:04:05Z"},
            {"id":"../../../etc","names":null}, 7]"#,
    );
    plant(
        &format!("{storage}/ab12/userdata/config.json"),
        br#"{"process":{"args":["db","--all"],"capabilities":{"effective":["CAP_SYS_ADMIN"]}},"root":{"path":"/x/merged"},
            "mounts":[{"source":"/srv/db","destination":"/data"},{"source":"proc","destination":"/proc"}]}"#,
    );
    plant(
        "run/containerd/io.containerd.runtime.v2.task/k8s.io/cc/config.json",
        br#"{"annotations":{"io.kubernetes.cri.image-name":"web:1"},"process":{"args":["web"]}}"#,
    );
    plant("run/containerd/io.containerd.runtime.v2.task/k8s.io/dd/config.json", b"{\xff");
    plant("var/lib/lxc/box/config", b"lxc.uts.name = box\n");
    plant("var/lib/machines/tree/etc/os-release", b"");
    plant("var/log/pods/default_web-7_0a-1b/nginx/0.log", b"");
    plant("var/lib/kubelet/pods/0a-1b/volumes/kubernetes.io~secret/token/ca.crt", b"secret");
    plant("etc/kubernetes/manifests/etcd.yaml", b"kind: Pod\n");
    let root = Root::mounted(host.path()).unwrap();
    let rows = capture("containers", &root).0;
    let of = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id}: {rows:#?}"));
    assert_eq!(
        (of("ab12")["image"].as_str(), of("ab12")["command"].as_str()),
        (Some("db:2"), Some(r#"["db","--all"]"#))
    );
    assert_eq!(of("ab12")["mounts"].as_str(), Some(r#"["/srv/db:/data"]"#));
    assert_eq!(of("ab12")["capabilities"].as_str(), Some(r#"["CAP_SYS_ADMIN"]"#));
    assert_eq!(
        (of("cc")["runtime"].as_str(), of("cc")["image"].as_str()),
        (Some("containerd"), Some("web:1"))
    );
    assert_eq!(
        (of("box")["runtime"].as_str(), of("tree")["runtime"].as_str()),
        (Some("lxc"), Some("nspawn"))
    );
    let pods = capture("kubernetes_pods", &root).0;
    assert!(pods.iter().any(|pod| pod["name"] == "web-7" && pod["containers"] == r#"["nginx"]"#));
    assert!(pods.iter().any(|pod| pod["volumes"] == r#"["kubernetes.io~secret/token"]"#));
    assert!(pods.iter().any(|pod| pod["trace"] == "static_manifest" && pod["name"] == "etcd"));
    assert!(!format!("{pods:?}").contains("secret\""), "what is mounted into a pod is not read");
}
