//! Owns the proofs that containers are found in their engines' files; refuses to need an engine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a planting that fails is a failed test")]

use std::fs;

use holdfast_agent::source::Root;

mod support;

use support::capture;

fn plant(host: &tempfile::TempDir, path: &str, content: &[u8]) {
    let path = host.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn docker_containers_are_rows_without_their_environment_and_damaged_ones_are_gaps() {
    let host = tempfile::tempdir().unwrap();
    let plant = |path: &str, content: &[u8]| plant(&host, path, content);
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
    plant("var/lib/docker/containers/dd/config.v2.json", br#"{"ID":"dd","Name":"a\u0000b"}"#);
    plant("var/lib/docker/containers/dd/hostconfig.json", b"[]");
    let root = Root::mounted(host.path()).unwrap();
    let (rows, captured) = capture("docker_containers", &root);
    for damaged in ["/bb/config.v2.json", "/cc/config.v2.json", "/dd/hostconfig.json"] {
        assert!(captured.gaps.iter().any(|gap| gap.subject.ends_with(damaged)), "{damaged}");
    }
    let unknown = rows.iter().find(|row| row["id"] == "dd").unwrap();
    for column in ["binds", "capabilities_added", "security_options", "privileged", "state", "pid"] {
        assert!(unknown[column].is_null(), "{column} is not made up");
    }
    assert_eq!((unknown["name"].as_str(), unknown["name_raw"].as_str()), (Some(r"a\x00b"), Some("YQBi")));
    assert_eq!(rows.len(), 2);
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
fn containers_of_every_engine_are_rows() {
    let host = tempfile::tempdir().unwrap();
    let plant = |path: &str, content: &[u8]| plant(&host, path, content);
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
    plant(
        "var/lib/lxc/box/config",
        b"lxc.uts.name = box\n# lxc.rootfs.path = /no\nlxc.rootfs.path = dir:/srv/box\nlxc.apparmor.profile=unconfined\n\
          lxc.mount.entry = / host none bind 0 0\nlxc.mount.entry = proc proc proc\n",
    );
    plant("var/lib/lxc/bare/note", b"");
    plant("var/lib/incus/containers/inc/rootfs/etc/os-release", b"");
    plant("var/lib/machines/tree/etc/os-release", b"");
    let root = Root::mounted(host.path()).unwrap();
    let (rows, captured) = capture("containers", &root);
    assert!(captured.gaps.iter().any(|gap| gap.reason.contains("no container")));
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
    assert_eq!((of("cc")["names"].as_str(), of("../../../etc")["names"].as_str()), (Some("[]"), Some("[]")));
    assert_eq!(
        (of("box")["rootfs"].as_str(), of("box")["mounts"].as_str()),
        (Some("dir:/srv/box"), Some(r#"["/:host"]"#))
    );
    assert_eq!(of("box")["apparmor_profile"], "unconfined");
    assert!(of("bare")["rootfs"].is_null());
    assert_eq!(of("inc")["rootfs"], "/var/lib/incus/containers/inc/rootfs");
}

#[test]
fn pods_are_rows_by_their_folders_and_by_the_manifests_that_start_them() {
    let host = tempfile::tempdir().unwrap();
    let plant = |path: &str, content: &[u8]| plant(&host, path, content);
    plant("var/log/pods/default_web-7_0a-1b/nginx/0.log", b"");
    plant("var/lib/kubelet/pods/0a-1b/volumes/kubernetes.io~secret/token/ca.crt", b"secret");
    plant("var/log/pods/alone/x", b"");
    plant(
        "etc/kubernetes/manifests/etcd.yaml",
        b"---\nkind: Pod\nmetadata: {name: etcd, namespace: kube-system}\nspec:\n  hostNetwork: true\n  containers:\n  \
          - {name: main, image: 'etcd:3', securityContext: {privileged: true}}\n  volumes:\n  \
          - {name: all, hostPath: {path: /}}\n  - {name: own}\n",
    );
    plant(
        "etc/kubernetes/manifests/left.bak",
        br#"{"kind":"PodList","items":[{"metadata":{"name":"one"}},{"metadata":{"name":"two"}}]}"#,
    );
    plant("etc/kubernetes/manifests/bad.yml", b"a: &a [*a, *a]\n: :\n - [");
    plant("etc/kubernetes/manifests/long.json", &[b' '; (1 << 20) + 1]);
    let root = Root::mounted(host.path()).unwrap();
    let (pods, captured) = capture("kubernetes_pods", &root);
    for left_out in ["/bad.yml", "/long.json"] {
        assert!(captured.gaps.iter().any(|gap| gap.subject.ends_with(left_out)), "{left_out}");
    }
    let pod = |name: &str| {
        pods.iter().find(|pod| pod["name"] == name).unwrap_or_else(|| panic!("{name}: {pods:#?}"))
    };
    let etcd = pod("etcd");
    assert_eq!(
        (etcd["namespace"].as_str(), etcd["images"].as_str()),
        (Some("kube-system"), Some(r#"["etcd:3"]"#))
    );
    assert_eq!((etcd["host_network"].as_bool(), etcd["privileged"].as_bool()), (Some(true), Some(true)));
    assert_eq!(
        (etcd["host_paths"].as_str(), etcd["volumes"].as_str()),
        (Some(r#"["/"]"#), Some(r#"["hostPath/all","emptyDir/own"]"#))
    );
    assert_eq!(
        (pod("one")["privileged"].as_bool(), pod("two")["containers"].as_str()),
        (Some(false), Some("[]"))
    );
    assert!(pod("alone")["namespace"].is_null());
    assert!(pods.iter().any(|pod| pod["name"] == "web-7" && pod["containers"] == r#"["nginx"]"#));
    assert!(pods.iter().any(|pod| pod["volumes"] == r#"["kubernetes.io~secret/token"]"#));
    assert!(pods.iter().any(|pod| pod["trace"] == "static_manifest" && pod["name"] == "etcd"));
    assert!(!format!("{pods:?}").contains("secret\""), "what is mounted into a pod is not read");
}
