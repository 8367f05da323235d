//! Owns netlink: one dump request at a time and the strict reading of its answer; refuses messages that the kernel did
//! not send and never changes anything.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// How long the kernel may take for its next answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one dump may take.
const DUMP_CAP: Duration = Duration::from_secs(60);

/// How a dump came to its end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct DumpEnd {
    /// Whether the kernel says that its list changed while it was dumped.
    pub(super) interrupted: bool,
    /// Messages whose lengths contradict each other.
    pub(super) malformed: u64,
}

/// A netlink socket of one protocol.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket; `None` is `NETLINK_ROUTE`.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The number of its descriptor.
    #[cfg(test)]
    pub(super) fn as_raw_fd(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }

    /// Asks for a dump and hands every message of type `wanted` to `each`, without its header.
    ///
    /// # Errors
    ///
    /// The kernel's own answer; `TimedOut` where the dump does not end within a minute; whatever `each` answers.
    pub(super) fn dump(
        &mut self,
        request: u16,
        body: &[u8],
        wanted: u16,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<DumpEnd> {
        self.sequence += 1;
        let message = dump_request(request, body, self.sequence);
        rustix::net::sendto(&self.socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let began = Instant::now();
        let mut end = DumpEnd::default();
        let mut datagram = vec![0; 256 << 10];
        while began.elapsed() < DUMP_CAP {
            let (_, length, sender) =
                match rustix::net::recvfrom(&self.socket, datagram.as_mut_slice(), RecvFlags::TRUNC) {
                    Err(Errno::INTR) => continue,
                    received => received?,
                };
            if !sender
                .is_some_and(|sender| SocketAddrNetlink::try_from(sender).is_ok_and(|from| from.pid() == 0))
            {
                continue;
            }
            if length > datagram.len() {
                end.malformed += 1;
            }
            let received = &datagram[..length.min(datagram.len())];
            if read_datagram(received, self.sequence, wanted, &mut end, each)? == Progress::Done {
                return Ok(end);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel's answer did not end"))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

fn dump_request(request: u16, body: &[u8], sequence: u32) -> Vec<u8> {
    // Every request here is a few dozen bytes.
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&request.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&0u32.to_ne_bytes());
    message.extend_from_slice(body);
    message
}

fn read_datagram(
    mut rest: &[u8],
    sequence: u32,
    wanted: u16,
    end: &mut DumpEnd,
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Progress> {
    while !rest.is_empty() {
        let length = read_u32(rest, 0).map_or(0, |length| length as usize);
        let (Some(kind), Some(flags), Some(answers)) =
            (read_u16(rest, 4), read_u16(rest, 6), read_u32(rest, 8))
        else {
            end.malformed += 1;
            break;
        };
        let Some(body) = rest.get(HEADER..length) else {
            end.malformed += 1;
            break;
        };
        if answers == sequence {
            end.interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match kind {
                NLMSG_DONE | NLMSG_ERROR => return answer_code(body).map(|()| Progress::Done),
                kind if kind == wanted => each(body)?,
                NLMSG_NOOP => {}
                _ => end.malformed += 1,
            }
        }
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    Ok(Progress::More)
}

/// The end of a dump and an error both begin with a negated error number, or zero.
fn answer_code(body: &[u8]) -> io::Result<()> {
    match read_u32(body, 0).map(u32::cast_signed) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        _ => Ok(()),
    }
}

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// The attributes behind the fixed part of a message: type without its flags, and value. Ends at the first whose length
/// contradicts the message's.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(rest, 0)?);
        let kind = read_u16(rest, 2)?;
        let value = rest.get(4..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind & 0x3fff, value))
    })
}

/// The value of the first attribute of type `kind`.
pub(super) fn attribute(message: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(message).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A text attribute without the NUL that ends it.
pub(super) fn until_nul(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Reads a 16-bit number in the host's byte order at `at`.
pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads a 32-bit number in the host's byte order at `at`.
pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads a 64-bit number in the host's byte order at `at`.
pub(super) fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads an IP address in network order: four bytes or sixteen.
pub(super) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(datagram: &[u8]) -> (Vec<Vec<u8>>, DumpEnd, io::Result<Progress>) {
        let mut bodies = Vec::new();
        let mut end = DumpEnd::default();
        let progress = read_datagram(datagram, 1, 16, &mut end, &mut |body| {
            bodies.push(body.to_vec());
            Ok(())
        });
        (bodies, end, progress)
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = dump_request(kind, body, 1);
        message[6..8].fill(0);
        message
    }

    #[test]
    fn messages_of_one_datagram_are_read_to_the_end_of_the_dump() {
        let datagram = [message(16, b"abcd"), message(16, b"efgh"), message(NLMSG_DONE, &[0; 4])].concat();
        let (bodies, end, progress) = read_all(&datagram);
        assert_eq!(bodies, [b"abcd", b"efgh"]);
        assert_eq!(end, DumpEnd::default());
        assert_eq!(progress.unwrap(), Progress::Done);
    }

    #[test]
    fn every_truncation_of_a_datagram_is_counted_or_harmless() {
        let whole = [message(16, b"abcdefgh"), message(16, b"ijkl")].concat();
        for length in 1..whole.len() {
            let (bodies, end, _) = read_all(&whole[..length]);
            assert!(bodies.len() < 2);
            assert_eq!(end.malformed, u64::from(length != 24), "cut at {length}");
        }
    }

    #[test]
    fn message_length_zero_does_not_loop() {
        let (bodies, end, progress) = read_all(&[0; 64]);
        assert!(bodies.is_empty());
        assert_eq!(end.malformed, 1);
        assert_eq!(progress.unwrap(), Progress::More);
    }

    #[test]
    fn error_answer_becomes_the_kernels_error() {
        let (_, _, progress) = read_all(&message(NLMSG_ERROR, &(-2i32).to_ne_bytes()));
        assert_eq!(progress.unwrap_err().kind(), io::ErrorKind::NotFound);
        let (_, _, progress) = read_all(&message(NLMSG_ERROR, &i32::MIN.to_ne_bytes()));
        assert!(progress.is_err());
    }

    #[test]
    fn attributes_end_at_a_length_that_lies() {
        let lying = [5, 0, 1, 0, b'x', 0, 0, 0, 200, 0, 2, 0, b'y'];
        assert_eq!(attributes(&lying).collect::<Vec<_>>(), [(1, &b"x"[..])]);
        assert_eq!(attributes(&[0; 16]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
    }
}
