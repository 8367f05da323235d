//! Owns the kernel's names for the states and types of sockets; refuses to name a number it does not know.

use super::socket_text::MPTCP;

/// The kernel's name for a state number of `net/tcp_states.h`; other protocols use only two of them.
pub(super) fn inet_state(protocol: u16, state: u8) -> String {
    match (if protocol == MPTCP { 6 } else { protocol }, state) {
        (_, 1) => "ESTABLISHED",
        (6, 2) => "SYN_SENT",
        (6, 3) => "SYN_RECV",
        (6, 4) => "FIN_WAIT1",
        (6, 5) => "FIN_WAIT2",
        (6, 6) => "TIME_WAIT",
        (6, 7) => "CLOSED",
        (_, 7) => "UNCONNECTED",
        (6, 8) => "CLOSE_WAIT",
        (6, 9) => "LAST_ACK",
        (6, 10) => "LISTEN",
        (6, 11) => "CLOSING",
        (6, 12) => "NEW_SYN_RECV",
        (6, 13) => "BOUND_INACTIVE",
        _ => "UNKNOWN",
    }
    .to_owned()
}

/// The name of a socket type of `linux/net.h`, or its number.
pub(super) fn socket_type(kind: u64) -> String {
    match kind {
        1 => "stream".to_owned(),
        2 => "dgram".to_owned(),
        3 => "raw".to_owned(),
        4 => "rdm".to_owned(),
        5 => "seqpacket".to_owned(),
        10 => "packet".to_owned(),
        other => other.to_string(),
    }
}
