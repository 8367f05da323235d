//! Owns every opening of evidence: read-only, never through a link, access times left alone; refuses to open what is
//! not a regular file or folder.

mod folder;
mod kernel;
mod lines;
mod mounts;
mod owners;
mod root;
mod walk;
mod ways;

use std::fs::File;
use std::io;
use std::path::Path;

use holdfast_schemas::item::Outcome;

pub use folder::{Extents, FileIdentity, Folder, Listing, Looked, OpenFile, free_bytes, kernel_made, remote};
pub use kernel::*;
pub use lines::each_line;
pub use mounts::{Mounts, Obstacle, unescaped};
pub use owners::{Owners, User};
pub use root::Root;
pub use walk::{EachStep, Step, walk};

/// The item outcome that an error of the operating system stands for.
pub fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::NotFound => Outcome::Missing,
        io::ErrorKind::PermissionDenied => Outcome::Denied,
        _ => Outcome::ReadError,
    }
}

/// Whether a folder, or the nearest folder above it that exists, lies on the file system of the host's root.
pub fn same_volume_as_root(folder: &Path) -> bool {
    let device = |path: &Path| {
        File::open(path).and_then(|open| FileIdentity::of(&open)).map(|found| found.device()).ok()
    };
    let absolute = std::path::absolute(folder).unwrap_or_default();
    let nearest = absolute.ancestors().find_map(device);
    nearest.is_some() && nearest == device(Path::new("/"))
}
