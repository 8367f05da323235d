//! Owns the table of commands that users typed; refuses to be captured where it was not asked for.

use std::io;

use super::files::{Files, join, lines};
use super::row::row;
use super::text::{Twin, number, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "shell_history",
    about: "Commands in the histories of shells and of the programs that keep one.",
    sources: &[
        "~/.bash_history",
        "~/.zsh_history",
        "~/.local/share/fish/fish_history",
        "and others; see history_file",
    ],
    group: Group::Accounts,
    reads: Reads::Files,
    sensitivity: Sensitivity::Personal,
    capture: capture_history,
};

row! {
    /// One command.
    struct HistoryRow {
        /// osquery: User whose history it is.
        uid: u32,
        /// osquery: When it was entered, Unix seconds by the host's clock; null where the history does not say.
        time: Option<i64>,
        /// osquery: The command, with its line feeds.
        command: Twin,
        /// osquery: File it is in.
        history_file: Twin,
        /// Derived: Number of the line it begins on, from 1.
        line: u64,
    }
}

/// Histories below a home.
const FILES: [&str; 18] = [
    ".bash_history",
    ".zsh_history",
    ".zhistory",
    ".histfile",
    ".history",
    ".sh_history",
    ".ash_history",
    ".ksh_history",
    ".config/fish/fish_history",
    ".local/share/fish/fish_history",
    ".local/share/powershell/PSReadLine/ConsoleHost_history.txt",
    ".python_history",
    ".mysql_history",
    ".psql_history",
    ".sqlite_history",
    ".rediscli_history",
    ".node_repl_history",
    ".lesshst",
];
/// The longest history that is read.
const HISTORY_CAP: usize = 16 << 20;

fn capture_history(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let mut files = Files::of(capture)?;
    for home in files.homes(capture) {
        capture.go_on()?;
        for name in FILES {
            let path = join(&home.path, name.as_bytes());
            let Some(file) = files.text(capture, &path, HISTORY_CAP) else { continue };
            let shown = text(&path);
            let mut write = |line: u64, time: Option<i64>, command: &[u8]| {
                let history_file = shown.clone();
                capture.row(&HistoryRow { uid: home.uid, time, command: text(command), history_file, line })
            };
            if name.ends_with("fish_history") { fish(&file, &mut write) } else { plain(&file, &mut write) }?;
        }
    }
    Ok(())
}

/// What is done with one command: the number of its line, its time and itself.
type EachCommand<'a> = &'a mut dyn FnMut(u64, Option<i64>, &[u8]) -> io::Result<()>;

/// bash writes `#seconds` before a command where it is told to; zsh writes `: seconds:duration;` in front of one, and a
/// backslash where a command goes on in the next line.
fn plain(file: &[u8], each: EachCommand<'_>) -> io::Result<()> {
    let mut time = None;
    let mut going_on: Option<(u64, Option<i64>, Vec<u8>)> = None;
    for (number, line) in lines(file) {
        if let Some((_, _, command)) = &mut going_on {
            command.push(b'\n');
            let part = line.strip_suffix(b"\\");
            command.extend_from_slice(part.unwrap_or(line));
            if part.is_none()
                && let Some((number, time, command)) = going_on.take()
            {
                each(number, time, &command)?;
            }
        } else if let Some(stamp) = stamp(line) {
            time = Some(stamp);
        } else if let Some((entered, command)) = zsh(line) {
            match command.strip_suffix(b"\\") {
                Some(part) => going_on = Some((number, Some(entered), part.to_vec())),
                None => each(number, Some(entered), command)?,
            }
        } else if !line.is_empty() {
            each(number, time.take(), line)?;
        }
    }
    going_on.map_or(Ok(()), |(number, time, command)| each(number, time, &command))
}

fn stamp(line: &[u8]) -> Option<i64> {
    number::<u32>(line.strip_prefix(b"#")?).map(i64::from)
}

fn zsh(line: &[u8]) -> Option<(i64, &[u8])> {
    let rest = line.strip_prefix(b": ")?;
    let (time, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b':')?)?;
    let at = rest.iter().position(|byte| *byte == b';')?;
    Some((number(time.trim_ascii())?, rest.get(at + 1..)?))
}

/// fish writes `- cmd: command`, then `  when: seconds`; line feeds and backslashes are escaped.
fn fish(file: &[u8], each: EachCommand<'_>) -> io::Result<()> {
    let mut entry: Option<(u64, Option<i64>, Vec<u8>)> = None;
    for (line_number, line) in lines(file) {
        if let Some(command) = line.strip_prefix(b"- cmd: ") {
            if let Some((number, time, command)) = entry.replace((line_number, None, unescaped(command))) {
                each(number, time, &command)?;
            }
        } else if let (Some(when), Some((_, time, _))) = (line.strip_prefix(b"  when: "), &mut entry) {
            *time = number(when);
        }
    }
    entry.map_or(Ok(()), |(number, time, command)| each(number, time, &command))
}

fn unescaped(command: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(command.len());
    let mut bytes = command.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'\\', Some(b'n')) => plain.push(b'\n'),
            (b'\\', Some(b'\\')) => plain.push(b'\\'),
            _ => {
                plain.push(*byte);
                continue;
            }
        }
        bytes.next();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Vec<(u64, Option<i64>, Vec<u8>)>;

    fn read(file: &[u8], with: fn(&[u8], EachCommand<'_>) -> io::Result<()>) -> Found {
        let mut found = Vec::new();
        with(file, &mut |line, time, command| {
            found.push((line, time, command.to_vec()));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn each_shell_tells_its_times() {
        let bash = read(b"old\n#1700000000\nls\nid\n", plain);
        assert_eq!(
            bash,
            [(1, None, b"old".to_vec()), (3, Some(1_700_000_000), b"ls".to_vec()), (4, None, b"id".to_vec())]
        );
        let zsh = read(b": 1700000001:0;for x\\\ndo y\n: 1700000002:3;w\n", plain);
        assert_eq!(
            zsh,
            [(1, Some(1_700_000_001), b"for x\ndo y".to_vec()), (3, Some(1_700_000_002), b"w".to_vec())]
        );
        let fish = read(b"- cmd: a\\nb\\\\\n  when: 1700000003\n  paths:\n    - x\n- cmd: c\n", fish);
        assert_eq!(fish, [(1, Some(1_700_000_003), b"a\nb\\".to_vec()), (5, None, b"c".to_vec())]);
    }

    #[test]
    fn garbage_histories_lose_nothing_and_do_not_panic() {
        assert_eq!(read(b": :;\n#x\n\xff\0\n: 1:2;\\", plain).len(), 4);
        assert!(read(b"  when: 1\n\xff\n", fish).is_empty());
    }
}
