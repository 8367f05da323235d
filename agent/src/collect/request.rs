//! Owns what is asked of a collection once every argument is resolved; refuses values that could not stand in a file
//! name or a record.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_schemas::collection::{Authority, Impact, Party, Trigger, TriggerKind};

use crate::catalogue::Definition;
use crate::package::Destination;
use crate::state::Table;

/// What to collect, and where it goes.
pub struct Request {
    /// Who, why, under whose authority.
    pub details: Details,
    /// The profile's name, or how the selection was made.
    pub selection: String,
    /// Tables of live state, in order.
    pub tables: Vec<&'static Table>,
    /// Artifacts, in order.
    pub definitions: Vec<Definition>,
    /// Where the package goes.
    pub destination: Destination,
    /// Whose files, and how far.
    pub scope: Scope,
    /// What bounds the collection.
    pub limits: Limits,
    /// Compressing threads.
    pub workers: usize,
}

/// Whose files are collected, and where the search turns back.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The folder that the root of a mounted image or a container lies in; the live host where absent.
    pub root: Option<PathBuf>,
    /// Whether file systems that a server or a program serves are entered.
    pub network_file_systems: bool,
    /// Processes whose memory the table `process_memory` keeps; it chooses the suspicious ones where none is named.
    pub memory_of: Vec<u32>,
    /// Whether programs of the host that definitions name are run.
    pub host_commands: bool,
    /// Whether the search stays on the file systems it begins on.
    pub one_file_system: bool,
}

/// What bounds a collection; each limit that bites is an outcome.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes taken of one file.
    pub file_size: u64,
    /// Most bytes taken in all.
    pub total_size: Option<u64>,
    /// Most members in all.
    pub files: Option<u64>,
    /// How long from the first clock reading to the seal.
    pub deadline: Option<Duration>,
}

/// What people say of a collection; nothing here is checked by the host.
#[derive(Debug, Clone)]
pub struct Details {
    /// Case number.
    pub case: Option<String>,
    /// Incident number.
    pub incident: Option<String>,
    /// Impact rating.
    pub impact: Option<Impact>,
    /// Whether this is a drill.
    pub exercise: bool,
    /// Agency.
    pub agency: Option<String>,
    /// Secretariat.
    pub secretariat: Option<String>,
    /// Authority.
    pub authority: Authority,
    /// Examiner.
    pub examiner: Party,
    /// What set it off.
    pub trigger: Trigger,
    /// Handling label.
    pub handling_label: Option<String>,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            case: None,
            incident: None,
            impact: None,
            exercise: false,
            agency: None,
            secretariat: None,
            authority: Authority::default(),
            examiner: Party::default(),
            trigger: Trigger { kind: TriggerKind::Interactive, rule: None, requester: None },
            handling_label: None,
        }
    }
}

/// A value that cannot be used: what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The case number cannot stand in a file name.
    #[error(
        "case {0:?} cannot stand in a file name: use 1 to 40 ASCII letters, digits, `-` and `.`, beginning with a letter or digit"
    )]
    Case(String),
}

impl Details {
    /// Checks what must stand in a file name.
    pub fn check(&self) -> Result<(), RequestError> {
        let Some(case) = &self.case else { return Ok(()) };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let good = (1..=40).contains(&case.len())
            && case.bytes().all(allowed)
            && case.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if good { Ok(()) } else { Err(RequestError::Case(case.clone())) }
    }
}
