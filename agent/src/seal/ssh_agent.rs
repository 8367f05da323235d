//! Owns the conversation with ssh-agent (draft-ietf-sshm-ssh-agent, section 3): which keys it holds, and a signature by
//! one of them; refuses answers that are not of the form asked for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_schemas::ssh_key::{Algorithm, PublicKey};
use holdfast_schemas::ssh_wire::{WireReader, WireWriter};

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Asks an RSA key for rsa-sha2-512 instead of SHA-1.
const RSA_SHA2_512: u32 = 4;
/// Largest answer that is read.
const MAX_ANSWER: u32 = 256 * 1024;
/// A hardware key waits for a touch.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open conversation. Errors are words for the examiner.
pub(super) struct SshAgent(UnixStream);

impl SshAgent {
    /// The agent that SSH_AUTH_SOCK names, and the keys it holds that could sign.
    pub(super) fn keys_of_environment() -> Result<(PathBuf, Vec<PublicKey>), String> {
        let socket = std::env::var_os("SSH_AUTH_SOCK").ok_or("SSH_AUTH_SOCK is not set")?;
        let socket = PathBuf::from(socket);
        let keys = Self::connect(&socket)?.keys()?;
        Ok((socket, keys))
    }

    pub(super) fn connect(socket: &Path) -> Result<Self, String> {
        let stream = UnixStream::connect(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        Ok(Self(stream))
    }

    /// The keys it holds; kinds that cannot sign a seal are left out.
    fn keys(&mut self) -> Result<Vec<PublicKey>, String> {
        let answer = self.ask(REQUEST_IDENTITIES, &[], IDENTITIES_ANSWER)?;
        let mut reader = WireReader::new(&answer);
        let malformed = |_| "its list of keys is malformed".to_owned();
        let count = reader.u32().map_err(malformed)?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let blob = reader.string().map_err(malformed)?;
            reader.string().map_err(malformed)?;
            keys.extend(PublicKey::from_blob(blob).ok());
        }
        Ok(keys)
    }

    /// A signature blob by `key` over `message`.
    pub(super) fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<Vec<u8>, String> {
        let flags = if key.algorithm() == Algorithm::Rsa { RSA_SHA2_512 } else { 0 };
        let mut request = WireWriter::new();
        request.string(key.to_blob());
        request.string(message);
        request.u32(flags);
        let answer = self.ask(SIGN_REQUEST, &request.into_bytes(), SIGN_RESPONSE)?;
        let mut reader = WireReader::new(&answer);
        let blob = reader.string().map_err(|_| "its signature is malformed".to_owned())?.to_vec();
        Ok(blob)
    }

    fn ask(&mut self, request: u8, body: &[u8], expected: u8) -> Result<Vec<u8>, String> {
        let words = |error: std::io::Error| error.to_string();
        let length = u32::try_from(body.len() + 1).map_err(|_| "the request is too long".to_owned())?;
        let message = [&length.to_be_bytes()[..], &[request], body].concat();
        self.0.write_all(&message).map_err(words)?;
        let mut length = [0u8; 4];
        self.0.read_exact(&mut length).map_err(words)?;
        let length = u32::from_be_bytes(length);
        if length == 0 || length > MAX_ANSWER {
            return Err("its answer has an impossible length".to_owned());
        }
        let mut answer = Vec::new();
        (&mut self.0).take(u64::from(length)).read_to_end(&mut answer).map_err(words)?;
        match answer.split_first() {
            Some((kind, body)) if *kind == expected && body.len() + 1 == length as usize => Ok(body.to_vec()),
            _ => Err("it refused".to_owned()),
        }
    }
}
