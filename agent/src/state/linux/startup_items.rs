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
        /// osquery: The line or the command, as written; of a line in a home that sets nothing only its length; empty for a script.
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

/// The longest name that is repeated with each command of an entry.
const NAME_CAP: usize = 1_024;

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
    let leads_to_a_folder = |capture: &mut _, files: &mut Files| {
        files.followed(capture, path).is_some_and(|(kind, _)| kind == ItemKind::Directory)
    };
    match entry.kind {
        ItemKind::Directory => {}
        ItemKind::Symlink if asked.user.is_none() && leads_to_a_folder(capture, files) => {}
        _ => return capture_file(capture, files, &entry, asked),
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
    let words = match asked.form {
        Form::Sourced => return capture.row(&item(entry, asked, "sourced", "enabled")),
        Form::Program | Form::Runlevel => {
            let starts = asked.form == Form::Program || entry.name.starts_with(b"S");
            let starts = starts && is_executable(capture, files, entry);
            return capture.row(&item(entry, asked, "program", status(starts)));
        }
        Form::Lines | Form::Entry => None,
        Form::LinesWith(words) => Some(words),
    };
    let read = if asked.user.is_some() {
        files.own_text(capture, &entry.path, SMALL)
    } else {
        files.text(capture, &entry.path, SMALL)
    };
    let Some(file) = read else { return Ok(()) };
    if asked.form == Form::Entry {
        return capture_entry(capture, &file, entry, asked);
    }
    for (number, line) in lines(&file) {
        let line = line.trim_ascii();
        let holds = |word: &&str| line.windows(word.len()).any(|window| window == word.as_bytes());
        let comment = line.is_empty()
            || [b"#", b";"].iter().any(|mark| line.starts_with(*mark))
            || line.starts_with(b"//");
        if !comment && words.is_none_or(|words| words.iter().any(holds)) {
            let row = item(entry, asked, "line", "enabled");
            let (path, args) = if asked.user.is_none() || is_setting(line) {
                (text(target(line)), text(line))
            } else {
                (text(b""), text(format!("(no setting, {} bytes)", line.len()).as_bytes()))
            };
            capture.row(&StartupItemRow { path, args, line: Some(number), ..row })?;
        }
    }
    Ok(())
}

/// Whether a file may be executed; of a link, what it leads to.
pub(super) fn is_executable(capture: &mut TableCapture<'_>, files: &mut Files, entry: &Entry) -> bool {
    let mode = match entry.kind {
        ItemKind::Symlink => files.followed(capture, &entry.path).map_or(0, |(_, mode)| mode),
        _ => entry.mode,
    };
    mode & 0o111 != 0
}

/// Whether a line of a home sets a variable, `NAME=value` or as pam_env.conf(5) has it: the file may be another one, with a
/// secret in it, that only stands where settings are looked for. The padding behind a line of base64 is no value.
fn is_setting(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"export ").unwrap_or(line).trim_ascii_start();
    let of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = line.iter().position(|byte| !of_a_name(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or_default();
    let value = [&b"DEFAULT="[..], b"OVERRIDE="]
        .iter()
        .find_map(|word| rest.trim_ascii_start().strip_prefix(*word))
        .or_else(|| rest.strip_prefix(b"="));
    name.first().is_some_and(|byte| !byte.is_ascii_digit())
        && value.is_some_and(|value| !matches!(value, b"" | b"="))
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

/// A row for each command of a desktop entry, a bus service or a pacman hook.
fn capture_entry(
    capture: &mut TableCapture<'_>,
    file: &[u8],
    entry: &Entry,
    asked: &Asked<'_>,
) -> io::Result<()> {
    let value = |wanted: &[u8]| lines(file).find_map(|(_, line)| value_of(line, wanted));
    let off = value(b"Hidden") == Some(b"true") || value(b"X-GNOME-Autostart-enabled") == Some(b"false");
    let status = if off { "disabled" } else { "enabled" };
    let (name, user) = (value(b"Name").unwrap_or(&entry.name), value(b"User").or(asked.user));
    for (number, line) in lines(file) {
        let Some(command) = value_of(line, b"Exec") else { continue };
        capture.row(&StartupItemRow {
            name: text(name.get(..name.len().min(NAME_CAP)).unwrap_or_default()),
            path: text(fields(command).next().unwrap_or_default()),
            args: text(command),
            username: user.map(|user| text(user.get(..user.len().min(NAME_CAP)).unwrap_or_default())),
            line: Some(number),
            ..item(entry, asked, "entry", status)
        })?;
    }
    Ok(())
}

/// The value of a line `wanted=value`.
fn value_of<'a>(line: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = line.split_at_checked(at)?;
    (name.trim_ascii() == wanted).then(|| value.get(1..).unwrap_or_default().trim_ascii())
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
    fn only_settings_are_shown_of_what_passes_for_an_environment() {
        for line in [&b"LD_PRELOAD=/tmp/x.so"[..], b"export A=b", b"PATH DEFAULT=/tmp", b"_a=\xff"] {
            assert!(is_setting(line));
        }
        for line in [
            &b"root:$6$salt$digest:19000:0:99999:7:::"[..],
            b"b3BlbnNzaC1rZXktdjEA==",
            b"b3BlbnNzaC1rZXktdjE=",
            b"-----BEGIN PRIVATE KEY-----",
            b"1a=b",
            b"a b=c",
            b"",
        ] {
            assert!(!is_setting(line));
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
