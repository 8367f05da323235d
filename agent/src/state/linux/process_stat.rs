//! Owns the reading of `/proc/<pid>/stat`, `status` and `cgroup`; refuses to trust a name to be free of brackets.

use super::text::{fields, number};

/// What `/proc/<pid>/stat` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    pub(super) name: &'a [u8],
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) process_group: i32,
    pub(super) session: i32,
    pub(super) terminal: u32,
    pub(super) flags: u32,
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    pub(super) nice: i32,
    pub(super) threads: u32,
    pub(super) start_ticks: u64,
}

/// Reads `/proc/<pid>/stat`: the name lies between the first opening and the last closing bracket.
pub(super) fn parse_stat(stat: &[u8]) -> Option<Stat<'_>> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(open + 1..close)?;
    // The state is field 3 of proc_pid_stat(5).
    let values: Vec<&[u8]> = fields(stat.get(close + 1..)?).take(20).collect();
    let field = |number: usize| values.get(number - 3).copied();
    Some(Stat {
        name,
        state: char::from(*field(3)?.first()?),
        parent: number(field(4)?)?,
        process_group: number(field(5)?)?,
        session: number(field(6)?)?,
        terminal: number::<i32>(field(7)?)?.cast_unsigned(),
        flags: number(field(9)?)?,
        user_ticks: number(field(14)?)?,
        system_ticks: number(field(15)?)?,
        nice: number(field(19)?)?,
        threads: number(field(20)?)?,
        start_ticks: number(field(22)?)?,
    })
}

/// The value of one line of `/proc/<pid>/status`, where the kernel escapes line feeds in names.
pub(super) fn status_value<'a>(status: &'a [u8], name: &str) -> Option<&'a [u8]> {
    status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
        .map(<[u8]>::trim_ascii)
}

/// The real, effective and saved number of a `Uid` or `Gid` line.
pub(super) fn status_ids(status: &[u8], name: &str) -> [Option<u32>; 3] {
    let mut ids = status_value(status, name).map(fields).into_iter().flatten().map(number);
    std::array::from_fn(|_| ids.next().flatten())
}

/// A size of `/proc/<pid>/status`, given in units of 1024 bytes, in bytes.
pub(super) fn status_size(status: &[u8], name: &str) -> Option<u64> {
    fields(status_value(status, name)?).next().and_then(number::<u64>)?.checked_mul(1024)
}

/// The control group: of the unified hierarchy, else of systemd's own, else the first listed.
pub(super) fn control_group(cgroup: &[u8]) -> Option<&[u8]> {
    let paths = || {
        cgroup.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut parts = line.splitn(3, |byte| *byte == b':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })
    };
    paths()
        .find(|(hierarchy, controllers, _)| *hierarchy == b"0" && controllers.is_empty())
        .or_else(|| paths().find(|(_, controllers, _)| *controllers == b"name=systemd"))
        .or_else(|| paths().next())
        .map(|(_, _, path)| path)
}

/// The name of a terminal from its device number (admin-guide/devices.txt).
pub(super) fn terminal_name(device: u32) -> Option<String> {
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    match (major, minor) {
        (0, 0) => None,
        (4, 0..64) => Some(format!("tty{minor}")),
        (4, _) => Some(format!("ttyS{}", minor - 64)),
        (5, 1) => Some("console".to_owned()),
        (136..144, _) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        _ => Some(format!("{major}:{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] =
        b"812 (a) b) R 1 812 9) S 1 812 700 34816 900 4194304 1 2 3 4 50 60 7 8 20 -5 3 0 4711 100 200 300\n";

    #[test]
    fn name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = parse_stat(STAT).unwrap();
        assert_eq!(stat.name, b"a) b) R 1 812 9");
        assert_eq!((stat.state, stat.parent, stat.session), ('S', 1, 700));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.nice), (50, 60, -5));
        assert_eq!((stat.threads, stat.start_ticks), (3, 4711));
    }

    #[test]
    fn every_cut_and_every_garbage_byte_of_stat_is_harmless() {
        for end in 0..STAT.len() {
            let _ = parse_stat(&STAT[..end]);
            for byte in [0, b'(', b')', b' ', b'-', 0xff] {
                let mut garbage = STAT.to_vec();
                garbage[end] = byte;
                let _ = parse_stat(&garbage);
            }
        }
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn status_values_that_are_missing_or_too_large_are_unknown() {
        let status =
            b"Name:\tx\nUid:\t1\t2\nVmRSS:\t99999999999999999999 kB\nVmSize:\t18446744073709551615 kB\n";
        assert_eq!(status_ids(status, "Uid"), [Some(1), Some(2), None]);
        assert_eq!(status_ids(status, "Gid"), [None; 3]);
        assert_eq!(status_size(status, "VmRSS"), None);
        assert_eq!(status_size(status, "VmSize"), None);
    }

    #[test]
    fn unified_control_group_comes_first() {
        assert_eq!(control_group(b"5:cpu:/a\n1:name=systemd:/b\n0::/c:d\n"), Some(&b"/c:d"[..]));
        assert_eq!(control_group(b"5:cpu:/a\n1:name=systemd:/b\n"), Some(&b"/b"[..]));
        assert_eq!(control_group(b"\xff\n\n::"), Some(&b""[..]));
        assert_eq!(control_group(b"garbage"), None);
    }

    #[test]
    fn terminals_are_named_from_their_device_numbers() {
        assert_eq!(terminal_name(0), None);
        assert_eq!(terminal_name(0x8803).as_deref(), Some("pts/3"));
        assert_eq!(terminal_name(0x0401).as_deref(), Some("tty1"));
        assert_eq!(terminal_name(0x0440).as_deref(), Some("ttyS0"));
        assert_eq!(terminal_name(u32::MAX).as_deref(), Some("4095:1048575"));
    }
}
