//! Owns the walk over DER elements as they stand in the bytes; refuses BER, trailing bytes and lengths past the end.
//!
//! Slices of the original bytes are what digests and signatures are computed over: nothing is re-encoded.

use const_oid::ObjectIdentifier;

use super::TimestampError;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag byte of a constructed context-specific element `[number]`.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The tag byte of a primitive context-specific element `[number]`.
pub(super) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// One element: its tag byte, its contents, and the whole of it with tag and length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// The elements of a byte slice, front to back; `what` names them in errors.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Elements<'a> {
    pub(super) fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    /// The elements inside the only element of `bytes`, which has `tag`.
    pub(super) fn only(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Self, TimestampError> {
        let mut outer = Self::new(bytes, what);
        let inner = outer.enter(tag, what)?;
        outer.finish()?;
        Ok(inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever its tag.
    pub(super) fn next(&mut self) -> Result<Element<'a>, TimestampError> {
        let (element, rest) = split_element(self.rest).ok_or(TimestampError::Malformed(self.what))?;
        self.rest = rest;
        Ok(element)
    }

    /// The contents of the next element, which must have `tag`.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], TimestampError> {
        self.take_whole(tag).map(|element| element.content)
    }

    /// The next element, which must have `tag`.
    pub(super) fn take_whole(&mut self, tag: u8) -> Result<Element<'a>, TimestampError> {
        let element = self.next()?;
        if element.tag == tag { Ok(element) } else { Err(TimestampError::Malformed(self.what)) }
    }

    /// The contents of the next element if it has `tag`; nothing is consumed otherwise.
    pub(super) fn take_optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, TimestampError> {
        if self.rest.first() == Some(&tag) { self.take(tag).map(Some) } else { Ok(None) }
    }

    /// The elements inside the next element, which must have `tag`.
    pub(super) fn enter(&mut self, tag: u8, what: &'static str) -> Result<Self, TimestampError> {
        Ok(Self::new(self.take(tag)?, what))
    }

    pub(super) fn oid(&mut self) -> Result<ObjectIdentifier, TimestampError> {
        ObjectIdentifier::from_bytes(self.take(OBJECT_IDENTIFIER)?)
            .map_err(|_| TimestampError::Malformed(self.what))
    }

    /// The two's-complement bytes of an INTEGER, minimal (X.690 8.3.2).
    pub(super) fn integer(&mut self) -> Result<&'a [u8], TimestampError> {
        match self.take(INTEGER)? {
            [] => Err(TimestampError::Malformed(self.what)),
            [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(TimestampError::Malformed(self.what)),
            minimal => Ok(minimal),
        }
    }

    /// Confirms that nothing is left.
    pub(super) fn finish(&self) -> Result<(), TimestampError> {
        if self.rest.is_empty() { Ok(()) } else { Err(TimestampError::Malformed(self.what)) }
    }
}

/// Splits the first element off; `None` if it is cut short, of a high tag number or not DER (X.690 10.1).
fn split_element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, after_first) = after_tag.split_first()?;
    let (length, after_length) = match first {
        0..=0x7f => (usize::from(first), after_first),
        0x81..=0x83 => {
            let (digits, rest) = after_first.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit));
            let minimal = if digits.len() == 1 { length >= 0x80 } else { *digits.first()? != 0 };
            (minimal.then_some(length)?, rest)
        }
        // Indefinite lengths are BER; a token of 16 MiB or more does not exist.
        _ => return None,
    };
    let (content, rest) = after_length.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((Element { tag, content, whole }, rest))
}

/// The magnitude, without leading zeros, of a minimal INTEGER that is not negative; zero is empty.
pub(super) fn magnitude(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [] => None,
        [0] => Some(&[]),
        [0, rest @ ..] => (*rest.first()? >= 0x80).then_some(rest),
        [first, ..] => (*first < 0x80).then_some(integer),
    }
}

/// The value of a minimal INTEGER that is neither negative nor larger than 64 bits.
pub(super) fn small(integer: &[u8]) -> Option<u64> {
    let digits = magnitude(integer)?;
    (digits.len() <= 8).then(|| digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit)))
}

/// One element of `tag` around the concatenation of `parts`.
pub(super) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let digits =
        digits.get(usize::from(u8::try_from(length.leading_zeros() / 8).unwrap_or(0))..).unwrap_or(&digits);
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            bytes.push(0x80 | u8::try_from(digits.len()).expect("a length has at most eight digits"));
            bytes.extend_from_slice(digits);
        }
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}
