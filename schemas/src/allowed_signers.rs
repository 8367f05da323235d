//! Owns OpenSSH's `allowed_signers` file: whose key may sign for what, and when; refuses a file with one bad line.
//!
//! `ssh-keygen -Y verify` skips a line it cannot read. Here such a line refuses the whole file: a typing error
//! in a trust file must not quietly turn a colleague into a stranger.

use chrono::NaiveDate;

use crate::ssh_key::PublicKey;
use crate::time::UtcTime;

pub use crate::revoked_keys::RevokedKeys;

/// Longest single pattern, in bytes: ssh-keygen lets longer ones match nothing, here they are refused.
const MAX_PATTERN_BYTES: usize = 1022;

/// Why a trust file is refused: its line, counted from 1, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TrustFileError {
    /// The line, counted from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// What is wrong there, a lower-case fragment.
    pub reason: String,
}

/// What an `allowed_signers` file says about a key, for one namespace and one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A line admits the key for this namespace at this time.
    Good {
        /// The principals of that line, as written there.
        principal: String,
    },
    /// No line holds the key.
    UnknownKey,
    /// A line holds the key, but for other namespaces.
    WrongNamespace {
        /// The principals of that line, as written there.
        principal: String,
        /// The namespaces it is for, as written there.
        allowed: String,
    },
    /// A line holds the key for this namespace, from later on.
    NotYetValid {
        /// The principals of that line, as written there.
        principal: String,
        /// The first second in which the key may have signed.
        since: UtcTime,
    },
    /// A line holds the key for this namespace, until earlier.
    Expired {
        /// The principals of that line, as written there.
        principal: String,
        /// The last second in which the key may have signed.
        until: UtcTime,
    },
}

/// A read `allowed_signers` file (ssh-keygen(1), ALLOWED SIGNERS).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    principals: String,
    options: Options,
    key: PublicKey,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    role: Role,
    namespaces: Option<String>,
    valid_after: Option<UtcTime>,
    valid_before: Option<UtcTime>,
}

/// Whose signatures a line admits: those of the key, or those by certificates the key has issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Signer,
    CertificateAuthority,
}

impl AllowedSigners {
    /// Reads a file: lines `principals [options] type base64 [comment]`, `#` comments and blank lines.
    ///
    /// Stricter than ssh-keygen where that only hides mistakes: every line must be good, also by its key
    /// ([`PublicKey::from_openssh_line`]); quotes enclose the whole of the principals. A time without `Z` is
    /// UTC here, while OpenSSH takes the local time of the machine: write the `Z`.
    pub fn parse(file: &[u8]) -> Result<Self, TrustFileError> {
        let mut entries = Vec::new();
        for (line, text) in lines(file) {
            let entry = text.and_then(|text| parse_line(&text));
            entries.push(entry.map_err(|reason| TrustFileError { line, reason })?);
        }
        Ok(Self { entries })
    }

    /// How many lines name a key, those of certificate authorities included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no line names a key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The standing of `key` for `namespace` at `at`, whoever holds it.
    ///
    /// Of several lines with the key the first good one decides; with none good, the one that came closest.
    /// Lines with `cert-authority` never match: they admit certificates, and this program reads only plain keys.
    pub fn lookup(&self, key: &PublicKey, namespace: &str, at: UtcTime) -> Standing {
        self.standing(|_| true, key, namespace, at)
    }

    /// The standing of `key` as `ssh-keygen -Y verify -I principal` sees it: by the lines that match `principal`.
    pub fn lookup_as(&self, principal: &str, key: &PublicKey, namespace: &str, at: UtcTime) -> Standing {
        self.standing(|patterns| is_listed(principal, patterns), key, namespace, at)
    }

    fn standing(
        &self,
        is_meant: impl Fn(&str) -> bool,
        key: &PublicKey,
        namespace: &str,
        at: UtcTime,
    ) -> Standing {
        let mut best = Standing::UnknownKey;
        for entry in &self.entries {
            let matches =
                entry.options.role == Role::Signer && entry.key == *key && is_meant(&entry.principals);
            if !matches {
                continue;
            }
            let standing = entry.standing(namespace, at);
            if closeness(&standing) > closeness(&best) {
                best = standing;
            }
        }
        best
    }
}

impl Entry {
    fn standing(&self, namespace: &str, at: UtcTime) -> Standing {
        let principal = self.principals.clone();
        let options = &self.options;
        if let Some(allowed) = options.namespaces.as_ref().filter(|allowed| !is_listed(namespace, allowed)) {
            return Standing::WrongNamespace { principal, allowed: allowed.clone() };
        }
        // In whole seconds, both ends included, as ssh-keygen compares them.
        let seconds = at.unix_seconds();
        match (options.valid_after, options.valid_before) {
            (Some(since), _) if seconds < since.unix_seconds() => Standing::NotYetValid { principal, since },
            (_, Some(until)) if seconds > until.unix_seconds() => Standing::Expired { principal, until },
            _ => Standing::Good { principal },
        }
    }
}

fn closeness(standing: &Standing) -> u8 {
    match standing {
        Standing::UnknownKey => 0,
        Standing::WrongNamespace { .. } => 1,
        Standing::NotYetValid { .. } | Standing::Expired { .. } => 2,
        Standing::Good { .. } => 3,
    }
}

/// The numbered lines of a trust file that are neither blank nor comments, without line ending and outer spaces.
pub(crate) fn lines(file: &[u8]) -> impl Iterator<Item = (usize, Result<String, String>)> {
    file.split(|byte| *byte == b'\n').enumerate().filter_map(|(index, line)| {
        let text = match str::from_utf8(line) {
            Ok(text) => text.trim_matches([' ', '\t', '\r']),
            Err(_) => return Some((index + 1, Err("not text in UTF-8".to_owned()))),
        };
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        // A byte order mark would silently become part of the first name.
        if text.contains(|character: char| {
            character.is_control() && character != '\t' || character == '\u{feff}'
        }) {
            return Some((index + 1, Err("holds a control character or byte order mark".to_owned())));
        }
        Some((index + 1, Ok(text.to_owned())))
    })
}

fn parse_line(line: &str) -> Result<Entry, String> {
    let (principals, rest) = take_principals(line)?;
    check_patterns(principals).map_err(|reason| format!("principals: {reason}"))?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (word, after) = take_word(rest)?;
    let (options, key) = if is_key_type(word) {
        (Options::default(), rest)
    } else {
        (parse_options(word)?, after.trim_start_matches([' ', '\t']))
    };
    if key.is_empty() {
        return Err("no key".to_owned());
    }
    let key = PublicKey::from_openssh_line(key).map_err(|error| error.to_string())?;
    Ok(Entry { principals: principals.to_owned(), options, key })
}

/// Whether a word is the type of a key and not options; any type, so that the error names the type.
fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix))
}

/// The first field, which may be enclosed in quotes as a whole, and what follows it.
fn take_principals(line: &str) -> Result<(&str, &str), String> {
    let (principals, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("principals have no closing quote")?,
        None => line.split_at(line.find([' ', '\t']).unwrap_or(line.len())),
    };
    if principals.contains('"') || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return Err("a quote inside the principals".to_owned());
    }
    Ok((principals, rest))
}

/// The first word, in which quoted parts may hold spaces, and what follows it.
fn take_word(text: &str) -> Result<(&str, &str), String> {
    let mut quoted = false;
    let mut escaped = false;
    for (position, character) in text.char_indices() {
        match character {
            '"' if escaped => escaped = false,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok(text.split_at(position)),
            _ => escaped = character == '\\',
        }
    }
    if quoted { Err("options have no closing quote".to_owned()) } else { Ok((text, "")) }
}

fn parse_options(text: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = text;
    loop {
        rest = parse_option(rest, &mut options)?;
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => break,
            None => return Err("options are not separated by commas".to_owned()),
        }
    }
    if let (Some(after), Some(before)) = (options.valid_after, options.valid_before)
        && before <= after
    {
        return Err("valid-before is not later than valid-after".to_owned());
    }
    Ok(options)
}

/// Reads one option off the front and gives back what follows; names are not case-sensitive in OpenSSH.
fn parse_option<'a>(text: &'a str, options: &mut Options) -> Result<&'a str, String> {
    let end = text.find(['=', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let once = |is_set: bool| if is_set { Err(format!("{name:?} stands twice")) } else { Ok(()) };
    match name.to_ascii_lowercase().as_str() {
        "cert-authority" => {
            options.role = Role::CertificateAuthority;
            Ok(rest)
        }
        "namespaces" => {
            once(options.namespaces.is_some())?;
            let (patterns, rest) = take_quoted(rest)?;
            check_patterns(&patterns).map_err(|reason| format!("namespaces: {reason}"))?;
            options.namespaces = Some(patterns);
            Ok(rest)
        }
        "valid-after" => {
            once(options.valid_after.is_some())?;
            let (time, rest) = take_quoted(rest)?;
            options.valid_after =
                Some(parse_time(&time).ok_or_else(|| format!("valid-after: {TIME_FORMS}"))?);
            Ok(rest)
        }
        "valid-before" => {
            once(options.valid_before.is_some())?;
            let (time, rest) = take_quoted(rest)?;
            options.valid_before =
                Some(parse_time(&time).ok_or_else(|| format!("valid-before: {TIME_FORMS}"))?);
            Ok(rest)
        }
        _ => Err(format!("unknown option or key type {name:?}")),
    }
}

const TIME_FORMS: &str = "a time is written \"YYYYMMDD[HHMM[SS]]Z\"";

/// The value of `="value"`, in which `\"` stands for a quote, and what follows it.
fn take_quoted(text: &str) -> Result<(String, &str), String> {
    let text = text.strip_prefix("=\"").ok_or("option has no value in quotes")?;
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '"' => return Ok((value, rest.as_str())),
            '\\' if rest.as_str().starts_with('"') => {
                rest.next();
                value.push('"');
            }
            other => value.push(other),
        }
    }
    Err("option has no closing quote".to_owned())
}

/// `YYYYMMDD[HHMM[SS]]` with an optional `Z` or `UTC` after it; later than 1970-01-01, as in OpenSSH.
fn parse_time(text: &str) -> Option<UtcTime> {
    let is_zone = |zone: &str| text.len() > zone.len() && text.to_ascii_uppercase().ends_with(zone);
    let zone = ["Z", "UTC"].into_iter().find(|zone| is_zone(zone)).map_or(0, str::len);
    let digits = text.get(..text.len().checked_sub(zone)?)?;
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<u32>().ok());
    let date = NaiveDate::from_ymd_opt(i32::try_from(part(0, 4)?).ok()?, part(4, 6)?, part(6, 8)?)?;
    let time = date.and_hms_opt(part(8, 10)?, part(10, 12)?, part(12, 14)?)?;
    let seconds = time.and_utc().timestamp();
    if seconds > 0 { UtcTime::from_unix(seconds, 0) } else { None }
}

fn check_patterns(patterns: &str) -> Result<(), &'static str> {
    if patterns.is_empty() {
        return Err("empty");
    }
    if patterns.split(',').any(|pattern| pattern.len() > MAX_PATTERN_BYTES) {
        return Err("a pattern is too long");
    }
    Ok(())
}

/// Whether a comma-separated list of patterns admits `name`: some pattern matches, and none with `!` does.
///
/// ssh_config(5), PATTERNS; upper and lower case differ.
fn is_listed(name: &str, patterns: &str) -> bool {
    let mut is_admitted = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(excluded) if is_match(name.as_bytes(), excluded.as_bytes()) => return false,
            Some(_) => {}
            None => is_admitted |= is_match(name.as_bytes(), pattern.as_bytes()),
        }
    }
    is_admitted
}

/// Whether `pattern` matches all of `name`: `*` is any bytes, `?` any one byte.
///
/// At most one step for each byte of the name and byte of the pattern, whatever the pattern.
fn is_match(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut wanted) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(at) {
        match pattern.get(wanted) {
            Some(b'*') => {
                wanted += 1;
                star = Some((wanted, at));
            }
            Some(one) if *one == b'?' || one == byte => {
                at += 1;
                wanted += 1;
            }
            _ => {
                // Only the latest star needs to be widened: what an earlier one took can be given to it.
                let Some((after_star, taken)) = star else { return false };
                star = Some((after_star, taken + 1));
                (at, wanted) = (taken + 1, after_star);
            }
        }
    }
    pattern.get(wanted..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}
