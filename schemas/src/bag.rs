//! Owns the bag's texts (RFC 8493) and the package's folder layout; refuses manifest lines in any other form.

use crate::digest::Sha256Digest;

/// The bag declaration, byte for byte (RFC 8493 2.1.1).
pub const BAGIT_TXT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// The tag files every package has, in the order of their members; an order's two files stand before `bagit.txt`.
pub const TAG_FILES: [&str; 6] =
    ["collection.json", "items.jsonl", "actions.jsonl", "bagit.txt", "bag-info.txt", "manifest-sha256.txt"];

/// The manifest of the tag files, which is the last member before `seal/`.
pub const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";

/// Renders one manifest line with its newline, as `sha256sum` writes and checks it.
pub fn manifest_line(digest: &Sha256Digest, name: &str) -> String {
    format!("{digest}  {name}\n")
}

/// Reads one manifest line without its newline; `None` for any other form.
pub fn parse_manifest_line(line: &str) -> Option<(Sha256Digest, &str)> {
    let (digest, name) = line.split_once("  ")?;
    Some((digest.parse().ok()?, name)).filter(|(_, name)| !name.is_empty() && !name.starts_with([' ', '*']))
}

/// What `bag-info.txt` says (RFC 8493 2.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagInfo {
    /// The collection's id.
    pub collection_id: String,
    /// `YYYY-MM-DD`, UTC.
    pub bagging_date: String,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Payload files.
    pub payload_files: u64,
    /// Whether it is a drill.
    pub exercise: bool,
    /// Program and version.
    pub software: String,
    /// Timestamp authorities that the seal will ask.
    pub timestamp_authorities: Vec<String>,
}

impl BagInfo {
    /// Renders the file.
    pub fn render(&self) -> String {
        let time = match self.timestamp_authorities.as_slice() {
            [] => {
                "no trusted timestamp was asked for; the time of sealing rests on the host's clock".to_owned()
            }
            asked => format!("a trusted timestamp is asked for from {}", asked.join(" ")),
        };
        let exercise = if self.exercise { "Holdfast-Exercise: true\n" } else { "" };
        format!(
            "Bag-Software-Agent: {}\nBagging-Date: {}\nExternal-Identifier: {}\n{exercise}\
             Holdfast-Time: {time}\nPayload-Oxum: {}.{}\n",
            self.software, self.bagging_date, self.collection_id, self.payload_bytes, self.payload_files
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_lines_read_back() {
        let digest = Sha256Digest::of(b"x");
        let line = manifest_line(&digest, "data/fs/a b");
        assert_eq!(parse_manifest_line(line.trim_end()), Some((digest, "data/fs/a b")));
        for bad in [
            "",
            "abc  d",
            &format!("{digest} data/a"),
            &format!("{digest} *data/a"),
            &format!("{digest}   data/a"),
        ] {
            assert_eq!(parse_manifest_line(bad), None, "{bad}");
        }
    }
}
