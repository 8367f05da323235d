//! Owns the headers of rpm as its databases hold them: an index and a store, big endian; refuses to read past either.

use std::io;

/// The most entries of an index, by rpm itself.
const ENTRIES_CAP: usize = 0xffff;

/// One header.
pub(super) struct Header<'a> {
    index: &'a [u8],
    store: &'a [u8],
}

/// Tags of rpm (`rpmtag.h`) that are read here.
pub(super) mod tag {
    pub(in super::super) const SHA1_HEADER: u32 = 269;
    pub(in super::super) const NAME: u32 = 1000;
    pub(in super::super) const VERSION: u32 = 1001;
    pub(in super::super) const RELEASE: u32 = 1002;
    pub(in super::super) const EPOCH: u32 = 1003;
    pub(in super::super) const INSTALL_TIME: u32 = 1008;
    pub(in super::super) const SIZE: u32 = 1009;
    pub(in super::super) const VENDOR: u32 = 1011;
    pub(in super::super) const GROUP: u32 = 1016;
    pub(in super::super) const ARCH: u32 = 1022;
    pub(in super::super) const OLD_FILE_NAMES: u32 = 1027;
    pub(in super::super) const FILE_SIZES: u32 = 1028;
    pub(in super::super) const FILE_STATES: u32 = 1029;
    pub(in super::super) const FILE_MODES: u32 = 1030;
    pub(in super::super) const FILE_MTIMES: u32 = 1034;
    pub(in super::super) const FILE_DIGESTS: u32 = 1035;
    pub(in super::super) const FILE_LINKS: u32 = 1036;
    pub(in super::super) const FILE_FLAGS: u32 = 1037;
    pub(in super::super) const FILE_USERS: u32 = 1039;
    pub(in super::super) const FILE_GROUPS: u32 = 1040;
    pub(in super::super) const SOURCE_RPM: u32 = 1044;
    pub(in super::super) const FILE_VERIFY: u32 = 1045;
    pub(in super::super) const FOLDER_INDEXES: u32 = 1116;
    pub(in super::super) const BASE_NAMES: u32 = 1117;
    pub(in super::super) const FOLDER_NAMES: u32 = 1118;
    pub(in super::super) const LONG_FILE_SIZES: u32 = 5008;
    pub(in super::super) const LONG_SIZE: u32 = 5009;
    pub(in super::super) const FILE_CAPABILITIES: u32 = 5010;
    pub(in super::super) const FILE_DIGEST_ALGORITHM: u32 = 5011;
}

impl<'a> Header<'a> {
    /// Parses a header: the length of its index, that of its store, and both.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is cut or says that it is longer than headers may be.
    pub(super) fn parse(blob: &'a [u8]) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a damaged header");
        let entries = word(blob, 0).and_then(|count| usize::try_from(count).ok()).ok_or_else(damaged)?;
        let length = word(blob, 4).and_then(|length| usize::try_from(length).ok()).ok_or_else(damaged)?;
        if entries == 0 || entries > ENTRIES_CAP {
            return Err(damaged());
        }
        let (index, rest) =
            blob.get(8..).and_then(|blob| blob.split_at_checked(entries * 16)).ok_or_else(damaged)?;
        Ok(Self { index, store: rest.get(..length).ok_or_else(damaged)? })
    }

    /// What stands in the store from the entry of that tag on, with its type and count.
    fn entry(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| word(entry, 0) == Some(tag))?;
        let offset = usize::try_from(word(entry, 8)?).ok()?;
        let count = usize::try_from(word(entry, 12)?).ok()?;
        Some((word(entry, 4)?, count, self.store.get(offset..)?))
    }

    /// A text; the first of several.
    pub(super) fn text(&self, tag: u32) -> Option<&'a [u8]> {
        self.texts(tag).next()
    }

    /// Texts, each ended by NUL; none where there is no such entry or it holds no texts.
    pub(super) fn texts(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> {
        let (count, store) = match self.entry(tag) {
            Some((6, _, store)) => (1, store),
            Some((8 | 9, count, store)) => (count, store),
            _ => (0, &[][..]),
        };
        let mut rest = store;
        std::iter::from_fn(move || {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let text = rest.get(..end);
            rest = rest.get(end + 1..)?;
            text
        })
        .take(count)
    }

    /// Numbers of whatever width the entry has; none where there is no such entry or it holds no numbers.
    pub(super) fn numbers(&self, tag: u32) -> impl Iterator<Item = u64> {
        let (width, count, store) = match self.entry(tag) {
            Some((1 | 2, count, store)) => (1, count, store),
            Some((3, count, store)) => (2, count, store),
            Some((4, count, store)) => (4, count, store),
            Some((5, count, store)) => (8, count, store),
            _ => (1, 0, &[][..]),
        };
        let whole = |bytes: &[u8]| bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        store.chunks_exact(width).take(count).map(whole)
    }

    /// A number; the first of several.
    pub(super) fn number(&self, tag: u32) -> Option<u64> {
        self.numbers(tag).next()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(entries: &[(u32, u32, u32, u32)], store: &[u8]) -> Vec<u8> {
        let length = u32::try_from(store.len()).unwrap();
        let words = [u32::try_from(entries.len()).unwrap(), length]
            .into_iter()
            .chain(entries.iter().flat_map(|(tag, kind, offset, count)| [*tag, *kind, *offset, *count]));
        words.flat_map(u32::to_be_bytes).chain(store.iter().copied()).collect()
    }

    #[test]
    fn texts_and_numbers_are_found_by_tag() {
        let blob =
            header(&[(1000, 6, 0, 1), (1117, 8, 2, 2), (1030, 3, 8, 2)], b"a\0bc\0d\0\0\x81\xa4\x41\xed");
        let found = Header::parse(&blob).unwrap();
        assert_eq!(found.text(tag::NAME), Some(&b"a"[..]));
        assert_eq!(found.texts(tag::BASE_NAMES).collect::<Vec<_>>(), [&b"bc"[..], b"d"]);
        assert_eq!(found.numbers(tag::FILE_MODES).collect::<Vec<_>>(), [0o100_644, 0o40_755]);
        assert_eq!((found.number(tag::NAME), found.text(tag::FILE_MODES)), (None, None));
    }

    #[test]
    fn garbage_headers_are_refused_or_read_as_far_as_they_go() {
        for garbage in [
            &b""[..],
            b"\0\0\0\0\0\0\0\0",
            b"\0\0\xff\xff\0\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x01\0\0",
        ] {
            assert!(Header::parse(garbage).is_err());
        }
        let blob = header(&[(1000, 6, 9, 1), (1117, 8, 0, u32::MAX), (1030, 4, u32::MAX, 5)], b"ab");
        let found = Header::parse(&blob).unwrap();
        assert_eq!(found.text(tag::NAME), None);
        assert_eq!(found.texts(tag::BASE_NAMES).count(), 0);
        assert_eq!(found.numbers(tag::FILE_MODES).count(), 0);
    }
}
