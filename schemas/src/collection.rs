//! Owns `collection.json`: who collected what, where, when, why and by which clock; refuses unknown formats.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::item::Outcome;
use crate::json::RecordError;
use crate::text::is_uuid_v7;
use crate::time::UtcTime;

/// The format this crate reads and writes.
pub const FORMAT: &str = "holdfast-package/1";

/// The collection as its agent describes it. Everything here is the host's own claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// `holdfast-package/1`.
    pub format: String,
    /// UUID version 7, made when the collection began.
    pub collection_id: String,
    /// Case number, as given.
    pub case: Option<String>,
    /// Incident number, as given.
    pub incident: Option<String>,
    /// Impact rating (IS.005 6.4.4), as given.
    pub impact: Option<Impact>,
    /// True for a drill (IS.005 6.1.3), which can never pass for the real thing.
    pub exercise: bool,
    /// Agency whose host it is (IS.005 3.1).
    pub agency: Option<String>,
    /// Secretariat of that agency.
    pub secretariat: Option<String>,
    /// Under whose authority.
    pub authority: Authority,
    /// Who examined.
    pub examiner: Party,
    /// What set the collection off.
    pub trigger: Trigger,
    /// Handling label, designated by a person.
    pub handling_label: Option<String>,
    /// Names of those it was encrypted to.
    pub recipients: Vec<String>,
    /// Profile or selection that was collected.
    pub profile: String,
    /// Every definition used, with its digest.
    pub definitions: Vec<DefinitionUse>,
    /// Where the root of the examined host lay on the machine that collected, such as a mounted image; null for the live
    /// host itself.
    pub root: Option<String>,
    /// The examined host.
    pub host: Host,
    /// The program that collected.
    pub tool: Tool,
    /// The host's clock at both ends.
    pub clock: Clock,
    /// What the collection itself left on the host.
    pub footprint: Footprint,
    /// Items by artifact and outcome, in order of first appearance.
    pub counts: Vec<ArtifactCounts>,
    /// Interruptions and resumptions, in order.
    pub interruptions: Vec<Interruption>,
}

/// An impact rating with its basis and rater.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impact {
    /// `high`, `medium` or `low`.
    pub rating: ImpactRating,
    /// Why.
    pub basis: Option<String>,
    /// By whom.
    pub rated_by: Option<String>,
}

/// IS.005 6.4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImpactRating {
    /// Response must start at once.
    High,
    /// Response must start within four hours.
    Medium,
    /// Response must start the next business day.
    Low,
}

/// The authority a collection rests on, as given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Policy and clause.
    pub policy: Option<String>,
    /// SHA-256 of `order.json`, where there was an order.
    pub order_sha256: Option<Sha256Digest>,
    /// Who approved.
    pub approver: Option<String>,
    /// Exception number for a deviation.
    pub exception: Option<String>,
}

/// A person or office.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Name.
    pub name: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// Organisation.
    pub organisation: Option<String>,
    /// Telephone.
    pub phone: Option<String>,
    /// Principal by which trust files know the key, such as an e-mail address.
    pub principal: Option<String>,
}

/// What set a collection off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Kind of trigger.
    pub kind: TriggerKind,
    /// Rule that fired.
    pub rule: Option<String>,
    /// Who or what asked.
    pub requester: Option<String>,
}

/// Kinds of trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// A person at the host.
    Interactive,
    /// A signed order.
    Order,
    /// A signed standing order.
    StandingOrder,
}

/// One definition and the digest of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionUse {
    /// Name of the artifact or table.
    pub name: String,
    /// `built-in`, `command line`, or the file it came from.
    pub origin: String,
    /// SHA-256 of the definition's text.
    pub sha256: Sha256Digest,
}

/// The examined host, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Host name.
    pub name: Option<String>,
    /// Operating system and version.
    pub os: Option<String>,
    /// Kernel release and version.
    pub kernel: Option<String>,
    /// Processor architecture.
    pub architecture: String,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// Kernel's boot id.
    pub boot_id: Option<String>,
    /// Hardware identifiers, such as vendor, product and serial number.
    pub hardware: Vec<HardwareId>,
    /// Network addresses of its interfaces, loopback left out.
    pub addresses: Vec<String>,
    /// Container or virtual machine the host seems to be.
    pub virtualisation: Option<String>,
}

/// One hardware identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareId {
    /// Kind, such as `product_serial`.
    pub kind: String,
    /// Value.
    pub value: String,
}

/// The collecting program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the running executable.
    pub sha256: Option<Sha256Digest>,
    /// How it was built.
    pub build: String,
    /// Arguments, as typed; no secret is ever an argument.
    pub arguments: Vec<String>,
    /// What it ran as.
    pub privileges: String,
    /// What it could not do without more privileges, in words.
    pub limits: Vec<String>,
}

/// The host's clock at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// When the collection began.
    pub start: ClockReading,
    /// When everything had been collected.
    pub end: ClockReading,
}

/// One reading of the host's clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockReading {
    /// Wall clock, UTC.
    pub utc: UtcTime,
    /// Nanoseconds of the monotonic clock.
    pub monotonic_ns: u64,
    /// Nanoseconds since boot, sleep included.
    pub boottime_ns: Option<u64>,
    /// The host's time zone.
    pub time_zone: Option<String>,
    /// Whether the kernel believes that its clock is synchronised.
    pub synchronised: Option<bool>,
    /// Kernel's estimate of the clock's error, microseconds.
    pub estimated_error_us: Option<u64>,
    /// Kernel's bound of the clock's error, microseconds.
    pub maximum_error_us: Option<u64>,
}

/// What the collection itself left on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footprint {
    /// Files the agent created, its package, ledger and journal.
    pub files_created: Vec<String>,
    /// Whether they lie on a file system of the examined host that was itself collected from.
    pub output_on_examined_volume: Option<bool>,
    /// Bytes written until this record.
    pub bytes_written: u64,
    /// Processor time used, milliseconds.
    pub cpu_ms: u64,
    /// Peak resident memory, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Files whose access time could not be left alone.
    pub access_times_changed: u64,
}

/// Items of one artifact by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactCounts {
    /// The artifact.
    pub artifact: String,
    /// See [`Outcome::Collected`].
    pub collected: u64,
    /// See [`Outcome::ChangedWhileRead`].
    pub changed_while_read: u64,
    /// See [`Outcome::TruncatedByLimit`].
    pub truncated_by_limit: u64,
    /// See [`Outcome::Denied`].
    pub denied: u64,
    /// See [`Outcome::Missing`].
    pub missing: u64,
    /// See [`Outcome::NotRegular`].
    pub not_regular: u64,
    /// See [`Outcome::ReadError`].
    pub read_error: u64,
    /// See [`Outcome::SkippedByScope`].
    pub skipped_by_scope: u64,
    /// See [`Outcome::SkippedByLimit`].
    pub skipped_by_limit: u64,
    /// See [`Outcome::HardLink`].
    pub hard_link: u64,
    /// See [`Outcome::NotApplicable`].
    pub not_applicable: u64,
}

impl Collection {
    /// Checks what a schema can say and a type cannot.
    pub fn check(&self) -> Result<(), RecordError> {
        if !is_uuid_v7(&self.collection_id) {
            return Err(RecordError::new("collection_id is not a UUID version 7"));
        }
        if self.clock.end.monotonic_ns < self.clock.start.monotonic_ns {
            return Err(RecordError::new("the monotonic clock ran backwards"));
        }
        Ok(())
    }
}

impl ArtifactCounts {
    /// No items yet.
    pub fn new(artifact: &str) -> Self {
        Self {
            artifact: artifact.to_owned(),
            collected: 0,
            changed_while_read: 0,
            truncated_by_limit: 0,
            denied: 0,
            missing: 0,
            not_regular: 0,
            read_error: 0,
            skipped_by_scope: 0,
            skipped_by_limit: 0,
            hard_link: 0,
            not_applicable: 0,
        }
    }

    /// Counts one item in `list`, which grows by the item's artifact where it is new.
    pub fn add(list: &mut Vec<Self>, artifact: &str, outcome: Outcome) {
        // The artifact at hand is nearly always the last one.
        let at = list.iter().rposition(|counts| counts.artifact == artifact).unwrap_or_else(|| {
            list.push(Self::new(artifact));
            list.len() - 1
        });
        if let Some(counts) = list.get_mut(at) {
            *counts.count_mut(outcome) += 1;
        }
    }

    /// The counter of one outcome.
    pub fn count_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Collected => &mut self.collected,
            Outcome::ChangedWhileRead => &mut self.changed_while_read,
            Outcome::TruncatedByLimit => &mut self.truncated_by_limit,
            Outcome::Denied => &mut self.denied,
            Outcome::Missing => &mut self.missing,
            Outcome::NotRegular => &mut self.not_regular,
            Outcome::ReadError => &mut self.read_error,
            Outcome::SkippedByScope => &mut self.skipped_by_scope,
            Outcome::SkippedByLimit => &mut self.skipped_by_limit,
            Outcome::HardLink => &mut self.hard_link,
            Outcome::NotApplicable => &mut self.not_applicable,
        }
    }

    /// The count of one outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Collected => self.collected,
            Outcome::ChangedWhileRead => self.changed_while_read,
            Outcome::TruncatedByLimit => self.truncated_by_limit,
            Outcome::Denied => self.denied,
            Outcome::Missing => self.missing,
            Outcome::NotRegular => self.not_regular,
            Outcome::ReadError => self.read_error,
            Outcome::SkippedByScope => self.skipped_by_scope,
            Outcome::SkippedByLimit => self.skipped_by_limit,
            Outcome::HardLink => self.hard_link,
            Outcome::NotApplicable => self.not_applicable,
        }
    }
}

/// An interruption, and the resumption after it where there was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interruption {
    /// When it was noticed, by the host's clock.
    pub at: UtcTime,
    /// Why, in words.
    pub reason: String,
    /// What was therefore not collected, in words.
    pub consequence: String,
}
