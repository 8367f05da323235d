//! Owns the proofs that containers are found in their engines' files; refuses to need an engine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a planting that fails is a failed test")]

use std::fs;
use std::path::Path;

use holdfast_agent::source::Root;
use holdfast_agent::state::{TableCapture, tables};
use serde_json::Value;

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
    let (mut out, root) = (Vec::new(), Root::mounted(host.path()).unwrap());
    let table = tables().iter().find(|table| table.name == "docker_containers").unwrap();
    let mut capture = TableCapture::new(&mut out, &root, &|| false);
    (table.capture)(&mut capture).unwrap();
    let gaps = capture.finish().gaps;
    assert!(gaps.iter().any(|gap| gap.subject.ends_with("/bb/config.v2.json")));
    let rows: Vec<Value> =
        serde_json::Deserializer::from_slice(&out).into_iter().map(Result::unwrap).collect();
    let schema =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1/state/docker_containers.schema.json");
    let schema = serde_json::from_slice(&fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(rows.iter().all(|row| validator.is_valid(row)), "{rows:#?}");
    let row = rows.iter().find(|row| row["id"] == "aa").unwrap();
    assert_eq!((row["state"].as_str(), row["pid"].as_i64()), (Some("running"), Some(812)));
    assert_eq!(
        (row["command"].as_str(), row["privileged"].as_bool()),
        (Some(r#"["sh","-c","id"]"#), Some(true))
    );
    assert_eq!(row["binds"], r#"["/:/host"]"#);
    assert!(!String::from_utf8(out).unwrap().contains("secret"));
}
