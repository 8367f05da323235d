//! Owns the command line's words and the exit status; refuses to hold logic: each command is a file.

mod artifacts;
mod collect;
mod init;
mod recover;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Usage error.
const USAGE: u8 = 64;
/// Internal fault.
const FAULT: u8 = 70;
/// Interrupted; what there is can be recovered.
const RECOVERABLE: u8 = 75;

/// Capture forensic evidence on this host into one signed, timestamped package.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  holdfast-agent collect
  holdfast-agent collect --case IR-2026-041 --key ~/.ssh/id_ed25519 --tsa http://tsa.example.gov/";

#[derive(Subcommand)]
enum Command {
    Collect(Box<CollectArgs>),
    Recover(RecoverArgs),
    Artifacts(ArtifactsArgs),
    Init(InitArgs),
}

/// Capture live state and files of this host and seal them.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 all captured, 10 with exceptions, 20 nothing usable, 64 usage, 70 internal fault,
75 interrupted and recoverable

Examples:
  holdfast-agent collect
  holdfast-agent collect --case IR-2026-041 --output /media/usb --key /media/usb/examiner")]
struct CollectArgs {
    /// Write the package into DIR, or to standard output with `-`.
    #[arg(short, long, value_name = "DIR", default_value = "evidence")]
    output: PathBuf,
    /// Capture what these profiles name; `triage` where nothing is named.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    profile: Vec<String>,
    /// Capture these artifacts, tables or chapters of either; with --profile beside what it names.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    artifact: Vec<String>,
    /// Capture personal data and secrets too where a chapter or profile holds them, such as environment blocks.
    #[arg(long)]
    personal: bool,
    /// Capture only the files these patterns name, without live state.
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    path: Vec<String>,
    /// Read further artifact definitions from FILE or a folder: ours, ForensicArtifacts or UAC.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    definitions: Vec<PathBuf>,
    /// Search at most so many folders down for a `**` without a number in definitions of ForensicArtifacts.
    #[arg(long, value_name = "FOLDERS", value_parser = clap::value_parser!(u32).range(1..=100))]
    default_depth: Option<u32>,
    /// Keep the memory of these processes (the table process_memory).
    #[arg(long, value_name = "PID", num_args = 1..)]
    memory_of: Vec<u32>,
    /// Run the programs of the host that definitions name; what they print is the host's own word.
    #[arg(long)]
    host_commands: bool,
    /// Take at most this much of one file, such as 500M or 8G.
    #[arg(long, value_name = "SIZE", default_value = "8G", value_parser = collect::parse_size)]
    max_file_size: u64,
    /// Take at most this much in all; what does not fit is named.
    #[arg(long, value_name = "SIZE", value_parser = collect::parse_size)]
    max_total_size: Option<u64>,
    /// Take at most this many files and tables in all; what is left out is named.
    #[arg(long, value_name = "COUNT")]
    max_files: Option<u64>,
    /// Seal what there is this many seconds after the start, whatever is still to come.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(2..))]
    deadline: Option<u32>,
    /// Let every other program of the host go first, with the processor and with disks.
    #[arg(long)]
    low_priority: bool,
    /// Examine the root of a mounted image or a container in DIR instead of this host.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Search network and FUSE file systems too; a dead server can hold the search for ever.
    #[arg(long)]
    network_filesystems: bool,
    /// Stay on the file systems that the search begins on.
    #[arg(long)]
    one_file_system: bool,
    /// Show progress as a line, as JSON lines, or not at all.
    #[arg(long, value_enum, default_value = "auto")]
    progress: ProgressChoice,
    /// Print the closing summary as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    seal: SealArgs,
    #[command(flatten)]
    details: DetailArgs,
}

/// What signs and timestamps the package.
#[derive(Args)]
#[command(next_help_heading = "Seal")]
struct SealArgs {
    /// Sign with this OpenSSH key too: a private key file, the .pub of a key in ssh-agent, or `agent`.
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Read the key's passphrase from the first line of FILE instead of asking for it.
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,
    /// Ask this RFC 3161 authority for a trusted timestamp; may be given several times.
    #[arg(long, value_name = "URL")]
    tsa: Vec<String>,
}

/// Seal what an interrupted collection left.
#[derive(Args)]
#[command(after_help = "\
Whole items are sealed, the interruption stands in the package, and what is cut off is kept beside it.

Examples:
  holdfast-agent recover evidence/IR-2026-041_20261124T150405Z_3f9a1c.zip.partial
  holdfast-agent recover --key /media/usb/examiner evidence/IR-2026-041_20261124T150405Z_3f9a1c.zip.partial")]
struct RecoverArgs {
    /// Take up this file; its journal lies beside it.
    #[arg(value_name = "NAME.zip.partial")]
    partial: PathBuf,
    #[command(flatten)]
    seal: SealArgs,
}

/// Who, why, under whose authority. Everything here is recorded as given.
#[derive(Args)]
#[command(next_help_heading = "Record")]
struct DetailArgs {
    /// Record the case number; it begins the file's name.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Record the incident number.
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// Record the impact rating.
    #[arg(long, value_enum)]
    impact: Option<ImpactChoice>,
    /// Mark this as a drill, for good.
    #[arg(long)]
    exercise: bool,
    /// Record the agency whose host this is.
    #[arg(long)]
    agency: Option<String>,
    /// Record the agency's secretariat.
    #[arg(long)]
    secretariat: Option<String>,
    /// Record the policy and clause that this rests on.
    #[arg(long, value_name = "TEXT")]
    authority: Option<String>,
    /// Record who approved.
    #[arg(long, value_name = "NAME")]
    approver: Option<String>,
    /// Record the exception number of a deviation from policy.
    #[arg(long, value_name = "ID")]
    exception: Option<String>,
    /// Record the examiner's name.
    #[arg(long, value_name = "NAME")]
    examiner: Option<String>,
    /// Record the examiner's title.
    #[arg(long, value_name = "TEXT")]
    examiner_title: Option<String>,
    /// Record the examiner's organisation.
    #[arg(long, value_name = "NAME")]
    examiner_organisation: Option<String>,
    /// Record the examiner's telephone number.
    #[arg(long, value_name = "NUMBER")]
    examiner_phone: Option<String>,
    /// Record the principal by which trust files know the examiner's key.
    #[arg(long, value_name = "PRINCIPAL")]
    examiner_principal: Option<String>,
    /// Record a handling label.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ImpactChoice {
    High,
    Medium,
    Low,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProgressChoice {
    Auto,
    Json,
    None,
}

/// List, show or check what can be captured.
#[derive(Args)]
struct ArtifactsArgs {
    #[command(subcommand)]
    command: ArtifactsCommand,
}

#[derive(Subcommand)]
enum ArtifactsCommand {
    /// List profiles, artifacts and tables of live state.
    List,
    /// Show one artifact or table.
    Show {
        /// Its name.
        name: String,
    },
    /// Check definition files and say what they name.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Make an examiner's key and print the allowed_signers line to hand in.
#[derive(Args)]
#[command(after_help = "Examples:
  holdfast-agent init --principal examiner@example.gov
  holdfast-agent init --principal examiner@example.gov --output /media/usb/key --passphrase-file /dev/fd/3")]
struct InitArgs {
    /// Name the person by this principal, such as an e-mail address.
    #[arg(long, value_name = "PRINCIPAL")]
    principal: String,
    /// Write the key to FILE and its public half to FILE.pub.
    #[arg(short, long, value_name = "FILE", default_value = "holdfast-examiner")]
    output: PathBuf,
    /// Read the new passphrase from the first line of FILE instead of asking for it.
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    passphrase_file: Option<PathBuf>,
    /// Leave the key unencrypted; whoever gets the file can then sign as this person.
    #[arg(long)]
    no_passphrase: bool,
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Collect(args) => collect::run(*args),
        Command::Recover(args) => recover::run(&args),
        Command::Artifacts(args) => artifacts::run(args.command),
        Command::Init(args) => init::run(&args),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            say(&format!("holdfast-agent: {}", failure.message));
            ExitCode::from(failure.status)
        }
    }
}

/// Why a command did not do its work, and the exit status that says so.
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl ToString) -> Self {
        Self { status: USAGE, message: message.to_string() }
    }
}

/// Writes to standard error; that nobody listens is no reason to fail.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a result to standard output.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(|error| Failure {
        status: FAULT,
        message: format!("cannot write to standard output: {error}"),
    })
}
