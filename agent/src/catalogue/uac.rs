//! Owns the importing of UAC artifacts: each source becomes one part under its file's name, with its recursion,
//! exclusions, limits and owners; refuses unknown fields, and reports what would need a shell instead of running one.

mod find;
mod lines;
mod profile;
mod words;

use std::path::Path;

use self::find::Obstacle;
use self::lines::Fields;
use super::{Definition, HostCommand, Platform, Take};
pub(super) use profile::UacProfile;

/// Reads every source of an artifact file under one name.
pub(super) fn read(text: &str, name: &str) -> Result<Vec<Definition>, String> {
    let file = lines::parse(text)?;
    if file.sources.is_empty() {
        return Err("no source below `artifacts:`".to_owned());
    }
    let modifies = file.head.flag("modifier")?;
    file.sources.iter().map(|source| part(&file.head, modifies, source, name)).collect()
}

/// An artifact file's path below UAC's artifacts folder, and the name it gets: that path with dots.
pub(super) fn name(below: &Path, whole: &Path) -> (String, String) {
    let components = |path: &Path| -> Vec<String> {
        path.components().map(|component| component.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let whole = components(whole);
    let below = match whole.iter().rposition(|component| component == "artifacts") {
        Some(at) if at + 1 < whole.len() => whole.get(at + 1..).unwrap_or_default().to_vec(),
        // A file that was named itself, or lies in no such folder.
        _ if below.is_absolute() || components(below) == whole || below.as_os_str().is_empty() => {
            whole.last().cloned().into_iter().collect()
        }
        _ => components(below),
    };
    let path = below.join("/");
    let stem = path.rsplit_once('.').map_or(path.as_str(), |(stem, _)| stem).replace('/', ".");
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || "._-".contains(character) { character } else { '_' }
    };
    let name = format!("uac.{}", stem.chars().map(plain).collect::<String>());
    (path, name)
}

fn part(head: &Fields, modifies: bool, source: &Fields, name: &str) -> Result<Definition, String> {
    let mut definition = Definition {
        name: name.to_owned(),
        description: source.needed("description")?.to_owned(),
        why: "Defined by UAC".to_owned(),
        platforms: platforms(source)?,
        notes: notes(head, source)?,
        ..Definition::default()
    };
    let left_out = match obstacle(head, modifies, source)? {
        Some(reason) => Some(reason),
        None => match fill(source, &mut definition) {
            Ok(()) => None,
            Err(Obstacle::LeftOut(reason)) => Some(reason),
            Err(Obstacle::Malformed(reason)) => return Err(reason),
        },
    };
    if let Some(reason) = left_out {
        let Definition { name, description, why, platforms, mut notes, .. } = definition;
        let asked = ["path", "command", "foreach"];
        notes.extend(
            asked.iter().filter_map(|field| source.text(field).map(|text| format!("{field}: {text}"))),
        );
        definition = Definition {
            name,
            description,
            why,
            platforms,
            notes,
            not_applicable: Some(reason),
            ..Definition::default()
        };
    }
    Ok(definition)
}

/// Why nothing of a source is looked for, by the fields beside its path or command.
fn obstacle(head: &Fields, modifies: bool, source: &Fields) -> Result<Option<String>, String> {
    let systems = source.list("supported_os")?;
    let condition = head.text("condition").or(source.text("condition"));
    Ok(if !systems.iter().any(|system| system == "linux" || system == "all") {
        Some(format!("for {} only", systems.join(", ")))
    } else if modifies || source.flag("modifier")? {
        Some("changes the state of the host".to_owned())
    } else if source.text("foreach").is_some() {
        Some("needs a shell: a loop over another command's output".to_owned())
    } else if condition.is_some_and(|condition| !only_asks_for_program(condition, source)) {
        Some("needs a shell: a condition".to_owned())
    } else if source.flag("is_file_list")? {
        Some("reads a list that an earlier command of UAC writes".to_owned())
    } else {
        None
    })
}

/// Whether a condition only asks whether the very program is there that is run, which its outcome tells as well.
fn only_asks_for_program(condition: &str, source: &Fields) -> bool {
    let program = condition.strip_prefix("command_exists ").map(|program| program.trim().trim_matches('"'));
    let first = source.text("command").and_then(|command| command.split_whitespace().next());
    program.is_some() && program == first
}

fn fill(source: &Fields, definition: &mut Definition) -> Result<(), Obstacle> {
    definition.take = match source.needed("collector")? {
        "command" => {
            let argv = argv(source.needed("command")?).map_err(Obstacle::LeftOut)?;
            definition.commands.push(HostCommand::plain(argv).map_err(Obstacle::LeftOut)?);
            return Ok(());
        }
        "file" => Take::Content,
        "find" if source.text("command").is_some() => {
            return Err(Obstacle::LeftOut("needs a shell: a command for every file found".to_owned()));
        }
        "find" | "stat" => Take::Record,
        "hash" => {
            definition
                .notes
                .push("UAC takes digests only: recorded here, where a digest comes with content".to_owned());
            Take::Record
        }
        _ => return Err(source.wrong("collector", "command, file, find, hash or stat").into()),
    };
    find::fill(source, definition)
}

/// A plain command's program and arguments, `%mount_point%` resolved.
fn argv(line: &str) -> Result<Vec<String>, String> {
    let mut argv = words::argv(line)?;
    for argument in &mut argv {
        let resolved = argument.replace("%mount_point%/", "/").replace("%mount_point%", "/");
        if let Some(name) = variable(&resolved) {
            return Err(meaningless(&name));
        }
        *argument = resolved;
    }
    Ok(argv)
}

/// The first of UAC's variables in a text: `%name%` or `%name=default%`.
fn variable(text: &str) -> Option<String> {
    let mut pieces = text.split('%').skip(1).peekable();
    while let Some(piece) = pieces.next() {
        pieces.peek()?;
        let name = piece.split_once('=').map_or(piece, |(name, _)| name);
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if begins && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Some(name.to_owned());
        }
    }
    None
}

fn meaningless(variable: &str) -> String {
    match variable {
        "line" => "%line% is a line of another command's output".to_owned(),
        "user" | "user_home" => format!("%{variable}% in a command: one run for every user"),
        "temp_directory" | "uac_directory" | "destination_directory" | "artifacts_output_directory" => {
            format!("%{variable}% is a folder of UAC's own")
        }
        _ => format!("%{variable}% is a value of UAC's own"),
    }
}

/// What is recorded and has no effect here.
fn notes(head: &Fields, source: &Fields) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    for name in ["output_directory", "output_file", "exclude_file_system"] {
        if let Some(value) =
            source.text(name).or_else(|| head.text(name).filter(|_| name == "output_directory"))
        {
            notes.push(format!("{name}: {value}"));
        }
    }
    for name in ["ignore_date_range", "compress_output_file", "redirect_stderr_to_stdout"] {
        if source.flag(name)? {
            notes.push(format!("{name}: true"));
        }
    }
    if let Some(condition) = source.text("condition").or(head.text("condition")) {
        notes.push(format!("condition: {condition}"));
    }
    // So that no two sources of a file are taken for one.
    notes.push(format!("line {}", source.line()));
    Ok(notes)
}

fn platforms(source: &Fields) -> Result<Vec<Platform>, String> {
    let mut platforms = Vec::new();
    source.needed("supported_os")?;
    for system in source.list("supported_os")? {
        let platform = match system.as_str() {
            "all" => return Ok(Platform::ALL.to_vec()),
            "linux" => Platform::Linux,
            "macos" => Platform::Macos,
            "esxi" => Platform::Esxi,
            "freebsd" => Platform::FreeBsd,
            "aix" | "netbsd" | "netscaler" | "openbsd" | "solaris" => Platform::Other,
            _ => return Err(source.wrong("supported_os", "a list of systems that UAC knows")),
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}
