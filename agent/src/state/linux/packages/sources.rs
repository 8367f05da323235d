//! Owns the tables of where apt, yum, dnf and zypper fetch packages from; refuses to fetch anything, and to show what
//! stands in an address before an `@`.

use std::io;

use serde::Serialize;

use super::control::{Paragraph, Paragraphs};
use super::lines;
use crate::state::linux::files::{Files, noted};
use crate::state::linux::text::{fields, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The longest file that is read, in bytes.
const FILE_CAP: usize = 4 << 20;
/// The most sources that one entry may stand for, by its addresses, suites and types.
const ROWS_CAP: usize = 10_000;

/// The table.
pub(in crate::state::linux) const APT: Table = Table {
    name: "apt_sources",
    about: "Sources that apt is told to fetch packages from.",
    sources: &[
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d/*.{list,sources}",
        "/var/lib/apt/lists/*Release",
    ],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_apt,
};

/// The table.
pub(in crate::state::linux) const YUM: Table = Table {
    name: "yum_sources",
    about: "Repositories that yum, dnf and zypper are told to fetch packages from.",
    sources: &["/etc/yum.conf", "/etc/dnf/dnf.conf", "/etc/{yum.repos.d,zypp/repos.d}/*.repo"],
    group: Group::Packages,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_yum,
};

/// One source that apt is told to fetch packages from: an address and a suite.
#[derive(Serialize, Default)]
struct AptRow {
    /// osquery: Address without its scheme, and suite; `***` stands for a user and password.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: File that names it.
    source: String,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
    /// osquery: Address; `***` stands for a user and password.
    base_uri: String,
    /// Derived: Base64 of the exact bytes behind `base_uri`; null where `base_uri` is those bytes verbatim.
    base_uri_raw: Option<String>,
    /// osquery: Suite.
    release: String,
    /// Derived: Base64 of the exact bytes behind `release`; null where `release` is those bytes verbatim.
    release_raw: Option<String>,
    /// osquery: Version that the fetched index states; null where it is not there or states none.
    version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Origin that the fetched index states; null where it is not there or states none.
    maintainer: Option<String>,
    /// Derived: Base64 of the exact bytes behind `maintainer`; null where `maintainer` is those bytes
    /// verbatim.
    maintainer_raw: Option<String>,
    /// osquery: Components, parted by spaces.
    components: String,
    /// Derived: Base64 of the exact bytes behind `components`; null where `components` is those bytes
    /// verbatim.
    components_raw: Option<String>,
    /// osquery: Architectures it is limited to; null where to none.
    architectures: Option<String>,
    /// Derived: Base64 of the exact bytes behind `architectures`; null where `architectures` is those bytes
    /// verbatim.
    architectures_raw: Option<String>,
    /// Derived: deb or deb-src.
    r#type: String,
    /// Derived: Base64 of the exact bytes behind `type`; null where `type` is those bytes verbatim.
    type_raw: Option<String>,
    /// Derived: Whether it is used.
    enabled: bool,
    /// Derived: Keys that may sign it: a path, a fingerprint or the keys themselves; null where any trusted
    /// key may.
    signed_by: Option<String>,
    /// Derived: Base64 of the exact bytes behind `signed_by`; null where `signed_by` is those bytes
    /// verbatim.
    signed_by_raw: Option<String>,
    /// Derived: Whether signatures are waived, as written; null where nothing is said.
    trusted: Option<String>,
    /// Derived: Base64 of the exact bytes behind `trusted`; null where `trusted` is those bytes verbatim.
    trusted_raw: Option<String>,
}

/// One repository that yum, dnf or zypper is told to fetch packages from.
#[derive(Serialize, Default)]
struct YumRow {
    /// osquery: Name for people; null where none is stated.
    name: Option<String>,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Address, or several; `***` stands for a user and password; null where none is stated.
    baseurl: Option<String>,
    /// Derived: Base64 of the exact bytes behind `baseurl`; null where `baseurl` is those bytes verbatim.
    baseurl_raw: Option<String>,
    /// osquery: Address of a list of mirrors; `***` stands for a user and password; null where none is
    /// stated.
    mirrorlist: Option<String>,
    /// Derived: Base64 of the exact bytes behind `mirrorlist`; null where `mirrorlist` is those bytes
    /// verbatim.
    mirrorlist_raw: Option<String>,
    /// osquery: Whether it is used, as written; null where nothing is said, which means yes.
    enabled: Option<String>,
    /// Derived: Base64 of the exact bytes behind `enabled`; null where `enabled` is those bytes verbatim.
    enabled_raw: Option<String>,
    /// osquery: Whether packages must be signed, as written; null where nothing is said.
    gpgcheck: Option<String>,
    /// Derived: Base64 of the exact bytes behind `gpgcheck`; null where `gpgcheck` is those bytes verbatim.
    gpgcheck_raw: Option<String>,
    /// osquery: Address of the keys; `***` stands for a user and password; null where none is stated.
    gpgkey: Option<String>,
    /// Derived: Base64 of the exact bytes behind `gpgkey`; null where `gpgkey` is those bytes verbatim.
    gpgkey_raw: Option<String>,
    /// Derived: Identifier of the repository, the name of its section.
    id: String,
    /// Derived: Base64 of the exact bytes behind `id`; null where `id` is those bytes verbatim.
    id_raw: Option<String>,
    /// Derived: Address of a metalink; `***` stands for a user and password; null where none is stated.
    metalink: Option<String>,
    /// Derived: Base64 of the exact bytes behind `metalink`; null where `metalink` is those bytes verbatim.
    metalink_raw: Option<String>,
    /// Derived: Whether the server must prove itself, as written; null where nothing is said.
    sslverify: Option<String>,
    /// Derived: Base64 of the exact bytes behind `sslverify`; null where `sslverify` is those bytes
    /// verbatim.
    sslverify_raw: Option<String>,
    /// Derived: File that names it.
    source: String,
    /// Derived: Base64 of the exact bytes behind `source`; null where `source` is those bytes verbatim.
    source_raw: Option<String>,
}

/// A source as either form of file gives it.
#[derive(Default)]
struct Source<'a> {
    types: Vec<&'a [u8]>,
    addresses: Vec<&'a [u8]>,
    suites: Vec<&'a [u8]>,
    components: Vec<&'a [u8]>,
    architectures: Option<Vec<u8>>,
    signed_by: Option<&'a [u8]>,
    trusted: Option<&'a [u8]>,
    enabled: bool,
}

fn capture_apt(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut paths = vec![b"/etc/apt/sources.list".to_vec()];
    let folder = files.names(capture, b"/etc/apt/sources.list.d");
    paths.extend(folder.iter().map(|name| [b"/etc/apt/sources.list.d/", &name[..]].concat()));
    for path in paths.iter().filter(|path| path.ends_with(b".list") || path.ends_with(b".sources")) {
        let Some(content) = files.text(capture, path, FILE_CAP) else { continue };
        if path.ends_with(b".list") {
            for source in lines(&content).filter_map(parse_line) {
                write_apt(capture, &mut files, path, &source)?;
            }
        } else {
            let mut paragraphs = Paragraphs::of(&content[..]);
            while let Some(fields) = paragraphs.next_paragraph()? {
                write_apt(capture, &mut files, path, &parse_paragraph(&fields))?;
            }
        }
    }
    Ok(())
}

/// `deb [option=value ...] address suite component ...`, sources.list(5).
fn parse_line(line: &[u8]) -> Option<Source<'_>> {
    let line = line.split(|byte| *byte == b'#').next()?.trim_ascii();
    let kind = fields(line).next().filter(|kind| matches!(*kind, b"deb" | b"deb-src"))?;
    let rest = line.get(kind.len()..)?.trim_ascii_start();
    let (options, rest) = match rest.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']')?;
            (rest.get(..end)?, rest.get(end + 1..)?)
        }
        None => (&b""[..], rest),
    };
    let option = |name: &[u8]| fields(options).find_map(|option| option.strip_prefix(name));
    let mut words = fields(rest);
    Some(Source {
        types: vec![kind],
        addresses: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        architectures: option(b"arch=")
            .map(|list| list.iter().map(|byte| if *byte == b',' { b' ' } else { *byte }).collect()),
        signed_by: option(b"signed-by="),
        trusted: option(b"trusted="),
        enabled: true,
    })
}

fn parse_paragraph(paragraph: &Paragraph) -> Source<'_> {
    let words = |name: &str| fields(paragraph.get(name).unwrap_or_default()).collect::<Vec<_>>();
    Source {
        types: words("Types"),
        addresses: words("URIs"),
        suites: words("Suites"),
        components: words("Components"),
        architectures: paragraph.get("Architectures").map(|_| words("Architectures").join(&b' ')),
        signed_by: paragraph.get("Signed-By"),
        trusted: paragraph.get("Trusted"),
        enabled: !matches!(
            paragraph.get("Enabled"),
            Some(b"no" | b"false" | b"off" | b"0" | b"without" | b"disable")
        ),
    }
}

fn write_apt(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    path: &[u8],
    source: &Source<'_>,
) -> io::Result<()> {
    let rows = source.addresses.len().saturating_mul(source.suites.len()).saturating_mul(source.types.len());
    if rows > ROWS_CAP {
        let reason = format!("an entry that stands for {rows} sources, left out");
        capture.gap(text(path).0, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        return Ok(());
    }
    for address in &source.addresses {
        for suite in &source.suites {
            let index = index(capture, files, address, suite);
            let stated = |name: &str| index.as_ref().and_then(|index| index.get(name));
            for kind in &source.types {
                let mut row = AptRow { enabled: source.enabled, ..AptRow::default() };
                let shown = without_password(address);
                let scheme = shown.windows(3).position(|part| part == b"://").map_or(0, |at| at + 3);
                let place = shown.get(scheme..).unwrap_or_default();
                let place = place.strip_suffix(b"/").unwrap_or(place);
                (row.name, row.name_raw) = text(&[place, b" ", suite].concat());
                (row.source, row.source_raw) = text(path);
                (row.base_uri, row.base_uri_raw) = text(&shown);
                (row.release, row.release_raw) = text(suite);
                (row.version, row.version_raw) = optional(stated("Version"));
                (row.maintainer, row.maintainer_raw) = optional(stated("Origin"));
                (row.components, row.components_raw) = text(&source.components.join(&b' '));
                (row.architectures, row.architectures_raw) = optional(source.architectures.as_deref());
                (row.r#type, row.type_raw) = text(kind);
                (row.signed_by, row.signed_by_raw) = optional(source.signed_by);
                (row.trusted, row.trusted_raw) = optional(source.trusted);
                capture.row(&row)?;
            }
        }
    }
    Ok(())
}

/// The index that apt last fetched from there, as far as it describes itself.
fn index(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    address: &[u8],
    suite: &[u8],
) -> Option<Paragraph> {
    let shown = without_password(address);
    let scheme = shown.windows(3).position(|part| part == b"://").map_or(0, |at| at + 3);
    let place = shown.get(scheme..)?.strip_suffix(b"/").unwrap_or(shown.get(scheme..)?);
    let name: Vec<u8> = [place, b"/dists/", suite].concat();
    let name: Vec<u8> = name.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect();
    for kind in [&b"_InRelease"[..], b"_Release"] {
        let path = [b"/var/lib/apt/lists/", &name[..], kind].concat();
        let opened = files.open(&path);
        let Some(open) = noted(capture, &path, opened) else { continue };
        let mut paragraphs = Paragraphs::of(open.file);
        // The armour of a signed index is a paragraph of its own.
        for _ in 0..3 {
            match paragraphs.next_paragraph() {
                Ok(Some(found)) if found.get("Suite").or(found.get("Codename")).is_some() => {
                    return Some(found);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(reason) => {
                    capture.gap(text(&path).0, &reason);
                    break;
                }
            }
        }
        if let Some(reason) = paragraphs.left_out() {
            capture.gap(text(&path).0, &reason);
        }
    }
    None
}

/// One address or several, parted by commas or white space: what stands before an `@` in the place behind a `://` is `***`.
fn without_password(addresses: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(addresses.len());
    let mut rest = addresses;
    while let Some(at) = rest.windows(3).position(|part| part == b"://") {
        let (before, behind) = rest.split_at(at + 3);
        let ends = |byte: &u8| *byte == b'/' || byte.is_ascii_whitespace() || *byte == b'\x0b';
        let host_end = behind.iter().position(ends).unwrap_or(behind.len());
        let password = behind.get(..host_end).and_then(|host| host.iter().rposition(|byte| *byte == b'@'));
        shown.extend(before);
        if let Some(end) = password {
            shown.extend(b"***");
            rest = behind.get(end..).unwrap_or_default();
        } else {
            rest = behind;
        }
    }
    shown.extend(rest);
    shown
}

fn capture_yum(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let mut paths = vec![b"/etc/yum.conf".to_vec(), b"/etc/dnf/dnf.conf".to_vec()];
    for folder in ["/etc/yum.repos.d", "/etc/zypp/repos.d"] {
        let found = files.names(capture, folder.as_bytes());
        let repositories = found.iter().filter(|name| name.ends_with(b".repo"));
        paths.extend(repositories.map(|name| [folder.as_bytes(), b"/", name].concat()));
    }
    for path in paths {
        let Some(content) = files.text(capture, &path, FILE_CAP) else { continue };
        for section in sections(&content) {
            // `main` holds the settings of the program itself.
            if section.id != b"main" {
                capture.row(&yum_row(&section, &path))?;
            }
        }
    }
    Ok(())
}

/// A section of a file of settings: `[id]` and lines of `name=value`, which lines that begin with a space continue.
struct Section<'a> {
    id: &'a [u8],
    settings: Vec<(&'a [u8], Vec<u8>)>,
}

fn sections(content: &[u8]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in lines(content) {
        let trimmed = line.trim_ascii();
        if let Some(id) = trimmed.strip_prefix(b"[").and_then(|line| line.strip_suffix(b"]")) {
            sections.push(Section { id, settings: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            let equals = line.iter().position(|byte| *byte == b'=');
            match (line, equals, section.settings.last_mut()) {
                ([b'#' | b';', ..], _, _) => {}
                ([b' ' | b'\t', ..], _, Some((_, value))) => value.extend([b" ", trimmed].concat()),
                (_, Some(equals), _) => {
                    let (name, value) = line.split_at(equals);
                    let value = value.get(1..).unwrap_or_default().trim_ascii();
                    section.settings.push((name.trim_ascii(), value.to_vec()));
                }
                _ => {}
            }
        }
    }
    sections
}

fn yum_row(section: &Section<'_>, path: &[u8]) -> YumRow {
    let setting = |name: &[u8]| {
        section.settings.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| value.clone())
    };
    let addresses = |name: &[u8]| setting(name).map(|value| without_password(&value));
    let mut row = YumRow::default();
    (row.name, row.name_raw) = optional(setting(b"name").as_deref());
    (row.baseurl, row.baseurl_raw) = optional(addresses(b"baseurl").as_deref());
    (row.mirrorlist, row.mirrorlist_raw) = optional(addresses(b"mirrorlist").as_deref());
    (row.enabled, row.enabled_raw) = optional(setting(b"enabled").as_deref());
    (row.gpgcheck, row.gpgcheck_raw) = optional(setting(b"gpgcheck").as_deref());
    (row.gpgkey, row.gpgkey_raw) = optional(addresses(b"gpgkey").as_deref());
    (row.id, row.id_raw) = text(section.id);
    (row.metalink, row.metalink_raw) = optional(addresses(b"metalink").as_deref());
    (row.sslverify, row.sslverify_raw) = optional(setting(b"sslverify").as_deref());
    (row.source, row.source_raw) = text(path);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_gives_options_address_suite_and_components() {
        let found = parse_line(
            b"deb [arch=amd64,i386 signed-by=/k trusted=yes] http://example.gov/d stable main more # x",
        )
        .unwrap();
        assert_eq!((found.addresses[0], found.suites[0]), (&b"http://example.gov/d"[..], &b"stable"[..]));
        assert_eq!((found.signed_by, found.trusted), (Some(&b"/k"[..]), Some(&b"yes"[..])));
        assert_eq!((found.architectures.as_deref(), found.components.len()), (Some(&b"amd64 i386"[..]), 2));
        for garbage in [&b""[..], b"# deb x y", b"deb", b"deb [x", b"deb x", b"rpm x y z", b"\xff"] {
            assert!(parse_line(garbage).is_none());
        }
    }

    #[test]
    fn passwords_in_addresses_are_not_shown() {
        assert_eq!(without_password(b"https://me:secret@example.gov/a@b"), b"https://***@example.gov/a@b");
        assert_eq!(without_password(b"https://example.gov/a@b"), b"https://example.gov/a@b");
        assert_eq!(without_password(b"a@b"), b"a@b");
        assert_eq!(
            without_password(b"http://a/,http://u:p@b/\thttp://u:p@c/ http://u,v:p@d"),
            b"http://a/,http://***@b/\thttp://***@c/ http://***@d"
        );
    }

    #[test]
    fn sections_hold_settings_over_several_lines_and_garbage_is_none() {
        let found = sections(b"lost=1\n[a]\nbaseurl = https://u:p@example.gov\n  https://example.gov/2\n#x=1\nnonsense\nenabled=0\nenabled=1\n[b\n\xff");
        assert_eq!(found.len(), 1);
        let row = yum_row(&found[0], b"/f");
        assert_eq!(row.baseurl.as_deref(), Some("https://***@example.gov https://example.gov/2"));
        assert_eq!((row.id.as_str(), row.enabled.as_deref()), ("a", Some("1")));
    }
}
