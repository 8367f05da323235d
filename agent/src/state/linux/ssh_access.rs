//! Owns the tables of SSH keys that open an account and of hosts that an account knows; refuses to read what sshd is not
//! configured to read.

use std::collections::BTreeSet;
use std::io;

use super::files::{Files, Home, SMALL, join, lines, split};
use super::row::row;
use super::text::{Twin, fields, text};
use crate::catalogue::Component;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const AUTHORIZED_KEYS: Table = Table {
    name: "authorized_keys",
    about: "Public keys that open accounts over SSH, in every file that sshd is configured to read.",
    sources: &[
        "~/.ssh/authorized_keys",
        "~/.ssh/authorized_keys2",
        "AuthorizedKeysFile of /etc/ssh/sshd_config",
    ],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_authorized_keys,
};

/// The table.
pub(super) const KNOWN_HOSTS: Table = Table {
    name: "known_hosts",
    about: "Hosts whose keys the accounts accepted over SSH.",
    sources: &[
        "~/.ssh/known_hosts",
        "~/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_known_hosts2",
    ],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_known_hosts,
};

row! {
    /// One public key that opens an account.
    struct AuthorizedKeyRow {
        /// osquery: User whose account it opens.
        uid: u32,
        /// osquery: Kind of key, such as `ssh-ed25519`; empty where the line holds no key.
        algorithm: Twin,
        /// osquery: The public key in base64, as written.
        key: Twin,
        /// osquery: Options before the key, such as `command="..."`, as written; of a line without a key only its length.
        options: Twin,
        /// osquery: Comment behind the key.
        comment: Twin,
        /// osquery: File the key is in.
        key_file: Twin,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

row! {
    /// One line of a file of known hosts.
    struct KnownHostRow {
        /// osquery: User who knows the host; 0 for the files of the whole system.
        uid: u32,
        /// osquery: The line: names of the host (or a digest of them), kind of key, public key.
        key: Twin,
        /// osquery: File the line is in.
        key_file: Twin,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

/// The most sshd_config files that are read.
const CONFIGS_CAP: usize = 256;
/// The most patterns of key files that are looked for in each home.
const PATTERNS_CAP: usize = 64;

fn capture_authorized_keys(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut patterns = vec![b".ssh/authorized_keys".to_vec(), b".ssh/authorized_keys2".to_vec()];
    add_configured(capture, &mut files, &mut patterns)?;
    let mut read = BTreeSet::new();
    for account in files.accounts(capture) {
        for pattern in &patterns {
            capture.go_on()?;
            let path = key_file(pattern, &account);
            if read.insert((path.clone(), account.uid))
                && let Some(file) = text_for(capture, &mut files, &account, &path)
            {
                capture_keys(capture, &file, &account, &path)?;
            }
        }
    }
    Ok(())
}

/// The file at `path`; in the account's own home no link, which could lead to what the account may not read.
fn text_for(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    account: &Home,
    path: &[u8],
) -> Option<Vec<u8>> {
    if path.starts_with(&join(&account.path, b"")) {
        files.own_text(capture, path, SMALL)
    } else {
        files.text(capture, path, SMALL)
    }
}

fn capture_keys(capture: &mut TableCapture<'_>, file: &[u8], account: &Home, path: &[u8]) -> io::Result<()> {
    for (line, written) in lines(file) {
        let written = written.trim_ascii();
        if written.is_empty() || written.starts_with(b"#") {
            continue;
        }
        let [options, algorithm, key, comment] = parse_key(written).map_or_else(
            || {
                [
                    text(format!("(no key, {} bytes)", written.len()).as_bytes()),
                    text(b""),
                    text(b""),
                    text(b""),
                ]
            },
            |parts| parts.map(text),
        );
        let key_file = text(path);
        capture.row(&AuthorizedKeyRow {
            uid: account.uid,
            algorithm,
            key,
            options,
            comment,
            key_file,
            line,
        })?;
    }
    Ok(())
}

fn capture_known_hosts(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for path in [&b"/etc/ssh/ssh_known_hosts"[..], b"/etc/ssh/ssh_known_hosts2"] {
        let file = files.text(capture, path, SMALL).unwrap_or_default();
        capture_hosts(capture, &file, 0, path)?;
    }
    for home in files.homes(capture) {
        capture.go_on()?;
        for name in [&b".ssh/known_hosts"[..], b".ssh/known_hosts2"] {
            let path = join(&home.path, name);
            let file = files.own_text(capture, &path, SMALL).unwrap_or_default();
            capture_hosts(capture, &file, home.uid, &path)?;
        }
    }
    Ok(())
}

fn capture_hosts(capture: &mut TableCapture<'_>, file: &[u8], uid: u32, path: &[u8]) -> io::Result<()> {
    for (number, line) in lines(file) {
        let line = line.trim_ascii();
        if !line.is_empty() && !line.starts_with(b"#") {
            let key = if is_host_key(line) {
                text(line)
            } else {
                text(format!("(no host key, {} bytes)", line.len()).as_bytes())
            };
            capture.row(&KnownHostRow { uid, key, key_file: text(path), line: number })?;
        }
    }
    Ok(())
}

/// Whether a line holds a host's key: the file in a home may be a link to one that holds something else, a secret say.
fn is_host_key(line: &[u8]) -> bool {
    let fields: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).collect();
    let marked = usize::from(fields.first().is_some_and(|first| first.starts_with(b"@")));
    let is_number = |field: &&[u8]| field.iter().all(u8::is_ascii_digit);
    match fields.get(marked + 1..) {
        // Every key begins with the length of its kind's name, three zero bytes first.
        Some([_, key, ..]) if key.starts_with(b"AAAA") => true,
        // Protocol 1: bits, exponent, modulus.
        Some([bits, exponent, modulus, ..]) => [bits, exponent, modulus].into_iter().all(is_number),
        _ => false,
    }
}

/// Adds every `AuthorizedKeysFile` of sshd's configuration, whichever `Match` it stands under.
fn add_configured(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    patterns: &mut Vec<Vec<u8>>,
) -> io::Result<()> {
    let mut configs = vec![b"/etc/ssh/sshd_config".to_vec()];
    let mut next = 0;
    let mut left_out = false;
    while let Some(path) = configs.get(next).cloned() {
        next += 1;
        let file = files.text(capture, &path, SMALL).unwrap_or_default();
        for (_, line) in lines(&file) {
            capture.go_on()?;
            let Some((keyword, values)) = directive(line) else { continue };
            if keyword.eq_ignore_ascii_case(b"AuthorizedKeysFile") {
                let named = values.into_iter().filter(|value| !value.eq_ignore_ascii_case(b"none"));
                left_out |= add(patterns, named, PATTERNS_CAP);
            } else if keyword.eq_ignore_ascii_case(b"Include") {
                for value in values {
                    left_out |= add(&mut configs, included(capture, files, &value).into_iter(), CONFIGS_CAP);
                }
            }
        }
    }
    if left_out {
        let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more includes or key files than are read");
        capture.gap("/etc/ssh/sshd_config", &reason);
    }
    Ok(())
}

/// Adds what is new while there is room, and tells whether some was left out.
fn add(to: &mut Vec<Vec<u8>>, found: impl Iterator<Item = Vec<u8>>, cap: usize) -> bool {
    for path in found {
        if !to.contains(&path) {
            if to.len() >= cap {
                return true;
            }
            to.push(path);
        }
    }
    false
}

/// The files that an `Include` of sshd_config(5) names, with wildcards in the last name.
fn included(capture: &mut TableCapture<'_>, files: &mut Files, value: &[u8]) -> Vec<Vec<u8>> {
    let path = if value.starts_with(b"/") { value.to_vec() } else { join(b"/etc/ssh", value) };
    let Some((folder, name)) = split(&path) else { return Vec::new() };
    let is_pattern = |part: &[u8]| part.iter().any(|byte| b"*?[".contains(byte));
    let mut refused = |reason: &str| {
        capture.gap(text(&path).0, &io::Error::new(io::ErrorKind::Unsupported, reason));
        Vec::new()
    };
    if is_pattern(folder) {
        return refused("an include with a wildcard in a folder's name, not read");
    }
    if !is_pattern(name) {
        return vec![path];
    }
    let Some(pattern) = std::str::from_utf8(name).ok().and_then(|name| Component::of_name(name).ok()) else {
        return refused("an include that is no pattern");
    };
    let entries = files.entries(capture, folder).into_iter();
    entries.filter(|entry| pattern.matches(&entry.name)).map(|entry| entry.path).collect()
}

/// The keyword of a line of sshd_config and its values, each of which may be quoted.
fn directive(line: &[u8]) -> Option<(&[u8], Vec<Vec<u8>>)> {
    let line = line.trim_ascii();
    let (keyword, rest) = match line.strip_prefix(b"\"") {
        Some(quoted) => quoted.split_at_checked(quoted.iter().position(|byte| *byte == b'"')?)?,
        None => {
            line.split_at_checked(line.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=')?)?
        }
    };
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest).trim_ascii_start();
    let mut rest = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii();
    let mut values = Vec::new();
    while let Some(first) = rest.first() {
        if *first == b'#' {
            break;
        }
        let (value, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => cut(quoted, |byte| byte == b'"'),
            None => cut(rest, |byte| byte.is_ascii_whitespace()),
        };
        values.push(value.to_vec());
        rest = after.trim_ascii_start();
    }
    (!keyword.starts_with(b"#")).then_some((keyword, values))
}

/// What stands before and behind the first byte that ends it.
fn cut(text: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| ends(*byte)).unwrap_or(text.len());
    (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default())
}

/// The path that `AuthorizedKeysFile` gives for one home: `%h`, `%u`, `%U` and `%%` stand for the account.
fn key_file(pattern: &[u8], home: &Home) -> Vec<u8> {
    let mut path = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'%', Some(token @ (b'h' | b'u' | b'U' | b'%'))) => {
                bytes.next();
                match token {
                    b'h' => path.extend_from_slice(home.path.strip_suffix(b"/").unwrap_or(&home.path)),
                    b'u' => path.extend_from_slice(&home.user),
                    b'U' => path.extend_from_slice(home.uid.to_string().as_bytes()),
                    _ => path.push(b'%'),
                }
            }
            _ => path.push(*byte),
        }
    }
    if path.starts_with(b"/") { path } else { join(&home.path, &path) }
}

/// Options, algorithm, key and comment of a line, sshd(8); nothing where it holds no key: the file may be another one, with
/// a secret in it, that only stands where keys are looked for.
fn parse_key(line: &[u8]) -> Option<[&[u8]; 4]> {
    let (options, rest) =
        if is_algorithm(line) { (&b""[..], line) } else { line.split_at_checked(options_end(line))? };
    let rest = rest.trim_ascii_start();
    let mut words = fields(rest);
    let (algorithm, key) = (words.next()?, words.next()?);
    // Every key begins with the length of its algorithm's name, three zero bytes first.
    if !is_algorithm(rest) || !key.starts_with(b"AAAA") {
        return None;
    }
    let comment = cut(cut(rest, |byte| byte.is_ascii_whitespace()).1.trim_ascii_start(), |byte| {
        byte.is_ascii_whitespace()
    });
    Some([options, algorithm, key, comment.1.trim_ascii_start()])
}

fn is_algorithm(line: &[u8]) -> bool {
    let word = fields(line).next().unwrap_or_default();
    [&b"ssh-"[..], b"ecdsa-", b"sk-", b"rsa-"].iter().any(|start| word.starts_with(start))
}

/// Options reach to the first space outside quotes.
fn options_end(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'\\' if quoted && !escaped => {
                escaped = true;
                continue;
            }
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => return at,
            _ => {}
        }
        escaped = false;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_keys_are_shown_of_what_passes_for_known_hosts() {
        assert!(is_host_key(b"host,192.0.2.1 ssh-ed25519 AAAAC3Nz x"));
        assert!(is_host_key(b"@revoked * ecdsa-sha2-nistp256 AAAAE2Vj"));
        assert!(is_host_key(b"host 1024 35 1234567"));
        assert!(!is_host_key(b"root:$6$salt$digest:19000:0:99999:7:::"));
        assert!(!is_host_key(b"password = secret AAAA"[..17].as_ref()));
    }

    #[test]
    fn options_with_quotes_stand_before_the_key() {
        let line = br#"command="echo \"a b\" ssh-rsa",no-pty ssh-ed25519 AAAA eve at example.gov"#;
        let [options, algorithm, key, comment] = parse_key(line).unwrap();
        assert_eq!(options, br#"command="echo \"a b\" ssh-rsa",no-pty"#);
        assert_eq!(
            (algorithm, key, comment),
            (&b"ssh-ed25519"[..], &b"AAAA"[..], &b"eve at example.gov"[..])
        );
        assert_eq!(parse_key(b"ssh-rsa AAAA").unwrap(), [&b""[..], b"ssh-rsa", b"AAAA", b""]);
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        for line in [
            &b"\xff\"garbage"[..],
            b"ssh-rsa",
            b"ssh-rsa secret",
            b"root:$6$salt$digest:19000:0:99999:7:::",
            b"secret words ssh-rsa AAAA",
        ] {
            assert_eq!(parse_key(line), None);
        }
    }

    #[test]
    fn key_files_stand_for_the_account() {
        let home = Home { uid: 7, user: b"eve".to_vec(), path: b"/home/eve".to_vec() };
        assert_eq!(key_file(b"/etc/keys/%u-%U%%", &home), b"/etc/keys/eve-7%");
        assert_eq!(key_file(b"%h/k", &home), b"/home/eve/k");
        assert_eq!(key_file(b"k%", &home), b"/home/eve/k%");
    }

    #[test]
    fn directives_are_read_with_quotes_and_equals() {
        let (keyword, values) = directive(b" authorizedkeysfile = \"/a b\" .k # c").unwrap();
        assert_eq!((keyword, values), (&b"authorizedkeysfile"[..], vec![b"/a b".to_vec(), b".k".to_vec()]));
        assert_eq!(directive(b"\"AuthorizedKeysFile\" /k").unwrap().0, b"AuthorizedKeysFile");
        assert!(directive(b"# AuthorizedKeysFile x").is_none());
        assert!(directive(b"\xff").is_none());
    }
}
