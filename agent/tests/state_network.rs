//! Owns the proofs that the network tables show every network namespace as it is, planted ones and this host's own;
//! refuses to leave a namespace behind.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "these tests run the stock tools to plant things and to compare"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_agent::state::Captured;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

mod support;

use support::live as capture;

fn rows(name: &str) -> Vec<Value> {
    capture(name).0
}

fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let done = Command::new(words.next().expect("a program")).args(words).output().expect("the tool starts");
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Feeds `input` to a tool inside a namespace.
fn feed(namespace: &Namespace, tool: &str, input: &str) {
    let script = format!("exec {tool}");
    let mut child = Command::new("ip")
        .args(["netns", "exec", &namespace.name, "sh", "-c", &script])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes()).expect("fed");
    assert!(child.wait().expect("the tool ends").success(), "{tool}: {input}");
}

/// A namespace that `ip netns` made, until it is dropped.
struct Namespace {
    name: String,
    id: String,
}

impl Namespace {
    fn add() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root to make network namespaces");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("holdfast-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {name}"));
        let id = fs::metadata(format!("/run/netns/{name}")).expect("it is mounted").ino().to_string();
        let namespace = Self { name, id };
        namespace.run("ip link set lo up");
        namespace
    }

    fn run(&self, line: &str) -> String {
        run(&format!("ip netns exec {} {line}", self.name))
    }

    /// Does `job` inside, on a thread of its own.
    fn within<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let namespace = File::open(format!("/run/netns/{}", self.name)).expect("it opens");
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                        .expect("root may enter");
                    job()
                })
                .join()
                .expect("the job ends")
        })
    }

    fn rows(&self, table: &str) -> Vec<Value> {
        rows(table).into_iter().filter(|row| row["net_namespace"] == self.id.as_str()).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

/// A program inside a namespace, until it is dropped.
struct Program(Child);

impl Program {
    /// Starts a Python program that prints a line once it is ready.
    fn start(namespace: &Namespace, program: &str) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &namespace.name, "python3", "-c", program])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("it is ready");
        assert_eq!(ready, "ready\n");
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LISTENING: &str = "
import socket, time
tcp = socket.create_server(('127.0.0.1', 4711))
tcp6 = socket.create_server(('::1', 4712), family=socket.AF_INET6)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(('127.0.0.1', 4713))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)); packet.bind(('lo', 0x0806))
import ctypes, struct
code = (ctypes.c_char * 8).from_buffer_copy(struct.pack('HBBI', 6, 0, 0, 4711))
packet.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HL', 1, ctypes.addressof(code)))
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15); netlink.bind((0, 0))
mptcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); mptcp.bind(('127.0.0.1', 4716)); mptcp.listen()
unix = socket.socket(socket.AF_UNIX); unix.bind('\\0holdfast in a namespace'); unix.listen()
print('ready', flush=True)
time.sleep(600)
";

#[test]
fn sockets_of_another_namespace_are_listed_by_netlink_with_their_process() {
    let namespace = Namespace::add();
    let program = Program::start(&namespace, LISTENING);
    let (all, captured) = capture("process_open_sockets");
    let named: Vec<_> = captured.gaps.iter().map(|gap| &gap.subject).collect();
    assert!(!named.iter().any(|subject| subject.contains(&namespace.id)), "{named:?}");
    let mine: Vec<_> = all.iter().filter(|row| row["pid"] == program.0.id()).collect();
    // Multipath TCP listens through a TCP socket of the same inode, which is its own row.
    assert_eq!(mine.len(), 9, "{mine:#?}");
    assert!(mine.iter().all(|row| row["net_namespace"] == namespace.id.as_str()), "{mine:#?}");
    let find = |column: &str, value: Value| {
        *mine.iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("{column} {value}: {mine:#?}"))
    };
    for (port, protocol, address) in [(4711, 6, "127.0.0.1"), (4712, 6, "::1"), (4713, 17, "127.0.0.1")] {
        let row = find("local_port", port.into());
        assert_eq!(
            (row["protocol"].as_u64(), row["local_address"].as_str()),
            (Some(protocol), Some(address))
        );
        assert_eq!(row["listed_by"], "sock_diag");
    }
    assert_eq!(find("protocol", 262.into())["local_port"], 4716);
    assert_eq!(find("path", "@holdfast in a namespace".into())["state"], "LISTEN");
    let raw = find("protocol", 1.into());
    assert_eq!((raw["type"].as_str(), raw["local_port"].as_u64()), (Some("raw"), None));
    let netlink = find("family", 16.into());
    assert_eq!((netlink["protocol"].as_u64(), netlink["type"].as_str()), (Some(15), Some("raw")));
    let packet = find("family", 17.into());
    assert_eq!((packet["protocol"].as_u64(), packet["interface_index"].as_u64()), (Some(0x0806), Some(1)));
    if packet["listed_by"] == "sock_diag" {
        let filter = STANDARD.decode(packet["filter"].as_str().expect("the filter shows")).unwrap();
        assert_eq!(filter, [&6u16.to_ne_bytes()[..], &[0, 0], &4711u32.to_ne_bytes()].concat());
    }
}

#[test]
fn socket_left_in_a_namespace_that_no_process_lives_in_is_found_through_its_mount() {
    let namespace = Namespace::add();
    let left = namespace.within(|| TcpListener::bind("127.0.0.1:4714").unwrap());
    let found = namespace.rows("process_open_sockets");
    let row = found.iter().find(|row| row["local_port"] == 4714).expect("the socket is listed");
    assert_eq!(
        (row["pid"].as_u64(), row["state"].as_str()),
        (Some(std::process::id().into()), Some("LISTEN"))
    );
    assert_eq!(row["fd"], left.as_raw_fd());
    let found = namespace.rows("network_namespaces");
    let [row] = &found[..] else { panic!("{found:?}") };
    assert_eq!(row["mount_point"], format!("/run/netns/{}", namespace.name).as_str());
    assert_eq!((row["processes"].as_u64(), row["entered"].as_bool()), (Some(0), Some(true)));
}

#[test]
fn namespace_kept_only_by_a_descriptor_is_entered_through_it() {
    let namespace = Namespace::add();
    let held = File::open(format!("/run/netns/{}", namespace.name)).unwrap();
    // A namespace of another kind that is held is no network namespace.
    let mounts = File::open("/proc/self/ns/mnt").unwrap();
    let _left = namespace.within(|| TcpListener::bind("127.0.0.1:4715").unwrap());
    run(&format!("ip netns del {}", namespace.name));
    let found = namespace.rows("network_namespaces");
    let [row] = &found[..] else { panic!("{found:?}") };
    assert_eq!((row["mount_point"].as_str(), row["entered"].as_bool()), (None, Some(true)));
    assert_eq!(row["descriptor_pid"], std::process::id());
    assert_eq!(row["descriptor_fd"], held.as_raw_fd());
    let other = mounts.metadata().unwrap().ino().to_string();
    assert!(!rows("network_namespaces").iter().any(|row| row["net_namespace"] == other.as_str()));
    assert!(namespace.rows("process_open_sockets").iter().any(|row| row["local_port"] == 4715));
    assert!(namespace.rows("interface_details").iter().any(|row| row["interface"] == "lo"));
}

#[test]
fn namespace_of_one_thread_is_found_through_it() {
    let namespace = Namespace::add();
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.within(move || {
                enter.send(()).expect("the test waits");
                let _ = left.recv();
            });
        });
        entered.recv().expect("the thread is inside");
        run(&format!("ip netns del {}", namespace.name));
        let found = namespace.rows("network_namespaces");
        let interfaces = namespace.rows("interface_details");
        drop(leave);
        let [row] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (row["thread_pid"].as_u64(), row["mount_point"].as_str()),
            (Some(std::process::id().into()), None)
        );
        assert_eq!(
            (row["own"].as_bool(), row["processes"].as_u64(), interfaces.len()),
            (Some(false), Some(0), 1)
        );
    });
}

#[test]
fn namespace_that_something_is_mounted_over_is_a_gap_and_still_a_row() {
    let namespace = Namespace::add();
    let place = format!("/run/netns/{}", namespace.name);
    run(&format!("mount --bind /dev/null {place}"));
    let (found, _) = capture("network_namespaces");
    let (_, captured) = capture("interface_details");
    run(&format!("umount {place}"));
    let row = found.iter().find(|row| row["net_namespace"] == namespace.id.as_str()).expect("it is told");
    assert_eq!((row["mount_point"].as_str(), row["entered"].as_bool()), (Some(&*place), Some(false)));
    let subject = format!("network namespace {}", namespace.id);
    assert!(captured.gaps.iter().any(|gap| gap.subject == subject));
}

#[test]
fn namespace_mounted_only_where_another_process_sees_it_is_entered() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root to make mount namespaces");
    let script =
        "mount -t tmpfs none /run && mkdir /run/netns && ip netns add apart && echo ready && exec sleep 600";
    let mut child = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("it is ready");
    let program = Program(child);
    let found = rows("network_namespaces");
    let row = found.iter().find(|row| row["mount_pid"] == program.0.id()).expect("the namespace is found");
    assert_eq!(
        (row["mount_point"].as_str(), row["entered"].as_bool()),
        (Some("/run/netns/apart"), Some(true))
    );
    let details = rows("interface_details");
    assert!(details.iter().any(|detail| detail["net_namespace"] == row["net_namespace"]));
}

#[test]
fn namespace_of_another_kind_that_is_held_is_no_network_namespace() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("uts");
    File::create(&place).unwrap();
    run(&format!("mount --bind /proc/self/ns/uts {}", place.display()));
    let held = File::open(&place).unwrap();
    run(&format!("umount --lazy {}", place.display()));
    assert!(!fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap().starts_with("uts:"));
    let id = held.metadata().unwrap().ino().to_string();
    let (found, captured) = capture("network_namespaces");
    assert!(!found.iter().any(|row| row["net_namespace"] == id.as_str()));
    assert!(!captured.gaps.iter().any(|gap| gap.subject.contains(&id)));
}

#[test]
fn sockets_of_a_namespace_that_may_not_be_entered_are_read_as_text() {
    let namespace = Namespace::add();
    let program = Program::start(&namespace, LISTENING);
    let (all, captured) = namespace_capture_without_right_to_enter();
    let row = all
        .iter()
        .find(|row| row["pid"] == program.0.id() && row["local_port"] == 4711)
        .expect("it is listed");
    assert_eq!(row["net_namespace"], namespace.id.as_str());
    assert!(row["listed_by"].as_str().unwrap().starts_with("/proc/") && row["listed_by"] != "/proc/net/tcp");
    let subject = format!("network namespace {}", namespace.id);
    assert!(captured.gaps.iter().any(|gap| gap.subject == subject), "the refusal is a gap");
}

/// Captures the sockets on a thread that gave up the capability to enter namespaces, which its own threads inherit.
fn namespace_capture_without_right_to_enter() -> (Vec<Value>, Captured) {
    let capture = || {
        let mut sets = rustix::thread::capabilities(None).expect("capabilities");
        sets.effective.remove(rustix::thread::CapabilitySet::SYS_ADMIN);
        sets.permitted.remove(rustix::thread::CapabilitySet::SYS_ADMIN);
        rustix::thread::set_capabilities(None, sets).expect("a capability can be given up");
        capture("process_open_sockets")
    };
    std::thread::spawn(capture).join().expect("the capture ends")
}

#[test]
fn socket_that_no_listing_shows_is_told_with_its_protocol() {
    let namespace = Namespace::add();
    let unbound = "import socket, time; a = \
                   socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); a.bind((socket.VMADDR_CID_ANY, 4717)); a.listen(); \
                   print('ready', flush=True); time.sleep(600)";
    let program = Program::start(&namespace, unbound);
    let all = rows("process_open_sockets");
    let row = all.iter().find(|row| row["pid"] == program.0.id()).expect("the socket is told");
    match row["listed_by"].as_str() {
        Some("descriptor") => assert_eq!(row["protocol_name"], "AF_VSOCK"),
        _ => assert_eq!((row["family"].as_u64(), row["local_port"].as_u64()), (Some(40), Some(4717))),
    }
}

#[test]
fn interfaces_addresses_routes_rules_and_neighbours_of_another_namespace_are_told() {
    let namespace = Namespace::add();
    namespace.run("ip link add hf0 type veth peer name hf1");
    for line in [
        "ip link set hf0 up promisc on",
        "ip link set hf1 up",
        "ip addr add 192.0.2.1/24 dev hf0",
        "ip route add 198.51.100.0/24 via 192.0.2.254",
        "ip route add default via 192.0.2.253 table 4711",
        "ip nexthop add id 7 via 192.0.2.252 dev hf0",
        "ip route add 203.0.113.0/24 nhid 7",
        "ip rule add from 192.0.2.0/25 iif hf1 fwmark 0x1/0xff table 4711 priority 1234",
        "ip -6 rule add to 2001:db8::/32 ipproto tcp dport 22-23 blackhole priority 1235",
        "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev hf0",
    ] {
        namespace.run(line);
    }
    let details = namespace.rows("interface_details");
    let promiscuous: Vec<_> = details.iter().filter(|row| row["promiscuous"] == true).collect();
    let [row] = &promiscuous[..] else { panic!("{details:#?}") };
    assert_eq!((row["interface"].as_str(), row["kind"].as_str()), (Some("hf0"), Some("veth")));
    let addresses = namespace.rows("interface_addresses");
    assert!(addresses.iter().any(|row| row["address"] == "192.0.2.1" && row["interface"] == "hf0"));
    let routes = namespace.rows("routes");
    let via = |gateway: &str| routes.iter().find(|row| row["gateway"] == gateway).expect("the route is told");
    assert_eq!(via("192.0.2.254")["destination"], "198.51.100.0");
    assert_eq!(via("192.0.2.253")["table"], 4711);
    assert_eq!(via("192.0.2.252")["nexthop_id"], 7);
    let neighbours = namespace.rows("arp_cache");
    let row = neighbours.iter().find(|row| row["address"] == "192.0.2.9").expect("the neighbour is told");
    assert_eq!((row["mac"].as_str(), row["interface"].as_str()), (Some("02:00:00:00:00:09"), Some("hf0")));
    let rules = namespace.rows("routing_rules");
    let rule =
        |priority: u64| rules.iter().find(|row| row["priority"] == priority).expect("the rule is told");
    let row = rule(1234);
    assert_eq!((row["source"].as_str(), row["source_length"].as_u64()), (Some("192.0.2.0"), Some(25)));
    assert_eq!((row["action"].as_str(), row["table"].as_u64()), (Some("lookup"), Some(4711)));
    assert_eq!((row["input_interface"].as_str(), row["mark"].as_u64()), (Some("hf1"), Some(1)));
    assert_eq!(row["mark_mask"], 255);
    let row = rule(1235);
    assert_eq!((row["family"].as_u64(), row["action"].as_str()), (Some(10), Some("blackhole")));
    assert_eq!((row["destination"].as_str(), row["ip_protocol"].as_u64()), (Some("2001:db8::"), Some(6)));
    assert_eq!(
        (row["destination_port_first"].as_u64(), row["destination_port_last"].as_u64()),
        (Some(22), Some(23))
    );
    let listed =
        namespace.run("ip rule list").lines().count() + namespace.run("ip -6 rule list").lines().count();
    let told = rules.iter().filter(|row| row["family"] == 2 || row["family"] == 10).count();
    assert_eq!(told, listed);
}

const RULESET: &str = r#"
table inet guard {
    comment "the guard"
    set bad {
        type ipv4_addr
        flags interval, timeout
        counter
        comment "known bad"
        elements = { 192.0.2.7 timeout 1h comment "seen twice", 198.51.100.0/24 }
    }
    map ports { type inet_service : verdict; elements = { 22 : accept, 23 : jump deeper }; }
    counter hits { packets 3 bytes 300; }
    chain deeper { counter packets 5 bytes 500 drop comment "no telnet"; }
    chain input {
        type filter hook input priority -5; policy drop;
        iifname "lo" accept
        ct state established,related accept
        ip saddr @bad log prefix "bad: " drop
        tcp dport vmap @ports
        counter name hits
        udp dport 53 limit rate 10/second reject
    }
}
table ip nat {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        tcp dport 8080 dnat to 192.0.2.80:80
    }
}
table netdev early {
    chain ingress { type filter hook ingress device "lo" priority 0; policy accept; }
}
"#;

#[test]
fn planted_nftables_ruleset_is_told_whole() {
    let namespace = Namespace::add();
    if !Path::new("/proc/sys/net/netfilter").exists() {
        eprintln!("NOT TESTED: this kernel has no netfilter; only the readers of captured bytes were tested");
        return;
    }
    feed(&namespace, "nft -f -", RULESET);
    // A counter that iptables-nft makes through xtables.
    namespace.run("iptables-nft -A OUTPUT -p tcp --dport 4711 -m comment --comment planted -j REJECT");
    let (all, captured) = capture("nftables");
    let gaps: Vec<_> = captured.gaps.iter().filter(|gap| gap.subject.contains(&namespace.id)).collect();
    assert!(gaps.is_empty(), "{:?}", gaps[0].reason);
    let mine: Vec<_> = all.iter().filter(|row| row["net_namespace"] == namespace.id.as_str()).collect();
    let of = |kind: &str, table: &str| {
        mine.iter().copied().filter(|row| row["kind"] == kind && row["table"] == table).collect::<Vec<_>>()
    };
    assert_eq!(of("table", "guard")[0]["comment"], "the guard");
    let input = of("chain", "guard").into_iter().find(|row| row["chain"] == "input").expect("the chain");
    assert_eq!((input["hook"].as_str(), input["priority"].as_i64()), (Some("input"), Some(-5)));
    assert_eq!((input["policy"].as_str(), input["type"].as_str()), (Some("drop"), Some("filter")));
    let rules: Vec<_> = of("rule", "guard").into_iter().filter(|row| row["chain"] == "input").collect();
    assert_eq!(rules.len(), 6, "{rules:#?}");
    let expression = |row: &Value, name: &str| {
        let expressions = row["expressions"].as_array().expect("expressions");
        expressions
            .iter()
            .find(|found| found["expression"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("{name}: {row:#}"))
    };
    assert_eq!(expression(rules[0], "meta")["key"], "iifname");
    assert_eq!(expression(rules[0], "cmp")["data"]["value"], "6c6f0000000000000000000000000000");
    assert_eq!(expression(rules[0], "immediate")["data"]["verdict"], "accept");
    assert_eq!(expression(rules[1], "ct")["key"], "state");
    assert_eq!(expression(rules[2], "lookup")["set"], "bad");
    assert_eq!(expression(rules[2], "log")["prefix"], "bad: ");
    assert_eq!(expression(rules[3], "lookup")["set"], "ports");
    assert_eq!(expression(rules[4], "objref")["object"], "hits");
    assert_eq!(expression(rules[5], "limit")["rate"], 10);
    assert_eq!(expression(rules[5], "reject")["type"], "icmpx_unreachable");
    let deeper = of("rule", "guard").into_iter().find(|row| row["chain"] == "deeper").expect("the rule");
    assert_eq!((deeper["packets"].as_u64(), deeper["bytes"].as_u64()), (Some(5), Some(500)));
    assert_eq!(deeper["comment"], "no telnet");
    let set = of("set", "guard").into_iter().find(|row| row["name"] == "bad").expect("the set");
    assert_eq!(set["comment"], "known bad");
    let elements = of("element", "guard");
    let bad: Vec<_> = elements.iter().filter(|row| row["name"] == "bad").collect();
    let seen = bad
        .iter()
        .find(|row| row["attributes"]["key"]["value"] == "c0000207" && row["comment"] == "seen twice");
    assert_eq!(seen.expect("the element")["attributes"]["timeout_ms"], 3_600_000);
    let jump =
        elements.iter().find(|row| row["attributes"]["data"]["verdict"] == "jump").expect("the element");
    assert_eq!(
        (jump["attributes"]["data"]["chain"].as_str(), jump["name"].as_str()),
        (Some("deeper"), Some("ports"))
    );
    let object = of("object", "guard")[0];
    assert_eq!((object["type"].as_str(), object["packets"].as_u64()), (Some("counter"), Some(3)));
    let redirected = of("rule", "nat")[0];
    assert_eq!(expression(redirected, "nat")["type"], "dnat");
    assert_eq!(expression(redirected, "immediate")["data"]["value"], "c0000250");
    let early = of("chain", "early")[0];
    assert_eq!((early["family"].as_str(), early["hook"].as_str()), (Some("netdev"), Some("ingress")));
    let xtables = of("rule", "filter")[0];
    assert_eq!(expression(xtables, "target")["name"], "REJECT");
    let comments = expression(xtables, "match");
    assert_eq!((comments["name"].as_str(), comments["detail"].as_str()), (Some("comment"), Some("planted")));
    // What nft itself counts: every handle that it lists is a row.
    let listed = namespace.run("nft -a list ruleset");
    for kind in ["table", "chain", "set", "map"] {
        let listed = listed.lines().filter(|line| line.trim().starts_with(&format!("{kind} "))).count();
        let told = mine.iter().filter(|row| match row["kind"].as_str() {
            Some("set") => {
                kind == if row["attributes"]["flags"].as_u64().unwrap_or(0) & 8 == 0 { "set" } else { "map" }
            }
            found => found == Some(kind),
        });
        assert_eq!(told.count(), listed, "{kind}: {listed}");
    }
    let unknown: Vec<_> = mine.iter().filter(|row| row.to_string().contains("\"unknown\"")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

const LEGACY: &[&str] = &[
    "iptables-legacy -P INPUT DROP",
    "iptables-legacy -N mine",
    "iptables-legacy -A INPUT -i eth+ -s 192.0.2.0/24 ! -d 198.51.100.1 -p tcp --sport 1000:2000 --dport 22 \
     -m comment --comment planted -j mine",
    "iptables-legacy -A mine -p udp -m multiport --dports 53,100:200 -j REJECT",
    "iptables-legacy -A mine -m conntrack --ctstate ESTABLISHED,RELATED -c 7 700",
    "iptables-legacy -A mine -p tcp ! --dport 22 -j DROP",
    "iptables-legacy -A mine -f -m conntrack ! --ctstate UNTRACKED,SNAT",
    "iptables-legacy -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.80:80",
    "iptables-legacy -t nat -A OUTPUT -o lo -p tcp -j REDIRECT --to-ports 4711",
    "ip6tables-legacy -N other",
    "ip6tables-legacy -A FORWARD -s 2001:db8::/32 -o lo -p tcp -g other",
    "arptables-legacy -A INPUT -s 192.0.2.1 --source-mac 02:00:00:00:00:09 -j DROP",
];

#[test]
fn planted_rules_of_legacy_tables_are_told_with_their_chains() {
    let namespace = Namespace::add();
    if !Path::new("/proc/net/ip_tables_names").exists() {
        eprintln!(
            "NOT TESTED: this kernel has no legacy iptables; only the reader of made-up tables was tested"
        );
        return;
    }
    LEGACY.iter().for_each(|line| drop(namespace.run(line)));
    let (all, captured) = capture("iptables");
    let gaps: Vec<_> = captured.gaps.iter().filter(|gap| gap.subject.contains(&namespace.id)).collect();
    assert!(gaps.is_empty(), "{}: {}", gaps[0].subject, gaps[0].reason);
    let mine: Vec<_> = all.iter().filter(|row| row["net_namespace"] == namespace.id.as_str()).collect();
    let rules = |family: &str, table: &str, chain: &str| {
        let fits =
            |row: &&&Value| row["family"] == family && row["filter_name"] == table && row["chain"] == chain;
        mine.iter().filter(fits).copied().collect::<Vec<_>>()
    };
    let input = rules("ip", "filter", "INPUT");
    let [chain, rule] = &input[..] else { panic!("{input:#?}") };
    assert_eq!((chain["policy"].as_str(), chain["rule"].as_u64()), (Some("DROP"), None));
    assert_eq!((rule["rule"].as_u64(), rule["target"].as_str()), (Some(1), Some("mine")));
    assert_eq!(
        (rule["src_ip"].as_str(), rule["src_mask"].as_str()),
        (Some("192.0.2.0"), Some("255.255.255.0"))
    );
    assert_eq!((rule["src_port"].as_str(), rule["dst_port"].as_str()), (Some("1000:2000"), Some("22")));
    assert_eq!((rule["iniface"].as_str(), rule["iniface_mask"].as_str()), (Some("eth+"), Some("ffffff")));
    assert_eq!((rule["match"].as_str(), rule["comment"].as_str()), (Some("tcp,comment"), Some("planted")));
    assert_eq!((&rule["inverted"], rule["protocol"].as_u64()), (&serde_json::json!(["dst_ip"]), Some(6)));
    let own = rules("ip", "filter", "mine");
    let [_, first, second, unless, fragment] = &own[..] else { panic!("{own:#?}") };
    assert_eq!((&unless["dst_port"], &unless["inverted"]), (&"22".into(), &serde_json::json!(["dst_port"])));
    assert_eq!((&unless["fragment"], &fragment["fragment"]), (&false.into(), &true.into()));
    assert_eq!(fragment["matches"][0]["detail"], "! SNAT,UNTRACKED (0x140)");
    assert_eq!((first["target"].as_str(), first["target_detail"].as_str()), (Some("REJECT"), Some("with 3")));
    assert_eq!(first["matches"][0]["detail"], "dports 53,100:200");
    assert_eq!((second["target"].as_str(), second["packets"].as_u64()), (None, Some(7)));
    assert_eq!(second["bytes"], 700);
    assert_eq!(second["matches"][0]["detail"], "ESTABLISHED,RELATED (0x6)");
    let redirected = rules("ip", "nat", "PREROUTING");
    assert_eq!(redirected[1]["target_detail"], "192.0.2.80:80");
    let output = rules("ip", "nat", "OUTPUT")[1];
    assert_eq!(
        (output["target"].as_str(), output["target_detail"].as_str()),
        (Some("REDIRECT"), Some(":4711"))
    );
    assert_eq!((output["outiface"].as_str(), output["outiface_mask"].as_str()), (Some("lo"), Some("ffffff")));
    let six = rules("ip6", "filter", "FORWARD")[1];
    assert_eq!((six["src_ip"].as_str(), six["src_mask"].as_str()), (Some("2001:db8::"), Some("ffff:ffff::")));
    assert_eq!((six["goto"].as_bool(), six["target"].as_str()), (Some(true), Some("other")));
    let arp = rules("arp", "filter", "INPUT")[1];
    assert_eq!((arp["src_ip"].as_str(), arp["target"].as_str()), (Some("192.0.2.1"), Some("DROP")));
    assert_eq!(arp["arp"]["source_mac"], "02:00:00:00:00:09");
    // What the tools themselves save: a line for each chain, a line for each rule.
    for (family, save) in [("ip", "iptables-legacy-save"), ("ip6", "ip6tables-legacy-save")] {
        let saved = namespace.run(save);
        let lines = |mark: &str| saved.lines().filter(|line| line.starts_with(mark)).count();
        let told = |rule: bool| {
            mine.iter().filter(|row| row["family"] == family && row["rule"].is_u64() == rule).count()
        };
        assert_eq!((told(false), told(true)), (lines(":"), lines("-A")), "{saved}");
    }
}

#[test]
fn capture_makes_no_table_in_a_namespace_that_has_none() {
    let namespace = Namespace::add();
    let names = || {
        namespace.run("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names /proc/net/arp_tables_names")
    };
    assert_eq!(names(), "");
    assert!(namespace.rows("iptables").is_empty());
    assert!(namespace.rows("nftables").is_empty());
    assert_eq!(names(), "");
}

/// What `ss` says of one socket as one process holds it: protocol, inode, local end, process and descriptor.
type Held = (String, u64, String, Option<u64>, Option<u64>);

fn listed_by_ss(prefix: &str) -> BTreeSet<Held> {
    let mut found = BTreeSet::new();
    for line in run(&format!("{prefix} ss -H -n -a -p -e -O -t -u -x")).lines() {
        let kind = line.split_whitespace().next().expect("a kind").to_owned();
        let (plain, users) = line.split_once(" users:(").unwrap_or((line, ""));
        let (inode, local) = if kind.starts_with("u_") {
            // The path may have blanks; the inodes stand at the end, before the details.
            let plain = plain.split(" ino:").next().expect("a line").split(" <->").next().expect("a line");
            let words: Vec<_> = plain.split_whitespace().collect();
            let star = words.iter().rposition(|word| *word == "*").expect("a peer");
            (words[star - 1].parse().expect("an inode"), String::new())
        } else {
            let inode =
                line.split("ino:").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            let local = plain.split_whitespace().nth(4).expect("a local end").to_owned();
            (inode.unwrap_or(0), local)
        };
        if inode == 0 {
            continue;
        }
        let kind = if kind.starts_with("u_") { "unix".to_owned() } else { kind };
        let holders: Vec<(u64, u64)> = users
            .split("pid=")
            .skip(1)
            .filter_map(|user| {
                let (pid, fd) = user.split_once(",fd=")?;
                Some((pid.parse().ok()?, fd.split(')').next()?.parse().ok()?))
            })
            .collect();
        if holders.is_empty() {
            found.insert((kind, inode, local, None, None));
        } else {
            let row = |(pid, fd)| (kind.clone(), inode, local.clone(), Some(pid), Some(fd));
            found.extend(holders.into_iter().map(row));
        }
    }
    found
}

fn listed_by_us(namespace: &str) -> BTreeSet<Held> {
    let kind = |row: &Value| match (row["family"].as_u64(), row["protocol"].as_u64()) {
        (Some(2 | 10), Some(6)) => Some("tcp"),
        (Some(2 | 10), Some(17)) => Some("udp"),
        (Some(1), _) => Some("unix"),
        _ => None,
    };
    rows("process_open_sockets")
        .iter()
        .filter(|row| row["net_namespace"] == namespace && row["socket"] != 0)
        .filter_map(|row| {
            let kind = kind(row)?;
            let local = match (row["local_address"].as_str(), row["local_port"].as_u64()) {
                _ if kind == "unix" => String::new(),
                // ss writes this for a socket that takes both families, which nothing but ss calls so.
                (Some("::"), Some(port)) => format!("*:{port}"),
                (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
                (Some(address), Some(port)) => format!("{address}:{port}"),
                _ => String::new(),
            };
            let inode = row["socket"].as_u64()?;
            Some((kind.to_owned(), inode, local, row["pid"].as_u64(), row["fd"].as_u64()))
        })
        .collect()
}

/// `ss` runs before and after, so that what stays the same must be what the table says. What comes and goes in between
/// may differ, and then it is tried again.
fn assert_same_as_ss(prefix: &str, namespace: &str) {
    let mut more = BTreeSet::new();
    for _ in 0..5 {
        let before = comparable(listed_by_ss(prefix));
        let ours = comparable(listed_by_us(namespace));
        let after = comparable(listed_by_ss(prefix));
        assert!(!before.is_empty());
        let missed: Vec<_> = before.intersection(&after).filter(|held| !ours.contains(held)).collect();
        assert!(missed.is_empty(), "ss shows and the table does not: {missed:#?}");
        let seen: BTreeSet<_> = before.union(&after).cloned().collect();
        more = ours
            .difference(&seen)
            .filter(|held| held.3 != Some(std::process::id().into()))
            .cloned()
            .collect();
        if more.is_empty() {
            return;
        }
    }
    panic!("the table shows and ss does not: {more:#?}");
}

/// Leaves out the interface that `ss` puts behind an address, and what it writes for a socket of both families.
fn comparable(found: BTreeSet<Held>) -> BTreeSet<Held> {
    let local = |local: String| {
        let port = local.rsplit(':').next().unwrap_or_default();
        match local.split_once('%') {
            Some((address, _)) => format!("{address}:{port}"),
            None if local.starts_with("[::]:") => format!("*:{port}"),
            None => local,
        }
    };
    found.into_iter().map(|held| (held.0, held.1, local(held.2), held.3, held.4)).collect()
}

#[test]
fn sockets_equal_what_ss_says_here_and_in_another_namespace() {
    let own = fs::metadata("/proc/self/ns/net").unwrap().ino().to_string();
    let _tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
    assert_same_as_ss("", &own);
    let namespace = Namespace::add();
    let _program = Program::start(&namespace, LISTENING);
    assert_same_as_ss(&format!("ip netns exec {}", namespace.name), &namespace.id);
}
