//! Owns what a token states (RFC 3161 2.4.2, TSTInfo); refuses critical extensions and times it cannot keep exactly.

use chrono::NaiveDate;
use const_oid::ObjectIdentifier;

use super::TimestampError;
use super::element::{
    BOOLEAN, Elements, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, SEQUENCE, constructed, primitive, small,
};
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

pub(super) const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// The statement of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TstInfo {
    pub(super) policy: ObjectIdentifier,
    imprint_algorithm: ObjectIdentifier,
    imprint: Vec<u8>,
    /// Minimal two's-complement bytes.
    pub(super) serial: Vec<u8>,
    pub(super) gen_time: UtcTime,
    /// Nanoseconds.
    pub(super) accuracy: Option<u64>,
    /// Minimal two's-complement bytes; negative from some clients.
    pub(super) nonce: Option<Vec<u8>>,
    /// The DER of the GeneralName in `tsa`.
    pub(super) authority_name: Option<Vec<u8>>,
}

impl TstInfo {
    pub(super) fn parse(content: &[u8]) -> Result<Self, TimestampError> {
        let mut fields = Elements::only(content, SEQUENCE, "TSTInfo")?;
        if fields.take(INTEGER)? != [1] {
            return Err(TimestampError::Malformed("TSTInfo version is not 1"));
        }
        let policy = fields.oid()?;
        let (imprint_algorithm, imprint) = message_imprint(fields.enter(SEQUENCE, "messageImprint")?)?;
        let serial = fields.integer()?.to_vec();
        let gen_time =
            generalized_time(fields.take(GENERALIZED_TIME)?).ok_or(TimestampError::Malformed("genTime"))?;
        let accuracy = match fields.take_optional(SEQUENCE)? {
            Some(content) => Some(nanoseconds(Elements::new(content, "accuracy"))?),
            None => None,
        };
        // DER leaves the default FALSE out, but some authorities write it; the signature covers it either way.
        if fields.take_optional(BOOLEAN)?.is_some_and(|ordering| !matches!(ordering, [0] | [0xff])) {
            return Err(TimestampError::Malformed("ordering"));
        }
        let nonce = if fields.clone().next().is_ok_and(|element| element.tag == INTEGER) {
            Some(fields.integer()?.to_vec())
        } else {
            None
        };
        let authority_name = fields.take_optional(constructed(0))?.map(<[u8]>::to_vec);
        if let Some(content) = fields.take_optional(constructed(1))? {
            refuse_critical(Elements::new(content, "TSTInfo extensions"))?;
        }
        fields.finish()?;
        Ok(Self { policy, imprint_algorithm, imprint, serial, gen_time, accuracy, nonce, authority_name })
    }

    /// The imprint, if it is a SHA-256.
    pub(super) fn imprint(&self) -> Option<Sha256Digest> {
        let digest: [u8; 32] = self.imprint.as_slice().try_into().ok()?;
        (self.imprint_algorithm == SHA256).then(|| digest.into())
    }

    /// Confirms that the token is over `wanted`.
    pub(super) fn check_imprint(&self, wanted: &Sha256Digest) -> Result<(), TimestampError> {
        if self.imprint().as_ref() == Some(wanted) {
            return Ok(());
        }
        Err(TimestampError::ImprintMismatch { found: hexadecimal(&self.imprint), wanted: *wanted })
    }
}

/// Lower-case hexadecimal digits, two for each byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn message_imprint(mut fields: Elements<'_>) -> Result<(ObjectIdentifier, Vec<u8>), TimestampError> {
    let mut algorithm = fields.enter(SEQUENCE, "messageImprint")?;
    let oid = algorithm.oid()?;
    if algorithm.take_optional(NULL)?.is_some_and(|null| !null.is_empty()) {
        return Err(TimestampError::Malformed("messageImprint"));
    }
    algorithm.finish()?;
    let digest = fields.take(OCTET_STRING)?.to_vec();
    fields.finish()?;
    Ok((oid, digest))
}

/// Accuracy in nanoseconds; absent parts are zero (RFC 3161 2.4.2).
fn nanoseconds(mut fields: Elements<'_>) -> Result<u64, TimestampError> {
    let malformed = TimestampError::Malformed("accuracy");
    let mut part = |tag, limit: u64, unit: u64| -> Result<u64, TimestampError> {
        let Some(content) = fields.take_optional(tag)? else { return Ok(0) };
        let value = small(content).filter(|value| *value <= limit).ok_or(malformed.clone())?;
        value.checked_mul(unit).ok_or(malformed.clone())
    };
    let seconds = part(INTEGER, u64::MAX, 1_000_000_000)?;
    let millis = part(primitive(0), 999, 1_000_000)?;
    let micros = part(primitive(1), 999, 1_000)?;
    fields.finish()?;
    seconds.checked_add(millis + micros).ok_or(malformed)
}

/// `YYYYMMDDhhmmss[.f...]Z` (RFC 3161 2.4.2), to the nanosecond.
fn generalized_time(content: &[u8]) -> Option<UtcTime> {
    let text = str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let number =
        |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?;
    if whole.len() != 14 {
        return None;
    }
    let part = |from: usize, to: usize| -> Option<u32> { number(whole.get(from..to)?) };
    let nanoseconds = match fraction {
        // More digits than nanoseconds would have to be cut, and the value reported would not be the signed one.
        Some(digits) if !(1..=9).contains(&digits.len()) => return None,
        Some(digits) => number(&format!("{digits:0<9}"))?,
        None => 0,
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(part(0, 4)?).ok()?, part(4, 6)?, part(6, 8)?)?;
    let time = date.and_hms_opt(part(8, 10)?, part(10, 12)?, part(12, 14)?)?;
    UtcTime::from_unix(time.and_utc().timestamp(), nanoseconds)
}

/// Extensions (RFC 5280 4.1): none is known here, so none may be critical.
fn refuse_critical(mut extensions: Elements<'_>) -> Result<(), TimestampError> {
    while !extensions.is_empty() {
        let mut extension = extensions.enter(SEQUENCE, "TSTInfo extension")?;
        extension.oid()?;
        if extension.take_optional(BOOLEAN)?.is_some_and(|critical| critical != [0]) {
            return Err(TimestampError::Unsupported("critical extension"));
        }
        extension.take(OCTET_STRING)?;
        extension.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractional_times_are_read_exactly() {
        let read = |text: &str| generalized_time(text.as_bytes()).map(|time| time.to_string());
        assert_eq!(read("20261124150405Z").as_deref(), Some("2026-11-24T15:04:05.000000000Z"));
        assert_eq!(read("20261124150405.5Z").as_deref(), Some("2026-11-24T15:04:05.500000000Z"));
        assert_eq!(read("20261124150405.000000001Z").as_deref(), Some("2026-11-24T15:04:05.000000001Z"));
        for bad in [
            "20261124150405",
            "20261124150405.Z",
            "20261124150405.1234567890Z",
            "20261124150460Z",
            "20261324150405Z",
            "+0261124150405Z",
            "20261124150405.+1Z",
            "2026112415040é",
            "Z",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
