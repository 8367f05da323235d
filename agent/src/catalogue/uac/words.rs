//! Owns the words of a line that UAC would give to a shell; refuses every line on which a shell would do more than split.

/// One word, character by character, each with whether quotes or a backslash make it stand for itself.
pub(super) type Word = Vec<(char, bool)>;

/// What only a shell does: what it is called, for a reason.
const ACTS: [(char, &str); 10] = [
    ('|', "a pipe"),
    ('&', "`&`"),
    (';', "`;`"),
    ('<', "a redirection"),
    ('>', "a redirection"),
    ('(', "a subshell"),
    (')', "a subshell"),
    ('{', "braces"),
    ('}', "braces"),
    ('\n', "several lines"),
];

/// Words that begin a shell's own constructs and commands.
const OWN: [&str; 30] = [
    "!",
    ".",
    "[[",
    "alias",
    "bg",
    "case",
    "cd",
    "command",
    "command_exists",
    "eval",
    "exec",
    "exit",
    "export",
    "fg",
    "for",
    "function",
    "hash",
    "history",
    "if",
    "jobs",
    "read",
    "return",
    "set",
    "source",
    "times",
    "trap",
    "type",
    "ulimit",
    "umask",
    "while",
];

/// Splits a line as a shell would where it does nothing else.
pub(super) fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        None => return Err("a quote that never ends".to_owned()),
                        Some(next) if next == character => break,
                        Some(next @ ('$' | '`' | '\\')) if character == '"' => {
                            return Err(acts(&format!("`{next}` in quotes")));
                        }
                        Some(next) => word.push((next, true)),
                    }
                }
            }
            '\\' => match characters.next() {
                None | Some('\n') => return Err(acts("a line that goes on")),
                Some(next) => word.get_or_insert_default().push((next, true)),
            },
            '$' => return Err(acts("a variable")),
            '`' => return Err(acts("a command in a command")),
            '~' if word.is_none() => return Err(acts("`~`")),
            _ => {
                if let Some((_, what)) = ACTS.iter().find(|(act, _)| *act == character) {
                    return Err(acts(what));
                }
                word.get_or_insert_default().push((character, false));
            }
        }
    }
    words.extend(word.take());
    Ok(words)
}

/// A program and its arguments, as they stand; no word of it may be a pattern.
pub(super) fn argv(line: &str) -> Result<Vec<String>, String> {
    let words = split(line)?;
    if words.iter().flatten().any(|(character, literal)| !literal && ['*', '?', '['].contains(character)) {
        return Err(acts("a pattern"));
    }
    let argv: Vec<String> =
        words.iter().map(|word| word.iter().map(|(character, _)| *character).collect()).collect();
    match argv.first().map(String::as_str) {
        None => Err("no program".to_owned()),
        Some(own) if OWN.contains(&own) => Err(acts(&format!("`{own}`"))),
        Some(assignment) if assignment.contains('=') => Err(acts("an assignment")),
        Some(_) => Ok(argv),
    }
}

fn acts(what: &str) -> String {
    format!("needs a shell: {what}")
}
