//! Owns where a package goes: a file that carries its final name only once it is whole, or a pipe; refuses to
//! overwrite anything.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const BUFFER: usize = 512 * 1024;

/// The package's way out.
pub(crate) enum Output {
    /// A file, `.partial` until it is finished.
    File {
        /// The open file.
        out: BufWriter<File>,
        /// Its name while it is incomplete.
        partial: PathBuf,
        /// Its name once it is whole.
        finished: PathBuf,
    },
    /// Standard output.
    Pipe(BufWriter<io::Stdout>),
}

impl Output {
    /// A new file in `folder`; nothing of the same name may exist.
    pub(crate) fn file(folder: &Path, name: &str) -> io::Result<Self> {
        let finished = folder.join(format!("{name}.zip"));
        if finished.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} exists already", finished.display()),
            ));
        }
        let partial = folder.join(format!("{name}.zip.partial"));
        Ok(Self::File { out: BufWriter::with_capacity(BUFFER, create_private(&partial)?), partial, finished })
    }

    /// A partial file that is gone on with; its position is its end.
    pub(crate) fn resumed(file: File, partial: PathBuf, finished: PathBuf) -> Self {
        Self::File { out: BufWriter::with_capacity(BUFFER, file), partial, finished }
    }

    /// Takes back a file that nothing was written to.
    pub(crate) fn discard(&self) {
        if let Self::File { partial, .. } = self {
            // It is empty; that it stays would be untidy and no more.
            let _ = std::fs::remove_file(partial);
        }
    }

    /// Standard output.
    pub(crate) fn pipe() -> Self {
        Self::Pipe(BufWriter::with_capacity(BUFFER, io::stdout()))
    }

    /// Flushes everything to the medium, then gives the file its name.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::File { out, partial, finished } => {
                let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.sync_all()?;
                // A hard link refuses to replace what may have appeared under the name meanwhile; not every file
                // system has links.
                match std::fs::hard_link(&partial, &finished) {
                    Ok(()) => std::fs::remove_file(&partial)?,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                    Err(_) => std::fs::rename(&partial, &finished)?,
                }
                sync_folder(&finished)
            }
            Self::Pipe(mut out) => out.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { out, .. } => out.write(bytes),
            Self::Pipe(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { out, .. } => out.flush(),
            Self::Pipe(out) => out.flush(),
        }
    }
}

/// Creates a new file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Flushes a file's folder, so that the file's name survives a power cut.
pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Some file systems cannot flush a folder; its entries are then as safe as they can be made.
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}
