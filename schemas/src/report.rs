//! Owns the verification report: findings, axes and the verdict they add up to; refuses to be greener than its worst finding.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::time::UtcTime;

/// The format of the report.
pub const REPORT_FORMAT: &str = "holdfast-report/1";

/// What a verifier found, for every rendering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// `holdfast-report/1`.
    pub format: String,
    /// Program and version that verified.
    pub verifier: String,
    /// When, by the verifying machine's clock.
    pub verified_at: UtcTime,
    /// File name of the package as it was given.
    pub package: String,
    /// Size of the package in bytes.
    pub package_bytes: Option<u64>,
    /// SHA-256 of `seal.json`, where it could be read.
    pub package_id: Option<Sha256Digest>,
    /// True for a drill.
    pub exercise: Option<bool>,
    /// The verdict.
    pub headline: Verdict,
    /// The five axes, in their order.
    pub axes: Vec<AxisReport>,
    /// Everything found, in the order it was checked.
    pub findings: Vec<Finding>,
    /// What the package says of itself, as far as it could be read; the host's own claims.
    pub claims: Option<Claims>,
    /// What was supplied to judge by, and the bounds it was judged within.
    pub basis: Basis,
}

/// What the package says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Collection id.
    pub collection_id: String,
    /// Case.
    pub case: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// Examiner's name or principal.
    pub examiner: Option<String>,
    /// Profile.
    pub profile: String,
    /// Program and version that collected.
    pub tool: String,
    /// When the collection began, by the host's clock.
    pub started_at: UtcTime,
    /// When it was sealed, by the host's clock.
    pub sealed_at: UtcTime,
    /// Items attempted.
    pub items: u64,
    /// Items with content.
    pub payload_files: u64,
    /// Bytes of content.
    pub payload_bytes: u64,
}

/// What a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// Whether a trust folder was supplied.
    pub trust: bool,
    /// Whether a custody ledger was supplied.
    pub custody: bool,
    /// Files whose digest was compared.
    pub files_compared: u64,
    /// Bytes of content that were hashed.
    pub bytes_hashed: u64,
}

/// The four verdicts, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Everything that was checked matches and nothing needs explaining.
    Verified,
    /// The content is intact; the exceptions listed need explaining.
    VerifiedWithExceptions,
    /// A key, a version or a file needed for a verdict is missing.
    CannotDetermine,
    /// At least one part differs from what was sealed.
    Failed,
}

impl Verdict {
    /// The exit status of `verify`.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::VerifiedWithExceptions => 10,
            Self::Failed => 20,
            Self::CannotDetermine => 30,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "VERIFIED",
            Self::VerifiedWithExceptions => "VERIFIED WITH EXCEPTIONS",
            Self::CannotDetermine => "CANNOT DETERMINE",
            Self::Failed => "FAILED",
        })
    }
}

/// The five questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Is it whole?
    Integrity,
    /// Whose is it?
    Signer,
    /// When did it exist?
    Time,
    /// What is missing?
    Completeness,
    /// Who held it?
    Custody,
}

impl Axis {
    /// All five, in the order reports show them.
    pub const ALL: [Self; 5] = [Self::Integrity, Self::Signer, Self::Time, Self::Completeness, Self::Custody];
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integrity => "Integrity",
            Self::Signer => "Signer",
            Self::Time => "Time",
            Self::Completeness => "Completeness",
            Self::Custody => "Custody",
        })
    }
}

/// How an axis or a finding stands; ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Checked, and it matches.
    Good,
    /// Checked; it needs explaining.
    Exception,
    /// Could not be checked.
    Unknown,
    /// Checked, and it does not match.
    Bad,
}

/// One axis with the sentence that answers its question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisReport {
    /// Which.
    pub axis: Axis,
    /// How it stands.
    pub status: Status,
    /// The answer, in plain words.
    pub sentence: String,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Stable code, such as `integrity.item_digest_differs`.
    pub code: String,
    /// Which question it bears on.
    pub axis: Axis,
    /// How it stands.
    pub status: Status,
    /// What it is about: a member, a key, a line of the ledger. Escaped for people.
    pub subject: Option<String>,
    /// What was found, in plain words.
    pub found: String,
    /// What this check shows.
    pub shows: String,
    /// What it does not show.
    pub does_not_show: String,
}

impl Report {
    /// The verdict that findings add up to: bad anywhere fails; not knowing whether it is whole or whose it is
    /// leaves the verdict open; anything else short of good is an exception.
    pub fn verdict(findings: &[Finding]) -> Verdict {
        let worst = |axis: Axis| Self::axis_status(findings, axis);
        let all = Axis::ALL.map(worst);
        if all.contains(&Status::Bad) {
            Verdict::Failed
        } else if [worst(Axis::Integrity), worst(Axis::Signer)].contains(&Status::Unknown) {
            Verdict::CannotDetermine
        } else if all == [Status::Good; 5] {
            Verdict::Verified
        } else {
            Verdict::VerifiedWithExceptions
        }
    }

    /// How an axis stands: as its worst finding; unknown where nothing was found at all.
    pub fn axis_status(findings: &[Finding], axis: Axis) -> Status {
        findings
            .iter()
            .filter(|finding| finding.axis == axis)
            .map(|finding| finding.status)
            .max()
            .unwrap_or(Status::Unknown)
    }
}
