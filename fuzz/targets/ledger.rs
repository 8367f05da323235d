//! Feeds any line to the ledger's reader; refuses a panic, and a line that does not write back to itself.
#![no_main]

use holdfast_schemas::custody::LedgerLine;
use holdfast_schemas::json::read_record;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    if LedgerLine::parse(line).is_ok() {
        let parsed: LedgerLine = read_record(line).expect("it was parsed");
        assert_eq!(parsed.to_bytes().expect("it writes"), line);
    }
});
