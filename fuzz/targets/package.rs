//! Feeds any bytes to the verifier as a package; refuses a panic, and a green verdict without a trust folder.
#![no_main]

use holdfast_schemas::report::Verdict;
use holdfast_schemas::time::UtcTime;
use holdfast_verifier::{Context, verify};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now = UtcTime::from_unix(1_790_000_000, 0).expect("a time");
    let context = Context { trust: None, ledger: None, expected_head: None, at: None, now, threads: 1 };
    let report = verify(&bytes.to_vec(), "fuzz.zip", context).expect("memory can be read");
    assert!(matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine));
});
