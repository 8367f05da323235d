//! Owns the names and forms of nf_tables attributes (`linux/netfilter/nf_tables.h`); refuses logic.

use super::attributes::Form::{
    Bytes, Data, Expression, Expressions, I32, List, Named, Nested, Text, Texts, U8, U16, U32, U64,
};
use super::attributes::Shape;

pub(super) const TABLE: Shape = &[
    (1, "table", Text),
    (2, "flags", U32),
    (3, "use", U32),
    (4, "handle", U64),
    (6, "userdata", Bytes),
    (7, "owner", U32),
];

pub(super) const CHAIN: Shape = &[
    (1, "table", Text),
    (2, "handle", U64),
    (3, "chain", Text),
    (4, "hook", Nested(HOOK)),
    (5, "policy", Named(&["drop", "accept"])),
    (6, "use", U32),
    (7, "type", Text),
    (8, "counters", Nested(COUNTER)),
    (10, "flags", U32),
    (11, "id", U32),
    (12, "userdata", Bytes),
];

const HOOK: Shape = &[(1, "number", U32), (2, "priority", I32), (3, "device", Text), (4, "devices", Texts)];

pub(super) const RULE: Shape = &[
    (1, "table", Text),
    (2, "chain", Text),
    (3, "handle", U64),
    (4, "expressions", Expressions),
    (5, "compat", Nested(&[(1, "protocol", U32), (2, "flags", U32)])),
    (6, "previous_handle", U64),
    (7, "userdata", Bytes),
    (9, "id", U32),
];

pub(super) const SET: Shape = &[
    (1, "table", Text),
    (2, "name", Text),
    (3, "flags", U32),
    (4, "key_type", U32),
    (5, "key_length", U32),
    (6, "data_type", U32),
    (7, "data_length", U32),
    (8, "set_policy", Named(&["performance", "memory"])),
    (9, "description", Nested(&[(1, "size", U32), (2, "concatenated", List(&[(1, "length", U32)]))])),
    (10, "id", U32),
    (11, "timeout_ms", U64),
    (12, "garbage_collection_ms", U32),
    (13, "userdata", Bytes),
    (15, "object_type", Named(OBJECTS)),
    (16, "handle", U64),
    (17, "element_expression", Expression),
    (18, "element_expressions", Expressions),
    (19, "set_type", Text),
    (20, "count", U32),
];

pub(super) const ELEMENT: Shape = &[
    (1, "key", Data),
    (2, "data", Data),
    (3, "flags", U32),
    (4, "timeout_ms", U64),
    (5, "expires_in_ms", U64),
    (6, "userdata", Bytes),
    (7, "element_expression", Expression),
    (9, "object", Text),
    (10, "key_end", Data),
    (11, "element_expressions", Expressions),
];

pub(super) const OBJECT: Shape = &[
    (1, "table", Text),
    (2, "name", Text),
    (3, "type", Named(OBJECTS)),
    (4, "data", Bytes),
    (5, "use", U32),
    (6, "handle", U64),
    (8, "userdata", Bytes),
];

/// The names of `NFT_OBJECT_*`.
pub(super) const OBJECTS: &[&str] = &[
    "unspecified",
    "counter",
    "quota",
    "ct_helper",
    "limit",
    "connlimit",
    "tunnel",
    "ct_timeout",
    "secmark",
    "ct_expectation",
    "synproxy",
];

pub(super) const FLOWTABLE: Shape = &[
    (1, "table", Text),
    (2, "name", Text),
    (3, "hook", Nested(&[(1, "number", U32), (2, "priority", I32), (3, "devices", Texts)])),
    (4, "use", U32),
    (5, "handle", U64),
    (7, "flags", U32),
];

pub(super) const VERDICT: Shape = &[(1, "verdict", I32), (2, "chain", Text), (3, "chain_id", U32)];

const COUNTER: Shape = &[(1, "bytes", U64), (2, "packets", U64)];
const QUOTA: Shape = &[(1, "bytes", U64), (2, "flags", U32), (4, "consumed", U64)];
const LIMIT: Shape = &[
    (1, "rate", U64),
    (2, "unit_seconds", U64),
    (3, "burst", U32),
    (4, "counts", Named(&["packets", "bytes"])),
    (5, "flags", U32),
];
const CONNLIMIT: Shape = &[(1, "count", U32), (2, "flags", U32)];
const SYNPROXY: Shape = &[(1, "mss", U16), (2, "wscale", U8), (3, "flags", U32)];
const XTABLES: Shape = &[(1, "name", Text), (2, "revision", U32), (3, "information", Bytes)];

/// The shape of an object's data, by the name of its type.
pub(super) fn object(kind: &str) -> Option<Shape> {
    Some(match kind {
        "counter" => COUNTER,
        "quota" => QUOTA,
        "limit" => LIMIT,
        "connlimit" => CONNLIMIT,
        "synproxy" => SYNPROXY,
        "ct_helper" => &[(1, "helper", Text), (2, "network_protocol", U16), (3, "transport_protocol", U8)],
        "ct_timeout" => {
            &[(1, "network_protocol", U16), (2, "transport_protocol", U8), (3, "timeouts", Bytes)]
        }
        "secmark" => &[(1, "context", Text)],
        _ => return None,
    })
}

/// The shape of an expression, by its name.
pub(super) fn expression(name: &str) -> Option<Shape> {
    EXPRESSIONS.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

const EXPRESSIONS: &[(&str, Shape)] = &[
    ("immediate", &[(1, "destination_register", U32), (2, "data", Data)]),
    ("cmp", &[(1, "register", U32), (2, "operator", Named(COMPARISONS)), (3, "data", Data)]),
    (
        "range",
        &[(1, "register", U32), (2, "operator", Named(&["eq", "neq"])), (3, "from", Data), (4, "to", Data)],
    ),
    (
        "payload",
        &[
            (1, "destination_register", U32),
            (2, "base", Named(&["link", "network", "transport", "inner", "tunnel"])),
            (3, "offset", U32),
            (4, "length", U32),
            (5, "source_register", U32),
            (6, "checksum_type", U32),
            (7, "checksum_offset", U32),
            (8, "checksum_flags", U32),
        ],
    ),
    ("meta", &[(1, "destination_register", U32), (2, "key", Named(META)), (3, "source_register", U32)]),
    (
        "ct",
        &[
            (1, "destination_register", U32),
            (2, "key", Named(CONNECTION)),
            (3, "direction", U8),
            (4, "source_register", U32),
        ],
    ),
    (
        "bitwise",
        &[
            (1, "source_register", U32),
            (2, "destination_register", U32),
            (3, "length", U32),
            (4, "mask", Data),
            (5, "xor", Data),
            (6, "operator", Named(&["mask_xor", "shift_left", "shift_right", "and", "or", "xor"])),
            (7, "data", Data),
            (8, "second_source_register", U32),
        ],
    ),
    (
        "byteorder",
        &[
            (1, "source_register", U32),
            (2, "destination_register", U32),
            (3, "operator", Named(&["ntoh", "hton"])),
            (4, "length", U32),
            (5, "size", U32),
        ],
    ),
    (
        "lookup",
        &[
            (1, "set", Text),
            (2, "source_register", U32),
            (3, "destination_register", U32),
            (4, "set_id", U32),
            (5, "flags", U32),
        ],
    ),
    (
        "dynset",
        &[
            (1, "set", Text),
            (2, "set_id", U32),
            (3, "operator", Named(&["add", "update", "delete"])),
            (4, "key_register", U32),
            (5, "data_register", U32),
            (6, "timeout_ms", U64),
            (7, "element_expression", Expression),
            (9, "flags", U32),
            (10, "element_expressions", Expressions),
        ],
    ),
    ("counter", COUNTER),
    ("quota", QUOTA),
    ("limit", LIMIT),
    ("connlimit", CONNLIMIT),
    ("synproxy", SYNPROXY),
    ("last", &[(1, "set", U32), (2, "milliseconds_ago", U64)]),
    (
        "log",
        &[
            (1, "group", U16),
            (2, "prefix", Text),
            (3, "snap_length", U32),
            (4, "queue_threshold", U16),
            (5, "level", U32),
            (6, "flags", U32),
        ],
    ),
    (
        "reject",
        &[(1, "type", Named(&["icmp_unreachable", "tcp_reset", "icmpx_unreachable"])), (2, "icmp_code", U8)],
    ),
    (
        "nat",
        &[
            (1, "type", Named(&["snat", "dnat"])),
            (2, "family", U32),
            (3, "address_register_first", U32),
            (4, "address_register_last", U32),
            (5, "port_register_first", U32),
            (6, "port_register_last", U32),
            (7, "flags", U32),
        ],
    ),
    ("masq", &[(1, "flags", U32), (2, "port_register_first", U32), (3, "port_register_last", U32)]),
    ("redir", &[(1, "port_register_first", U32), (2, "port_register_last", U32), (3, "flags", U32)]),
    ("tproxy", &[(1, "family", U32), (2, "address_register", U32), (3, "port_register", U32)]),
    ("dup", &[(1, "address_register", U32), (2, "device_register", U32)]),
    ("fwd", &[(1, "device_register", U32), (2, "address_register", U32), (3, "family", U32)]),
    ("queue", &[(1, "number", U16), (2, "total", U16), (3, "flags", U16), (4, "number_register", U32)]),
    (
        "objref",
        &[
            (1, "type", Named(OBJECTS)),
            (2, "object", Text),
            (3, "set_register", U32),
            (4, "set", Text),
            (5, "set_id", U32),
        ],
    ),
    ("flow_offload", &[(1, "flowtable", Text)]),
    (
        "rt",
        &[
            (1, "destination_register", U32),
            (2, "key", Named(&["classid", "nexthop4", "nexthop6", "tcpmss", "xfrm"])),
        ],
    ),
    (
        "socket",
        &[
            (1, "key", Named(&["transparent", "mark", "wildcard", "cgroupv2"])),
            (2, "destination_register", U32),
            (3, "level", U32),
        ],
    ),
    (
        "exthdr",
        &[
            (1, "destination_register", U32),
            (2, "type", U8),
            (3, "offset", U32),
            (4, "length", U32),
            (5, "flags", U32),
            (6, "operator", Named(&["ipv6", "tcpopt", "ipv4", "sctp", "dccp"])),
            (7, "source_register", U32),
        ],
    ),
    (
        "hash",
        &[
            (1, "source_register", U32),
            (2, "destination_register", U32),
            (3, "length", U32),
            (4, "modulus", U32),
            (5, "seed", U32),
            (6, "offset", U32),
            (7, "type", Named(&["jenkins", "symmetric"])),
        ],
    ),
    (
        "numgen",
        &[
            (1, "destination_register", U32),
            (2, "modulus", U32),
            (3, "type", Named(&["incremental", "random"])),
            (4, "offset", U32),
        ],
    ),
    (
        "fib",
        &[
            (1, "destination_register", U32),
            (2, "result", Named(&["unspecified", "oif", "oifname", "addrtype"])),
            (3, "flags", U32),
        ],
    ),
    ("osf", &[(1, "destination_register", U32), (2, "ttl", U8), (3, "flags", U32)]),
    (
        "xfrm",
        &[
            (1, "destination_register", U32),
            (2, "key", Named(&["unspecified", "daddr4", "daddr6", "saddr4", "saddr6", "reqid", "spi"])),
            (3, "direction", U8),
            (4, "number", U32),
        ],
    ),
    ("tunnel", &[(1, "key", U32), (2, "destination_register", U32), (3, "mode", U32)]),
    // Rules made by iptables-nft: what xtables calls a match or a target.
    ("match", XTABLES),
    ("target", XTABLES),
];

const COMPARISONS: &[&str] = &["eq", "neq", "lt", "lte", "gt", "gte"];

/// `enum nft_meta_keys`.
const META: &[&str] = &[
    "len",
    "protocol",
    "priority",
    "mark",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "iiftype",
    "oiftype",
    "skuid",
    "skgid",
    "nftrace",
    "rtclassid",
    "secmark",
    "nfproto",
    "l4proto",
    "ibrname",
    "obrname",
    "pkttype",
    "cpu",
    "iifgroup",
    "oifgroup",
    "cgroup",
    "random",
    "secpath",
    "iifkind",
    "oifkind",
    "ibrpvid",
    "ibrvproto",
    "time",
    "day",
    "hour",
    "sdif",
    "sdifname",
    "broute",
    "ibrhwaddr",
];

/// `enum nft_ct_keys`.
const CONNECTION: &[&str] = &[
    "state",
    "direction",
    "status",
    "mark",
    "secmark",
    "expiration",
    "helper",
    "l3proto",
    "saddr",
    "daddr",
    "protocol",
    "proto_src",
    "proto_dst",
    "labels",
    "packets",
    "bytes",
    "avgpkt",
    "zone",
    "event",
    "saddr_ip",
    "daddr_ip",
    "saddr_ip6",
    "daddr_ip6",
    "id",
];
