//! Owns the tables of names and name servers that the host's files give; refuses to resolve a name.

use std::io;

use super::files::{Files, SMALL, lines};
use super::row::row;
use super::text::{Twin, fields, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const HOSTS: Table = Table {
    name: "etc_hosts",
    about: "Names that the host resolves by itself.",
    sources: &["/etc/hosts"],
    group: Group::Network,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_hosts,
};

/// The table.
pub(super) const RESOLVERS: Table = Table {
    name: "dns_resolvers",
    about: "Name servers, search domains and options of the resolver.",
    sources: &[
        "/etc/resolv.conf",
        "/run/systemd/resolve/resolv.conf",
        "/run/NetworkManager/resolv.conf",
        "/etc/systemd/resolved.conf",
        "/etc/systemd/resolved.conf.d/*.conf",
    ],
    group: Group::Network,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_resolvers,
};

row! {
    /// One line of `/etc/hosts`.
    struct HostRow {
        /// osquery: Address, as written.
        address: Twin,
        /// osquery: Names, parted by spaces.
        hostnames: Twin,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

row! {
    /// One value of one line of a resolver's configuration.
    struct ResolverRow {
        /// osquery: Number of the value among those of its type in the file, from 0.
        id: u64,
        /// osquery: nameserver, search, sortlist or options; a setting of systemd-resolved by its own name.
        r#type: Twin,
        /// osquery: Address, domain or option.
        address: Twin,
        /// osquery: Netmask of a sortlist; null otherwise.
        netmask: Option<Twin>,
        /// osquery: The options of the same file, parted by spaces.
        options: Twin,
        /// Derived: File the line is in.
        source_file: Twin,
        /// Derived: Line number in the file, from 1.
        line: u64,
    }
}

/// The longest configuration of a resolver: each of its rows repeats its options.
const RESOLVER_CAP: usize = 16 << 10;

fn capture_hosts(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let file = Files::of(capture)?.text(capture, b"/etc/hosts", SMALL).unwrap_or_default();
    for (number, line) in lines(&file) {
        let mut words = fields(uncommented(line, b"#"));
        if let Some(address) = words.next() {
            let hostnames = words.collect::<Vec<_>>().join(&b' ');
            capture.row(&HostRow { address: text(address), hostnames: text(&hostnames), line: number })?;
        }
    }
    Ok(())
}

fn capture_resolvers(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for path in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/resolv.conf"] {
        let file = files.text(capture, path.as_bytes(), RESOLVER_CAP).unwrap_or_default();
        capture_settings(capture, path.as_bytes(), &file, resolv_line)?;
    }
    let more = files.entries(capture, b"/etc/systemd/resolved.conf.d").into_iter();
    let more = more.filter(|entry| entry.name.ends_with(b".conf")).map(|entry| entry.path);
    for path in std::iter::once(b"/etc/systemd/resolved.conf".to_vec()).chain(more) {
        let file = files.text(capture, &path, RESOLVER_CAP).unwrap_or_default();
        capture_settings(capture, &path, &file, resolved_line)?;
    }
    Ok(())
}

/// A setting and its values.
type Setting<'a> = (&'a [u8], Vec<&'a [u8]>);

fn capture_settings(
    capture: &mut TableCapture<'_>,
    path: &[u8],
    file: &[u8],
    parse: for<'a> fn(&'a [u8]) -> Option<Setting<'a>>,
) -> io::Result<()> {
    let settings: Vec<_> = lines(file)
        .filter_map(|(number, line)| parse(line).map(|(name, values)| (number, name, values)))
        .collect();
    let options =
        settings.iter().filter(|(_, name, _)| *name == b"options").flat_map(|(_, _, values)| values);
    let options = options.copied().collect::<Vec<_>>().join(&b' ');
    let mut counted = std::collections::BTreeMap::new();
    for (line, name, values) in &settings {
        for value in values {
            let count = counted.entry(*name).or_insert(0u64);
            let (address, netmask) = match value.iter().position(|byte| *byte == b'/') {
                Some(at) if *name == b"sortlist" => (value.get(..at), value.get(at + 1..)),
                _ => (Some(*value), None),
            };
            capture.row(&ResolverRow {
                id: *count,
                r#type: text(name),
                address: text(address.unwrap_or_default()),
                netmask: netmask.map(text),
                options: text(&options),
                source_file: text(path),
                line: *line,
            })?;
            *count += 1;
        }
    }
    Ok(())
}

/// resolv.conf(5); `domain` is an older word for `search`.
fn resolv_line(line: &[u8]) -> Option<Setting<'_>> {
    let mut words = fields(uncommented(line, b"#;"));
    let name = words.next()?;
    Some((if name == b"domain" { b"search" } else { name }, words.collect()))
}

/// resolved.conf(5): `name=value value`.
fn resolved_line(line: &[u8]) -> Option<Setting<'_>> {
    let line = line.trim_ascii();
    let at = line
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|_| !line.starts_with(b"#") && !line.starts_with(b";"))?;
    let (name, values) = line.split_at_checked(at)?;
    Some((name.trim_ascii(), fields(values.get(1..)?).collect()))
}

fn uncommented<'a>(line: &'a [u8], marks: &[u8]) -> &'a [u8] {
    line.split(|byte| marks.contains(byte)).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_forms_are_read() {
        assert_eq!(
            resolv_line(b"domain a.example.gov # x"),
            Some((&b"search"[..], vec![&b"a.example.gov"[..]]))
        );
        assert_eq!(
            resolved_line(b"DNS= 192.0.2.1 192.0.2.2"),
            Some((&b"DNS"[..], vec![&b"192.0.2.1"[..], b"192.0.2.2"]))
        );
        for garbage in [&b""[..], b"# x", b";", b"#a=b"] {
            assert!(resolv_line(garbage).is_none() && resolved_line(garbage).is_none());
        }
        assert_eq!(resolv_line(b"\xff").unwrap().1.len(), 0);
    }
}
