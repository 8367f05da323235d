//! Owns the tables of installed software, read from the databases of its managers; refuses to run any of them.

pub(super) mod apk;
mod compare;
mod control;
pub(super) mod dpkg;
mod dpkg_files;
mod expected;
pub(super) mod flatpak;
pub(super) mod gem;
pub(super) mod integrity;
pub(super) mod npm;
pub(super) mod pacman;
mod places;
pub(super) mod python;
pub(super) mod rpm;
mod rpm_files;
mod rpm_header;
mod rpm_store;
pub(super) mod snap;
pub(super) mod sources;

/// The lines of a text, without their line feeds and without empty ones.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Parses hexadecimal digits, two for each byte.
fn from_hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| {
            let [high, low] = pair else { return None };
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_back_and_garbage_is_refused() {
        assert_eq!(from_hexadecimal(b"00ffA0"), Some(vec![0, 255, 160]));
        for garbage in [&b""[..], b"0", b"0g", b"\xff\xff", b"newconffile"] {
            assert_eq!(from_hexadecimal(garbage), None);
        }
    }
}
