//! Owns every opening of evidence: read-only, never through a link, access times left alone; refuses to open what is
//! not a regular file or folder.

mod folder;
mod kernel;
mod owners;

pub use folder::{FileIdentity, Folder, Listing, Looked, OpenFile, free_bytes, kernel_made, remote};
pub use kernel::*;
pub use owners::Owners;
