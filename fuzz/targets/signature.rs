//! Feeds any bytes to the readers of signatures and keys; refuses a panic, and a second spelling of either.
#![no_main]

use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::sshsig::{NAMESPACE_SEAL, SshSignature};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = SshSignature::parse(bytes) {
        assert_eq!(signature.to_armored().as_bytes(), bytes);
        let _ = signature.verify(NAMESPACE_SEAL, b"statement");
    }
    if let Ok(key) = PublicKey::from_blob(bytes) {
        assert_eq!(key.to_blob(), bytes);
        let _ = key.verify(b"message", bytes);
    }
    let _ = std::str::from_utf8(bytes).map(PublicKey::from_openssh_line);
});
