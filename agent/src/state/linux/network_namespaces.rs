//! Owns the search for network namespaces, by processes, threads, mounts and open descriptors, and the way into each;
//! refuses to make a namespace or to change one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::Protocol;
use serde::Serialize;

use super::netlink::Netlink;
use super::process_folders::{each_process, has_ended, keep_small};
use super::text::{bracketed, number, optional};
use crate::source::{
    KernelFolder, NamespacePlace, kernel_lines, kernel_link, open_kernel_file, unescaped,
    within_network_namespace,
};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "network_namespaces",
    about: "Every network namespace that a process, a thread, a mount or a descriptor keeps, and what does; one that only a \
            socket keeps is not found.",
    sources: &[
        "/proc/<pid>/ns/net",
        "/proc/<pid>/task/<tid>/ns/net",
        "/proc/<pid>/fd",
        "/proc/<pid>/mountinfo (nsfs)",
    ],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_namespaces,
};

/// One network namespace.
#[derive(Serialize)]
struct NamespaceRow {
    /// Derived: Inode number of the network namespace, by which the other tables name it.
    net_namespace: String,
    /// Derived: Whether the agent runs in it.
    own: bool,
    /// Derived: How many processes live in it; 0 where only a mount, a descriptor or a thread keeps it.
    processes: u64,
    /// Derived: Lowest number of a process that lives in it; null where none.
    pid: Option<u32>,
    /// Derived: Where it is mounted, such as `/run/netns/<name>`; null where nowhere. The first place found.
    mount_point: Option<String>,
    /// Derived: Base64 of the exact bytes behind `mount_point`; null where `mount_point` is those bytes verbatim.
    mount_point_raw: Option<String>,
    /// Derived: Process whose mounts show that mount point; null for the agent's own mounts and where there is none.
    mount_pid: Option<u32>,
    /// Derived: Process that holds it by a descriptor; null where none does. The first found.
    descriptor_pid: Option<u32>,
    /// Derived: That descriptor; null with `descriptor_pid`.
    descriptor_fd: Option<u32>,
    /// Derived: Process of which a thread, and not the process itself, lives in it; null where none.
    thread_pid: Option<u32>,
    /// Derived: Whether the agent could enter it; where not, its tables lack it or are read from `/proc/<pid>/net`.
    entered: bool,
}

/// Namespaces that are remembered.
const NAMESPACE_CAP: usize = 65_536;

/// Processes, threads, descriptors and mounts of one namespace that are remembered as ways into it, of each the first:
/// some may be gone, or closed, when it is entered.
const WAYS: usize = 4;

/// Threads of one process that are looked at.
const THREAD_CAP: usize = 65_536;

/// Other network namespaces whose texts are kept.
const NAMESPACE_TEXTS: usize = 64;

/// The file with the mounts of a process.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One network namespace and what leads into it.
#[derive(Debug, Clone, Default)]
pub(super) struct NetworkNamespace {
    /// Its inode number.
    pub(super) inode: u64,
    own: bool,
    processes: u64,
    pids: Vec<u32>,
    threads: Vec<(u32, u32)>,
    mounts: Vec<(Option<u32>, Vec<u8>)>,
    descriptors: Vec<(u32, u32)>,
    /// Whether it may be a namespace of another kind, which the way into it shows.
    uncertain: bool,
}

impl NetworkNamespace {
    /// Its name in the rows of every table: the inode number.
    pub(super) fn name(&self) -> String {
        self.inode.to_string()
    }

    /// A process that still lives in it.
    pub(super) fn living_process(&self) -> Option<u32> {
        self.pids.iter().copied().find(|pid| {
            kernel_link(&format!("/proc/{pid}/ns/net")).ok().and_then(|target| bracketed(&target, b"net"))
                == Some(self.inode)
        })
    }

    /// Does `job` inside it: what the job opens stays in it.
    ///
    /// # Errors
    ///
    /// As [`within_network_namespace`].
    pub(super) fn within<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self.own {
            return job();
        }
        within_network_namespace(self.inode, self.places(), job)
    }

    /// Opens a netlink socket in it; `None` is `NETLINK_ROUTE`.
    pub(super) fn netlink(&self, protocol: Option<Protocol>) -> io::Result<Netlink> {
        self.within(move || Netlink::open(protocol))
    }

    /// Opens a text of its `/proc/net`.
    pub(super) fn text(&self, name: &str) -> io::Result<File> {
        // The folder of a process shows the namespace of its first thread, that of the thread its own.
        let path = format!("/proc/thread-self/net/{name}");
        self.within(move || open_kernel_file(&path))
    }

    fn places(&self) -> Vec<NamespacePlace> {
        let mut places: Vec<_> =
            self.pids.iter().map(|pid| NamespacePlace::Link(format!("/proc/{pid}/ns/net"))).collect();
        for (pid, tid) in &self.threads {
            places.push(NamespacePlace::Link(format!("/proc/{pid}/task/{tid}/ns/net")));
        }
        for (pid, fd) in &self.descriptors {
            places.push(NamespacePlace::Link(format!("/proc/{pid}/fd/{fd}")));
        }
        for (pid, point) in &self.mounts {
            let root = pid.map_or_else(|| "/".to_owned(), |pid| format!("/proc/{pid}/root"));
            places.push(NamespacePlace::Mount { root, point: point.clone() });
        }
        places
    }

    fn row(&self) -> NamespaceRow {
        let (mount_point, mount_point_raw) = optional(self.mounts.first().map(|(_, point)| &point[..]));
        NamespaceRow {
            net_namespace: self.name(),
            own: self.own,
            processes: self.processes,
            pid: self.pids.first().copied(),
            mount_point,
            mount_point_raw,
            mount_pid: self.mounts.first().and_then(|(pid, _)| *pid),
            descriptor_pid: self.descriptors.first().map(|(pid, _)| *pid),
            descriptor_fd: self.descriptors.first().map(|(_, fd)| *fd),
            thread_pid: self.threads.first().map(|(pid, _)| *pid),
            entered: self.within(|| Ok(())).is_ok(),
        }
    }
}

/// What was found on the way over the processes, for those who walk over them anyway.
#[derive(Default)]
pub(super) struct NamespaceSearch {
    found: BTreeMap<u64, NetworkNamespace>,
    mount_namespaces: BTreeSet<Vec<u8>>,
    device: Option<(u32, u32)>,
    /// Processes with more threads than are looked at.
    many_threads: BTreeSet<u32>,
}

impl NamespaceSearch {
    /// Begins with the agent's own namespace and the mounts it sees.
    pub(super) fn begin() -> io::Result<Self> {
        let own = bracketed(&kernel_link("/proc/thread-self/ns/net")?, b"net")
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a network namespace"))?;
        let mut search = Self::default();
        search.found.insert(own, NetworkNamespace { inode: own, own: true, ..NetworkNamespace::default() });
        search.device = KernelFolder::of_process(std::process::id())
            .and_then(|process| process.link_target("ns/net"))
            .ok()
            .map(|target| target.device);
        search.mount_namespaces.extend(kernel_link("/proc/self/ns/mnt"));
        search.look_at_mounts(None, MOUNTINFO);
        Ok(search)
    }

    /// Looks at what a process, its threads and its mounts tell; its descriptors are handed over one by one.
    pub(super) fn look_at_process(&mut self, pid: u32, process: &KernelFolder) {
        let namespace = process.link("ns/net").ok().and_then(|target| bracketed(&target, b"net"));
        if let Some(found) = namespace.and_then(|inode| self.namespace(inode)) {
            found.processes += 1;
            found.uncertain = false;
            remember(&mut found.pids, pid);
        }
        let Ok(threads) = process.names("task") else { return };
        for (tid, seen) in
            threads.take(THREAD_CAP + 1).flatten().filter_map(|name| number::<u32>(&name)).zip(0..)
        {
            if seen == THREAD_CAP {
                self.many_threads.insert(pid);
                break;
            }
            let lives_in = process
                .link(&format!("task/{tid}/ns/net"))
                .ok()
                .and_then(|target| bracketed(&target, b"net"));
            if lives_in != namespace
                && let Some(found) = lives_in.and_then(|inode| self.namespace(inode))
            {
                remember(&mut found.threads, (pid, tid));
                found.uncertain = false;
            }
        }
        if let Ok(mounts) = process.link("ns/mnt")
            && self.mount_namespaces.len() < NAMESPACE_CAP
            && self.mount_namespaces.insert(mounts)
        {
            self.look_at_mounts(Some(pid), &format!("/proc/{pid}/mountinfo"));
        }
    }

    /// Looks at what one descriptor is open on.
    pub(super) fn look_at_descriptor(&mut self, process: &KernelFolder, pid: u32, fd: u32, target: &[u8]) {
        let mut inode = bracketed(target, b"net");
        let named = inode.is_some();
        // A namespace that was opened where it is, or was, mounted has a path and not its name for a target.
        if target.starts_with(b"/") {
            inode = process
                .link_target(&format!("fd/{fd}"))
                .ok()
                .filter(|target| Some(target.device) == self.device)
                .map(|target| target.inode);
        }
        if let Some(inode) = inode {
            let known = self.found.contains_key(&inode);
            if let Some(found) = self.namespace(inode) {
                remember(&mut found.descriptors, (pid, fd));
                found.uncertain = !named && (found.uncertain || !known);
            }
        }
    }

    /// Ends the search: the agent's own namespace first, then by number.
    pub(super) fn end(mut self, capture: &mut TableCapture<'_>) -> Vec<NetworkNamespace> {
        if self.found.len() >= NAMESPACE_CAP {
            let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more than can be remembered");
            capture.gap(format!("network namespaces past {NAMESPACE_CAP}"), &reason);
        }
        for pid in &self.many_threads {
            let reason = format!("more than {THREAD_CAP} threads, the others are not looked at");
            capture.gap(format!("/proc/{pid}/task"), &io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        let of_another_kind = |found: &NetworkNamespace| {
            found.uncertain
                && found
                    .within(|| Ok(()))
                    .is_err_and(|reason| reason.raw_os_error() == Some(Errno::INVAL.raw_os_error()))
        };
        self.found.retain(|_, found| !of_another_kind(found));
        let (mut own, others): (Vec<_>, Vec<_>) = self.found.into_values().partition(|found| found.own);
        own.extend(others);
        own
    }

    fn look_at_mounts(&mut self, pid: Option<u32>, path: &str) {
        // A list that cannot be read is a gap of the table of mounts, or belongs to a process that ended.
        let _ = kernel_lines(path, &mut |line| {
            if let Some((inode, point)) = namespace_mount(line)
                && let Some(found) = self.namespace(inode)
            {
                remember(&mut found.mounts, (pid, point));
                found.uncertain = false;
            }
            Ok(())
        });
    }

    fn namespace(&mut self, inode: u64) -> Option<&mut NetworkNamespace> {
        if self.found.len() >= NAMESPACE_CAP && !self.found.contains_key(&inode) {
            return None;
        }
        Some(
            self.found
                .entry(inode)
                .or_insert_with(|| NetworkNamespace { inode, ..NetworkNamespace::default() }),
        )
    }
}

/// Adds one of the ways into a namespace.
fn remember<T>(ways: &mut Vec<T>, way: T) {
    if ways.len() < WAYS {
        ways.push(way);
    }
}

/// The namespace and the place of an `nsfs` mount: `id parent major:minor net:[inode] point options ... - nsfs ...`
fn namespace_mount(line: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut columns = line.split(|byte| *byte == b' ');
    let inode = bracketed(columns.nth(3)?, b"net")?;
    let point = unescaped(columns.next()?);
    let kind = columns.skip_while(|column| *column != b"-").nth(1)?;
    (kind == b"nsfs").then_some((inode, point))
}

/// Every network namespace, the agent's own first. What cannot be read on the way is a gap of the table of sockets.
pub(super) fn network_namespaces(capture: &mut TableCapture<'_>) -> io::Result<Vec<NetworkNamespace>> {
    let mut search = NamespaceSearch::begin()?;
    each_process(capture, &mut |capture, pid, process: &Arc<KernelFolder>| {
        capture.go_on()?;
        search.look_at_process(pid, process);
        let Ok(descriptors) = process.names("fd") else { return Ok(()) };
        for fd in descriptors.flatten().filter_map(|name| number::<u32>(&name)) {
            if let Ok(target) = process.link(&format!("fd/{fd}")) {
                search.look_at_descriptor(process, pid, fd, &target);
            }
        }
        Ok(())
    })?;
    Ok(search.end(capture))
}

/// What is done with one namespace and an rtnetlink socket that was opened in it.
pub(super) type EachNetlink<'a> =
    &'a mut dyn FnMut(&mut TableCapture<'_>, &NetworkNamespace, &mut Netlink) -> io::Result<()>;

/// Keeps the network texts `texts` and hands every namespace to `each` with an rtnetlink socket in it; a namespace that
/// cannot be entered is a gap.
pub(super) fn each_rtnetlink(
    capture: &mut TableCapture<'_>,
    texts: &[&str],
    each: EachNetlink<'_>,
) -> io::Result<()> {
    let namespaces = network_namespaces(capture)?;
    keep_network_texts(capture, &namespaces, texts);
    for namespace in &namespaces {
        capture.go_on()?;
        match namespace.netlink(None) {
            Ok(mut netlink) => each(capture, namespace, &mut netlink)?,
            Err(reason) => not_entered(capture, namespace, &reason),
        }
    }
    Ok(())
}

/// Notes that a namespace could not be entered; one that ended meanwhile is no gap. A mounted one does not end by itself,
/// and something else may be mounted over it.
pub(super) fn not_entered(capture: &mut TableCapture<'_>, namespace: &NetworkNamespace, reason: &io::Error) {
    let ended = has_ended(reason) || reason.kind() == io::ErrorKind::NotFound;
    if !ended || !namespace.mounts.is_empty() {
        capture.gap(format!("network namespace {}", namespace.inode), reason);
    }
}

/// Keeps the network texts `names` of the agent's namespace and of one process of every other.
fn keep_network_texts(capture: &mut TableCapture<'_>, namespaces: &[NetworkNamespace], names: &[&str]) {
    for name in names {
        keep_small(capture, &format!("/proc/net/{name}"));
    }
    let others = namespaces.iter().filter(|namespace| !namespace.own);
    for pid in others.filter_map(NetworkNamespace::living_process).take(NAMESPACE_TEXTS) {
        for name in names {
            keep_small(capture, &format!("/proc/{pid}/net/{name}"));
        }
    }
}

/// Captures the table.
fn capture_namespaces(capture: &mut TableCapture<'_>) -> io::Result<()> {
    for namespace in network_namespaces(capture)? {
        capture.go_on()?;
        capture.row(&namespace.row())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNT: &[u8] = b"50 23 0:4 net:[4026532193] /run/netns/a\\040b rw shared:3 - nsfs nsfs rw";

    #[test]
    fn namespace_is_read_from_its_mount_and_from_no_other() {
        assert_eq!(namespace_mount(MOUNT), Some((4_026_532_193, b"/run/netns/a b".to_vec())));
        assert_eq!(namespace_mount(b"50 23 0:4 net:[4026532193] /mnt rw - ext4 /dev/vda rw"), None);
        assert_eq!(namespace_mount(b"50 23 0:4 mnt:[4026532193] /mnt rw - nsfs nsfs rw"), None);
        for end in 0..MOUNT.len() {
            let _ = namespace_mount(&MOUNT[..end]);
        }
    }

    #[test]
    fn own_namespace_is_the_first_and_has_this_process() {
        let mut out = Vec::new();
        let root = crate::source::Root::live().unwrap();
        let mut capture = TableCapture::new(&mut out, &root, &|| false);
        let namespaces = network_namespaces(&mut capture).unwrap();
        assert!(namespaces[0].own && namespaces[0].processes > 0);
        assert!(namespaces[1..].iter().all(|namespace| !namespace.own));
        assert!(namespaces[0].text("tcp").is_ok());
    }
}
