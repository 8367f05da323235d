//! Owns path patterns: one component at a time, so that a search can go down open folders; refuses relative paths,
//! unknown variables and globs that do not parse.

use globset::{GlobBuilder, GlobMatcher};

/// A path to search, component by component.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The text it was parsed from.
    pub text: String,
    /// Its components.
    pub components: Vec<Component>,
}

/// One component of a pattern.
#[derive(Debug, Clone)]
pub enum Component {
    /// Exactly this name.
    Literal(Vec<u8>),
    /// Names that match.
    Glob(GlobMatcher),
    /// Any number of folders; as the last component everything below.
    AnyDepth,
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not absolute.
    #[error("path is not absolute")]
    Relative,
    /// A `.` or `..` component.
    #[error("path has a `.` or `..` component")]
    Dots,
    /// A variable this program does not know.
    #[error("variable {0} is not known; %%users.homedir%% is")]
    Variable(String),
    /// A glob that does not parse.
    #[error("component {component:?} is not a valid glob: {reason}")]
    Glob {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
}

/// Stands for every home folder.
pub(super) const HOME: &str = "%%users.homedir%%";

/// Parses a path; where it stands for home folders, one pattern for each of them.
pub(super) fn expand(path: &str, homes: &[&str]) -> Result<Vec<Pattern>, PatternError> {
    let rest = path.replace(HOME, "");
    if let Some(from) = rest.find("%%") {
        let variable = rest.get(from..).unwrap_or_default();
        let end = variable.get(2..).and_then(|rest| rest.find("%%")).map_or(variable.len(), |end| end + 4);
        return Err(PatternError::Variable(variable.get(..end).unwrap_or_default().to_owned()));
    }
    match path.strip_prefix(HOME) {
        Some(below) => homes.iter().map(|home| Pattern::below_home(home, below)).collect(),
        None if path.contains(HOME) => Err(PatternError::Relative),
        None => Ok(vec![Pattern::parse(path)?]),
    }
}

impl Pattern {
    /// Parses an absolute path pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let below = text.strip_prefix('/').ok_or(PatternError::Relative)?;
        let components = below.split('/').filter(|component| !component.is_empty()).map(Component::parse);
        Ok(Self { text: text.to_owned(), components: components.collect::<Result<_, _>>()? })
    }

    /// A pattern below a home folder. The folder's own name comes from the host and is never read as a pattern.
    fn below_home(home: &str, below: &str) -> Result<Self, PatternError> {
        let mut components = Vec::new();
        for name in home.split('/') {
            match name {
                "" | "." => {}
                // No link is followed, so that `..` may be resolved by its text.
                ".." => drop(components.pop()),
                name => components.push(Component::Literal(name.as_bytes().to_vec())),
            }
        }
        components.extend(Self::parse(below)?.components);
        Ok(Self { text: format!("{}{below}", home.trim_end_matches('/')), components })
    }

    /// Whether an absolute path, raw bytes, matches as a whole.
    pub fn matches(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        matches_from(&self.components, &names)
    }
}

fn matches_from(components: &[Component], names: &[&[u8]]) -> bool {
    match (components, names) {
        ([], []) => true,
        // As the last component `**` stands for at least one name: the folder itself is not below itself.
        ([Component::AnyDepth], names) => !names.is_empty(),
        ([Component::AnyDepth, rest @ ..], names) => {
            (0..=names.len()).any(|skipped| matches_from(rest, names.get(skipped..).unwrap_or_default()))
        }
        ([component, rest @ ..], [name, more @ ..]) => component.matches(name) && matches_from(rest, more),
        _ => false,
    }
}

impl Component {
    fn parse(text: &str) -> Result<Self, PatternError> {
        match text {
            "." | ".." => Err(PatternError::Dots),
            "**" => Ok(Self::AnyDepth),
            _ if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) => {
                Ok(Self::Literal(text.as_bytes().to_vec()))
            }
            _ => {
                let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
                let glob = glob.map_err(|error| PatternError::Glob {
                    component: text.to_owned(),
                    reason: error.kind().to_string(),
                })?;
                Ok(Self::Glob(glob.compile_matcher()))
            }
        }
    }

    /// Whether one name matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        match self {
            Self::Literal(literal) => literal == name,
            Self::Glob(glob) => glob.is_match(std::ffi::OsStr::from_bytes(name)),
            Self::AnyDepth => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("/etc/**", "/etc/ssh/sshd_config", true),
            ("/etc/**", "/etc", false),
            ("/etc/*", "/etc/ssh/sshd_config", false),
            ("/var/log/wtmp*", "/var/log/wtmp.1", true),
            ("/**/id_{rsa,dsa}", "/root/.ssh/id_dsa", true),
            ("/**/id_{rsa,dsa}", "/id_rsa", true),
            ("/**/id_{rsa,dsa}", "/root/.ssh/id_rsa.pub", false),
            ("/a/**/b", "/a/x/y/b", true),
            ("/a/?", "/a/\u{e9}", false),
        ] {
            let parsed = Pattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn names_that_are_not_text_match() {
        let pattern = Pattern::parse("/a/b*").expect("good");
        assert!(pattern.matches(b"/a/b\xff\xfe"));
    }

    #[test]
    fn a_home_folder_with_glob_characters_is_taken_literally() {
        let homes = ["/home/a*", "/tmp/./a/../b\\", "/home/[x", "/"];
        let patterns = expand("%%users.homedir%%/.profile", &homes).expect("whatever a host names");
        let paths: [&[u8]; 4] =
            [b"/home/a*/.profile", b"/tmp/b\\/.profile", b"/home/[x/.profile", b"/.profile"];
        for (pattern, path) in patterns.iter().zip(paths) {
            assert!(pattern.matches(path), "{}", pattern.text);
        }
        assert!(!patterns[0].matches(b"/home/ab/.profile"));
    }
}
