//! Owns reading a text line by line in bounded memory; refuses to hold a whole text, or a line that does not end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// The longest line that is handed on, in bytes without its line feed.
pub(super) const LINE_CAP: usize = 64 << 10;

/// The most that is read of one text, in bytes.
const LINES_CAP: u64 = 1 << 30;

/// Hands every line of `file` to `each`, without its line feed.
///
/// Returns how many lines were longer than 64 KiB and therefore left out.
///
/// # Errors
///
/// `FileTooLarge` past 1 GiB, and whatever `each` or the operating system answers.
pub fn each_line(file: File, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut text = BufReader::with_capacity(LINE_CAP, file.take(LINES_CAP));
    let mut line = Vec::new();
    let mut too_long = 0;
    loop {
        line.clear();
        if text.by_ref().take(LINE_CAP as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > LINE_CAP {
            too_long += 1;
            text.skip_until(b'\n')?;
            continue;
        }
        each(&line)?;
    }
    if text.get_ref().limit() == 0 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {LINES_CAP} bytes")));
    }
    Ok(too_long)
}
