//! Owns the SSH wire form (RFC 4251 5) of strings and numbers; refuses fields longer than their input.

/// Why bytes are not the SSH wire form that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field claims more bytes than there are.
    #[error("ends early")]
    Truncated,
    /// Bytes follow the last field.
    #[error("bytes follow the end")]
    Trailing,
}

/// Reads SSH wire fields (RFC 4251 5) off the front of a byte slice, without copying.
#[derive(Debug, Clone)]
pub struct WireReader<'a> {
    rest: &'a [u8],
}

impl<'a> WireReader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Exactly `count` bytes as they are.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// A `uint32`, big-endian.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*head))
    }

    /// A `string`: its length as a `uint32`, then that many bytes.
    pub fn string(&mut self) -> Result<&'a [u8], WireError> {
        let count = usize::try_from(self.u32()?).map_err(|_| WireError::Truncated)?;
        self.bytes(count)
    }

    /// Confirms that nothing is left.
    pub fn finish(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

/// Writes SSH wire fields (RFC 4251 5).
#[derive(Debug, Clone, Default)]
pub struct WireWriter(Vec<u8>);

impl WireWriter {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `bytes` as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a `uint32`, big-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a `string`; its length must fit 32 bits.
    pub fn string(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).expect("SSH fields written here are short");
        self.u32(length).bytes(bytes)
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
