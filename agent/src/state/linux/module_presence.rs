//! Owns the question whether a part of the kernel is there; refuses every way of asking that would load a module.

use std::io;

use crate::source::{kernel_dir, kernel_text};

/// Whether a module is loaded or built in, or cannot be loaded because the kernel loads none.
pub(super) fn is_present(module: &str) -> bool {
    let loads_none = kernel_text("/proc/modules")
        .is_err_and(|reason| reason.kind() == io::ErrorKind::NotFound)
        || kernel_text("/proc/sys/kernel/modules_disabled").is_ok_and(|value| value.trim_ascii() == b"1");
    if loads_none || kernel_dir(&format!("/sys/module/{module}")).is_ok() {
        return true;
    }
    let uname = rustix::system::uname();
    let Ok(release) = uname.release().to_str() else { return false };
    let file = format!("/{module}.ko");
    !release.contains('/')
        && kernel_text(&format!("/lib/modules/{release}/modules.builtin"))
            .is_ok_and(|list| list.split(|byte| *byte == b'\n').any(|line| line.ends_with(file.as_bytes())))
}

/// Whether each of `modules` is present.
pub(super) fn are_present(modules: &[&str]) -> bool {
    modules.iter().all(|module| is_present(module))
}
