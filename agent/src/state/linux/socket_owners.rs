//! Owns the map from socket inodes to the processes that hold them; refuses to grow past a stated size.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::process_folders::{each_descriptor, each_process, keep_small, noted};
use super::text::bracketed;
use crate::source::{KernelFolder, kernel_link};
use crate::state::TableCapture;

/// The most socket descriptors that are remembered; 24 bytes each.
const HELD_CAP: usize = 4_000_000;

/// One descriptor of one process that is a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    /// The socket's inode.
    pub(super) inode: u64,
    /// The process.
    pub(super) pid: u32,
    /// The descriptor in that process.
    pub(super) fd: u32,
}

/// The sockets that processes hold, and the network namespaces they live in.
#[derive(Default)]
pub(super) struct SocketOwners {
    held: Vec<Held>,
    shown: Vec<bool>,
    /// One process of each network namespace, by the namespace's inode.
    pub(super) namespaces: BTreeMap<u64, u32>,
}

impl SocketOwners {
    /// Looks once at every descriptor of every process.
    pub(super) fn find(capture: &mut TableCapture<'_>) -> io::Result<Self> {
        let mut owners = Self::default();
        each_process(capture, &mut |capture, pid, process| owners.look_at(capture, pid, process))?;
        if owners.held.len() >= HELD_CAP {
            let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more sockets than can be remembered");
            capture.gap(format!("/proc/*/fd: past {HELD_CAP} sockets"), &reason);
        }
        owners.held.sort_unstable();
        owners.shown = vec![false; owners.held.len()];
        Ok(owners)
    }

    fn look_at(
        &mut self,
        capture: &mut TableCapture<'_>,
        pid: u32,
        process: &KernelFolder,
    ) -> io::Result<()> {
        if let Some(namespace) = noted(capture, process, "ns/net", process.link("ns/net"))
            .and_then(|target| bracketed(&target, b"net"))
        {
            self.namespaces.entry(namespace).or_insert(pid);
        }
        each_descriptor(capture, process, &mut |_, fd, target| {
            if let Some(inode) = bracketed(target, b"socket")
                && self.held.len() < HELD_CAP
            {
                self.held.push(Held { inode, pid, fd });
            }
            Ok(())
        })
    }

    /// Who holds the socket, each holder once; marks them as shown by a listing.
    pub(super) fn holders(&mut self, inode: u64) -> &[Held] {
        let range = self.range(inode);
        self.shown[range.clone()].fill(true);
        &self.held[range]
    }

    fn range(&self, inode: u64) -> Range<usize> {
        let start = self.held.partition_point(|held| held.inode < inode);
        let length = self.held[start..].partition_point(|held| held.inode == inode);
        start..start + length
    }

    /// The descriptors whose socket no listing has shown.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().zip(&self.shown).filter(|(_, shown)| !**shown).map(|(held, _)| held)
    }
}

/// The network namespace the agent runs in.
pub(super) fn own_namespace() -> io::Result<u64> {
    bracketed(&kernel_link("/proc/self/ns/net")?, b"net")
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a network namespace"))
}

/// One process of every network namespace but the agent's own.
pub(super) fn other_namespaces(capture: &mut TableCapture<'_>) -> io::Result<BTreeMap<u64, u32>> {
    let own = own_namespace()?;
    let mut found = BTreeMap::new();
    each_process(capture, &mut |_, pid, process| {
        // A namespace that cannot be read is a gap of the sockets table already.
        if let Some(namespace) = process.link("ns/net").ok().and_then(|target| bracketed(&target, b"net")) {
            found.entry(namespace).or_insert(pid);
        }
        Ok(())
    })?;
    found.remove(&own);
    Ok(found)
}

/// Keeps the network texts `names` of the agent's namespace and of one process of every other.
pub(super) fn keep_network_texts(capture: &mut TableCapture<'_>, names: &[&str]) -> io::Result<()> {
    for name in names {
        keep_small(capture, &format!("/proc/net/{name}"));
    }
    for pid in other_namespaces(capture)?.values().take(NAMESPACE_TEXTS) {
        for name in names {
            keep_small(capture, &format!("/proc/{pid}/net/{name}"));
        }
    }
    Ok(())
}

/// Other network namespaces whose texts are kept.
const NAMESPACE_TEXTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_held_twice_has_two_holders_and_then_counts_as_listed() {
        let held = vec![
            Held { inode: 5, pid: 1, fd: 3 },
            Held { inode: 7, pid: 1, fd: 4 },
            Held { inode: 7, pid: 2, fd: 4 },
        ];
        let mut owners = SocketOwners { shown: vec![false; held.len()], held, namespaces: BTreeMap::new() };
        assert_eq!(owners.holders(7).len(), 2);
        assert_eq!(owners.holders(6), []);
        assert_eq!(owners.unlisted().map(|held| held.inode).collect::<Vec<_>>(), [5]);
    }
}
