//! Feeds any bytes to the readers of a trust folder's files; refuses a panic.
#![no_main]

use holdfast_verifier::Trust;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Trust::from_files(Some(bytes), Some(bytes), Some(bytes));
});
