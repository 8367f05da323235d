//! Owns `collect`: arguments as typed become a request; refuses what is wrong before anything is read or written.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use holdfast_schemas::collection::{Authority, Impact, ImpactRating, Party, Trigger, TriggerKind};

use super::{
    CollectArgs, DetailArgs, FAULT, Failure, ImpactChoice, ProgressChoice, RECOVERABLE, SealArgs, print, say,
};
use crate::catalogue::{Catalogue, Definition, OptIn, Selection};
use crate::collect::{
    CollectError, Details, Limits, Progress, ProgressMode, Request, Scope, StopSignal, collect,
};
use crate::package::Destination;
use crate::seal::{AuthorityUrl, ExaminerKey, Passphrase, SealingKeys};

/// Most compressing threads: each costs a few MiB, and reading bounds what more of them could do.
const MAX_WORKERS: usize = 8;
/// What is captured where nothing is named.
const DEFAULT_PROFILE: &str = "triage";

pub(super) fn run(args: CollectArgs) -> Result<u8, Failure> {
    let request = request(&args)?;
    let keys = keys(&args.seal)?;
    if args.low_priority {
        go_last();
    }
    let stop = StopSignal::from_signals().map_err(fault)?;
    let progress = Progress::new(mode(args.progress));
    warn_of_limits(&request);
    let summary = collect(&request, keys, &progress, &stop).map_err(failure)?;
    let text =
        if args.json { serde_json::to_string_pretty(&summary).map_err(fault)? } else { summary.to_string() };
    match &request.destination {
        Destination::Folder(_) => print(&text)?,
        // Standard output carries the package.
        Destination::Pipe(_) => say(&text),
    }
    Ok(summary.exit_status())
}

/// Lowers this program's priority, before it starts a thread; that it cannot is no reason not to collect.
fn go_last() {
    let processor = rustix::process::nice(19).map(drop).map_err(std::io::Error::from);
    if let Err(error) = processor.and_then(|()| crate::source::yield_disks()) {
        say(&format!("holdfast-agent: the priority could not be lowered ({error}); going on"));
    }
}

fn fault(error: impl std::fmt::Display) -> Failure {
    Failure { status: FAULT, message: error.to_string() }
}

/// A collection's error with its exit status.
pub(super) fn failure(error: CollectError) -> Failure {
    let status = match error {
        CollectError::Unusable { .. }
        | CollectError::UnusableRoot { .. }
        | CollectError::NotRecoverable(_) => super::USAGE,
        CollectError::Interrupted { .. } => RECOVERABLE,
        CollectError::Seal(_) => FAULT,
    };
    Failure { status, message: error.to_string() }
}

fn request(args: &CollectArgs) -> Result<Request, Failure> {
    let details = details(&args.details);
    details.check().map_err(Failure::usage)?;
    let mut catalogue = Catalogue::built_in().map_err(fault)?;
    if let Some(depth) = args.default_depth {
        catalogue.set_default_depth(depth);
    }
    let mut added = Vec::new();
    for file in &args.definitions {
        added.extend(catalogue.add_file(file).map_err(Failure::usage)?);
    }
    catalogue.resolve().map_err(Failure::usage)?;
    let (name, selection) = select(args, &catalogue, &added)?;
    Ok(Request {
        details,
        selection: name,
        tables: selection.tables,
        definitions: selection.definitions,
        destination: destination(&args.output),
        scope: Scope {
            root: args.root.clone(),
            network_file_systems: args.network_filesystems,
            memory_of: args.memory_of.clone(),
            host_commands: args.host_commands,
            one_file_system: args.one_file_system,
        },
        limits: Limits {
            file_size: args.max_file_size,
            total_size: args.max_total_size,
            files: args.max_files,
            deadline: args
                .deadline
                .or(selection.deadline_seconds)
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        workers: workers(),
    })
}

/// Compressing threads to use.
pub(super) fn workers() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().min(MAX_WORKERS))
}

/// What is to be captured, and what to call it: profiles, and whatever was named beside them.
fn select(
    args: &CollectArgs,
    catalogue: &Catalogue,
    added: &[String],
) -> Result<(String, Selection), Failure> {
    let named = args.artifact.is_empty() && args.path.is_empty();
    let memory = (!args.memory_of.is_empty()).then(|| "process_memory".to_owned());
    let profiles = match args.profile.as_slice() {
        // What is brought along is captured with the default, as what is named is not.
        [] if named => vec![DEFAULT_PROFILE.to_owned()],
        profiles => profiles.to_vec(),
    };
    let opt_in = if args.personal { OptIn::WithChapter } else { OptIn::ByName };
    let names: Vec<String> = if profiles.is_empty() { &[][..] } else { added }
        .iter()
        .chain(&args.artifact)
        .chain(&memory)
        .cloned()
        .collect();
    let mut selection = catalogue.select(&profiles, &names, opt_in).map_err(Failure::usage)?;
    if !args.path.is_empty() {
        let paths = Definition::of_paths(args.path.clone());
        paths.check().map_err(Failure::usage)?;
        selection.definitions.push(paths);
    }
    let name = match profiles.as_slice() {
        [] => "chosen on the command line".to_owned(),
        profiles if args.artifact.is_empty() && args.path.is_empty() => profiles.join(", "),
        profiles => format!("{} and what was named beside it", profiles.join(", ")),
    };
    Ok((name, selection))
}

fn destination(output: &Path) -> Destination {
    if output == Path::new("-") {
        Destination::Pipe(PathBuf::from("."))
    } else {
        Destination::Folder(output.to_owned())
    }
}

pub(super) fn keys(args: &SealArgs) -> Result<SealingKeys, Failure> {
    let passphrase = args.passphrase_file.clone().map_or(Passphrase::Ask, Passphrase::File);
    let open = |key: &String| ExaminerKey::open(key, &passphrase).map_err(Failure::usage);
    let examiner = args.key.as_ref().map(open).transpose()?;
    let authorities = args.tsa.iter().map(|url| AuthorityUrl::parse(url)).collect::<Result<_, _>>();
    Ok(SealingKeys::new(examiner, authorities.map_err(Failure::usage)?))
}

fn details(args: &DetailArgs) -> Details {
    let rating = args.impact.map(|impact| match impact {
        ImpactChoice::High => ImpactRating::High,
        ImpactChoice::Medium => ImpactRating::Medium,
        ImpactChoice::Low => ImpactRating::Low,
    });
    Details {
        case: args.case.clone(),
        incident: args.incident.clone(),
        impact: rating.map(|rating| Impact { rating, basis: None, rated_by: args.examiner.clone() }),
        exercise: args.exercise,
        agency: args.agency.clone(),
        secretariat: args.secretariat.clone(),
        authority: Authority {
            policy: args.authority.clone(),
            order_sha256: None,
            approver: args.approver.clone(),
            exception: args.exception.clone(),
        },
        examiner: Party {
            name: args.examiner.clone(),
            title: args.examiner_title.clone(),
            organisation: args.examiner_organisation.clone(),
            phone: args.examiner_phone.clone(),
            principal: args.examiner_principal.clone(),
        },
        trigger: Trigger { kind: TriggerKind::Interactive, rule: None, requester: None },
        handling_label: args.label.clone(),
    }
}

fn mode(choice: ProgressChoice) -> ProgressMode {
    match choice {
        ProgressChoice::Json => ProgressMode::Json,
        ProgressChoice::Auto if std::io::stderr().is_terminal() => ProgressMode::Line,
        ProgressChoice::Auto | ProgressChoice::None => ProgressMode::Quiet,
    }
}

fn warn_of_limits(request: &Request) {
    if !rustix::process::geteuid().is_root() {
        say(
            "holdfast-agent: not running as root: files and processes of other users will be missing, and each is named",
        );
    }
    if let Destination::Folder(folder) = &request.destination
        && crate::source::same_volume_as_root(folder)
    {
        say(
            "holdfast-agent: the output lies on this host's own disk and may overwrite deleted evidence; external media is better",
        );
    }
}

/// Parses a size such as 500M or 8G; units are powers of 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err("a size is a number with K, M, G or T behind it".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a size begins with a number".to_owned())?;
    number
        .checked_mul(1 << shift)
        .filter(|size| *size > 0)
        .ok_or_else(|| "the size is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("500M"), Ok(500 << 20));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "0", "G", "-1", "1X", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
