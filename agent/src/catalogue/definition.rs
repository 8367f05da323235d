//! Owns one artifact: what to look for, why, and what is left out of it; refuses what could not be searched exactly.

use holdfast_schemas::digest::Sha256Digest;
use holdfast_schemas::item::ItemKind;
use serde::{Deserialize, Serialize};

use super::pattern::{self, Pattern, PatternError};
use crate::source::User;
use crate::state::Sensitivity;

/// One artifact: what to look for and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name: ASCII letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Other names it goes by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it is, one sentence.
    pub description: String,
    /// Why an investigation wants it, one sentence.
    pub why: String,
    /// The chapter it belongs to; profiles choose by chapter or by name.
    #[serde(default)]
    pub group: Chapter,
    /// Operating systems it is for.
    #[serde(default = "linux", skip_serializing_if = "is_linux")]
    pub platforms: Vec<Platform>,
    /// Who can read it.
    #[serde(default)]
    pub privileges: Privileges,
    /// Whether it is collected only where it was asked for by name.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// Absolute paths; `*`, `?`, `[...]`, `{a,b}` within a component, `**` for any depth and `**N` for at most N folders
    /// down, `%%users.homedir%%` at the beginning, `%%users.username%%` anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Paths among them that are recorded but whose content is not taken; a folder among them is not entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_why: Option<String>,
    /// What a match must be besides being at one of the paths.
    #[serde(default, skip_serializing_if = "Filter::is_open")]
    pub only: Filter,
    /// Whether content is taken, or the entry only recorded.
    #[serde(default, skip_serializing_if = "Take::is_content")]
    pub take: Take,
    /// Artifacts that it stands for, by name; whoever chooses it chooses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Programs of the host to be run, where that is allowed at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<HostCommand>,
    /// How deep a `**` without a number goes, in folders; unbounded where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_depth: Option<u32>,
    /// Why none of it is looked for, where none is: it is of another system, such as a Windows registry key, or would need
    /// a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_applicable: Option<String>,
    /// What a definition of another format says that has no effect here, or another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Pages about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Where the definition came from: `built-in`, `command line` or a file.
    #[serde(skip)]
    pub origin: String,
}

/// Chapters of the catalogue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each name says it")]
pub enum Chapter {
    Logins,
    Logs,
    Audit,
    Persistence,
    Shells,
    Ssh,
    Users,
    Configuration,
    Applications,
    Browsers,
    Databases,
    WebServers,
    Mail,
    Cloud,
    Containers,
    Kubernetes,
    VirtualMachines,
    Boot,
    Kernel,
    Packages,
    Temporary,
    #[default]
    Other,
}

/// Operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each name says it")]
pub enum Platform {
    Linux,
    Macos,
    Windows,
    Esxi,
    FreeBsd,
    Android,
    Other,
}

/// Who can read an artifact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privileges {
    /// Any user.
    User,
    /// Root only, on an ordinary host.
    #[default]
    Root,
}

/// Whether content is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The bytes of regular files.
    #[default]
    Content,
    /// What the file system says of it, without its content.
    Record,
}

/// What a match must be; an open filter lets everything through. Folders on the way are never filtered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Paths as in a definition, one of which the whole path must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Globs, one of which the last component must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Globs, none of which the last component may match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_names: Vec<String>,
    /// Kinds, of which it must be one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<ItemKind>,
    /// Least size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u64>,
    /// Largest size of a file in bytes; a larger one is recorded without its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Permission bits, all of which must be set: set-user-ID is 0o4000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_all: Option<u32>,
    /// Permission bits, one of which must be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_any: Option<u32>,
    /// Permission bits, exactly these of the twelve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_is: Option<u32>,
    /// Only where the host has no name for the owner.
    #[serde(skip_serializing_if = "is_false")]
    pub unknown_user: bool,
    /// Only where the host has no name for the group.
    #[serde(skip_serializing_if = "is_false")]
    pub unknown_group: bool,
    /// Homes of users with a login shell only.
    #[serde(skip_serializing_if = "is_false")]
    pub login_users: bool,
}

/// A program of the host and its arguments, given to the kernel as they stand: no shell ever sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCommand {
    /// The program, a name to be looked for in the usual folders or an absolute path, and its arguments.
    pub argv: Vec<String>,
    /// Seconds after which it is killed.
    pub timeout_seconds: u32,
}

impl HostCommand {
    /// Seconds for a command whose format knows no timeout.
    pub const TIMEOUT_SECONDS: u32 = 120;

    /// A command of another format, or why it is left out: a shell does whatever its arguments say.
    pub(super) fn plain(argv: Vec<String>) -> Result<Self, String> {
        const SHELLS: [&str; 14] = [
            "sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "pwsh", "rbash", "tcsh",
            "yash", "zsh",
        ];
        let program = argv.first().map(String::as_str).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        if SHELLS.contains(&name) {
            return Err(format!("needs a shell: {name}"));
        }
        if name.is_empty() || argv.iter().any(|argument| argument.contains('\0')) {
            return Err("not a program and its arguments".to_owned());
        }
        Ok(Self { argv, timeout_seconds: Self::TIMEOUT_SECONDS })
    }
}

impl Platform {
    /// Every one there is.
    pub const ALL: [Self; 7] =
        [Self::Linux, Self::Macos, Self::Windows, Self::Esxi, Self::FreeBsd, Self::Android, Self::Other];
}

fn linux() -> Vec<Platform> {
    vec![Platform::Linux]
}

fn is_linux(platforms: &[Platform]) -> bool {
    platforms == [Platform::Linux]
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Take {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_content(&self) -> bool {
        *self == Self::Content
    }
}

impl Filter {
    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

impl Definition {
    /// A definition made of paths given on the command line.
    pub fn of_paths(paths: Vec<String>) -> Self {
        Self {
            name: "ChosenPaths".to_owned(),
            description: "Paths chosen on the command line".to_owned(),
            why: "Asked for by the examiner".to_owned(),
            paths,
            platforms: linux(),
            origin: "command line".to_owned(),
            ..Self::default()
        }
    }

    /// Whether this is its name or one of its other names.
    pub fn goes_by(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Digest of the definition's text in its JSON form.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.json())
    }

    /// The definition in its JSON form, defaults left out.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a definition has text keys only")
    }

    /// Checks names and paths; says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        for name in [&self.name].into_iter().chain(&self.aliases).chain(&self.members) {
            if name.is_empty() || !name.bytes().all(plain) {
                let reason = "is not made of ASCII letters, digits, `.`, `_` and `-`";
                return Err(format!("artifact name {name:?} {reason}"));
            }
        }
        let asks = !self.paths.is_empty() || !self.commands.is_empty() || !self.members.is_empty();
        if !asks && self.not_applicable.is_none() {
            return Err(format!("artifact {} names no path", self.name));
        }
        if self.exclude.is_empty() != self.exclude_why.is_none() {
            return Err(format!("artifact {}: exclude and exclude_why stand together", self.name));
        }
        let somebody = User { name: b"examiner".to_vec(), home: b"/home/examiner".to_vec(), login: true };
        for path in self.every_path() {
            let tried = pattern::expand(path, std::slice::from_ref(&somebody), self.default_depth);
            tried.map_err(|error| format!("artifact {}, path {path:?}: {error}", self.name))?;
        }
        for name in self.only.names.iter().chain(&self.only.exclude_names) {
            pattern::Component::of_name(name)
                .map_err(|error| format!("artifact {}, name {name:?}: {error}", self.name))?;
        }
        if self.commands.iter().any(|command| command.argv.is_empty() || command.timeout_seconds == 0) {
            return Err(format!("artifact {}: a command has a program and a timeout", self.name));
        }
        Ok(())
    }

    /// Whether a path stands for one of every user.
    pub fn names_users(&self) -> bool {
        self.every_path().any(|path| pattern::names_users(path))
    }

    /// The paths to search on a host with these users.
    pub fn patterns(&self, users: &[User]) -> Result<Vec<Pattern>, PatternError> {
        self.expand_all(&self.paths, users)
    }

    /// The paths whose content is left out.
    pub fn exclusions(&self, users: &[User]) -> Result<Vec<Pattern>, PatternError> {
        self.expand_all(&self.exclude, users)
    }

    /// The paths one of which a match must be at besides, where there are any.
    pub fn filter_patterns(&self, users: &[User]) -> Result<Vec<Pattern>, PatternError> {
        self.expand_all(&self.only.paths, users)
    }

    fn every_path(&self) -> impl Iterator<Item = &String> {
        self.paths.iter().chain(&self.exclude).chain(&self.only.paths)
    }

    fn expand_all(&self, paths: &[String], users: &[User]) -> Result<Vec<Pattern>, PatternError> {
        let chosen: Vec<User> =
            users.iter().filter(|user| user.login || !self.only.login_users).cloned().collect();
        let expanded = paths.iter().map(|path| pattern::expand(path, &chosen, self.default_depth));
        Ok(expanded.collect::<Result<Vec<_>, _>>()?.concat())
    }
}
