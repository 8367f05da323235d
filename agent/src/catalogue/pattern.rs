//! Owns path patterns: one component at a time, so that a search can go down open folders; refuses relative paths,
//! unknown variables and globs that do not parse.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher};

use crate::source::User;

/// A path to search, component by component.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The text it was parsed from, raw bytes: a home folder's name comes from the host.
    pub text: Vec<u8>,
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
    /// Any number of folders, at most so many where a number stands; as the last component everything below.
    AnyDepth(Option<u32>),
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
    #[error("variable {0} is not known; %%users.homedir%% and %%users.username%% are")]
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
const HOME: &str = "%%users.homedir%%";
/// Stands for every user's login name.
const NAME: &str = "%%users.username%%";

/// How deep a `**` goes right below a home folder that is `/` itself.
const ROOT_AS_HOME: u32 = 2;

/// Whether a path stands for one of every user.
pub(super) fn names_users(path: &str) -> bool {
    path.contains(HOME) || path.contains(NAME)
}

/// Parses a path; where it stands for users' folders, one pattern for each of them. `depth` is how deep a `**` without a
/// number goes.
pub(super) fn expand(path: &str, users: &[User], depth: Option<u32>) -> Result<Vec<Pattern>, PatternError> {
    let rest = path.replace(HOME, "").replace(NAME, "");
    if let Some(from) = rest.find("%%") {
        let variable = rest.get(from..).unwrap_or_default();
        let end = variable.get(2..).and_then(|rest| rest.find("%%")).map_or(variable.len(), |end| end + 4);
        return Err(PatternError::Variable(variable.get(..end).unwrap_or_default().to_owned()));
    }
    if !names_users(path) {
        return Ok(vec![Pattern::parse(path, depth)?]);
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    let mut known = BTreeSet::new();
    for user in users {
        let named = match std::str::from_utf8(&user.name) {
            Ok(name) => path.replace(NAME, &globset::escape(name)),
            Err(_) if path.contains(NAME) => continue,
            Err(_) => path.to_owned(),
        };
        let pattern = match named.strip_prefix(HOME) {
            Some(below) => Pattern::below_home(&user.home, below, depth)?,
            None if named.contains(HOME) => return Err(PatternError::Relative),
            None => Pattern::parse(&named, depth)?,
        };
        // Several users can share a home.
        if known.insert(pattern.text.clone()) {
            patterns.push(pattern);
        }
    }
    Ok(patterns)
}

impl Pattern {
    /// Parses an absolute path pattern.
    pub fn parse(text: &str, depth: Option<u32>) -> Result<Self, PatternError> {
        let below = text.strip_prefix('/').ok_or(PatternError::Relative)?;
        let parse = |component| Component::parse(component, depth);
        let components = below.split('/').filter(|component| !component.is_empty()).map(parse);
        Ok(Self { text: text.as_bytes().to_vec(), components: components.collect::<Result<_, _>>()? })
    }

    /// A pattern of exactly one path, raw bytes, whose `.` and `..` are resolved by their text.
    pub fn of_path(path: &[u8]) -> Self {
        let mut components: Vec<Component> = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                // No link is followed, so that `..` may be resolved by its text.
                b".." => drop(components.pop()),
                name => components.push(Component::Literal(name.to_vec())),
            }
        }
        Self { text: path.to_vec(), components }
    }

    /// A pattern below a home folder. The folder's own name comes from the host and is never read as a pattern.
    fn below_home(home: &[u8], below: &str, depth: Option<u32>) -> Result<Self, PatternError> {
        let mut pattern = Self::of_path(home);
        if !below.is_empty() {
            let mut components = Self::parse(below, depth)?.components;
            // Service accounts live in `/`, and everything below that is nobody's home.
            if pattern.components.is_empty()
                && let Some(Component::AnyDepth(most)) = components.first_mut()
            {
                *most = Some(most.map_or(ROOT_AS_HOME, |most| most.min(ROOT_AS_HOME)));
            }
            pattern.components.extend(components);
        }
        pattern.text = [home.strip_suffix(b"/").unwrap_or(home), below.as_bytes()].concat();
        Ok(pattern)
    }

    /// Whether an absolute path, raw bytes, matches as a whole.
    pub fn matches(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        matches_all(&self.components, &names)
    }
}

/// Whether the names match as a whole. It goes by how many names the components so far can have taken, so that its time
/// is names times components however many `**` there are.
fn matches_all(components: &[Component], names: &[&[u8]]) -> bool {
    let is_fixed = |component: &&Component| !matches!(component, Component::AnyDepth(_));
    let (fixed, components) = components.split_at(components.iter().take_while(is_fixed).count());
    let Some((head, names)) = names.split_at_checked(fixed.len()) else { return false };
    if !fixed.iter().zip(head).all(|(component, name)| component.matches(name)) {
        return false;
    }
    // Whether so many names can have been taken.
    let mut taken = vec![false; names.len() + 1];
    if let Some(first) = taken.first_mut() {
        *first = true;
    }
    for (at, component) in components.iter().enumerate() {
        let is_last = at + 1 == components.len();
        // The last place where a `**` can begin, from which it reaches furthest.
        let mut begin = None;
        // The name that is next, where the one before it was reached.
        let mut next = None;
        for (count, reached) in taken.iter_mut().enumerate() {
            let before = next;
            next = reached.then(|| names.get(count)).flatten();
            *reached = match component {
                Component::AnyDepth(most) => {
                    // As the last component it stands for at least one name: the folder itself is not below itself.
                    begin = match (is_last, *reached, before) {
                        (false, true, _) => Some(count),
                        (true, _, Some(_)) => count.checked_sub(1),
                        _ => begin,
                    };
                    begin.is_some_and(|begin| most.is_none_or(|most| count - begin <= most as usize))
                }
                component => before.is_some_and(|name| component.matches(name)),
            };
        }
        if !taken.contains(&true) {
            return false;
        }
    }
    taken.last().copied().unwrap_or_default()
}

impl Component {
    fn parse(text: &str, depth: Option<u32>) -> Result<Self, PatternError> {
        match text {
            "." | ".." => Err(PatternError::Dots),
            "**" => Ok(Self::AnyDepth(depth)),
            _ => match text.strip_prefix("**").map(str::parse) {
                Some(Ok(most @ 1..)) => Ok(Self::AnyDepth(Some(most))),
                // It would be read as a `*`, which is not what was meant.
                _ if text.contains("**") => Err(PatternError::Glob {
                    component: text.to_owned(),
                    reason: "`**` stands alone in its component, or with a number from 1 behind it"
                        .to_owned(),
                }),
                _ => Self::of_name(text),
            },
        }
    }

    /// A pattern of one name.
    pub fn of_name(text: &str) -> Result<Self, PatternError> {
        if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Ok(Self::Literal(text.as_bytes().to_vec()));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|error| PatternError::Glob {
            component: text.to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    /// Whether one name matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        match self {
            Self::Literal(literal) => literal == name,
            Self::Glob(glob) => glob.is_match(std::ffi::OsStr::from_bytes(name)),
            Self::AnyDepth(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &[u8], home: &[u8]) -> User {
        User { name: name.to_vec(), home: home.to_vec(), login: true }
    }

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
            ("/a/**1/b", "/a/x/y/b", false),
            ("/a/**2/b", "/a/x/y/b", true),
            ("/a/**2", "/a/x/y", true),
            ("/a/**2", "/a/x/y/z", false),
            ("/a/?", "/a/\u{e9}", false),
        ] {
            let parsed = Pattern::parse(pattern, None).expect(pattern);
            assert_eq!(parsed.matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn many_depths_in_one_pattern_are_no_search_without_end() {
        let pattern = Pattern::parse(&"/**/a".repeat(40), None).expect("good");
        assert!(!pattern.matches("/a/b".repeat(2_000).as_bytes()));
        assert!(pattern.matches("/b/a".repeat(2_000).as_bytes()));
    }

    #[test]
    fn a_depth_of_the_definition_bounds_what_has_no_number() {
        let bounded = Pattern::parse("/a/**", Some(3)).expect("good");
        assert!(bounded.matches(b"/a/1/2/3") && !bounded.matches(b"/a/1/2/3/4"));
    }

    #[test]
    fn two_stars_among_other_letters_are_refused() {
        for text in ["/a/**0", "/a/b**", "/a/**b/c", "/a/***", "/a/**-1"] {
            assert!(matches!(Pattern::parse(text, None), Err(PatternError::Glob { .. })), "{text}");
        }
    }

    #[test]
    fn a_home_that_is_the_root_is_not_searched_whole() {
        let users = [user(b"daemon", b"/"), user(b"u", b"/home/u")];
        let patterns = expand("%%users.homedir%%/**", &users, None).expect("good");
        assert!(patterns[0].matches(b"/a/b") && !patterns[0].matches(b"/a/b/c"));
        assert!(patterns[1].matches(b"/home/u/a/b/c/d"));
    }

    #[test]
    fn names_that_are_not_text_match() {
        let pattern = Pattern::parse("/a/b*", None).expect("good");
        assert!(pattern.matches(b"/a/b\xff\xfe"));
    }

    #[test]
    fn a_home_folder_with_glob_characters_is_taken_literally() {
        let homes: [&[u8]; 5] = [b"/home/a*", b"/tmp/./a/../b\\", b"/home/[x", b"/", b"/home/\xff"];
        let users: Vec<User> = homes.iter().map(|home| user(b"u", home)).collect();
        let patterns = expand("%%users.homedir%%/.profile", &users, None).expect("whatever a host names");
        let paths: [&[u8]; 5] = [
            b"/home/a*/.profile",
            b"/tmp/b\\/.profile",
            b"/home/[x/.profile",
            b"/.profile",
            b"/home/\xff/.profile",
        ];
        for (pattern, path) in patterns.iter().zip(paths) {
            assert!(pattern.matches(path), "{:?}", pattern.text);
        }
        assert!(!patterns[0].matches(b"/home/ab/.profile"));
    }

    #[test]
    fn a_user_name_with_glob_characters_is_taken_literally() {
        let users = [user(b"a*", b"/home/a"), user(b"b", b"/home/b")];
        let patterns = expand("/var/mail/%%users.username%%", &users, None).expect("good");
        assert!(patterns[0].matches(b"/var/mail/a*") && !patterns[0].matches(b"/var/mail/ab"));
        assert!(patterns[1].matches(b"/var/mail/b"));
    }
}
