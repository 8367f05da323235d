//! Owns the reading of paragraphs of `Field: value` lines (deb822(5), and the messages that Python's metadata is written
//! as), one paragraph at a time; refuses to hold one longer than its cap.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

/// The longest paragraph, in bytes; dpkg's longest have some hundred KiB.
const PARAGRAPH_CAP: usize = 8 << 20;
/// The most that is read of one source, in bytes.
const SOURCE_CAP: u64 = 1 << 30;

/// Paragraphs, as they are read.
pub(super) struct Paragraphs<R> {
    source: BufReader<io::Take<R>>,
    left_out: u64,
}

/// The fields of one paragraph.
#[derive(Default)]
pub(super) struct Paragraph {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl<R: Read> Paragraphs<R> {
    /// The paragraphs of `source`.
    pub(super) fn of(source: R) -> Self {
        Self::limited(source, SOURCE_CAP)
    }

    fn limited(source: R, most: u64) -> Self {
        Self { source: BufReader::with_capacity(64 << 10, source.take(most)), left_out: 0 }
    }

    /// The next paragraph; none at the end.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` past 1 GiB; whatever the operating system answers.
    pub(super) fn next_paragraph(&mut self) -> io::Result<Option<Paragraph>> {
        loop {
            let mut bytes = Vec::new();
            let mut too_long = false;
            loop {
                let start = bytes.len();
                let room = PARAGRAPH_CAP.saturating_sub(start) as u64;
                if self.source.by_ref().take(room).read_until(b'\n', &mut bytes)? == 0 {
                    if room == 0 {
                        too_long = true;
                        self.skip_paragraph(!bytes.ends_with(b"\n"))?;
                    }
                    if self.source.get_ref().limit() == 0 && self.source.buffer().is_empty() {
                        let reason = "longer than is read, its end is left out";
                        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
                    }
                    break;
                }
                if bytes.get(start..).is_some_and(|line| line.trim_ascii().is_empty()) {
                    bytes.truncate(start);
                    if start == 0 { continue } else { break }
                }
            }
            if too_long {
                self.left_out += 1;
            } else if bytes.is_empty() {
                return Ok(None);
            } else {
                return Ok(Some(Paragraph::parse(bytes)));
            }
        }
    }

    /// How many paragraphs were longer than 8 MiB and therefore left out, as an error to name; none where none was.
    pub(super) fn left_out(&self) -> Option<io::Error> {
        (self.left_out > 0).then(|| {
            let reason = format!("{} entries longer than {PARAGRAPH_CAP} bytes", self.left_out);
            io::Error::new(io::ErrorKind::FileTooLarge, reason)
        })
    }

    fn skip_paragraph(&mut self, inside_a_line: bool) -> io::Result<()> {
        if inside_a_line {
            self.source.skip_until(b'\n')?;
        }
        loop {
            let mut start = Vec::new();
            let read = self.source.by_ref().take(PARAGRAPH_CAP as u64).read_until(b'\n', &mut start)?;
            if read == 0 || start.trim_ascii().is_empty() {
                return Ok(());
            }
        }
    }
}

impl Paragraph {
    /// Parses one paragraph; lines that are no field and continue none are left out, as are comments.
    pub(super) fn parse(bytes: Vec<u8>) -> Self {
        let mut fields: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let mut start = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len();
            let shown = start..start + line.trim_ascii_end().len();
            match line {
                [b'#', ..] => {}
                [b' ' | b'\t', ..] => {
                    if let Some((_, value)) = fields.last_mut() {
                        value.end = shown.end.max(value.start);
                    }
                }
                _ => {
                    if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                        let value = start + colon + 1;
                        fields.push((start..start + colon, value..shown.end.max(value)));
                    }
                }
            }
            start = end;
        }
        Self { bytes, fields }
    }

    /// The value of the first field of that name, which is compared without case; later lines of it stand behind
    /// their line feeds as written.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let is_named = |range: &Range<usize>| {
            self.bytes.get(range.clone()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        };
        let (_, value) = self.fields.iter().find(|(found, _)| is_named(found))?;
        Some(self.bytes.get(value.clone())?.trim_ascii())
    }

    /// Every field in order, name and value.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().filter_map(|(name, value)| {
            Some((self.bytes.get(name.clone())?, self.bytes.get(value.clone())?.trim_ascii()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Paragraph> {
        let mut paragraphs = Paragraphs::of(text);
        std::iter::from_fn(|| paragraphs.next_paragraph().unwrap()).collect()
    }

    #[test]
    fn fields_and_their_later_lines_are_read() {
        let found =
            all(b"\n\nPackage: a\nConffiles:\n /etc/a 0123\n /etc/b 4567 obsolete\nVersion:1\n# note\n \nPackage: b\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("package"), Some(&b"a"[..]));
        assert_eq!(found[0].get("Conffiles"), Some(&b"/etc/a 0123\n /etc/b 4567 obsolete"[..]));
        assert_eq!(found[0].get("Version"), Some(&b"1"[..]));
        assert_eq!(found[0].get("Missing"), None);
        assert_eq!(found[1].get("Package"), Some(&b"b"[..]));
    }

    #[test]
    fn garbage_is_a_paragraph_without_fields() {
        assert_eq!(all(b"\xff\0\xff")[0].all().count(), 0);
        assert_eq!(all(b" only a continuation")[0].all().count(), 0);
        assert_eq!(all(b":")[0].get(""), Some(&b""[..]));
        assert!(all(b"").is_empty());
    }

    #[test]
    fn paragraph_past_the_cap_is_left_out_and_named_and_the_next_one_is_read() {
        let mut text = b"Package: long\nFiller: ".to_vec();
        text.resize(PARAGRAPH_CAP + 100, b'x');
        text.extend_from_slice(b"\nMore: 1\n\nPackage: next\n");
        let mut paragraphs = Paragraphs::of(&text[..]);
        assert_eq!(paragraphs.next_paragraph().unwrap().unwrap().get("Package"), Some(&b"next"[..]));
        assert!(paragraphs.next_paragraph().unwrap().is_none());
        assert!(paragraphs.left_out().unwrap().to_string().starts_with("1 entries"));
    }
    #[test]
    fn paragraph_behind_one_that_is_cut_at_a_line_feed_is_read() {
        let mut text = b"Package: long\nFiller: ".to_vec();
        text.resize(PARAGRAPH_CAP - 1, b'x');
        text.extend_from_slice(b"\n\nPackage: next\n");
        let mut paragraphs = Paragraphs::of(&text[..]);
        assert_eq!(paragraphs.next_paragraph().unwrap().unwrap().get("Package"), Some(&b"next"[..]));
    }

    #[test]
    fn source_without_end_is_an_error_at_its_limit() {
        let mut paragraphs = Paragraphs::limited(io::repeat(b'x'), 3 * PARAGRAPH_CAP as u64);
        assert_eq!(paragraphs.next_paragraph().err().unwrap().kind(), io::ErrorKind::FileTooLarge);
        let mut paragraphs = Paragraphs::limited(&b"a: 1\n\nb: 2\n"[..], 9);
        assert!(paragraphs.next_paragraph().unwrap().is_some());
        assert!(paragraphs.next_paragraph().is_err());
    }
}
