//! Owns the lines of a UAC artifact file, which look like YAML and are not; refuses unknown and doubled fields by line
//! and name.

use std::collections::BTreeMap;

/// Fields that stand before `artifacts:`.
const HEAD: [&str; 5] = ["version", "description", "condition", "modifier", "output_directory"];

/// Fields of a source.
const SOURCE: [&str; 26] = [
    "collector",
    "command",
    "compress_output_file",
    "condition",
    "description",
    "exclude_file_system",
    "exclude_name_pattern",
    "exclude_nologin_users",
    "exclude_path_pattern",
    "file_type",
    "foreach",
    "ignore_date_range",
    "is_file_list",
    "max_depth",
    "max_file_size",
    "min_file_size",
    "modifier",
    "name_pattern",
    "no_group",
    "no_user",
    "output_directory",
    "output_file",
    "path",
    "path_pattern",
    "permissions",
    "redirect_stderr_to_stdout",
];

/// Fields that can have several lines between triple quotes.
const BLOCKS: [&str; 3] = ["command", "condition", "foreach"];
const QUOTES: &str = "\"\"\"";

/// Fields with their values as they stand, comments and surrounding space removed.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The line that it begins at.
    line: usize,
    values: BTreeMap<String, (usize, String)>,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Fields of the whole file.
    pub(super) head: Fields,
    /// Fields of each source.
    pub(super) sources: Vec<Fields>,
}

/// Parses a file.
pub(super) fn parse(text: &str) -> Result<Lines, String> {
    let mut file = Lines::default();
    let mut in_sources = false;
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    while let Some((number, line)) = lines.next() {
        let content = uncommented(line);
        if content.is_empty() {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        if content == "artifacts:" && !indented {
            if in_sources {
                return Err(format!("line {number}: a second `artifacts:`"));
            }
            in_sources = true;
            continue;
        }
        if in_sources && content == "-" {
            file.sources.push(Fields { line: number, ..Fields::default() });
            continue;
        }
        let (name, value) = content.split_once(':').ok_or_else(|| {
            format!("line {number}: {content:?} is neither a field with `:` behind it nor a `-` alone")
        })?;
        let fields = match (in_sources, file.sources.last_mut()) {
            (false, _) => &mut file.head,
            (true, Some(source)) if indented => source,
            (true, Some(_)) => {
                return Err(format!("line {number}: field {name:?} is not indented below its `-`"));
            }
            (true, None) => return Err(format!("line {number}: field {name:?} stands before the first `-`")),
        };
        let known =
            if in_sources { SOURCE.contains(&name) || name == "supported_os" } else { HEAD.contains(&name) };
        if !known || (indented && !in_sources) {
            return Err(format!("line {number}: unknown field {name:?}"));
        }
        let mut value = value.trim().to_owned();
        if value == QUOTES && BLOCKS.contains(&name) {
            value = block(&mut lines).ok_or_else(|| format!("line {number}: field {name:?} never ends"))?;
        }
        if value.is_empty() {
            return Err(format!("line {number}: field {name:?} is empty"));
        }
        if fields.values.insert(name.to_owned(), (number, value)).is_some() {
            return Err(format!("line {number}: field {name:?} stands twice"));
        }
    }
    Ok(file)
}

/// The lines up to the next triple quotes.
fn block<'t>(lines: &mut impl Iterator<Item = (usize, &'t str)>) -> Option<String> {
    let mut inner = Vec::new();
    for (_, line) in lines {
        match uncommented(line) {
            QUOTES => return Some(inner.join("\n")),
            // A new source: the quotes were forgotten.
            "-" => return None,
            "" => {}
            line => inner.push(line),
        }
    }
    None
}

/// UAC takes `#` for a comment wherever it stands, within quotes too.
fn uncommented(line: &str) -> &str {
    line.split_once('#').map_or(line, |(before, _)| before).trim()
}

impl Fields {
    /// Where it begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// A field's value as it stands.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }

    /// A field that must be there.
    pub(super) fn needed(&self, name: &str) -> Result<&str, String> {
        self.text(name).ok_or_else(|| format!("line {}: field {name:?} is missing", self.line))
    }

    /// What is wrong with a field's value.
    pub(super) fn wrong(&self, name: &str, expected: &str) -> String {
        let (line, value) = self.values.get(name).map_or((self.line, ""), |(line, value)| (*line, value));
        format!("line {line}: field {name:?} is {value:?}, not {expected}")
    }

    /// A field that is `true` or `false`; false where absent.
    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, String> {
        let number = self.text(name).map(str::parse).transpose();
        number.map_err(|_| self.wrong(name, "a whole number"))
    }

    /// A size in bytes; units are powers of 1024.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
        let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "b" | "c" => Some(0),
            "k" | "kb" => Some(10),
            "m" | "mb" => Some(20),
            "g" | "gb" => Some(30),
            "t" | "tb" => Some(40),
            _ => None,
        };
        let number: Option<u64> = digits.parse().ok();
        let size = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
        size.map(Some).ok_or_else(|| self.wrong(name, "a size"))
    }

    /// A list in brackets; empty where absent.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, String> {
        let Some(text) = self.text(name) else { return Ok(Vec::new()) };
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let items = inner.and_then(items).filter(|items| !items.is_empty());
        items.ok_or_else(|| self.wrong(name, "a list in brackets"))
    }
}

/// Items between commas; quotes and a backslash keep a comma from being one, and no empty item counts.
fn items(text: &str) -> Option<Vec<String>> {
    let mut items = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) if characters.peek() == Some(&',') => {
                characters.next();
                items.last_mut()?.push(',');
            }
            (',', None) => items.push(String::new()),
            ('"' | '\'', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            (character, _) => items.last_mut()?.push(character),
        }
    }
    let trimmed = items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
    quote.is_none().then_some(trimmed)
}
