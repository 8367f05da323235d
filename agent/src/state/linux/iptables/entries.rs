//! Owns the reading of the tables of iptables, ip6tables and arptables as the kernel gives them; refuses entries whose
//! lengths contradict each other.

use std::collections::BTreeMap;

use crate::source::LegacyFilter;
use crate::state::linux::netlink::{read_u16, read_u32, read_u64, until_nul};

/// Length of a table's name, with the NUL behind it.
const NAME: usize = 32;

/// Length of the head of a match and of a target: length, name, revision.
const HEAD: usize = 32;

/// What the kernel says of a table before it gives its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Information {
    /// For each hook that the table is at: its number, where its chain begins and where its policy stands.
    hooks: Vec<(usize, usize, usize)>,
    /// Bytes of all entries.
    pub(super) size: usize,
}

impl Information {
    /// How many bytes the answer has.
    pub(super) fn length(filter: LegacyFilter) -> usize {
        NAME + 4 + hook_names(filter).len() * 8 + 8
    }

    /// `struct ipt_getinfo` and its like.
    pub(super) fn parse(filter: LegacyFilter, answer: &[u8]) -> Option<Self> {
        let count = hook_names(filter).len();
        let number = |at: usize| Some(read_u32(answer, NAME + at * 4)? as usize);
        let valid = number(0)?;
        let mut hooks = Vec::new();
        for hook in (0..count).filter(|hook| valid >> hook & 1 == 1) {
            hooks.push((hook, number(1 + hook)?, number(1 + count + hook)?));
        }
        Some(Self { hooks, size: number(2 + 2 * count)? })
    }
}

/// Where the entries begin in `struct ipt_get_entries`: behind a name and a length, aligned for the counters.
pub(super) fn entries_offset() -> usize {
    (NAME + 4).next_multiple_of(align_of::<u64>())
}

/// The names of the hooks by their numbers.
fn hook_names(filter: LegacyFilter) -> &'static [&'static str] {
    match filter {
        LegacyFilter::Arp => &["INPUT", "OUTPUT", "FORWARD"],
        _ => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    }
}

/// One chain and where its rules stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: Vec<u8>,
    /// What a built-in chain does with packets that no rule decides on.
    pub(super) policy: Option<&'static str>,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    offsets: Vec<usize>,
}

/// The entries of one table.
pub(super) struct Entries<'a> {
    filter: LegacyFilter,
    bytes: &'a [u8],
    pub(super) chains: Vec<Chain>,
    starts: BTreeMap<usize, Vec<u8>>,
    /// Whether the entries end before they should.
    pub(super) malformed: bool,
}

impl<'a> Entries<'a> {
    /// Parts the entries into chains.
    pub(super) fn parse(filter: LegacyFilter, information: &Information, bytes: &'a [u8]) -> Self {
        let mut entries =
            Self { filter, bytes, chains: Vec::new(), starts: BTreeMap::new(), malformed: false };
        let mut policy_at = None;
        let mut offset = 0;
        while offset < bytes.len() {
            let Some(entry) = entries.entry(offset) else {
                entries.malformed = true;
                break;
            };
            let next = offset + entry.length;
            if let Some((hook, _, policy)) = information.hooks.iter().find(|(_, start, _)| *start == offset) {
                entries.close_chain(policy_at);
                let name = hook_names(filter).get(*hook).copied().unwrap_or_default();
                entries.chains.push(Chain { name: name.into(), ..Chain::default() });
                policy_at = Some(*policy);
            } else if entry.target.name == b"ERROR" {
                entries.close_chain(policy_at);
                policy_at = None;
                if next < bytes.len() {
                    let name = until_nul(entry.target.data.get(..30).unwrap_or(entry.target.data)).to_vec();
                    entries.starts.insert(next, name.clone());
                    entries.chains.push(Chain { name, ..Chain::default() });
                }
                offset = next;
                continue;
            }
            match entries.chains.last_mut() {
                Some(chain) => chain.offsets.push(offset),
                None => entries.malformed = true,
            }
            offset = next;
        }
        entries
    }

    /// The last entry of each chain is no rule: it is the policy, or the return from a chain of one's own.
    fn close_chain(&mut self, policy_at: Option<usize>) {
        let Some(mut chain) = self.chains.pop() else { return };
        if let Some(entry) = chain.offsets.pop().and_then(|last| self.entry(last)) {
            (chain.packets, chain.bytes) = (entry.packets, entry.bytes);
            if policy_at.is_some() {
                chain.policy = entry.target.verdict().and_then(verdict_name);
            }
        }
        self.chains.push(chain);
    }

    /// The rules of a chain, in the order they are tried.
    pub(super) fn rules(&self, chain: &Chain) -> impl Iterator<Item = Entry<'a>> {
        chain.offsets.iter().filter_map(|offset| self.entry(*offset))
    }

    /// What a rule does with a packet: a verdict, a chain of one's own, or an extension; nothing where it only counts.
    pub(super) fn target_name(&self, entry: &Entry<'a>) -> Option<Vec<u8>> {
        let Some(verdict) = entry.target.verdict() else { return Some(entry.target.name.to_vec()) };
        match usize::try_from(verdict) {
            // A jump to the next entry is no jump.
            Ok(to) if to == entry.offset + entry.length => None,
            Ok(to) => Some(self.starts.get(&to).cloned().unwrap_or_else(|| to.to_string().into_bytes())),
            Err(_) => Some(verdict_name(verdict).map_or_else(|| verdict.to_string(), str::to_owned).into()),
        }
    }

    fn entry(&self, offset: usize) -> Option<Entry<'a>> {
        let layout = Layout::of(self.filter);
        let rest = self.bytes.get(offset..)?;
        let target_at = usize::from(read_u16(rest, layout.lengths)?);
        let length = usize::from(read_u16(rest, layout.lengths + 2)?);
        if target_at < layout.elements || length < target_at + HEAD {
            return None;
        }
        let whole = rest.get(..length)?;
        Some(Entry {
            offset,
            length,
            header: whole.get(..layout.lengths)?,
            packets: read_u64(whole, layout.counters)?,
            bytes: read_u64(whole, layout.counters + 8)?,
            matches: whole.get(layout.elements..target_at)?,
            target: Extension::parse(whole.get(target_at..)?)?,
        })
    }
}

/// One entry: a rule, a policy, or the head of a chain.
pub(super) struct Entry<'a> {
    offset: usize,
    length: usize,
    /// `struct ipt_ip`, `struct ip6t_ip6` or `struct arpt_arp`.
    pub(super) header: &'a [u8],
    pub(super) packets: u64,
    pub(super) bytes: u64,
    matches: &'a [u8],
    pub(super) target: Extension<'a>,
}

impl<'a> Entry<'a> {
    /// The extensions that test a packet.
    pub(super) fn matches(&self) -> impl Iterator<Item = Extension<'a>> {
        let mut rest = self.matches;
        std::iter::from_fn(move || {
            let found = Extension::parse(rest)?;
            rest = rest.get(HEAD + found.data.len()..)?;
            Some(found)
        })
    }
}

/// A match or a target: `struct xt_entry_match`, `struct xt_entry_target`.
pub(super) struct Extension<'a> {
    pub(super) name: &'a [u8],
    pub(super) revision: u8,
    pub(super) data: &'a [u8],
}

impl<'a> Extension<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(read_u16(bytes, 0)?);
        Some(Self {
            name: until_nul(bytes.get(2..31)?),
            revision: *bytes.get(31)?,
            data: bytes.get(HEAD..length)?,
        })
    }

    /// What the target without a name does.
    fn verdict(&self) -> Option<i32> {
        if self.name.is_empty() { read_u32(self.data, 0).map(u32::cast_signed) } else { None }
    }
}

fn verdict_name(verdict: i32) -> Option<&'static str> {
    Some(match verdict {
        -1 => "DROP",
        -2 => "ACCEPT",
        -4 => "QUEUE",
        -5 => "RETURN",
        _ => return None,
    })
}

/// Where the parts of an entry stand.
struct Layout {
    /// Two lengths behind the header: to the target, and of all.
    lengths: usize,
    counters: usize,
    elements: usize,
}

impl Layout {
    fn of(filter: LegacyFilter) -> Self {
        let (lengths, plain) = match filter {
            LegacyFilter::Ip => (88, 96),
            LegacyFilter::Ip6 => (140, 148),
            LegacyFilter::Arp => (164, 172),
        };
        let counters = usize::next_multiple_of(plain, align_of::<u64>());
        Self { lengths, counters, elements: counters + 16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(filter: LegacyFilter, name: &[u8], data: &[u8]) -> Vec<u8> {
        let layout = Layout::of(filter);
        let mut entry = vec![0; layout.elements + HEAD];
        let target = u16::try_from(layout.elements).unwrap();
        let data_length = u16::try_from(data.len()).unwrap();
        entry[layout.lengths..layout.lengths + 2].copy_from_slice(&target.to_ne_bytes());
        let whole = target + 32 + data_length;
        entry[layout.lengths + 2..layout.lengths + 4].copy_from_slice(&whole.to_ne_bytes());
        entry[layout.elements..layout.elements + 2].copy_from_slice(&(32 + data_length).to_ne_bytes());
        entry[layout.elements + 2..layout.elements + 2 + name.len()].copy_from_slice(name);
        entry[layout.counters..layout.counters + 8].copy_from_slice(&7u64.to_ne_bytes());
        entry.extend_from_slice(data);
        entry
    }

    fn verdict(filter: LegacyFilter, verdict: i32) -> Vec<u8> {
        entry(filter, b"", &[verdict.to_ne_bytes(), [0; 4]].concat())
    }

    /// INPUT with a jump to a chain `mine` and the policy DROP, then `mine` with one ACCEPT.
    fn table(filter: LegacyFilter) -> (Information, Vec<u8>) {
        let one = verdict(filter, 0).len();
        let head = entry(filter, b"ERROR", &[b'm'; 30]);
        let mine = i32::try_from(2 * one + head.len()).unwrap();
        let parts = [
            verdict(filter, mine),
            verdict(filter, -1),
            head,
            verdict(filter, -2),
            verdict(filter, -5),
            entry(filter, b"ERROR", b"ERROR"),
        ];
        let bytes = parts.concat();
        (Information { hooks: vec![(1, 0, one)], size: bytes.len() }, bytes)
    }

    #[test]
    fn chains_have_their_rules_without_the_policy_and_the_return() {
        for filter in [LegacyFilter::Ip, LegacyFilter::Ip6, LegacyFilter::Arp] {
            let (information, bytes) = table(filter);
            let entries = Entries::parse(filter, &information, &bytes);
            assert!(!entries.malformed);
            let [input, mine] = &entries.chains[..] else { panic!("{:?}", entries.chains) };
            assert_eq!((input.policy, input.packets), (Some("DROP"), 7));
            assert_eq!((mine.policy, &mine.name[..]), (None, &[b'm'; 30][..]));
            let targets = |chain| {
                entries.rules(chain).map(|rule| entries.target_name(&rule).unwrap()).collect::<Vec<_>>()
            };
            assert_eq!((targets(input), targets(mine)), (vec![vec![b'm'; 30]], vec![b"ACCEPT".to_vec()]));
        }
    }

    #[test]
    fn every_cut_and_every_garbage_byte_is_malformed_or_harmless() {
        for filter in [LegacyFilter::Ip, LegacyFilter::Ip6, LegacyFilter::Arp] {
            let (information, bytes) = table(filter);
            for end in 0..bytes.len() {
                Entries::parse(filter, &information, &bytes[..end]);
                for byte in [0, 1, 0xff] {
                    let mut garbage = bytes.clone();
                    garbage[end] = byte;
                    let entries = Entries::parse(filter, &information, &garbage);
                    for chain in &entries.chains {
                        for rule in entries.rules(chain) {
                            assert!(rule.matches().count() < 100);
                            entries.target_name(&rule);
                        }
                    }
                }
            }
            let garbage = vec![0xff; Information::length(filter)];
            assert_eq!(Information::parse(filter, &garbage).unwrap().size, u32::MAX as usize);
            assert_eq!(Information::parse(filter, &garbage[1..]), None);
        }
    }
}
