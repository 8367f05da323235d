//! Owns definitions of the ForensicArtifacts project, read as they are: each source becomes one part under the
//! definition's own name; refuses unknown keys, and reports what Linux does not have instead of dropping it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Definition, HostCommand, Platform, Take};

const HOME: &str = "%%users.homedir%%";
const NAME: &str = "%%users.username%%";

/// A definition as its project writes it (Format specification, "Artifact definition").
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifact {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    doc: String,
    sources: Vec<Source>,
    #[serde(default)]
    supported_os: Vec<System>,
    #[serde(default)]
    urls: Vec<String>,
    // Deprecated in 2022 and 2024; what they said no longer means anything.
    #[serde(default, rename = "conditions")]
    _conditions: Option<IgnoredAny>,
    #[serde(default, rename = "labels")]
    _labels: Option<IgnoredAny>,
    #[serde(default, rename = "provides")]
    _provides: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(rename = "type")]
    kind: Kind,
    attributes: Attributes,
    #[serde(default)]
    supported_os: Vec<System>,
    #[serde(default, rename = "conditions")]
    _conditions: Option<IgnoredAny>,
    #[serde(default, rename = "provides")]
    _provides: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    ArtifactGroup,
    Command,
    /// Deprecated; the same as a path.
    Directory,
    File,
    Path,
    RegistryKey,
    RegistryValue,
    Wmi,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Attributes {
    names: Option<Vec<String>>,
    cmd: Option<String>,
    args: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    separator: Option<String>,
    keys: Option<Vec<String>>,
    key_value_pairs: Option<Vec<KeyValue>>,
    query: Option<String>,
    base_object: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    key: String,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum System {
    Android,
    Darwin,
    #[serde(rename = "ESXi")]
    Esxi,
    #[serde(rename = "iOS")]
    Ios,
    Linux,
    Windows,
}

/// Reads every document of a text; `default_depth` is how deep a `**` without a number goes.
pub(super) fn read(text: &str, default_depth: u32) -> Result<Vec<Definition>, String> {
    let artifacts: Vec<Artifact> = parse(text)?;
    let mut names = BTreeSet::new();
    let mut parts = Vec::new();
    for artifact in &artifacts {
        if !names.insert(&artifact.name) {
            return Err(format!("artifact {} is defined twice", artifact.name));
        }
        if artifact.sources.is_empty() {
            return Err(format!("artifact {} has no source", artifact.name));
        }
        for source in &artifact.sources {
            let read = artifact.parts(source, default_depth);
            parts.extend(read.map_err(|reason| format!("artifact {}: {reason}", artifact.name))?);
        }
    }
    Ok(parts)
}

fn parse(text: &str) -> Result<Vec<Artifact>, String> {
    let parsed = serde_saphyr::from_multiple(text);
    parsed.or_else(|error| match spaced(text) {
        Cow::Borrowed(_) => Err(error.to_string()),
        Cow::Owned(text) => serde_saphyr::from_multiple(&text).map_err(|error| error.to_string()),
    })
}

/// Puts a space between a known key and the list or mapping that stands right behind it: YAML does without one within
/// braces (1.2.2, 7.4.2) and the project's own files use that, the parser refuses it.
fn spaced(text: &str) -> Cow<'_, str> {
    const KEYS: [&str; 8] =
        ["attributes", "paths", "names", "args", "keys", "key_value_pairs", "supported_os", "urls"];
    let mut spaced = Cow::Borrowed(text);
    for key in KEYS {
        for before in ['{', ',', ' '] {
            for behind in ['[', '{'] {
                let found = format!("{before}{key}:{behind}");
                if spaced.contains(&found) {
                    spaced = Cow::Owned(spaced.replace(&found, &format!("{before}{key}: {behind}")));
                }
            }
        }
    }
    spaced
}

impl Artifact {
    /// One part for what can be looked for, and one for each reason why something cannot.
    fn parts(&self, source: &Source, default_depth: u32) -> Result<Vec<Definition>, String> {
        source.check()?;
        let systems = if source.supported_os.is_empty() { &self.supported_os } else { &source.supported_os };
        let base = Definition {
            name: self.name.clone(),
            aliases: self.aliases.clone(),
            description: self.doc.split_whitespace().collect::<Vec<_>>().join(" "),
            why: "Defined by ForensicArtifacts".to_owned(),
            platforms: platforms(systems),
            urls: self.urls.clone(),
            ..Definition::default()
        };
        let left_out = |reason: String| {
            vec![Definition { not_applicable: Some(reason), notes: source.asks(), ..base.clone() }]
        };
        if !systems.is_empty() && !systems.contains(&System::Linux) {
            let names: Vec<String> = systems.iter().map(|system| format!("{system:?}")).collect();
            return Ok(left_out(format!("for {} only", names.join(", "))));
        }
        let attributes = &source.attributes;
        Ok(match source.kind {
            Kind::RegistryKey | Kind::RegistryValue => left_out("a Windows registry key".to_owned()),
            Kind::Wmi => left_out("a query of Windows Management Instrumentation".to_owned()),
            Kind::ArtifactGroup => {
                let members = attributes.names.clone().unwrap_or_default();
                vec![Definition { members, ..base }]
            }
            Kind::Command => {
                let argv: Vec<String> =
                    attributes.cmd.iter().chain(attributes.args.iter().flatten()).cloned().collect();
                match HostCommand::plain(argv) {
                    Ok(command) => vec![Definition { commands: vec![command], ..base }],
                    Err(reason) => left_out(reason),
                }
            }
            Kind::File | Kind::Path | Kind::Directory => {
                let take = if source.kind == Kind::File { Take::Content } else { Take::Record };
                source.path_parts(&Definition { take, default_depth: Some(default_depth), ..base })
            }
        })
    }
}

impl Source {
    /// Checks that what the type needs is there, and nothing of another type.
    fn check(&self) -> Result<(), String> {
        let attributes = &self.attributes;
        let given = [
            ("names", attributes.names.is_some()),
            ("cmd", attributes.cmd.is_some()),
            ("args", attributes.args.is_some()),
            ("paths", attributes.paths.is_some()),
            ("separator", attributes.separator.is_some()),
            ("keys", attributes.keys.is_some()),
            ("key_value_pairs", attributes.key_value_pairs.is_some()),
            ("query", attributes.query.is_some()),
            ("base_object", attributes.base_object.is_some()),
        ];
        let (needed, allowed): (&[&str], &[&str]) = match self.kind {
            Kind::ArtifactGroup => (&["names"], &["names"]),
            Kind::Command => (&["cmd", "args"], &["cmd", "args"]),
            Kind::Directory | Kind::File | Kind::Path => (&["paths"], &["paths", "separator"]),
            Kind::RegistryKey => (&["keys"], &["keys"]),
            Kind::RegistryValue => (&["key_value_pairs"], &["key_value_pairs"]),
            Kind::Wmi => (&["query"], &["query", "base_object"]),
        };
        if let Some((name, _)) = given.iter().find(|(name, is_given)| *is_given && !allowed.contains(name)) {
            return Err(format!("a source of type {:?} has no {name}", self.kind));
        }
        if let Some((name, _)) = given.iter().find(|(name, is_given)| !is_given && needed.contains(name)) {
            return Err(format!("a source of type {:?} needs {name}", self.kind));
        }
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        if empty(&attributes.names) || empty(&attributes.paths) || empty(&attributes.keys) {
            return Err(format!("a source of type {:?} has an empty list", self.kind));
        }
        match attributes.separator.as_deref() {
            None | Some("/" | "\\") => Ok(()),
            Some(other) => Err(format!("separator {other:?} is neither `/` nor `\\`")),
        }
    }

    /// What it asks for, in its own words.
    fn asks(&self) -> Vec<String> {
        let attributes = &self.attributes;
        let lists = [&attributes.names, &attributes.args, &attributes.paths, &attributes.keys];
        let pairs =
            attributes.key_value_pairs.iter().flatten().map(|pair| format!("{} {}", pair.key, pair.value));
        let single = [&attributes.cmd, &attributes.base_object, &attributes.query];
        let single = single.into_iter().flatten().cloned();
        single.chain(lists.into_iter().flatten().flatten().cloned()).chain(pairs).collect()
    }

    /// One part of the paths that a Linux host can have, and one for each reason why others cannot be.
    fn path_parts(&self, base: &Definition) -> Vec<Definition> {
        let mut paths: Vec<String> = Vec::new();
        let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in self.attributes.paths.iter().flatten() {
            match linux_path(path, self.attributes.separator.as_deref() == Some("\\")) {
                Ok(path) => paths.push(path),
                Err(reason) => others.entry(reason).or_default().push(path.clone()),
            }
        }
        let looked_for = (!paths.is_empty()).then(|| Definition { paths, ..base.clone() });
        let left_out = others.into_iter().map(|(reason, notes)| Definition {
            not_applicable: Some(reason),
            notes,
            default_depth: None,
            ..base.clone()
        });
        looked_for.into_iter().chain(left_out).collect()
    }
}

/// A path with `/` between its components, or why no Linux host has it.
fn linux_path(path: &str, backslashes: bool) -> Result<String, String> {
    let path = if backslashes { path.replace('\\', "/") } else { path.to_owned() };
    let rest = path.strip_prefix(HOME).unwrap_or(&path).replace(NAME, "");
    if let Some((_, variable)) = rest.split_once("%%") {
        let variable = variable.split_once("%%").map_or(variable, |(name, _)| name);
        return Err(if format!("%%{variable}%%") == HOME {
            format!("{HOME} stands at the beginning of a path only")
        } else {
            format!("%%{variable}%% means nothing on a Linux host")
        });
    }
    let begins_below = path.strip_prefix(HOME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if begins_below || path.starts_with('/') {
        Ok(path)
    } else {
        Err("not an absolute path of a Linux host".to_owned())
    }
}

fn platforms(systems: &[System]) -> Vec<Platform> {
    if systems.is_empty() {
        return Platform::ALL.to_vec();
    }
    let mut platforms = Vec::new();
    for system in systems {
        let platform = match system {
            System::Android => Platform::Android,
            System::Darwin => Platform::Macos,
            System::Esxi => Platform::Esxi,
            System::Ios => Platform::Other,
            System::Linux => Platform::Linux,
            System::Windows => Platform::Windows,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    platforms
}
