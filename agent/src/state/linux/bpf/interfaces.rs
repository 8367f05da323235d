//! Owns the search for BPF programs at network interfaces (XDP, traffic control, tcx, netkit); refuses to look into
//! other network namespaces, whose programs the listing of all programs shows.

use std::io;

use super::names::{attach_type, interface_places};
use crate::source::{BpfTarget, bpf_attached};
use crate::state::TableCapture;
use crate::state::linux::interfaces::{IFLA_IFNAME, IFLA_XDP, RTM_GETLINK, RTM_NEWLINK, note_end};
use crate::state::linux::netlink::{Netlink, attribute, attributes, read_u32, until_nul};

/// One program at one interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AtInterface {
    pub(super) interface: Vec<u8>,
    pub(super) place: String,
    pub(super) program_id: u32,
    pub(super) flags: u32,
}

/// Interfaces that are asked at most.
const INTERFACES: usize = 10_000;

/// Filters that are remembered at most.
const FOUND: usize = 100_000;

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;

/// Bytes of `struct ifinfomsg` and of `struct tcmsg`.
const IFINFOMSG: usize = 16;
const TCMSG: usize = 20;

/// Places of filters: at the root queue, and at both sides of clsact (`linux/pkt_sched.h`).
const FILTERS: &[(u32, &str)] = &[(0, "tc_root"), (0xffff_fff2, "tc_ingress"), (0xffff_fff3, "tc_egress")];

/// Finds the programs at the interfaces of the agent's network namespace.
pub(super) fn programs_at_interfaces(capture: &mut TableCapture<'_>) -> io::Result<Vec<AtInterface>> {
    let mut found = Vec::new();
    let mut interfaces = Vec::new();
    let mut netlink = match Netlink::open(None) {
        Ok(netlink) => netlink,
        Err(reason) => {
            capture.gap("rtnetlink", &reason);
            return Ok(found);
        }
    };
    let (mut unreadable, mut unasked) = (0, 0u64);
    let listed = netlink.dump(RTM_GETLINK, &[0; IFINFOMSG], RTM_NEWLINK, &mut |link| {
        match interface(link) {
            None => unreadable += 1,
            // The dump goes on to its end: the kernel takes no other question before.
            Some(_) if interfaces.len() == INTERFACES => unasked += 1,
            Some((index, name)) => {
                add_express_programs(&mut found, link, &name);
                interfaces.push((index, name));
            }
        }
        Ok(())
    });
    note_end(capture, "rtnetlink RTM_GETLINK (programs)", listed, unreadable);
    note_left_out(capture, "rtnetlink: programs at interfaces", unasked, "interfaces are not asked");
    let mut tells = true;
    for (index, name) in interfaces {
        capture.go_on()?;
        add_filters(capture, &mut netlink, &mut found, index, &name);
        tells = tells && add_attached(capture, &mut found, index, &name);
    }
    Ok(found)
}

/// Adds the programs that bpf(2) tells of; false where the kernel refuses to tell of any.
fn add_attached(
    capture: &mut TableCapture<'_>,
    found: &mut Vec<AtInterface>,
    index: u32,
    name: &[u8],
) -> bool {
    for (number, place) in interface_places().map(|place| (place, attach_type(place))) {
        match bpf_attached(BpfTarget::Interface(index), number) {
            Ok((programs, flags)) => found.extend(programs.into_iter().map(|program_id| AtInterface {
                interface: name.to_vec(),
                place: place.clone(),
                program_id,
                flags,
            })),
            Err(reason) if has_none(&reason, &place) => {}
            Err(reason) if reason.kind() == io::ErrorKind::PermissionDenied => {
                capture.gap("bpf(2) programs at interfaces", &reason);
                return false;
            }
            Err(reason) => {
                capture.gap(format!("bpf(2) {place} programs of {}", String::from_utf8_lossy(name)), &reason);
            }
        }
    }
    true
}

/// Whether `reason` says that there is nothing to tell: kernels before Linux 6.6 know no such place, netkit places are
/// only at netkit interfaces and answer only for the first one of a pair, and an interface may be gone.
fn has_none(reason: &io::Error, place: &str) -> bool {
    match reason.raw_os_error() {
        Some(libc::EINVAL | libc::ENODEV | libc::ENOENT | libc::EOPNOTSUPP) => true,
        Some(libc::ENXIO | libc::EACCES) => place.starts_with("netkit_"),
        _ => false,
    }
}

fn note_left_out(capture: &mut TableCapture<'_>, subject: &str, count: u64, what: &str) {
    if count > 0 {
        capture.gap(subject, &io::Error::new(io::ErrorKind::QuotaExceeded, format!("{count} {what}")));
    }
}

fn interface(link: &[u8]) -> Option<(u32, Vec<u8>)> {
    let name = attribute(link.get(IFINFOMSG..)?, IFLA_IFNAME)?;
    Some((read_u32(link, 4)?, until_nul(name).to_vec()))
}

/// `IFLA_XDP`: the number of the program for each mode.
fn add_express_programs(found: &mut Vec<AtInterface>, link: &[u8], name: &[u8]) {
    let Some(express) = link.get(IFINFOMSG..).and_then(|rest| attribute(rest, IFLA_XDP)) else { return };
    for (kind, value) in attributes(express) {
        let place = match kind {
            5 => "xdp_driver",
            6 => "xdp_generic",
            7 => "xdp_offload",
            // 4 repeats the one program where there is one.
            _ => continue,
        };
        if let Some(program_id) = read_u32(value, 0).filter(|id| *id != 0) {
            let place = place.to_owned();
            found.push(AtInterface { interface: name.to_vec(), place, program_id, flags: 0 });
        }
    }
}

fn add_filters(
    capture: &mut TableCapture<'_>,
    netlink: &mut Netlink,
    found: &mut Vec<AtInterface>,
    index: u32,
    name: &[u8],
) {
    for (parent, place) in FILTERS {
        let mut request = [0; TCMSG];
        request[4..8].copy_from_slice(&index.to_ne_bytes());
        request[12..16].copy_from_slice(&parent.to_ne_bytes());
        let mut left_out = 0;
        let listed = netlink.dump(RTM_GETTFILTER, &request, RTM_NEWTFILTER, &mut |filter| {
            if let Some(program_id) = filter_program(filter) {
                if found.len() >= FOUND {
                    left_out += 1;
                    return Ok(());
                }
                let place = (*place).to_owned();
                found.push(AtInterface { interface: name.to_vec(), place, program_id, flags: 0 });
            }
            Ok(())
        });
        // An interface that is gone meanwhile, and a kernel without traffic control, have no filters.
        let none = |reason: &io::Error| {
            matches!(reason.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL))
        };
        let subject = format!("rtnetlink RTM_GETTFILTER {}", String::from_utf8_lossy(name));
        note_left_out(capture, &subject, left_out, "programs are not shown");
        if !listed.as_ref().is_err_and(none) {
            note_end(capture, &subject, listed, 0);
        }
    }
}

/// The program of a filter whose kind is bpf.
fn filter_program(filter: &[u8]) -> Option<u32> {
    let rest = filter.get(TCMSG..)?;
    if until_nul(attribute(rest, TCA_KIND)?) != b"bpf" {
        return None;
    }
    read_u32(attribute(attribute(rest, TCA_OPTIONS)?, TCA_BPF_ID)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn filter_of_kind_bpf_has_its_program_and_others_have_none() {
        let options = attribute_of(TCA_OPTIONS, &attribute_of(TCA_BPF_ID, &7u32.to_ne_bytes()));
        let filter = |kind: &[u8]| [vec![0; TCMSG], attribute_of(TCA_KIND, kind), options.clone()].concat();
        assert_eq!(filter_program(&filter(b"bpf\0")), Some(7));
        assert_eq!(filter_program(&filter(b"u32\0")), None);
        let whole = filter(b"bpf\0");
        assert!((0..whole.len()).all(|end| filter_program(&whole[..end]).is_none()));
    }

    #[test]
    fn refusal_is_told_and_a_place_that_is_not_there_is_not() {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        assert!(!has_none(&refused, "tcx_ingress"));
        let no_netkit = io::Error::from_raw_os_error(libc::ENXIO);
        assert!(has_none(&no_netkit, "netkit_peer") && !has_none(&no_netkit, "tcx_ingress"));
    }

    #[test]
    fn express_program_is_found_by_its_mode() {
        let express =
            [attribute_of(2, &[2]), attribute_of(4, &[9, 0, 0, 0]), attribute_of(6, &9u32.to_ne_bytes())];
        let link = [vec![0; IFINFOMSG], attribute_of(IFLA_XDP, &express.concat())].concat();
        let mut found = Vec::new();
        add_express_programs(&mut found, &link, b"eth0");
        assert_eq!((found.len(), found[0].place.as_str(), found[0].program_id), (1, "xdp_generic", 9));
        for end in 0..link.len() {
            add_express_programs(&mut Vec::new(), &link[..end], b"");
        }
    }
}
