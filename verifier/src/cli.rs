//! Owns the command line: arguments as typed, the files they name, and the exit status; refuses to hold checks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::{Args, Parser, Subcommand};
use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::report::{Report, Verdict};
use holdfast_schemas::text::for_people;
use holdfast_schemas::time::UtcTime;

use crate::render::text;
use crate::{Context, FileEvidence, Trust, verify};

/// Usage error.
const USAGE: u8 = 64;
/// Internal fault.
const FAULT: u8 = 70;

/// Tell whether an evidence package is whole, whose it is, when it existed, what is missing and who held it.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  holdfast-verifier verify --trust trust/ IR-2026-041_20261124T150405Z_3f9a1c.zip
  holdfast-verifier verify --trust trust/ --json evidence/*.zip";

#[derive(Subcommand)]
enum Command {
    Verify(VerifyArgs),
}

/// Check packages and print a verdict for each.
#[derive(Args)]
#[command(after_help = format!("\
Exit status: 0 VERIFIED, 10 VERIFIED WITH EXCEPTIONS, 20 FAILED, 30 CANNOT DETERMINE, 64 usage,
70 internal fault; for several packages the worst of them, FAILED before all others

{EXAMPLES}"))]
struct VerifyArgs {
    /// Check these packages.
    #[arg(required = true)]
    packages: Vec<PathBuf>,
    /// Recognise keys and timestamp authorities by this folder: allowed_signers, revoked_keys, tsa-roots.pem.
    #[arg(long, value_name = "DIR")]
    trust: Option<PathBuf>,
    /// Read the custody ledger from FILE instead of from beside the package.
    #[arg(long, value_name = "FILE")]
    custody: Option<PathBuf>,
    /// Require that the ledger ends with the entry that has this SHA-256.
    #[arg(long, value_name = "HASH")]
    expect_head: Option<Sha256Digest>,
    /// Judge keys at this time where no timestamp proves one, such as 2026-11-24T15:04:05Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<UtcTime>,
    /// Print reports as JSON, one a line.
    #[arg(long)]
    json: bool,
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
    let Command::Verify(args) = cli.command;
    match verify_all(&args) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.status)
        }
    }
}

struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    fn tell(&self) {
        let _ = writeln!(io::stderr().lock(), "holdfast-verifier: {}", self.message);
    }
}

fn verify_all(args: &VerifyArgs) -> Result<u8, Failure> {
    if args.packages.len() > 1 && (args.custody.is_some() || args.expect_head.is_some()) {
        let message = "--custody and --expect-head speak of one package; give one".to_owned();
        return Err(Failure { status: USAGE, message });
    }
    let trust = args.trust.as_deref().map(open_trust).transpose()?;
    let mut worst = Verdict::Verified;
    let mut refused = None;
    for package in &args.packages {
        let judged = verify_one(package, args, trust.as_ref());
        match judged.and_then(|report| print(&report, args.json).map(|()| report.headline)) {
            Ok(headline) => worst = worst.max(headline),
            // One file that cannot be read does not keep the others from being judged.
            Err(failure) => {
                failure.tell();
                refused = refused.max(Some(failure.status));
            }
        }
    }
    let status = worst.exit_status();
    Ok(refused.filter(|_| worst != Verdict::Failed).unwrap_or(status))
}

fn open_trust(folder: &Path) -> Result<Trust, Failure> {
    Trust::open(folder).map_err(|error| Failure {
        status: USAGE,
        message: format!(
            "cannot read the trust folder {}: {error}; give the folder that holds allowed_signers",
            shown(folder)
        ),
    })
}

fn verify_one(package: &Path, args: &VerifyArgs, trust: Option<&Trust>) -> Result<Report, Failure> {
    let evidence = FileEvidence::open(package).map_err(|error| Failure {
        status: USAGE,
        message: format!("cannot open {}: {error}; give the .zip file of a package", shown(package)),
    })?;
    let mut ledger = open_ledger(package, args.custody.as_deref())?;
    let context = Context {
        trust,
        ledger: ledger.as_mut().map(|file| file as &mut dyn Read),
        expected_head: args.expect_head,
        at: args.at,
        now: now(),
        threads: available_parallelism().map_or(1, usize::from),
    };
    let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fault = |message| Failure { status: FAULT, message };
    let judged = catch_unwind(AssertUnwindSafe(|| verify(&evidence, &name, context)));
    judged
        .map_err(|_| {
            let path = shown(package);
            fault(format!(
                "stopped by a fault of its own at {path}; nothing is said of it, please report this"
            ))
        })?
        .map_err(|error| {
            fault(format!("cannot read {}: {error}; try another copy or another drive", shown(package)))
        })
}

/// The ledger that was named, or the one beside the package where there is one.
fn open_ledger(package: &Path, named: Option<&Path>) -> Result<Option<File>, Failure> {
    let mut beside = package.as_os_str().to_owned();
    beside.push(".custody.jsonl");
    let path = named.map_or_else(|| PathBuf::from(beside), Path::to_owned);
    // A pipe would be waited for without end.
    let regular = std::fs::metadata(&path).and_then(|found| match found.is_file() {
        true => File::open(&path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    });
    match regular {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(Failure {
            status: USAGE,
            message: format!("cannot open the ledger {}: {error}", shown(&path)),
        }),
    }
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    let fault = |error: String| Failure { status: FAULT, message: error };
    let mut text = if json {
        serde_json::to_string(report).map_err(|error| fault(error.to_string()))?
    } else {
        text::render(report)
    };
    text.push('\n');
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| fault(format!("cannot write to standard output: {error}")))
}

fn shown(path: &Path) -> String {
    for_people(&path.to_string_lossy())
}

/// The verifying machine's clock, read here and nowhere else.
#[expect(clippy::disallowed_methods, reason = "the one place where the verifier reads the clock")]
fn now() -> UtcTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or_default();
    UtcTime::from_unix(seconds, since_epoch.subsec_nanos())
        .or_else(|| UtcTime::from_unix(0, 0))
        .expect("the epoch is a time")
}

fn parse_time(text: &str) -> Result<UtcTime, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|_| "give a time like 2026-11-24T15:04:05Z".to_owned())?;
    Ok(UtcTime::from(time.to_utc()))
}
