//! Feeds any bytes to every record's reader; refuses a panic, and a record that does not survive writing.
#![no_main]

use holdfast_schemas::action::ActionRecord;
use holdfast_schemas::bag::parse_manifest_line;
use holdfast_schemas::collection::Collection;
use holdfast_schemas::container::{Directory, MemberHeader};
use holdfast_schemas::custody::CustodyEntry;
use holdfast_schemas::item::ItemRecord;
use holdfast_schemas::json::{read_record, write_record};
use holdfast_schemas::name::{check_member_name, member_name};
use holdfast_schemas::report::Report;
use holdfast_schemas::seal::SealStatement;

macro_rules! survives {
    ($bytes:expr, $($record:ty),*) => {
        $(if let Ok(record) = read_record::<$record>($bytes) {
            let written = write_record(&record).expect("it writes");
            assert_eq!(read_record::<$record>(&written).expect("it reads again"), record);
        })*
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    survives!(bytes, ActionRecord, Collection, CustodyEntry, ItemRecord, Report, SealStatement);
    if let Ok(record) = read_record::<ItemRecord>(bytes) {
        let _ = record.check();
    }
    if let Ok(statement) = read_record::<SealStatement>(bytes) {
        let _ = statement.check();
    }
    if let Ok((header, sizes, len)) = MemberHeader::parse_local(bytes) {
        assert_eq!(header.render_local(sizes.as_ref()), bytes[..len]);
    }
    if let Ok((header, sizes, offset, len)) = MemberHeader::parse_central(bytes) {
        assert_eq!(header.render_central(&sizes, offset), bytes[..len]);
    }
    let _ = Directory::parse_end(bytes, bytes.len() as u64);
    let _ = std::str::from_utf8(bytes).map(parse_manifest_line);
    if bytes.iter().any(|byte| *byte != b'/') {
        assert_eq!(check_member_name(&member_name("data/fs", bytes, 0)), Ok(()));
    }
});
