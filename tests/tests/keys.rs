//! Owns the proof that examiners' keys as OpenSSH makes and holds them sign a capture, and that one which cannot sign is
//! refused before anything is written; refuses a stand-in for ssh-agent.

#![allow(clippy::disallowed_methods, reason = "tests start the programs of other people")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_tests::capture::PRINCIPAL;
use holdfast_tests::{agent, run, stock, verifier, workplace};
use tempfile::TempDir;

/// A real ssh-agent, stopped when dropped.
struct SshAgent {
    process: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl SshAgent {
    fn start() -> Self {
        // A socket's path must be short, which a build folder's need not be.
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("ssh-agent starts; tests/run installs it");
        let begun = Instant::now();
        while !socket.exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "ssh-agent made no socket");
            thread::sleep(Duration::from_millis(5));
        }
        Self { process, socket, _folder: folder }
    }

    fn ssh_add(&self, arguments: &[&str]) {
        run(Command::new("ssh-add").arg("-q").args(arguments).env("SSH_AUTH_SOCK", &self.socket), 0);
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An examiner's place of work: a key that ssh-keygen made, and something to capture.
struct Scene(TempDir);

impl Scene {
    fn with_key(ssh_keygen: &[&str], passphrase: &str) -> Self {
        let scene = Self(workplace());
        fs::write(scene.path("exhibit"), "a short story\n").unwrap();
        let key = scene.path("key");
        let made =
            [ssh_keygen, &["-q", "-N", passphrase, "-C", "examiner", "-f", key.to_str().unwrap()]].concat();
        stock("ssh-keygen", &made, scene.0.path());
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    /// `collect` of the exhibit into the folder `evidence`.
    fn collect(&self, arguments: &[&str]) -> Command {
        let mut command = agent();
        command
            .args(["collect", "--path"])
            .arg(self.path("exhibit"))
            .arg("--output")
            .arg(self.path("evidence"));
        command.args(["--examiner-principal", PRINCIPAL]).args(arguments).stdin(Stdio::null());
        command
    }

    fn package(&self) -> PathBuf {
        let mut found = fs::read_dir(self.path("evidence")).unwrap().map(|entry| entry.unwrap().path());
        found.find(|path| path.extension().is_some_and(|extension| extension == "zip")).unwrap()
    }

    /// A member below the package folder, by `unzip -p`.
    fn unzip(&self, member: &str) -> String {
        let package = self.package();
        let full = format!("{}/{member}", package.file_stem().unwrap().to_str().unwrap());
        stock("unzip", &["-p", package.to_str().unwrap(), &full], self.0.path())
    }

    /// Both ssh-keygen and the verifier say that the key of `key.pub` signed the seal.
    fn is_signed_by_the_key(&self) {
        let trust = self.path("trust");
        fs::create_dir_all(&trust).unwrap();
        let public = fs::read_to_string(self.path("key.pub")).unwrap();
        fs::write(trust.join("allowed_signers"), format!("{PRINCIPAL} {public}")).unwrap();
        let statement = self.write("seal.json", &self.unzip("seal/seal.json"));
        let signature = self.write("signature", &self.unzip("seal/seal.json.examiner.sig"));
        let signers = trust.join("allowed_signers").display().to_string();
        let mut verify = Command::new("ssh-keygen");
        verify.args([
            "-Y",
            "verify",
            "-f",
            &signers,
            "-I",
            PRINCIPAL,
            "-n",
            "holdfast-seal-v1",
            "-s",
            &signature,
        ]);
        run(verify.stdin(File::open(statement).unwrap()), 0);
        // Exceptions: no trusted timestamp.
        let verdict =
            run(verifier().args(["verify", "--json", "--trust"]).arg(&trust).arg(self.package()), 10);
        assert!(String::from_utf8_lossy(&verdict.stdout).contains("\"signer.trusted\""), "{verdict:?}");
    }

    /// The agent refuses with the words given, and no output folder comes to be.
    fn refuses(&self, command: &mut Command, words: &[&str]) {
        let before = listing(self.0.path());
        let output = run(command, 64);
        let message = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        assert!(output.stdout.is_empty(), "{output:?}");
        assert_eq!(listing(self.0.path()), before, "something was written");
    }
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().into_path()).collect()
}

const ED25519: [&str; 2] = ["-t", "ed25519"];

/// The key is in ssh-agent only: its private file is gone.
fn signs_through_ssh_agent(ssh_keygen: &[&str]) {
    let scene = Scene::with_key(ssh_keygen, "");
    let holder = SshAgent::start();
    holder.ssh_add(&[&scene.text("key")]);
    fs::remove_file(scene.path("key")).unwrap();
    run(scene.collect(&["--key", &scene.text("key.pub")]).env("SSH_AUTH_SOCK", &holder.socket), 0);
    scene.is_signed_by_the_key();
}

#[test]
fn an_ed25519_key_held_by_ssh_agent_signs_when_its_pub_file_is_named() {
    signs_through_ssh_agent(&ED25519);
}

#[test]
fn an_ecdsa_p256_key_held_by_ssh_agent_signs_when_its_pub_file_is_named() {
    signs_through_ssh_agent(&["-t", "ecdsa", "-b", "256"]);
}

#[test]
fn an_ecdsa_p384_key_held_by_ssh_agent_signs_when_its_pub_file_is_named() {
    signs_through_ssh_agent(&["-t", "ecdsa", "-b", "384"]);
}

#[test]
fn an_rsa_key_held_by_ssh_agent_signs_when_its_pub_file_is_named() {
    signs_through_ssh_agent(&["-t", "rsa", "-b", "3072"]);
}

#[test]
fn the_only_key_of_ssh_agent_signs_without_being_named() {
    let scene = Scene::with_key(&ED25519, "");
    let holder = SshAgent::start();
    holder.ssh_add(&[&scene.text("key")]);
    run(scene.collect(&["--key", "agent"]).env("SSH_AUTH_SOCK", &holder.socket), 0);
    scene.is_signed_by_the_key();
}

#[test]
fn two_keys_in_ssh_agent_are_refused_until_one_is_named() {
    let (scene, other) = (Scene::with_key(&ED25519, ""), Scene::with_key(&ED25519, ""));
    let holder = SshAgent::start();
    holder.ssh_add(&[&scene.text("key"), &other.text("key")]);
    let with = |key: &str| {
        let mut command = scene.collect(&["--key", key]);
        command.env("SSH_AUTH_SOCK", &holder.socket);
        command
    };
    scene.refuses(&mut with("agent"), &["2 usable keys", ".pub"]);
    run(&mut with(&scene.text("key.pub")), 0);
    scene.is_signed_by_the_key();
}

#[test]
fn a_key_that_ssh_agent_does_not_hold_is_refused_and_nothing_is_written() {
    let (scene, other) = (Scene::with_key(&ED25519, ""), Scene::with_key(&ED25519, ""));
    let holder = SshAgent::start();
    holder.ssh_add(&[&other.text("key")]);
    let mut command = scene.collect(&["--key", &scene.text("key.pub")]);
    scene.refuses(command.env("SSH_AUTH_SOCK", &holder.socket), &["does not hold key SHA256:", "ssh-add -l"]);
}

#[test]
fn a_pub_file_without_an_ssh_agent_is_refused_and_nothing_is_written() {
    let scene = Scene::with_key(&ED25519, "");
    scene.refuses(&mut scene.collect(&["--key", &scene.text("key.pub")]), &["SSH_AUTH_SOCK is not set"]);
    let mut command = scene.collect(&["--key", &scene.text("key.pub")]);
    scene.refuses(command.env("SSH_AUTH_SOCK", scene.path("no-agent")), &["no-agent", "No such file"]);
}

#[test]
fn a_key_whose_use_is_declined_leaves_a_package_that_says_so() {
    let scene = Scene::with_key(&ED25519, "");
    let holder = SshAgent::start();
    // It asks before each use, and there is nobody to ask.
    holder.ssh_add(&["-c", &scene.text("key")]);
    let output = run(scene.collect(&["--key", "agent"]).env("SSH_AUTH_SOCK", &holder.socket), 10);
    let message = String::from_utf8_lossy(&output.stdout);
    assert!(message.contains("The examiner's key did not sign (ssh-agent: it refused"), "{message}");
    assert!(!scene.unzip("seal/seal.json").contains("\"examiner\""));
}

#[test]
fn an_encrypted_key_file_of_each_cipher_of_openssh_opens_with_the_first_line_of_its_passphrase_file() {
    for cipher in ["aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        let scene = Scene::with_key(&["-t", "ed25519", "-Z", cipher], "correct horse");
        let passphrase = scene.write("passphrase", "correct horse\nnot this line\n");
        run(&mut scene.collect(&["--key", &scene.text("key"), "--passphrase-file", &passphrase]), 0);
        scene.is_signed_by_the_key();
    }
}

#[test]
fn the_key_that_init_encrypts_is_opened_by_ssh_keygen_and_signs() {
    let scene = Scene::with_key(&ED25519, "");
    for file in ["key", "key.pub"] {
        fs::remove_file(scene.path(file)).unwrap();
    }
    let passphrase = scene.write("passphrase", "correct horse\n");
    let mut init = agent();
    init.args(["init", "--principal", PRINCIPAL, "--passphrase-file", &passphrase, "--output"])
        .arg(scene.path("key"));
    run(&mut init, 0);
    assert_eq!(scene.path("key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let public =
        stock("ssh-keygen", &["-y", "-P", "correct horse", "-f", &scene.text("key")], scene.0.path());
    let fields =
        |text: &str| text.split(' ').take(2).map(|field| field.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(fields(&public), fields(&fs::read_to_string(scene.path("key.pub")).unwrap()));
    run(&mut scene.collect(&["--key", &scene.text("key"), "--passphrase-file", &passphrase]), 0);
    scene.is_signed_by_the_key();
}

#[test]
fn a_wrong_passphrase_is_refused_and_nothing_is_written() {
    for cipher in ["aes256-ctr", "aes256-gcm@openssh.com"] {
        let scene = Scene::with_key(&["-t", "ed25519", "-Z", cipher], "correct horse");
        let key = scene.text("key");
        for wrong in ["wrong horse\n", "", "\ncorrect horse\n", "correct horse \n"] {
            let passphrase = scene.write("passphrase", wrong);
            let mut command = scene.collect(&["--key", &key, "--passphrase-file", &passphrase]);
            scene.refuses(&mut command, &["the passphrase does not open key", &key]);
        }
    }
}

#[test]
fn a_missing_passphrase_file_or_terminal_is_refused_and_nothing_is_written() {
    let scene = Scene::with_key(&ED25519, "correct horse");
    let key = scene.text("key");
    let mut command = scene.collect(&["--key", &key, "--passphrase-file", &scene.text("nowhere")]);
    scene.refuses(&mut command, &["is encrypted and no passphrase is to be had", "nowhere"]);
    // setsid: no terminal to ask on.
    let asking = scene.collect(&["--key", &key]);
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(asking.get_program()).args(asking.get_args()).env_remove("SSH_AUTH_SOCK");
    scene.refuses(
        command.stdin(Stdio::null()),
        &["is encrypted and no passphrase is to be had", "--passphrase-file"],
    );
}

#[test]
fn an_ecdsa_key_file_is_refused_with_the_way_through_ssh_agent_and_nothing_is_written() {
    let scene = Scene::with_key(&["-t", "ecdsa", "-b", "256"], "");
    let words = ["ecdsa-sha2-nistp256", "signs through ssh-agent", "ssh-add"];
    scene.refuses(&mut scene.collect(&["--key", &scene.text("key")]), &words);
}

#[test]
fn a_file_that_is_no_key_is_refused_and_nothing_is_written() {
    let scene = Scene::with_key(&ED25519, "");
    scene.refuses(&mut scene.collect(&["--key", &scene.text("exhibit")]), &["is not an OpenSSH key"]);
    scene.refuses(&mut scene.collect(&["--key", &scene.text("nowhere")]), &["cannot read key", "nowhere"]);
}
