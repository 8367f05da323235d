//! Owns the trust folder: which keys and authorities an organisation lists; refuses files it cannot read whole, and
//! never takes anything from a package.

use std::io;
use std::path::Path;

use holdfast_schemas::allowed_signers::{AllowedSigners, RevokedKeys};
use holdfast_schemas::timestamp::TimestampRoots;

/// Largest file of a trust folder.
const MAX_FILE: u64 = 16 << 20;

/// What an organisation trusts.
#[derive(Default)]
pub struct Trust {
    /// Keys that may seal, where the folder lists any.
    pub allowed_signers: Option<AllowedSigners>,
    /// Keys that were revoked.
    pub revoked: Option<RevokedKeys>,
    /// Roots of timestamp authorities, where the folder lists any.
    pub roots: Option<TimestampRoots>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

impl Trust {
    /// Reads a trust folder; a folder that cannot be read at all is an error.
    pub fn open(folder: &Path) -> io::Result<Self> {
        if !std::fs::metadata(folder)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
        }
        let mut problems = Vec::new();
        let mut read = |name: &str| match read_bounded(&folder.join(name)) {
            Ok(bytes) => Some(bytes),
            // A link that leads nowhere is a file that is missing, not one that was never meant.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && folder.join(name).symlink_metadata().is_err() =>
            {
                None
            }
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                None
            }
        };
        let files = [read("allowed_signers"), read("revoked_keys"), read("tsa-roots.pem")];
        let [allowed, revoked, roots] = files.each_ref().map(Option::as_deref);
        let mut trust = Self::from_files(allowed, revoked, roots);
        trust.problems.splice(0..0, problems);
        Ok(trust)
    }

    /// Reads the three files' bytes.
    pub fn from_files(
        allowed_signers: Option<&[u8]>,
        revoked_keys: Option<&[u8]>,
        roots: Option<&[u8]>,
    ) -> Self {
        let mut problems = Vec::new();
        let mut note = |name: &str, error: String| problems.push(format!("{name}: {error}"));
        let trust = Self {
            allowed_signers: allowed_signers.and_then(|bytes| {
                AllowedSigners::parse(bytes).map_err(|error| note("allowed_signers", error.to_string())).ok()
            }),
            revoked: revoked_keys.and_then(|bytes| {
                RevokedKeys::parse(bytes).map_err(|error| note("revoked_keys", error.to_string())).ok()
            }),
            roots: roots.and_then(|bytes| {
                TimestampRoots::from_pem(bytes).map_err(|error| note("tsa-roots.pem", error.to_string())).ok()
            }),
            problems: Vec::new(),
        };
        Self { problems, ..trust }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if found.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    std::fs::read(path)
}
