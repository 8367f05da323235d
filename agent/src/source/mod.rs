//! Owns every opening of evidence: read-only, never through a link, access times left alone; refuses to open what is
//! not a regular file or folder.

mod folder;
mod kernel;
mod owners;
mod root;

use std::fs::File;
use std::io;
use std::path::Path;

use holdfast_schemas::item::Outcome;

pub use folder::{FileIdentity, Folder, Listing, Looked, OpenFile, free_bytes, kernel_made, remote};
pub use kernel::*;
pub use owners::Owners;
pub use root::Root;

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

/// Whether something stands at an absolute path; no link is followed.
pub fn exists(path: &str) -> io::Result<bool> {
    let names: Vec<&[u8]> =
        path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let Some((last, parents)) = names.split_last() else { return Ok(true) };
    let looked = parents
        .iter()
        .try_fold(Folder::root()?, |folder, name| folder.descend(name))
        .and_then(|folder| folder.look(last));
    match looked {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
