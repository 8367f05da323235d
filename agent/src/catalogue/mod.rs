//! Owns the definitions of what can be acquired and the profiles made of them; refuses unknown fields, double names and
//! paths it could not search exactly.

mod definition;
mod forensic_artifacts;
mod import;
mod pattern;
mod profile;
mod uac;

use std::collections::{BTreeMap, BTreeSet};
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

/// How deep a `**` without a number goes in a definition of another format (Plaso's 10; GRR has 3).
pub const DEFAULT_DEPTH: u32 = 10;

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
    /// A group names what there is not.
    #[error(
        "group {group} names `{name}`, which no definition at hand is called: bring its definition along too"
    )]
    UnknownMember {
        /// The group.
        group: String,
        /// The name.
        name: String,
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
    default_depth: u32,
}

impl Catalogue {
    /// The built-in catalogue.
    pub fn built_in() -> Result<Self, CatalogueError> {
        let profiles = parse::<Vec<Profile>>(PROFILES, "profiles.yaml")?;
        let mut catalogue = Self { definitions: Vec::new(), profiles, default_depth: DEFAULT_DEPTH };
        for (_, text) in BUILT_IN {
            catalogue.add_text(text, "built-in")?;
        }
        for profile in &catalogue.profiles {
            catalogue.select(std::slice::from_ref(&profile.name), &[], OptIn::ByName)?;
        }
        Ok(catalogue)
    }

    /// Sets how deep a `**` without a number goes in definitions of other formats that are added from now on, in folders;
    /// it is 10 from the beginning.
    pub fn set_default_depth(&mut self, depth: u32) {
        self.default_depth = depth;
    }

    /// Adds the definitions of a file or of every file in a folder, in our own format, as ForensicArtifacts or as UAC has
    /// them; a name that exists already is replaced. A definition of another format can have several parts of one name.
    pub fn add_file(&mut self, path: &Path) -> Result<Vec<String>, CatalogueError> {
        let imported = import::read(path, self.default_depth)?;
        let names = self.replace(imported.definitions);
        for profile in imported.profiles {
            self.profiles.retain(|known| known.name != profile.name);
            self.profiles.push(profile);
        }
        self.refuse_circles(&path.display().to_string())?;
        Ok(names)
    }

    /// Adds the definitions of a text that came from `origin`, in whichever format it is.
    pub fn add_text(&mut self, text: &str, origin: &str) -> Result<Vec<String>, CatalogueError> {
        let definitions = import::definitions(text, origin, self.default_depth)?;
        let names = self.replace(definitions);
        self.refuse_circles(origin)?;
        Ok(names)
    }

    fn replace(&mut self, definitions: Vec<Definition>) -> Vec<String> {
        let names: BTreeSet<String> = definitions.iter().map(|definition| definition.name.clone()).collect();
        self.definitions.retain(|known| !names.contains(&known.name));
        self.definitions.extend(definitions);
        names.into_iter().collect()
    }

    /// Checks that every group names what there is, once every file has been added.
    ///
    /// # Errors
    ///
    /// [`CatalogueError::UnknownMember`].
    pub fn resolve(&self) -> Result<(), CatalogueError> {
        let names: BTreeSet<&String> = self
            .definitions
            .iter()
            .flat_map(|definition| [&definition.name].into_iter().chain(&definition.aliases))
            .collect();
        for group in &self.definitions {
            if let Some(name) = group.members.iter().find(|name| !names.contains(name)) {
                return Err(CatalogueError::UnknownMember { group: group.name.clone(), name: name.clone() });
            }
        }
        Ok(())
    }

    /// Refuses groups that contain themselves, however far down.
    fn refuse_circles(&self, origin: &str) -> Result<(), CatalogueError> {
        let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for group in self.definitions.iter().filter(|group| !group.members.is_empty()) {
            for name in [&group.name].into_iter().chain(&group.aliases) {
                open.entry(name).or_default().extend(group.members.iter().map(String::as_str));
            }
        }
        // A group none of whose members is an open group is in no circle; what stays open at the end is, or leads there.
        loop {
            let names: BTreeSet<&str> = open.keys().copied().collect();
            open.retain(|_, members| members.iter().any(|member| names.contains(member)));
            if open.len() == names.len() {
                break;
            }
        }
        match open.keys().next() {
            None => Ok(()),
            Some(name) => Err(CatalogueError::Malformed {
                origin: origin.to_owned(),
                reason: format!("group {name} contains itself, or a group that does"),
            }),
        }
    }

    /// Every definition.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Every profile.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Every part of what goes by a name.
    pub fn parts(&self, name: &str) -> Vec<&Definition> {
        self.definitions.iter().filter(|definition| definition.goes_by(name)).collect()
    }

    /// One definition by name, the first of its parts.
    pub fn definition(&self, name: &str) -> Result<&Definition, CatalogueError> {
        let found = self.definitions.iter().find(|definition| definition.goes_by(name));
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
