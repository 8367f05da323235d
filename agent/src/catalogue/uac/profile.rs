//! Owns UAC's profiles, which choose artifact files by path; refuses those that choose nothing.

use std::collections::BTreeMap;

use globset::GlobBuilder;

use crate::catalogue::Profile;

/// A profile as its file says it.
#[derive(Debug)]
pub(in crate::catalogue) struct UacProfile {
    name: String,
    description: String,
    /// Patterns in order; what begins with `!` is left out.
    patterns: Vec<String>,
}

impl UacProfile {
    /// Parses a file.
    pub(in crate::catalogue) fn parse(text: &str) -> Result<Self, String> {
        let mut profile = Self { name: String::new(), description: String::new(), patterns: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
            match line.split_once([':', ' ']) {
                _ if line.is_empty() || line == "artifacts:" => {}
                Some(("-", pattern)) => profile.patterns.push(pattern.trim().to_owned()),
                Some(("name", name)) => profile.name = name.trim().to_owned(),
                Some(("description", text)) => profile.description = text.trim().to_owned(),
                _ => return Err(format!("line {}: {line:?} is not of a UAC profile", number + 1)),
            }
        }
        if profile.name.is_empty() || profile.patterns.is_empty() {
            return Err("a UAC profile without a name or without artifacts".to_owned());
        }
        Ok(profile)
    }

    /// Chooses among artifacts, whose names are given by their paths below UAC's artifacts folder.
    pub(in crate::catalogue) fn choose(
        &self,
        artifacts: &BTreeMap<String, String>,
    ) -> Result<Profile, String> {
        let mut chosen: Vec<String> = Vec::new();
        for pattern in &self.patterns {
            let (left_out, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, pattern.as_str()),
            };
            let glob = GlobBuilder::new(pattern).literal_separator(false).build();
            let glob = glob.map_err(|error| format!("{pattern:?}: {}", error.kind()))?.compile_matcher();
            let mut matched = false;
            for name in artifacts.iter().filter(|(path, _)| glob.is_match(path)).map(|(_, name)| name) {
                matched = true;
                if left_out {
                    chosen.retain(|known| known != name);
                } else if !chosen.contains(name) {
                    chosen.push(name.clone());
                }
            }
            if !matched {
                return Err(format!("{pattern:?} matches no artifact file beside this profile"));
            }
        }
        Ok(Profile {
            name: format!("uac.{}", self.name),
            description: format!("UAC: {}", self.description),
            include: Vec::new(),
            tables: Vec::new(),
            artifacts: chosen,
            deadline_seconds: None,
        })
    }
}
