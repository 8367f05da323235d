//! Owns what is captured together: profiles made of other profiles, chapters and names; refuses circles and unknown names.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Catalogue, CatalogueError, Definition};
use crate::state::{self, Sensitivity, Table};

/// What is captured together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// What it is for, one sentence.
    pub description: String,
    /// Profiles that it contains, captured before what it adds.
    #[serde(default)]
    pub include: Vec<String>,
    /// Tables, by name or by chapter; captured in the order of volatility whatever their order here.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Artifacts, by name or by chapter, in the order they are collected.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Seconds after which collecting ends and what there is gets sealed.
    #[serde(default)]
    pub deadline_seconds: Option<u32>,
}

/// Tables and definitions that were chosen.
#[derive(Default)]
pub struct Selection {
    /// Tables, in the order of volatility.
    pub tables: Vec<&'static Table>,
    /// Definitions, in the order they are collected.
    pub definitions: Vec<Definition>,
    /// Seconds after which collecting ends; the shortest of the profiles chosen.
    pub deadline_seconds: Option<u32>,
    /// How many of the definitions have had their members chosen.
    looked_through: usize,
}

/// Whether what is opt-in comes with its chapter, or only by its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptIn {
    /// Only by its own name.
    ByName,
    /// With its chapter.
    WithChapter,
}

impl Catalogue {
    /// Chooses by the names of profiles, chapters, artifacts and tables.
    ///
    /// # Errors
    ///
    /// Where a name is not known.
    pub fn select(
        &self,
        profiles: &[String],
        names: &[String],
        opt_in: OptIn,
    ) -> Result<Selection, CatalogueError> {
        let mut selection = Selection::default();
        for name in profiles {
            self.add_profile(name, opt_in, &mut Vec::new(), &mut selection)?;
        }
        for name in names {
            let known =
                selection.add_tables(name, opt_in) | self.add_definitions(name, opt_in, &mut selection)?;
            if !known {
                return Err(CatalogueError::UnknownArtifact(name.clone()));
            }
        }
        selection
            .tables
            .sort_by_key(|chosen| state::tables().iter().position(|table| table.name == chosen.name));
        Ok(selection)
    }

    fn add_profile(
        &self,
        name: &str,
        opt_in: OptIn,
        within: &mut Vec<String>,
        selection: &mut Selection,
    ) -> Result<(), CatalogueError> {
        let profile = self.profile(name)?;
        if within.iter().any(|outer| outer == name) {
            return Err(CatalogueError::Malformed {
                origin: "profiles".to_owned(),
                reason: format!("profile {name} contains itself"),
            });
        }
        within.push(name.to_owned());
        for inner in &profile.include {
            self.add_profile(inner, opt_in, within, selection)?;
        }
        within.pop();
        for name in &profile.tables {
            if !selection.add_tables(name, opt_in) {
                return Err(CatalogueError::UnknownArtifact(name.clone()));
            }
        }
        for name in &profile.artifacts {
            if !self.add_definitions(name, opt_in, selection)? {
                return Err(CatalogueError::UnknownArtifact(name.clone()));
            }
        }
        let deadlines = [selection.deadline_seconds, profile.deadline_seconds];
        selection.deadline_seconds = deadlines.into_iter().flatten().min();
        Ok(())
    }

    /// Adds the definition of a name with what it stands for, or those of a chapter; tells whether there is such a name.
    fn add_definitions(
        &self,
        name: &str,
        opt_in: OptIn,
        selection: &mut Selection,
    ) -> Result<bool, CatalogueError> {
        let known = self.add_parts(name, opt_in, selection);
        // Members of members come behind; what is chosen already is not chosen again, so that this ends.
        let mut next = selection.looked_through;
        while let Some(group) = selection.definitions.get(next).cloned() {
            next += 1;
            for member in &group.members {
                if !self.add_parts(member, opt_in, selection) {
                    return Err(CatalogueError::UnknownMember { group: group.name, name: member.clone() });
                }
            }
        }
        selection.looked_through = next;
        Ok(known)
    }

    /// Adds every part of what goes by a name.
    fn add_parts(&self, name: &str, opt_in: OptIn, selection: &mut Selection) -> bool {
        let mut known = false;
        let before: BTreeSet<String> =
            selection.definitions.iter().map(|definition| definition.name.clone()).collect();
        for definition in self.definitions() {
            let by_name = definition.goes_by(name);
            let by_chapter = name_of(&definition.group) == name;
            known |= by_name || by_chapter;
            let wanted = by_name || (by_chapter && comes_with_chapter(definition.sensitivity, opt_in));
            if wanted && !before.contains(&definition.name) {
                selection.definitions.push(definition.clone());
            }
        }
        known
    }
}

impl Selection {
    /// Adds the table of a name, or those of a chapter; tells whether there is such a name.
    fn add_tables(&mut self, name: &str, opt_in: OptIn) -> bool {
        let mut known = false;
        for table in state::tables() {
            let by_name = table.name == name;
            let by_chapter = name_of(&table.group) == name;
            known |= by_name || by_chapter;
            let wanted = by_name || (by_chapter && comes_with_chapter(table.sensitivity, opt_in));
            if wanted && !self.tables.iter().any(|chosen| chosen.name == table.name) {
                self.tables.push(table);
            }
        }
        known
    }
}

fn comes_with_chapter(sensitivity: Sensitivity, opt_in: OptIn) -> bool {
    match sensitivity {
        Sensitivity::Ordinary => true,
        Sensitivity::Personal => opt_in == OptIn::WithChapter,
        Sensitivity::Memory => false,
    }
}

/// A chapter's name as files and people write it.
pub fn name_of(chapter: &impl Serialize) -> String {
    match serde_json::to_value(chapter) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
