//! Owns the one rule by which bytes of the host become text columns; refuses to lose a byte.

use std::fmt::Write;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A text column and its `_raw` twin, as the rule in the module above says.
pub(super) type Twin = (String, Option<String>);

/// Renders `bytes`.
pub(super) fn text(bytes: &[u8]) -> Twin {
    text_showing(bytes, bytes, r"\x00")
}

/// Renders bytes that may be missing.
pub(super) fn optional(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    bytes.map_or((None, None), |bytes| {
        let (shown, raw) = text(bytes);
        (Some(shown), raw)
    })
}

/// Renders `shown`, a part of `exact`, with every NUL written as `nul`.
pub(super) fn text_showing(shown: &[u8], exact: &[u8], nul: &str) -> Twin {
    if let (Ok(verbatim), true) = (std::str::from_utf8(shown), shown == exact)
        && !verbatim.contains('\0')
    {
        return (verbatim.to_owned(), None);
    }
    let escaping = std::str::from_utf8(shown).is_err();
    let mut rendering = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0' => rendering.push_str(nul),
                '\\' if escaping => rendering.push_str(r"\\"),
                _ => rendering.push(character),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(rendering, "\\x{byte:02x}");
        }
    }
    (rendering, Some(STANDARD.encode(exact)))
}

/// The kernel's mark behind the path of a file that was deleted.
const DELETED: &[u8] = b" (deleted)";

/// Renders the target of a link of `/proc`, and tells whether the kernel marks it as deleted.
pub(super) fn link_text(target: &[u8]) -> (Twin, bool) {
    match target.strip_suffix(DELETED) {
        Some(path) => (text_showing(path, target, r"\x00"), true),
        None => (text(target), false),
    }
}

/// Parses one decimal field.
pub(super) fn number<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Parses one hexadecimal field.
pub(super) fn hexadecimal(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
}

/// What a kernel file of one line says, without the line feed at its end and with everything else.
pub(super) fn one_line(content: &[u8]) -> &[u8] {
    content.strip_suffix(b"\n").unwrap_or(content)
}

/// Renders a field that blanks fill up, without them; they stand in the raw twin.
pub(super) fn filled_up(field: &[u8]) -> Twin {
    text_showing(field.trim_ascii_end(), field, r"\x00")
}

/// Bytes as hexadecimal digits, two for each.
pub(super) fn to_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of a line, which any run of white space parts.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// The number in a link of `/proc` such as `net:[4026531840]` or `socket:[812]`.
pub(super) fn bracketed(target: &[u8], kind: &[u8]) -> Option<u64> {
    number(target.strip_prefix(kind)?.strip_prefix(b":[")?.strip_suffix(b"]")?)
}

/// A link-layer address as hexadecimal with colons; nothing where it is empty.
pub(super) fn link_address(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_text_is_kept_verbatim_and_has_no_raw_twin() {
        assert_eq!(text("caf\u{e9} \\x41".as_bytes()), ("caf\u{e9} \\x41".to_owned(), None));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped_and_kept_in_base64() {
        let (shown, raw) = text(b"a\\\xffb");
        assert_eq!(shown, r"a\\\xffb");
        assert_eq!(STANDARD.decode(raw.unwrap()).unwrap(), b"a\\\xffb");
    }

    #[test]
    fn only_a_line_feed_is_left_out_without_a_raw_twin() {
        assert_eq!(text(one_line(b" /disk \n\n")), (" /disk \n".to_owned(), None));
        assert_eq!(filled_up(b"QEMU  "), ("QEMU".to_owned(), Some(STANDARD.encode(b"QEMU  "))));
    }

    #[test]
    fn hexadecimal_has_two_digits_for_each_byte() {
        assert_eq!(to_hexadecimal(&[0, 255, 160]), "00ffa0");
    }

    #[test]
    fn nul_is_never_part_of_a_text_without_raw_twin() {
        assert_eq!(text_showing(b"a\0b", b"a\0b", " "), ("a b".to_owned(), Some(STANDARD.encode(b"a\0b"))));
    }

    #[test]
    fn deleted_mark_leaves_the_path_and_stays_in_the_raw_twin() {
        let ((path, raw), deleted) = link_text(b"/tmp/x (deleted)");
        assert!(deleted);
        assert_eq!(path, "/tmp/x");
        assert_eq!(raw, Some(STANDARD.encode(b"/tmp/x (deleted)")));
    }
}
