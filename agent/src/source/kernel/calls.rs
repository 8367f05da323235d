//! Owns the system calls that no safe crate offers, each in its reading form; refuses to change anything of the host. The
//! one module of this platform with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the kernel says about the discipline of its clock.
#[derive(Debug, Clone, Copy)]
pub struct Discipline {
    /// The call's result: `TIME_OK` 0 to `TIME_ERROR` 5.
    pub state: i32,
    /// `STA_*` flags.
    pub status: i32,
    /// Estimated error, microseconds.
    pub estimated_error: i64,
    /// Maximum error, microseconds.
    pub max_error: i64,
}

/// Reads the discipline of the kernel's clock, adjtimex(2).
///
/// # Errors
///
/// Whatever the operating system answers.
#[allow(clippy::useless_conversion, reason = "the fields are narrower on 32-bit systems")]
pub fn discipline() -> io::Result<Discipline> {
    // SAFETY: `timex` is a plain C structure of integers, for which all bits zero is a valid value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // Already zero; written out because it is what makes the call a reading one.
    timex.modes = 0;
    // SAFETY: the pointer is to a live, exclusively borrowed `timex`, which the call fills and does not keep.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Discipline {
        state,
        status: timex.status,
        estimated_error: timex.esterror.into(),
        max_error: timex.maxerror.into(),
    })
}

/// Puts this thread, and those it starts, behind everybody else's reading and writing of disks: the idle class of
/// ioprio_set(2). The one call here that changes anything, and only of this program.
///
/// # Errors
///
/// Whatever the operating system answers.
pub fn yield_disks() -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const IDLE: libc::c_int = 3 << 13;
    // SAFETY: the call takes three numbers and no pointer; 0 stands for the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, IDLE) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The packet filters of before nftables that the kernel tells about through getsockopt(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyFilter {
    /// iptables.
    Ip,
    /// ip6tables.
    Ip6,
    /// arptables.
    Arp,
}

/// What is asked of one of their tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyAnswer {
    /// `IPT_SO_GET_INFO` and its like.
    Information,
    /// `IPT_SO_GET_ENTRIES` and its like.
    Entries,
}

/// Asks for a table of a packet filter; `buffer` holds the question and receives the answer, whose length is returned.
/// The name in it must be that of a table that is there, since the kernel would make another one.
///
/// # Errors
///
/// `InvalidInput` for a buffer past 2 GiB; whatever the operating system answers.
pub fn legacy_table(
    socket: BorrowedFd<'_>,
    filter: LegacyFilter,
    answer: LegacyAnswer,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let (level, base) = match filter {
        LegacyFilter::Ip => (libc::IPPROTO_IP, 64),
        LegacyFilter::Ip6 => (libc::IPPROTO_IPV6, 64),
        LegacyFilter::Arp => (libc::IPPROTO_IP, 96),
    };
    let option = base + i32::from(answer == LegacyAnswer::Entries);
    let room = i32::try_from(buffer.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut length =
        libc::socklen_t::try_from(room).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the pointers are to live, exclusively borrowed memory, of which the kernel writes at most `length` bytes to
    // the first; it keeps neither.
    let asked = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if asked < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len()))
}

/// A kind of object that the kernel's BPF subsystem numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpfKind {
    /// A loaded program.
    Program,
    /// A map.
    Map,
    /// A link, which holds a program to what it is attached to.
    Link,
}

/// One BPF object, held so that what is asked is about the same one.
#[derive(Debug)]
pub struct BpfObject {
    fd: OwnedFd,
    kind: BpfKind,
}

/// What the kernel tells about a BPF object.
#[derive(Debug)]
pub struct BpfDescription {
    /// `struct bpf_prog_info`, `bpf_map_info` or `bpf_link_info` of `linux/bpf.h`; zero past what this kernel knows.
    pub info: [u8; BPF_INFO],
    /// What the pointer that was asked for led to; zero past what the kernel wrote.
    pub pointed: Vec<u8>,
}

/// What a description points at: it is copied only where it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpfPointed {
    /// A program's translated instructions, 8 bytes each.
    Instructions,
    /// The numbers of a program's maps, 4 bytes each.
    MapIds,
    /// A link's name of a raw tracepoint or iterator.
    LinkName,
    /// A link's name of a kernel function, file or tracepoint behind a perf event.
    PerfName,
    /// A link's file that several user probes are in.
    UserProbePath,
    /// A link's addresses of several kernel probes, 8 bytes each.
    KernelProbeAddresses,
}

/// Bytes of the largest description that is asked for; kernels take longer ones than they know if the rest is zero.
pub const BPF_INFO: usize = 512;

/// The most that [`BpfObject::describe`] lets a description point at, in bytes.
const BPF_POINTED: usize = 16 << 20;

/// The longest name of a probe that is asked for, in bytes.
const BPF_NAME: usize = 4096;

/// Numbers of programs that one [`bpf_attached`] returns at most.
const BPF_ATTACHED: usize = 1024;

/// `union bpf_attr` of `linux/bpf.h`, long enough for every command used here.
type BpfAttributes = [u64; 16];

const BPF_PROG_GET_NEXT_ID: u32 = 11;
const BPF_MAP_GET_NEXT_ID: u32 = 12;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_MAP_GET_FD_BY_ID: u32 = 14;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_PROG_QUERY: u32 = 16;
const BPF_TASK_FD_QUERY: u32 = 20;
const BPF_LINK_GET_FD_BY_ID: u32 = 30;
const BPF_LINK_GET_NEXT_ID: u32 = 31;
const BPF_F_RDONLY: u32 = 1 << 3;

/// `enum bpf_link_type`.
const BPF_LINK_TYPE_RAW_TRACEPOINT: u32 = 1;
const BPF_LINK_TYPE_ITER: u32 = 4;
const BPF_LINK_TYPE_PERF_EVENT: u32 = 7;
const BPF_LINK_TYPE_KPROBE_MULTI: u32 = 8;
const BPF_LINK_TYPE_UPROBE_MULTI: u32 = 12;

/// The lowest number above `after` of an object of this `kind`; nothing where there is none.
///
/// # Errors
///
/// `PermissionDenied` without `CAP_SYS_ADMIN`; `Unsupported` where the kernel has no bpf(2).
pub fn bpf_next_id(kind: BpfKind, after: u32) -> io::Result<Option<u32>> {
    let command = match kind {
        BpfKind::Program => BPF_PROG_GET_NEXT_ID,
        BpfKind::Map => BPF_MAP_GET_NEXT_ID,
        BpfKind::Link => BPF_LINK_GET_NEXT_ID,
    };
    let mut attributes = BpfAttributes::default();
    attributes[0] = words(after, 0);
    // SAFETY: the command reads one number and writes one, and follows no pointer.
    match unsafe { bpf(command, &mut attributes) } {
        Ok(_) => Ok(Some(halves(attributes[0])[1])),
        Err(reason) if reason.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(reason) => Err(reason),
    }
}

/// The programs attached to what `target` is open on, or to the interface of that number, in the place `attach_type`
/// (`enum bpf_attach_type`), with the flags they were attached with.
///
/// # Errors
///
/// `InvalidInput` where the kernel has no such place; whatever the operating system answers.
pub fn bpf_attached(target: BpfTarget<'_>, attach_type: u32) -> io::Result<(Vec<u32>, u32)> {
    let target = match target {
        BpfTarget::Open(folder) => folder.as_raw_fd().cast_unsigned(),
        BpfTarget::Interface(index) => index,
    };
    let mut ids = vec![0u32; BPF_ATTACHED];
    let mut attributes = BpfAttributes::default();
    attributes[0] = words(target, attach_type);
    attributes[2] = ids.as_mut_ptr() as u64;
    attributes[3] = words(u32::try_from(ids.len()).unwrap_or_default(), 0);
    // SAFETY: the one pointer set is to `ids`, which lives through the call, with its true length behind it.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    ids.truncate(halves(attributes[3])[0] as usize);
    Ok((ids, halves(attributes[1])[1]))
}

/// The program behind one open perf event.
#[derive(Debug)]
pub struct BpfProbe {
    /// Number of the program.
    pub program_id: u32,
    /// `enum bpf_task_fd_type`.
    pub kind: u32,
    /// Name of the tracepoint, kernel function or probed file, up to its NUL; empty where the kernel has none.
    pub target: Vec<u8>,
    /// Where in it the probe lies, bytes.
    pub offset: u64,
}

/// The program behind the perf event that the process `pid` has open as `fd`.
///
/// # Errors
///
/// `NotFound` where there is no program behind it, or the descriptor is gone; otherwise as [`bpf_next_id`].
pub fn bpf_probe(pid: u32, fd: u32) -> io::Result<BpfProbe> {
    let mut target = vec![0u8; BPF_NAME];
    let mut attributes = BpfAttributes::default();
    attributes[0] = words(pid, fd);
    attributes[1] = words(0, u32::try_from(target.len()).unwrap_or_default());
    attributes[2] = target.as_mut_ptr() as u64;
    // SAFETY: the one pointer set is to `target`, which lives through the call, with its true length before it.
    unsafe { bpf(BPF_TASK_FD_QUERY, &mut attributes) }?;
    let end = target.iter().position(|byte| *byte == 0).unwrap_or(target.len());
    target.truncate(end);
    let [program_id, kind] = halves(attributes[3]);
    Ok(BpfProbe { program_id, kind, target, offset: attributes[4] })
}

/// What programs are attached to.
#[derive(Debug, Clone, Copy)]
pub enum BpfTarget<'a> {
    /// An open folder of a control group.
    Open(BorrowedFd<'a>),
    /// A network interface of the agent's own namespace, by its index.
    Interface(u32),
}

impl BpfObject {
    /// Takes hold of the object with the number `id`.
    ///
    /// # Errors
    ///
    /// `NotFound` where there is none; otherwise as [`bpf_next_id`].
    pub fn open(kind: BpfKind, id: u32) -> io::Result<Self> {
        let (command, flags) = match kind {
            BpfKind::Program => (BPF_PROG_GET_FD_BY_ID, 0),
            BpfKind::Map => (BPF_MAP_GET_FD_BY_ID, BPF_F_RDONLY),
            BpfKind::Link => (BPF_LINK_GET_FD_BY_ID, 0),
        };
        let mut attributes = BpfAttributes::default();
        attributes[0] = words(id, 0);
        attributes[1] = words(flags, 0);
        // SAFETY: the command reads two numbers and follows no pointer.
        let fd = unsafe { bpf(command, &mut attributes) }?;
        // SAFETY: the kernel has just given this descriptor, which nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, kind })
    }

    /// Asks for the description, and for at most `bytes` (of at most 16 MiB) of what it points at.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where an object of this kind points at nothing of the sort; whatever the operating system
    /// answers.
    pub fn describe(&self, pointed: Option<(BpfPointed, usize)>) -> io::Result<BpfDescription> {
        let mut info = [0u64; BPF_INFO / 8];
        let mut memory = Vec::new();
        if let Some((what, bytes)) = pointed {
            // The type of a link decides what its description means; an object keeps its type.
            let link_type = match self.kind {
                BpfKind::Link => halves(self.ask(&mut [0; BPF_INFO / 8])?)[0],
                _ => 0,
            };
            let place = place_of(self.kind, link_type, what).ok_or(io::ErrorKind::InvalidInput)?;
            let count = bytes.min(BPF_POINTED) / place.unit;
            memory = vec![0u8; count * place.unit];
            info[place.pointer] = memory.as_mut_ptr() as u64;
            let mut length = halves(info[place.length.0]);
            length[place.length.1] = u32::try_from(count).unwrap_or_default();
            info[place.length.0] = words(length[0], length[1]);
        }
        self.ask(&mut info)?;
        let mut bytes = [0; BPF_INFO];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(info) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(BpfDescription { info: bytes, pointed: memory })
    }

    /// Fills `info` and returns its first word.
    fn ask(&self, info: &mut [u64; BPF_INFO / 8]) -> io::Result<u64> {
        let mut attributes = BpfAttributes::default();
        let length = u32::try_from(BPF_INFO).unwrap_or_default();
        attributes[0] = words(self.fd.as_raw_fd().cast_unsigned(), length);
        attributes[1] = info.as_mut_ptr() as u64;
        // SAFETY: `info` lives through the call and is as long as told. All of it is zero, which asks for nothing to be
        // copied, but for one pointer to living memory with its true length, at the place that `linux/bpf.h` gives it in
        // a description of this object's kind and type.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
        Ok(info[0])
    }
}

/// Where a description has a pointer and the length of what it leads to: the word of the pointer, the word and the half
/// of the length, and the bytes that one of the length stands for.
struct Place {
    pointer: usize,
    length: (usize, usize),
    unit: usize,
}

fn place_of(kind: BpfKind, link_type: u32, what: BpfPointed) -> Option<Place> {
    let (pointer, length, unit) = match (kind, link_type, what) {
        (BpfKind::Program, _, BpfPointed::Instructions) => (4, (2, 1), 1),
        (BpfKind::Program, _, BpfPointed::MapIds) => (7, (6, 1), 4),
        (BpfKind::Link, BPF_LINK_TYPE_RAW_TRACEPOINT | BPF_LINK_TYPE_ITER, BpfPointed::LinkName) => {
            (2, (3, 0), 1)
        }
        (BpfKind::Link, BPF_LINK_TYPE_PERF_EVENT, BpfPointed::PerfName) => (3, (4, 0), 1),
        (BpfKind::Link, BPF_LINK_TYPE_UPROBE_MULTI, BpfPointed::UserProbePath) => (2, (6, 0), 1),
        (BpfKind::Link, BPF_LINK_TYPE_KPROBE_MULTI, BpfPointed::KernelProbeAddresses) => (2, (3, 0), 8),
        _ => return None,
    };
    Some(Place { pointer, length, unit })
}

/// bpf(2).
///
/// # Safety
///
/// `command` must be one of the reading ones named above, and every pointer that it takes from `attributes` must be good
/// for the length that stands beside it.
unsafe fn bpf(command: u32, attributes: &mut BpfAttributes) -> io::Result<i32> {
    let size = size_of::<BpfAttributes>();
    // SAFETY: as the caller promises; the kernel copies the attributes and does not keep them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

/// Two numbers that lie behind one another in memory, as the word they fill.
fn words(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The two numbers that fill a word.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}
