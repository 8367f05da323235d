//! Owns the table of everything else that starts by itself: scripts of init, shells and sessions, preloaded libraries,
//! PAM, udev, modules, hooks; refuses to judge any of it.

use std::io;

use holdfast_schemas::item::ItemKind;

use super::files::{Entry, Files, SMALL, join, lines};
use super::row::row;
use super::startup_places::{Form, HOME, HOST};
use super::text::{Twin, fields, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "startup_items",
    about: "What starts by itself besides units and cron: init scripts, profiles, autostart, preloads, PAM, udev, hooks.",
    sources: &[
        "/etc/init.d, /etc/rc*.d, /etc/rc.local, /etc/inittab, /etc/init, /etc/local.d, /etc/runlevels",
        "/etc/profile, /etc/profile.d, shell and session files of every home, /etc/update-motd.d",
        "/etc/ld.so.preload, /etc/ld.so.conf, /etc/environment, /etc/pam.d, /etc/polkit-1, D-Bus services",
        "udev rules, modules-load.d, modprobe.d, binfmt.d, systemd generators",
        "hooks of apt, dpkg, dnf, pacman, NetworkManager, ifupdown, dhclient, ppp, the kernel and initramfs",
    ],
    group: Group::Services,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_items,
};

row! {
    /// One file, or one line of a file, that makes something start.
    struct StartupItemRow {
        /// osquery: Name of the item: the file's, or the desktop entry's own.
        name: Twin,
        /// osquery: What is started, where it is plain to see: a program, a script, a library or a module; else empty.
        path: Twin,
        /// osquery: The line or the command, as written; empty for a script.
        args: Twin,
        /// osquery: program, sourced, line or entry.
        r#type: &'static str,
        /// osquery: File that says so.
        source: Twin,
        /// osquery: enabled or disabled: whether the file may be executed, the runlevel starts it, the entry is not hidden.
        status: &'static str,
        /// osquery: User who it starts for; null for the system.
        username: Option<Twin>,
        /// Derived: What starts it, such as pam, udev, profile or xdg_autostart.
        mechanism: &'static str,
        /// Derived: Line number in the file, from 1; null where the whole file is the item.
        line: Option<u64>,
        /// Derived: Modification time of the file, Unix seconds; of the link, where it is one.
        modified: i64,
    }
}

fn capture_items(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    // Where /lib is a link to /usr/lib, it has nothing of its own.
    let split_usr = files.entry(capture, b"/lib").is_some_and(|entry| entry.kind == ItemKind::Directory);
    for place in HOST {
        let asked = Asked { mechanism: place.mechanism, form: place.form, user: None };
        capture_place(capture, &mut files, place.path.as_bytes(), &asked)?;
        if let Some(older) =
            place.path.strip_prefix("/usr").filter(|path| split_usr && path.starts_with("/lib/"))
        {
            capture_place(capture, &mut files, older.as_bytes(), &asked)?;
        }
    }
    for home in files.homes(capture) {
        for place in HOME {
            let asked = Asked { mechanism: place.mechanism, form: place.form, user: Some(&home.user) };
            capture_place(capture, &mut files, &join(&home.path, place.path.as_bytes()), &asked)?;
        }
    }
    Ok(())
}

/// What is asked of a place.
struct Asked<'a> {
    mechanism: &'static str,
    form: Form,
    user: Option<&'a [u8]>,
}

fn capture_place(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    path: &[u8],
    asked: &Asked<'_>,
) -> io::Result<()> {
    capture.go_on()?;
    let Some(entry) = files.entry(capture, path) else { return Ok(()) };
    let is_folder = entry.kind == ItemKind::Directory
        || (entry.kind == ItemKind::Symlink && files.followed(capture, path) == Some(ItemKind::Directory));
    if !is_folder {
        return capture_file(capture, files, &entry, asked);
    }
    for entry in files.entries(capture, path) {
        if matches!(entry.kind, ItemKind::File | ItemKind::Symlink) {
            capture_file(capture, files, &entry, asked)?;
        }
    }
    Ok(())
}

fn capture_file(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    entry: &Entry,
    asked: &Asked<'_>,
) -> io::Result<()> {
    let status = |enabled| if enabled { "enabled" } else { "disabled" };
    let executable = entry.mode & 0o111 != 0;
    let words = match asked.form {
        Form::Program => return capture.row(&item(entry, asked, "program", status(executable))),
        Form::Sourced => return capture.row(&item(entry, asked, "sourced", "enabled")),
        Form::Runlevel => {
            let starts = executable && entry.name.starts_with(b"S");
            return capture.row(&item(entry, asked, "program", status(starts)));
        }
        Form::Entry => {
            let Some(file) = files.text(capture, &entry.path, SMALL) else { return Ok(()) };
            return entry_row(&file, entry, asked).map_or(Ok(()), |row| capture.row(&row));
        }
        Form::Lines => None,
        Form::LinesWith(words) => Some(words),
    };
    let Some(file) = files.text(capture, &entry.path, SMALL) else { return Ok(()) };
    for (number, line) in lines(&file) {
        let line = line.trim_ascii();
        let holds = |word: &&str| line.windows(word.len()).any(|window| window == word.as_bytes());
        let comment = line.is_empty()
            || [b"#", b";"].iter().any(|mark| line.starts_with(*mark))
            || line.starts_with(b"//");
        if !comment && words.is_none_or(|words| words.iter().any(holds)) {
            let row = item(entry, asked, "line", "enabled");
            capture.row(&StartupItemRow {
                path: text(target(line)),
                args: text(line),
                line: Some(number),
                ..row
            })?;
        }
    }
    Ok(())
}

/// The item that a whole file is.
fn item(entry: &Entry, asked: &Asked<'_>, kind: &'static str, status: &'static str) -> StartupItemRow {
    StartupItemRow {
        name: text(&entry.name),
        path: text(&entry.path),
        args: text(b""),
        r#type: kind,
        source: text(&entry.path),
        status,
        username: asked.user.map(text),
        mechanism: asked.mechanism,
        line: None,
        modified: entry.modified,
    }
}

/// The first word of a line that is a path or a library.
fn target(line: &[u8]) -> &[u8] {
    let mut words = line.split(|byte| byte.is_ascii_whitespace() || b"\"',;:=".contains(byte));
    words.find(|word| word.starts_with(b"/") || word.ends_with(b".so")).unwrap_or_default()
}

/// The item that a desktop entry, a bus service or a pacman hook is; nothing where it starts nothing.
fn entry_row(file: &[u8], entry: &Entry, asked: &Asked<'_>) -> Option<StartupItemRow> {
    let value = |wanted: &[u8]| {
        lines(file).find_map(|(_, line)| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            let (name, value) = line.split_at_checked(at)?;
            (name.trim_ascii() == wanted).then(|| value.get(1..).unwrap_or_default().trim_ascii())
        })
    };
    let command = value(b"Exec")?;
    let off = value(b"Hidden") == Some(b"true") || value(b"X-GNOME-Autostart-enabled") == Some(b"false");
    let row = item(entry, asked, "entry", if off { "disabled" } else { "enabled" });
    Some(StartupItemRow {
        name: text(value(b"Name").unwrap_or(&entry.name)),
        path: text(fields(command).next().unwrap_or_default()),
        args: text(command),
        username: value(b"User").or(asked.user).map(text),
        ..row
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_of_a_line_is_its_path_or_library() {
        for (line, expected) in [
            (&b"/tmp/evil.so"[..], &b"/tmp/evil.so"[..]),
            (b"auth sufficient pam_evil.so debug", b"pam_evil.so"),
            (b"RUN+=\"/bin/sh -c x\"", b"/bin/sh"),
            (b"loop", b""),
            (b"\xff\0", b""),
        ] {
            assert_eq!(target(line), expected);
        }
    }

    #[test]
    fn places_are_absolute_for_the_host_and_relative_for_homes() {
        assert!(HOST.iter().all(|place| place.path.starts_with("/etc/")
            || place.path.starts_with("/usr/")
            || place.path.starts_with("/run/")));
        assert!(HOME.iter().all(|place| place.path.starts_with('.')));
    }
}
