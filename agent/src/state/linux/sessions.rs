//! Owns the table of login sessions; refuses to ask any login service.

use std::io;

use super::process_folders::{has_ended, keep_small};
use super::row::row;
use super::text::{Twin, number, text};
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

row! {
    /// One record of the login accounting file, or one session of systemd-logind.
    struct SessionRow {
        /// osquery: Kind of record: empty, boot_time, new_time, old_time, init, login, user, dead, runlevel,
        /// accounting, unknown; for a logind session its class.
        r#type: Twin,
        /// osquery: User name.
        user: Twin,
        /// osquery: Terminal, without `/dev/`; empty where there is none.
        tty: Twin,
        /// osquery: Remote host as the login program wrote it; empty where there is none.
        host: Twin,
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
        terminal_id: Twin,
        /// Derived: User id of a logind session; utmp has none.
        uid: Option<u32>,
        /// Derived: State of a logind session (active, online, closing); utmp has none.
        state: Option<Twin>,
        /// Derived: Service that opened a logind session, such as `sshd`; utmp has none.
        service: Option<Twin>,
        /// Derived: systemd scope unit of a logind session; utmp has none.
        scope: Option<Twin>,
        /// Derived: File the row was read from.
        source: String,
    }
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
        if name.ends_with(b".ref") {
            continue;
        }
        let Some(id) = std::str::from_utf8(&name).ok().filter(|id| !id.contains('.')) else {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "not the name of a session, not read");
            capture.gap(format!("{SESSIONS}/{}", text(&name).0), &reason);
            continue;
        };
        let path = format!("{SESSIONS}/{id}");
        if let Some(file) = keep_small(capture, &path) {
            capture.row(&logind_row(&file, id, path))?;
        }
    }
    Ok(())
}

fn login_row(login: &Login<'_>) -> SessionRow {
    SessionRow {
        r#type: text(login.kind.as_bytes()),
        user: text(login.user),
        tty: text(login.line),
        host: text(login.host),
        time: Some(login.seconds),
        pid: Some(i64::from(login.pid)),
        microseconds: Some(login.microseconds),
        address: login.address.map(|address| address.to_string()),
        session: Some(login.session.to_string()),
        terminal_id: text(login.id),
        uid: None,
        state: None,
        service: None,
        scope: None,
        source: UTMP.to_owned(),
    }
}

/// A session file of systemd-logind holds one `NAME=value` a line.
fn logind_row(file: &[u8], id: &str, source: String) -> SessionRow {
    let value = |name: &str| {
        file.split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let began: Option<i64> = value("REALTIME").and_then(number);
    SessionRow {
        r#type: text(value("CLASS").unwrap_or(b"unknown")),
        user: text(value("USER").unwrap_or_default()),
        tty: text(value("TTY").unwrap_or_default()),
        host: text(value("REMOTE_HOST").unwrap_or_default()),
        time: began.map(|began| began.div_euclid(1_000_000)),
        pid: value("LEADER").and_then(number),
        microseconds: began.map(|began| began.rem_euclid(1_000_000)),
        address: None,
        session: Some(id.to_owned()),
        terminal_id: text(b""),
        uid: value("UID").and_then(number),
        state: value("STATE").map(text),
        service: value("SERVICE").map(text),
        scope: value("SCOPE").map(text),
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
        assert_eq!((row.user.0.as_str(), row.uid, row.pid), ("alice", Some(1000), Some(77)));
        assert_eq!((row.time, row.microseconds), (Some(1_700_000_000), Some(123_456)));
        assert_eq!((row.host.0.as_str(), row.state.unwrap().0.as_str()), ("192.0.2.9", "active"));
    }

    #[test]
    fn class_that_is_no_text_keeps_its_bytes() {
        assert_eq!(logind_row(b"CLASS=\xff\n", "4", String::new()).r#type.1.as_deref(), Some("/w=="));
    }

    #[test]
    fn garbage_session_file_gives_a_row_of_nulls() {
        for garbage in [&b""[..], b"=\n=\n", b"UID=\nREALTIME=-9223372036854775808\n", b"\xff\0USER\nUSER"] {
            assert_eq!(logind_row(garbage, "x", String::new()).uid, None);
        }
    }
}
