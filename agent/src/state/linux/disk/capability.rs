//! Owns the reading of file capabilities; refuses a form the kernel would refuse.

/// `CAP_*` of `linux/capability.h`, by number.
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

/// Spells `security.capability` as `cap_net_raw=ep`, several parted by a space; `rootid=` where it counts in one user
/// namespace only. Nothing where it is not in the kernel's form.
pub(super) fn capabilities(value: &[u8]) -> Option<String> {
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
        let name = NAMES.get(bit).map_or_else(|| bit.to_string(), |name| (*name).to_owned());
        spelled.push(format!("cap_{name}={effective}{flags}"));
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
        assert_eq!(capabilities(&ping).as_deref(), Some("cap_net_raw=ep"));
        let in_namespace = [&[0, 0, 0, 3], &ping[4..], &[0xe8, 3, 0, 0]].concat();
        assert_eq!(capabilities(&in_namespace).as_deref(), Some("cap_net_raw=p rootid=1000"));
        for end in 0..ping.len() {
            assert_eq!(capabilities(&ping[..end]), None);
        }
        assert_eq!(capabilities(&[0xff; 20]), None);
    }
}
