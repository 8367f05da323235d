//! Owns the tables of systemd's units and timers as the files tell of them; refuses to say of a state what only the
//! running systemd knows.

use std::io;

use super::files::{Files, is_absent};
use super::row::row;
use super::text::{Twin, text};
use super::unit_files::{Scope, Unit, each_unit};
use crate::source::kernel_prefix;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const UNITS: Table = Table {
    name: "systemd_units",
    about: "systemd's unit files of the system and of users, with what they start and what enables them.",
    sources: &[
        "/etc/systemd/{system,user}/*",
        "/run/systemd/{system,user,transient,generator*}/*",
        "/usr/{,local/}lib/systemd/{system,user}/*",
        "~/.config/systemd/user/*",
        "~/.local/share/systemd/user/*",
        "/run/user/*/systemd/*",
        "/sys/fs/cgroup/system.slice/*",
    ],
    group: Group::Services,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_units,
};

/// The table.
pub(super) const TIMERS: Table = Table {
    name: "systemd_timers",
    about: "systemd's timers, what they start and when they last did.",
    sources: &["*.timer in the paths of systemd_units", "/var/lib/systemd/timers/stamp-*"],
    group: Group::Services,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_timers,
};

row! {
    /// One unit file, or the drop-ins and enabling links of a unit that has no file of its own.
    struct UnitRow {
        /// osquery: Name of the unit.
        id: Twin,
        /// osquery: Description; null where there is none.
        description: Option<Twin>,
        /// osquery: loaded, masked, error (the file could not be read) or not-found (no file of its own), by the files.
        load_state: &'static str,
        /// osquery: active where its control group has processes; null where only the running systemd knows.
        active_state: Option<&'static str>,
        /// osquery: running where its control group has processes; null where only the running systemd knows.
        sub_state: Option<&'static str>,
        /// osquery: Always null: only the running systemd knows.
        following: Option<&'static str>,
        /// osquery: Path of the unit's object on the message bus.
        object_path: String,
        /// osquery: Always null: only the running systemd knows.
        job_id: Option<i64>,
        /// osquery: Always null: only the running systemd knows.
        job_type: Option<&'static str>,
        /// osquery: Always null: only the running systemd knows.
        job_path: Option<&'static str>,
        /// osquery: The unit file; empty where it has none of its own.
        fragment_path: Twin,
        /// osquery: `User=` of the unit; null where not said.
        user: Option<Twin>,
        /// osquery: File that the unit file was generated from; null where not said.
        source_path: Option<Twin>,
        /// osquery: enabled, enabled-runtime, disabled, static, masked, linked, alias, generated, transient, or drop-in where it has no
        /// file of its own and nothing of the host enables it; by the files.
        unit_file_state: &'static str,
        /// Derived: system or user.
        scope: &'static str,
        /// Derived: User whose unit it is; null for units of the system and of every user.
        uid: Option<u32>,
        /// Derived: Whether a file of the same name in an earlier search path wins.
        overridden: bool,
        /// Derived: Where the unit file points, if it is a link.
        link_target: Option<Twin>,
        /// Derived: Drop-ins that change it, one a line.
        drop_ins: Option<Twin>,
        /// Derived: Links that pull it in, one a line.
        enabled_by: Option<Twin>,
        /// Derived: `ExecStart=` of the file and its drop-ins, one a line; an empty line takes back those before it.
        exec_start: Option<Twin>,
        /// Derived: Other `Exec...=`, one `name=value` a line.
        exec_other: Option<Twin>,
        /// Derived: `Environment=`, one a line.
        environment: Option<Twin>,
        /// Derived: `EnvironmentFile=`, one a line.
        environment_files: Option<Twin>,
        /// Derived: `Listen...=` of a socket, `Path...=` of a path, `What=` of a mount: one `name=value` a line.
        triggers: Option<Twin>,
        /// Derived: Modification time of the unit file, Unix seconds; null where it has no file of its own.
        modified: Option<i64>,
    }
}

row! {
    /// One timer.
    struct TimerRow {
        /// Derived: Name of the timer.
        id: Twin,
        /// Derived: What it starts.
        unit: Twin,
        /// Derived: `OnCalendar=`, one a line; null where there is none.
        on_calendar: Option<Twin>,
        /// Derived: Other `On...=`, one `name=value` a line; null where there is none.
        on_other: Option<Twin>,
        /// Derived: `Persistent=`; null where not said.
        persistent: Option<Twin>,
        /// Derived: When it last started its unit, Unix seconds, by the stamp of a persistent timer; null without one.
        last_trigger: Option<i64>,
        /// Derived: As in `systemd_units`.
        unit_file_state: &'static str,
        /// Derived: system or user.
        scope: &'static str,
        /// Derived: User whose timer it is; null for timers of the system and of every user.
        uid: Option<u32>,
        /// Derived: Whether a file of the same name in an earlier search path wins.
        overridden: bool,
        /// Derived: The unit file; empty where it has none of its own.
        fragment_path: Twin,
    }
}

fn capture_units(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    each_unit(capture, &mut files, |_| true, &mut |capture, _, scope, unit| {
        let running = scope == Scope::System && has_processes(capture, &unit.id);
        capture.row(&unit_row(&unit, scope, running))
    })
}

fn capture_timers(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    let is_timer: fn(&[u8]) -> bool = |id| id.ends_with(b".timer");
    each_unit(capture, &mut files, is_timer, &mut |capture, files, scope, unit| {
        let stamp = [b"/var/lib/systemd/timers/stamp-", unit.id.as_slice()].concat();
        let stamp = if scope == Scope::System { files.entry(capture, &stamp) } else { None };
        capture.row(&timer_row(&unit, scope, stamp.map(|stamp| stamp.modified)))
    })
}

/// Whether the unit's control group has processes.
fn has_processes(capture: &mut TableCapture<'_>, id: &[u8]) -> bool {
    // systemd runs no unit whose name is no text.
    let Some(id) = std::str::from_utf8(id).ok().filter(|_| capture.root().is_live()) else { return false };
    let mut read = |path: String| match kernel_prefix(&path, 64 << 10) {
        Ok(prefix) => prefix.bytes,
        Err(reason) => {
            if !is_absent(&reason) {
                capture.gap(path, &reason);
            }
            Vec::new()
        }
    };
    // The second version counts the groups below too.
    read(format!("/sys/fs/cgroup/system.slice/{id}/cgroup.events"))
        .windows(11)
        .any(|window| window == b"populated 1")
        || !read(format!("/sys/fs/cgroup/systemd/system.slice/{id}/cgroup.procs")).is_empty()
}

fn unit_row(unit: &Unit, scope: Scope, running: bool) -> UnitRow {
    let values = |wanted: &dyn Fn(&[u8]) -> bool| unit.values(wanted).map(|values| text(&values));
    let joined = |paths: &[Vec<u8>]| (!paths.is_empty()).then(|| text(&paths.join(&b'\n')));
    let load_state = match unit {
        Unit { masked: true, .. } => "masked",
        Unit { fragment_path, .. } if fragment_path.is_empty() => "not-found",
        Unit { unreadable: true, .. } => "error",
        _ => "loaded",
    };
    let (scope, uid) = scope_of(scope);
    UnitRow {
        id: text(&unit.id),
        description: unit.value(b"Description").map(text),
        load_state,
        active_state: running.then_some("active"),
        sub_state: running.then_some("running"),
        following: None,
        object_path: object_path(&unit.id),
        job_id: None,
        job_type: None,
        job_path: None,
        fragment_path: text(&unit.fragment_path),
        user: unit.value(b"User").map(text),
        source_path: unit.value(b"SourcePath").map(text),
        unit_file_state: unit.file_state(),
        scope,
        uid,
        overridden: unit.overridden,
        link_target: unit.link.as_deref().map(text),
        drop_ins: joined(&unit.drop_ins),
        enabled_by: joined(&unit.enabled_by),
        exec_start: values(&|name| name == b"ExecStart"),
        exec_other: named(unit, &|name| name.starts_with(b"Exec") && name != b"ExecStart"),
        environment: values(&|name| name == b"Environment"),
        environment_files: values(&|name| name == b"EnvironmentFile"),
        triggers: named(unit, &|name| {
            name.starts_with(b"Listen")
                || name.starts_with(b"Path")
                || name == b"What"
                || name == b"DirectoryNotEmpty"
        }),
        modified: unit.modified,
    }
}

fn timer_row(unit: &Unit, scope: Scope, last_trigger: Option<i64>) -> TimerRow {
    let own = [unit.id.strip_suffix(b".timer").unwrap_or(&unit.id), b".service"].concat();
    let (scope, uid) = scope_of(scope);
    TimerRow {
        id: text(&unit.id),
        unit: text(unit.value(b"Unit").unwrap_or(&own)),
        on_calendar: unit.values(|name| name == b"OnCalendar").map(|values| text(&values)),
        on_other: named(unit, &|name| name.starts_with(b"On") && name.ends_with(b"Sec")),
        persistent: unit.value(b"Persistent").map(text),
        last_trigger,
        unit_file_state: unit.file_state(),
        scope,
        uid,
        overridden: unit.overridden,
        fragment_path: text(&unit.fragment_path),
    }
}

fn scope_of(scope: Scope) -> (&'static str, Option<u32>) {
    match scope {
        Scope::System => ("system", None),
        Scope::User(uid) => ("user", uid),
    }
}

/// Settings as `name=value`, one a line.
fn named(unit: &Unit, wanted: &dyn Fn(&[u8]) -> bool) -> Option<Twin> {
    let settings = unit.settings.iter().filter(|(name, _)| wanted(name));
    let settings: Vec<Vec<u8>> = settings.map(|(name, value)| [name, &b"="[..], value].concat()).collect();
    (!settings.is_empty()).then(|| text(&settings.join(&b'\n')))
}

/// The path on the bus: every byte that is no letter, and a digit at the start, is `_` and its hexadecimal.
fn object_path(id: &[u8]) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (at, byte) in id.iter().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(*byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_path_escapes_as_systemd_does() {
        assert_eq!(object_path(b"9-a.service"), "/org/freedesktop/systemd1/unit/_39_2da_2eservice");
    }
}
