//! Owns the table of password ages and states; refuses to copy a password digest, or a part of one.

use std::io;

use super::files::{Files, SMALL, lines};
use super::row::row;
use super::text::{Twin, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "shadow",
    about: "States and ages of local passwords, without their digests.",
    sources: &["/etc/shadow", "/etc/shadow-"],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_shadow,
};

row! {
    /// One line of `/etc/shadow`, or of the copy that the last change left behind.
    struct ShadowRow {
        /// osquery: User name.
        username: Twin,
        /// osquery: active, empty, locked (a digest behind `!`) or not_set (no digest can match).
        password_status: &'static str,
        /// osquery: Algorithm of the digest, as crypt(5) names it (`6` is SHA-512, `y` is yescrypt, ...); empty where
        /// there is no digest or an old DES one.
        hash_alg: Twin,
        /// osquery: Day of the last change, counted from 1970-01-01; null where not said.
        last_change: Option<i64>,
        /// osquery: Days between changes, at least; null where not said.
        min: Option<i64>,
        /// osquery: Days between changes, at most; null where not said.
        max: Option<i64>,
        /// osquery: Days before expiry in which the user is warned; null where not said.
        warning: Option<i64>,
        /// osquery: Days after expiry until the account is disabled; null where not said.
        inactive: Option<i64>,
        /// osquery: Day on which the account expires, counted from 1970-01-01; null where not said.
        expire: Option<i64>,
        /// osquery: Reserved; null where not said.
        flag: Option<i64>,
        /// Derived: File the row was read from.
        source_file: &'static str,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

fn capture_shadow(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for path in ["/etc/shadow", "/etc/shadow-"] {
        let file = files.text(capture, path.as_bytes(), SMALL).unwrap_or_default();
        for (number, line) in lines(&file).filter(|(_, line)| !line.is_empty()) {
            match parse_shadow(line, path, number) {
                Some(row) => capture.row(&row)?,
                None => capture.gap(
                    format!("{path} line {number}"),
                    &io::Error::new(io::ErrorKind::InvalidData, "not an entry of shadow(5)"),
                ),
            }
        }
    }
    Ok(())
}

/// `name:password:last_change:min:max:warning:inactive:expire:flag`, shadow(5).
fn parse_shadow(line: &[u8], source_file: &'static str, line_number: u64) -> Option<ShadowRow> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [name, password, last_change, min, max, warning, inactive, expire, flag] = columns[..] else {
        return None;
    };
    let (password_status, hash_alg) = password_state(password);
    Some(ShadowRow {
        username: text(name),
        password_status,
        hash_alg: text(hash_alg),
        last_change: number(last_change),
        min: number(min),
        max: number(max),
        warning: number(warning),
        inactive: number(inactive),
        expire: number(expire),
        flag: number(flag),
        source_file,
        line: line_number,
    })
}

/// What a password field says, and the algorithm it names. An algorithm's name is short and of letters and digits:
/// whatever else stands between the dollars may be a part of the digest and is not copied.
fn password_state(field: &[u8]) -> (&'static str, &[u8]) {
    let digest = field.strip_prefix(b"!").map(|rest| rest.strip_prefix(b"!").unwrap_or(rest));
    let status = match (field, digest) {
        (b"", _) => "empty",
        (b"*", _) | (_, Some(b"" | b"*")) => "not_set",
        (_, Some(_)) => "locked",
        _ => "active",
    };
    let named = digest.unwrap_or(field).strip_prefix(b"$");
    let algorithm = named.and_then(|rest| rest.split(|byte| *byte == b'$').next()).unwrap_or_default();
    let plausible = algorithm.len() <= 12
        && algorithm.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && named.is_some_and(|rest| rest.contains(&b'$'));
    (status, if plausible { algorithm } else { b"" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_never_a_part_of_a_row() {
        for line in [
            &b"a:$6$SALT$DIGEST:19000:0:99999:7:::"[..],
            b"a:!$y$j9T$SALT$DIGEST:::::::",
            b"a:$SALTDIGESTSALTDIGEST:::::::",
            b"a:$DIGEST:::::::",
            b"a:SALTDIGEST:::::::",
        ] {
            let row = serde_json::to_string(&parse_shadow(line, "/etc/shadow", 1).unwrap()).unwrap();
            assert!(!row.contains("SALT") && !row.contains("DIGEST"), "{row}");
        }
    }

    #[test]
    fn state_and_algorithm_are_told() {
        for (field, expected) in [
            (&b"$6$s$d"[..], ("active", &b"6"[..])),
            (b"!$y$j9T$s$d", ("locked", b"y")),
            (b"*", ("not_set", b"")),
            (b"!", ("not_set", b"")),
            (b"!!", ("not_set", b"")),
            (b"!*", ("not_set", b"")),
            (b"", ("empty", b"")),
            (b"0123456789abc", ("active", b"")),
        ] {
            assert_eq!(password_state(field), expected);
        }
    }

    #[test]
    fn garbage_lines_are_refused() {
        for garbage in [&b""[..], b"a:b", b"a:::::::::", b"\xff\0"] {
            assert!(parse_shadow(garbage, "", 1).is_none());
        }
        assert_eq!(parse_shadow(b"a:*:x:99999999999999999999:-1::::", "", 1).unwrap().min, None);
    }
}
