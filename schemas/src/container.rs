//! Owns the ZIP container's exact bytes (APPNOTE 6.3.9): one rendering for each structure, which the agent writes
//! and the verifier compares; refuses every other form of the same meaning.
//!
//! All integers are little-endian. A streamed member is deflated and carries its sizes in a data descriptor
//! (APPNOTE 4.3.9); a stored member, used below `seal/`, carries them in its local header.

use std::fmt;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;

/// Size of the end record, which a package always closes with.
pub const END_LEN: u64 = 22;
/// Size of the ZIP64 end record and its locator, which stand before the end record where numbers need them.
pub const END64_LEN: u64 = 56 + 20;
/// Fixed part of a local header and of a central entry, before name and extra fields.
pub const LOCAL_FIXED: usize = 30;
/// See [`LOCAL_FIXED`].
pub const CENTRAL_FIXED: usize = 46;

const MADE_BY_UNIX: u16 = 3 << 8 | 45;
/// `-rw-------`: an extracted package is readable by who extracted it, and nothing in it is executable.
const EXTERNAL_ATTRIBUTES: u32 = 0o100_600 << 16;
const SATURATED: u32 = u32::MAX;
/// A member that may become larger than this is written in ZIP64 form; the margin covers deflate's growth.
pub const ZIP64_FROM: u64 = 4_000_000_000;

/// A time as ZIP stores it: whole Unix seconds, UTC, between 1980 and 2038.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZipTime(u32);

impl ZipTime {
    const EARLIEST: i64 = 315_532_800;

    /// The nearest time that a ZIP can hold.
    pub fn nearest(unix_seconds: i64) -> Self {
        let clamped = unix_seconds.clamp(Self::EARLIEST, i64::from(i32::MAX));
        Self(u32::try_from(clamped).unwrap_or(u32::MAX >> 1))
    }

    /// Unix seconds, UTC.
    pub fn unix_seconds(self) -> i64 {
        i64::from(self.0)
    }

    /// MS-DOS time and date (APPNOTE 4.4.6), UTC, two-second steps.
    fn dos(self) -> (u16, u16) {
        use chrono::{Datelike, Timelike};
        let Some(time) = chrono::DateTime::from_timestamp(i64::from(self.0), 0) else { return (0, 0x21) };
        let part = |number: u32| u16::try_from(number).unwrap_or_default();
        let year = u16::try_from(time.year() - 1980).unwrap_or_default();
        (
            part(time.hour()) << 11 | part(time.minute()) << 5 | part(time.second() / 2),
            year << 9 | part(time.month()) << 5 | part(time.day()),
        )
    }
}

/// How a member's bytes are kept (APPNOTE 4.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Method 8; sizes follow the data in a descriptor.
    Deflated,
    /// Method 0; sizes stand in the local header.
    Stored,
}

/// What a local header says of a member before its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHeader {
    /// Full name in the archive, the package folder included.
    pub name: String,
    /// Modification time of the source, to the second.
    pub modified: ZipTime,
    /// How the bytes are kept.
    pub method: Method,
    /// Whether sizes are written in 64 bits.
    pub zip64: bool,
}

/// What is known of a member once its bytes have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberSizes {
    /// CRC-32 of the content.
    pub crc32: u32,
    /// Bytes in the archive.
    pub compressed: u64,
    /// Bytes of content.
    pub size: u64,
}

/// A local header as read: the member, its sizes where the header carries them, and the header's own length.
pub type ParsedLocal = (MemberHeader, Option<MemberSizes>, usize);

/// Why bytes are not the one rendering of what they seem to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// The structure's signature is not where it must be.
    #[error("no {0} where one must stand")]
    Absent(Structure),
    /// The structure is cut off.
    #[error("{0} is cut off")]
    CutOff(Structure),
    /// The structure is there, but in a form that no Holdfast writer emits.
    #[error("{0} is not in the one form the format allows")]
    Form(Structure),
}

/// The ZIP structures, by the names people know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// Local file header.
    LocalHeader,
    /// Data descriptor.
    Descriptor,
    /// Central directory entry.
    CentralEntry,
    /// End of central directory, ZIP64 parts included.
    End,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LocalHeader => "local header",
            Self::Descriptor => "data descriptor",
            Self::CentralEntry => "directory entry",
            Self::End => "end record",
        })
    }
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
}

/// A 32-bit field, saturated where the number stands in a ZIP64 field instead.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(SATURATED)
}

fn length(text: &[u8]) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

impl MemberHeader {
    fn version_needed(&self) -> u16 {
        if self.zip64 { 45 } else { 20 }
    }

    fn flags(&self) -> u16 {
        match self.method {
            Method::Deflated => 1 << 3,
            Method::Stored => 0,
        }
    }

    fn method_number(&self) -> u16 {
        match self.method {
            Method::Deflated => 8,
            Method::Stored => 0,
        }
    }

    /// The "UT" field with the modification time, the same in both places it stands in.
    fn time_field(&self) -> [u8; 9] {
        let [a, b, c, d] = self.modified.0.to_le_bytes();
        [b'U', b'T', 5, 0, 1, a, b, c, d]
    }

    /// Renders the local header (APPNOTE 4.3.7). `sizes` are those of a stored member.
    pub fn render_local(&self, sizes: Option<&MemberSizes>) -> Vec<u8> {
        let mut extra = Bytes(self.time_field().to_vec());
        let known = sizes.copied().unwrap_or_default();
        if self.zip64 {
            extra.u16(1).u16(16).u64(known.size).u64(known.compressed);
        }
        let shown = |value: u64| if self.zip64 { SATURATED } else { narrow(value) };
        let (time, date) = self.modified.dos();
        let mut out = Bytes(Vec::with_capacity(LOCAL_FIXED + self.name.len() + extra.0.len()));
        out.u32(LOCAL)
            .u16(self.version_needed())
            .u16(self.flags())
            .u16(self.method_number())
            .u16(time)
            .u16(date);
        out.u32(known.crc32).u32(shown(known.compressed)).u32(shown(known.size));
        out.u16(length(self.name.as_bytes())).u16(length(&extra.0));
        out.0.extend(self.name.as_bytes());
        out.0.extend(extra.0);
        out.0
    }

    /// Renders the data descriptor that follows a deflated member (APPNOTE 4.3.9).
    pub fn render_descriptor(&self, sizes: &MemberSizes) -> Vec<u8> {
        let mut out = Bytes(Vec::with_capacity(24));
        out.u32(DESCRIPTOR).u32(sizes.crc32);
        if self.zip64 {
            out.u64(sizes.compressed).u64(sizes.size);
        } else {
            out.u32(narrow(sizes.compressed)).u32(narrow(sizes.size));
        }
        out.0
    }

    /// Renders the central directory entry (APPNOTE 4.3.12) of a member whose local header is at `offset`.
    pub fn render_central(&self, sizes: &MemberSizes, offset: u64) -> Vec<u8> {
        let mut wide = Bytes(Vec::new());
        if self.zip64 {
            wide.u64(sizes.size).u64(sizes.compressed);
        }
        if offset >= u64::from(SATURATED) {
            wide.u64(offset);
        }
        let mut extra = Bytes(self.time_field().to_vec());
        if !wide.0.is_empty() {
            extra.u16(1).u16(length(&wide.0));
            extra.0.append(&mut wide.0);
        }
        let shown = |value: u64| if self.zip64 { SATURATED } else { narrow(value) };
        let (time, date) = self.modified.dos();
        let mut out = Bytes(Vec::with_capacity(CENTRAL_FIXED + self.name.len() + extra.0.len()));
        out.u32(CENTRAL)
            .u16(MADE_BY_UNIX)
            .u16(self.version_needed())
            .u16(self.flags())
            .u16(self.method_number());
        out.u16(time).u16(date).u32(sizes.crc32).u32(shown(sizes.compressed)).u32(shown(sizes.size));
        out.u16(length(self.name.as_bytes())).u16(length(&extra.0)).u16(0).u16(0).u16(0);
        out.u32(EXTERNAL_ATTRIBUTES).u32(narrow(offset));
        out.0.extend(self.name.as_bytes());
        out.0.extend(extra.0);
        out.0
    }

    /// Reads a local header from the start of `bytes` and requires that it is the one rendering.
    pub fn parse_local(bytes: &[u8]) -> Result<ParsedLocal, ContainerError> {
        let at = Fields { bytes, of: Structure::LocalHeader };
        if at.u32(0)? != LOCAL {
            return Err(ContainerError::Absent(at.of));
        }
        let len = LOCAL_FIXED + usize::from(at.u16(26)?) + usize::from(at.u16(28)?);
        let found = at.slice(0, len)?;
        let header = at.header(8, LOCAL_FIXED, usize::from(at.u16(26)?), usize::from(at.u16(28)?))?;
        let sizes = match header.method {
            Method::Deflated => None,
            Method::Stored => Some(MemberSizes {
                crc32: at.u32(14)?,
                compressed: u64::from(at.u32(18)?),
                size: u64::from(at.u32(22)?),
            }),
        };
        // Stored members are small statements; only streamed ones may need 64 bits.
        let stored_wide = sizes.is_some() && header.zip64;
        if stored_wide || header.render_local(sizes.as_ref()) != found {
            return Err(ContainerError::Form(at.of));
        }
        Ok((header, sizes, len))
    }

    /// Reads a central directory entry from the start of `bytes`: the member, its sizes, its offset and the
    /// entry's own length. Requires that the entry is the one rendering of what it says.
    pub fn parse_central(bytes: &[u8]) -> Result<(Self, MemberSizes, u64, usize), ContainerError> {
        let at = Fields { bytes, of: Structure::CentralEntry };
        if at.u32(0)? != CENTRAL {
            return Err(ContainerError::Absent(at.of));
        }
        let (name_len, extra_len) = (usize::from(at.u16(28)?), usize::from(at.u16(30)?));
        let len = CENTRAL_FIXED + name_len + extra_len;
        let found = at.slice(0, len)?;
        // A central entry may widen its offset alone, which does not make the member a ZIP64 one.
        let mut header = at.header(10, CENTRAL_FIXED, name_len, extra_len)?;
        header.zip64 = at.u16(6)? == 45;
        let mut wide = CENTRAL_FIXED + name_len + 9 + 4;
        let mut sizes = MemberSizes { crc32: at.u32(16)?, ..MemberSizes::default() };
        if header.zip64 {
            (sizes.size, sizes.compressed) = (at.u64(wide)?, at.u64(wide + 8)?);
            wide += 16;
        } else {
            (sizes.size, sizes.compressed) = (u64::from(at.u32(24)?), u64::from(at.u32(20)?));
        }
        let offset = match at.u32(42)? {
            SATURATED => at.u64(wide)?,
            offset => u64::from(offset),
        };
        if header.render_central(&sizes, offset) != found {
            return Err(ContainerError::Form(at.of));
        }
        Ok((header, sizes, offset, len))
    }
}

/// Little-endian fields at fixed places, with an error instead of a panic past the end.
struct Fields<'a> {
    bytes: &'a [u8],
    of: Structure,
}

impl<'a> Fields<'a> {
    fn slice(&self, from: usize, len: usize) -> Result<&'a [u8], ContainerError> {
        let until = from.checked_add(len).ok_or(ContainerError::CutOff(self.of))?;
        self.bytes.get(from..until).ok_or(ContainerError::CutOff(self.of))
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], ContainerError> {
        self.slice(at, N)?.try_into().map_err(|_| ContainerError::CutOff(self.of))
    }

    fn u16(&self, at: usize) -> Result<u16, ContainerError> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32, ContainerError> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64, ContainerError> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    /// The parts that both headers share; `method_at` is where the method stands.
    fn header(
        &self,
        method_at: usize,
        name_at: usize,
        name_len: usize,
        extra_len: usize,
    ) -> Result<MemberHeader, ContainerError> {
        let form = ContainerError::Form(self.of);
        let method = match self.u16(method_at)? {
            0 => Method::Stored,
            8 => Method::Deflated,
            _ => return Err(form),
        };
        let name = std::str::from_utf8(self.slice(name_at, name_len)?).map_err(|_| form.clone())?;
        let extra = self.slice(name_at + name_len, extra_len)?;
        let modified = extra.get(5..9).and_then(|field| field.try_into().ok()).ok_or_else(|| form.clone())?;
        Ok(MemberHeader {
            name: name.to_owned(),
            modified: ZipTime::nearest(i64::from(u32::from_le_bytes(modified))),
            method,
            zip64: extra.len() > 9,
        })
    }
}

/// Where the central directory is and how many entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    /// Entries.
    pub entries: u64,
    /// Offset of the first entry.
    pub offset: u64,
    /// Bytes of all entries.
    pub bytes: u64,
}

impl Directory {
    /// Renders everything after the last directory entry (APPNOTE 4.3.14 to 4.3.16).
    pub fn render_end(&self) -> Vec<u8> {
        let wide = self.entries >= u64::from(u16::MAX)
            || self.offset >= u64::from(SATURATED)
            || self.bytes >= u64::from(SATURATED);
        let mut out = Bytes(Vec::new());
        if wide {
            out.u32(END64).u64(44).u16(MADE_BY_UNIX).u16(45).u32(0).u32(0);
            out.u64(self.entries).u64(self.entries).u64(self.bytes).u64(self.offset);
            out.u32(LOCATOR64).u32(0).u64(self.offset.saturating_add(self.bytes)).u32(1);
        }
        let count = u16::try_from(self.entries).unwrap_or(u16::MAX);
        out.u32(END)
            .u16(0)
            .u16(0)
            .u16(count)
            .u16(count)
            .u32(narrow(self.bytes))
            .u32(narrow(self.offset))
            .u16(0);
        out.0
    }

    /// Reads the end records from `tail`, the last bytes of a file of `file_len` bytes, and requires that they
    /// are the one rendering and that the directory fills the space before them exactly.
    pub fn parse_end(tail: &[u8], file_len: u64) -> Result<Self, ContainerError> {
        let of = Structure::End;
        let end = tail.len().checked_sub(22).ok_or(ContainerError::CutOff(of))?;
        let at = Fields { bytes: tail, of };
        if at.u32(end)? != END {
            return Err(ContainerError::Absent(of));
        }
        let end64 = end.checked_sub(76).filter(|end64| at.u32(*end64) == Ok(END64));
        let directory = match end64 {
            Some(from) => {
                Self { entries: at.u64(from + 24)?, bytes: at.u64(from + 40)?, offset: at.u64(from + 48)? }
            }
            None => Self {
                entries: u64::from(at.u16(end + 8)?),
                bytes: u64::from(at.u32(end + 12)?),
                offset: u64::from(at.u32(end + 16)?),
            },
        };
        let rendered = directory.render_end();
        let fills = directory
            .offset
            .checked_add(directory.bytes)
            .and_then(|sum| sum.checked_add(rendered.len() as u64));
        if fills != Some(file_len) || !tail.ends_with(&rendered) {
            return Err(ContainerError::Form(of));
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(zip64: bool, method: Method) -> MemberHeader {
        MemberHeader {
            name: "p/data/fs/etc/passwd".into(),
            modified: ZipTime::nearest(1_764_000_000),
            method,
            zip64,
        }
    }

    #[test]
    fn headers_read_back_what_was_rendered() {
        let sizes = MemberSizes { crc32: 7, compressed: 90, size: 400 };
        for (zip64, method) in [(false, Method::Deflated), (true, Method::Deflated), (false, Method::Stored)]
        {
            let header = header(zip64, method);
            let known = (method == Method::Stored).then_some(sizes);
            let local = header.render_local(known.as_ref());
            assert_eq!(MemberHeader::parse_local(&local), Ok((header.clone(), known, local.len())));
            for offset in [0, 0xffff_fffe, 0xffff_ffff, 1 << 40] {
                let central = header.render_central(&sizes, offset);
                assert_eq!(
                    MemberHeader::parse_central(&central),
                    Ok((header.clone(), sizes, offset, central.len()))
                );
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_refused_or_read_as_another_value() {
        let header = header(false, Method::Deflated);
        let bytes = header.render_local(None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok((read, sizes, _)) = MemberHeader::parse_local(&flipped) {
                assert_ne!(read, header, "bit {bit}");
                assert_eq!(read.render_local(sizes.as_ref()), flipped);
            }
        }
    }

    #[test]
    fn end_records_read_back_and_must_fill_the_file() {
        for directory in [
            Directory { entries: 0, offset: 0, bytes: 0 },
            Directory { entries: 3, offset: 1000, bytes: 300 },
            Directory { entries: 70_000, offset: 1000, bytes: 300 },
            Directory { entries: 3, offset: 1 << 33, bytes: 300 },
        ] {
            let tail = directory.render_end();
            let len = directory.offset + directory.bytes + tail.len() as u64;
            assert_eq!(Directory::parse_end(&tail, len), Ok(directory));
            assert_eq!(Directory::parse_end(&tail, len + 1), Err(ContainerError::Form(Structure::End)));
            let mut longer = tail.clone();
            longer.push(0);
            assert!(Directory::parse_end(&longer, len + 1).is_err());
        }
    }

    #[test]
    fn cut_off_structures_are_errors() {
        let bytes = header(true, Method::Deflated).render_local(None);
        for cut in 0..bytes.len() {
            assert!(MemberHeader::parse_local(&bytes[..cut]).is_err());
        }
    }
}
