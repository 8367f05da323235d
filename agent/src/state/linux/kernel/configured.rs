//! Owns what the configuration says that kernel settings should be; refuses patterns, which name no one setting.

use std::collections::BTreeMap;
use std::io;

use crate::source::Root;
use crate::state::TableCapture;

/// Folders of configuration; a file hides those of its name in later ones (sysctl.d(5)).
const FOLDERS: &[&str] =
    &["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// The file that sysctl(8) reads last.
const LAST: &str = "/etc/sysctl.conf";

/// Files that are read at most, and the longest one.
const FILES: usize = 1_000;
const LENGTH: usize = 1 << 20;

/// Settings that are remembered at most.
const SETTINGS: usize = 20_000;

/// The value configured for each setting: the last one that is read wins.
pub(super) fn configured(capture: &mut TableCapture<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let root = capture.root();
    let mut settings = BTreeMap::new();
    let mut files = files(capture, root);
    files.push(LAST.as_bytes().to_vec());
    for path in files {
        match root.text(&path, LENGTH) {
            Ok(text) => {
                if add_settings(&mut settings, &text) > 0 {
                    let reason = format!("more than {SETTINGS} settings, the others are not remembered");
                    let reason = io::Error::new(io::ErrorKind::QuotaExceeded, reason);
                    capture.gap(String::from_utf8_lossy(&path), &reason);
                }
            }
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => {}
            // A link to /dev/null is how a file of the vendor is switched off.
            Err(reason) if reason.kind() == io::ErrorKind::InvalidInput => {}
            Err(reason) => capture.gap(String::from_utf8_lossy(&path), &reason),
        }
    }
    settings
}

/// The files to read, sorted by their names.
fn files(capture: &mut TableCapture<'_>, root: &Root) -> Vec<Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        match root.names(folder) {
            Ok(names) => {
                for name in names.into_iter().filter(|name| name.ends_with(b".conf")) {
                    if files.len() == FILES && !files.contains_key(&name) {
                        let reason = format!("more than {FILES} files, the others are not read");
                        capture.gap(*folder, &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
                        break;
                    }
                    let path = [folder.as_bytes(), b"/", &name].concat();
                    files.entry(name).or_insert(path);
                }
            }
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => {}
            Err(reason) => capture.gap(*folder, &reason),
        }
    }
    files.into_values().collect()
}

/// Lines of `name = value`; a minus before the name says that failure is no matter. Tells how many were too many.
fn add_settings(settings: &mut BTreeMap<Vec<u8>, Vec<u8>>, text: &[u8]) -> u64 {
    let mut left_out = 0;
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if matches!(line.first(), None | Some(b'#' | b';')) {
            continue;
        }
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = line.split_at(equals);
        let name = name.strip_prefix(b"-").unwrap_or(name).trim_ascii();
        if name.is_empty() || name.iter().any(|byte| b"*?[".contains(byte)) {
            continue;
        }
        let (name, value) = (with_dots(name), value.get(1..).unwrap_or_default().trim_ascii().to_vec());
        // One that is known is overridden even where no further one is remembered.
        if settings.len() < SETTINGS || settings.contains_key(&name) {
            settings.insert(name, value);
        } else {
            left_out += 1;
        }
    }
    left_out
}

/// The name with dots between its parts, whichever sign parts them here.
fn with_dots(name: &[u8]) -> Vec<u8> {
    match name.iter().find(|byte| matches!(byte, b'.' | b'/')) {
        Some(b'/') => super::controls::dotted(name),
        _ => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_file_wins_and_one_in_etc_hides_that_of_the_vendor() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("usr/lib/sysctl.d/50-a.conf", "kernel.sysrq = 16\nvm.swappiness=1\n");
        write("etc/sysctl.d/50-a.conf", "# note\n-net/ipv4/conf/eth0.1/forwarding = 1\n");
        write("usr/lib/sysctl.d/60-b.conf", "; note\nkernel.core_pattern = |/bin/x a=b \nnet.*.x = 1\n");
        write("etc/sysctl.conf", "kernel.core_pattern=core");
        write("etc/sysctl.d/README", "kernel.sysrq = 0");
        let root = Root::mounted(folder.path()).unwrap();
        let mut out = Vec::new();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let found = configured(&mut capture);
        assert_eq!(capture.finish().gap_count, 0);
        let expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::from([
            (b"kernel.core_pattern".to_vec(), b"core".to_vec()),
            (b"net.ipv4.conf.eth0/1.forwarding".to_vec(), b"1".to_vec()),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn settings_past_the_bound_are_counted_and_known_ones_still_overridden() {
        let mut settings: BTreeMap<_, _> =
            (0..SETTINGS).map(|number| (format!("a{number}").into_bytes(), b"0".to_vec())).collect();
        assert_eq!(add_settings(&mut settings, b"b = 1\na7 = 1\n"), 1);
        assert_eq!((settings.len(), &settings[&b"a7"[..]][..]), (SETTINGS, &b"1"[..]));
    }

    #[test]
    fn garbage_lines_are_no_settings() {
        let mut settings = BTreeMap::new();
        add_settings(&mut settings, b"=\n-=\n\xff\n = 1\nx\n\0");
        assert!(settings.is_empty());
        add_settings(&mut settings, b"\xff=\xfe");
        assert_eq!(settings.len(), 1);
    }
}
