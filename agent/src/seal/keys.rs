//! Owns the keys that sign: the collection's own, made in memory and wiped when dropped, and the examiner's, from an
//! OpenSSH key file or ssh-agent; refuses keys it cannot use before anything is collected.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey};
use holdfast_schemas::ssh_key::PublicKey;
use holdfast_schemas::sshsig::{SshSignature, ed25519_signature_blob, to_be_signed};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::SealError;
use super::ssh_agent::SshAgent;

/// Largest key file that is read.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// The one-time key of a collection. Its secret half is overwritten when it is dropped.
pub struct CollectionKey {
    secret: SigningKey,
    public: PublicKey,
}

impl CollectionKey {
    /// Makes a key from the kernel's random source.
    pub fn generate() -> Result<Self, SealError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *seed).map_err(|error| SealError::Randomness(error.to_string()))?;
        let secret = SigningKey::from_bytes(&seed);
        let public = PublicKey::ed25519(secret.verifying_key().as_bytes())
            .map_err(|error| SealError::Randomness(error.to_string()))?;
        Ok(Self { secret, public })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message` for `namespace`.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> SshSignature {
        sign_ed25519(&self.secret, &self.public, namespace, message)
    }
}

fn sign_ed25519(secret: &SigningKey, public: &PublicKey, namespace: &str, message: &[u8]) -> SshSignature {
    let signature = secret.sign(&to_be_signed(namespace, message));
    SshSignature::new(public.clone(), namespace, ed25519_signature_blob(&signature.to_bytes()))
}

/// Where a passphrase comes from; never from an argument or the environment, where others could read it.
pub enum Passphrase {
    /// It is asked for on the terminal.
    Ask,
    /// The first line of a file, which may be a pipe.
    File(PathBuf),
}

/// An examiner's key, ready to sign.
pub enum ExaminerKey {
    /// From a file, decrypted.
    File {
        /// Secret half, wiped when dropped.
        secret: Box<SigningKey>,
        /// Public half.
        public: PublicKey,
    },
    /// Held by ssh-agent.
    Agent {
        /// The agent's socket.
        socket: PathBuf,
        /// Public half.
        public: PublicKey,
    },
}

/// Why an examiner's key cannot be used: what, where and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read key {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is no OpenSSH key.
    #[error(
        "{path} is not an OpenSSH key ({reason}); make one with `holdfast-agent init` or `ssh-keygen -t ed25519`"
    )]
    NotAKey {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The passphrase does not open the file.
    #[error("the passphrase does not open key {path}")]
    WrongPassphrase {
        /// The file.
        path: String,
    },
    /// No passphrase is to be had.
    #[error(
        "key {path} is encrypted and no passphrase is to be had ({reason}); give --passphrase-file, or add the key to ssh-agent and give its .pub file"
    )]
    NoPassphrase {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The file's kind of key signs through ssh-agent only.
    #[error(
        "key {path} is of kind {kind}, which signs through ssh-agent: add it with ssh-add and give its .pub file"
    )]
    Kind {
        /// The file.
        path: String,
        /// Its kind.
        kind: String,
    },
    /// ssh-agent does not help.
    #[error("ssh-agent: {0}; check SSH_AUTH_SOCK and `ssh-add -l`")]
    Agent(String),
    /// A file to be written exists.
    #[error("{0} exists already; choose another name with --output, nothing is overwritten")]
    Exists(String),
    /// A key or its file could not be made.
    #[error("cannot make the key: {0}")]
    Make(String),
}

impl ExaminerKey {
    /// Opens `--key`: `agent` for the only key that ssh-agent holds, a `.pub` file for a key that it holds, or a
    /// private key file.
    pub fn open(argument: &str, passphrase: &Passphrase) -> Result<Self, KeyError> {
        if argument == "agent" {
            return Self::only_key_of_agent();
        }
        let text = Zeroizing::new(read(Path::new(argument))?);
        match PublicKey::from_openssh_line(text.trim()) {
            Ok(public) => Self::of_agent(public),
            Err(_) => Self::from_private(argument, &text, passphrase),
        }
    }

    fn only_key_of_agent() -> Result<Self, KeyError> {
        let (socket, keys) = SshAgent::keys_of_environment().map_err(KeyError::Agent)?;
        match <[PublicKey; 1]>::try_from(keys) {
            Ok([public]) => Ok(Self::Agent { socket, public }),
            Err(keys) => Err(KeyError::Agent(format!(
                "it holds {} usable keys; give the .pub file of the one to use",
                keys.len()
            ))),
        }
    }

    fn of_agent(public: PublicKey) -> Result<Self, KeyError> {
        let (socket, keys) = SshAgent::keys_of_environment().map_err(KeyError::Agent)?;
        if keys.contains(&public) {
            Ok(Self::Agent { socket, public })
        } else {
            Err(KeyError::Agent(format!("it does not hold key {}", public.fingerprint())))
        }
    }

    fn from_private(path: &str, text: &str, passphrase: &Passphrase) -> Result<Self, KeyError> {
        let not_a_key =
            |error: ssh_key::Error| KeyError::NotAKey { path: path.to_owned(), reason: error.to_string() };
        let mut key = PrivateKey::from_openssh(text).map_err(not_a_key)?;
        if key.is_encrypted() {
            key = decrypt(path, &key, passphrase)?;
        }
        let KeypairData::Ed25519(pair) = key.key_data() else {
            return Err(KeyError::Kind { path: path.to_owned(), kind: key.algorithm().to_string() });
        };
        let secret = Box::new(SigningKey::from_bytes(&Zeroizing::new(pair.private.to_bytes())));
        let reason = |reason: String| KeyError::NotAKey { path: path.to_owned(), reason };
        if secret.verifying_key().as_bytes() != &pair.public.0 {
            return Err(reason("its two halves do not belong together".to_owned()));
        }
        let public = PublicKey::ed25519(&pair.public.0).map_err(|error| reason(error.to_string()))?;
        Ok(Self::File { secret, public })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        match self {
            Self::File { public, .. } | Self::Agent { public, .. } => public,
        }
    }

    /// Signs `message` for `namespace`; what an agent returns is verified before it is used.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> Result<SshSignature, KeyError> {
        let signature = match self {
            Self::File { secret, public } => sign_ed25519(secret, public, namespace, message),
            Self::Agent { socket, public } => {
                let mut agent = SshAgent::connect(socket).map_err(KeyError::Agent)?;
                let blob = agent.sign(public, &to_be_signed(namespace, message)).map_err(KeyError::Agent)?;
                SshSignature::new(public.clone(), namespace, blob)
            }
        };
        signature
            .verify(namespace, message)
            .map_err(|error| KeyError::Agent(format!("its signature is not good: {error}")))?;
        Ok(signature)
    }
}

fn read(path: &Path) -> Result<String, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.display().to_string(), source };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_KEY_FILE {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a key")));
    }
    fs::read_to_string(path).map_err(unreadable)
}

fn decrypt(path: &str, key: &PrivateKey, passphrase: &Passphrase) -> Result<PrivateKey, KeyError> {
    let wrong = || KeyError::WrongPassphrase { path: path.to_owned() };
    match passphrase {
        Passphrase::File(file) => {
            let text = first_line(file).map_err(|error| KeyError::NoPassphrase {
                path: path.to_owned(),
                reason: format!("{}: {error}", file.display()),
            })?;
            key.decrypt(text.as_bytes()).map_err(|_| wrong())
        }
        Passphrase::Ask => {
            for _ in 0..3 {
                let typed =
                    rpassword::prompt_password(format!("Passphrase for {path}: ")).map(Zeroizing::new);
                let typed = typed.map_err(|error| KeyError::NoPassphrase {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?;
                if let Ok(key) = key.decrypt(typed.as_bytes()) {
                    return Ok(key);
                }
            }
            Err(wrong())
        }
    }
}

fn first_line(file: &Path) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(fs::read_to_string(file)?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Makes an examiner's Ed25519 key and writes it to `path` and `path.pub`; without a passphrase it is not encrypted.
pub fn make_examiner_key(
    path: &Path,
    comment: &str,
    passphrase: Option<&str>,
) -> Result<PublicKey, KeyError> {
    let made = |error: &dyn std::fmt::Display| KeyError::Make(error.to_string());
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *seed).map_err(|error| made(&error))?;
    let secret = SigningKey::from_bytes(&seed);
    let public = PublicKey::ed25519(secret.verifying_key().as_bytes()).map_err(|error| made(&error))?;
    let pair = Ed25519Keypair {
        public: Ed25519PublicKey(secret.verifying_key().to_bytes()),
        private: Ed25519PrivateKey::from_bytes(&seed),
    };
    let mut key = PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(|error| made(&error))?;
    if let Some(passphrase) = passphrase {
        key = key
            .encrypt(&mut ssh_key::rand_core::OsRng, passphrase.as_bytes())
            .map_err(|error| made(&error))?;
    }
    let text = key.to_openssh(LineEnding::LF).map_err(|error| made(&error))?;
    let public_path = PathBuf::from(format!("{}.pub", path.display()));
    if public_path.exists() {
        return Err(KeyError::Exists(public_path.display().to_string()));
    }
    write_new(path, text.as_bytes(), 0o600)?;
    write_new(&public_path, format!("{} {comment}\n", public.to_openssh()).as_bytes(), 0o644)?;
    Ok(public)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), KeyError> {
    let open = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = open.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.display().to_string()),
        _ => KeyError::Make(format!("{}: {error}", path.display())),
    })?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|error| KeyError::Make(error.to_string()))
}
