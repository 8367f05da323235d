//! Owns the sealing of what an interrupted collection left; refuses to present it as more than it is: the interruption
//! stands in the package.

use std::path::Path;

use holdfast_schemas::action::{Action, ActionRecord};
use holdfast_schemas::collection::{ClockReading, Collection, Interruption};
use holdfast_schemas::json::read_record;

use super::{CollectError, Summary, advice};
use crate::clock;
use crate::package::{Destination, PackageError, ResumeError, resume};
use crate::seal::{self, SealingKeys};

/// Seals the whole items of `<name>.zip.partial`.
pub fn recover(partial: &Path, keys: SealingKeys, workers: usize) -> Result<Summary, CollectError> {
    let not_recoverable = |error: ResumeError| CollectError::NotRecoverable(error.to_string());
    let mut resumed = resume(partial, workers).map_err(not_recoverable)?;
    let mut collection: Collection = read_record(&resumed.context).map_err(|error| {
        CollectError::NotRecoverable(format!(
            "the journal's account of the collection cannot be read: {error}"
        ))
    })?;
    let folder = partial.parent().unwrap_or(Path::new(".")).to_owned();
    let name = partial.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".zip.partial").unwrap_or_default().to_owned();
    let destination = Destination::Folder(folder);
    let failed =
        |error: PackageError| CollectError::Interrupted { error, advice: advice(&destination, &name) };

    let mut consequence = "what had not been looked for by then was not collected".to_owned();
    if let Some((bytes, kept)) = &resumed.cut {
        consequence = format!(
            "{consequence}; {bytes} bytes that file and journal do not both vouch for were cut off and kept, unsealed, in {}",
            kept.display()
        );
    }
    let reason = "the agent was interrupted before it could seal, and the package was recovered afterwards";
    collection.interruptions.push(Interruption { at: clock::now(), reason: reason.to_owned(), consequence });
    if let Err(error) =
        resumed.writer.log(Action::End, Some("recovered after an interruption".to_owned()), None, "ok")
    {
        return Err(failed(resumed.writer.abandon(error)));
    }
    collection.clock.end = last_reading(&collection.clock.start, resumed.last_action.as_ref());
    collection.counts = resumed.writer.counts().to_vec();
    collection.footprint.files_created =
        vec![partial.with_file_name(format!("{name}.zip")).display().to_string()];
    let payload_bytes = resumed.writer.totals().bytes;
    let tagged = resumed.writer.finish(&collection, keys.timestamp_authorities()).map_err(failed)?;
    let sealed = seal::seal(tagged, &collection, keys, &destination, &name)?;
    Ok(Summary::new(&collection, sealed, payload_bytes, Vec::new()))
}

/// The collection's end: its last action, since nothing is known of later. What the kernel thought of its clock then is
/// not known.
fn last_reading(start: &ClockReading, last: Option<&ActionRecord>) -> ClockReading {
    ClockReading {
        utc: last.map_or(start.utc, |action| action.at),
        monotonic_ns: last.map_or(start.monotonic_ns, |action| action.monotonic_ns.max(start.monotonic_ns)),
        boottime_ns: None,
        time_zone: start.time_zone.clone(),
        synchronised: None,
        estimated_error_us: None,
        maximum_error_us: None,
    }
}
