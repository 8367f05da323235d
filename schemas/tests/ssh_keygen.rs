//! Owns the comparison with the real `ssh-keygen`: keys, fingerprints, signatures and trust files.
#![allow(clippy::disallowed_methods, reason = "the reference implementation is a host program")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ed25519_dalek::Signer as _;
use holdfast_schemas::ssh_key::{Algorithm, KeyError, PublicKey, SignatureError};
use holdfast_schemas::ssh_wire::WireWriter;
use holdfast_schemas::sshsig::{
    NAMESPACE_ORDER, NAMESPACE_SEAL, SshSignature, SshsigError, ed25519_signature_blob, to_be_signed,
};

/// A fresh directory for one test.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ssh_keygen").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("target directory is writable");
    path
}

fn ssh_keygen(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let input_path = dir.join("stdin");
    fs::write(&input_path, input).expect("write");
    Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(dir)
        .env("TZ", "UTC")
        .stdin(Stdio::from(fs::File::open(&input_path).expect("open")))
        .output()
        .expect("ssh-keygen runs")
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes the key pair `name` and returns its public line.
fn generate(dir: &Path, name: &str, kind: &str, bits: &str) -> String {
    done(&ssh_keygen(dir, &["-q", "-t", kind, "-b", bits, "-N", "", "-C", "a comment", "-f", name], b""));
    fs::read_to_string(dir.join(format!("{name}.pub"))).expect("public key")
}

fn sign(dir: &Path, key: &str, namespace: &str, hash: &str, message: &[u8]) -> Vec<u8> {
    let option = format!("hashalg={hash}");
    let output = ssh_keygen(dir, &["-q", "-Y", "sign", "-f", key, "-n", namespace, "-O", &option], message);
    done(&output);
    output.stdout
}

const KINDS: [(&str, &str, Algorithm); 5] = [
    ("ed25519", "256", Algorithm::Ed25519),
    ("ecdsa", "256", Algorithm::EcdsaP256),
    ("ecdsa", "384", Algorithm::EcdsaP384),
    ("rsa", "2048", Algorithm::Rsa),
    ("rsa", "3072", Algorithm::Rsa),
];

#[test]
fn keys_and_signatures_of_ssh_keygen_are_read_and_verified() {
    let dir = directory("sign");
    for (kind, bits, algorithm) in KINDS {
        let name = format!("{kind}{bits}");
        let line = generate(&dir, &name, kind, bits);
        let key = PublicKey::from_openssh_line(&line).expect("key of ssh-keygen");
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(line, format!("{} a comment\n", key.to_openssh()));
        assert_eq!(PublicKey::from_blob(key.to_blob()).as_ref(), Ok(&key));
        let listing = ssh_keygen(&dir, &["-l", "-f", &format!("{name}.pub")], b"").stdout;
        assert!(String::from_utf8(listing).expect("text").contains(&format!(" {} ", key.fingerprint())));

        for hash in ["sha512", "sha256"] {
            for message in [&b""[..], b"one line\n", &[0xa5; 5000]] {
                let armored = sign(&dir, &name, NAMESPACE_SEAL, hash, message);
                let signature = SshSignature::parse(&armored).expect("signature of ssh-keygen");
                assert_eq!(signature.public_key(), &key);
                assert_eq!(signature.namespace(), NAMESPACE_SEAL);
                assert_eq!(signature.to_armored().as_bytes(), armored);
                assert_eq!(signature.verify(NAMESPACE_SEAL, message), Ok(()));
                assert_eq!(
                    signature.verify(NAMESPACE_SEAL, b"another message"),
                    Err(SshsigError::Signature(SignatureError::Mismatch))
                );
                let wrong = signature.verify(NAMESPACE_ORDER, message);
                assert!(matches!(wrong, Err(SshsigError::WrongNamespace { .. })));
            }
        }
    }
}

#[test]
fn weak_and_foreign_keys_of_ssh_keygen_are_refused() {
    let dir = directory("refused");
    let rsa = generate(&dir, "rsa1024", "rsa", "1024");
    assert!(matches!(PublicKey::from_openssh_line(&rsa), Err(KeyError::Unusable(_))));
    let p521 = generate(&dir, "p521", "ecdsa", "521");
    assert!(matches!(PublicKey::from_openssh_line(&p521), Err(KeyError::UnsupportedType(_))));
    let ed = generate(&dir, "ed", "ed25519", "256");
    for bad in [
        format!("restrict {ed}"),
        ed.replace("ssh-ed25519", "ssh-rsa"),
        ed.replace("AAAAC3", "AAAAC3="),
        format!("{ed}{ed}"),
        "ssh-ed25519".to_owned(),
        String::new(),
    ] {
        assert!(PublicKey::from_openssh_line(&bad).is_err(), "{bad}");
    }
}

#[test]
fn our_ed25519_signature_verifies_in_ssh_keygen() {
    let dir = directory("ours");
    let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey::ed25519(secret.verifying_key().as_bytes()).expect("a strong key");
    let message = b"{\"format\":1}\n";
    let blob = ed25519_signature_blob(&secret.sign(&to_be_signed(NAMESPACE_SEAL, message)).to_bytes());
    let signature = SshSignature::new(key.clone(), NAMESPACE_SEAL, blob);
    assert_eq!(SshSignature::parse(signature.to_armored().as_bytes()).as_ref(), Ok(&signature));
    assert_eq!(signature.verify(NAMESPACE_SEAL, message), Ok(()));

    fs::write(dir.join("x.sig"), signature.to_armored()).expect("write");
    fs::write(dir.join("signers"), format!("me {}\n", key.to_openssh())).expect("write");
    let verify = ["-Y", "verify", "-f", "signers", "-I", "me", "-n", NAMESPACE_SEAL, "-s", "x.sig"];
    done(&ssh_keygen(&dir, &verify, message));
    assert!(!ssh_keygen(&dir, &verify, b"other").status.success());
}

#[test]
fn every_bit_of_a_signature_file_matters() {
    let dir = directory("flips");
    let message = b"message";
    for (kind, bits, _) in KINDS.into_iter().take(4) {
        generate(&dir, &format!("{kind}{bits}"), kind, bits);
        let armored = sign(&dir, &format!("{kind}{bits}"), NAMESPACE_SEAL, "sha512", message);
        let accepted = |bytes: &[u8]| {
            SshSignature::parse(bytes)
                .is_ok_and(|signature| signature.verify(NAMESPACE_SEAL, message).is_ok())
        };
        assert!(accepted(&armored));
        for bit in 0..armored.len() * 8 {
            let mut flipped = armored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(&flipped), "{kind}{bits}: bit {bit} does not matter");
        }
        for length in 0..armored.len() {
            assert!(SshSignature::parse(&armored[..length]).is_err(), "{kind}{bits}: cut at {length}");
        }
        println!("{kind}{bits}: {} single-bit changes tried, all caught", armored.len() * 8);
    }
}

/// Armors `bytes` as ssh-keygen does, whatever they are.
fn armor(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> =
        text.as_bytes().chunks(70).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    let body = lines.join("\n");
    format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n").into_bytes()
}

/// A signature blob by `key` in which single fields can be replaced.
fn fields(
    version: u32,
    key: &[u8],
    namespace: &[u8],
    reserved: &[u8],
    hash: &[u8],
    signature: &[u8],
) -> Vec<u8> {
    let mut writer = WireWriter::new();
    writer.bytes(b"SSHSIG").u32(version).string(key).string(namespace);
    writer.string(reserved).string(hash).string(signature);
    writer.into_bytes()
}

#[test]
fn each_defect_of_a_signature_file_has_its_own_error() {
    let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey::ed25519(secret.verifying_key().as_bytes()).expect("a strong key");
    let blob = ed25519_signature_blob(&secret.sign(&to_be_signed("n", b"m")).to_bytes());
    let parse = |bytes: Vec<u8>| SshSignature::parse(&armor(&bytes)).map(|_| ());
    let good = fields(1, key.to_blob(), b"n", b"", b"sha512", &blob);
    assert_eq!(parse(good.clone()), Ok(()));

    assert_eq!(parse(good[1..].to_vec()), Err(SshsigError::Magic));
    assert_eq!(parse(good[..good.len() - 1].to_vec()), Err(SshsigError::Truncated));
    assert_eq!(parse([&good[..], b"\0"].concat()), Err(SshsigError::Trailing));
    let version = fields(2, key.to_blob(), b"n", b"", b"sha512", &blob);
    assert_eq!(parse(version), Err(SshsigError::Version(2)));
    let reserved = fields(1, key.to_blob(), b"n", b"x", b"sha512", &blob);
    assert_eq!(parse(reserved), Err(SshsigError::Reserved));
    let namespace = fields(1, key.to_blob(), b"", b"", b"sha512", &blob);
    assert_eq!(parse(namespace), Err(SshsigError::Namespace));
    let hash = fields(1, key.to_blob(), b"n", b"", b"sha1", &blob);
    assert_eq!(parse(hash), Err(SshsigError::HashAlgorithm("sha1".to_owned())));
    let foreign = fields(1, b"\0\0\0\x07ssh-dss", b"n", b"", b"sha512", &blob);
    assert_eq!(parse(foreign), Err(SshsigError::Key(KeyError::UnsupportedType("ssh-dss".to_owned()))));

    let text = String::from_utf8(armor(&good)).expect("ASCII");
    let refused = |text: &str| SshSignature::parse(text.as_bytes()).map(|_| ());
    assert_eq!(refused(&format!("\n{text}")), Err(SshsigError::NotArmored));
    assert_eq!(refused(&format!("{text}more")), Err(SshsigError::Trailing));
    assert_eq!(refused(&text.replace('\n', "\r\n")), Err(SshsigError::NotArmored));
    assert_eq!(refused(text.trim_end()), Err(SshsigError::Layout));
    assert_eq!(refused(&format!("{text}\n")), Err(SshsigError::Layout));
    assert_eq!(refused(&text.replace("-----\nU", "-----\nU\n")), Err(SshsigError::Layout));
    assert_eq!(refused(&text.replace("-----\nU", "-----\nU*")), Err(SshsigError::Base64));
    assert_eq!(refused(&"x".repeat(20_000)), Err(SshsigError::TooLarge));
}

#[test]
fn weak_and_non_canonical_ed25519_points_are_refused() {
    // RFC 8032 5.1.3: the neutral element; y = 0 (order 4); y = p + 3, a full-order point written a second way.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut unreduced = [0xff; 32];
    (unreduced[0], unreduced[31]) = (0xf0, 0x7f);
    for point in [neutral, [0; 32], unreduced] {
        assert!(PublicKey::ed25519(&point).is_err(), "{point:x?}");
    }
}
