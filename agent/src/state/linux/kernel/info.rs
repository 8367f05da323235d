//! Owns the one row about the kernel itself; refuses to judge what taints it.

use std::io;

use serde::Serialize;

use super::{note_unmounted, noted, value};
use crate::source::{Watchdog, kernel_prefix};
use crate::state::linux::clock::boot_id;
use crate::state::linux::process_folders::keep_small;
use crate::state::linux::text::{fields, number, one_line, optional, text};
use crate::state::{Group, Reads, Sensitivity, Table, TableCapture};

/// The table.
pub(in crate::state::linux) const TABLE: Table = Table {
    name: "kernel_info",
    about: "The running kernel: its version, command line, taint and locks.",
    sources: &[
        "/proc/version",
        "/proc/cmdline",
        "/proc/sys/kernel/{osrelease,tainted,modules_disabled,random/boot_id}",
        "/sys/kernel/security/{lockdown,lsm}",
        "/sys/kernel/kexec_loaded",
        "/sys/firmware/efi/efivars/SecureBoot-*",
    ],
    group: Group::Kernel,
    reads: Reads::Kernel,
    sensitivity: Sensitivity::Ordinary,
    capture: capture_info,
};

/// The running kernel. Null where the kernel does not tell.
#[derive(Serialize)]
struct InfoRow {
    /// osquery: Release, such as 6.1.0-28-amd64.
    version: Option<String>,
    /// Derived: Base64 of the exact bytes behind `version`; null where `version` is those bytes verbatim.
    version_raw: Option<String>,
    /// osquery: Command line it was started with, less the words for `path` and `device`; as it is where
    /// these do not stand in it.
    arguments: Option<String>,
    /// Derived: Base64 of the exact bytes behind `arguments`; null where `arguments` is those bytes verbatim.
    arguments_raw: Option<String>,
    /// osquery: Image it was loaded from, as the loader names it (`BOOT_IMAGE=`).
    path: Option<String>,
    /// Derived: Base64 of the exact bytes behind `path`; null where `path` is those bytes verbatim.
    path_raw: Option<String>,
    /// osquery: Device of the root file system (`root=`).
    device: Option<String>,
    /// Derived: Base64 of the exact bytes behind `device`; null where `device` is those bytes verbatim.
    device_raw: Option<String>,
    /// Derived: Line about its build: release, builder, compiler, number, date.
    build: Option<String>,
    /// Derived: Base64 of the exact bytes behind `build`; null where `build` is those bytes verbatim.
    build_raw: Option<String>,
    /// Derived: Bits of what taints it; 0 for nothing.
    taint: Option<u64>,
    /// Derived: The same in words, separated by commas; empty for nothing.
    taint_reasons: Option<String>,
    /// Derived: Lockdown in force: none, integrity or confidentiality.
    lockdown: Option<String>,
    /// Derived: Security modules in force, as the kernel lists them.
    security_modules: Option<String>,
    /// Derived: Base64 of the exact bytes behind `security_modules`; null where `security_modules` is those
    /// bytes verbatim.
    security_modules_raw: Option<String>,
    /// Derived: Whether firmware says that it booted with Secure Boot.
    secure_boot: Option<bool>,
    /// Derived: Whether no further module can be loaded until the next boot.
    modules_disabled: Option<bool>,
    /// Derived: Whether another kernel is loaded to be started by kexec.
    kexec_loaded: Option<bool>,
    /// Derived: Random identifier of this boot.
    boot_id: Option<String>,
}

/// Bit by bit (Documentation/admin-guide/tainted-kernels.rst).
const REASONS: &[&str] = &[
    "proprietary_module",
    "forced_module_load",
    "cpu_out_of_spec",
    "forced_module_unload",
    "machine_check",
    "bad_page",
    "user_request",
    "oops",
    "overridden_acpi_table",
    "warning",
    "staging_driver",
    "firmware_workaround",
    "out_of_tree_module",
    "unsigned_module",
    "soft_lockup",
    "live_patch",
    "auxiliary",
    "struct_randomised",
    "test_module",
    "fwctl",
];

/// The variable of UEFI 2.10, 3.3, behind four bytes of attributes; firmware may not answer.
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

fn capture_info(capture: &mut TableCapture<'_>) -> io::Result<()> {
    let command = keep_small(capture, "/proc/cmdline");
    let build = keep_small(capture, "/proc/version");
    let version = value(capture, "/proc/sys/kernel/osrelease");
    let taint = value(capture, "/proc/sys/kernel/tainted").and_then(|taint| number(&taint));
    note_unmounted(capture, "/sys/kernel/security");
    let lockdown = value(capture, "/sys/kernel/security/lockdown");
    let modules = value(capture, "/sys/kernel/security/lsm");
    let boot_id = noted(capture, "/proc/sys/kernel/random/boot_id", boot_id());
    let switch = |value: Option<Vec<u8>>| value.and_then(|value| number::<u8>(&value)).map(|on| on != 0);
    let (version, version_raw) = optional(version.as_deref());
    let command = command.as_deref();
    let (arguments, arguments_raw) = optional(command.map(arguments).as_deref());
    let (path, path_raw) = optional(command.and_then(|command| named(command, IMAGE)));
    let (device, device_raw) = optional(command.and_then(|command| named(command, ROOT)));
    let (build, build_raw) = optional(build.as_deref().map(one_line));
    let (security_modules, security_modules_raw) = optional(modules.as_deref());
    let row = InfoRow {
        version,
        version_raw,
        arguments,
        arguments_raw,
        path,
        path_raw,
        device,
        device_raw,
        build,
        build_raw,
        taint,
        taint_reasons: taint.map(reasons),
        lockdown: lockdown.as_deref().and_then(chosen),
        security_modules,
        security_modules_raw,
        secure_boot: secure_boot(capture),
        modules_disabled: switch(value(capture, "/proc/sys/kernel/modules_disabled")),
        kexec_loaded: switch(value(capture, "/sys/kernel/kexec_loaded")),
        boot_id,
    };
    capture.row(&row)
}

/// The words of the command line named `key`: what the first one names.
fn named<'a>(command: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    fields(command).find_map(|word| word.strip_prefix(key))
}

/// The command line without the words for the image and the root device; as it is where it has neither.
fn arguments(command: &[u8]) -> Vec<u8> {
    let command = one_line(command);
    let named = |word: &[u8]| word.starts_with(IMAGE) || word.starts_with(ROOT);
    if !fields(command).any(named) {
        return command.to_vec();
    }
    fields(command).filter(|word| !named(word)).collect::<Vec<_>>().join(&b' ')
}

const IMAGE: &[u8] = b"BOOT_IMAGE=";
const ROOT: &[u8] = b"root=";

fn reasons(taint: u64) -> String {
    let named = |bit: u32| {
        let name = usize::try_from(bit).ok().and_then(|bit| REASONS.get(bit));
        name.map_or_else(|| format!("bit_{bit}"), |name| (*name).to_owned())
    };
    (0..64).filter(|bit| taint >> bit & 1 == 1).map(named).collect::<Vec<_>>().join(",")
}

/// The word in brackets, such as in `none [integrity] confidentiality`.
fn chosen(choice: &[u8]) -> Option<String> {
    let word = fields(choice).find_map(|word| word.strip_prefix(b"[")?.strip_suffix(b"]"))?;
    Some(text(word).0)
}

fn secure_boot(capture: &mut TableCapture<'_>) -> Option<bool> {
    let read = Watchdog::default().within(|_| kernel_prefix(SECURE_BOOT, 16));
    noted(capture, SECURE_BOOT, read)?.bytes.get(4).map(|on| *on == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taint_is_told_in_words_bit_by_bit() {
        assert_eq!(reasons(0), "");
        assert_eq!(reasons(1 << 12 | 1 << 13 | 1), "proprietary_module,out_of_tree_module,unsigned_module");
        assert_eq!(reasons(1 << 63), "bit_63");
    }

    #[test]
    fn command_line_is_parted_into_image_root_and_the_rest() {
        let command = b"BOOT_IMAGE=/vmlinuz root=UUID=1 ro  quiet\n";
        assert_eq!(arguments(command), b"ro quiet");
        assert_eq!(
            (named(command, IMAGE), named(command, ROOT)),
            (Some(&b"/vmlinuz"[..]), Some(&b"UUID=1"[..]))
        );
        assert_eq!(arguments(b"a  b\n"), b"a  b");
        assert_eq!(chosen(b"none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(chosen(b"\xff [] x]"), Some(String::new()));
    }
}
