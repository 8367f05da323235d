//! Owns the tables of SSH keys that open an account and of hosts that an account knows; refuses to read what sshd is not
//! configured to read.

use std::collections::BTreeSet;
use std::io;

use globset::GlobBuilder;

use super::files::{Files, Home, SMALL, join, lines, split};
use super::row::row;
use super::text::{Twin, fields, text};
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
        /// osquery: Kind of key, such as `ssh-ed25519`; empty where the line has none.
        algorithm: Twin,
        /// osquery: The public key in base64, as written.
        key: Twin,
        /// osquery: Options before the key, such as `command="..."`, as written.
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
    for home in files.homes(capture) {
        capture.go_on()?;
        for pattern in &patterns {
            let path = key_file(pattern, &home);
            if !read.insert((path.clone(), home.uid)) {
                continue;
            }
            let Some(file) = files.text(capture, &path, SMALL) else { continue };
            for (line, key) in lines(&file) {
                if let Some([options, algorithm, key, comment]) = parse_key(key) {
                    capture.row(&AuthorizedKeyRow {
                        uid: home.uid,
                        algorithm: text(algorithm),
                        key: text(key),
                        options: text(options),
                        comment: text(comment),
                        key_file: text(&path),
                        line,
                    })?;
                }
            }
        }
    }
    Ok(())
}

fn capture_known_hosts(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut places: Vec<(u32, Vec<u8>)> =
        vec![(0, b"/etc/ssh/ssh_known_hosts".to_vec()), (0, b"/etc/ssh/ssh_known_hosts2".to_vec())];
    for home in files.homes(capture) {
        places.push((home.uid, join(&home.path, b".ssh/known_hosts")));
        places.push((home.uid, join(&home.path, b".ssh/known_hosts2")));
    }
    for (uid, path) in places {
        let Some(file) = files.text(capture, &path, SMALL) else { continue };
        for (number, line) in lines(&file) {
            let line = line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                let key = if is_host_key(line) {
                    text(line)
                } else {
                    text(format!("(no host key, {} bytes)", line.len()).as_bytes())
                };
                capture.row(&KnownHostRow { uid, key, key_file: text(&path), line: number })?;
            }
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
    while let Some(path) = configs.get(next).cloned() {
        next += 1;
        capture.go_on()?;
        let file = files.text(capture, &path, SMALL).unwrap_or_default();
        for (_, line) in lines(&file) {
            let Some((keyword, values)) = directive(line) else { continue };
            if keyword.eq_ignore_ascii_case(b"AuthorizedKeysFile") {
                patterns.extend(values.into_iter().filter(|value| !value.eq_ignore_ascii_case(b"none")));
            } else if keyword.eq_ignore_ascii_case(b"Include") {
                for value in values {
                    for found in included(capture, files, &value) {
                        if !configs.contains(&found) {
                            configs.push(found);
                        }
                    }
                }
            }
        }
        if configs.len() > CONFIGS_CAP || patterns.len() > PATTERNS_CAP {
            let reason =
                io::Error::new(io::ErrorKind::QuotaExceeded, "more includes or key files than are read");
            capture.gap("/etc/ssh/sshd_config", &reason);
            configs.truncate(CONFIGS_CAP);
            patterns.truncate(PATTERNS_CAP);
        }
    }
    Ok(())
}

/// The files that an `Include` of sshd_config(5) names, with wildcards in the last name.
fn included(capture: &mut TableCapture<'_>, files: &mut Files, value: &[u8]) -> Vec<Vec<u8>> {
    let path = if value.starts_with(b"/") { value.to_vec() } else { join(b"/etc/ssh", value) };
    let Some((folder, name)) = split(&path) else { return Vec::new() };
    if !name.iter().any(|byte| b"*?[".contains(byte)) {
        return vec![path];
    }
    let glob = std::str::from_utf8(name).ok().and_then(|name| GlobBuilder::new(name).build().ok());
    let Some(glob) = glob.map(|glob| glob.compile_matcher()) else {
        let reason = io::Error::new(io::ErrorKind::InvalidData, "an include that is no pattern");
        capture.gap(text(&path).0, &reason);
        return Vec::new();
    };
    let entries = files.entries(capture, folder);
    let matches = |name: &[u8]| {
        use std::os::unix::ffi::OsStrExt;
        glob.is_match(std::path::Path::new(std::ffi::OsStr::from_bytes(name)))
    };
    entries.into_iter().filter(|entry| matches(&entry.name)).map(|entry| entry.path).collect()
}

/// The keyword of a line of sshd_config and its values, which may be quoted.
fn directive(line: &[u8]) -> Option<(&[u8], Vec<Vec<u8>>)> {
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=')?;
    let (keyword, rest) = line.split_at_checked(end)?;
    let rest = rest.trim_ascii_start();
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
                    b'h' => path.extend_from_slice(&home.path),
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

/// Options, algorithm, key and comment of a line, sshd(8); what is no key is all options, so that nothing is lost.
fn parse_key(line: &[u8]) -> Option<[&[u8]; 4]> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let (options, rest) =
        if is_algorithm(line) { (&b""[..], line) } else { line.split_at_checked(options_end(line))? };
    let rest = rest.trim_ascii_start();
    if !is_algorithm(rest) {
        return Some([line, b"", b"", b""]);
    }
    let mut words = fields(rest);
    let (algorithm, key) = (words.next()?, words.next().unwrap_or_default());
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
    fn what_is_no_key_is_kept_as_options() {
        assert_eq!(parse_key(b"\xff\"garbage").unwrap()[0], b"\xff\"garbage");
        assert_eq!(parse_key(b"ssh-rsa").unwrap()[1], b"ssh-rsa");
        assert!(parse_key(b"# ssh-rsa AAAA").is_none());
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
        assert!(directive(b"# AuthorizedKeysFile x").is_none());
        assert!(directive(b"\xff").is_none());
    }
}
