//! Owns the definitions of what can be acquired and the profiles made of them; refuses unknown fields, double names and
//! paths it could not search exactly.

mod pattern;

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_schemas::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

pub use pattern::{Component, Pattern, PatternError};

/// The built-in definition files, by name, in the order of the catalogue.
const BUILT_IN: [(&str, &str); 5] = [
    ("logins.yaml", include_str!("../../artifacts/logins.yaml")),
    ("logs.yaml", include_str!("../../artifacts/logs.yaml")),
    ("persistence.yaml", include_str!("../../artifacts/persistence.yaml")),
    ("users.yaml", include_str!("../../artifacts/users.yaml")),
    ("configuration.yaml", include_str!("../../artifacts/configuration.yaml")),
];

const PROFILES: &str = include_str!("../../artifacts/profiles.yaml");

/// One artifact: what to look for and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name, ASCII letters and digits.
    pub name: String,
    /// What it is, one sentence.
    pub description: String,
    /// Why an investigation wants it, one sentence.
    pub why: String,
    /// Absolute paths; `*`, `?`, `[...]`, `{a,b}` within a component, `**` for any depth, `%%users.homedir%%`.
    pub paths: Vec<String>,
    /// Paths among them that are recorded but whose content is not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_why: Option<String>,
    /// Where the definition came from: `built-in`, `command line` or a file.
    #[serde(skip)]
    pub origin: String,
}

/// What is captured together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// What it is for, one sentence.
    pub description: String,
    /// Whether the tables of live state are captured first.
    pub live_state: bool,
    /// Artifacts, in the order they are collected.
    pub artifacts: Vec<String>,
}

/// Why a definition or a choice is refused: what, where, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A definition file cannot be read.
    #[error("cannot read definitions {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A definition file is not what it should be.
    #[error("definitions {origin}: {reason}")]
    Malformed {
        /// The file.
        origin: String,
        /// What is wrong and where.
        reason: String,
    },
    /// No such profile.
    #[error("unknown profile `{0}`: `holdfast-agent artifacts list` shows the profiles there are")]
    UnknownProfile(String),
    /// No such artifact.
    #[error("unknown artifact `{0}`: `holdfast-agent artifacts list` shows the artifacts there are")]
    UnknownArtifact(String),
}

/// All definitions and profiles at hand.
#[derive(Debug, Clone)]
pub struct Catalogue {
    definitions: Vec<Definition>,
    profiles: Vec<Profile>,
}

impl Catalogue {
    /// The built-in catalogue.
    pub fn built_in() -> Result<Self, CatalogueError> {
        let profiles = parse::<Vec<Profile>>(PROFILES, "profiles.yaml")?;
        let mut catalogue = Self { definitions: Vec::new(), profiles };
        for (_, text) in BUILT_IN {
            catalogue.add_text(text, "built-in")?;
        }
        for profile in &catalogue.profiles {
            for name in &profile.artifacts {
                catalogue.definition(name)?;
            }
        }
        Ok(catalogue)
    }

    /// Adds the definitions of a file; a name that exists already is replaced by the file's.
    pub fn add_file(&mut self, path: &Path) -> Result<Vec<String>, CatalogueError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| CatalogueError::Unreadable { path: origin.clone(), source })?;
        self.add_text(&text, &origin)
    }

    /// Adds the definitions of a text that came from `origin`.
    pub fn add_text(&mut self, text: &str, origin: &str) -> Result<Vec<String>, CatalogueError> {
        let malformed = |reason| CatalogueError::Malformed { origin: origin.to_owned(), reason };
        let mut names = BTreeSet::new();
        let definitions = parse::<Vec<Definition>>(text, origin)?;
        for mut definition in definitions {
            definition.check().map_err(malformed)?;
            if !names.insert(definition.name.clone()) {
                return Err(malformed(format!("artifact {} is defined twice", definition.name)));
            }
            definition.origin = origin.to_owned();
            self.definitions.retain(|known| known.name != definition.name);
            self.definitions.push(definition);
        }
        Ok(names.into_iter().collect())
    }

    /// Every definition.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Every profile.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// One definition by name.
    pub fn definition(&self, name: &str) -> Result<&Definition, CatalogueError> {
        let found = self.definitions.iter().find(|definition| definition.name == name);
        found.ok_or_else(|| CatalogueError::UnknownArtifact(name.to_owned()))
    }

    /// One profile by name.
    pub fn profile(&self, name: &str) -> Result<&Profile, CatalogueError> {
        let found = self.profiles.iter().find(|profile| profile.name == name);
        found.ok_or_else(|| CatalogueError::UnknownProfile(name.to_owned()))
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, origin: &str) -> Result<T, CatalogueError> {
    serde_saphyr::from_str(text)
        .map_err(|error| CatalogueError::Malformed { origin: origin.to_owned(), reason: error.to_string() })
}

impl Definition {
    /// A definition made of paths given on the command line.
    pub fn of_paths(paths: Vec<String>) -> Self {
        Self {
            name: "ChosenPaths".to_owned(),
            description: "Paths chosen on the command line".to_owned(),
            why: "Asked for by the examiner".to_owned(),
            paths,
            exclude: Vec::new(),
            exclude_why: None,
            origin: "command line".to_owned(),
        }
    }

    /// Digest of the definition's text in its JSON form.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&serde_json::to_vec(self).expect("a definition has text keys only"))
    }

    /// Checks names and paths; says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain(&self.name) {
            return Err(format!("artifact name {:?} is not made of ASCII letters and digits", self.name));
        }
        if self.paths.is_empty() {
            return Err(format!("artifact {} names no path", self.name));
        }
        if self.exclude.is_empty() != self.exclude_why.is_none() {
            return Err(format!("artifact {}: exclude and exclude_why stand together", self.name));
        }
        for path in self.paths.iter().chain(&self.exclude) {
            let tried = pattern::expand(path, &["/home/examiner"]);
            tried.map_err(|error| format!("artifact {}, path {path:?}: {error}", self.name))?;
        }
        Ok(())
    }

    /// Whether a path stands for one in every home folder.
    pub fn names_homes(&self) -> bool {
        self.paths.iter().chain(&self.exclude).any(|path| path.contains(pattern::HOME))
    }

    /// The paths to search on a host with these home folders.
    pub fn patterns(&self, homes: &[&str]) -> Result<Vec<Pattern>, PatternError> {
        parse_all(&self.paths, homes)
    }

    /// The paths whose content is left out.
    pub fn exclusions(&self, homes: &[&str]) -> Result<Vec<Pattern>, PatternError> {
        parse_all(&self.exclude, homes)
    }
}

fn parse_all(paths: &[String], homes: &[&str]) -> Result<Vec<Pattern>, PatternError> {
    let expanded = paths.iter().map(|path| pattern::expand(path, homes));
    Ok(expanded.collect::<Result<Vec<_>, _>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_catalogue_is_whole() {
        let catalogue = Catalogue::built_in().expect("the built-in files are good");
        assert!(catalogue.profile("triage").expect("the default").live_state);
        for definition in catalogue.definitions() {
            let used =
                catalogue.profiles().iter().any(|profile| profile.artifacts.contains(&definition.name));
            assert!(used, "{} is in no profile", definition.name);
        }
    }

    #[test]
    fn malformed_definitions_say_what_is_wrong() {
        let mut catalogue = Catalogue::built_in().expect("good");
        for (text, expected) in [
            ("- name: A\n  description: d\n  why: w\n  paths: [etc]\n", "absolute"),
            ("- name: A\n  description: d\n  why: w\n  paths: []\n", "names no path"),
            ("- name: A\n  description: d\n  why: w\n  paths: [/a]\n  pathz: [/b]\n", "pathz"),
            ("- name: A b\n  description: d\n  why: w\n  paths: [/a]\n", "letters"),
            ("- name: A\n  description: d\n  why: w\n  paths: ['/%%users.sid%%/a']\n", "%%users.sid%%"),
            ("- name: A\n  description: d\n  why: w\n  paths: ['/a[']\n", "/a["),
            ("- name: A\n  why: w\n  paths: [/a]\n", "description"),
            ("[", "line"),
        ] {
            let error = catalogue.add_text(text, "x.yaml").expect_err(text).to_string();
            assert!(error.contains(expected) && error.contains("x.yaml"), "{error}");
        }
    }
}
