//! Owns every opening of evidence: read-only, never through a link, access times left alone; refuses to open what is
//! not a regular file or folder.

mod folder;
mod kernel;
mod owners;

pub use folder::{FileIdentity, Folder, Listing, Looked, OpenFile, free_bytes, kernel_made, remote};
pub use kernel::*;
pub use owners::Owners;

use std::io;

use holdfast_schemas::item::Outcome;

/// The item outcome that an error of the operating system stands for.
pub fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::NotFound => Outcome::Missing,
        io::ErrorKind::PermissionDenied => Outcome::Denied,
        _ => Outcome::ReadError,
    }
}

/// Whether something stands at an absolute path; no link is followed.
pub fn exists(path: &str) -> io::Result<bool> {
    let names: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let Some((last, parents)) = names.split_last() else { return Ok(true) };
    let looked = parents.iter().try_fold(Folder::root()?, |folder, name| folder.descend(name)).and_then(|folder| folder.look(last));
    match looked {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}
