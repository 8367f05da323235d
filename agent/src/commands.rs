//! Owns the running of a host's program where the examiner allows it: plain arguments, a bounded output, a timeout and
//! the end of whatever it started; refuses shells, programs outside the usual folders and mounted roots.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::time::UtcTime;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use sha2::{Digest, Sha256};

use crate::catalogue::HostCommand;
use crate::clock;
use crate::source::{Root, Watchdog};

/// Where a program without a path is looked for, in this order.
const FOLDERS: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// All that a program finds in its environment; the host's own could turn it into another program.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"),
    ("LANG", "C"),
    ("LC_ALL", "C"),
    ("HOME", "/"),
];
/// Largest program that is hashed, in bytes.
const PROGRAM_CAP: u64 = 1 << 30;
/// How long output is waited for once the program has ended and its group was killed.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked whether the program still runs.
const LOOK: Duration = Duration::from_millis(50);

/// Whose root is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// The host that this program runs on.
    RunningHost,
    /// A mounted image, of which the running host's programs tell nothing.
    MountedRoot,
}

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The program, where there is one.
    pub program: Option<HostProgram>,
    /// How it ended.
    pub end: CommandEnd,
    /// When it was started, by the host's clock.
    pub started: UtcTime,
    /// When it had ended, by the host's clock.
    pub finished: UtcTime,
    /// How long it took, milliseconds of the monotonic clock.
    pub elapsed_ms: u64,
    /// What it wrote to its standard output.
    pub stdout: Stream,
    /// What it wrote to its standard error.
    pub stderr: Stream,
}

/// The program that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostProgram {
    /// Where it was found.
    pub path: String,
    /// SHA-256 of the file as it was right before.
    pub sha256: Option<Sha256Digest>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that did not come from here.
    Signalled(i32),
    /// Killed with all it had started, because its time was up.
    TimedOut,
    /// Killed with all it had started, because it wrote more than is taken.
    OutputFull,
    /// Not run: the host has no such program.
    NotFound,
    /// Not run, and why.
    Refused(String),
    /// Could not be run, and why.
    Failed(String),
}

/// One stream of output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stream {
    /// Bytes taken.
    pub bytes: u64,
    /// Whether there was more.
    pub cut: bool,
}

/// Runs a command and streams what it writes, at most `limit` bytes of each stream. It reads nothing, sees no environment
/// but a fixed one, and leaves nothing behind that stays in its process group.
///
/// # Errors
///
/// Only where `stdout` or `stderr` cannot be written; whatever else happens is an outcome.
pub fn run(
    command: &HostCommand,
    examined: Examined,
    limit: u64,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<CommandOutcome> {
    let mut outcome = CommandOutcome {
        program: None,
        end: CommandEnd::NotFound,
        started: clock::now(),
        finished: clock::now(),
        elapsed_ms: 0,
        stdout: Stream::default(),
        stderr: Stream::default(),
    };
    // Looking for the program, reading it and starting it can wait for ever for a file server that does not answer.
    let mut watchdog = Watchdog::default();
    let asked = command.clone();
    let path = match watchdog.within(move |_| Ok(find(&asked, examined))).unwrap_or_else(failed) {
        Ok(path) => path,
        Err(end) => return Ok(CommandOutcome { end, ..outcome }),
    };
    let read = path.clone();
    let sha256 = watchdog.within(move |progress| digest(&read, progress)).ok();
    outcome.program = Some(HostProgram { sha256, path: path.clone() });
    let begun = clock::monotonic_ns();
    outcome.started = clock::now();
    let asked = command.clone();
    // Where it is given up and starts after all, there is nobody to take it, and dropping it kills it.
    let started = watchdog.within(move |_| {
        let deadline = Instant::now() + Duration::from_secs(asked.timeout_seconds.into());
        Running::new(spawn(&path, &asked)?, deadline, limit)
    });
    let result = match started {
        Ok(running) => running.watch(&mut outcome, stdout, stderr),
        Err(error) => {
            outcome.end = CommandEnd::Failed(error.to_string());
            Ok(())
        }
    };
    outcome.finished = clock::now().max(outcome.started);
    outcome.elapsed_ms = clock::monotonic_ns().saturating_sub(begun) / 1_000_000;
    result.map(|()| outcome)
}

fn failed<T>(error: io::Error) -> Result<T, CommandEnd> {
    Err(CommandEnd::Failed(error.to_string()))
}

/// Finds the program, or tells how it ends without one.
fn find(command: &HostCommand, examined: Examined) -> Result<String, CommandEnd> {
    let refused = |why: &str| Err(CommandEnd::Refused(why.to_owned()));
    if examined == Examined::MountedRoot {
        return refused("a program of the running host tells nothing of a mounted root");
    }
    let Some(name) = command.argv.first().filter(|name| !name.is_empty()) else {
        return refused("no program");
    };
    let is_program = |path: &String| std::fs::metadata(path).is_ok_and(|found| found.is_file());
    if name.starts_with('/') {
        return if is_program(name) { Ok(name.clone()) } else { Err(CommandEnd::NotFound) };
    }
    if name.contains('/') {
        return refused("a program's path is absolute");
    }
    let candidates = FOLDERS.iter().map(|folder| format!("{folder}/{name}"));
    candidates.into_iter().find(is_program).ok_or(CommandEnd::NotFound)
}

fn digest(path: &str, progress: &AtomicU64) -> io::Result<Sha256Digest> {
    let file = Root::live()?.open_file(path)?.file;
    if file.metadata()?.len() > PROGRAM_CAP {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut hasher = Sha256::new();
    let mut bounded = file.take(PROGRAM_CAP);
    let mut chunk = vec![0; 64 << 10];
    loop {
        match bounded.read(&mut chunk)? {
            0 => return Ok(Sha256Digest::from(hasher)),
            count => hasher.update(chunk.get(..count).unwrap_or_default()),
        }
        progress.fetch_add(1, Ordering::Relaxed);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that runs a host's program, and only where the examiner allows it"
)]
fn spawn(path: &str, command: &HostCommand) -> io::Result<Child> {
    let mut program = Command::new(path);
    program
        .arg0(command.argv.first().map_or(path, String::as_str))
        .args(command.argv.iter().skip(1))
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program.spawn()
}

/// A program under way; dropping it kills its process group.
struct Running {
    child: Child,
    group: Option<Pid>,
    pipes: [Option<File>; 2],
    deadline: Instant,
    limit: u64,
}

impl Running {
    fn new(mut child: Child, deadline: Instant, limit: u64) -> io::Result<Self> {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let out = child.stdout.take().map(OwnedFd::from).map(File::from);
        let err = child.stderr.take().map(OwnedFd::from).map(File::from);
        let running = Self { child, group, pipes: [out, err], deadline, limit };
        for pipe in running.pipes.iter().flatten() {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        Ok(running)
    }

    /// Takes what it writes until it has ended, its time is up or its output is full.
    fn watch(
        mut self,
        outcome: &mut CommandOutcome,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> io::Result<()> {
        let mut killed = None;
        let mut chunk = vec![0; 64 << 10];
        loop {
            let ended = self.has_ended();
            if !ended && Instant::now() >= self.deadline {
                killed = Some(CommandEnd::TimedOut);
            }
            let out = drain(&mut self.pipes[0], &mut chunk, self.limit, &mut outcome.stdout, stdout)?;
            let err = drain(&mut self.pipes[1], &mut chunk, self.limit, &mut outcome.stderr, stderr)?;
            if killed.is_none() && (outcome.stdout.cut || outcome.stderr.cut) {
                killed = Some(CommandEnd::OutputFull);
            }
            if ended || killed.is_some() {
                break;
            }
            if !out && !err {
                self.wait();
            }
        }
        self.kill();
        let until = Instant::now() + GRACE;
        // What was written before the end is still in the pipes; who left the group may hold them open for ever.
        while self.pipes.iter().any(Option::is_some) && Instant::now() < until {
            let out = drain(&mut self.pipes[0], &mut chunk, self.limit, &mut outcome.stdout, stdout)?;
            let err = drain(&mut self.pipes[1], &mut chunk, self.limit, &mut outcome.stderr, stderr)?;
            if outcome.stdout.cut || outcome.stderr.cut {
                break;
            }
            if !out && !err {
                self.wait();
            }
        }
        outcome.end = match (killed, self.reap()) {
            (Some(end), _) => end,
            (None, Some(status)) => end_of(status),
            (None, None) => CommandEnd::Failed("ended, and its status is not to be had".to_owned()),
        };
        Ok(())
    }

    /// Whether it has ended; it is not reaped, so that its group's number cannot become another's.
    fn has_ended(&self) -> bool {
        let Some(group) = self.group else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(group), options), Ok(None))
    }

    /// Waits for output, or until it is time to look again.
    fn wait(&self) {
        let flags = PollFlags::IN;
        let mut pipes: Vec<PollFd<'_>> =
            self.pipes.iter().flatten().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), flags)).collect();
        let time = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        if pipes.is_empty() || poll(&mut pipes, Some(&time)).is_err() {
            std::thread::sleep(LOOK);
        }
    }

    /// Takes its status; one that the kernel cannot end, such as in a read that hangs, is left to the kernel.
    fn reap(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + GRACE;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK / 10),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }

    fn kill(&self) {
        if let Some(group) = self.group {
            // None left in it is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it was waited for there is nothing left to be killed, and its number may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            self.reap();
        }
    }
}

/// Takes what is there now; tells whether there was anything. A pipe at its end is closed.
fn drain(
    pipe: &mut Option<File>,
    chunk: &mut [u8],
    limit: u64,
    stream: &mut Stream,
    sink: &mut dyn Write,
) -> io::Result<bool> {
    let Some(open) = pipe.as_mut() else { return Ok(false) };
    match open.read(chunk) {
        Ok(0) => {
            *pipe = None;
            Ok(false)
        }
        Ok(count) => {
            let room = usize::try_from(limit.saturating_sub(stream.bytes)).unwrap_or(usize::MAX);
            let taken = chunk.get(..count.min(room)).unwrap_or_default();
            sink.write_all(taken)?;
            stream.bytes += taken.len() as u64;
            stream.cut |= taken.len() < count;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
        Err(_) => {
            *pipe = None;
            Ok(false)
        }
    }
}

fn end_of(status: ExitStatus) -> CommandEnd {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => CommandEnd::Exited(code),
        (None, Some(signal)) => CommandEnd::Signalled(signal),
        (None, None) => CommandEnd::Failed("ended in no known way".to_owned()),
    }
}
