//! Owns the small value types that records share; refuses loose spellings of each.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes written as padded standard base64 (RFC 4648 4) and in no other way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Base64Bytes(pub Vec<u8>);

impl fmt::Debug for Base64Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "base64:{}", STANDARD.encode(&self.0))
    }
}

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        // The engine refuses non-zero trailing bits and missing padding, so each value has one spelling.
        STANDARD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Sixteen random bytes, 32 lower-case hexadecimal digits, that keep a guessable record from being guessed by its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let salt = u128::from_str_radix(&text, 16).ok().map(|number| Self(number.to_be_bytes()));
        // Radix parsing is lenient about signs, case and length; the one spelling is what writes back.
        salt.filter(|salt| salt.to_string() == *text)
            .ok_or_else(|| serde::de::Error::custom("a salt is 32 lower-case hexadecimal digits"))
    }
}

/// Whether `text` is a UUID version 7 (RFC 9562 5.7) in its one spelling: lower case, with hyphens.
pub fn is_uuid_v7(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'7',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Renders text from evidence for a terminal or a report: what could move the cursor, hide or reorder text is
/// written as `\u{..}`.
pub fn for_people(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_misleading(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Controls, line and paragraph separators, bidirectional and zero-width formatting, tags and private use.
fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xE000..=0xF8FF | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0
            | 0xFFF0..=0xFFFB | 0x1D173..=0x1D17A | 0xE0000..=0x10FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salt_has_one_spelling() {
        let text = "\"000102030405060708090a0b0c0d0e0f\"";
        let salt: Salt = serde_json::from_str(text).expect("the one spelling");
        assert_eq!(serde_json::to_string(&salt).expect("writes"), text);
        for bad in ["\"0\"", "\"+00102030405060708090a0b0c0d0e0f\"", "\"000102030405060708090A0b0c0d0e0f\""] {
            assert!(serde_json::from_str::<Salt>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn non_canonical_base64_is_refused() {
        for bad in ["\"YQ\"", "\"YR==\"", "\"YQ==\\n\"", "\"Y Q==\"", "\"-_==\""] {
            assert!(serde_json::from_str::<Base64Bytes>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_moves_or_reorders_text_is_escaped() {
        assert_eq!(for_people("a\u{1b}[2Jb\u{202e}c\n\u{e9}"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}\u{e9}");
    }
}
