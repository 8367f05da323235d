//! Owns the tables of what cron, anacron and at start; refuses to run a job or to judge it.

use std::collections::HashSet;
use std::io;

use holdfast_schemas::item::ItemKind;

use super::files::{Entry, Files, SMALL, lines};
use super::row::row;
use super::startup_items::is_executable;
use super::text::{Twin, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const CRONTAB: Table = Table {
    name: "crontab",
    about: "What cron and anacron start, of the system and of every user.",
    sources: &[
        "/etc/crontab",
        "/etc/cron.d/*",
        "/etc/anacrontab",
        "/etc/cron.{hourly,daily,weekly,monthly,yearly}/*",
        "/etc/crontabs/*",
        "/etc/periodic/*/*",
        "/var/spool/cron/*",
        "/var/spool/cron/{crontabs,tabs}/*",
        "/var/cron/tabs/*",
    ],
    group: Group::Services,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_crontabs,
};

/// The table.
pub(super) const AT_JOBS: Table = Table {
    name: "at_jobs",
    about: "Jobs that wait for at or batch.",
    sources: &["/var/spool/cron/atjobs/*", "/var/spool/atjobs/*", "/var/spool/at/*"],
    group: Group::Services,
    reads: Reads::Files,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_at_jobs,
};

row! {
    /// One job, or one setting of the environment that the jobs behind it run in.
    struct CrontabRow {
        /// osquery: Event such as `@reboot`, the folder's or anacron's period; `environment` for a setting; else empty.
        event: Twin,
        /// osquery: Minute; empty for an event.
        minute: Twin,
        /// osquery: Hour; empty for an event.
        hour: Twin,
        /// osquery: Day of the month; empty for an event.
        day_of_month: Twin,
        /// osquery: Month; empty for an event.
        month: Twin,
        /// osquery: Day of the week; empty for an event.
        day_of_week: Twin,
        /// osquery: Command line; the path of a script in a folder of scripts.
        command: Twin,
        /// osquery: File the job is in.
        path: Twin,
        /// Derived: User it runs as; null where the file does not say.
        username: Option<Twin>,
        /// Derived: Line number in the file, from 1; null for a script in a folder of scripts.
        line: Option<u64>,
        /// Derived: Whether the file may be executed, without which a script in a folder of scripts does not run.
        executable: bool,
    }
}

row! {
    /// One job in a spool of at(1).
    struct AtJobRow {
        /// Derived: Queue, a letter; `=` while the job runs.
        queue: Twin,
        /// Derived: Number of the job; null where the file's name says none.
        job: Option<u64>,
        /// Derived: When it is due, Unix seconds; null where the file's name says none.
        time: Option<i64>,
        /// Derived: User id of the file's owner, who the job runs as.
        uid: u32,
        /// Derived: File the job is in.
        path: Twin,
        /// Derived: What it runs, without the environment before it; the whole file where no environment is found.
        command: Twin,
    }
}

/// Folders of crontabs that are named after their users.
const SPOOLS: [&[u8]; 5] = [
    b"/var/spool/cron/crontabs",
    b"/var/spool/cron",
    b"/var/spool/cron/tabs",
    b"/etc/crontabs",
    b"/var/cron/tabs",
];
/// Folders of scripts, and when they run.
const SCRIPTS: [(&[u8], &[u8]); 10] = [
    (b"/etc/cron.hourly", b"@hourly"),
    (b"/etc/cron.daily", b"@daily"),
    (b"/etc/cron.weekly", b"@weekly"),
    (b"/etc/cron.monthly", b"@monthly"),
    (b"/etc/cron.yearly", b"@yearly"),
    (b"/etc/periodic/15min", b"15min"),
    (b"/etc/periodic/hourly", b"@hourly"),
    (b"/etc/periodic/daily", b"@daily"),
    (b"/etc/periodic/weekly", b"@weekly"),
    (b"/etc/periodic/monthly", b"@monthly"),
];
const AT_SPOOLS: [&[u8]; 3] = [b"/var/spool/cron/atjobs", b"/var/spool/atjobs", b"/var/spool/at"];

/// Whose jobs a file holds.
#[derive(Clone, Copy)]
enum Owner<'a> {
    /// Each line names its user.
    EachLine,
    /// All of them are this user's.
    One(&'a [u8]),
    /// anacron's form, always root.
    Anacron,
}

fn capture_crontabs(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for entry in
        files.entry(capture, b"/etc/crontab").into_iter().chain(files.entries(capture, b"/etc/cron.d"))
    {
        capture_crontab(capture, &mut files, &entry, Owner::EachLine)?;
    }
    if let Some(entry) = files.entry(capture, b"/etc/anacrontab") {
        capture_crontab(capture, &mut files, &entry, Owner::Anacron)?;
    }
    for spool in distinct(capture, &mut files, &SPOOLS) {
        for entry in files.entries(capture, spool) {
            capture_crontab(capture, &mut files, &entry, Owner::One(&entry.name))?;
        }
    }
    for (folder, event) in SCRIPTS {
        for entry in files.entries(capture, folder).into_iter().filter(is_file) {
            let job = Job { event, command: &entry.path, username: Some(b"root"), ..Job::default() };
            let executable = is_executable(capture, &mut files, &entry);
            capture.row(&job.row(&entry, None, executable))?;
        }
    }
    Ok(())
}

/// The folders that are not others of them by another name, as where one is a link to another.
fn distinct<'a>(capture: &mut TableCapture<'_>, files: &mut Files, folders: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut seen = HashSet::new();
    let mut is_new = |folder: &&[u8]| files.identity(capture, folder).is_some_and(|found| seen.insert(found));
    folders.iter().copied().filter(|folder| is_new(folder)).collect()
}

/// A file, or a link that may lead to one.
fn is_file(entry: &Entry) -> bool {
    matches!(entry.kind, ItemKind::File | ItemKind::Symlink)
}

fn capture_crontab(
    capture: &mut TableCapture<'_>,
    files: &mut Files,
    entry: &Entry,
    owner: Owner<'_>,
) -> io::Result<()> {
    let leads_to_a_folder = entry.kind == ItemKind::Symlink
        && files.followed(capture, &entry.path).is_some_and(|(kind, _)| kind == ItemKind::Directory);
    if !is_file(entry) || leads_to_a_folder {
        return Ok(());
    }
    let executable = is_executable(capture, files, entry);
    let Some(file) = files.text(capture, &entry.path, SMALL) else { return Ok(()) };
    for (number, line) in lines(&file) {
        if let Some(job) = parse_job(line, owner) {
            capture.row(&job.row(entry, Some(number), executable))?;
        }
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Job<'a> {
    event: &'a [u8],
    time: [&'a [u8]; 5],
    username: Option<&'a [u8]>,
    command: &'a [u8],
}

impl Job<'_> {
    fn row(&self, entry: &Entry, line: Option<u64>, executable: bool) -> CrontabRow {
        let [minute, hour, day_of_month, month, day_of_week] = self.time.map(text);
        CrontabRow {
            event: text(self.event),
            minute,
            hour,
            day_of_month,
            month,
            day_of_week,
            command: text(self.command),
            path: text(&entry.path),
            username: self.username.map(text),
            line,
            executable,
        }
    }
}

/// A line of crontab(5) or anacrontab(5). A line that is neither a job nor a comment is kept as an `environment`: it may
/// be meant for another cron.
fn parse_job<'a>(line: &'a [u8], owner: Owner<'a>) -> Option<Job<'a>> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let mut rest = line;
    let environment = Job { event: b"environment", command: line, ..Job::default() };
    let starts_time = |byte: &u8| byte.is_ascii_digit() || b"*@-~".contains(byte);
    if !line.first().is_some_and(starts_time) {
        return Some(environment);
    }
    let mut job = Job::default();
    if let Owner::Anacron = owner {
        job.event = word(&mut rest);
        // Delay and name come before the command.
        word(&mut rest);
        word(&mut rest);
        job.username = Some(b"root");
    } else {
        if rest.starts_with(b"@") {
            job.event = word(&mut rest);
        } else {
            for field in &mut job.time {
                *field = word(&mut rest);
            }
        }
        job.username = match owner {
            Owner::One(user) => Some(user),
            _ => Some(word(&mut rest)),
        };
    }
    job.command = rest;
    Some(if rest.is_empty() { environment } else { job })
}

/// Takes the first word of a line.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at_checked(end).unwrap_or_default();
    *rest = after.trim_ascii_start();
    word
}

fn capture_at_jobs(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for spool in distinct(capture, &mut files, &AT_SPOOLS) {
        for entry in files.entries(capture, spool) {
            // `.SEQ` counts the jobs.
            if !is_file(&entry) || entry.name.starts_with(b".") {
                continue;
            }
            let Some(file) = files.text(capture, &entry.path, SMALL) else { continue };
            let (queue, job, time) = at_name(&entry.name);
            capture.row(&AtJobRow {
                queue: text(queue),
                job,
                time,
                uid: entry.uid,
                path: text(&entry.path),
                command: text(at_command(&file)),
            })?;
        }
    }
    Ok(())
}

/// Queue, number and time of a job by its file's name: a letter, five and eight hexadecimal digits, the last of them
/// minutes since 1970.
fn at_name(name: &[u8]) -> (&[u8], Option<u64>, Option<i64>) {
    let digits = |range| u32::from_str_radix(std::str::from_utf8(name.get(range)?).ok()?, 16).ok();
    let (Some(job), Some(minutes), 14) = (digits(1..6), digits(6..14), name.len()) else {
        return (b"", None, None);
    };
    (name.get(..1).unwrap_or_default(), Some(u64::from(job)), Some(i64::from(minutes) * 60))
}

/// at(1) writes the environment, changes into the folder or ends in a block in braces, and then the commands follow.
fn at_command(file: &[u8]) -> &[u8] {
    let end = b"\n}\n";
    let at = file.windows(end.len()).position(|window| window == end);
    at.and_then(|at| file.get(at + end.len()..)).unwrap_or(file).trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_read_in_each_form() {
        let job = parse_job(b"*/5 1 * * 1-5 eve /bin/x  a b", Owner::EachLine).unwrap();
        assert_eq!(job.time, [&b"*/5"[..], b"1", b"*", b"*", b"1-5"]);
        assert_eq!((job.username, job.command), (Some(&b"eve"[..]), &b"/bin/x  a b"[..]));
        let job = parse_job(b"@reboot /bin/x", Owner::One(b"eve")).unwrap();
        assert_eq!(
            (job.event, job.username, job.command),
            (&b"@reboot"[..], Some(&b"eve"[..]), &b"/bin/x"[..])
        );
        let job = parse_job(b"7 25 weekly run-parts /x", Owner::Anacron).unwrap();
        assert_eq!((job.event, job.command), (&b"7"[..], &b"run-parts /x"[..]));
    }

    #[test]
    fn what_is_no_job_is_an_environment() {
        for line in [&b"SHELL=/tmp/sh"[..], b"* * *", b"\xff", b"@reboot"] {
            let job = parse_job(line, Owner::EachLine).unwrap();
            assert_eq!((job.event, job.command), (&b"environment"[..], line));
        }
        assert!(parse_job(b" # x", Owner::EachLine).is_none());
    }

    #[test]
    fn names_of_at_jobs_tell_their_time() {
        assert_eq!(at_name(b"a0000101a8b6b8"), (&b"a"[..], Some(1), Some(i64::from(0x01a8_b6b8u32) * 60)));
        for garbage in [&b""[..], b"a", b"a00001zzzzzzzz", b"\xff000010000000\xff", b"a0000100000000000"] {
            assert_eq!(at_name(garbage), (&b""[..], None, None));
        }
        assert_eq!(at_command(b"#!/bin/sh\ncd / || {\n exit 1\n}\n/bin/x\n"), b"/bin/x");
        assert_eq!(at_command(b"/bin/x"), b"/bin/x");
    }
}
