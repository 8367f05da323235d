//! Owns what UAC would give to find(1), said as paths, exclusions and filters; refuses what would match otherwise here.

use holdfast_schemas::item::ItemKind;

use super::lines::Fields;
use super::words::{self, Word};
use crate::catalogue::{Definition, Filter};

/// Most `*` of one path pattern: each can be within a component or reach over several.
const MOST_STARS: usize = 5;

/// Why a source stays behind, or why its file is refused.
pub(super) enum Obstacle {
    /// The source stays behind.
    LeftOut(String),
    /// The file is refused.
    Malformed(String),
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

/// Fills in what is to be looked for.
pub(super) fn fill(source: &Fields, definition: &mut Definition) -> Result<(), Obstacle> {
    let depth = match source.number("max_depth")? {
        // UAC gives find no depth then.
        None | Some(0) => "**".to_owned(),
        Some(depth) => format!("**{depth}"),
    };
    for word in words::split(source.needed("path")?).map_err(Obstacle::LeftOut)? {
        let path = path(&word).map_err(Obstacle::LeftOut)?;
        if !path.starts_with('/') && !path.starts_with("%%users.homedir%%") {
            return Err(Obstacle::Malformed(source.wrong("path", "a list of absolute paths")));
        }
        // It stands for the folder, or the file, and for everything below.
        definition.paths.push(format!("{}/{depth}", path.trim_end_matches('/')));
    }
    let mut exclude = Vec::new();
    for pattern in source.list("exclude_path_pattern")? {
        exclude.extend(whole_path(&pattern, Reach::Pruned).map_err(Obstacle::LeftOut)?);
    }
    for name in source.list("exclude_name_pattern")? {
        exclude.push(format!("/**/{}", name_glob(&name).map_err(Obstacle::LeftOut)?));
    }
    if !exclude.is_empty() {
        definition.exclude_why = Some("the UAC artifact leaves it out".to_owned());
        definition.exclude = exclude;
    }
    definition.only = filter(source)?;
    Ok(())
}

fn filter(source: &Fields) -> Result<Filter, Obstacle> {
    let mut filter = Filter {
        // find's -size -Nc and +Nc are less and more than N.
        max_size: source.size("max_file_size")?.map(|size| size.saturating_sub(1)),
        min_size: source.size("min_file_size")?.map(|size| size.saturating_add(1)),
        unknown_user: source.flag("no_user")?,
        unknown_group: source.flag("no_group")?,
        login_users: source.flag("exclude_nologin_users")?,
        ..Filter::default()
    };
    for name in source.list("name_pattern")? {
        filter.names.push(name_glob(&name).map_err(Obstacle::LeftOut)?);
    }
    for pattern in source.list("path_pattern")? {
        filter.paths.extend(whole_path(&pattern, Reach::Below).map_err(Obstacle::LeftOut)?);
    }
    for kind in source.list("file_type")? {
        filter.kinds.push(match kind.as_str() {
            "b" => ItemKind::BlockDevice,
            "c" => ItemKind::CharDevice,
            "d" => ItemKind::Directory,
            "p" => ItemKind::Fifo,
            "f" => ItemKind::File,
            "l" => ItemKind::Symlink,
            "s" => ItemKind::Socket,
            _ => {
                return Err(Obstacle::Malformed(
                    source.wrong("file_type", "a list of b, c, d, p, f, l and s"),
                ));
            }
        });
    }
    permissions(source, &mut filter)?;
    Ok(filter)
}

/// One of the modes of a list is enough for find; all bits of `-N` must be set, one of `/N`, and `N` is all there is.
fn permissions(source: &Fields, filter: &mut Filter) -> Result<(), Obstacle> {
    let modes = source.list("permissions")?;
    let wrong = || Obstacle::Malformed(source.wrong("permissions", "a list of modes as find -perm has them"));
    let bits = |text: &str| mode(text).ok_or_else(wrong);
    match modes.as_slice() {
        [] => {}
        [one] => match (one.strip_prefix('-'), one.strip_prefix('/')) {
            (Some(all), _) => filter.mode_all = Some(bits(all)?),
            (_, Some(any)) => filter.mode_any = Some(bits(any)?),
            _ => filter.mode_is = Some(bits(one)?),
        },
        several => {
            let mut any = 0;
            for text in several {
                let (all, some) = (text.strip_prefix('-'), text.strip_prefix('/'));
                let bits = bits(all.or(some).unwrap_or(text))?;
                // Either set of several bits, or exactly one mode or another, is more than a filter here can say.
                if some.is_none() && (all.is_none() || bits.count_ones() != 1) {
                    let reason = "permissions that are a choice between sets of bits";
                    return Err(Obstacle::LeftOut(reason.to_owned()));
                }
                any |= bits;
            }
            filter.mode_any = Some(any);
        }
    }
    Ok(())
}

/// A mode, octal or symbolic (`u+s,g=w`), as bits.
fn mode(text: &str) -> Option<u32> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    }
    let mut bits = 0;
    for clause in text.split(',') {
        let (who, what) = clause.split_once(['+', '='])?;
        let who = if who.is_empty() { "a" } else { who };
        for class in who.chars() {
            for permission in what.chars() {
                bits |= match (class, permission) {
                    ('u', 'r') => 0o400,
                    ('u', 'w') => 0o200,
                    ('u', 'x') => 0o100,
                    ('u', 's') => 0o4000,
                    ('g', 'r') => 0o40,
                    ('g', 'w') => 0o20,
                    ('g', 'x') => 0o10,
                    ('g', 's') => 0o2000,
                    ('o', 'r') => 0o4,
                    ('o', 'w') => 0o2,
                    ('o', 'x') => 0o1,
                    ('a', 'r') => 0o444,
                    ('a', 'w') => 0o222,
                    ('a', 'x') => 0o111,
                    ('a', 's') => 0o6000,
                    ('o' | 'a', 't') => 0o1000,
                    _ => return None,
                };
            }
        }
    }
    Some(bits)
}

/// A word of `path` as a path of ours.
fn path(word: &Word) -> Result<String, String> {
    let mut path = String::new();
    for (character, literal) in word {
        match character {
            '*' if !literal && path.ends_with('*') => {}
            '*' | '?' | '[' | ']' | '{' | '}' if *literal => {
                path.push_str(&globset::escape(&character.to_string()))
            }
            '\\' => return Err("a backslash in a path".to_owned()),
            character => path.push(*character),
        }
    }
    let path = path.replace("%user_home%", "%%users.homedir%%").replace("%user%", "%%users.username%%");
    let path = path.replace("%mount_point%/", "/").replace("%mount_point%", "/").replace("//", "/");
    let rest = path.replace("%%users.homedir%%", "").replace("%%users.username%%", "");
    match super::variable(&rest) {
        Some(name) => Err(super::meaningless(&name)),
        None => Ok(path),
    }
}

/// A name pattern of find in our form: braces are letters there.
fn name_glob(name: &str) -> Result<String, String> {
    if name.contains("[:") || name.contains("[.") || name.contains("[=") {
        return Err("a character class of the host's language".to_owned());
    }
    if name.contains('/') {
        return Err("a name with `/`, which matches nothing".to_owned());
    }
    Ok(name.replace('{', "[{]").replace('}', "[}]"))
}

/// What a path pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// What matches is not entered, so that what lies below needs no match.
    Pruned,
    /// Everything that matches.
    Below,
}

/// A whole-path pattern of find as paths of ours: a `*` reaches over `/` there, here it does not, so that each one is said
/// both ways.
fn whole_path(pattern: &str, reach: Reach) -> Result<Vec<String>, String> {
    if pattern.contains('%') {
        return Err("a variable in a path pattern".to_owned());
    }
    if pattern.contains(['[', '?', '\\']) {
        // They can stand for `/` as well.
        return Err("`?`, `[` or a backslash in a path pattern".to_owned());
    }
    let mut text = pattern.replace('{', "[{]").replace('}', "[}]");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    let pieces: Vec<&str> = text.split('*').collect();
    if pieces.len() > MOST_STARS + 1 {
        return Err("a path pattern with more than five `*`".to_owned());
    }
    let mut paths = vec![String::new()];
    for (number, piece) in pieces.iter().enumerate() {
        let (first, last) = (number == 0, number + 1 == pieces.len());
        let mut next = Vec::new();
        for path in &paths {
            if first {
                next.push((*piece).to_owned());
            } else if number == 1 && pieces.first() == Some(&"") {
                // What it stands for begins with the path's first `/`.
                let piece = piece.strip_prefix('/').map_or_else(|| format!("*{piece}"), str::to_owned);
                next.push(format!("/**/{piece}"));
            } else {
                next.push(format!("{path}*{piece}"));
                let pruned = last && piece.is_empty() && reach == Reach::Pruned;
                if !pruned {
                    next.push(format!("{path}*/**/*{piece}"));
                }
            }
        }
        paths = next;
    }
    for path in &mut paths {
        if !path.starts_with('/') {
            return Err("a path pattern that no absolute path matches".to_owned());
        }
        // A `*` alone in the middle is one component at least; `/` alone in the end is a folder's own.
        while path.len() > 1 && path.ends_with('/') {
            path.pop();
        }
    }
    paths.dedup();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Pattern;

    /// What fnmatch(3) without flags says, as find does.
    fn fnmatch(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path) {
            (None, path) => path.is_empty(),
            (Some((b'*', rest)), path) => (0..=path.len()).any(|skipped| fnmatch(rest, &path[skipped..])),
            (Some((byte, rest)), [first, more @ ..]) => byte == first && fnmatch(rest, more),
            (Some(_), []) => false,
        }
    }

    #[test]
    fn a_path_pattern_matches_what_find_matches() {
        let paths = [
            "/a",
            "/a/logs",
            "/logs/x",
            "/a/logs/x",
            "/a/b/logs/x/y",
            "/a/logsx/y",
            "/a/xlogs/y",
            "/proc",
            "/proc/1/fd",
            "/procx",
            "/a/Cache",
            "/a/Cache/f",
            "/a/b/c/Local Storage/leveldb/000.ldb",
            "/x/logs/y/logs",
            "/a/b.log",
            "/a/b.log/c",
            "/export/home/u/foo",
            "/export/foo",
            "/export/u/foo/bar",
        ];
        for pattern in [
            "*/logs/*",
            "*/Cache/*",
            "/proc",
            "/proc*",
            "*.log",
            "*logs*",
            "/export/*/foo",
            "/a*",
            "*",
            "*/Local Storage/leveldb/*",
            "/a/*/y",
            "*/logs/*/logs",
            "/*",
        ] {
            let ours = whole_path(pattern, Reach::Below).unwrap();
            let ours: Vec<Pattern> =
                ours.iter().map(|path| Pattern::parse(path, None).expect(path)).collect();
            for path in paths {
                let expected = fnmatch(pattern.as_bytes(), path.as_bytes());
                let found = ours.iter().any(|ours| ours.matches(path.as_bytes()));
                assert_eq!(found, expected, "{pattern} {path}");
            }
        }
    }

    #[test]
    fn modes_are_read_as_find_reads_them() {
        for (text, expected) in [
            ("4000", Some(0o4000)),
            ("u+s", Some(0o4000)),
            ("u+s,g+s", Some(0o6000)),
            ("o=w", Some(0o2)),
            ("+x", Some(0o111)),
            ("8", None),
            ("17777", None),
            ("u+q", None),
            ("", None),
        ] {
            assert_eq!(mode(text), expected, "{text}");
        }
    }
}
