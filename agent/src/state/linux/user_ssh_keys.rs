//! Owns the table of private SSH keys and whether a passphrase keeps them; refuses to copy key material.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_schemas::item::ItemKind;

use super::files::{Files, join, lines};
use super::row::row;
use super::text::{Twin, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "user_ssh_keys",
    about: "Private SSH keys and whether a passphrase keeps them, without the keys.",
    sources: &["~/.ssh/*", "/etc/ssh/*"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_keys,
};

row! {
    /// One file that holds a private key.
    struct PrivateKeyRow {
        /// osquery: User in whose home it lies; 0 for the keys of the host.
        uid: u32,
        /// osquery: Path of the file.
        path: Twin,
        /// osquery: 1 where a passphrase keeps it, 0 where none does, -1 where that cannot be told.
        encrypted: i64,
        /// osquery: rsa, dsa, ecdsa, ed25519, or as the file names it; empty where that cannot be told.
        key_type: Twin,
        /// Derived: Form of the file: openssh, pem, pkcs8 or putty.
        format: &'static str,
        /// Derived: Permission bits.
        mode: u32,
    }
}

/// No private key is longer.
const KEY_CAP: usize = 64 << 10;

fn capture_keys(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut folders = vec![(0, b"/etc/ssh".to_vec())];
    folders.extend(files.homes(capture).into_iter().map(|home| (home.uid, join(&home.path, b".ssh"))));
    for (uid, folder) in folders {
        capture.go_on()?;
        for entry in files.entries(capture, &folder) {
            let is_file = match entry.kind {
                ItemKind::File => true,
                ItemKind::Symlink => {
                    files.followed(capture, &entry.path).is_some_and(|(kind, _)| kind != ItemKind::Directory)
                }
                _ => false,
            };
            if !is_file {
                continue;
            }
            let Some(file) = files.text(capture, &entry.path, KEY_CAP) else { continue };
            let Some(key) = private_key(&file) else { continue };
            capture.row(&PrivateKeyRow {
                uid,
                path: text(&entry.path),
                encrypted: key.encrypted.map_or(-1, i64::from),
                key_type: text(&key.kind),
                format: key.format,
                mode: entry.mode,
            })?;
        }
    }
    Ok(())
}

struct PrivateKey {
    format: &'static str,
    kind: Vec<u8>,
    encrypted: Option<bool>,
}

/// What the lines of a file say of the first private key in it, whatever stands before it; nothing where there is none.
fn private_key(file: &[u8]) -> Option<PrivateKey> {
    let begin = |line: &[u8]| {
        line.starts_with(b"PuTTY-User-Key-File-")
            || (line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----"))
    };
    let mut rest = lines(file).map(|(_, line)| line.trim_ascii()).skip_while(|line| !begin(line));
    let first = rest.next()?;
    if let Some(putty) = first.strip_prefix(b"PuTTY-User-Key-File-") {
        let kind = putty.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default().trim_ascii();
        let encryption = rest.find_map(|line| line.strip_prefix(b"Encryption:"));
        let encrypted = encryption.map(|cipher| cipher.trim_ascii() != b"none");
        return Some(PrivateKey { format: "putty", kind: short(kind), encrypted });
    }
    match first.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"PRIVATE KEY-----")?.trim_ascii_end() {
        b"OPENSSH" => {
            let body: Vec<u8> =
                rest.take_while(|line| !line.starts_with(b"-----")).flatten().copied().collect();
            let (kind, encrypted) = openssh(&body).unwrap_or_default();
            Some(PrivateKey { format: "openssh", kind, encrypted })
        }
        b"ENCRYPTED" => Some(PrivateKey { format: "pkcs8", kind: Vec::new(), encrypted: Some(true) }),
        b"" => Some(PrivateKey { format: "pkcs8", kind: Vec::new(), encrypted: Some(false) }),
        kind => {
            let mut own = rest.take_while(|line| !line.starts_with(b"-----"));
            let encrypted = own.any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"));
            let kind = if kind == b"EC" { b"ecdsa".to_vec() } else { short(&kind.to_ascii_lowercase()) };
            Some(PrivateKey { format: "pem", kind, encrypted: Some(encrypted) })
        }
    }
}

/// A name out of a file that may be no name at all.
fn short(name: &[u8]) -> Vec<u8> {
    name.get(..name.len().min(64)).unwrap_or_default().to_vec()
}

/// Type and cipher of `openssh-key-v1`: a magic, then strings behind their lengths (cipher, derivation, its options), the
/// number of keys, and the public key, which begins with its type. What follows is never looked at.
fn openssh(body: &[u8]) -> Option<(Vec<u8>, Option<bool>)> {
    let whole = body.get(..body.len() - body.len() % 4)?;
    let decoded = STANDARD.decode(whole).ok()?;
    let mut rest = decoded.strip_prefix(b"openssh-key-v1\0")?;
    let encrypted = string(&mut rest)? != b"none";
    string(&mut rest)?;
    string(&mut rest)?;
    rest = rest.get(4..)?;
    let mut public = string(&mut rest)?;
    let kind = match string(&mut public)? {
        b"ssh-rsa" => b"rsa",
        b"ssh-dss" => b"dsa",
        b"ssh-ed25519" => &b"ed25519"[..],
        kind if kind.starts_with(b"ecdsa-") => b"ecdsa",
        kind => kind,
    };
    Some((short(kind), Some(encrypted)))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (string, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_forms_tell_their_passphrase() {
        for (file, expected) in [
            (&b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"[..], ("pem", "rsa", Some(true))),
            (b"-----BEGIN EC PRIVATE KEY-----\nAAAA", ("pem", "ecdsa", Some(false))),
            (
                b"-----BEGIN EC PARAMETERS-----\nBg==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\nA",
                ("pem", "ecdsa", Some(false)),
            ),
            (b"-----BEGIN CERTIFICATE-----\nA\n-----BEGIN PRIVATE KEY-----\nA", ("pkcs8", "", Some(false))),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA", ("pkcs8", "", Some(false))),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", ("pkcs8", "", Some(true))),
            (
                b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n",
                ("putty", "ssh-ed25519", Some(false)),
            ),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\n!!!!\n", ("openssh", "", None)),
        ] {
            let key = private_key(file).unwrap();
            assert_eq!((key.format, std::str::from_utf8(&key.kind).unwrap(), key.encrypted), expected);
        }
    }

    #[test]
    fn what_is_no_private_key_is_none() {
        for file in [&b""[..], b"ssh-rsa AAAA", b"-----BEGIN CERTIFICATE-----", b"-----BEGIN ", b"\xff\0\n"] {
            assert!(private_key(file).is_none());
        }
    }

    #[test]
    fn truncated_openssh_keys_do_not_panic() {
        let blob = [&b"openssh-key-v1\0"[..], &[0, 0, 0, 4], b"none", &[0xff; 40]].concat();
        for length in 0..=blob.len() {
            let body = STANDARD.encode(&blob[..length]);
            for cut in 0..=body.len() {
                assert!(openssh(&body.as_bytes()[..cut]).is_none());
            }
        }
    }
}
