//! Owns the instant as records write it; refuses local times, missing fractions and leap-second spellings.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC with nanoseconds, written `2026-11-24T15:04:05.000000000Z` and in no other way.
///
/// Whose clock it was is said by the field that holds it; the host's clock may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(DateTime<Utc>);

/// The one spelling: RFC 3339 with nine fractional digits and `Z`.
const SPELLING: &str = "%Y-%m-%dT%H:%M:%S%.9fZ";

impl UtcTime {
    /// An instant from Unix seconds and nanoseconds; `None` outside the years 0 to 9999.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Option<Self> {
        use chrono::Datelike;
        let time = DateTime::from_timestamp(seconds, nanoseconds)?;
        (nanoseconds < 1_000_000_000 && (0..=9999).contains(&time.year())).then_some(Self(time))
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded towards the past.
    pub fn unix_seconds(&self) -> i64 {
        self.0.timestamp()
    }

    /// The instant as `chrono` holds it, for arithmetic and display.
    pub fn to_chrono(self) -> DateTime<Utc> {
        self.0
    }

    /// Basic ISO 8601 to the second, `20261124T150405Z`, as package names carry it.
    pub fn basic(&self) -> String {
        self.0.format("%Y%m%dT%H%M%SZ").to_string()
    }

    /// A text for people: `Nov 24, 2026, 3:04:05 PM UTC`.
    pub fn for_people(&self) -> String {
        self.0.format("%b %-d, %Y, %-I:%M:%S %p UTC").to_string()
    }
}

impl From<DateTime<Utc>> for UtcTime {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an instant in the one spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time is written like 2026-11-24T15:04:05.000000000Z")]
pub struct NotATime;

impl FromStr for UtcTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time = NaiveDateTime::parse_from_str(text, SPELLING).map_err(|_| NotATime)?.and_utc();
        let time = Self::from_unix(time.timestamp(), time.timestamp_subsec_nanos()).ok_or(NotATime)?;
        // chrono is lenient about widths and signs; the one spelling is what writes back to the same text.
        if time.to_string() == text { Ok(time) } else { Err(NotATime) }
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_reads_and_writes_back() {
        let text = "2026-11-24T15:04:05.123456789Z";
        let time: UtcTime = text.parse().expect("the one spelling");
        assert_eq!(time.to_string(), text);
        assert_eq!(time.basic(), "20261124T150405Z");
        assert_eq!(time.for_people(), "Nov 24, 2026, 3:04:05 PM UTC");
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            "2026-11-24T15:04:05Z",
            "2026-11-24T15:04:05.1Z",
            "2026-11-24T15:04:05.123456789+00:00",
            "2026-11-24 15:04:05.123456789Z",
            "2026-11-24T15:04:60.123456789Z",
            "+2026-11-24T15:04:05.123456789Z",
            "2026-02-30T15:04:05.123456789Z",
            "",
        ] {
            assert_eq!(bad.parse::<UtcTime>(), Err(NotATime), "{bad}");
        }
    }
}
