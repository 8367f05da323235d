//! Owns the question whether a part of the kernel is there; refuses every way of asking that would load a module.

use std::io;

use crate::source::{kernel_dir, kernel_prefix, kernel_text};

/// What the kernel has, or would not load, at the time of asking.
pub(super) struct Presence {
    /// Whether the kernel loads no module at all.
    loads_none: bool,
    /// The list of what is built in.
    built_in: io::Result<Vec<u8>>,
}

impl Presence {
    /// Reads the lists.
    pub(super) fn read() -> Self {
        let loads_none = kernel_prefix("/proc/modules", 1)
            .is_err_and(|reason| reason.kind() == io::ErrorKind::NotFound)
            || kernel_text("/proc/sys/kernel/modules_disabled").is_ok_and(|value| value.trim_ascii() == b"1");
        Self { loads_none, built_in: built_in() }
    }

    /// Whether a module is loaded or built in, or cannot be loaded because the kernel loads none.
    ///
    /// # Errors
    ///
    /// Where the list of what is built in cannot be read, which would tell.
    pub(super) fn has(&self, module: &str) -> io::Result<bool> {
        if self.loads_none || kernel_dir(&format!("/sys/module/{module}")).is_ok() {
            return Ok(true);
        }
        let file = format!("/{module}.ko");
        match &self.built_in {
            Ok(list) => Ok(list.split(|byte| *byte == b'\n').any(|line| line.ends_with(file.as_bytes()))),
            Err(reason) => {
                let told = format!("modules.builtin, which tells whether {module} is built in: {reason}");
                Err(io::Error::new(reason.kind(), told))
            }
        }
    }

    /// Whether each of `modules` is present.
    ///
    /// # Errors
    ///
    /// As [`Self::has`].
    pub(super) fn has_all(&self, modules: &[&str]) -> io::Result<bool> {
        for module in modules {
            if !self.has(module)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn built_in() -> io::Result<Vec<u8>> {
    let uname = rustix::system::uname();
    match uname.release().to_str() {
        Ok(release) if !release.contains('/') => {
            kernel_text(&format!("/lib/modules/{release}/modules.builtin"))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's release is no name of a folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_list_of_what_is_built_in_is_no_absence() {
        let presence = |built_in| Presence { loads_none: false, built_in };
        let unreadable = presence(Err(io::ErrorKind::PermissionDenied.into()));
        assert!(unreadable.has_all(&["holdfast_no_such_module"]).is_err());
        let list = presence(Ok(b"kernel/net/holdfast_built_in.ko\n".to_vec()));
        assert!(list.has("holdfast_built_in").unwrap() && !list.has("holdfast_no_such_module").unwrap());
    }
}
