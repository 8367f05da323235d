//! Owns the table of login sessions; refuses to ask any login service.

use std::io;

use serde::Serialize;

use super::process_folders::{has_ended, keep_small};
use super::text::{number, optional, text};
use super::utmp::{Login, logins};
use crate::source::kernel_dir;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "logged_in_users",
    about: "Login sessions, and the other records of the login accounting file.",
    sources: &["/run/utmp", "/run/systemd/sessions/*"],
    group: Group::Sessions,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_sessions,
};

/// One record of the login accounting file, or one session of systemd-logind.
#[derive(Serialize)]
struct SessionRow {
    /// osquery: Kind of record: empty, boot_time, new_time, old_time, init, login, user, dead, runlevel,
    /// accounting, unknown; for a logind session its class.
    r#type: String,
    /// osquery: User name.
    user: String,
    /// Derived: Base64 of the exact bytes behind `user`; null where `user` is those bytes verbatim.
    user_raw: Option<String>,
    /// osquery: Terminal, without `/dev/`; empty where there is none.
    tty: String,
    /// Derived: Base64 of the exact bytes behind `tty`; null where `tty` is those bytes verbatim.
    tty_raw: Option<String>,
    /// osquery: Remote host as the login program wrote it; empty where there is none.
    host: String,
    /// Derived: Base64 of the exact bytes behind `host`; null where `host` is those bytes verbatim.
    host_raw: Option<String>,
    /// osquery: When the entry was made, Unix seconds by the host's clock.
    time: Option<i64>,
    /// osquery: Process that made the entry, or the session's leader.
    pid: Option<i64>,
    /// Derived: Fraction of `time`, in microseconds.
    microseconds: Option<i64>,
    /// Derived: Remote IP address as the login program wrote it; null where it is zero.
    address: Option<String>,
    /// Derived: utmp session number, or the logind session's identifier.
    session: Option<String>,
    /// Derived: utmp `ut_id`, the inittab identifier; empty for logind sessions.
    terminal_id: String,
    /// Derived: Base64 of the exact bytes behind `terminal_id`; null where `terminal_id` is those bytes
    /// verbatim.
    terminal_id_raw: Option<String>,
    /// Derived: User id of a logind session; utmp has none.
    uid: Option<u32>,
    /// Derived: State of a logind session (active, online, closing); utmp has none.
    state: Option<String>,
    /// Derived: Base64 of the exact bytes behind `state`; null where `state` is those bytes verbatim.
    state_raw: Option<String>,
    /// Derived: Service that opened a logind session, such as `sshd`; utmp has none.
    service: Option<String>,
    /// Derived: Base64 of the exact bytes behind `service`; null where `service` is those bytes verbatim.
    service_raw: Option<String>,
    /// Derived: systemd scope unit of a logind session; utmp has none.
    scope: Option<String>,
    /// Derived: Base64 of the exact bytes behind `scope`; null where `scope` is those bytes verbatim.
    scope_raw: Option<String>,
    /// Derived: File the row was read from.
    source: String,
}

const UTMP: &str = "/run/utmp";
const SESSIONS: &str = "/run/systemd/sessions";

/// Sessions of systemd-logind that are read.
const SESSIONS_CAP: usize = 10_000;

/// Captures the table: the login accounting file, then the sessions of systemd-logind.
pub(super) fn capture_sessions(capture: &mut TableCapture<'_>) -> io::Result<()> {
    if let Some(file) = keep_small(capture, UTMP) {
        let (records, left) = logins(&file);
        for login in records {
            capture.row(&login_row(&login))?;
        }
        if left > 0 {
            let reason =
                io::Error::new(io::ErrorKind::UnexpectedEof, format!("{left} bytes are no whole record"));
            capture.gap(UTMP, &reason);
        }
    }
    capture_logind(capture)
}

fn capture_logind(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let names = match kernel_dir(SESSIONS) {
        Ok(names) => names,
        Err(reason) if has_ended(&reason) => return Ok(()),
        Err(reason) => {
            capture.gap(SESSIONS, &reason);
            return Ok(());
        }
    };
    for (count, name) in names.enumerate() {
        let name = name?;
        if count >= SESSIONS_CAP {
            capture
                .gap(SESSIONS, &io::Error::new(io::ErrorKind::QuotaExceeded, "more sessions than are read"));
            break;
        }
        // `<id>.ref` beside a session is the pipe that keeps it alive; its file has only letters and digits.
        let Some(id) = std::str::from_utf8(&name).ok().filter(|id| !id.contains('.')) else { continue };
        let path = format!("{SESSIONS}/{id}");
        if let Some(file) = keep_small(capture, &path) {
            capture.row(&logind_row(&file, id, path))?;
        }
    }
    Ok(())
}

fn login_row(login: &Login<'_>) -> SessionRow {
    let (user, user_raw) = text(login.user);
    let (tty, tty_raw) = text(login.line);
    let (host, host_raw) = text(login.host);
    let (terminal_id, terminal_id_raw) = text(login.id);
    SessionRow {
        r#type: login.kind.to_owned(),
        user,
        user_raw,
        tty,
        tty_raw,
        host,
        host_raw,
        time: Some(login.seconds),
        pid: Some(i64::from(login.pid)),
        microseconds: Some(login.microseconds),
        address: login.address.map(|address| address.to_string()),
        session: Some(login.session.to_string()),
        terminal_id,
        terminal_id_raw,
        uid: None,
        state: None,
        state_raw: None,
        service: None,
        service_raw: None,
        scope: None,
        scope_raw: None,
        source: UTMP.to_owned(),
    }
}

/// A session file of systemd-logind holds one `NAME=value` a line.
fn logind_row(file: &[u8], id: &str, source: String) -> SessionRow {
    let value = |name: &str| {
        file.split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let (user, user_raw) = text(value("USER").unwrap_or_default());
    let (tty, tty_raw) = text(value("TTY").unwrap_or_default());
    let (host, host_raw) = text(value("REMOTE_HOST").unwrap_or_default());
    let (state, state_raw) = optional(value("STATE"));
    let (service, service_raw) = optional(value("SERVICE"));
    let (scope, scope_raw) = optional(value("SCOPE"));
    let began: Option<i64> = value("REALTIME").and_then(number);
    SessionRow {
        r#type: text(value("CLASS").unwrap_or(b"unknown")).0,
        user,
        user_raw,
        tty,
        tty_raw,
        host,
        host_raw,
        time: began.map(|began| began.div_euclid(1_000_000)),
        pid: value("LEADER").and_then(number),
        microseconds: began.map(|began| began.rem_euclid(1_000_000)),
        address: None,
        session: Some(id.to_owned()),
        terminal_id: String::new(),
        terminal_id_raw: None,
        uid: value("UID").and_then(number),
        state,
        state_raw,
        service,
        service_raw,
        scope,
        scope_raw,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logind_session_is_read_by_names() {
        let file = b"# private\nUID=1000\nUSER=alice\nSTATE=active\nTTY=pts/0\nREMOTE_HOST=192.0.2.9\nSERVICE=sshd\nLEADER=77\nCLASS=user\nREALTIME=1700000000123456\n";
        let row = logind_row(file, "4", "/run/systemd/sessions/4".to_owned());
        assert_eq!((row.user.as_str(), row.uid, row.pid), ("alice", Some(1000), Some(77)));
        assert_eq!((row.time, row.microseconds), (Some(1_700_000_000), Some(123_456)));
        assert_eq!((row.host.as_str(), row.state.as_deref()), ("192.0.2.9", Some("active")));
    }

    #[test]
    fn garbage_session_file_gives_a_row_of_nulls() {
        for garbage in [&b""[..], b"=\n=\n", b"UID=\nREALTIME=-9223372036854775808\n", b"\xff\0USER\nUSER"] {
            assert_eq!(logind_row(garbage, "x", String::new()).uid, None);
        }
    }
}
