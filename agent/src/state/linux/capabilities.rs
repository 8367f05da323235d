//! Owns capabilities: their names, and those of files as rpm writes them and as the file system keeps them
//! (capabilities(7)); refuses names and forms it does not know.

/// Capabilities of a file, as two sets and whether they take effect at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    permitted: u64,
    inheritable: u64,
    effective: bool,
}

/// Their names, in the order of their numbers in `linux/capability.h`.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The name of a capability without `cap_`; its number where it has none here.
pub(super) fn name(number: usize) -> String {
    NAMES.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// Parses a text such as `= cap_net_admin,cap_net_raw+ep` or `cap_net_raw=p` (cap_from_text(3)).
pub(super) fn of_text(text: &[u8]) -> Option<Capabilities> {
    let text = std::str::from_utf8(text).ok()?;
    let (mut permitted, mut inheritable, mut effective) = (0_u64, 0_u64, 0_u64);
    for clause in text.split_ascii_whitespace() {
        let operators = clause.find(['=', '+', '-'])?;
        let (names, mut actions) = clause.split_at(operators);
        let mut which = 0;
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let name = name.to_ascii_lowercase();
            which |= if name == "all" { ALL } else { 1 << number_of(&name)? };
        }
        if names.is_empty() {
            which = ALL;
        }
        while let Some(operator) = actions.chars().next() {
            let rest = actions.get(1..)?;
            let end = rest.find(['=', '+', '-']).unwrap_or(rest.len());
            let (flags, next) = rest.split_at(end);
            if operator == '=' {
                (permitted, inheritable, effective) =
                    (permitted & !which, inheritable & !which, effective & !which);
            }
            for flag in flags.chars() {
                let set = match flag {
                    'p' => &mut permitted,
                    'i' => &mut inheritable,
                    'e' => &mut effective,
                    _ => return None,
                };
                if operator == '-' { *set &= !which } else { *set |= which }
            }
            actions = next;
        }
    }
    Some(Capabilities { permitted, inheritable, effective: effective != 0 })
}

const ALL: u64 = (1 << NAMES.len()) - 1;

fn number_of(name: &str) -> Option<usize> {
    let name = name.strip_prefix("cap_")?;
    NAMES.iter().position(|known| *known == name).or_else(|| name.parse().ok().filter(|number| *number < 63))
}

/// Parses the value of `security.capability`; an empty one stands for none.
pub(super) fn of_attribute(value: &[u8]) -> Option<Capabilities> {
    if value.is_empty() {
        return Some(Capabilities::default());
    }
    let word = |at: usize| {
        let bytes = value.get(at * 4..at * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let magic = word(0)?;
    let wide = match magic >> 24 {
        1 => false,
        2 | 3 => true,
        _ => return None,
    };
    let set = |low: usize| {
        let high = if wide { u64::from(word(low + 2)?) << 32 } else { 0 };
        Some(u64::from(word(low)?) | high)
    };
    Some(Capabilities { permitted: set(1)?, inheritable: set(2)?, effective: magic & 1 != 0 })
}

/// Spells `security.capability` as `cap_net_raw=ep`, several parted by a space; `rootid=` where it counts in one user
/// namespace only. Nothing where it is not in the kernel's form.
pub(super) fn spelled(value: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let magic = word(0)?;
    let (words, length) = match magic >> 24 {
        1 => (1, 12),
        2 => (2, 20),
        3 => (2, 24),
        _ => return None,
    };
    if value.len() != length {
        return None;
    }
    let (mut permitted, mut inheritable) = (0u64, 0u64);
    for index in 0..words {
        permitted |= u64::from(word(4 + index * 8)?) << (32 * index);
        inheritable |= u64::from(word(8 + index * 8)?) << (32 * index);
    }
    let effective = if magic & 1 != 0 { "e" } else { "" };
    let mut spelled = Vec::new();
    for bit in 0..64usize {
        let flags = match (permitted >> bit & 1, inheritable >> bit & 1) {
            (0, 0) => continue,
            (1, 0) => "p",
            (0, _) => "i",
            _ => "ip",
        };
        spelled.push(format!("cap_{}={effective}{flags}", name(bit)));
    }
    if length == 24 {
        spelled.push(format!("rootid={}", word(20)?));
    }
    Some(spelled.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_of_ping_is_spelled_and_garbage_is_refused() {
        let ping = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(spelled(&ping).as_deref(), Some("cap_net_raw=ep"));
        let in_namespace = [&[0, 0, 0, 3], &ping[4..], &[0xe8, 3, 0, 0]].concat();
        assert_eq!(spelled(&in_namespace).as_deref(), Some("cap_net_raw=p rootid=1000"));
        for end in 0..ping.len() {
            assert_eq!(spelled(&ping[..end]), None);
        }
        assert_eq!(spelled(&[0xff; 20]), None);
    }

    #[test]
    fn text_and_attribute_of_the_same_capabilities_are_equal() {
        let expected = Some(Capabilities { permitted: 1 << 12 | 1 << 13, inheritable: 0, effective: true });
        assert_eq!(of_text(b"= cap_net_admin,cap_net_raw+ep"), expected);
        assert_eq!(of_text(b"cap_net_admin,cap_net_raw=ep"), expected);
        let attribute = [1, 0, 0, 2, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of_attribute(&attribute), expected);
        assert_eq!(
            of_text(b"cap_bpf+p"),
            Some(Capabilities { permitted: 1 << 39, ..Capabilities::default() })
        );
        assert_eq!(of_text(b""), of_attribute(b""));
        assert_eq!(of_text(b"=ep cap_setuid-ep").map(|found| found.permitted), Some(ALL & !(1 << 7)));
    }

    #[test]
    fn garbage_capabilities_are_refused() {
        for garbage in [&b"cap_none+p"[..], b"cap_chown", b"cap_chown+x", b"\xff=p", b"cap_99=p"] {
            assert_eq!(of_text(garbage), None);
        }
        for garbage in [&b"\x01"[..], b"\0\0\0\x02\0\0\0\0", b"\0\0\0\x09\0\0\0\0\0\0\0\0"] {
            assert_eq!(of_attribute(garbage), None);
        }
    }
}
