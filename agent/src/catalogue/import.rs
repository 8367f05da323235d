//! Owns the reading of definition files, told apart by their content: ours, ForensicArtifacts and UAC; refuses what is
//! none of them, and folders without end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::uac::UacProfile;
use super::{CatalogueError, Definition, Profile, forensic_artifacts, parse, uac};

/// Largest definition file, in bytes.
const FILE_CAP: u64 = 16 << 20;
/// Most files of one folder.
const FILES_CAP: usize = 10_000;
/// Folders below folders.
const DEPTH_CAP: usize = 16;

/// What came out of a file or folder.
#[derive(Default)]
pub(super) struct Imported {
    /// Definitions; parts of one name stand together.
    pub(super) definitions: Vec<Definition>,
    /// Profiles.
    pub(super) profiles: Vec<Profile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ours,
    ForensicArtifacts,
    Uac,
    UacProfile,
    Unknown,
}

/// Reads a file, or every `.yaml` and `.yml` file below a folder in the order of their paths.
pub(super) fn read(path: &Path, default_depth: u32) -> Result<Imported, CatalogueError> {
    let mut files = Vec::new();
    if path.is_dir() {
        list(path, 0, &mut files)?;
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let mut imported = Imported::default();
    let mut profiles: Vec<(String, UacProfile)> = Vec::new();
    let mut homes: BTreeMap<String, String> = BTreeMap::new();
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for file in &files {
        let origin = file.display().to_string();
        let text = text(file)?;
        let malformed = |reason| CatalogueError::Malformed { origin: origin.clone(), reason };
        let definitions = match format(&text) {
            Format::UacProfile => {
                profiles.push((origin.clone(), UacProfile::parse(&text).map_err(malformed)?));
                continue;
            }
            Format::Uac => {
                let (below, name) = uac::name(file.strip_prefix(path).unwrap_or(file), file);
                paths.insert(below, name.clone());
                checked(uac::read(&text, &name).map_err(malformed)?, &origin)?
            }
            _ => definitions(&text, &origin, default_depth)?,
        };
        let names: BTreeSet<&String> = definitions.iter().map(|definition| &definition.name).collect();
        for name in names {
            if let Some(other) = homes.insert(name.clone(), origin.clone()) {
                return Err(malformed(format!("artifact {name} is defined in {other} too")));
            }
        }
        imported.definitions.extend(definitions);
    }
    for (origin, profile) in profiles {
        let chosen = profile.choose(&paths);
        imported.profiles.push(chosen.map_err(|reason| CatalogueError::Malformed { origin, reason })?);
    }
    Ok(imported)
}

/// Reads the definitions of a text in whichever format it is.
pub(super) fn definitions(
    text: &str,
    origin: &str,
    default_depth: u32,
) -> Result<Vec<Definition>, CatalogueError> {
    let malformed = |reason| CatalogueError::Malformed { origin: origin.to_owned(), reason };
    let definitions = match format(text) {
        Format::Ours => {
            let definitions = parse::<Vec<Definition>>(text, origin)?;
            let mut names = BTreeSet::new();
            if let Some(twice) = definitions.iter().find(|definition| !names.insert(&definition.name)) {
                return Err(malformed(format!("artifact {} is defined twice", twice.name)));
            }
            definitions
        }
        Format::ForensicArtifacts => forensic_artifacts::read(text, default_depth).map_err(malformed)?,
        Format::Uac => {
            let (_, name) = uac::name(Path::new(origin), Path::new(origin));
            uac::read(text, &name).map_err(malformed)?
        }
        Format::UacProfile => {
            return Err(malformed("a UAC profile comes with the folder it chooses from".to_owned()));
        }
        Format::Unknown => {
            let reason =
                "neither a list of definitions, nor ForensicArtifacts (`name:`), nor UAC (`artifacts:`)";
            return Err(malformed(reason.to_owned()));
        }
    };
    checked(definitions, origin)
}

fn checked(mut definitions: Vec<Definition>, origin: &str) -> Result<Vec<Definition>, CatalogueError> {
    for definition in &mut definitions {
        let malformed = |reason| CatalogueError::Malformed { origin: origin.to_owned(), reason };
        definition.check().map_err(malformed)?;
        definition.origin = origin.to_owned();
    }
    Ok(definitions)
}

/// Tells the formats apart by the keys that stand at the beginning of a line.
fn format(text: &str) -> Format {
    let significant =
        |line: &&str| !line.trim().is_empty() && !line.starts_with('#') && !line.starts_with("---");
    let begins = |key: &str| text.lines().any(|line| line.starts_with(key));
    match text.lines().find(significant) {
        None => Format::Ours,
        Some(line) if line.starts_with(['-', '[']) => Format::Ours,
        Some(_) if begins("artifacts:") && begins("name:") => Format::UacProfile,
        Some(_) if begins("artifacts:") => Format::Uac,
        Some(_) if begins("name:") => Format::ForensicArtifacts,
        Some(_) => Format::Unknown,
    }
}

fn text(path: &Path) -> Result<String, CatalogueError> {
    let unreadable = |source| CatalogueError::Unreadable { path: path.display().to_string(), source };
    let mut text = String::new();
    let mut file = File::open(path).map_err(unreadable)?.take(FILE_CAP + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    if file.limit() == 0 {
        let reason = format!("more than the {FILE_CAP} bytes that definitions can have");
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(text)
}

/// Lists definition files; links to folders and hidden folders are left alone.
fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CatalogueError> {
    let unreadable = |source| CatalogueError::Unreadable { path: folder.display().to_string(), source };
    let too_much = |what: &str| unreadable(std::io::Error::other(what.to_owned()));
    if depth > DEPTH_CAP {
        return Err(too_much("folders nested too deep for definitions"));
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if !hidden {
                list(&path, depth + 1, files)?;
            }
        } else if !hidden && path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            files.push(path);
        }
        if files.len() > FILES_CAP {
            return Err(too_much("more than 10,000 definition files"));
        }
    }
    Ok(())
}
