//! Owns the table of processes; refuses to read their environments and their memory beyond the arguments.

use std::io;
use std::sync::Arc;

use serde::Serialize;

use super::clock::boot_time;
use super::hidden_processes::{ListedPids, each_unlisted};
use super::process_folders::{each_process, has_ended, noted};
use super::process_stat::{
    Stat, control_group, parse_stat, status_ids, status_size, status_value, terminal_name,
};
use super::text::{bracketed, link_text, number, optional, text, text_showing};
use crate::source::{ExecutableDigests, KernelFolder, Watchdog};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "processes",
    about: "Processes with their executables' digests, and processes that listing /proc does not show.",
    sources: &[
        "/proc/<pid>/{stat,status,cmdline,exe,cwd,root,cgroup,loginuid,sessionid}",
        "/proc/<pid>/ns/{pid,net,mnt,user}",
        "/proc/stat",
        "kill(2) with signal 0",
    ],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_processes,
};

/// One process as the kernel shows it.
#[derive(Serialize, Default)]
struct ProcessRow {
    /// osquery: Process id, in the namespace of the examiner's `/proc`.
    pid: u32,
    /// osquery: Name the kernel keeps for the process; the process can change it.
    name: String,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// osquery: Executable, without the kernel's ` (deleted)` mark, which only `path_raw` keeps; null for
    /// kernel threads.
    path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: Arguments, with each NUL between them shown as a space; at most 128 KiB. `cmdline_raw` keeps
    /// where each one ends. Null where unreadable or none.
    cmdline: Option<String>,
    /// Derived: Base64 of the exact bytes behind `cmdline`; null where `cmdline` is those bytes verbatim.
    cmdline_raw: Option<String>,
    /// osquery: State letter: R running, S sleeping, D in uninterruptible sleep, Z zombie, T stopped, t
    /// traced, I idle, X dead.
    state: String,
    /// osquery: Working folder; null where unreadable.
    cwd: Option<String>,
    /// Derived: Base64 of the exact bytes behind `cwd`; null where `cwd` is those bytes verbatim.
    cwd_raw: Option<String>,
    /// osquery: Root folder; null where unreadable.
    root: Option<String>,
    /// Derived: Base64 of the exact bytes behind `root`; null where `root` is those bytes verbatim.
    root_raw: Option<String>,
    /// osquery: Real user id.
    uid: Option<u32>,
    /// osquery: Real group id.
    gid: Option<u32>,
    /// osquery: Effective user id.
    euid: Option<u32>,
    /// osquery: Effective group id.
    egid: Option<u32>,
    /// osquery: Saved user id.
    suid: Option<u32>,
    /// osquery: Saved group id.
    sgid: Option<u32>,
    /// osquery: Whether the executable still has a name: 1 yes, 0 no, -1 unknown.
    on_disk: i8,
    /// osquery: Resident memory in bytes; null for kernel threads.
    resident_size: Option<u64>,
    /// osquery: Virtual memory in bytes; null for kernel threads.
    total_size: Option<u64>,
    /// osquery: Processor time in user mode, milliseconds.
    user_time: u64,
    /// osquery: Processor time in kernel mode, milliseconds.
    system_time: u64,
    /// osquery: Start, Unix seconds: the kernel's boot time plus `start_ticks`; null where the boot time is
    /// unreadable.
    start_time: Option<u64>,
    /// osquery: Parent's process id; 0 where it is outside the namespace.
    parent: i32,
    /// osquery: Process group.
    pgroup: i32,
    /// osquery: Number of threads.
    threads: u32,
    /// osquery: Nice value, -20 to 19.
    nice: i32,
    /// osquery: Control group: of the unified hierarchy, else of systemd's, else the first listed.
    cgroup_path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `cgroup_path`; null where `cgroup_path` is those bytes
    /// verbatim.
    cgroup_path_raw: Option<String>,
    /// Derived: Session id (`setsid`).
    session: i32,
    /// Derived: Controlling terminal, named from its device number; null where there is none.
    tty: Option<String>,
    /// Derived: Start, in hundredths of a second after boot: with `pid` it names one process.
    start_ticks: u64,
    /// Derived: User id at login, which `su` and `sudo` do not change; null where never set or not audited.
    login_uid: Option<u32>,
    /// Derived: Audit session id; null where never set or not audited.
    login_session: Option<u32>,
    /// Derived: Process that traces this one; 0 where none.
    tracer: Option<u32>,
    /// Derived: Whether the kernel marks it as its own thread; a process that only takes such a name is not
    /// marked.
    kernel_thread: bool,
    /// Derived: Effective capabilities, 16 hexadecimal digits.
    capabilities_effective: Option<String>,
    /// Derived: Seccomp mode: 0 off, 1 strict, 2 filter.
    seccomp: Option<u32>,
    /// Derived: SHA-256 of the executable, read through `/proc/<pid>/exe` even where it was deleted; null
    /// where it was not hashed.
    exe_sha256: Option<String>,
    /// Derived: Whether the executable was deleted; null where there is none or it is unreadable.
    exe_deleted: Option<bool>,
    /// Derived: Size of the executable in bytes.
    exe_size: Option<u64>,
    /// Derived: Inode number of the executable.
    exe_inode: Option<u64>,
    /// Derived: Device the executable lies on, `major:minor`.
    exe_device: Option<String>,
    /// Derived: Whether the executable could be read without changing its access time; null where it was not
    /// hashed.
    exe_access_time_kept: Option<bool>,
    /// osquery `process_namespaces`: Inode number of the process id namespace.
    pid_namespace: Option<String>,
    /// osquery `process_namespaces`: Inode number of the network namespace.
    net_namespace: Option<String>,
    /// osquery `process_namespaces`: Inode number of the mount namespace.
    mnt_namespace: Option<String>,
    /// osquery `process_namespaces`: Inode number of the user namespace.
    user_namespace: Option<String>,
    /// Derived: Whether listing `/proc` shows it; false where only asking for its number found it, which is
    /// how a hidden process shows.
    listed: bool,
}

/// Ticks of `USER_HZ` in a second, fixed by the kernel's interface on every architecture that is built for.
const TICKS: u64 = 100;

/// `PF_KTHREAD` of `linux/sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The most of a process's arguments that is kept, in bytes.
const ARGUMENTS_CAP: usize = 128 << 10;

/// The most of `stat`, `status`, `cgroup` and the like that is read, in bytes.
const TEXT_CAP: usize = 256 << 10;

/// Captures the table: every process that `/proc` lists, then those it does not list and still has.
pub(super) fn capture_processes(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut reading = Reading::begin(capture);
    let mut listed = ListedPids::now()?;
    each_process(capture, &mut |capture, pid, process| {
        listed.add(pid);
        reading.row(capture, pid, process, true)?.map_or(Ok(()), |row| capture.row(&row))
    })?;
    each_unlisted(capture, &listed, &mut |capture, pid, process, shown| {
        reading.row(capture, pid, process, shown)?.map_or(Ok(()), |row| capture.row(&row))
    })
}

/// What the reading of one process shares with the next.
struct Reading {
    boot_time: Option<u64>,
    digests: ExecutableDigests,
    arguments: Watchdog,
}

impl Reading {
    fn begin(capture: &mut TableCapture<'_>) -> Self {
        let boot_time = boot_time().map_err(|reason| capture.gap("/proc/stat", &reason)).ok();
        Self { boot_time, digests: ExecutableDigests::default(), arguments: Watchdog::default() }
    }

    /// Reads one process. Its end is an error; everything else that cannot be read is a gap and leaves a null.
    fn row(
        &mut self,
        capture: &mut TableCapture<'_>,
        pid: u32,
        process: &Arc<KernelFolder>,
        listed: bool,
    ) -> io::Result<Option<ProcessRow>> {
        let stat = match process.prefix("stat", TEXT_CAP) {
            Err(reason) if has_ended(&reason) => return Err(reason),
            read => noted(capture, process, "stat", read).map(|prefix| prefix.bytes).unwrap_or_default(),
        };
        let Some(stat) = parse_stat(&stat) else {
            let reason = io::Error::new(io::ErrorKind::InvalidData, "not in the kernel's form");
            capture.gap(format!("{}/stat", process.path()), &reason);
            return Ok(None);
        };
        let status = small_text(capture, process, "status").unwrap_or_default();
        let mut row = base_row(pid, &stat, &status, self.boot_time);
        row.listed = listed;
        self.read_executable(capture, process, &mut row);
        self.read_arguments(capture, process, &mut row);
        read_surroundings(capture, process, &mut row);
        Ok(Some(row))
    }

    fn read_executable(
        &mut self,
        capture: &mut TableCapture<'_>,
        process: &Arc<KernelFolder>,
        row: &mut ProcessRow,
    ) {
        // Kernel threads and zombies have no executable: the link is there and leads nowhere.
        let Some(target) = noted(capture, process, "exe", process.link("exe")) else { return };
        let ((path, path_raw), marked) = link_text(&target);
        (row.path, row.path_raw) = (Some(path), path_raw);
        let file = noted(capture, process, "exe", process.link_target("exe"));
        let deleted = marked || file.is_some_and(|file| file.links == 0);
        row.exe_deleted = Some(deleted);
        row.on_disk = i8::from(!deleted);
        if let Some(file) = file {
            row.exe_size = Some(file.size);
            row.exe_inode = Some(file.inode);
            row.exe_device = Some(format!("{}:{}", file.device.0, file.device.1));
        }
        if let Some(digest) = noted(capture, process, "exe", self.digests.digest_executable(process)) {
            row.exe_sha256 = Some(digest.sha256.to_string());
            row.exe_access_time_kept = Some(digest.access_time_kept);
        }
    }

    /// Arguments lie in the process's memory, which may be mapped from a file server that never answers.
    fn read_arguments(
        &mut self,
        capture: &mut TableCapture<'_>,
        process: &Arc<KernelFolder>,
        row: &mut ProcessRow,
    ) {
        let folder = Arc::clone(process);
        let read = self.arguments.within(move |_| folder.prefix("cmdline", ARGUMENTS_CAP));
        let Some(arguments) = noted(capture, process, "cmdline", read) else { return };
        if arguments.cut {
            let reason = io::Error::new(io::ErrorKind::FileTooLarge, format!("cut at {ARGUMENTS_CAP} bytes"));
            capture.gap(format!("{}/cmdline", process.path()), &reason);
        }
        let exact = arguments.bytes;
        if exact.is_empty() {
            return;
        }
        let shown = exact.strip_suffix(b"\0").unwrap_or(&exact);
        let (cmdline, cmdline_raw) = text_showing(shown, &exact, " ");
        (row.cmdline, row.cmdline_raw) = (Some(cmdline), cmdline_raw);
    }
}

fn small_text(capture: &mut TableCapture<'_>, process: &KernelFolder, name: &str) -> Option<Vec<u8>> {
    noted(capture, process, name, process.prefix(name, TEXT_CAP)).map(|prefix| prefix.bytes)
}

fn read_surroundings(capture: &mut TableCapture<'_>, process: &KernelFolder, row: &mut ProcessRow) {
    (row.cwd, row.cwd_raw) = optional(noted(capture, process, "cwd", process.link("cwd")).as_deref());
    (row.root, row.root_raw) = optional(noted(capture, process, "root", process.link("root")).as_deref());
    let cgroup = small_text(capture, process, "cgroup").unwrap_or_default();
    (row.cgroup_path, row.cgroup_path_raw) = optional(control_group(&cgroup));
    row.login_uid = audit_number(small_text(capture, process, "loginuid"));
    row.login_session = audit_number(small_text(capture, process, "sessionid"));
    let mut namespace = |name: &str| {
        let link = format!("ns/{name}");
        let target = noted(capture, process, &link, process.link(&link))?;
        bracketed(&target, name.as_bytes()).map(|inode| inode.to_string())
    };
    row.pid_namespace = namespace("pid");
    row.net_namespace = namespace("net");
    row.mnt_namespace = namespace("mnt");
    row.user_namespace = namespace("user");
}

/// A number of the audit system; all bits set means that it was never given.
fn audit_number(value: Option<Vec<u8>>) -> Option<u32> {
    number(value?.trim_ascii()).filter(|number| *number != u32::MAX)
}

fn base_row(pid: u32, stat: &Stat<'_>, status: &[u8], boot_time: Option<u64>) -> ProcessRow {
    let (name, name_raw) = text(stat.name);
    let [uid, euid, suid] = status_ids(status, "Uid");
    let [gid, egid, sgid] = status_ids(status, "Gid");
    ProcessRow {
        pid,
        name,
        name_raw,
        state: stat.state.to_string(),
        uid,
        gid,
        euid,
        egid,
        suid,
        sgid,
        on_disk: -1,
        resident_size: status_size(status, "VmRSS"),
        total_size: status_size(status, "VmSize"),
        user_time: milliseconds(stat.user_ticks),
        system_time: milliseconds(stat.system_ticks),
        start_time: boot_time.map(|boot| boot.saturating_add(stat.start_ticks / TICKS)),
        parent: stat.parent,
        pgroup: stat.process_group,
        threads: stat.threads,
        nice: stat.nice,
        session: stat.session,
        tty: terminal_name(stat.terminal),
        start_ticks: stat.start_ticks,
        tracer: status_value(status, "TracerPid").and_then(number),
        kernel_thread: stat.flags & PF_KTHREAD != 0,
        capabilities_effective: status_value(status, "CapEff").map(|value| text(value).0),
        seccomp: status_value(status, "Seccomp").and_then(number),
        ..ProcessRow::default()
    }
}

fn milliseconds(ticks: u64) -> u64 {
    ticks.saturating_mul(1000 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_without_status_has_unknown_ids_and_not_root() {
        let stat = parse_stat(b"7 (x) S 1 7 7 0 -1 2097152 0 0 0 0 1 2 0 0 20 0 1 0 250 0 0\n").unwrap();
        let row = base_row(7, &stat, b"", Some(1000));
        assert_eq!((row.uid, row.euid, row.tracer), (None, None, None));
        assert_eq!((row.start_time, row.user_time, row.system_time), (Some(1002), 10, 20));
        assert!(row.kernel_thread);
    }

    #[test]
    fn audit_number_that_was_never_set_is_unknown() {
        assert_eq!(audit_number(Some(b"4294967295".to_vec())), None);
        assert_eq!(audit_number(Some(b"1000\n".to_vec())), Some(1000));
        assert_eq!(audit_number(Some(b"\xff".to_vec())), None);
    }
}
