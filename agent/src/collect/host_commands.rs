//! Owns the running of programs of the host that definitions name, where the examiner allows it; refuses to pass their
//! output off as anything but the word of the host's own programs.

use holdfast_schemas::action::Action;
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::{EvidenceRoute, ItemKind, ItemRecord, Outcome};
use holdfast_schemas::text::Base64Bytes;
use serde::Serialize;

use super::copy::{RAW, hold};
use super::live::write_rows;
use super::{Halt, Session};
use crate::catalogue::{Definition, HostCommand};
use crate::commands::{CommandEnd, CommandOutcome, Examined, run};
use crate::package::MemberWriter;

/// The table's name.
const NAME: &str = "host_commands";
/// Most bytes taken of each stream of a command.
const OUTPUT: u64 = 16 << 20;

/// One command that was run, or was to be.
#[derive(Serialize)]
pub(super) struct CommandRow {
    /// Derived: The artifact that names it.
    artifact: String,
    /// Derived: The program and its arguments, as they were given to the kernel; no shell saw them.
    argv: Vec<String>,
    /// Derived: The program that was run; null where there is none.
    program: Option<String>,
    /// Derived: SHA-256 of the program right before; null where it could not be read.
    program_sha256: Option<Sha256Digest>,
    /// Derived: exited, signalled, timed_out, output_full, not_found, refused or failed.
    end: &'static str,
    /// Derived: Exit status or signal; null where neither is.
    status: Option<i32>,
    /// Derived: Milliseconds that it took.
    elapsed_ms: u64,
    /// Derived: Member that holds its standard output, below the package folder; null where there is none.
    stdout: Option<String>,
    /// Derived: Member that holds its standard error; null where it wrote none.
    stderr: Option<String>,
}

impl Session<'_> {
    /// Runs the commands of a definition, or records that they were not to be run.
    pub(super) fn run_commands(&mut self, definition: &Definition) -> Result<(), Halt> {
        for command in &definition.commands {
            self.check(0)?;
            if self.scope.host_commands {
                self.run_command(&definition.name, command)?;
            } else {
                let mut record = self.draft_of_command(&definition.name, command, Outcome::SkippedByScope);
                record.error = Some("a program of the host, which runs only with --host-commands".to_owned());
                self.record(record, Action::Record)?;
            }
        }
        Ok(())
    }

    fn run_command(&mut self, artifact: &str, command: &HostCommand) -> Result<(), Halt> {
        let examined = if self.root.is_live() { Examined::RunningHost } else { Examined::MountedRoot };
        let number = self.commands_run.len() + 1;
        let name = format!("/commands/{number}");
        let mut errors = Vec::new();
        let now = crate::clock::now().unix_seconds();
        let (member, mut writer) = self.package.begin(RAW, format!("{name}.stdout").as_bytes(), now, OUTPUT);
        let outcome = run(command, examined, OUTPUT, &mut writer, &mut errors)?;
        let (fate, why) = fate(&outcome);
        // An empty member for what was never run would say that it had nothing to say.
        let never_run = outcome.program.is_none() || matches!(outcome.end, CommandEnd::Failed(_));
        let writer = if never_run { writer.withdraw() } else { Some(writer) };
        let content = writer.map(MemberWriter::finish).transpose()?;
        let mut record = self.draft_of_command(artifact, command, fate);
        record.error = why;
        record.read_started = Some(outcome.started);
        record.read_finished = Some(outcome.finished).max(record.read_started);
        let member = content.map(|content| {
            hold(&mut record, member.clone(), content);
            member
        });
        self.record(record, Action::ReadFile)?;
        let stderr = if errors.is_empty() {
            None
        } else {
            let record = self.draft_of_command(artifact, command, Outcome::Collected);
            Some(self.write_bytes(format!("{name}.stderr").as_bytes(), &errors, record)?)
        };
        self.commands_run.push(row(artifact, command, outcome, member, stderr));
        Ok(())
    }

    fn draft_of_command(&self, artifact: &str, command: &HostCommand, outcome: Outcome) -> Box<ItemRecord> {
        let mut record = self.draft(artifact, ItemKind::CommandOutput, EvidenceRoute::Generated, outcome);
        let line = command.argv.join(" ");
        record.source_path_raw = Some(Base64Bytes(line.clone().into_bytes()));
        record.source_path = Some(line);
        record
    }

    /// Writes the table of what was run, where anything was.
    pub(super) fn write_commands(&mut self) -> Result<(), Halt> {
        let rows = std::mem::take(&mut self.commands_run);
        if rows.is_empty() { Ok(()) } else { write_rows(self, NAME, rows) }
    }
}

/// What a command's end makes of its item; its output, however little, is held in any case.
fn fate(outcome: &CommandOutcome) -> (Outcome, Option<String>) {
    let cut = || {
        (Outcome::TruncatedByLimit, Some(format!("its output was cut at {OUTPUT} bytes, and it was ended")))
    };
    match &outcome.end {
        CommandEnd::Exited(0) => (Outcome::Collected, None),
        CommandEnd::Exited(status) => (Outcome::Collected, Some(format!("it ended with status {status}"))),
        CommandEnd::Signalled(signal) => {
            (Outcome::ReadError, Some(format!("it was ended by signal {signal}")))
        }
        CommandEnd::TimedOut => {
            (Outcome::TruncatedByLimit, Some("its time was up, and it was ended".to_owned()))
        }
        CommandEnd::OutputFull => cut(),
        CommandEnd::NotFound => (Outcome::Missing, Some("the host has no such program".to_owned())),
        CommandEnd::Refused(why) => (Outcome::ReadError, Some(format!("not run: {why}"))),
        CommandEnd::Failed(why) => (Outcome::ReadError, Some(format!("could not be run: {why}"))),
    }
}

fn row(
    artifact: &str,
    command: &HostCommand,
    outcome: CommandOutcome,
    stdout: Option<String>,
    stderr: Option<String>,
) -> CommandRow {
    let (end, status) = match outcome.end {
        CommandEnd::Exited(status) => ("exited", Some(status)),
        CommandEnd::Signalled(signal) => ("signalled", Some(signal)),
        CommandEnd::TimedOut => ("timed_out", None),
        CommandEnd::OutputFull => ("output_full", None),
        CommandEnd::NotFound => ("not_found", None),
        CommandEnd::Refused(_) => ("refused", None),
        CommandEnd::Failed(_) => ("failed", None),
    };
    let (program, program_sha256) =
        outcome.program.map_or((None, None), |found| (Some(found.path), found.sha256));
    CommandRow {
        artifact: artifact.to_owned(),
        argv: command.argv.clone(),
        program,
        program_sha256,
        end,
        status,
        elapsed_ms: outcome.elapsed_ms,
        stdout,
        stderr,
    }
}
