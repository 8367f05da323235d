//! Owns the table of the nftables ruleset; refuses to ask where nf_tables is not there, and to reset a counter.

mod attributes;
mod shapes;

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use serde::Serialize;
use serde_json::{Map, Value};

use super::interfaces::note_dump;
use super::module_presence::Presence;
use super::netlink::{Netlink, attribute, attributes};
use super::network_namespaces::{NetworkNamespace, network_namespaces, not_entered};
use super::text::optional;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};
use attributes::{Shape, read};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "nftables",
    about: "The nftables ruleset of every network namespace: tables, chains, rules, sets, elements, objects, flowtables.",
    sources: &["netlink nfnetlink NFT_MSG_GET*", "every network namespace"],
    group: Group::Network,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_ruleset,
};

/// One part of an nftables ruleset; the rules of a chain stand in the order they are tried.
#[derive(Serialize)]
struct NftablesRow {
    /// Derived: Inode number of the network namespace it belongs to, as in `process_open_sockets`.
    net_namespace: String,
    /// Derived: What it is: table, chain, rule, set, element, object or flowtable.
    kind: &'static str,
    /// Derived: ip, ip6, inet, arp, bridge, netdev, or the family's number.
    family: String,
    /// Derived: Table it belongs to, or its own name.
    table: Option<String>,
    /// Derived: Base64 of the exact bytes behind `table`; null where `table` is those bytes verbatim.
    table_raw: Option<String>,
    /// Derived: Chain a rule belongs to, or the chain's own name; null for the rest.
    chain: Option<String>,
    /// Derived: Base64 of the exact bytes behind `chain`; null where `chain` is those bytes verbatim.
    chain_raw: Option<String>,
    /// Derived: Name of a set, object or flowtable, or the set an element belongs to; null for the rest.
    name: Option<String>,
    /// Derived: Base64 of the exact bytes behind `name`; null where `name` is those bytes verbatim.
    name_raw: Option<String>,
    /// Derived: Number by which the kernel knows it; null where it has none.
    handle: Option<u64>,
    /// Derived: Type of a base chain (filter, nat, route) or of an object (counter, quota, ...); null for the rest.
    r#type: Option<String>,
    /// Derived: Hook a base chain or flowtable is at: prerouting, input, forward, output, postrouting, ingress, egress,
    /// or its number.
    hook: Option<String>,
    /// Derived: Order among what is at the same hook, the lowest first; null where it is at none.
    priority: Option<i64>,
    /// Derived: What a base chain does with packets that no rule decides on: accept or drop; null for the rest.
    policy: Option<String>,
    /// Derived: Comment it was given; null where none.
    comment: Option<String>,
    /// Derived: Base64 of the exact bytes behind `comment`; null where `comment` is those bytes verbatim.
    comment_raw: Option<String>,
    /// Derived: Packets counted by the chain, the object, or the first counter of the rule or element; null where
    /// nothing counts.
    packets: Option<u64>,
    /// Derived: Bytes counted likewise.
    bytes: Option<u64>,
    /// Derived: What a rule tests and does, in order: an object for each expression with its name under `expression` and
    /// its attributes by name. Values are in hexadecimal as they stand in the registers; the data of an expression that is
    /// not known is base64. Empty for the rest.
    expressions: Vec<Value>,
    /// Derived: The other attributes by name; those that are not known under `unknown` with type and base64.
    attributes: Map<String, Value>,
}

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of the type of a message.
const SUBSYSTEM: u16 = 10 << 8;
const GET_ELEMENTS: Question = Question { kind: "element", get: 13, answer: 12, shape: shapes::ELEMENT };
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;

/// Sets of one namespace whose elements are asked for.
const SET_CAP: usize = 65_536;

/// What is asked for, in this order.
const QUESTIONS: &[Question] = &[
    Question { kind: "table", get: 1, answer: 0, shape: shapes::TABLE },
    Question { kind: "chain", get: 4, answer: 3, shape: shapes::CHAIN },
    Question { kind: "rule", get: 7, answer: 6, shape: shapes::RULE },
    Question { kind: "object", get: 19, answer: 18, shape: shapes::OBJECT },
    Question { kind: "flowtable", get: 23, answer: 22, shape: shapes::FLOWTABLE },
    Question { kind: "set", get: 10, answer: 9, shape: shapes::SET },
];

/// One kind of thing: the messages that ask for it and tell it.
struct Question {
    kind: &'static str,
    get: u16,
    answer: u16,
    shape: Shape,
}

/// A set, by which its elements are asked for.
struct Set {
    family: u8,
    table: Vec<u8>,
    name: Vec<u8>,
}

/// Captures the table.
fn capture_ruleset(capture: &mut TableCapture<'_>) -> io::Result<()> {
    match Presence::read().has_all(&["nfnetlink", "nf_tables"]) {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(reason) => {
            capture.gap("nf_tables: not asked", &reason);
            return Ok(());
        }
    }
    for namespace in network_namespaces(capture)? {
        capture.go_on()?;
        match namespace.netlink(Some(NETFILTER)) {
            Ok(mut netlink) => capture_namespace(capture, &namespace, &mut netlink)?,
            // A kernel without netfilter.
            Err(reason) if reason.raw_os_error() == Some(Errno::PROTONOSUPPORT.raw_os_error()) => {}
            Err(reason) => not_entered(capture, &namespace, &reason),
        }
    }
    Ok(())
}

fn capture_namespace(
    capture: &mut TableCapture<'_>,
    namespace: &NetworkNamespace,
    netlink: &mut Netlink,
) -> io::Result<()> {
    let mut sets = Vec::new();
    for question in QUESTIONS {
        let mut unreadable = 0;
        let mut written = Ok(());
        let answers = SUBSYSTEM | question.answer;
        let end = netlink.dump(SUBSYSTEM | question.get, &generic_header(0), answers, &mut |body| {
            match (body.first(), body.get(4..)) {
                (Some(family), Some(rest)) => {
                    written =
                        capture.row(&row(namespace.name(), question, *family, read(question.shape, rest)));
                    if question.kind == "set" && sets.len() < SET_CAP {
                        sets.extend(set(*family, rest));
                    }
                }
                _ => unreadable += 1,
            }
            if written.is_ok() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
        });
        written?;
        // A kernel with netfilter and without nf_tables, or one older than this kind of thing.
        if end.as_ref().is_err_and(|reason| reason.raw_os_error() == Some(Errno::INVAL.raw_os_error())) {
            continue;
        }
        note_dump(capture, namespace, &format!("nf_tables {}s", question.kind), end, unreadable);
    }
    if sets.len() >= SET_CAP {
        let reason =
            io::Error::new(io::ErrorKind::QuotaExceeded, "more sets than are asked for their elements");
        capture.gap(format!("nf_tables sets of network namespace {}", namespace.inode), &reason);
    }
    sets.iter().try_for_each(|set| capture_elements(capture, namespace, netlink, set))
}

fn capture_elements(
    capture: &mut TableCapture<'_>,
    namespace: &NetworkNamespace,
    netlink: &mut Netlink,
    set: &Set,
) -> io::Result<()> {
    capture.go_on()?;
    let mut request = generic_header(set.family).to_vec();
    push_text(&mut request, NFTA_SET_ELEM_LIST_TABLE, &set.table);
    push_text(&mut request, NFTA_SET_ELEM_LIST_SET, &set.name);
    let mut written = Ok(());
    let answers = SUBSYSTEM | GET_ELEMENTS.answer;
    let end = netlink.dump(SUBSYSTEM | GET_ELEMENTS.get, &request, answers, &mut |body| {
        let elements = body.get(4..).and_then(|rest| attribute(rest, NFTA_SET_ELEM_LIST_ELEMENTS));
        for (_, element) in
            attributes(elements.unwrap_or_default()).filter(|(kind, _)| *kind == NFTA_LIST_ELEM)
        {
            let mut row = row(namespace.name(), &GET_ELEMENTS, set.family, read(GET_ELEMENTS.shape, element));
            (row.table, row.table_raw) = optional(Some(&set.table));
            (row.name, row.name_raw) = optional(Some(&set.name));
            written = capture.row(&row);
            if written.is_err() {
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
    });
    written?;
    let name = optional(Some(&set.name)).0.unwrap_or_default();
    note_dump(capture, namespace, &format!("nf_tables elements of set {name}"), end, 0);
    Ok(())
}

/// `struct nfgenmsg`; family 0 asks for all.
fn generic_header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

fn push_text(message: &mut Vec<u8>, kind: u16, text: &[u8]) {
    // The kernel's names are at most 255 bytes.
    let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(text);
    message.push(0);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn set(family: u8, rest: &[u8]) -> Option<Set> {
    let name = |kind| attribute(rest, kind).map(|name| super::netlink::until_nul(name).to_vec());
    Some(Set { family, table: name(1)?, name: name(2)? })
}

fn row(net_namespace: String, question: &Question, family: u8, mut read: Map<String, Value>) -> NftablesRow {
    let mut take = |name: &str| read.remove(name);
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    let [table, table_raw, chain, chain_raw, name, name_raw, kind, policy, userdata] =
        ["table", "table_raw", "chain", "chain_raw", "name", "name_raw", "type", "policy", "userdata"]
            .map(|name| text(take(name)));
    let handle = take("handle").and_then(|handle| handle.as_u64());
    let expressions = match take("expressions") {
        Some(Value::Array(expressions)) => expressions,
        _ => Vec::new(),
    };
    if question.kind == "object" {
        read_object(kind.as_deref(), &mut read);
    }
    let hook = read.get("hook").cloned().unwrap_or_default();
    let (packets, bytes) = counted(&read, &expressions);
    let userdata = userdata.and_then(|userdata| STANDARD.decode(userdata).ok());
    let (comment, comment_raw) =
        optional(userdata.as_deref().and_then(|userdata| comment(question.kind, userdata)));
    if let Some(userdata) = userdata {
        read.insert("userdata".to_owned(), STANDARD.encode(userdata).into());
    }
    NftablesRow {
        net_namespace,
        kind: question.kind,
        family: family_name(family),
        table,
        table_raw,
        chain,
        chain_raw,
        name,
        name_raw,
        handle,
        r#type: kind,
        hook: hook["number"].as_u64().map(|number| hook_name(question.kind, family, number)),
        priority: hook["priority"].as_i64(),
        policy,
        comment,
        comment_raw,
        packets,
        bytes,
        expressions,
        attributes: read,
    }
}

/// Types the data of an object, which depends on what kind of object it is.
fn read_object(kind: Option<&str>, attributes: &mut Map<String, Value>) {
    let bytes = attributes.get("data").and_then(Value::as_str).and_then(|data| STANDARD.decode(data).ok());
    if let (Some(shape), Some(bytes)) = (kind.and_then(shapes::object), bytes) {
        attributes.insert("data".to_owned(), read(shape, &bytes).into());
    }
}

/// What a chain or object has counted, or the first counter among the expressions.
fn counted(attributes: &Map<String, Value>, expressions: &[Value]) -> (Option<u64>, Option<u64>) {
    let own = ["counters", "data", "element_expression"].iter().filter_map(|name| attributes.get(*name));
    let further = attributes.get("element_expressions").and_then(Value::as_array).into_iter().flatten();
    own.chain(further)
        .chain(expressions.iter().filter(|expression| expression["expression"] == "counter"))
        .map(|counter| (counter["packets"].as_u64(), counter["bytes"].as_u64()))
        .find(|(packets, _)| packets.is_some())
        .unwrap_or((None, None))
}

/// The comment among what the tool that made it keeps beside it: one byte of type, one of length, the value.
fn comment<'a>(kind: &str, mut userdata: &'a [u8]) -> Option<&'a [u8]> {
    let wanted = if kind == "set" { 7 } else { 0 };
    while let [found, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *found == wanted {
            return Some(value.strip_suffix(b"\0").unwrap_or(value));
        }
        userdata = rest.get(usize::from(*length)..)?;
    }
    None
}

fn family_name(family: u8) -> String {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        other => return other.to_string(),
    }
    .to_owned()
}

/// A flowtable is at the hooks of interfaces, of whichever family it is.
fn hook_name(kind: &str, family: u8, number: u64) -> String {
    let names: &[&str] = match family {
        _ if kind == "flowtable" => &["ingress"],
        3 => &["input", "output", "forward"],
        5 => &["ingress", "egress"],
        _ => &["prerouting", "input", "forward", "output", "postrouting", "ingress"],
    };
    let name = usize::try_from(number).ok().and_then(|number| names.get(number));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `iifname lo tcp dport 22 counter packets 2 bytes 99 log prefix "ssh " accept comment "why"`, as a kernel told it.
    const RULE: &str = concat!(
        "AQAABAYAAQB0AAAABgACAGMAAAAMAAMAAAAAAAAAAAKQAQQAJAABAAkAAQBtZXRhAAAAABQAAgAIAAIAAAAABggAAQAAAAABOAABAAgAAQBjbXAA",
        "LAACAAgAAQAAAAABCAACAAAAAAAYAAMAFAABAGxvAAAAAAAAAAAAAAAAAAAkAAEACQABAG1ldGEAAAAAFAACAAgAAgAAAAAQCAABAAAAAAEsAAEA",
        "CAABAGNtcAAgAAIACAABAAAAAAEIAAIAAAAAAAwAAwAFAAEABgAAADQAAQAMAAEAcGF5bG9hZAAkAAIACAABAAAAAAEIAAIAAAAAAggAAwAAAAAC",
        "CAAEAAAAAAIsAAEACAABAGNtcAAgAAIACAABAAAAAAEIAAIAAAAAAAwAAwAGAAEAABYAACwAAQAMAAEAY291bnRlcgAcAAIADAABAAAAAAAAAABj",
        "DAACAAAAAAAAAAACJAABAAgAAQBsb2cAGAACAAkAAgBzc2ggAAAAAAgABQAAAAAEMAABAA4AAQBpbW1lZGlhdGUAAAAcAAIACAABAAAAAAAQAAIA",
        "DAACAAgAAQAAAAABCgAHAAAEd2h5AAAA",
    );

    #[test]
    #[cfg(target_endian = "little")]
    fn rule_as_a_kernel_told_it_is_read_whole() {
        let body = STANDARD.decode(RULE).unwrap();
        let rule = QUESTIONS.iter().find(|question| question.kind == "rule").unwrap();
        let told = row("1".to_owned(), rule, body[0], read(rule.shape, &body[4..]));
        assert_eq!(
            (told.family.as_str(), told.table.as_deref(), told.chain.as_deref()),
            ("inet", Some("t"), Some("c"))
        );
        assert_eq!((told.packets, told.bytes, told.comment.as_deref()), (Some(2), Some(99), Some("why")));
        let names: Vec<_> =
            told.expressions.iter().map(|found| found["expression"].as_str().unwrap()).collect();
        let expected = ["meta", "cmp", "meta", "cmp", "payload", "cmp", "counter", "log", "immediate"];
        assert_eq!(names, expected);
        assert_eq!(told.expressions[1]["data"]["text"], "lo");
        assert_eq!(told.expressions[5]["data"]["value"], "0016");
        assert_eq!(told.expressions[7]["prefix"], "ssh ");
        assert!(!serde_json::to_string(&told).unwrap().contains("unknown"));
        for cut in 0..body.len() {
            row("1".to_owned(), rule, 1, read(rule.shape, &body[..cut]));
        }
    }

    #[test]
    fn comment_is_found_among_other_userdata_and_a_length_that_lies_ends_the_search() {
        assert_eq!(comment("rule", &[0, 3, b'h', b'i', 0]), Some(&b"hi"[..]));
        assert_eq!(comment("set", &[0, 1, 9, 7, 2, b'x', 0]), Some(&b"x"[..]));
        assert_eq!(comment("rule", &[1, 200, 0, 0]), None);
        assert_eq!(comment("rule", &[0]), None);
    }

    #[test]
    fn hooks_and_families_have_the_names_nft_gives_them() {
        assert_eq!(hook_name("chain", 2, 1), "input");
        assert_eq!(hook_name("chain", 5, 0), "ingress");
        assert_eq!(hook_name("flowtable", 1, 0), "ingress");
        assert_eq!(hook_name("chain", 2, u64::MAX), u64::MAX.to_string());
        assert_eq!((family_name(10).as_str(), family_name(99).as_str()), ("ip6", "99"));
    }
}
