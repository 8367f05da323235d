//! Owns the map from socket inodes to the processes that hold them; refuses to grow past a stated size.

use std::io;
use std::ops::Range;

use super::network_namespaces::{NamespaceSearch, NetworkNamespace};
use super::process_folders::{each_descriptor, each_process, noted};
use super::text::bracketed;
use crate::source::KernelFolder;
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

/// The sockets that processes hold.
#[derive(Default)]
pub(super) struct SocketOwners {
    held: Vec<Held>,
    shown: Vec<bool>,
}

impl SocketOwners {
    /// Looks once at every descriptor of every process, and at the network namespaces on the way.
    pub(super) fn find(capture: &mut TableCapture<'_>) -> io::Result<(Self, Vec<NetworkNamespace>)> {
        let mut owners = Self::default();
        let mut search = NamespaceSearch::begin()?;
        each_process(capture, &mut |capture, pid, process| {
            capture.go_on()?;
            owners.look_at(capture, &mut search, pid, process)
        })?;
        if owners.held.len() >= HELD_CAP {
            let reason = io::Error::new(io::ErrorKind::QuotaExceeded, "more sockets than can be remembered");
            capture.gap(format!("/proc/*/fd: past {HELD_CAP} sockets"), &reason);
        }
        owners.held.sort_unstable();
        owners.shown = vec![false; owners.held.len()];
        Ok((owners, search.end(capture)))
    }

    fn look_at(
        &mut self,
        capture: &mut TableCapture<'_>,
        search: &mut NamespaceSearch,
        pid: u32,
        process: &KernelFolder,
    ) -> io::Result<()> {
        // A namespace that cannot be read is a gap here, and for every other table that walks over the namespaces.
        noted(capture, process, "ns/net", process.link("ns/net"));
        search.look_at_process(pid, process);
        each_descriptor(capture, process, &mut |_, fd, target| {
            search.look_at_descriptor(process, pid, fd, target);
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
        let mut owners = SocketOwners { shown: vec![false; held.len()], held };
        assert_eq!(owners.holders(7).len(), 2);
        assert_eq!(owners.holders(6), []);
        assert_eq!(owners.unlisted().map(|held| held.inode).collect::<Vec<_>>(), [5]);
    }
}
