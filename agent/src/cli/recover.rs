//! Owns `recover`: seals what an interrupted collection left; refuses anything but its partial file.

use super::{Failure, RecoverArgs, collect, print};
use crate::collect::recover;

pub(super) fn run(args: &RecoverArgs) -> Result<u8, Failure> {
    let keys = collect::keys(&args.seal)?;
    let summary = recover(&args.partial, keys, collect::workers()).map_err(collect::failure)?;
    print(&summary.to_string())?;
    Ok(summary.exit_status())
}
