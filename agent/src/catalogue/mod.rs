//! Owns the definitions of what can be acquired and the profiles made of them; refuses unknown fields, double names and
//! paths it could not search exactly.

mod definition;
mod pattern;
mod profile;

use std::collections::BTreeSet;
use std::path::Path;

pub use definition::{Chapter, Definition, Filter, HostCommand, Platform, Privileges, Take};
pub use pattern::{Component, Pattern, PatternError};
pub use profile::{OptIn, Profile, Selection, name_of};

/// The built-in definition files, by name, in the order of the catalogue.
const BUILT_IN: [(&str, &str); 21] = [
    ("logins.yaml", include_str!("../../artifacts/logins.yaml")),
    ("logs.yaml", include_str!("../../artifacts/logs.yaml")),
    ("audit.yaml", include_str!("../../artifacts/audit.yaml")),
    ("persistence.yaml", include_str!("../../artifacts/persistence.yaml")),
    ("shells.yaml", include_str!("../../artifacts/shells.yaml")),
    ("ssh.yaml", include_str!("../../artifacts/ssh.yaml")),
    ("users.yaml", include_str!("../../artifacts/users.yaml")),
    ("configuration.yaml", include_str!("../../artifacts/configuration.yaml")),
    ("applications.yaml", include_str!("../../artifacts/applications.yaml")),
    ("browsers.yaml", include_str!("../../artifacts/browsers.yaml")),
    ("databases.yaml", include_str!("../../artifacts/databases.yaml")),
    ("web_servers.yaml", include_str!("../../artifacts/web_servers.yaml")),
    ("mail.yaml", include_str!("../../artifacts/mail.yaml")),
    ("cloud.yaml", include_str!("../../artifacts/cloud.yaml")),
    ("containers.yaml", include_str!("../../artifacts/containers.yaml")),
    ("kubernetes.yaml", include_str!("../../artifacts/kubernetes.yaml")),
    ("virtual_machines.yaml", include_str!("../../artifacts/virtual_machines.yaml")),
    ("boot.yaml", include_str!("../../artifacts/boot.yaml")),
    ("kernel.yaml", include_str!("../../artifacts/kernel.yaml")),
    ("packages.yaml", include_str!("../../artifacts/packages.yaml")),
    ("temporary.yaml", include_str!("../../artifacts/temporary.yaml")),
];

const PROFILES: &str = include_str!("../../artifacts/profiles.yaml");

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
            catalogue.select(std::slice::from_ref(&profile.name), &[], OptIn::ByName)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_catalogue_is_whole() {
        let catalogue = Catalogue::built_in().expect("the built-in files are good");
        let triage = catalogue.select(&["triage".to_owned()], &[], OptIn::ByName).expect("the default");
        assert!(triage.tables.iter().any(|table| table.name == "processes"));
        assert!(triage.definitions.iter().any(|definition| definition.name == "SystemLogs"));
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
