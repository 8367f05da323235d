//! Owns the question what a file is that does not end like a package: cut off, with something in front or behind, or no
//! package at all; refuses to search without bound.

use std::io;

use holdfast_schemas::container::{Directory, END_LEN, END64_LEN};

use super::findings::Findings;
use super::rules;
use crate::open::Evidence;

const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";
const CENTRAL_SIGNATURE: &[u8] = b"PK\x01\x02";
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
/// How far from the end of the file the end of a package is looked for.
const SEARCHED: u64 = 16 << 20;
/// How much of that is held at once.
const WINDOW: u64 = 256 * 1024;
/// Longest archive comment, which no package has.
const COMMENT: u64 = 65_535;

/// Tells apart what the file may be.
pub(super) fn tell(evidence: &dyn Evidence, findings: &mut Findings) -> io::Result<()> {
    let len = evidence.len();
    let begins = evidence.range(0, 4)? == LOCAL_SIGNATURE;
    if let Some(end) = whole_package_end(evidence)? {
        let more = len - end;
        findings.add(&rules::TRAILING_DATA, None, format!("{more} bytes follow the end of the package."));
    } else if has_leading_data(evidence)? {
        findings.add(&rules::LEADING_DATA, None, "There are bytes before the beginning of the package.");
    } else if begins && has_some_end(evidence)? {
        findings.add(&rules::END_MALFORMED, None, "The end of the package has been changed or is damaged.");
    } else if begins {
        findings.add(
            &rules::CUT_OFF,
            None,
            "The file begins like a package and ends too early: its end is missing. It may be an incomplete copy or an \
             interrupted collection; ask for another copy.",
        );
    } else {
        findings.add(&rules::NOT_A_PACKAGE, None, "The file is not an evidence package.");
    }
    Ok(())
}

/// The last place, before the end of the file, where the end records of a whole package close.
fn whole_package_end(evidence: &dyn Evidence) -> io::Result<Option<u64>> {
    let len = evidence.len();
    let mut to = len;
    while to > len.saturating_sub(SEARCHED) {
        let from = to.saturating_sub(WINDOW);
        // Wider than the window, so that end records that straddle its borders are seen whole.
        let begin = from.saturating_sub(END64_LEN);
        let wide = (to - begin).saturating_add(END_LEN);
        let bytes = evidence.range(begin, usize::try_from(wide).unwrap_or_default())?;
        let ends = bytes.windows(END_SIGNATURE.len()).enumerate().rev();
        let ends = ends.filter(|(_, window)| *window == END_SIGNATURE).filter_map(|(at, _)| {
            let upto = at.checked_add(usize::try_from(END_LEN).ok()?)?;
            let end = begin.checked_add(upto as u64).filter(|end| *end < len)?;
            Directory::parse_end(bytes.get(..upto)?, end).ok().map(|_| end)
        });
        if let Some(end) = { ends }.next() {
            return Ok(Some(end));
        }
        to = from;
    }
    Ok(None)
}

/// Whether the end records fit a shorter file and the directory stands later by as much, as it does once something is
/// put in front.
fn has_leading_data(evidence: &dyn Evidence) -> io::Result<bool> {
    let Some(tail) = last(evidence, END_LEN)? else { return Ok(false) };
    let field =
        |at: usize| tail.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let (Some(bytes), Some(offset)) = (field(12), field(16)) else { return Ok(false) };
    let shorter = u64::from(bytes) + u64::from(offset) + END_LEN;
    let Some(more) = evidence.len().checked_sub(shorter).filter(|more| *more > 0) else { return Ok(false) };
    let stands_later = evidence.range(u64::from(offset) + more, 4)? == CENTRAL_SIGNATURE;
    Ok(stands_later && Directory::parse_end(&tail, shorter).is_ok())
}

/// Whether some end record closes the file: one in another form, one with a comment, or one whose signature alone is
/// damaged.
fn has_some_end(evidence: &dyn Evidence) -> io::Result<bool> {
    let Some(mut tail) = last(evidence, END_LEN + END64_LEN)?.or(last(evidence, END_LEN)?) else {
        return Ok(false);
    };
    let at = tail.len() - usize::try_from(END_LEN).unwrap_or_default();
    if let Some(signature) = tail.get_mut(at..at + END_SIGNATURE.len()) {
        if signature == END_SIGNATURE {
            return Ok(true);
        }
        signature.copy_from_slice(END_SIGNATURE);
    }
    if Directory::parse_end(&tail, evidence.len()).is_ok() {
        return Ok(true);
    }
    let with_comment = last(evidence, evidence.len().min(END_LEN + COMMENT))?.unwrap_or_default();
    Ok(with_comment.windows(22).enumerate().any(|(at, window)| {
        let length = window.get(20..22).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
        window.starts_with(END_SIGNATURE)
            && length.is_some_and(|length| at + 22 + usize::from(length) == with_comment.len())
    }))
}

/// The last `wanted` bytes; `None` where there are not as many.
fn last(evidence: &dyn Evidence, wanted: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(from) = evidence.len().checked_sub(wanted) else { return Ok(None) };
    Ok(Some(evidence.range(from, usize::try_from(wanted).unwrap_or_default())?))
}
