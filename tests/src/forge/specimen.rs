//! Owns one real package in memory with what it is judged by, for tests that change it thousands of times; refuses to count
//! a change as reported that adds nothing bad or unknown to what was said of the package before.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use holdfast_schemas::report::{Report, Status, Verdict};
use holdfast_schemas::time::UtcTime;
use holdfast_verifier::{Context, Evidence, Trust, verify};

use crate::{Authority, Capture, Captured};

/// A package with examiner's signature, one token, trust folder and ledger.
pub struct Specimen {
    /// The package's file.
    pub package: Vec<u8>,
    /// Its ledger.
    pub ledger: Vec<u8>,
    /// The files of the trust folder: allowed_signers, revoked_keys, tsa-roots.pem.
    pub trust: [Vec<u8>; 3],
    /// The examiner's key file.
    pub examiner: PathBuf,
    judged_by: Trust,
}

impl Specimen {
    /// Collects what `pattern` names below `workplace`, and confirms that the package is verified.
    pub fn collect(workplace: &Path, pattern: &str) -> Self {
        let authority = Authority::start(workplace, "tsa");
        let capture = Capture { authority: Some(&authority), ..Capture::of_path(workplace, pattern) };
        let Captured { package, ledger, trust, .. } = capture.run();
        let read = |name: &str| fs::read(trust.join(name)).unwrap();
        let trust =
            [read("allowed_signers"), b"# Nobody's key was revoked.\n".to_vec(), read("tsa-roots.pem")];
        let [allowed, revoked, roots] = trust.each_ref().map(Vec::as_slice);
        let judged_by = Trust::from_files(Some(allowed), Some(revoked), Some(roots));
        let specimen = Self {
            package: fs::read(package).unwrap(),
            ledger: fs::read(ledger).unwrap(),
            examiner: workplace.join("examiner"),
            judged_by,
            trust,
        };
        assert_eq!(specimen.judge(&specimen.package, Some(&specimen.ledger), 1).headline, Verdict::Verified);
        let without_ledger = specimen.judge(&specimen.package, None, 1);
        let worse = without_ledger.findings.iter().filter(|finding| finding.status > Status::Good);
        assert_eq!(worse.map(|finding| finding.code.as_str()).collect::<Vec<_>>(), [NO_LEDGER]);
        specimen
    }

    /// Judges a package by this specimen's trust folder.
    pub fn judge(&self, package: &dyn Evidence, ledger: Option<&[u8]>, threads: usize) -> Report {
        judge(package, ledger, &self.judged_by, threads)
    }

    /// Whether a changed package is reported, without its ledger: a verdict worse than before, and a reason for it.
    pub fn is_reported(&self, package: &dyn Evidence, threads: usize) -> bool {
        let report = self.judge(package, None, threads);
        let is_reason = |status: Status, code: &str| status >= Status::Unknown && code != NO_LEDGER;
        matches!(report.headline, Verdict::Failed | Verdict::CannotDetermine)
            && report.findings.iter().any(|finding| is_reason(finding.status, &finding.code))
    }
}

const NO_LEDGER: &str = "custody.no_ledger";

/// Judges a package by a trust folder.
pub fn judge(package: &dyn Evidence, ledger: Option<&[u8]>, trust: &Trust, threads: usize) -> Report {
    let mut ledger = ledger;
    let context = Context {
        trust: Some(trust),
        ledger: ledger.as_mut().map(|bytes| bytes as &mut dyn Read),
        expected_head: None,
        at: None,
        now: UtcTime::from_unix(2_000_000_000, 0).unwrap(),
        threads,
    };
    verify(package, "package.zip", context).unwrap()
}

/// Numbers that look random and are the same in every run (SplitMix64, Steele and others 2014).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    /// Changes `bytes` in one to three ways: bytes set, bits flipped, ranges moved, repeated, removed, put in, or cut off.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let (at, other) = (self.below(bytes.len()), self.below(bytes.len()));
            let length = 1 + self.below(32.min(bytes.len() - at));
            match self.below(8) {
                0 => bytes[at] = self.number().to_le_bytes()[0],
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.swap(at, other),
                3 => drop(bytes.splice(at..at, self.bytes(length))),
                4 => drop(bytes.drain(at..at + length)),
                5 => {
                    let range = bytes[at..at + length].to_vec();
                    drop(bytes.splice(other..other, range));
                }
                6 => bytes[at..at + length].fill(if length.is_multiple_of(2) { 0 } else { 0xff }),
                _ => bytes.truncate(bytes.len() - length),
            }
        }
    }
}
