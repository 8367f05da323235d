//! Owns the names of BPF types, as `linux/bpf.h` numbers them; refuses to name a number it does not know.

/// `enum bpf_prog_type`.
const PROGRAM_TYPES: &[&str] = &[
    "unspec",
    "socket_filter",
    "kprobe",
    "sched_cls",
    "sched_act",
    "tracepoint",
    "xdp",
    "perf_event",
    "cgroup_skb",
    "cgroup_sock",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "sock_ops",
    "sk_skb",
    "cgroup_device",
    "sk_msg",
    "raw_tracepoint",
    "cgroup_sock_addr",
    "lwt_seg6local",
    "lirc_mode2",
    "sk_reuseport",
    "flow_dissector",
    "cgroup_sysctl",
    "raw_tracepoint_writable",
    "cgroup_sockopt",
    "tracing",
    "struct_ops",
    "ext",
    "lsm",
    "sk_lookup",
    "syscall",
    "netfilter",
];

/// `enum bpf_map_type`.
const MAP_TYPES: &[&str] = &[
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
    "insn_array",
];

/// `enum bpf_link_type`.
const LINK_TYPES: &[&str] = &[
    "unspec",
    "raw_tracepoint",
    "tracing",
    "cgroup",
    "iter",
    "netns",
    "xdp",
    "perf_event",
    "kprobe_multi",
    "struct_ops",
    "netfilter",
    "tcx",
    "uprobe_multi",
    "netkit",
    "sockmap",
];

/// `enum bpf_attach_type`.
const ATTACH_TYPES: &[&str] = &[
    "cgroup_inet_ingress",
    "cgroup_inet_egress",
    "cgroup_inet_sock_create",
    "cgroup_sock_ops",
    "sk_skb_stream_parser",
    "sk_skb_stream_verdict",
    "cgroup_device",
    "sk_msg_verdict",
    "cgroup_inet4_bind",
    "cgroup_inet6_bind",
    "cgroup_inet4_connect",
    "cgroup_inet6_connect",
    "cgroup_inet4_post_bind",
    "cgroup_inet6_post_bind",
    "cgroup_udp4_sendmsg",
    "cgroup_udp6_sendmsg",
    "lirc_mode2",
    "flow_dissector",
    "cgroup_sysctl",
    "cgroup_udp4_recvmsg",
    "cgroup_udp6_recvmsg",
    "cgroup_getsockopt",
    "cgroup_setsockopt",
    "trace_raw_tp",
    "trace_fentry",
    "trace_fexit",
    "modify_return",
    "lsm_mac",
    "trace_iter",
    "cgroup_inet4_getpeername",
    "cgroup_inet6_getpeername",
    "cgroup_inet4_getsockname",
    "cgroup_inet6_getsockname",
    "xdp_devmap",
    "cgroup_inet_sock_release",
    "xdp_cpumap",
    "sk_lookup",
    "xdp",
    "sk_skb_verdict",
    "sk_reuseport_select",
    "sk_reuseport_select_or_migrate",
    "perf_event",
    "trace_kprobe_multi",
    "lsm_cgroup",
    "struct_ops",
    "netfilter",
    "tcx_ingress",
    "tcx_egress",
    "trace_uprobe_multi",
    "cgroup_unix_connect",
    "cgroup_unix_sendmsg",
    "cgroup_unix_recvmsg",
    "cgroup_unix_getpeername",
    "cgroup_unix_getsockname",
    "netkit_primary",
    "netkit_peer",
    "trace_kprobe_session",
    "trace_uprobe_session",
];

pub(super) fn program_type(number: u32) -> String {
    named(PROGRAM_TYPES, number)
}

pub(super) fn map_type(number: u32) -> String {
    named(MAP_TYPES, number)
}

pub(super) fn link_type(number: u32) -> String {
    named(LINK_TYPES, number)
}

pub(super) fn attach_type(number: u32) -> String {
    named(ATTACH_TYPES, number)
}

/// The places in a control group, with their numbers.
pub(super) fn cgroup_places() -> impl Iterator<Item = u32> {
    places(|name| name.starts_with("cgroup_") || name == "lsm_cgroup")
}

/// The places at a network interface that the kernel tells of by its number.
pub(super) fn interface_places() -> impl Iterator<Item = u32> {
    places(|name| name.starts_with("tcx_") || name.starts_with("netkit_"))
}

fn places(wanted: fn(&str) -> bool) -> impl Iterator<Item = u32> {
    (0..).zip(ATTACH_TYPES).filter(move |(_, name)| wanted(name)).map(|(number, _)| number)
}

fn named(names: &[&str], number: u32) -> String {
    let known = usize::try_from(number).ok().and_then(|number| names.get(number));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_names_of_the_kernels_header_and_unknown_ones_stay_numbers() {
        assert_eq!((program_type(6), program_type(29)), ("xdp".to_owned(), "lsm".to_owned()));
        assert_eq!((map_type(27), map_type(33)), ("ringbuf".to_owned(), "arena".to_owned()));
        assert_eq!((link_type(8), link_type(12)), ("kprobe_multi".to_owned(), "uprobe_multi".to_owned()));
        assert_eq!((attach_type(36), attach_type(46)), ("sk_lookup".to_owned(), "tcx_ingress".to_owned()));
        assert_eq!(program_type(u32::MAX), u32::MAX.to_string());
        assert_eq!(cgroup_places().filter(|place| attach_type(*place) == "lsm_cgroup").count(), 1);
        assert_eq!(interface_places().collect::<Vec<_>>(), [46, 47, 54, 55]);
    }
}
