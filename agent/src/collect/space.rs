//! Owns the room for the output: whether there is enough to begin, and whether enough is left to seal; refuses to begin
//! where a seal could not be written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::package::{Meter, PackageWriter};
use crate::source;

/// Bytes that must be free to begin: live state, records and seal of an ordinary host.
const TO_BEGIN: u64 = 64 << 20;

/// Makes sure that `folder` exists, can be written and has room; says what is wrong otherwise.
pub(super) fn prepare(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("it cannot be created ({error})"))?;
    super::probe(folder).map_err(|error| format!("it cannot be written ({error})"))?;
    let free =
        File::open(folder).and_then(|open| source::free_bytes(&open)).map_err(|error| error.to_string())?;
    if free < TO_BEGIN {
        return Err(format!(
            "only {} MiB are free there, and {} MiB are the least",
            free >> 20,
            TO_BEGIN >> 20
        ));
    }
    Ok(())
}

/// A watch on the room that is left; cheap enough to ask often.
#[derive(Clone)]
pub(super) struct SpaceWatch {
    volume: Arc<File>,
    meter: Arc<Meter>,
}

impl SpaceWatch {
    pub(super) fn new(package: &PackageWriter) -> io::Result<Self> {
        Ok(Self { volume: Arc::new(package.own().volume()?), meter: Arc::clone(package.meter()) })
    }

    /// Whether no more can be taken without endangering the seal.
    pub(super) fn is_short(&self) -> bool {
        source::free_bytes(&*self.volume).is_ok_and(|free| free < self.meter.reserve())
    }
}
