//! Owns `artifacts`: what can be captured, for people; refuses definition files that would not be searched exactly.

use std::fmt::Write;

use super::{ArtifactsCommand, FAULT, Failure, print};
use crate::catalogue::{Catalogue, Definition};
use crate::collect::live_tables;

pub(super) fn run(command: ArtifactsCommand) -> Result<u8, Failure> {
    let fault = |error: &dyn std::fmt::Display| Failure { status: FAULT, message: error.to_string() };
    let mut catalogue = Catalogue::built_in().map_err(|error| fault(&error))?;
    let text = match command {
        ArtifactsCommand::List => list(&catalogue),
        ArtifactsCommand::Show { name } => show(&catalogue, &name)?,
        ArtifactsCommand::Check { files } => {
            let mut lines = Vec::new();
            for file in files {
                let names = catalogue.add_file(&file).map_err(Failure::usage)?;
                lines.push(format!("{}: good, defines {}", file.display(), names.join(", ")));
            }
            catalogue.resolve().map_err(Failure::usage)?;
            lines.join("\n")
        }
    };
    print(&text)?;
    Ok(0)
}

fn list(catalogue: &Catalogue) -> String {
    let mut text = String::from("Profiles\n");
    for profile in catalogue.profiles() {
        line(&mut text, &profile.name, &profile.description);
    }
    text.push_str("\nLive state, most volatile first\n");
    for table in live_tables() {
        line(&mut text, table.name, table.about);
    }
    text.push_str("\nArtifacts\n");
    for definition in catalogue.definitions() {
        line(&mut text, &definition.name, &definition.description);
    }
    text.trim_end().to_owned()
}

fn line(text: &mut String, name: &str, about: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {name:<22} {about}");
}

fn show(catalogue: &Catalogue, name: &str) -> Result<String, Failure> {
    if let Some(table) = live_tables().iter().find(|table| table.name == name) {
        return Ok(format!("{}\n{}\nfrom {}", table.name, table.about, table.sources.join("\n     ")));
    }
    // An unknown name is an error that says how to find the known ones.
    catalogue.definition(name).map_err(Failure::usage)?;
    let parts = catalogue.parts(name).into_iter().map(describe);
    Ok(parts.collect::<Vec<_>>().join("\n\n"))
}

fn describe(definition: &Definition) -> String {
    let mut text = format!("{}\n{}\n{}\n\n", definition.name, definition.description, definition.why);
    for path in &definition.paths {
        let _ = writeln!(text, "  {path}");
    }
    if let Some(why) = &definition.exclude_why {
        let _ = writeln!(text, "\nrecorded without content, {why}:");
        for path in &definition.exclude {
            let _ = writeln!(text, "  {path}");
        }
    }
    let _ = write!(text, "\n{} definition, SHA-256 {}", definition.origin, definition.digest());
    text
}
