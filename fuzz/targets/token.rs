//! Feeds any bytes to the reader of timestamps; refuses a panic, and a stored token with a second spelling.
#![no_main]

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::timestamp::{TimestampRoots, TimestampToken};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let imprint = Sha256Digest::of(b"signature");
    for token in
        [TimestampToken::from_stored(bytes), TimestampToken::from_response(bytes)].into_iter().flatten()
    {
        let _ = token.answers(&imprint, 1);
        assert!(token.verify(&imprint, &TimestampRoots::default()).is_err());
    }
    if let Ok(token) = TimestampToken::from_stored(bytes) {
        assert_eq!(token.to_stored_response(), bytes);
    }
});
