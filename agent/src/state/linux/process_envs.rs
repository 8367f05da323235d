//! Owns the table of processes' environments; refuses to be captured unless it is asked for: environments hold secrets.

use std::io;

use serde::Serialize;

use super::process_folders::{each_process, noted};
use super::text::{fields, number, text};
use crate::source::KernelFolder;
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(super) const TABLE: Table = Table {
    name: "process_envs",
    about: "Environment variables that each process was started with; they can hold passwords and keys.",
    sources: &["/proc/<pid>/environ"],
    group: Group::Processes,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Personal,
    capture: capture_envs,
};

/// The most that is read of one environment.
const CAP: usize = 4 << 20;

/// One variable.
#[derive(Serialize)]
struct EnvRow {
    /// osquery: Process id.
    pid: u32,
    /// osquery: Name.
    key: String,
    /// Derived: Base64 of the exact bytes behind `key`; null where `key` is those bytes verbatim.
    key_raw: Option<String>,
    /// osquery: Value; empty where there is no `=`.
    value: String,
    /// Derived: Base64 of the exact bytes behind `value`; null where `value` is those bytes verbatim.
    value_raw: Option<String>,
}

fn capture_envs(capture: &mut TableCapture<'_>) -> io::Result<()> {
    each_process(capture, &mut |capture, pid, process| {
        let read = process.prefix("environ", CAP);
        let Some(environment) = noted(capture, process, "environ", read) else { return Ok(()) };
        if environment.cut {
            let reason = io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {CAP} bytes"));
            capture.gap(format!("{}/environ", process.path()), &reason);
        }
        if let Some(length) =
            stated_length(process).filter(|length| !environment.cut && *length > environment.bytes.len())
        {
            let reason = format!("{} of {length} bytes could be read", environment.bytes.len());
            capture.gap(format!("{}/environ", process.path()), &io::Error::other(reason));
        }
        for variable in environment.bytes.split(|byte| *byte == 0).filter(|variable| !variable.is_empty()) {
            let equals = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
            let (key, key_raw) = text(variable.get(..equals).unwrap_or_default());
            let (value, value_raw) = text(variable.get(equals + 1..).unwrap_or_default());
            capture.row(&EnvRow { pid, key, key_raw, value, value_raw })?;
        }
        Ok(())
    })
}

/// How long the kernel says the environment is: fields 50 and 51 of `stat` (proc(5)); nothing where it does not tell.
fn stated_length(process: &KernelFolder) -> Option<usize> {
    let stat = process.prefix("stat", 4096).ok()?;
    let behind_name = stat.bytes.iter().rposition(|byte| *byte == b')')?;
    let mut places = fields(stat.bytes.get(behind_name + 1..)?).skip(47).map(number::<usize>);
    let (start, end) = (places.next()??, places.next()??);
    end.checked_sub(start).filter(|_| start > 0)
}
