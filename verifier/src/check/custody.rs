//! Owns the custody ledger's chain: form, signatures, numbering, links and the first two entries (schemas/README.md,
//! section 7); refuses a ledger of another package.

use std::io::{self, BufRead, BufReader, Read};

use holdfast_schemas::custody::{CustodyEntry, CustodyEvent, LedgerLine, LineError, MAX_LINE};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::json::read_record;
use holdfast_schemas::report::Axis;
use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::time::UtcTime;

use super::findings::Findings;
use super::rules;

/// What the ledger is compared with.
pub(super) struct Package<'a> {
    /// SHA-256 of the statement, where there is one.
    pub id: Option<Sha256Digest>,
    /// SHA-256 and length of the file.
    pub file: (Sha256Digest, u64),
    /// The collector's key that the statement announces, where there is one.
    pub collector: Option<&'a PublicKey>,
    /// The head that somebody else kept.
    pub expected_head: Option<Sha256Digest>,
}

/// Reads the ledger line by line.
///
/// An error is the reading machine's, not the ledger's.
pub(super) fn check(
    ledger: Option<&mut dyn Read>,
    package: &Package<'_>,
    findings: &mut Findings,
) -> io::Result<()> {
    let Some(ledger) = ledger else {
        let found = "No custody ledger was given or found beside the package, so nothing shows who held it.";
        findings.add(&rules::NO_LEDGER, None, found);
        return Ok(());
    };
    let mut chain = Chain { package, previous: package.id, number: 0, recorded: None, findings };
    let mut reader = BufReader::new(ledger);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        read.map_err(|error| io::Error::new(error.kind(), format!("its custody ledger: {error}")))?;
        match line.split_last() {
            None => break,
            Some((b'\n', line)) => chain.line(line),
            Some(_) => {
                chain.malformed(chain.number + 1, "it is cut off, or longer than a line may be");
                break;
            }
        }
    }
    chain.end();
    Ok(())
}

fn place(number: u64) -> String {
    format!("ledger, line {number}")
}

struct Chain<'a> {
    package: &'a Package<'a>,
    /// What the next line must link to.
    previous: Option<Sha256Digest>,
    number: u64,
    recorded: Option<UtcTime>,
    findings: &'a mut Findings,
}

impl Chain<'_> {
    fn malformed(&mut self, number: u64, why: &str) {
        let place = place(number);
        self.findings.add(
            &rules::LINE_MALFORMED,
            Some(&place),
            format!("This custody entry cannot be read: {why}."),
        );
    }

    fn line(&mut self, line: &[u8]) {
        self.number += 1;
        let link = self.previous.replace(Sha256Digest::of(line));
        let place = place(self.number);
        match LedgerLine::parse(line) {
            Ok((entry, signature)) => {
                self.entry(&entry, signature.public_key(), link);
                self.timestamps(line);
            }
            Err(LineError::Malformed(error)) => self.malformed(self.number, &error.to_string()),
            Err(LineError::Signature(error)) => {
                let found = format!(
                    "This custody entry was changed after it was signed, or its signature was: {error}."
                );
                self.findings.add(&rules::ENTRY_SIGNATURE_DIFFERS, Some(&place), found);
            }
        }
    }

    fn entry(&mut self, entry: &CustodyEntry, signer: &PublicKey, link: Option<Sha256Digest>) {
        let place = place(self.number);
        let mut add = |rule, found: &str| self.findings.add(rule, Some(&place), found);
        if entry.seq != self.number {
            add(
                &rules::ENTRY_SEQUENCE_BROKEN,
                "Custody entries are not numbered one after the other: one was removed or moved.",
            );
        }
        if link.is_some_and(|link| link != entry.prev) {
            if self.number == 1 {
                add(
                    &rules::OTHER_PACKAGE,
                    "The ledger does not begin with this package: it belongs to another one, or its beginning was removed.",
                );
            } else {
                add(
                    &rules::LINK_BROKEN,
                    "This custody entry does not follow the one before it: something was removed, changed or moved.",
                );
            }
        }
        let by_another = self.package.collector.is_some_and(|collector| collector != signer);
        match (self.number, entry.event) {
            (1, CustodyEvent::Collected) | (2, CustodyEvent::Sealed) => {
                if by_another {
                    add(
                        &rules::ENTRY_SIGNER_DIFFERS,
                        "This custody entry was not signed with the key that sealed the package.",
                    );
                }
            }
            (1 | 2, _) => {
                add(&rules::FIRST_EVENTS, "The ledger does not begin with the collection and the sealing.")
            }
            _ => add(
                &rules::LATER_ENTRY,
                "This later custody entry is intact; who signed it and what it means are not judged by this version.",
            ),
        }
        let stated = (entry.package_sha256, entry.package_bytes);
        let (sha256, bytes) = self.package.file;
        if stated.0.is_some_and(|stated| stated != sha256) || stated.1.is_some_and(|stated| stated != bytes) {
            add(
                &rules::PACKAGE_DIFFERS,
                "The file is not the one that this custody entry describes: size or digest differ.",
            );
        }
        if self.recorded.is_some_and(|before| entry.recorded_at < before) {
            add(&rules::TIME_REVERSED, "This custody entry was recorded earlier than the one before it.");
        }
        self.recorded = Some(entry.recorded_at);
    }

    /// No signature covers a line's timestamps, so that they may be added later; this version writes and judges none.
    fn timestamps(&mut self, line: &[u8]) {
        if read_record::<LedgerLine>(line).is_ok_and(|line| !line.timestamps.is_empty()) {
            let found = "This custody entry carries timestamps, which are not judged by this version.";
            self.findings.add(&rules::LATER_ENTRY, Some(&place(self.number)), found);
        }
    }

    fn end(self) {
        let head = self.previous.filter(|_| self.number > 0);
        if self.package.expected_head.is_some_and(|expected| head != Some(expected)) {
            let found = "The ledger does not end with the entry that was kept elsewhere: entries were removed, or added since.";
            self.findings.add(&rules::HEAD_DIFFERS, None, found);
        }
        if self.number < 2 {
            let found = "The ledger is shorter than the two entries that every collection writes: its end was removed.";
            self.findings.add(&rules::FIRST_EVENTS, None, found);
        }
        // A chain whose beginning and signer cannot be compared with a seal proves nothing of this package.
        if self.package.collector.is_some() && !self.findings.worse_than_good(Axis::Custody) {
            let found = format!(
                "The {} custody entries that were supplied are unedited and follow each other without a break.",
                self.number
            );
            self.findings.add(&rules::CHAIN_UNBROKEN, None, found);
        }
    }
}
